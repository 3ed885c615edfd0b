//! The census of what files keep of user namespaces, against files that a process in another one has opened.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    os::fd::AsRawFd,
    process::{Command, Stdio},
};

use bpf::owners;
use rustix::io::Errno;

/// Opens a file and connects to us from a user and a network namespace of its own, and says what those are called.
const PROGRAM: &str = r#"
import ctypes, os, socket, sys
assert ctypes.CDLL(None).unshare(0x50000000) == 0 # CLONE_NEWUSER | CLONE_NEWNET
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
kept = open("/dev/null")
print(*(os.stat(f"/proc/self/ns/{ns}").st_ino for ns in ("user", "net")), kept.fileno(), flush=True)
sys.stdin.readline()
"#;

#[test]
fn the_opener_and_the_peer_of_a_file_are_found() {
    let path = std::env::temp_dir().join(format!("owners-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", PROGRAM]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = python.spawn() else { return println!("SKIP the_opener: no python3") };
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    std::fs::remove_file(&path).unwrap();
    let ours = File::open("/dev/null").unwrap();
    let all = owners();
    writeln!(child.stdin.take().unwrap()).unwrap();
    child.wait().unwrap();
    let all = match all {
        Err(error) if matches!(error.errno(), Some(Errno::PERM | Errno::NOENT | Errno::NOSYS)) => {
            return println!("SKIP the_opener: {error}");
        }
        found => found.unwrap(),
    };
    let said: Vec<u32> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [userns, stack, fd] = said[..] else { panic!("{line}") };
    let of = |pid, fd| *all.iter().find(|file| (file.pid, file.fd) == (pid, fd)).unwrap();
    let (us, number) = (std::process::id(), |file: &dyn AsRawFd| file.as_raw_fd().unsigned_abs());
    let theirs = of(child.id(), fd);
    assert_eq!((theirs.opener, theirs.peer, theirs.peer_stack), (userns, 0, 0));
    let own = of(us, number(&ours));
    assert_ne!(own.opener, userns);
    assert_eq!((own.mounter, own.peer, own.peer_stack), (theirs.mounter, 0, 0));
    let socket = of(us, number(&accepted));
    assert_eq!((socket.opener, socket.peer, socket.peer_stack), (own.opener, userns, stack));
}
