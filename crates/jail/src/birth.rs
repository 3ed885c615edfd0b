//! The birth of a jail: one process is made in all its new namespaces at once, and becomes its first program.
//!
//! To make the namespaces takes the kernel long, so another process does that (the maker), and we prepare meanwhile
//! what the first process will need and what it will do. Then, while it takes its steps, we make what only its parent
//! can make. The gates, in order: the process is there; it has done what it does to its namespaces by itself; its ids
//! are mapped and its mounts prepared, so it goes on and becomes the jail's root; it is that, in all namespaces of the
//! jail; its network is there, so it may become a program.

use std::{
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    rc::Rc,
};

use kernel::{
    act::{Act, Folded, fold},
    affinity, init,
    namespace::Kind,
    probe::{Feature, has},
    spawn::{self, How, reap, spawn},
    step::{End, Exec, Program, Stage, Step},
};
use vimage::{Context as _, Driver, Entry, Error, ErrorKind, Instance, Owner, Result};

use crate::{
    entry,
    house::namespaces_of,
    process::{self, Command, Reaper, Running},
    record::ProcessId,
};

/// The gate that the process opens when it is there.
const BORN: usize = 0;
/// The gate that it opens when it has done to its namespaces what it does by itself.
const APART: usize = 1;
/// The gate that it opens when it is in all its namespaces, if some are made late.
const SETTLED: usize = 2;
/// The gate before it becomes a program.
const FURNISHED: usize = 3;

