//! A journal that anything may have happened to: replayed, never a panic, and the same the second time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vimage::Journal;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("a temporary file");
    let first = Journal::replay(file.path(), Vec::new());
    let second = Journal::replay(file.path(), Vec::new());
    assert_eq!(first.ok(), second.ok());
});
