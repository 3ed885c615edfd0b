//! Variables: each is expanded once for a jail, after those that it needs, without recursion.

use std::{borrow::Cow, collections::HashMap};

use super::{
    Symbol, Value,
    slots::{Slot, Slots, State},
};
use crate::{
    problem::{Problem, Problems},
    source::Span,
    tree::{Part, Word},
};

/// A variable needs itself, over however many others.
pub const VARIABLE_LOOP: &str = "variable loop";
/// A variable of several values stands in a longer text.
pub const ARRAY_INLINE: &str = "array cannot be substituted inline";

/// Nothing has set a variable.
#[must_use]
pub fn no_variable(name: &str) -> String {
    format!("variable \"{name}\" not found")
}

/// How many bytes variables make of one jail's values. The command of a program has less than a hundredth of it.
const MOST_OF_JAIL: usize = 16 << 20;
/// How many bytes are made of all jails, with a price for each definition that is applied.
const MOST_OF_ALL: usize = 256 << 20;
/// What a definition or value costs beside the bytes of its text.
const EACH: usize = 40;

/// What may still be made of a configuration. A few variables that double each other can make more of ten lines than a
/// machine holds.
#[derive(Debug)]
pub(super) struct Budget {
    of_all: usize,
    of_jail: usize,
    /// Whether a variable of this jail wanted more than there was.
    overdrawn: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { of_all: MOST_OF_ALL, of_jail: MOST_OF_JAIL, overdrawn: false }
    }
}

impl Budget {
    /// Pays for what is looked at, whatever becomes of it: definitions, values, their parts.
    pub(super) fn spend(&mut self, count: usize) {
        self.of_all = self.of_all.saturating_sub(count.saturating_mul(EACH));
    }

    /// Pays for what a variable makes. `None`: it is too much for one jail.
    fn make(&mut self, bytes: usize) -> Option<()> {
        self.of_all = self.of_all.saturating_sub(bytes);
        let left = self.of_jail.checked_sub(bytes);
        self.overdrawn |= left.is_none();
        self.of_jail = left?;
        Some(())
    }

    pub(super) fn is_spent(&self) -> bool {
        self.of_all == 0
    }
}

/// The names of a configuration.
struct Names<'n, 'c> {
    symbols: &'n HashMap<Cow<'c, str>, Symbol>,
    names: &'n [Cow<'c, str>],
}

/// A slot being expanded, and which part of which value is to be looked at next.
struct Visit {
    slot: usize,
    value: usize,
    part: usize,
}

/// Expands all slots.
pub(super) fn all<'c>(
    slots: &mut Slots<'c>,
    symbols: &HashMap<Cow<'c, str>, Symbol>,
    names: &[Cow<'c, str>],
    budget: &mut Budget,
    problems: &mut Problems,
) {
    let names = Names { symbols, names };
    (budget.of_jail, budget.overdrawn) = (MOST_OF_JAIL, false);
    for slot in 0..slots.list.len() {
        if budget.is_spent() || budget.overdrawn {
            return;
        }
        if matches!(slots.list[slot].state, State::Waiting) {
            names.expand(slots, slot, budget, problems);
        }
    }
}

impl Names<'_, '_> {
    /// Expands a slot and what it needs.
    fn expand(&self, slots: &mut Slots<'_>, first: usize, budget: &mut Budget, problems: &mut Problems) {
        let mut path = vec![Visit { slot: first, value: 0, part: 0 }];
        slots.list[first].state = State::Open;
        while let Some(visit) = path.last_mut() {
            let Some((name, span)) = next(&slots.list[visit.slot], visit) else {
                let slot = visit.slot;
                path.pop();
                slots.list[slot].state = self.finish(slots, slot, budget, problems);
                continue;
            };
            let Some(needed) = self.symbols.get(name).and_then(|symbol| slots.find(*symbol)) else {
                continue;
            };
            match slots.list[needed].state {
                State::Waiting => {
                    slots.list[needed].state = State::Open;
                    path.push(Visit { slot: needed, value: 0, part: 0 });
                }
                State::Open => {
                    let start = path.iter().position(|visit| visit.slot == needed).unwrap_or(0);
                    let mut round: Vec<&str> =
                        path[start..].iter().map(|v| self.name(slots, v.slot)).collect();
                    round.push(name);
                    if round.len() > 8 {
                        round.splice(4..round.len() - 3, ["…"]);
                    }
                    let problem = Problem::plain(span, format!("{name}: {VARIABLE_LOOP}"));
                    problems.push(problem.hint(round.join(" needs ")));
                    for visit in path.drain(..) {
                        slots.list[visit.slot].state = State::Bad;
                    }
                }
                State::Done(_) | State::Bad => {}
            }
        }
    }

