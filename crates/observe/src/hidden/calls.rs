//! Threads in system calls on descriptors that were closed meanwhile: the call keeps the file until it returns.
//!
//! What the file is cannot be seen any more. Where its number is another file's by now, not even that it was closed.

use std::{collections::HashSet, fs, os::unix::fs::FileExt as _};

use linux_raw_sys::general as sys;

use super::Thing;
use crate::{holder::What, process};

/// Calls that may wait for long and whose first argument is a descriptor, by their numbers.
const ON_ONE: &[(u32, &str)] = &[
    (sys::__NR_read, "read"),
    (sys::__NR_readv, "readv"),
    (sys::__NR_write, "write"),
    (sys::__NR_writev, "writev"),
    (sys::__NR_accept, "accept"),
    (sys::__NR_accept4, "accept"),
    (sys::__NR_connect, "connect"),
    (sys::__NR_recvfrom, "recv"),
    (sys::__NR_recvmsg, "recvmsg"),
    (sys::__NR_recvmmsg, "recvmmsg"),
    (sys::__NR_sendto, "send"),
    (sys::__NR_sendmsg, "sendmsg"),
    (sys::__NR_sendmmsg, "sendmmsg"),
    (sys::__NR_sendfile, "sendfile"),
    (sys::__NR_splice, "splice"),
    (sys::__NR_ioctl, "ioctl"),
];

/// poll(2), ppoll(2): an array of structures, and how many.
#[cfg(target_arch = "x86_64")]
const POLL: &[u32] = &[sys::__NR_poll, sys::__NR_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const POLL: &[u32] = &[sys::__NR_ppoll];

/// select(2), pselect(2): how many bits, and three sets of them.
#[cfg(target_arch = "x86_64")]
const SELECT: &[u32] = &[sys::__NR_select, sys::__NR_pselect6];
#[cfg(not(target_arch = "x86_64"))]
const SELECT: &[u32] = &[sys::__NR_pselect6];

/// How many descriptors of a call are looked at, at most.
const MOST: u64 = 1 << 16;

/// The calls that threads of a process are in and whose descriptors are closed.
pub(super) fn on_closed(pid: i32, found: &mut Vec<(What, Thing)>) {
    for tid in process::tasks(pid) {
        // It takes the right to trace it. "running", where it is in none.
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap_or_default();
        let Some(call) = Call::read(&text) else { continue };
        let (name, waits_for) = call.descriptors(pid);
        let Some(name) = name.filter(|_| !waits_for.is_empty()) else { continue };
        let open: HashSet<u32> = process::open_numbers(pid, tid).collect();
        // It may have returned, and closed the file itself.
        let still =
            || fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).is_ok_and(|now| now == text);
        for fd in waits_for.into_iter().filter(|fd| !open.contains(fd)) {
            if still() {
                let what = format!("{name}(2) on fd {fd}, which is closed");
                found.push((What::Call(tid, what), Thing::Stack));
            }
        }
    }
}

/// A system call under way: its number and its arguments.
struct Call {
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    /// Reads proc_pid_syscall(5): `0 0x3 0x7ffd... ...`, behind the arguments the stack pointer and the place.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let mut hex = words.map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = hex.next()??;
        }
        // A program of 32 bits has its stack below, and other numbers for calls.
        (hex.next()?? > u64::from(u32::MAX)).then_some(Self { number, arguments })
    }

    /// Its name, and the descriptors that it is about; none of a call that is not known here.
    fn descriptors(&self, pid: i32) -> (Option<&'static str>, Vec<u32>) {
        let [first, second, ..] = self.arguments;
        if let Some((_, name)) = ON_ONE.iter().find(|(number, _)| *number == self.number) {
            return (Some(name), fd(first).into_iter().collect());
        }
        if POLL.contains(&self.number) {
            let array = memory(pid, first, 8 * second.min(MOST));
            return (Some("poll"), polled(&array));
        }
        if SELECT.contains(&self.number) {
            let words = first.min(MOST).div_ceil(64);
            let sets = self.arguments[1..4].iter().filter(|at| **at != 0);
            let mut all: Vec<_> = sets.flat_map(|at| selected(&memory(pid, *at, 8 * words))).collect();
            all.retain(|fd| u64::from(*fd) < first);
            all.sort_unstable();
            all.dedup();
            return (Some("select"), all);
        }
        (None, Vec::new())
    }
}

/// A descriptor in a register, whose upper half the kernel does not look at; negative ones are none.
fn fd(argument: u64) -> Option<u32> {
    u32::try_from(argument & 0xffff_ffff).ok().filter(|fd| *fd <= i32::MAX.unsigned_abs())
}

/// The descriptors of an array of `struct pollfd`.
fn polled(array: &[u8]) -> Vec<u32> {
    let numbers =
        array.as_chunks::<8>().0.iter().map(|[a, b, c, d, ..]| u32::from_ne_bytes([*a, *b, *c, *d]));
    numbers.filter_map(|number| fd(number.into())).collect()
}

/// The descriptors of an `fd_set`: words of the machine, low bit first.
fn selected(set: &[u8]) -> Vec<u32> {
    let words = (0..).zip(set.as_chunks::<8>().0).map(|(at, word): (u32, _)| (at, u64::from_ne_bytes(*word)));
    words
        .flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| 64 * at + bit))
        .collect()
}

/// The memory of a process; empty where it cannot be read.
fn memory(pid: i32, at: u64, length: u64) -> Vec<u8> {
    let read = || {
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        fs::File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_with_what_it_is_on() {
        let text = format!("{} 0x6 0x0 0x0 0x0 0x0 0x0 0x7f8ba2e456d0 0x7f8ba372872f\n", sys::__NR_accept4);
        assert_eq!(Call::read(&text).unwrap().descriptors(1), (Some("accept"), vec![6]));
        // Of 32 bits, on no descriptor, of another kind, and none at all.
        assert!(Call::read(&text.replace("0x7f8ba2e456d0", "0xffb456d0")).is_none());
        assert_eq!(Call::read(&text.replace(" 0x6", " 0xffffffff")).unwrap().descriptors(1).1, [0; 0]);
        let getpid = format!("{} 0x6 0x0 0x0 0x0 0x0 0x0 0x7f8ba2e456d0 0x0", sys::__NR_getpid);
        assert_eq!(Call::read(&getpid).unwrap().descriptors(1).0, None);
        assert!(Call::read("running\n").is_none() && Call::read("-1 0x7ffd 0x0\n").is_none());
    }

    #[test]
    fn arrays_and_sets_of_descriptors_are_read() {
        let array: Vec<u8> =
            [7u64, u64::from(u32::MAX), 1 << 32 | 9].iter().flat_map(|n| n.to_ne_bytes()).collect();
        assert_eq!(polled(&array), [7, 9]);
        let set: Vec<u8> = [0b1001u64, 0, 1 << 63].iter().flat_map(|n| n.to_ne_bytes()).collect();
        assert_eq!(selected(&set), [0, 3, 191]);
        assert_eq!(selected(&[1, 2]), [0; 0]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*", line in "[ 0-9a-fx]{0,99}") {
            for text in [&text, &line] {
                Call::read(text);
            }
        }
    }
}
