//! The outside of a lab: its namespaces, its cgroup, and the end of both.
//!
//! Namespaces are made by unshare(1): a test is a thread, and a process with threads may not leave its user
//! namespace. Each word of the command line hands over to the next by exec, up to unshare, which forks.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Lab, Need, cmd, debian, inside, mounts, need};

/// Tells a test binary which part it plays; see [`run`].
pub(crate) const STAGE: &str = "VIMAGE_LAB";

/// The status of a body that passed. The harness's own 0 may also mean that it found no test of the name.
pub(crate) const PASSED: i32 = 42;

/// The status of a body that found a need missing, as in automake.
pub(crate) const SKIPPED: i32 = 77;

/// Where a lab finds the binaries: at a place that an unprivileged user can reach, wherever they were built.
const BINARIES: &str = "/media";

/// The host's user that rootless labs run as: nobody's, and not the overflow user that unmapped files belong to.
const UNPRIVILEGED: u32 = 65_533;

/// The lab's cgroups are named by the process that runs the tests, so that a later one can tell which are abandoned.
const CGROUP_PREFIX: &str = "vimage-lab-";

/// With which rights a lab is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Those of root.
    Root,
    /// Those that a user has in a user namespace of one id.
    Rootless,
}

/// What a test asks of its lab.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) needs: Vec<Need>,
    pub(crate) timeout: Duration,
    pub(crate) init_reaps: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { needs: Vec::new(), timeout: Duration::from_secs(60), init_reaps: true }
    }
}

impl Plan {
    /// Adds something without which the test is skipped.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Sets how many seconds the test may take (60, if not told).
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    /// Asks for a pid 1 that reaps no orphans.
    #[must_use]
    pub fn careless_init(mut self) -> Self {
        self.init_reaps = false;
        self
    }
}

/// Runs `body` in a lab. The same test, `path`, plays three parts, each in a process of its own: the one that the test
/// harness started makes the lab, the lab's pid 1 sets it up and reaps, and its child runs the body.
pub fn run(mode: Mode, path: &str, plan: &Plan, body: fn(&Lab)) {
    // The harness's names of tests are without the crate's.
    let test = path.split_once("::").map_or(path, |(_, test)| test);
    match std::env::var(STAGE).as_deref() {
        Ok("init") => inside::init(plan),
        Ok("body") => inside::body(plan, body),
        _ => outside(mode, test, plan),
    }
}

fn outside(mode: Mode, test: &str, plan: &Plan) {
    if let Err(reason) = possible(mode) {
        let need = if mode == Mode::Root { Need::Root } else { Need::Rootless };
        return need::skip(test, &need.to_string(), reason);
    }
    let debian = plan.needs.contains(&Need::Debian).then(debian::archive).transpose();
    let debian = match debian {
        Err(reason) => return need::skip(test, &Need::Debian.to_string(), &reason),
        Ok(archive) => archive.map(|archive| (archive, debian::Room::new())),
    };
    let start = Instant::now();
    let mut machine = Machine::new(mode);
    let exe = std::env::current_exe().expect("the test binary has a path");
    let exe = Path::new(BINARIES).join("deps").join(exe.file_name().expect("the test binary has a name"));
    let mut command = machine.command(&[exe.as_os_str(), test.as_ref()]);
    // With one thread, the harness prints before the test and not after it, on the same line.
    command.args(LIBTEST).env(STAGE, "init").env_remove("RUST_TEST_THREADS");
    if let Some((archive, room)) = &debian {
        command.env(debian::ARCHIVE, seen_inside(archive)).env(debian::ROOM, seen_inside(room.path()));
    }
    let mut child = command.spawn().expect("setpriv (util-linux) can be run");
    let Some(status) = cmd::wait(&mut child, plan.timeout) else {
        machine.kill();
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
        panic!("{}{test}: killed after {} s", machine.output(), plan.timeout.as_secs());
    };
    let output = machine.output();
    if status.code() == Some(SKIPPED) {
        let skip = output.lines().find_map(|line| line.strip_prefix("SKIP ")?.split_once(": "));
        let (need, reason) = skip.expect("a skip has a reason");
        return need::skip(test, need, reason);
    }
    print!("{output}");
    note_time(test, start.elapsed());
    assert!(status.code() == Some(PASSED), "{test}: failed in its lab ({status})");
}

/// Returns where a lab sees what lies beside the binaries.
fn seen_inside(path: &Path) -> PathBuf {
    let exe = std::env::current_exe().expect("the test binary has a path");
    let binaries = exe.ancestors().nth(2).expect("the test binary is in target/PROFILE/deps");
    Path::new(BINARIES).join(path.strip_prefix(binaries).expect("it lies beside the binaries"))
}

