//! Processes as file descriptors: which process it is, and how it ended.

use std::fs::read_to_string;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{fstat, fstatfs};
use rustix::io::{Errno, Result};
use rustix::ioctl;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::ioctl::Exchange;
use crate::probe::{Feature, has};

/// `struct pidfd_info` of ioctl_pidfd(2) as Linux 6.13 has it; later kernels only append to it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}
const _: () = assert!(size_of::<Info>() == 64);

const PIDFD_INFO_PID: u64 = 1 << 0;
const PIDFD_INFO_EXIT: u64 = 1 << 3;
const PIDFD_GET_INFO: ioctl::Opcode = ioctl::opcode::read_write::<Info>(0xff, 11);
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// Returns the inode number of a pidfd, which no other process on this machine will have until the next
/// boot: pidfd_open(2), Linux 6.9 (on 64-bit machines).
///
/// `EOPNOTSUPP`: an older kernel, where all pidfds share one inode; or not a pidfd.
pub fn inode(pidfd: impl AsFd) -> Result<u64> {
    #[allow(clippy::unnecessary_cast)] // Its type differs between machines.
    if fstatfs(&pidfd)?.f_type as i64 != PID_FS_MAGIC {
        return Err(Errno::OPNOTSUPP);
    }
    Ok(fstat(pidfd)?.st_ino)
}

/// Returns whether a descriptor is a pidfd: waitid(2), Linux 5.4.
pub(crate) fn is_one(fd: impl AsFd) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Of a process that is not our child it says ECHILD.
    waitid(WaitId::PidFd(fd.as_fd()), look).err() != Some(Errno::BADF)
}

/// Returns how a process ended, as the status of wait(2), once its parent has reaped it; `None` before.
///
/// `PIDFD_GET_INFO` of ioctl_pidfd(2), Linux 6.15; the caller need not be the parent. Note that a pidfd
/// turns readable when the process exits, which is a moment before it is reaped. `ENOTTY`: an older
/// kernel, which keeps no status.
pub fn exit_status(pidfd: impl AsFd) -> Result<Option<i32>> {
    if !has(Feature::PidfdExitInfo) {
        return Err(Errno::NOTTY);
    }
    match ask_exit_status(&pidfd) {
        // Reaped between the kernel's look for the status and its look for the process: by now it is there.
        Err(Errno::SRCH) => ask_exit_status(pidfd),
        answer => answer,
    }
}

/// [`exit_status`], whatever the mask of [`probe`](crate::probe) says. Linux 6.13 and 6.14 answer for a
/// process that is there, and `ESRCH` afterwards.
pub(crate) fn ask_exit_status(pidfd: impl AsFd) -> Result<Option<i32>> {
    let info = get_info(pidfd, PIDFD_INFO_EXIT)?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

/// Returns the process's id in the caller's pid namespace.
///
/// ioctl_pidfd(2), Linux 6.13; before that the `Pid:` line of `/proc/self/fdinfo`. `ESRCH`: it is
/// reaped, or not visible in the caller's pid namespace.
pub fn pid(pidfd: impl AsFd) -> Result<Pid> {
    let pid = match get_info(&pidfd, PIDFD_INFO_PID) {
        Ok(info) if info.mask & PIDFD_INFO_PID != 0 => i32::try_from(info.pid).unwrap_or(0),
        Ok(_) => return Err(Errno::SRCH),
        Err(Errno::NOTTY) => fdinfo_pid(pidfd)?,
        Err(errno) => return Err(errno),
    };
    if pid > 0 { Pid::from_raw(pid).ok_or(Errno::SRCH) } else { Err(Errno::SRCH) }
}

fn get_info(pidfd: impl AsFd, mask: u64) -> Result<Info> {
    // SAFETY: PIDFD_GET_INFO reads and writes the size that is in its number, an `Info`.
    let request = unsafe { Exchange::new(PIDFD_GET_INFO, Info { mask, ..Info::default() }) };
    // SAFETY: the `Exchange` holds the `Info`.
    match unsafe { ioctl::ioctl(pidfd, request) } {
        Ok((_, info)) => Ok(info),
        // Linux 6.11 and 6.12 refuse every request that has an argument.
        Err(Errno::INVAL) => Err(Errno::NOTTY),
        Err(errno) => Err(errno),
    }
}

/// Returns the `Pid:` line: -1 when reaped, 0 when in a pid namespace elsewhere.
fn fdinfo_pid(pidfd: impl AsFd) -> Result<i32> {
    let path = format!("/proc/thread-self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
    let text = read_to_string(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    // Without such a line it is no pidfd.
    line.and_then(|pid| pid.trim().parse().ok()).ok_or(Errno::BADF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn fdinfo_says_the_same_as_the_ioctl() {
        let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        assert_eq!(fdinfo_pid(&me), Ok(getpid().as_raw_nonzero().get()));
        assert_eq!(pid(&me), Ok(getpid()));
        assert_eq!(fdinfo_pid(std::fs::File::open("/").unwrap()), Err(Errno::BADF));
    }

    #[test]
    fn a_pidfd_is_told_from_other_files() {
        assert!(is_one(pidfd_open(getpid(), PidfdFlags::empty()).unwrap()));
        assert!(!is_one(std::fs::File::open("/").unwrap()));
    }
}
