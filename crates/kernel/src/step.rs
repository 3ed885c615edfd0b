//! What a new process does before it becomes a program: plain data, decided and allocated by its parent.
//!
//! Nothing is decided between clone and exec. A [`Program`] is a list of [`Step`]s and an [`End`]; the child
//! executes them with raw system calls and reports the first that failed.

mod program;
mod request;

use program::wait;
pub(crate) use program::{Control, GATES, Gates, STACK};
pub use program::{End, Exec, Program};

use std::{
    ffi::CString,
    fmt,
    os::fd::{AsRawFd as _, OwnedFd},
    rc::Rc,
    sync::atomic::AtomicI32,
};

use linux_raw_sys::{errno as sys_errno, general as sys};
use rustix::{
    mount::{MountFlags, MountPropagationFlags},
    process::Resource,
};

use crate::{affinity, below::Below, raw, seccomp::SockFilter, spawn};

/// When a step is taken, relative to those of other subsystems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before anything else: cgroups, and joining a user namespace.
    User,
    /// Joining other namespaces.
    Others,
    /// Mounts that the jail's root cannot take away: made by who makes its first process, before that is born.
    Outside,
    /// Becoming the jail's root.
    Ids,
    /// Limits on namespaces: when those of the jail's own are made, and while the host's /proc is in sight.
    Namespaces,
    /// The jail's root, and what is mounted in it.
    Mounts,
    /// After all mounts.
    Root,
    /// Host name and the like.
    Identity,
    /// Limits of resources.
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
    /// From here on files are looked for and made with the rights of this user and group, by setfsuid(2): one who is not
    /// root has no capability about files then (capabilities(7)), and all others. Until a user namespace is joined.
    Files {
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// mkdir(2), mode 0755; one that exists is as good.
    Mkdir(CString),
    /// An empty file to mount on; one that exists is as good.
    Touch(CString),
    /// As [`Step::Mkdir`] of a name without a slash, and chdir(2) into it, unless it is a link.
    Descend(CString),
    /// umount2(2) of whatever is mounted last at a path; where nothing is, or no way leads to, that is as good.
    Unmount(CString),
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
    /// prlimit(2): from here on at most this much of a resource, also for whoever may have more. What is less stays.
    Limit(Resource, u64),
    /// sched_setaffinity(2) with all CPUs: those of the cpuset. Where it is refused nobody was kept from any.
    Anywhere,
    /// Another program in a new process.
    Spawn(Box<Program>, spawn::How),
}

impl Step {
    /// Takes one step: 0 or more, or the negative error number.
    ///
    /// # Safety
    /// As [`Program::run`].
    #[allow(clippy::too_many_lines, reason = "one arm a step")]
    unsafe fn take(&self, gates: &Gates, parent: i32) -> isize {
        let at = |path: &CString| path.as_ptr() as usize;
        let cwd = sys::AT_FDCWD as usize;
        match self {
            Self::Wait(gate) => {
                if let Some(gate) = gates.gates.get(*gate) {
                    wait(gate, parent);
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
            Self::Files { uid, gid } => {
                let alone = call(sys::__NR_setgroups, [0; 6]);
                // They return what was before, whether they change it or not: asked again, that is what was wanted.
                let set = |number, id: u32| {
                    call(number, [id as usize, 0, 0, 0, 0, 0]);
                    call(number, [id as usize, 0, 0, 0, 0, 0]) == id as isize
                };
                let both = set(sys::__NR_setfsgid, *gid) && set(sys::__NR_setfsuid, *uid);
                if alone < 0 || both { alone } else { -(sys_errno::EPERM as isize) }
            }
            Self::Mkdir(path) => {
                unless(sys_errno::EEXIST, call(sys::__NR_mkdirat, [cwd, at(path), 0o755, 0, 0, 0]))
            }
            Self::Touch(path) => {
                let flags = sys::O_CREAT | sys::O_RDONLY | sys::O_CLOEXEC | sys::O_NOFOLLOW | sys::O_NONBLOCK;
                let file = call(sys::__NR_openat, [cwd, at(path), flags as usize, 0o644, 0, 0]);
                if file < 0 { file } else { call(sys::__NR_close, [file as usize, 0, 0, 0, 0, 0]) }
            }
            Self::Descend(name) => descend(at(name)),
            Self::Unmount(path) => {
                let flags = (sys::MNT_DETACH | sys::UMOUNT_NOFOLLOW) as usize;
                let none = [
                    sys_errno::EINVAL,
                    sys_errno::ENOENT,
                    sys_errno::ENOTDIR,
                    sys_errno::ELOOP,
                    sys_errno::EACCES,
                ];
                let unmounted = call(sys::__NR_umount2, [at(path), flags, 0, 0, 0, 0]);
                none.into_iter().fold(unmounted, |result, errno| unless(errno, result))
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
            Self::Reached(gate) => gates.gates.get(*gate).map_or(0, |gate| {
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
            Self::Limit(resource, most) => limit(*resource, *most),
            Self::Anywhere => {
                let all = &raw const affinity::ALL as usize;
                call(sys::__NR_sched_setaffinity, [0, size_of_val(&affinity::ALL), all, 0, 0, 0]);
                0
            }
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
            Self::Files { uid, gid } => write!(f, "cannot take the rights of user {uid} group {gid}"),
            Self::Mkdir(path) | Self::Touch(path) => {
                write!(f, "cannot make the mount point {}", quoted(path))
            }
            Self::Descend(name) => write!(f, "cannot enter {}", quoted(name)),
            Self::Unmount(path) => write!(f, "cannot unmount {}", quoted(path)),
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
            Self::Limit(resource, most) => write!(f, "cannot limit {resource:?} to {most}"),
            Self::Anywhere => f.write_str("cannot run on any CPU"),
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

/// Goes into a directory below, which is made if it is not there.
fn descend(name: usize) -> isize {
    let cwd = sys::AT_FDCWD as usize;
    let made = unless(sys_errno::EEXIST, call(sys::__NR_mkdirat, [cwd, name, 0o755, 0, 0, 0]));
    if made < 0 {
        return made;
    }
    let flags = sys::O_PATH | sys::O_DIRECTORY | sys::O_NOFOLLOW | sys::O_CLOEXEC;
    let dir = call(sys::__NR_openat, [cwd, name, flags as usize, 0, 0, 0]);
    if dir < 0 {
        return dir;
    }
    let inside = call(sys::__NR_fchdir, [dir as usize, 0, 0, 0, 0, 0]);
    call(sys::__NR_close, [dir as usize, 0, 0, 0, 0, 0]);
    inside
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

/// Lowers a limit of the calling process.
fn limit(resource: Resource, most: u64) -> isize {
    // struct rlimit64: the soft limit and the hard one.
    let mut there = [0_u64; 2];
    let (resource, address) = (resource as usize, (&raw mut there).addr());
    let asked = call(sys::__NR_prlimit64, [0, resource, 0, address, 0, 0]);
    if asked < 0 {
        return asked;
    }
    let less = there.map(|limit| limit.min(most));
    call(sys::__NR_prlimit64, [0, resource, (&raw const less).addr(), 0, 0, 0])
}

/// One error number counts as success.
fn unless(errno: u32, result: isize) -> isize {
    if result == -(errno as isize) { 0 } else { result }
}

/// A system call whose arguments come from a program that its parent keeps alive.
pub(crate) fn call(number: u32, arguments: [usize; 6]) -> isize {
    // SAFETY: every pointer passed by steps is into the running program's own data or the caller's
    // frame, both alive during the call.
    unsafe { raw::syscall(number, arguments) }
}
