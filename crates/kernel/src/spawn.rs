//! New processes that share our memory until they call exec.
//!
//! The child runs at the same time as the parent, which meanwhile writes its id maps and makes the other side
//! of its network; a gate is how it waits for that.

use std::{
    fmt,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    time::{Duration, Instant},
};

use linux_raw_sys::general as sys;
use rustix::{io, process};

use crate::{
    affinity,
    namespace::{self, Kind},
    pidfd, probe,
    raw::{self, CloneArgs},
    step::{Control, GATES, Gates, Program, STACK},
};

/// How a process is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// CLONE_NEW*, of namespaces to make.
    pub namespaces: u64,
    /// The cgroup v2 directory that it is born in (CLONE_INTO_CGROUP, Linux 5.7); our own otherwise.
    pub cgroup: Option<RawFd>,
    /// The pid namespace that it is born in, without being its first process; our own otherwise. For a process
    /// that we make ourselves alone.
    pub pids: Option<RawFd>,
    /// Whether the maker stops until the child calls exec or ends (CLONE_VFORK).
    pub vfork: bool,
    /// Whether the child's parent is the maker's parent (CLONE_PARENT).
    pub sibling: bool,
    /// Whether the child is kept off the CPU that we are on, while we have work, and with it all that it makes
    /// ([`crate::step::Step::Anywhere`]). For a process that we make ourselves alone.
    pub aside: bool,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    doing: String,
    errno: io::Errno,
    exec: bool,
}

impl Failed {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> io::Errno {
        self.errno
    }

    /// Whether it was the last: the program to be is not there, or cannot be executed.
    #[must_use]
    pub fn is_exec(&self) -> bool {
        self.exec
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.errno)
    }
}

impl std::error::Error for Failed {}

/// A child that may not have called exec yet. Dropped before [`Running::finish`], it is killed.
#[derive(Debug)]
pub struct Running {
    job: Box<Job>,
    finished: bool,
    /// Whether it was kept off our CPU.
    aside: bool,
}

/// What the child uses while it runs in our memory.
#[derive(Debug)]
struct Job {
    program: Program,
    gates: Gates,
    /// Our own pidfd, for the child to see whether we are alive.
    us: OwnedFd,
}

impl Job {
    /// All programs: the first, those below it, and what they go on with.
    fn walk<'j>(&'j self, visit: &mut dyn FnMut(&'j Program)) {
        self.program.walk(visit);
        if let Some(later) = self.gates.later.get() {
            later.walk(visit);
        }
    }
}

/// How long a gate is watched before we sleep.
const MOMENT: Duration = Duration::from_micros(300);

/// What a new process is given to find its work.
struct Entry<'a> {
    program: &'a Program,
    gates: &'a Gates,
    parent: i32,
}

/// Starts a program in a new process, which runs at once.
///
/// # Errors
/// clone3(2): EPERM, ENOSPC (a limit of namespaces), EAGAIN (of processes), ENOMEM (a pid namespace whose
/// init has died).
pub fn spawn(mut program: Program, how: How) -> io::Result<Running> {
    if probe::masks_namespaces(&program, how) {
        return Err(io::Errno::INVAL);
    }
    program.prepare();
    let us = process::pidfd_open(process::getpid(), process::PidfdFlags::empty())?;
    let job = Box::new(Job { program, gates: Gates::default(), us });
    let visit = how.pids.map(ForChildren::enter).transpose()?;
    // SAFETY: the job lives in a box that `Running` keeps until the child has called exec or ended.
    let pid = unsafe { clone(&job.program, How { vfork: false, ..how }, &job.gates, job.us.as_raw_fd()) };
    drop(visit);
    match i32::try_from(-pid) {
        Ok(errno) if errno > 0 => Err(io::Errno::from_raw_os_error(errno)),
        _ => {
            if let Some(pid) = i32::try_from(pid).ok().and_then(process::Pid::from_raw).filter(|_| how.aside)
            {
                affinity::send_away(pid);
            }
            Ok(Running { job, finished: false, aside: how.aside })
        }
    }
}

/// Our children are born in another pid namespace as long as this lives: what a process is made by decides who
/// collects it when its maker is gone, so one that is to be left to a jail's init is made by one inside.
struct ForChildren {
    home: OwnedFd,
}

impl ForChildren {
    fn enter(pids: RawFd) -> io::Result<Self> {
        let home = namespace::current(Kind::Pid)?;
        // SAFETY: the caller of `spawn` keeps the descriptor open, as `How` asks.
        let pids = unsafe { BorrowedFd::borrow_raw(pids) };
        namespace::setns(pids, Kind::Pid)?;
        Ok(Self { home })
    }
}

impl Drop for ForChildren {
    fn drop(&mut self) {
        if namespace::setns(&self.home, Kind::Pid).is_err() {
            // Later children would be somebody else's.
            std::process::abort();
        }
    }
}

