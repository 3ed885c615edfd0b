//! What of the store a jail is shown: files and directories of ours that are mounted in it, for it to read.

use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

use kernel::{
    mount::{Attr, mount_setattr},
    step::Step,
};
use rustix::{
    fs::{AtFlags, CWD},
    mount::{MountAttrFlags, MountPropagationFlags, OpenTreeFlags, open_tree},
};
use vimage::{Context as _, House, Result};

/// The directories from a jail's root to the place of what it is shown.
const WAY: [&str; 2] = ["run", "jail"];

/// Where a jail has what it is shown, and the records of its own jails.
pub(crate) const PLACE: &str = "/run/jail";

/// A folder of the store.
pub(crate) fn folder(house: &dyn House, name: &str) -> PathBuf {
    house.shelf().with_file_name(name)
}

/// Removes a file or a folder of the store; one that is gone is success.
///
/// # Errors
/// The file system refuses.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = fs::remove_file(path).or_else(|error| match error.kind() {
        io::ErrorKind::IsADirectory => fs::remove_dir_all(path),
        _ => Err(error),
    });
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).doing_with(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The steps that mount a file or folder in the jail, by name. What the links of its tree lead to does not matter,
/// since none is followed.
///
/// # Errors
/// It is not there.
pub(crate) fn attach(path: &Path, name: &str) -> Result<Vec<Step>> {
    let doing = || format!("{name}: cannot mount {}", path.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags).doing_with(doing)?;
    // What the jail mounts over it is not mounted on the host.
    let attr = Attr {
        set: MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        propagation: MountPropagationFlags::PRIVATE,
        ..Attr::default()
    };
    mount_setattr(&tree, c"", AtFlags::EMPTY_PATH, &attr).doing_with(doing)?;
    let at = CString::new(name).doing(name.to_owned())?;
    let mut steps = vec![Step::Chdir(c"/".into())];
    for dir in WAY {
        steps.push(Step::Descend(CString::new(dir).doing(name.to_owned())?));
    }
    steps.push(if path.is_dir() { Step::Mkdir(at.clone()) } else { Step::Touch(at.clone()) });
    steps.extend([Step::Attach(Rc::new(tree), at), Step::Chdir(c"/".into())]);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_below_the_directories() {
        assert_eq!(PLACE, format!("/{}", WAY.join("/")));
    }
}
