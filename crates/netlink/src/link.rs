//! Network interfaces: requests that make and change them, and what the kernel tells about them.

mod bridge;
mod change;
mod list;
mod veth;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};

pub use self::{
    bridge::Bridge,
    change::{
        delete, delete_group, no_master, set_addr_gen_mode_none, set_alias, set_down, set_group, set_mac,
        set_master, set_mtu, set_name, set_netns, set_up,
    },
    list::Link,
    veth::{Peer, Veth},
};
use crate::Request;

/// An ethernet address.
pub type Mac = [u8; 6];

/// A message about the link with this index, 0 for "not by index" or "any index".
fn message(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn raise(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

fn create(message: LinkMessage) -> Request {
    (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}
