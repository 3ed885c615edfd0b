//! What several jails share: made on first use, gone with its last user.

use std::{
    cell::OnceCell,
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    Context as _, Error, ErrorKind, Fds, House, Instance, Journal, Piece, Result, Settings, Site, file,
};

/// The file of the record.
const RECORD: &str = "record";
/// Where the record is from when the last user leaves: whatever it says, the thing is not whole any more.
const UNMADE: &str = "unmade";
/// The folder of users' files.
const USERS: &str = "users";

/// A locked record of something shared, with a journal of its own.
///
/// Its folder has the record, the journal and, in `users`, an empty file for each user: so that whoever comes or
/// goes writes nothing that grows with their number.
#[derive(Debug)]
pub struct Shared {
    dir: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
    /// Read when it is first needed: who leaves others with the thing does without.
    record: OnceCell<Record>,
    /// Its name, as an owner in messages.
    name: String,
}

/// What is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    /// The format.
    version: u32,
    /// Whether it was made to its end.
    whole: bool,
    /// What its maker left for its users.
    data: serde_json::Value,
    /// What was made.
    pieces: Vec<Piece>,
}

/// Who uses something shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum User {
    /// A jail, by its number.
    Jail(u32),
    /// Something else that is shared, by its name: it has no number.
    Thing(String),
}

impl User {
    /// The owner of these pieces: what is shared has the number 0.
    pub(crate) fn of(jid: u32, name: &str) -> Self {
        if jid == 0 { Self::Thing(name.to_owned()) } else { Self::Jail(jid) }
    }

    /// The name of its file. That of a thing is no number: it has a dot.
    fn file(&self) -> String {
        match self {
            Self::Jail(jid) => jid.to_string(),
            Self::Thing(name) => name.clone(),
        }
    }

    /// The user of a file's name.
    fn of_file(name: String) -> Self {
        name.parse().map_or(Self::Thing(name), Self::Jail)
    }

    fn jid(&self) -> Option<u32> {
        match self {
            Self::Jail(jid) => Some(*jid),
            Self::Thing(_) => None,
        }
    }

    /// The jids among users.
    pub(crate) fn jids(users: &[Self]) -> Vec<u32> {
        users.iter().filter_map(Self::jid).collect()
    }
}

/// Whoever can undo the pieces of something shared: the driver.
pub(crate) trait Unmaker: fmt::Debug {
    /// Undoes all of them, last first. `alone`: who used them lives on, and with it what else it uses.
    fn unmake_shared(&self, of: &Instance<'_>, journal: &mut Journal, alone: bool) -> Result<()>;
}

impl Shared {
    /// The kind of a user's piece.
    pub const USE: &'static str = "use";
    /// What that is: a file of ours.
    pub(crate) const OBJECT: (&'static str, &'static str) = (Self::USE, "use of something shared (ours)");
    const VERSION: u32 = 2;

    /// The name of a shared thing's folder. A slash in the key becomes a comma, which no key has.
    #[must_use]
    pub fn name(subsystem: &str, key: &str) -> String {
        format!("{subsystem}.{}", key.replace('/', ","))
    }

    /// Locks the record, making it if there is none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn lock(shelf: &Path, name: &str) -> Result<Self> {
        loop {
            if let Some(shared) = Self::lock_there(shelf, name)? {
                return Ok(shared);
            }
            let dir = shelf.join(name);
            match fs::create_dir_all(&dir) {
                // Another made it, and the last user has removed it since.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.doing_with(|| format!("cannot make {}", dir.display()))?,
            }
        }
    }

    /// Waits for the record of a name, if there is one, and locks it. `None`: there is none, or the one before us
    /// removed it while we waited for its lock.
    pub(crate) fn lock_there(shelf: &Path, name: &str) -> Result<Option<Self>> {
        let dir = shelf.join(name);
        let lock = match File::open(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.doing_with(|| format!("cannot open {}", dir.display()))?,
        };
        lock.lock().doing_with(|| format!("cannot lock {}", dir.display()))?;
        if lock.metadata().doing_with(|| format!("cannot look at {}", dir.display()))?.nlink() == 0 {
            return Ok(None);
        }
        Ok(Some(Self { dir, _lock: lock, record: OnceCell::new(), name: name.to_owned() }))
    }

    /// The names of all that there are.
    ///
    /// # Errors
    /// The shelf cannot be read.
    pub fn names(shelf: &Path) -> Result<Vec<String>> {
        let entries = match fs::read_dir(shelf) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.doing_with(|| format!("cannot read {}", shelf.display()))?,
        };
        let mut names: Vec<_> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Whether it has users, as far as can be told without the lock.
    #[must_use]
    pub fn is_used(shelf: &Path, name: &str) -> bool {
        shelf.join(name).join(USERS).is_dir()
    }

