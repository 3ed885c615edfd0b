//! Who holds a namespace without showing by itself: what is looked for where the [census](crate::take) found nobody.
//!
//! A descriptor may be on its way through a socket, a file registered with a ring, memory mapped whose file is closed;
//! a file of proc shows the namespace it was opened in; and the kernel goes on with a connection whose process is gone.
//! Not all of these can be told from what belongs elsewhere: what cannot is not sure.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
    path::Path,
};

use kernel::{
    mount::{mount_namespaces, mounts_of, statmount},
    namespace::{Kind, Visit, of_process},
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{
    holder::{Holder, Namespace, Open, What},
    process,
};

/// The tables of a stack in /proc/net, and which word of their lines is the inode number of a socket.
const TABLES: &[(&str, usize)] = &[
    ("tcp", 9),
    ("tcp6", 9),
    ("udp", 9),
    ("udp6", 9),
    ("udplite", 9),
    ("udplite6", 9),
    ("raw", 9),
    ("raw6", 9),
    ("icmp", 9),
    ("icmp6", 9),
    ("unix", 6),
    ("packet", 8),
    ("netlink", 9),
];

/// The holders of some namespaces, each with a descriptor of it, that do not show by themselves.
#[must_use]
pub fn hidden(of: &[(Namespace, OwnedFd)]) -> Vec<Holder> {
    if of.is_empty() {
        return Vec::new();
    }
    let inside: Vec<_> = of.iter().filter_map(|(ns, fd)| Some((ns, Inside::look(ns, fd)?))).collect();
    let mut holders = Vec::new();
    for (namespace, inside) in &inside {
        let orphan = |what: &String| Holder {
            namespace: (*namespace).clone(),
            pid: None,
            what: What::Orphan(what.clone()),
            sure: true,
        };
        holders.extend(inside.orphans.iter().map(orphan));
    }
    holders.extend(pinned(of));
    for pid in process::all() {
        let mut found = Vec::new();
        open_files(pid, &mut found);
        mappings(pid, &mut found);
        for (namespace, inside) in &inside {
            for (what, thing) in &found {
                if let Some(sure) = inside.has(thing, pid) {
                    holders.push(Holder {
                        namespace: (*namespace).clone(),
                        pid: Some(pid),
                        what: what.clone(),
                        sure,
                    });
                }
            }
        }
    }
    holders.sort();
    holders.dedup();
    holders
}

/// Those that are mounted where no process that was asked sees them: in a mount namespace without processes, or outside
/// the root of its first. Who may not look into all of them (that takes the first pid namespace) is told of none.
fn pinned(of: &[(Namespace, OwnedFd)]) -> Vec<Holder> {
    let mut holders = Vec::new();
    for mounts in mount_namespaces().into_iter().flatten().flatten() {
        let inode = rustix::fs::fstat(&mounts.ns).map_or(0, |stat| stat.st_ino);
        let all = mounts_of(mounts.id).unwrap_or_default().into_iter();
        for mount in all.filter_map(|id| statmount(mounts.id, id).ok()).filter(|m| m.fs_type == "nsfs") {
            let root = mount.root.to_str().and_then(Namespace::parse);
            let found = of.iter().find(|(namespace, _)| Some(namespace) == root.as_ref());
            holders.extend(found.map(|(namespace, _)| Holder {
                namespace: namespace.clone(),
                pid: None,
                what: What::MountIn(inode, mount.point.clone()),
                sure: true,
            }));
        }
    }
    holders
}

/// What a process has that may be of a namespace.
enum Thing {
    /// A socket, by its inode number.
    Socket(u64),
    /// Anything at all of a network stack.
    Unknown,
    /// A file that shows a namespace of this kind.
    Shows(&'static str),
    /// A SysV shared memory segment: key and id.
    Segment(u32, u64),
}

/// What there is in a namespace.
struct Inside {
    kind: &'static str,
    sockets: HashSet<u64>,
    orphans: Vec<String>,
    /// The keys of shared memory segments that are attached, by id.
    segments: HashMap<u64, u32>,
}

impl Inside {
    fn look(namespace: &Namespace, fd: &OwnedFd) -> Option<Self> {
        let kind = [Kind::Net, Kind::Ipc].into_iter().find(|kind| kind.name() == namespace.kind)?;
        let mut own = Self {
            kind: kind.name(),
            sockets: HashSet::new(),
            orphans: Vec::new(),
            segments: HashMap::new(),
        };
        let _inside = Visit::enter(fd, kind).ok()?;
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        if kind == Kind::Ipc {
            own.segments = segments(&read("/proc/sysvipc/shm"));
            return Some(own);
        }
        let me = Path::new("/proc/thread-self/net");
        own.sockets = sockets(me);
        own.orphans = ["tcp", "tcp6"].iter().flat_map(|table| orphans(&tables(me, table))).collect();
        Some(own)
    }

    /// Whether a thing of a process is of this namespace; `None`: it is not. `Some(false)`: perhaps.
    fn has(&self, thing: &Thing, pid: i32) -> Option<bool> {
        match thing {
            Thing::Socket(inode) if self.kind == "net" => match self.sockets.contains(inode) {
                true => Some(true),
                false => (!sockets_around(pid).contains(inode)).then_some(false),
            },
            Thing::Unknown if self.kind == "net" => Some(false),
            Thing::Shows(kind) => (*kind == self.kind).then_some(false),
            // Another namespace may have one of the same key and id.
            Thing::Segment(key, id) => (self.segments.get(id) == Some(key))
                .then(|| segments_around(pid).is_some_and(|own| own.get(id) != Some(key))),
            _ => None,
        }
    }
}

/// What is open that has or shows something else.
fn open_files(pid: i32, found: &mut Vec<(What, Thing)>) {
    let (tid, open) = process::descriptors(pid, |_, _| false);
    let about =
        |fd: u32| fs::read_to_string(format!("/proc/{pid}/task/{tid}/fdinfo/{fd}")).unwrap_or_default();
    for (fd, link) in open {
        let mut add = |open, thing| found.push((What::Descriptor(fd, open), thing));
        if process::socket(&link).is_some() {
            match in_flight(&about(fd)) {
                0 => {}
                count => add(Open::InFlight(count), Thing::Unknown),
            }
        } else if link.as_os_str() == "anon_inode:[io_uring]" {
            for (name, inode) in registered(&about(fd)) {
                add(Open::Ring(name), Thing::Socket(inode));
            }
        } else if let Some(kind) = shows(&link).filter(|_| is_of_proc(pid, fd)) {
            add(Open::File(link), Thing::Shows(kind));
        }
    }
}

/// How many descriptors wait in a socket: the line `scm_fds: 2` of its fdinfo, Linux 5.12.
fn in_flight(fdinfo: &str) -> u32 {
    let count = fdinfo.lines().find_map(|line| line.strip_prefix("scm_fds:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// The sockets that are registered with a ring: lines like `    0: socket:[4711]` of its fdinfo.
fn registered(fdinfo: &str) -> Vec<(String, u64)> {
    let socket = |line: &str| {
        let (_, name) = line.trim_start().split_once(": ")?;
        Some((name.to_owned(), process::socket(Path::new(name))?))
    };
    fdinfo.lines().filter_map(socket).collect()
}

/// The kind of namespace that a file of a proc file system shows. One below /proc/sys does not keep it.
fn shows(path: &Path) -> Option<&'static str> {
    // Of /proc/PID/net/tcp and /proc/PID/net/stat/arp_cache, and of /proc/sysvipc/shm.
    let above: Vec<_> = path.to_str()?.rsplit('/').skip(1).take(3).collect();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    match above[..] {
        ["sysvipc", ..] => Some("ipc"),
        ["net", pid, ..] | [_, "net", pid] if number(pid) => Some("net"),
        _ => None,
    }
}

/// Whether a file that is open is of a proc file system.
fn is_of_proc(pid: i32, fd: u32) -> bool {
    rustix::fs::statfs(format!("/proc/{pid}/fd/{fd}"))
        .is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

/// The mapped sockets and SysV segments of a process: proc_pid_maps(5).
fn mappings(pid: i32, found: &mut Vec<(What, Thing)>) {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    found.extend(maps.lines().filter_map(mapping));
}

fn mapping(line: &str) -> Option<(What, Thing)> {
    let mut words = line.split_whitespace();
    let inode = words.nth(4)?.parse().ok()?;
    let name = words.next()?;
    if process::socket(Path::new(name)).is_some() {
        return Some((What::Mapping(name.to_owned()), Thing::Socket(inode)));
    }
    let key = u32::from_str_radix(name.strip_prefix("/SYSV")?, 16).ok()?;
    Some((
        What::Mapping(format!("SysV shared memory, key {key:#010x}, id {inode}")),
        Thing::Segment(key, inode),
    ))
}

/// The sockets of a stack, by the inode numbers in its tables.
fn sockets(net: &Path) -> HashSet<u64> {
    let of = |(table, column): &(&str, usize)| {
        let text = tables(net, table);
        let inode = |line: &str| line.split_whitespace().nth(*column)?.parse::<u64>().ok();
        text.lines().skip(1).filter_map(inode).filter(|inode| *inode != 0).collect::<Vec<_>>()
    };
    TABLES.iter().flat_map(of).collect()
}

fn tables(net: &Path, table: &str) -> String {
    fs::read_to_string(net.join(table)).unwrap_or_default()
}

/// The sockets of the stack that a process is in.
fn sockets_around(pid: i32) -> HashSet<u64> {
    sockets(&Path::new("/proc").join(pid.to_string()).join("net"))
}

/// The attached segments of the namespace that a process is in; `None`: they cannot be seen.
fn segments_around(pid: i32) -> Option<HashMap<u64, u32>> {
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let _inside = Visit::enter(of_process(process, Kind::Ipc).ok()?, Kind::Ipc).ok()?;
    Some(segments(&fs::read_to_string("/proc/sysvipc/shm").ok()?))
}

/// The attached segments of /proc/sysvipc/shm: proc_sysvipc(5).
fn segments(shm: &str) -> HashMap<u64, u32> {
    let attached = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let key: i32 = words.first()?.parse().ok()?;
        let attached = words.get(6)?.parse::<u64>().ok()? > 0;
        attached.then_some((words.get(1)?.parse().ok()?, key.cast_unsigned()))
    };
    shm.lines().skip(1).filter_map(attached).collect()
}

/// The connections of /proc/net/tcp that no process has and that are not at their end: proc_pid_net(5).
fn orphans(tcp: &str) -> Vec<String> {
    let one = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let state = match *words.get(3)? {
            "01" => "ESTABLISHED",
            "04" => "FIN_WAIT1",
            "05" => "FIN_WAIT2",
            "08" => "CLOSE_WAIT",
            "09" => "LAST_ACK",
            "0B" => "CLOSING",
            _ => return None,
        };
        let port = |word: &str| u16::from_str_radix(word.rsplit_once(':')?.1, 16).ok();
        let (own, peer) = (port(words.get(1)?)?, port(words.get(2)?)?);
        (words.get(9) == Some(&"0")).then(|| format!("tcp connection, port {own} to {peer}, {state}"))
    };
    tcp.lines().skip(1).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_in_flight_and_registered_files_are_read_from_fdinfo() {
        assert_eq!(in_flight("pos:\t0\nino:\t7\nscm_fds: 2\n"), 2);
        assert_eq!(in_flight("pos:\t0\nflags:\t02\n"), 0);
        let ring = "UserFiles:\t2\n    0: socket:[7101794]\n    1: /tmp/x: y\nUserBufs:\t0\n";
        assert_eq!(registered(ring), [("socket:[7101794]".to_owned(), 7_101_794)]);
    }

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
    }

    #[test]
    fn mapped_sockets_and_segments_are_told_from_files() {
        let text = |line: String| mapping(&line).map(|(what, _)| what.to_string());
        let of = |name| format!("7f0000000000-7f0000001000 rw-s 00000000 00:08 4711       {name}");
        assert_eq!(text(of("socket:[4711]")).unwrap(), "mapping of socket:[4711]");
        assert_eq!(
            text(of("/SYSV00001234 (deleted)")).unwrap(),
            "mapping of SysV shared memory, key 0x00001234, id 4711"
        );
        assert_eq!(text(of("/usr/lib/libc.so")), None);
        assert_eq!(text("7f0000000000-7f0000001000 rw-p 00000000 00:00 0".to_owned()), None);
    }

    #[test]
    fn attached_segments_and_orphaned_connections_are_read_from_tables() {
        let shm = "key shmid perms size cpid lpid nattch uid\n\
                   4660 3 600 4096 1 2 1 0\n-1 4 600 4096 1 2 1 0\n4661 5 600 4096 1 2 0 0\n";
        assert_eq!(segments(shm), HashMap::from([(3, 4660), (4, u32::MAX)]));
        let tcp = "sl local rem st q t r uid timeout inode\n\
                   0: 0100007F:0050 0200007F:1F90 04 0:0 0:0 0 0 0 0 1\n\
                   1: 0100007F:0050 0200007F:1F91 06 0:0 0:0 0 0 0 0 1\n\
                   2: 0100007F:0050 0200007F:1F92 01 0:0 0:0 0 0 0 99 1\n";
        assert_eq!(orphans(tcp), ["tcp connection, port 80 to 8080, FIN_WAIT1"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*", line in "[ 0-9a-f:/SYV\\[\\]]{0,60}") {
            for text in [&text, &line] {
                in_flight(text);
                registered(text);
                shows(Path::new(text));
                mapping(text);
                segments(text);
                orphans(text);
            }
        }
    }
}
