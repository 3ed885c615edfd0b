//! What the kernel tells about links.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
};
use rustix::io::Errno;

use super::{Mac, message};
use crate::{
    Refused, Route, Socket,
    attributes::{as_i32, as_string, as_u32, attributes, split},
};

const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;

// IFLA_* of linux/if_link.h.
const ADDRESS: u16 = 1;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const LINK: u16 = 5;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const IFALIAS: u16 = 20;
const GROUP: u16 = 27;
const LINK_NETNSID: u16 = 37;
// IFLA_INFO_*, inside IFLA_LINKINFO.
const INFO_KIND: u16 = 1;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
/// `IFLA_BRPORT_NO`, inside `IFLA_INFO_SLAVE_DATA` of a bridge's port.
const BRPORT_NO: u16 = 18;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index in its namespace, never 0.
    pub index: u32,
    /// Name, 1 to 15 bytes.
    pub name: String,
    /// Ethernet address; `None` for a link without one, zeros for `lo`.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Brought up by the administrator (`IFF_UP`).
    pub up: bool,
    /// Up and able to carry packets (`IFF_RUNNING`).
    pub running: bool,
    /// Kind of a virtual link (`veth`, `bridge`, `tun`); `None` for `lo` and hardware.
    pub kind: Option<String>,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
    /// Its number as a port of a bridge, from 1: the lowest that was free when it became one.
    pub port: Option<u16>,
    /// Alias.
    pub alias: Option<String>,
    /// Group, 0 if it was never set.
    pub group: u32,
    /// Index of the peer of a veth, or of the link below (`IFLA_LINK`). In the namespace that
    /// [`link_netnsid`](Self::link_netnsid) names, if it does.
    pub link: Option<u32>,
    /// Id of the namespace of [`link`](Self::link) if it is not this one. Negative if it has none here.
    pub link_netnsid: Option<i32>,
}

impl Link {
    /// Decodes what follows the message header of `RTM_NEWLINK`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refused> {
        // struct ifinfomsg: family and padding, type, index, flags, change.
        let ([_, _, _, _, index @ .., _, _, _, _], list) = split::<16>(body)?;
        let (index, flags) = index.split_at(4);
        let (index, flags) = (as_u32(index)?, as_u32(flags)?);
        let mut link =
            Self { index, up: flags & IFF_UP != 0, running: flags & IFF_RUNNING != 0, ..Self::default() };
        for attribute in attributes(list) {
            let (kind, value) = attribute?;
            match kind {
                ADDRESS => link.mac = value.try_into().ok(),
                IFNAME => link.name = as_string(value),
                MTU => link.mtu = as_u32(value)?,
                LINK => link.link = Some(as_u32(value)?).filter(|link| *link != 0),
                MASTER => link.master = Some(as_u32(value)?),
                LINKINFO => {
                    link.kind = inside(value, INFO_KIND).map(as_string);
                    if inside(value, INFO_SLAVE_KIND).map(as_string).as_deref() == Some("bridge") {
                        let number = inside(value, INFO_SLAVE_DATA).and_then(|data| inside(data, BRPORT_NO));
                        link.port = number.and_then(|n| n.try_into().ok()).map(u16::from_ne_bytes);
                    }
                }
                IFALIAS => link.alias = Some(as_string(value)),
                GROUP => link.group = as_u32(value)?,
                LINK_NETNSID => link.link_netnsid = Some(as_i32(value)?),
                _ => {}
            }
        }
        Ok(link)
    }
}

/// The first attribute of a kind in a list.
fn inside(list: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(list).map_while(Result::ok).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// `RTM_GETLINK` without the statistics, which make up half of each answer.
fn get(index: u32, name: Option<&str>) -> LinkMessage {
    let mut attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    attributes.extend(name.map(|name| LinkAttribute::IfName(name.into())));
    message(index, attributes)
}

impl Socket<Route> {
    /// All links of the namespace, by index.
    ///
    /// # Errors
    ///
    /// Those of [`dump`](Self::dump).
    pub fn links(&mut self) -> Result<Vec<Link>, Refused> {
        let mut links =
            self.list(&RouteNetlinkMessage::GetLink(get(0, None)), |_, body| Link::parse(body).map(Some))?;
        links.sort_unstable_by_key(|link| link.index);
        Ok(links)
    }

    /// The link of this name, or `None`.
    ///
    /// # Errors
    ///
    /// `ERANGE` or `EINVAL` for something that cannot be a name; those of the socket.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>, Refused> {
        self.link(get(0, Some(name)))
    }

    /// The link with this index, or `None`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for index 0; those of the socket.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, Refused> {
        self.link(get(index, None))
    }

    fn link(&mut self, message: LinkMessage) -> Result<Option<Link>, Refused> {
        match self.answer(&RouteNetlinkMessage::GetLink(message), |_, body| Link::parse(body)) {
            Ok(link) => Ok(Some(link)),
            Err(refused) if refused.errno() == Errno::NODEV => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}
