//! Ethernet addresses.

use std::net::Ipv6Addr;

use netlink::link::Mac;
use vimage::{House, Result};

/// Reads `02:00:00:00:00:07`; `None` if it is anything else, or no single host's address.
#[must_use]
pub fn parse(text: &str) -> Option<Mac> {
    let mut mac = Mac::default();
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    // The lowest bit of the first byte says multicast; the kernel refuses it and all zeros, too.
    (parts.next().is_none() && mac[0] & 1 == 0 && mac != Mac::default()).then_some(mac)
}

/// As `parse` reads it.
#[must_use]
pub fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The address of a jail's link that is given none: locally administered, the same whenever a jail of this
/// name is made on this machine, so that neighbours need not learn it anew, and different elsewhere.
///
/// # Errors
/// [`House::stable`]'s.
pub fn stable(house: &dyn House, jail: &str, link: &str) -> Result<Mac> {
    let [.., a, b, c, d, e] = house.stable(&format!("mac {jail} {link}"))?.to_be_bytes();
    Ok([2, a, b, c, d, e])
}

/// The address of a bridge's port whose other end has this one. A bridge without an address of its own takes
/// the lowest of its ports': one that starts with `fe` will not be it, so that the bridge's stays as it is.
#[must_use]
pub fn of_port(end: Mac) -> Mac {
    let [_, rest @ ..] = end;
    let [a, b, c, d, e] = rest;
    [0xfe, a, b, c, d, e]
}

/// The link-local address of the interface that has this one (EUI-64: RFC 4291, appendix A).
#[must_use]
pub fn link_local([a, b, c, d, e, f]: Mac) -> Ipv6Addr {
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_host() {
        assert_eq!(parse("02:00:5e:A0:ff:07"), Some([2, 0, 0x5e, 0xa0, 0xff, 7]));
        assert_eq!(text([2, 0, 0x5e, 0xa0, 0xff, 7]), "02:00:5e:a0:ff:07");
        for bad in [
            "",
            "02:00:5e:a0:ff",
            "02:00:5e:a0:ff:07:01",
            "02:00:5e:a0:ff:+7",
            "2:0:5e:a0:ff:7",
            "01:00:5e:00:00:01",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "02-00-5e-a0-ff-07",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_link_local_address_is_made_of_it() {
        let of = |mac| link_local(mac).to_string();
        assert_eq!(of([2, 0x1b, 0x21, 0xaa, 0xbb, 0xcc]), "fe80::1b:21ff:feaa:bbcc");
        assert_eq!(of([0, 0, 0, 0, 0, 1]), "fe80::200:ff:fe00:1");
    }

    #[test]
    fn a_port_never_has_the_lowest_address() {
        assert_eq!(of_port([2, 1, 2, 3, 4, 5]), [0xfe, 1, 2, 3, 4, 5]);
    }
}
