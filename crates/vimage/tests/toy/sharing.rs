//! What jails share.

use std::fs;

use vimage::{Context as _, House as _, Param, Piece, Registry, Result, Shared, Site, Subsystem};

use crate::{
    counters::LIST,
    lab::{Lab, failing_at, no_fault},
};

fn users(lab: &Lab, key: &str) -> Vec<u32> {
    Shared::peek(lab.house.shelf(), &Shared::name("counters", key)).unwrap().0
}

#[test]
fn what_two_jails_share_is_made_once_and_goes_with_the_last() {
    let lab = Lab::new();
    let total = lab.root().join("counters/pool-p/total");
    lab.create(&no_fault(), 1, "counters.pools=p").unwrap();
    fs::write(&total, "7").unwrap();
    lab.create(&no_fault(), 2, "counters.pools=p").unwrap();
    assert_eq!(users(&lab, "p"), [1, 2]);
    assert_eq!(lab.remove(&no_fault(), 1), []);
    assert_eq!(fs::read_to_string(&total).unwrap(), "7");
    assert_eq!(users(&lab, "p"), [2]);
    assert_eq!(lab.remove(&no_fault(), 2), []);
    lab.assert_clean();
}

#[test]
fn what_will_not_go_keeps_what_was_used_before_it() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.pools=p,q").unwrap();
    let strange = lab.root().join("counters/pool-q/strange");
    fs::write(&strange, "").unwrap();
    let errors = lab.remove(&no_fault(), 1);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(users(&lab, "p"), [1]);
    fs::remove_file(&strange).unwrap();
    assert_eq!(lab.remove(&no_fault(), 1), []);
    lab.assert_clean();
}

#[test]
fn what_was_made_by_half_is_made_anew_by_the_next_user() {
    let mut halves = 0;
    for n in 1..30 {
        let lab = Lab::new();
        lab.in_child(&format!("kill:{n}"), "create 1 counters.pools=p");
        halves += u32::from(lab.root().join("counters/pool-p").exists());
        // The next one does not wait for a repair of the first.
        lab.create(&no_fault(), 2, "counters.pools=p").unwrap();
        assert_eq!(fs::read_to_string(lab.root().join("counters/pool-p/total")).unwrap(), "0");
        assert_eq!(lab.remove(&no_fault(), 1), [], "at {n}");
        assert_eq!(users(&lab, "p"), [2]);
        assert_eq!(lab.remove(&no_fault(), 2), [], "at {n}");
        lab.assert_clean();
    }
    assert!(halves > 2, "{halves}");
}

#[test]
fn what_is_added_to_it_goes_with_it_and_is_whole_or_not_there() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.pools=p").unwrap();
    let wing = |part: &str| lab.root().join(format!("counters/pool-p-{part}")).exists();
    let mut failed = 0;
    for n in 1..60u64 {
        let kill = n % 2 == 0;
        let whole = if kill {
            lab.in_child(&format!("kill:{}", n / 2), "create 2 counters.pools=p+east").success()
        } else {
            lab.create(&failing_at(n.div_ceil(2)), 2, "counters.pools=p+east").is_ok()
        };
        failed += u32::from(!whole);
        // Whoever comes next finds it whole, or without: before the dead one's record is swept, and after.
        if !whole {
            lab.create(&no_fault(), 3, "counters.pools=p").unwrap();
            assert!(wing("east") == wing("east-cellar"), "at {n}");
            assert_eq!(lab.remove(&no_fault(), 3), []);
        }
        assert_eq!(lab.remove(&no_fault(), 2), [], "at {n}");
        assert_eq!(lab.findings(), [""; 0], "at {n}");
        assert_eq!(users(&lab, "p"), [1]);
        assert!(wing("east") == wing("east-cellar"), "at {n}");
        if wing("east") {
            assert_eq!(lab.remove(&no_fault(), 1), []);
            assert!(!wing("east"));
            lab.create(&no_fault(), 1, "counters.pools=p").unwrap();
        }
        if whole && kill {
            break;
        }
    }
    assert!(failed > 10, "{failed}");
    assert_eq!(lab.remove(&no_fault(), 1), []);
    lab.assert_clean();
}

