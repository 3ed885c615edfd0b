//! The store: a folder a jail, a link a name, under `/run/jail`.
//!
//! ```text
//! jails/3/record    the record, replaced by rename
//! jails/3/journal   what was made since
//! jails/3/lock      held (flock(2)) by whoever changes the jail
//! names/web -> 3
//! shared/…          what jails share, each with a record and a journal
//! numbers/…         the next number of each series
//! pending/3         the jail may have to be swept: it is being made, dies with its processes, or is being removed
//! pending/3.dying   all of ours is undone; the kernel is not done with it
//! rules/…           what is said of jails by their names, whether they are there or not; locked by who changes it, and
//!                   while a name is taken
//! boot              which boot this is of, where the store is on a disk
//! ```
//!
//! A reader takes no lock, and may be anybody; who can open a file can lock it, so the lock is root's alone.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use vimage::{Context as _, Error, ErrorKind, Journal, Piece, Result};

pub use crate::lock::Wait;
use crate::{
    lock::lock,
    record::{self, Record, State},
    vault,
};

/// The records of all jails.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) root: PathBuf,
}

/// The lock on a jail's folder, and its record as it was read under it.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    _lock: File,
    /// What the record's file says; nothing if there is none.
    saved: Vec<u8>,
    /// The pieces that it has, without those that the journal has beyond them.
    pieces: Vec<Piece>,
    /// Whether it says that a change is under way.
    changing: bool,
    /// The record. [`Locked::save`] writes it.
    pub record: Record,
}

/// What the mark of a jail ends with that waits for nothing but the kernel.
const DYING: &str = ".dying";

/// The folder of what is said of jails by their names.
const RULES: &str = "rules";

/// The greatest jid, as in FreeBSD.
const JID_MAX: u32 = 999_999;

impl Store {
    /// The store at a folder, which is made if it is missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        // Anybody may read what jails there are; what is locked nobody else may open, for who can open can lock.
        let public = ["jails", "names", "pending", RULES].map(|dir| (dir, 0o755));
        for (dir, mode) in public.into_iter().chain(["shared", "numbers"].map(|dir| (dir, 0o700))) {
            let dir = store.root.join(dir);
            if !dir.is_dir() {
                let made =
                    fs::create_dir_all(root).and_then(|()| fs::DirBuilder::new().mode(mode).create(&dir));
                made.or_else(exists).doing_with(|| format!("cannot make {}", dir.display()))?;
            }
        }
        Ok(store)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the store goes with the boot, as all that it speaks of does: it is on a tmpfs.
    #[must_use]
    pub fn goes_with_the_boot(&self) -> bool {
        rustix::fs::statfs(&self.root).is_ok_and(|system| system.f_type == vault::TMPFS)
    }

