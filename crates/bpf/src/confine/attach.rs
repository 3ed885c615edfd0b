//! Programs at a cgroup: attached, replaced and detached, all or none.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use kernel::bpf::{Program, prog_attach, prog_detach, prog_name, prog_open, prog_query};
use rustix::io::Errno;

use super::{Confined, Hook, Point, code::Refusal};
use crate::{
    program,
    unavailable::{Result, Unavailable},
};

/// A change that was made, with what is needed to take it back.
enum Change {
    Attached(Point, OwnedFd),
    Replaced { point: Point, old: OwnedFd, new: OwnedFd },
    Detached(Point, OwnedFd),
}

impl Confined {
    /// Makes this what processes are confined to that are in the cgroup v2 of which this is the directory: attaches
    /// programs, replaces those that this attached before, and detaches those that are not needed any more. Others'
    /// programs stay. Nobody else may do this to the cgroup at the same time.
    ///
    /// Sockets that there are already are asked about from now on like new ones; one that is bound to an address that is
    /// not the jail's any more cannot send or receive.
    ///
    /// Errors: [`Unavailable::Refused`]: the kernel loads no such programs, or none for the caller, which needs `CAP_BPF`
    /// and `CAP_NET_ADMIN`, to find those that there are `CAP_SYS_ADMIN`, in the first user namespace;
    /// [`Unavailable::Unattached`]: they cannot be attached. What was attached before then is, still or again.
    pub fn attach(&self, cgroup: BorrowedFd<'_>) -> Result<()> {
        let mut there = attached(cgroup)?;
        let mut changes = Vec::new();
        let made = self.load()?.into_iter().try_for_each(|(point, new)| {
            let old = there.iter().position(|(at, _)| *at == point).map(|at| there.swap_remove(at).1);
            prog_attach(cgroup, new.as_fd(), point.attach_type(), old.as_ref().map(OwnedFd::as_fd))?;
            changes.push(match old {
                None => Change::Attached(point, new),
                Some(old) => Change::Replaced { point, old, new },
            });
            Ok(())
        });
        let made = made.and_then(|()| {
            there.drain(..).try_for_each(|(point, old)| {
                prog_detach(cgroup, old.as_fd(), point.attach_type())?;
                changes.push(Change::Detached(point, old));
                Ok(())
            })
        });
        made.map_err(|errno: Errno| {
            changes.into_iter().rev().for_each(|change| change.take_back(cgroup));
            Unavailable::Unattached(errno)
        })
    }

    /// Whether the programs that this needs are attached to a cgroup, and no others of this kind. Which addresses they
    /// were made for is not asked.
    ///
    /// Errors: as those of [`Confined::attach`], without `Refused`.
    pub fn is_attached(&self, cgroup: BorrowedFd<'_>) -> Result<bool> {
        let mut there: Vec<Point> = attached(cgroup)?.into_iter().map(|(point, _)| point).collect();
        let mut wanted: Vec<Point> = self.programs().into_iter().map(|hook| hook.point).collect();
        there.sort_unstable();
        wanted.sort_unstable();
        Ok(there == wanted)
    }

    /// Whether the kernel would take the programs: loads them, and attaches them to nothing.
    ///
    /// Errors: [`Unavailable::Refused`], as that of [`Confined::attach`].
    pub fn probe(&self) -> Result<()> {
        self.load().map(drop)
    }

    /// Loads all programs. Before Linux 5.18 they cannot say why they refuse.
    fn load(&self) -> Result<Vec<(Point, OwnedFd)>> {
        let all = |refusal| self.programs_with(refusal).iter().map(Hook::load).collect::<Result<_>>();
        match all(Refusal::Errno) {
            Err(Unavailable::Refused { errno: Errno::INVAL, .. }) => all(Refusal::Plain),
            loaded => loaded,
        }
    }
}

impl Hook {
    fn load(&self) -> Result<(Point, OwnedFd)> {
        let program = Program {
            kind: self.point.program_type(),
            attach: self.point.attach_type(),
            attach_btf_id: 0,
            name: self.point.name(),
            license: c"Dual BSD/GPL",
            code: &self.code,
        };
        Ok((self.point, program::load(&program)?))
    }
}

impl Change {
    /// Makes it as it was. If the kernel does not let that happen either, nothing can be done about it.
    fn take_back(self, cgroup: BorrowedFd<'_>) {
        let _ = match self {
            Self::Attached(point, new) => prog_detach(cgroup, new.as_fd(), point.attach_type()),
            Self::Replaced { point, old, new } => {
                prog_attach(cgroup, old.as_fd(), point.attach_type(), Some(new.as_fd()))
            }
            Self::Detached(point, old) => prog_attach(cgroup, old.as_fd(), point.attach_type(), None),
        };
    }
}

/// The programs of this kind that are attached to a cgroup.
fn attached(cgroup: BorrowedFd<'_>) -> Result<Vec<(Point, OwnedFd)>> {
    let mut found = Vec::new();
    for point in Point::ALL {
        let ids = match prog_query(cgroup, point.attach_type()) {
            // A kernel that does not know the place has nothing there.
            Err(Errno::INVAL) => continue,
            ids => ids.map_err(Unavailable::Unattached)?,
        };
        for id in ids {
            let program = match prog_open(id) {
                // Somebody else's, who has just detached it.
                Err(Errno::NOENT) => continue,
                program => program.map_err(Unavailable::Unattached)?,
            };
            if prog_name(program.as_fd()).map_err(Unavailable::Unattached)? == point.name().to_bytes() {
                found.push((point, program));
            }
        }
    }
    Ok(found)
}
