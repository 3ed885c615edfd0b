//! `vnet.member`: `"SEGMENT INTERFACE ..."`, interfaces of the parent's as ports of a segment: a tap of a virtual
//! machine, a card, an end of somebody's veth pair.
//!
//! One that becomes a port of a segment of ours moves into the switch stack, under a name of ours, and comes home as
//! `vnet.interface`'s do. With a foreign bridge it stays where it is. All jails that ask for an interface share it.

use std::{collections::BTreeSet, fmt, os::fd::AsFd as _};

use netlink::link::{self, Link};
use rustix::io::Errno;
use serde_json::{Value, json};
use vimage::{Error, ErrorKind, House, Instance, Result, Shared, Site};

use super::{
    NAME,
    address::bad_name,
    borrowed::{self, Was},
    bridge,
    segment::{self, Around, Place, is_ours},
    stack::{self, Batch},
    visitor::{KIND, Member, give_back, settings},
};

/// What the keys of what jails share begin with.
pub const PREFIX: &str = "member/";

/// The members of one segment, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The segment.
    pub segment: String,
    /// The parent's interfaces.
    pub interfaces: Vec<String>,
}

impl Spec {
    /// Reads one item.
    ///
    /// # Errors
    /// `vnet.member: "lan": an interface is needed`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::usage(format!("vnet.member: \"{text}\": {what}"));
        let mut words = text.split_ascii_whitespace().map(|word| match bad_name(word) {
            Some(wrong) => Err(bad(&format!("\"{word}\": {wrong}"))),
            None => Ok(word.to_owned()),
        });
        let Some(segment) = words.next().transpose()? else { return Err(bad("a segment is needed")) };
        let interfaces = words.collect::<Result<Vec<_>>>()?;
        if interfaces.is_empty() {
            return Err(bad("an interface is needed").hint("SEGMENT INTERFACE ..."));
        }
        Ok(Self { segment, interfaces })
    }

    /// Reads all items.
    ///
    /// # Errors
    /// As [`Spec::parse`]; an interface twice.
    pub fn parse_all(items: &[String]) -> Result<Vec<Self>> {
        let specs = items.iter().map(|item| Self::parse(item)).collect::<Result<Vec<_>>>()?;
        let mut names = BTreeSet::new();
        match specs.iter().flat_map(|spec| &spec.interfaces).find(|name| !names.insert(*name)) {
            Some(name) => Err(Error::usage(format!("vnet.member: {name} is declared twice"))),
            None => Ok(specs),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        self.interfaces.iter().try_for_each(|name| write!(f, " {name}"))
    }
}

/// The key of an interface in the list of what is shared, with the scope of its name.
#[must_use]
pub fn key(parent: Option<&Instance<'_>>, name: &str) -> String {
    format!("{PREFIX}{}", segment::key(parent, name))
}

/// Checks that interfaces can become ports of a segment, unless they are some already.
///
/// # Errors
/// `vnet.member: cannot plug "tap0" into segment lan: No such device`.
pub fn check(
    around: &mut Around<'_>,
    house: &dyn House,
    parent: Option<&Instance<'_>>,
    spec: &Spec,
) -> Result<()> {
    let foreign = around.foreign(house, "vnet.member", &spec.segment)?.map(|bridge| bridge.index);
    for name in &spec.interfaces {
        let record = Shared::name(NAME, &key(parent, name));
        if Shared::is_used(house.shelf(), &record) {
            continue;
        }
        // Another command may have made it a member since we looked.
        match look(around, &spec.segment, foreign, name) {
            Err(_) if Shared::is_used(house.shelf(), &record) => {}
            looked => drop(looked?),
        }
    }
    Ok(())
}

