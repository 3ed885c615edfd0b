//! Links: veth pairs with one end in the jail and the other, the port, on a segment.

use std::{collections::BTreeMap, os::fd::AsFd};

use netlink::{
    Route, Socket,
    link::{self, Link, Mac, Peer, Veth},
    route,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vimage::{House, Piece, Result, Site};

use super::{
    address::{self, Cidr},
    bridge,
    link::Spec,
    mac,
    route::Spec as RouteSpec,
    segment::{self, GROUP, INDEX, Place},
    stack::{self, Batch},
};

/// The kind of a link's piece. Its key is the port's name.
pub const KIND: &str = "link";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (KIND, "veth pair");
/// What a link has that is told no MTU, in bytes.
pub const MTU: u32 = 1500;
/// The first index in a new stack: below it are `lo` and the tunnels that some modules put into every stack.
const FIRST: u32 = 16;

/// What is recorded of a link; addresses and the like are in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its name in the jail.
    pub name: String,
    /// The segment, with its scope.
    pub segment: String,
    /// The anchor of the stack with the port.
    pub stack: String,
    /// The port's index there.
    pub index: u32,
    /// The index of the jail's end.
    pub inner: u32,
    /// Whether IPv6 may configure it.
    pub autoconf: bool,
}

impl Made {
    /// What a piece says.
    #[must_use]
    pub fn of(piece: &Piece) -> Option<Self> {
        serde_json::from_value(piece.data.clone()).ok()
    }

    /// The segment as the user names it.
    #[must_use]
    pub fn segment_name(&self) -> &str {
        self.segment.split_once(':').map_or(&self.segment, |(_, name)| name)
    }

    /// The links of a jail, each with its piece.
    pub fn all(pieces: &[Piece]) -> Vec<(Piece, Self)> {
        let links = pieces.iter().filter(|p| p.subsystem == super::NAME && p.kind == KIND);
        links.filter_map(|p| Some((p.clone(), Self::of(p)?))).collect()
    }
}

/// The port of a link that is to be made.
struct Port<'a> {
    spec: &'a Spec,
    place: &'a Place,
    name: String,
    alias: String,
    made: Made,
    mac: Mac,
    mtu: u32,
}

/// Makes links, born with both ends where they belong: one message a link, all of a stack in one sendmsg(2).
/// They are not up in the jail yet.
///
/// # Errors
/// The kernel refuses.
pub fn plug(
    site: &mut Site<'_>,
    jail: impl AsFd,
    places: &BTreeMap<String, Place>,
    specs: &[&Spec],
    first: Option<u32>,
) -> Result<()> {
    let mark = segment::mark(site.house);
    let mut ports = Vec::new();
    for (inner, spec) in (first.unwrap_or(FIRST)..).zip(specs) {
        let Some(place) = places.get(&spec.segment) else { continue };
        let number = site.house.number("ifindex")?;
        let made = Made {
            name: spec.name.clone(),
            segment: segment::key(site.parent, &spec.segment),
            stack: place.anchor.0.clone(),
            index: INDEX + number,
            inner,
            autoconf: spec.autoconf,
        };
        let mac = mac(site.house, site.name, spec)?;
        ports.push(Port {
            spec,
            place,
            // In a stack that others use, too, the name says whose it is.
            name: if place.foreign.is_some() { format!("jail-p{number}") } else { format!("p{number}") },
            alias: format!("jail {} {} {mark}", site.jid, spec.name),
            made,
            mac,
            mtu: mtu(spec, place),
        });
    }
    let pieces = ports.iter().map(|p| Piece::new(KIND, p.name.clone()).with(&p.made)).collect();
    let mut seats: BTreeMap<&str, Vec<bridge::Port>> = BTreeMap::new();
    site.make_all(pieces, || {
        while let Some(stack) = ports.first().map(|p| p.place.anchor.clone()) {
            let (here, elsewhere): (Vec<_>, Vec<_>) =
                ports.into_iter().partition(|p| p.place.anchor == stack);
            ports = elsewhere;
            let on = make(&here, jail.as_fd())?;
            for (port, on) in here.iter().zip(on) {
                seats.entry(&port.spec.segment).or_default().push((port.made.index, on));
            }
        }
        Ok(())
    })?;
    seats.into_iter().try_for_each(|(segment, ports)| bridge::seat(site, segment, &places[segment], &ports))
}

/// The MTU that a link is to have, in bytes.
#[must_use]
pub fn mtu(spec: &Spec, place: &Place) -> u32 {
    spec.mtu.or(place.foreign).unwrap_or(MTU)
}

