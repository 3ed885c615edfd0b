//! Decision tables as classic BPF, <linux/bpf_common.h>, over `struct seccomp_data`.
//!
//! Written from the end to the start, so that the targets of each jump, which only go forward, are known.

use std::collections::BTreeMap;

use super::ArgEq;
use super::decision::{Decision, Switch};

/// An instruction: `struct sock_filter` of <linux/filter.h>, which seccomp(2) takes a list of.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SockFilter {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip when the comparison holds.
    pub jt: u8,
    /// How many when not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}
const _: () = assert!(size_of::<SockFilter>() == 8);

const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const JMP_JEQ_K: u16 = 0x15;
const JMP_JGE_K: u16 = 0x35;
const JMP_JSET_K: u16 = 0x45;
const RET_K: u16 = 0x06;

const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;

/// A program in reverse: the last instruction comes first.
#[derive(Default)]
struct Program {
    reversed: Vec<SockFilter>,
    returns: BTreeMap<u32, usize>,
}

/// The place of an instruction, counted from the end of the program.
type Label = usize;

/// Returns the program that looks a call's decision up by its instruction set and number; the others'
/// calls get `ENOSYS`.
pub(super) fn assemble(abis: &[(u32, Switch)]) -> Vec<SockFilter> {
    let mut program = Program::default();
    let mut entries = Vec::new();
    for (arch, calls) in abis {
        let ranges = program.decided(&calls.ranges());
        let compare = program.search(&ranges);
        entries.push((*arch, program.load(NR, compare)));
    }
    let mut next = program.ret(SECCOMP_RET_ERRNO | rustix::io::Errno::NOSYS.raw_os_error() as u32);
    for (arch, entry) in entries {
        next = program.jump(JMP_JEQ_K, arch, entry, next);
    }
    program.load(ARCH, next);
    program.reversed.reverse();
    program.reversed
}

impl Program {
    fn emit(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(SockFilter { code, jt, jf, k });
        self.reversed.len() - 1
    }

    /// Returns a return instruction, one that is near enough to be jumped to by the next few.
    fn ret(&mut self, k: u32) -> Label {
        const NEAR: usize = 240;
        match self.returns.get(&k) {
            Some(at) if self.reversed.len() - at < NEAR => *at,
            _ => {
                let at = self.emit(RET_K, k, 0, 0);
                self.returns.insert(k, at);
                at
            }
        }
    }

    /// Emits a comparison. Where a target is out of a byte's reach, a jump of 32 bits goes between.
    fn jump(&mut self, code: u16, k: u32, mut yes: Label, mut no: Label) -> Label {
        let distance = |program: &Self, to: Label| program.reversed.len() - 1 - to;
        // Two of them at most, each of which adds one to the other's distance.
        if distance(self, yes) > 253 {
            let far = distance(self, yes) as u32;
            yes = self.emit(JMP_JA, far, 0, 0);
        }
        if distance(self, no) > 254 {
            let far = distance(self, no) as u32;
            no = self.emit(JMP_JA, far, 0, 0);
        }
        let (jt, jf) = (distance(self, yes) as u8, distance(self, no) as u8);
        self.emit(code, k, jt, jf)
    }

    /// Emits an instruction that goes on at `next`.
    fn before(&mut self, code: u16, k: u32, next: Label) -> Label {
        let distance = self.reversed.len() - 1 - next;
        if distance > 0 {
            self.emit(JMP_JA, distance as u32, 0, 0);
        }
        self.emit(code, k, 0, 0)
    }

    fn load(&mut self, offset: u32, next: Label) -> Label {
        self.before(LD_W_ABS, offset, next)
    }

    /// Emits what carries out each decision.
    fn decided(&mut self, ranges: &[(u32, &Decision)]) -> Vec<(u32, Label)> {
        let mut emitted: BTreeMap<&Decision, Label> = BTreeMap::new();
        let mut labels = Vec::new();
        // The simple ones last, to be near.
        let mut order: Vec<usize> = (0..ranges.len()).collect();
        order.sort_by_key(|at| matches!(ranges[*at].1, Decision::Allow | Decision::Errno(_)));
        for at in order {
            let (from, decision) = ranges[at];
            let label = match emitted.get(decision) {
                Some(label) => *label,
                None => self.decide(decision),
            };
            emitted.insert(decision, label);
            labels.push((from, label));
        }
        labels.sort_unstable();
        labels
    }

