//! A house in a folder: anchors are paths, what is held are hard links.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use vimage::{Anchor, Context as _, House, Result};

#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    shelf: PathBuf,
}

impl Folder {
    pub fn at(root: &Path) -> Self {
        for dir in ["shared", "held", "numbers", "jails", "counters", "gauges", "tallies"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        Self { root: root.to_owned(), shelf: root.join("shared") }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn path_of(object: BorrowedFd<'_>) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))
}

impl House for Folder {
    fn open(&self, anchor: &Anchor) -> Result<Option<OwnedFd>> {
        match File::open(anchor.object()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(other.doing("cannot open it")?.into())),
        }
    }

    fn anchor(&self, kind: &str, object: BorrowedFd<'_>) -> Result<Anchor> {
        Ok(Anchor(format!("{kind}:{}", path_of(object).doing("cannot name it")?.display())))
    }

    fn hold(&self, owner: &str, name: &str, object: BorrowedFd<'_>) -> Result<()> {
        let dir = self.root.join("held").join(owner);
        fs::create_dir_all(&dir).doing("cannot hold it")?;
        fs::hard_link(path_of(object).doing("cannot hold it")?, dir.join(name)).doing("cannot hold it")
    }

    fn release(&self, owner: &str) -> Result<()> {
        match fs::remove_dir_all(self.root.join("held").join(owner)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).doing("cannot release it"),
            _ => Ok(()),
        }
    }

    fn held(&self) -> Result<Vec<String>> {
        let entries = fs::read_dir(self.root.join("held")).doing("cannot read what is held")?;
        Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
    }

    fn living(&self, _: &str, _: &str) -> Result<Option<Anchor>> {
        Ok(None)
    }

    fn number(&self, series: &str) -> Result<u32> {
        let path = self.root.join("numbers").join(series);
        let next = || -> io::Result<u32> {
            let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let number = text.parse::<u32>().unwrap_or(0) + 1;
            file.rewind()?;
            file.write_all(number.to_string().as_bytes())?;
            Ok(number)
        };
        next().doing("cannot count")
    }

    fn stable(&self, words: &str) -> Result<u64> {
        let mut hash = DefaultHasher::new();
        (&self.root, words).hash(&mut hash);
        Ok(hash.finish())
    }

    fn mark(&self) -> &str {
        "toy"
    }

    fn shelf(&self) -> &Path {
        &self.shelf
    }
}
