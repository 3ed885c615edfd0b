//! On which CPUs a process runs; sched_setaffinity(2).
//!
//! A process that is made to work beside its maker should run on another CPU at once. A scheduler that would rather keep
//! a CPU asleep leaves it on the maker's until that sleeps; so it is sent away, and what it makes may run anywhere again.

use std::{fs::File, io::Read as _};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
};

/// All CPUs that there can be, as sched_setaffinity(2) takes them. A process that asks for these runs wherever its
/// cpuset lets it, now and when that is changed: as one that has never asked.
pub(crate) static ALL: [u64; CpuSet::MAX_CPU / 64] = [u64::MAX; CpuSet::MAX_CPU / 64];

/// Whether nothing keeps us from any of several CPUs: neither a cpuset nor sched_setaffinity(2). Only then can what we
/// make be sent away and let loose again without a trace.
#[must_use]
pub fn is_free() -> bool {
    let Ok(ours) = sched_getaffinity(None) else { return false };
    ours.count() > 1 && possible().is_some_and(|all| all.len() == ours.count() as usize)
}

/// The CPUs that there can be, cputopology of Linux's admin-guide: a list that is read whole at once. Some that are not
/// online may come: up to Linux 6.2 who had ever asked for CPUs would not run on these.
fn possible() -> Option<Vec<usize>> {
    let mut list = [0; 256];
    let length = File::open("/sys/devices/system/cpu/possible").ok()?.read(&mut list).ok()?;
    cpus(std::str::from_utf8(&list[..length]).ok()?)
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

/// The numbers in a list like `0-3,8`; cpuset(7).
fn cpus(list: &str) -> Option<Vec<usize>> {
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (last < CpuSet::MAX_CPU).then(|| (first..=last).collect::<Vec<_>>())
    };
    list.trim().split(',').map(range).collect::<Option<Vec<_>>>().map(|ranges| ranges.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_is_read() {
        assert_eq!(cpus("0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cpus("7"), Some(vec![7]));
        for bad in ["", "a", "1-", "0-1024", "1,,2"] {
            assert_eq!(cpus(bad), None, "{bad}");
        }
    }
}
