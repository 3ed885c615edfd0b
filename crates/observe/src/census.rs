//! The census: who holds a namespace, as far as the proc file system of the caller shows it.
//!
//! A namespace lives while a thread is in it, a descriptor of it is open, or it is mounted somewhere:
//! namespaces(7). What holds one without showing here are sockets made in it, and descriptors in flight.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A namespace: its kind, as in `/proc/PID/ns`, and its inode number. All namespaces are of one file system,
/// whose device number is the same for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    /// `net`, `mnt`, …
    pub kind: String,
    /// The inode number.
    pub inode: u64,
}

/// Who holds a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Which.
    pub namespace: Namespace,
    /// The process.
    pub pid: i32,
    /// How.
    pub what: What,
}

/// How something is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The process is in it.
    Process,
    /// The process has ended, and its parent has not collected it: it keeps its user and pid namespaces.
    Zombie,
    /// A thread of the process is in it, and not its first one, which is elsewhere or has ended.
    Thread(i32),
    /// The process has it open.
    Descriptor(u32),
    /// It is mounted there, as the process sees it.
    Mount(PathBuf),
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process => f.write_str("process"),
            Self::Zombie => f.write_str("zombie"),
            Self::Thread(tid) => write!(f, "thread {tid}"),
            Self::Descriptor(fd) => write!(f, "fd {fd}"),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
        }
    }
}

impl Namespace {
    /// Of the text of a link in `/proc/PID/ns`: `net:[4026531840]`.
    #[must_use]
    pub fn parse(link: &str) -> Option<Self> {
        let (kind, rest) = link.split_once(":[")?;
        let inode = rest.strip_suffix(']')?.parse().ok()?;
        Some(Self { kind: kind.to_owned(), inode })
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:[{}]", self.kind, self.inode)
    }
}

/// The name of a process; empty if it is gone.
#[must_use]
pub fn comm(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A program that was executed from memory (memfd_create(2)), as a jail's init: its name is behind.
    let name = text.trim_end();
    name.strip_prefix("memfd:").unwrap_or(name).to_owned()
}

/// The namespaces that a process is in.
#[must_use]
pub fn namespaces_of(pid: i32) -> Vec<Namespace> {
    let links = ["user", "mnt", "net", "ipc", "uts", "pid", "cgroup"];
    links.into_iter().filter_map(|kind| link(&format!("/proc/{pid}/ns/{kind}"))).collect()
}

/// All holders of some namespaces that can be seen. Processes that are not the caller's to look into, and
/// those that end meanwhile, are passed over; so is the caller.
#[must_use]
pub fn take(wanted: &[Namespace]) -> Vec<Holder> {
    let mut holders = Vec::new();
    let mut kinds: Vec<&str> = wanted.iter().map(|ns| ns.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let us = i32::try_from(std::process::id()).unwrap_or(0);
    let mut mounts_seen = BTreeSet::new();
    for pid in numbers("/proc").filter(|pid| *pid != us) {
        let hold = |namespace: Namespace, what| Holder { namespace, pid, what };
        for kind in &kinds {
            let own = link(&format!("/proc/{pid}/ns/{kind}")).filter(|ns| wanted.contains(ns));
            if let Some(own) = &own {
                let what = if is_zombie(pid) { What::Zombie } else { What::Process };
                holders.push(hold(own.clone(), what));
            }
            // A thread may have gone elsewhere, or have stayed when the first one ended.
            for tid in numbers(&format!("/proc/{pid}/task")).filter(|tid| *tid != pid) {
                let found = link(&format!("/proc/{pid}/task/{tid}/ns/{kind}"));
                if let Some(found) = found.filter(|ns| wanted.contains(ns) && Some(ns) != own.as_ref()) {
                    holders.push(hold(found, What::Thread(tid)));
                }
            }
        }
        for fd in numbers(&format!("/proc/{pid}/fd")) {
            let Some(found) = link(&format!("/proc/{pid}/fd/{fd}")).filter(|ns| wanted.contains(ns)) else {
                continue;
            };
            holders.push(hold(found, What::Descriptor(fd.unsigned_abs())));
        }
        // Once for each mount namespace; one of which we cannot tell is read each time.
        let seen = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        if seen.is_none_or(|mounts| mounts_seen.insert(mounts)) {
            let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let found = mounted(&text).into_iter().filter(|(ns, _)| wanted.contains(ns));
            holders.extend(found.map(|(ns, at)| hold(ns, What::Mount(at))));
        }
    }
    holders.sort();
    holders.dedup();
    holders
}

/// Whether a process has ended and is not collected: proc_pid_stat(5).
fn is_zombie(pid: i32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may have anything in it, parentheses included.
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn link(path: &str) -> Option<Namespace> {
    Namespace::parse(fs::read_link(path).ok()?.to_str()?)
}

/// The entries of a directory of proc that are numbers.
fn numbers(dir: &str) -> impl Iterator<Item = i32> + use<> {
    fs::read_dir(Path::new(dir))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// The namespaces that are mounted, and where: proc_pid_mountinfo(5).
fn mounted(mountinfo: &str) -> Vec<(Namespace, PathBuf)> {
    let lines = mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let namespace = kind.starts_with("nsfs ").then(|| Namespace::parse(root))??;
        Some((namespace, at.replace("\\040", " ").into()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_namespace_and_other_links_do_not() {
        let net = Namespace { kind: "net".into(), inode: 4_026_531_840 };
        assert_eq!(Namespace::parse("net:[4026531840]"), Some(net.clone()));
        assert_eq!(net.to_string(), "net:[4026531840]");
        for other in ["/dev/null", "socket:[12", "pipe", "anon_inode:[eventfd]"] {
            assert_eq!(Namespace::parse(other), None, "{other}");
        }
    }

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
        let own = namespaces_of(i32::try_from(std::process::id()).unwrap());
        assert!(own.iter().any(|ns| ns.kind == "net"));
        let us = i32::try_from(std::process::id()).unwrap();
        assert!(take(&own).iter().all(|holder| holder.pid != us));
    }
}
