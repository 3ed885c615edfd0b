//! Waiting for network namespaces to die.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink, sockopt},
};

use crate::{
    Family, Route,
    datagram::{Payload, parse},
    nsid,
};

/// `RTNLGRP_NSID`, as the bit that `bind(2)` wants.
const RTNLGRP_NSID: u32 = 1 << (28 - 1);
const RTM_DELNSID: u16 = 89;

/// The death notices of the namespaces that have an id ([`nsid::set`]) in the namespace this was opened in.
///
/// A notice comes when the kernel starts to dismantle the namespace, 3 to 10 ms after its last user is gone.
#[derive(Debug)]
pub struct NsidEvents {
    fd: OwnedFd,
    gone: VecDeque<i32>,
}

impl NsidEvents {
    /// Subscribes. Everything that dies from now on is reported.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `bind(2)`.
    pub fn open() -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Route::PROTOCOL,
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, RTNLGRP_NSID))?;
        sockopt::set_socket_recv_buffer_size(&fd, 1 << 20)?;
        Ok(Self { fd, gone: VecDeque::new() })
    }

    /// Waits for the next death and returns the id that the namespace had, or `None` after `timeout` (`None`
    /// waits for ever). The id is free for another namespace by then.
    ///
    /// # Errors
    ///
    /// `ENOBUFS`: notices were lost, so look at every namespace by other means; the next call works again.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Option<i32>> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.receive()?;
            if let Some(id) = self.gone.pop_front() {
                return Ok(Some(id));
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) || !readable(self.fd.as_fd(), left)? {
                return Ok(None);
            }
        }
    }

    /// Takes what has arrived, without waiting.
    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while self.gone.is_empty() {
            let received =
                rustix::net::recvfrom(&self.fd, &mut buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
            let (length, from) = match received {
                Ok((_, length, from)) => (length, from),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            // Who has CAP_NET_ADMIN here can send to the group as well.
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if from.is_none_or(|from| from.pid() != 0) {
                continue;
            }
            for item in parse(buffer.get(..length).ok_or(Errno::MSGSIZE)?) {
                if let Payload::Message { kind: RTM_DELNSID, body } = item?.payload {
                    self.gone.extend(nsid::parse(body)?);
                }
            }
        }
        Ok(())
    }
}

impl AsFd for NsidEvents {
    /// Readable when a notice has come, for who polls by himself and then calls [`wait`](NsidEvents::wait) with
    /// no time.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    // A time too long for a timespec is as good as for ever.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        // The caller computes what is left of its time and comes again.
        Err(Errno::INTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}
