//! `SOCK_DESTROY`, Linux 4.5 with `CONFIG_INET_DIAG_DESTROY`.

use std::{collections::HashSet, io};

use netlink_packet_sock_diag::inet::SocketId;
use rustix::io::Errno;

use super::{Message, PROTOCOLS, RAW, SocketInfo, cookie_bytes, request, sockets};
use crate::{Af, Diag, Refused, Socket};

/// `INET_DIAG_NOCOOKIE`: whatever has these addresses.
const NO_COOKIE: u64 = u64::MAX;
/// Destroying a listener sets free what it had not accepted, so a second pass is usual. More are for who opens
/// sockets meanwhile.
const PASSES: usize = 8;

/// Closes a socket as if its connection had been reset (`ECONNABORTED`); for [`Socket::ack`]. Its descriptor
/// stays open and goes on holding the namespace.
///
/// Refused with `ENOENT` if it is gone, `EPERM` without `CAP_NET_ADMIN` in the namespace, `EOPNOTSUPP` on a kernel
/// without `CONFIG_INET_DIAG_DESTROY`.
#[must_use]
pub fn destroy(info: &SocketInfo) -> (Message, u16) {
    with_cookie(info, info.cookie)
}

fn with_cookie(info: &SocketInfo, cookie: u64) -> (Message, u16) {
    let mut request = request(info.family, info.protocol);
    request.socket_id = SocketId {
        source_port: info.local.port(),
        destination_port: info.remote.port(),
        source_address: info.local.ip(),
        destination_address: info.remote.ip(),
        interface_id: info.interface,
        cookie: cookie_bytes(cookie),
    };
    let raw_protocol = if info.protocol == RAW { u8::try_from(info.local.port()).unwrap_or(0) } else { 0 };
    (Message::Destroy { request, raw_protocol }, 0)
}

/// Destroys every TCP, UDP and raw socket in the namespace of `socket`, and returns how many are there still
/// after the last pass, those in `TIME_WAIT` not counted. A UDP socket bound to a port is one that stays until
/// its descriptor is closed.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] (`EOPNOTSUPP`) on a kernel that cannot destroy sockets, `EPERM` without
/// `CAP_NET_ADMIN` in the namespace; those of the socket.
pub fn destroy_all(socket: &mut Socket<Diag>) -> io::Result<usize> {
    let mut left = all(socket)?;
    for _ in 0..PASSES {
        if left.is_empty() {
            break;
        }
        // Listeners that share a port (SO_REUSEPORT) have the same addresses and the kernel finds one of them:
        // with its cookie it would refuse all others for ever, without it each request destroys another one.
        let requests: Vec<_> = left.iter().map(|info| with_cookie(info, NO_COOKIE)).collect();
        for answer in socket.each(&requests).map_err(Refused::from)? {
            match answer {
                Err(refused) if refused.errno() != Errno::NOENT => return Err(refused.into()),
                _ => {}
            }
        }
        let before: HashSet<u64> = left.iter().map(|info| info.cookie).collect();
        left = all(socket)?;
        if before == left.iter().map(|info| info.cookie).collect() {
            break;
        }
    }
    Ok(left.len())
}

fn all(socket: &mut Socket<Diag>) -> Result<Vec<SocketInfo>, Refused> {
    let mut found = Vec::new();
    for protocol in PROTOCOLS {
        for family in Af::ALL {
            found.extend(sockets(socket, protocol, family)?);
        }
    }
    Ok(found)
}
