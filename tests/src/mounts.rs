//! The mount table, and where cgroup v2 is in it.

use std::fs;
use std::path::PathBuf;

/// One line of `/proc/self/mountinfo`.
#[derive(Debug)]
pub struct Mount {
    /// The kernel's number of this mount.
    pub id: String,
    /// What of the file system is mounted: a path in it or, for nsfs, the namespace.
    pub root: String,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type of the file system.
    pub kind: String,
}

/// Returns the mounts of this mount namespace, the oldest first.
pub fn mounts() -> Vec<Mount> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc/self/mountinfo is readable");
    table.lines().filter_map(parse).collect()
}

/// Returns where cgroup v2 is mounted: `/sys/fs/cgroup`, or beside v1 somewhere below it.
pub(crate) fn cgroup2() -> Option<PathBuf> {
    mounts().into_iter().rev().find(|mount| mount.kind == "cgroup2").map(|mount| mount.point)
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS [TAG ...] - TYPE SOURCE OPTIONS`, see proc(5).
fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    Some(Mount {
        id: fields.next()?.to_owned(),
        root: fields.nth(2)?.to_owned(),
        point: fields.next()?.into(),
        kind: file_system.split(' ').next()?.to_owned(),
    })
}
