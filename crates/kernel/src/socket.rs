//! Socket options that rustix lacks.

use std::os::fd::{AsFd, AsRawFd as _};

use rustix::io::Result;

use crate::errno::check;

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
}
