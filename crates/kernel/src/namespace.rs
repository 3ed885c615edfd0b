//! Namespaces as file descriptors: what they are, whose they are, and how to enter them.

mod handle;
mod visit;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::{Errno, Result};
use rustix::ioctl::{self, Getter, opcode};
use rustix::process::{PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

use crate::errno::check;
use crate::ioctl::{NewFd, Number, nsfs, pidfs};
use crate::pidfd;
use crate::probe::{Feature, has};

pub use handle::{Handle, NotAHandle};
pub use visit::{Visit, VisitMount, can_visit, socket_in};

/// A kind of namespace, namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// User and group ids, capabilities, keys: user_namespaces(7).
    User,
    /// Mount points: mount_namespaces(7).
    Mnt,
    /// The network stack: network_namespaces(7).
    Net,
    /// System V IPC and POSIX message queues: ipc_namespaces(7).
    Ipc,
    /// Host and domain name: uts_namespaces(7).
    Uts,
    /// Process ids: pid_namespaces(7).
    Pid,
    /// The root of the cgroup tree as seen: cgroup_namespaces(7).
    Cgroup,
    /// Offsets of the boot and monotonic clocks: time_namespaces(7).
    Time,
}

impl Kind {
    /// All kinds; a user namespace comes first since it must be entered first.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mnt, Self::Net, Self::Ipc, Self::Uts, Self::Pid, Self::Cgroup, Self::Time];

    /// Returns the `CLONE_NEW*` bit of clone(2), unshare(2) and setns(2).
    pub const fn flag(self) -> u32 {
        self.link() as u32
    }

    /// Returns the name of the kind in `/proc/PID/ns`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mnt => "mnt",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// Returns the kind with this `CLONE_NEW*` bit.
    pub fn from_flag(flag: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.flag() == flag)
    }

    /// Returns the kind with this name in `/proc/PID/ns`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn link(self) -> LinkNameSpaceType {
        match self {
            Self::User => LinkNameSpaceType::User,
            Self::Mnt => LinkNameSpaceType::Mount,
            Self::Net => LinkNameSpaceType::Network,
            Self::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Self::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            Self::Pid => LinkNameSpaceType::ProcessID,
            Self::Cgroup => LinkNameSpaceType::ControlGroup,
            Self::Time => LinkNameSpaceType::Time,
        }
    }
}

/// Returns the namespace of `kind` that the calling thread is in.
///
/// ioctl_pidfd(2), Linux 6.11; before that `/proc/thread-self/ns`, namespaces(7), which the kernel has to make for
/// each process that looks there: `ENOENT` without a proc file system. Errors also for a kind that the kernel was built
/// without.
pub fn current(kind: Kind) -> Result<OwnedFd> {
    if has(Feature::PidfdNsIoctls) {
        // PIDFD_THREAD of pidfd_open(2), Linux 6.9.
        let thread = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
        return of_process(pidfd_open(gettid(), thread)?, kind);
    }
    open_link(&format!("/proc/thread-self/ns/{}", kind.name()))
}

/// Whether the calling thread is in the namespace of `kind` that the kernel started with, which has an inode number of
/// its own: `enum` of linux/proc_ns.h. Not for network and mount namespaces, which have
/// none on the kernels that we know.
///
/// Errors are those of [`current`]; `EINVAL`: another kind.
pub fn is_first(kind: Kind) -> Result<bool> {
    let inode = match kind {
        Kind::Ipc => 0xEFFF_FFFF,
        Kind::Uts => 0xEFFF_FFFE,
        Kind::User => 0xEFFF_FFFD,
        Kind::Pid => 0xEFFF_FFFC,
        Kind::Cgroup => 0xEFFF_FFFB,
        Kind::Time => 0xEFFF_FFFA,
        Kind::Net | Kind::Mnt => return Err(Errno::INVAL),
    };
    Ok(fstat(current(kind)?)?.st_ino == inode)
}

/// Returns the namespace of `kind` that a process is in (of its thread group leader, to be exact).
///
/// ioctl_pidfd(2), Linux 6.11, needing no proc file system; before that `/proc/PID/ns`. Errors: `ESRCH`:
/// the process has exited (a zombie has no namespaces but user and pid); `EPERM` or `EACCES`: not
/// allowed to trace it, ptrace(2).
pub fn of_process(pidfd: impl AsFd, kind: Kind) -> Result<OwnedFd> {
    let number = match kind {
        Kind::Cgroup => 1,
        Kind::Ipc => 2,
        Kind::Mnt => 3,
        Kind::Net => 4,
        Kind::Pid => 5,
        Kind::Time => 7,
        Kind::User => 9,
        Kind::Uts => 10,
    };
    by_pidfd(pidfd, number, kind.name())
}

/// Returns the namespace that *children* of a process will be in; it differs from
/// [`of_process`] after a setns(2) or unshare(2) of the pid or time namespace.
///
/// Errors are those of [`of_process`]; `EINVAL`: a kind other than `Pid` and `Time`. Before Linux 6.11 a
/// pid namespace that has had no process yet is `ESRCH`, too.
pub fn for_children(pidfd: impl AsFd, kind: Kind) -> Result<OwnedFd> {
    match kind {
        Kind::Pid => by_pidfd(pidfd, 6, "pid_for_children"),
        Kind::Time => by_pidfd(pidfd, 8, "time_for_children"),
        _ => Err(Errno::INVAL),
    }
}

