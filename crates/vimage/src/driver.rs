//! The driver: every life cycle, as loops over subsystems and pieces.

use std::time::{Duration, Instant};

use crate::{
    Anchor, Ask, Context as _, Doomed, Entry, Error, Fds, Given, House, Instance, Journal, Piece, Plan,
    Recorder, Registry, Result, Settings, Shared, Site, Subsystem,
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
        let settings =
            self.registry.complete(given, living.map(|l| l.settings), parent.map(|p| p.settings))?;
        let mut ask = Ask { name, jid, given: &given.settings, settings, parent, living, house: self.house };
        for subsystem in self.registry.iter() {
            subsystem.resolve(&mut ask);
        }
        for subsystem in self.registry.iter() {
            self.recorder.timed(name, "check", subsystem.name(), || subsystem.check(&ask))?;
        }
        Ok(ask)
    }

    /// Prepares all instances of a jail, and returns the joint plan of its birth. On failure, here and in the
    /// next two, the caller undoes ([`Driver::unmake`]).
    ///
    /// # Errors
    /// A subsystem's.
    pub fn prepare(&self, owner: &mut Owner<'_>) -> Result<Plan<S>> {
        let mut joint = Plan::default();
        self.each(owner, "prepare", |subsystem, site| {
            let plan = subsystem.prepare(site)?;
            joint.birth.extend(plan.birth);
            plan.prepared.into_iter().for_each(|(name, fd)| site.fds.put(name, fd));
            Ok(())
        })?;
        Ok(joint)
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

    fn each(
        &self,
        owner: &mut Owner<'_>,
        phase: &str,
        mut verb: impl FnMut(&dyn Subsystem<S>, &mut Site<'_>) -> Result<()>,
    ) -> Result<()> {
        let settings = owner.settings.clone();
        for subsystem in self.registry.iter() {
            let start = Instant::now();
            let done = verb(subsystem, &mut self.site(owner, &settings, subsystem.name()));
            self.recorder.note(&owner.name, phase, subsystem.name(), start, done.as_ref().err());
            done?;
        }
        Ok(())
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

    /// Changes a living jail to `new`, subsystem by subsystem; on failure changes back those already done.
    /// `inside` runs the steps that must be taken inside.
    ///
    /// # Errors
    /// A subsystem's; the jail is as before then, as far as it could be changed back.
    pub fn update(
        &self,
        owner: &mut Owner<'_>,
        new: &Settings,
        inside: &mut dyn FnMut(&Instance<'_>, Vec<S>) -> Result<()>,
    ) -> Result<()> {
        let old = owner.settings.clone();
        let mut done: Vec<&dyn Subsystem<S>> = Vec::new();
        for subsystem in self.registry.iter().filter(|s| changes(*s, &old, new)) {
            done.push(subsystem);
            let Err(error) = self.change(owner, subsystem, &old, new, inside) else { continue };
            for subsystem in done.into_iter().rev() {
                if let Err(e) = self.change(owner, subsystem, new, &old, inside) {
                    return Err(error.hint(format!("{}: cannot change back: {e}", subsystem.name())));
                }
            }
            return Err(error);
        }
        owner.settings = new.clone();
        Ok(())
    }

    fn change(
        &self,
        owner: &mut Owner<'_>,
        subsystem: &dyn Subsystem<S>,
        old: &Settings,
        new: &Settings,
        inside: &mut dyn FnMut(&Instance<'_>, Vec<S>) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut site = self.site(owner, new, subsystem.name());
        let done = subsystem
            .update(&mut site, old)
            .and_then(|steps| if steps.is_empty() { Ok(()) } else { inside(&site.instance(), steps) });
        self.recorder.note(&owner.name, "update", subsystem.name(), start, done.as_ref().err());
        done
    }

    /// Live values over recorded ones.
    ///
    /// # Errors
    /// A subsystem's.
    pub fn inspect(&self, of: &Instance<'_>) -> Result<Settings> {
        let mut settings = of.settings.clone();
        for subsystem in self.registry.iter() {
            settings.merge(&subsystem.inspect(of).doing(subsystem.name())?);
        }
        Ok(settings)
    }

    /// Closes the entrances of all the jails and drains them, the subsystem that was made last first.
    pub fn quiesce(&self, of: &[Instance<'_>], deadline: Instant) -> Vec<Error> {
        let mut errors = Vec::new();
        let all = of.iter().map(|i| i.name).collect::<Vec<_>>().join(" ");
        for subsystem in self.registry.iter().rev() {
            let start = Instant::now();
            errors.extend(subsystem.quiesce(of));
            self.recorder.note(&all, "quiesce", subsystem.name(), start, None);
        }
        for subsystem in self.registry.iter().rev() {
            let start = Instant::now();
            errors.extend(subsystem.drain(of, deadline));
            self.recorder.note(&all, "drain", subsystem.name(), start, None);
        }
        errors
    }

    /// Undoes all pieces of all the owners, last first, one batch a kind over all of them. A piece that will
    /// not go keeps those of its subsystem that were made before it, and stays in its owner's journal.
    pub fn unmake(&self, owners: &mut [Owner<'_>]) -> Vec<Error> {
        let mut errors = Vec::new();
        for subsystem in self.registry.iter().rev() {
            let mut left: Vec<Vec<Piece>> = owners
                .iter()
                .map(|o| {
                    let own = o.journal.pieces().iter().filter(|p| p.subsystem == subsystem.name());
                    own.filter(|p| p.kind != Piece::INSTANCE).cloned().collect()
                })
                .collect();
            while let Some(kind) = left.iter().find_map(|l| l.last()).map(|p| p.kind.clone()) {
                let mut batch = Vec::new();
                for (owner, left) in left.iter_mut().enumerate() {
                    while left.last().is_some_and(|p| p.kind == kind) {
                        batch.extend(left.pop().map(|piece| (owner, piece)));
                    }
                }
                for (owner, error) in self.undo(subsystem, owners, batch) {
                    left[owner].clear();
                    errors.push(error);
                }
            }
        }
        for owner in owners.iter() {
            let strange =
                owner.journal.pieces().iter().find(|p| self.registry.subsystem(&p.subsystem).is_none());
            if let Some(piece) = strange {
                let error = Error::unsupported(format!("{piece}: its subsystem is not in this program"));
                errors.push(error.hint("remove it with the program that made it").doing(&owner.name));
            }
        }
        errors
    }

    /// Undoes one batch; returns the owners whose pieces would not go.
    fn undo(
        &self,
        subsystem: &dyn Subsystem<S>,
        owners: &mut [Owner<'_>],
        batch: Vec<(usize, Piece)>,
    ) -> Vec<(usize, Error)> {
        let start = Instant::now();
        let label = batch.iter().map(|(_, p)| p.to_string()).collect::<Vec<_>>().join(" ");
        let jails = batch.iter().map(|(o, _)| owners[*o].name.as_str()).collect::<Vec<_>>().join(" ");
        let results = self.recorder.point("undo", &label).map(|()| {
            let instances: Vec<_> = owners.iter().map(|o| o.instance(self.house)).collect();
            if batch.first().is_some_and(|(_, p)| p.kind == Shared::USE) {
                batch.iter().map(|(o, p)| self.leave(subsystem, p, &instances[*o])).collect()
            } else {
                let doomed: Vec<_> =
                    batch.iter().map(|(owner, piece)| Doomed { piece, of: &instances[*owner] }).collect();
                subsystem.undo(&doomed)
            }
        });
        self.recorder.note(&jails, "undo", &label, start, results.as_ref().err());
        let results = match results {
            Ok(results) => results,
            Err(error) => batch.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut failed = Vec::new();
        for ((owner, piece), result) in batch.into_iter().zip(results) {
            let forgotten = result.and_then(|()| {
                owners[owner].journal.gone(&piece)?;
                self.recorder.freed(&piece);
                self.recorder.point("undone", &piece.to_string())
            });
            if let Err(error) = forgotten {
                failed.push((owner, error.doing(format!("cannot undo {piece}")).doing(&owners[owner].name)));
            }
        }
        failed
    }

    /// Ends an instance's use of something shared.
    fn leave(&self, subsystem: &dyn Subsystem<S>, piece: &Piece, of: &Instance<'_>) -> Result<()> {
        let shared = Shared::lock(self.house.shelf(), &Shared::name(subsystem.name(), &piece.key))?;
        shared.leave(of.jid, of.settings, self.house, |i, j| self.unmake_shared(i, j))
    }

    /// Undoes the pieces of a shared thing without users, last first.
    ///
    /// # Errors
    /// The first piece that would not go.
    pub fn unmake_shared(&self, of: &Instance<'_>, journal: &mut Journal) -> Result<()> {
        for piece in of.pieces.iter().rev() {
            let Some(subsystem) = self.registry.subsystem(&piece.subsystem) else {
                return Err(Error::unsupported(format!("{piece}: its subsystem is not in this program")));
            };
            self.recorder.point("undo", &piece.to_string())?;
            if piece.kind != Piece::INSTANCE {
                let mut results = if piece.kind == Shared::USE {
                    vec![self.leave(subsystem, piece, of)]
                } else {
                    self.recorder
                        .timed(of.name, "undo", piece, || Ok(subsystem.undo(&[Doomed { piece, of }])))?
                };
                results.pop().unwrap_or(Ok(())).doing_with(|| format!("cannot undo {piece}"))?;
            }
            journal.gone(piece)?;
            self.recorder.freed(piece);
            self.recorder.point("undone", &piece.to_string())?;
        }
        Ok(())
    }

    /// Waits until the anchors of all the owners are gone, to the deadline at the latest, and forgets those
    /// that are. Returns whether all are.
    ///
    /// # Errors
    /// A journal cannot be written.
    pub fn settle(&self, owners: &mut [Owner<'_>], deadline: Instant) -> Result<bool> {
        for owner in owners.iter() {
            owner.fds.clear();
        }
        let mut pause = Duration::from_micros(100);
        loop {
            let mut all_gone = true;
            for owner in owners.iter_mut() {
                let pieces = owner.journal.pieces().iter().filter(|p| p.kind == Piece::INSTANCE);
                for piece in pieces.cloned().collect::<Vec<_>>() {
                    if self.is_alive(&piece) {
                        all_gone = false;
                    } else {
                        owner.journal.gone(&piece)?;
                        self.recorder.freed(&piece);
                    }
                }
            }
            if all_gone || Instant::now() >= deadline {
                return Ok(all_gone);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(4));
        }
    }

    /// Whether the anchor of an instance piece exists; a doubt counts as yes.
    pub(crate) fn is_alive(&self, piece: &Piece) -> bool {
        let open = |anchor: &Anchor| self.house.open(anchor);
        piece.anchor.as_ref().is_some_and(|a| !matches!(open(a), Ok(None)))
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
        }
    }
}

/// Whether any of a subsystem's own values differ.
fn changes<S>(subsystem: &dyn Subsystem<S>, old: &Settings, new: &Settings) -> bool {
    subsystem.params().iter().any(|p| old.get(p.name) != new.get(p.name))
}
