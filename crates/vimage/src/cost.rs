//! What a thing that is left over costs, in words: `2 processes, 1.5M of memory`.

use std::fmt;

use crate::{Driver, Finding, Piece, Shared};

/// What pieces cost as long as they are there, for people. Empty: there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost(Vec<Part>);

/// One of the things that are named together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// So many: the number, and the words for one and for several.
    Count(u64, String, String),
    /// So many bytes, and of what.
    Bytes(u64, String),
    /// What has no number.
    Words(String),
}

impl Cost {
    /// And so many of something; of none nothing is said.
    #[must_use]
    pub fn count(self, n: u64, one: impl Into<String>, many: impl Into<String>) -> Self {
        if n == 0 { self } else { self.add(Part::Count(n, one.into(), many.into())) }
    }

    /// And so many bytes of something; of none nothing is said.
    #[must_use]
    pub fn bytes(self, n: u64, of: impl Into<String>) -> Self {
        if n == 0 { self } else { self.add(Part::Bytes(n, of.into())) }
    }

    /// And what has no number.
    #[must_use]
    pub fn words(self, words: impl Into<String>) -> Self {
        self.add(Part::Words(words.into()))
    }

    /// And what another costs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        other.0.into_iter().fold(self, Self::add)
    }

    /// Numbers of the same things are one number, and the same words are said once.
    fn add(mut self, new: Part) -> Self {
        for part in &mut self.0 {
            match (part, &new) {
                (Part::Count(n, one, _), Part::Count(more, other, _)) if one == other => *n += more,
                (Part::Bytes(n, of), Part::Bytes(more, other)) if of == other => *n += more,
                (Part::Words(words), Part::Words(same)) if words == same => {}
                _ => continue,
            }
            return self;
        }
        self.0.push(new);
        self
    }

    /// In words, if there are any.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let parts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(1, one, _) => write!(f, "1 {one}"),
            Self::Count(n, _, many) => write!(f, "{n} {many}"),
            Self::Bytes(n, of) => write!(f, "{} of {of}", size(*n)),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// A number of bytes as a user would write it, to a tenth of its unit: as [`crate::Kind::Size`].
fn size(bytes: u64) -> String {
    let units = [(1_u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let Some((unit, letter)) = units.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return format!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" });
    };
    let rest = bytes % unit * 10 / unit;
    let tenth = if rest == 0 { String::new() } else { format!(".{rest}") };
    format!("{}{tenth}{letter}", bytes / unit)
}

impl<S> Driver<'_, S> {
    /// What a finding costs: what is in no record, or used by nobody that is there. What is missing costs nothing.
    #[must_use]
    pub fn cost(&self, finding: &Finding) -> Cost {
        match finding {
            Finding::Stray { piece } => self.cost_of(std::slice::from_ref(piece)),
            Finding::Unused { owner, jids } => match Shared::look(self.house.shelf(), owner) {
                Ok((users, pieces))
                    if !users.iter().any(|user| self.stays(user, &|jid| !jids.contains(&jid))) =>
                {
                    self.cost_of(&pieces)
                }
                _ => Cost::default(),
            },
            Finding::Missing { .. } | Finding::Unfinished { .. } | Finding::Unknown { .. } => Cost::default(),
        }
    }

    /// What pieces cost together, as their subsystems say.
    #[must_use]
    pub fn cost_of(&self, pieces: &[Piece]) -> Cost {
        let one = |piece: &Piece| {
            let subsystem = self.registry.subsystem(&piece.subsystem)?;
            (piece.kind != Shared::USE).then(|| subsystem.cost(piece, self.house))
        };
        pieces.iter().filter_map(one).fold(Cost::default(), Cost::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_a_user_would() {
        let sizes = [1, 1023, 1024, 1536, 12_897_484, 1 << 30].map(size);
        assert_eq!(sizes, ["1 byte", "1023 bytes", "1K", "1.5K", "12.2M", "1G"]);
    }

    #[test]
    fn nothing_is_said_of_none_and_the_same_things_are_counted_together() {
        assert_eq!(Cost::default().count(0, "link", "links").bytes(0, "memory").said(), None);
        let one = || Cost::default().count(1, "link", "links").bytes(1024, "memory").words("no end");
        assert_eq!(one().said().as_deref(), Some("1 link, 1K of memory, no end"));
        assert_eq!(one().and(one()).said().as_deref(), Some("2 links, 2K of memory, no end"));
    }
}
