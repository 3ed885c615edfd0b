//! Programs that are loaded already: found by their ids, told by their names.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::io::{Errno, Result};

/// `union bpf_attr` for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct OpenAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}
const _: () = assert!(size_of::<OpenAttr>() == 12);

/// `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}
const _: () = assert!(size_of::<InfoAttr>() == 16);

/// `struct bpf_prog_info` as far as Linux 4.15 has it; what is of no use here has no name.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    before: [u64; 8],
    name: [u8; 16],
}
const _: () = assert!(size_of::<ProgInfo>() == 80);

/// Opens a loaded program by its id: `BPF_PROG_GET_FD_BY_ID` of bpf(2), Linux 4.13.
///
/// Errors: `ENOENT`: no such program; `EPERM`: no `CAP_SYS_ADMIN`.
pub fn prog_open(id: u32) -> Result<OwnedFd> {
    let mut attr = OpenAttr { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: no pointer is passed.
    unsafe { super::new_fd(13, &mut attr) }
}

/// The name that a program was loaded with, at most 15 bytes: `BPF_OBJ_GET_INFO_BY_FD` of bpf(2), Linux 4.15.
///
/// Errors: `EINVAL` or `EBADF`: not a program.
pub fn prog_name(program: BorrowedFd<'_>) -> Result<Vec<u8>> {
    let mut info = ProgInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: size_of::<ProgInfo>().try_into().map_err(|_| Errno::INVAL)?,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the information is ours to write, in the length given. It has no pointers: the fields in which the
    // kernel looks for some are 0.
    unsafe { super::call(15, &mut attr) }?;
    Ok(info.name.iter().copied().take_while(|byte| *byte != 0).collect())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::bpf::{prog_load, tests::filter};

    #[test]
    fn a_program_has_the_name_that_it_was_loaded_with() {
        let program = match prog_load(&filter(), &mut []) {
            Err(errno @ (Errno::PERM | Errno::NOSYS)) => return println!("SKIP a_program_has: {errno}"),
            program => program.unwrap(),
        };
        assert_eq!(prog_name(program.as_fd()).unwrap(), b"nothing");
    }

    #[test]
    fn what_is_no_program_has_no_name() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(prog_name(null.as_fd()).is_err());
        assert!(prog_open(u32::MAX).is_err());
    }
}
