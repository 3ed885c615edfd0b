//! Step lists with an end: what one process does from its birth until it is a program.

use std::{
    cell::UnsafeCell,
    ffi::CString,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI32, AtomicU32},
    },
};

use linux_raw_sys::{errno as sys_errno, general as sys};

use super::{Step, call, fd};
use crate::spawn;

/// How a program ends.
#[derive(Debug)]
pub enum End {
    /// exit(2) with status 0.
    Exit,
    /// Going on with another program, as soon as the parent has it ([`spawn::Running::go_on`]).
    Later,
    /// execveat(2) of an open file.
    ExecFd(Rc<OwnedFd>, Exec),
    /// execve(2) of the first of these paths that exists.
    Exec(Vec<CString>, Exec),
}

/// What a process, and those below it, wait for and report by.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// Each 1 as soon as it is open.
    pub gates: [AtomicU32; GATES],
    /// What the process goes on with whose end is [`End::Later`].
    pub later: OnceLock<Box<Program>>,
    /// The gate before that.
    pub there: AtomicU32,
}

/// How many gates there are.
pub(crate) const GATES: usize = 4;

/// Arguments and environment.
#[derive(Debug, Default)]
pub struct Exec {
    argv: Vec<CString>,
    envp: Vec<CString>,
    /// The addresses of the strings above, and a null; made when the program is spawned or
    /// handed over.
    pointers: [Vec<usize>; 2],
}

impl Exec {
    /// With these arguments (the program's name first) and environment (`NAME=value`).
    #[must_use]
    pub fn new(argv: Vec<CString>, envp: Vec<CString>) -> Self {
        Self { argv, envp, pointers: Default::default() }
    }

    /// What is being done with a program that is to be executed, as jexec(8) of FreeBSD says it.
    #[must_use]
    pub fn of(program: &str) -> String {
        format!("execvp(): {program}")
    }
}

/// Steps, an end, and what becomes of the process that takes them.
#[derive(Debug)]
pub struct Program {
    steps: Vec<Step>,
    end: End,
    /// Whether to die with the process that spawned it, until exec.
    mortal: bool,
    pub(crate) control: Control,
}

/// How long a process waits at a gate before it looks whether its maker is still there, in nanoseconds.
const LOOK_AGAIN: i64 = 20_000_000;

/// What a child and its parent share.
#[derive(Debug)]
pub(crate) struct Control {
    /// 1 until exec or the end; cleared and woken by the kernel (CLONE_CHILD_CLEARTID).
    pub running: AtomicU32,
    /// The number of the process's pidfd in the shared descriptor table. The kernel writes it before it knows whether
    /// there will be a process.
    pub pidfd: AtomicI32,
    /// Whether the maker knows that there is one. A maker that was killed meanwhile never does.
    pub made: AtomicBool,
    /// The error number of the step that failed.
    pub errno: AtomicI32,
    /// The index of that step; the number of steps for the end.
    pub failed: AtomicU32,
    /// The program's stack.
    pub stack: Box<UnsafeCell<MaybeUninit<[u8; STACK]>>>,
}

pub(crate) const STACK: usize = 32 << 10;

impl Program {
    /// A program that dies with its parent until it has called exec.
    #[must_use]
    pub fn new(steps: Vec<Step>, end: End) -> Self {
        let control = Control {
            running: AtomicU32::new(1),
            pidfd: AtomicI32::new(-1),
            made: AtomicBool::new(false),
            errno: AtomicI32::new(0),
            failed: AtomicU32::new(0),
            stack: Box::new(UnsafeCell::new(MaybeUninit::uninit())),
        };
        Self { steps, end, mortal: true, control }
    }

    /// A program that outlives its parent.
    #[must_use]
    pub fn immortal(mut self) -> Self {
        self.mortal = false;
        self
    }

