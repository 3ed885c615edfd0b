//! The inside of a lab: its pid 1, which sets the machine up, and the test's body.

use std::cell::{Cell, RefCell};
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};
use rustix::process::{Pid, WaitOptions, wait, waitpid};

use crate::machine::{PASSED, SKIPPED, STAGE};
use crate::{Background, Cmd, Plan, Snapshot, Tree, audit, cmd, mounts};

/// The machine that a test runs on.
#[derive(Debug)]
pub struct Lab {
    audits: Cell<bool>,
    on_purpose: RefCell<Vec<String>>,
    dirs: Cell<u32>,
}

/// Sets the machine up, has the body run in a child, and ends with its status, and all the machine with it.
#[expect(clippy::zombie_processes, reason = "the loop waits for it among others")]
pub(crate) fn init(plan: &Plan) -> ! {
    set_up();
    let mut child = Command::new(env::current_exe().expect("the test binary has a path"));
    let child = child.args(env::args_os().skip(1)).env(STAGE, "body").spawn().expect("the body can be run");
    let body = Pid::from_child(&child);
    loop {
        let dead = if plan.init_reaps {
            wait(WaitOptions::empty())
        } else {
            waitpid(Some(body), WaitOptions::empty())
        };
        let Some((pid, status)) = dead.expect("pid 1 has a child") else { continue };
        if pid == body {
            if let Some(signal) = status.terminating_signal() {
                println!("the test was killed by signal {signal}");
            }
            exit(status.exit_status().unwrap_or(1));
        }
    }
}

/// Runs the body, then audits what it left behind.
pub(crate) fn body(plan: &Plan, body: fn(&Lab)) -> ! {
    for need in &plan.needs {
        if let Some(reason) = need.missing() {
            println!("SKIP {need}: {reason}");
            exit(SKIPPED);
        }
    }
    let lab = Lab { audits: Cell::new(true), on_purpose: RefCell::default(), dirs: Cell::new(0) };
    let passed = catch_unwind(AssertUnwindSafe(|| {
        let before = lab.snapshot();
        body(&lab);
        lab.audit(&before);
    }));
    // Not through the harness: pid 1 needs no second summary.
    exit(if passed.is_ok() { PASSED } else { 1 });
}

fn set_up() {
    own_cgroups().unwrap_or_else(|error| panic!("cgroup v2: {error}"));
    // What the host has mounted below would be hidden, and would go from here when it goes there.
    for mount in mounts().into_iter().rev() {
        if ["/run", "/tmp", "/dev/shm"]
            .iter()
            .any(|dir| mount.point != Path::new(dir) && mount.point.starts_with(dir))
        {
            // EINVAL in a user namespace, where the host's mounts are locked.
            unmount(&mount.point, UnmountFlags::DETACH).ok();
        }
    }
    for (dir, options) in [("/run", c"mode=755"), ("/tmp", c"mode=1777"), ("/dev/shm", c"mode=1777")] {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("lab", dir, "tmpfs", flags, options).unwrap_or_else(|error| panic!("{dir}: {error}"));
    }
    rustix::system::sethostname(b"lab").expect("the uts namespace is the lab's");
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(up.expect("ip (iproute2) can be run").success(), "lo cannot be brought up");
}

/// Mounts the lab's own cgroups over the host's, with the lab's processes below the top: a cgroup with processes cannot hand
/// controllers to others, unless it is the host's first.
fn own_cgroups() -> rustix::io::Result<()> {
    let Some(point) = mounts::cgroup2() else { return Ok(()) };
    // EINVAL in a user namespace, where the host's mounts are locked.
    unmount(&point, UnmountFlags::DETACH).ok();
    // Not mounted there at once: the kernel refuses one file system twice on one mount point.
    mount("cgroup2", "/tmp", "cgroup2", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?;
    mount_move("/tmp", &point)?;
    // A host may have no cgroup for us; then tests that need one are skipped.
    if fs::create_dir(point.join("lab")).is_ok() {
        fs::write(point.join("lab/cgroup.procs"), "0").expect("a process can move down its own cgroups");
    }
    Ok(())
}

impl Lab {
    /// Returns a command: a binary of the product, or any program of the host.
    #[must_use]
    pub fn cmd(&self, program: &str) -> Cmd {
        Cmd::new(program)
    }

    /// Runs a line of shell that must succeed, and returns what it prints. The product's binaries are in its `PATH`.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        self.cmd("sh").args(["-euc", line]).run().ok()
    }

    /// Starts a line of shell that runs until the guard is dropped.
    #[must_use = "it is killed when dropped"]
    pub fn spawn(&self, line: &str) -> Background {
        self.cmd("sh").args(["-euc", line]).spawn()
    }

    /// Makes a fresh directory, gone with the lab.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dirs.set(self.dirs.get() + 1);
        let dir = PathBuf::from(format!("/tmp/dir-{}", self.dirs.get()));
        fs::create_dir(&dir).expect("/tmp is the lab's");
        dir
    }

    /// Unpacks a Debian: a tree for one jail, gone when dropped.
    #[must_use]
    pub fn debian(&self) -> Tree {
        self.dirs.set(self.dirs.get() + 1);
        Tree::unpack(self.dirs.get())
    }

    /// Returns the top of the lab's own cgroup v2 tree.
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        mounts::cgroup2().expect("the test needs CgroupV2")
    }

    /// Waits until `condition` holds, 10 s at most.
    #[track_caller]
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "still not so after 10 s: {what}");
            sleep(Duration::from_millis(5));
        }
    }

    /// Takes stock of everything in the machine that could be left behind.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take()
    }

    /// Excuses whatever the audit says that contains `text`.
    pub fn leaves_on_purpose(&self, text: &str) {
        self.on_purpose.borrow_mut().push(text.to_owned());
    }

    /// Leaves the machine as it is when the test ends, unexamined.
    pub fn no_audit(&self, reason: &str) {
        println!("no audit: {reason}");
        self.audits.set(false);
    }

    /// Has the product take up what it left unfinished, as every command does: here one that finds no jail of its name.
    pub fn sweep(&self) {
        if Path::new(audit::STORE).exists() && cmd::binaries().join("jail").exists() {
            let _there_is_none = self.cmd("jail").args(["-q", "-r", "nosuch"]).run();
        }
    }

    /// Fails if the machine is not as it was `before`, or if the product's own audit finds fault.
    fn audit(&self, before: &Snapshot) {
        if !self.audits.get() {
            return;
        }
        // What was just killed may take a moment to go.
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let mut changes = self.snapshot().since(before);
            changes.retain(|change| !self.on_purpose.borrow().iter().any(|text| change.contains(text)));
            if changes.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "the test left its machine changed:\n{}", changes.join("\n"));
            sleep(Duration::from_millis(20));
            self.sweep();
        }
        if Path::new(&cmd::binaries()).join("jdb").exists() {
            let faults = self.cmd("jdb").args(["audit", "--all"]).run().ok();
            assert!(faults.is_empty(), "jdb audit --all:\n{faults}");
        }
    }
}
