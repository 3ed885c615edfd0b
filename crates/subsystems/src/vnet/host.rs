//! `vnet.host`: `"SEGMENT ADDR/LEN ..."`, the parent's own interface on a segment of ours.

use std::{collections::BTreeSet, fmt};

use netlink::link::{self, Mac, Peer, Veth};
use rustix::io::Errno;
use serde_json::json;
use vimage::{Cause as _, Error, ErrorKind, Piece, Result, Site};

use super::{
    address::{self, Cidr, bad_name},
    bridge, claim, mac,
    port::{KIND, Made},
    segment::{self, Around, GROUP, INDEX, Place},
    stack::{self, Batch},
};

/// One interface of the parent's, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The segment, and the interface's name.
    pub segment: String,
    /// The parent's addresses on it.
    pub addresses: Vec<Cidr>,
}

impl Spec {
    /// Reads one item.
    ///
    /// # Errors
    /// `vnet.host: "lan 10.9.0.1": not an address`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::usage(format!("vnet.host: \"{text}\": {what}"));
        let mut words = text.split_ascii_whitespace();
        let Some(segment) = words.next() else { return Err(bad("a segment is needed")) };
        if let Some(wrong) = bad_name(segment) {
            return Err(bad(&format!("\"{segment}\": {wrong}")));
        }
        let mut spec = Self { segment: segment.to_owned(), addresses: Vec::new() };
        for word in words {
            let address = Cidr::of_host(word).map_err(|wrong| bad(&wrong))?;
            if spec.addresses.iter().any(|a| a.ip == address.ip) {
                return Err(bad(&format!("{} twice", address.ip)));
            }
            spec.addresses.push(address);
        }
        if spec.addresses.is_empty() {
            return Err(bad("an address is needed").hint("SEGMENT ADDR/LEN ..."));
        }
        Ok(spec)
    }

    /// Reads all items.
    ///
    /// # Errors
    /// As [`Spec::parse`]; a segment twice.
    pub fn parse_all(items: &[String]) -> Result<Vec<Self>> {
        let specs = items.iter().map(|item| Self::parse(item)).collect::<Result<Vec<_>>>()?;
        let mut names = BTreeSet::new();
        match specs.iter().find(|spec| !names.insert(&spec.segment)) {
            Some(spec) => Err(Error::usage(format!("vnet.host: {} is declared twice", spec.segment))),
            None => Ok(specs),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        self.addresses.iter().try_for_each(|address| write!(f, " {address}"))
    }
}

/// The owner of the parent's claims.
pub const OWNER: &str = "the parent";

/// What the alias of the parent's end says behind `jail`; that of the port says `parent`.
pub const END: &str = "host";

/// The key of a parent's interface, with its scope, in the list of what is shared.
#[must_use]
pub fn key(site: &Site<'_>, segment: &str) -> String {
    format!("host/{}", segment::key(site.parent, segment))
}

/// Gives the parent its interface, which all jails that ask for it share. The first one's addresses hold.
///
/// # Errors
/// The segment is a foreign bridge; another jail asked for other addresses; the kernel refuses.
pub fn share(site: &mut Site<'_>, around: &mut Around<'_>, place: &Place, spec: &Spec) -> Result<()> {
    if place.foreign.is_some() {
        let error = Error::usage(format!("vnet.host: {} is a bridge of the parent's own", spec.segment));
        return Err(error.hint("give the bridge the address"));
    }
    let data = site.share(&key(site, &spec.segment), |site| make(site, around, place, spec))?;
    let there: Vec<Cidr> = serde_json::from_value(data)
        .map_err(|e| e.cause().doing("the record of vnet.host makes no sense"))?;
    match spec.addresses.iter().find(|address| !there.contains(address)) {
        None => Ok(()),
        Some(address) => {
            let there = Spec { segment: spec.segment.clone(), addresses: there };
            let error = Error::new(
                ErrorKind::Exists,
                format!("vnet.host: \"{spec}\": {address} is not what another jail asked for"),
            );
            Err(error.hint(format!("vnet.host=\"{there}\"")))
        }
    }
}

