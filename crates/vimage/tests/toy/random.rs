//! Whatever happens in whatever order, nothing is left when all jails are unmade.

use proptest::prelude::*;

use crate::lab::{Lab, failing_at, no_fault};

#[derive(Clone, Debug)]
enum Accident {
    None,
    Fails(u64),
    Dies(u64),
}

#[derive(Clone, Debug)]
struct Step {
    verb: &'static str,
    jid: u32,
    words: String,
    accident: Accident,
}

fn list(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::subsequence(names, 0..=names.len()).prop_map(|some| some.join(","))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let words = (list(&["a", "b"]), list(&["p", "q"]), list(&["c"]), list(&["p"]), list(&["s", "t"]));
    let words = words.prop_map(|(names, pools, gauges, gauge_pools, tallies)| {
        format!(
            "counters.names={names} counters.pools={pools} gauges.names={gauges} gauges.pools={gauge_pools} \
             tallies={tallies}"
        )
    });
    let accident = prop_oneof![
        2 => Just(Accident::None),
        1 => (1..40_u64).prop_map(Accident::Fails),
        1 => (1..40_u64).prop_map(Accident::Dies),
    ];
    let verb = prop_oneof![3 => Just("create"), 3 => Just("update"), 2 => Just("remove")];
    let step = (verb, 1..4_u32, words, accident).prop_map(|(verb, jid, words, accident)| Step {
        verb,
        jid,
        words,
        accident,
    });
    proptest::collection::vec(step, 1..12)
}

fn take(lab: &Lab, step: &Step) {
    let Step { verb, jid, words, accident } = step;
    let there = lab.jids().contains(jid);
    if there != (*verb != "create") {
        return;
    }
    let recorder = match accident {
        Accident::None => no_fault(),
        Accident::Fails(n) => failing_at(*n),
        Accident::Dies(n) => {
            let _dead_or_done = lab.in_child(&format!("kill:{n}"), &format!("{verb} {jid} {words}"));
            return;
        }
    };
    // Whether it fails is the accident's business; what a failed create leaves is looked at where it fails.
    match *verb {
        "create" => drop(lab.create(&recorder, *jid, words)),
        "update" => drop(lab.update(&recorder, *jid, words)),
        _ => drop(lab.remove(&recorder, *jid)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_clean(steps in steps()) {
        let lab = Lab::new();
        steps.iter().for_each(|step| take(&lab, step));
        for jid in lab.jids() {
            prop_assert_eq!(lab.remove(&no_fault(), jid), []);
        }
        lab.assert_clean();
    }
}
