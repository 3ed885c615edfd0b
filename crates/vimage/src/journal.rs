//! The journal: what was made and unmade since the record was last written, one line each.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{Context as _, Piece, Result};

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The piece is about to be made.
    Make(Piece),
    /// The piece is gone.
    Gone { subsystem: String, kind: String, key: String },
}

/// The pieces of one owner, and the file that makes them outlive this process.
///
/// A line is one `write` to a file opened for appending; the file is folded into the owner's record and
/// emptied when the command ends.
#[derive(Debug)]
pub struct Journal {
    file: File,
    pieces: Vec<Piece>,
    /// Whether the last line may be torn, so that the next one must not continue it.
    torn: bool,
}

impl Journal {
    /// Opens the journal of an owner whose record names `recorded` pieces, and replays what the file has
    /// beyond them.
    ///
    /// # Errors
    /// The file cannot be opened or read. A torn last line is not an error: the piece it would have named
    /// was never made.
    pub fn open(path: &Path, recorded: Vec<Piece>) -> Result<Self> {
        let doing = || format!("cannot open {}", path.display());
        let mut file =
            OpenOptions::new().append(true).create(true).read(true).open(path).doing_with(doing)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).doing_with(doing)?;
        let pieces = over(recorded, &text);
        if text.last().is_some_and(|last| *last != b'\n') {
            // So that the next line does not continue a torn one.
            file.write_all(b"\n").doing_with(doing)?;
        }
        Ok(Self { file, pieces, torn: false })
    }

    /// The pieces of an owner whose record names `recorded`, with what the file says beyond them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn replay(path: &Path, recorded: Vec<Piece>) -> Result<Vec<Piece>> {
        match std::fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(recorded),
            other => Ok(over(recorded, &other.doing_with(|| format!("cannot read {}", path.display()))?)),
        }
    }

    /// The pieces there are, in the order they were made.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Says that a piece is about to be made.
    ///
    /// # Errors
    /// The line cannot be written (a full file system): the piece must not be made then.
    pub fn make(&mut self, piece: Piece) -> Result<()> {
        self.append(&Line::Make(piece.clone()))?;
        self.pieces.retain(|p| !p.is(&piece));
        self.pieces.push(piece);
        Ok(())
    }

    /// Says that a piece is gone.
    ///
    /// # Errors
    /// The line cannot be written; undoing it again will do no harm.
    pub fn gone(&mut self, piece: &Piece) -> Result<()> {
        self.pieces.retain(|p| !p.is(piece));
        let Piece { subsystem, kind, key, .. } = piece.clone();
        self.append(&Line::Gone { subsystem, kind, key })
    }

    /// Empties the file, after the owner's record was written with [`Journal::pieces`].
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn folded(&mut self) -> Result<()> {
        self.file.set_len(0).doing("cannot empty the journal")?;
        self.torn = false;
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).doing("cannot encode a journal line")?;
        if self.torn {
            text.insert(0, '\n');
        }
        text.push('\n');
        let written = self.file.write_all(text.as_bytes());
        self.torn = written.is_err();
        written.doing("cannot write the journal")
    }
}

/// The pieces of a record with what the lines of a journal say beyond them.
fn over(recorded: Vec<Piece>, text: &[u8]) -> Vec<Piece> {
    let mut pieces = recorded;
    // Bytes, not text: a line can be torn within a character.
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Line::Make(piece)) => {
                pieces.retain(|p: &Piece| !p.is(&piece));
                pieces.push(piece);
            }
            Ok(Line::Gone { subsystem, kind, key }) => {
                pieces.retain(|p| !(p.subsystem == subsystem && p.kind == kind && p.key == key));
            }
            Err(_) => {}
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(key: &str) -> Piece {
        Piece { subsystem: "s".into(), ..Piece::new("k", key) }
    }

    #[test]
    fn what_was_written_is_replayed_over_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path, vec![piece("old")]).unwrap();
        journal.make(piece("a")).unwrap();
        journal.make(piece("b")).unwrap();
        journal.gone(&piece("a")).unwrap();
        journal.gone(&piece("old")).unwrap();
        drop(journal);
        let journal = Journal::open(&path, vec![piece("old")]).unwrap();
        assert_eq!(journal.pieces(), [piece("b")]);
    }

    #[test]
    fn a_torn_line_is_passed_over_and_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::open(&path, vec![]).unwrap().make(piece("ä")).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path, vec![]).unwrap();
            let torn = journal.pieces().len();
            journal.make(piece("b")).unwrap();
            let again = Journal::open(&path, vec![]).unwrap();
            assert_eq!(again.pieces().len(), torn + 1, "cut at {cut}");
        }
    }
}
