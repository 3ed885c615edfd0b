//! What comes before and after a removal: commands, and time for processes to end by themselves.

use std::{
    collections::BTreeSet,
    iter,
    path::PathBuf,
    time::{Duration, Instant},
};

use vimage::{Context as _, Error, ErrorKind, Given, Result};

use crate::{
    Jails, Place, cgroup,
    hooks::{self, Of},
    jails::{cgroup_of, is_below},
    privilege,
    process::Command,
    record::{Record, parent_of},
    schedule::SKIPPED,
};

impl<'a> Of<'a> {
    fn record(record: &'a Record) -> Self {
        Self { name: &record.name, jid: Some(record.jid), settings: &record.settings, signals: None }
    }
}

/// Whether anything is run when a jail is removed, or perhaps for one in it.
#[must_use]
pub fn has_commands(record: &Record) -> bool {
    Of::record(record).has(&[hooks::PRESTOP, hooks::STOP, hooks::POSTSTOP, hooks::RELEASE])
        || record.settings.int("children.max").unwrap_or(0) > 0
}

impl Jails<'_> {
    /// As [`Jails::remove`], with the commands that the jails, and those in them, have for it, and with time for their
    /// processes to end. A jail of which a command fails is not removed, nor is one that it is in.
    ///
    /// # Errors
    /// As [`Jails::remove`].
    pub fn stop(&self, mut found: Vec<Record>) -> Result<(Vec<String>, Vec<Error>)> {
        // Before a command is run.
        privilege::check()?;
        self.add_children(&mut found)?;
        let mut errors = Vec::new();
        // Children end before their parents.
        found.sort_by_key(|record| std::cmp::Reverse(record.name.matches('.').count()));
        let mut kept = BTreeSet::new();
        for record in &found {
            let skipped = || Error::new(ErrorKind::Busy, SKIPPED).hint("a jail in it was not removed");
            let inner = kept.iter().any(|kept: &String| is_below(kept, &record.name));
            let done = if inner { Err(skipped()) } else { self.before_removal(record) };
            if let Err(error) = done {
                errors.push(error.doing(&record.name));
                kept.insert(record.name.clone());
            }
        }
        found.retain(|record| !kept.contains(&record.name));
        if found.is_empty() {
            return Ok((Vec::new(), errors));
        }
        terminate(&found);
        let (removed, failures) = self.remove(&found)?;
        errors.extend(failures);
        for record in found.iter().filter(|record| removed.contains(&record.name)) {
            let of = Of::record(record);
            let done = of.run(hooks::POSTSTOP).and_then(|()| of.run(hooks::RELEASE));
            errors.extend(done.doing(&record.name).err());
        }
        Ok((removed, errors))
    }

    /// Runs the commands that come after the removal of a jail, for one that is gone without.
    ///
    /// # Errors
    /// A command fails; a value is wrong.
    pub fn clean_up(&self, name: &str, given: &Given) -> Result<()> {
        privilege::check()?;
        let settings = self.registry.complete(given, None, None)?;
        let jid = settings.int("jid").and_then(|jid| jid.try_into().ok());
        let of = Of { name, jid, settings: &settings, signals: None };
        of.run(hooks::POSTSTOP).and_then(|()| of.run(hooks::RELEASE))
    }

    /// Adds the living jails that are in others.
    fn add_children(&self, found: &mut Vec<Record>) -> Result<()> {
        // To look for them takes longer the more jails there are.
        if found.iter().all(|record| record.settings.int("children.max").unwrap_or(0) == 0) {
            return Ok(());
        }
        let there: BTreeSet<_> = found.iter().map(|record| record.name.clone()).collect();
        let inner =
            |name: &str| iter::successors(parent_of(name), |n| parent_of(n)).any(|n| there.contains(n));
        let living = self.list(false)?.into_iter();
        found.extend(living.filter(|record| !there.contains(&record.name) && inner(&record.name)));
        Ok(())
    }

    fn before_removal(&self, record: &Record) -> Result<()> {
        let of = Of::record(record);
        if !of.has(&[hooks::PRESTOP, hooks::STOP]) {
            return Ok(());
        }
        // One of them may remove the jail by the same way, and so on for ever.
        let Some(_alone) = self.premises.store.begin_stop(record.jid)? else {
            let error = Error::new(ErrorKind::Busy, "its commands for its removal are being run already");
            return Err(error.hint(format!("jail -R {} removes it all the same", record.name)));
        };
        of.run(hooks::PRESTOP)?;
        let stops = record.settings.list(hooks::STOP);
        if !stops.is_empty() && cgroup_of(&record.pieces).is_some_and(|dir| cgroup::frozen(&dir)) {
            let error = Error::new(ErrorKind::Busy, "it is frozen, and exec.stop cannot run in it");
            return Err(error.hint(format!("jail -R {} removes it all the same", record.name)));
        }
        for line in stops {
            let command = Command::line(line);
            let running =
                self.enter_with(&record.jid.to_string(), |place: &Place<'_>| of.inside(place, &command))?;
            of.succeed(&running, &command)?;
            running.collect_init();
        }
        Ok(())
    }
}

/// Asks the processes of jails to end, and gives them the time that each jail gives its own.
fn terminate(jails: &[Record]) {
    let start = Instant::now();
    let all: Vec<(PathBuf, Duration)> = jails
        .iter()
        .filter_map(|record| Some((cgroup_of(&record.pieces)?, Of::record(record).patience())))
        .filter(|(dir, patience)| !patience.is_zero() && cgroup::populated(dir) && !cgroup::frozen(dir))
        .collect();
    for (dir, _) in &all {
        cgroup::terminate(dir);
    }
    for (dir, patience) in &all {
        // Who has not ended by then is killed.
        let _killed_else = cgroup::wait_empty(dir, start + *patience);
    }
}
