//! The bridges of a segment of ours: one, and when that is full others around it, each joined to the first by
//! a trunk, so that from any port to any other there is one way, and no loop.
//!
//! All are pieces of the segment's record, and go with it. On which of them a port is no record says, and
//! nobody but this file needs to know.

use std::{
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use kernel::probe::{Feature, has};
use netlink::{
    Route, Socket,
    link::{self, Bridge, Peer, Veth},
};
use rustix::io::Errno;
use serde_json::{Value, json};
use vimage::{Anchor, Context as _, Error, ErrorKind, House, Instance, Piece, Result, Shared, Site};

use super::{
    NAME,
    link::MTU,
    mac, pair, port,
    segment::{self, GROUP, INDEX, Place, SWITCH},
    stack::{self, Batch},
};

/// The kind of a bridge's piece.
pub const KIND: &str = "bridge";
/// The kind of a trunk's piece: a veth pair from the first bridge to another. Its key is the first end's name.
pub const TRUNK: &str = "trunk";
/// What the alias of a trunk's other end says behind `jail`; it goes with the first.
pub const FAR: &str = "end";
/// What these are for the kernel.
pub const OBJECTS: [(&str, &str); 2] = [(KIND, "bridge"), (TRUNK, "veth pair")];

/// How many ports of a bridge links may have. A bridge of Linux has 1,023; the first one's others are for trunks.
const PORTS: u16 = 960;
/// As many where [`Feature::WideBridges`] is masked.
const FEW: u16 = 4;
/// How many trunks there can be.
const TRUNKS: usize = 1023 - PORTS as usize;
/// How long a trunk waits for its port, which links that will not stay may have taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// A port of a link that was just made, and whether it is on the last bridge of its place.
pub type Port = (u32, bool);

fn limit() -> u16 {
    if has(Feature::WideBridges) { PORTS } else { FEW }
}

/// The key of the shared record of a segment.
pub fn share_key(key: &str) -> String {
    format!("segment/{key}")
}

/// The bridges of a segment, the first first, by what its record says.
///
/// # Errors
/// It makes no sense.
pub fn read(name: &str, data: &Value) -> Result<Vec<u32>> {
    let bridges = serde_json::from_value::<Vec<u32>>(data.clone()).ok().filter(|bridges| !bridges.is_empty());
    let senseless = || format!("the record of segment {name} makes no sense");
    bridges.ok_or_else(|| Error::new(ErrorKind::Failed, senseless()))
}

/// Uses a segment of ours.
///
/// # Errors
/// A bridge cannot be made.
pub fn share(site: &mut Site<'_>, name: &str, stack: &OwnedFd, switch: &Anchor) -> Result<()> {
    let key = segment::key(site.parent, name);
    let first = |site: &mut Site<'_>| Ok(json!([make(site, (name, &key), (stack, switch), None)?]));
    site.share(&share_key(&key), first).map(drop)
}

/// Makes a bridge, and its trunk to the `first`, unless it is that.
fn make(
    site: &mut Site<'_>,
    (name, key): (&str, &str),
    (stack, switch): (&OwnedFd, &Anchor),
    first: Option<u32>,
) -> Result<u32> {
    let house = site.house;
    let number = house.number("ifindex")?;
    let index = INDEX + number;
    let own = format!("b{number}");
    let data = |index| json!({ "index": index, "segment": key, "stack": switch });
    let mut pieces = vec![Piece::new(KIND, own.clone()).with(data(index))];
    let words = first.map_or_else(|| key.to_owned(), |_| format!("{key}/{number}"));
    let bridge = Bridge {
        name: &own,
        index: Some(index),
        // Else each port that comes and goes has it looked for anew.
        mac: Some(mac::stable(house, "segment", &words)?),
        group: Some(GROUP),
        up: true,
        no_multicast_snooping: true,
    };
    let mark = segment::mark(house);
    let mut batch = Batch::default();
    batch.must(format!("cannot make segment {name}"), bridge.create());
    let alias = |what: &str| format!("jail {what} {name} {mark}");
    batch.must(format!("cannot name segment {name}"), link::set_alias(index, &alias("segment")));
    let mut near = None;
    if let Some(first) = first {
        let [a, b] = [house.number("ifindex")?, house.number("ifindex")?];
        let ends = [INDEX + a, INDEX + b];
        near = Some((ends[0], first));
        let names = [format!("t{a}a"), format!("t{a}b")];
        pieces.push(Piece::new(TRUNK, names[0].clone()).with(data(ends[0])));
        // No frame is too long for it: a bridge measures each by the port that it leaves by.
        let mtu = Some(*MTU.end());
        let peer = Peer { name: &names[1], index: Some(ends[1]), mtu, ..Peer::default() };
        let trunk = Veth {
            name: &names[0],
            index: Some(ends[0]),
            mtu,
            group: Some(GROUP),
            up: true,
            peer,
            ..Veth::default()
        };
        let doing = || format!("cannot make a trunk of segment {name}");
        batch.must(doing(), trunk.create());
        batch.must(doing(), link::set_alias(ends[0], &alias("trunk")));
        batch.must(doing(), link::set_group(ends[1], GROUP));
        batch.must(doing(), link::set_alias(ends[1], &alias(FAR)));
        batch.must(doing(), link::set_master(ends[1], index));
        batch.must(doing(), link::set_up(ends[1]));
    }
    site.make_all(pieces, || {
        let mut socket = stack::socket(stack)?;
        batch.send(&mut socket)?;
        near.map_or(Ok(()), |(trunk, first)| join(&mut socket, name, trunk, first))
    })?;
    Ok(index)
}

/// Makes a trunk's end a port of the first bridge.
fn join(socket: &mut Socket<Route>, name: &str, trunk: u32, first: u32) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut batch = Batch::default();
        let full: &[Errno] = if Instant::now() < until { &[Errno::XFULL] } else { &[] };
        batch.may(format!("cannot join a trunk of segment {name}"), full, link::set_master(trunk, first));
        if batch.answers(socket)? == [true] {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Finds other bridges for the ports that are too many on the last one of a place, where all were put.
///
/// # Errors
/// The segment is full; the kernel refuses.
pub fn seat(site: &mut Site<'_>, name: &str, place: &Place, ports: &[Port]) -> Result<()> {
    let Some(last) = place.bridges.last() else { return Ok(()) };
    // Since the bridge was made no more ports can have been put on it than indexes were given. Of a later
    // bridge this is not quite true of ports from before it, but only the first has others to keep free.
    let sure = |(index, on): &Port| *on && index.wrapping_sub(*last) < u32::from(limit());
    if place.foreign.is_some() || ports.iter().all(sure) {
        return Ok(());
    }
    let mut socket = stack::socket(&place.stack)?;
    let (on, mut left): (Vec<_>, Vec<_>) = ports.iter().partition(|(_, on)| *on);
    left.extend(too_many(&mut socket, on)?);
    let mut bridges = place.bridges.clone();
    let tried = bridges.len() - 1;
    let mut at = 0;
    while !left.is_empty() {
        at += usize::from(at == tried);
        if at == bridges.len() {
            let doing = || format!("cannot find a place on segment {name}");
            // They may be where a trunk is to be.
            let mut batch = Batch::default();
            left.iter().for_each(|(index, _)| batch.must(doing(), link::no_master(*index)));
            batch.send(&mut socket)?;
            bridges = grow(site, name, place, at).doing_with(doing)?;
        }
        left = put(&mut socket, name, bridges[at], left)?;
        at += 1;
    }
    Ok(())
}

/// Puts ports on a bridge; returns those for which it has no room.
fn put(socket: &mut Socket<Route>, name: &str, bridge: u32, ports: Vec<Port>) -> Result<Vec<Port>> {
    let mut batch = Batch::default();
    for (index, _) in &ports {
        let doing = format!("cannot plug a link into segment {name}");
        batch.may(doing, &[Errno::XFULL], link::set_master(*index, bridge));
    }
    let answers = batch.answers(socket)?;
    let ports = ports.into_iter().zip(answers).map(|((index, _), on)| (index, on));
    let (on, mut left): (Vec<_>, Vec<_>) = ports.partition(|(_, on)| *on);
    left.extend(too_many(socket, on)?);
    Ok(left)
}

/// Those of some ports that their bridge should not have: their numbers are above the limit, which the kernel
/// gives only when all others are taken.
fn too_many(socket: &mut Socket<Route>, ports: Vec<Port>) -> Result<Vec<Port>> {
    let mut many = Vec::new();
    for port in ports {
        let link = socket.link_by_index(port.0).map_err(stack::refused)?;
        if link.and_then(|link| link.port).is_some_and(|number| number > limit()) {
            many.push(port);
        }
    }
    Ok(many)
}

/// How many ports of a bridge are in use; `None`: it is not there, or cannot be looked at.
pub fn ports(house: &dyn House, piece: &Piece) -> Option<u64> {
    let (mut socket, bridge) = port::find(house, piece).ok()??;
    let links = socket.links().ok()?;
    Some(links.iter().filter(|link| link.master == Some(bridge.index)).count() as u64)
}

/// Adds a bridge to a segment of so many, unless another command did meanwhile; returns all.
fn grow(site: &mut Site<'_>, name: &str, place: &Place, there: usize) -> Result<Vec<u32>> {
    let key = segment::key(site.parent, name);
    let data = site.grow(&share_key(&key), |site, data| {
        let mut bridges = read(name, data)?;
        if bridges.len() == there {
            if there > TRUNKS {
                return Err(Error::new(ErrorKind::Busy, format!("its {there} bridges are full")));
            }
            bridges.push(make(site, (name, &key), (&place.stack, &place.anchor), Some(bridges[0]))?);
        }
        Ok(json!(bridges))
    })?;
    read(name, &data)
}

/// Unmakes a bridge or trunk of ours, unless the switch stack is about to go and takes it along: that saves
/// the 17 ms that the kernel takes for a deletion. `alone`: who leaves it may stay in the switch.
///
/// # Errors
/// The kernel refuses.
pub fn undo(of: &Instance<'_>, piece: &Piece, alone: bool) -> Result<()> {
    let shelf = of.house.shelf();
    let own = piece.text("segment").map(|key| Shared::name(NAME, &share_key(key)));
    // A segment that lives loses what could not be added to it, whoever else is there.
    if !alone && own.is_some_and(|own| own == of.name) && Shared::peek(shelf, of.name)?.0.is_empty() {
        // Who leaves the last segment is a user of the switch until its next step: a single one is the last.
        let (users, _) = Shared::peek(shelf, &Shared::name(NAME, SWITCH))?;
        let kinds = ["segment/", pair::PREFIX].map(|kind| Shared::name(NAME, kind));
        let inside = |name: &&String| kinds.iter().any(|kind| name.starts_with(kind));
        if users.len() == 1 && Shared::names(shelf)?.iter().filter(inside).count() == 1 {
            return Ok(());
        }
    }
    port::delete(of.house, piece)
}
