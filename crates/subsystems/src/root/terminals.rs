//! A jail's terminals: a devpts of its own on /dev/pts, pts(4).

use std::os::fd::OwnedFd;

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    mount::{
        FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure,
        fsconfig_set_string, fsmount, fsopen, fspick,
    },
};
use vimage::{Context as _, Instance, Result};

use crate::{
    allow,
    user::{self, Ids},
};

/// What the mount is prepared and found under.
const PREPARED: &str = "mount:/dev/pts";

/// The group of terminals, in every Linux system's /etc/group.
const TTY: u32 = 5;

/// How many terminals there may be without a limit, NR_UNIX98_PTY_MAX of <linux/tty.h>.
pub(crate) const MOST: i64 = 1 << 20;

/// Makes the mount, with the jail's ids.
pub(super) fn make(ids: Option<Ids>) -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    options(&fs, ids)?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn options(fs: &OwnedFd, ids: Option<Ids>) -> rustix::io::Result<()> {
    fsconfig_set_string(fs, "mode", "620")?;
    fsconfig_set_string(fs, "ptmxmode", "666")?;
    // Ids in a mount's options are those of whoever makes it.
    let gid = ids.map_or(Some(TTY), |ids| (ids.count > TTY).then(|| ids.base + TTY));
    gid.map_or(Ok(()), |gid| fsconfig_set_string(fs, "gid", gid.to_string()))
}

/// Limits how many terminals a jail may have; `None`: only the machine's limit counts. What there is stays.
///
/// # Errors
/// The kernel refused.
pub(crate) fn limit(of: &Instance<'_>, most: Option<i64>) -> Result<()> {
    let Some(mount) = allow::prepared(of, PREPARED)? else { return Ok(()) };
    let change = || {
        let fs = fspick(&*mount, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?;
        // What is not said is as by default then.
        options(&fs, user::nearest_ids(of))?;
        fsconfig_set_string(&fs, "max", most.unwrap_or(MOST).to_string())?;
        fsconfig_reconfigure(&fs)
    };
    change().doing("cannot limit the terminals of /dev/pts")
}

/// Opens a new terminal of a jail whose devpts is at hand: the master's end.
///
/// # Errors
/// The kernel refused.
pub fn open_terminal(devpts: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let doing = "cannot open a terminal of the jail";
    // The jail's root may have mounted anything on it: a link of the host's devices, for one.
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(devpts, "ptmx", flags, Mode::empty(), inside).doing(doing)
}
