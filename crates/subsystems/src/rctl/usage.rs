//! How much of each resource a jail uses, as the kernel counts it.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use vimage::{Instance, Result};

use super::legacy;
use crate::sysvipc;

/// For how long what is used in a second is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is counted up, over all the jail's life.
#[derive(Clone, Copy, Default)]
struct Counters {
    /// Processor time in microseconds.
    time: u64,
    /// Bytes and requests from and to block devices; `None`: nobody counts them.
    devices: Option<[u64; 4]>,
}

/// What the jail uses of each resource, in the order of rctl(8). What cannot be told is left out. What is used in a second
/// is looked at for a tenth of one.
///
/// # Errors
/// The jail's ipc namespace cannot be entered or read.
pub fn usage(of: &Instance<'_>) -> Result<Vec<(&'static str, u64)>> {
    let dir = of.anchor("cgroup").map(|anchor| PathBuf::from(anchor.object())).unwrap_or_default();
    let (before, start) = (Counters::of(of, &dir), Instant::now());
    let pids = pids(&dir);
    let status: Vec<_> = pids.iter().map(|pid| read(format!("/proc/{pid}/status"))).collect();
    let sum = |field: &str| status.iter().map(|text| number(text, field)).sum::<u64>();
    let files = |pid: &String| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
    let mut used = vec![
        ("cputime", before.time / 1_000_000),
        ("datasize", sum("VmData:") << 10),
        ("stacksize", sum("VmStk:") << 10),
        ("memoryuse", memory(of, &dir).unwrap_or_else(|| sum("VmRSS:") << 10)),
        ("memorylocked", sum("VmLck:") << 10),
        ("maxproc", pids.len() as u64),
        ("openfiles", pids.iter().map(files).sum()),
        ("vmemoryuse", sum("VmSize:") << 10),
        ("swapuse", sum("VmSwap:") << 10),
        ("nthr", sum("Threads:")),
    ];
    let facilities = ["sysvmsg", "sysvsem", "sysvshm"].map(|facility| of.settings.is_new(facility));
    if facilities.contains(&true) {
        let ipc = sysvipc::usage::usage(of)?;
        let [msg, sem, shm] = facilities;
        let all = [
            (msg, "msgqqueued", ipc.messages),
            (msg, "msgqsize", ipc.queued_bytes),
            (msg, "nmsgq", ipc.queues),
            (sem, "nsem", ipc.semaphores),
            (shm, "nshm", ipc.segments),
            (shm, "shmsize", ipc.segment_bytes),
        ];
        used.extend(all.into_iter().filter(|(own, ..)| *own).map(|(_, name, count)| (name, count)));
    }
    sleep(LOOK.saturating_sub(start.elapsed()));
    let (after, passed) = (Counters::of(of, &dir), start.elapsed());
    let rate = |after: u64, before: u64, unit: u64| {
        let passed = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX).max(1);
        after.saturating_sub(before).saturating_mul(unit) / passed
    };
    used.push(("pcpu", rate(after.time, before.time, 100)));
    if let (Some(after), Some(before)) = (after.devices, before.devices) {
        let names = ["readbps", "writebps", "readiops", "writeiops"];
        let rates = after.into_iter().zip(before).map(|(after, before)| rate(after, before, 1_000_000));
        used.extend(names.into_iter().zip(rates));
    }
    Ok(used)
}

impl Counters {
    fn of(of: &Instance<'_>, dir: &Path) -> Self {
        let stat = read(dir.join("cpu.stat"));
        Self { time: number(&stat, "usage_usec"), devices: devices(of, dir) }
    }
}

/// Bytes read and written, and requests, of all devices together.
fn devices(of: &Instance<'_>, dir: &Path) -> Option<[u64; 4]> {
    if let Ok(text) = fs::read_to_string(dir.join("io.stat")) {
        return Some(["rbytes=", "wbytes=", "rios=", "wios="].map(|key| unified(&text, key)));
    }
    let dir = legacy::own(of, "blkio")?;
    let file = |name: &str| fs::read_to_string(dir.join(format!("blkio.throttle.{name}_recursive"))).ok();
    let (bytes, requests) = (file("io_service_bytes")?, file("io_serviced")?);
    let all = [(&bytes, "Read"), (&bytes, "Write"), (&requests, "Read"), (&requests, "Write")];
    Some(all.map(|(text, word)| version_1(text, word)))
}

/// The sum of a key's numbers in io.stat, a line a device.
fn unified(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// The sum of what is behind a word in a file of blkio, `254:0 Read 4096`.
fn version_1(text: &str, word: &str) -> u64 {
    let number = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().filter(|there| *there == word).and_then(|_| words.next()?.parse::<u64>().ok())
    };
    text.lines().filter_map(number).sum()
}

/// The memory that is charged to the jail; `None`: nobody charges it.
fn memory(of: &Instance<'_>, dir: &Path) -> Option<u64> {
    let legacy = legacy::own(of, "memory").map(|dir| dir.join("memory.usage_in_bytes"));
    let text = fs::read_to_string(legacy.unwrap_or_else(|| dir.join("memory.current"))).ok()?;
    text.trim().parse().ok()
}

/// The processes of the jail and of those in it.
fn pids(dir: &Path) -> Vec<String> {
    let dirs = legacy::below(dir).into_iter().chain([dir.to_owned()]);
    dirs.flat_map(|dir| read(dir.join("cgroup.procs")).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The number behind a word that begins a line; 0 without one.
fn number(text: &str, word: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(word)?.split_whitespace().next());
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_found_in_both_versions() {
        let stat = "254:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n8:0 rbytes=4 wbytes=0 rios=1 wios=0\n";
        assert_eq!((unified(stat, "rbytes="), unified(stat, "rios="), unified(stat, "wios=")), (4100, 2, 2));
        let blkio = "254:0 Read 4096\n254:0 Write 10\n254:0 Total 4106\n8:0 Read 4\nTotal 4110\n";
        assert_eq!((version_1(blkio, "Read"), version_1(blkio, "Write")), (4100, 10));
        assert_eq!((number("a 1\nusage_usec 77\n", "usage_usec"), number("", "x")), (77, 0));
        assert_eq!(number("VmSize:\t   12 kB\n", "VmSize:"), 12);
    }
}
