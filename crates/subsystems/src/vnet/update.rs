//! `jail -m`: a living jail's stack, changed to what its parameters now say.
//!
//! What is there is read from the pieces, not from the old values: an update that failed half way is
//! changed back by another one.

use std::collections::BTreeMap;

use netlink::{
    Route, Socket, address,
    link::{self, Mac},
    route,
};
use rustix::io::Errno;
use vimage::{Result, Settings, Shared, Site};

use super::{
    NAME,
    address::Cidr,
    birth::{self, Wanted},
    borrowed, cable, claim, host, interface,
    link::Spec,
    member, pair,
    port::{self, Made},
    segment::{self, Around, Place},
    stack::{self, Batch},
    sysctl,
};

/// Changes the stack: what is not wanted goes, what stays is changed in place, what is new comes.
///
/// # Errors
/// The kernel refuses something.
pub fn update(site: &mut Site<'_>, old: &Settings) -> Result<()> {
    let wanted = Wanted::of(site.settings)?;
    let jail = birth::own_stack(site)?;
    let mut around = Around::of(site.parent);
    let mut inside = stack::socket::<Route>(&*jail)?;
    unplug(site, &wanted)?;
    cable::leave(site, &wanted)?;
    leave_hosts(site, &wanted, old)?;
    let members = uses(site, member::PREFIX);
    member::leave(site, &wanted.members, members)?;
    birth::connect(site, &mut around, &wanted)?;
    let places = segment::places(site, &mut around, wanted.segments())?;
    let old_links = Spec::parse_all(old.list("vnet.link")).unwrap_or_default();
    change(site, &mut inside, &wanted, &old_links, &places)?;
    let there: Vec<_> = Made::all(site.instance().pieces).into_iter().map(|(_, made)| made.name).collect();
    let new: Vec<_> = wanted.links.iter().filter(|l| !there.contains(&l.name)).collect();
    if !new.is_empty() {
        for link in &new {
            birth::claims(site, link)?;
        }
        let links = inside.links().map_err(stack::refused)?;
        let first = links.iter().map(|l| l.index + 1).filter(|index| *index < segment::INDEX).max();
        port::plug(site, &*jail, &places, &new, first)?;
        let quiet: Vec<_> = new.iter().filter(|l| !l.autoconf).map(|l| l.name.as_str()).collect();
        sysctl::set(&*jail, &[], &quiet)?;
        let mut batch = Batch::default();
        for (_, made) in Made::all(site.instance().pieces) {
            if let Some(spec) = new.iter().find(|l| l.name == made.name) {
                let addresses = port::all_addresses(site.house, site.name, spec)?;
                port::configure(&mut batch, spec, &addresses, made.inner);
            }
        }
        batch.send(&mut inside)?;
    }
    cables(site, &mut inside, &wanted, &old_links)?;
    interfaces(site, &mut around, &wanted)?;
    sysctl::change(site, &*jail, &wanted.sysctls, old)?;
    change_routes(&mut inside, &wanted, old)?;
    leave_segments(site, &wanted)
}

/// Removes the links that are not wanted, or not as they are, and the addresses that are not.
fn unplug(site: &mut Site<'_>, wanted: &Wanted) -> Result<()> {
    let house = site.house;
    let scoped = |spec: &Spec| segment::key(site.parent, &spec.segment);
    let wants: BTreeMap<_, _> = wanted.links.iter().map(|l| (l.name.clone(), (scoped(l), l))).collect();
    let stays = |made: &Made| {
        wants.get(&made.name).is_some_and(|(key, l)| *key == made.segment && l.autoconf == made.autoconf)
    };
    for (piece, _) in Made::all(site.instance().pieces).into_iter().filter(|(_, made)| !stays(made)) {
        site.unmake(&piece, || port::delete(house, &piece))?;
    }
    let claims: Vec<_> = site.instance().pieces_of(NAME, claim::KIND).cloned().collect();
    for piece in claims {
        let link = piece.text("link").and_then(|name| wants.get(name));
        let key = |(key, link): &(String, &Spec)| {
            link.addresses.iter().any(|a| format!("{key},{}", a.ip) == piece.key)
        };
        if !link.is_some_and(key) {
            site.unmake(&piece, || claim::undo(house, &piece))?;
        }
    }
    Ok(())
}

/// Changes links that stay: ethernet address, MTU, addresses.
fn change(
    site: &mut Site<'_>,
    inside: &mut Socket<Route>,
    wanted: &Wanted,
    old: &[Spec],
    places: &BTreeMap<String, Place>,
) -> Result<()> {
    for (_, made) in Made::all(site.instance().pieces) {
        let find = |links: &[Spec]| links.iter().find(|l| l.name == made.name).cloned();
        let (Some(spec), Some(place)) = (find(&wanted.links), places.get(made.segment_name())) else {
            continue;
        };
        let old = find(old).unwrap_or_else(|| spec.clone());
        birth::claims(site, &spec)?;
        let mtu = port::mtu(&spec, place);
        if spec.mtu != old.mtu {
            let mut port = Batch::default();
            port.must(format!("vnet.link: \"{spec}\": cannot change it"), link::set_mtu(made.index, mtu));
            port.send(&mut stack::socket(&place.stack)?)?;
        }
        change_one(site, inside, (&old, &spec), made.inner, mtu)?;
    }
    Ok(())
}

