//! Detached copies of the host's mounts.

use std::{fs::File, io::Read as _, os::fd::OwnedFd, path::Path};

use kernel::mount::unescape;
use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
        fsmount, fsopen, open_tree,
    },
};
use vimage::{Context as _, Result};

/// File systems that show the kernel's own state: none of them is part of a tree of files.
const KERNELS: &[&str] = &[
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// Places of the host's own tree that a jail has of its own.
pub(super) const OWN: &[&str] = &["/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp"];

/// A copy of the mount that a directory is on, from that directory, and of each real file system below it,
/// each by itself under its place. Where mounts below are locked (mount_namespaces(7)), as in a jail, a copy of all
/// together.
///
/// # Errors
/// open_tree(2): the path is gone, or not to be reached.
pub(super) fn clone(path: &Path) -> Result<Vec<(String, OwnedFd)>> {
    let one = open_tree(CWD, path, CLONE);
    if matches!(one, Err(Errno::INVAL)) {
        let all = open_tree(CWD, path, CLONE | OpenTreeFlags::AT_RECURSIVE);
        return Ok(vec![("/".to_owned(), all.doing_with(|| cannot_open(path))?)]);
    }
    let mut trees = vec![("/".to_owned(), one.doing_with(|| cannot_open(path))?)];
    // Made anew at each read of it, so in few and large ones.
    let mut text = String::with_capacity(16 << 10);
    let read = File::open("/proc/self/mountinfo").and_then(|mut file| file.read_to_string(&mut text));
    read.doing("cannot read /proc/self/mountinfo")?;
    for point in below(&text, path) {
        // One that is hidden under another, or gone since, is not part of the tree.
        let Ok(tree) = clone_one(&path.join(&point)) else { continue };
        trees.push((format!("/{point}"), tree));
    }
    Ok(trees)
}

/// A copy of the mount that a path is on, from that path, without what is mounted below.
///
/// # Errors
/// open_tree(2).
pub(super) fn clone_one(path: &Path) -> Result<OwnedFd> {
    open_tree(CWD, path, CLONE).doing_with(|| cannot_open(path))
}

fn cannot_open(path: &Path) -> String {
    format!("cannot open the tree {}", path.display())
}

/// A new tmpfs(5).
///
/// # Errors
/// The kernel refused.
pub(crate) fn tmpfs(mode: &str, size: Option<&str>) -> Result<OwnedFd> {
    let make = || {
        let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&fs, "mode", mode)?;
        if let Some(size) = size {
            fsconfig_set_string(&fs, "size", size)?;
        }
        fsconfig_create(&fs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().doing("cannot make a tmpfs")
}

/// The places below a directory, relative to it, at which real file systems are mounted, outermost first.
fn below(mountinfo: &str, path: &Path) -> Vec<String> {
    let mut points = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let kind = kind.split(' ').next().unwrap_or_default();
        let Some(point) = mount.split(' ').nth(4).map(unescape) else { continue };
        let Ok(rest) = Path::new(&point).strip_prefix(path) else { continue };
        let own = path == Path::new("/") && OWN.iter().any(|own| Path::new(&point).starts_with(own));
        if rest.as_os_str().is_empty() || own || KERNELS.contains(&kind) {
            continue;
        }
        points.push(rest.to_string_lossy().into_owned());
    }
    points.sort();
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_file_systems_below_are_found_and_the_kernels_own_are_not() {
        let text = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /dev rw - devtmpfs dev rw
24 22 0:6 / /proc rw - proc proc rw
25 22 8:2 / /srv/my\\040data rw shared:1 - ext4 /dev/sdb rw
26 22 8:3 / /srv/www/pages rw - xfs /dev/sdc rw
27 22 0:9 / /run rw - tmpfs tmpfs rw
28 22 0:9 / /tmp/x rw - ext4 /dev/sdd rw
";
        assert_eq!(below(text, Path::new("/")), ["srv/my data", "srv/www/pages"]);
        assert_eq!(below(text, Path::new("/srv/www")), ["pages"]);
        assert!(below(text, Path::new("/sr")).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*", field in "[\\\\0-9a-z]*") {
            below(&text, Path::new("/"));
            unescape(&field);
        }
    }
}
