//! Mounts of namespaces that the caller is not in, and the namespaces that hold mounts.

use std::ffi::OsStr;
use std::mem::offset_of;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use linux_raw_sys::general::{self as sys, mnt_id_req};
use rustix::io::{Errno, Result};
use rustix::ioctl::{self, Opcode, opcode};

use crate::errno::check;
use crate::ioctl::Exchange;
use crate::namespace::{Kind, current};

const _: () = assert!(size_of::<mnt_id_req>() == 32);
const _: () = assert!(size_of::<sys::statmount>() == 512);

/// A mount, as [`statmount`] sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its id, which no other mount will ever have.
    pub id: u64,
    /// The id of the mount it lies on; its own for the root.
    pub parent: u64,
    /// Where it is mounted, from the root of its namespace.
    pub point: PathBuf,
    /// What part of the file system it shows; for a pinned namespace such as `net:[4026532177]`.
    pub root: PathBuf,
    /// The file system's type, such as `ext4` or `nsfs`.
    pub fs_type: String,
    /// The file system's device number, major and minor.
    pub device: (u32, u32),
}

/// Returns the ids of all mounts of the mount namespace with this id, 0 for the caller's own, parents
/// before children: listmount(2), Linux 6.8, and 6.11 for other namespaces.
///
/// Errors: `ENOENT`: no such namespace; `EPERM`: no `CAP_SYS_ADMIN` over it; `ENOSYS`.
pub fn mounts_of(mntns: u64) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    let mut some = [0; 256];
    loop {
        let after = all.last().copied().unwrap_or(0);
        let number = listmount(mntns, after, &mut some)?;
        all.extend_from_slice(&some[..number]);
        if number < some.len() {
            return Ok(all);
        }
    }
}

fn listmount(mntns: u64, after: u64, ids: &mut [u64]) -> Result<usize> {
    let request = mnt_id_req {
        size: size_of::<mnt_id_req>() as u32,
        spare: 0,
        mnt_id: i64::from(sys::LSMT_ROOT).cast_unsigned(),
        param: after,
        mnt_ns_id: mntns,
    };
    let number = sys::__NR_listmount.into();
    // SAFETY: the kernel reads `request` by its size, and writes at most `ids.len()` numbers.
    check(unsafe { libc::syscall(number, &raw const request, ids.as_mut_ptr(), ids.len(), 0) })
}

