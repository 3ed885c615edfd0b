//! Signals as something to read instead of an interruption: signalfd(2).

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;

use rustix::io::{Errno, Result};
use rustix::process::Signal;

use crate::errno::check;

/// While this lives, signals of the calling thread are read from here and do nothing else.
///
/// A signal that was ignored before stays ignored: nohup(1). Dropping it goes back to the old mask.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    old: Mask,
}

/// A signal mask.
struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

/// Ignores SIGPIPE: sigaction(2).
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: no handler is set that could run.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

impl Signals {
    /// Blocks these signals, for the calling thread and those it makes.
    pub fn block(signals: &[Signal]) -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is there to be written to.
        check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
        for signal in signals.iter().filter(|s| !is_ignored(**s)) {
            // SAFETY: the set is initialised.
            check(unsafe { libc::sigaddset(set.as_mut_ptr(), signal.as_raw()) })?;
        }
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are alive; the first is initialised.
        let ret = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), old.as_mut_ptr()) };
        if ret != 0 {
            return Err(Errno::from_raw_os_error(ret));
        }
        // SAFETY: pthread_sigmask succeeded, so it has filled the set in.
        let old = Mask(unsafe { old.assume_init() });
        // SAFETY: the set is initialised and alive.
        let fd = check(unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
        // SAFETY: the kernel made this descriptor for this call; nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, old })
    }

    /// Goes back to the old mask, in a copy of the process that caught them (fork(2)): the copy is to end by them.
    pub fn let_go(&self) {
        // SAFETY: the set was filled in by the kernel; no old one is asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.old.0, std::ptr::null_mut()) };
    }

    /// The number of the next signal that has come; `None` if none has.
    pub fn next(&self) -> Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the structure has room for the bytes asked for.
        let got = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if got < 0 {
            return match std::io::Error::last_os_error().raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::AGAIN | Errno::INTR) => Ok(None),
                other => Err(other.unwrap_or(Errno::IO)),
            };
        }
        if got.cast_unsigned() != size {
            return Err(Errno::IO);
        }
        // SAFETY: the kernel has filled all of it in.
        let info = unsafe { info.assume_init() };
        Ok(Some(info.ssi_signo.cast_signed()))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Sends a signal to the process of a pidfd, by its number: pidfd_send_signal(2), Linux 5.1.
///
/// `ESRCH`: it has ended.
pub fn send(pidfd: impl AsFd, signal: i32) -> Result<()> {
    let number = libc::SYS_pidfd_send_signal;
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no information about the signal is given, so that no pointer is read.
    let ret = unsafe { libc::syscall(number, fd, signal, null::<libc::siginfo_t>(), 0) };
    check(ret).map(drop)
}

fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no new action is given, and there is room for the old one.
    let ret = unsafe { libc::sigaction(signal.as_raw(), null(), action.as_mut_ptr()) };
    // SAFETY: read only where the call has succeeded and filled it in.
    ret == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn a_blocked_signal_is_read() {
        let signals = Signals::block(&[Signal::USR2]).unwrap();
        assert_eq!(signals.next(), Ok(None));
        // To this thread: another of the test's would die of it.
        // SAFETY: raise(3) takes no pointer.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
        assert_eq!(signals.next(), Ok(Some(libc::SIGUSR2)));
        let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        assert_eq!(send(me, 0), Ok(()));
    }
}
