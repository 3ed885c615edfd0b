//! What a filter decides, before it is a program.

use std::collections::BTreeMap;

use super::ArgEq;

/// What to do with a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Decision {
    Allow,
    Errno(u16),
    /// Depends on an argument.
    Test {
        condition: ArgEq,
        then: Box<Self>,
        otherwise: Box<Self>,
    },
    /// Depends on the bits `mask` of the first argument.
    Parts {
        mask: u32,
        parts: Switch,
    },
}

impl Decision {
    /// Decides by `other` what is still allowed.
    fn refine(&mut self, other: &Self) {
        match (self, other) {
            (Self::Errno(_), _) => {}
            (Self::Test { otherwise, .. }, _) => otherwise.refine(other),
            (Self::Parts { parts, .. }, Self::Parts { parts: others, .. }) => {
                for (part, decision) in others.exceptions() {
                    parts.refine(part, decision);
                }
            }
            (Self::Parts { parts, .. }, _) => parts.refine_all(other),
            (this @ Self::Allow, _) => *this = other.clone(),
        }
    }
}

/// A decision for every number: each entry holds up to the next one's number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Switch(BTreeMap<u32, Decision>);

impl Default for Switch {
    fn default() -> Self {
        Self(BTreeMap::from([(0, Decision::Allow)]))
    }
}

impl Switch {
    pub(super) fn refine(&mut self, number: u32, decision: &Decision) {
        self.split(number);
        if let Some(next) = number.checked_add(1) {
            self.split(next);
        }
        self.0.entry(number).and_modify(|old| old.refine(decision));
    }

    fn refine_all(&mut self, decision: &Decision) {
        self.0.values_mut().for_each(|old| old.refine(decision));
    }

    /// Decides number `at` as a whole when all parts of it that exist are decided the same.
    pub(super) fn join(&mut self, at: u32, existing: impl Iterator<Item = u32>) {
        let Some(Decision::Parts { parts, .. }) = self.0.get(&at) else { return };
        let mut decisions = existing.filter_map(|part| parts.get(part));
        let first = decisions.next().cloned();
        if decisions.all(|other| Some(other) == first.as_ref()) {
            self.0.extend(first.map(|decision| (at, decision)));
        }
    }

    fn get(&self, number: u32) -> Option<&Decision> {
        self.0.range(..=number).next_back().map(|(_, decision)| decision)
    }

    /// Decides all numbers from `number` on anew.
    pub(super) fn set_from(&mut self, number: u32, decision: &Decision) {
        self.split(number);
        self.0.range_mut(number..).for_each(|(_, old)| *old = decision.clone());
    }

    fn split(&mut self, number: u32) {
        let here = self.get(number).cloned();
        self.0.entry(number).or_insert_with(|| here.unwrap_or(Decision::Allow));
    }

    fn exceptions(&self) -> impl Iterator<Item = (u32, &Decision)> {
        self.0.iter().filter(|(_, decision)| **decision != Decision::Allow).map(|(n, d)| (*n, d))
    }

    /// Returns the ranges by their first numbers, neighbours that decide the same made one.
    pub(super) fn ranges(&self) -> Vec<(u32, &Decision)> {
        let mut ranges: Vec<(u32, &Decision)> = self.0.iter().map(|(n, d)| (*n, d)).collect();
        ranges.dedup_by(|b, a| a.1 == b.1);
        ranges
    }
}
