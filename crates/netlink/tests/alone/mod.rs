//! Each test in namespaces of its own: it runs its own binary again under `unshare`, where it is root over a
//! network namespace with nothing in it but `lo`.

#![allow(dead_code, reason = "each test binary uses its share")]

use std::{
    env, fs,
    fs::File,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use netlink::{Route, Socket, link};

const ALONE: &str = "NETLINK_ALONE";

/// Runs `body`, the body of the test called `name`, in new user and network namespaces.
pub fn alone(name: &str, body: impl FnOnce()) {
    through(&[], name, body);
}

/// The same, with the program `wrapper` between `unshare` and the test.
pub fn through(wrapper: &[&str], name: &str, body: impl FnOnce()) {
    if env::var_os(ALONE).is_some() {
        return body();
    }
    let output = Command::new("unshare")
        .arg("-rn")
        .args(wrapper)
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("unshare is needed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A misspelt name would run nothing and succeed.
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// A network namespace held by a sleeping process; dropping it lets it die.
pub struct Netns(Child);

impl Netns {
    pub fn new() -> Self {
        let child = Command::new("unshare").args(["-n", "sleep", "60"]).stdin(Stdio::null()).spawn().unwrap();
        let netns = Self(child);
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        until("a new namespace", || fs::read_link(netns.path()).is_ok_and(|theirs| theirs != ours));
        netns
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    pub fn file(&self) -> File {
        File::open(self.path()).unwrap()
    }

    /// A socket that was opened inside.
    pub fn socket(&self) -> Socket<Route> {
        Socket::open_in(self.file()).unwrap()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits for something the kernel does in its own time.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "waited too long for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn open() -> Socket<Route> {
    Socket::open().unwrap()
}

/// Brings `lo` up.
pub fn lo_up(socket: &mut Socket<Route>) {
    let (message, flags) = link::set_up(1);
    socket.ack(message, flags).unwrap();
}
