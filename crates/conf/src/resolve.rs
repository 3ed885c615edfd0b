//! What a configuration says of each jail: its blocks put one over the other, then variables expanded.

mod expand;
mod slots;

use std::{borrow::Cow, collections::HashMap};

use crate::{
    Parameters, Unknown,
    load::{Block, Conf},
    problem::{Problem, Problems},
    source::Span,
    tree::Definition,
};

pub use expand::{ARRAY_INLINE, VARIABLE_LOOP, no_variable};
pub use slots::{like_a_parameter, redefined};

use expand::Budget;
use slots::Slots;

/// A jail of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jail<'c> {
    /// The name of its block, with those of the blocks around it: the jail's name or, if it is a number, its jid.
    pub name: &'c str,
    /// Where its block begins.
    pub span: Span,
    /// Its parameters, each in the place of its first definition. The first is `name`, or `jid` of a block whose name
    /// is a number; `name` is always among them.
    pub params: Vec<Param<'c>>,
    /// What is wrong with it: the first hundred. If there is anything, parameters may be missing. What is wrong with a
    /// block for many jails is wrong with each of them, at the same place.
    pub problems: Vec<Problem>,
}

impl<'c> Jail<'c> {
    /// The parameter of a name, if it is set.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&Param<'c>> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// A parameter of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param<'c> {
    /// The parameter's name, as [`Parameters`] has it.
    pub name: Cow<'c, str>,
    /// The word that it was set by last: `nopersist` for `persist`.
    pub word: &'c str,
    /// Where that is.
    pub span: Span,
    /// The values; none for a word that stands by itself.
    pub values: Vec<Value<'c>>,
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'c> {
    /// The text, with variables expanded.
    pub text: Cow<'c, str>,
    /// Where it is written.
    pub span: Span,
}

/// What a name of a parameter or variable stands for in all jails.
#[derive(Debug)]
enum Meaning {
    Variable { reserved: bool },
    Parameter { list: bool },
    Unknown(Unknown),
}

/// A number for each name: parameters and variables share them, since `$name` may refer to either.
type Symbol = usize;

/// Resolves the jails of a configuration, one by one.
#[derive(Debug)]
pub struct Resolver<'c> {
    conf: &'c Conf,
    /// Names by symbols, and the other way.
    names: Vec<Cow<'c, str>>,
    symbols: HashMap<Cow<'c, str>, Symbol>,
    /// For each block, what each of its definitions is of: an index of `meanings`, and its symbol.
    prepared: Vec<Vec<(usize, Symbol)>>,
    meanings: Vec<Meaning>,
    slots: Slots<'c>,
    budget: Budget,
    by_name: HashMap<&'c str, usize>,
}

impl Conf {
    /// Gets ready to resolve jails: each word in the configuration is looked up, once.
    #[must_use]
    pub fn resolver(&self, parameters: &dyn Parameters) -> Resolver<'_> {
        let mut resolver = Resolver {
            conf: self,
            names: Vec::new(),
            symbols: HashMap::new(),
            prepared: Vec::with_capacity(self.blocks.len()),
            meanings: Vec::new(),
            slots: Slots::default(),
            budget: Budget::default(),
            by_name: HashMap::new(),
        };
        let mut words: HashMap<(bool, &str), (usize, Symbol)> = HashMap::new();
        let jid = resolver.symbol(Cow::Borrowed("jid"));
        let name = resolver.symbol(Cow::Borrowed("name"));
        debug_assert_eq!((jid, name), (JID, NAME));
        for block in &self.blocks {
            let prepared = block.definitions.iter().map(|definition| {
                let word = definition.name.as_str();
                *words.entry((definition.variable, word)).or_insert_with(|| {
                    let (meaning, name) = meaning(definition, parameters);
                    resolver.meanings.push(meaning);
                    (resolver.meanings.len() - 1, resolver.symbol(name))
                })
            });
            let prepared = prepared.collect();
            resolver.prepared.push(prepared);
        }
        for (index, number) in self.jails.iter().enumerate() {
            resolver.by_name.entry(self.blocks[*number].name()).or_insert(index);
        }
        resolver
    }
}

