//! Rule sets for devices, FreeBSD's devfs.rules(5): which devices a jail has in its /dev, with which mode and owner.
//!
//! [`Rulesets::read`] takes any texts, and says nothing of what is wrong in them until somebody wants a rule set
//! ([`Rulesets::rules`]): what is wrong with one text is no concern of those who use the sets of another. Which
//! devices there are its caller knows.
//!
//! ```
//! use conf::devfs::Rulesets;
//! let text = b"[basic=1]\nadd hide\nadd path 'nul*' unhide\n[more=2]\nadd include $basic\nadd path net/tun unhide mode 0666\n";
//! let sets = Rulesets::read(vec![("devfs.rules".into(), text.to_vec())]);
//! let rules = sets.rules(sets.number("more").unwrap())?;
//! assert!(rules.verdict("null", None).is_visible && !rules.verdict("sda", None).is_visible);
//! assert_eq!(rules.verdict("net/tun", None).mode, Some(0o666));
//! # Ok::<(), conf::Report>(())
//! ```

mod apply;
mod read;
mod rule;
mod words;

use std::collections::BTreeMap;

pub use self::{
    apply::{Rules, Verdict},
    rule::{Class, Id},
};
use crate::{
    problem::{Problem, Problems, Report},
    source::{FileId, Sources, Span},
};
use rule::Rule;

/// The texts of rule sets, and what is in them.
#[derive(Debug, Default)]
pub struct Rulesets {
    sources: Sources,
    sets: BTreeMap<u16, Set>,
    names: BTreeMap<String, u16>,
    /// What is wrong with each text that anything is wrong with.
    problems: BTreeMap<FileId, Problems>,
}

/// A rule set.
#[derive(Debug)]
struct Set {
    /// The place of its number.
    span: Span,
    /// By their numbers.
    rules: BTreeMap<u16, Rule>,
}

impl Rulesets {
    /// Reads texts, each with the name that messages call it. A rule set of a later text replaces the one of the same
    /// number in an earlier text, as if that had not been there.
    #[must_use]
    pub fn read(texts: Vec<(String, Vec<u8>)>) -> Self {
        let mut all = Self::default();
        for (name, text) in texts {
            all.add(name, text);
        }
        all
    }

    fn add(&mut self, name: String, text: Vec<u8>) {
        let file = self.sources.add(name, text);
        let text = self.sources.take(file);
        let mut problems = Problems::default();
        let read = read::read(file, &text, &self.names, &mut problems);
        self.sources.put(file, text);
        self.sets.extend(read.sets);
        self.names.extend(read.names);
        if !problems.is_empty() {
            self.problems.insert(file, problems);
        }
    }

    /// The number of a rule set by what a user calls it: a number that a set has, or a name.
    #[must_use]
    pub fn number(&self, word: &str) -> Option<u16> {
        match word.parse() {
            Ok(number) => self.sets.contains_key(&number).then_some(number),
            Err(_) => self.names.get(word).copied(),
        }
    }

    /// The names of all rule sets, each with its number, in the order of the numbers.
    #[must_use]
    pub fn names(&self) -> Vec<(&str, u16)> {
        let mut names: Vec<_> = self.names.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        names.sort_by_key(|(_, number)| *number);
        names
    }

    /// The rules of a set and of those that it includes, in the order in which they apply.
    ///
    /// # Errors
    /// All that is wrong with a text that one of these sets is from; a set that includes itself, or one that is not
    /// there; more rules than anybody has.
    pub fn rules(&self, number: u16) -> Result<Rules<'_>, Report> {
        apply::flatten(self, number)
    }

    /// All that is wrong with the texts, if anything is.
    #[must_use]
    pub fn wrong(&self) -> Option<Report> {
        let mut all = Problems::default();
        self.problems.values().for_each(|problems| all.append(problems.clone()));
        (!all.is_empty()).then(|| self.report(all))
    }

    /// Something that a caller finds wrong at a place, as that is reported which is found here.
    #[must_use]
    pub fn objection(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) -> Report {
        let mut one = Problems::default();
        one.push(Problem::at_line(span, message).hint(hint));
        self.report(one)
    }

    fn report(&self, problems: Problems) -> Report {
        Report::new(problems, self.sources.clone())
    }
}