    /// Makes the pointer arrays that exec needs, here and in all programs below.
    pub(crate) fn prepare(&mut self) {
        if let End::ExecFd(_, exec) | End::Exec(_, exec) = &mut self.end {
            exec.pointers = [&exec.argv, &exec.envp]
                .map(|strings| strings.iter().map(|s| s.as_ptr() as usize).chain([0]).collect());
        }
        for step in &mut self.steps {
            if let Step::Spawn(program, _) = step {
                program.prepare();
            }
        }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// This program and all below it.
    pub(crate) fn walk<'p>(&'p self, visit: &mut dyn FnMut(&'p Self)) {
        visit(self);
        for step in &self.steps {
            match step {
                Step::Spawn(program, _) => program.walk(visit),
                Step::Below(below) => below.maker.walk(visit),
                _ => {}
            }
        }
    }

    /// What the step of an index was doing.
    pub(crate) fn describe(&self, index: usize) -> String {
        match (self.steps.get(index), &self.end) {
            (Some(step), _) => step.to_string(),
            (None, End::Exit | End::Later) => "cannot end".to_owned(),
            (None, End::ExecFd(..)) => "cannot execute the init".to_owned(),
            (None, End::Exec(_, exec)) => {
                Exec::of(&exec.argv.first().map_or_else(String::new, |a| a.to_string_lossy().into_owned()))
            }
        }
    }

    /// Whether the step of an index is of a command: where it starts, or the program found by its path.
    pub(crate) fn is_exec(&self, index: usize) -> bool {
        // The directory is the command's affair, too.
        let of_command = self.steps.get(index).is_none_or(|step| matches!(step, Step::Chdir(_)));
        of_command && matches!(self.end, End::Exec(..))
    }

    /// Takes the steps. Runs in the child: no allocation, no panic, no thread-local storage.
    ///
    /// # Safety
    /// Called once, in a process made by [`spawn`] for this program, whose parent keeps the program alive and
    /// unchanged until `control.running` is 0.
    pub(crate) unsafe fn run(&self, gates: &Gates, parent: i32) -> ! {
        let fail = |index: usize, errno: isize| -> ! {
            use std::sync::atomic::Ordering::SeqCst;
            self.control.failed.store(index as u32, SeqCst);
            self.control.errno.store(-errno as i32, SeqCst);
            exit(1)
        };
        if self.mortal {
            arm(parent);
        }
        for (index, step) in self.steps.iter().enumerate() {
            // SAFETY: passed on from this function's own contract.
            let done = unsafe { step.take(gates, parent) };
            if done < 0 {
                fail(index, done);
            }
            if self.mortal && matches!(step, Step::Ids { .. }) {
                // A change of credentials disarmed it (PR_SET_PDEATHSIG(2const)).
                arm(parent);
            }
        }
        if matches!(self.end, End::Later) {
            wait(&gates.there, parent);
            match gates.later.get() {
                // SAFETY: it is part of this program now, so what was promised of this holds of it.
                Some(program) => unsafe { program.run(gates, parent) },
                None => exit(1),
            }
        }
        call(sys::__NR_prctl, [libc::PR_SET_PDEATHSIG as usize, 0, 0, 0, 0, 0]);
        let mut errno = 0;
        match &self.end {
            End::Exit | End::Later => exit(0),
            End::ExecFd(file, exec) => {
                let [argv, envp] = exec.addresses();
                let empty = c"".as_ptr() as usize;
                errno =
                    call(sys::__NR_execveat, [fd(file), empty, argv, envp, sys::AT_EMPTY_PATH as usize, 0]);
            }
            End::Exec(paths, exec) => {
                let [argv, envp] = exec.addresses();
                // As execvp(3): go on where a file is not there, and remember that one was forbidden.
                for path in paths {
                    let path = path.as_ptr() as usize;
                    // To ask costs a fraction of what the kernel prepares before it finds that there is no file.
                    let e = match call(sys::__NR_faccessat, [sys::AT_FDCWD as usize, path, 0, 0, 0, 0]) {
                        0 => call(sys::__NR_execve, [path, argv, envp, 0, 0, 0]),
                        not_there => not_there,
                    };
                    if errno != -(sys_errno::EACCES as isize) {
                        errno = e;
                    }
                    if ![sys_errno::ENOENT, sys_errno::ENOTDIR, sys_errno::EACCES].contains(&(-e as u32)) {
                        errno = e;
                        break;
                    }
                }
            }
        }
        fail(self.steps.len(), errno)
    }
}

impl Exec {
    fn addresses(&self) -> [usize; 2] {
        [self.pointers[0].as_ptr() as usize, self.pointers[1].as_ptr() as usize]
    }
}

/// Waits at a gate.
pub(super) fn wait(gate: &AtomicU32, parent: i32) {
    // Not every process that waits is one that the kernel ends with its maker.
    while !spawn::wait_a_while(gate, 0, LOOK_AGAIN) {
        if has_died(parent) {
            exit(1);
        }
    }
}

/// Asks to be killed when the parent dies; ends at once if it has died already.
fn arm(parent: i32) {
    call(sys::__NR_prctl, [libc::PR_SET_PDEATHSIG as usize, sys::SIGKILL as usize, 0, 0, 0, 0]);
    if has_died(parent) {
        exit(1);
    }
}

/// Whether the process of a pidfd has ended; one that is not known has not.
fn has_died(process: i32) -> bool {
    if process < 0 {
        return false;
    }
    let mut poll = sys::pollfd { fd: process, events: 1, revents: 0 };
    let now = sys::__kernel_timespec { tv_sec: 0, tv_nsec: 0 };
    let (poll, now) = (&raw mut poll as usize, &raw const now as usize);
    call(sys::__NR_ppoll, [poll, 1, now, 0, 8, 0]) > 0
}

fn exit(status: usize) -> ! {
    loop {
        call(sys::__NR_exit_group, [status, 0, 0, 0, 0, 0]);
    }
}
