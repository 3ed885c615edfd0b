//! `vnet.route`: `"DEST via GW [dev NAME]"`, `"DEST dev NAME"`.

use std::{fmt, net::IpAddr};

use netlink::{Af, route};
use vimage::{Error, Result};

use super::address::Cidr;

/// One route, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The network; `None`: `default`.
    pub dest: Option<Cidr>,
    /// The next router.
    pub via: Option<IpAddr>,
    /// The interface it leaves by.
    pub dev: Option<String>,
}

impl Spec {
    /// Reads one item. A default route without a gateway is one of IPv4, as with ip-route(8).
    ///
    /// # Errors
    /// `vnet.route: "10.0.0.0/8 by 10.9.0.1": neither via nor dev`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| Error::usage(format!("vnet.route: \"{text}\": {what}"));
        let usage = "DEST via GATEWAY, or DEST dev NAME; DEST is default or a prefix";
        let mut words = text.split_ascii_whitespace();
        let dest = match words.next() {
            None => return Err(bad("a destination is needed").hint(usage)),
            Some("default") => None,
            Some(word) => Some(Cidr::parse(word).ok_or_else(|| bad("not a prefix").hint(usage))?),
        };
        if let Some(dest) = dest.filter(|dest| dest.network() != *dest) {
            return Err(bad("a network has no host bits").hint(dest.network()));
        }
        let mut spec = Self { dest, via: None, dev: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| bad(&format!("{word}: value missing")).hint(usage))?;
            match word {
                "via" if spec.via.is_none() => {
                    spec.via = Some(value.parse().map_err(|_| bad("not an address"))?);
                }
                "dev" if spec.dev.is_none() => spec.dev = Some(value.to_owned()),
                "via" | "dev" => return Err(bad(&format!("{word} twice"))),
                _ => return Err(bad("neither via nor dev").hint(usage)),
            }
        }
        match (dest, spec.via) {
            (Some(dest), Some(via)) if dest.ip.is_ipv4() != via.is_ipv4() => {
                Err(bad("destination and gateway are of two families"))
            }
            _ if spec.via.is_none() && spec.dev.is_none() => {
                Err(bad("a gateway or an interface is needed").hint(usage))
            }
            _ => Ok(spec),
        }
    }

    /// Reads all items.
    ///
    /// # Errors
    /// As [`Spec::parse`]; one twice.
    pub fn parse_all(items: &[String]) -> Result<Vec<Self>> {
        let mut specs: Vec<Self> = Vec::with_capacity(items.len());
        for item in items {
            let spec = Self::parse(item)?;
            if specs.iter().any(|s| s.dest == spec.dest && s.family() == spec.family()) {
                return Err(Error::usage(format!("vnet.route: \"{item}\": a second route to one network")));
            }
            specs.push(spec);
        }
        Ok(specs)
    }

    fn family(&self) -> Af {
        self.dest.map(|dest| dest.ip).or(self.via).map_or(Af::Inet, Af::from)
    }

    /// As the kernel wants it; `index` tells the number of an interface.
    ///
    /// # Errors
    /// There is no interface of that name.
    pub fn resolve(&self, index: impl Fn(&str) -> Option<u32>) -> Result<route::Route> {
        let oif = match &self.dev {
            None => None,
            Some(dev) => Some(index(dev).ok_or_else(|| {
                Error::usage(format!("vnet.route: \"{self}\": no interface {dev} in the jail"))
            })?),
        };
        let dest = self.dest.map(|dest| (dest.ip, dest.len));
        Ok(route::Route { dest, gateway: self.via, oif, family: self.family() })
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dest {
            Some(dest) => write!(f, "{dest}")?,
            None => f.write_str("default")?,
        }
        self.via.map_or(Ok(()), |via| write!(f, " via {via}"))?;
        self.dev.as_ref().map_or(Ok(()), |dev| write!(f, " dev {dev}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_item_is_read_and_written() {
        for text in [
            "default via 10.9.0.1",
            "default via fd00::1",
            "default dev eth0",
            "10.8.0.0/16 via 10.9.0.1",
            "fd01::/64 dev eth0",
            "default via fe80::1 dev eth0",
        ] {
            assert_eq!(Spec::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn errors_name_the_item() {
        for (text, what) in [
            ("", "a destination is needed"),
            ("default", "a gateway or an interface is needed"),
            ("default via", "via: value missing"),
            ("default by 10.0.0.1", "neither via nor dev"),
            ("default via ten", "not an address"),
            ("default via 10.0.0.1 via 10.0.0.1", "via twice"),
            ("10.0.0.1/8 via 10.0.0.1", "a network has no host bits"),
            ("10.0.0.1 via 10.0.0.1", "not a prefix"),
            ("10.0.0.0/8 via fd00::1", "destination and gateway are of two families"),
        ] {
            let error = Spec::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("vnet.route: \"{text}\": {what}"));
        }
        let twice = ["default via 10.0.0.1".to_owned(), "default via 10.0.0.2".to_owned()];
        assert!(Spec::parse_all(&twice).is_err());
        let families = ["default via 10.0.0.1".to_owned(), "default via fd00::1".to_owned()];
        assert!(Spec::parse_all(&families).is_ok());
    }

    #[test]
    fn an_interface_must_be_there() {
        let spec = Spec::parse("default dev eth1").unwrap();
        assert_eq!(spec.resolve(|_| Some(7)).unwrap().oif, Some(7));
        let error = spec.resolve(|_| None).unwrap_err().to_string();
        assert_eq!(error, "vnet.route: \"default dev eth1\": no interface eth1 in the jail");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_written_alike(
            text in "(default|[0-9./:a-f]{1,12}) (via|dev) [0-9.:a-f]{1,9}|\\PC{0,30}"
        ) {
            if let Ok(spec) = Spec::parse(&text) {
                prop_assert_eq!(Spec::parse(&spec.to_string()).unwrap(), spec);
            }
        }
    }
}
