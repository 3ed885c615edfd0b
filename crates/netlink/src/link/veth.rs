//! veth pairs, [`veth(4)`](https://man7.org/linux/man-pages/man4/veth.4.html).

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};

use super::{Mac, create, message, raise};
use crate::Request;

/// A veth pair to be made by one message: both ends get their names, indexes and namespaces at birth, so no
/// end is ever seen under a wrong name or in a wrong namespace.
///
/// At birth the kernel ignores an alias without a word and refuses an address generation mode: choose the index
/// and put [`set_alias`](super::set_alias) and [`set_addr_gen_mode_none`](super::set_addr_gen_mode_none) behind
/// the pair in the same batch.
#[derive(Clone, Debug, Default)]
pub struct Veth<'a> {
    /// Name of this end, 1 to 15 bytes.
    pub name: &'a str,
    /// Index of this end; `None` lets the kernel choose. A taken one is `EBUSY`.
    pub index: Option<u32>,
    /// Ethernet address of this end; random if `None`.
    pub mac: Option<Mac>,
    /// MTU of this end in bytes; 1500 if `None`.
    pub mtu: Option<u32>,
    /// Link group of this end; 0 if `None`.
    pub group: Option<u32>,
    /// Index of the bridge that this end becomes a port of. The kernel has no such thing for the peer.
    pub master: Option<u32>,
    /// Whether this end is brought up (`IFF_UP`). The peer cannot be: veth would open it before the ends are
    /// joined, `ENOTCONN`.
    pub up: bool,
    /// The namespace this end is born in; that of the socket if `None`.
    pub netns: Option<BorrowedFd<'a>>,
    /// The other end.
    pub peer: Peer<'a>,
}

/// The other end of a [`Veth`], with the same meanings.
#[derive(Clone, Debug, Default)]
pub struct Peer<'a> {
    /// Name, 1 to 15 bytes.
    pub name: &'a str,
    /// Index in its own namespace.
    pub index: Option<u32>,
    /// Ethernet address.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// The namespace it is born in; that of the socket if `None`.
    pub netns: Option<BorrowedFd<'a>>,
}

impl Veth<'_> {
    /// `RTM_NEWLINK` for the pair. Refused with `EEXIST` if either name is taken in its namespace.
    #[must_use]
    pub fn create(&self) -> Request {
        let mut link = end(self.name, self.index, self.mac, self.mtu, self.netns);
        if self.up {
            raise(&mut link);
        }
        link.attributes.extend(self.group.map(LinkAttribute::Group));
        link.attributes.extend(self.master.map(LinkAttribute::Controller));
        let Peer { name, index, mac, mtu, netns } = self.peer;
        let peer = InfoData::Veth(InfoVeth::Peer(end(name, index, mac, mtu, netns)));
        link.attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(peer)]));
        create(link)
    }
}

fn end(
    name: &str,
    index: Option<u32>,
    mac: Option<Mac>,
    mtu: Option<u32>,
    netns: Option<BorrowedFd<'_>>,
) -> LinkMessage {
    let mut attributes = vec![LinkAttribute::IfName(name.into())];
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.into())));
    attributes.extend(mtu.map(LinkAttribute::Mtu));
    attributes.extend(netns.map(|netns| LinkAttribute::NetNsFd(netns.as_raw_fd())));
    message(index.unwrap_or(0), attributes)
}
