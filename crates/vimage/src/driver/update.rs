//! Changing a living instance, and taking a change back: one that failed, or one whose maker was killed.

use std::time::Instant;

use crate::{Context as _, Driver, Error, Instance, Owner, Piece, Result, Settings, Subsystem, shared::User};

/// Runs steps that must be taken inside an instance.
pub type Inside<'i, S> = &'i mut dyn FnMut(&Instance<'_>, Vec<S>) -> Result<()>;

/// An update that failed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Whether everything is as before. If not it is worth another try: [`Driver::restore`].
    pub restored: bool,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl<S> Driver<'_, S> {
    /// Changes a living jail to other values, and perhaps to another name, subsystem by subsystem; on failure
    /// changes back what was done. `inside` runs the steps that must be taken inside.
    ///
    /// The caller has written down both settings, with the pieces as they are now and an empty journal: should
    /// this command be killed, another can call [`Driver::restore`].
    ///
    /// # Errors
    /// A subsystem's; the jail is as before then, as far as it could be changed back.
    pub fn update(
        &self,
        owner: &mut Owner<'_>,
        name: &str,
        new: &Settings,
        inside: Inside<'_, S>,
    ) -> Result<(), Failed> {
        let old = owner.settings.clone();
        let old_name = std::mem::replace(&mut owner.name, name.to_owned());
        owner.journal.begin();
        let mut reached = Vec::new();
        for subsystem in self.registry.iter().filter(|s| changes(*s, &old, new)) {
            reached.push(subsystem);
            let Err(error) = self.change(owner, subsystem, &old, new, inside) else { continue };
            owner.name = old_name;
            return Err(match self.back(owner, new, reached, inside) {
                Ok(()) => Failed { error, restored: true },
                Err(e) => Failed { error: error.hint(e), restored: false },
            });
        }
        owner.settings = new.clone();
        Ok(())
    }

    /// Takes back a change to `new` that was begun, or done: to the owner's settings, name and pieces. Can be
    /// called again after it failed or was killed itself.
    ///
    /// # Errors
    /// The first of a subsystem's; it goes on past it.
    pub fn restore(&self, owner: &mut Owner<'_>, new: &Settings, inside: Inside<'_, S>) -> Result<()> {
        let old = owner.settings.clone();
        self.back(owner, new, self.registry.iter().filter(|s| changes(*s, &old, new)).collect(), inside)
    }

    fn back(
        &self,
        owner: &mut Owner<'_>,
        new: &Settings,
        reached: Vec<&dyn Subsystem<S>>,
        inside: Inside<'_, S>,
    ) -> Result<()> {
        let old = owner.settings.clone();
        let mut done = Ok(());
        for subsystem in reached.into_iter().rev() {
            let one = self
                .clear(owner, subsystem)
                .and_then(|()| self.change(owner, subsystem, new, &old, inside))
                .doing_with(|| format!("{}: cannot change back", subsystem.name()));
            done = done.and(one);
        }
        done
    }

    /// Undoes what a change has made, to its end or half, and the rest of what it has half unmade. What is left
    /// is whole, and was there before.
    fn clear(&self, owner: &mut Owner<'_>, subsystem: &dyn Subsystem<S>) -> Result<()> {
        let user = User::of(owner.jid, &owner.name);
        let mut doomed = Vec::new();
        for piece in owner.journal.pieces() {
            let own = piece.subsystem == subsystem.name() && piece.kind != Piece::INSTANCE;
            if own && (owner.journal.is_fresh(piece) || !self.exists(piece, &user)?) {
                doomed.push(piece.clone());
            }
        }
        for piece in doomed.into_iter().rev() {
            let failed = self.undo(subsystem, std::slice::from_mut(owner), vec![(0, piece)], true);
            if let Some((_, error)) = failed.into_iter().next() {
                return Err(error);
            }
        }
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
}

/// Whether any of the values that are a subsystem's business differ.
fn changes<S>(subsystem: &dyn Subsystem<S>, old: &Settings, new: &Settings) -> bool {
    if subsystem.follows_all() {
        return old != new;
    }
    subsystem.params().iter().any(|p| old.get(p.name) != new.get(p.name))
}