/// Makes the process of a program. Returns its pid, or the negative error number.
///
/// # Safety
/// The program, its gates and all programs below it stay alive and unchanged until the process has called
/// exec or ended. Called at most once for each program.
pub(crate) unsafe fn clone(program: &Program, how: How, gates: &Gates, parent: i32) -> isize {
    let control = &program.control;
    let stack = control.stack.get() as usize;
    // The entry lies at the top of the child's stack, and the frame below it, aligned as the ABI wants.
    let entry = (stack + STACK - size_of::<Entry<'_>>()) & !63;
    // SAFETY: the place is inside the stack, which nothing uses yet, and aligned to 64 bytes.
    unsafe { (entry as *mut Entry<'_>).write(Entry { program, gates, parent }) };
    let mut flags = how.namespaces
        | u64::from(sys::CLONE_VM | sys::CLONE_FILES | sys::CLONE_PIDFD | sys::CLONE_CHILD_CLEARTID);
    for (wanted, flag) in [(how.vfork, sys::CLONE_VFORK), (how.sibling, sys::CLONE_PARENT)] {
        flags |= if wanted { u64::from(flag) } else { 0 };
    }
    if how.cgroup.is_some() {
        flags |= sys::CLONE_INTO_CGROUP;
    }
    let args = CloneArgs {
        flags,
        pidfd: control.pidfd.as_ptr() as u64,
        child_tid: control.running.as_ptr() as u64,
        // With CLONE_PARENT the signal is the maker's own.
        exit_signal: if how.sibling { 0 } else { u64::from(sys::SIGCHLD) },
        stack: stack as u64,
        stack_size: (entry - stack) as u64,
        cgroup: how.cgroup.map_or(0, |c| c as u64),
        ..CloneArgs::default()
    };
    // A process that is filtered already may be denied clone3(2).
    let plain = how.namespaces == 0 && how.cgroup.is_none();
    let make = if plain { raw::clone } else { raw::clone3 };
    // SAFETY: the stack is the program's own; `enter` keeps to what the step list may do.
    let pid = unsafe { make(&args, enter, entry) };
    if pid < 0 {
        control.pidfd.store(-1, SeqCst);
    } else {
        control.made.store(true, SeqCst);
    }
    pid
}

extern "C" fn enter(entry: usize) -> ! {
    // SAFETY: `clone` wrote an entry at this address, on the stack that this process alone uses.
    let entry = unsafe { &*(entry as *const Entry<'_>) };
    // SAFETY: this is the process that was made for the program.
    unsafe { entry.program.run(entry.gates, entry.parent) }
}

/// futex(2): waits while a word has a value.
fn wait_while(word: &AtomicU32, value: u32) {
    while word.load(SeqCst) == value {
        let arguments = [word.as_ptr() as usize, sys::FUTEX_WAIT as usize, value as usize, 0, 0, 0];
        // SAFETY: the word is alive, as the reference says; no timeout is given.
        unsafe { raw::syscall(sys::__NR_futex, arguments) };
    }
}

/// futex(2): waits while a word has a value, for so many nanoseconds at most. Returns whether it has another now.
/// Usable in the child.
pub(crate) fn wait_a_while(word: &AtomicU32, value: u32, nanoseconds: i64) -> bool {
    if word.load(SeqCst) == value {
        let limit = sys::__kernel_timespec { tv_sec: 0, tv_nsec: nanoseconds };
        let limit = &raw const limit as usize;
        let arguments = [word.as_ptr() as usize, sys::FUTEX_WAIT as usize, value as usize, limit, 0, 0];
        // SAFETY: the word and the time are alive during the call.
        unsafe { raw::syscall(sys::__NR_futex, arguments) };
    }
    word.load(SeqCst) != value
}

/// Sets a word to 1 and wakes who waits for it; futex(2). Usable in the child.
pub(crate) fn wake(word: &AtomicU32) {
    word.store(1, SeqCst);
    let arguments = [word.as_ptr() as usize, sys::FUTEX_WAKE as usize, i32::MAX as usize, 0, 0, 0];
    // SAFETY: the word is alive, as the reference says.
    unsafe { raw::syscall(sys::__NR_futex, arguments) };
}

impl Running {
    /// The child's pidfd.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        let number = self.job.program.control.pidfd.load(SeqCst);
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so the number is an open descriptor of ours, which only
        // `drop` closes.
        unsafe { BorrowedFd::borrow_raw(number) }
    }

    /// The pidfd of the last process that was made: the child's, or of one below it.
    #[must_use]
    pub fn last(&self) -> BorrowedFd<'_> {
        let mut number = -1;
        self.job.walk(&mut |program| match program.control.pidfd.load(SeqCst) {
            -1 => {}
            made => number = made,
        });
        // SAFETY: clone3 succeeded with CLONE_PIDFD, so the number is an open descriptor of ours, which only
        // `finish` and `drop` close.
        unsafe { BorrowedFd::borrow_raw(number) }
    }

    /// The child's pid in our pid namespace.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn pid(&self) -> io::Result<process::Pid> {
        crate::pidfd::pid(self.pidfd())
    }

    /// Opens a gate: the child goes on.
    pub fn open(&self, gate: usize) {
        wake(&self.job.gates.gates[gate]);
    }

    /// Hands over the program that the child, or a process below it, goes on with ([`crate::step::End::Later`]). A second
    /// one comes too late.
    ///
    /// # Errors
    /// EINVAL: it makes namespaces of a kind that is masked.
    pub fn go_on(&self, mut program: Program) -> io::Result<()> {
        if probe::masks_namespaces(&program, How::default()) {
            return Err(io::Errno::INVAL);
        }
        program.prepare();
        if self.job.gates.later.set(Box::new(program)).is_ok() {
            wake(&self.job.gates.there);
        }
        Ok(())
    }

    /// Waits until the child, or a process below it, has reached a gate ([`crate::step::Step::Reached`]), or one has
    /// failed on its way, or all have ended. Returns whether the gate was reached.
    pub fn reached(&self, gate: usize) -> bool {
        let gate = &self.job.gates.gates[gate];
        let is_shut = || gate.load(SeqCst) == 0;
        // To sleep and be woken takes longer than most of what is waited for.
        let start = Instant::now();
        while is_shut() && start.elapsed() < MOMENT {
            rustix::thread::sched_yield();
        }
        if is_shut()
            && self.aside
            && let Ok(child) = self.pid()
        {
            // We are about to sleep: nothing is left here that it would be in the way of.
            affinity::let_loose(child);
        }
        let mut on_the_way = true;
        while is_shut() && on_the_way {
            // An end wakes nobody at the gate, so look now and then.
            wait_a_while(gate, 0, 10_000_000);
            let (mut failed, mut runs) = (false, false);
            self.job.walk(&mut |program| {
                let control = &program.control;
                failed |= control.errno.load(SeqCst) != 0;
                // Whoever has ended without a failure has left it to one below; while one is made, its maker runs.
                runs |= control.made.load(SeqCst) && control.running.load(SeqCst) != 0;
            });
            on_the_way = runs && !failed;
        }
        !is_shut()
    }

    /// Whether a step has failed already, in the child or below: then [`Running::finish`] says which.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let mut failed = false;
        self.job.walk(&mut |program| failed |= program.control.errno.load(SeqCst) != 0);
        failed
    }

    /// Opens all gates, that of a program to come too, and waits until the child, and every process below it, has called
    /// exec or ended.
    ///
    /// # Errors
    /// The step that failed, in the child or below.
    pub fn finish(mut self) -> Result<Finished, Failed> {
        (0..GATES).for_each(|gate| self.open(gate));
        wake(&self.job.gates.there);
        let mut failed = None;
        let mut pidfds = Vec::new();
        self.job.walk(&mut |program| {
            let control = &program.control;
            // One below was made if its pidfd is known; its maker has ended or called exec by now.
            if let Some(pidfd) = take_pidfd(control) {
                wait_while(&control.running, 1);
                pidfds.push(pidfd);
            }
            let errno = control.errno.load(SeqCst);
            if errno != 0 {
                // The innermost knows best: those above only see that a process of theirs failed.
                let index = control.failed.load(SeqCst) as usize;
                let (doing, exec) = (program.describe(index), program.is_exec(index));
                failed = Some(Failed { doing, errno: io::Errno::from_raw_os_error(errno), exec });
            }
        });
        self.finished = true;
        match failed {
            None => Ok(Finished { pidfds }),
            Some(failed) => {
                for pidfd in &pidfds {
                    // Those that are not our children have a parent that reaps them.
                    let _not_ours = reap(pidfd.as_fd());
                }
                Err(failed)
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The child uses our memory: nothing of it may be freed while it lives.
        self.job.walk(&mut |program| {
            let control = &program.control;
            let Some(pidfd) = take_pidfd(control) else { return };
            // Fails only when it has ended by itself.
            let _gone = process::pidfd_send_signal(pidfd.as_fd(), process::Signal::KILL);
            wait_while(&control.running, 1);
            let _not_ours = reap(pidfd.as_fd());
        });
    }
}

/// Takes the pidfd of a process whose maker has ended or is done; `None`: it was not made.
fn take_pidfd(control: &Control) -> Option<OwnedFd> {
    let number = control.pidfd.swap(-1, SeqCst);
    // The maker was killed in clone(2): if that had failed by then, nothing is open at the number.
    let is_there = |number| {
        // SAFETY: it is looked at and not kept; of a number at which nothing is open the kernel says so.
        let there = unsafe { BorrowedFd::borrow_raw(number) };
        pidfd::is_one(there)
    };
    let made = number >= 0 && (control.made.load(SeqCst) || is_there(number));
    // SAFETY: clone3 put this descriptor into our table for us to close; the cell is clear now.
    made.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Processes that have called exec or ended: the child, then those below it in the order of the steps.
#[derive(Debug)]
pub struct Finished {
    /// Their pidfds.
    pub pidfds: Vec<OwnedFd>,
}

/// Waits for the end of a child and collects it. Returns its wait status, as waitpid(2).
///
/// # Errors
/// ECHILD: it is not our child.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let status = process::waitid(process::WaitId::PidFd(pidfd), process::WaitIdOptions::EXITED)?;
    let Some(status) = status else { return Err(io::Errno::CHILD) };
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal,
        (None, None) => 0,
    })
}
