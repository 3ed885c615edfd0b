//! What a subsystem is: FreeBSD's `struct vimage_subsys` of 2010, in Rust.

use std::{collections::BTreeSet, time::Instant};

use crate::{Cost, Error, House, Instance, Node, Param, Piece, Result, Settings, Site};

/// A kernel facility of which every jail may own an instance.
///
/// Everything but `name`, `about` and `params` has a default, so that a subsystem says only what it does.
/// `S` is the step type: how a process that is born into an instance is told what to do. The framework
/// never looks into one.
pub trait Subsystem<S>: Sync {
    /// Its name, and its key in records.
    fn name(&self) -> &'static str;

    /// One line for `jdb show subsystems`: small first letter, no full stop.
    fn about(&self) -> &'static str;

    /// The manual's paragraph on all its parameters together; empty: there is none.
    fn doc(&self) -> &'static str {
        ""
    }

    /// Its parameters.
    fn params(&self) -> &'static [Param];

    /// Subsystems whose instances must exist first; removal runs the other way round.
    fn after(&self) -> &'static [&'static str] {
        &[]
    }

    /// What this host lacks for it. Asked by `jdb show subsystems`, and of a creation that has failed, to explain
    /// it: where nothing is missing nobody asks.
    fn probe(&self) -> Support {
        Support::Full
    }

    /// Fills in defaults that depend on other values. Runs before [`Subsystem::check`].
    fn resolve(&self, _ask: &mut Ask<'_>) {}

    /// Checks all values. Changes nothing.
    ///
    /// # Errors
    /// A value is wrong, this host cannot honour it, or the parent forbids it.
    fn check(&self, _ask: &Ask<'_>) -> Result<()> {
        Ok(())
    }

    /// Makes what must exist before the jail's first process is born, and returns what that process has to
    /// do for the instance.
    ///
    /// # Errors
    /// The kernel refused something; the framework undoes what was made.
    fn prepare(&self, _site: &mut Site<'_>) -> Result<Vec<S>> {
        Ok(Vec::new())
    }

    /// What a process does that is the first of a jail which has none, as it is made: namespaces that go with a
    /// jail's last process.
    fn first(&self, _settings: &Settings) -> Vec<S> {
        Vec::new()
    }

    /// Makes what needs no namespace of the jail's and what its birth does not need, while that goes on: mounts, a place
    /// on a segment.
    ///
    /// # Errors
    /// The kernel refused something; the framework undoes what was made.
    fn provide(&self, _site: &mut Site<'_>) -> Result<()> {
        Ok(())
    }

    /// Makes the instance while the process that was born in it stands and waits.
    ///
    /// # Errors
    /// The kernel refused something; the framework undoes what was made.
    fn create(&self, _site: &mut Site<'_>) -> Result<()> {
        Ok(())
    }

    /// Goes on making the instance while the process takes its steps; it waits again before it becomes a
    /// program.
    ///
    /// # Errors
    /// The kernel refused something; the framework undoes what was made.
    fn furnish(&self, _site: &mut Site<'_>) -> Result<()> {
        Ok(())
    }

    /// Takes over what the process has made by itself on its way, while it becomes a program.
    ///
    /// # Errors
    /// The kernel refused something; the framework undoes what was made.
    fn complete(&self, _site: &mut Site<'_>) -> Result<()> {
        Ok(())
    }

    /// The steps of a process that enters the instance, behind those of [`Subsystem::first`] if it is that: one that was
    /// born with the jail is in all its namespaces already.
    ///
    /// # Errors
    /// Something of the instance cannot be opened.
    fn enter(&self, _of: &Instance<'_>, _how: Entry) -> Result<Vec<S>> {
        Ok(Vec::new())
    }

    /// Whether a change of any parameter, and not only of its own, is its business.
    fn follows_all(&self) -> bool {
        false
    }

    /// Changes a living instance from `old` to the site's settings. Returns steps that a process must take
    /// inside. Called the other way round to undo a failed update.
    ///
    /// # Errors
    /// The kernel refused something.
    fn update(&self, _site: &mut Site<'_>, _old: &Settings) -> Result<Vec<S>> {
        Ok(Vec::new())
    }

    /// Live values, from the kernel; what is left out is as recorded. What is not wanted need not be read.
    ///
    /// # Errors
    /// The instance cannot be entered or read.
    fn inspect(&self, _of: &Instance<'_>, _wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        Ok(Settings::default())
    }

    /// What there is to see of an instance beyond its parameters and pieces, live from the kernel.
    ///
    /// # Errors
    /// The instance cannot be entered or read.
    fn show(&self, _of: &Instance<'_>) -> Result<Node> {
        Ok(Node::map())
    }

    /// Closes the entrances, so that nothing new comes in. The instances' processes are killed; they may not have
    /// ended yet.
    fn quiesce(&self, _of: &[Instance<'_>]) -> Vec<Error> {
        Vec::new()
    }

    /// Gets rid of what is still under way inside, until the deadline at the latest. The instances' processes are
    /// gone.
    fn drain(&self, _of: &[Instance<'_>], _deadline: Instant) -> Vec<Error> {
        Vec::new()
    }

    /// Unmakes pieces of one kind, in the order given, and answers for each. Idempotent: already gone is
    /// success.
    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        doomed.iter().map(|_| Ok(())).collect()
    }

    /// Whether a piece exists.
    ///
    /// # Errors
    /// It cannot be told.
    fn exists(&self, _piece: &Piece, _house: &dyn House) -> Result<bool> {
        Ok(true)
    }

    /// What carries our mark in the kernel and is no piece of any record: each as the piece that
    /// [`Subsystem::undo`] would take.
    ///
    /// # Errors
    /// The kernel could not be asked.
    fn strays(&self, _known: &Known, _house: &dyn House) -> Result<Vec<Piece>> {
        Ok(Vec::new())
    }

    /// What a piece costs as long as it is there, for whoever reads that it is in no record, or that a dying jail still
    /// has it: its processes, its memory, the addresses that nobody else can have. Asked only of what was found. What
    /// cannot be told is left out.
    fn cost(&self, _piece: &Piece, _house: &dyn House) -> Cost {
        Cost::default()
    }

    /// The kinds of its pieces, each with the kernel object that it is: `("link", "veth pair")`. A kind that is not among
    /// them is an object of its own name.
    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}

/// Whether a host can do what a subsystem needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Support {
    /// All of it.
    Full,
    /// Not these; parameters that need them are refused.
    Lacks(Vec<Lack>),
}

