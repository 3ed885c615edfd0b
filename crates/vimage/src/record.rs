//! What happened: the trace of every phase and piece, and the places where a failure can be injected.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Piece, Result};

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The jail's name.
    pub jail: String,
    /// What was done: `plan`, `make`, `undo`, `drain`.
    pub phase: String,
    /// To what: `vnet`, `vnet/link/eth0`.
    pub what: String,
    /// When it began, in microseconds from the start of the command.
    pub at: u64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Records events, and fails or dies where it is told to.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    events: RefCell<Vec<Event>>,
    fault: Option<Fault>,
    points: Cell<u64>,
    freed: RefCell<BTreeMap<String, u64>>,
}

/// A failure to inject: at the n-th point of the command, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    how: How,
    at: u64,
}

/// What happens at the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// The act fails.
    Fail,
    /// The process ends at once, as by `kill -9`.
    Kill,
}

impl Fault {
    /// Of `fail:N` or `kill:N`; `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (how, at) = text.split_once(':')?;
        let how = match how {
            "fail" => How::Fail,
            "kill" => How::Kill,
            _ => return None,
        };
        Some(Self { how, at: at.parse().ok()? })
    }
}

impl Recorder {
    /// A recorder whose clock starts now.
    #[must_use]
    pub fn new(fault: Option<Fault>) -> Self {
        Self {
            began: Instant::now(),
            events: RefCell::default(),
            fault,
            points: Cell::new(0),
            freed: RefCell::default(),
        }
    }

    /// As [`Recorder::new`], with the fault that the environment variable `JAIL_FAULT` asks for.
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(std::env::var("JAIL_FAULT").ok().as_deref().and_then(Fault::parse))
    }

    /// A place where a failure can be injected.
    ///
    /// # Errors
    /// The injected failure.
    pub fn point(&self, phase: &str, what: &str) -> Result<()> {
        self.points.set(self.points.get() + 1);
        match self.fault {
            Some(Fault { how, at }) if at == self.points.get() => match how {
                // No destructor runs and no buffer is written, as with SIGKILL.
                How::Kill => std::process::abort(),
                How::Fail => {
                    Err(Error::new(ErrorKind::Failed, format!("injected failure {at}: {phase} {what}")))
                }
            },
            _ => Ok(()),
        }
    }

    /// How many points were passed.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.points.get()
    }

    /// Runs `act` and records how long it took.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn timed<T>(
        &self,
        jail: &str,
        phase: &str,
        what: impl fmt::Display,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let done = act();
        self.note(jail, phase, what, start, done.as_ref().err());
        done
    }

    /// Records what began at `start` and ends now.
    pub fn note(
        &self,
        jail: &str,
        phase: &str,
        what: impl fmt::Display,
        start: Instant,
        error: Option<&Error>,
    ) {
        self.events.borrow_mut().push(Event {
            jail: jail.to_owned(),
            phase: phase.to_owned(),
            what: what.to_string(),
            at: micros(start.saturating_duration_since(self.began)),
            took: micros(start.elapsed()),
            error: error.map(Error::to_string),
        });
    }

    /// The verbs of a phase, one a subsystem.
    pub(crate) fn verbs<'r>(&'r self, phase: &'r str) -> Verbs<'r> {
        Verbs { recorder: self, phase, start: Instant::now(), quick: Vec::new() }
    }

    /// Counts a piece that is gone, for the ledger.
    pub fn freed(&self, piece: &Piece) {
        *self.freed.borrow_mut().entry(format!("{}/{}", piece.subsystem, piece.kind)).or_default() += 1;
    }

    /// Takes the counts of what is gone, by `subsystem/kind`.
    pub fn take_freed(&self) -> BTreeMap<String, u64> {
        self.freed.take()
    }

    /// Takes what was recorded.
    pub fn take(&self) -> Vec<Event> {
        self.events.take()
    }
}

/// Records the verbs of one phase. Most subsystems have nothing to do in most phases: those that took no microsecond
/// have one event together.
#[derive(Debug)]
pub(crate) struct Verbs<'r> {
    recorder: &'r Recorder,
    phase: &'r str,
    start: Instant,
    quick: Vec<&'static str>,
}

impl Verbs<'_> {
    /// Records what a subsystem began at `start` and ends now.
    pub(crate) fn note(
        &mut self,
        jail: &str,
        subsystem: &'static str,
        start: Instant,
        error: Option<&Error>,
    ) {
        if error.is_none() && micros(start.elapsed()) == 0 {
            self.quick.push(subsystem);
        } else {
            self.recorder.note(jail, self.phase, subsystem, start, error);
        }
    }

    /// Records those that took no time.
    pub(crate) fn end(self, jail: &str) {
        if !self.quick.is_empty() {
            let at = micros(self.start.saturating_duration_since(self.recorder.began));
            let (jail, phase, what) = (jail.to_owned(), self.phase.to_owned(), self.quick.join(" "));
            self.recorder.events.borrow_mut().push(Event { jail, phase, what, at, took: 0, error: None });
        }
    }
}

fn micros(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
