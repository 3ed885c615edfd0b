//! What a new process does before it becomes a program: plain data, decided and allocated by its parent.
//!
//! Nothing is decided between clone and exec. A [`Program`] is a list of [`Step`]s and an [`End`]; the child
//! executes them with raw system calls and reports the first that failed.

mod request;

use std::{
    cell::UnsafeCell,
    ffi::CString,
    fmt,
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, OwnedFd},
    rc::Rc,
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32},
};

use linux_raw_sys::{errno as sys_errno, general as sys};
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::{below::Below, raw, seccomp::SockFilter, spawn};

/// When a step is taken, relative to those of other subsystems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before anything else: cgroups, and joining a user namespace.
    User,
    /// Joining other namespaces.
    Others,
    /// Becoming the jail's root.
    Ids,
    /// The jail's root, and what is mounted in it.
    Mounts,
    /// After all mounts.
    Root,
    /// Host name and the like.
    Identity,
    /// Limits, of resources and of namespaces.
    Limits,
    /// System call filters: they need a capability that the next stage drops.
    Seccomp,
    /// Dropping capabilities.
    Capabilities,
}

/// One thing that a child does. Descriptors are kept open by the program that holds the step.
#[derive(Debug)]
pub enum Step {
    /// Waits until the parent opens a gate ([`spawn::Running::open`]).
    Wait(usize),
    /// setns(2) with a namespace, or a pidfd and several CLONE_NEW* flags.
    Join(Rc<OwnedFd>, u32),
    /// unshare(2).
    Unshare(u32),
    /// A new namespace that a new user namespace below ours owns, and joining it.
    Below(Box<Below>),
    /// open(2) of a file for reading; its number is left in the cell.
    Open(CString, Rc<AtomicI32>),
    /// setresgid(2), setgroups(2), setresuid(2) of the calling process.
    Ids {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// The supplementary groups.
        groups: Vec<u32>,
    },
    /// mkdir(2), mode 0755; one that exists is as good.
    Mkdir(CString),
    /// An empty file to mount on; one that exists is as good.
    Touch(CString),
    /// move_mount(2) of a detached mount to a path.
    Attach(Rc<OwnedFd>, CString),
    /// mount(2) of a new file system.
    Mount {
        /// The file system's name in /proc/filesystems.
        kind: CString,
        /// Where.
        at: CString,
        /// MS_*.
        flags: MountFlags,
        /// Options.
        data: CString,
    },
    /// mount(2) that changes the propagation of all mounts below `/`.
    Propagate(MountPropagationFlags),
    /// Makes a place read-only by a mount of itself; one that does not exist is as good.
    ReadOnly(CString),
    /// Makes a place below a read-only one writable by a mount of itself.
    Writable(CString),
    /// Mounts a detached tree over `/` and goes to live in it. The old root lies hidden below; who lacks
    /// CAP_SYS_ADMIN cannot take the cover off.
    Root(Rc<OwnedFd>),
    /// pivot_root(2) to the current directory, which is a mount, and umount2(2) of the old root.
    Pivot,
    /// chdir(2).
    Chdir(CString),
    /// chdir(2), or staying where it is: a user's home may be missing, and login(1) goes on then.
    Home(CString),
    /// Tells the parent that this point was reached ([`spawn::Running::reached`]).
    Reached(usize),
    /// open(2), write(2), close(2) of a file that exists.
    Write(CString, Vec<u8>),
    /// A request to rtnetlink(7) with NLM_F_ACK, in the network stack that the process is in.
    Netlink {
        /// What it is for, as an error says it.
        doing: &'static str,
        /// The message.
        message: Vec<u8>,
    },
    /// sethostname(2).
    Hostname(CString),
    /// setdomainname(2).
    Domainname(CString),
    /// seccomp(2) with a filter; needs CAP_SYS_ADMIN over the caller's user namespace.
    Seccomp(Vec<SockFilter>),
    /// prctl(2) PR_CAPBSET_DROP of each capability in the mask.
    Bound(u64),
    /// setsid(2).
    Session,
    /// ioctl(2) TIOCSCTTY on standard input.
    Terminal,
    /// dup2(2) to a number below 3.
    Dup(Rc<OwnedFd>, u32),
    /// close_range(2) that unshares the table and marks all from 3 on to be closed at exec. Before any
    /// [`Step::Dup`].
    Private,
    /// close_range(2) of all from 3 on. After [`Step::Private`] and whatever takes a descriptor, and before a
    /// path is followed whose links may be another's: one through /proc/self/fd would lead to what is open.
    Close,
    /// The default action of SIGPIPE, which Rust's runtime ignores, and an empty mask. What else is ignored our
    /// caller wants ignored (nohup(1)); handlers go with exec.
    Signals,
    /// umask(2).
    Umask(u32),
    /// Another program in a new process.
    Spawn(Box<Program>, spawn::How),
}