/// Something that a host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What, in the kernel's words.
    pub what: &'static str,
    /// What does not work therefore, or how to get it.
    pub hint: &'static str,
    /// The parameters that cannot be honoured without: a mode that is `new`, a boolean that is true, a value of any
    /// other type. A name that is no parameter's stands for every jail. Where there is a way to do without: none.
    pub denies: &'static [&'static str],
}

/// What is asked of a subsystem before anything is changed.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The jail's full name.
    pub name: &'a str,
    /// Its number.
    pub jid: u32,
    /// What the user gave.
    pub given: &'a Settings,
    /// All values, defaults included.
    pub settings: Settings,
    /// The parent jail; `None` for the host.
    pub parent: Option<&'a Instance<'a>>,
    /// What it has at most: the values of the parent jail, or, at the top, of the jail that we are in ourselves.
    pub above: Option<&'a Settings>,
    /// The living jail that is to be changed; `None` at creation.
    pub living: Option<&'a Instance<'a>>,
    /// What the owner of the records offers.
    pub house: &'a dyn House,
}

/// How a process comes into a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It was born with the jail.
    Born,
    /// The jail exists and no process is inside.
    First,
    /// Others are inside already.
    Joining,
}

/// A piece to unmake, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Doomed<'a> {
    /// The piece.
    pub piece: &'a Piece,
    /// The instance it is part of.
    pub of: &'a Instance<'a>,
    /// Whether only this goes, in the course of a change, and not the jail whose it is, or who used it: then
    /// nothing else takes it along.
    pub alone: bool,
}

/// Which pieces the records know.
#[derive(Debug, Default)]
pub struct Known(BTreeSet<(String, String, String)>);

impl Known {
    /// Of these pieces.
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a Piece>) -> Self {
        Self(pieces.into_iter().map(|p| (p.subsystem.clone(), p.kind.clone(), p.key.clone())).collect())
    }

    /// Whether some record has the piece.
    #[must_use]
    pub fn has(&self, subsystem: &str, kind: &str, key: &str) -> bool {
        self.0.contains(&(subsystem.to_owned(), kind.to_owned(), key.to_owned()))
    }

    /// Whether some record has a piece of this kind and key, whatever its subsystem.
    #[must_use]
    pub fn has_key(&self, kind: &str, key: &str) -> bool {
        self.0.iter().any(|(_, k, piece)| k == kind && piece == key)
    }
}
