//! Waiting until a jail is gone.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use vimage::{Anchor, Piece, Result};

use crate::{Jails, privilege, record::Record};

/// How long is slept between two looks, at most: nothing tells of the end of a namespace.
const PAUSE: Duration = Duration::from_millis(20);

impl Jails<'_> {
    /// Waits until nothing is left of a jail, living or dying, and clears up what is let go meanwhile. False: something
    /// is left at the deadline; without one it waits for ever.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn wait_gone(&self, record: &Record, deadline: Option<Instant>) -> Result<bool> {
        // Neither name nor number are its own for ever, and a second is long. What it is made of is.
        let is_it = |other: &Record| {
            let shared = anchors(other).any(|its| anchors(record).any(|own| own == its));
            shared || (anchors(record).next().is_none() && other.name == record.name)
        };
        let (mut jid, mut pause) = (record.jid, Duration::from_micros(500));
        // Whoever may not clear up can still wait until somebody else does.
        let may = privilege::check().is_ok();
        loop {
            if may {
                let _of_others_too = self.force_held().and_then(|_| self.sweep());
            }
            if !self.premises.store.read(jid)?.is_some_and(|there| is_it(&there)) {
                // A dying jail gives up its number to whoever wants it.
                let Some(there) = self.list(true)?.into_iter().find(is_it) else { return Ok(true) };
                jid = there.jid;
            }
            let left = deadline.map_or(PAUSE, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(false);
            }
            sleep(pause.min(left));
            pause = (pause * 2).min(PAUSE);
        }
    }
}

/// The namespaces of a jail, which no other will ever have.
fn anchors(record: &Record) -> impl Iterator<Item = &Anchor> {
    record
        .pieces
        .iter()
        .filter(|piece| piece.kind == Piece::INSTANCE)
        .filter_map(|piece| piece.anchor.as_ref())
}