/// Makes the instances of a jail and, with `run`, its first process in the same clone. `ready` is called before
/// that becomes the command, and `meanwhile`, with the process that is to be the init, while it does.
///
/// # Errors
/// Something was refused; the caller undoes what the owner's journal says.
pub(crate) fn bear(
    driver: &Driver<'_, Act>,
    owner: &mut Owner<'_>,
    run: Option<&Command>,
    ready: &mut dyn FnMut(),
    meanwhile: &mut dyn FnMut(&mut Owner<'_>, Option<ProcessId>) -> Result<()>,
) -> Result<Option<Running>> {
    process::hide()?;
    let (early, late): (Vec<_>, Vec<_>) = driver.prepare(owner)?.into_iter().partition(is_early);
    // Where its cgroup namespace begins. A jail that makes jails itself begins with no process at all, and then that is the
    // cgroup of them all.
    let begins = if run.is_some() { entry::cgroup_of } else { entry::whole };
    let cgroup = entry::open_cgroup(&begins(&owner.instance(driver.house))?)?;
    let first = run.map(|_| driver.first(&owner.settings)).unwrap_or_default();
    let folded = fold(early.into_iter().chain(first).collect()).doing("cannot make a filter")?;
    let namespaces = folded.namespaces;
    let process = driver.recorder.timed(&owner.name, "birth", "maker", || {
        let (program, how) = maker(folded, owner.parent, &cgroup)?;
        spawn(program, how).doing("cannot make a process")
    })?;
    driver.provide(owner)?;
    let own_pids = namespaces & u64::from(Kind::Pid.flag()) != 0;
    let first = match midwife(driver, owner, &process, (namespaces, own_pids), late, run) {
        Ok(first) => first,
        // What failed inside is the cause of what failed out here.
        Err(_) if process.has_failed() => {
            return Err(process.finish().doing("cannot start the first process").err().unwrap_or_else(died));
        }
        Err(error) => return Err(error),
    };
    ready();
    process.open(FURNISHED);
    driver.complete(owner)?;
    meanwhile(owner, run.map(|_| first))?;
    let done = driver
        .recorder
        .timed(&owner.name, "birth", "exec", || process.finish().doing("cannot start the first process"))?;

    let mut pidfds = done.pidfds;
    // Whoever was killed on the way has made no more.
    if pidfds.len() < if run.is_some() && own_pids { 3 } else { 2 } {
        return Err(died());
    }
    let _status = reap(pidfds.remove(0).as_fd());
    let command = if run.is_some() { pidfds.pop() } else { None };
    let Some(command) = command else {
        let _status = reap(pidfds[0].as_fd());
        return Ok(None);
    };
    let reaper = if own_pids { Reaper::Init } else { Reaper::Us };
    Ok(Some(Running::new(command, reaper).with_init(pidfds.pop())))
}

/// Whether a contribution is made at the birth itself, and not by the process as the jail's root.
fn is_early(act: &Act) -> bool {
    match act {
        Act::Namespace(..) => true,
        Act::Step(stage, _) => *stage < Stage::Ids,
        _ => false,
    }
}

/// The process that makes the first one, in the parent jail's namespaces, so that what that makes belongs to them.
fn maker(folded: Folded, parent: Option<&Instance<'_>>, cgroup: &OwnedFd) -> Result<(Program, How)> {
    let aside = affinity::is_free();
    // From inside a parent jail neither can the cgroup be reached, nor are there the rights that the first stage takes.
    let (before, after): (Vec<_>, Vec<_>) =
        folded.steps.into_iter().partition(|(stage, _)| parent.is_some() && *stage == Stage::User);
    let cgroup = Some(cgroup.as_raw_fd());
    let (makers, firsts) = if parent.is_some() { (cgroup, None) } else { (None, cgroup) };

    let mut steps = vec![Step::Reached(BORN)];
    steps.extend(aside.then_some(Step::Anywhere));
    steps.extend(after.into_iter().map(|(_, step)| step));
    steps.push(Step::Reached(APART));
    let first = Program::new(steps, End::Later);
    let how = How { namespaces: folded.namespaces, cgroup: firsts, sibling: true, ..How::default() };

    let mut steps: Vec<_> = before.into_iter().map(|(_, step)| step).collect();
    steps.extend(parent.map(join).transpose()?.into_iter().flatten());
    steps.push(Step::Spawn(Box::new(first), how));
    Ok((Program::new(steps, End::Exit), How { cgroup: makers, aside, ..How::default() }))
}

/// What we do while the process is made and takes its steps. Returns its identity.
fn midwife(
    driver: &Driver<'_, Act>,
    owner: &mut Owner<'_>,
    process: &spawn::Running,
    (namespaces, own_pids): (u64, bool),
    mut acts: Vec<Act>,
    run: Option<&Command>,
) -> Result<ProcessId> {
    acts.push(Act::Step(Stage::Ids, Step::Reached(SETTLED)));
    if run.is_some() {
        acts.extend(driver.enter(&owner.instance(driver.house), Entry::Born)?);
    }
    let folded = fold(acts).doing("cannot make a filter")?;
    debug_assert_eq!(folded.namespaces, 0, "it is born already");
    let rest = first_program(folded.steps.into_iter().map(|(_, step)| step).collect(), run, own_pids)?;
    let reached = |gate| if process.reached(gate) { Ok(()) } else { Err(died()) };
    driver.recorder.timed(&owner.name, "birth", "born", || reached(BORN))?;
    let first = process.last();
    // The others come and go with processes.
    let kept = namespaces & !u64::from(Kind::Mnt.flag() | Kind::Pid.flag());
    for (name, fd) in namespaces_of(first, kept)? {
        owner.fds.put(name, fd);
    }
    owner.fds.put("process", first.try_clone_to_owned().doing("cannot open the first process")?);
    driver.create(owner)?;
    if owner.parent.is_some() {
        // It counts as one of the jail's processes until then.
        let _status = reap(process.pidfd());
    }
    process.go_on(rest).doing("cannot make a namespace")?;
    reached(APART)?;
    driver.furnish(owner)?;
    if folded.below != 0 {
        reached(SETTLED)?;
    }
    for (name, fd) in namespaces_of(first, u64::from(Kind::Cgroup.flag()) | folded.below)? {
        owner.fds.put(name, fd);
    }
    process::identify(first)
}

fn died() -> Error {
    Error::new(ErrorKind::Failed, "the first process has died")
}

/// Whether a jail can be born together with its command: not where only a parent can tell how a process
/// ended, since the parent would be the jail's init.
pub(crate) fn can_join(proc_is_new: bool) -> bool {
    !proc_is_new || has(Feature::PidfdExitInfo)
}

/// The program of a jail's first process: with a pid namespace of its own it starts the command and becomes
/// the init, while the command waits for the jail to be furnished; else it becomes the command.
pub(crate) fn first_program(steps: Vec<Step>, run: Option<&Command>, own_pids: bool) -> Result<Program> {
    let (limits, mut steps) = limits(steps);
    let mut rest = vec![Step::Wait(FURNISHED)];
    let Some(run) = run else {
        steps.extend(rest);
        return Ok(Program::new(steps, End::Exit));
    };
    let (command, end) = run.program()?;
    rest.extend(command.into_iter().chain(limits));
    if !own_pids {
        steps.extend(rest);
        return Ok(Program::new(steps, end));
    }
    steps.push(Step::Spawn(Box::new(Program::new(rest, end).immortal()), How::default()));
    steps.extend(as_init(null()?));
    Ok(Program::new(steps, End::ExecFd(Rc::new(init::memfd().doing("cannot make the init")?), init_exec())))
}

/// Limits of each process, and the other steps: those that lead to the jail's process take more than the least that it may
/// have.
pub(crate) fn limits(steps: Vec<Step>) -> (Vec<Step>, Vec<Step>) {
    steps.into_iter().partition(|step| matches!(step, Step::Limit(..)))
}

/// The last steps and the end of the process that stays in a jail: as an init that never stops waiting for its maker.
pub(crate) fn keeper() -> Result<(Vec<Step>, End)> {
    let (reads, _writes) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("cannot make a pipe")?;
    // Open for both, it never ends; and nobody else can write.
    let path = format!("/proc/self/fd/{}", reads.as_raw_fd());
    let input = File::options().read(true).write(true).open(path).doing("cannot open a pipe")?;
    let exec = Exec::new(vec![c"keeper".into()], Vec::new());
    let image = Rc::new(init::memfd().doing("cannot make the init")?);
    let input = Rc::new(OwnedFd::from(input));
    let mut steps = as_init(input.clone());
    // Whoever reads what a command prints is not to wait for this one.
    steps.extend([1, 2].map(|number| Step::Dup(input.clone(), number)));
    Ok((steps, End::ExecFd(image, exec)))
}

/// The last steps of an init: nothing of ours stays open in it but standard input, which it waits on.
pub(crate) fn as_init(input: Rc<OwnedFd>) -> Vec<Step> {
    vec![Step::Signals, Step::Chdir(c"/".into()), Step::Private, Step::Dup(input, 0)]
}

/// The init's argument: what `ps` shows.
pub(crate) fn init_exec() -> Exec {
    Exec::new(vec![c"init".into()], Vec::new())
}

/// /dev/null.
pub(crate) fn null() -> Result<Rc<OwnedFd>> {
    let file = File::options().read(true).write(true).open("/dev/null").doing("cannot open /dev/null")?;
    Ok(Rc::new(file.into()))
}

/// The steps into the namespaces that a jail or its ancestors have of their own, and to be its root.
pub(crate) fn join(of: &Instance<'_>) -> Result<Vec<Step>> {
    let (mut above, mut steps) = (Vec::new(), Vec::new());
    let own_user = of.fd(Kind::User.name())?.is_some();
    for kind in [Kind::User, Kind::Net, Kind::Ipc, Kind::Uts, Kind::Cgroup] {
        let Some(ns) = of.nearest(kind.name())? else { continue };
        // The root of a user namespace has no right to enter what is an ancestor's, so that comes first.
        let ancestors = own_user && of.fd(kind.name())?.is_none();
        if ancestors { &mut above } else { &mut steps }.push(Step::Join(ns, kind.flag()));
        if kind == Kind::User {
            steps.push(Step::Ids { uid: 0, gid: 0, groups: Vec::new() });
        }
    }
    if let (false, Some(parent)) = (above.is_empty(), of.parent) {
        let user = parent.nearest(Kind::User.name())?.map(|ns| Step::Join(ns, Kind::User.flag()));
        above.splice(0..0, user);
    }
    above.extend(steps);
    Ok(above)
}
