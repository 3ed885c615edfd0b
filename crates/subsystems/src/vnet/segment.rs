//! Segments: bridges of ours in the switch stack, or foreign ones of the parent's.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use kernel::{
    namespace::{self, Kind},
    spawn::{self, How},
    step::{End, Program, Step},
};
use netlink::{Route, Socket, link::Link};
use serde_json::json;
use vimage::{Anchor, Context as _, Error, ErrorKind, House, Instance, Piece, Result, Shared, Site};

use super::{bridge, stack, sysctl};

/// The shared record of the switch stack, and the name under which it is held.
pub const SWITCH: &str = "switch";
/// The kind of the piece that holds the switch stack: the one by which whoever looks through all that is held
/// knows that it has an owner.
pub const HELD: &str = "held";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (HELD, "mount in the vault");
/// What the piece of a stack is, a jail's own or the switch.
pub const STACK: (&str, &str) = (Piece::INSTANCE, "network namespace");

/// The group of all links that we make (`ip link show group`), "ja" in ASCII.
pub const GROUP: u32 = 0x6a61;
/// Our links' indexes are numbers of ours above this: the kernel's own choice starts at 1.
pub const INDEX: u32 = 0x1000_0000;

/// What the alias of a link of ours ends with: the same for all of one store's, and for no other's.
#[must_use]
pub fn mark(house: &dyn House) -> String {
    format!("[{}]", house.mark())
}

/// Whether a link carries our mark, that of another store included.
#[must_use]
pub fn is_ours(link: &Link) -> bool {
    link.group == GROUP && link.alias.as_ref().is_some_and(|alias| alias.starts_with("jail "))
}

/// The key of a segment's record, without `segment/`: segments of two parents may have one name.
#[must_use]
pub fn key(parent: Option<&Instance<'_>>, name: &str) -> String {
    format!("{}:{name}", stack::scope(parent))
}

/// The stack that a jail's links lead to, opened when it is first asked for: a segment of ours that exists needs
/// nothing of it.
#[derive(Debug)]
pub struct Around<'a> {
    parent: Option<&'a Instance<'a>>,
    opened: Option<(Rc<OwnedFd>, Socket<Route>)>,
}

impl<'a> Around<'a> {
    /// That of a jail below this parent.
    pub fn of(parent: Option<&'a Instance<'a>>) -> Self {
        Self { parent, opened: None }
    }

    fn open(&mut self) -> Result<&mut (Rc<OwnedFd>, Socket<Route>)> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => stack::around(self.parent)?,
        };
        Ok(self.opened.insert(opened))
    }

    /// The stack.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn fd(&mut self) -> Result<Rc<OwnedFd>> {
        Ok(self.open()?.0.clone())
    }

    /// A socket inside.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn socket(&mut self) -> Result<&mut Socket<Route>> {
        Ok(&mut self.open()?.1)
    }

    /// The foreign bridge of a segment's name; `None`: the segment is, or will be, one of ours. One that jails are on
    /// stays the segment of its name, whatever bridges come.
    ///
    /// # Errors
    /// There is an interface of that name which is neither; `param` asked for it.
    pub fn foreign(&mut self, house: &dyn House, param: &str, segment: &str) -> Result<Option<Link>> {
        let record = Shared::name(super::NAME, &bridge::share_key(&key(self.parent, segment)));
        if Shared::is_used(house.shelf(), &record) {
            return Ok(None);
        }
        match self.socket()?.link_by_name(segment).map_err(stack::refused)? {
            None => Ok(None),
            Some(link) if is_ours(&link) => Ok(None),
            // Another command has made the segment since we looked, and the parent's interface of its name, which it has
            // not marked yet.
            Some(_) if Shared::is_used(house.shelf(), &record) => Ok(None),
            Some(link) if link.kind.as_deref() == Some("bridge") => Ok(Some(link)),
            Some(_) => {
                Err(Error::usage(format!("{param}: {segment} is an interface of the parent, but no bridge"))
                    .hint("a segment of ours has a name that no interface has; a foreign one is a bridge"))
            }
        }
    }
}

/// Where the ports of a segment are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The stack with the bridges.
    pub stack: Rc<OwnedFd>,
    /// Its anchor.
    pub anchor: Anchor,
    /// The bridges' indexes. A new port goes to the last, which may be full: [`bridge::seat`].
    pub bridges: Vec<u32>,
    /// Of a foreign bridge its MTU, which a port with a smaller one would change.
    pub foreign: Option<u32>,
}

