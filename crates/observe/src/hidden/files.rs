//! What processes have open, mapped or as a directory that has or shows something else.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{AtFlags, CWD, FileType, StatxFlags, statx},
    io::ioctl_fionread,
    net::{AddressFamily, SocketType, getpeername, sockopt},
};

use super::{Thing, fdinfo, maps::is_memory};
use crate::{
    descriptor::Task,
    holder::{Namespace, Open, What},
    process,
};

/// Devices that keep a socket, or the stack that they were opened in.
const DEVICES: &[&str] = &["/dev/vhost-net", "/dev/ppp"];

/// What is known of the machine when the processes are looked at.
pub(super) struct Around {
    /// The mounts that processes see, by their ids.
    mounts: HashSet<u64>,
    /// Those among them that are of proc file systems, and of these, those that we see.
    proc: HashSet<u64>,
    own_proc: HashSet<u64>,
    /// The devices of their file systems.
    pub(super) devices: HashSet<(u32, u32)>,
    /// The device of the file system of namespaces, as fdinfo has it.
    nsfs: Option<u64>,
    /// Whether BPF programs have told who opened or mounted what, and what is at the other ends of sockets.
    programs: bool,
}

impl Around {
    pub(super) fn look(programs: bool) -> Self {
        let (mut mounts, mut devices) = (HashSet::new(), HashSet::new());
        let (mut proc, mut own_proc) = (HashSet::new(), HashSet::new());
        let mut seen = HashSet::new();
        // Ourselves first: those that are in our namespace are not looked at again.
        for pid in std::iter::once("self".to_owned()).chain(process::all().map(|pid| pid.to_string())) {
            let namespace = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
            if namespace.is_some_and(|namespace| !seen.insert(namespace)) {
                continue;
            }
            let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            for line in text.lines() {
                let mut words = line.split(' ');
                let Some(id) = words.next().and_then(|id| id.parse::<u64>().ok()) else { continue };
                mounts.insert(id);
                devices.extend(words.nth(1).and_then(device));
                if line.split_once(" - ").is_some_and(|(_, kind)| kind.starts_with("proc ")) {
                    proc.insert(id);
                    if pid == "self" {
                        own_proc.insert(id);
                    }
                }
            }
        }
        let nsfs = fs::metadata("/proc/self/ns/net").ok();
        // The kernel has 20 bits for the minor number.
        let packed =
            |device| u64::from(rustix::fs::major(device)) << 20 | u64::from(rustix::fs::minor(device));
        let nsfs = nsfs.map(|of| packed(std::os::unix::fs::MetadataExt::dev(&of)));
        Self { mounts, proc, own_proc, devices, nsfs, programs }
    }

    /// Whether a file by its path is of no mount that a process sees.
    fn is_nowhere(&self, link: &Path, mount: Option<u64>) -> bool {
        link.has_root() && !is_memory(link) && mount.is_some_and(|mount| !self.mounts.contains(&mount))
    }
}

