//! The tool's own file, out of reach of a jail whose root is the host's.
//!
//! A command of a jail may be a link to /proc/self/exe, or a script whose interpreter is that. Until it has
//! called exec the new process is this program, so the jail then runs this program's file, and through its
//! /proc/PID/exe can write to it as far as it is the file's owner. A read-only mount of the file has no such way.

use std::{
    env,
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
};

use kernel::mount::{Attr, mount_setattr};
use rustix::{
    fs::{AtFlags, CWD, StatVfsMountFlags, fstatvfs},
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
};
use vimage::{Context as _, Result, Settings};

/// Whether a jail of these settings could write to this program's file.
pub(crate) fn is_needed(settings: &Settings) -> io::Result<bool> {
    let writes = settings.text("user") == Some("inherit");
    // With the host's own tree it can write to all programs.
    if !writes || settings.text("path").is_none_or(|path| path == "/") {
        return Ok(false);
    }
    let exe = File::open("/proc/self/exe")?;
    Ok(!fstatvfs(&exe)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Starts this program anew from a read-only mount of its file, where the jail of these settings could write
/// to it otherwise. Before anything is made: nothing but arguments and environment stays.
///
/// # Errors
/// It cannot be done; the jail's root could change this program.
pub(crate) fn seal(settings: &Settings) -> Result<()> {
    let doing = "cannot protect this program from the jail";
    if !is_needed(settings).doing(doing)? {
        return Ok(());
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, "/proc/self/exe", flags).doing(doing)?;
    let attr = Attr { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Attr::default() };
    mount_setattr(&mount, c"", AtFlags::EMPTY_PATH, &attr).doing(doing)?;
    let mut words = env::args_os();
    let mut again = Command::new(format!("/proc/self/fd/{}", mount.as_raw_fd()));
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    Err(again.args(words).exec()).doing(doing)
}
