//! The ledger: how many pieces of each kind were ever made and freed.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Context as _, Piece, Result};

/// How many pieces of a kind were made and freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Written to a journal.
    pub made: u64,
    /// Undone.
    pub freed: u64,
}

impl Count {
    /// How many are in a record still.
    #[must_use]
    pub fn outstanding(self) -> u64 {
        self.made.saturating_sub(self.freed)
    }
}

/// Counts by `subsystem/kind`.
///
/// Only what was freed is stored: each piece that was ever written to a journal is either in a record now or
/// was freed, so that a command that dies cannot make the two columns disagree. The file is as old as the store is: where
/// that goes with the boot, the counts are since then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, Count>);

impl Ledger {
    /// Reads the file of freed pieces, and adds those alive to what was made.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read<'a>(path: &Path, alive: impl IntoIterator<Item = &'a Piece>) -> Result<Self> {
        let mut ledger = Self::default();
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.doing_with(|| format!("cannot read {}", path.display()))?,
        };
        for (kind, freed) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(freed) = freed.parse::<u64>() else { continue };
            let count = ledger.0.entry(kind.to_owned()).or_default();
            count.freed += freed;
            count.made += freed;
        }
        for piece in alive {
            ledger.0.entry(format!("{}/{}", piece.subsystem, piece.kind)).or_default().made += 1;
        }
        Ok(ledger)
    }

    /// Adds freed pieces to the file: one line a kind, in one write. A file that has grown long is summed
    /// up first.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(path: &Path, freed: &BTreeMap<String, u64>) -> Result<()> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        if freed.is_empty() {
            return Ok(());
        }
        let text: String = freed.iter().map(|(kind, n)| format!("{kind} {n}\n")).collect();
        let doing = || format!("cannot write {}", path.display());
        let mut file =
            fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).doing_with(doing)?;
        file.lock().doing_with(doing)?;
        if file.metadata().doing_with(doing)?.len() > Self::LONG {
            let sums = Self::read(path, [])?;
            let text: String = sums.0.iter().map(|(kind, c)| format!("{kind} {}\n", c.freed)).collect();
            file.set_len(0).doing_with(doing)?;
            file.write_all(text.as_bytes()).doing_with(doing)?;
        }
        file.write_all(text.as_bytes()).doing_with(doing)
    }

    const LONG: u64 = 64 << 10;

    /// The counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Count)> {
        self.0.iter().map(|(kind, count)| (kind.as_str(), *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_summed_up_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let freed = BTreeMap::from([("vnet/link".to_owned(), 2), ("jail/cgroup".to_owned(), 1)]);
        for _ in 0..5000 {
            Ledger::add(&path, &freed).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * Ledger::LONG);
        let alive = Piece { subsystem: "vnet".into(), ..Piece::new("link", "a") };
        let ledger = Ledger::read(&path, [&alive]).unwrap();
        let counts: Vec<_> = ledger.iter().collect();
        assert_eq!(counts[0], ("jail/cgroup", Count { made: 5000, freed: 5000 }));
        assert_eq!(counts[1], ("vnet/link", Count { made: 10001, freed: 10000 }));
    }
}
