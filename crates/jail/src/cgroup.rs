//! A jail's processes are its cgroup: a directory in the v2 tree, never a list of pids. cgroups(7).

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use kernel::{
    namespace::{self, Kind},
    probe::{Feature, is_masked},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process, pidfd_send_signal},
};
use vimage::{Context as _, Cost, Error, Result};

use crate::process;

/// The directory below which a store's jails have theirs: one of the store's mark, at the root of our cgroup
/// namespace.
///
/// # Errors
/// There is no cgroup2 file system to be seen from its root.
pub fn base(mark: &str) -> Result<PathBuf> {
    /// Where the root of our cgroup namespace is mounted; that does not change while a command runs.
    static ROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(root) = ROOT.get() {
        return root.as_ref().map(|root| root.join(mark)).ok_or_else(none);
    }
    let found = match usual() {
        Some(root) => Some(root),
        None => mounted()?,
    };
    ROOT.get_or_init(|| found).as_ref().map(|root| root.join(mark)).ok_or_else(none)
}

/// The cgroup2 file system at one of the places where it usually is, if it is seen from its root and that is the root
/// of our cgroup namespace, too. To read all mounts takes far longer.
fn usual() -> Option<PathBuf> {
    /// CGROUP2_SUPER_MAGIC of linux/magic.h.
    const MAGIC: i64 = 0x6367_7270;
    /// The inode of the root of every cgroup2 file system.
    const ROOT: u64 = 1;
    use std::os::unix::fs::MetadataExt as _;
    let inode = |path: &str| fs::metadata(path).map(|m| m.ino()).ok();
    let is_root = |path: &&str| {
        rustix::fs::statfs(*path).is_ok_and(|fs| fs.f_type == MAGIC) && inode(path) == Some(ROOT)
    };
    let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().find(is_root)?;
    namespace::is_first(Kind::Cgroup).is_ok_and(|first| first).then(|| root.into())
}

/// The last mount of the root of our cgroup namespace.
fn mounted() -> Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").doing("cannot read /proc/self/mountinfo")?;
    Ok(text.lines().rev().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (kind.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    }))
}

fn none() -> Error {
    Error::unsupported("no cgroup2 file system is mounted").hint("mount -t cgroup2 none /sys/fs/cgroup")
}

/// Makes a directory and those above it.
///
/// # Errors
/// The file system refuses.
pub fn create(dir: &Path) -> Result<()> {
    let mut made = fs::create_dir_all(dir);
    // The last jail's removal took the common directory away just now, perhaps after another had made it.
    let taken_away =
        |e: &io::Error| [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists].contains(&e.kind());
    while made.as_ref().is_err_and(taken_away) {
        made = fs::create_dir_all(dir);
    }
    made.doing_with(|| format!("cannot make the cgroup {}", dir.display()))
}

