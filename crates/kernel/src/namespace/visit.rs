//! Going into a namespace for a moment, with the calling thread.

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::process::abort;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use rustix::process::{chroot, fchdir};

use super::{Kind, current, setns};

/// While this lives, the thread that made it is in another network, ipc or uts namespace.
///
/// Dropping it goes back. Should that fail the process is aborted: every later call would act on the
/// wrong namespace. Several visits must be dropped in the reverse order, as nested scopes do.
#[must_use = "the visit ends when this is dropped"]
pub struct Visit {
    back: OwnedFd,
    kind: Kind,
    _this_thread: PhantomData<*mut ()>,
}

impl Visit {
    /// Enters `ns`: setns(2).
    ///
    /// Errors: `EINVAL`: `kind` is not one of net, ipc and uts, or not the kind of `ns`; `EPERM`: no
    /// `CAP_SYS_ADMIN` over `ns` and over the caller's own user namespace.
    pub fn enter(ns: impl AsFd, kind: Kind) -> Result<Self> {
        if !matches!(kind, Kind::Net | Kind::Ipc | Kind::Uts) {
            return Err(Errno::INVAL);
        }
        let back = current(kind)?;
        setns(ns, kind)?;
        Ok(Self { back, kind, _this_thread: PhantomData })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if setns(&self.back, self.kind).is_err() {
            abort();
        }
    }
}

/// While this lives, the process is in another mount namespace, with that namespace's root as its root
/// and current directory.
///
/// Dropping it goes back to the old namespace, root and current directory; should that fail the process
/// is aborted. Paths mean something else during the visit, for every thread that shares them: setns(2)
/// therefore refuses unless the caller shares its root and current directory with nobody, so this needs
/// a process with one thread, or a thread that has called `unshare(CLONE_FS)`.
#[must_use = "the visit ends when this is dropped"]
pub struct VisitMount {
    back: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
    _this_thread: PhantomData<*mut ()>,
}

impl VisitMount {
    /// Enters `mntns`: setns(2).
    ///
    /// Errors: `EINVAL`: not a mount namespace, or a thread that shares its root directory; `EPERM`: no
    /// `CAP_SYS_ADMIN` over `mntns`, or no `CAP_SYS_CHROOT` and `CAP_SYS_ADMIN` over the caller's own
    /// user namespace.
    pub fn enter(mntns: impl AsFd) -> Result<Self> {
        let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open("/", path, Mode::empty())?;
        let cwd = open(".", path, Mode::empty())?;
        let back = current(Kind::Mnt)?;
        setns(mntns, Kind::Mnt)?;
        Ok(Self { back, root, cwd, _this_thread: PhantomData })
    }

    fn leave(&self) -> Result<()> {
        setns(&self.back, Kind::Mnt)?;
        fchdir(&self.root)?;
        chroot(".")?;
        fchdir(&self.cwd)
    }
}

impl Drop for VisitMount {
    fn drop(&mut self) {
        if self.leave().is_err() {
            abort();
        }
    }
}

/// Returns a socket of the network namespace `netns`, to which it belongs for life: socket(2).
///
/// Errors are those of [`Visit::enter`] and of socket(2).
pub fn socket_in(
    netns: impl AsFd,
    domain: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd> {
    let _inside = Visit::enter(netns, Kind::Net)?;
    socket_with(domain, kind, SocketFlags::CLOEXEC, protocol)
}
