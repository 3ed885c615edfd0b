//! `sysvmsg`, `sysvsem`, `sysvshm`: System V message queues, semaphores and shared memory, sysvipc(7).
//!
//! Linux has one ipc namespace for all three and for POSIX message queues (ipc_namespaces(7)): what is new
//! shares one namespace of the jail's, what is denied is denied by a filter.

pub mod namespace;
pub mod usage;

use kernel::{act::Act, probe::Feature, seccomp::Rule};
use rustix::io::Errno;
use vimage::{
    Ask, Child, Cost, Entry, House, Instance, Kind, Mode, Node, Param, Piece, Result, Settings, Site,
    Subsystem, Support, When,
};

use crate::{
    needs,
    rctl::resource::{MOST, SEMAPHORES, count, size},
};

use namespace::{Format, Knob};

/// The piece of a facility that is denied: its key is the facility.
pub const FILTER: &str = "filter";
/// What the pieces of the facilities are for the kernel.
pub const OBJECTS: &[(&str, &str)] =
    &[(FILTER, "rule of the seccomp filter"), (Piece::INSTANCE, "ipc namespace")];

/// One of the three subsystems.
#[derive(Debug)]
pub struct Sysv {
    name: &'static str,
    about: &'static str,
    after: &'static [&'static str],
    params: &'static [Param],
    calls: &'static [&'static str],
    knobs: &'static [Knob],
}

/// Message queues.
pub static SYSVMSG: Sysv = Sysv {
    name: "sysvmsg",
    about: "System V message queues",
    after: &[],
    params: &[
        mode("sysvmsg", "whether the jail has System V message queues of its own"),
        Param {
            name: "sysvmsg.queues",
            kind: Kind::Int { min: 0, max: MOST },
            child: Child::AtMost,
            help: "how many System V message queues may exist",
            doc: "The greatest number of message queues in the jail: kernel.msgmni, 32000 by default. At the \
                  limit msgget(2) fails with ENOSPC.",
            ..Param::BASE
        },
        count(
            "rctl.nmsgq",
            (0, MOST),
            "how many System V message queues may exist",
            "The same as sysvmsg.queues, as a resource of rctl(8). Of both the smaller counts.",
        ),
    ],
    calls: &["msgget", "msgsnd", "msgrcv", "msgctl"],
    knobs: &[Knob {
        params: &["sysvmsg.queues", "rctl.nmsgq"],
        file: "/proc/sys/kernel/msgmni",
        default: "32000",
        format: Format::Number,
    }],
};

/// Semaphores.
pub static SYSVSEM: Sysv = Sysv {
    name: "sysvsem",
    about: "System V semaphores",
    after: &["sysvmsg"],
    params: &[
        mode("sysvsem", "whether the jail has System V semaphores of its own"),
        Param {
            name: "sysvsem.sets",
            kind: Kind::Int { min: 0, max: MOST },
            child: Child::AtMost,
            help: "how many System V semaphore sets may exist",
            doc: "The greatest number of semaphore sets in the jail: the fourth field of kernel.sem, 32000 by \
                  default. At the limit semget(2) fails with ENOSPC.",
            ..Param::BASE
        },
        count(
            "rctl.nsem",
            (0, SEMAPHORES),
            "how many System V semaphores may exist",
            "The greatest number of semaphores in all sets of the jail together: the second field of kernel.sem. At the \
             limit semget(2) fails with ENOSPC.",
        ),
        count(
            "rctl.nsemop",
            (0, SEMAPHORES),
            "how many System V semaphores a call may change",
            "The greatest number of operations of one semop(2) in the jail: the third field of kernel.sem, 500 by default. A \
             call with more fails with E2BIG.",
        ),
    ],
    calls: &["semget", "semop", "semtimedop", "semctl"],
    knobs: &[
        semaphores(&["sysvsem.sets"], 3),
        semaphores(&["rctl.nsem"], 1),
        semaphores(&["rctl.nsemop"], 2),
    ],
};

const fn semaphores(params: &'static [&'static str], field: usize) -> Knob {
    let (file, default) = ("/proc/sys/kernel/sem", "32000 1024000000 500 32000");
    Knob { params, file, default, format: Format::Field(field) }
}

/// Shared memory.
pub static SYSVSHM: Sysv = Sysv {
    name: "sysvshm",
    about: "System V shared memory",
    after: &["sysvsem"],
    params: &[
        mode("sysvshm", "whether the jail has System V shared memory of its own"),
        Param {
            name: "sysvshm.max",
            kind: Kind::Size,
            child: Child::AtMost,
            help: "the greatest size of a System V shared memory segment",
            doc: "The greatest size of one shared memory segment in the jail: kernel.shmmax. By default there is \
                  no limit to speak of. A larger segment is refused with EINVAL, shmget(2).",
            ..Param::BASE
        },
        Param {
            name: "sysvshm.segments",
            kind: Kind::Int { min: 0, max: MOST },
            child: Child::AtMost,
            help: "how many System V shared memory segments may exist",
            doc: "The greatest number of shared memory segments in the jail: kernel.shmmni, 4096 by default. At \
                  the limit shmget(2) fails with ENOSPC.",
            ..Param::BASE
        },
        count(
            "rctl.nshm",
            (0, MOST),
            "how many System V shared memory segments may exist",
            "The same as sysvshm.segments, as a resource of rctl(8). Of both the smaller counts.",
        ),
        size(
            "rctl.shmsize",
            "how large all System V shared memory may be",
            "The greatest size of all shared memory segments of the jail together, in whole pages: kernel.shmall. At the limit \
             shmget(2) fails with ENOSPC.",
        ),
    ],
    calls: &["shmget", "shmat", "shmdt", "shmctl"],
    knobs: &[
        // ULONG_MAX - (1 << 24), SHMMAX of <linux/shm.h>.
        Knob {
            params: &["sysvshm.max"],
            file: "/proc/sys/kernel/shmmax",
            default: "18446744073692774399",
            format: Format::Number,
        },
        Knob {
            params: &["sysvshm.segments", "rctl.nshm"],
            file: "/proc/sys/kernel/shmmni",
            default: "4096",
            format: Format::Number,
        },
        // As shmmax, in pages.
        Knob {
            params: &["rctl.shmsize"],
            file: "/proc/sys/kernel/shmall",
            default: "18446744073692774399",
            format: Format::Pages,
        },
    ],
};