/// The symbols of the parameters that the language itself sets.
const JID: Symbol = 0;
const NAME: Symbol = 1;

/// What a definition is of, and by which name.
fn meaning<'c>(definition: &'c Definition, parameters: &dyn Parameters) -> (Meaning, Cow<'c, str>) {
    let word = definition.name.as_str();
    if definition.variable {
        return (
            Meaning::Variable { reserved: matches!(word, "jid" | "name") || parameters.is_reserved(word) },
            Cow::Borrowed(word),
        );
    }
    match parameters.look_up(word) {
        Ok(known) if known.name == word => (Meaning::Parameter { list: known.list }, Cow::Borrowed(word)),
        Ok(known) => (Meaning::Parameter { list: known.list }, Cow::Owned(known.name)),
        Err(unknown) => (Meaning::Unknown(unknown), Cow::Borrowed(word)),
    }
}

impl<'c> Resolver<'c> {
    fn symbol(&mut self, name: Cow<'c, str>) -> Symbol {
        if let Some(symbol) = self.symbols.get(&name) {
            return *symbol;
        }
        self.names.push(name.clone());
        self.symbols.insert(name, self.names.len() - 1);
        self.names.len() - 1
    }

    /// All jails, in the order of the files.
    pub fn jails(&mut self) -> impl Iterator<Item = Jail<'c>> {
        (0..self.conf.jails.len()).map(|index| self.resolve(index))
    }

    /// The jail of a name, or of a number if it is defined by one.
    pub fn jail(&mut self, name: &str) -> Option<Jail<'c>> {
        let index = *self.by_name.get(name)?;
        Some(self.resolve(index))
    }

    fn resolve(&mut self, index: usize) -> Jail<'c> {
        let conf = self.conf;
        let own = conf.jails[index];
        let block = &conf.blocks[own];
        let mut problems = Problems::default();
        let mut params = Vec::new();
        if let Some(twin) = block.twin {
            let problem = Problem::plain(block.name.span, format!("\"{}\" is defined twice", block.name()));
            problems.push(problem.hint(format!("the other is at {}", conf.place(twin))));
        }
        if !self.budget.is_spent() {
            self.apply(own, &mut problems);
            expand::all(&mut self.slots, &self.symbols, &self.names, &mut self.budget, &mut problems);
            params = self.slots.params(&self.names);
        }
        if self.budget.is_spent() {
            let message = "the configuration is too large when its variables and patterns are applied";
            problems.push(Problem::plain(block.name.span, message));
        }
        Jail { name: block.name(), span: block.name.span, params, problems: problems.into_list() }
    }

    /// Fills the slots from the jail's own block and those whose patterns it meets, in the order of the files.
    fn apply(&mut self, own: usize, problems: &mut Problems) {
        let conf = self.conf;
        let block = &conf.blocks[own];
        let (mut all, looked) = conf.patterns.matching(block.name());
        self.budget.spend(looked);
        let place = all.partition_point(|number| *number < own);
        all.insert(place, own);
        self.slots.clear(self.names.len());
        let implied = if is_jid(block.name()) { JID } else { NAME };
        self.imply(implied, block);
        for number in all {
            let blocks = conf.blocks[number].definitions.iter().zip(&self.prepared[number]);
            for (definition, (meaning, symbol)) in blocks {
                let name = &self.names[*symbol];
                if let Err(problem) = self.slots.define(definition, &self.meanings[*meaning], *symbol, name) {
                    problems.push(problem);
                }
            }
            self.budget.spend(self.prepared[number].len());
        }
        // As upstream does, at the end: a number's jail has it for a name unless it says another.
        self.imply(NAME, block);
    }

    fn imply(&mut self, symbol: Symbol, block: &'c Block) {
        self.slots.imply(symbol, &block.name, if symbol == JID { "jid" } else { "name" });
    }
}

/// Whether the name of a block is a number, which is a jid then; 0 is none.
fn is_jid(name: &str) -> bool {
    let digits = name.strip_prefix(['+', '-']).unwrap_or(name);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.bytes().any(|byte| byte != b'0')
}