fn make(
    site: &mut Site<'_>,
    around: &mut Around<'_>,
    place: &Place,
    spec: &Spec,
) -> Result<serde_json::Value> {
    let segment = segment::key(site.parent, &spec.segment);
    for address in &spec.addresses {
        claim::make(site, claim::piece(&segment, address.ip, OWNER, &spec.segment))?;
    }
    let mark = segment::mark(site.house);
    let number = site.house.number("ifindex")?;
    let made = Made {
        name: spec.segment.clone(),
        segment,
        stack: place.anchor.0.clone(),
        index: INDEX + number,
        inner: 0,
        autoconf: false,
    };
    let name = format!("p{number}");
    let mac = mac::stable(site.house, "host", &made.segment)?;
    let alias = |end: &str| format!("jail {end} {} {mark}", spec.segment);
    let outside = around.fd()?;
    let on = site.make(Piece::new(KIND, name.clone()).with(&made), || {
        let veth = Veth {
            name: &name,
            index: Some(made.index),
            group: Some(GROUP),
            up: true,
            peer: Peer {
                name: &spec.segment,
                mac: Some(mac),
                netns: Some(std::os::fd::AsFd::as_fd(&outside)),
                ..Peer::default()
            },
            ..Veth::default()
        };
        let mut batch = Batch::default();
        batch.must(format!("vnet.host: \"{spec}\": cannot make the interface"), veth.create());
        batch.must(
            format!("vnet.host: \"{spec}\": cannot mark it"),
            link::set_alias(made.index, &alias("parent")),
        );
        if let Some(bridge) = place.bridges.last() {
            let doing = format!("vnet.host: \"{spec}\": cannot plug it in");
            batch.may(doing, &[Errno::XFULL], link::set_master(made.index, *bridge));
        }
        let answers = batch.answers(&mut stack::socket(&place.stack)?)?;
        dress(around, spec, mac, &alias(END))?;
        Ok(answers.last() == Some(&true))
    })?;
    bridge::seat(site, &spec.segment, place, &[(made.index, on)])?;
    Ok(json!(spec.addresses))
}

/// Marks the parent's end, gives it its addresses and brings it up.
fn dress(around: &mut Around<'_>, spec: &Spec, mac: Mac, alias: &str) -> Result<()> {
    let found = around.socket()?.link_by_name(&spec.segment).map_err(stack::refused)?;
    let Some(found) = found else {
        return Err(Error::new(ErrorKind::Failed, format!("vnet.host: {} is gone already", spec.segment)));
    };
    let mut batch = Batch::default();
    let doing = || format!("vnet.host: \"{spec}\"");
    batch.must(doing(), link::set_group(found.index, GROUP));
    batch.must(doing(), link::set_alias(found.index, alias));
    let no_ipv6 = &[Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::INVAL];
    batch.may("", no_ipv6, link::set_addr_gen_mode_none(found.index));
    // As for a jail's link.
    let local = address::lacks_link_local(&spec.addresses).then(|| Cidr::link_local(mac));
    for address in spec.addresses.iter().copied().chain(local) {
        let doing = format!("vnet.host: \"{spec}\": cannot add {address}");
        batch.must(doing, netlink::address::add(found.index, address.ip, address.len));
    }
    batch.must(doing(), link::set_up(found.index));
    batch.send(around.socket()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_read_and_written() {
        for text in ["lan 10.9.0.1/24", "lan 10.9.0.1/24 fd00::1/64"] {
            assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        }
        for (text, what) in [
            ("", "a segment is needed"),
            ("lan", "an address is needed"),
            ("lan 10.9.0.1", "not an address"),
            ("lan 10.9.0.1/8 10.9.0.1/24", "10.9.0.1 twice"),
            ("l/n 10.9.0.1/8", "\"l/n\": a name has letters, digits and signs other than / : % , \""),
        ] {
            let error = Spec::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("vnet.host: \"{text}\": {what}"));
        }
        let twice = ["lan 10.0.0.1/8".to_owned(), "lan 10.0.0.2/8".to_owned()];
        assert_eq!(Spec::parse_all(&twice).unwrap_err().to_string(), "vnet.host: lan is declared twice");
    }
}
