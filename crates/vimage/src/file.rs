//! Files of ours: small, and replaced whole.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use crate::{Context as _, Result};

/// What a file says; `None`: there is none.
///
/// As [`std::fs::read`], with three system calls and not five: one that is read short is at its end.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    const MOST_ARE_SHORTER: usize = 4 << 10;
    let read = || {
        let mut file = File::open(path)?;
        let mut text = vec![0; MOST_ARE_SHORTER];
        let length = file.read(&mut text)?;
        text.truncate(length);
        if length == MOST_ARE_SHORTER {
            file.read_to_end(&mut text)?;
        }
        Ok(text)
    };
    match read() {
        Err(e) if io::Error::kind(&e) == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).doing_with(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read(&path).unwrap(), None);
        for length in [0, 1, 4095, 4096, 4097, 70_000] {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read(&path).unwrap(), Some(text), "{length}");
        }
        assert!(read(dir.path()).unwrap_err().to_string().starts_with("cannot read /"));
    }
}
