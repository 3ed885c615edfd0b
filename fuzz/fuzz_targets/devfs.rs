//! Rule sets for devices, of a text over another. Never a panic, nothing that a terminal obeys in a message, never a
//! hang; and what the rules name is all that they show.
#![no_main]

use conf::{
    Report,
    devfs::{Class, Rulesets},
};
use libfuzzer_sys::fuzz_target;

fn show(report: &Report) {
    assert!(!report.to_string().contains(|c: char| c.is_control() && c != '\n'));
}

fuzz_target!(|bytes: &[u8]| {
    let texts = bytes.splitn(2, |byte| *byte == 0).enumerate();
    let sets = Rulesets::read(texts.map(|(n, text)| (n.to_string(), text.to_vec())).collect());
    sets.wrong().iter().for_each(show);
    for (name, number) in sets.names() {
        assert_eq!(sets.number(name), Some(number));
        let rules = match sets.rules(number) {
            Ok(rules) => rules,
            Err(report) => {
                show(&report);
                continue;
            }
        };
        let names = rules.names();
        for path in ["null", "net/tun", "sda", "a"] {
            let verdict = rules.verdict(path, Some(Class::Disk));
            assert!(verdict.mode.is_none_or(|mode| mode <= 0o777));
            assert!(!verdict.is_visible || names.as_ref().is_none_or(|names| names.contains(path)));
            if let Some(span) = verdict.shown_by {
                show(&sets.objection(span, path, name));
            }
        }
    }
});
