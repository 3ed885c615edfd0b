//! The file handle of a namespace: a name for it that holds nothing.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::str::FromStr;

use rustix::io::{Errno, Result};

use super::Kind;
use crate::errno::check;
use crate::probe::{Feature, has};

/// Names a namespace without keeping it alive, even when no process, mount or descriptor holds it.
///
/// Written `net:ID:INUM` (kind, id and inode number), which reads back by [`FromStr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The namespace's id, never used again for another; see [`super::id`].
    pub id: u64,
    /// Its kind.
    pub kind: Kind,
    /// Its inode number, as in `/proc/PID/ns`; used again for others.
    pub inum: u32,
}

/// `struct file_handle` of open_by_handle_at(2) around `struct nsfs_file_handle`.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    handle_type: i32,
    id: u64,
    kind: u32,
    inum: u32,
}
const _: () = assert!(size_of::<FileHandle>() == 8 + 16);

const FILEID_NSFS: i32 = 0xf1;
/// Stands for the file system of all namespaces.
const FD_NSFS_ROOT: i32 = -10003;

impl Handle {
    /// Returns the handle of a namespace: name_to_handle_at(2), Linux 6.18.
    ///
    /// `EOPNOTSUPP`: an older kernel, or not a namespace.
    pub fn of(ns: impl AsFd) -> Result<Self> {
        if !has(Feature::NsfsHandles) {
            return Err(Errno::OPNOTSUPP);
        }
        Self::ask(ns)
    }

    /// [`Self::of`], whatever the mask of [`probe`](crate::probe) says.
    pub(crate) fn ask(ns: impl AsFd) -> Result<Self> {
        let mut handle = FileHandle { bytes: 16, handle_type: 0, id: 0, kind: 0, inum: 0 };
        let mut mount_id = 0;
        let ns = ns.as_fd().as_raw_fd();
        let raw = (&raw mut handle).cast();
        // SAFETY: `handle` has room for the `bytes` it says, and the path ends in a NUL.
        let ret =
            unsafe { libc::name_to_handle_at(ns, c"".as_ptr(), raw, &raw mut mount_id, libc::AT_EMPTY_PATH) };
        match check(ret) {
            // Some file systems' handles are longer.
            Err(Errno::OVERFLOW) => Err(Errno::OPNOTSUPP),
            other => other,
        }?;
        if handle.handle_type != FILEID_NSFS {
            return Err(Errno::OPNOTSUPP);
        }
        let kind = Kind::from_flag(handle.kind).ok_or(Errno::INVAL)?;
        Ok(Self { id: handle.id, kind, inum: handle.inum })
    }

    /// Opens the namespace again: open_by_handle_at(2), Linux 6.18.
    ///
    /// `ESTALE`: it is gone. So much is certain up to 6.18 in the initial user namespace; elsewhere the
    /// kernel also says so to a caller without privilege over the namespace, and from 6.19 on for a
    /// namespace that only a socket or a child namespace keeps. `EPERM`, `EBADF` (before 6.18).
    pub fn open(&self) -> Result<OwnedFd> {
        let Self { id, kind, inum } = *self;
        let mut handle = FileHandle { bytes: 16, handle_type: FILEID_NSFS, id, kind: kind.flag(), inum };
        let raw = (&raw mut handle).cast();
        // SAFETY: `handle` has the `bytes` it says.
        let ret = unsafe { libc::open_by_handle_at(FD_NSFS_ROOT, raw, libc::O_RDONLY | libc::O_CLOEXEC) };
        let fd = check(ret)?;
        // SAFETY: the kernel made this descriptor for this call; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind.name(), self.id, self.inum)
    }
}

/// The text is not `KIND:ID:INUM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAHandle;

impl fmt::Display for NotAHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a namespace handle (KIND:ID:INUM)")
    }
}

impl std::error::Error for NotAHandle {}

impl FromStr for Handle {
    type Err = NotAHandle;

    fn from_str(text: &str) -> std::result::Result<Self, NotAHandle> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(NotAHandle);
        let kind = Kind::from_name(next()?).ok_or(NotAHandle)?;
        let id = next()?.parse().map_err(|_| NotAHandle)?;
        let inum = next()?.parse().map_err(|_| NotAHandle)?;
        if parts.next().is_some() { Err(NotAHandle) } else { Ok(Self { id, kind, inum }) }
    }
}