/// Makes those of the segments that are ours and do not exist; the jail uses them from now on.
///
/// # Errors
/// A name is that of an interface which is no bridge; a bridge or the switch stack cannot be made.
pub fn share<'n>(
    site: &mut Site<'_>,
    around: &mut Around<'_>,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<()> {
    let mut switch = None;
    for name in names.into_iter().collect::<BTreeSet<_>>() {
        if around.foreign(site.house, "vnet", name)?.is_some() {
            continue;
        }
        // Used before the segment, so that it is left after it.
        let (stack, anchor) = match &switch {
            Some(switch) => switch,
            None => switch.insert(share_switch(site)?),
        };
        bridge::share(site, name, stack, anchor)?;
    }
    Ok(())
}

/// Where segments are that the jail uses, or that are foreign.
///
/// # Errors
/// One is gone, or its record makes no sense.
pub fn places<'n>(
    site: &Site<'_>,
    around: &mut Around<'_>,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<BTreeMap<String, Place>> {
    let mut places = BTreeMap::new();
    let mut switch = None;
    let instance = site.instance();
    for name in names.into_iter().collect::<BTreeSet<_>>() {
        let record = bridge::share_key(&key(site.parent, name));
        let place = if instance.pieces_of(super::NAME, Shared::USE).any(|piece| piece.key == record) {
            let (stack, anchor) = match &switch {
                Some(switch) => Clone::clone(switch),
                None => switch.insert(open_switch(site, &site.shared(SWITCH)?)?).clone(),
            };
            Place { stack, anchor, bridges: bridge::read(name, &site.shared(&record)?)?, foreign: None }
        } else if let Some(bridge) = around.foreign(site.house, "vnet", name)? {
            let stack = around.fd()?;
            let anchor = site.house.anchor("net", stack.as_fd())?;
            Place { stack, anchor, bridges: vec![bridge.index], foreign: Some(bridge.mtu) }
        } else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("vnet: {name} is no bridge of the parent's any more"),
            ));
        };
        places.insert(name.to_owned(), place);
    }
    Ok(places)
}

/// Uses the switch stack.
///
/// # Errors
/// It cannot be made, or is gone.
pub fn share_switch(site: &mut Site<'_>) -> Result<(Rc<OwnedFd>, Anchor)> {
    let anchor = site.share(SWITCH, |site| {
        let stack = new_stack().doing("cannot make the switch stack")?;
        sysctl::switch_only(&stack)?;
        let anchor = site.house.anchor("net", stack.as_fd())?;
        site.make(Piece::new(Piece::INSTANCE, "net").anchored(anchor.clone()), || Ok(()))?;
        let house = site.house;
        site.make(Piece::new(HELD, SWITCH).with(json!({ "anchor": anchor })), || {
            house.hold(SWITCH, "net", stack.as_fd())
        })?;
        Ok(json!(anchor))
    })?;
    open_switch(site, &anchor)
}

fn open_switch(site: &Site<'_>, anchor: &serde_json::Value) -> Result<(Rc<OwnedFd>, Anchor)> {
    let anchor = Anchor(anchor.as_str().unwrap_or_default().to_owned());
    let Some(stack) = site.house.open(&anchor)? else {
        let error = Error::new(ErrorKind::Failed, "the switch stack, with all segments, is gone");
        return Err(error.hint("something took the vault down; remove the jails that have links"));
    };
    Ok((Rc::new(stack), anchor))
}

/// A network namespace that nothing but the descriptor holds.
fn new_stack() -> Result<OwnedFd> {
    let how = How { namespaces: u64::from(Kind::Net.flag()), ..How::default() };
    let program = Program::new(vec![Step::Wait(0)], End::Exit);
    let child = spawn::spawn(program, how).map_err(io::Error::from).doing("cannot make a process")?;
    let stack = namespace::of_process(child.pidfd(), Kind::Net).map_err(io::Error::from);
    let done = child.finish().doing("cannot end its maker")?;
    for pidfd in &done.pidfds {
        spawn::reap(pidfd.as_fd()).map_err(io::Error::from).doing("cannot collect its maker")?;
    }
    stack.doing("cannot open it")
}