/// A device as proc_pid_mountinfo(5) has it: `254:0`.
fn device(word: &str) -> Option<(u32, u32)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What is open in a table of descriptors.
pub(super) fn open_files(
    task: &Task,
    open: &[(u32, PathBuf)],
    around: &Around,
    found: &mut Vec<(What, Thing)>,
) {
    for (fd, link) in open {
        let path = format!("/proc/{}/task/{}/fd/{fd}", task.pid, task.tid);
        let info = || fs::read_to_string(path.replace("/fd/", "/fdinfo/")).unwrap_or_default();
        let mut add = |open, thing| found.push((What::descriptor(task.pid, task.tid, *fd, open), thing));
        if process::socket(link).is_some() {
            match fdinfo::in_flight(&info()) {
                0 => {}
                count => add(Open::InFlight(count), Thing::Anything),
            }
            if let Some(what) = unix(task, *fd, around.programs) {
                add(Open::Other(what), Thing::Stack);
            }
            continue;
        }
        match link.to_str().unwrap_or_default() {
            "anon_inode:[io_uring]" => {
                let info = info();
                for name in fdinfo::registered(&info) {
                    if let Some(thing) = thing(&name) {
                        add(Open::Ring(name), thing);
                    }
                }
                if let Some(requests) = fdinfo::waiting(&info) {
                    add(Open::Waiting(requests), Thing::Stack);
                }
            }
            "anon_inode:inotify" | "anon_inode:[fanotify]" => {
                for (inode, device) in fdinfo::watched(&info()) {
                    if Some(device) == around.nsfs {
                        add(Open::Other("inotify or fanotify watch of it"), Thing::Namespace(inode));
                    }
                }
            }
            "anon_inode:bpf_link" | "anon_inode:bpf-link" if fdinfo::is_in_netfilter(&info()) => {
                add(Open::Other("BPF program in a netfilter hook"), Thing::Stack);
            }
            // It remembers the namespaces of whoever began it.
            "anon_inode:[fscontext]" => add(Open::Other("file system being made"), Thing::Anything),
            "anon_inode:[pidfd]" if fdinfo::has_ended(&info()) => {
                add(Open::Other("pidfd of a process that has ended"), Thing::User);
            }
            device if DEVICES.contains(&device) || is_macvtap(device) => {
                add(Open::File(link.clone()), Thing::Stack);
            }
            _ if link.has_root() => {
                let mount = fdinfo::mount(&info());
                add_file(link, &path, mount, around, &mut add);
            }
            _ => {}
        }
    }
}

/// Adds what a file by its path may keep. Its mount tells the file system: a server of files is not asked.
fn add_file(link: &Path, path: &str, mount: Option<u64>, around: &Around, add: &mut dyn FnMut(Open, Thing)) {
    let file = || Open::File(link.to_owned());
    let Some(mount) = mount else { return };
    if around.proc.contains(&mount) {
        if let Some(kind) = shows(link) {
            add(file(), Thing::Shows(kind));
        }
        if process_has_ended(link, path, around.own_proc.contains(&mount)) {
            add(file(), Thing::User);
        }
    // A namespace was found by itself.
    } else if around.is_nowhere(link, Some(mount)) && !process::is_nsfs(path) {
        let nowhere = || Open::Nowhere(link.to_owned());
        match type_of(path) {
            // From it, all is reached that is mounted below.
            Some(FileType::Directory) => add(nowhere(), Thing::Anything),
            // No file system that was mounted inside has any.
            Some(FileType::CharacterDevice | FileType::BlockDevice) => {}
            _ if around.programs => {}
            _ => add(nowhere(), Thing::User),
        }
    }
}

/// The root and the working directory of a process, where those are of no mount that one sees.
pub(super) fn directories(pid: i32, around: &Around, found: &mut Vec<(What, Thing)>) {
    for (which, name) in [("cwd", "working directory"), ("root", "root directory")] {
        let path = format!("/proc/{pid}/{which}");
        let Ok(link) = fs::read_link(&path) else { continue };
        let about = statx(CWD, &path, AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID);
        let mount = about.ok().filter(|stat| stat.stx_mask & StatxFlags::MNT_ID.bits() != 0);
        if around.is_nowhere(&link, mount.map(|stat| stat.stx_mnt_id)) {
            found.push((What::Directory(name, link), Thing::Anything));
        }
    }
}

/// What a file that is registered with a ring is, by its name, as far as it can be of a namespace.
fn thing(name: &str) -> Option<Thing> {
    if let Some(namespace) = Namespace::parse(name) {
        return Some(Thing::Namespace(namespace.inode));
    }
    if let Some(kind) = shows(Path::new(name)).filter(|_| name.starts_with("/proc/")) {
        return Some(Thing::Shows(kind));
    }
    Some(Thing::Socket(process::socket(Path::new(name))?))
}

