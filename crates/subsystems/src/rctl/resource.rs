//! The resources of rctl(8) that Linux limits for a jail: one row each. Those that it does not are refused, with a
//! reason, by the name of the parameter that there would be: [`crate::refused`].

use vimage::{Child, Kind, Param};

use crate::root::terminals;

/// A resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its parameter. The resource is called so without [`PREFIX`].
    pub param: &'static str,
    /// What a rule of it does, of rctl(8)'s actions: there is one thing that the kernel does at each limit.
    pub action: &'static str,
    /// Whose each limit is.
    pub per: Per,
    /// The least amount.
    pub least: i64,
    /// The greatest.
    pub most: i64,
    /// Whether a jail in another has a limit of its own of it, which must be that of the other, too: what it uses does not
    /// count as used by the other.
    pub apart: bool,
}

/// Whose a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The jail's: of all its processes together.
    Jail,
    /// Each process's by itself.
    Process,
}

/// The parameter of terminals.
pub(super) const TERMINALS: &str = "rctl.pseudoterminals";
/// What the names of all parameters begin with.
pub const PREFIX: &str = "rctl.";

/// The greatest number of tasks, PID_MAX_LIMIT of <linux/threads.h>.
pub(super) const TASKS: i64 = 4_194_304;
/// The greatest number of objects of one kind: `IPCMNI` of Linux (without its boot option `ipcmni_extend`).
pub(crate) const MOST: i64 = 32768;
/// The greatest number of semaphores, of which the kernel counts with an `int`.
pub(crate) const SEMAPHORES: i64 = i32::MAX as i64;

const fn jail(param: &'static str, least: i64, most: i64) -> Resource {
    Resource { param, action: "deny", per: Per::Jail, least, most, apart: false }
}

const fn throttled(param: &'static str) -> Resource {
    Resource { action: "throttle", ..jail(param, 1, i64::MAX) }
}

const fn ipc(param: &'static str, most: i64) -> Resource {
    Resource { apart: true, ..jail(param, 0, most) }
}

const fn process(param: &'static str, least: i64) -> Resource {
    Resource { per: Per::Process, apart: true, ..jail(param, least, i64::MAX) }
}

/// All of them, by the order of rctl(8).
pub static RESOURCES: [Resource; 22] = [
    Resource { action: "sigkill", ..process("rctl.cputime", 1) },
    process("rctl.datasize", 4096),
    process("rctl.stacksize", 4096),
    process("rctl.coredumpsize", 0),
    jail("rctl.memoryuse", 1, i64::MAX),
    process("rctl.memorylocked", 0),
    jail("rctl.maxproc", 1, TASKS),
    process("rctl.openfiles", 8),
    process("rctl.vmemoryuse", 4096),
    Resource { apart: true, ..jail(TERMINALS, 0, terminals::MOST) },
    jail("rctl.swapuse", 0, i64::MAX),
    jail("rctl.nthr", 1, TASKS),
    ipc("rctl.nmsgq", MOST),
    ipc("rctl.nsem", SEMAPHORES),
    ipc("rctl.nsemop", SEMAPHORES),
    ipc("rctl.nshm", MOST),
    ipc("rctl.shmsize", i64::MAX),
    jail("rctl.pcpu", 1, 1_000_000),
    throttled("rctl.readbps"),
    throttled("rctl.writebps"),
    throttled("rctl.readiops"),
    throttled("rctl.writeiops"),
];

impl Resource {
    /// The resource of a name of rctl(8)'s.
    #[must_use]
    pub fn of(name: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.name() == name)
    }

    /// Its name in rctl(8).
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.param.strip_prefix(PREFIX).unwrap_or(self.param)
    }

    /// Whether it is counted in bytes.
    #[must_use]
    pub fn is_bytes(&self) -> bool {
        let name = self.name();
        ["size", "use", "bps", "locked"].iter().any(|end| name.ends_with(end))
    }
}

/// A limit of bytes.
pub(crate) const fn size(name: &'static str, help: &'static str, doc: &'static str) -> Param {
    Param { name, kind: Kind::Size, child: Child::AtMost, help, doc, ..Param::BASE }
}

/// A limit of a number.
pub(crate) const fn count(
    name: &'static str,
    (min, max): (i64, i64),
    help: &'static str,
    doc: &'static str,
) -> Param {
    Param { name, kind: Kind::Int { min, max }, child: Child::AtMost, help, doc, ..Param::BASE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_called_as_in_rctl() {
        assert!(RESOURCES.iter().all(|r| r.param.starts_with(PREFIX) && Resource::of(r.name()) == Some(r)));
        assert!(Resource::of("rctl.maxproc").is_none() && Resource::of("").is_none());
        let bytes: Vec<_> = RESOURCES.iter().filter(|r| r.is_bytes()).map(Resource::name).collect();
        assert_eq!(
            bytes,
            [
                "datasize",
                "stacksize",
                "coredumpsize",
                "memoryuse",
                "memorylocked",
                "vmemoryuse",
                "swapuse",
                "shmsize",
                "readbps",
                "writebps"
            ]
        );
    }
}
