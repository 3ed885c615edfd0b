//! Changing a living jail.
//!
//! The record says what a change leads to before the first step, and what was before until the last: one write of
//! it ends the change. As long as it says so its pieces are those of before, and the journal has what the change
//! made and unmade: so that whoever sweeps after a command that was killed can take the change back.

use std::time::Duration;

use vimage::{
    Context as _, Error, ErrorKind, Failed, Given, Instance, Owner, Piece, Result, Settings, Value,
};

use crate::{
    Created, Jails, entry,
    jails::below,
    privilege, process,
    record::parent_of,
    rename::set_name,
    store::{Locked, Wait},
};

/// How long another command may be at a jail that is to be changed.
const PATIENCE: Duration = Duration::from_secs(5);

impl Jails<'_> {
    /// Changes a living jail, and narrows what its descendants have where it must be.
    ///
    /// # Errors
    /// See jail(8). The jail is as before.
    pub fn modify(&self, word: &str, given: &Given) -> Result<Created> {
        privilege::check_set()?;
        let mut given = given.clone();
        let wanted = given.settings.remove("name").map(|name| name.text()).filter(|name| name != word);
        given.settings.remove("jid");
        let mut locked = self.lock_alive(word, Wait::Or(PATIENCE, &mut |by| Err(busy(word, by))))?;
        // What an earlier command left is either out of the way now, or in it.
        self.mend(&mut locked).doing_with(|| locked.record.name.clone())?;
        let name = match &wanted {
            Some(wanted) => Self::new_name(&locked, wanted)?,
            None => locked.record.name.clone(),
        };
        let ancestors = self.ancestors(&locked.record.name)?;
        self.with_lineage(&ancestors, |parent| {
            let mut owner = self.owner(&locked, parent)?;
            let (mut new, live) = {
                let instance = owner.instance(&self.premises);
                let new = self.driver().ask(&name, owner.jid, &given, parent, Some(&instance))?.settings;
                (new, self.driver().live(&instance, &given.settings)?)
            };
            new.set("name", Value::Text(name.clone()));
            // What was changed inside is changed back by the value that is recorded.
            owner.settings.merge(&live);
            let altered = self.alter(&mut locked, &mut owner, &name, &new);
            if !locked.record.settings.bool("persist")
                && let Some(keeper) = locked.record.keeper.take()
            {
                process::kill(&keeper);
                locked.save(&mut owner.journal)?;
            }
            altered?;
            self.narrow_all(&mut locked, parent)
        })?;
        let changed = Created { jid: locked.record.jid, name: locked.record.name.clone() };
        drop(locked);
        if wanted.is_some() && self.premises.store.has_rules() {
            // Those in it have new names, too.
            self.renew(&changed.name, false)
                .hint("the change is made; what rctl(8) says of the new names comes with the next")?;
        }
        Ok(changed)
    }

    /// Gives the living jails of a name, and of those below it, what is said of their names now (rctl(8)); with `itself`
    /// false, only those below.
    ///
    /// # Errors
    /// The kernel refused it for one of them, which is as before; those further up are changed.
    pub fn renew(&self, name: &str, itself: bool) -> Result<()> {
        let names = self.premises.store.taken()?;
        let own = names.iter().filter(|other| itself && *other == name);
        // Each before those in it.
        own.chain(below(&names, name)).try_for_each(|name| match self.modify(name, &Given::default()) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.read(name).is_err() => Ok(()),
            done => done.map(drop),
        })
    }

    /// Changes a locked jail from its owner's settings to others, and perhaps to another name.
    ///
    /// # Errors
    /// A subsystem's; the name is taken; the file system refuses. The jail is as before.
    fn alter(&self, locked: &mut Locked, owner: &mut Owner<'_>, name: &str, new: &Settings) -> Result<()> {
        let (old, jid) = (owner.name.clone(), owner.jid);
        let family = self.family(&old, jid)?;
        // In the order in which everybody locks.
        let mut held = Vec::new();
        if name != old {
            for (suffix, jid) in family.iter().filter(|(suffix, _)| !suffix.is_empty()) {
                let busy = &mut |by| Err(busy(&format!("{old}{suffix}"), by));
                held.extend(self.premises.store.lock(*jid, Wait::Or(PATIENCE, busy))?);
            }
        }
        // First by itself, so that what the journal has from here on is the change's.
        locked.save(&mut owner.journal)?;
        let settled = locked.record.clone();
        self.premises.store.set_pending(jid, true)?;
        locked.record.settings = owner.settings.clone();
        locked.record.change = Some(new.clone());
        locked.record.other_name = Some(name.to_owned()).filter(|name| *name != old);
        if let Err(error) = locked.save(&mut owner.journal) {
            locked.record = settled;
            let _swept_in_vain = self.premises.store.set_pending(jid, !owner.settings.bool("persist"));
            return Err(error);
        }
        let before = locked.record.clone();
        let clean = |error| Failed { error, restored: true };
        let done = self.recorder.point("change", &old).map_err(clean);
        let done = done.and_then(|()| match &before.other_name {
            Some(name) => self.claim(&family, name).map_err(clean),
            None => Ok(()),
        });
        let done = done.and_then(|()| {
            let inside = &mut |of: &Instance<'_>, acts| entry::inside(of, acts);
            let updated = self.driver().update(owner, name, new, inside);
            updated.map_err(|failed| Failed { error: failed.error.doing(&old), ..failed })?;
            let narrows = family.len() > 1;
            self.commit(locked, owner, narrows).map_err(|error| {
                (owner.name, owner.settings) = (old.clone(), before.settings.clone());
                locked.record = before.clone();
                match self.driver().restore(owner, new, inside) {
                    Ok(()) => clean(error),
                    Err(e) => Failed { error: error.hint(e), restored: false },
                }
            })
        });
        let Err(failed) = done else { return self.follow(locked).and_then(|()| self.unmark(locked)) };
        if !failed.restored {
            // The next sweep tries again.
            return Err(failed.error);
        }
        locked.record.change = None;
        // Not what the kernel had, which may have been less than was said.
        locked.record.settings.clone_from(&settled.settings);
        locked
            .save(&mut owner.journal)
            .and_then(|()| self.follow(locked))
            .and_then(|()| self.unmark(locked))?;
        Err(failed.error)
    }

    /// The one step that makes a change a thing of the past.
    fn commit(&self, locked: &mut Locked, owner: &mut Owner<'_>, narrows: bool) -> Result<()> {
        self.recorder.point("changed", &owner.name)?;
        let old = locked.record.name.clone();
        locked.record.settings = owner.settings.clone();
        set_name(locked, &owner.name);
        locked.record.other_name = Some(old).filter(|old| *old != owner.name);
        locked.record.narrows = narrows;
        locked.record.change = None;
        locked.save(&mut owner.journal)
    }

    /// A jail that is settled and persists need not be looked at by sweeps.
    fn unmark(&self, locked: &Locked) -> Result<()> {
        let pending = !(locked.record.is_settled() && locked.record.settings.bool("persist"));
        self.premises.store.set_pending(locked.record.jid, pending)
    }

    /// Takes up what a command that was killed left of a change: takes it back, or, if it was done but for what
    /// follows from it, does that.
    ///
    /// # Errors
    /// What cannot be changed back. It is tried again by the next sweep.
    pub(crate) fn mend(&self, locked: &mut Locked) -> Result<()> {
        if locked.record.is_settled() {
            return Ok(());
        }
        if let Some(wanted) = locked.record.change.clone() {
            let ancestors = self.ancestors(&locked.record.name)?;
            self.with_lineage(&ancestors, |parent| self.take_back(locked, &wanted, parent))?;
        }
        self.follow(locked)?;
        if locked.record.narrows {
            let ancestors = self.ancestors(&locked.record.name)?;
            self.with_lineage(&ancestors, |parent| self.narrow_all(locked, parent))?;
        }
        self.unmark(locked)
    }

    fn take_back(&self, locked: &mut Locked, wanted: &Settings, parent: Option<&Instance<'_>>) -> Result<()> {
        let mut owner = self.owner(locked, parent)?;
        let lost = |p: &Piece| p.kind == Piece::INSTANCE && !self.driver().is_alive(p);
        if owner.journal.pieces().iter().any(lost) {
            // It was to hold its namespaces no longer, and they are gone: there is nothing to go back to.
            owner.settings = wanted.clone();
        } else {
            self.driver().restore(&mut owner, wanted, &mut |of, acts| entry::inside(of, acts))?;
        }
        let name = owner.name.clone();
        locked.record.settings = owner.settings.clone();
        set_name(locked, &name);
        locked.record.change = None;
        locked.save(&mut owner.journal)
    }

    /// Narrows what is below a jail that was changed.
    fn narrow_all(&self, locked: &mut Locked, parent: Option<&Instance<'_>>) -> Result<()> {
        if !locked.record.narrows {
            return Ok(());
        }
        let mut owner = self.owner(locked, parent)?;
        self.narrow(&owner.instance(&self.premises))
            .hint("the change is made; the next command narrows what is in the jail")?;
        locked.record.narrows = false;
        locked.save(&mut owner.journal)?;
        self.unmark(locked)
    }

    /// Narrows the children of a jail to what it now allows, and theirs in turn.
    fn narrow(&self, parent: &Instance<'_>) -> Result<()> {
        for (name, jid) in self.premises.store.names()? {
            if parent_of(&name) != Some(parent.name) {
                continue;
            }
            let busy = &mut |by| Err(busy(&name, by));
            let locked = self.premises.store.lock(jid, Wait::Or(PATIENCE, busy))?;
            let Some(mut locked) = locked else { continue };
            self.mend(&mut locked)?;
            let less = self.registry.narrowing(&locked.record.settings, parent.settings);
            if less.iter().next().is_none() {
                continue;
            }
            let mut owner = self.owner(&locked, Some(parent))?;
            let mut new = owner.settings.clone();
            new.merge(&less);
            self.alter(&mut locked, &mut owner, &name, &new)?;
            self.narrow_all(&mut locked, Some(parent))?;
        }
        Ok(())
    }

    /// What keeps an interrupted change from being taken back; `None`: nothing is left of one, or another
    /// command is at it.
    pub(crate) fn unfinished(&self, jid: u32) -> Result<Option<Error>> {
        let Some(mut locked) = self.premises.store.lock(jid, Wait::No)? else { return Ok(None) };
        Ok(if self.is_alive(&locked.record) { self.mend(&mut locked).err() } else { None })
    }
}

/// A jail that another command does not let go of.
fn busy(jail: &str, holder: Option<i32>) -> Error {
    let Some(pid) = holder else {
        return Error::new(ErrorKind::Busy, format!("jail \"{jail}\" is locked by another command"))
            .hint("one in another pid namespace; jail -r removes the jail all the same");
    };
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim();
    let what = format!("jail \"{jail}\" is locked by process {pid} ({name})");
    let hint =
        "it may wait for a jail that is frozen (cgroup.freeze); end it by kill, or the jail by jail -r";
    Error::new(ErrorKind::Busy, what).hint(hint)
}
