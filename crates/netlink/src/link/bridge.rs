//! Bridges.

use netlink_packet_route::link::{BridgeStpState, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkInfo};

use super::{Mac, create, message, raise};
use crate::Request;

/// A bridge to be made, without spanning tree protocol: ports forward at once. It cannot be moved to another
/// network namespace later. An alias has to follow, as for a [`Veth`](super::Veth).
#[derive(Clone, Debug, Default)]
pub struct Bridge<'a> {
    /// Name, 1 to 15 bytes.
    pub name: &'a str,
    /// Index; `None` lets the kernel choose.
    pub index: Option<u32>,
    /// Ethernet address. If `None` it follows the ports' addresses as they come and go.
    pub mac: Option<Mac>,
    /// Link group; 0 if `None`.
    pub group: Option<u32>,
    /// Whether to bring it up.
    pub up: bool,
    /// Turns multicast snooping off: multicast is flooded to all ports, and the bridge keeps no timers for
    /// each port.
    pub no_multicast_snooping: bool,
}

impl Bridge<'_> {
    /// `RTM_NEWLINK` for the bridge. Refused with `EEXIST` if the name is taken.
    #[must_use]
    pub fn create(&self) -> Request {
        let mut data = vec![InfoBridge::StpState(BridgeStpState::Disabled)];
        if self.no_multicast_snooping {
            data.push(InfoBridge::MulticastSnooping(false));
        }
        let mut attributes = vec![LinkAttribute::IfName(self.name.into())];
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.into())));
        attributes.extend(self.group.map(LinkAttribute::Group));
        attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(data)),
        ]));
        let mut link = message(self.index.unwrap_or(0), attributes);
        if self.up {
            raise(&mut link);
        }
        create(link)
    }
}