/// An interface that can become a port of a segment, which may be a foreign bridge.
fn look(around: &mut Around<'_>, segment: &str, foreign: Option<u32>, name: &str) -> Result<Link> {
    let bad = |kind, what: &str| Error::new(kind, format!("{}: {what}", cannot(segment, name)));
    let socket = around.socket()?;
    let Some(link) = socket.link_by_name(name).map_err(stack::refused)? else {
        return Err(bad(ErrorKind::NotFound, "No such device").hint("another jail may have it"));
    };
    if link.kind.as_deref() == Some("bridge") {
        let error = bad(ErrorKind::Usage, "a bridge cannot be a port of another");
        return Err(error.hint(format!("a segment named {name} is this bridge")));
    }
    if is_ours(&link) {
        return Err(bad(ErrorKind::Busy, "it connects jails"));
    }
    if link.mac.is_none() {
        return Err(bad(ErrorKind::Usage, "it is no ethernet interface"));
    }
    if let Some(master) = link.master.filter(|master| foreign != Some(*master)) {
        let master = socket.link_by_index(master).map_err(stack::refused)?;
        let master = master.map_or_else(|| "another".to_owned(), |master| master.name);
        return Err(bad(ErrorKind::Busy, &format!("it is a port of {master}"))
            .hint(format!("ip link set {name} nomaster")));
    }
    Ok(link)
}

fn cannot(segment: &str, name: &str) -> String {
    format!("vnet.member: cannot plug \"{name}\" into segment {segment}")
}

/// Makes interfaces ports of a segment, which all jails that ask for them share. One that is gone, and is there anew,
/// becomes a port again.
///
/// # Errors
/// As [`check`]; one is on another segment; the kernel refuses.
pub fn share(site: &mut Site<'_>, around: &mut Around<'_>, place: &Place, spec: &Spec) -> Result<()> {
    let segment = &spec.segment;
    for name in &spec.interfaces {
        let key = key(site.parent, name);
        let on = site.share(&key, |site| take(site, around, place, (segment, name)))?;
        if on != json!(segment::key(site.parent, segment)) {
            let there = on.as_str().and_then(|on| on.split_once(':')).map_or("another", |(_, there)| there);
            let what = format!("{}: it is on segment {there}", cannot(segment, name));
            return Err(Error::new(ErrorKind::Busy, what));
        }
        let (_, pieces) = Shared::peek(site.house.shelf(), &Shared::name(NAME, &key))?;
        let Some(piece) = pieces.into_iter().find(|piece| piece.kind == KIND) else { continue };
        if Member::of(&piece)?.find(site.house)?.is_some() {
            continue;
        }
        if around.socket()?.link_by_name(name).map_err(stack::refused)?.is_none() {
            site.house.tell(format!("{}: vnet.member: \"{name}\" is gone", site.name));
            continue;
        }
        site.grow(&key, |site, on| {
            let house = site.house;
            // Another command may have done it since.
            let there = site.instance().pieces_of(NAME, KIND).next().cloned();
            if let Some(piece) = there {
                if Member::of(&piece)?.find(house)?.is_some() {
                    return Ok(on.clone());
                }
                site.unmake(&piece, || give_back(house, &piece))?;
            }
            take(site, around, place, (segment, name))
        })?;
    }
    Ok(())
}

/// Ends the use of interfaces that are not wanted, or elsewhere than they are, in the course of an update.
///
/// # Errors
/// The kernel refuses.
pub fn leave(site: &mut Site<'_>, wanted: &[Spec], uses: Vec<String>) -> Result<()> {
    for used in uses {
        let on = site.shared(&used)?;
        let stays = wanted.iter().any(|spec| {
            let is_it = |name: &String| key(site.parent, name) == used;
            on == json!(segment::key(site.parent, &spec.segment)) && spec.interfaces.iter().any(is_it)
        });
        if !stays {
            site.leave(&used)?;
        }
    }
    Ok(())
}

