//! FreeBSD's parameters that are not honoured: jail(8) as of FreeBSD 15, but for `allow.*`, whose table has its own
//! reasons. To support one is to take its row away.

use vimage::Refused;

const fn row(name: &'static str, reason: &'static str, hint: &'static str) -> Refused {
    Refused { name, reason, hint }
}

/// All of them, by the order of the manual.
pub static ROWS: &[Refused] = &[
    row(
        "securelevel",
        "Linux has no securelevels",
        "what the jail's root may do is said by allow.* parameters",
    ),
    row(
        "osreldate",
        "uname(2) tells the version of the one kernel that there is",
        "the jail's own files tell its release",
    ),
    row(
        "osrelease",
        "uname(2) tells the version of the one kernel that there is",
        "setarch --uname-2.6 changes what it says",
    ),
    row(
        "cpuset.id",
        "Linux has no numbered sets of processors",
        "cpuset.cpus=0-3 says which processors a jail has",
    ),
    row("desc", "Linux has no descriptors of jails", "a name or a number says which jail"),
    row("lastjid", "it selects a jail for jail_get(2)", "jls lists all jails by their numbers"),
    row("linux", "every jail runs Linux programs, in this kernel's own way", "leave it out"),
    row("linux.*", "every jail runs Linux programs, in this kernel's own way", "leave it out"),
    row(
        "mac.label",
        "Linux has labels of its security modules for programs, not for jails",
        "set one by the module's own tools",
    ),
    row(
        "zfs.*",
        "a dataset cannot be handed to a jail",
        "mount=\"/MOUNTPOINT /DIR none\" hands its files in",
    ),
    row(
        "rctl.msgqqueued",
        "Linux counts messages by queue, in bytes",
        "rctl.nmsgq limits queues, of which each holds kernel.msgmnb bytes, 16384 by default",
    ),
    row(
        "rctl.msgqsize",
        "Linux limits the size of each queue, which the jail's root may raise, and not of all together",
        "rctl.nmsgq limits queues, rctl.memoryuse memory",
    ),
    row(
        "rctl.wallclock",
        "Linux ends no process because of its age, and nothing of ours runs to do it",
        "command=\"timeout 3600 ...\" ends a program, jail -r in a timer of systemd(1) a jail",
    ),
    row("exec.fib", "Linux has no numbered routing tables of processes", "vnet.route says where packets go"),
];

#[cfg(test)]
mod tests {
    use kernel::act::Act;
    use vimage::{Param, Registry, Subsystem};

    use super::*;

    /// In place of the jail's own, which the others come after.
    struct Core;
    impl Subsystem<Act> for Core {
        fn name(&self) -> &'static str {
            "jail"
        }
        fn about(&self) -> &'static str {
            "a test"
        }
        fn params(&self) -> &'static [Param] {
            &[]
        }
    }

    fn table() -> Vec<&'static dyn Subsystem<Act>> {
        crate::TABLE.iter().copied().chain([&Core as &'static dyn Subsystem<Act>]).collect()
    }

    #[test]
    fn a_row_is_of_no_parameter_that_there_is() {
        let registry = Registry::<Act>::new(&table()).unwrap();
        for row in ROWS {
            assert!(registry.param(row.name).is_none(), "{}", row.name);
            assert!(!row.reason.ends_with('.') && !row.hint.ends_with('.'), "{}", row.name);
        }
    }
}
