//! The census of sockets, against what the processes that have them say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
};

use bpf::{SocketFile, Sockets, sockets};
use kernel::namespace::netns_cookie;
use rustix::{
    fs::fstat,
    io::Errno,
    net::{AddressFamily, SocketType, socket},
};

/// Takes a census; `None`, and a line that says why, where it cannot be had.
fn census(test: &str) -> Option<Vec<SocketFile>> {
    match sockets() {
        Err(error) if matches!(error.errno(), Some(Errno::PERM | Errno::NOENT | Errno::NOSYS)) => {
            println!("SKIP {test}: {error}");
            None
        }
        found => Some(found.unwrap()),
    }
}

/// The descriptors of one process.
fn of(pid: u32, all: &[SocketFile]) -> BTreeMap<u32, SocketFile> {
    all.iter().filter(|socket| socket.pid == pid).map(|socket| (socket.fd, *socket)).collect()
}

/// What should be found of a socket of ours.
fn own(socket: BorrowedFd<'_>) -> SocketFile {
    let pid = std::process::id();
    let fd = socket.as_raw_fd().unsigned_abs();
    SocketFile {
        pid,
        tid: pid,
        fd,
        inode: fstat(socket).unwrap().st_ino,
        netns: netns_cookie(socket).unwrap(),
    }
}

#[test]
fn sockets_of_all_families_are_found_and_nothing_else() {
    let (one, other) = UnixStream::pair().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let files = [File::open("/dev/null").unwrap().into(), read, write];
    let Some(all) = census("sockets_of_all_families") else { return };
    let found = of(std::process::id(), &all);
    for socket in [one.as_fd(), other.as_fd(), tcp.as_fd(), netlink.as_fd()] {
        let wanted = own(socket);
        assert_ne!(wanted.netns, 0);
        assert_eq!(found.get(&wanted.fd), Some(&wanted));
    }
    for file in &files {
        assert_eq!(found.get(&file.as_raw_fd().unsigned_abs()), None);
    }
}

#[test]
fn what_is_closed_is_not_found_by_the_next_census() {
    let (kept, closed) = UnixStream::pair().unwrap();
    if census("what_is_closed").is_none() {
        return;
    }
    let program = Sockets::load().unwrap();
    let inode = own(closed.as_fd()).inode;
    let us = std::process::id();
    let has = |inode| program.census().unwrap().iter().any(|s| s.pid == us && s.inode == inode);
    assert!(has(inode) && has(own(kept.as_fd()).inode));
    drop(closed);
    assert!(!has(inode) && has(own(kept.as_fd()).inode));
}

#[test]
fn a_childs_socket_is_found_by_its_pid() {
    let (inherited, _kept) = UnixStream::pair().unwrap();
    let wanted = own(inherited.as_fd());
    let mut child =
        Command::new("sleep").arg("60").stdin(Stdio::from(OwnedFd::from(inherited))).spawn().unwrap();
    let all = census("a_childs_socket");
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(all) = all else { return };
    let wanted = SocketFile { pid: child.id(), tid: child.id(), fd: 0, ..wanted };
    assert_eq!(of(child.id(), &all).get(&0), Some(&wanted));
}

#[test]
fn a_thread_with_descriptors_of_its_own_stands_for_itself() {
    const PROGRAM: &str = "
import ctypes, socket, sys, threading
shared = socket.socket()
def run():
    ctypes.CDLL(None).unshare(0x400) # CLONE_FILES
    own = socket.socket()
    print(threading.get_native_id(), shared.fileno(), own.fileno(), flush=True)
    sys.stdin.readline()
threading.Thread(target=run).start()
";
    let mut python = Command::new("python3");
    let python = python.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = python else { return println!("SKIP a_thread: no python3") };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let all = census("a_thread");
    child.kill().unwrap();
    child.wait().unwrap();
    let Some(all) = all else { return };
    let said: Vec<u32> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [tid, shared, own] = said[..] else { panic!("{line}") };
    let has: BTreeSet<_> = all.iter().filter(|s| s.pid == child.id()).map(|s| (s.tid, s.fd)).collect();
    assert_eq!(has, BTreeSet::from([(child.id(), shared), (tid, shared), (tid, own)]));
}
