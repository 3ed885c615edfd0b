//! The parameters and variables of one jail while its blocks are put one over the other.

use std::borrow::Cow;

use super::{JID, Meaning, NAME, Param, Symbol, Value};
use crate::{
    problem::Problem,
    source::Span,
    tree::{Definition, Word},
};

/// A variable has the name of a parameter.
#[must_use]
pub fn like_a_parameter(word: &str) -> String {
    format!("variable \"${word}\" cannot have the same name as a parameter.")
}

/// A parameter is set again that says which jail it is.
#[must_use]
pub fn redefined(name: &str) -> String {
    format!("cannot redefine parameter \"{name}\".")
}

/// One for each parameter and variable that is set, in the order of their first definitions.
#[derive(Debug, Default)]
pub(super) struct Slots<'c> {
    pub list: Vec<Slot<'c>>,
    /// By symbol: the round in which it was set last, and its place in the list.
    places: Vec<(usize, usize)>,
    /// Which jail this is, so that nothing need be cleared for the next.
    round: usize,
}

/// A parameter or variable of a jail.
#[derive(Debug)]
pub(super) struct Slot<'c> {
    pub symbol: Symbol,
    pub variable: bool,
    pub list: bool,
    /// The word that set it last, and where.
    word: &'c str,
    pub span: Span,
    /// Its values: those of the last `=`, then those that were added.
    set: &'c [Word],
    added: Vec<&'c Word>,
    pub state: State<'c>,
}

/// How far the values of a slot are expanded.
#[derive(Debug)]
pub(super) enum State<'c> {
    Waiting,
    /// Being expanded: whoever comes by again has gone round in a loop.
    Open,
    Done(Vec<Value<'c>>),
    /// Something is wrong with it, which was reported.
    Bad,
}

impl<'c> Slots<'c> {
    /// Makes room for another jail.
    pub(super) fn clear(&mut self, symbols: usize) {
        self.list.clear();
        self.places.resize(symbols, (0, 0));
        self.round += 1;
    }

    /// The slot of a symbol, if it is set.
    pub(super) fn find(&self, symbol: Symbol) -> Option<usize> {
        let (round, place) = *self.places.get(symbol)?;
        (round == self.round).then_some(place)
    }

    fn add(&mut self, slot: Slot<'c>) {
        self.places[slot.symbol] = (self.round, self.list.len());
        self.list.push(slot);
    }

    /// Sets what the name of a block says, unless it is set.
    pub(super) fn imply(&mut self, symbol: Symbol, value: &'c Word, word: &'c str) {
        if self.find(symbol).is_none() {
            let (set, span) = (std::slice::from_ref(value), value.span);
            let (variable, list, added) = (false, false, Vec::new());
            self.add(Slot { symbol, variable, list, word, span, set, added, state: State::Waiting });
        }
    }

    /// Applies one definition.
    pub(super) fn define(
        &mut self,
        definition: &'c Definition,
        meaning: &Meaning,
        symbol: Symbol,
        name: &str,
    ) -> Result<(), Problem> {
        let Definition { variable, span, append, .. } = *definition;
        let (word, set) = (definition.name.as_str(), definition.values.as_slice());
        let refuse = |message: String| Err(Problem::plain(span, message));
        let list = match meaning {
            Meaning::Unknown(unknown) => {
                let problem = Problem::plain(span, unknown.message.clone());
                return Err(match &unknown.hint {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                });
            }
            Meaning::Variable { reserved: true } => return refuse(like_a_parameter(word)),
            Meaning::Variable { .. } => true,
            Meaning::Parameter { list: false } if append => {
                return refuse(format!("{name}: += needs a list"));
            }
            Meaning::Parameter { list } => *list,
        };
        let Some(place) = self.find(symbol) else {
            let added = Vec::new();
            self.add(Slot { symbol, variable, list, word, span, set, added, state: State::Waiting });
            return Ok(());
        };
        let slot = &mut self.list[place];
        if slot.variable != variable {
            return refuse(like_a_parameter(word));
        }
        if matches!(symbol, JID | NAME) && !variable {
            return refuse(redefined(name));
        }
        (slot.word, slot.span) = (word, span);
        if append {
            slot.added.extend(set);
        } else {
            slot.set = set;
            slot.added.clear();
        }
        Ok(())
    }

    /// The parameters that were expanded; what they hold is taken out.
    pub(super) fn params(&mut self, names: &[Cow<'c, str>]) -> Vec<Param<'c>> {
        let slots = self.list.drain(..).filter(|slot| !slot.variable);
        let params = slots.filter_map(|slot| match slot.state {
            State::Done(values) => {
                Some(Param { name: names[slot.symbol].clone(), word: slot.word, span: slot.span, values })
            }
            _ => None,
        });
        params.collect()
    }
}

impl<'c> Slot<'c> {
    /// How many values there are before expansion.
    pub(super) fn len(&self) -> usize {
        self.set.len() + self.added.len()
    }

    /// A value before expansion.
    pub(super) fn word(&self, at: usize) -> Option<&'c Word> {
        self.set.get(at).or_else(|| self.added.get(at - self.set.len()).copied())
    }

    /// The values before expansion.
    pub(super) fn words(&self) -> impl Iterator<Item = &'c Word> + use<'c, '_> {
        self.set.iter().chain(self.added.iter().copied())
    }
}
