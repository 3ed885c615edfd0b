//! What a user namespace lives by when nobody is in it: namespaces that it owns, and what was opened or mounted inside.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    os::fd::OwnedFd,
};

use bpf::OwnedFile;
use kernel::{
    namespace::{kind_of, owner},
    probe::{Feature, has},
};
use rustix::fs::{Mode, OFlags, fstat, open};

use crate::{
    census::mounted,
    holder::{Holder, Namespace, Open, What},
    process,
};

/// How deep user namespaces lie within each other, at most: user_namespaces(7).
const DEEPEST: usize = 33;

/// The links in /proc/PID/ns.
const LINKS: &[&str] =
    &["user", "mnt", "net", "ipc", "uts", "pid", "pid_for_children", "cgroup", "time", "time_for_children"];

/// The namespaces that some user namespaces own, or those below them, as far as a process has them or sees them mounted.
pub(super) fn owned(by: &HashSet<u64>) -> Vec<Namespace> {
    if by.is_empty() {
        return Vec::new();
    }
    let mut known: BTreeMap<Namespace, bool> = BTreeMap::new();
    let mut meet = |namespace: Namespace, file: &dyn Fn() -> Option<OwnedFd>| {
        known.entry(namespace).or_insert_with(|| file().is_some_and(|file| is_below(file, by)));
    };
    for pid in process::all() {
        for tid in process::tasks(pid) {
            for link in LINKS {
                let path = format!("/proc/{pid}/task/{tid}/ns/{link}");
                if let Some(namespace) = process::link(&path) {
                    meet(namespace, &|| opened(&path));
                }
            }
        }
        for tid in process::tables(pid) {
            for (fd, link) in process::open_in(pid, tid, |_, _| false) {
                if let Some(namespace) = process::namespace(pid, tid, fd, &link) {
                    meet(namespace, &|| opened(&format!("/proc/{pid}/task/{tid}/fd/{fd}")));
                }
            }
        }
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        for (namespace, at) in mounted(&mounts) {
            meet(namespace, &|| opened(&format!("/proc/{pid}/root{}", at.display())));
        }
    }
    known.into_iter().filter(|(_, owned)| *owned).map(|(namespace, _)| namespace).collect()
}

/// Opens what lies at a path, if that is a namespace.
fn opened(path: &str) -> Option<OwnedFd> {
    // First without opening the file itself, which may be any by now.
    let at = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&at));
    let file = process::is_nsfs(&own).then(|| File::open(own).ok())??;
    kind_of(&file).is_ok().then(|| file.into())
}

/// Whether a namespace is of one of some user namespaces, or of one below them.
fn is_below(namespace: OwnedFd, of: &HashSet<u64>) -> bool {
    let mut of_this = namespace;
    for _ in 0..DEEPEST {
        match owner(&of_this) {
            Ok(owner) if fstat(&owner).is_ok_and(|stat| of.contains(&stat.st_ino)) => return true,
            Ok(owner) => of_this = owner,
            // It is none of the caller's own or below: neither are they.
            Err(_) => return false,
        }
    }
    false
}

/// The files that keep some namespaces by who opened them, by who mounted their file system, and by the other end of a
/// connection. `None`: no program that could tell may be loaded.
pub(super) fn kept(of: &[&Namespace]) -> Option<Vec<Holder>> {
    if !has(Feature::BpfIterators) || !of.iter().any(|ns| ["net", "user"].contains(&ns.kind.as_str())) {
        return None;
    }
    let us = std::process::id();
    let files = bpf::owners().ok()?.into_iter().filter(|file| file.pid != us);
    Some(
        files.flat_map(|file| of.iter().filter_map(move |ns| keeps(&file, ns)).collect::<Vec<_>>()).collect(),
    )
}

fn keeps(file: &OwnedFile, namespace: &Namespace) -> Option<Holder> {
    let (pid, tid) = (i32::try_from(file.pid).ok()?, i32::try_from(file.tid).ok()?);
    let is = |inode: u32| u64::from(inode) == namespace.inode;
    let link = || fs::read_link(format!("/proc/{pid}/task/{tid}/fd/{}", file.fd)).unwrap_or_default();
    let open = match namespace.kind.as_str() {
        "user" if is(file.opener) => Open::Opened(link()),
        "user" if is(file.mounter) => Open::Mounted(link()),
        "user" if is(file.peer) => Open::Other("unix socket, connected from inside"),
        "net" if is(file.peer_stack) => Open::Other("unix socket, connected to one inside"),
        _ => return None,
    };
    let what = What::descriptor(pid, tid, file.fd, open);
    Some(Holder { namespace: namespace.clone(), pid: Some(pid), what, sure: true })
}
