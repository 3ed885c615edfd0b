//! Processes as the proc file system of the caller shows them: proc(5).

use std::{
    fs,
    path::{Path, PathBuf},
};

use kernel::kcmp::shares_files;
use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    process::Pid,
};

use crate::holder::Namespace;

/// The name of a process; empty if it is gone.
#[must_use]
pub fn comm(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A program that was executed from memory (memfd_create(2)), as a jail's init: its name is behind.
    let name = text.trim_end();
    name.strip_prefix("memfd:").unwrap_or(name).to_owned()
}

/// The namespaces that a process is in.
#[must_use]
pub fn namespaces_of(pid: i32) -> Vec<Namespace> {
    let links = ["user", "mnt", "net", "ipc", "uts", "pid", "cgroup"];
    links.into_iter().filter_map(|kind| link(&format!("/proc/{pid}/ns/{kind}"))).collect()
}

/// Where a process waits so that most signals do not wake it: the kernel's function (proc_pid_wchan(5)), empty if that
/// may not be known. `None`: it does not.
#[must_use]
pub fn waits(pid: i32) -> Option<String> {
    let wchan = || fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    (state(pid) == Some('D')).then(|| wchan().trim_matches('0').to_owned())
}

/// Whether a process has ended and is not collected.
pub(crate) fn is_zombie(pid: i32) -> bool {
    state(pid) == Some('Z')
}

/// A process's state: proc_pid_stat(5).
fn state(pid: i32) -> Option<char> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have anything in it, parentheses included.
    text.rsplit_once(") ")?.1.chars().next()
}

/// The processes, without the caller.
pub(crate) fn all() -> impl Iterator<Item = i32> {
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    numbers("/proc").filter(move |pid| *pid != us)
}

/// The threads of a process, the first among them.
pub(crate) fn tasks(pid: i32) -> impl Iterator<Item = i32> {
    numbers(&format!("/proc/{pid}/task"))
}

/// The numbers of what a thread of a process has open.
pub(crate) fn open_numbers(pid: i32, tid: i32) -> impl Iterator<Item = u32> {
    numbers(&format!("/proc/{pid}/task/{tid}/fd")).map(i32::unsigned_abs)
}

/// The threads of a process, without the first.
pub(crate) fn threads(pid: i32) -> impl Iterator<Item = i32> {
    numbers(&format!("/proc/{pid}/task")).filter(move |tid| *tid != pid)
}

/// What a process has open, and the thread that has it: the first, unless that has ended. Without those that are `known`
/// by thread and number: to read what one is takes a while.
pub(crate) fn descriptors(pid: i32, known: impl Fn(i32, u32) -> bool) -> (i32, Vec<(u32, PathBuf)>) {
    let own = open_in(pid, pid, &known);
    let ended = own.is_empty() && is_zombie(pid);
    match threads(pid).next().filter(|_| ended) {
        Some(tid) => (tid, open_in(pid, tid, &known)),
        None => (pid, own),
    }
}

/// What a thread of a process has open, without those that are `known`.
pub(crate) fn open_in(pid: i32, tid: i32, known: impl Fn(i32, u32) -> bool) -> Vec<(u32, PathBuf)> {
    let dir = format!("/proc/{pid}/task/{tid}/fd");
    let unknown = numbers(&dir).map(i32::unsigned_abs).filter(|fd| !known(tid, *fd));
    unknown.filter_map(|fd| Some((fd, fs::read_link(format!("{dir}/{fd}")).ok()?))).collect()
}

/// A thread for each table of descriptors that a process has: the first, and such as share theirs with none before them.
/// Where that cannot be told each stands for itself.
pub(crate) fn tables(pid: i32) -> Vec<i32> {
    let shared = |one, other| {
        let tasks = Pid::from_raw(one).zip(Pid::from_raw(other));
        tasks.is_some_and(|(one, other)| shares_files(one, other) == Ok(true))
    };
    let mut tables = vec![pid];
    for tid in threads(pid) {
        if !tables.iter().any(|table| shared(*table, tid)) {
            tables.push(tid);
        }
    }
    tables
}

/// The namespace that a link leads to.
pub(crate) fn link(path: &str) -> Option<Namespace> {
    Namespace::parse(fs::read_link(path).ok()?.to_str()?)
}

/// The namespace that a descriptor is of. One that was opened where it is mounted has a path for a link.
pub(crate) fn namespace(pid: i32, tid: i32, fd: u32, link: &Path) -> Option<Namespace> {
    if !link.has_root() {
        return Namespace::parse(link.to_str()?);
    }
    // To follow the link leads to the file itself, wherever its path leads by now. Only a namespace is opened: of
    // other files that may wait, or do something.
    let path = format!("/proc/{pid}/task/{tid}/fd/{fd}");
    let file = is_nsfs(&path).then(|| fs::File::open(path).ok())??;
    let kind = kernel::namespace::kind_of(&file).ok()?;
    Some(Namespace { kind: kind.name().to_owned(), inode: rustix::fs::fstat(&file).ok()?.st_ino })
}

/// Whether a path leads to the file system of namespaces; a server of files is not asked.
pub(crate) fn is_nsfs(path: &str) -> bool {
    let device = |path: &str| {
        let stat = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty());
        stat.map(|stat| (stat.stx_dev_major, stat.stx_dev_minor))
    };
    device(path).is_ok_and(|of| Ok(of) == device("/proc/self/ns/net"))
}

/// The inode number of a link such as `socket:[4711]`.
pub(crate) fn socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The entries of a directory of proc that are numbers.
fn numbers(dir: &str) -> impl Iterator<Item = i32> + use<> {
    fs::read_dir(Path::new(dir))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
}
