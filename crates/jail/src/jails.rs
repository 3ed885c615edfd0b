//! All jails of a store, and what can be done with them.

use std::{
    borrow::Borrow,
    iter,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use kernel::act::Act;
use vimage::{Driver, Error, ErrorKind, Fds, House as _, Instance, Owner, Piece, Recorder, Registry, Result};

use crate::{
    above, cgroup,
    house::Premises,
    listing::Listing,
    place::Place,
    privilege,
    process::{self, Command, Running},
    record::{Record, State},
    store::{Locked, Wait},
};

/// The jails of a store.
#[derive(Debug)]
pub struct Jails<'r> {
    /// The subsystems.
    pub registry: &'r Registry<Act>,
    /// Records and vault.
    pub premises: Premises,
    pub(crate) recorder: Recorder,
}

/// A jail that was created.
#[derive(Debug)]
pub struct Created {
    /// Its number.
    pub jid: u32,
    /// Its name.
    pub name: String,
}

/// How long sockets and links may take.
pub(crate) const DRAINED: Duration = Duration::from_millis(500);

impl<'r> Jails<'r> {
    /// The jails of the store at a folder.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &Path, registry: &'r Registry<Act>) -> Result<Self> {
        let premises = Premises::open(root).map_err(privilege::explain)?;
        Ok(Self { registry, premises, recorder: Recorder::from_env() })
    }

    /// The driver over these jails.
    #[must_use]
    pub fn driver(&self) -> Driver<'_, Act> {
        Driver { registry: self.registry, house: &self.premises, recorder: &self.recorder }
    }

    /// What happened so far.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Starts a command in a jail that exists.
    ///
    /// # Errors
    /// `jail "x" not found`; a step failed.
    pub fn enter(&self, word: &str, command: &Command) -> Result<Running> {
        self.enter_with(word, |_| Ok(command))
    }

    /// As [`Jails::enter`], with a command that depends on what is in the jail: its users, its terminals.
    /// Nobody else enters between the look and the start.
    ///
    /// # Errors
    /// As [`Jails::enter`], and those of `command`.
    pub fn enter_with<C: Borrow<Command>>(
        &self,
        word: &str,
        command: impl FnOnce(&Place<'_>) -> Result<C>,
    ) -> Result<Running> {
        privilege::check()?;
        let mut locked = self.lock_alive(word, Wait::Yes)?;
        let ancestors = self.ancestors(&locked.record.name)?;
        self.with_lineage(&ancestors, |parent| {
            let mut owner = self.owner(&locked, parent)?;
            let init = locked.record.init;
            let command = {
                let instance = owner.instance(&self.premises);
                command(&Place::new(&instance, &self.premises, init.as_ref())?)?
            };
            self.start(&mut locked, &mut owner, command.borrow())
        })
    }

    /// The record of a jail in any state: that of a dying one by its number, or by the name it had.
    ///
    /// # Errors
    /// `jail "x" not found`.
    pub fn find(&self, word: &str) -> Result<Record> {
        let store = &self.premises.store;
        let named = store.jid(word).map(|jid| store.read(jid)).transpose()?.flatten();
        match named {
            Some(record) => Ok(Record { state: self.state(&record), ..record }),
            None => self.list(true)?.into_iter().find(|r| r.name == word).ok_or_else(|| not_found(word)),
        }
    }

    /// The record of a living jail.
    ///
    /// # Errors
    /// `jail "x" not found`.
    pub fn read(&self, word: &str) -> Result<Record> {
        let jid = self.premises.store.jid(word);
        let record = jid.map(|jid| self.premises.store.read(jid)).transpose()?.flatten();
        record.filter(|r| is_called(r, word) && self.is_alive(r)).ok_or_else(|| self.unknown(word))
    }

    /// All jails that can be entered; with `dying`, also those that are on their way out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self, dying: bool) -> Result<Vec<Record>> {
        let listing = Listing::new(self);
        let records: Vec<_> = listing.records(dying)?.collect();
        drop(listing);
        Ok(records.into_iter().map(Rc::unwrap_or_clone).collect())
    }

    /// Whether a jail can be entered: it persists, or has processes.
    #[must_use]
    pub fn is_alive(&self, record: &Record) -> bool {
        self.is_named(record)
            && (record.settings.bool("persist")
                || cgroup_of(&record.pieces).is_some_and(|dir| cgroup::populated(&dir))
                || record.maker.as_ref().is_some_and(|maker| process::open(maker).is_some()))
    }

    /// Whether nobody has begun to remove a jail that was made: a removal begins with the name.
    pub(crate) fn is_named(&self, record: &Record) -> bool {
        record.state == State::Alive && self.premises.store.is_named(record)
    }

    /// The state that a jail is in: of one that ended by itself, or whose removal has begun, nobody may have written it
    /// down.
    pub(crate) fn state(&self, record: &Record) -> State {
        match record.state {
            State::Alive if !self.is_alive(record) => State::Dying,
            state => state,
        }
    }

    /// Runs `act` with a jail as its subsystems see it.
    ///
    /// # Errors
    /// Those of `act`, and of reading its ancestors.
    pub fn with_instance<T>(
        &self,
        record: &Record,
        act: impl FnOnce(&Instance<'_>) -> Result<T>,
    ) -> Result<T> {
        Listing::new(self).with_instance(record, act)
    }

    /// The records of the jails that one of this name is in, the nearest first.
    pub(crate) fn ancestors(&self, name: &str) -> Result<Vec<Rc<Record>>> {
        Listing::new(self).ancestors(name)
    }

    /// A jail's record and those of its ancestors, its own first.
    pub(crate) fn lineage(&self, record: &Record) -> Result<Vec<Rc<Record>>> {
        let own = Rc::new(record.clone());
        Ok(iter::once(own).chain(self.ancestors(&record.name)?).collect())
    }

    /// Calls `act` with the first of a lineage, each with the next as its parent; with `None` if it is empty.
    pub(crate) fn with_lineage<T>(
        &self,
        lineage: &[Rc<Record>],
        act: impl FnOnce(Option<&Instance<'_>>) -> Result<T>,
    ) -> Result<T> {
        let (mut act, mut done) = (Some(act), None);
        self.descend(lineage, &mut |own| done = act.take().map(|act| act(own)));
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::NotFound, "no jail specified")))
    }

    fn descend(&self, lineage: &[Rc<Record>], act: &mut dyn FnMut(Option<&Instance<'_>>)) {
        let Some((first, above)) = lineage.split_first() else { return act(None) };
        self.descend(above, &mut |parent| act(Some(&self.instance(first, parent))));
    }

    pub(crate) fn instance<'a>(
        &'a self,
        record: &'a Record,
        parent: Option<&'a Instance<'a>>,
    ) -> Instance<'a> {
        Instance {
            name: &record.name,
            jid: record.jid,
            settings: &record.settings,
            parent,
            pieces: &record.pieces,
            fds: Fds::default(),
            house: &self.premises,
        }
    }

    pub(crate) fn owner<'a>(&self, locked: &Locked, parent: Option<&'a Instance<'a>>) -> Result<Owner<'a>> {
        Ok(Owner {
            name: locked.record.name.clone(),
            jid: locked.record.jid,
            settings: locked.record.settings.clone(),
            parent,
            journal: locked.journal()?,
            fds: Fds::default(),
        })
    }

    pub(crate) fn lock_alive(&self, word: &str, wait: Wait<'_>) -> Result<Locked> {
        let jid = self.premises.store.jid(word).ok_or_else(|| self.unknown(word))?;
        let locked = self.premises.store.lock(jid, wait)?;
        let mut locked = locked.ok_or_else(|| self.unknown(word))?;
        locked.record.pieces = locked.journal()?.pieces().to_vec();
        if !is_called(&locked.record, word) || !self.is_alive(&locked.record) {
            return Err(self.unknown(word));
        }
        // What cannot be mended is the audit's to tell: the jail may be good enough to enter.
        let _left = self.mend(&mut locked);
        if self.is_alive(&locked.record) { Ok(locked) } else { Err(self.unknown(word)) }
    }

    /// That there is no such jail; where it is one that was made from further up, that it cannot be reached from here.
    fn unknown(&self, word: &str) -> Error {
        let told = || above::others(&self.premises.store);
        match self.premises.above().is_some() && told().iter().any(|told| told.name == word) {
            true => not_found(word)
                .hint("it was made from outside this jail, and is entered, changed and removed there"),
            false => not_found(word),
        }
    }

    /// Whether one more jail may exist below each ancestor, and in the jail that we are in ourselves.
    pub(crate) fn room_below(&self, parent: Option<&Instance<'_>>) -> Result<()> {
        let around = self.premises.above();
        if parent.is_none() && around.is_none() {
            return Ok(());
        }
        let names = self.premises.store.taken()?;
        if let Some(most) = around.map(|settings| settings.int("children.max").unwrap_or(0)) {
            let count = names.len() + above::others(&self.premises.store).len();
            if i64::try_from(count).unwrap_or(i64::MAX) >= most {
                return Err(Error::new(ErrorKind::Denied, LIMIT_EXCEEDED)
                    .hint(format!("this jail has {count} of at most {most} in it, its children.max")));
            }
        }
        let mut above = parent;
        while let Some(jail) = above {
            let count = below(&names, jail.name).len();
            if i64::try_from(count).unwrap_or(i64::MAX) >= jail.settings.int("children.max").unwrap_or(0) {
                return Err(Error::new(ErrorKind::Denied, LIMIT_EXCEEDED).hint(format!(
                    "jail {} has {count} of at most {} below it, its children.max",
                    jail.name,
                    jail.settings.int("children.max").unwrap_or(0)
                )));
            }
            above = jail.parent;
        }
        Ok(())
    }
}

