//! All jails of a store, and what can be done with them.

use std::{
    borrow::Borrow,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kernel::act::Act;
use vimage::{
    Context as _, Driver, Error, ErrorKind, Fds, Finding, Given, Instance, Known, Ledger, Owner, Piece,
    Recorder, Registry, Result, Settings,
};

use crate::{
    cgroup, entry,
    house::Premises,
    place::Place,
    privilege,
    process::{self, Command, Running},
    record::{Record, State, parent_of},
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

/// How long processes may take to end once they are killed, before the jail is left dying.
const KILLED: Duration = Duration::from_secs(10);
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
        let mut locked = self.lock_alive(word)?;
        let lineage = self.lineage(&locked.record)?;
        self.with_lineage(&lineage[1..], |parent| {
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
            Some(record) => Ok(record),
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
        record.filter(|r| is_called(r, word) && self.is_alive(r)).ok_or_else(|| not_found(word))
    }

    /// Changes a living jail, and narrows what its descendants have where it must be.
    ///
    /// # Errors
    /// See jail(8). The jail is as before.
    pub fn modify(&self, word: &str, given: &Given) -> Result<Created> {
        privilege::check()?;
        let mut given = given.clone();
        let wanted = given.settings.remove("name").map(|name| name.text()).filter(|name| name != word);
        given.settings.remove("jid");
        let mut locked = self.lock_alive(word)?;
        let old = locked.record.name.clone();
        if let Some(wanted) = wanted {
            let new = Self::new_name(&locked, &wanted)?;
            self.rename(&mut locked, &new)?;
        }
        let done = self.change(&mut locked, &given);
        if done.is_err() {
            self.rename(&mut locked, &old)?;
        }
        done.map(|()| Created { jid: locked.record.jid, name: locked.record.name.clone() })
    }

    /// Changes all of a locked jail but its name.
    fn change(&self, locked: &mut Locked, given: &Given) -> Result<()> {
        let lineage = self.lineage(&locked.record)?;
        let (name, jid) = (locked.record.name.clone(), locked.record.jid);
        self.with_lineage(&lineage[1..], |parent| {
            let mut owner = self.owner(locked, parent)?;
            let new = {
                let instance = owner.instance(&self.premises);
                self.driver().ask(&name, jid, given, parent, Some(&instance))?.settings
            };
            let done = self
                .driver()
                .update(&mut owner, &new, &mut |of, acts| entry::inside(of, acts))
                .doing_with(|| name.clone());
            locked.record.settings = owner.settings.clone();
            locked.save(&mut owner.journal)?;
            self.premises.store.set_pending(jid, !owner.settings.bool("persist"))?;
            done?;
            let changed = owner.instance(&self.premises);
            self.narrow(&changed)
        })
    }

    /// Narrows the children of a jail to what it now allows, and theirs in turn.
    fn narrow(&self, parent: &Instance<'_>) -> Result<()> {
        for (name, jid) in self.premises.store.names()? {
            if parent_of(&name) != Some(parent.name) {
                continue;
            }
            let Some(mut locked) = self.premises.store.lock(jid, Wait::Yes)? else { continue };
            let less = self.registry.narrowing(&locked.record.settings, parent.settings);
            if less.iter().next().is_none() {
                continue;
            }
            let mut owner = self.owner(&locked, Some(parent))?;
            let mut new = owner.settings.clone();
            new.merge(&less);
            self.driver()
                .update(&mut owner, &new, &mut |of, acts| entry::inside(of, acts))
                .doing_with(|| name)?;
            locked.record.settings = new;
            locked.save(&mut owner.journal)?;
            self.narrow(&owner.instance(&self.premises))?;
        }
        Ok(())
    }

    /// Removes jails and all that are in them. Goes on past failures; what could not be undone stays in a
    /// dying record, which the next command takes up again. Returns the names of the removed, and failures.
    ///
    /// # Errors
    /// `jail "x" not found`, for the first that is not there; nothing is removed then.
    pub fn remove(&self, words: &[String]) -> Result<(Vec<String>, Vec<Error>)> {
        privilege::check()?;
        let mut wanted = Vec::new();
        for word in words {
            let record = self.read(word)?;
            self.can_kill(&record)?;
            wanted.push((record.name, record.jid));
        }
        let mut owners = Vec::new();
        // A parent is locked before its children, so that it gets no more of them meanwhile, and all in the order
        // of their names, so that two removals do not wait for each other.
        let mut last = String::new();
        let mut names = self.premises.store.names()?;
        while let Some((name, jid)) = names
            .iter()
            .find(|(name, _)| {
                *name > last && wanted.iter().any(|(top, _)| name == top || is_below(name, top))
            })
            .cloned()
        {
            let locked = self.premises.store.lock(jid, Wait::Yes)?;
            // Another may have had its number since.
            if let Some(locked) = locked.filter(|locked| locked.record.name == name) {
                if locked.record.settings.int("children.max").unwrap_or(0) > 0 {
                    names = self.premises.store.names()?;
                }
                let owner = self.owner(&locked, None)?;
                owners.push((locked, owner));
            }
            last = name;
        }
        // Children go before their parents.
        owners.sort_by_key(|(_, owner)| std::cmp::Reverse(owner.name.matches('.').count()));
        let removed = owners.iter().map(|(_, owner)| owner.name.clone()).collect();
        let errors = self.unmake(owners, Instant::now() + DRAINED);
        Ok((removed, errors))
    }

    /// Whether the processes of a jail can be found. Without them it is not taken down: they would live on in
    /// what is left of it.
    fn can_kill(&self, record: &Record) -> Result<()> {
        use vimage::House as _;
        match cgroup_of(&record.pieces) {
            Some(dir) if !dir.exists() => cgroup::base(self.premises.mark()).map(drop),
            _ => Ok(()),
        }
    }

    /// Takes jails down, phase by phase over all of them: processes, entrances, pieces.
    pub(crate) fn unmake(&self, owners: Vec<(Locked, Owner<'_>)>, drained: Instant) -> Vec<Error> {
        let mut errors = Vec::new();
        let (mut locked, mut owners): (Vec<_>, Vec<_>) = owners.into_iter().unzip();
        for (locked, owner) in locked.iter_mut().zip(&mut owners) {
            locked.record.state = State::Dying;
            // Whatever happens now, the name is free. A full file system does not stop a removal: that the jail
            // has no name says as much as the record.
            let _said_again_at_the_end = locked.save(&mut owner.journal);
            errors.extend(self.premises.store.set_pending(owner.jid, true).err());
            errors.extend(self.premises.store.unname(&owner.name, owner.jid).err());
            if let Some(other) = &locked.record.other_name {
                errors.extend(self.premises.store.unname(other, owner.jid).err());
            }
        }
        let start = Instant::now();
        let cgroups: Vec<_> =
            owners.iter().flat_map(|o| o.journal.pieces()).filter_map(|p| p.anchor.as_ref()).collect();
        let cgroups: Vec<PathBuf> =
            cgroups.iter().filter(|a| a.object().starts_with('/')).map(|a| a.object().into()).collect();
        errors.extend(cgroups.iter().filter_map(|dir| cgroup::kill(dir).err()));
        let deadline = Instant::now() + KILLED;
        for dir in &cgroups {
            match cgroup::wait_empty(dir, deadline) {
                Ok(true) => {}
                Ok(false) => errors.push(Error::new(
                    ErrorKind::Busy,
                    format!("{}: its processes were killed and do not end", dir.display()),
                )),
                Err(e) => errors.push(e),
            }
        }
        process::collect();
        let all = owners.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(" ");
        self.recorder.note(&all, "kill", "processes", start, None);
        let driver = self.driver();
        {
            let instances: Vec<_> = owners.iter().map(|o| o.instance(&self.premises)).collect();
            errors.extend(driver.quiesce(&instances, drained));
        }
        errors.extend(driver.unmake(&mut owners));
        let settled =
            self.recorder.timed(&all, "settle", "instances", || driver.settle(&mut owners, Instant::now()));
        errors.extend(settled.err());
        for (mut locked, mut owner) in locked.into_iter().zip(owners) {
            if owner.journal.pieces().is_empty() {
                errors.extend(locked.forget(&self.premises.store).err());
                continue;
            }
            locked.record.reasons = owner.journal.pieces().iter().map(ToString::to_string).collect();
            errors.extend(locked.save(&mut owner.journal).err());
        }
        errors
    }

    /// Takes up what removals, crashed commands and jails that ended by themselves left.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn sweep(&self) -> Result<Vec<Error>> {
        let mut errors = Vec::new();
        for jid in self.premises.store.pending()? {
            match self.premises.store.read(jid) {
                Ok(Some(record)) if record.other_name.is_none() && self.is_alive(&record) => {
                    // Looked at again under its lock: somebody may be removing it.
                    let locked =
                        self.premises.store.lock(jid, Wait::No)?.filter(|l| self.is_alive(&l.record));
                    if locked.is_some_and(|l| l.record.settings.bool("persist")) {
                        self.premises.store.set_pending(jid, false)?;
                    }
                    continue;
                }
                // Nothing to be done for it: somebody holds its namespaces, and will let go.
                Ok(Some(record)) if self.only_held(&record) => continue,
                Ok(Some(record)) => {
                    if let Err(e) = self.can_kill(&record) {
                        errors.push(e);
                        continue;
                    }
                }
                Ok(None) => {}
                Err(e) => {
                    errors.push(e);
                    continue;
                }
            }
            // One that is locked is being made or removed by another.
            let Some(mut locked) = self.premises.store.lock(jid, Wait::No)? else {
                if self.premises.store.read(jid)?.is_none() && !self.premises.store.jids()?.contains(&jid) {
                    self.premises.store.set_pending(jid, false)?;
                }
                continue;
            };
            if self.is_alive(&locked.record) {
                errors.extend(self.follow(&mut locked).err());
                continue;
            }
            let owner = self.owner(&locked, None)?;
            errors.extend(self.unmake(vec![(locked, owner)], Instant::now() + DRAINED));
        }
        Ok(errors)
    }

    /// Whether all that is left of a dying jail is namespaces, each of which somebody holds.
    fn only_held(&self, record: &Record) -> bool {
        let left = || record.pieces.iter();
        record.state == State::Dying
            && left().next().is_some()
            && left().all(|p| p.kind == Piece::INSTANCE && self.driver().is_alive(p))
    }

    /// Whether the jail that has a wanted name or number is dead, and has now given both up.
    pub(crate) fn give_up(&self, jid: u32) -> Result<bool> {
        // One that is being made, or taken down, is waited for: then it is there, or not.
        let wait = match self.premises.store.read(jid)? {
            Some(record) if self.is_alive(&record) => Wait::No,
            _ => Wait::Yes,
        };
        let Some(locked) = self.premises.store.lock(jid, wait)? else { return Ok(wait == Wait::Yes) };
        if self.is_alive(&locked.record) {
            return Ok(false);
        }
        let owner = self.owner(&locked, None)?;
        let number = locked.record.jid;
        self.unmake(vec![(locked, owner)], Instant::now() + DRAINED);
        if self.premises.store.read(number)?.is_some() {
            self.premises.store.renumber(number)?;
        }
        Ok(true)
    }

    /// All jails that can be entered; with `dying`, also those that are on their way out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list(&self, dying: bool) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for jid in self.premises.store.jids()? {
            // One that is damaged does not hide the others; whoever names it is told.
            let Ok(Some(record)) = self.premises.store.read(jid) else { continue };
            if self.is_alive(&record) || (dying && record.state == State::Dying) {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Whether a jail can be entered: it persists, or has processes.
    #[must_use]
    pub fn is_alive(&self, record: &Record) -> bool {
        let store = &self.premises.store;
        record.state == State::Alive
            && (record.settings.bool("persist")
                || cgroup_of(&record.pieces).is_some_and(|dir| cgroup::populated(&dir))
                || record.maker.as_ref().is_some_and(|maker| process::open(maker).is_some()))
            // A removal that could not write to a full file system took the name at least.
            && (store.leads_to(&record.name, record.jid)
                || record.other_name.as_ref().is_some_and(|other| store.leads_to(other, record.jid)))
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
        let lineage = self.lineage(record)?;
        self.with_lineage(&lineage, |own| match own {
            Some(own) => act(own),
            None => Err(not_found(&record.name)),
        })
    }

    /// A jail's record and those of its ancestors, its own first.
    pub(crate) fn lineage(&self, record: &Record) -> Result<Vec<Record>> {
        let mut lineage = vec![record.clone()];
        let mut name = record.name.as_str();
        while let Some(parent) = parent_of(name) {
            let jid = self.premises.store.jid(parent);
            let record = jid.map(|jid| self.premises.store.read(jid)).transpose()?.flatten();
            lineage.push(record.ok_or_else(|| not_found(parent))?);
            name = parent;
        }
        Ok(lineage)
    }

    /// Calls `act` with the first of a lineage, each with the next as its parent; with `None` if it is empty.
    pub(crate) fn with_lineage<T>(
        &self,
        lineage: &[Record],
        act: impl FnOnce(Option<&Instance<'_>>) -> Result<T>,
    ) -> Result<T> {
        let (mut act, mut done) = (Some(act), None);
        self.descend(lineage, &mut |own| done = act.take().map(|act| act(own)));
        done.unwrap_or_else(|| Err(Error::new(ErrorKind::NotFound, "no jail specified")))
    }

    fn descend(&self, lineage: &[Record], act: &mut dyn FnMut(Option<&Instance<'_>>)) {
        let Some((first, above)) = lineage.split_first() else { return act(None) };
        self.descend(above, &mut |parent| {
            act(Some(&Instance {
                name: &first.name,
                jid: first.jid,
                settings: &first.settings,
                parent,
                pieces: &first.pieces,
                fds: Fds::default(),
                house: &self.premises,
            }));
        });
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

    pub(crate) fn lock_alive(&self, word: &str) -> Result<Locked> {
        let jid = self.premises.store.jid(word).ok_or_else(|| not_found(word))?;
        let locked = self.premises.store.lock(jid, Wait::Yes)?;
        let mut locked = locked.ok_or_else(|| not_found(word))?;
        locked.record.pieces = locked.journal()?.pieces().to_vec();
        let found = is_called(&locked.record, word) && self.is_alive(&locked.record);
        if found { Ok(locked) } else { Err(not_found(word)) }
    }

    /// Whether one more jail may exist below each ancestor.
    pub(crate) fn room_below(&self, parent: &Instance<'_>) -> Result<()> {
        let names = self.premises.store.names()?;
        let mut above = Some(parent);
        while let Some(jail) = above {
            let count = names.iter().filter(|(name, _)| is_below(name, jail.name)).count();
            if i64::try_from(count).unwrap_or(i64::MAX) >= jail.settings.int("children.max").unwrap_or(0) {
                return Err(Error::new(ErrorKind::Denied, "prison limit exceeded").hint(format!(
                    "jail {} has {count} of at most {} below it, its children.max",
                    jail.name,
                    jail.settings.int("children.max").unwrap_or(0)
                )));
            }
            above = jail.parent;
        }
        Ok(())
    }

    /// How many jails are below one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn children(&self, name: &str) -> Result<usize> {
        Ok(self.premises.store.names()?.iter().filter(|(other, _)| is_below(other, name)).count())
    }

    /// What is wrong: pieces that are recorded and do not exist, and what carries our mark and is in no
    /// record. Sweeps first, and gives what is dying two seconds to go: the kernel takes its time, and a host's
    /// init may take more to collect a jail's.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn audit(&self) -> Result<Vec<Finding>> {
        let patience = Instant::now() + Duration::from_secs(2);
        self.sweep()?;
        while Instant::now() < patience && self.list(true)?.iter().any(|r| r.state == State::Dying) {
            std::thread::sleep(Duration::from_millis(20));
            self.sweep()?;
        }
        let mut findings = Vec::new();
        let (records, pieces, unknown) = self.all_pieces()?;
        findings.extend(unknown.into_iter().map(|error| Finding::Unknown {
            subsystem: crate::core::NAME.to_owned(),
            error: error.to_string(),
        }));
        for record in &records {
            findings.extend(self.with_instance(record, |of| self.driver().missing(of))?);
        }
        let jids: Vec<_> = records.iter().map(|r| r.jid).collect();
        findings.extend(self.driver().shared_findings(&|jid| jids.contains(&jid))?);
        findings.extend(self.driver().strays(&Known::of(&pieces)));
        Ok(findings)
    }

    /// Mends what [`Jails::audit`] finds and can be mended: undoes what is in no record, and what is shared
    /// and has no users left.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn repair(&self) -> Result<Vec<Error>> {
        let mut errors = self.sweep()?;
        let (records, pieces, unknown) = self.all_pieces()?;
        if !unknown.is_empty() {
            // What looks like nobody's may be of a jail whose record cannot be read.
            errors.extend(unknown);
            return Ok(errors);
        }
        let jids: Vec<_> = records.iter().map(|r| r.jid).collect();
        errors.extend(self.driver().sweep_shared(&|jid| jids.contains(&jid)).err());
        let settings = Settings::default();
        let nobody = Instance {
            name: "stray",
            jid: 0,
            settings: &settings,
            parent: None,
            pieces: &[],
            fds: Fds::default(),
            house: &self.premises,
        };
        for finding in self.driver().strays(&Known::of(&pieces)) {
            if let Finding::Stray { piece } = finding {
                errors.extend(self.driver().undo_stray(&piece, &nobody).err());
            }
        }
        Ok(errors)
    }

    /// How many pieces of each kind were made and freed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ledger(&self) -> Result<Ledger> {
        let (_, pieces, _) = self.all_pieces()?;
        Ledger::read(&self.premises.store.root().join("ledger"), &pieces)
    }

    /// Writes down what this command did: its trace, and what it freed.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn close(&self) -> Result<()> {
        Ledger::add(&self.premises.store.root().join("ledger"), &self.recorder.take_freed())?;
        self.premises.store.add_trace(&self.recorder.take())
    }

    /// All records, all pieces of jails and of what they share, and why others cannot be read.
    fn all_pieces(&self) -> Result<(Vec<Record>, Vec<Piece>, Vec<Error>)> {
        use vimage::{House as _, Shared};
        let (mut records, mut unknown) = (Vec::new(), Vec::new());
        for jid in self.premises.store.jids()? {
            match self.premises.store.read(jid) {
                Ok(record) => records.extend(record),
                Err(e) => unknown.push(e),
            }
        }
        let mut pieces: Vec<_> = records.iter().flat_map(|r| r.pieces.clone()).collect();
        for name in Shared::names(self.premises.shelf())? {
            match Shared::peek(self.premises.shelf(), &name) {
                Ok((_, shared)) => pieces.extend(shared),
                Err(e) => unknown.push(e),
            }
        }
        Ok((records, pieces, unknown))
    }
}

fn not_found(word: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("jail \"{word}\" not found"))
}

/// Whether a word is a jail's name or number. A link of a name alone does not say so: a renaming makes the
/// links first.
fn is_called(record: &Record, word: &str) -> bool {
    record.name == word || word.parse() == Ok(record.jid)
}

/// Whether a name is of a jail in another, at any depth.
fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

fn cgroup_of(pieces: &[Piece]) -> Option<PathBuf> {
    let anchors = pieces.iter().filter_map(|p| p.anchor.as_ref());
    anchors.filter(|a| a.kind() == "cgroup" && a.object().starts_with('/')).map(|a| a.object().into()).next()
}
