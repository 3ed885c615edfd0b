//! The messages of sock_diag. The codec's own enum can neither be sent as `SOCK_DESTROY` and read back as an
//! answer on one socket, nor name the protocol of a raw socket.

use netlink_packet_core::{
    DecodeError, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, Parseable,
};
use netlink_packet_sock_diag::{
    SOCK_DESTROY, SOCK_DIAG_BY_FAMILY,
    inet::{InetRequest, InetResponse},
};

/// A message of [`Diag`](crate::Diag).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `SOCK_DIAG_BY_FAMILY` from us: list the sockets.
    List(InetRequest),
    /// `SOCK_DESTROY`: destroy one.
    Destroy {
        /// Which.
        request: InetRequest,
        /// Its IP protocol if it is a raw socket, 0 otherwise (`sdiag_raw_protocol`, Linux 4.10).
        raw_protocol: u8,
    },
    /// `SOCK_DIAG_BY_FAMILY` from the kernel.
    Socket(Box<InetResponse>),
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        if matches!(self, Self::Destroy { .. }) { SOCK_DESTROY } else { SOCK_DIAG_BY_FAMILY }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::List(request) | Self::Destroy { request, .. } => request.buffer_len(),
            Self::Socket(response) => response.buffer_len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::List(request) => request.emit(buffer),
            Self::Destroy { request, raw_protocol } => {
                request.emit(buffer);
                // struct inet_diag_req_raw has it where struct inet_diag_req_v2 has its padding.
                buffer[3] = *raw_protocol;
            }
            Self::Socket(response) => response.emit(buffer),
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self::Socket(Box::new(InetResponse::parse(payload)?)))
    }
}