/// Returns what the mount `id` of the mount namespace `mntns` is, 0 for the caller's own namespace:
/// statmount(2), Linux 6.8, and 6.11 for other namespaces.
///
/// Errors: `ENOENT`: no such mount or namespace; `EINVAL`: an id of the old, reused kind, as in
/// proc_pid_mountinfo(5); `EPERM`: no `CAP_SYS_ADMIN` over the namespace; `ENOSYS`.
pub fn statmount(mntns: u64, id: u64) -> Result<Mount> {
    let mut answer = vec![0; 1024];
    loop {
        match ask(mntns, id, &mut answer) {
            Ok(()) => return Ok(read(&answer)),
            Err(Errno::OVERFLOW) if answer.len() < 1 << 20 => answer.resize(answer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

fn ask(mntns: u64, id: u64, answer: &mut [u8]) -> Result<()> {
    let what = sys::STATMOUNT_SB_BASIC
        | sys::STATMOUNT_MNT_BASIC
        | sys::STATMOUNT_MNT_ROOT
        | sys::STATMOUNT_MNT_POINT
        | sys::STATMOUNT_FS_TYPE;
    let request = mnt_id_req {
        size: size_of::<mnt_id_req>() as u32,
        spare: 0,
        mnt_id: id,
        param: what.into(),
        mnt_ns_id: mntns,
    };
    let number = sys::__NR_statmount.into();
    // SAFETY: the kernel reads `request` by its size, and writes at most `answer.len()` bytes.
    check(unsafe { libc::syscall(number, &raw const request, answer.as_mut_ptr(), answer.len(), 0) })
        .map(drop)
}

/// Reads a `struct statmount`, whose strings follow it and are named by their offset from its end.
fn read(answer: &[u8]) -> Mount {
    let u32_at = |at: usize| u32::from_ne_bytes(answer[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_ne_bytes(answer[at..at + 8].try_into().expect("eight bytes"));
    let text_at = |at: usize| {
        let from = size_of::<sys::statmount>() + u32_at(at) as usize;
        let text = answer.get(from..).unwrap_or_default();
        OsStr::from_bytes(text.split(|byte| *byte == 0).next().unwrap_or_default())
    };
    Mount {
        id: u64_at(offset_of!(sys::statmount, mnt_id)),
        parent: u64_at(offset_of!(sys::statmount, mnt_parent_id)),
        point: text_at(offset_of!(sys::statmount, mnt_point)).into(),
        root: text_at(offset_of!(sys::statmount, mnt_root)).into(),
        fs_type: text_at(offset_of!(sys::statmount, fs_type)).to_string_lossy().into_owned(),
        device: (
            u32_at(offset_of!(sys::statmount, sb_dev_major)),
            u32_at(offset_of!(sys::statmount, sb_dev_minor)),
        ),
    }
}

/// A mount namespace that [`mount_namespaces`] has found.
#[derive(Debug)]
pub struct MountNamespace {
    /// The namespace, open for reading and close-on-exec.
    pub ns: OwnedFd,
    /// Its id, for [`mounts_of`].
    pub id: u64,
    /// How many mounts it has.
    pub mounts: u32,
}

/// Returns all mount namespaces of the machine by increasing id, those without a process too:
/// `NS_MNT_GET_NEXT` and `NS_MNT_GET_PREV` of ioctl_nsfs(2), Linux 6.12.
///
/// Namespaces made or gone during the walk may be missing; an error ends it. Errors: `EPERM`: not in
/// the initial pid namespace with `CAP_SYS_ADMIN`; `ENOTTY`.
pub fn mount_namespaces() -> Result<impl Iterator<Item = Result<MountNamespace>>> {
    let mut first = neighbour(current(Kind::Mnt)?, Direction::Itself)?;
    loop {
        match neighbour(&first.ns, Direction::Previous) {
            Ok(previous) => first = previous,
            Err(Errno::NOENT) => break,
            Err(errno) => return Err(errno),
        }
    }
    let mut next = Some(Ok(first));
    Ok(std::iter::from_fn(move || {
        let this = next.take()?;
        if let Ok(this) = &this {
            next = match neighbour(&this.ns, Direction::Next) {
                Err(Errno::NOENT) => None,
                other => Some(other),
            };
        }
        Some(this)
    }))
}

enum Direction {
    Itself,
    Next,
    Previous,
}

/// `struct mnt_ns_info` of ioctl_nsfs(2).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    size: u32,
    mounts: u32,
    id: u64,
}
const _: () = assert!(size_of::<Info>() == 16);

const fn request(number: u8) -> Opcode {
    opcode::read::<Info>(0xb7, number)
}

fn neighbour(ns: impl AsFd, direction: Direction) -> Result<MountNamespace> {
    let number = match direction {
        Direction::Itself => 10,
        Direction::Next => 11,
        Direction::Previous => 12,
    };
    // SAFETY: requests 10 to 12 fill in an `Info`, whose size is in their number.
    let request = unsafe { Exchange::new(request(number), Info::default()) };
    // SAFETY: the `Exchange` holds the `Info`.
    let (fd, info) = unsafe { ioctl::ioctl(&ns, request) }?;
    let ns = match direction {
        Direction::Itself => ns.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?,
        // SAFETY: the kernel made this descriptor for this call; nobody else owns it.
        _ => unsafe { OwnedFd::from_raw_fd(fd) },
    };
    Ok(MountNamespace { ns, id: info.id, mounts: info.mounts })
}
