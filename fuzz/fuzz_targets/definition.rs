//! Definitions of a jail, as the command line gives them: parsed, completed, and never a panic.
#![no_main]

use std::sync::LazyLock;

use kernel::act::Act;
use libfuzzer_sys::fuzz_target;
use vimage::{Given, Registry};

static REGISTRY: LazyLock<Registry<Act>> = LazyLock::new(|| {
    let mut list: Vec<&'static dyn vimage::Subsystem<Act>> = vec![&jail::core::Core];
    list.extend(subsystems::TABLE);
    Registry::new(&list).expect("the table is in order")
});

fuzz_target!(|text: &str| {
    let mut given = Given::default();
    let fine = text.lines().filter(|line| REGISTRY.define(&mut given, line).is_ok()).count();
    if fine > 0 {
        drop(REGISTRY.complete(&given, None, None));
    }
});