/// How a program ends.
#[derive(Debug)]
pub enum End {
    /// exit(2) with status 0.
    Exit,
    /// execveat(2) of an open file.
    ExecFd(Rc<OwnedFd>, Exec),
    /// execve(2) of the first of these paths that exists.
    Exec(Vec<CString>, Exec),
}

/// Arguments and environment.
#[derive(Debug, Default)]
pub struct Exec {
    argv: Vec<CString>,
    envp: Vec<CString>,
    /// The addresses of the strings above, and a null; made when the program is spawned.
    pointers: [Vec<usize>; 2],
}

impl Exec {
    /// With these arguments (the program's name first) and environment (`NAME=value`).
    #[must_use]
    pub fn new(argv: Vec<CString>, envp: Vec<CString>) -> Self {
        Self { argv, envp, pointers: Default::default() }
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
            (None, End::Exit) => "cannot exit".to_owned(),
            (None, End::ExecFd(..)) => "cannot execute the init".to_owned(),
            (None, End::Exec(_, exec)) => {
                format!(
                    "execvp(): {}",
                    exec.argv.first().map_or_else(String::new, |a| a.to_string_lossy().into_owned())
                )
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
    pub(crate) unsafe fn run(&self, gates: &[AtomicU32], parent: i32) -> ! {
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
        call(sys::__NR_prctl, [libc::PR_SET_PDEATHSIG as usize, 0, 0, 0, 0, 0]);
        let mut errno = 0;
        match &self.end {
            End::Exit => exit(0),
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

impl Step {
    /// Takes one step: 0 or more, or the negative error number.
    ///
    /// # Safety
    /// As [`Program::run`].
    #[allow(clippy::too_many_lines, reason = "one arm a step")]
    unsafe fn take(&self, gates: &[AtomicU32], parent: i32) -> isize {
        let at = |path: &CString| path.as_ptr() as usize;
        let cwd = sys::AT_FDCWD as usize;
        match self {
            Self::Wait(gate) => {
                let Some(gate) = gates.get(*gate) else { return 0 };
                // Not every process that waits is one that the kernel ends with its maker.
                while !spawn::wait_a_while(gate, 0, LOOK_AGAIN) {
                    if has_died(parent) {
                        exit(1);
                    }
                }
                0
            }
            Self::Join(ns, flags) => call(sys::__NR_setns, [fd(ns), *flags as usize, 0, 0, 0, 0]),
            Self::Unshare(flags) => call(sys::__NR_unshare, [*flags as usize, 0, 0, 0, 0, 0]),
            // SAFETY: what it starts is part of this program, so what was promised of this holds of it.
            Self::Below(below) => unsafe { below.take(gates, parent) },
            Self::Open(path, number) => {
                let flags = (sys::O_RDONLY | sys::O_CLOEXEC) as usize;
                let file = call(sys::__NR_openat, [cwd, at(path), flags, 0, 0, 0]);
                number.store(file as i32, std::sync::atomic::Ordering::SeqCst);
                file
            }
            Self::Ids { uid, gid, groups } => {
                let (uid, gid) = (*uid as usize, *gid as usize);
                let list = groups.as_ptr() as usize;
                let calls = [
                    (sys::__NR_setresgid, [gid, gid, gid, 0, 0, 0]),
                    (sys::__NR_setgroups, [groups.len(), list, 0, 0, 0, 0]),
                    (sys::__NR_setresuid, [uid, uid, uid, 0, 0, 0]),
                ];
                calls.into_iter().map(|(number, args)| call(number, args)).find(|r| *r < 0).unwrap_or(0)
            }
            Self::Mkdir(path) => {
                unless(sys_errno::EEXIST, call(sys::__NR_mkdirat, [cwd, at(path), 0o755, 0, 0, 0]))
            }
            Self::Touch(path) => {
                let flags = sys::O_CREAT | sys::O_RDONLY | sys::O_CLOEXEC | sys::O_NOFOLLOW | sys::O_NONBLOCK;
                let file = call(sys::__NR_openat, [cwd, at(path), flags as usize, 0o644, 0, 0]);
                if file < 0 { file } else { call(sys::__NR_close, [file as usize, 0, 0, 0, 0, 0]) }
            }
            Self::Attach(tree, path) => attach(tree, at(path)),
            Self::Mount { kind, at: path, flags, data } => {
                let flags = flags.bits() as usize;
                call(sys::__NR_mount, [at(kind), at(path), at(kind), flags, at(data), 0])
            }
            Self::ReadOnly(path) => unless(sys_errno::ENOENT, cover(at(path), MountFlags::RDONLY)),
            Self::Writable(path) => cover(at(path), MountFlags::empty()),
            Self::Propagate(flags) => {
                let (root, flags) = (c"/".as_ptr() as usize, flags.bits() as usize);
                call(sys::__NR_mount, [0, root, 0, flags, 0, 0])
            }
            Self::Root(tree) => {
                let root = c"/".as_ptr() as usize;
                let dot = c".".as_ptr() as usize;
                let attached = attach(tree, root);
                if attached < 0 {
                    return attached;
                }
                // The path "/" still leads below the cover: the process's root is a mount, not a name.
                let inside = call(sys::__NR_fchdir, [fd(tree), 0, 0, 0, 0, 0]);
                if inside < 0 { inside } else { call(sys::__NR_chroot, [dot, 0, 0, 0, 0, 0]) }
            }
            Self::Pivot => {
                // As pivot_root(2) has it: the old root comes to lie on the new one, and goes from there.
                let dot = c".".as_ptr() as usize;
                let pivoted = call(sys::__NR_pivot_root, [dot, dot, 0, 0, 0, 0]);
                let detach = sys::MNT_DETACH as usize;
                if pivoted < 0 { pivoted } else { call(sys::__NR_umount2, [dot, detach, 0, 0, 0, 0]) }
            }
            Self::Chdir(path) => call(sys::__NR_chdir, [at(path), 0, 0, 0, 0, 0]),
            Self::Home(path) => {
                call(sys::__NR_chdir, [at(path), 0, 0, 0, 0, 0]);
                0
            }
            Self::Reached(gate) => gates.get(*gate).map_or(0, |gate| {
                spawn::wake(gate);
                0
            }),
            Self::Write(path, bytes) => {
                let flags = (sys::O_WRONLY | sys::O_CLOEXEC | sys::O_NOFOLLOW) as usize;
                let file = call(sys::__NR_openat, [cwd, at(path), flags, 0, 0, 0]);
                if file < 0 {
                    return file;
                }
                let file = file as usize;
                let written = call(sys::__NR_write, [file, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]);
                call(sys::__NR_close, [file, 0, 0, 0, 0, 0]);
                written
            }
            Self::Netlink { message, .. } => request::send(message),
            Self::Hostname(name) => {
                call(sys::__NR_sethostname, [at(name), name.as_bytes().len(), 0, 0, 0, 0])
            }
            Self::Domainname(name) => {
                call(sys::__NR_setdomainname, [at(name), name.as_bytes().len(), 0, 0, 0, 0])
            }
            Self::Seccomp(filter) => {
                let program = sys_filter(filter);
                let address = &raw const program as usize;
                call(sys::__NR_seccomp, [libc::SECCOMP_SET_MODE_FILTER as usize, 0, address, 0, 0, 0])
            }
            Self::Bound(mask) => {
                let drop =
                    |cap: usize| call(sys::__NR_prctl, [libc::PR_CAPBSET_DROP as usize, cap, 0, 0, 0, 0]);
                // A number that this kernel does not know is EINVAL: there is nothing to drop.
                let each = (0..64).filter(|cap| mask & (1 << cap) != 0);
                each.map(|cap| unless(sys_errno::EINVAL, drop(cap))).find(|r| *r < 0).unwrap_or(0)
            }
            Self::Session => call(sys::__NR_setsid, [0; 6]),
            Self::Terminal => {
                call(sys::__NR_ioctl, [0, linux_raw_sys::ioctl::TIOCSCTTY as usize, 0, 0, 0, 0])
            }
            Self::Dup(file, to) => call(sys::__NR_dup3, [fd(file), *to as usize, 0, 0, 0, 0]),
            Self::Private => {
                let flags = (libc::CLOSE_RANGE_UNSHARE | libc::CLOSE_RANGE_CLOEXEC) as usize;
                call(sys::__NR_close_range, [3, u32::MAX as usize, flags, 0, 0, 0])
            }
            Self::Close => call(sys::__NR_close_range, [3, u32::MAX as usize, 0, 0, 0, 0]),
            Self::Signals => {
                // struct kernel_sigaction of zeroes: SIG_DFL, no flags, empty mask.
                let default = [0_usize; 4];
                let address = default.as_ptr() as usize;
                call(sys::__NR_rt_sigaction, [sys::SIGPIPE as usize, address, 0, 8, 0, 0]);
                call(sys::__NR_rt_sigprocmask, [sys::SIG_SETMASK as usize, address, 0, 8, 0, 0])
            }
            Self::Umask(mask) => call(sys::__NR_umask, [*mask as usize, 0, 0, 0, 0, 0]),
            // SAFETY: the program below is part of this one, so what was promised of this holds of it.
            Self::Spawn(program, how) => unsafe { spawn::clone(program, *how, gates, parent) },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |s: &CString| format!("\"{}\"", s.to_string_lossy());
        match self {
            Self::Wait(_) => f.write_str("cannot wait"),
            Self::Join(..) => f.write_str("cannot enter a namespace"),
            Self::Unshare(_) | Self::Below(_) => f.write_str("cannot make a namespace"),
            Self::Open(path, _) => write!(f, "cannot open {}", quoted(path)),
            Self::Ids { uid, gid, .. } => write!(f, "cannot become user {uid} group {gid}"),
            Self::Mkdir(path) | Self::Touch(path) => {
                write!(f, "cannot make the mount point {}", quoted(path))
            }
            Self::Attach(_, path) => write!(f, "cannot mount on {}", quoted(path)),
            Self::Mount { kind, at, .. } => {
                write!(f, "cannot mount {} on {}", kind.to_string_lossy(), quoted(at))
            }
            Self::ReadOnly(path) => write!(f, "cannot make {} read-only", quoted(path)),
            Self::Writable(path) => write!(f, "cannot make {} writable", quoted(path)),
            Self::Propagate(_) => f.write_str("cannot set mount propagation"),
            Self::Root(_) => f.write_str("cannot enter the root directory"),
            Self::Pivot => f.write_str("cannot change the root mount"),
            Self::Reached(_) => f.write_str("cannot report"),
            Self::Chdir(path) | Self::Home(path) => {
                write!(f, "cannot change to the directory {}", quoted(path))
            }
            Self::Write(path, bytes) => {
                write!(f, "cannot write \"{}\" to {}", String::from_utf8_lossy(bytes), quoted(path))
            }
            Self::Netlink { doing, .. } => f.write_str(doing),
            Self::Hostname(name) => write!(f, "cannot set the host name {}", quoted(name)),
            Self::Domainname(name) => write!(f, "cannot set the domain name {}", quoted(name)),
            Self::Seccomp(filter) => write!(f, "cannot install a filter of {} instructions", filter.len()),
            Self::Bound(_) => f.write_str("cannot drop capabilities"),
            Self::Session => f.write_str("cannot start a session"),
            Self::Terminal => f.write_str("cannot take the terminal"),
            Self::Dup(_, to) => write!(f, "cannot open descriptor {to}"),
            Self::Private | Self::Close => f.write_str("cannot close descriptors"),
            Self::Signals => f.write_str("cannot reset signals"),
            Self::Umask(_) => f.write_str("cannot set the umask"),
            Self::Spawn(..) => f.write_str("cannot start a process"),
        }
    }
}

/// struct sock_fprog.
#[repr(C)]
struct Fprog {
    len: u16,
    filter: *const SockFilter,
}

fn sys_filter(filter: &[SockFilter]) -> Fprog {
    Fprog { len: filter.len() as u16, filter: filter.as_ptr() }
}

fn fd(fd: &Rc<OwnedFd>) -> usize {
    fd.as_raw_fd() as usize
}

fn attach(tree: &Rc<OwnedFd>, path: usize) -> isize {
    let (empty, cwd) = (c"".as_ptr() as usize, sys::AT_FDCWD as usize);
    let flags = sys::MOVE_MOUNT_F_EMPTY_PATH as usize;
    call(sys::__NR_move_mount, [fd(tree), empty, cwd, path, flags, 0])
}

/// Mounts a place on itself, with flags of its own.
fn cover(path: usize, flags: MountFlags) -> isize {
    let bind = (MountFlags::BIND | MountFlags::REC).bits() as usize;
    // The flags of the file system itself stay; those of this mount are replaced.
    let kept = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let flags = (MountFlags::BIND | flags | kept).bits() as usize | sys::MS_REMOUNT as usize;
    match call(sys::__NR_mount, [path, path, 0, bind, 0, 0]) {
        0 => call(sys::__NR_mount, [0, path, 0, flags, 0, 0]),
        failed => failed,
    }
}

/// One error number counts as success.
fn unless(errno: u32, result: isize) -> isize {
    if result == -(errno as isize) { 0 } else { result }
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

/// A system call whose arguments come from a program that its parent keeps alive.
pub(crate) fn call(number: u32, arguments: [usize; 6]) -> isize {
    // SAFETY: every pointer passed by steps is into the running program's own data or the caller's
    // frame, both alive during the call.
    unsafe { raw::syscall(number, arguments) }
}
