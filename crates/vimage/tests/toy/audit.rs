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
fn what_was_found_is_told_with_its_cost() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.pools=p").unwrap();
    lab.create(&no_fault(), 2, "counters.pools=p,q").unwrap();
    fs::create_dir_all(lab.root().join("counters/lost/a")).unwrap();
    fs::create_dir_all(lab.root().join("counters/lost/b")).unwrap();
    let recorder = no_fault();
    let driver = lab.driver(&recorder);
    let mut findings = driver.strays(&Known::of(&lab.pieces()));
    findings.extend(driver.shared_findings(&|jid| jid == 1).unwrap());
    let costs: Vec<_> = findings.iter().map(|finding| driver.cost(finding).said()).collect();
    // The pool p has another user, who is there.
    assert_eq!(costs, [Some("2 counters".to_owned()), None, Some("1 counter".to_owned())], "{findings:?}");
}

#[test]
fn a_kind_that_says_nothing_is_an_object_of_its_own_name() {
    let registry = Lab::new().registry;
    assert_eq!(registry.object("counters", "dir"), "directory");
    assert_eq!(registry.object("counters", "file"), "file");
    assert_eq!(registry.object("nobodys", "dir"), "dir");
    assert_eq!(registry.object("counters", vimage::Shared::USE), "use of something shared (ours)");
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
