//! Cables: a veth pair with an end in each of two jails.
//!
//! The pair is born in the switch stack, and shared by the jails that declare an end of it. An end is in its
//! jail's stack while that lives, declared or not, and else parked in the switch, down: so the end that
//! stays has no carrier. Only a jail that ends by itself takes the pair along, with its stack: then the other
//! end is gone, too, until the jail is created again or the other one changed, which makes the pair anew.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

use netlink::{
    Route, Socket,
    link::{self, Link, Peer, Veth},
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vimage::{Anchor, Ask, Context as _, Error, ErrorKind, House, Instance, Piece, Result, Shared, Site};

use super::{
    NAME,
    birth::{Wanted, routes},
    link::Spec,
    mac, port, route,
    segment::{self, GROUP, INDEX},
    stack::{self, Batch},
    sysctl,
    update::uses,
};

/// The kind of the pair's piece, which is in the shared record. Its key is what its ends' parking names share.
pub const KIND: &str = "cable";
/// The kind of the piece of a jail that has declared an end. Its key is the end's parking name.
pub const END: &str = "end";
/// What the key of a cable's shared record starts with; its ends follow, in order.
pub const PREFIX: &str = "cable/";
/// The longest name of a folder in bytes (NAME_MAX of linux/limits.h).
const FOLDER_MAX: usize = 255;

/// One end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct End {
    /// The full name of its jail, and its name there.
    jail: String,
    name: String,
    /// Its index, the same wherever it is.
    index: u32,
    /// Its name in the switch stack.
    park: String,
}

/// What is recorded of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pair {
    /// The anchor of the switch stack.
    switch: String,
    ends: [End; 2],
}

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

/// What a jail declares of its end: beside the shared record, so that the other jail can restore it.
#[derive(Debug, Serialize, Deserialize)]
struct Declared {
    link: String,
    routes: Vec<String>,
}

/// Both ends of a cable of a jail, its own first, as `JAIL:NAME`.
fn ends_of(jail: &str, spec: &Spec) -> [String; 2] {
    let parent = jail.rsplit_once('.').map_or(String::new(), |(parent, _)| format!("{parent}."));
    [format!("{jail}:{}", spec.name), format!("{parent}{}", spec.segment)]
}

/// The key of the shared record. No name has a slash, or the comma that the folder has instead.
fn key(jail: &str, spec: &Spec) -> String {
    let mut ends = ends_of(jail, spec);
    ends.sort();
    format!("{PREFIX}{}", ends.join("/"))
}

/// The folders of all cables with an end that is looked for, each with its ends.
fn all(house: &dyn House, has: impl Fn(&str) -> bool) -> Result<Vec<(String, [String; 2])>> {
    let first = Shared::name(NAME, PREFIX);
    let read = |cable: String| {
        let (a, b) = cable.strip_prefix(&first)?.split_once(',')?;
        let ends = [a.to_owned(), b.to_owned()];
        ends.iter().any(|end| has(end)).then_some((cable, ends))
    };
    Ok(Shared::names(house.shelf())?.into_iter().filter_map(read).collect())
}

fn is_in(jail: &str) -> impl Fn(&str) -> bool {
    move |end| end.rsplit_once(':').is_some_and(|(of, _)| of == jail)
}

