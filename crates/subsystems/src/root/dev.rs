//! A jail's /dev: the nodes that cannot harm the host, and terminals of its own.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    },
};
use vimage::{Context as _, Result};

use super::tree;
use crate::user::Ids;

/// Character devices: name, major, minor. Documentation/admin-guide/devices.txt of the kernel.
const NODES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "fd/0"),
    ("stdout", "fd/1"),
    ("stderr", "fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// The group of terminals, in every Linux system's /etc/group.
const TTY: u32 = 5;

/// Makes the mounts of /dev, with the jail's ids.
///
/// # Errors
/// The kernel refused.
pub(super) fn make(ids: Option<Ids>) -> Result<Vec<(String, OwnedFd)>> {
    let dev = devices().doing("cannot make /dev")?;
    let mut mounts = Vec::new();
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        match mknodat(&dev, *name, FileType::CharacterDevice, mode, makedev(*major, *minor)) {
            // In a user namespace nodes cannot be made, but those that are there can be mounted.
            Err(Errno::PERM) => {
                let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
                openat(&dev, *name, flags, mode)
                    .map(drop)
                    .doing_with(|| format!("cannot make /dev/{name}"))?;
                let path = format!("/dev/{name}");
                mounts.push((path.clone(), tree::clone_one(path.as_ref())?));
            }
            Err(e) => return Err(e).doing_with(|| format!("cannot make /dev/{name}")),
            // The umask has no say in what the nodes are.
            Ok(()) => rustix::fs::chmodat(&dev, *name, mode, rustix::fs::AtFlags::empty())
                .doing_with(|| format!("cannot make /dev/{name}"))?,
        }
    }
    mounts.push(("/dev".to_owned(), dev));
    // Ids in a mount's options are those of whoever makes it.
    let gid = ids.filter(|i| i.count > TTY).map_or(TTY, |i| i.base + TTY);
    let own = ids.is_none_or(|i| i.count > TTY);
    mounts.push(("/dev/pts".to_owned(), terminals(own.then_some(gid)).doing("cannot make /dev/pts")?));
    Ok(mounts)
}

fn devices() -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "mode", "755")?;
    fsconfig_set_string(&fs, "size", "64k")?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    for dir in ["pts", "shm", "mqueue"] {
        mkdirat(&dev, dir, Mode::from_raw_mode(0o755))?;
    }
    for (name, target) in LINKS {
        symlinkat(*target, &dev, *name)?;
    }
    Ok(dev)
}

fn terminals(gid: Option<u32>) -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "mode", "620")?;
    fsconfig_set_string(&fs, "ptmxmode", "666")?;
    if let Some(gid) = gid {
        fsconfig_set_string(&fs, "gid", gid.to_string())?;
    }
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Opens a new terminal of a jail whose devpts is at hand: the master's end.
///
/// # Errors
/// The kernel refused.
pub fn open_terminal(devpts: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(devpts, "ptmx", flags, Mode::empty()).doing("cannot open a terminal of the jail")
}
