//! The journal: what was made and unmade since the record was last written, one line each.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::{Context as _, Piece, Result, file};

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
    /// Those among them that were made since the record was written.
    fresh: Vec<Piece>,
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
        let (pieces, fresh) = over(recorded, &text);
        let torn = text.last().is_some_and(|last| *last != b'\n');
        Ok(Self { file, pieces, fresh, torn })
    }

    /// The pieces of an owner whose record names `recorded`, with what the file says beyond them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn replay(path: &Path, recorded: Vec<Piece>) -> Result<Vec<Piece>> {
        Ok(match file::read(path)? {
            Some(text) => over(recorded, &text).0,
            None => recorded,
        })
    }

    /// The pieces there are, in the order they were made.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether a piece was made since the record was written, or since [`Journal::begin`]: one that there was, and
    /// that was made again over itself, was not.
    #[must_use]
    pub fn is_fresh(&self, piece: &Piece) -> bool {
        self.fresh.iter().any(|p| p.is(piece))
    }

    /// Takes all that there is for old: from here on it is known what was made.
    pub fn begin(&mut self) {
        self.fresh.clear();
    }

    /// Says that a piece is about to be made.
    ///
    /// # Errors
    /// The line cannot be written (a full file system): the piece must not be made then.
    pub fn make(&mut self, piece: Piece) -> Result<()> {
        self.append(&Line::Make(piece.clone()))?;
        add(&mut self.pieces, &mut self.fresh, piece);
        Ok(())
    }

    /// Says that a piece is gone. Where the line cannot be written (a full file system) that is no reason to stop:
    /// what frees space must go on, and to undo the piece again will do no harm.
    pub fn gone(&mut self, piece: &Piece) {
        let is_other = |p: &Piece| !p.is(piece);
        self.pieces.retain(is_other);
        self.fresh.retain(is_other);
        let Piece { subsystem, kind, key, .. } = piece.clone();
        let _undone_again = self.append(&Line::Gone { subsystem, kind, key });
    }

    /// Empties the file, after the owner's record was written with [`Journal::pieces`].
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn folded(&mut self) -> Result<()> {
        self.file.set_len(0).doing("cannot empty the journal")?;
        self.torn = false;
        self.fresh.clear();
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

/// The pieces of a record with what the lines of a journal say beyond them; and those among them that are new.
fn over(recorded: Vec<Piece>, text: &[u8]) -> (Vec<Piece>, Vec<Piece>) {
    let (mut pieces, mut fresh) = (recorded, Vec::new());
    // Bytes, not text: a line can be torn within a character.
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Line::Make(piece)) => add(&mut pieces, &mut fresh, piece),
            Ok(Line::Gone { subsystem, kind, key }) => {
                let is_other = |p: &Piece| !(p.subsystem == subsystem && p.kind == kind && p.key == key);
                pieces.retain(is_other);
                fresh.retain(is_other);
            }
            Err(_) => {}
        }
    }
    (pieces, fresh)
}

/// Adds a piece that is about to be made; one that there is already takes the place of the old one.
fn add(pieces: &mut Vec<Piece>, fresh: &mut Vec<Piece>, piece: Piece) {
    let before = pieces.len();
    pieces.retain(|p| !p.is(&piece));
    if pieces.len() == before {
        fresh.push(piece.clone());
    }
    pieces.push(piece);
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
        journal.gone(&piece("a"));
        journal.gone(&piece("old"));
        drop(journal);
        let journal = Journal::open(&path, vec![piece("old")]).unwrap();
        assert_eq!(journal.pieces(), [piece("b")]);
    }

    #[test]
    fn what_was_made_since_the_record_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let recorded = || vec![piece("old"), piece("again")];
        let mut journal = Journal::open(&path, recorded()).unwrap();
        journal.make(piece("new")).unwrap();
        journal.make(piece("old")).unwrap();
        journal.gone(&piece("again"));
        journal.make(piece("again")).unwrap();
        for mut journal in [Journal::open(&path, recorded()).unwrap(), journal] {
            let fresh = |journal: &Journal| ["new", "old", "again"].map(|key| journal.is_fresh(&piece(key)));
            assert_eq!(fresh(&journal), [true, false, true]);
            journal.begin();
            assert_eq!(fresh(&journal), [false; 3]);
        }
    }

    #[test]
    fn a_piece_that_is_gone_is_forgotten_although_that_cannot_be_written() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut journal = Journal { file, pieces: vec![piece("a")], fresh: Vec::new(), torn: false };
        assert!(journal.make(piece("b")).is_err());
        journal.gone(&piece("a"));
        assert_eq!(journal.pieces(), []);
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
