//! Whether two tasks have something in common: kcmp(2).

use rustix::io::Result;
use rustix::process::Pid;

use crate::errno::check;

/// Whether two tasks, threads or processes, have one table of descriptors, so that what one opens is open in the other:
/// `KCMP_FILES` of kcmp(2), Linux 3.5.
///
/// Errors: `ENOSYS`: the kernel was built without (`CONFIG_KCMP`); `ESRCH`: one is gone; `EPERM`: not allowed to trace
/// both, ptrace(2).
pub fn shares_files(one: Pid, other: Pid) -> Result<bool> {
    const KCMP_FILES: libc::c_int = 2;
    let [one, other] = [one, other].map(|pid| pid.as_raw_nonzero().get());
    // SAFETY: KCMP_FILES takes two tasks and ignores the last two arguments; no pointer is passed.
    let order = check(unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) })?;
    Ok(order == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use rustix::process::getpid;
    use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};

    #[test]
    fn threads_share_their_descriptors_until_one_wants_its_own() {
        let us = getpid();
        let ask = |own: bool| {
            let thread = move || {
                if own {
                    // SAFETY: the thread opens and closes nothing of the others.
                    unsafe { unshare_unsafe(UnshareFlags::FILES) }.unwrap();
                }
                shares_files(us, gettid())
            };
            std::thread::spawn(thread).join().unwrap()
        };
        match ask(false) {
            Err(Errno::NOSYS) => println!("SKIP threads_share: no kcmp(2)"),
            answer => assert_eq!((answer, ask(true)), (Ok(true), Ok(false))),
        }
        let nobody = Pid::from_raw(i32::MAX).unwrap();
        assert!(matches!(shares_files(us, nobody), Err(Errno::SRCH | Errno::NOSYS)));
    }
}
