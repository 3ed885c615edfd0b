//! Attributes of mounts, and lists of them in any mount namespace.
//!
//! open_tree(2), move_mount(2), fsopen(2) and fsconfig(2) are in
//! [`rustix::mount`].

mod list;

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use linux_raw_sys::general::mount_attr;
use rustix::fs::AtFlags;
use rustix::io::{Errno, Result};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};

use crate::errno::check;
use crate::probe::{Feature, is_masked};

pub use list::{Mount, MountNamespace, mount_namespaces, mounts_of, statmount};

/// Lets [`mount_setattr`] change all mounts below the one named, too.
pub const AT_RECURSIVE: AtFlags = AtFlags::from_bits_retain(0x8000);

const _: () = assert!(size_of::<mount_attr>() == 32);

/// What [`mount_setattr`] changes; the default is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Attr<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: MountAttrFlags,
    /// `MOUNT_ATTR_*` to clear. To set an access time mode, clear `MOUNT_ATTR__ATIME`.
    pub clear: MountAttrFlags,
    /// The new propagation: one of `SHARED`, `PRIVATE`, `DOWNSTREAM` (`MS_SLAVE`) and `UNBINDABLE`, or
    /// empty for the old one.
    pub propagation: MountPropagationFlags,
    /// Map the ids of files by this user namespace; sets `MOUNT_ATTR_IDMAP`.
    pub userns: Option<BorrowedFd<'a>>,
}

impl Default for Attr<'_> {
    fn default() -> Self {
        let none = MountAttrFlags::empty();
        Self { set: none, clear: none, propagation: MountPropagationFlags::empty(), userns: None }
    }
}

/// Changes attributes of the mount that `path` lies on, looked up from `dir`: mount_setattr(2), Linux
/// 5.12. With `AtFlags::EMPTY_PATH` and an empty `path`: of `dir` itself.
///
/// All or nothing. Errors: `EINVAL`: not the root of a mount, or for an id map: a file system that has
/// none, a mount that is attached already or has a map; `EPERM`: an attribute is locked, or no
/// `CAP_SYS_ADMIN` over the file system's user namespace (for an id map); `EBUSY`: open for writing.
pub fn mount_setattr(dir: impl AsFd, path: &CStr, flags: AtFlags, attr: &Attr<'_>) -> Result<()> {
    if attr.userns.is_some() && is_masked(Feature::IdmappedMounts) {
        return Err(Errno::INVAL);
    }
    let idmap =
        if attr.userns.is_some() { MountAttrFlags::MOUNT_ATTR_IDMAP } else { MountAttrFlags::empty() };
    let raw = mount_attr {
        attr_set: (attr.set | idmap).bits().into(),
        attr_clr: attr.clear.bits().into(),
        propagation: attr.propagation.bits().into(),
        userns_fd: attr.userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let (dir, path) = (dir.as_fd().as_raw_fd(), path.as_ptr());
    // SAFETY: `path` ends in a NUL, and `raw` has the size passed.
    let ret = unsafe {
        libc::syscall(libc::SYS_mount_setattr, dir, path, flags.bits(), &raw const raw, size_of_val(&raw))
    };
    check(ret).map(drop)
}

/// Returns the text of a field of proc_pid_mountinfo(5) or fstab(5), where `\ooo` is the byte of that octal number:
/// blanks, newlines and backslashes are written so.
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        let number = octal.and_then(|o| u8::from_str_radix(std::str::from_utf8(o).ok()?, 8).ok());
        plain.push(number.unwrap_or(*byte));
        at += if number.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}