    /// Holds what is said of jails by their names: alone to change it, or together with others who take names. Who takes
    /// one meanwhile does it before a change, and is found by the name, or after it, and reads what was changed.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn hold_rules(&self, alone: bool) -> Result<File> {
        let path = self.root.join(RULES).join("lock");
        let doing = || format!("cannot lock {}", path.display());
        let file = match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)
            }
            opened => opened,
        };
        let file = file.doing_with(doing)?;
        if alone { file.lock() } else { file.lock_shared() }.doing_with(doing)?;
        Ok(file)
    }

    /// Whether anything is said of any jail.
    pub(crate) fn has_rules(&self) -> bool {
        let said = fs::read_dir(self.root.join(RULES)).into_iter().flatten().flatten();
        said.into_iter()
            .any(|entry| entry.file_name() != "lock" && entry.metadata().is_ok_and(|m| m.len() > 0))
    }

    fn dir(&self, jid: u32) -> PathBuf {
        self.root.join("jails").join(jid.to_string())
    }

    /// Whether a jail, in any state, has this number.
    pub(crate) fn is_there(&self, jid: u32) -> bool {
        self.dir(jid).is_dir()
    }

    /// All jids, in order. Those of dying jails are among them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn jids(&self) -> Result<Vec<u32>> {
        self.numbered("jails", "")
    }

    fn numbered(&self, folder: &str, suffix: &str) -> Result<Vec<u32>> {
        let dir = self.root.join(folder);
        let entries = fs::read_dir(&dir).doing_with(|| format!("cannot read {}", dir.display()))?;
        let number = |e: fs::DirEntry| e.file_name().to_str()?.strip_suffix(suffix)?.parse().ok();
        let mut jids: Vec<u32> = entries.flatten().filter_map(number).collect();
        jids.sort_unstable();
        Ok(jids)
    }

    /// The jids of jails that may have to be swept, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pending(&self) -> Result<Vec<u32>> {
        self.numbered("pending", "")
    }

    /// The jids of jails that wait for nothing but the kernel, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn dying(&self) -> Result<Vec<u32>> {
        self.numbered("pending", DYING)
    }

    /// Says whether a jail may have to be swept.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn set_pending(&self, jid: u32, pending: bool) -> Result<()> {
        let [mark, dying] = self.marks(jid);
        let done = if pending {
            File::create(&mark).map(drop)
        } else {
            fs::remove_file(&dying).or_else(missing).and_then(|()| fs::remove_file(&mark).or_else(missing))
        };
        done.doing_with(|| format!("cannot write {}", mark.display()))
    }

    /// Says that a jail waits for nothing but the kernel.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn set_dying(&self, jid: u32) -> Result<()> {
        let [mark, dying] = self.marks(jid);
        fs::rename(&mark, &dying).or_else(missing).doing_with(|| format!("cannot write {}", dying.display()))
    }

    fn marks(&self, jid: u32) -> [PathBuf; 2] {
        ["", DYING].map(|suffix| self.root.join("pending").join(format!("{jid}{suffix}")))
    }

    /// Drops a jail of which nothing is left but its record, readable or not.
    pub(crate) fn discard(&self, jid: u32) -> Result<()> {
        let dir = self.dir(jid);
        for (name, _) in self.names()?.into_iter().filter(|(_, of)| *of == jid) {
            self.unname(&name, jid)?;
        }
        fs::remove_dir_all(&dir)
            .or_else(missing)
            .doing_with(|| format!("cannot remove {}", dir.display()))?;
        self.set_pending(jid, false)
    }

    /// The jid of a name, or of a number's text.
    #[must_use]
    pub fn jid(&self, word: &str) -> Option<u32> {
        if let Ok(jid) = word.parse::<u32>() {
            return self.dir(jid).is_dir().then_some(jid);
        }
        if word.is_empty() || word.contains('/') {
            return None;
        }
        fs::read_link(self.root.join("names").join(word)).ok()?.to_str()?.parse().ok()
    }

    /// All names, each with its jid.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn names(&self) -> Result<Vec<(String, u32)>> {
        let dir = self.root.join("names");
        let jid = |name: &str| fs::read_link(dir.join(name)).ok()?.to_str()?.parse().ok();
        let named = |name: String| jid(&name).map(|jid| (name, jid));
        Ok(self.taken()?.into_iter().filter_map(named).collect())
    }

    /// The names alone, in order. Where they lead costs a system call each.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn taken(&self) -> Result<Vec<String>> {
        let dir = self.root.join("names");
        let entries = fs::read_dir(&dir).doing_with(|| format!("cannot read {}", dir.display()))?;
        let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// A jail's record with what its journal adds; `None` if there is none. Takes no lock.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn read(&self, jid: u32) -> Result<Option<Record>> {
        let dir = self.dir(jid);
        let Some(mut record) = record::read(&dir)? else { return Ok(None) };
        let journal = dir.join("journal");
        if fs::metadata(&journal).is_ok_and(|m| m.len() > 0) {
            record.pieces = Journal::replay(&journal, record.pieces)?;
        }
        // One that made way for another has a new number, which its folder says.
        record.jid = jid;
        Ok(Some(record))
    }

    /// Locks a jail; `None` if it is not there, or is locked and `wait` says no.
    ///
    /// # Errors
    /// The record cannot be read or understood.
    pub fn lock(&self, jid: u32, wait: Wait<'_>) -> Result<Option<Locked>> {
        let dir = self.dir(jid);
        let Some(lock) = lock(&dir, wait)? else { return Ok(None) };
        // A folder without a record is one whose maker died before it made anything.
        let (mut record, saved) =
            record::read_text(&dir)?.unwrap_or_else(|| (Record::blank(jid, State::Creating), Vec::new()));
        record.jid = jid;
        let (pieces, changing) = (record.pieces.clone(), record.change.is_some());
        Ok(Some(Locked { dir, _lock: lock, saved, pieces, changing, record }))
    }

    /// Takes a number and a name for a new jail, and locks it. Without a name it is named by its number.
    ///
    /// `free` is asked whether the jail that has the wanted name or number may be passed over; it must then
    /// have given it up.
    ///
    /// # Errors
    /// FreeBSD's words: `jail 3 already exists`, `jail "web" already exists`, `no available jail IDs`.
    pub fn allocate(
        &self,
        name: Option<&str>,
        jid: Option<u32>,
        free: &mut dyn FnMut(u32) -> Result<bool>,
    ) -> Result<Locked> {
        let (jid, dir, lock) = match jid {
            Some(jid) => loop {
                let dir = self.dir(jid);
                // First the mark: a folder that nobody marks is one that no sweep finds.
                self.set_pending(jid, true)?;
                match fs::create_dir(&dir) {
                    Ok(()) => {}
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                        if !free(jid)? {
                            return Err(Error::new(ErrorKind::Exists, format!("jail {jid} already exists")));
                        }
                        continue;
                    }
                    Err(e) => return Err(e).doing_with(|| format!("cannot make {}", dir.display())),
                }
                if let Some(lock) = lock(&dir, Wait::Yes)? {
                    break (jid, dir, lock);
                }
            },
            None => self.next()?,
        };
        let number = jid.to_string();
        let name = name.unwrap_or(&number);
        let record = Record::blank(jid, State::Creating);
        let mut locked =
            Locked { dir, _lock: lock, saved: Vec::new(), pieces: Vec::new(), changing: false, record };
        locked.record.name = name.to_owned();
        // Again: a sweep may have found the mark before the folder.
        if let Err(error) = self.set_pending(jid, true).and_then(|()| self.claim(name, jid, free)) {
            let _unmarked = self.set_pending(jid, false);
            let _unnamed = fs::remove_dir_all(&locked.dir);
            return Err(error);
        }
        Ok(locked)
    }

    /// The next free jid after the last one given, cyclically.
    fn next(&self) -> Result<(u32, PathBuf, File)> {
        for _ in 0..JID_MAX {
            let jid = 1 + (self.number("jid")? - 1) % JID_MAX;
            let dir = self.dir(jid);
            if dir.exists() {
                continue;
            }
            self.set_pending(jid, true)?;
            match fs::create_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => {
                    other.doing_with(|| format!("cannot make {}", dir.display()))?;
                    if let Some(lock) = lock(&dir, Wait::Yes)? {
                        return Ok((jid, dir, lock));
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Exists, "no available jail IDs"))
    }

    /// Makes a name lead to a jid.
    pub(crate) fn claim(
        &self,
        name: &str,
        jid: u32,
        free: &mut dyn FnMut(u32) -> Result<bool>,
    ) -> Result<()> {
        let link = self.root.join("names").join(name);
        loop {
            match symlink(jid.to_string(), &link) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e).doing_with(|| format!("cannot make {}", link.display())),
            }
            match self.jid(name) {
                // It was that of a jail of this number whose folder, and record, somebody removed.
                Some(other) if other == jid => return Ok(()),
                // A name that leads nowhere is left of a jail whose folder is gone.
                Some(other) if !self.dir(other).is_dir() => self.unname(name, other)?,
                // So is one that a renaming left, whose command was killed.
                Some(other) if self.is_left_over(name, other)? => self.unname(name, other)?,
                Some(other) if free(other)? => self.unname(name, other)?,
                _ => return Err(Error::new(ErrorKind::Exists, format!("jail \"{name}\" already exists"))),
            }
        }
    }

    /// Whether a name leads to a jid.
    #[must_use]
    pub fn leads_to(&self, name: &str, jid: u32) -> bool {
        let link = fs::read_link(self.root.join("names").join(name));
        link.is_ok_and(|to| to.to_str() == Some(&jid.to_string()))
    }

    /// Whether a jail has its name, or the one that a renaming gives it.
    pub(crate) fn is_named(&self, record: &Record) -> bool {
        let mut names = [Some(&record.name), record.other_name.as_ref()].into_iter().flatten();
        names.any(|name| self.leads_to(name, record.jid))
    }

    /// Whether a name leads to a jail that has another.
    fn is_left_over(&self, name: &str, jid: u32) -> Result<bool> {
        // One that is locked may be about to get this name.
        let Some(locked) = self.lock(jid, Wait::No)? else { return Ok(false) };
        Ok(locked.has_record() && locked.record.name != name)
    }

    /// Changes the name in the record of a jail that is in one that was renamed. Its lock is the caller's, or
    /// nobody's: whoever changes a jail in another finds the other by its name first.
    pub(crate) fn rename_record(&self, jid: u32, name: &str) -> Result<()> {
        let dir = self.dir(jid);
        let Some(mut record) = record::read(&dir)? else { return Ok(()) };
        name.clone_into(&mut record.name);
        record.settings.set("name", vimage::Value::Text(name.to_owned()));
        record::write(&dir, &serde_json::to_vec(&record).doing("cannot encode a record")?)
    }

    /// Gives a name up, if it still leads to the jid.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn unname(&self, name: &str, jid: u32) -> Result<()> {
        if self.leads_to(name, jid) {
            let link = self.root.join("names").join(name);
            fs::remove_file(&link).doing_with(|| format!("cannot remove {}", link.display()))?;
        }
        Ok(())
    }

    /// Gives up the names that lead nowhere. A jail has its folder before its name, and after.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn unname_lost(&self) -> Result<()> {
        let names = self.names()?.into_iter();
        names.filter(|(_, jid)| !self.dir(*jid).is_dir()).try_for_each(|(name, jid)| self.unname(&name, jid))
    }

    /// Moves a dying jail out of the way of one that wants its number: to a free one from the top.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn renumber(&self, jid: u32) -> Result<()> {
        let doing = || format!("cannot renumber jail {jid}");
        for top in (1..=JID_MAX).rev() {
            match fs::rename(self.dir(jid), self.dir(top)) {
                // A folder that is not empty is not replaced.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                other => {
                    other.doing_with(doing)?;
                    return self.set_pending(top, true);
                }
            }
        }
        Err(Error::new(ErrorKind::Exists, "no available jail IDs")).doing_with(doing)
    }
}

