//! Addresses with their prefixes, and names of interfaces: what several parameters write alike.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink::link::Mac;
use serde::{Deserialize, Serialize};

use super::mac;

/// An address and the length of its network's prefix in bits: `10.9.0.11/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cidr {
    /// The address.
    pub ip: IpAddr,
    /// The prefix's length, at most 32 or 128.
    pub len: u8,
}

impl Cidr {
    /// Reads `ADDR/LEN`; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (ip, len) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        // `u8::from_str` takes a plus sign.
        if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let len = len.parse().ok().filter(|len| *len <= if ip.is_ipv4() { 32 } else { 128 })?;
        Some(Self { ip, len })
    }

    /// The network it lies in: all bits behind the prefix are 0.
    #[must_use]
    pub fn network(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Self { ip, len: self.len }
    }

    /// The link-local address of the interface with an ethernet address.
    #[must_use]
    pub fn link_local(mac: Mac) -> Self {
        Self { ip: mac::link_local(mac).into(), len: 64 }
    }

    /// Reads an address that one host can have.
    ///
    /// # Errors
    /// What it is instead.
    pub fn of_host(text: &str) -> Result<Self, String> {
        let address = Self::parse(text).filter(|a| !a.ip.is_unspecified() && !a.ip.is_multicast());
        let address = address.ok_or("not an address")?;
        // A network of two addresses has neither (RFC 3021).
        let IpAddr::V4(ip) = address.ip else { return Ok(address) };
        let hosts = u32::MAX.checked_shr(address.len.into()).unwrap_or(0);
        match ip.to_bits() & hosts {
            _ if address.len > 30 => Ok(address),
            0 => Err(format!("{ip} is the address of the network {}", address.network())),
            bits if bits == hosts => Err(format!("{ip} is the broadcast address of {}", address.network())),
            _ => Ok(address),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.len)
    }
}

/// Whether there is an IPv6 address among those of an interface, and none that is link-local.
#[must_use]
pub fn lacks_link_local(addresses: &[Cidr]) -> bool {
    let mut six = addresses.iter().filter_map(|address| match address.ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    });
    six.clone().next().is_some() && !six.any(|ip| ip.is_unicast_link_local())
}

/// The longest name of an interface in bytes (IFNAMSIZ less the null).
pub const NAME_MAX: usize = 15;

/// What is wrong with the name of an interface or segment, if anything.
///
/// Linux takes any bytes but `/`, `:` and white space; we also keep out `%`, which asks the kernel to number
/// a name, the comma, which separates items, and what a terminal cannot show.
#[must_use]
pub fn bad_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || name == "." || name == ".." {
        Some("not a name")
    } else if name.len() > NAME_MAX {
        Some("longer than 15 bytes")
    } else if name == "lo" {
        Some("lo is the loopback interface, which every stack has")
    } else if let "all" | "default" = name {
        Some("not a name: net.ipv4.conf uses the word for something else")
    } else if !name.bytes().all(|b| b.is_ascii_graphic() && !b"/:%,\"".contains(&b)) {
        Some("a name has letters, digits and signs other than / : % , \"")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_prefix() {
        for good in ["10.9.0.11/24", "0.0.0.0/0", "fd00::1/64", "::/0", "10.0.0.1/32"] {
            assert_eq!(Cidr::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["10.9.0.11", "10.9.0.300/24", "10.9.0.1/33", "fd00::/129", "10.0.0.1/+8", "10.0.0.1/", "/8"]
        {
            assert_eq!(Cidr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_has_neither_the_first_nor_the_last_address_of_a_network() {
        let why = |text| Cidr::of_host(text).err().unwrap_or_default();
        for good in [
            "10.9.0.1/24",
            "10.9.0.254/24",
            "10.9.0.0/31",
            "10.9.0.1/31",
            "10.9.0.0/32",
            "10.9.1.0/23",
            "fd00::/64",
            "fd00::ffff/112",
        ] {
            assert_eq!(why(good), "", "{good}");
        }
        assert_eq!(why("10.9.0.255/24"), "10.9.0.255 is the broadcast address of 10.9.0.0/24");
        assert_eq!(why("10.9.0.0/24"), "10.9.0.0 is the address of the network 10.9.0.0/24");
        assert_eq!(why("10.9.0.3/30"), "10.9.0.3 is the broadcast address of 10.9.0.0/30");
        for bad in ["0.0.0.0/0", "224.0.0.1/24", "ff02::1/64", "::/0", "10.9.0.1", "x"] {
            assert_eq!(why(bad), "not an address", "{bad}");
        }
    }

    #[test]
    fn the_network_has_no_host_bits() {
        let network = |text| Cidr::parse(text).unwrap().network().to_string();
        assert_eq!(network("10.9.7.11/16"), "10.9.0.0/16");
        assert_eq!(network("10.9.7.11/0"), "0.0.0.0/0");
        assert_eq!(network("10.9.7.11/32"), "10.9.7.11/32");
        assert_eq!(network("fd00::1:2/64"), "fd00::/64");
        assert_eq!(network("fd00::1/0"), "::/0");
    }

    #[test]
    fn ipv6_wants_a_link_local_address() {
        let lacks = |texts: &[&str]| {
            lacks_link_local(&texts.iter().map(|text| Cidr::parse(text).unwrap()).collect::<Vec<_>>())
        };
        assert!(lacks(&["fd00::1/64"]) && lacks(&["10.0.0.1/8", "fd00::1/64"]));
        assert!(!lacks(&[]) && !lacks(&["10.0.0.1/8"]) && !lacks(&["fd00::1/64", "fe80::1/64"]));
    }

    #[test]
    fn names_are_what_the_kernel_takes() {
        for good in ["eth0", "a-name-of-15byt", "eth0.100", "x"] {
            assert_eq!(bad_name(good), None, "{good}");
        }
        for bad in ["", ".", "..", "lo", "a/b", "a b", "a:b", "eth%d", "sixteen-bytes-xx", "é", "a,b", "all"]
        {
            assert!(bad_name(bad).is_some(), "{bad}");
        }
    }
}
