//! What is written of a jail.

use serde::{Deserialize, Serialize};
use vimage::{Piece, Settings};

/// A jail's record: one file, replaced by rename.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The format of this file.
    pub version: u32,
    /// The jail's number.
    pub jid: u32,
    /// Its full name: `a.b` is `b` in `a`.
    pub name: String,
    /// The name that it is given or had before, while a renaming is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_name: Option<String>,
    /// Where it is in its life.
    pub state: State,
    /// All its values.
    pub settings: Settings,
    /// What they are to be, while a change is under way: then the pieces are those of before, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Settings>,
    /// Whether jails in it may have more than it allows since its last change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrows: bool,
    /// The init of its pid namespace, or its first process: the last that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<ProcessId>,
    /// The process that stays in it when it has no other, because it persists and makes jails itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<ProcessId>,
    /// The command that is making it and runs its first commands: it is alive as long as that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<ProcessId>,
    /// When it was created, in seconds since 1970.
    pub created: u64,
    /// Why it is not gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What was made for it. The journal beside it has what came later.
    pub pieces: Vec<Piece>,
}

/// Where a jail is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being made; what is left of it, should its maker have died, is swept.
    Creating,
    /// It can be entered.
    Alive,
    /// Removed; something still holds part of it.
    Dying,
}

/// A process that is not mistaken for another: a pid is used again, the inode of a pidfd is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid in our pid namespace.
    pub pid: i32,
    /// The inode of its pidfd (Linux 6.9); 0 where the kernel has none.
    pub inode: u64,
}

impl Record {
    /// The format that this program writes and reads.
    pub const VERSION: u32 = 1;

    /// Whether no change or renaming is under way, or was left by a command that was killed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.other_name.is_none() && self.change.is_none() && !self.narrows
    }

    /// The name of the jail that this one is in.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        parent_of(&self.name)
    }
}

/// The name of the jail that one of this name is in: `a.b` of `a.b.c`.
#[must_use]
pub fn parent_of(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(parent, _)| parent)
}
