//! What there is in a namespace, as its own tables say it.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::OwnedFd,
    path::Path,
};

use kernel::namespace::{Kind, Visit, of_process};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Thing;
use crate::holder::Namespace;

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

/// What there is in a namespace.
pub(super) struct Inside<'n> {
    pub(super) namespace: &'n Namespace,
    sockets: HashSet<u64>,
    pub(super) orphans: Vec<String>,
    /// The keys of shared memory segments that are attached, by id.
    segments: HashMap<u64, u32>,
}

impl<'n> Inside<'n> {
    pub(super) fn look(namespace: &'n Namespace, fd: &OwnedFd) -> Self {
        let mut own =
            Self { namespace, sockets: HashSet::new(), orphans: Vec::new(), segments: HashMap::new() };
        let looked_into = [Kind::Net, Kind::Ipc].into_iter().find(|kind| kind.name() == namespace.kind);
        let Some((kind, _inside)) = looked_into.and_then(|kind| Some((kind, Visit::enter(fd, kind).ok()?)))
        else {
            return own;
        };
        if kind == Kind::Ipc {
            own.segments = segments(&fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default());
            return own;
        }
        let me = Path::new("/proc/thread-self/net");
        own.sockets = sockets(me);
        own.orphans = ["tcp", "tcp6"].iter().flat_map(|table| orphans(&tables(me, table))).collect();
        own
    }

    /// Whether a thing of a process is of this namespace; `None`: it is not. `Some(false)`: perhaps.
    pub(super) fn has(&self, thing: &Thing, pid: i32) -> Option<bool> {
        let kind = self.namespace.kind.as_str();
        match thing {
            Thing::Socket(inode) if kind == "net" => match self.sockets.contains(inode) {
                true => Some(true),
                false => (!sockets_around(pid).contains(inode)).then_some(false),
            },
            Thing::Namespace(inode) => (*inode == self.namespace.inode).then_some(true),
            Thing::Anything => Some(false),
            Thing::Stack => ["net", "user"].contains(&kind).then_some(false),
            Thing::User => (kind == "user").then_some(false),
            Thing::Shows(shown) => (*shown == kind).then_some(false),
            // Another namespace may have one of the same key and id.
            Thing::Segment(key, id) if kind == "ipc" => (self.segments.get(id) == Some(key))
                .then(|| segments_around(pid).is_some_and(|own| own.get(id) != Some(key))),
            Thing::Socket(_) | Thing::Segment(..) => None,
        }
    }
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
        fn any_table_is_read_without_a_panic(text in ".*", line in "[ 0-9a-f:]{0,60}") {
            for text in [&text, &line] {
                segments(text);
                orphans(text);
            }
        }
    }
}