    fn decide(&mut self, decision: &Decision) -> Label {
        match decision {
            Decision::Allow => self.ret(SECCOMP_RET_ALLOW),
            Decision::Errno(errno) => self.ret(SECCOMP_RET_ERRNO | u32::from(*errno)),
            Decision::Test { condition, then, otherwise } => {
                let (then, otherwise) = (self.decide(then), self.decide(otherwise));
                self.test(condition, then, otherwise)
            }
            Decision::Parts { mask, parts } => {
                let ranges = self.decided(&parts.ranges());
                let compare = self.search(&ranges);
                let masked = if *mask == u32::MAX { compare } else { self.before(ALU_AND_K, *mask, compare) };
                self.load(ARGS, masked)
            }
        }
    }

    /// Compares an argument, half by half; both machines put the low half first.
    fn test(&mut self, condition: &ArgEq, then: Label, otherwise: Label) -> Label {
        let offset = ARGS + 8 * u32::from(condition.index);
        let value = condition.value & condition.mask;
        let mut next = then;
        for (offset, mask, value) in [
            (offset + 4, (condition.mask >> 32) as u32, (value >> 32) as u32),
            (offset, condition.mask as u32, value as u32),
        ] {
            if mask != 0 {
                next = if mask.is_power_of_two() && value == mask {
                    // One bit is asked for in one instruction.
                    self.jump(JMP_JSET_K, mask, next, otherwise)
                } else {
                    let compare = self.jump(JMP_JEQ_K, value, next, otherwise);
                    if mask == u32::MAX { compare } else { self.before(ALU_AND_K, mask, compare) }
                };
                next = self.load(offset, next);
            }
        }
        next
    }

    /// Emits a binary search for the number in the accumulator. `ranges` holds the first number of each
    /// range. A range of a single number between two alike costs one comparison and not two.
    fn search(&mut self, ranges: &[(u32, Label)]) -> Label {
        const LINEAR: usize = 8;
        let Parted { singles, merged } = part(ranges);
        if let [(_, whole)] = merged[..]
            && singles.len() <= LINEAR
        {
            return singles.iter().rev().fold(whole, |no, (k, yes)| self.jump(JMP_JEQ_K, *k, *yes, no));
        }
        let middle = middle(ranges, &merged);
        let upper = self.search(&ranges[middle..]);
        let lower = self.search(&ranges[..middle]);
        self.jump(JMP_JGE_K, ranges[middle].0, upper, lower)
    }
}

/// Ranges, by their first numbers.
struct Parted {
    /// Those of one number that lie between two alike.
    singles: Vec<(u32, Label)>,
    /// The others, those around a single joined.
    merged: Vec<(u32, Label)>,
}

fn part(ranges: &[(u32, Label)]) -> Parted {
    let mut parted = Parted { singles: Vec::new(), merged: Vec::new() };
    for (at, range) in ranges.iter().enumerate() {
        let before = parted.merged.last().map(|last| last.1);
        let between_alike = |next: &(u32, Label)| next.0 - range.0 == 1 && before == Some(next.1);
        if before == Some(range.1) {
            continue;
        }
        let single = ranges.get(at + 1).is_some_and(between_alike);
        if single { &mut parted.singles } else { &mut parted.merged }.push(*range);
    }
    parted
}

/// Returns where to cut: of the boundaries that must be compared anyway, that nearest to the middle;
/// the middle where there is none.
fn middle(ranges: &[(u32, Label)], merged: &[(u32, Label)]) -> usize {
    let half = ranges.len() / 2;
    let boundary = |at: &usize| merged[1..].iter().any(|range| range.0 == ranges[*at].0);
    (1..ranges.len()).filter(boundary).min_by_key(|at| at.abs_diff(half)).unwrap_or(half)
}
