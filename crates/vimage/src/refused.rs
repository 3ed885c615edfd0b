//! Parameters that are known and cannot be honoured: refused with the reason, not as unknown.

use crate::Error;

/// A parameter that is refused, or, with a name that ends in `.*`, all below one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its full name.
    pub name: &'static str,
    /// Why it cannot be honoured: small first letter, no full stop.
    pub reason: &'static str,
    /// What to do instead.
    pub hint: &'static str,
}

impl Refused {
    /// The row that is about a user's word, which may be negated (`exec.noclean`).
    #[must_use]
    pub fn find<'r>(rows: &'r [Self], word: &str) -> Option<&'r Self> {
        let (stem, last) = word.rsplit_once('.').map_or(("", word), |(stem, last)| (stem, last));
        let positive = last.strip_prefix("no").map(|bare| match stem {
            "" => bare.to_owned(),
            stem => format!("{stem}.{bare}"),
        });
        rows.iter().find(|row| row.covers(word) || positive.as_deref().is_some_and(|p| row.covers(p)))
    }

    fn covers(&self, word: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(stem) => word.len() > stem.len() && word.starts_with(stem),
            None => word == self.name,
        }
    }

    pub(crate) fn error(&self, word: &str) -> Error {
        Error::unsupported(format!("{word}: {}", self.reason)).hint(self.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_name_or_all_below_one() {
        let row = |name| Refused { name, reason: "because", hint: "instead" };
        let rows = [row("exec.clean"), row("linux"), row("linux.*")];
        let found = |word| Refused::find(&rows, word).map(|r| r.name);
        assert_eq!(found("exec.clean"), Some("exec.clean"));
        assert_eq!(found("exec.noclean"), Some("exec.clean"));
        assert_eq!((found("linux"), found("nolinux")), (Some("linux"), Some("linux")));
        assert_eq!((found("linux.osname"), found("linux.")), (Some("linux.*"), None));
        assert_eq!((found("exec.cleaner"), found("no"), found("")), (None, None, None));
        let error = rows[0].error("exec.noclean");
        assert_eq!((error.to_string().as_str(), error.advice()), ("exec.noclean: because", Some("instead")));
    }
}