/// Adds how long a test took to the file of `LAB_TIMES`, if there is to be one.
fn note_time(test: &str, took: Duration) {
    let Some(path) = std::env::var_os("LAB_TIMES") else { return };
    let file = File::options().append(true).create(true).open(&path);
    file.and_then(|mut file| file.write_all(format!("{:6.1} s {test}\n", took.as_secs_f64()).as_bytes()))
        .unwrap_or_else(|error| panic!("LAB_TIMES={}: {error}", path.display()));
}

/// How a test binary is told to run one test in the open, even one that is ignored.
const LIBTEST: [&str; 3] = ["--exact", "--include-ignored", "--nocapture"];

/// Returns why labs of this mode cannot be made here, if so: found by making one.
fn possible(mode: Mode) -> Result<(), &'static str> {
    static MODES: [OnceLock<Result<(), String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let probe = || {
        let mut machine = Machine::new(mode);
        let status = machine.command(&[OsStr::new("true")]).status();
        match status.map_err(|error| format!("setpriv: {error}"))?.success() {
            true => Ok(()),
            false => Err(machine.output().trim_end().replace('\n', "; ")),
        }
    };
    MODES[mode as usize].get_or_init(probe).as_ref().copied().map_err(String::as_str)
}

/// A machine to be: its cgroup and what it prints. All that is left of either ends in `Drop`.
struct Machine {
    mode: Mode,
    cgroup: Option<PathBuf>,
    output: File,
}

impl Machine {
    fn new(mode: Mode) -> Self {
        Self { mode, cgroup: new_cgroup(mode), output: cmd::scratch("output") }
    }

    /// Returns what runs a program as the machine's pid 1.
    fn command(&mut self, program: &[&OsStr]) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(OsString::from));

        // Nothing outlives the tests: each process of the chain dies with its parent.
        add(&["setpriv", "--pdeathsig", "KILL"]);
        if let Some(cgroup) = &self.cgroup {
            let procs = cgroup.join("cgroup.procs");
            add(&["sh", "-c", r#"echo $$ > "$0" && exec "$@""#, &procs.to_string_lossy()]);
        }
        let exe = std::env::current_exe().expect("the test binary has a path");
        let binaries =
            exe.parent().and_then(Path::parent).expect("the test binary is in target/PROFILE/deps");
        let bind = [
            "sh",
            "-c",
            r#"mount --rbind "$0" "$1" && shift && exec "$@""#,
            &binaries.to_string_lossy(),
            BINARIES,
        ];
        let namespaces = ["--mount", "--propagation", "private", "--net", "--uts", "--ipc", "--cgroup"];
        let new_pids = ["--pid", "--fork", "--kill-child", "--mount-proc"];
        let drops = self.mode == Mode::Rootless && possible(Mode::Root).is_ok();
        if drops {
            // The binaries may be where only root can reach them, so they are put in place before it steps down.
            let id = UNPRIVILEGED.to_string();
            add(&["unshare", "--mount", "--propagation", "private"]);
            add(&bind);
            add(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--pdeathsig", "KILL"]);
        }
        add(&["unshare"]);
        if self.mode == Mode::Rootless {
            add(&["--user", "--map-root-user"]);
        }
        add(&namespaces);
        add(&new_pids);
        if !drops {
            add(&bind);
        }
        words.extend(program.iter().map(OsString::from));

        let mut command = Command::new(&words[0]);
        let output = || self.output.try_clone().expect("a descriptor can be duplicated");
        command
            .args(&words[1..])
            .current_dir("/")
            .stdin(process::Stdio::null())
            .stdout(output())
            .stderr(output());
        command
    }

    /// Returns what was printed, without the words of the harnesses inside.
    fn output(&self) -> String {
        cmd::contents(&self.output).replace("\nrunning 1 test\n", "")
    }

    fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            // ENOENT before Linux 5.14; the pid namespace's end is enough there.
            fs::write(cgroup.join("cgroup.kill"), "1").ok();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        let Some(cgroup) = &self.cgroup else { return };
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = remove_cgroup(cgroup) {
            if Instant::now() > deadline {
                eprintln!("{}: {error}", cgroup.display());
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// Makes a cgroup v2 directory: at the top or, where that is not ours to write, below the one we are in.
fn new_cgroup(mode: Mode) -> Option<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let top = mounts::cgroup2()?;
    remove_abandoned(&top);
    let name = format!("{CGROUP_PREFIX}{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let dir =
        [top.join(&name), top.join(own).join(&name)].into_iter().find(|dir| fs::create_dir(dir).is_ok())?;
    if mode == Mode::Rootless {
        // Delegation as in cgroups(7). Where we are not root, all of it is ours already.
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            chown(dir.join(file), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).ok();
        }
    }
    Some(dir)
}

/// Removes what a killed run of the tests had no time to remove.
fn remove_abandoned(top: &Path) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(CGROUP_PREFIX)?.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Other runs do the same, and a lab may be dying still: whoever comes last succeeds.
            remove_cgroup(&entry.path()).ok();
        }
    }
}

fn remove_cgroup(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}