/// Checks that every end is used once: among the jail's own, and by the jails that there are.
///
/// # Errors
/// `vnet.link: b:e2 is the end of another cable`, or some other interface.
pub fn check(ask: &Ask<'_>, wanted: &Wanted) -> Result<()> {
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
            let pair = pair(ask.house, &cable)?;
            if !pair.is_some_and(|p| p.ends.iter().any(|e| e.jail == jail && e.index == link.index)) {
                return Err(bad(ErrorKind::Exists, &format!("jail {jail} has an interface {name} already")));
            }
        }
    }
    for (cable, ends) in all(ask.house, |end| used.get(end).is_some())? {
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
    for (cable, _) in all(site.house, is_in(site.name))? {
        mend(site.house, &cable, site.name)?;
    }
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
        let end = &held.pair.ends[held.which];
        let mut same = wanted.cables.iter().filter(|s| Shared::name(NAME, &key(site.name, s)) == held.cable);
        if !same.any(|s| s.name == end.name && s.autoconf == held.autoconf) {
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
        let (house, first) = (site.house, site.house.number("ifindex")?);
        let numbers = [first, house.number("ifindex")?];
        let mut made: Vec<_> = ends.iter().filter_map(|end| end.rsplit_once(':')).collect();
        made.sort_unstable();
        let end = |n: usize| End {
            jail: made[n].0.to_owned(),
            name: made[n].1.to_owned(),
            index: INDEX + numbers[n],
            park: format!("c{first}{}", ["a", "b"][n]),
        };
        let pair = Pair { switch: anchor.0.clone(), ends: [end(0), end(1)] };
        site.make(Piece::new(KIND, format!("c{first}")).with(&pair), || create(house, &pair, &switch))?;
        serde_json::to_value(&pair).doing("cannot encode a record")
    })?;
    let pair: Pair = serde_json::from_value(data).doing("cannot understand the record")?;
    let which = usize::from(pair.ends[1].jail == site.name && pair.ends[1].name == spec.name);
    let end = pair.ends[which].clone();
    let (house, own) = (site.house, site.name);
    let stack = super::birth::own_stack(site)?;
    let held = Held {
        cable: Shared::name(NAME, &key),
        pair,
        which,
        stack: house.anchor("net", stack.as_fd())?.0,
        autoconf: spec.autoconf,
    };
    let declared = Declared { link: spec.to_string(), routes: routes.to_vec() };
    site.make(Piece::new(END, end.park).with(&held), || {
        let path = paper(house, &held.cable, which);
        let text = serde_json::to_vec(&declared).doing("cannot encode it")?;
        fs::write(&path, text).doing_with(|| format!("cannot write {}", path.display()))?;
        mend(house, &held.cable, own)?;
        match find(&mut stack::socket(&*stack)?, &held.pair, which)? {
            Some(_) => Ok(end.index),
            None => Err(Error::new(ErrorKind::NotFound, format!("vnet.link: {} is gone already", end.name))),
        }
    })
}

/// Where what is declared of an end is written.
fn paper(house: &dyn House, cable: &str, which: usize) -> PathBuf {
    house.shelf().join(cable).join(format!("end.{which}"))
}

/// Makes a pair, parked.
fn create(house: &dyn House, pair: &Pair, switch: &OwnedFd) -> Result<()> {
    let [a, b] = &pair.ends;
    let mac = |end: &End| mac::stable(house, &end.jail, &end.name).map(Some);
    let peer = Peer { name: &b.park, index: Some(b.index), mac: mac(b)?, ..Peer::default() };
    let veth = Veth { name: &a.park, index: Some(a.index), mac: mac(a)?, peer, ..Veth::default() };
    let mut batch = Batch::default();
    batch.must(format!("vnet.link: cannot make the cable {}-{}", a.park, b.park), veth.create());
    pair.ends.iter().for_each(|end| mark(&mut batch, house, end));
    batch.send(&mut stack::socket(switch)?)
}

/// Marks an end that is, or goes, into the switch stack.
fn mark(batch: &mut Batch, house: &dyn House, end: &End) {
    let alias = format!("jail cable {} {}", end.name, segment::mark(house));
    batch.must("cannot mark it", link::set_group(end.index, GROUP));
    batch.must("cannot mark it", link::set_alias(end.index, &alias));
}

/// The lock on all ends: taken last, and not while they are at rest.
fn lock(house: &dyn House) -> Result<File> {
    let lock = File::open(house.shelf()).and_then(|shelf| shelf.lock().map(|()| shelf));
    lock.doing_with(|| format!("cannot lock {}", house.shelf().display()))
}

/// Brings the ends of a cable that any jail declares to where they belong, and makes the pair anew if it is
/// gone. An end of a jail other than `own` whose name is taken there waits in the switch: what a jail's root
/// does keeps no other jail from being made.
fn mend(house: &dyn House, cable: &str, own: &str) -> Result<()> {
    let _lock = lock(house)?;
    let declared = [0, 1].map(|which| {
        let text = fs::read(paper(house, cable, which)).ok()?;
        serde_json::from_slice::<Declared>(&text).ok()
    });
    let Some(pair) = pair(house, cable)?.filter(|_| declared.iter().any(Option::is_some)) else {
        return Ok(());
    };
    let Some(switch) = house.open(&Anchor(pair.switch.clone()))? else { return Ok(()) };
    let found = [locate(house, &pair, 0)?, locate(house, &pair, 1)?];
    let whole = found.iter().all(Option::is_some);
    if !whole {
        // One end alone has the other in a stack that is dying.
        delete(found)?;
        create(house, &pair, &switch)?;
    }
    let other_mtu = |which: usize| {
        let spec = declared[1 - which].as_ref().and_then(|d| Spec::parse(&d.link).ok());
        spec.and_then(|spec| spec.mtu).map_or(String::new(), |mtu| format!(" mtu {mtu}"))
    };
    for (which, end) in pair.ends.iter().enumerate() {
        let far = &pair.ends[1 - which];
        let jail = far.jail.rsplit('.').next().unwrap_or_default();
        let bare = format!("{} {jail}:{}{}", end.name, far.name, other_mtu(which));
        let text = declared[which].as_ref().map_or(bare, |d| d.link.clone());
        match bring(house, (&pair, which), &switch, &Spec::parse(&text)?, declared[which].as_ref()) {
            Err(e) if end.jail != own && e.kind() == ErrorKind::Exists => {}
            other => other?,
        }
    }
    Ok(())
}

