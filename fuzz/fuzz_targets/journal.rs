//! A journal that anything may have happened to: replayed, never a panic, and the same the second time; what is
//! written behind it counts, whatever is before.
#![no_main]

use std::{fs, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;
use vimage::{Journal, Piece};

static FILE: LazyLock<NamedTempFile> = LazyLock::new(|| NamedTempFile::new().expect("a temporary file"));

fuzz_target!(|bytes: &[u8]| {
    let path = FILE.path();
    fs::write(path, bytes).expect("a temporary file");
    let before = Journal::replay(path, Vec::new()).expect("any bytes are a journal");
    assert_eq!(before, Journal::replay(path, Vec::new()).expect("the same again"));
    let mut journal = Journal::open(path, Vec::new()).expect("any bytes are a journal");
    assert_eq!(before, journal.pieces());
    let piece = Piece { subsystem: "fuzz".to_owned(), ..Piece::new("kind", "key") };
    journal.make(piece.clone()).expect("it can be written");
    assert_eq!(journal.pieces().last(), Some(&piece));
    assert_eq!(journal.pieces(), Journal::replay(path, Vec::new()).expect("with one line more"));
    if let Some(first) = before.first() {
        journal.gone(first).expect("it can be written");
        assert_eq!(journal.pieces(), Journal::replay(path, Vec::new()).expect("with two lines more"));
    }
});
