//! The veth pair of a cable: made in the switch stack, found and deleted wherever its ends are.

use std::{
    fs::File,
    os::fd::{AsFd as _, OwnedFd},
};

use netlink::{
    Route, Socket,
    link::{self, Link, Peer, Veth},
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vimage::{Anchor, Context as _, House, Piece, Result, Shared};

use super::{
    NAME,
    link::Spec,
    mac,
    segment::{self, GROUP, INDEX},
    stack::{self, Batch},
};

/// The kind of a pair's piece, which is in the shared record. Its key is what its ends' parking names share.
pub const KIND: &str = "cable";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (KIND, "veth pair");

/// What the key of a cable's shared record starts with; its ends follow, in order.
pub const PREFIX: &str = "cable/";

/// One end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct End {
    /// The full name of its jail.
    pub jail: String,
    /// Its name there.
    pub name: String,
    /// Its index, the same wherever it is.
    pub index: u32,
    /// Its name in the switch stack.
    pub park: String,
}

/// What is recorded of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    /// The anchor of the switch stack.
    pub switch: String,
    /// Both ends.
    pub ends: [End; 2],
}

impl Pair {
    /// A new pair between two ends, `JAIL:NAME` each, of which the lesser comes first.
    ///
    /// # Errors
    /// [`House::number`]'s.
    pub fn new(house: &dyn House, mut ends: [String; 2], switch: &Anchor) -> Result<Self> {
        ends.sort();
        let numbers = [house.number("ifindex")?, house.number("ifindex")?];
        let end = |n: usize| {
            let (jail, name) = ends[n].rsplit_once(':').unwrap_or_default();
            let park = format!("c{}{}", numbers[0], ["a", "b"][n]);
            End { jail: jail.to_owned(), name: name.to_owned(), index: INDEX + numbers[n], park }
        };
        Ok(Self { switch: switch.0.clone(), ends: [end(0), end(1)] })
    }

    /// What a piece says.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn of(piece: &Piece) -> Result<Self> {
        serde_json::from_value(piece.data.clone()).doing("cannot understand the record of a cable")
    }

    /// Its piece.
    #[must_use]
    pub fn piece(&self) -> Piece {
        Piece::new(KIND, self.ends[0].park.trim_end_matches('a')).with(self)
    }

    /// Of a parked end that no record knows.
    #[must_use]
    pub fn stray(stack: &Anchor, link: &Link) -> Piece {
        let key = link.name.trim_end_matches(['a', 'b']);
        let end = |index| End { index, park: format!("{key}a"), ..End::default() };
        let ends = [end(link.index), end(link.link.unwrap_or_default())];
        Self { switch: stack.0.clone(), ends }.piece()
    }
}

/// Both ends of a cable of a jail, its own first, as `JAIL:NAME`.
pub fn ends_of(jail: &str, spec: &Spec) -> [String; 2] {
    let parent = jail.rsplit_once('.').map_or(String::new(), |(parent, _)| format!("{parent}."));
    [format!("{jail}:{}", spec.name), format!("{parent}{}", spec.segment)]
}

/// The key of the shared record. No name has a slash, or the comma that the folder has instead.
pub fn key(jail: &str, spec: &Spec) -> String {
    let mut ends = ends_of(jail, spec);
    ends.sort();
    format!("{PREFIX}{}", ends.join("/"))
}

/// The folders of all cables with an end that is looked for, each with its ends.
///
/// # Errors
/// The shelf cannot be read.
pub fn all(house: &dyn House, has: impl Fn(&str) -> bool) -> Result<Vec<(String, [String; 2])>> {
    let first = Shared::name(NAME, PREFIX);
    let read = |cable: String| {
        let (a, b) = cable.strip_prefix(&first)?.split_once(',')?;
        let ends = [a.to_owned(), b.to_owned()];
        ends.iter().any(|end| has(end)).then_some((cable, ends))
    };
    Ok(Shared::names(house.shelf())?.into_iter().filter_map(read).collect())
}

/// Whether an end is in a jail.
pub fn is_in(jail: &str) -> impl Fn(&str) -> bool {
    move |end| end.rsplit_once(':').is_some_and(|(of, _)| of == jail)
}

/// Makes a pair, parked.
///
/// # Errors
/// The kernel refuses.
pub fn create(house: &dyn House, pair: &Pair, switch: &OwnedFd) -> Result<()> {
    let [a, b] = &pair.ends;
    let mac = |end: &End| mac::stable(house, &end.jail, &end.name).map(Some);
    let peer = Peer { name: &b.park, index: Some(b.index), mac: mac(b)?, ..Peer::default() };
    let veth = Veth { name: &a.park, index: Some(a.index), mac: mac(a)?, peer, ..Veth::default() };
    let mut batch = Batch::default();
    batch.must(format!("vnet.link: cannot make the cable {}-{}", a.park, b.park), veth.create());
    pair.ends.iter().for_each(|end| mark(&mut batch, house, end, &[]));
    batch.send(&mut stack::socket(switch)?)
}

