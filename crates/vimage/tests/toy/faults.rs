//! What is left when a command fails, or dies, at any point of its way.

use std::os::unix::process::ExitStatusExt as _;

use crate::lab::{Lab, failing_at, no_fault};

const FULL: &str = "counters.names=a,b counters.pools=p,q gauges.names=c gauges.pools=p tallies=s,t";
const OTHER: &str = "counters.names=b,d counters.pools=q,r gauges.names=e gauges.pools= tallies=t,u";

/// The points at which an act is made to fail, in turn, until it passes them all.
fn at_every_point(mut act: impl FnMut(u64) -> bool) {
    let passed = (1..500).find(|n| act(*n)).expect("it fails at each of 500 points");
    assert!(passed > 4, "there are only {passed} points");
}

fn lab_with_a_neighbour() -> Lab {
    let lab = Lab::new();
    lab.create(&no_fault(), 9, "counters.names=x counters.pools=p tallies=t").unwrap();
    lab
}

#[test]
fn a_create_that_fails_leaves_everything_as_it_was() {
    let lab = lab_with_a_neighbour();
    let before = lab.state();
    at_every_point(|n| {
        let done = lab.create(&failing_at(n), 1, FULL);
        let Err(error) = done else { return true };
        assert!(error.to_string().contains("injected"), "{error}");
        assert_eq!(lab.state(), before, "at {n}");
        false
    });
}

#[test]
fn an_update_that_fails_leaves_everything_as_it_was() {
    let lab = lab_with_a_neighbour();
    lab.create(&no_fault(), 1, FULL).unwrap();
    let before = lab.state();
    at_every_point(|n| {
        let Err(error) = lab.update(&failing_at(n), 1, OTHER) else { return true };
        assert!(error.to_string().contains("injected"), "{error}");
        assert_eq!(lab.state(), before, "at {n}");
        assert_eq!(lab.findings(), [""; 0], "at {n}");
        false
    });
    assert_ne!(lab.state(), before);
}

#[test]
fn an_update_that_fails_in_the_second_subsystem_changes_the_first_back() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.names=a gauges.names=c").unwrap();
    let before = lab.state();
    // What is in the way of the second one's file.
    std::fs::create_dir(lab.root().join("gauges/j1/e")).unwrap();
    let error = lab.update(&no_fault(), 1, "counters.names=b gauges.names=e").unwrap_err();
    assert!(error.to_string().ends_with("Is a directory"), "{error}");
    // The first is as before; the second cannot remove what it did not make, and says so.
    assert!(error.advice().is_some_and(|hint| hint.starts_with("gauges: cannot change back")), "{error:?}");
    std::fs::remove_dir(lab.root().join("gauges/j1/e")).unwrap();
    let recorder = no_fault();
    let names = lab.update(&recorder, 1, "counters.names=b gauges.names=e").map(|()| recorder.take());
    assert!(names.unwrap().iter().any(|e| e.phase == "update" && e.what == "counters"));
    lab.update(&no_fault(), 1, "counters.names=a gauges.names=c").unwrap();
    assert_eq!(lab.state(), before);
}

#[test]
fn a_removal_that_fails_is_finished_by_the_next() {
    at_every_point(|n| {
        let lab = lab_with_a_neighbour();
        let before = lab.state();
        lab.create(&no_fault(), 1, FULL).unwrap();
        let errors = lab.remove(&failing_at(n), 1);
        assert_eq!(lab.remove(&no_fault(), 1), [], "at {n}");
        assert_eq!(lab.state(), before, "at {n}");
        errors.is_empty()
    });
}

/// Has a child die at every point of an act, and removes what it left.
fn killed_at_every_point(prepare: impl Fn(&Lab), what: &str) {
    at_every_point(|n| {
        let lab = lab_with_a_neighbour();
        let before = lab.state();
        prepare(&lab);
        let status = lab.in_child(&format!("kill:{n}"), what);
        let killed = status.signal() == Some(6);
        assert!(killed || status.success(), "at {n}: {status}");
        assert_eq!(lab.remove(&no_fault(), 1), [], "at {n}");
        assert_eq!(lab.state(), before, "at {n}");
        assert_eq!(lab.remove(&no_fault(), 9), [], "at {n}");
        lab.assert_clean();
        !killed
    });
}

#[test]
fn what_a_create_that_is_killed_left_is_removed() {
    killed_at_every_point(|_| (), &format!("create 1 {FULL}"));
}

#[test]
fn what_an_update_that_is_killed_left_is_removed() {
    killed_at_every_point(|lab| lab.create(&no_fault(), 1, FULL).unwrap(), &format!("update 1 {OTHER}"));
}

#[test]
fn a_removal_that_is_killed_is_finished_by_the_next() {
    killed_at_every_point(|lab| lab.create(&no_fault(), 1, FULL).unwrap(), "remove 1");
}

#[test]
fn an_update_that_is_killed_is_taken_back() {
    let lab = lab_with_a_neighbour();
    lab.create(&no_fault(), 1, FULL).unwrap();
    let before = lab.state();
    at_every_point(|n| {
        let killed = lab.in_child(&format!("kill:{n}"), &format!("update 1 {OTHER}")).signal() == Some(6);
        if !killed {
            return true;
        }
        // To take it back may fail, too.
        let _tried_again = lab.restore(&failing_at(n / 2 + 1), 1);
        lab.restore(&no_fault(), 1).unwrap();
        assert_eq!(lab.state(), before, "at {n}");
        assert_eq!(lab.findings(), [""; 0], "at {n}");
        false
    });
    assert_ne!(lab.state(), before);
}
