//! Where a subsystem works: the instance it reads, the site it builds on, the house around them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    rc::Rc,
};

use crate::{
    Anchor, Error, Journal, Piece, Recorder, Result, Settings,
    shared::{Shared, Unmaker, User},
};

/// What the owner of the records offers to subsystems.
pub trait House: fmt::Debug {
    /// Opens what an anchor names; `None` when it is gone. Holds it as long as the descriptor lives.
    ///
    /// # Errors
    /// It cannot be told whether it is gone.
    fn open(&self, anchor: &Anchor) -> Result<Option<OwnedFd>>;

    /// What the jail that we are in ourselves has, and jails in it have at most; `None`: we are in none.
    fn above(&self) -> Option<&Settings> {
        None
    }

    /// Opens what is neither anchored nor an instance by the name it was prepared under, as a living jail has it; or the
    /// namespace of its processes of a kind that goes with them (`mnt`). `None` if it has no such thing.
    ///
    /// # Errors
    /// It is there and cannot be opened.
    fn reopen(&self, of: &Instance<'_>, name: &str) -> Result<Option<OwnedFd>> {
        let _nothing_is_prepared = (of, name);
        Ok(None)
    }

    /// The anchor of an open object.
    ///
    /// # Errors
    /// The kernel does not say.
    fn anchor(&self, kind: &str, object: BorrowedFd<'_>) -> Result<Anchor>;

    /// Holds an object under an owner's name until [`House::release`], without any process.
    ///
    /// # Errors
    /// The object cannot be held.
    fn hold(&self, owner: &str, name: &str, object: BorrowedFd<'_>) -> Result<()>;

    /// Drops all that is held under a name; nothing held is success.
    ///
    /// # Errors
    /// The kernel refused.
    fn release(&self, owner: &str) -> Result<()>;

    /// As [`House::release`] of many, which may cost less together; answers for each.
    fn release_all(&self, owners: &[&str]) -> Vec<Result<()>> {
        owners.iter().map(|owner| self.release(owner)).collect()
    }

    /// The owners under whose names something is held.
    ///
    /// # Errors
    /// It cannot be told.
    fn held(&self) -> Result<Vec<String>>;

    /// Whether something is held for an owner.
    ///
    /// # Errors
    /// It cannot be told.
    fn holds(&self, owner: &str) -> Result<bool> {
        Ok(self.held()?.iter().any(|other| other == owner))
    }

    /// What is held for an owner, by name, as far as it can be opened.
    ///
    /// # Errors
    /// It cannot be told.
    fn kept(&self, owner: &str) -> Result<Fds> {
        let _nothing_is_held = owner;
        Ok(Fds::default())
    }

    /// Waits for whoever takes down a jail that has no name any more. Returns whether there was one: then what it had
    /// claimed may be free now.
    ///
    /// # Errors
    /// It cannot be told.
    fn gives_up(&self, jid: u32) -> Result<bool> {
        let _everybody_is_alive = jid;
        Ok(false)
    }

    /// The anchor of a jail's instance of a kind (`net`), by the jail's full name: of one that lives, or is
    /// just being made. `None`: there is no such jail, or it has no such instance.
    ///
    /// # Errors
    /// Its record cannot be read.
    fn living(&self, jail: &str, kind: &str) -> Result<Option<Anchor>>;

    /// The next number of a series (`ifindex`), never given twice to the living.
    ///
    /// # Errors
    /// The series cannot be read or written.
    fn number(&self, series: &str) -> Result<u32>;

    /// A number that is the same for the same words on this machine and different elsewhere.
    ///
    /// # Errors
    /// The machine's secret cannot be read or made.
    fn stable(&self, words: &str) -> Result<u64>;

    /// Tells whoever gave the command what is no failure and what they should know: one line, as of an error. By
    /// default nobody listens.
    fn tell(&self, _what: String) {}

    /// The word that marks what is made for these records in the kernel: a name for cgroups, the same for no
    /// other records on this machine.
    fn mark(&self) -> &str;

    /// The folder of the records that jails share.
    fn shelf(&self) -> &Path;
}

/// Open objects by name: namespaces (`net`), prepared mounts (`mount:/`).
#[derive(Clone, Debug, Default)]
pub struct Fds(Rc<RefCell<BTreeMap<String, Rc<OwnedFd>>>>);

impl Fds {
    /// Adds one.
    pub fn put(&self, name: impl Into<String>, fd: OwnedFd) {
        self.0.borrow_mut().insert(name.into(), Rc::new(fd));
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Rc<OwnedFd>> {
        self.0.borrow().get(name).cloned()
    }

    /// Closes one of them.
    pub fn remove(&self, name: &str) {
        self.0.borrow_mut().remove(name);
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Closes all, so that nothing of ours holds the instance.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// A jail as its subsystems see it.
#[derive(Debug)]
pub struct Instance<'a> {
    /// The full name.
    pub name: &'a str,
    /// The number.
    pub jid: u32,
    /// All values.
    pub settings: &'a Settings,
    /// The parent jail; `None` for the host.
    pub parent: Option<&'a Self>,
    /// What was made for it.
    pub pieces: &'a [Piece],
    /// What is open of it.
    pub fds: Fds,
    /// What the owner of the records offers.
    pub house: &'a dyn House,
}

impl Instance<'_> {
    /// An open object of the jail's: one that was prepared or just born, or the instance piece whose anchor
    /// is of this kind, or what was prepared under this name, opened anew; `None` if there is none or it is
    /// gone.
    ///
    /// # Errors
    /// It exists and cannot be opened.
    pub fn fd(&self, kind: &str) -> Result<Option<Rc<OwnedFd>>> {
        if let Some(fd) = self.fds.get(kind) {
            return Ok(Some(fd));
        }
        let anchor = self
            .pieces
            .iter()
            .filter(|p| p.kind == Piece::INSTANCE)
            .find_map(|p| p.anchor.as_ref().filter(|a| a.kind() == kind));
        let found = match anchor {
            Some(anchor) => self.house.open(anchor)?,
            None => self.house.reopen(self, kind)?,
        };
        let Some(fd) = found else { return Ok(None) };
        self.fds.put(kind, fd);
        Ok(self.fds.get(kind))
    }

    /// As [`Instance::fd`], but the nearest ancestor's where the jail has none of its own; `None`: the host's.
    ///
    /// # Errors
    /// As [`Instance::fd`].
    pub fn nearest(&self, kind: &str) -> Result<Option<Rc<OwnedFd>>> {
        match (self.fd(kind)?, self.parent) {
            (Some(fd), _) => Ok(Some(fd)),
            (None, Some(parent)) => parent.nearest(kind),
            (None, None) => Ok(None),
        }
    }

    /// The first anchor of a kind among the pieces: `cgroup`, `net`.
    #[must_use]
    pub fn anchor(&self, kind: &str) -> Option<&Anchor> {
        self.pieces.iter().filter_map(|p| p.anchor.as_ref()).find(|a| a.kind() == kind)
    }

    /// The pieces of one kind of a subsystem, in the order they were made.
    pub fn pieces_of<'s>(&'s self, subsystem: &'s str, kind: &'s str) -> impl Iterator<Item = &'s Piece> {
        self.pieces.iter().filter(move |p| p.subsystem == subsystem && p.kind == kind)
    }
}

/// Where a subsystem makes things.
#[derive(Debug)]
pub struct Site<'a> {
    /// The jail's full name.
    pub name: &'a str,
    /// Its number.
    pub jid: u32,
    /// All values, those of an update included.
    pub settings: &'a Settings,
    /// The parent jail; `None` for the host.
    pub parent: Option<&'a Instance<'a>>,
    /// What is open of the jail.
    pub fds: Fds,
    /// What the owner of the records offers.
    pub house: &'a dyn House,
    pub(crate) subsystem: &'static str,
    pub(crate) journal: &'a mut Journal,
    pub(crate) recorder: &'a Recorder,
    pub(crate) unmaker: &'a dyn Unmaker,
}

