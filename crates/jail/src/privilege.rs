//! What of the kernel's privileges we lack.
//!
//! Capabilities count, not the user id: root may have few, and the root of a user namespace has all there.

use kernel::capability::{self as cap, CapSet};
use vimage::{Context as _, Error, ErrorKind, Result};

/// Without these nothing of a jail can be made, entered or taken down: mounts and namespaces, maps of ids, and
/// processes that do not let themselves be looked at.
const NEEDED: CapSet = CapSet::of(&[cap::SYS_ADMIN, cap::SETUID, cap::SETGID, cap::SYS_PTRACE]);

/// Refuses what cannot succeed before anything is touched.
///
/// # Errors
/// Capabilities are missing; the hint names them.
pub fn check() -> Result<()> {
    match missing() {
        CapSet::EMPTY => Ok(()),
        missing => Err(Error::new(ErrorKind::Denied, NOT_PERMITTED).hint(advice(missing, is_root()))),
    }
}

/// That a privilege is missing, as strerror(3) says it.
pub const NOT_PERMITTED: &str = "Operation not permitted";

/// What upstream's tools call making or changing a jail, by its system call.
pub const SET: &str = "jail_set";

/// As [`check`], before a jail is made or changed.
///
/// # Errors
/// As [`check`], in upstream's words.
pub fn check_set() -> Result<()> {
    check().doing(SET)
}

/// An error with the advice that explains it, if capabilities may be why.
pub(crate) fn explain(error: Error) -> Error {
    match missing() {
        missing if error.kind() == ErrorKind::Denied && missing != CapSet::EMPTY => {
            error.hint(advice(missing, is_root()))
        }
        _ => error,
    }
}

/// Refuses to look for what other users' processes have: what cannot be seen would be missing without a word.
///
/// # Errors
/// The capability is missing; the hint names it.
pub fn sees_all() -> Result<()> {
    let needed = CapSet::of(&[cap::SYS_PTRACE]);
    match CapSet(needed.0 & lacking().0) {
        CapSet::EMPTY => Ok(()),
        missing => Err(Error::new(ErrorKind::Denied, NOT_PERMITTED).hint(advice(missing, is_root()))),
    }
}

/// An error of a reader with the advice that explains it, if a capability may be why.
#[must_use]
pub fn explain_reading(error: Error) -> Error {
    match CapSet(CapSet::of(&[cap::DAC_READ_SEARCH]).0 & lacking().0) {
        missing if error.kind() == ErrorKind::Denied && missing != CapSet::EMPTY => {
            error.hint(advice(missing, is_root()))
        }
        _ => error,
    }
}

fn missing() -> CapSet {
    // An old kernel's refusal says nothing about what it would refuse later.
    CapSet(NEEDED.0 & lacking().0)
}

fn lacking() -> CapSet {
    rustix::thread::capabilities(None).map_or(CapSet::EMPTY, |own| CapSet(!own.effective.bits()))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Who has what is missing; of one who is root already, where he would have it.
fn advice(missing: CapSet, is_root: bool) -> String {
    let names: Vec<_> = missing.iter().filter_map(cap::name).map(|name| format!("CAP_{name}")).collect();
    let names = names.join(", ");
    if missing.contains(cap::SYS_ADMIN) && is_root {
        return format!(
            "this needs {names}, which root has outside a jail, and in one with children.max above 0"
        );
    }
    format!("this needs {names}, which root has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_what_is_missing() {
        let missing = CapSet::of(&[cap::SYS_ADMIN, cap::SETUID]);
        assert_eq!(advice(missing, false), "this needs CAP_SETUID, CAP_SYS_ADMIN, which root has");
        assert_eq!(
            advice(missing, true),
            "this needs CAP_SETUID, CAP_SYS_ADMIN, which root has outside a jail, and in one with children.max above 0"
        );
        assert_eq!(advice(CapSet::of(&[cap::SETUID]), true), "this needs CAP_SETUID, which root has");
    }
}
