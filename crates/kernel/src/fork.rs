//! Copies of this process: fork(2).

use std::{
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
};

use rustix::io::{Errno, Result};
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
};

use crate::errno::check;

/// Makes a copy of this process, which does `act` and ends with the status that it returns. The copy's pidfd is
/// returned; [`crate::spawn::reap`] collects it. When we end, the copy is asked to, too (SIGTERM).
///
/// # Errors
/// EINVAL: this process has other threads, whose locks nobody would ever open in the copy. EAGAIN: a limit of
/// processes.
pub fn fork(act: impl FnOnce() -> u8) -> Result<OwnedFd> {
    // It changes nothing, and is refused to a process of several threads: unshare(2).
    // SAFETY: no pointer is passed.
    check(unsafe { libc::unshare(libc::CLONE_THREAD) })?;
    let us = getpid();
    // SAFETY: there is no other thread, so the copy is as whole as we are.
    let pid = check(unsafe { libc::fork() })?;
    if pid == 0 {
        let alive = set_parent_process_death_signal(Some(Signal::TERM)).is_ok() && getppid() == Some(us);
        // It must never go on with what comes after the call.
        let status = if alive { catch_unwind(AssertUnwindSafe(act)).unwrap_or(u8::MAX) } else { u8::MAX };
        // SAFETY: it ends here; what is to run at the end of the process is the original's to run.
        unsafe { libc::_exit(status.into()) }
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    // Ours until it is collected: its number is no other's.
    pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
        let _gone = kill_process(pid, Signal::KILL);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_several_threads_is_not_copied() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receive.recv());
        assert_eq!(fork(|| 0).err(), Some(Errno::INVAL));
        drop(send);
        assert!(other.join().is_ok_and(|got| got.is_err()));
    }
}
