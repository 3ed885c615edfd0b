//! Rules and filters of rctl(8). Never a panic, nothing that a terminal obeys in a message; what is read is written in one
//! way, which is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use subsystems::rctl::rule::{Filter, Rule};

fuzz_target!(|text: &str| {
    match Rule::parse(text) {
        Ok(rule) => {
            assert_eq!(Rule::parse(&rule.to_string()), Ok(rule.clone()));
            assert!(Filter::parse(&rule.to_string()).is_ok_and(|filter| filter.means(&rule)));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    if let Err(error) = Filter::parse(text) {
        assert!(!error.to_string().contains(char::is_control));
    }
});
