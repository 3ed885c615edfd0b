//! Who holds a namespace without showing by itself: what is looked for where the [census](crate::take) found nobody.
//!
//! A thread may have descriptors of its own; a descriptor may be on its way through a socket, a file registered with a
//! ring, memory mapped whose file is closed; a call may go on with what was closed; a file of proc shows the namespace it
//! was opened in; and the kernel goes on with a connection whose process is gone. Not all of these can be told from what
//! belongs elsewhere: what cannot is not sure.

mod calls;
mod fdinfo;
mod files;
mod inside;
mod maps;
mod owned;

use std::os::fd::OwnedFd;

use kernel::mount::{mount_namespaces, mounts_of, statmount};

use crate::{
    census,
    descriptor::Task,
    holder::{Holder, Namespace, What},
    process,
    sockets::Sockets,
};

use files::Around;
use inside::Inside;

/// What a process has that may be of a namespace.
#[derive(Debug)]
enum Thing {
    /// A socket, by its inode number.
    Socket(u64),
    /// A namespace, by its inode number.
    Namespace(u64),
    /// Anything at all.
    Anything,
    /// Anything of a network stack, or that somebody has opened.
    Stack,
    /// What keeps a user namespace and nothing else of it: as a process that has ended, by its pid namespace, and a file
    /// of a file system that was mounted inside.
    User,
    /// A file that shows a namespace of this kind.
    Shows(&'static str),
    /// A SysV shared memory segment: key and id.
    Segment(u32, u64),
}

/// The holders of some namespaces, each with a descriptor of it, that do not show by themselves. A user namespace is held
/// by those that it owns, too: their holders are among these.
#[must_use]
pub fn hidden(of: &[(Namespace, OwnedFd)]) -> Vec<Holder> {
    if of.is_empty() {
        return Vec::new();
    }
    let inside: Vec<_> = of.iter().map(|(namespace, fd)| Inside::look(namespace, fd)).collect();
    let mut holders = Vec::new();
    for inside in &inside {
        holders.extend(inside.orphans.iter().map(|what| Holder {
            namespace: inside.namespace.clone(),
            pid: None,
            what: What::Orphan(what.clone()),
            sure: true,
        }));
    }
    holders.extend(pinned(of));
    let mut wanted: Vec<_> = of.iter().map(|(namespace, _)| namespace.clone()).collect();
    let users = wanted.iter().filter(|ns| ns.kind == "user").map(|ns| ns.inode).collect();
    let owned = owned::owned(&users);
    holders.extend(census::take(&owned));
    let kept = owned::kept(&wanted.iter().collect::<Vec<_>>());
    let around = Around::look(kept.is_some());
    holders.extend(kept.into_iter().flatten());
    wanted.extend(owned);
    for pid in process::all() {
        let found = look(pid, &around, &wanted, &mut holders);
        for inside in &inside {
            let hold = |(what, thing): &(What, Thing)| {
                let (namespace, what) = (inside.namespace.clone(), what.clone());
                Some(Holder { namespace, pid: Some(pid), what, sure: inside.has(thing, pid)? })
            };
            holders.extend(found.iter().filter_map(hold));
        }
    }
    // What surely holds it is not said to do so perhaps.
    let sure: Vec<_> = holders.iter().filter(|holder| holder.sure).cloned().collect();
    let same = |one: &Holder, other: &Holder| {
        let is = |of: &Holder| of.what.place().map(|place| (of.namespace.clone(), of.pid, place));
        is(one).is_some() && is(one) == is(other)
    };
    holders.retain(|holder| holder.sure || !sure.iter().any(|other| same(holder, other)));
    holders.sort();
    holders.dedup();
    holders
}

/// What a process has that may be of a namespace. What surely is of a wanted one is added to the holders.
fn look(pid: i32, around: &Around, wanted: &[Namespace], holders: &mut Vec<Holder>) -> Vec<(What, Thing)> {
    let mut found = Vec::new();
    // The census has seen the first alone.
    for tid in process::tables(pid) {
        let task = Task::new(pid, tid);
        let open = process::open_in(pid, tid, |_, _| false);
        files::open_files(&task, &open, around, &mut found);
        if tid != pid {
            holders.extend(census::open_in(&task, open, wanted, &mut Sockets::default()));
        }
    }
    files::directories(pid, around, &mut found);
    maps::mappings(pid, around, &mut found);
    calls::on_closed(pid, &mut found);
    found
}

/// Those that are mounted where no process that was asked sees them: in a mount namespace without processes, or outside
/// the root of its first. Who may not look into all of them (that takes the first pid namespace) is told of none.
fn pinned(of: &[(Namespace, OwnedFd)]) -> Vec<Holder> {
    let mut holders = Vec::new();
    for mounts in mount_namespaces().into_iter().flatten().flatten() {
        let inode = rustix::fs::fstat(&mounts.ns).map_or(0, |stat| stat.st_ino);
        let all = mounts_of(mounts.id).unwrap_or_default().into_iter();
        for mount in all.filter_map(|id| statmount(mounts.id, id).ok()).filter(|m| m.fs_type == "nsfs") {
            let root = mount.root.to_str().and_then(Namespace::parse);
            let found = of.iter().find(|(namespace, _)| Some(namespace) == root.as_ref());
            holders.extend(found.map(|(namespace, _)| Holder {
                namespace: namespace.clone(),
                pid: None,
                what: What::MountIn(inode, mount.point.clone()),
                sure: true,
            }));
        }
    }
    holders
}
