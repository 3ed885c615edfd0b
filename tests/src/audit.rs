//! What a test may leave behind in its machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::mounts;

/// A stocktaking of the machine: a line for each link, mount, cgroup, process, SysV object and file of the product.
///
/// Namespaces show by what holds them: processes, and mounts of nsfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(crate) fn take() -> Self {
        let mut lines = BTreeSet::new();
        links(&mut lines);
        for mount in mounts() {
            lines.insert(format!(
                "mount {} {} ({} {})",
                mount.id,
                mount.point.display(),
                mount.kind,
                mount.root
            ));
        }
        if let Some(top) = mounts::cgroup2() {
            tree(&top, "cgroup", true, &mut lines);
        }
        processes(&mut lines);
        sysv(&mut lines);
        tree(Path::new(STORE), "file", false, &mut lines);
        lines.retain(|line| !is_bookkeeping(line));
        Self(lines)
    }

    /// Returns what came (`+`) and what went (`-`) since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        let came = self.0.difference(&before.0).map(|line| format!("+ {line}"));
        let went = before.0.difference(&self.0).map(|line| format!("- {line}"));
        came.chain(went).collect()
    }
}

/// The product's store.
pub(crate) const STORE: &str = "/run/jail";

/// Whether a line is of what a store keeps when it has no jails: its folders, the numbers that were given, what
/// happened, and the place at which a vault is mounted (the mount itself counts).
fn is_bookkeeping(line: &str) -> bool {
    let Some(path) = line.strip_prefix("file ").and_then(|path| path.strip_prefix(STORE)) else {
        return false;
    };
    let folders = [
        "jails",
        "names",
        "shared",
        "numbers",
        "pending",
        "rules",
        "ranges",
        "addresses",
        "files",
        "envs",
        "told",
        "vault",
    ];
    let files = ["ledger", "trace", "trace.old", "secret", "vault/ns", "rules/lock"];
    let path = path.trim_start_matches('/');
    folders.contains(&path) || files.contains(&path) || path.starts_with("numbers/")
}

/// Not from `/sys/class/net`, which shows the network stack that `/sys` was mounted in.
fn links(lines: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/self/net/dev").expect("the lab has a /proc");
    let names = table.lines().skip(2).filter_map(|line| line.split(':').next());
    lines.extend(names.map(|name| format!("link {}", name.trim())));
}

/// Adds everything below `dir`, or only its directories.
fn tree(dir: &Path, what: &str, only_dirs: bool, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir || !only_dirs {
            lines.insert(format!("{what} {}", entry.path().display()));
        }
        if is_dir {
            tree(&entry.path(), what, only_dirs, lines);
        }
    }
}

fn processes(lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/proc").expect("the lab has a /proc").flatten() {
        // `PID (NAME) STATE PARENT ...`, see proc(5). The name may have blanks and parentheses of its own.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((process, rest)) = stat.rsplit_once(") ") else { continue };
        let mut rest = rest.split(' ');
        match (rest.next(), rest.next()) {
            // A matter between the orphan and the lab's own pid 1.
            (Some("Z"), Some("1")) => {}
            (Some("Z"), _) => drop(lines.insert(format!("process {process}) (zombie)"))),
            _ => drop(lines.insert(format!("process {process})"))),
        }
    }
}

fn sysv(lines: &mut BTreeSet<String>) {
    for kind in ["msg", "sem", "shm"] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let ids = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1));
        lines.extend(ids.map(|id| format!("sysv {kind} {id}")));
    }
}