/// Changes the jail's end of a link from one declaration to another.
fn change_one(
    site: &Site<'_>,
    inside: &mut Socket<Route>,
    (old, spec): (&Spec, &Spec),
    index: u32,
    mtu: u32,
) -> Result<()> {
    let doing = || format!("vnet.link: \"{spec}\": cannot change it");
    let mut batch = Batch::default();
    let (had, wants) = (port::is_given_link_local(old), port::is_given_link_local(spec));
    let is_new = spec.mac != old.mac;
    // Not from the jail's name: it may have had another when the link was made.
    let asks = (is_new && (had || wants)) || had != wants;
    let link = if asks { inside.link_by_index(index).map_err(stack::refused)? } else { None };
    let before = link.and_then(|link| link.mac);
    let now = if is_new { Some(port::mac(site.house, site.name, spec)?) } else { before };
    if let Some(mac) = now.filter(|_| is_new) {
        batch.must(doing(), link::set_mac(index, mac));
    }
    if spec.mtu != old.mtu {
        batch.must(doing(), link::set_mtu(index, mtu));
    }
    let local = |is: bool, mac: Option<Mac>| mac.filter(|_| is && asks).map(Cidr::link_local);
    // What the jail's own root has added is in no list, and stays.
    let gone = old.addresses.iter().filter(|a| !spec.addresses.contains(a)).copied();
    for gone in gone.chain(local(had, before)) {
        batch.may(doing(), &[Errno::ADDRNOTAVAIL], address::delete(index, gone.ip, gone.len));
    }
    // After the others went: with the first address of a network IPv4 drops the others of it.
    let addresses: Vec<_> = spec.addresses.iter().copied().chain(local(wants, now)).collect();
    port::add(&mut batch, spec, &addresses, index);
    batch.send(inside)
}

/// Plugs in the cables, and changes those that stay.
fn cables(site: &mut Site<'_>, inside: &mut Socket<Route>, wanted: &Wanted, old: &[Spec]) -> Result<()> {
    let indexes = cable::furnish(site, wanted)?;
    for spec in &wanted.cables {
        let old = old.iter().find(|l| l.name == spec.name).unwrap_or(spec);
        let Some((_, index)) = indexes.iter().find(|(name, _)| *name == spec.name) else { continue };
        change_one(site, inside, (old, spec), *index, spec.mtu.unwrap_or(port::MTU))?;
    }
    Ok(())
}

/// Returns interfaces that are not wanted, and takes those that are.
fn interfaces(site: &mut Site<'_>, around: &mut Around<'_>, wanted: &Wanted) -> Result<()> {
    let pieces: Vec<_> = site.instance().pieces_of(NAME, borrowed::KIND).cloned().collect();
    let mut there = Vec::new();
    for piece in pieces {
        let name = piece.text("name").unwrap_or_default().to_owned();
        if wanted.interfaces.contains(&name) {
            there.push(name);
        } else {
            let (house, from) = (site.house, site.name);
            site.unmake(&piece, || interface::give_back(house, from, &piece))?;
        }
    }
    if wanted.interfaces.is_empty() {
        return interface::let_go(site);
    }
    let jail = birth::own_stack(site)?;
    let new = wanted.interfaces.iter().filter(|name| !there.contains(name));
    new.into_iter().try_for_each(|name| interface::take(site, around, &jail, name))
}

/// Takes away old routes that are not wanted, and adds those that are: the kernel may have dropped some with
/// a link or an address.
fn change_routes(inside: &mut Socket<Route>, wanted: &Wanted, old: &Settings) -> Result<()> {
    let links = inside.links().map_err(stack::refused)?;
    let index = |name: &str| links.iter().find(|l| l.name == name).map(|l| l.index);
    let mut batch = Batch::default();
    for spec in super::route::Spec::parse_all(old.list("vnet.route")).unwrap_or_default() {
        // A route by an interface that is gone went with it.
        if let (false, Ok(route)) = (wanted.routes.contains(&spec), spec.resolve(index)) {
            batch.may(format!("vnet.route: cannot delete \"{spec}\""), &[Errno::SRCH], route::delete(&route));
        }
    }
    port::routes(&mut batch, &wanted.routes, index)?;
    batch.send(inside)
}

/// Leaves the parent's interfaces that are not wanted, or with other addresses than they have.
fn leave_hosts(site: &mut Site<'_>, wanted: &Wanted, old: &Settings) -> Result<()> {
    let old = host::Spec::parse_all(old.list("vnet.host")).unwrap_or_default();
    for key in uses(site, "host/") {
        let same = |list: &[host::Spec]| {
            list.iter().find(|h| host::key(site, &h.segment) == key).map(|h| h.addresses.clone())
        };
        if same(&wanted.hosts).is_none_or(|addresses| same(&old) != Some(addresses)) {
            site.leave(&key)?;
        }
    }
    Ok(())
}

/// Leaves the segments that are not wanted, and the switch if none is left.
fn leave_segments(site: &mut Site<'_>, wanted: &Wanted) -> Result<()> {
    let wants: Vec<_> =
        wanted.segments().map(|name| format!("segment/{}", segment::key(site.parent, name))).collect();
    for key in uses(site, "segment/") {
        if !wants.contains(&key) {
            site.leave(&key)?;
        }
    }
    match uses(site, "segment/").is_empty() && uses(site, pair::PREFIX).is_empty() {
        true => uses(site, segment::SWITCH).iter().try_for_each(|key| site.leave(key)),
        false => Ok(()),
    }
}

/// The keys of what the jail uses together with others.
pub fn uses(site: &Site<'_>, start: &str) -> Vec<String> {
    let instance = site.instance();
    instance
        .pieces_of(NAME, Shared::USE)
        .map(|p| p.key.clone())
        .filter(|key| key.starts_with(start))
        .collect()
}