impl Locked {
    /// The journal, on top of the record.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn journal(&self) -> Result<Journal> {
        Journal::open(&self.dir.join("journal"), self.pieces.clone())
    }

    /// Writes the record with the journal's pieces, and empties the journal. Not while a change is under way: then
    /// the record keeps the pieces that it had, and the journal has those that the change makes.
    ///
    /// # Errors
    /// The file system refuses; record and journal together still say the truth.
    pub fn save(&mut self, journal: &mut Journal) -> Result<()> {
        let open = self.changing && self.record.change.is_some();
        self.record.pieces = if open { self.pieces.clone() } else { journal.pieces().to_vec() };
        let text = serde_json::to_vec(&self.record).doing("cannot encode a record")?;
        // Every command takes up all jails that are dying, and mostly finds them as they were.
        if text != self.saved {
            record::write(&self.dir, &text)?;
            self.saved = text;
            self.pieces.clone_from(&self.record.pieces);
            self.changing = self.record.change.is_some();
        }
        if open {
            self.record.pieces = journal.pieces().to_vec();
            return Ok(());
        }
        journal.folded()
    }

    /// Whether a record was written: its maker may have died before.
    fn has_record(&self) -> bool {
        self.dir.join("record").exists()
    }

    /// Forgets the jail.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn forget(self, store: &Store) -> Result<()> {
        store.unname(&self.record.name, self.record.jid)?;
        fs::remove_dir_all(&self.dir).doing_with(|| format!("cannot remove {}", self.dir.display()))?;
        let number = self.dir.file_name().and_then(|n| n.to_str()?.parse().ok());
        number.map_or(Ok(()), |jid| store.set_pending(jid, false))
    }
}

