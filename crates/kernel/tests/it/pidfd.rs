use std::fs::File;
use std::process::{Child, Command, Stdio};

use kernel::pidfd::{exit_status, inode, pid};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::lab;

/// A process that waits for the end of its input.
fn waiting(then: &str) -> (Child, OwnedFd) {
    let child = Command::new("sh").args(["-c", then]).stdin(Stdio::piped()).spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    (child, pidfd)
}

#[test]
fn inodes_tell_processes_apart() {
    let (mut one, first) = waiting("read x");
    let (mut two, second) = waiting("read x");
    let again = pidfd_open(Pid::from_child(&one), PidfdFlags::empty()).unwrap();
    let [first, second, again] = [first, second, again].map(inode);
    one.wait().unwrap();
    two.wait().unwrap();
    if first == Err(Errno::OPNOTSUPP) {
        return eprintln!("SKIP inodes_tell_processes_apart: no pidfs");
    }
    assert_eq!(first, again);
    assert_ne!(first, second);
    assert_eq!(inode(File::open("/").unwrap()), Err(Errno::OPNOTSUPP));
}

#[test]
fn a_status_is_there_when_the_process_is_reaped() {
    let (mut child, exited) = waiting("read x; exit 7");
    let before = exit_status(&exited);
    child.wait().unwrap();
    if before == Err(Errno::NOTTY) {
        return eprintln!("SKIP a_status_is_there: before Linux 6.15");
    }
    assert_eq!((before, exit_status(&exited)), (Ok(None), Ok(Some(7 << 8))));

    let (mut child, killed) = waiting("read x");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(exit_status(&killed), Ok(Some(9)));
    assert_eq!(exit_status(File::open("/").unwrap()), Err(Errno::NOTTY));
}

#[test]
fn older_kernels_keep_no_status() {
    if let Some(status) = lab::again("JAIL_MASK", "pidfd_exit_info") {
        return assert!(status.success());
    }
    let (mut child, pidfd) = waiting("read x");
    child.wait().unwrap();
    assert_eq!(exit_status(pidfd), Err(Errno::NOTTY));
}

#[test]
fn a_pid_is_known_until_it_is_reaped() {
    let (mut child, pidfd) = waiting("read x");
    assert_eq!(pid(&pidfd), Ok(Pid::from_child(&child)));
    child.wait().unwrap();
    assert_eq!(pid(pidfd), Err(Errno::SRCH));
    assert_eq!(pid(File::open("/").unwrap()), Err(Errno::BADF));
}