/// Makes ports that are in one stack; says of each whether it is on the last bridge of its place, or that is full.
fn make(ports: &[Port<'_>], jail: std::os::fd::BorrowedFd<'_>) -> Result<Vec<bool>> {
    let Some(first) = ports.first() else { return Ok(Vec::new()) };
    let mut batch = Batch::default();
    for port in ports {
        let (index, item) = (port.made.index, port.spec);
        let foreign = port.place.foreign.is_some();
        let veth = Veth {
            name: &port.name,
            index: Some(index),
            mac: Some(mac::of_port(port.mac)),
            mtu: Some(port.mtu),
            group: Some(GROUP),
            master: port.place.bridges.last().copied().filter(|_| foreign),
            up: !foreign,
            netns: None,
            peer: Peer {
                name: &port.spec.name,
                index: Some(port.made.inner),
                mac: Some(port.mac),
                mtu: Some(port.mtu),
                netns: Some(jail),
            },
        };
        batch.must(format!("vnet.link: \"{item}\": cannot make it"), veth.create());
        batch.must(format!("vnet.link: \"{item}\": cannot mark it"), link::set_alias(index, &port.alias));
        if foreign {
            // The switch stack has no IPv6 at all. A kernel without it refuses, with one of several errors.
            let quiet = link::set_addr_gen_mode_none(index);
            batch.may("", &[Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::INVAL], quiet);
            batch.must(format!("vnet.link: \"{item}\": cannot bring it up"), link::set_up(index));
        }
    }
    // By messages of their own: a pair that is born on a bridge without room for it costs the 17 ms of a deletion.
    let ours = |port: &&Port<'_>| port.place.foreign.is_none();
    for (port, bridge) in ports.iter().filter(ours).filter_map(|p| Some((p, p.place.bridges.last()?))) {
        let doing = format!("vnet.link: \"{}\": cannot plug it in", port.spec);
        batch.may(doing, &[Errno::XFULL], link::set_master(port.made.index, *bridge));
    }
    let others = batch.len() - ports.iter().filter(ours).count();
    let mut on = batch.answers(&mut stack::socket(&first.place.stack)?)?.split_off(others).into_iter();
    Ok(ports.iter().map(|port| port.place.foreign.is_some() || on.next() == Some(true)).collect())
}

/// The ethernet address that a new link of a jail's is to have.
///
/// # Errors
/// [`mac::stable`]'s.
pub fn mac(house: &dyn House, jail: &str, spec: &Spec) -> Result<Mac> {
    spec.mac.map_or_else(|| mac::stable(house, jail, &spec.name), Ok)
}

/// Whether a link has a link-local address from us.
///
/// IPv6 wants one wherever it is used: a router's neighbours know it by that, and it asks for them from that.
/// Where none is given, and the kernel makes none since that would not be quiet, it is ours to add.
#[must_use]
pub fn is_given_link_local(spec: &Spec) -> bool {
    !spec.autoconf && address::lacks_link_local(&spec.addresses)
}

/// The addresses that a new link of a jail's is to have.
///
/// # Errors
/// [`mac::stable`]'s.
pub fn all_addresses(house: &dyn House, jail: &str, spec: &Spec) -> Result<Vec<Cidr>> {
    let mut all = spec.addresses.clone();
    if is_given_link_local(spec) {
        all.push(Cidr::link_local(mac(house, jail, spec)?));
    }
    Ok(all)
}

/// Adds to a batch what makes a new link of a jail's ready: quiet unless it asks for IPv6's own ways, with
/// [`all_addresses`], up.
pub fn configure(batch: &mut Batch, spec: &Spec, addresses: &[Cidr], index: u32) {
    if !spec.autoconf {
        let quiet = link::set_addr_gen_mode_none(index);
        batch.may("", &[Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::INVAL], quiet);
    }
    add(batch, spec, addresses, index);
    batch.must(format!("vnet.link: \"{spec}\": cannot bring it up"), link::set_up(index));
}

/// Adds to a batch what gives a link its addresses; one that it has is as good.
pub fn add(batch: &mut Batch, spec: &Spec, addresses: &[Cidr], index: u32) {
    for address in addresses {
        let doing = format!("vnet.link: \"{spec}\": cannot add {address}");
        batch.may(doing, &[Errno::EXIST], netlink::address::add(index, address.ip, address.len));
    }
}

/// Adds routes to a batch, which the links must be up for; one that there is is as good.
///
/// # Errors
/// A route names an interface that does not exist.
pub fn routes(batch: &mut Batch, routes: &[RouteSpec], index: impl Fn(&str) -> Option<u32>) -> Result<()> {
    for spec in routes {
        let route = spec.resolve(&index)?;
        batch.may(format!("vnet.route: \"{spec}\""), &[Errno::EXIST], route::add(&route));
    }
    Ok(())
}

/// Deletes what a piece recorded by stack and index, if it is still there and ours. With one end goes the
/// other.
///
/// # Errors
/// The kernel refuses.
pub fn delete(house: &dyn House, piece: &Piece) -> Result<()> {
    let Some((mut socket, link)) = find(house, piece)? else { return Ok(()) };
    let mut batch = Batch::default();
    batch.may(format!("cannot delete {}", link.name), &[Errno::NODEV], link::delete(link.index));
    batch.send(&mut socket)
}

/// What a piece recorded by stack and index, with a socket where it is.
///
/// # Errors
/// The kernel could not be asked.
pub fn find(house: &dyn House, piece: &Piece) -> Result<Option<(Socket<Route>, Link)>> {
    let (Some(anchor), Some(index)) = (piece.text("stack"), piece.number("index")) else { return Ok(None) };
    let Some(stack) = stack::recorded(house, anchor)? else { return Ok(None) };
    let mut socket = stack::socket(&stack)?;
    let index = u32::try_from(index).unwrap_or_default();
    let link = socket.link_by_index(index).map_err(stack::refused)?;
    Ok(link.filter(|link| link.name == piece.key && link.group == GROUP).map(|link| (socket, link)))
}