    fn name(&self, slots: &Slots<'_>, slot: usize) -> &str {
        slots.list.get(slot).map_or("", |slot| &self.names[slot.symbol])
    }

    /// The values of a slot of which all that they need is expanded.
    fn finish<'c>(
        &self,
        slots: &Slots<'c>,
        number: usize,
        budget: &mut Budget,
        problems: &mut Problems,
    ) -> State<'c> {
        let slot = &slots.list[number];
        let name = self.name(slots, number);
        let mut values = Vec::with_capacity(slot.len());
        budget.spend(slot.len());
        for word in slot.words() {
            if let Err(why) = self.word(slots, word, budget, &mut values) {
                if let Some((span, message)) = why {
                    problems.push(Problem::plain(span, format!("{name}: {message}")));
                }
                return State::Bad;
            }
        }
        if values.len() > 1 && !slot.list {
            let problem = Problem::plain(slot.span, format!("{name}: takes one value, not {}", values.len()));
            problems.push(problem.hint("a comma that is part of a value is put in quotes"));
            return State::Bad;
        }
        State::Done(values)
    }

    /// Adds what becomes of one value. The error has nothing in it where it is a needed slot that is bad.
    fn word<'c>(
        &self,
        slots: &Slots<'c>,
        word: &'c Word,
        budget: &mut Budget,
        values: &mut Vec<Value<'c>>,
    ) -> Result<(), Option<(Span, String)>> {
        if let Some(text) = word.text() {
            values.push(Value { text: Cow::Borrowed(text), span: word.span });
            return Ok(());
        }
        budget.spend(word.parts.len());
        let mut make = |bytes| {
            budget.make(bytes).ok_or_else(|| {
                Some((word.span, format!("more than {} MB when variables are expanded", MOST_OF_JAIL >> 20)))
            })
        };
        if let [Part::Variable { name, span }] = &*word.parts {
            let of = self.values(slots, name, *span)?;
            for value in of {
                make(EACH + if matches!(value.text, Cow::Owned(_)) { value.text.len() } else { 0 })?;
                values.push(Value { text: value.text.clone(), span: word.span });
            }
            return Ok(());
        }
        let mut text = String::new();
        for part in &word.parts {
            let more = match part {
                Part::Text(text) => text,
                Part::Variable { name, span } => match self.values(slots, name, *span)? {
                    [one] => &*one.text,
                    _ => return Err(Some((*span, ARRAY_INLINE.to_owned()))),
                },
            };
            make(more.len())?;
            text.push_str(more);
        }
        values.push(Value { text: Cow::Owned(text), span: word.span });
        Ok(())
    }

    /// The values that a variable stands for: at least one.
    fn values<'s, 'c>(
        &self,
        slots: &'s Slots<'c>,
        name: &str,
        span: Span,
    ) -> Result<&'s [Value<'c>], Option<(Span, String)>> {
        let slot =
            self.symbols.get(name).and_then(|symbol| slots.find(*symbol)).map(|at| &slots.list[at].state);
        match slot {
            Some(State::Done(values)) if !values.is_empty() => Ok(values),
            Some(State::Bad) => Err(None),
            _ => Err(Some((span, no_variable(name)))),
        }
    }
}

/// The next variable in the values of a slot.
fn next<'c>(slot: &Slot<'c>, visit: &mut Visit) -> Option<(&'c str, Span)> {
    while let Some(word) = slot.word(visit.value) {
        while let Some(part) = word.parts.get(visit.part) {
            visit.part += 1;
            if let Part::Variable { name, span } = part {
                return Some((name, *span));
            }
        }
        (visit.value, visit.part) = (visit.value + 1, 0);
    }
    None
}
