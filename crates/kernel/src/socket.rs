//! What rustix lacks of sockets, and of the descriptors of network interfaces.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::io::Result;
use rustix::ioctl::{self, opcode};

use crate::errno::check;
use crate::ioctl::NewFd;

/// setsockopt(2) with an `int`: of `SOL_NETLINK` (netlink(7)), say.
///
/// `ENOPROTOOPT`: the kernel has no such option at this level.
pub fn setsockopt(socket: impl AsFd, level: u32, option: u32, value: u32) -> Result<()> {
    let length = size_of::<u32>() as libc::socklen_t;
    let (level, option) = (level as libc::c_int, option as libc::c_int);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: `value` outlives the call, and the length is its own.
    check(unsafe { libc::setsockopt(socket, level, option, (&raw const value).cast(), length) }).map(drop)
}

/// Returns the network namespace that a socket of any family belongs to: `SIOCGSKNS`, Linux 4.9.
///
/// `EPERM`: no `CAP_NET_ADMIN` over it; `ENOTTY` or `EBADF`: not a socket.
pub fn netns(socket: impl AsFd) -> Result<OwnedFd> {
    /// `SIOCGSKNS` of linux/sockios.h, which is no `_IO` number.
    const SIOCGSKNS: ioctl::Opcode = 0x894c;
    // SAFETY: SIOCGSKNS takes no argument and returns a new descriptor.
    let request = unsafe { NewFd::new(SIOCGSKNS) };
    // SAFETY: a `NewFd` passes no pointer.
    unsafe { ioctl::ioctl(socket, request) }
}

/// Returns the network namespace that the interface of an open /dev/net/tun was made in: `TUNGETDEVNETNS` of
/// linux/if_tun.h, Linux 5.13.
///
/// `EBADFD`: it has no interface, or no longer; `EPERM`: no `CAP_NET_ADMIN` over the namespace.
pub fn tun_netns(tun: impl AsFd) -> Result<OwnedFd> {
    // SAFETY: TUNGETDEVNETNS takes no argument and returns a new descriptor.
    let request = unsafe { NewFd::new(opcode::none(b'T', 227)) };
    // SAFETY: a `NewFd` passes no pointer.
    unsafe { ioctl::ioctl(tun, request) }
}

#[cfg(test)]
mod tests {
    use rustix::{io::Errno, net};

    use super::*;

    #[test]
    fn an_option_is_set_and_an_unknown_one_is_said_to_be_unknown() {
        let socket = net::socket(net::AddressFamily::NETLINK, net::SocketType::RAW, None).unwrap();
        assert_eq!(setsockopt(&socket, 270, 11, 1), Ok(()));
        assert_eq!(setsockopt(&socket, 270, 9999, 1), Err(Errno::NOPROTOOPT));
    }

    #[test]
    fn a_socket_says_which_stack_it_is_of() {
        let socket = net::socket(net::AddressFamily::UNIX, net::SocketType::STREAM, None).unwrap();
        match netns(&socket) {
            Ok(stack) => {
                let own = crate::namespace::current(crate::namespace::Kind::Net).unwrap();
                let inode = |ns| rustix::fs::fstat(ns).unwrap().st_ino;
                assert_eq!(inode(stack), inode(own));
            }
            Err(errno) => assert_eq!(errno, Errno::PERM),
        }
        assert!(netns(std::fs::File::open("/dev/null").unwrap()).is_err());
        assert!(tun_netns(&socket).is_err());
    }
}
