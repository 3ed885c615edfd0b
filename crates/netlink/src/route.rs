//! Routes of the main table.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use rustix::io::Errno;

use crate::{
    Af, Refused, Request, Socket,
    attributes::{as_ip, as_u32, attributes, split},
};

// RTA_* of linux/rtnetlink.h.
const DST: u16 = 1;
const OIF: u16 = 4;
const GATEWAY: u16 = 5;
const TABLE: u16 = 15;

/// `RT_TABLE_MAIN`.
const MAIN: u8 = RouteHeader::RT_TABLE_MAIN;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A unicast route of the main table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Network and length of its prefix in bits; `None` for the default route.
    pub dest: Option<(IpAddr, u8)>,
    /// Next router; `None` for what is on the link itself (and, in a dump, for several next hops).
    pub gateway: Option<IpAddr>,
    /// Index of the link it leaves by.
    pub oif: Option<u32>,
    /// Family. Must be that of the addresses.
    pub family: Af,
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = route.family.into();
    message.header.table = MAIN;
    if let Some((network, prefix_len)) = route.dest {
        message.header.destination_prefix_length = prefix_len;
        message.attributes.push(RouteAttribute::Destination(network.into()));
    }
    message.attributes.extend(route.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    message.attributes.extend(route.oif.map(RouteAttribute::Oif));
    message
}

/// Adds a route; without a gateway its scope is the link. Refused with `EEXIST` if there is one to this network,
/// `ENETUNREACH` if the gateway cannot be reached, `ENETDOWN` if the link is down, `EINVAL` if the network has
/// host bits.
#[must_use]
pub fn add(route: &Route) -> Request {
    let mut message = message(route);
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = if route.gateway.is_some() { RouteScope::Universe } else { RouteScope::Link };
    (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes the route; what the request leaves out is not compared. Refused with `ESRCH` if there is none.
#[must_use]
pub fn delete(route: &Route) -> Request {
    let mut message = message(route);
    // Any scope: RT_SCOPE_UNIVERSE, which is 0, would match that scope only.
    message.header.scope = RouteScope::NoWhere;
    (RouteNetlinkMessage::DelRoute(message), 0)
}

impl Route {
    /// Decodes what follows the message header of `RTM_NEWROUTE`; `None` for a route of another table, family
    /// or type: older kernels, and sockets without `NETLINK_GET_STRICT_CHK`, list all.
    pub(crate) fn parse(body: &[u8]) -> Result<Option<Self>, Refused> {
        // struct rtmsg: family, prefix lengths, tos, table, protocol, scope, type, flags.
        let (&[family, prefix_len, _, _, table, _, _, kind, ..], list) = split::<12>(body)?;
        let family = match family {
            AF_INET => Af::Inet,
            AF_INET6 => Af::Inet6,
            _ => return Ok(None),
        };
        let mut table = u32::from(table);
        let mut route = Self { dest: None, gateway: None, oif: None, family };
        for attribute in attributes(list) {
            let (kind, value) = attribute?;
            match kind {
                DST => route.dest = Some((as_ip(value)?, prefix_len)),
                OIF => route.oif = Some(as_u32(value)?),
                GATEWAY => route.gateway = Some(as_ip(value)?),
                TABLE => table = as_u32(value)?,
                _ => {}
            }
        }
        Ok((table == MAIN.into() && kind == UNICAST).then_some(route))
    }
}

impl Socket<crate::Route> {
    /// The unicast routes of the main table, IPv4 before IPv6.
    ///
    /// # Errors
    ///
    /// Those of [`dump`](Self::dump).
    pub fn routes(&mut self) -> Result<Vec<Route>, Refused> {
        let mut routes = Vec::new();
        for family in Af::ALL {
            let message = RouteNetlinkMessage::GetRoute(message(&Route { family, ..Route::default() }));
            match self.list(&message, |_, body| Route::parse(body)) {
                Ok(more) => routes.extend(more),
                // With strict checking: IPv4 makes its main table when the first route comes.
                Err(refused) if refused.errno() == Errno::NOENT => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(routes)
    }
}
