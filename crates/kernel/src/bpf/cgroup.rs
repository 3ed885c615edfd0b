//! Programs at a cgroup, for its processes and for those in cgroups below it.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::{Errno, Result};

/// More programs of one kind are not attached to a cgroup: `BPF_CGROUP_MAX_PROGS` of the kernel.
const MAX_PROGS: usize = 64;

/// `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` as Linux 5.6 has it.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}
const _: () = assert!(size_of::<AttachAttr>() == 20);

/// `union bpf_attr` for `BPF_PROG_QUERY` as Linux 4.15 has it, with the padding that aligns it.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}
const _: () = assert!(size_of::<QueryAttr>() == 32);

/// Attaches a program to the cgroup v2 of which this is the directory, beside others of its `attach_type` (`BPF_*`), or
/// in the place of one of them: `BPF_PROG_ATTACH` of bpf(2) with `BPF_F_ALLOW_MULTI`, Linux 4.15, and `BPF_F_REPLACE`,
/// 5.6. It stays until it is detached or the cgroup is removed, whoever has descriptors of it.
///
/// Errors: `EINVAL`: the program was loaded for something else, or was attached already; `ENOENT`: the one to be
/// replaced is not attached; `E2BIG`: 64 are; `EBADF`: not a cgroup v2 or not a program; `EPERM`: no `CAP_NET_ADMIN` or
/// no `CAP_BPF`, or a cgroup above has a program that admits none below it.
pub fn prog_attach(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    attach_type: u32,
    replace: Option<BorrowedFd<'_>>,
) -> Result<()> {
    const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
    const BPF_F_REPLACE: u32 = 1 << 2;
    let mut attr = AttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, raw),
    };
    // SAFETY: no pointer is passed.
    unsafe { super::call(8, &mut attr) }?;
    Ok(())
}

/// Detaches a program from a cgroup: `BPF_PROG_DETACH` of bpf(2), Linux 4.10.
///
/// Errors: `ENOENT`: it is not attached there; `EBADF`: not a cgroup v2; `EPERM`: no `CAP_NET_ADMIN` or no `CAP_BPF`.
pub fn prog_detach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, attach_type: u32) -> Result<()> {
    let (target_fd, attach_bpf_fd) = (raw(cgroup), raw(program));
    let mut attr = AttachAttr { target_fd, attach_bpf_fd, attach_type, attach_flags: 0, replace_bpf_fd: 0 };
    // SAFETY: no pointer is passed.
    unsafe { super::call(9, &mut attr) }?;
    Ok(())
}

/// The ids of the programs of an `attach_type` that are attached to this cgroup itself, in the order in which they run:
/// `BPF_PROG_QUERY` of bpf(2), Linux 4.15.
///
/// Errors: `EINVAL`: no such type; `EBADF`: not a cgroup v2; `EPERM`: no `CAP_NET_ADMIN`.
pub fn prog_query(cgroup: BorrowedFd<'_>, attach_type: u32) -> Result<Vec<u32>> {
    let mut ids = vec![0_u32; MAX_PROGS];
    let mut attr = QueryAttr {
        target_fd: raw(cgroup),
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len().try_into().map_err(|_| Errno::INVAL)?,
        padding: 0,
    };
    // SAFETY: the ids are ours to write, as many as is said.
    unsafe { super::call(16, &mut attr) }?;
    ids.truncate(attr.prog_cnt.try_into().unwrap_or(MAX_PROGS));
    Ok(ids)
}

/// The number of a descriptor as bpf(2) takes it.
fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_is_no_cgroup_has_no_programs() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let null = null.as_fd();
        assert!(prog_query(null, 0).is_err());
        assert!(prog_attach(null, null, 0, None).is_err());
        assert!(prog_attach(null, null, 0, Some(null)).is_err());
        assert!(prog_detach(null, null, 0).is_err());
    }
}
