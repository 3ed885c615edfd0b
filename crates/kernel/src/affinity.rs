//! On which CPUs a process runs; sched_setaffinity(2).
//!
//! A process that is made to work beside its maker should run on another CPU at once. A scheduler that would rather keep
//! a CPU asleep leaves it on the maker's until that sleeps; so it is sent away, and what it makes may run anywhere again.

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
};

/// All CPUs that there can be, as sched_setaffinity(2) takes them. A process that asks for these runs wherever its
/// cpuset lets it, now and when that is changed: as one that has never asked.
pub(crate) static ALL: [u64; CpuSet::MAX_CPU / 64] = [u64::MAX; CpuSet::MAX_CPU / 64];

/// Whether nothing keeps us from any of several CPUs: neither a cpuset nor sched_setaffinity(2). Only then can what we
/// make be sent away and let loose again without a trace.
///
/// Those count, too, that are not online and may come: up to Linux 6.2 who had ever asked for CPUs would not run on them.
#[must_use]
pub fn is_free() -> bool {
    let Ok(ours) = sched_getaffinity(None) else { return false };
    ours.count() > 1 && i64::from(ours.count()) == possible()
}

/// How many CPUs there can be: sysconf(3).
fn possible() -> i64 {
    // SAFETY: no pointer is passed.
    unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }
}

/// Lets a process that was sent away run on every CPU again.
pub(crate) fn let_loose(process: Pid) {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    let _has_ended = sched_setaffinity(Some(process), &all);
}

/// Sends a process of ours away from the CPU that we are on. What is refused changes nothing.
pub(crate) fn send_away(process: Pid) {
    let Ok(mut others) = sched_getaffinity(Some(process)) else { return };
    others.unset(sched_getcpu());
    let _stays = sched_setaffinity(Some(process), &others);
}
