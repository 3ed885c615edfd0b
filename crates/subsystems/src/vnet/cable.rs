//! Cables: a veth pair with an end in each of two jails.
//!
//! The pair is born in the switch stack, and shared by the jails that declare an end of it. An end is in its
//! jail's stack while that lives, declared or not, and else parked in the switch, down: so the end that
//! stays has no carrier. Only a jail that ends by itself takes the pair along, with its stack: then the other
//! end is gone, too, until the jail is created again or the other one changed, which makes the pair anew.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
};

use netlink::Route;
use serde::{Deserialize, Serialize};
use vimage::{Anchor, Ask, Context as _, Error, ErrorKind, House, Instance, Piece, Result, Shared, Site};

use super::{
    NAME,
    birth::{self, Wanted},
    link::Spec,
    mend::{Declared, mend, paper},
    pair::{self, PREFIX, Pair, all, ends_of, find, is_in, key, living},
    segment, stack,
    update::uses,
};

/// The kind of the piece of a jail that has declared an end. Its key is the end's parking name.
pub const END: &str = "end";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (END, "end of a veth pair");
/// The longest name of a folder in bytes (NAME_MAX of linux/limits.h).
const FOLDER_MAX: usize = 255;

/// What is recorded of a declared end.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    /// The folder of the shared record.
    cable: String,
    pair: Pair,
    which: usize,
    /// The anchor of the jail's stack.
    stack: String,
    autoconf: bool,
}

/// Checks that every end is used once: among the jail's own, and by the jails that there are.
///
/// # Errors
/// `vnet.link: b:e2 is the end of a cable`, or some other interface.
pub fn check(ask: &Ask<'_>, wanted: &Wanted) -> Result<()> {
    for piece in ask.living.iter().flat_map(|living| living.pieces_of(NAME, END)) {
        let Held { pair, which, .. } = held(piece)?;
        if pair.ends[which].jail != ask.name {
            let error = Error::new(ErrorKind::Busy, "vnet: a jail at the end of a cable keeps its name");
            return Err(error.hint(format!("take {} from vnet.link first", pair.ends[which].name)));
        }
    }
    let mut used = BTreeMap::new();
    for name in wanted.links.iter().map(|l| &l.name).chain(&wanted.interfaces) {
        used.insert(format!("{}:{name}", ask.name), String::new());
    }
    for spec in &wanted.cables {
        let bad = |kind, what: &str| Error::new(kind, format!("vnet.link: \"{spec}\": {what}"));
        let (ends, cable) = (ends_of(ask.name, spec), Shared::name(NAME, &key(ask.name, spec)));
        if ends[0] == ends[1] {
            return Err(bad(ErrorKind::Usage, "a cable has two ends"));
        }
        if cable.len() > FOLDER_MAX {
            return Err(bad(ErrorKind::Usage, "the names of its ends are too long together"));
        }
        for end in &ends {
            if used.insert(end.clone(), cable.clone()).is_some_and(|other| other != cable) {
                return Err(bad(ErrorKind::Usage, &format!("{end} is used twice")));
            }
        }
        let (jail, name) = ends[1].rsplit_once(':').unwrap_or_default();
        let Some(far) = living(ask.house, jail)?.filter(|_| jail != ask.name) else { continue };
        if let Some(link) = stack::socket::<Route>(&far)?.link_by_name(name).map_err(stack::refused)? {
            let pair = pair::read(ask.house, &cable)?;
            if !pair.is_some_and(|p| p.ends.iter().any(|e| e.jail == jail && e.index == link.index)) {
                return Err(bad(ErrorKind::Exists, &format!("jail {jail} has an interface {name} already")));
            }
        }
    }
    for (cable, ends) in all(ask.house, |end| used.contains_key(end))? {
        let (users, _) = Shared::peek(ask.house.shelf(), &cable)?;
        let end = ends.iter().find(|end| used.get(*end).is_some_and(|by| *by != cable));
        if let Some(end) = end.filter(|_| users.iter().any(|jid| *jid != ask.jid)) {
            let error = Error::new(ErrorKind::Exists, format!("vnet.link: {end} is the end of a cable"));
            return Err(error.hint(format!("between {}", ends.join(" and "))));
        }
    }
    Ok(())
}

/// Plugs in the ends that a jail declares, and those that only others declare; returns the names and indexes
/// of the former. What is plugged in already stays as it is.
///
/// # Errors
/// The kernel refuses, as it does for a name that is taken.
pub fn furnish(site: &mut Site<'_>, wanted: &Wanted) -> Result<Vec<(String, u32)>> {
    let mut indexes = Vec::new();
    let routes: Vec<_> = wanted.routes.iter().map(ToString::to_string).collect();
    for spec in &wanted.cables {
        indexes.push((spec.name.clone(), plug(site, spec, &routes)?));
    }
    let own: Vec<_> = wanted.cables.iter().map(|spec| Shared::name(NAME, &key(site.name, spec))).collect();
    let others = all(site.house, is_in(site.name))?.into_iter().filter(|(cable, _)| !own.contains(cable));
    others.into_iter().try_for_each(|(cable, _)| mend(site.house, &cable, site.name))?;
    Ok(indexes)
}

