//! The limits of other processes: prlimit(2).

use linux_raw_sys::general::rlimit64;
use rustix::{
    io::Result,
    process::{Pid, Resource, Rlimit},
};

use crate::errno::check;

/// What a process has of a resource. rustix gives it only to who sets another.
///
/// Errors: `ESRCH`: it is gone; `EPERM`: it has other ids, and the caller not CAP_SYS_RESOURCE.
pub fn of(pid: Pid, resource: Resource) -> Result<Rlimit> {
    const INFINITY: u64 = u64::MAX;
    let mut limit = rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let (pid, new) = (pid.as_raw_nonzero().get(), std::ptr::null::<rlimit64>());
    // SAFETY: prlimit64 reads nothing where the new limit is null, and writes one rlimit64, which is ours.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource as u32, new, &raw mut limit) })?;
    let bounded = |n: u64| (n != INFINITY).then_some(n);
    Ok(Rlimit { current: bounded(limit.rlim_cur), maximum: bounded(limit.rlim_max) })
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, getrlimit};

    use super::*;

    #[test]
    fn our_own_are_those_that_we_have() {
        for resource in [Resource::Nofile, Resource::Core, Resource::As] {
            assert_eq!(of(getpid(), resource), Ok(getrlimit(resource)));
        }
    }
}
