//! Small files of the jail's own, mounted over those of its tree: /etc/machine-id and /etc/hostid; and a
//! resolv.conf(5) for a tree that has none.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use kernel::mount::{Attr, mount_setattr};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, openat2, statat, unlinkat},
    io::Errno,
    mount::MountAttrFlags,
};
use serde_json::json;
use vimage::{Ask, Context as _, Doomed, Error, House, Piece, Result, Settings, Site, file};

use super::tree;
use crate::host;

/// The piece of a file that the store keeps for the jail.
pub(super) const FILE: &str = "file";
/// The piece of an empty file in the jail's tree, made to mount on.
pub(super) const POINT: &str = "mountpoint";
/// What these are for the kernel.
pub(super) const OBJECTS: &[(&str, &str)] =
    &[(FILE, "file"), (POINT, "file in the jail's tree"), (super::dev::SYSTEM, "tmpfs (its /dev)")];

const RESOLV: &str = "etc/resolv.conf";

/// Refuses a host id that no program of the jail would read.
///
/// # Errors
/// The tree has no file to mount it on.
pub(super) fn check(ask: &Ask<'_>) -> Result<()> {
    let root = ask.settings.text("path").unwrap_or("/");
    for (param, name) in [("host.hostid", "etc/hostid"), ("host.hostuuid", "etc/machine-id")] {
        if ask.given.get(param).is_some_and(|value| !host::is_none(value))
            && !Path::new(root).join(name).is_file()
        {
            return Err(Error::usage(format!("{param}: {root} has no file {name} to show it in"))
                .hint(format!("touch {}", Path::new(root).join(name).display())));
        }
    }
    Ok(())
}

/// Makes the files, and returns what is to be mounted where.
///
/// # Errors
/// A file cannot be made.
pub(super) fn prepare(site: &mut Site<'_>) -> Result<Vec<(String, OwnedFd)>> {
    let mut mounts = Vec::new();
    let root = PathBuf::from(site.settings.text("path").unwrap_or("/"));
    if site.settings.is_new("host") {
        let files = contents(site.settings, site.name, site.house)?;
        for (name, content) in files.into_iter().filter(|(name, _)| root.join(name).is_file()) {
            let dir = site.house.shelf().with_file_name("files");
            let path = dir.join(format!("{}.{}", site.jid, name.replace('/', ".")));
            site.make(Piece::new(FILE, path.to_string_lossy()), || file::show(&path, &content))?;
            mounts.push((format!("/{name}"), readable(&path)?));
        }
    }
    mounts.extend(resolver(site, &root)?);
    Ok(mounts)
}

fn contents(settings: &Settings, name: &str, house: &dyn House) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut files = vec![("etc/machine-id", (host::machine_id(settings, name, house)? + "\n").into_bytes())];
    files.extend(host::hostid(settings).map(|id| ("etc/hostid", id.to_ne_bytes().to_vec())));
    Ok(files)
}

/// The host's resolv.conf, for a tree of the jail's own that has an /etc without one.
fn resolver(site: &mut Site<'_>, root: &Path) -> Result<Option<(String, OwnedFd)>> {
    let path = root.join(RESOLV);
    if root == Path::new("/") || path.symlink_metadata().is_ok() || !root.join("etc").is_dir() {
        return Ok(None);
    }
    // Last: a mount that is made and dropped again costs some ms (an RCU grace period).
    let Ok(tree) = readable(&Path::new("/").join(RESOLV)) else { return Ok(None) };
    let piece = Piece::new(POINT, path.to_string_lossy()).with(json!({ "root": root, "name": RESOLV }));
    let dir = fs::File::open(root).doing_with(|| format!("path {}", root.display()))?;
    let made = site.make(piece, || {
        // Nothing in the tree leads out of it: a link there is followed inside.
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat2(&dir, RESOLV, flags, Mode::from_raw_mode(0o644), ResolveFlags::IN_ROOT) {
            Ok(_) => Ok(true),
            // A tree that cannot be written has none, then.
            Err(Errno::ROFS) => Ok(false),
            Err(e) => Err(e).doing_with(|| format!("cannot make {}", path.display())),
        }
    })?;
    Ok(made.then(|| (format!("/{RESOLV}"), tree)))
}

/// A mount of a file of the host's, which root of a jail only reads: it may be his by a mapping of ids.
fn readable(path: &Path) -> Result<OwnedFd> {
    let file = tree::clone_one(path)?;
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let attr = Attr { set, ..Attr::default() };
    mount_setattr(&file, c"", AtFlags::EMPTY_PATH, &attr)
        .doing_with(|| format!("cannot prepare {}", path.display()))?;
    Ok(file)
}

/// Removes a file that [`prepare`] made.
pub(super) fn undo(doomed: &Doomed<'_>) -> Result<()> {
    let piece = doomed.piece;
    let done = match (piece.kind.as_str(), piece.text("root"), piece.text("name")) {
        (POINT, Some(root), Some(name)) => match take_away(root, Path::new(name)) {
            // The jail has something else in its place.
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            other => other.map_err(io::Error::from),
        },
        _ => fs::remove_file(&piece.key),
    };
    match done {
        Err(e) if ![io::ErrorKind::NotFound, io::ErrorKind::ReadOnlyFilesystem].contains(&e.kind()) => {
            Err(e).doing_with(|| format!("cannot remove {}", piece.key))
        }
        _ => Ok(()),
    }
}

/// Removes a file in a jail's tree, if it is still empty. As it was made: a link that the jail put in its way is
/// followed inside, and leads to no file of the host's.
fn take_away(root: &str, name: &Path) -> rustix::io::Result<()> {
    let dir = openat2(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty())?;
    let (above, name) = (name.parent().unwrap_or(name), name.file_name().unwrap_or_default());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = openat2(&dir, above, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let there = statat(&above, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if there.st_size > 0 || FileType::from_raw_mode(there.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    unlinkat(&above, name, AtFlags::empty())
}

/// Files that the store keeps for jails that have no record.
///
/// # Errors
/// The store cannot be read.
pub(super) fn strays(known: &vimage::Known, house: &dyn House) -> Vec<Piece> {
    let dir = house.shelf().with_file_name("files");
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let keys = paths.map(|p| p.to_string_lossy().into_owned());
    keys.filter(|key| !known.has("root", FILE, key)).map(|key| Piece::new(FILE, key)).collect()
}