/// That there is no room for one more jail, as FreeBSD says it.
pub const LIMIT_EXCEEDED: &str = "prison limit exceeded";

pub(crate) fn not_found(word: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("jail \"{word}\" not found"))
}

/// Whether a word is a jail's name or number. A link of a name alone does not say so: a renaming makes the
/// links first.
pub(crate) fn is_called(record: &Record, word: &str) -> bool {
    record.name == word || word.parse() == Ok(record.jid)
}

/// Whether a name is of a jail in another, at any depth.
pub(crate) fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// Of names in order, those of the jails in one, at any depth.
#[must_use]
pub fn below<'n>(names: &'n [String], above: &str) -> &'n [String] {
    let first = format!("{above}.");
    let rest = &names[names.partition_point(|name| *name < first)..];
    &rest[..rest.partition_point(|name| is_below(name, above))]
}

pub(crate) fn cgroup_of(pieces: &[Piece]) -> Option<PathBuf> {
    let anchors = pieces.iter().filter_map(|p| p.anchor.as_ref());
    anchors.filter(|a| a.kind() == "cgroup" && a.object().starts_with('/')).map(|a| a.object().into()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_below_a_jail_is_found_among_names_that_begin_alike() {
        let mut names = ["a", "a-b", "a.b", "a.b.c", "a.é", "a/", "ab", "ab.c", "b"].map(str::to_owned);
        names.sort_unstable();
        assert_eq!(below(&names, "a"), ["a.b", "a.b.c", "a.é"]);
        assert_eq!(below(&names, "a.b"), ["a.b.c"]);
        for alone in ["", "a.b.c", "b", "c"] {
            assert!(below(&names, alone).is_empty(), "{alone}");
        }
    }
}
