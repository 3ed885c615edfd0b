//! Removal: jails taken down together, phase by phase; and what was left undone, taken up again.

use std::{
    collections::BTreeSet,
    iter,
    path::PathBuf,
    time::{Duration, Instant},
};

use vimage::{Context as _, Error, ErrorKind, Owner, Piece, Result};

use crate::{
    Jails, cgroup,
    jails::{DRAINED, cgroup_of},
    privilege, process,
    record::{Record, State, parent_of},
    store::{Locked, Wait},
};

/// How long processes may take to end once they are killed, before the jail is left dying.
const KILLED: Duration = Duration::from_secs(10);

/// As [`KILLED`], of those that did not end then.
const AGAIN: Duration = Duration::from_millis(10);

/// How long another command may be at a jail that is to be removed, before the jail's processes are killed.
const MOMENT: Duration = Duration::from_millis(250);

/// A jail that is dead, and the cgroups of its processes, which are killed.
type Condemned<'a> = (Locked, Owner<'a>, Vec<PathBuf>);

impl Jails<'_> {
    /// Removes jails that were found, and all that are in them. Goes on past failures; what could not be undone
    /// stays in a dying record, which the next command takes up again. Returns the names of the removed, and failures.
    ///
    /// Each is dead as soon as it is locked: the processes of the first end while the last is still looked for.
    ///
    /// # Errors
    /// The processes of one cannot be reached; nothing is removed then.
    pub fn remove(&self, found: &[Record]) -> Result<(Vec<String>, Vec<Error>)> {
        privilege::check()?;
        found.iter().try_for_each(|record| self.can_kill(record))?;
        let (mut doomed, mut errors) = (Vec::new(), Vec::new());
        let start = Instant::now();
        // A parent is locked before its children, so that it gets no more of them meanwhile, and all in the order
        // of their names, so that two removals do not wait for each other.
        let mut last = String::new();
        let mut names = self.premises.store.names()?;
        // Since it was found, another may have removed one and made a jail of its name: that is not meant.
        let wanted: BTreeSet<_> =
            found.iter().filter(|r| leads(&names, &r.name, r.jid)).map(|r| r.name.as_str()).collect();
        while let Some((name, jid)) = next(&names, &last, &wanted).cloned() {
            match self.seize(&name, jid).and_then(|locked| self.condemn(locked, &name, &mut errors)) {
                // It may have got more of them until it was locked.
                Ok(Some(parent)) if parent.0.record.settings.int("children.max").unwrap_or(0) > 0 => {
                    doomed.push(parent);
                    match self.premises.store.names() {
                        Ok(now) => names = now,
                        Err(error) => errors.push(error),
                    }
                }
                Ok(jail) => doomed.extend(jail),
                Err(error) => errors.push(error.doing(&name)),
            }
            last = name;
        }
        // Children go before their parents.
        doomed.sort_by_key(|(_, owner, _)| std::cmp::Reverse(owner.name.matches('.').count()));
        let removed: Vec<_> = doomed.iter().map(|(_, owner, _)| owner.name.clone()).collect();
        self.recorder.note(&removed.join(" "), "kill", "processes", start, None);
        errors.extend(self.take_down(doomed, Instant::now() + DRAINED));
        Ok((removed, errors))
    }

    /// Declares a jail that was locked dead, if it is still the one of this name.
    fn condemn(
        &self,
        locked: Option<Locked>,
        name: &str,
        errors: &mut Vec<Error>,
    ) -> Result<Option<Condemned<'static>>> {
        // Another may have had its number since.
        let Some(mut locked) = locked.filter(|locked| locked.record.name == name) else { return Ok(None) };
        let owner = self.owner(&locked, None)?;
        let cgroups = self.end(&mut locked, &owner, errors);
        Ok(Some((locked, owner, cgroups)))
    }

    /// Locks a jail that is to be removed. Whoever is at it for more than a moment may wait for what never comes: a
    /// process that enters a frozen jail. It is one of the jail's then, and ends with them.
    fn seize(&self, name: &str, jid: u32) -> Result<Option<Locked>> {
        let kill = &mut |_| {
            let record = self.premises.store.read(jid)?.filter(|record| record.name == name);
            record.and_then(|record| cgroup_of(&record.pieces)).map_or(Ok(()), |dir| cgroup::kill(&dir))
        };
        self.premises.store.lock(jid, Wait::Or(MOMENT, kill))
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

    /// Ends a jail and takes it down.
    pub(crate) fn unmake(&self, mut locked: Locked, owner: Owner<'_>, drained: Instant) -> Vec<Error> {
        let mut errors = Vec::new();
        let start = Instant::now();
        let cgroups = self.end(&mut locked, &owner, &mut errors);
        self.recorder.note(&owner.name, "kill", "processes", start, None);
        errors.extend(self.take_down(vec![(locked, owner, cgroups)], drained));
        errors
    }

    /// Takes the names of a jail away and kills its processes. Returns the cgroups that had any.
    fn end(&self, locked: &mut Locked, owner: &Owner<'_>, errors: &mut Vec<Error>) -> Vec<PathBuf> {
        errors.extend(self.give_up_names(locked, owner));
        let cgroups = populated(owner.journal.pieces());
        errors.extend(cgroups.iter().filter_map(|dir| cgroup::kill(dir).err()));
        cgroups
    }

    /// Takes jails down, phase by phase over all of them: entrances, processes, pieces. One whose processes do not
    /// end is left as it is, and dying: they would live on in what is left of it.
    fn take_down(&self, doomed: Vec<Condemned<'_>>, drained: Instant) -> Vec<Error> {
        let mut errors = Vec::new();
        let all = doomed.iter().map(|(_, o, _)| o.name.as_str()).collect::<Vec<_>>().join(" ");
        let driver = self.driver();
        // While they end.
        let instances: Vec<_> = doomed.iter().map(|(_, o, _)| o.instance(&self.premises)).collect();
        errors.extend(driver.quiesce(&instances));
        drop(instances);
        let start = Instant::now();
        let (mut ended, mut stuck) = (Vec::new(), Vec::new());
        let mut outlived = BTreeSet::new();
        for (locked, owner, cgroups) in doomed {
            if cgroups.iter().any(|dir| cgroup::populated(dir)) {
                outlived.insert(owner.jid);
            }
            // Where they did not end before, nobody is kept waiting for them again.
            let patience = if locked.record.reasons.is_empty() { KILLED } else { AGAIN };
            match wait_empty(&cgroups, start + patience).doing(&owner.name) {
                Ok(()) => ended.push((locked, owner)),
                Err(error) => {
                    errors.push(error);
                    stuck.push((locked, owner));
                }
            }
        }
        process::collect();
        self.recorder.note(&all, "wait", "processes", start, None);
        let (locked, mut owners): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
        // What a process had asked for when it was killed is done before it ends: as to set a link up once more.
        let again = owners.iter().filter(|owner| outlived.contains(&owner.jid));
        let again: Vec<_> = again.map(|o| o.instance(&self.premises)).collect();
        if !again.is_empty() {
            errors.extend(driver.quiesce(&again));
        }
        drop(again);
        let instances: Vec<_> = owners.iter().map(|o| o.instance(&self.premises)).collect();
        errors.extend(driver.drain(&instances, drained));
        drop(instances);
        errors.extend(driver.unmake(&mut owners));
        let start = Instant::now();
        driver.settle(&mut owners, start);
        self.recorder.note(&all, "settle", "instances", start, None);
        for (locked, owner) in locked.into_iter().zip(owners).chain(stuck) {
            errors.extend(self.write_down(locked, owner));
        }
        errors
    }

    /// Declares a jail dead to everybody: whatever happens then, its name is free. That it has none says as much as
    /// its record will, and needs no room in a file system that may be full.
    fn give_up_names(&self, locked: &mut Locked, owner: &Owner<'_>) -> Vec<Error> {
        let mut errors = Vec::new();
        locked.record.state = State::Dying;
        locked.record.change = None;
        errors.extend(self.premises.store.set_pending(owner.jid, true).err());
        errors.extend(self.premises.store.unname(&owner.name, owner.jid).err());
        if let Some(other) = &locked.record.other_name {
            errors.extend(self.premises.store.unname(other, owner.jid).err());
        }
        errors
    }

    /// Writes down what is left of a jail that was taken down; nothing: forgets it.
    fn write_down(&self, mut locked: Locked, mut owner: Owner<'_>) -> Vec<Error> {
        let left = owner.journal.pieces();
        if left.is_empty() {
            return locked.forget(&self.premises.store).err().into_iter().collect();
        }
        locked.record.reasons = left.iter().map(ToString::to_string).collect();
        let only_waits = left.iter().all(|p| p.kind == Piece::INSTANCE);
        let mut errors: Vec<_> = locked.save(&mut owner.journal).err().into_iter().collect();
        if only_waits {
            errors.extend(self.premises.store.set_dying(owner.jid).err());
        }
        errors
    }

    /// Takes up what removals, crashed commands and jails that ended by themselves left.
    ///
    /// # Errors
    /// The store cannot be read; there is something to be done, and the caller may not.
    pub fn sweep(&self) -> Result<Vec<Error>> {
        let mut errors = self.sweep_dead()?;
        errors.extend(self.sweep_dying()?);
        Ok(errors)
    }

    /// As [`Jails::sweep`], without those that wait for nothing but the kernel: they keep nothing from anybody.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn sweep_dead(&self) -> Result<Vec<Error>> {
        self.sweep_these(self.premises.store.pending()?)
    }

    /// As [`Jails::sweep`], of the others.
    pub(crate) fn sweep_dying(&self) -> Result<Vec<Error>> {
        self.sweep_these(self.premises.store.dying()?)
    }

    fn sweep_these(&self, jids: Vec<u32>) -> Result<Vec<Error>> {
        let mut errors = Vec::new();
        if !jids.is_empty() {
            privilege::check()?;
        }
        for jid in jids {
            match self.premises.store.read(jid) {
                Ok(Some(record)) if record.is_settled() && self.is_alive(&record) => {
                    // Looked at again under its lock: somebody may be removing it.
                    let locked =
                        self.premises.store.lock(jid, Wait::No)?.filter(|l| self.is_alive(&l.record));
                    if locked.is_some_and(|l| l.record.is_settled() && l.record.settings.bool("persist")) {
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
                errors.extend(self.mend(&mut locked).err().map(|e| e.doing(&locked.record.name)));
            }
            if self.is_alive(&locked.record) {
                continue;
            }
            let owner = self.owner(&locked, None)?;
            errors.extend(self.unmake(locked, owner, Instant::now() + DRAINED));
        }
        Ok(errors)
    }

    /// Closes and drains once more the dying jails of which nothing is left but what somebody holds: a connection may
    /// have been orphaned since.
    pub(crate) fn force_held(&self) -> Result<Vec<Error>> {
        let mut errors = Vec::new();
        for jid in self.premises.store.dying()? {
            let Some(record) = self.premises.store.read(jid)?.filter(|record| self.only_held(record)) else {
                continue;
            };
            let driver = self.driver();
            errors.extend(self.with_instance(&record, |of| {
                let of = std::slice::from_ref(of);
                let mut errors = driver.quiesce(of);
                errors.extend(driver.drain(of, Instant::now() + DRAINED));
                Ok(errors)
            })?);
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
        let alive = self.premises.store.read(jid)?.is_some_and(|record| self.is_alive(&record));
        let wait = if alive { Wait::No } else { Wait::Yes };
        let Some(locked) = self.premises.store.lock(jid, wait)? else { return Ok(!alive) };
        if self.is_alive(&locked.record) {
            return Ok(false);
        }
        let owner = self.owner(&locked, None)?;
        let number = locked.record.jid;
        self.unmake(locked, owner, Instant::now() + DRAINED);
        if self.premises.store.read(number)?.is_some() {
            self.premises.store.renumber(number)?;
        }
        Ok(true)
    }
}

/// Whether a name is that of a number. The names are in order.
fn leads(names: &[(String, u32)], name: &str, jid: u32) -> bool {
    names.binary_search_by(|(other, _)| other.as_str().cmp(name)).is_ok_and(|n| names[n].1 == jid)
}

/// The first name after the last one that is wanted, or of a jail in one that is. The names are in order.
fn next<'n>(names: &'n [(String, u32)], last: &str, wanted: &BTreeSet<&str>) -> Option<&'n (String, u32)> {
    let is_wanted = |name: &str| iter::successors(Some(name), |n| parent_of(n)).any(|n| wanted.contains(n));
    let rest = &names[names.partition_point(|(name, _)| name.as_str() <= last)..];
    rest.iter().find(|(name, _)| is_wanted(name))
}

/// Ends the processes of pieces that are in no record.
pub(crate) fn end_processes(of: &[Piece]) -> Vec<Error> {
    let cgroups = populated(of);
    let mut errors: Vec<_> = cgroups.iter().filter_map(|dir| cgroup::kill(dir).err()).collect();
    errors.extend(wait_empty(&cgroups, Instant::now() + KILLED).err());
    process::collect();
    errors
}

/// The cgroups among pieces that have processes.
fn populated(pieces: &[Piece]) -> Vec<PathBuf> {
    let cgroups = pieces.iter().filter_map(|p| p.anchor.as_ref()).filter(|a| a.object().starts_with('/'));
    cgroups.map(|a| PathBuf::from(a.object())).filter(|dir| cgroup::populated(dir)).collect()
}

/// Waits until the processes of all the cgroups, which are killed, have ended.
fn wait_empty(cgroups: &[PathBuf], deadline: Instant) -> Result<()> {
    for dir in cgroups {
        if !cgroup::wait_empty(dir, deadline)? {
            let error = Error::new(ErrorKind::Busy, "its processes were killed and do not end");
            return Err(
                error.hint("a frozen one ends when it is thawed; the next command then finishes the removal")
            );
        }
    }
    Ok(())
}
