//! Limits of each process, setrlimit(2): a process that enters a jail takes them, and its children have them from it.
//! Nobody in a jail may raise one: that takes CAP_SYS_RESOURCE over the host.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kernel::{
    act::Act,
    step::{Stage, Step},
};
use rustix::{
    io::Errno,
    process::{Pid, Resource, Rlimit, getrlimit, prlimit},
};
use vimage::{Context as _, Instance, Result, Settings};

use super::{legacy, rule::least};

/// A parameter and what it is to the kernel.
pub(super) static ROWS: [(&str, Resource); 7] = [
    ("rctl.cputime", Resource::Cpu),
    ("rctl.datasize", Resource::Data),
    ("rctl.stacksize", Resource::Stack),
    ("rctl.coredumpsize", Resource::Core),
    ("rctl.memorylocked", Resource::Memlock),
    ("rctl.openfiles", Resource::Nofile),
    ("rctl.vmemoryuse", Resource::As),
];

/// What a process that enters a jail of these values does.
pub(super) fn steps(settings: &Settings) -> Vec<Act> {
    let limits = ROWS.iter().filter_map(|(param, resource)| Some((*resource, most(settings, param)?)));
    limits.map(|(resource, most)| Act::Step(Stage::Limits, Step::Limit(resource, most))).collect()
}

/// Changes the limits of a jail's processes from those of its old values. Where a limit is less than it was, those of the
/// jails in it are bound, too; what they get back they get by their own.
///
/// # Errors
/// The kernel refused.
pub(super) fn update(of: &Instance<'_>, old: &Settings) -> Result<()> {
    let Some(dir) = of.anchor("cgroup").map(|anchor| PathBuf::from(anchor.object())) else { return Ok(()) };
    for (param, resource) in &ROWS {
        let (was, is) = (most(old, param), most(of.settings, param));
        let less = is.is_some_and(|is| was.is_none_or(|was| is < was));
        if was != is {
            let change = |limit: Rlimit| match (less, is, was) {
                (true, Some(is), _) => lowered(limit, is),
                (_, is, Some(was)) => raised(limit, was, is, &getrlimit(*resource)),
                _ => limit,
            };
            let kept = each(&dir, less, *resource, &change).doing(*param)?;
            if kept > 0 {
                let what = "processes keep the limit that they have: to raise one takes CAP_SYS_RESOURCE";
                of.house.tell(format!("{}: {param}: {kept} {what}", of.name));
            }
        }
    }
    Ok(())
}

/// The limit as the kernel takes it.
fn most(settings: &Settings, param: &str) -> Option<u64> {
    least(settings, &[param]).and_then(|most| u64::try_from(most).ok())
}

fn lowered(limit: Rlimit, most: u64) -> Rlimit {
    let less = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    Rlimit { current: less(limit.current), maximum: less(limit.maximum) }
}

/// What a process has that was held to `was`: what it would have if it entered now, from us. One that has less has that of
/// its own will.
fn raised(limit: Rlimit, was: u64, is: Option<u64>, ours: &Rlimit) -> Rlimit {
    if limit.maximum != Some(was) {
        return limit;
    }
    let most = |ours: Option<u64>| [ours, is].into_iter().flatten().min();
    let current = if limit.current == Some(was) { most(ours.current) } else { limit.current };
    Rlimit { current, maximum: most(ours.maximum) }
}

/// Changes a limit of each process of a cgroup, again while there are new ones: a child has what its parent had. Returns
/// how many we may not give more.
fn each(dir: &Path, less: bool, resource: Resource, change: &dyn Fn(Rlimit) -> Rlimit) -> Result<usize> {
    let (mut done, mut kept) = (BTreeSet::new(), 0);
    loop {
        let new: Vec<_> = processes(dir, less).into_iter().filter(|pid| done.insert(*pid)).collect();
        if new.is_empty() {
            return Ok(kept);
        }
        for pid in new.into_iter().filter_map(Pid::from_raw) {
            match set(pid, resource, change) {
                // It has ended.
                Err(Errno::SRCH) => {}
                Err(Errno::PERM) if !less => kept += 1,
                other => other.doing_with(|| format!("cannot limit process {}", pid.as_raw_nonzero()))?,
            }
        }
    }
}

fn set(pid: Pid, resource: Resource, change: &dyn Fn(Rlimit) -> Rlimit) -> rustix::io::Result<()> {
    let there = kernel::limit::of(pid, resource)?;
    let wanted = change(there);
    if wanted == there { Ok(()) } else { prlimit(Some(pid), resource, wanted).map(drop) }
}

/// The processes of a cgroup and those below it: of the jails in it, which are called by their numbers, only with `all`.
fn processes(dir: &Path, all: bool) -> Vec<i32> {
    let is_jail = |below: &&PathBuf| {
        let name = below.strip_prefix(dir).ok().and_then(|rest| rest.iter().next()?.to_str());
        name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()))
    };
    let dirs = legacy::below(dir).into_iter().filter(|below| all || !is_jail(&below)).chain([dir.to_owned()]);
    let texts = dirs.filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok());
    texts.flat_map(|text| text.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(current: u64, maximum: u64) -> Rlimit {
        let one = |n| (n != u64::MAX).then_some(n);
        Rlimit { current: one(current), maximum: one(maximum) }
    }

    #[test]
    fn a_limit_is_lowered_and_what_is_less_stays() {
        assert_eq!(lowered(limit(1024, u64::MAX), 100), limit(100, 100));
        assert_eq!(lowered(limit(10, u64::MAX), 100), limit(10, 100));
        assert_eq!(lowered(limit(10, 20), 100), limit(10, 20));
    }

    #[test]
    fn what_was_held_is_let_go_and_what_holds_itself_is_not() {
        let ours = limit(1024, 4096);
        assert_eq!(raised(limit(100, 100), 100, None, &ours), limit(1024, 4096));
        assert_eq!(raised(limit(100, 100), 100, Some(200), &ours), limit(200, 200));
        assert_eq!(raised(limit(50, 100), 100, Some(200), &ours), limit(50, 200));
        assert_eq!(raised(limit(50, 50), 100, None, &ours), limit(50, 50));
    }

    #[test]
    fn each_resource_of_a_process_has_a_row() {
        use super::super::resource::{Per, RESOURCES};
        let processes: Vec<_> = RESOURCES.iter().filter(|r| r.per == Per::Process).map(|r| r.param).collect();
        assert_eq!(processes, ROWS.map(|(param, _)| param));
    }
}
