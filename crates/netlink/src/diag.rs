//! The sockets of a network namespace, and their destruction: what keeps a namespace alive after its last
//! process may be a TCP connection that nobody holds any more.

mod destroy;
mod message;

use std::net::SocketAddr;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags, Timer,
};
use rustix::io::Errno;

pub use self::{
    destroy::{destroy, destroy_all},
    message::Message,
};
use crate::{Af, Diag, Refused, Socket};

/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;
/// `IPPROTO_UDPLITE`.
pub const UDPLITE: u8 = 136;
/// `IPPROTO_RAW`: raw sockets of every protocol, those for ICMP too.
pub const RAW: u8 = 255;
/// The protocols that [`destroy_all`] goes through. Not among them for want of a diag module: ICMP datagram
/// ("ping") sockets, which die with their descriptor.
pub const PROTOCOLS: [u8; 4] = [TCP, UDP, UDPLITE, RAW];

/// `TCP_TIME_WAIT`.
pub const TIME_WAIT: u8 = 6;
/// Every state but `TCP_TIME_WAIT` and the states above `TCP_NEW_SYN_RECV` (12). A socket in 13, bound and
/// nothing else (Linux 6.8), can be neither found nor destroyed, and does not outlive its descriptor.
const STATES: u32 = 0x1ffe & !(1 << TIME_WAIT);
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// An internet socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// Family of the socket; one of [`Af::Inet6`] may have IPv4-mapped addresses.
    pub family: Af,
    /// The protocol that was asked for, as [`TCP`].
    pub protocol: u8,
    /// `TCP_*` state: 1 established, 4 `FIN_WAIT1`, 7 unconnected (UDP), 10 listening.
    pub state: u8,
    /// Local address. For [`RAW`] the port is the IP protocol.
    pub local: SocketAddr,
    /// Remote address, unspecified if the socket is not connected.
    pub remote: SocketAddr,
    /// Index of the link it is bound to, or 0.
    pub interface: u32,
    /// User id of the owner, as seen from the user namespace of the asking socket.
    pub uid: u32,
    /// Inode as in `/proc/PID/fd`, `socket:[inode]`; 0 if no descriptor is left (an orphan).
    pub inode: u32,
    /// As `SO_COOKIE`: never used twice.
    pub cookie: u64,
}

impl SocketInfo {
    /// Decodes what follows the message header; `None` for a socket in `TIME_WAIT`, which may call itself
    /// `FIN_WAIT2`, and which holds no namespace.
    pub(crate) fn parse(protocol: u8, body: &[u8]) -> Result<Option<Self>, Refused> {
        let header = InetResponseHeader::parse(body).map_err(Refused::malformed)?;
        let family = match header.family {
            AF_INET => Af::Inet,
            AF_INET6 => Af::Inet6,
            family => return Err(Refused::malformed(format_args!("family {family}"))),
        };
        if header.timer == Some(Timer::TimeWait) {
            return Ok(None);
        }
        let id = header.socket_id;
        Ok(Some(Self {
            family,
            protocol,
            state: header.state,
            local: (id.source_address, id.source_port).into(),
            remote: (id.destination_address, id.destination_port).into(),
            interface: id.interface_id,
            uid: header.uid,
            inode: header.inode,
            cookie: swap_halves(u64::from_ne_bytes(id.cookie)),
        }))
    }
}

fn cookie_bytes(cookie: u64) -> [u8; 8] {
    swap_halves(cookie).to_ne_bytes()
}

/// A cookie travels as two `u32`, the low one first.
fn swap_halves(cookie: u64) -> u64 {
    if cfg!(target_endian = "big") { cookie.rotate_left(32) } else { cookie }
}

fn request(family: Af, protocol: u8) -> InetRequest {
    let (family, socket_id) = match family {
        Af::Inet => (AF_INET, SocketId::new_v4()),
        Af::Inet6 => (AF_INET6, SocketId::new_v6()),
    };
    let states = StateFlags::from_bits_retain(STATES);
    InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id }
}

/// The sockets of one protocol and family in the namespace of `socket`, without those in `TIME_WAIT`. Empty if
/// the kernel has no diag module for the protocol.
///
/// # Errors
///
/// Those of [`Socket::dump`].
pub fn sockets(socket: &mut Socket<Diag>, protocol: u8, family: Af) -> Result<Vec<SocketInfo>, Refused> {
    let message = Message::List(request(family, protocol));
    match socket.list(&message, |_, body| SocketInfo::parse(protocol, body)) {
        Err(refused) if matches!(refused.errno(), Errno::NOENT | Errno::INVAL) => Ok(Vec::new()),
        found => found,
    }
}
