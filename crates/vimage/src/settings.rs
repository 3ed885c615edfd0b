//! Values by parameter name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::param::Mode;

/// A value. A mode is text; a size is a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text, or the word of a mode.
    Text(String),
    /// Items in the order they were given.
    List(Vec<String>),
}

impl Value {
    /// The value as `jls` prints it: a list's items are joined by commas.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bool(b) => b.to_string(),
            Self::Int(n) => n.to_string(),
            Self::Text(s) => s.clone(),
            Self::List(items) => items.join(","),
        }
    }
}

/// Values by full parameter name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, Value>);

impl Settings {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets a value; returns the one it replaces.
    pub fn set(&mut self, name: &str, value: Value) -> Option<Value> {
        self.0.insert(name.to_owned(), value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// A boolean; false when it is not set.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Bool(true)))
    }

    /// A number.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(s)) => Some(s),
            _ => None,
        }
    }

    /// A list; empty when it is not set.
    #[must_use]
    pub fn list(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// A mode; [`Mode::Inherit`] when it is not set.
    #[must_use]
    pub fn mode(&self, name: &str) -> Mode {
        self.text(name).and_then(Mode::of).unwrap_or(Mode::Inherit)
    }

    /// Whether the mode is `new`.
    #[must_use]
    pub fn is_new(&self, name: &str) -> bool {
        self.mode(name) == Mode::New
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Puts all of another's values over these.
    pub fn merge(&mut self, other: &Self) {
        for (name, value) in other.iter() {
            self.set(name, value.clone());
        }
    }
}

impl FromIterator<(String, Value)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}
