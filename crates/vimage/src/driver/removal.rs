//! Removal: everything that ends an instance.

use std::time::{Duration, Instant};

use crate::{
    Anchor, Context as _, Doomed, Driver, Error, ErrorKind, Instance, Journal, Owner, Piece, Result, Shared,
    Subsystem,
    shared::{Unmaker, User},
};

impl<S> Driver<'_, S> {
    /// Closes the entrances of all the jails, the subsystem that was made last first.
    pub fn quiesce(&self, of: &[Instance<'_>]) -> Vec<Error> {
        self.end(of, "quiesce", |subsystem| subsystem.quiesce(of))
    }

    /// Drains all the jails, whose processes are gone, in the same order.
    pub fn drain(&self, of: &[Instance<'_>], deadline: Instant) -> Vec<Error> {
        self.end(of, "drain", |subsystem| subsystem.drain(of, deadline))
    }

    fn end(
        &self,
        of: &[Instance<'_>],
        phase: &'static str,
        verb: impl Fn(&dyn Subsystem<S>) -> Vec<Error>,
    ) -> Vec<Error> {
        let mut errors = Vec::new();
        let all = of.iter().map(|i| i.name).collect::<Vec<_>>().join(" ");
        let mut verbs = self.recorder.verbs(phase);
        for subsystem in self.registry.iter().rev() {
            let start = Instant::now();
            errors.extend(verb(subsystem));
            verbs.note(&all, subsystem.name(), start, None);
        }
        verbs.end(&all);
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
                for (owner, error) in self.undo(subsystem, owners, batch, false) {
                    left[owner].clear();
                    errors.push(error);
                }
            }
        }
        for owner in owners.iter() {
            let unknown =
                owner.journal.pieces().iter().find(|p| self.registry.subsystem(&p.subsystem).is_none());
            errors.extend(unknown.map(|piece| strange(piece).doing(&owner.name)));
        }
        errors
    }

    /// Undoes one batch; returns the owners whose pieces would not go. `alone`: they live on without them.
    pub(super) fn undo(
        &self,
        subsystem: &dyn Subsystem<S>,
        owners: &mut [Owner<'_>],
        batch: Vec<(usize, Piece)>,
        alone: bool,
    ) -> Vec<(usize, Error)> {
        let start = Instant::now();
        let label = batch.iter().map(|(_, p)| p.to_string()).collect::<Vec<_>>().join(" ");
        let jails = batch.iter().map(|(o, _)| owners[*o].name.as_str()).collect::<Vec<_>>().join(" ");
        let results = self.recorder.point("undo", &label).map(|()| {
            let instances: Vec<_> = owners.iter().map(|o| o.instance(self.house)).collect();
            if batch.first().is_some_and(|(_, p)| p.kind == Shared::USE) {
                let mut stuck = vec![false; owners.len()];
                let leave = |(owner, piece): &(usize, Piece)| {
                    // What is left behind one may be what that is in: a segment, the switch stack.
                    let left =
                        (!stuck[*owner]).then(|| self.leave(subsystem, piece, &instances[*owner], alone));
                    stuck[*owner] |= matches!(left, Some(Err(_)));
                    left
                };
                batch.iter().map(leave).collect()
            } else {
                let doomed: Vec<_> = batch
                    .iter()
                    .map(|(owner, piece)| Doomed { piece, of: &instances[*owner], alone })
                    .collect();
                subsystem.undo(&doomed).into_iter().map(Some).collect()
            }
        });
        self.recorder.note(&jails, "undo", &label, start, results.as_ref().err());
        let results: Vec<Option<Result<()>>> = match results {
            Ok(results) => results,
            Err(error) => batch.iter().map(|_| Some(Err(error.clone()))).collect(),
        };
        let mut failed = Vec::new();
        // A piece without an answer is not known to be gone.
        let results = results.into_iter().chain(std::iter::repeat_with(|| Some(Err(unanswered()))));
        for ((owner, piece), result) in batch.into_iter().zip(results) {
            let Some(result) = result else { continue };
            let forgotten = result.and_then(|()| {
                // Here the journal still has what is gone: it will be undone once more.
                self.recorder.point("undone", &piece.to_string())?;
                owners[owner].journal.gone(&piece);
                self.recorder.freed(&piece);
                Ok(())
            });
            if let Err(error) = forgotten {
                failed.push((owner, error.doing(format!("cannot undo {piece}")).doing(&owners[owner].name)));
            }
        }
        failed
    }

    /// Undoes one piece that is in no jail's journal.
    pub(crate) fn undo_one(&self, subsystem: &dyn Subsystem<S>, doomed: &Doomed<'_>) -> Result<()> {
        let undo = || subsystem.undo(&[*doomed]).pop().unwrap_or_else(|| Err(unanswered()));
        let done = self.recorder.timed(doomed.of.name, "undo", doomed.piece, undo);
        done.doing_with(|| format!("cannot undo {}", doomed.piece))
    }

    /// Ends an instance's use of something shared.
    fn leave(
        &self,
        subsystem: &dyn Subsystem<S>,
        piece: &Piece,
        of: &Instance<'_>,
        alone: bool,
    ) -> Result<()> {
        let shared = Shared::lock(self.house.shelf(), &Shared::name(subsystem.name(), &piece.key))?;
        let user = User::of(of.jid, of.name);
        shared.leave(&user, of.settings, self.house, |i, j| self.unmake_shared(i, j, alone))
    }

    /// Undoes the pieces of a shared thing without users, last first. `alone`: who used it lives on.
    ///
    /// # Errors
    /// The first piece that would not go.
    pub fn unmake_shared(&self, of: &Instance<'_>, journal: &mut Journal, alone: bool) -> Result<()> {
        for piece in of.pieces.iter().rev() {
            let Some(subsystem) = self.registry.subsystem(&piece.subsystem) else {
                return Err(strange(piece));
            };
            self.recorder.point("undo", &piece.to_string())?;
            match piece.kind.as_str() {
                Piece::INSTANCE => {}
                Shared::USE => self.leave(subsystem, piece, of, alone)?,
                _ => self.undo_one(subsystem, &Doomed { piece, of, alone })?,
            }
            self.recorder.point("undone", &piece.to_string())?;
            journal.gone(piece);
            self.recorder.freed(piece);
        }
        Ok(())
    }

    /// Waits until the anchors of all the owners are gone, to the deadline at the latest, and forgets those
    /// that are. Returns whether all are.
    pub fn settle(&self, owners: &mut [Owner<'_>], deadline: Instant) -> bool {
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
                        owner.journal.gone(&piece);
                        self.recorder.freed(&piece);
                    }
                }
            }
            if all_gone || Instant::now() >= deadline {
                return all_gone;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(4));
        }
    }

    /// Whether the anchor of an instance piece exists; a doubt counts as yes.
    pub fn is_alive(&self, piece: &Piece) -> bool {
        let open = |anchor: &Anchor| self.house.open(anchor);
        piece.anchor.as_ref().is_some_and(|a| !matches!(open(a), Ok(None)))
    }
}

impl<S> Unmaker for Driver<'_, S> {
    fn unmake_shared(&self, of: &Instance<'_>, journal: &mut Journal, alone: bool) -> Result<()> {
        Driver::unmake_shared(self, of, journal, alone)
    }
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Failed, "its subsystem does not say whether it is gone")
}

fn strange(piece: &Piece) -> Error {
    Error::unsupported(format!("{piece}: its subsystem is not in this program"))
        .hint("remove it with the program that made it")
}
