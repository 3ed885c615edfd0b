//! What of a living jail can be reached from outside before a process enters: its root, its terminals.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use kernel::{
    namespace::{self, Kind, VisitMount},
    pidfd,
};
use rustix::fs::{CWD, Mode, OFlags, fstatfs, open, openat};
use vimage::{Context as _, Instance, Result, Settings};

use crate::{core, entry, house::Premises, process, record::ProcessId};

/// A living jail, locked: nobody enters meanwhile.
#[derive(Debug)]
pub struct Place<'a> {
    /// The jail.
    pub of: &'a Instance<'a>,
    premises: &'a Premises,
    inside: Option<OwnedFd>,
}

/// The directory of terminals in every jail.
const TERMINALS: &str = "/dev/pts";
/// The type of its file system, statfs(2).
const DEVPTS: i64 = 0x1cd1;

impl<'a> Place<'a> {
    pub(crate) fn new(
        of: &'a Instance<'a>,
        premises: &'a Premises,
        init: Option<&ProcessId>,
    ) -> Result<Self> {
        let dir = entry::cgroup_of(of)?;
        Ok(Self { of, premises, inside: entry::occupant(of, &dir, init) })
    }

    /// The jail's root directory, to open things below it with RESOLVE_IN_ROOT (openat2(2)): as a process of
    /// the jail sees it; where it has none, its path alone, without what is mounted there.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn root(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = self.inside.as_ref().and_then(|process| {
            let root = openat(CWD, format!("/proc/{}/root", pidfd::pid(process).ok()?), flags, Mode::empty());
            // The pid was the process's own only if the process is still there.
            root.ok().filter(|_| process::is_alive(process.as_fd()))
        });
        let path = Path::new(self.of.settings.text("path").unwrap_or("/"));
        match inside {
            Some(root) => Ok(root),
            None => open(path, flags, Mode::empty()).doing_with(|| format!("path {}", path.display())),
        }
    }

    /// The paths of all jails, its own first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn roots(&self) -> Result<Vec<String>> {
        let path = |settings: &Settings| settings.text("path").map(str::to_owned);
        let store = &self.premises.store;
        // One that cannot be read says of no path that it is a jail's.
        let others = store.jids()?.into_iter().filter_map(|jid| store.read(jid).ok().flatten());
        Ok(path(self.of.settings).into_iter().chain(others.filter_map(|r| path(&r.settings))).collect())
    }

    /// The file system of the jail's terminals; `None` if it has none of its own.
    ///
    /// # Errors
    /// The jail's mounts, or what is held of them, cannot be reached.
    pub fn terminals(&self) -> Result<Option<OwnedFd>> {
        let Some(inside) = &self.inside else {
            core::reopen_held(self.of, self.premises)?;
            let held = self.of.fds.get(&format!("mount:{TERMINALS}"));
            return held.map(|fd| fd.try_clone().doing("cannot open the jail's terminals")).transpose();
        };
        let doing = "cannot visit the jail's mounts";
        let mounts = namespace::of_process(inside, Kind::Mnt).doing(doing)?;
        let visit = VisitMount::enter(&mounts).doing(doing)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = open(TERMINALS, flags, Mode::empty());
        drop(visit);
        // The jail may have mounted something else there.
        #[allow(clippy::unnecessary_cast, reason = "its type differs between machines")]
        let is_it = |fd: &OwnedFd| fstatfs(fd).is_ok_and(|s| s.f_type as i64 == DEVPTS);
        Ok(found.ok().filter(is_it))
    }
}