/// Marks an end that is, or goes, into the switch stack.
fn mark(batch: &mut Batch, house: &dyn House, end: &End, fine: &'static [Errno]) {
    let alias = format!("jail cable {} {}", end.name, segment::mark(house));
    batch.may("cannot mark it", fine, link::set_group(end.index, GROUP));
    batch.may("cannot mark it", fine, link::set_alias(end.index, &alias));
}

/// The lock on the ways of all ends. Who has it takes no other.
///
/// # Errors
/// The folder cannot be locked.
pub fn lock(house: &dyn House) -> Result<File> {
    let lock = File::open(house.shelf()).and_then(|shelf| shelf.lock().map(|()| shelf));
    lock.doing_with(|| format!("cannot lock {}", house.shelf().display()))
}

/// The stack of a jail that lives and has one.
///
/// # Errors
/// It cannot be told.
pub fn living(house: &dyn House, jail: &str) -> Result<Option<OwnedFd>> {
    house.living(jail, "net")?.map_or(Ok(None), |anchor| house.open(&anchor))
}

/// What is recorded of a cable, by its folder; `None`: it was not made yet, or is gone.
///
/// # Errors
/// The record cannot be read.
pub fn read(house: &dyn House, cable: &str) -> Result<Option<Pair>> {
    let (_, pieces) = Shared::peek(house.shelf(), cable)?;
    let piece = pieces.into_iter().find(|piece| piece.kind == KIND);
    piece.as_ref().map(Pair::of).transpose()
}

/// An end, if it is in a stack: known by both indexes, which a jail cannot change, whatever else it has
/// changed.
///
/// # Errors
/// The kernel could not be asked.
pub fn find(socket: &mut Socket<Route>, pair: &Pair, which: usize) -> Result<Option<Link>> {
    let found = socket.link_by_index(pair.ends[which].index).map_err(stack::refused)?;
    let peer = Some(pair.ends[1 - which].index);
    Ok(found.filter(|link| link.kind.as_deref() == Some("veth") && link.link == peer))
}

/// An end, where it belongs: in the switch or in its jail.
///
/// # Errors
/// The kernel could not be asked.
pub fn locate(house: &dyn House, pair: &Pair, which: usize) -> Result<Option<(Socket<Route>, Link)>> {
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
///
/// # Errors
/// The kernel refuses.
pub fn delete(ends: [Option<(Socket<Route>, Link)>; 2]) -> Result<()> {
    let Some((mut socket, link)) = ends.into_iter().flatten().next() else { return Ok(()) };
    let mut batch = Batch::default();
    batch.may("cannot delete it", &[Errno::NODEV], link::delete(link.index));
    batch.send(&mut socket)
}

/// Moves an end that is in a stack back into the switch.
///
/// # Errors
/// The kernel refuses.
pub fn send_home(house: &dyn House, pair: &Pair, which: usize, stack: &OwnedFd) -> Result<()> {
    let (end, mut socket) = (&pair.ends[which], stack::socket(stack)?);
    // Without a switch it goes with the jail's stack.
    let Some(switch) = house.open(&Anchor(pair.switch.clone()))? else { return Ok(()) };
    if find(&mut socket, pair, which)?.is_none() {
        return Ok(());
    }
    // A stack that ends by itself takes the pair along, perhaps just now.
    const GONE: &[Errno] = &[Errno::NODEV];
    let mut batch = Batch::default();
    batch.may("cannot take it down", GONE, link::set_down(end.index));
    mark(&mut batch, house, end, GONE);
    batch.may("cannot unplug it", GONE, link::set_netns(end.index, switch.as_fd(), Some(&end.park)));
    batch.send(&mut socket)
}

/// Whether a pair is where it belongs. One that went with a jail that ended by itself is not missed.
///
/// # Errors
/// The kernel could not be asked.
pub fn exists(house: &dyn House, piece: &Piece) -> Result<bool> {
    let pair = Pair::of(piece)?;
    let found = locate(house, &pair, 0)?.or(locate(house, &pair, 1)?);
    Ok(found.is_some() || !is_missed(house, &pair)?)
}

/// Whether the jails of both ends live, so that a pair should be there.
///
/// # Errors
/// It cannot be told.
pub fn is_missed(house: &dyn House, pair: &Pair) -> Result<bool> {
    let [a, b] = &pair.ends;
    Ok(living(house, &a.jail)?.is_some() && living(house, &b.jail)?.is_some())
}
