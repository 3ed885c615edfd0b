//! Addresses of links.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
};

use crate::{
    Af, Refused, Request, Route, Socket,
    attributes::{as_ip, as_u32, attributes, split},
};

// IFA_* of linux/if_addr.h.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const PROTO: u16 = 11;

/// `RT_SCOPE_HOST`: valid on this host only, as 127.0.0.1.
pub const SCOPE_HOST: u8 = 254;
/// `RT_SCOPE_LINK`: valid on this link only, as fe80::1.
pub const SCOPE_LINK: u8 = 253;
/// `RT_SCOPE_UNIVERSE`: valid everywhere.
pub const SCOPE_UNIVERSE: u8 = 0;

fn message(index: u32, ip: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = Af::from(ip).into();
    message.header.prefix_len = prefix_len;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

/// Adds an address. An IPv4 one gets the broadcast address of its prefix, unless that is /31 or /32 or on the
/// loopback; an IPv6 one skips duplicate address detection (`IFA_F_NODAD`), so that it can be bound at once.
///
/// Refused with `EEXIST` if the link has it, `ENODEV` without the link, `EINVAL` for a prefix too long.
#[must_use]
pub fn add(index: u32, ip: IpAddr, prefix_len: u8) -> Request {
    add_marked(index, ip, prefix_len, 0)
}

/// As [`add`], with a mark that says who has added it, of which 0 is none (`IFA_PROTO`, Linux 5.18; earlier kernels
/// forget it).
#[must_use]
pub fn add_marked(index: u32, ip: IpAddr, prefix_len: u8, mark: u8) -> Request {
    let mut message = message(index, ip, prefix_len);
    if mark != 0 {
        message.attributes.push(AddressAttribute::Protocol(mark.into()));
    }
    match ip {
        IpAddr::V4(v4) => {
            message.attributes.extend(broadcast(v4, prefix_len).map(AddressAttribute::Broadcast));
        }
        IpAddr::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes an address. Refused with `EADDRNOTAVAIL` if the link does not have it with this prefix.
#[must_use]
pub fn delete(index: u32, ip: IpAddr, prefix_len: u8) -> Request {
    (RouteNetlinkMessage::DelAddress(message(index, ip, prefix_len)), 0)
}

fn broadcast(ip: Ipv4Addr, prefix_len: u8) -> Option<Ipv4Addr> {
    let hosts = u32::MAX.checked_shr(prefix_len.into())?;
    (prefix_len < 31 && !ip.is_loopback()).then(|| Ipv4Addr::from_bits(ip.to_bits() | hosts))
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub index: u32,
    /// The address.
    pub ip: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
    /// Where it is valid, one of [`SCOPE_UNIVERSE`], [`SCOPE_LINK`], [`SCOPE_HOST`] as a rule.
    pub scope: u8,
    /// Who has added it, as far as he said so; 0: nobody did, or the kernel is older than Linux 5.18.
    pub mark: u8,
}

impl Address {
    /// Decodes what follows the message header of `RTM_NEWADDR`; `None` for a message without an address.
    pub(crate) fn parse(body: &[u8]) -> Result<Option<Self>, Refused> {
        // struct ifaddrmsg: family, prefix length, flags, scope, index.
        let (&[_, prefix_len, _, scope, ref index @ ..], list) = split::<8>(body)?;
        let (mut local, mut address, mut mark) = (None, None, 0);
        for attribute in attributes(list) {
            let (kind, value) = attribute?;
            match kind {
                LOCAL => local = Some(as_ip(value)?),
                ADDRESS => address = Some(as_ip(value)?),
                PROTO => mark = value.first().copied().unwrap_or(0),
                _ => {}
            }
        }
        let index = as_u32(index)?;
        // With a peer address IFA_ADDRESS is the peer's; without IFA_LOCAL, as for most of IPv6, it is ours.
        Ok(local.or(address).map(|ip| Self { index, ip, prefix_len, scope, mark }))
    }
}

impl Socket<Route> {
    /// All addresses of the namespace, IPv4 before IPv6.
    ///
    /// # Errors
    ///
    /// Those of [`dump`](Self::dump).
    pub fn addresses(&mut self) -> Result<Vec<Address>, Refused> {
        let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let mut addresses = self.list(&message, |_, body| Address::parse(body))?;
        addresses.sort_by_key(|address| address.ip.is_ipv6());
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_of_the_prefix() {
        let of = |ip: [u8; 4], prefix_len| broadcast(ip.into(), prefix_len).map(|ip| ip.octets());
        assert_eq!(of([10, 1, 2, 3], 24), Some([10, 1, 2, 255]));
        assert_eq!(of([10, 1, 2, 3], 30), Some([10, 1, 2, 3]));
        assert_eq!(of([10, 1, 2, 3], 0), Some([255; 4]));
        for none in [31, 32, 33, 255] {
            assert_eq!(of([10, 1, 2, 3], none), None);
        }
        assert_eq!(of([127, 0, 0, 1], 8), None);
    }
}