impl Site<'_> {
    /// The jail as it is now.
    #[must_use]
    pub fn instance(&self) -> Instance<'_> {
        Instance {
            name: self.name,
            jid: self.jid,
            settings: self.settings,
            parent: self.parent,
            pieces: self.journal.pieces(),
            fds: self.fds.clone(),
            house: self.house,
        }
    }

    /// Makes a piece: writes it to the journal, then acts.
    ///
    /// # Errors
    /// The journal cannot be written, or the act failed.
    pub fn make<T>(&mut self, piece: Piece, act: impl FnOnce() -> Result<T>) -> Result<T> {
        self.make_all(vec![piece], act)
    }

    /// Makes pieces that come to be by one act.
    ///
    /// # Errors
    /// As [`Site::make`].
    pub fn make_all<T>(&mut self, pieces: Vec<Piece>, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let pieces: Vec<_> =
            pieces.into_iter().map(|p| Piece { subsystem: self.subsystem.to_owned(), ..p }).collect();
        let label = pieces.iter().map(Piece::to_string).collect::<Vec<_>>().join(" ");
        for piece in pieces {
            self.journal.make(piece)?;
        }
        // Here the journal has what does not exist; to fail before it had would be to fail after the last act.
        self.recorder.point("make", &label)?;
        let done = self.recorder.timed(self.name, "make", &label, act)?;
        self.recorder.point("made", &label)?;
        Ok(done)
    }

    /// Adopts a namespace or the like that the birth brought about, as a piece that exists as long as its
    /// anchor does.
    ///
    /// # Errors
    /// The birth brought none of this kind, or the journal cannot be written.
    pub fn adopt(&mut self, kind: &str) -> Result<()> {
        let Some(fd) = self.fds.get(kind) else {
            return Err(Error::new(crate::ErrorKind::Failed, format!("no {kind} instance was born")));
        };
        use std::os::fd::AsFd as _;
        let anchor = self.house.anchor(kind, fd.as_fd())?;
        self.make(Piece::new(Piece::INSTANCE, kind).anchored(anchor), || Ok(()))
    }

    /// Unmakes a piece, in the course of an update.
    ///
    /// # Errors
    /// The act failed.
    pub fn unmake(&mut self, piece: &Piece, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let label = piece.to_string();
        self.recorder.point("undo", &label)?;
        self.recorder.timed(self.name, "undo", &label, act)?;
        self.journal.gone(piece);
        self.recorder.freed(piece);
        self.recorder.point("undone", &label)
    }

    /// Uses something that several jails share (a segment): makes it by `act` on first use. The last user's
    /// removal unmakes it. Returns what `act` left in the shared record.
    ///
    /// # Errors
    /// It cannot be made, or its record not be locked.
    pub fn share(
        &mut self,
        key: &str,
        act: impl FnOnce(&mut Site<'_>) -> Result<serde_json::Value>,
    ) -> Result<serde_json::Value> {
        let shared = Shared::name(self.subsystem, key);
        let piece = Piece { subsystem: self.subsystem.to_owned(), ..Piece::new(Shared::USE, key) };
        if !self.journal.pieces().iter().any(|p| p.is(&piece)) {
            self.journal.make(piece.clone())?;
            self.recorder.point("make", &piece.to_string())?;
        }
        let mut shared = Shared::lock(self.house.shelf(), &shared)?;
        let (name, recorder) = (self.name, self.recorder);
        recorder.timed(name, "share", &piece, || shared.join(self, act))
    }

    /// What [`Site::share`] returned for something that the jail uses, or what was added to it since.
    ///
    /// # Errors
    /// The record cannot be read or understood.
    pub fn shared(&self, key: &str) -> Result<serde_json::Value> {
        Shared::data(self.house.shelf(), &Shared::name(self.subsystem, key))
    }

    /// Adds to something shared that the jail uses what turned out to be needed (a segment's second bridge).
    /// `act` is given what its maker left in the record, and returns what is there from now on; others may
    /// have added to it meanwhile. What it makes goes with the thing.
    ///
    /// # Errors
    /// `act` failed, and what it made is undone; the record cannot be locked or written.
    pub fn grow(
        &mut self,
        key: &str,
        act: impl FnOnce(&mut Site<'_>, &serde_json::Value) -> Result<serde_json::Value>,
    ) -> Result<serde_json::Value> {
        let shared = Shared::name(self.subsystem, key);
        let (name, recorder) = (self.name, self.recorder);
        let mut thing = Shared::lock(self.house.shelf(), &shared)?;
        recorder.timed(name, "grow", &shared, || thing.grow(self, act))
    }

    /// Ends the use of something shared, in the course of an update. The last user's end unmakes it.
    ///
    /// # Errors
    /// It will not go, or a record cannot be written.
    pub fn leave(&mut self, key: &str) -> Result<()> {
        let piece = Piece { subsystem: self.subsystem.to_owned(), ..Piece::new(Shared::USE, key) };
        let (name, user) = (Shared::name(self.subsystem, key), User::of(self.jid, self.name));
        let (settings, house, unmaker) = (self.settings, self.house, self.unmaker);
        self.unmake(&piece, || {
            let shared = Shared::lock(house.shelf(), &name)?;
            shared.leave(&user, settings, house, |of, journal| unmaker.unmake_shared(of, journal, true))
        })
    }
}
