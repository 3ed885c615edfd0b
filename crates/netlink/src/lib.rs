//! Blocking, typed netlink sockets: links, addresses, routes and namespace ids by rtnetlink, sockets by
//! sock_diag.
//!
//! A verb is a pure function that returns a [`Request`]; a [`Socket`] sends one of them or a whole batch.
//! A socket belongs to the network namespace it was opened in: [`Socket::open_in`] opens one in another.

pub mod address;
mod attributes;
mod datagram;
pub mod diag;
mod events;
mod family;
pub mod link;
pub mod nsid;
mod refused;
pub mod route;
mod socket;

pub use crate::{
    events::NsidEvents,
    family::{Af, Diag, Family, Route},
    refused::{BatchError, Refused},
    socket::{Socket, encode},
};

/// One rtnetlink message and the `NLM_F_*` flags it needs beside those that the socket adds by itself
/// (`NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_DUMP`), ready for [`Socket::ack`] or [`Socket::batch`].
///
/// A request that names a namespace holds the bare number of the file descriptor: the descriptor must stay
/// open until the request has been sent.
pub type Request = (netlink_packet_route::RouteNetlinkMessage, u16);