    /// Whether it has this user, as far as can be told without the lock: for the same price however many it has.
    pub(crate) fn has_user(shelf: &Path, name: &str, user: &User) -> Result<bool> {
        let path = shelf.join(name).join(USERS).join(user.file());
        path.try_exists().doing_with(|| format!("cannot look for {}", path.display()))
    }

    /// The jids of its users, and its pieces, without the lock.
    ///
    /// # Errors
    /// The record cannot be read or understood.
    pub fn peek(shelf: &Path, name: &str) -> Result<(Vec<u32>, Vec<Piece>)> {
        let (users, pieces) = Self::look(shelf, name)?;
        Ok((User::jids(&users), pieces))
    }

    /// What the maker left for the users, without the lock; null if there is no record.
    pub(crate) fn data(shelf: &Path, name: &str) -> Result<serde_json::Value> {
        Ok(read(&shelf.join(name))?.unwrap_or_default().data)
    }

    /// As [`Shared::peek`], with all users.
    pub(crate) fn look(shelf: &Path, name: &str) -> Result<(Vec<User>, Vec<Piece>)> {
        let dir = shelf.join(name);
        let record = read(&dir)?.unwrap_or_default();
        Ok((users(&dir)?, Journal::replay(&dir.join("journal"), record.pieces)?))
    }

    /// Makes the site's jail a user; makes the thing itself if nobody did, or not to its end. Then what there
    /// is of it is undone first, so that `act` always begins with nothing.
    pub(crate) fn join(
        &mut self,
        site: &mut Site<'_>,
        act: impl FnOnce(&mut Site<'_>) -> Result<serde_json::Value>,
    ) -> Result<serde_json::Value> {
        self.enter(&User::of(site.jid, site.name))?;
        let unmaker = site.unmaker;
        let unmake = |of: &Instance<'_>, journal: &mut Journal| unmaker.unmake_shared(of, journal, true);
        if self.record()?.whole {
            self.cut(site.settings, site.house, unmake)?;
        } else {
            let mut journal = self.journal()?;
            self.clear(&mut journal, site.settings, site.house, unmake)?;
            let data = act(&mut self.site(site, &mut journal))?;
            self.fold(&mut journal, data)?;
        }
        Ok(self.record()?.data.clone())
    }

    /// Writes down a user, before anything is made for it.
    fn enter(&self, user: &User) -> Result<()> {
        let users = self.dir.join(USERS);
        let path = users.join(user.file());
        let write = || File::options().write(true).create(true).truncate(true).open(&path);
        let written = match write() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir(&users).and_then(|()| write()),
            other => other,
        };
        written.map(drop).doing_with(|| format!("cannot write {}", path.display()))
    }

