//! The one error type of the product: what was being done, to what, and why it failed.

use std::{fmt, io};

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request itself is wrong.
    Usage,
    /// No such jail, user, file.
    NotFound,
    /// The name, number or object is taken.
    Exists,
    /// The caller lacks a privilege, or a parent jail forbids it.
    Denied,
    /// This host or kernel cannot do it.
    Unsupported,
    /// Something still uses it.
    Busy,
    /// The kernel refused, or a file could not be read or written.
    Failed,
}

/// An error: a chain of what was being done, outermost first, and perhaps a hint.
///
/// Prints as one line, `web: vnet.interface: cannot move "e0b": No such device`; the hint is printed by
/// the caller on a line of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    /// Innermost first, so that adding a link is a push.
    chain: Vec<String>,
    hint: Option<String>,
}

/// A result whose error is ours.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind with its innermost text.
    pub fn new(kind: ErrorKind, text: impl fmt::Display) -> Self {
        Self(Box::new(Inner { kind, chain: vec![text.to_string()], hint: None }))
    }

    /// The request is wrong.
    pub fn usage(text: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Usage, text)
    }

    /// This host cannot do it.
    pub fn unsupported(text: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, text)
    }

    /// Adds what was being done, in front of the chain.
    #[must_use]
    pub fn doing(mut self, what: impl fmt::Display) -> Self {
        self.0.chain.push(what.to_string());
        self
    }

    /// Adds advice, unless the error has some already: the innermost knows best.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint.get_or_insert_with(|| hint.to_string());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The advice, one line without a full stop.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, link) in self.0.chain.iter().rev().enumerate() {
            if n > 0 {
                f.write_str(": ")?;
            }
            f.write_str(link)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

/// Anything that can become the innermost link. Not `From`, on purpose: a bare `?` on a kernel's error
/// would lose what was being done.
pub trait Cause {
    /// The error with this as its only link.
    fn cause(self) -> Error;
}

impl Cause for Error {
    fn cause(self) -> Error {
        self
    }
}

impl<E: std::error::Error + 'static> Cause for E {
    fn cause(self) -> Error {
        let text = self.to_string();
        let kind = match (&self as &dyn std::error::Error).downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => ErrorKind::NotFound,
            Some(io::ErrorKind::AlreadyExists) => ErrorKind::Exists,
            Some(io::ErrorKind::PermissionDenied) => ErrorKind::Denied,
            Some(io::ErrorKind::ResourceBusy) => ErrorKind::Busy,
            Some(io::ErrorKind::Unsupported) => ErrorKind::Unsupported,
            _ => ErrorKind::Failed,
        };
        // The number says nothing to a reader that the words do not.
        Error::new(kind, text.split(" (os error ").next().unwrap_or(&text))
    }
}

/// Adds context to a result's error.
pub trait Context<T> {
    /// Says what was being done.
    fn doing(self, what: impl fmt::Display) -> Result<T>;
    /// Says what was being done, in words that cost something to make.
    fn doing_with<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
    /// Adds advice.
    fn hint(self, hint: impl fmt::Display) -> Result<T>;
}

impl<T, E: Cause> Context<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.cause().doing(what))
    }
    fn doing_with<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| e.cause().doing(what()))
    }
    fn hint(self, hint: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.cause().hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_prints_outermost_first_and_without_numbers() {
        let e = Err::<(), _>(io::Error::from_raw_os_error(19))
            .doing("cannot move \"e0b\"")
            .doing("vnet.interface")
            .doing("web")
            .unwrap_err();
        assert_eq!(e.to_string(), "web: vnet.interface: cannot move \"e0b\": No such device");
    }

    #[test]
    fn the_innermost_hint_stays() {
        let e = Error::usage("x").hint("near").hint("far");
        assert_eq!(e.advice(), Some("near"));
    }
}
