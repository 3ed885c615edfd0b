//! Values by parameter name.

use std::{collections::BTreeMap, fmt, rc::Rc};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::param::Mode;

/// A value. A mode is text; a size is a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// Not derived: that tries one kind after another, and words an error for each that it is not. Records are read
/// by every command.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean, a whole number, text or a list of texts")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
                i64::try_from(value).map(Value::Int).map_err(E::custom)
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::Text(value))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Value::List(list))
            }
        }

        from.deserialize_any(Visitor)
    }
}

/// Values by full parameter name. A copy costs nothing until it is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(Rc<BTreeMap<String, Value>>);

impl Settings {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Sets a value; returns the one it replaces.
    pub fn set(&mut self, name: &str, value: Value) -> Option<Value> {
        Rc::make_mut(&mut self.0).insert(name.to_owned(), value)
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        Rc::make_mut(&mut self.0).remove(name)
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
        if self.0.is_empty() {
            return self.clone_from(other);
        }
        for (name, value) in other.iter() {
            self.set(name, value.clone());
        }
    }
}

impl FromIterator<(String, Value)> for Settings {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(items: I) -> Self {
        Self(Rc::new(items.into_iter().collect()))
    }
}