fn by_pidfd(pidfd: impl AsFd, number: u8, link: &str) -> Result<OwnedFd> {
    if has(Feature::PidfdNsIoctls) {
        return ioctl_pidfd(pidfd, number);
    }
    let pid = pidfd::pid(&pidfd)?;
    let ns = open_link(&format!("/proc/{pid}/ns/{link}")).map_err(|errno| match errno {
        Errno::NOENT => Errno::SRCH,
        other => other,
    });
    // The pid was the process's own all the time only if the process is still there.
    if pidfd::pid(&pidfd)? == pid { ns } else { Err(Errno::SRCH) }
}

/// Makes request `number` of ioctl_pidfd(2); whatever the mask of [`probe`](crate::probe) says.
pub(crate) fn ioctl_pidfd(pidfd: impl AsFd, number: u8) -> Result<OwnedFd> {
    // SAFETY: requests 1 to 10 take no argument and return a new descriptor.
    let request = unsafe { NewFd::new(pidfs(number)) };
    // SAFETY: a `NewFd` passes no pointer.
    unsafe { ioctl::ioctl(pidfd, request) }
}

/// Enters the namespace `ns`, which must be of `kind`, with the calling thread alone: setns(2).
///
/// Pid and time namespaces are entered by later children only. Errors: `EINVAL`: another kind, or a
/// user, mount or time namespace in a process with several threads; `EPERM`.
pub fn setns(ns: impl AsFd, kind: Kind) -> Result<()> {
    join(ns, kind)?;
    visit::know(kind, None);
    Ok(())
}

/// As [`setns`], for whoever keeps track of where the thread is.
fn join(ns: impl AsFd, kind: Kind) -> Result<()> {
    move_into_link_name_space(ns.as_fd(), Some(kind.link()))
}

/// Returns the kind of a namespace: `NS_GET_NSTYPE` of ioctl_nsfs(2), Linux 4.11.
///
/// `ENOTTY`: not a namespace.
pub fn kind_of(ns: impl AsFd) -> Result<Kind> {
    // SAFETY: NS_GET_NSTYPE takes no argument and returns a number.
    let request = unsafe { Number::new(nsfs(3)) };
    // SAFETY: a `Number` passes no pointer.
    let flag = unsafe { ioctl::ioctl(ns, request) }?;
    Kind::from_flag(flag.cast_unsigned()).ok_or(Errno::INVAL)
}

/// Returns the user namespace that owns a namespace (of a user namespace: its parent):
/// `NS_GET_USERNS` of ioctl_nsfs(2), Linux 4.9.
///
/// `EPERM`: it is neither the caller's user namespace nor a descendant.
pub fn owner(ns: impl AsFd) -> Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument and returns a new descriptor.
    let request = unsafe { NewFd::new(nsfs(1)) };
    // SAFETY: a `NewFd` passes no pointer.
    unsafe { ioctl::ioctl(ns, request) }
}

/// Returns the id of a namespace, which unlike its inode number no other will ever have.
///
/// `NS_GET_ID` of ioctl_nsfs(2), Linux 6.18. Before that the same number for two kinds, from elsewhere:
/// mount namespaces by `NS_GET_MNTNS_ID` (6.11), network namespaces by [`netns_cookie`] (5.14) of a
/// socket made inside. Errors: `ENOTTY`: another kind, or not a namespace; `EPERM`: not allowed inside.
pub fn id(ns: impl AsFd) -> Result<u64> {
    if has(Feature::NsfsHandles) {
        return get_id(ns);
    }
    match kind_of(&ns)? {
        Kind::Mnt => get_mntns_id(ns),
        Kind::Net => {
            use rustix::net::{AddressFamily, SocketType};
            netns_cookie(socket_in(ns, AddressFamily::UNIX, SocketType::DGRAM, None)?)
        }
        _ => Err(Errno::NOTTY),
    }
}

fn get_id(ns: impl AsFd) -> Result<u64> {
    // SAFETY: NS_GET_ID fills in a u64.
    let request = unsafe { Getter::<{ opcode::read::<u64>(0xb7, 13) }, u64>::new() };
    // SAFETY: the getter holds the u64.
    unsafe { ioctl::ioctl(ns, request) }
}

fn get_mntns_id(ns: impl AsFd) -> Result<u64> {
    // SAFETY: NS_GET_MNTNS_ID fills in a u64.
    let request = unsafe { Getter::<{ opcode::read::<u64>(0xb7, 5) }, u64>::new() };
    // SAFETY: the getter holds the u64.
    unsafe { ioctl::ioctl(ns, request) }
}

/// Returns the id of the network namespace that a socket of any family belongs to: `SO_NETNS_COOKIE`,
/// Linux 5.14. It equals [`id`] of that namespace.
///
/// Errors: `ENOTSOCK`; `ENOPROTOOPT` before 5.14.
pub fn netns_cookie(socket: impl AsFd) -> Result<u64> {
    use std::os::fd::AsRawFd;
    const SO_NETNS_COOKIE: i32 = 71;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `cookie` has `length` bytes for the kernel to fill in, and both outlive the call.
    let ret = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE, (&raw mut cookie).cast(), &raw mut length)
    };
    check(ret).map(|_| cookie)
}

fn open_link(path: &str) -> Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