fn missing(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }
}

fn exists(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn never(_: u32) -> Result<bool> {
        Ok(false)
    }

    #[test]
    fn a_name_and_a_number_are_given_once() {
        let (_dir, store) = store();
        let first = store.allocate(Some("web"), None, &mut never).unwrap();
        assert_eq!((first.record.jid, store.jid("web"), store.jid("1")), (1, Some(1), Some(1)));
        let error = store.allocate(Some("web"), None, &mut never).unwrap_err();
        assert_eq!(error.to_string(), "jail \"web\" already exists");
        let error = store.allocate(None, Some(1), &mut never).unwrap_err();
        assert_eq!(error.to_string(), "jail 1 already exists");
        first.forget(&store).unwrap();
        assert_eq!((store.jid("web"), store.jids().unwrap()), (None, vec![]));
        assert_eq!(store.allocate(Some("web"), Some(1), &mut never).unwrap().record.jid, 1);
    }

    #[test]
    fn a_name_that_leads_nowhere_is_free() {
        let (dir, store) = store();
        symlink("77", dir.path().join("names/web")).unwrap();
        store.allocate(Some("web"), None, &mut never).unwrap();
    }

    #[test]
    fn sixteen_at_once_get_sixteen_numbers_and_one_name() {
        let (_dir, store) = store();
        let tries: Vec<_> = std::thread::scope(|s| {
            let tries: Vec<_> =
                (0..16).map(|_| s.spawn(|| store.allocate(Some("one"), None, &mut never).is_ok())).collect();
            tries.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(tries.into_iter().filter(|ok| *ok).count(), 1);
        let mut numbers: Vec<_> = std::thread::scope(|s| {
            let tries: Vec<_> = (0..16).map(|_| s.spawn(|| store.number("n").unwrap())).collect();
            tries.into_iter().map(|t| t.join().unwrap()).collect()
        });
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
    }

    #[test]
    fn an_unknown_version_is_refused_and_left_alone() {
        let (dir, store) = store();
        fs::create_dir(dir.path().join("jails/5")).unwrap();
        let path = dir.path().join("jails/5/record");
        fs::write(&path, r#"{"version":99,"what":"ever"}"#).unwrap();
        assert!(store.read(5).unwrap_err().to_string().contains("version is not known"));
        assert!(store.lock(5, Wait::Yes).is_err());
        assert!(path.exists());
    }
}
