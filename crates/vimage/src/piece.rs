//! Pieces: all that is made for a jail, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that a subsystem made, and all that is needed to unmake it.
///
/// Written to the journal before it is made, so that whoever finds the journal can undo it: a failed
/// create, a removal and a repair after `kill -9` are the same loop over pieces, backwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The subsystem it belongs to.
    pub subsystem: String,
    /// What sort of thing, in the kernel's words: `link`, `cgroup`, `filter`.
    pub kind: String,
    /// Which of its kind.
    pub key: String,
    /// What others would hold if they held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
    /// What only the subsystem understands.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

/// A kernel object that can be held: `net:ID:INUM` for a namespace, `cgroup:PATH`, `mount:…`. Opaque here;
/// the owner of the records opens it, and `observe` finds its holders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Anchor(pub String);

impl Anchor {
    /// The word before the first colon: `net`, `cgroup`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// What follows the first colon: the path of a cgroup, the numbers of a namespace.
    #[must_use]
    pub fn object(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, object)| object)
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Piece {
    /// The kind of a piece that *is* an anchor: it exists as long as the anchor does, and has no undo but
    /// that everybody lets go.
    pub const INSTANCE: &'static str = "instance";

    /// A piece without anchor and data; the subsystem is filled in by [`crate::Site::make`].
    pub fn new(kind: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            subsystem: String::new(),
            kind: kind.into(),
            key: key.into(),
            anchor: None,
            data: serde_json::Value::Null,
        }
    }

    /// With an anchor.
    #[must_use]
    pub fn anchored(mut self, anchor: Anchor) -> Self {
        self.anchor = Some(anchor);
        self
    }

    /// With data.
    #[must_use]
    pub fn with(mut self, data: impl Serialize) -> Self {
        self.data = serde_json::to_value(data).unwrap_or_default();
        self
    }

    /// A text of the data.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.data.get(field)?.as_str()
    }

    /// A number of the data.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.data.get(field)?.as_u64()
    }

    /// Whether both name the same thing.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.subsystem == other.subsystem && self.kind == other.kind && self.key == other.key
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.subsystem, self.kind, self.key)
    }
}
