//! One real call for each feature, which changes nothing.

use std::fs;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::{Errno, Result};
use rustix::process::{PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, waitid};

use crate::errno::check;
use crate::mount::{Attr, mount_setattr};
use crate::namespace::{Handle, Kind, current, ioctl_pidfd};
use crate::pidfd::ask_exit_status;
use crate::probe::release;

pub(super) fn nsfs_handles() -> bool {
    current(Kind::Uts).and_then(|ns| Handle::ask(ns)?.open()).is_ok()
}

pub(super) fn pidfd_ns_ioctls() -> bool {
    pidfd_open(getpid(), PidfdFlags::empty()).and_then(|me| ioctl_pidfd(me, 10)).is_ok()
}

/// A process's status must be there when it is reaped. The trial makes a process, so an older release alone, to
/// which it may have been ported back, is put to it.
pub(super) fn pidfd_exit_info() -> bool {
    if release() >= (6, 15) {
        return true;
    }
    let Ok(child) = clone_and_exit() else { return false };
    let options = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    let reaped = waitid(WaitId::PidFd(child.as_fd()), options);
    reaped.is_ok() && matches!(ask_exit_status(child), Ok(Some(0)))
}

/// The kernel looks at the descriptor last: a directory is not a user namespace.
pub(super) fn idmapped_mounts() -> bool {
    let Ok(directory) = open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    let attr = Attr { userns: Some(directory.as_fd()), ..Attr::default() };
    mount_setattr(CWD, c"/", rustix::fs::AtFlags::empty(), &attr) == Err(Errno::INVAL)
}

/// Every cgroup but the root has the file. On a machine with no other cgroup the release tells.
pub(super) fn cgroup_kill() -> bool {
    let Some(root) = cgroup2() else { return false };
    let children = fs::read_dir(root).into_iter().flatten().flatten();
    match children.map(|child| child.path()).find(|path| path.is_dir()) {
        Some(cgroup) => cgroup.join("cgroup.kill").exists(),
        None => release() >= (5, 14),
    }
}

/// Returns where the cgroup2 file system is mounted, by proc_pid_mountinfo(5).
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// A kind that is not built in has no file in proc; one that is may be limited to none (namespaces(7)).
pub(super) fn namespaces(kind: Kind) -> bool {
    let name = kind.name();
    let most = fs::read_to_string(format!("/proc/sys/user/max_{name}_namespaces"));
    // Without a proc file system nothing is known, and the kernel will say.
    let built =
        fs::symlink_metadata(format!("/proc/self/ns/{name}")).is_ok() || !Path::new("/proc/self/ns").exists();
    built && !most.is_ok_and(|n| n.trim() == "0")
}

/// Makes a child that exits with status 0 at once, and returns its pidfd: clone3(2). Nobody is told by a
/// signal, so it must be waited for with `__WALL`.
fn clone_and_exit() -> Result<OwnedFd> {
    let mut pidfd = -1;
    let flags = libc::CLONE_PIDFD as u64;
    // `struct clone_args`, all of it 64-bit: flags, pidfd, and the rest. No signal, no stack.
    let args: [u64; 11] = [flags, (&raw mut pidfd) as u64, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const _: () = assert!(size_of::<[u64; 11]>() == size_of::<linux_raw_sys::general::clone_args>());
    // SAFETY: the child has a copy of the memory, and does nothing but leave.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) };
    if ret == 0 {
        // SAFETY: ends this process without running anything.
        unsafe { libc::_exit(0) };
    }
    check(ret)?;
    // SAFETY: the kernel made this descriptor for this call; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}
