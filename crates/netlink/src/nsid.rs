//! Ids of network namespaces: small numbers by which one namespace knows another. Only a namespace that has one
//! here is announced by [`NsidEvents`](crate::NsidEvents) when it dies.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};

use crate::{
    Refused, Request, Route, Socket,
    attributes::{as_i32, attributes, split},
};

/// `NETNSA_NSID`.
const NSID: u16 = 1;

fn message(netns: BorrowedFd<'_>, id: Option<i32>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(netns.as_raw_fd().cast_unsigned()));
    message.attributes.extend(id.map(NsidAttribute::Id));
    message
}

/// Gives the namespace an id in the socket's namespace; `None` lets the kernel take the lowest free one, which
/// [`Socket::nsid`] then tells.
///
/// Refused with `EEXIST` if it has one here, `ENOSPC` if the id is taken, `EINVAL` if the descriptor is none of a
/// network namespace.
#[must_use]
pub fn set(netns: BorrowedFd<'_>, id: Option<i32>) -> Request {
    // Any negative number asks for a free one.
    (RouteNetlinkMessage::NewNsId(message(netns, Some(id.unwrap_or(-1)))), 0)
}

/// Asks for the id of a namespace, for [`Socket::get`]. [`Socket::nsid`] does it all.
#[must_use]
pub fn get(netns: BorrowedFd<'_>) -> Request {
    (RouteNetlinkMessage::GetNsId(message(netns, None)), 0)
}

/// Decodes what follows the message header of `RTM_NEWNSID` and `RTM_DELNSID`; `None` for "has no id".
pub(crate) fn parse(body: &[u8]) -> Result<Option<i32>, Refused> {
    // struct rtgenmsg, padded.
    let (_, list) = split::<4>(body)?;
    for attribute in attributes(list) {
        let (kind, value) = attribute?;
        if kind == NSID {
            // NETNSA_NSID_NOT_ASSIGNED is -1.
            return Ok(Some(as_i32(value)?).filter(|id| *id >= 0));
        }
    }
    Ok(None)
}

impl Socket<Route> {
    /// The id of the namespace in the socket's namespace, or `None` if it has none.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the descriptor is none of a network namespace; those of the socket.
    pub fn nsid(&mut self, netns: BorrowedFd<'_>) -> Result<Option<i32>, Refused> {
        self.answer(&get(netns).0, |_, body| parse(body))
    }
}
