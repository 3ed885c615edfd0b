//! What is mapped into the memory of processes, and keeps what it is of when nobody has it open.

use std::{collections::HashSet, fs, path::Path};

use super::{Thing, fdinfo, files::Around};
use crate::{holder::What, process};

/// Files of memory, whose mounts are the kernel's own.
const MEMORY: &[&str] = &["/memfd:", "/SYSV", "/dev/zero (deleted)", "/anon_hugepage", "/[aio]"];

/// What is mapped into the memory of a process: proc_pid_maps(5).
pub(super) fn mappings(pid: i32, around: &Around, found: &mut Vec<(What, Thing)>) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mut rings: Option<HashSet<u64>> = None;
    for (device, inode, name) in maps.lines().filter_map(mapped) {
        let what = || What::Mapping(name.to_owned());
        if name == "anon_inode:[io_uring]" {
            // One that is open, too, says itself what it has.
            if !rings.get_or_insert_with(|| open_rings(pid)).contains(&inode) {
                found.push((What::Mapping("an io_uring that is closed".to_owned()), Thing::Anything));
            }
        } else if process::socket(Path::new(name)).is_some() {
            found.push((what(), Thing::Socket(inode)));
        } else if let Some(key) = segment(name) {
            let what = format!("SysV shared memory, key {key:#010x}, id {inode}");
            found.push((What::Mapping(what), Thing::Segment(key, inode)));
        } else if name.starts_with('/') && !is_memory(Path::new(name)) && !around.devices.contains(&device) {
            let what = format!("{name}, of a file system that is mounted nowhere");
            found.push((What::Mapping(what), Thing::User));
        }
    }
}

/// The device, the inode number and the name of what is mapped; `None` of memory that is of no file.
fn mapped(line: &str) -> Option<((u32, u32), u64, &str)> {
    let mut words = line.splitn(6, ' ');
    let (major, minor) = words.nth(3)?.split_once(':')?;
    let number = |hex| u32::from_str_radix(hex, 16).ok();
    let device = (number(major)?, number(minor)?);
    let inode = words.next()?.parse().ok()?;
    let name = words.next()?.trim_start();
    (!name.is_empty()).then_some((device, inode, name))
}

/// The key of a SysV segment by its name: `/SYSV00001234 (deleted)`.
fn segment(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix("/SYSV")?.split(' ').next()?, 16).ok()
}

/// The rings that a process has open, by the inode numbers of their files.
fn open_rings(pid: i32) -> HashSet<u64> {
    let of = |tid: i32| {
        let open = process::open_in(pid, tid, |_, _| false).into_iter();
        let rings = open.filter(|(_, link)| link.as_os_str() == "anon_inode:[io_uring]");
        rings.filter_map(move |(fd, _)| {
            let info = fs::read_to_string(format!("/proc/{pid}/task/{tid}/fdinfo/{fd}")).ok()?;
            fdinfo::inode(&info)
        })
    };
    process::tables(pid).into_iter().flat_map(of).collect()
}

/// Whether a path is that of memory.
pub(super) fn is_memory(link: &Path) -> bool {
    MEMORY.iter().any(|name| link.as_os_str().as_encoded_bytes().starts_with(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mapped_is_told_by_its_name() {
        let of = |name| format!("7f0000000000-7f0000001000 rw-s 00000000 fe:08 4711       {name}");
        assert_eq!(mapped(&of("socket:[4711]")), Some(((0xfe, 8), 4711, "socket:[4711]")));
        assert_eq!(mapped(&of("/a name (deleted)")), Some(((0xfe, 8), 4711, "/a name (deleted)")));
        assert_eq!(mapped("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 "), None);
        assert_eq!((segment("/SYSV00001234 (deleted)"), segment("/usr/lib/libc.so")), (Some(0x1234), None));
        assert!(is_memory(Path::new("/memfd:x (deleted)")) && !is_memory(Path::new("/usr/lib/libc.so")));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*", line in "[ 0-9a-f:/SYV\\[\\]]{0,60}") {
            for text in [&text, &line] {
                mapped(text);
                segment(text);
            }
        }
    }
}
