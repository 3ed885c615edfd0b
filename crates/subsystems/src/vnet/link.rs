//! `vnet.link`: `"NAME SEGMENT [ADDR/LEN ...] [KEY VALUE ...]"`.

use std::{collections::BTreeSet, fmt};

use netlink::link::Mac;
use vimage::{Error, Result};

use super::{
    address::{Cidr, bad_name},
    mac,
};

/// The least and the greatest MTU in bytes: IPv4 needs 68 (RFC 791), veth takes 65,535.
pub const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// One virtual Ethernet interface of a jail, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in the jail.
    pub name: String,
    /// What it is connected to: a segment, or `JAIL:NAME`.
    pub segment: String,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// Its ethernet address, unless it is to have a stable one of ours.
    pub mac: Option<Mac>,
    /// Its MTU in bytes, unless it is to have the usual one.
    pub mtu: Option<u32>,
    /// Whether IPv6 may configure it: a link-local address, router advertisements.
    pub autoconf: bool,
}

impl Spec {
    /// Reads one item.
    ///
    /// # Errors
    /// `vnet.link: "eth0 lan 10.9.0.300/24": not an address`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::usage(format!("vnet.link: \"{text}\": {what}"));
        let mut words = text.split_ascii_whitespace().peekable();
        let (Some(name), Some(segment)) = (words.next(), words.next()) else {
            return Err(bad("a name and a segment are needed").hint("NAME SEGMENT [ADDR/LEN ...]"));
        };
        let mut spec = Self {
            name: name.to_owned(),
            segment: segment.to_owned(),
            addresses: Vec::new(),
            mac: None,
            mtu: None,
            autoconf: false,
        };
        if let Some(wrong) = bad_name(name) {
            return Err(bad(&format!("\"{name}\": {wrong}")));
        }
        if let Some((jail, far)) = spec.cable() {
            if jail.is_empty() || jail.contains(['.', '/', ',']) || jail.contains(char::is_control) {
                let error = bad(&format!("\"{jail}\": not the name of a jail beside this one"));
                return Err(error.hint("JAIL:NAME, where NAME is an interface of that jail"));
            }
            if let Some(wrong) = bad_name(far) {
                return Err(bad(&format!("\"{far}\": {wrong}")));
            }
        } else if let Some(wrong) = bad_name(segment) {
            return Err(bad(&format!("\"{segment}\": {wrong}")));
        }
        while let Some(word) = words.next_if(|word| word.contains('/')) {
            let address = Cidr::of_host(word).map_err(|wrong| bad(&wrong))?;
            if spec.addresses.iter().any(|a| a.ip == address.ip) {
                return Err(bad(&format!("{} twice", address.ip)));
            }
            spec.addresses.push(address);
        }
        let mut seen = BTreeSet::new();
        while let Some(key) = words.next() {
            if key.parse::<std::net::IpAddr>().is_ok() {
                return Err(bad(&format!("{key} lacks the length of its prefix")).hint(format!("{key}/24")));
            }
            if !["mac", "mtu", "autoconf"].contains(&key) {
                return Err(bad(&format!("unknown key \"{key}\"")).hint("mac, mtu, autoconf"));
            }
            if !seen.insert(key) {
                return Err(bad(&format!("{key} twice")));
            }
            let value = words.next().ok_or_else(|| bad(&format!("{key}: value missing")))?;
            match key {
                "mac" => spec.mac = Some(mac::parse(value).ok_or_else(|| bad("not an ethernet address"))?),
                "mtu" => spec.mtu = Some(mtu(value).ok_or_else(|| bad("mtu: not from 68 to 65535"))?),
                _ => spec.autoconf = on(value).ok_or_else(|| bad("autoconf: neither on nor off"))?,
            }
        }
        Ok(spec)
    }

    /// The jail and its interface at the other end of a cable; `None`: the link is on a segment.
    #[must_use]
    pub fn cable(&self) -> Option<(&str, &str)> {
        // The name of a jail may have colons, that of an interface has none.
        self.segment.rsplit_once(':')
    }

    /// Reads all items.
    ///
    /// # Errors
    /// As [`Spec::parse`]; a name twice; an address twice on a segment.
    pub fn parse_all(items: &[String]) -> Result<Vec<Self>> {
        let specs = items.iter().map(|item| Self::parse(item)).collect::<Result<Vec<_>>>()?;
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for spec in &specs {
            if !names.insert(&spec.name) {
                return Err(Error::usage(format!("vnet.link: {} is declared twice", spec.name)));
            }
            for address in &spec.addresses {
                if !addresses.insert((&spec.segment, address.ip)) {
                    let (ip, segment) = (address.ip, &spec.segment);
                    return Err(Error::usage(format!("vnet.link: {ip} twice on segment {segment}")));
                }
            }
        }
        Ok(specs)
    }
}