/// What a unix(7) socket may keep beside its own stack.
fn unix(task: &Task, fd: u32, programs: bool) -> Option<&'static str> {
    let socket = task.copy(fd)?;
    if sockopt::socket_domain(&socket) != Ok(AddressFamily::UNIX) {
        return None;
    }
    // A message keeps the socket that it was sent from.
    if ioctl_fionread(&socket).is_ok_and(|bytes| bytes > 0) {
        return Some("unix socket with messages that were not read");
    }
    if programs {
        return None;
    }
    if sockopt::socket_type(&socket) == Ok(SocketType::DGRAM) {
        let connected = getpeername(&socket).is_ok_and(|peer| peer.is_some());
        return connected.then_some("unix socket that is connected");
    }
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut events = [PollFd::new(&socket, PollFlags::empty())];
    poll(&mut events, Some(&at_once)).ok()?;
    events[0].revents().contains(PollFlags::HUP).then_some("unix socket whose other end is closed")
}

/// The kind of namespace that a file of a proc file system shows. One below /proc/sys does not keep it.
fn shows(path: &Path) -> Option<&'static str> {
    // Of /proc/PID/net/tcp and /proc/PID/net/stat/arp_cache, and of /proc/sysvipc/shm.
    let above: Vec<_> = path.to_str()?.rsplit('/').skip(1).take(3).collect();
    match above[..] {
        ["sysvipc", ..] => Some("ipc"),
        ["net", pid, ..] | [_, "net", pid] if is_number(pid) => Some("net"),
        _ => None,
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a path is that of a macvtap's device: `/dev/tap7`.
fn is_macvtap(path: &str) -> bool {
    path.strip_prefix("/dev/tap").is_some_and(is_number)
}

/// Whether a file of proc is about a process that has ended: it says so, or another file is at its path, or none. By other
/// numbers than ours, paths tell nothing.
fn process_has_ended(link: &Path, open: &str, is_own_proc: bool) -> bool {
    let name = link.to_str().unwrap_or_default();
    let (name, deleted) = name.strip_suffix(" (deleted)").map_or((name, false), |name| (name, true));
    let inode = |path: &str| rustix::fs::stat(path).map(|stat| stat.st_ino);
    let moved = || is_own_proc && inode(open).is_ok_and(|open| inode(name) != Ok(open));
    name.split('/').any(is_number) && (deleted || moved())
}

/// The type of a file that is open.
fn type_of(open: &str) -> Option<FileType> {
    let about = statx(CWD, open, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).ok()?;
    Some(FileType::from_raw_mode(about.stx_mode.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_show_a_namespace_are_known_by_their_place() {
        for (path, kind) in [
            ("/proc/12/net/tcp", Some("net")),
            ("/proc/12/task/13/net/tcp", Some("net")),
            ("/12/net/stat/arp_cache", Some("net")),
            ("/proc/sysvipc/shm", Some("ipc")),
            ("/proc/sys/net/ipv4/ip_forward", None),
            ("/proc/12/status", None),
            ("pipe:[12]", None),
        ] {
            assert_eq!(shows(Path::new(path)), kind, "{path}");
        }
        assert!(is_macvtap("/dev/tap7") && !is_macvtap("/dev/tap") && !is_macvtap("/dev/tape1"));
    }

    #[test]
    fn what_a_ring_has_is_told_by_its_name() {
        assert!(matches!(thing("net:[4026531840]"), Some(Thing::Namespace(4_026_531_840))));
        assert!(matches!(thing("socket:[7]"), Some(Thing::Socket(7))));
        assert!(matches!(thing("/proc/7/net/tcp"), Some(Thing::Shows("net"))));
        assert!(thing("/tmp/7/net/tcp").is_none() && thing("<none>").is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*", line in "[ 0-9a-f:/SYV\\[\\]]{0,60}") {
            for text in [&text, &line] {
                shows(Path::new(text));
                thing(text);
            }
        }
    }
}
