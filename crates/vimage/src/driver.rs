//! The driver: every life cycle, as loops over subsystems and pieces. Here: making and looking.

mod removal;
mod update;

use std::time::Instant;

pub use update::{Failed, Inside};

use crate::{
    Ask, Context as _, Entry, Fds, Given, House, Instance, Journal, Recorder, Registry, Result, Settings,
    Site, Subsystem,
};

/// Runs the subsystems of a registry over instances.
#[derive(Clone, Copy)]
pub struct Driver<'a, S: 'static> {
    /// The subsystems.
    pub registry: &'a Registry<S>,
    /// What the owner of the records offers.
    pub house: &'a dyn House,
    /// What happened, and where to fail.
    pub recorder: &'a Recorder,
}

/// A jail whose pieces can be changed: its record is locked.
#[derive(Debug)]
pub struct Owner<'a> {
    /// The full name.
    pub name: String,
    /// The number.
    pub jid: u32,
    /// All values.
    pub settings: Settings,
    /// The parent jail; `None` for the host.
    pub parent: Option<&'a Instance<'a>>,
    /// What was made.
    pub journal: Journal,
    /// What is open.
    pub fds: Fds,
}

impl Owner<'_> {
    /// The jail as its subsystems see it.
    #[must_use]
    pub fn instance<'s>(&'s self, house: &'s dyn House) -> Instance<'s> {
        Instance {
            name: &self.name,
            jid: self.jid,
            settings: &self.settings,
            parent: self.parent,
            pieces: self.journal.pieces(),
            fds: self.fds.clone(),
            house,
        }
    }
}

impl<S> std::fmt::Debug for Driver<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.registry.fmt(f)
    }
}

impl<'a, S> Driver<'a, S> {
    /// Completes and checks what a user gave. Changes nothing.
    ///
    /// # Errors
    /// A value is wrong, cannot be honoured here, or is wider than the parent's.
    pub fn ask<'q>(
        &self,
        name: &'q str,
        jid: u32,
        given: &'q Given,
        parent: Option<&'q Instance<'q>>,
        living: Option<&'q Instance<'q>>,
    ) -> Result<Ask<'q>>
    where
        'a: 'q,
    {
        let above = parent.map(|p| p.settings).or_else(|| self.house.above());
        let settings = self.registry.complete(given, living.map(|l| l.settings), above)?;
        let mut ask =
            Ask { name, jid, given: &given.settings, settings, parent, above, living, house: self.house };
        for subsystem in self.registry.iter() {
            subsystem.resolve(&mut ask);
        }
        let mut verbs = self.recorder.verbs("check");
        let done = self.registry.iter().try_for_each(|subsystem| {
            let start = Instant::now();
            let done = subsystem.check(&ask);
            verbs.note(name, subsystem.name(), start, done.as_ref().err());
            done
        });
        verbs.end(name);
        done.map(|()| ask)
    }

    /// Prepares all instances of a jail, and returns what is to be done at its birth. On failure, here and in the
    /// next four, the caller undoes ([`Driver::unmake`]).
    ///
    /// # Errors
    /// A subsystem's.
    pub fn prepare(&self, owner: &mut Owner<'_>) -> Result<Vec<S>> {
        let mut birth = Vec::new();
        self.each(owner, "prepare", |subsystem, site| {
            birth.extend(subsystem.prepare(site)?);
            Ok(())
        })?;
        Ok(birth)
    }

    /// What the first process of a jail that has none does as it is made.
    #[must_use]
    pub fn first(&self, settings: &Settings) -> Vec<S> {
        self.registry.iter().flat_map(|subsystem| subsystem.first(settings)).collect()
    }

    /// Makes what a jail needs besides, while it is born.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn provide(&self, owner: &mut Owner<'_>) -> Result<()> {
        self.each(owner, "provide", |subsystem, site| subsystem.provide(site))
    }

    /// Makes all instances of a jail that was just born.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn create(&self, owner: &mut Owner<'_>) -> Result<()> {
        self.each(owner, "create", |subsystem, site| subsystem.create(site))
    }

    /// Makes what the jail's process need not wait for at once.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn furnish(&self, owner: &mut Owner<'_>) -> Result<()> {
        self.each(owner, "furnish", |subsystem, site| subsystem.furnish(site))
    }

    /// Takes over what the jail's process has made by itself.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn complete(&self, owner: &mut Owner<'_>) -> Result<()> {
        self.each(owner, "complete", |subsystem, site| subsystem.complete(site))
    }

    fn each(
        &self,
        owner: &mut Owner<'_>,
        phase: &str,
        mut verb: impl FnMut(&dyn Subsystem<S>, &mut Site<'_>) -> Result<()>,
    ) -> Result<()> {
        // Lent to the sites, which have the rest of the owner besides.
        let settings = std::mem::take(&mut owner.settings);
        let mut verbs = self.recorder.verbs(phase);
        let done = self.registry.iter().try_for_each(|subsystem| {
            let start = Instant::now();
            let done = verb(subsystem, &mut self.site(owner, &settings, subsystem.name()));
            verbs.note(&owner.name, subsystem.name(), start, done.as_ref().err());
            done
        });
        verbs.end(&owner.name);
        owner.settings = settings;
        done
    }

    /// The steps of a process that enters.
    ///
    /// # Errors
    /// Something of an instance cannot be opened.
    pub fn enter(&self, of: &Instance<'_>, how: Entry) -> Result<Vec<S>> {
        let mut steps = Vec::new();
        for subsystem in self.registry.iter() {
            steps.extend(subsystem.enter(of, how)?);
        }
        Ok(steps)
    }

    /// Live values over recorded ones.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn inspect(&self, of: &Instance<'_>) -> Result<Settings> {
        let mut settings = of.settings.clone();
        for subsystem in self.registry.iter() {
            settings.merge(&subsystem.inspect(of, &|_| true).doing(subsystem.name())?);
        }
        Ok(settings)
    }

    /// The live values of these parameters alone, where subsystems have them.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn live(&self, of: &Instance<'_>, wanted: &Settings) -> Result<Settings> {
        let mut live = Settings::default();
        let is_wanted = |name: &str| wanted.get(name).is_some();
        for subsystem in self.registry.iter() {
            if subsystem.params().iter().any(|p| is_wanted(p.name)) {
                live.merge(&subsystem.inspect(of, &is_wanted).doing(subsystem.name())?);
            }
        }
        Ok(live.iter().filter(|(n, _)| is_wanted(n)).map(|(n, v)| (n.to_owned(), v.clone())).collect())
    }

    fn site<'s>(
        &'s self,
        owner: &'s mut Owner<'_>,
        settings: &'s Settings,
        subsystem: &'static str,
    ) -> Site<'s> {
        Site {
            name: &owner.name,
            jid: owner.jid,
            settings,
            parent: owner.parent,
            fds: owner.fds.clone(),
            house: self.house,
            subsystem,
            journal: &mut owner.journal,
            recorder: self.recorder,
            unmaker: self,
        }
    }
}
