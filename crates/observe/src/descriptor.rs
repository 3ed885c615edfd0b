//! What a descriptor of another process is, and which network stack it is of: pidfd_getfd(2), Linux 5.6.
//!
//! To copy a socket and ask it for its stack's cookie takes about a microsecond; to open its stack takes longer and is
//! done once for each stack.

use std::{
    cell::OnceCell,
    collections::HashMap,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use kernel::{namespace::netns_cookie, socket};
use rustix::{
    fs::fstat,
    net::{AddressFamily, SocketType, getpeername, getsockname, ipproto, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::holder::Open;

/// The network stacks of sockets, by cookie.
#[derive(Debug, Default)]
pub(crate) struct Stacks(HashMap<u64, Option<u64>>);

/// The descriptors of a process, which is opened when the first is wanted.
#[derive(Debug)]
pub(crate) struct Task {
    pub pid: i32,
    pub tid: i32,
    pidfd: OnceCell<Option<OwnedFd>>,
}

impl Task {
    /// Those that a thread of a process has.
    pub(crate) fn new(pid: i32, tid: i32) -> Self {
        Self { pid, tid, pidfd: OnceCell::new() }
    }

    /// A copy of one of them; `None`: it is closed, or not the caller's to look at.
    pub(crate) fn copy(&self, fd: u32) -> Option<OwnedFd> {
        let pidfd = self.pidfd.get_or_init(|| self.open()).as_ref()?;
        pidfd_getfd(pidfd, fd.try_into().ok()?, PidfdGetfdFlags::empty()).ok()
    }

    fn open(&self) -> Option<OwnedFd> {
        // PIDFD_THREAD, Linux 6.9.
        let thread = PidfdFlags::from_bits_retain(0o200);
        let flags = if self.pid == self.tid { PidfdFlags::empty() } else { thread };
        pidfd_open(Pid::from_raw(self.tid)?, flags).ok()
    }
}

impl Stacks {
    /// The inode number of the stack with a cookie, by a socket of it if it is met for the first time.
    pub(crate) fn of_cookie(&mut self, cookie: u64, socket: impl FnOnce() -> Option<OwnedFd>) -> Option<u64> {
        if let Some(known) = self.0.get(&cookie) {
            return *known;
        }
        // A socket that is closed by now tells nothing; another of the same stack may.
        let stack = inode(socket::netns(socket()?).ok()?);
        self.0.insert(cookie, stack);
        stack
    }

    /// The inode number of the stack that a socket was made in.
    pub(crate) fn of_socket(&mut self, socket: OwnedFd) -> Option<u64> {
        match netns_cookie(&socket) {
            Ok(cookie) => self.of_cookie(cookie, || Some(socket)),
            Err(_) => inode(socket::netns(socket).ok()?),
        }
    }
}

/// The inode number of the stack that /dev/net/tun was opened in, which is the one that its interface was made in: it is
/// kept, wherever the interface was moved since, and if there is none.
pub(crate) fn of_tap(tap: impl AsFd) -> Option<u64> {
    inode(socket::netns(tap).ok()?)
}

fn inode(ns: OwnedFd) -> Option<u64> {
    Some(fstat(ns).ok()?.st_ino)
}

/// A socket in words: `tcp socket 10.0.0.1:80 to 10.0.0.2:4711`.
pub(crate) fn describe(socket: impl AsFd) -> Open {
    let family = sockopt::socket_domain(&socket).ok();
    let kind = sockopt::socket_type(&socket).ok();
    let protocol = sockopt::socket_protocol(&socket).ok().flatten();
    let name = match (family, kind) {
        (Some(AddressFamily::UNIX), _) => "unix",
        (Some(AddressFamily::NETLINK), _) => "netlink",
        (Some(AddressFamily::PACKET), _) => "packet",
        (Some(AddressFamily::INET | AddressFamily::INET6), Some(kind)) => match (kind, protocol) {
            (SocketType::RAW, _) => "raw",
            (_, Some(ipproto::TCP)) => "tcp",
            (_, Some(ipproto::UDP)) => "udp",
            (_, Some(ipproto::ICMP | ipproto::ICMPV6)) => "ping",
            _ => "internet",
        },
        _ => return Open::Socket("socket".to_owned()),
    };
    let mut text = format!("{name} socket");
    let known = |address: rustix::net::SocketAddrAny| SocketAddr::try_from(address).ok();
    if let Some(own) = getsockname(&socket).ok().and_then(known).filter(|own| own.port() != 0) {
        text.push_str(&format!(" {own}"));
    }
    if let Some(peer) = getpeername(&socket).ok().flatten().and_then(known) {
        text.push_str(&format!(" to {peer}"));
    }
    Open::Socket(text)
}