/// Brings an end into its jail, if that lives and it is not there yet.
fn bring(
    house: &dyn House,
    (pair, which): (&Pair, usize),
    switch: &OwnedFd,
    spec: &Spec,
    declared: Option<&Declared>,
) -> Result<()> {
    let (end, mtu) = (&pair.ends[which], spec.mtu.unwrap_or(port::MTU));
    let Some(stack) = living(house, &end.jail)? else { return Ok(()) };
    let mut outside = stack::socket(switch)?;
    let mut inside = stack::socket(&stack)?;
    let mut batch = Batch::default();
    if find(&mut outside, pair, which)?.is_none() {
        if let (Some(link), None) = (find(&mut inside, pair, which)?, declared)
            && link.mtu != mtu
        {
            batch.must("cannot change the other end", link::set_mtu(link.index, mtu));
        }
        return batch.send(&mut inside);
    }
    let doing = || format!("vnet.link: \"{spec}\": cannot plug it into jail {}", end.jail);
    let mac = spec.mac.map_or_else(|| mac::stable(house, &end.jail, &end.name), Ok)?;
    batch.must(doing(), link::set_mac(end.index, mac));
    batch.must(doing(), link::set_mtu(end.index, mtu));
    batch.must(doing(), link::set_netns(end.index, stack.as_fd(), Some(&end.name)));
    batch.send(&mut outside)?;
    if find(&mut inside, pair, which)?.is_none() {
        return Err(Error::new(ErrorKind::Exists, "its index is taken").doing(doing()));
    }
    let quiet = [end.name.as_str()];
    sysctl::set(&stack, &[], if spec.autoconf { &[] } else { &quiet })?;
    // In the jail it looks like any other interface of its own.
    batch = Batch::default();
    batch.must(doing(), link::set_group(end.index, 0));
    batch.must(doing(), link::set_alias(end.index, ""));
    port::configure(&mut batch, spec, end.index);
    batch.send(&mut inside)?;
    for route in declared.into_iter().flat_map(|d| &d.routes) {
        // Each that can be made by now: a new jail's come later.
        let _later = route::Spec::parse(route).and_then(|route| routes(&mut inside, &[route]));
    }
    Ok(())
}

/// The stack of a jail that lives and has one.
fn living(house: &dyn House, jail: &str) -> Result<Option<OwnedFd>> {
    house.living(jail, "net")?.map_or(Ok(None), |anchor| house.open(&anchor))
}

fn pair(house: &dyn House, cable: &str) -> Result<Option<Pair>> {
    let (_, pieces) = Shared::peek(house.shelf(), cable)?;
    let piece = pieces.into_iter().find(|piece| piece.kind == KIND);
    piece.map(|p| serde_json::from_value(p.data).doing("cannot understand the record")).transpose()
}

fn held(piece: &Piece) -> Result<Held> {
    serde_json::from_value(piece.data.clone()).doing("cannot understand the record")
}

/// An end, if it is in a stack: known by both indexes, which a jail cannot change, whatever else it has
/// changed.
fn find(socket: &mut Socket<Route>, pair: &Pair, which: usize) -> Result<Option<Link>> {
    let found = socket.link_by_index(pair.ends[which].index).map_err(stack::refused)?;
    let peer = Some(pair.ends[1 - which].index);
    Ok(found.filter(|link| link.kind.as_deref() == Some("veth") && link.link == peer))
}

/// An end, where it belongs: in the switch or in its jail.
fn locate(house: &dyn House, pair: &Pair, which: usize) -> Result<Option<(Socket<Route>, Link)>> {
    let switch = house.open(&Anchor(pair.switch.clone()))?;
    for stack in switch.into_iter().chain(living(house, &pair.ends[which].jail)?) {
        let mut socket = stack::socket(&stack)?;
        if let Some(link) = find(&mut socket, pair, which)? {
            return Ok(Some((socket, link)));
        }
    }
    Ok(None)
}

