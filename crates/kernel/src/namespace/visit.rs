//! Going into a namespace for a moment, with the calling thread.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::abort;
use std::rc::Rc;
use std::thread;

use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use rustix::process::{chroot, fchdir};

use super::{Kind, current, join, setns};

/// While this lives, the thread that made it is in another network, ipc or uts namespace.
///
/// Dropping it goes back. Should that fail the process is aborted: every later call would act on the
/// wrong namespace. Several visits must be dropped in the reverse order, as nested scopes do.
#[must_use = "the visit ends when this is dropped"]
pub struct Visit {
    back: Rc<OwnedFd>,
    kind: Kind,
    _this_thread: PhantomData<*mut ()>,
}

impl Visit {
    /// Enters `ns`: setns(2).
    ///
    /// Errors: `EINVAL`: `kind` is not one of net, ipc and uts, or not the kind of `ns`; `EPERM`: no
    /// `CAP_SYS_ADMIN` over `ns`, over the caller's own user namespace, or over the namespace to go back
    /// to, as in a new user namespace that still uses the network of the old one.
    pub fn enter(ns: impl AsFd, kind: Kind) -> Result<Self> {
        if !matches!(kind, Kind::Net | Kind::Ipc | Kind::Uts) {
            return Err(Errno::INVAL);
        }
        let back = here(kind)?;
        join(ns, kind)?;
        know(kind, None);
        Ok(Self { back, kind, _this_thread: PhantomData })
    }
}

/// A kind of namespace, and the one that the thread is in.
type Here = (Kind, Rc<OwnedFd>);

thread_local! {
    /// Where this thread is, as far as it has been there before: who visits many need not find the way back each time.
    static HERE: RefCell<Vec<Here>> = const { RefCell::new(Vec::new()) };
}

/// The namespace of a kind that this thread is in, which it can come back to.
fn here(kind: Kind) -> Result<Rc<OwnedFd>> {
    let known = HERE.with_borrow(|here| here.iter().find(|(of, _)| *of == kind).map(|(_, ns)| ns.clone()));
    if let Some(known) = known {
        return Ok(known);
    }
    let back = current(kind)?;
    // Changes nothing, but fails where going back would.
    join(&back, kind)?;
    Ok(Rc::new(back))
}

/// Takes down where this thread is; `None`: somewhere else than before.
pub(super) fn know(kind: Kind, ns: Option<Rc<OwnedFd>>) {
    HERE.with_borrow_mut(|here| {
        here.retain(|(of, _)| *of != kind);
        here.extend(ns.map(|ns| (kind, ns)));
    });
}

impl Drop for Visit {
    fn drop(&mut self) {
        if join(&self.back, self.kind).is_err() {
            abort();
        }
        know(self.kind, Some(self.back.clone()));
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
    /// `CAP_SYS_ADMIN` over `mntns` or over the mount namespace to go back to, or no `CAP_SYS_CHROOT` and
    /// `CAP_SYS_ADMIN` over the caller's own user namespace.
    pub fn enter(mntns: impl AsFd) -> Result<Self> {
        let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open("/", path, Mode::empty())?;
        let cwd = open(".", path, Mode::empty())?;
        let back = current(Kind::Mnt)?;
        // Fails where going back would, and otherwise changes root and current directory already.
        setns(&back, Kind::Mnt)?;
        let visit = Self { back, root, cwd, _this_thread: PhantomData };
        setns(mntns, Kind::Mnt)?;
        Ok(visit)
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

/// Whether this thread is in a network namespace.
fn is_here(netns: BorrowedFd<'_>) -> bool {
    let (here, there) = (current(Kind::Net).and_then(fstat), fstat(netns));
    matches!((here, there), (Ok(here), Ok(there)) if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
}

/// Whether this thread can go into other namespaces of this kind: not if it could not come back.
#[must_use]
pub fn can_visit(kind: Kind) -> bool {
    here(kind).is_ok()
}

/// Returns a socket of the network namespace `netns`, to which it belongs for life: socket(2).
///
/// Where the calling thread could not come back from there, another makes it. Errors are those of
/// socket(2), and of [`Visit::enter`] but for the way back; `EAGAIN`: no thread.
pub fn socket_in(
    netns: impl AsFd,
    domain: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Result<OwnedFd> {
    let netns = netns.as_fd();
    let socket = || socket_with(domain, kind, SocketFlags::CLOEXEC, protocol);
    match Visit::enter(netns, Kind::Net) {
        Ok(_inside) => socket(),
        Err(Errno::PERM) => thread::scope(|scope| {
            let inside = || match setns(netns, Kind::Net) {
                // It is there already: who is in a new user namespace cannot enter the network of the old one.
                Err(Errno::PERM) if is_here(netns) => socket(),
                entered => entered.and_then(|()| socket()),
            };
            let thread = thread::Builder::new().spawn_scoped(scope, inside).map_err(|_| Errno::AGAIN)?;
            thread.join().unwrap_or(Err(Errno::IO))
        }),
        Err(errno) => Err(errno),
    }
}
