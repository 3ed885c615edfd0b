//! What is written of a jail.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};
use vimage::{Context as _, Error, Piece, Result, Settings, file};

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

    /// One of a jail that nothing is known of yet, named by its number.
    #[must_use]
    pub fn blank(jid: u32, state: State) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            version: Self::VERSION,
            jid,
            name: jid.to_string(),
            other_name: None,
            maker: None,
            state,
            settings: Settings::default(),
            change: None,
            narrows: false,
            init: None,
            keeper: None,
            created: now.map_or(0, |n| n.as_secs()),
            reasons: Vec::new(),
            pieces: Vec::new(),
        }
    }

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

/// The record in a folder.
pub(crate) fn read(dir: &Path) -> Result<Option<Record>> {
    let path = dir.join("record");
    file::read_with(&path, |text| understand(&path, text))?.transpose()
}

/// The record in a folder, and its text.
pub(crate) fn read_text(dir: &Path) -> Result<Option<(Record, Vec<u8>)>> {
    let path = dir.join("record");
    file::read_with(&path, |text| Ok((understand(&path, text)?, text.to_vec())))?.transpose()
}

/// The record that a text is, which the file has.
fn understand(path: &Path, text: &[u8]) -> Result<Record> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let understood = match serde_json::from_slice::<Record>(text) {
        Ok(record) => Ok((record.version == Record::VERSION).then_some(record)),
        // Another version's may look like anything.
        Err(e) => match serde_json::from_slice(text) {
            Ok(Version { version }) if version != Record::VERSION => Ok(None),
            _ => Err(e),
        },
    };
    let understood =
        understood.doing_with(|| format!("cannot understand {}", path.display())).map_err(|e| {
            let dir = path.parent().unwrap_or(path).display();
            e.hint(format!("rm -r {dir}; what the jail had is then in no record, and jdb repair removes it"))
        })?;
    understood.ok_or_else(|| {
        Error::unsupported(format!("{}: its version is not known", path.display()))
            .hint("it was written by another version of this program, which can remove the jail")
    })
}

/// Writes a record anew: all of it or nothing. On a full file system one that is no longer than the old one is
/// written over it: a removal, which frees room, must not need any.
pub(crate) fn write(dir: &Path, text: &[u8]) -> Result<()> {
    let (new, path) = (dir.join("record.new"), dir.join("record"));
    let done = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    if done.is_err() {
        let _takes_no_room = fs::remove_file(&new);
    }
    let full = |e: &io::Error| [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&e.kind());
    let done = match done {
        Err(e) if full(&e) && fs::metadata(&path).is_ok_and(|m| m.len() >= text.len() as u64) => {
            write_over(&path, text)
        }
        other => other,
    };
    done.doing_with(|| format!("cannot write {}", path.display()))
}

/// Writes over a file that is no shorter, in one call; the rest becomes blanks, and is then cut off.
fn write_over(path: &Path, text: &[u8]) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(text.len());
    let mut padded = text.to_vec();
    padded.resize(length.max(text.len()), b' ');
    file.write_all_at(&padded, 0)?;
    file.set_len(text.len() as u64)
}
