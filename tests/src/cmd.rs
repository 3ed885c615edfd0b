//! Commands of a test, and what came of them.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Where the host's programs are.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The product. These are never looked for on the host.
const PRODUCT: [&str; 5] = ["jail", "jls", "jexec", "jdb", "rctl"];

/// Returns the directory of the product's binaries: the one above the test binary's, `target/PROFILE/deps`.
pub(crate) fn binaries() -> PathBuf {
    let exe = std::env::current_exe().expect("the test binary has a path");
    exe.ancestors().nth(2).expect("the test binary is in target/PROFILE/deps").to_owned()
}

/// A command to be run in the lab, in an environment that is the same everywhere.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    line: String,
    stdin: File,
    timeout: Duration,
}

impl Cmd {
    pub(crate) fn new(program: &str) -> Self {
        let binaries = binaries();
        let mut path = PathBuf::from(program);
        if PRODUCT.contains(&program) {
            path = binaries.join(program);
            assert!(
                path.exists(),
                "there is no {} beside the tests\nhint: `cargo build` first",
                path.display()
            );
        }
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", format!("{}:{PATH}", binaries.display()))
            .env("TZ", "UTC")
            .env("LC_ALL", "C");
        Self { command, line: program.to_owned(), stdin: scratch("stdin"), timeout: Duration::from_secs(30) }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.line = format!("{} {}", self.line, arg.as_ref().display());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Adds the words of a line as arguments. Nothing is quoted in it.
    #[must_use]
    pub fn arg_line(self, line: &str) -> Self {
        self.args(line.split_whitespace())
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the directory to run in.
    #[must_use]
    pub fn current_dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets what there is to read on standard input (nothing, if not told).
    #[must_use]
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin.write_all(text.as_bytes()).expect("a memfd takes anything");
        self
    }

    /// Sets how long the command may take (30 s, if not told).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the command to its end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().finish()
    }

    /// Starts the command. It runs until the guard is dropped, at most.
    #[track_caller]
    #[must_use = "it is killed when dropped"]
    pub fn spawn(mut self) -> Background {
        self.stdin.rewind().expect("a memfd can be rewound");
        // Not pipes: what the command leaves running may keep its output open for as long as it likes.
        let (stdout, stderr) = (scratch("stdout"), scratch("stderr"));
        let copy = |file: &File| file.try_clone().expect("a descriptor can be duplicated");
        self.command.stdin(self.stdin).stdout(copy(&stdout)).stderr(copy(&stderr));
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.line));
        Background { child, line: self.line, timeout: self.timeout, stdout, stderr }
    }
}

/// A command that is running. It is killed when dropped; what it has started is not.
#[derive(Debug)]
pub struct Background {
    child: Child,
    line: String,
    timeout: Duration,
    stdout: File,
    stderr: File,
}

impl Background {
    /// Returns its pid.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        contents(&self.stdout)
    }

    /// Kills it, by SIGKILL. It is reaped by [`Background::finish`].
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
    }

    /// Waits for its end, until the command's timeout.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let status = wait(&mut self.child, self.timeout);
        let (stdout, stderr) = (contents(&self.stdout), contents(&self.stderr));
        let status = status.unwrap_or_else(|| {
            panic!("$ {}\nstill running after {:?}\n{stdout}{stderr}", self.line, self.timeout);
        });
        Output { line: self.line.clone(), status, stdout, stderr }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both are no-ops on a child that was waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What came of a command. `Display` has all of it.
#[derive(Debug)]
#[must_use = "a command may have failed"]
pub struct Output {
    line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Output {
    /// Asserts success, and returns standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "expected success of\n{self}");
        self.stdout
    }

    /// Asserts failure with this exit status, and returns standard error.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert!(self.status.code() == Some(code), "expected exit status {code} of\n{self}");
        self.stderr
    }

    /// Asserts death by a signal, and returns its number.
    #[track_caller]
    pub fn signal(self) -> i32 {
        self.status.signal().unwrap_or_else(|| panic!("expected death by a signal of\n{self}"))
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ {}\n{}", self.line, self.status)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "\n--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// Waits for a child; `None` if it is still running after `timeout`.
pub(crate) fn wait(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("a child has a pidfd");
    let timeout = Timespec::try_from(timeout).expect("a timeout of this age of the universe");
    let ended =
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)).expect("a pidfd can be polled");
    (ended > 0).then(|| child.wait().expect("a child can be waited for"))
}

/// Makes a file that is nowhere.
pub(crate) fn scratch(name: &str) -> File {
    let file = memfd_create(name, MemfdFlags::CLOEXEC).expect("a memfd can be made");
    // One who opens /dev/stdout anew has an offset of its own.
    fcntl_setfl(&file, OFlags::APPEND).expect("a memfd can append");
    file.into()
}

/// Reads a scratch file without moving the offset that its writers share.
pub(crate) fn contents(file: &File) -> String {
    let bytes = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a memfd can be opened again");
    String::from_utf8_lossy(&bytes).into_owned()
}