#[test]
fn what_was_added_by_half_goes_with_the_one_that_leaves() {
    for n in 1..30 {
        let lab = Lab::new();
        lab.create(&no_fault(), 1, "counters.pools=p").unwrap();
        if lab.in_child(&format!("kill:{n}"), "create 2 counters.pools=p+east").success() {
            assert!(n > 5, "{n}");
            return;
        }
        assert_eq!(lab.remove(&no_fault(), 2), [], "at {n}");
        assert_eq!(lab.findings(), [""; 0], "at {n}");
        assert_eq!(lab.remove(&no_fault(), 1), [], "at {n}");
        lab.assert_clean();
    }
    panic!("the points never end");
}

#[test]
fn users_that_are_gone_are_found_and_swept() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.pools=p").unwrap();
    lab.create(&no_fault(), 2, "counters.pools=p,q").unwrap();
    let recorder = no_fault();
    let alive = |jid| jid == 1;
    let findings = lab.driver(&recorder).shared_findings(&alive).unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert_eq!(findings[0].to_string(), "counters.p has users that are gone: [2]");
    lab.driver(&recorder).sweep_shared(&alive).unwrap();
    assert_eq!(Shared::names(lab.house.shelf()).unwrap(), ["counters.p"]);
    assert_eq!(users(&lab, "p"), [1]);
}

#[test]
fn sixteen_at_once_make_it_once_and_unmake_it_once() {
    let lab = Lab::new();
    let house = &lab.house;
    let registry = &lab.registry;
    for _ in 0..8 {
        std::thread::scope(|s| {
            for jid in 1..=16 {
                s.spawn(move || {
                    let lab = Lab::at(house.root());
                    // Making it where it is would fail.
                    lab.create(&no_fault(), jid, "counters.pools=p").unwrap();
                    assert_eq!(lab.remove(&no_fault(), jid), []);
                });
            }
        });
        assert_eq!(registry.iter().count(), 3);
        lab.assert_clean();
    }
}

#[test]
fn a_record_that_nobody_understands_is_reported_and_does_not_hide_the_others() {
    let lab = Lab::new();
    lab.create(&no_fault(), 1, "counters.pools=p,q").unwrap();
    fs::write(lab.house.shelf().join("counters.p/record"), "{\"ver").unwrap();
    fs::remove_dir_all(lab.root().join("counters/pool-q")).unwrap();
    let recorder = no_fault();
    let found = lab.driver(&recorder).shared_findings(&|_| true).unwrap();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(found[0].starts_with("counters.p: cannot look: cannot understand"), "{found:#?}");
    assert_eq!(found.len(), 3);
}

/// Each jail uses a wing of its own, and all wings one hall.
struct Wings;

impl Subsystem<()> for Wings {
    fn name(&self) -> &'static str {
        "wings"
    }
    fn about(&self) -> &'static str {
        "what is shared and shares in turn"
    }
    fn params(&self) -> &'static [Param] {
        static PARAMS: [Param; 1] = [Param { name: "wings", ..LIST }];
        &PARAMS
    }
    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        let hall = site.house.shelf().with_file_name("gauges").join("hall");
        for wing in site.settings.list("wings") {
            site.share(wing, |site| {
                site.share("hall", |site| {
                    let piece = Piece::new("hall", hall.to_string_lossy());
                    site.make(piece, || fs::create_dir(&hall).doing("hall"))?;
                    Ok(serde_json::Value::Null)
                })
            })?;
        }
        Ok(())
    }
    fn undo(&self, doomed: &[vimage::Doomed<'_>]) -> Vec<Result<()>> {
        let gone = |d: &vimage::Doomed<'_>| !fs::exists(&d.piece.key).unwrap_or(false);
        doomed
            .iter()
            .map(|d| if gone(d) { Ok(()) } else { fs::remove_dir(&d.piece.key).doing("hall") })
            .collect()
    }
}

#[test]
fn what_is_shared_can_share_in_turn_and_the_inner_goes_with_its_last_user() {
    let lab = Lab { registry: Registry::new(&[&Wings]).unwrap(), ..Lab::new() };
    let hall = lab.root().join("gauges/hall");
    lab.create(&no_fault(), 1, "wings=east").unwrap();
    lab.create(&no_fault(), 2, "wings=west").unwrap();
    assert_eq!(lab.findings(), [""; 0]);
    lab.driver(&no_fault()).sweep_shared(&|_| true).unwrap();
    assert_eq!(lab.remove(&no_fault(), 1), []);
    assert!(hall.exists(), "the west wing still uses it");
    for n in 1.. {
        if lab.remove(&failing_at(n), 2).is_empty() {
            break;
        }
    }
    assert!(!hall.exists());
    assert_eq!(Shared::names(lab.house.shelf()).unwrap(), [""; 0]);
}