    /// Adds to the thing what `act` makes, and replaces what its maker left for its users by what `act`
    /// returns. If `act` fails, what it made is undone; if it is killed, the next who joins, adds or leaves
    /// does that.
    pub(crate) fn grow(
        &mut self,
        site: &mut Site<'_>,
        act: impl FnOnce(&mut Site<'_>, &serde_json::Value) -> Result<serde_json::Value>,
    ) -> Result<serde_json::Value> {
        if !self.record()?.whole {
            return Err(Error::new(ErrorKind::NotFound, format!("{} is gone", self.name)));
        }
        let (settings, house, unmaker) = (site.settings, site.house, site.unmaker);
        let unmake = |of: &Instance<'_>, journal: &mut Journal| unmaker.unmake_shared(of, journal, true);
        self.cut(settings, house, unmake)?;
        let mut journal = self.journal()?;
        match act(&mut self.site(site, &mut journal), &self.record()?.data) {
            Ok(data) => {
                self.fold(&mut journal, data)?;
                Ok(self.record()?.data.clone())
            }
            Err(error) => {
                let _left_to_the_next = self.cut(settings, house, unmake);
                Err(error)
            }
        }
    }

    /// The site of what is shared, for a jail that makes some of it.
    fn site<'s>(&'s self, site: &'s Site<'_>, journal: &'s mut Journal) -> Site<'s> {
        Site {
            name: &self.name,
            jid: 0,
            settings: site.settings,
            parent: site.parent,
            fds: Fds::default(),
            house: site.house,
            subsystem: site.subsystem,
            journal,
            recorder: site.recorder,
            unmaker: site.unmaker,
        }
    }

    /// Ends a use. When nobody is left `unmake` is called with the pieces, last first, and the record goes with
    /// them.
    ///
    /// # Errors
    /// The folder cannot be written to, or `unmake` failed: then it stays, without users, for a repair.
    pub(crate) fn leave(
        self,
        user: &User,
        settings: &Settings,
        house: &dyn House,
        unmake: impl FnOnce(&Instance<'_>, &mut Journal) -> Result<()>,
    ) -> Result<()> {
        self.end([user.clone()], settings, house, unmake)
    }

    /// Ends the use of all these; then as [`Shared::leave`].
    pub(crate) fn end(
        self,
        gone: impl IntoIterator<Item = User>,
        settings: &Settings,
        house: &dyn House,
        unmake: impl FnOnce(&Instance<'_>, &mut Journal) -> Result<()>,
    ) -> Result<()> {
        let users = self.dir.join(USERS);
        for user in gone {
            let path = users.join(user.file());
            fs::remove_file(&path)
                .or_else(missing)
                .doing_with(|| format!("cannot remove {}", path.display()))?;
        }
        match fs::remove_dir(&users).or_else(missing) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                return self.cut(settings, house, unmake);
            }
            other => other.doing_with(|| format!("cannot remove {}", users.display()))?,
        }
        let mut journal = self.journal()?;
        // From here on it is no longer whole, whatever happens: the next user makes it anew.
        let [whole, unmade] = [RECORD, UNMADE].map(|name| self.dir.join(name));
        // Takes no room, unlike writing it: a full file system keeps nobody from leaving.
        fs::rename(&whole, &unmade)
            .or_else(missing)
            .doing_with(|| format!("cannot rename {}", whole.display()))?;
        self.clear(&mut journal, settings, house, unmake)?;
        fs::remove_dir_all(&self.dir).doing_with(|| format!("cannot remove {}", self.dir.display()))
    }

    /// Has all pieces that there are undone.
    fn clear(
        &self,
        journal: &mut Journal,
        settings: &Settings,
        house: &dyn House,
        unmake: impl FnOnce(&Instance<'_>, &mut Journal) -> Result<()>,
    ) -> Result<()> {
        let pieces = journal.pieces().to_vec();
        unmake(&self.instance(&pieces, settings, house), journal)
    }

    /// Has the pieces undone that were added and not made to the end: those that only the journal knows.
    fn cut(
        &self,
        settings: &Settings,
        house: &dyn House,
        unmake: impl FnOnce(&Instance<'_>, &mut Journal) -> Result<()>,
    ) -> Result<()> {
        // It is empty but after a command that was killed.
        if !fs::metadata(self.dir.join("journal")).is_ok_and(|journal| journal.len() > 0) {
            return Ok(());
        }
        let mut journal = self.journal()?;
        let record = self.record()?;
        let known = |piece: &Piece| record.pieces.iter().any(|p| p.is(piece));
        let pieces: Vec<_> = journal.pieces().iter().filter(|piece| !known(piece)).cloned().collect();
        if !pieces.is_empty() {
            unmake(&self.instance(&pieces, settings, house), &mut journal)?;
        }
        journal.folded()
    }

    fn instance<'a>(
        &'a self,
        pieces: &'a [Piece],
        settings: &'a Settings,
        house: &'a dyn House,
    ) -> Instance<'a> {
        Instance { name: &self.name, jid: 0, settings, parent: None, pieces, fds: Fds::default(), house }
    }

    /// Writes the record of a thing that is whole, with all that was made by now, and what it leaves for its users.
    fn fold(&mut self, journal: &mut Journal, data: serde_json::Value) -> Result<()> {
        let record = Record { version: Self::VERSION, whole: true, data, pieces: journal.pieces().to_vec() };
        self.write(&record)?;
        self.record = record.into();
        journal.folded()
    }

    fn record(&self) -> Result<&Record> {
        match self.record.get() {
            Some(record) => Ok(record),
            None => {
                let record = read(&self.dir)?.unwrap_or_default();
                Ok(self.record.get_or_init(|| record))
            }
        }
    }

    fn journal(&self) -> Result<Journal> {
        Journal::open(&self.dir.join("journal"), self.record()?.pieces.clone())
    }

    fn write(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec(record).doing("cannot encode a record")?;
        file::replace(&self.dir.join(RECORD), text)
    }
}

fn read(dir: &Path) -> Result<Option<Record>> {
    let (text, unmade) = match file::read(&dir.join(RECORD))? {
        None => (file::read(&dir.join(UNMADE))?, true),
        there => (there, false),
    };
    let Some(text) = text else { return Ok(None) };
    let path = dir.join(if unmade { UNMADE } else { RECORD });
    let understood =
        serde_json::from_slice(&text).doing_with(|| format!("cannot understand {}", path.display()));
    let mut record: Record = understood.map_err(|e| {
        let dir = dir.display();
        e.hint(format!("rm -r {dir}; what it spoke of is then in no record, and jdb repair removes it"))
    })?;
    if record.version != Shared::VERSION {
        return Err(Error::unsupported(format!(
            "{}: version {} is not known",
            path.display(),
            record.version
        ))
        .hint("it was written by another version of this program"));
    }
    record.whole &= !unmade;
    Ok(Some(record))
}

/// All users, by their numbers and names.
fn users(dir: &Path) -> Result<Vec<User>> {
    let dir = dir.join(USERS);
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.doing_with(|| format!("cannot read {}", dir.display()))?,
    };
    let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
    let mut users: Vec<_> = names.map(User::of_file).collect();
    users.sort();
    Ok(users)
}

/// What is not there is gone already.
fn missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
