//! Filters that deny some system calls and allow all others, seccomp(2).
//!
//! A filter is made here and installed by the new process itself. It speaks for both of a machine's
//! instruction sets, 64 and 32 bits, and answers `ENOSYS` to calls of any other, x32 among them. Its
//! length is what counts: the kernel compiles it and runs it once for every number when it is installed.

mod assemble;
mod decision;
mod table;

use std::fmt;

use rustix::io::Errno;

use assemble::assemble;
use decision::{Decision, Switch};

pub use assemble::SockFilter;
pub use table::{is_known, names, syscall_number};

/// A set of system call numbers and the way to call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// AMD64, 64 bits.
    X86_64,
    /// Its 32-bit programs.
    I386,
    /// ARM, 64 bits.
    Aarch64,
    /// Its 32-bit programs (EABI).
    Arm,
}

impl Abi {
    /// That of this program.
    pub const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// Returns the `AUDIT_ARCH_*` that seccomp(2) tells the filter.
    pub const fn audit_arch(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Returns the 32-bit one of the same machine.
    const fn compat(self) -> Self {
        match self {
            Self::X86_64 | Self::I386 => Self::I386,
            Self::Aarch64 | Self::Arm => Self::Arm,
        }
    }
}

/// A condition: the bits `mask` of argument `index` are `value`.
///
/// The kernel looks only at the low 32 bits of an argument that is an `int`: leave the others out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArgEq {
    /// The argument, from 0 to 5.
    pub index: u8,
    /// What the bits must be.
    pub value: u64,
    /// The bits that matter.
    pub mask: u64,
}

/// Denies some system calls.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// Their names, syscalls(2); of [`names`]. One name stands for all calls that do the same: also
    /// those with a 64-bit time, and those behind ipc(2) and socketcall(2).
    pub syscalls: &'a [&'a str],
    /// Denies only such calls. The arguments of a call behind socketcall(2) cannot be seen, nor do those
    /// of ipc(2) stand in the same place; there it is always denied.
    pub condition: Option<ArgEq>,
    /// What the caller gets.
    pub errno: Errno,
}

/// A rule names a system call that is not in the table, or an argument above 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRule(pub String);

impl fmt::Display for BadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no filter for the system call \"{}\"", self.0)
    }
}

impl std::error::Error for BadRule {}

/// Returns a filter for the machine of `native` that denies what `rules` say, the first that applies to
/// a call; `SECCOMP_SET_MODE_FILTER` of seccomp(2), Linux 3.17.
pub fn deny(native: Abi, rules: &[Rule<'_>]) -> Result<Vec<SockFilter>, BadRule> {
    for rule in rules {
        let bad_index = rule.condition.is_some_and(|condition| condition.index > 5);
        if let Some(name) = rule.syscalls.iter().find(|name| bad_index || !is_known(name)) {
            return Err(BadRule((*name).into()));
        }
    }
    let compat = native.compat();
    let mut native_calls = calls(native, rules);
    if native == Abi::X86_64 {
        const X32: u32 = 0x4000_0000;
        native_calls.set_from(X32, &Decision::Errno(errno(Errno::NOSYS)));
    }
    Ok(assemble(&[(native.audit_arch(), native_calls), (compat.audit_arch(), calls(compat, rules))]))
}

/// Returns what to do with each system call number.
fn calls(abi: Abi, rules: &[Rule<'_>]) -> Switch {
    let mut calls = Switch::default();
    for rule in rules {
        let denied = Decision::Errno(errno(rule.errno));
        for name in rule.syscalls.iter().flat_map(|name| with_twins(name)) {
            if let Some(number) = syscall_number(name, abi) {
                calls.refine(number, &test(rule.condition, &denied));
            }
            let Some(part) = table::part(name) else { continue };
            if let Some(number) = syscall_number(part.of, abi) {
                let mut parts = Switch::default();
                parts.refine(part.number, &denied);
                calls.refine(number, &Decision::Parts { mask: part.mask, parts });
            }
        }
    }
    if let Some(number) = syscall_number("ipc", abi) {
        calls.join(number, table::parts_of_ipc());
    }
    calls
}

fn with_twins(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(table::twins(name).iter().copied())
}

fn test(condition: Option<ArgEq>, denied: &Decision) -> Decision {
    match condition {
        None => denied.clone(),
        Some(condition) => {
            Decision::Test { condition, then: Box::new(denied.clone()), otherwise: Box::new(Decision::Allow) }
        }
    }
}

fn errno(errno: Errno) -> u16 {
    u16::try_from(errno.raw_os_error()).expect("an errno has twelve bits")
}