const fn mode(name: &'static str, help: &'static str) -> Param {
    Param {
        name,
        kind: Kind::Mode(&[Mode::New, Mode::Inherit, Mode::Disable]),
        when: When::Create,
        default: Some("new"),
        child: Child::AtMost,
        help,
        doc: "With new the jail has keys, identifiers and limits of its own, and its objects end with it. With \
              inherit it shares its parent's. With disable the system calls fail with ENOSYS. The default is new \
              and not, as on FreeBSD, disable: there new came late and shares the host's limits, here it costs \
              nothing and databases just work. Linux has one namespace for System V IPC and POSIX message queues \
              together, so of sysvmsg, sysvsem, sysvshm and mqueue some cannot be new while others are inherit.",
        ..Param::BASE
    }
}

impl Subsystem<Act> for Sysv {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn params(&self) -> &'static [Param] {
        self.params
    }

    fn probe(&self) -> Support {
        needs::namespaces(Feature::IpcNamespaces, &namespace::FACILITIES)
    }

    fn after(&self) -> &'static [&'static str] {
        self.after
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        namespace::inherit_limits(ask, self.name, self.knobs);
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        namespace::check_mixture(&ask.settings, ask.given, self.name)?;
        namespace::check_limits(&ask.settings, self.name, self.knobs)
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        namespace::birth(site.settings, self.name, self.knobs)
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        namespace::adopt(site, self.name, self.knobs)?;
        mark_denied(site, self.name)
    }

    fn enter(&self, of: &Instance<'_>, _how: Entry) -> Result<Vec<Act>> {
        Ok(deny(of.settings, self.name, self.calls))
    }

    fn follows_all(&self) -> bool {
        // A rule is a limit, too.
        true
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        namespace::update(site, old, self.name, self.knobs)
    }

    fn inspect(&self, of: &Instance<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        namespace::inspect(of, wanted, self.name, self.knobs)
    }

    fn show(&self, of: &Instance<'_>) -> Result<Node> {
        if of.settings.mode(self.name) == Mode::Disable {
            return Ok(Node::map());
        }
        Ok(usage::usage(of)?.node(self.name))
    }

    fn cost(&self, piece: &Piece, house: &dyn House) -> Cost {
        usage::cost(piece, house)
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        OBJECTS
    }
}

/// Makes the piece of a facility that is denied, so that it is counted like a namespace: the filter itself
/// is each process's own and goes with it.
///
/// # Errors
/// The journal cannot be written.
pub fn mark_denied(site: &mut Site<'_>, facility: &str) -> Result<()> {
    if site.settings.mode(facility) != Mode::Disable {
        return Ok(());
    }
    site.make(Piece::new(FILTER, facility), || Ok(()))
}

/// What denies the calls of a facility that is disabled: ENOSYS, as FreeBSD.
#[must_use]
pub fn deny(settings: &Settings, facility: &str, syscalls: &'static [&'static str]) -> Vec<Act> {
    if settings.mode(facility) != Mode::Disable {
        return Vec::new();
    }
    vec![Act::Deny(Rule { syscalls, condition: None, errno: Errno::NOSYS })]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kernel::seccomp::{Abi, is_known, syscall_number};
    use vimage::{Registry, Value};

    use super::*;

    #[test]
    fn the_calls_are_known_to_the_filter() {
        for facility in [&SYSVMSG, &SYSVSEM, &SYSVSHM] {
            assert!(facility.calls.iter().all(|call| is_known(call)), "{facility:?}");
            assert!(facility.calls.iter().any(|call| syscall_number(call, Abi::I386).is_some()));
        }
    }

    #[test]
    fn each_limit_is_a_parameter() {
        for facility in [&SYSVMSG, &SYSVSEM, &SYSVSHM] {
            let params = facility.params.iter().skip(1).map(|p| p.name).collect::<BTreeSet<_>>();
            let limits = facility.knobs.iter().flat_map(|knob| knob.params).copied().collect();
            assert_eq!(params, limits);
        }
    }

    #[test]
    fn only_what_is_disabled_is_denied() {
        let settings = |mode: &str| {
            let list = [("sysvshm".to_owned(), Value::Text(mode.to_owned()))];
            list.into_iter().collect::<Settings>()
        };
        for mode in ["new", "inherit"] {
            assert!(deny(&settings(mode), "sysvshm", SYSVSHM.calls).is_empty());
        }
        let acts = deny(&settings("disable"), "sysvshm", SYSVSHM.calls);
        assert!(matches!(&acts[..], [Act::Deny(Rule { errno: Errno::NOSYS, .. })]));
    }

    #[test]
    fn they_come_in_the_order_that_one_namespace_needs() {
        let list: [&'static dyn Subsystem<Act>; 4] = [&crate::mqueue::MQUEUE, &SYSVSHM, &SYSVSEM, &SYSVMSG];
        let registry = Registry::new(&list).unwrap();
        let names: Vec<_> = registry.iter().map(Subsystem::name).collect();
        assert_eq!(names, namespace::FACILITIES);
    }
}
