//! A jail's /dev: a tmpfs with the devices and links that its rule set shows, and terminals of its own.
//!
//! It belongs to the host's user namespace, and nobody in the jail can make a device in it, or remount it; its files
//! have the jail's ids, so that the jail's root has the directory. A device of the host is a node of the same number.

use std::os::fd::{AsFd as _, OwnedFd};

use conf::devfs::Class;
use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, makedev, mkdirat, mknodat, openat,
        openat2, symlinkat,
    },
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    },
    path::Arg,
    process::umask,
};
use vimage::{Context as _, Error, Result};

use super::{
    devfs::{Node, PARAM, What},
    terminals, tree,
};
use crate::user::Ids;

mod live;
pub(super) use live::{change, of, show, system};

/// The piece that says which file system is the jail's /dev: a process may have mounted another one on it.
pub(super) const SYSTEM: &str = "dev";

/// What a jail has of its own, if its rule set shows it: devices by Documentation/admin-guide/devices.txt of the
/// kernel, whatever the host has under their names, and links.
pub(super) const OWN: &[(&str, What, Option<Class>)] = &[
    ("null", What::Device((1, 3)), None),
    ("zero", What::Device((1, 5)), None),
    ("full", What::Device((1, 7)), None),
    ("random", What::Device((1, 8)), None),
    ("urandom", What::Device((1, 9)), None),
    ("tty", What::Device((5, 0)), Some(Class::Tty)),
    ("ptmx", What::Link("pts/ptmx"), None),
    ("fd", What::Link("/proc/self/fd"), None),
    ("stdin", What::Link("fd/0"), None),
    ("stdout", What::Link("fd/1"), None),
    ("stderr", What::Link("fd/2"), None),
];
/// File systems of the jail's own, which other parameters are about: their mount points are there always.
const POINTS: [&str; 3] = ["pts", "shm", "mqueue"];

/// Whether a path below /dev is one that a jail has of its own.
pub(super) fn is_own(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    POINTS.contains(&first) || OWN.iter().any(|(own, ..)| *own == first)
}

/// Makes the mounts of /dev, with the jail's ids.
///
/// # Errors
/// The kernel refused.
pub(super) fn make(ids: Option<Ids>, nodes: &[Node]) -> Result<Vec<(String, OwnedFd)>> {
    // The umask has no say in what the nodes are.
    let _free = Umask::none();
    let dev = devices(ids).doing("cannot make /dev")?;
    let mut mounts = Vec::new();
    for node in nodes {
        let doing = || format!("cannot make /dev/{}", node.path);
        match place(&dev, node, ids) {
            // In a user namespace nodes cannot be made, but those that are there can be mounted.
            Err(Errno::PERM) => {
                if node.is_said {
                    let what = format!("{PARAM}: /dev/{} cannot have a mode or owner of its own", node.path);
                    return Err(Error::unsupported(what).hint("in a user namespace it is the host's"));
                }
                let (dir, name) = above(&dev, &node.path, ids).doing_with(doing)?;
                let dir = dir.as_ref().unwrap_or(&dev);
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(dir, name, flags, Mode::from_raw_mode(0o666)).map(drop).doing_with(doing)?;
                let path = format!("/dev/{}", node.path);
                mounts.push((path.clone(), tree::clone_one(path.as_ref())?));
            }
            other => other.doing_with(doing)?,
        }
    }
    mounts.push(("/dev".to_owned(), dev));
    mounts.push(("/dev/pts".to_owned(), terminals::make(ids).doing("cannot make /dev/pts")?));
    Ok(mounts)
}

fn devices(ids: Option<Ids>) -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "mode", "755")?;
    fsconfig_set_string(&fs, "size", "64k")?;
    // Whoever looks for devices in it comes to an end.
    fsconfig_set_string(&fs, "nr_inodes", "4k")?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    own(&dev, "", ids, (0, 0))?;
    for dir in POINTS {
        mkdirat(&dev, dir, Mode::from_raw_mode(0o755))?;
        own(&dev, dir, ids, (0, 0))?;
    }
    Ok(dev)
}

/// Makes one node. Nothing that the jail has put in the way is followed.
fn place(dev: &OwnedFd, node: &Node, ids: Option<Ids>) -> rustix::io::Result<()> {
    let (dir, name) = above(dev, &node.path, ids)?;
    let dir = dir.as_ref().unwrap_or(dev);
    match node.what {
        What::Link(target) => symlinkat(target, dir, name)?,
        What::Device(number) => {
            let number = makedev(number.0, number.1);
            mknodat(dir, name, FileType::CharacterDevice, Mode::from_raw_mode(node.mode), number)?;
        }
    }
    own(dir, name, ids, (node.uid, node.gid))
}

/// The directory below /dev that a node is in, if it is in one, which is made if it is not there; and the node's name.
fn above<'p>(
    dev: &OwnedFd,
    path: &'p str,
    ids: Option<Ids>,
) -> rustix::io::Result<(Option<OwnedFd>, &'p str)> {
    let (mut above, mut rest) = (None, path);
    while let Some((first, behind)) = rest.split_once('/') {
        let dir = above.as_ref().unwrap_or(dev);
        match mkdirat(dir, first, Mode::from_raw_mode(0o755)) {
            Ok(()) => own(dir, first, ids, (0, 0))?,
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        (above, rest) = (Some(inside(dir, first)?), behind);
    }
    Ok((above, rest))
}

/// A directory in another, without a way out of it.
fn inside(dir: &OwnedFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(dir.as_fd(), name, flags, Mode::empty(), within)
}

/// Gives a file to a user and a group of the jail's.
fn own(dir: &OwnedFd, name: &str, ids: Option<Ids>, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(outside(ids, uid)), Gid::from_raw(outside(ids, gid)));
    if uid.is_root() && gid.is_root() {
        return Ok(());
    }
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    chownat(dir, name, Some(uid), Some(gid), flags)
}

/// What an id in the jail is outside. One that the jail does not have is nobody in it.
fn outside(ids: Option<Ids>, id: u32) -> u32 {
    ids.filter(|ids| id < ids.count).map_or(id, |ids| ids.base + id)
}

/// Our umask, put aside.
struct Umask(Mode);

impl Umask {
    fn none() -> Self {
        Self(umask(Mode::empty()))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}
