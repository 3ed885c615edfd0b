//! The netlink protocols this crate speaks, and the two address families they carry.

use std::net::IpAddr;

use netlink_packet_core::NetlinkSerializable;
use rustix::net::{Protocol, netlink};

/// A netlink protocol, one `NETLINK_*` number of [`netlink(7)`](https://man7.org/linux/man-pages/man7/netlink.7.html).
pub trait Family {
    /// The number given to `socket(2)`; `None` is 0, which is `NETLINK_ROUTE`.
    const PROTOCOL: Option<Protocol>;
    /// What is sent, and what a typed dump returns.
    type Message: NetlinkSerializable;
}

/// `NETLINK_ROUTE`: links, addresses, routes, namespace ids.
#[derive(Debug)]
pub enum Route {}

impl Family for Route {
    const PROTOCOL: Option<Protocol> = None;
    type Message = netlink_packet_route::RouteNetlinkMessage;
}

/// `NETLINK_SOCK_DIAG`: the sockets of a network namespace,
/// [`sock_diag(7)`](https://man7.org/linux/man-pages/man7/sock_diag.7.html).
#[derive(Debug)]
pub enum Diag {}

impl Family for Diag {
    // NETLINK_SOCK_DIAG is the later name of the same number, 4.
    const PROTOCOL: Option<Protocol> = Some(netlink::INET_DIAG);
    type Message = crate::diag::Message;
}

/// An internet address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Af {
    /// `AF_INET`, IPv4.
    #[default]
    Inet,
    /// `AF_INET6`, IPv6.
    Inet6,
}

impl Af {
    /// Both families, in the order in which dumps ask for them.
    pub const ALL: [Self; 2] = [Self::Inet, Self::Inet6];
}

impl From<IpAddr> for Af {
    fn from(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Inet } else { Self::Inet6 }
    }
}

impl From<Af> for netlink_packet_route::AddressFamily {
    fn from(af: Af) -> Self {
        match af {
            Af::Inet => Self::Inet,
            Af::Inet6 => Self::Inet6,
        }
    }
}
