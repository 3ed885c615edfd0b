//! The life of jails without accidents.

use std::{collections::BTreeSet, fs};

use vimage::{Anchor, Event, Instance, Param, Piece, Registry, Result, Site, Subsystem};

use crate::{
    lab::{COUNTERS, GAUGES, Lab, no_fault},
    tallies::Tallies,
};

#[test]
fn a_jail_that_is_unmade_leaves_nothing_and_the_ledger_says_so() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.names=a,b gauges.names=c counters.pools=p").unwrap();
    assert!(lab.root().join("counters/j1/b").is_file());
    assert_eq!(lab.findings(), [""; 0]);
    assert_eq!(lab.remove(&no_fault(), 1), []);
    lab.assert_clean();
    let ledger: Vec<_> = lab.ledger().iter().map(|(kind, count)| (kind.to_owned(), count.freed)).collect();
    let count = |kind: &str| ledger.iter().find(|(k, _)| k == kind).map(|(_, freed)| *freed);
    // The pool's folder and file are among them.
    assert_eq!((count("counters/dir"), count("counters/file")), (Some(2), Some(3)));
    assert_eq!((count("gauges/file"), count("counters/use")), (Some(1), Some(1)));
}

#[test]
fn a_jail_that_inherits_gets_nothing() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "").unwrap();
    assert_eq!(lab.pieces(), []);
}

#[test]
fn the_trace_has_each_phase_and_each_piece() {
    let lab = Lab::new();
    let recorder = no_fault();
    lab.create(&recorder, 1, "counters.names=a").unwrap();
    lab.update(&recorder, 1, "counters.names=b").unwrap();
    assert_eq!(lab.remove(&recorder, 1), []);
    let root = format!("{}/", lab.root().display());
    let line = |e: &Event| format!("{} {}", e.phase, e.what.replace(&root, ""));
    let events: BTreeSet<_> = recorder.take().iter().map(line).collect();
    for phase in ["check", "prepare", "provide", "create", "furnish", "complete"] {
        for subsystem in ["counters", "gauges"] {
            // Those that took no time have one event together.
            let has = |event: &String| {
                let mut words = event.split(' ');
                words.next() == Some(phase) && words.any(|word| word == subsystem)
            };
            assert!(events.iter().any(has), "{phase} {subsystem}: {events:#?}");
        }
    }
    for piece in [
        "make counters/dir/counters/j1",
        "make counters/file/counters/j1/a",
        "undo counters/file/counters/j1/a",
    ] {
        assert!(events.contains(piece), "{piece}: {events:#?}");
    }
    assert!(events.contains("update counters") && !events.contains("update gauges"), "{events:#?}");
    assert!(events.contains("undo counters/dir/counters/j1"), "{events:#?}");
}

#[test]
fn what_comes_after_another_is_made_after_it_and_unmade_before_it() {
    let lab = Lab::new();
    let order: Vec<_> = lab.registry.iter().map(Subsystem::name).collect();
    assert_eq!(order, ["counters", "gauges", "tallies"]);
    let again = Registry::new(&[&COUNTERS as &'static dyn Subsystem<()>, &GAUGES, &Tallies]).unwrap();
    assert_eq!(again.iter().map(Subsystem::name).collect::<Vec<_>>(), order);
    let recorder = no_fault();
    lab.create(&recorder, 1, "counters.names=a gauges.names=c").unwrap();
    assert_eq!(lab.remove(&recorder, 1), []);
    let events = recorder.take();
    let at = |phase: &str, what: &str| {
        events.iter().position(|e| e.phase == phase && e.what.starts_with(what)).unwrap()
    };
    assert!(at("make", "counters/dir") < at("make", "gauges/dir"));
    assert!(at("undo", "gauges/dir") < at("undo", "counters/file"));
}

#[test]
fn several_jails_are_unmade_in_one_batch_a_kind() {
    let lab = Lab::new();
    for jid in 1..=3 {
        lab.create(&no_fault(), jid, "counters.names=a,b").unwrap();
    }
    let recorder = no_fault();
    let mut owners: Vec<_> = (1..=3).map(|jid| lab.owner(jid)).collect();
    assert_eq!(lab.driver(&recorder).unmake(&mut owners), []);
    let batches: Vec<_> = recorder.take().into_iter().filter(|e| e.phase == "undo").collect();
    assert_eq!(batches.len(), 2, "{batches:#?}");
    assert_eq!(batches[0].what.split(' ').count(), 6);
}

#[test]
fn pieces_of_a_subsystem_that_is_not_here_stay_and_are_reported() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.names=a").unwrap();
    let strange = Piece { subsystem: "tokens".into(), ..Piece::new("token", "t") };
    lab.owner(1).journal.make(strange.clone()).unwrap();
    let errors = lab.remove(&no_fault(), 1);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "j1: tokens/token/t: its subsystem is not in this program");
    assert_eq!(lab.pieces(), [strange]);
    assert_eq!(lab.findings(), [""; 0]);
}

/// Adopts a file that the birth brought, and holds it.
struct Held;

impl Subsystem<()> for Held {
    fn name(&self) -> &'static str {
        "held"
    }
    fn about(&self) -> &'static str {
        "a file that outlives its name"
    }
    fn params(&self) -> &'static [Param] {
        &[]
    }
    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        site.adopt("file")
    }
}

#[test]
fn an_instance_is_gone_when_its_anchor_is_and_not_before() {
    let lab = Lab::new();
    let lab = Lab { registry: Registry::new(&[&Held]).unwrap(), ..lab };
    let path = lab.root().join("instance");
    fs::write(&path, "").unwrap();
    let recorder = no_fault();
    let driver = lab.driver(&recorder);
    let mut owners = [lab.owner(1)];
    owners[0].fds.put("file", fs::File::open(&path).unwrap().into());
    driver.create(&mut owners[0]).unwrap();
    let open = |of: &Instance<'_>| of.fd("file").unwrap().is_some();
    assert!(open(&owners[0].instance(&lab.house)));
    assert_eq!(owners[0].journal.pieces()[0].anchor, Some(Anchor(format!("file:{}", path.display()))));
    assert_eq!(driver.unmake(&mut owners), []);
    let now = std::time::Instant::now();
    assert!(!driver.settle(&mut owners, now));
    assert_eq!(owners[0].journal.pieces().len(), 1);
    fs::remove_file(&path).unwrap();
    assert!(driver.settle(&mut owners, now));
    assert_eq!(owners[0].journal.pieces(), []);
    assert!(!open(&owners[0].instance(&lab.house)));
}

#[test]
fn the_promise_in_sixty_lines() {
    assert!(include_str!("tallies.rs").lines().count() <= 60);
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "tallies=s,t").unwrap();
    fs::write(lab.root().join("tallies/lost"), "").unwrap();
    fs::remove_file(lab.root().join("tallies/j1-s")).unwrap();
    let found = [
        "j1: tallies/file/tallies/j1-s is recorded and does not exist",
        "tallies/file/tallies/lost is in no record",
    ];
    assert_eq!(lab.findings(), found);
}
