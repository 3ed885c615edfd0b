//! The audit finds what is not as the records say.

use std::fs;

use vimage::{Known, Piece, Settings};

use crate::lab::{Lab, no_fault};

#[test]
fn a_piece_that_somebody_deleted_is_missing() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.names=a,b counters.pools=p").unwrap();
    fs::remove_file(lab.root().join("counters/j1/a")).unwrap();
    fs::remove_file(lab.root().join("counters/pool-p/total")).unwrap();
    assert_eq!(
        lab.findings(),
        [
            "j1: counters/file/counters/j1/a is recorded and does not exist",
            "counters.p: counters/file/counters/pool-p/total is recorded and does not exist",
        ]
    );
    assert_eq!(lab.remove(&no_fault(), 1), []);
    lab.assert_clean();
}

#[test]
fn a_folder_that_nobody_recorded_is_a_stray_and_can_be_undone() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.names=a").unwrap();
    fs::create_dir(lab.root().join("counters/lost")).unwrap();
    assert_eq!(lab.findings(), ["counters/dir/counters/lost is in no record"]);
    let recorder = no_fault();
    let (driver, settings) = (lab.driver(&recorder), Settings::default());
    for finding in driver.strays(&Known::of(&lab.pieces())) {
        let vimage::Finding::Stray { piece } = finding else { panic!("{finding}") };
        driver.undo_stray(&piece, &lab.nobody(&settings)).unwrap();
    }
    assert_eq!(lab.findings(), [""; 0]);
    assert!(lab.root().join("counters/j1/a").exists());
}

#[test]
fn a_stray_that_will_not_go_is_not_counted_as_freed() {
    let lab = Lab::new();
    fs::create_dir_all(lab.root().join("counters/lost/full")).unwrap();
    let recorder = no_fault();
    let path = lab.root().join("counters/lost").to_string_lossy().into_owned();
    let piece = Piece { subsystem: "counters".into(), ..Piece::new("dir", path) };
    let settings = Settings::default();
    let error = lab.driver(&recorder).undo_stray(&piece, &lab.nobody(&settings)).unwrap_err();
    assert!(error.to_string().contains("cannot undo counters/dir/"), "{error}");
    assert!(recorder.take_freed().is_empty());
}

#[test]
fn an_intact_jail_has_no_findings() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.names=a counters.pools=p gauges.names=b").unwrap();
    lab.create(&no_fault(), 2, "counters.pools=p,q").unwrap();
    assert_eq!(lab.findings(), [""; 0]);
}
