//! Requests that change or delete links that exist. All are refused with `ENODEV` if there is no such link,
//! and with `EPERM` without `CAP_NET_ADMIN`.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags},
};

use super::{Mac, message, raise};
use crate::Request;

fn set(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    (RouteNetlinkMessage::SetLink(message(index, attributes)), 0)
}

/// Brings the link up (`IFF_UP`).
#[must_use]
pub fn set_up(index: u32) -> Request {
    let mut link = message(index, vec![]);
    raise(&mut link);
    (RouteNetlinkMessage::SetLink(link), 0)
}

/// Takes the link down, which flushes its queues, its neighbours, its routes and its IPv6 addresses.
#[must_use]
pub fn set_down(index: u32) -> Request {
    let mut link = message(index, vec![]);
    link.header.change_mask = LinkFlags::Up;
    (RouteNetlinkMessage::SetLink(link), 0)
}

/// Makes the link a port of the bridge with index `master`. The 1024th port is refused with `EXFULL`.
#[must_use]
pub fn set_master(index: u32, master: u32) -> Request {
    set(index, vec![LinkAttribute::Controller(master)])
}

/// Takes the link out of its bridge.
#[must_use]
pub fn no_master(index: u32) -> Request {
    set_master(index, 0)
}

/// Renames the link, 1 to 15 bytes. `EEXIST` if the name is taken; before Linux 6.2 `EBUSY` if the link is up.
#[must_use]
pub fn set_name(index: u32, name: &str) -> Request {
    set(index, vec![LinkAttribute::IfName(name.into())])
}

/// Sets the alias, at most 255 bytes; an empty one removes it.
#[must_use]
pub fn set_alias(index: u32, alias: &str) -> Request {
    set(index, vec![LinkAttribute::IfAlias(alias.into())])
}

/// Puts the link into a group, of which 0 is the one that every link starts in.
#[must_use]
pub fn set_group(index: u32, group: u32) -> Request {
    set(index, vec![LinkAttribute::Group(group)])
}

/// Sets the ethernet address.
#[must_use]
pub fn set_mac(index: u32, mac: Mac) -> Request {
    set(index, vec![LinkAttribute::Address(mac.into())])
}

/// Sets the MTU in bytes. `EINVAL` outside what the driver allows.
#[must_use]
pub fn set_mtu(index: u32, mtu: u32) -> Request {
    set(index, vec![LinkAttribute::Mtu(mtu)])
}

/// Moves the link to another network namespace, under a new name if one is given; it arrives down and without
/// addresses. `EEXIST` if the name is taken there, `EINVAL` for a link that cannot move, as a bridge.
#[must_use]
pub fn set_netns(index: u32, netns: BorrowedFd<'_>, name: Option<&str>) -> Request {
    let mut attributes = vec![LinkAttribute::NetNsFd(netns.as_raw_fd())];
    attributes.extend(name.map(|name| LinkAttribute::IfName(name.into())));
    set(index, attributes)
}

/// Stops the kernel from making an IPv6 link-local address for the link (`IN6_ADDR_GEN_MODE_NONE`, Linux 3.17),
/// and with it the chatter of duplicate address detection, multicast reports and router solicitations.
///
/// Must come before the link is brought up; [`Veth`](super::Veth) and [`Bridge`](super::Bridge) cannot carry it,
/// so make them down, send this, then [`set_up`], in one batch. `EAFNOSUPPORT` on a kernel without IPv6.
#[must_use]
pub fn set_addr_gen_mode_none(index: u32) -> Request {
    let inet6 = vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)];
    set(index, vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(inet6)])])
}

/// Deletes the link; with one end of a veth pair the other goes too. Takes about 17 ms, in which the kernel
/// waits for its other processors: to delete many, use [`delete_group`] or let their namespace die.
#[must_use]
pub fn delete(index: u32) -> Request {
    (RouteNetlinkMessage::DelLink(message(index, vec![])), 0)
}

/// Deletes all links of a group at once, for about the cost of one. `ENODEV` if it has none; `EPERM` for
/// group 0.
#[must_use]
pub fn delete_group(group: u32) -> Request {
    (RouteNetlinkMessage::DelLink(message(0, vec![LinkAttribute::Group(group)])), 0)
}
