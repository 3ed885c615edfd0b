//! One item of `ip4.addr` or `ip6.addr`: `[INTERFACE|]ADDRESS[/LENGTH]`, the length for IPv4 also as a mask.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use vimage::{Error, Result, Settings};

/// A family of addresses, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Four, Self::Six];

    /// Its mode.
    #[must_use]
    pub fn mode(self) -> &'static str {
        match self {
            Self::Four => "ip4",
            Self::Six => "ip6",
        }
    }

    /// The list of its addresses.
    #[must_use]
    pub fn list(self) -> &'static str {
        match self {
            Self::Four => "ip4.addr",
            Self::Six => "ip6.addr",
        }
    }

    /// Whether a source is chosen by where a packet goes.
    #[must_use]
    pub fn select(self) -> &'static str {
        match self {
            Self::Four => "ip4.saddrsel",
            Self::Six => "ip6.saddrsel",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Four => Self::Six,
            Self::Six => Self::Four,
        }
    }

    /// The length of an address in bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::Four => 32,
            Self::Six => 128,
        }
    }

    fn is_of(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == (self == Self::Four)
    }
}

/// An address of a jail's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The interface that is to have it while the jail is there.
    pub interface: Option<String>,
    /// The address.
    pub ip: IpAddr,
    /// The length of the prefix of its network, if it is said.
    pub len: Option<u8>,
}

/// How many addresses of a family a jail has at most: security.jail.jail_max_af_ips of FreeBSD.
pub const MOST: usize = 255;

impl Item {
    /// Reads an item.
    ///
    /// # Errors
    /// `ip4.addr: "10.0.0.300": not an IPv4 address`.
    pub fn parse(family: Family, text: &str) -> Result<Self> {
        let bad = |what: &str| Error::usage(format!("{}: \"{text}\": {what}", family.list()));
        let (interface, rest) = match text.split_once('|') {
            Some((interface, rest)) => (Some(interface), rest),
            None => (None, text),
        };
        if interface.is_some_and(|name| name.is_empty() || name.len() > 15 || name.contains(['/', ' '])) {
            return Err(bad("not an interface"));
        }
        let rest = rest.trim();
        if let Some((_, more)) = rest.split_once(char::is_whitespace) {
            let what = format!("\"{}\" is for ifconfig(8), which is not asked", more.trim());
            return Err(bad(&what)
                .hint("give the interface an address by other means, and the jail the address alone"));
        }
        let (address, len) = match rest.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (rest, None),
        };
        let named = if family == Family::Four { "not an IPv4 address" } else { "not an IPv6 address" };
        let ip: IpAddr = address.parse().map_err(|_| bad(named))?;
        if !family.is_of(ip) {
            return Err(bad(named));
        }
        let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(bad("not an address that a host has"));
        }
        let len = len
            .map(|len| length(family, len).ok_or_else(|| bad("not the length of a prefix")))
            .transpose()?;
        Ok(Self { interface: interface.map(str::to_owned), ip, len })
    }

    /// The length of the prefix; that of an address alone if none is said.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        match (self.len, self.ip) {
            (Some(len), _) => len,
            (None, IpAddr::V4(_)) => Family::Four.bits(),
            (None, IpAddr::V6(_)) => Family::Six.bits(),
        }
    }

    /// All of a family in a jail's settings, the first of which is the primary one.
    ///
    /// # Errors
    /// As [`Item::parse`]; one twice, or too many.
    pub fn all(family: Family, settings: &Settings) -> Result<Vec<Self>> {
        let texts = settings.list(family.list());
        let items = texts.iter().map(|text| Self::parse(family, text)).collect::<Result<Vec<_>>>()?;
        if items.len() > MOST {
            let name = if family == Family::Four { "IPv4" } else { "IPv6" };
            return Err(Error::usage(format!("{}: too many {name} addresses", family.list()))
                .hint(format!("{} of at most {MOST}", items.len())));
        }
        for (at, item) in items.iter().enumerate() {
            if items[..at].iter().any(|other| other.ip == item.ip) {
                return Err(Error::usage(format!("{}: {} twice", family.list(), item.ip)));
            }
        }
        Ok(items)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}|")?;
        }
        write!(f, "{}", self.ip)?;
        self.len.map_or(Ok(()), |len| write!(f, "/{len}"))
    }
}

/// The length of a prefix: a number, or a mask whose bits are together.
fn length(family: Family, text: &str) -> Option<u8> {
    if let (Family::Four, Ok(mask)) = (family, text.parse::<Ipv4Addr>()) {
        let bits = mask.to_bits();
        let together = bits.leading_ones() + bits.trailing_zeros() == 32;
        return u8::try_from(bits.leading_ones()).ok().filter(|_| together);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|len| *len <= family.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_an_address_with_what_is_said_of_it() {
        for (text, written) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/24", "10.0.0.1/24"),
            ("em0|10.0.0.1/255.255.255.0", "em0|10.0.0.1/24"),
            ("em0|10.0.0.1/0.0.0.0", "em0|10.0.0.1/0"),
            ("127.0.0.2", "127.0.0.2"),
        ] {
            assert_eq!(Item::parse(Family::Four, text).unwrap().to_string(), written);
        }
        assert_eq!(Item::parse(Family::Six, "lo|fd00:0::1/64").unwrap().to_string(), "lo|fd00::1/64");
        for (text, what) in [
            ("10.0.0.300", "not an IPv4 address"),
            ("fd00::1", "not an IPv4 address"),
            ("", "not an IPv4 address"),
            ("|10.0.0.1", "not an interface"),
            ("0.0.0.0", "not an address that a host has"),
            ("255.255.255.255", "not an address that a host has"),
            ("224.0.0.1", "not an address that a host has"),
            ("10.0.0.1/33", "not the length of a prefix"),
            ("10.0.0.1/+8", "not the length of a prefix"),
            ("10.0.0.1/255.0.255.0", "not the length of a prefix"),
            ("em0|10.0.0.1/24 mtu 1400", "\"mtu 1400\" is for ifconfig(8), which is not asked"),
        ] {
            let error = Item::parse(Family::Four, text).unwrap_err().to_string();
            assert_eq!(error, format!("ip4.addr: \"{text}\": {what}"));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_what_is_read_is_read_again(text in ".{0,40}", address: [u8; 4], len in 0u8..33) {
            let _whatever = Item::parse(Family::Six, &text);
            let text = format!("{}/{len}", Ipv4Addr::from(address));
            if let Ok(item) = Item::parse(Family::Four, &text) {
                assert_eq!(Item::parse(Family::Four, &item.to_string()), Ok(item));
            }
        }
    }
}