/// Deletes a pair by one of its ends.
fn delete(ends: [Option<(Socket<Route>, Link)>; 2]) -> Result<()> {
    let Some((mut socket, link)) = ends.into_iter().flatten().next() else { return Ok(()) };
    let mut batch = Batch::default();
    batch.may("cannot delete it", &[Errno::NODEV], link::delete(link.index));
    batch.send(&mut socket)
}

/// Moves an end that is in a stack back into the switch.
fn send_home(house: &dyn House, pair: &Pair, which: usize, stack: &OwnedFd) -> Result<()> {
    let (end, mut socket) = (&pair.ends[which], stack::socket(stack)?);
    // Without a switch it goes with the jail's stack.
    let Some(switch) = house.open(&Anchor(pair.switch.clone()))? else { return Ok(()) };
    if find(&mut socket, pair, which)?.is_none() {
        return Ok(());
    }
    let mut batch = Batch::default();
    batch.must("cannot take it down", link::set_down(end.index));
    mark(&mut batch, house, end);
    batch.must("cannot unplug it", link::set_netns(end.index, switch.as_fd(), Some(&end.park)));
    batch.send(&mut socket)
}

/// Ends what a jail declares, and parks the end.
fn park(house: &dyn House, held: &Held, stack: Option<&OwnedFd>) -> Result<()> {
    let _lock = lock(house)?;
    let path = paper(house, &held.cable, held.which);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(e).doing_with(|| format!("cannot remove {}", path.display()));
        }
        _ => {}
    }
    stack.map_or(Ok(()), |stack| send_home(house, &held.pair, held.which, stack))
}

/// Unmakes a jail's hold on its end.
///
/// # Errors
/// The kernel refuses.
pub fn undo_end(of: &Instance<'_>, piece: &Piece) -> Result<()> {
    park(of.house, &held(piece)?, of.fd("net")?.as_deref())
}

/// Unmakes a pair, wherever its ends are.
///
/// # Errors
/// The kernel refuses.
pub fn undo(house: &dyn House, piece: &Piece) -> Result<()> {
    let _lock = lock(house)?;
    let pair: Pair = serde_json::from_value(piece.data.clone()).doing("cannot understand the record")?;
    delete([locate(house, &pair, 0)?, locate(house, &pair, 1)?])
}

/// Parks all ends that are in jails whose stacks are about to go, declared or not.
pub fn recall(of: &[Instance<'_>]) -> Vec<Error> {
    let Some(house) = of.first().map(|jail| jail.house) else { return Vec::new() };
    let one = |jail: &Instance<'_>| -> Result<()> {
        let cables = all(house, is_in(jail.name))?;
        let Some(stack) = (if cables.is_empty() { None } else { jail.fd("net")? }) else { return Ok(()) };
        let _lock = lock(house)?;
        for (cable, _) in cables {
            let Some(pair) = pair(house, &cable)? else { continue };
            (0..2).try_for_each(|which| send_home(house, &pair, which, &stack))?;
        }
        Ok(())
    };
    of.iter().filter_map(|jail| one(jail).doing("vnet").doing(jail.name).err()).collect()
}

/// Whether a pair, or a jail's declared end, is where it belongs. One that went with a jail that ended by
/// itself is not missed until that is created again.
///
/// # Errors
/// The kernel could not be asked.
pub fn exists(house: &dyn House, piece: &Piece) -> Result<bool> {
    let pair = if piece.kind == END {
        let held = held(piece)?;
        let stack = house.open(&Anchor(held.stack.clone()))?;
        if let Some(stack) = stack
            && find(&mut stack::socket(&stack)?, &held.pair, held.which)?.is_some()
        {
            return Ok(true);
        }
        held.pair
    } else {
        let pair = serde_json::from_value(piece.data.clone()).doing("cannot understand the record")?;
        if locate(house, &pair, 0)?.or(locate(house, &pair, 1)?).is_some() {
            return Ok(true);
        }
        pair
    };
    let [a, b] = &pair.ends;
    Ok(living(house, &a.jail)?.is_none() || living(house, &b.jail)?.is_none())
}

/// The piece of a parked end that no record knows.
#[must_use]
pub fn stray(stack: &Anchor, link: &Link) -> Piece {
    let key = link.name.trim_end_matches(['a', 'b']).to_owned();
    let end = |index| End { index, park: key.clone(), ..End::default() };
    let ends = [end(link.index), end(link.link.unwrap_or_default())];
    Piece::new(KIND, key.clone()).with(Pair { switch: stack.0.clone(), ends })
}
