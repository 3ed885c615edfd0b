//! Programs that the kernel checks and runs: the calls of bpf(2) that iterators and programs at cgroups need.

mod cgroup;
mod object;

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

pub use self::{
    cgroup::{prog_attach, prog_detach, prog_query},
    object::{prog_name, prog_open},
};
use crate::errno::check;

/// A program to be loaded: the part of `union bpf_attr` for `BPF_PROG_LOAD` that is not 0.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// `BPF_PROG_TYPE_*`.
    pub kind: u32,
    /// What it will be attached to, `BPF_*`; 0 for kinds that do not ask.
    pub attach: u32,
    /// The type of the kernel that it will be attached to, by its id in `/sys/kernel/btf/vmlinux`; 0: none.
    pub attach_btf_id: u32,
    /// Its name in lists: letters, digits, `_` and `.`, of which the kernel keeps 15.
    pub name: &'a CStr,
    /// Its licence in the words that the kernel knows: some helpers are only for those that go with its own.
    pub license: &'a CStr,
    /// Instructions, eight bytes each.
    pub code: &'a [[u8; 8]],
}

/// `union bpf_attr` for `BPF_PROG_LOAD` as Linux 5.17 has it; later kernels only append to it.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    core_relo_cnt: u32,
}
const _: () = assert!(size_of::<LoadAttr>() == 120);

/// `union bpf_attr` for `BPF_LINK_CREATE`, as much of it as is the same for all that can be attached to.
#[repr(C)]
struct LinkAttr {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}
const _: () = assert!(size_of::<LinkAttr>() == 16);

/// `union bpf_attr` for `BPF_ITER_CREATE`.
#[repr(C)]
struct IterAttr {
    link_fd: u32,
    flags: u32,
}
const _: () = assert!(size_of::<IterAttr>() == 8);

/// Loads a program: `BPF_PROG_LOAD` of bpf(2), Linux 3.18; with an `attach_btf_id` 5.5. Returns a descriptor
/// that keeps it; it does nothing until it is attached.
///
/// The kernel's reasons for a refusal are written to `log`, text with a NUL behind it; with an empty one it keeps
/// them to itself, which is faster. Before Linux 6.4 a log of less than 128 bytes is `EINVAL`.
///
/// Errors: `EACCES` or `EINVAL`: the program breaks a rule, see the log; `EINVAL` also: the kernel knows no such kind;
/// `ENOSPC`: before Linux 6.4, the log is too small; `E2BIG`: too many instructions; `EPERM`: no `CAP_BPF`, no
/// `CAP_PERFMON` where the kind asks for it (`CAP_SYS_ADMIN` does for both), or a security module is against it;
/// `ENOSYS`: a kernel without BPF.
pub fn prog_load(program: &Program<'_>, log: &mut [u8]) -> Result<OwnedFd> {
    let mut attr = LoadAttr {
        prog_type: program.kind,
        insn_cnt: program.code.len().try_into().map_err(|_| Errno::TOOBIG)?,
        insns: program.code.as_ptr() as u64,
        license: program.license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len().try_into().map_err(|_| Errno::INVAL)?,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        expected_attach_type: program.attach,
        attach_btf_id: program.attach_btf_id,
        ..LoadAttr::default()
    };
    // The last byte stays the NUL.
    for (to, from) in attr.prog_name[..15].iter_mut().zip(program.name.to_bytes()) {
        *to = *from;
    }
    // SAFETY: code, licence and log outlive the call, with the lengths given or a NUL; the log is ours to write.
    unsafe { new_fd(5, &mut attr) }
}

/// Attaches a program to the one thing that its kind and `attach_type` (`BPF_*`) say, as a `BPF_TRACE_ITER`
/// to its iterator: `BPF_LINK_CREATE` of bpf(2), Linux 5.7; iterators 5.8. Returns the link, which keeps the program,
/// and detaches it when it is closed.
///
/// Errors: `EINVAL`: the kind of program is attached in another way; `EBADF`: not a program; `EPERM`: no `CAP_BPF`.
pub fn link_create(program: impl AsFd, attach_type: u32) -> Result<OwnedFd> {
    let prog_fd = program.as_fd().as_raw_fd().cast_unsigned();
    let mut attr = LinkAttr { prog_fd, target_fd: 0, attach_type, flags: 0 };
    // SAFETY: no pointer is passed.
    unsafe { new_fd(28, &mut attr) }
}

/// Starts an iterator from its link: `BPF_ITER_CREATE` of bpf(2), Linux 5.8. Returns a descriptor from which what the
/// program writes is read; it keeps the link. Reading may be `EAGAIN` when the program has long had nothing to
/// write: the next goes on from there.
///
/// Errors: `EINVAL` or `EBADF`: not the link of an iterator; `EPERM`: no `CAP_BPF`.
pub fn iter_create(link: impl AsFd) -> Result<OwnedFd> {
    let link_fd = link.as_fd().as_raw_fd().cast_unsigned();
    let mut attr = IterAttr { link_fd, flags: 0 };
    // SAFETY: no pointer is passed.
    unsafe { new_fd(33, &mut attr) }
}

/// Makes a bpf(2) call that returns a new descriptor, which is always close-on-exec.
///
/// # Safety
/// `command` returns a descriptor and takes `T`, whose pointers are valid for it.
unsafe fn new_fd<T>(command: libc::c_int, attr: &mut T) -> Result<OwnedFd> {
    // SAFETY: as the caller says.
    let fd = unsafe { call(command, attr) }?.try_into().map_err(|_| Errno::BADF)?;
    // SAFETY: the caller says that it is a descriptor, and nobody else has it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a bpf(2) call.
///
/// # Safety
/// `command` takes `T`, whose pointers are valid for it.
unsafe fn call<T>(command: libc::c_int, attr: &mut T) -> Result<usize> {
    // SAFETY: `attr` outlives the call and has the size passed; the caller vouches for what is in it.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r0 = 0; exit`.
    const NOTHING: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

    /// A program that does nothing, of `BPF_PROG_TYPE_SOCKET_FILTER`, for which the kernel asks least.
    pub(super) fn filter() -> Program<'static> {
        let (name, license) = (c"nothing", c"Dual BSD/GPL");
        Program { kind: 1, attach: 0, attach_btf_id: 0, name, license, code: &NOTHING }
    }

    #[test]
    fn a_program_is_loaded_and_is_no_iterator() {
        let program = match prog_load(&filter(), &mut []) {
            Err(errno @ (Errno::PERM | Errno::NOSYS)) => {
                return println!("SKIP a_program_is_loaded: {errno}");
            }
            program => program.unwrap(),
        };
        assert!(link_create(&program, 28).is_err());
        assert!(iter_create(&program).is_err());
    }

    #[test]
    fn a_program_that_breaks_a_rule_is_refused_with_a_reason() {
        // `exit` with nothing to return.
        let program = Program { code: &NOTHING[1..], ..filter() };
        let errno = prog_load(&program, &mut []).unwrap_err();
        if matches!(errno, Errno::PERM | Errno::NOSYS) {
            return println!("SKIP a_program_that_breaks_a_rule: {errno}");
        }
        let mut log = vec![0; 4096];
        assert_eq!(prog_load(&program, &mut log).unwrap_err(), errno);
        let log = CStr::from_bytes_until_nul(&log).unwrap().to_str().unwrap();
        assert!(log.contains("R0 !read_ok"), "{log}");
    }

    #[test]
    fn what_is_no_program_is_not_attached() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(link_create(&null, 28).is_err());
        assert!(iter_create(&null).is_err());
    }
}