/// Gives up the declared ends that are not wanted, or not as they are. One that is wanted by the other jail
/// comes back, undeclared.
///
/// # Errors
/// The kernel refuses.
pub fn leave(site: &mut Site<'_>, wanted: &Wanted) -> Result<()> {
    let keys: Vec<_> = wanted.cables.iter().map(|spec| key(site.name, spec)).collect();
    let pieces: Vec<_> = site.instance().pieces_of(NAME, END).cloned().collect();
    for piece in pieces {
        let held = held(&piece)?;
        let (own, end) = (|s: &&Spec| Shared::name(NAME, &key(site.name, s)), &held.pair.ends[held.which]);
        let mut same = wanted.cables.iter().filter(|s| own(s) == held.cable && s.name == end.name);
        if !same.any(|s| s.autoconf == held.autoconf) {
            let (house, stack) = (site.house, site.instance().fd("net")?);
            site.unmake(&piece, || park(house, &held, stack.as_deref()))?;
        }
    }
    uses(site, PREFIX).iter().filter(|key| !keys.contains(key)).try_for_each(|key| site.leave(key))
}

fn plug(site: &mut Site<'_>, spec: &Spec, routes: &[String]) -> Result<u32> {
    // Used before the cable, so that it is left after it.
    let (switch, anchor) = segment::share_switch(site)?;
    let key = key(site.name, spec);
    let ends = ends_of(site.name, spec);
    let data = site.share(&key, |site| {
        let (house, pair) = (site.house, Pair::new(site.house, ends, &anchor)?);
        site.make(pair.piece(), || pair::create(house, &pair, &switch))?;
        serde_json::to_value(&pair).doing("cannot encode a record")
    })?;
    let pair: Pair = serde_json::from_value(data).doing("cannot understand the record of a cable")?;
    let which = usize::from(pair.ends[1].jail == site.name && pair.ends[1].name == spec.name);
    let end = pair.ends[which].clone();
    let (house, own) = (site.house, site.name);
    let stack = birth::own_stack(site)?;
    let held = Held {
        cable: Shared::name(NAME, &key),
        pair,
        which,
        stack: house.anchor("net", stack.as_fd())?.0,
        autoconf: spec.autoconf,
    };
    let piece = Piece::new(END, end.park).with(&held);
    let is_new = !site.instance().pieces_of(NAME, END).any(|there| there.key == piece.key);
    let declared = Declared { link: spec.to_string(), routes: routes.to_vec() };
    site.make(piece, || {
        let path = paper(house, &held.cable, which);
        let text = serde_json::to_vec(&declared).doing("cannot encode it")?;
        fs::write(&path, text).doing_with(|| format!("cannot write {}", path.display()))?;
        if is_new {
            // The other jail may have had it brought here, as one that is not declared.
            let _lock = pair::lock(house)?;
            pair::send_home(house, &held.pair, which, &stack)?;
        }
        mend(house, &held.cable, own)?;
        match find(&mut stack::socket(&*stack)?, &held.pair, which)? {
            Some(_) => Ok(end.index),
            None => Err(Error::new(ErrorKind::NotFound, format!("vnet.link: {} is gone already", end.name))),
        }
    })
}

fn held(piece: &Piece) -> Result<Held> {
    serde_json::from_value(piece.data.clone()).doing("cannot understand the record")
}

/// Ends what a jail declares, and parks the end.
fn park(house: &dyn House, held: &Held, stack: Option<&OwnedFd>) -> Result<()> {
    let _lock = pair::lock(house)?;
    let path = paper(house, &held.cable, held.which);
    if let Err(e) = fs::remove_file(&path)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e).doing_with(|| format!("cannot remove {}", path.display()));
    }
    stack.map_or(Ok(()), |stack| pair::send_home(house, &held.pair, held.which, stack))
}

/// Unmakes a jail's hold on its end.
///
/// # Errors
/// The kernel refuses.
pub fn undo_end(of: &Instance<'_>, piece: &Piece) -> Result<()> {
    park(of.house, &held(piece)?, of.fd("net")?.as_deref())
}

/// Parks all ends that are in jails whose stacks are about to go, declared or not.
pub fn recall(of: &[Instance<'_>]) -> Vec<Error> {
    let Some(house) = of.first().map(|jail| jail.house) else { return Vec::new() };
    let cables = match all(house, |end| of.iter().any(|jail| is_in(jail.name)(end))) {
        Ok(cables) => cables,
        Err(error) => return vec![error.doing("vnet")],
    };
    let one = |jail: &Instance<'_>| -> Result<()> {
        let mut own =
            cables.iter().filter(|(_, ends)| ends.iter().any(|end| is_in(jail.name)(end))).peekable();
        let Some(stack) = (if own.peek().is_some() { jail.fd("net")? } else { None }) else { return Ok(()) };
        let _lock = pair::lock(house)?;
        for (cable, _) in own {
            let Some(pair) = pair::read(house, cable)? else { continue };
            (0..2).try_for_each(|which| pair::send_home(house, &pair, which, &stack))?;
        }
        Ok(())
    };
    of.iter().filter_map(|jail| one(jail).doing("vnet").doing(jail.name).err()).collect()
}

/// Whether a jail's declared end is in its stack. One that went with the other jail, which ended by itself,
/// is not missed until that is created again.
///
/// # Errors
/// The kernel could not be asked.
pub fn exists(house: &dyn House, piece: &Piece) -> Result<bool> {
    let held = held(piece)?;
    let stack = house.open(&Anchor(held.stack.clone()))?;
    let found = stack.map(|stack| find(&mut stack::socket(&stack)?, &held.pair, held.which)).transpose()?;
    Ok(found.flatten().is_some() || !pair::is_missed(house, &held.pair)?)
}
