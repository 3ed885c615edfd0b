//! Definitions of a jail, as the command line gives them: parsed, completed, checked by every subsystem as before
//! a creation, and never a panic. A check changes nothing.
#![no_main]

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
    sync::LazyLock,
};

use kernel::act::Act;
use libfuzzer_sys::fuzz_target;
use vimage::{Anchor, Ask, Error, ErrorKind, Given, House, Registry, Result};

static REGISTRY: LazyLock<Registry<Act>> = LazyLock::new(|| {
    let mut list: Vec<&'static dyn vimage::Subsystem<Act>> = vec![&jail::core::Core];
    list.extend(subsystems::TABLE);
    Registry::new(&list).expect("the table is in order")
});

/// Has no records, and no other jail.
#[derive(Debug)]
struct Empty;

fn nothing<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Failed, "a check makes nothing"))
}

impl House for Empty {
    fn open(&self, _: &Anchor) -> Result<Option<OwnedFd>> {
        Ok(None)
    }
    fn anchor(&self, _: &str, _: BorrowedFd<'_>) -> Result<Anchor> {
        nothing()
    }
    fn hold(&self, _: &str, _: &str, _: BorrowedFd<'_>) -> Result<()> {
        nothing()
    }
    fn release(&self, _: &str) -> Result<()> {
        nothing()
    }
    fn held(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn living(&self, _: &str, _: &str) -> Result<Option<Anchor>> {
        Ok(None)
    }
    fn number(&self, _: &str) -> Result<u32> {
        nothing()
    }
    fn stable(&self, _: &str) -> Result<u64> {
        Ok(7)
    }
    fn mark(&self) -> &str {
        "fuzz"
    }
    fn shelf(&self) -> &Path {
        Path::new("/nonexistent/shelf")
    }
}

fuzz_target!(|text: &str| {
    let mut given = Given::default();
    // A file of the user's may be one that never ends.
    for line in text.lines().filter(|line| !line.contains("fstab")) {
        drop(REGISTRY.define(&mut given, line));
    }
    let Ok(settings) = REGISTRY.complete(&given, None, None) else { return };
    let (given, house) = (&given.settings, &Empty);
    let mut ask = Ask { name: "fuzz", jid: 1, given, settings, parent: None, above: None, living: None, house };
    for subsystem in REGISTRY.iter() {
        subsystem.resolve(&mut ask);
    }
    for subsystem in REGISTRY.iter() {
        drop(subsystem.check(&ask));
    }
});
