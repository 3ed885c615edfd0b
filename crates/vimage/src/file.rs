//! Files of ours: small, and replaced whole, but for those that a jail is shown.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
};

use crate::{Context as _, Result};

/// What a file says; `None`: there is none.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    read_with(path, <[u8]>::to_vec)
}

/// What `act` makes of what a file says; `None`: there is none.
///
/// As of [`std::fs::read`], with three system calls and not five: one that is read short is at its end. Who reads a
/// thousand allocates nothing for it.
///
/// # Errors
/// It cannot be read.
pub fn read_with<T>(path: &Path, act: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
    const MOST_ARE_SHORTER: usize = 4 << 10;
    let mut start = [0; MOST_ARE_SHORTER];
    let mut rest = Vec::new();
    let mut read = || {
        let mut file = File::open(path)?;
        let length = file.read(&mut start)?;
        if length == MOST_ARE_SHORTER {
            rest.extend_from_slice(&start);
            file.read_to_end(&mut rest)?;
        }
        Ok(length)
    };
    match read() {
        Err(e) if io::Error::kind(&e) == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing_with(|| format!("cannot read {}", path.display())),
        Ok(length) if rest.is_empty() => Ok(Some(act(&start[..length]))),
        Ok(_) => Ok(Some(act(&rest))),
    }
}

/// Writes a file, which says this or what it said before, whatever happens.
///
/// # Errors
/// It cannot be written.
pub fn replace(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    let new = path.with_extension("new");
    let done = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    if done.is_err() {
        let _takes_no_room = fs::remove_file(&new);
    }
    done.doing_with(|| format!("cannot write {}", path.display()))
}

/// As [`replace`], for everybody to read, whatever the umask says.
///
/// # Errors
/// It cannot be written.
pub fn publish(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    let new = path.with_extension("new");
    let write = || {
        fs::write(&new, text)?;
        fs::set_permissions(&new, Permissions::from_mode(0o644))?;
        fs::rename(&new, path)
    };
    let done = write();
    if done.is_err() {
        let _takes_no_room = fs::remove_file(&new);
    }
    done.doing_with(|| format!("cannot write {}", path.display()))
}

/// Writes a file that is mounted in a jail, or will be: in place, so that the mount follows, without a moment in which it
/// is empty, and for everybody to read, whatever the umask says, since the jail's root is others.
///
/// # Errors
/// It cannot be written.
pub fn show(path: &Path, text: &[u8]) -> Result<()> {
    let write = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        file.write_all_at(text, 0)?;
        file.set_len(text.len() as u64)?;
        file.set_permissions(Permissions::from_mode(0o644))
    };
    write().doing_with(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_or_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/1");
        show(&path, b"a=1\nlonger=text\n").unwrap();
        let held = File::open(&path).unwrap();
        show(&path, b"a=2\n").unwrap();
        assert_eq!(io::read_to_string(&held).unwrap(), "a=2\n");
        assert_eq!(held.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        replace(&path, "new").unwrap();
        assert_eq!(
            (read(&path).unwrap(), fs::read_dir(dir.path().join("below")).unwrap().count()),
            (Some(b"new".to_vec()), 1)
        );
        assert_eq!(held.metadata().unwrap().len(), 4);
    }

    #[test]
    fn a_file_is_read_whole_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path).unwrap(), None);
        for length in [0, 1, 4095, 4096, 4097, 70_000] {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            fs::write(&path, &text).unwrap();
            assert_eq!(read(&path).unwrap(), Some(text), "{length}");
        }
        assert!(read(dir.path()).unwrap_err().to_string().starts_with("cannot read /"));
    }
}
