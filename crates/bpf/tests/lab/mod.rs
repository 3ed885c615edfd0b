//! A cgroup that is confined, and a network stack with addresses, of which the jail has some.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bpf::{
    Unavailable,
    confine::{Confined, Point},
};
use kernel::bpf::{Program, prog_attach, prog_load, prog_query};
use rustix::io::Errno;

/// A cgroup of the test's own.
pub struct Lab {
    path: PathBuf,
    directory: File,
}

/// What the programs have in common.
const PRELUDE: &str = include_str!("prelude.py");

impl Lab {
    /// Confines a new cgroup; `None`, and a line that says why, where that cannot be.
    pub fn new(test: &str, confined: &Confined) -> Option<Self> {
        let Some(mount) = cgroup2() else {
            println!("SKIP {test}: no cgroup v2 is mounted");
            return None;
        };
        Self::below(&mount, test, confined)
    }

    /// Confines a new cgroup below another one.
    pub fn within(outer: &Self, test: &str, confined: &Confined) -> Option<Self> {
        Self::below(&outer.path, test, confined)
    }

    fn below(parent: &Path, test: &str, confined: &Confined) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let skip = |why: &str| {
            println!("SKIP {test}: {why}");
            None
        };
        let name = format!("vimage-bpf-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        if let Err(error) = fs::create_dir(&path) {
            return skip(&format!("no cgroup can be made: {error}"));
        }
        let lab = Self { directory: File::open(&path).unwrap(), path };
        match confined.attach(lab.cgroup()) {
            Err(error) if matches!(error.errno(), Some(Errno::PERM | Errno::NOSYS)) => {
                return skip(&error.to_string());
            }
            // Nobody looked at it: the kernel knows no such programs.
            Err(Unavailable::Refused { errno: Errno::INVAL, log }) if log.is_empty() => {
                return skip("no programs at cgroups");
            }
            attached => attached.unwrap(),
        }
        let probe =
            Command::new("unshare").args(["-n", "python3", "-c", "from socket import send_fds"]).output();
        if !probe.is_ok_and(|output| output.status.success()) {
            return skip("no network namespace with python3 in it can be made");
        }
        Some(lab)
    }

    pub fn cgroup(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Runs a program in the jail to its end.
    pub fn jail(&self, program: &str) {
        self.start(program).end();
    }

    /// Starts a program in the jail.
    pub fn start(&self, program: &str) -> Jail {
        let program = format!("{PRELUDE}\n{program}");
        let mut python = Command::new("unshare");
        python
            .args(["-n", "python3", "-c", &program])
            .args([self.path.join("cgroup.procs"), cgroup2().unwrap()]);
        let mut child = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Jail { child, input, output, waits: false }
    }

    /// Attaches programs of another name and no effect to a place until no more fit there.
    pub fn fill(&self, point: Point) {
        // `r0 = 1; exit`.
        const NOTHING: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        loop {
            let program = Program {
                kind: point.program_type(),
                attach: point.attach_type(),
                attach_btf_id: 0,
                name: c"other",
                license: c"Dual BSD/GPL",
                code: &NOTHING,
            };
            let program = prog_load(&program, &mut []).unwrap();
            match prog_attach(self.cgroup(), program.as_fd(), point.attach_type(), None) {
                Err(Errno::TOOBIG) => return,
                attached => attached.unwrap(),
            }
        }
    }

    /// How many programs are attached to a place.
    pub fn attached(&self, point: Point) -> usize {
        prog_query(self.cgroup(), point.attach_type()).unwrap().len()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Who is still in there has been killed, and is gone soon.
        for _ in 0..500 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} stays", self.path.display());
    }
}

/// A program in the jail.
pub struct Jail {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Whether it has said a word and waits for us.
    waits: bool,
}

impl Jail {
    /// Lets it go on, and waits until it says this word.
    pub fn wait_for(&mut self, word: &str) {
        self.go_on();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word);
        self.waits = true;
    }

    /// Lets it go on to its end, and fails if it failed.
    pub fn end(mut self) {
        self.go_on();
        assert!(self.child.wait().unwrap().success());
    }

    fn go_on(&mut self) {
        if std::mem::take(&mut self.waits) {
            writeln!(self.input).unwrap();
        }
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where a cgroup v2 hierarchy is mounted: proc_pid_mountinfo(5).
fn cgroup2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}
