//! Entering a jail that exists: joining its processes, or being the first.
//!
//! The caller holds the jail's lock meanwhile: of several that find no process inside, one makes the pid and
//! mount namespaces and the others join.

use std::{
    os::fd::{AsFd as _, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use kernel::{
    act::{Act, fold},
    init,
    namespace::{self, Kind},
    pidfd,
    probe::{Feature, has},
    spawn::{Failed, How, reap, spawn},
    step::{End, Program, Stage, Step},
};
use rustix::io::Errno;
use vimage::{Cause as _, Context as _, Driver, Entry, Error, ErrorKind, Instance, Result};

use crate::{
    birth, core,
    house::Premises,
    process::{self, Command, Reaper, Running},
    record::ProcessId,
};

/// The gate that a command opens when it is in the jail's pid namespace.
const ARRIVED: usize = 0;
/// The gate before it becomes a program.
const EXPECTED: usize = 1;

/// How long the end of an init may take whose namespaces cannot be joined any more.
const LEAVING: Duration = Duration::from_secs(1);

/// A command that was started in a jail.
#[derive(Debug)]
pub(crate) struct Entered {
    pub running: Running,
    /// The jail's new init, if it had no process.
    pub init: Option<ProcessId>,
    /// What stays when there is no other process, if it was started.
    pub keeper: Option<ProcessId>,
}

/// Starts a command in a jail.
///
/// # Errors
/// A step failed.
pub(crate) fn enter(
    driver: &Driver<'_, Act>,
    premises: &Premises,
    of: &Instance<'_>,
    init: Option<&ProcessId>,
    command: &Command,
) -> Result<Entered> {
    process::hide()?;
    let dir = cgroup_of(of)?;
    let cgroup = open_cgroup(&dir)?;
    if let Some(inside) = occupant(of, &dir, init) {
        let mut arrived = false;
        match join(driver, of, &cgroup, &inside, command, &mut arrived) {
            // Its init has gone since we looked, or is about to: then it has no namespaces any more. Who had
            // come in failed for a reason of its own.
            Err(e) if process::ends(inside.as_fd(), if arrived { Duration::ZERO } else { LEAVING }) => {
                drop(e);
            }
            joined => return Ok(Entered { running: joined?, init: None, keeper: None }),
        }
    }
    core::reopen_held(of, premises)?;
    first(driver, of, &cgroup, command)
}

/// A process that is in all of a jail's namespaces: its init, or, where pids are the host's, any. The caller
/// holds the jail's lock: one that is on its way in is not there yet.
pub(crate) fn occupant(of: &Instance<'_>, dir: &Path, init: Option<&ProcessId>) -> Option<OwnedFd> {
    if of.settings.is_new("proc") {
        init.and_then(process::open)
    } else {
        process::any(dir).map(|(_, process)| process)
    }
}

/// A process in the namespaces of one that is inside; `arrived`, whether it came in at all.
fn join(
    driver: &Driver<'_, Act>,
    of: &Instance<'_>,
    cgroup: &OwnedFd,
    inside: &OwnedFd,
    command: &Command,
    arrived: &mut bool,
) -> Result<Running> {
    let own_pids = of.settings.is_new("proc");
    let mut flags = Kind::Mnt.flag();
    for kind in [Kind::User, Kind::Net, Kind::Ipc, Kind::Uts, Kind::Cgroup] {
        if of.nearest(kind.name())?.is_some() {
            flags |= kind.flag();
        }
    }
    let inside = Rc::new(inside.try_clone().doing("cannot open the jail's init")?);
    let (before, after) = split(driver, of, Entry::Joining)?;
    let mut steps = before;
    // All at once, or none: the kernel finds the order. setns(2), Linux 5.8.
    steps.push(Step::Join(inside.clone(), flags));
    if flags & Kind::User.flag() != 0 {
        steps.push(Step::Ids { uid: 0, gid: 0, groups: Vec::new() });
    }
    let (limits, after) = birth::limits(after);
    steps.extend(after);
    let (command, end) = command.program()?;
    let reaper = if own_pids && has(Feature::PidfdExitInfo) { Reaper::Init } else { Reaper::Us };
    let sibling = reaper == Reaper::Us;
    let gates = [Step::Reached(ARRIVED), Step::Wait(EXPECTED)];
    let gates = gates.into_iter().filter(|_| own_pids);
    let child = Program::new(gates.chain(command).chain(limits).collect(), end).immortal();
    steps.push(Step::Spawn(Box::new(child), How { vfork: true, sibling, ..How::default() }));
    let doing = "cannot enter";
    // Made inside, the command's maker leaves it to the jail's init; from outside, to the host's.
    let pids = own_pids.then(|| namespace::of_process(&*inside, Kind::Pid)).transpose().doing(doing)?;
    let pids = pids.as_ref().map(AsRawFd::as_raw_fd);
    let how = How { cgroup: Some(cgroup.as_raw_fd()), pids, ..How::default() };
    let process = spawn(Program::new(steps, End::Exit), how).doing(doing)?;
    if own_pids {
        process.reached(ARRIVED);
        if !stays(&inside)? {
            return Err(Error::new(ErrorKind::NotFound, "the jail's init is gone").doing(doing));
        }
        process.open(EXPECTED);
    }
    *arrived = true;
    let done = process.finish().map_err(|e| failed(e, doing))?;
    let mut pidfds = done.pidfds;
    arrived_whole(&pidfds, 1, doing)?;
    let running = pidfds.pop().map(|pidfd| Running::new(pidfd, reaper));
    running.ok_or_else(|| Error::new(ErrorKind::Failed, "no process was made"))
}

/// Whether an init stays for a process that has come into its namespace. One that had found itself alone just
/// before takes the process along to its end; one that sleeps will look again before it leaves.
fn stays(init: &OwnedFd) -> Result<bool> {
    /// `PF_EXITING` of <linux/sched.h>.
    const EXITING: u32 = 4;
    let Ok(pid) = pidfd::pid(init) else { return Ok(false) };
    let end = Instant::now() + LEAVING;
    loop {
        // `PID (NAME) STATE PARENT GROUP SESSION TERMINAL ITS-GROUP FLAGS ...`, proc_pid_stat(5).
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        let sleeps = fields.next() == Some("S");
        let exiting =
            fields.nth(5).and_then(|flags| flags.parse::<u32>().ok()).is_none_or(|f| f & EXITING != 0);
        if exiting || !process::is_alive(init.as_fd()) {
            return Ok(false);
        }
        if sleeps {
            return Ok(true);
        }
        if Instant::now() > end {
            // It may be traced, or frozen.
            return Err(Error::new(ErrorKind::Busy, "the jail's init does not answer"));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// The first process of a jail that has none: with mounts and, perhaps, a pid namespace made anew.
fn first(
    driver: &Driver<'_, Act>,
    of: &Instance<'_>,
    cgroup: &OwnedFd,
    command: &Command,
) -> Result<Entered> {
    let mut acts = driver.first(of.settings);
    acts.extend(driver.enter(of, Entry::First)?);
    let folded = fold(acts).doing("cannot make a filter")?;
    let own_pids = folded.namespaces & u64::from(Kind::Pid.flag()) != 0;
    let (before, after): (Vec<_>, Vec<_>) =
        folded.steps.into_iter().partition(|(stage, _)| *stage < Stage::Ids);
    let mut outer: Vec<_> = before.into_iter().map(|(_, step)| step).collect();
    outer.extend(birth::join(of)?);
    let mut inner: Vec<_> = after.into_iter().map(|(_, step)| step).collect();
    let keeps = folded.keeps && own_pids && of.settings.bool("persist");
    if keeps {
        let (steps, end) = birth::keeper()?;
        inner.push(Step::Spawn(Box::new(Program::new(steps, end).immortal()), How::default()));
    }
    let together = birth::can_join(own_pids);
    let (program, hold) = if together {
        (birth::first_program(inner, Some(command), own_pids)?, None)
    } else {
        // The init stays until the pipe is closed: it would find itself alone before the command is in.
        let (input, hold) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("cannot make a pipe")?;
        let steps = inner.into_iter().chain(birth::as_init(Rc::new(input))).collect();
        let image = Rc::new(init::memfd().doing("cannot make the init")?);
        (Program::new(steps, End::ExecFd(image, birth::init_exec())), Some(hold))
    };
    let how = How { namespaces: folded.namespaces, sibling: true, ..How::default() };
    outer.push(Step::Spawn(Box::new(program), how));
    let into = How { cgroup: Some(cgroup.as_raw_fd()), ..How::default() };
    let doing = "cannot start the first process";
    let done = spawn(Program::new(outer, End::Exit), into).doing(doing)?.finish();
    let mut pidfds = done.map_err(|e| failed(e, doing))?.pidfds;
    arrived_whole(&pidfds, 1 + usize::from(together && own_pids) + usize::from(keeps), doing)?;
    pidfds.remove(0);
    let init = process::identify(pidfds[0].as_fd()).ok();
    let keeper = if keeps { process::identify(pidfds.remove(1).as_fd()).ok() } else { None };
    let running = if together {
        let reaper = if own_pids { Reaper::Init } else { Reaper::Us };
        let command = pidfds.pop();
        command.map(|pidfd| Running::new(pidfd, reaper).with_init(pidfds.pop()))
    } else {
        Some(join(driver, of, cgroup, &pidfds[0], command, &mut false)?)
    };
    drop(hold);
    let running = running.ok_or_else(|| Error::new(ErrorKind::Failed, "no process was made"))?;
    Ok(Entered { running, init, keeper })
}

/// Collects the maker, the first of these processes, of so many that entered. One that was killed on its way, as by a
/// removal of the jail, has made fewer. How it ended says nothing: it may be the command that has killed it.
fn arrived_whole(pidfds: &[OwnedFd], made: usize, doing: &str) -> Result<()> {
    if let Some(maker) = pidfds.first() {
        let _status = reap(maker.as_fd());
    }
    if pidfds.len() > made {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Failed, "it was killed on its way")
        .doing(doing)
        .hint("is the jail being removed?"))
}

/// A command that cannot be executed says so by itself.
fn failed(error: Failed, doing: &str) -> Error {
    let (exec, errno) = (error.is_exec(), error.errno());
    let error = error.cause();
    match exec {
        true if errno == Errno::NOENT => Error::new(ErrorKind::NotFound, error),
        true => error,
        false => error.doing(doing),
    }
}

/// The steps before a process joins the namespaces, and after.
fn split(driver: &Driver<'_, Act>, of: &Instance<'_>, how: Entry) -> Result<(Vec<Step>, Vec<Step>)> {
    let folded = fold(driver.enter(of, how)?).doing("cannot make a filter")?;
    let (before, after): (Vec<_>, Vec<_>) =
        folded.steps.into_iter().partition(|(stage, _)| *stage < Stage::Ids);
    let steps = |staged: Vec<(Stage, Step)>| staged.into_iter().map(|(_, step)| step).collect();
    Ok((steps(before), steps(after)))
}

/// Runs steps as the root of a jail, in its namespaces but not in its mounts: for an update.
///
/// # Errors
/// A step failed.
pub(crate) fn inside(of: &Instance<'_>, acts: Vec<Act>) -> Result<()> {
    let mut steps = birth::join(of)?;
    steps.extend(fold(acts).doing("cannot make a filter")?.steps.into_iter().map(|(_, step)| step));
    let done = spawn(Program::new(steps, End::Exit), How::default()).doing("cannot enter")?.finish();
    for pidfd in done.doing("cannot change it inside")?.pidfds {
        let _status = reap(pidfd.as_fd());
    }
    Ok(())
}

/// The directory of all that a jail has, its children's processes, too.
///
/// # Errors
/// The jail has none.
pub(crate) fn whole(of: &Instance<'_>) -> Result<PathBuf> {
    let dir = of.anchor("cgroup").map(|a| PathBuf::from(a.object()));
    dir.ok_or_else(|| Error::new(ErrorKind::NotFound, "the jail has no cgroup"))
}

/// The directory that a jail's processes are in.
///
/// # Errors
/// The jail has none.
pub(crate) fn cgroup_of(of: &Instance<'_>) -> Result<PathBuf> {
    whole(of).map(|dir| core::leaf(&dir, of.settings))
}

/// Opens a cgroup's directory.
///
/// # Errors
/// ENOENT: the jail is going.
pub(crate) fn open_cgroup(dir: &Path) -> Result<OwnedFd> {
    let file = std::fs::File::open(dir);
    match file {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => {
            Err(Error::new(ErrorKind::NotFound, format!("the cgroup {} is gone", dir.display())))
        }
        other => Ok(other.doing_with(|| format!("cannot open the cgroup {}", dir.display()))?.into()),
    }
}
