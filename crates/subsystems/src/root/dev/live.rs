//! The /dev of a living jail: what is in it, and its change.
//!
//! The jail's root has the directory, and may have renamed or linked what is in it: devices are looked for wherever
//! they are.

use std::{
    ffi::{CStr, CString},
    os::fd::OwnedFd,
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Stat, fstat, major, minor, readlinkat, statat, unlinkat},
    io::Errno,
};
use vimage::{Context as _, Error, ErrorKind, Instance, Node as Shown, Result};

use super::{OWN, SYSTEM, Umask, inside, outside, place};
use crate::{
    allow,
    root::devfs::{Node, What},
    user::Ids,
};

/// How often a jail may have moved a device while it was looked for.
const TRIES: u32 = 8;

/// The number by which a file system is known.
///
/// # Errors
/// The kernel refused.
pub(in crate::root) fn system(dev: &OwnedFd) -> Result<String> {
    let device = fstat(dev).doing("cannot read /dev")?.st_dev;
    Ok(format!("{}:{}", major(device), minor(device)))
}

/// The /dev of a living jail; `None`: it has none any more.
///
/// # Errors
/// It cannot be opened: a process that may make user namespaces has something else mounted there in its own.
pub(in crate::root) fn of(of: &Instance<'_>) -> Result<Option<Rc<OwnedFd>>> {
    let Some(dev) = allow::prepared(of, "mount:/dev")? else { return Ok(None) };
    let found = system(&dev)?;
    if of.pieces_of("root", SYSTEM).any(|piece| piece.key == found) {
        return Ok(Some(dev));
    }
    of.fds.remove("mount:/dev");
    Err(Error::new(ErrorKind::Busy, "another file system is mounted on the jail's /dev"))
}

/// Makes what is in a /dev what it is to be: devices that are not of these go, wherever they are, and what is missing
/// is made. Whoever has one open keeps it.
///
/// # Errors
/// The kernel refused, or the jail has something else in the place of a device.
pub(in crate::root) fn change(dev: &OwnedFd, ids: Option<Ids>, nodes: &[Node]) -> Result<()> {
    let is_one = |found: &Found| nodes.iter().any(|node| found.is(node, ids));
    for _ in 0..TRIES {
        let others: Vec<_> = find(dev)?.into_iter().filter(|found| !is_one(found)).collect();
        if others.is_empty() {
            return fill(dev, ids, nodes);
        }
        for found in others {
            match unlinkat(&found.dir, &found.name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e).doing_with(|| format!("cannot remove {:?} from /dev", found.path)),
            }
        }
    }
    Err(Error::new(ErrorKind::Busy, "the jail moves its devices while they are looked for"))
}

/// Makes what is missing.
fn fill(dev: &OwnedFd, ids: Option<Ids>, nodes: &[Node]) -> Result<()> {
    let _free = Umask::none();
    let found = find(dev)?;
    for node in nodes.iter().filter(|node| !found.iter().any(|found| found.is(node, ids))) {
        match (place(dev, node, ids), node.what) {
            // It has a link of its own there.
            (Err(Errno::EXIST), What::Link(_)) => {}
            (made, _) => made.doing_with(|| format!("cannot make /dev/{}", node.path))?,
        }
    }
    Ok(())
}

/// The devices in a /dev, with their owners as the jail numbers them.
///
/// # Errors
/// It cannot be read.
pub(in crate::root) fn show(dev: &OwnedFd, ids: Option<Ids>) -> Result<Shown> {
    let mut table = Shown::table(&["device", "number", "mode", "user", "group"]);
    let mut all = find(dev)?;
    all.sort_by(|a, b| a.path.cmp(&b.path));
    for found in all.into_iter().filter(|found| found.target.is_none()) {
        let stat = &found.stat;
        let inside = |id: u32| match ids {
            Some(ids) if (ids.base..ids.base.saturating_add(ids.count)).contains(&id) => id - ids.base,
            _ => id,
        };
        table.row(vec![
            found.path.as_str().into(),
            format!("{}:{}", major(stat.st_rdev), minor(stat.st_rdev)).into(),
            format!("{:04o}", stat.st_mode & 0o7777).into(),
            inside(stat.st_uid).into(),
            inside(stat.st_gid).into(),
        ]);
    }
    Ok(table)
}

/// A device, or a link of ours.
struct Found {
    dir: Rc<OwnedFd>,
    name: CString,
    /// From /dev.
    path: String,
    stat: Stat,
    /// What a link of ours leads to.
    target: Option<&'static str>,
}

impl Found {
    fn is(&self, node: &Node, ids: Option<Ids>) -> bool {
        let owner = (outside(ids, node.uid), outside(ids, node.gid));
        let is_it = match (node.what, self.target) {
            (What::Link(target), found) => found == Some(target),
            (What::Device(number), None) => {
                number == (major(self.stat.st_rdev), minor(self.stat.st_rdev))
                    && node.mode == self.stat.st_mode & 0o7777
                    && owner == (self.stat.st_uid, self.stat.st_gid)
            }
            _ => false,
        };
        is_it && self.path == node.path
    }
}

/// All devices in a /dev, and those of our links that the jail has not replaced.
fn find(dev: &OwnedFd) -> Result<Vec<Found>> {
    let (mut found, mut dirs) = (Vec::new(), vec![Vec::new()]);
    while let Some(path) = dirs.pop() {
        let shown = |name: &[u8]| String::from_utf8_lossy(&[&path, name].concat()).into_owned();
        let doing = || format!("cannot read {:?} in /dev", shown(b""));
        let dir = match if path.is_empty() { inside(dev, c".") } else { inside(dev, &*path) } {
            Ok(dir) => Rc::new(dir),
            // It went while we looked.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            other => Rc::new(other.doing_with(doing)?),
        };
        for entry in Dir::read_from(&dir).doing_with(doing)? {
            let name = entry.doing_with(doing)?.file_name().to_owned();
            let Ok(stat) = statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let target = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if !matches!(name.to_bytes(), b"." | b"..") => {
                    dirs.push([&path, name.to_bytes(), b"/"].concat());
                    continue;
                }
                FileType::CharacterDevice | FileType::BlockDevice => None,
                FileType::Symlink if path.is_empty() => match ours(&dir, &name) {
                    Some(target) => Some(target),
                    None => continue,
                },
                _ => continue,
            };
            found.push(Found { dir: dir.clone(), path: shown(name.to_bytes()), name, stat, target });
        }
    }
    Ok(found)
}

/// What a link leads to, if it is one of ours.
fn ours(dir: &OwnedFd, name: &CStr) -> Option<&'static str> {
    let target = readlinkat(dir, name, Vec::new()).ok()?;
    OWN.iter().find_map(|(own, what, _)| match what {
        What::Link(to) if own.as_bytes() == name.to_bytes() && to.as_bytes() == target.to_bytes() => {
            Some(*to)
        }
        _ => None,
    })
}
