//! The census: who holds a namespace, as far as that shows by itself.
//!
//! A namespace lives while a thread is in it, a descriptor of it is open, or it is mounted somewhere:
//! namespaces(7). A network stack lives as long as a socket that was made in it, too, or a tun(4) interface.

use std::{collections::BTreeSet, fs, path::PathBuf};

use kernel::mount::unescape;

use crate::{
    descriptor::{self, Task},
    holder::{Holder, Namespace, Open, What},
    process,
    sockets::Sockets,
};

/// All holders of some namespaces that show by themselves. Processes that are not the caller's to look into, and
/// those that end meanwhile, are passed over; so is the caller. See [`hidden`](crate::hidden) for the others.
#[must_use]
pub fn take(wanted: &[Namespace]) -> Vec<Holder> {
    let mut holders = Vec::new();
    if wanted.is_empty() {
        return holders;
    }
    let mut kinds: Vec<&str> = wanted.iter().map(|ns| ns.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut sockets = Sockets::default();
    if kinds.contains(&"net") {
        sockets.look();
        holders.extend(sockets.holders(wanted));
    }
    let mut mounts_seen = BTreeSet::new();
    for pid in process::all() {
        let hold = |namespace: &Namespace, what| Holder {
            namespace: namespace.clone(),
            pid: Some(pid),
            what,
            sure: true,
        };
        let threads: Vec<_> = process::threads(pid).collect();
        for kind in &kinds {
            let own = process::link(&format!("/proc/{pid}/ns/{kind}")).filter(|ns| wanted.contains(ns));
            if let Some(own) = &own {
                // With threads left it has not ended, and only they can be killed.
                let ended = threads.is_empty() && process::is_zombie(pid);
                let what = if ended { What::Zombie } else { What::Process };
                holders.push(hold(own, what));
            }
            // A thread may have gone elsewhere, or have stayed when the first one ended.
            for tid in &threads {
                let found = process::link(&format!("/proc/{pid}/task/{tid}/ns/{kind}"));
                if let Some(found) = found.filter(|ns| wanted.contains(ns) && Some(ns) != own.as_ref()) {
                    holders.push(hold(&found, What::Thread(*tid)));
                }
            }
            // Of these two kinds it may have gone into another with its children alone.
            if ["pid", "time"].contains(kind) {
                let tasks = std::iter::once(&pid).chain(&threads);
                let links = tasks.map(|tid| format!("/proc/{pid}/task/{tid}/ns/{kind}_for_children"));
                let next = links.filter_map(|path| process::link(&path)).find(|ns| wanted.contains(ns));
                holders
                    .extend(next.filter(|ns| Some(ns) != own.as_ref()).map(|ns| hold(&ns, What::Children)));
            }
        }
        let (tid, open) = process::descriptors(pid, |tid, fd| sockets.knows(tid, fd));
        holders.extend(open_in(&Task::new(pid, tid), open, wanted, &mut sockets));
        // Once for each mount namespace; one of which we cannot tell is read each time.
        let seen = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        if seen.is_none_or(|mounts| mounts_seen.insert(mounts)) {
            let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let found = mounted(&text).into_iter().filter(|(ns, _)| wanted.contains(ns));
            holders.extend(found.map(|(ns, at)| hold(&ns, What::Mount(at))));
        }
    }
    holders.sort();
    holders.dedup();
    holders
}

/// Which of some namespaces a table of descriptors holds: those that are open, and the stacks of sockets and taps.
pub(crate) fn open_in(
    task: &Task,
    open: Vec<(u32, PathBuf)>,
    wanted: &[Namespace],
    sockets: &mut Sockets,
) -> Vec<Holder> {
    let mut holders = Vec::new();
    let mut hold = |namespace: &Namespace, fd, open| {
        let what = What::descriptor(task.pid, task.tid, fd, open);
        holders.push(Holder { namespace: namespace.clone(), pid: Some(task.pid), what, sure: true });
    };
    let stacks = wanted.iter().any(|ns| ns.kind == "net");
    for (fd, link) in open {
        if let Some(found) = process::namespace(task.pid, task.tid, fd, &link) {
            if wanted.contains(&found) {
                hold(&found, fd, Open::Namespace);
            }
        } else if stacks {
            let stack = sockets.stack_of(&link, || task.copy(fd));
            if let Some(found) = wanted.iter().find(|ns| ns.kind == "net" && Some(ns.inode) == stack) {
                let open = match task.copy(fd) {
                    Some(socket) if process::socket(&link).is_some() => descriptor::describe(socket),
                    _ => Open::Tap,
                };
                hold(found, fd, open);
            }
        }
    }
    holders
}

/// The namespaces that are mounted, and where: proc_pid_mountinfo(5).
pub(crate) fn mounted(mountinfo: &str) -> Vec<(Namespace, PathBuf)> {
    let lines = mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let namespace = kind.starts_with("nsfs ").then(|| Namespace::parse(root))??;
        Some((namespace, unescape(at).into()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_namespaces_are_found_among_mounts() {
        let text = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:4 net:[4026532500] /run/netns/my\\040net rw shared:9 - nsfs nsfs rw
31 22 0:4 mnt:[4026532501] /run/x rw - nsfs nsfs rw
";
        let found: Vec<_> =
            mounted(text).into_iter().map(|(ns, at)| format!("{ns} {}", at.display())).collect();
        assert_eq!(found, ["net:[4026532500] /run/netns/my net", "mnt:[4026532501] /run/x"]);
    }

    #[test]
    fn our_parent_holds_what_we_are_in_or_nobody_does() {
        let us = i32::try_from(std::process::id()).unwrap();
        let own = process::namespaces_of(us);
        assert!(own.iter().any(|ns| ns.kind == "net"));
        assert!(take(&own).iter().all(|holder| holder.pid != Some(us)));
    }
}