/// Makes an interface a port; returns its segment. One that is a port of the foreign bridge already stays as it is.
fn take(
    site: &mut Site<'_>,
    around: &mut Around<'_>,
    place: &Place,
    (segment, name): (&str, &str),
) -> Result<Value> {
    let foreign = place.bridges.first().copied().filter(|_| place.foreign.is_some());
    let link = look(around, segment, foreign, name)?;
    let on = json!(segment::key(site.parent, segment));
    if link.master.is_some() {
        return Ok(on);
    }
    let home = around.fd()?;
    let port = match foreign {
        Some(_) => name.to_owned(),
        // In the switch there are interfaces of several parents, which may have one name.
        None => format!("m{}", site.house.number("ifindex")?),
    };
    let member = Member {
        was: Was {
            name: name.to_owned(),
            home: site.house.anchor("net", home.as_fd())?.0,
            jail: place.anchor.0.clone(),
            index: link.index,
            mac: link.mac,
            mtu: link.mtu,
            kind: link.kind,
            up: link.up,
            master: None,
            alias: link.alias,
        },
        port,
        bridge: foreign,
        conf: if foreign.is_some() { Vec::new() } else { settings(&home, name)? },
    };
    let alias = borrowed::alias(site.house, &member.was)?;
    let doing = || cannot(segment, name);
    let (index, on_it) = site.make(member.piece(), || {
        let mut batch = Batch::default();
        batch.must(doing(), link::set_alias(link.index, &alias));
        if foreign.is_none() {
            batch.must(doing(), link::set_netns(link.index, place.stack.as_fd(), Some(&member.port)));
            std::mem::take(&mut batch).send(around.socket()?)?;
        }
        let mut socket = stack::socket(&place.stack)?;
        let Some(port) = socket.link_by_name(&member.port).map_err(stack::refused)? else {
            return Err(Error::new(ErrorKind::NotFound, "it is gone already").doing(doing()));
        };
        batch.must(doing(), link::set_up(port.index));
        if let Some(bridge) = place.bridges.last() {
            let full: &[Errno] = if foreign.is_some() { &[] } else { &[Errno::XFULL] };
            batch.may(doing(), full, link::set_master(port.index, *bridge));
        }
        Ok((port.index, batch.answers(&mut socket)?.last() == Some(&true)))
    })?;
    if foreign.is_none() {
        bridge::seat(site, segment, place, &[(index, on_it)])?;
    }
    Ok(on)
}

/// The members that a jail asks for: the segment's name, its name at home, and the port if it is there.
///
/// # Errors
/// A record cannot be read, or the kernel not be asked.
pub fn all(of: &Instance<'_>) -> Result<Vec<(String, String, Option<Link>)>> {
    let mut all = Vec::new();
    for spec in Spec::parse_all(of.settings.list("vnet.member"))? {
        for name in spec.interfaces {
            let record = Shared::name(NAME, &key(of.parent, &name));
            let (_, pieces) = Shared::peek(of.house.shelf(), &record)?;
            let piece = pieces.iter().find(|piece| piece.kind == KIND);
            let found = piece.map(|piece| Member::of(piece)?.find(of.house)).transpose()?.flatten();
            let link = match (found, piece) {
                (Some((_, link)), _) => Some(link),
                (None, Some(_)) => None,
                // It was a port of the foreign bridge before.
                (None, None) => stack::around(of.parent)?.1.link_by_name(&name).map_err(stack::refused)?,
            };
            all.push((spec.segment.clone(), name, link));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_item_is_read_and_written() {
        for text in ["lan tap0", "br0 tap0 eth1.100"] {
            assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        }
        for (text, what) in [
            ("", "a segment is needed"),
            ("lan", "an interface is needed"),
            ("lan t/p", "\"t/p\": a name has letters, digits and signs other than / : % , \""),
        ] {
            let error = Spec::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("vnet.member: \"{text}\": {what}"));
        }
        let twice = ["lan tap0".to_owned(), "wan tap1 tap0".to_owned()];
        assert_eq!(Spec::parse_all(&twice).unwrap_err().to_string(), "vnet.member: tap0 is declared twice");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_written(text in "[a-z0-9 ./]{0,20}|\\PC{0,30}") {
            if let Ok(spec) = Spec::parse(&text) {
                prop_assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec);
            }
        }
    }
}