fn mtu(text: &str) -> Option<u32> {
    text.parse().ok().filter(|mtu| MTU.contains(mtu))
}

fn on(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.segment)?;
        self.addresses.iter().try_for_each(|address| write!(f, " {address}"))?;
        self.mac.map_or(Ok(()), |address| write!(f, " mac {}", mac::text(address)))?;
        self.mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))?;
        if self.autoconf { f.write_str(" autoconf on") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_item_is_read_and_written() {
        for text in [
            "eth0 lan",
            "eth0 lan 10.9.0.11/24",
            "eth0 lan 10.9.0.11/24 fd00::11/64 mac 02:00:00:00:00:07 mtu 1400 autoconf on",
            "eth0 lan mtu 68",
            "eth0 b:eth0 10.0.0.1/30 mtu 1400",
        ] {
            assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        }
        let spec = Spec::parse("  eth0\tlan 10.9.0.11/24 autoconf off").unwrap();
        assert_eq!(spec.to_string(), "eth0 lan 10.9.0.11/24");
    }

    #[test]
    fn errors_name_the_item() {
        let error = |text: &str| Spec::parse(text).unwrap_err().to_string();
        assert_eq!(error("eth0 lan 10.9.0.300/24"), "vnet.link: \"eth0 lan 10.9.0.300/24\": not an address");
        for (text, what) in [
            ("eth0", "a name and a segment are needed"),
            ("", "a name and a segment are needed"),
            ("lo lan", "\"lo\": lo is the loopback interface, which every stack has"),
            ("sixteen-bytes-xx lan", "\"sixteen-bytes-xx\": longer than 15 bytes"),
            ("eth0 lan 10.9.0.1", "10.9.0.1 lacks the length of its prefix"),
            ("eth0 lan 10.9.0.1/24 10.9.0.1/24", "10.9.0.1 twice"),
            ("eth0 lan 224.0.0.1/24", "not an address"),
            ("eth0 lan delay 3", "unknown key \"delay\""),
            ("eth0 lan mtu", "mtu: value missing"),
            ("eth0 lan mtu 67", "mtu: not from 68 to 65535"),
            ("eth0 lan mtu 1400 mtu 1400", "mtu twice"),
            ("eth0 lan mtu 1400 10.0.0.1/8", "unknown key \"10.0.0.1/8\""),
            ("eth0 lan mac 01:00:5e:00:00:01", "not an ethernet address"),
            ("eth0 lan autoconf yes", "autoconf: neither on nor off"),
            ("eth0 :eth0", "\"\": not the name of a jail beside this one"),
            ("eth0 a.b:eth0", "\"a.b\": not the name of a jail beside this one"),
            ("eth0 b:", "\"\": not a name"),
            ("eth0 b:lo", "\"lo\": lo is the loopback interface, which every stack has"),
        ] {
            assert_eq!(error(text), format!("vnet.link: \"{text}\": {what}"));
        }
    }

    #[test]
    fn names_and_addresses_are_declared_once() {
        let error = |items: &[&str]| {
            let items: Vec<_> = items.iter().map(|i| (*i).to_owned()).collect();
            Spec::parse_all(&items).map_err(|e| e.to_string())
        };
        assert_eq!(error(&["a x", "a y"]).unwrap_err(), "vnet.link: a is declared twice");
        assert_eq!(
            error(&["a x 10.0.0.1/8", "b x 10.0.0.1/24"]).unwrap_err(),
            "vnet.link: 10.0.0.1 twice on segment x"
        );
        assert_eq!(error(&["a x 10.0.0.1/8", "b y 10.0.0.1/8"]).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_written_alike(text in "[a-z0-9:/. ]{0,40}|\\PC{0,30}") {
            if let Ok(spec) = Spec::parse(&text) {
                prop_assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec);
            }
        }

        #[test]
        fn what_is_written_is_read(
            ips in prop::collection::hash_set((1u32..0xdfff_ffff, 0u8..=32), 0..4),
            mac in prop::option::of(any::<[u8; 5]>()),
            mtu in prop::option::of(MTU),
            autoconf: bool,
        ) {
            let text = |(ip, len)| format!("{}/{len}", std::net::Ipv4Addr::from_bits(ip));
            let hosts = ips.into_iter().map(text).filter_map(|text| Cidr::of_host(&text).ok());
            let mut addresses: Vec<_> = hosts.collect();
            addresses.dedup_by_key(|a| a.ip);
            addresses.retain(|a| Cidr::of_host(&a.to_string()).is_ok());
            let mac = mac.map(|[a, b, c, d, e]| [2, a, b, c, d, e]);
            let spec = Spec { name: "e0".into(), segment: "s".into(), addresses, mac, mtu, autoconf };
            prop_assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec);
        }
    }
}
