//! The table is whole.

use super::*;

#[test]
fn every_privilege_of_freebsd_has_a_row() {
    let names = "set_hostname reserved_ports unprivileged_proc_debug suser sysvipc raw_sockets chflags mount \
                 mount.devfs mount.fdescfs mount.fusefs mount.linprocfs mount.linsysfs mount.nullfs \
                 mount.procfs mount.tmpfs mount.zfs quotas socket_af mlock nfsd read_msgbuf extattr adjtime \
                 settime routing setaudit unprivileged_parent_tampering vmm vmm_ppt dying";
    let mut expected: Vec<_> = names.split_whitespace().map(|n| format!("allow.{n}")).collect();
    let mut rows: Vec<_> = ROWS.iter().map(|row| row.name.to_owned()).collect();
    expected.sort_unstable();
    rows.sort_unstable();
    assert_eq!(rows, expected);
    let on: Vec<_> = ROWS.iter().filter(|row| row.default).map(|row| row.name).collect();
    // FreeBSD's four.
    let freebsds = ["set_hostname", "reserved_ports", "unprivileged_proc_debug", "suser"];
    assert_eq!(on, freebsds.map(|name| format!("allow.{name}")));
}

#[test]
fn the_families_that_pass_are_exactly_freebsds() {
    let passes = |rules: &[Rule<'_>], family: u64| {
        rules.iter().filter_map(|r| r.condition).all(|c| family & c.mask != c.value)
    };
    let all = [&NEW_FAMILIES[..], &OLD_FAMILIES].concat();
    let left: Vec<u64> = (0..64).filter(|f| passes(&all, *f)).collect();
    assert_eq!(left, [0, 1, 2, 10, 16, 17]);
    assert!((0..32).all(|f| passes(&NEW_FAMILIES, f)) && !(32..64).any(|f| passes(&NEW_FAMILIES, f)));
}

#[test]
fn texts_are_there_and_calls_are_known() {
    for row in &ROWS {
        assert!(!row.help.is_empty() && row.doc.ends_with('.'), "{}", row.name);
        assert!(row.calls.iter().flat_map(|r| r.syscalls).all(|c| kernel::seccomp::is_known(c)));
    }
}
