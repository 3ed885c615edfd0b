//! What one file says, as it is written: nothing is included, expanded or applied yet.

use crate::{
    Report,
    parser::parse,
    problem::Problems,
    source::{Sources, Span},
};

/// One file by itself. Printed, it is a file that says the same; comments and the manner of quoting are lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Its statements, in order.
    pub items: Vec<Item>,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `web { … }`
    Block(Block),
    /// `path = "/jails/web";`
    Definition(Definition),
    /// `.include "jail.conf.d/*.conf";`
    Include(Include),
}

/// A jail, or a pattern for jails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its own name, without those of the blocks around it.
    pub name: String,
    /// Where the name is.
    pub span: Span,
    /// What it says.
    pub items: Vec<Item>,
}

/// A parameter or variable with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name as it is written, without the sign of a variable.
    pub name: String,
    /// Whether it is a variable (`$name = value;`).
    pub variable: bool,
    /// Where the name is.
    pub span: Span,
    /// Whether the values are added to those before (`+=`).
    pub append: bool,
    /// The values; none for a name that stands by itself.
    pub values: Vec<Word>,
}

/// An order to go on with other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Their names, or patterns for them, each with its place.
    pub names: Vec<(String, Span)>,
}

/// One value: everything that is written without a blank between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its parts; none in an empty value. There are never two texts side by side, nor an empty one.
    pub parts: Vec<Part>,
    /// Where it is, with its quotes.
    pub span: Span,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text, with quotes and escapes resolved.
    Text(String),
    /// The value of a variable or parameter: `$name`, `${host.hostname}`.
    Variable {
        /// Its name.
        name: String,
        /// Where it is, with its sign and braces.
        span: Span,
    },
}

impl Tree {
    /// Reads one file by itself; `name` is what messages call it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, Report> {
        let (mut sources, mut problems) = (Sources::default(), Problems::default());
        let file = sources.add(name.to_owned(), text.to_vec());
        let tree = parse(file, text, &mut problems);
        if problems.is_empty() { Ok(tree) } else { Err(Report::new(problems, sources)) }
    }
}

impl Word {
    /// The text of a value that has no variable in it.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}