/// The pids in a cgroup itself, not below; empty if it is gone.
#[must_use]
pub fn pids(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Moves all processes of a cgroup to another, those that they start meanwhile as well.
///
/// # Errors
/// The kernel refused.
pub fn move_all(from: &Path, to: &Path) -> Result<()> {
    let procs = to.join("cgroup.procs");
    loop {
        let pids = pids(from);
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids {
            match fs::write(&procs, pid.to_string()) {
                // It has ended.
                Err(e) if rustix::io::Errno::from_io_error(&e) == Some(rustix::io::Errno::SRCH) => {}
                other => other.doing_with(|| format!("cannot move a process to {}", to.display()))?,
            }
        }
    }
}

/// Whether a cgroup or one below it has processes; zombies do not count. A cgroup that is gone has none.
#[must_use]
pub fn populated(dir: &Path) -> bool {
    File::open(dir.join("cgroup.events")).is_ok_and(|events| says_populated(&events))
}

/// Whether an open cgroup.events has processes; that of a cgroup that is gone has none.
fn says_populated(events: &File) -> bool {
    let mut text = [0; 128];
    let length = events.read_at(&mut text, 0).unwrap_or(0);
    text[..length].windows(11).any(|word| word == b"populated 1")
}

/// Whether a cgroup is frozen, as by `cgroup.freeze`: its processes hear of no signal but SIGKILL.
#[must_use]
pub fn frozen(dir: &Path) -> bool {
    fs::read_to_string(dir.join("cgroup.events")).is_ok_and(|events| events.contains("frozen 1"))
}

/// Asks all processes in a cgroup and below to end. An init does not hear of it, and leaves when it is alone.
pub fn terminate(dir: &Path) {
    for (_, process) in process::open_listed(|| all_pids(dir)) {
        let _already_gone = pidfd_send_signal(&process, Signal::TERM);
    }
}

/// Kills all processes in a cgroup and below, without waiting for their end. One that is gone is success.
///
/// # Errors
/// The kernel refused.
pub fn kill(dir: &Path) -> Result<()> {
    let doing = || format!("cannot kill the processes of {}", dir.display());
    if !is_masked(Feature::CgroupKill) {
        match fs::write(dir.join("cgroup.kill"), "1") {
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.exists() => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => return other.doing_with(doing),
        }
    }
    // Before Linux 5.14: nobody can fork while frozen, and a frozen process can be killed.
    fs::write(dir.join("cgroup.freeze"), "1").doing_with(doing)?;
    for dir in below(dir).iter().rev() {
        for pid in pids(dir).into_iter().filter_map(Pid::from_raw) {
            let _already_gone = kill_process(pid, Signal::KILL);
        }
    }
    fs::write(dir.join("cgroup.freeze"), "0").doing_with(doing)
}

/// Waits until a cgroup has no processes; false at the deadline.
///
/// # Errors
/// The kernel refused.
pub fn wait_empty(dir: &Path, deadline: Instant) -> Result<bool> {
    let doing = || format!("cannot watch {}", dir.display());
    let Ok(events) = File::open(dir.join("cgroup.events")) else { return Ok(true) };
    // The kernel tells of a change at most every 10 ms, and a jail of one command is younger than that: so look by
    // ourselves, too, soon at first.
    let mut pause = Duration::from_micros(50);
    // Read by the descriptor that is polled: a change is one since its last read.
    while says_populated(&events) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let limit = left.min(pause).try_into().ok();
        pause = (pause * 2).min(Duration::from_secs(1));
        let mut fds = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e).doing_with(doing),
        }
    }
    Ok(true)
}

/// Removes a cgroup and those below it, deepest first. One that is gone is success.
///
/// # Errors
/// It has processes.
pub fn remove(dir: &Path) -> Result<()> {
    for dir in below(dir).iter().rev() {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(e).doing_with(|| format!("cannot remove the cgroup {}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A cgroup and all below it, each before its own.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    let mut next = 0;
    while let Some(dir) = all.get(next) {
        all.extend(inside(dir));
        next += 1;
    }
    all
}

/// The cgroups in one, not in those below.
#[must_use]
pub fn inside(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// What a cgroup costs: its processes, and the memory that is charged to it. Where nobody charges memory to cgroups:
/// what the processes have mapped, each its share of what several have.
#[must_use]
pub fn cost(dir: &Path) -> Cost {
    let pids = all_pids(dir);
    let charged =
        fs::read_to_string(dir.join("memory.current")).ok().and_then(|text| text.trim().parse().ok());
    let memory = charged.unwrap_or_else(|| pids.iter().map(|pid| mapped(*pid)).sum());
    let cost =
        if pids.is_empty() && dir.exists() { Cost::default().words("no process") } else { Cost::default() };
    cost.count(pids.len() as u64, "process", "processes").bytes(memory, "memory")
}

/// The proportional set size of a process in bytes, proc_pid_smaps(5); 0 if it is gone.
fn mapped(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next());
    kilobytes.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// The pids in a cgroup and below.
#[must_use]
pub fn all_pids(dir: &Path) -> Vec<i32> {
    below(dir).iter().flat_map(|d| pids(d)).collect()
}
