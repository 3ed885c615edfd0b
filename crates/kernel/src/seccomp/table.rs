//! Numbers of the system calls that a jail may have to deny, syscalls(2).

use super::Abi;

/// There is no such call.
const NO: u32 = u32::MAX;

/// By name; the numbers in the order of [`Abi`], from the kernel's `syscall.tbl` files of Linux 6.17.
#[rustfmt::skip]
const TABLE: &[(&str, [u32; 4])] = &[
    ("acct", [163, 51, 89, 51]),
    ("add_key", [248, 286, 217, 309]),
    ("adjtimex", [159, 124, 171, 124]),
    ("bpf", [321, 357, 280, 386]),
    ("chroot", [161, 61, 51, 61]),
    ("clock_adjtime", [305, 343, 266, 372]),
    ("clock_adjtime64", [NO, 405, NO, 405]),
    ("clock_settime", [227, 264, 112, 262]),
    ("clock_settime64", [NO, 404, NO, 404]),
    ("clone", [56, 120, 220, 120]),
    ("clone3", [435, 435, 435, 435]),
    ("delete_module", [176, 129, 106, 129]),
    ("finit_module", [313, 350, 273, 379]),
    ("fsconfig", [431, 431, 431, 431]),
    ("fsmount", [432, 432, 432, 432]),
    ("fsopen", [430, 430, 430, 430]),
    ("fspick", [433, 433, 433, 433]),
    ("init_module", [175, 128, 105, 128]),
    ("io_uring_setup", [425, 425, 425, 425]),
    ("ioctl", [16, 54, 29, 54]),
    ("ioperm", [173, 101, NO, NO]),
    ("iopl", [172, 110, NO, NO]),
    ("ipc", [NO, 117, NO, NO]),
    ("kcmp", [312, 349, 272, 378]),
    ("kexec_file_load", [320, NO, 294, 401]),
    ("kexec_load", [246, 283, 104, 347]),
    ("keyctl", [250, 288, 219, 311]),
    ("listmount", [458, 458, 458, 458]),
    ("lookup_dcookie", [212, 253, 18, 249]),
    ("mlock", [149, 150, 228, 150]),
    ("mlock2", [325, 376, 284, 390]),
    ("mlockall", [151, 152, 230, 152]),
    ("mount", [165, 21, 40, 21]),
    ("mount_setattr", [442, 442, 442, 442]),
    ("move_mount", [429, 429, 429, 429]),
    ("mq_getsetattr", [245, 282, 185, 279]),
    ("mq_notify", [244, 281, 184, 278]),
    ("mq_open", [240, 277, 180, 274]),
    ("mq_timedreceive", [243, 280, 183, 277]),
    ("mq_timedreceive_time64", [NO, 419, NO, 419]),
    ("mq_timedsend", [242, 279, 182, 276]),
    ("mq_timedsend_time64", [NO, 418, NO, 418]),
    ("mq_unlink", [241, 278, 181, 275]),
    ("msgctl", [71, 402, 187, 304]),
    ("msgget", [68, 399, 186, 303]),
    ("msgrcv", [70, 401, 188, 302]),
    ("msgsnd", [69, 400, 189, 301]),
    ("name_to_handle_at", [303, 341, 264, 370]),
    ("nfsservctl", [180, 169, 42, 169]),
    ("open_by_handle_at", [304, 342, 265, 371]),
    ("open_tree", [428, 428, 428, 428]),
    ("open_tree_attr", [467, 467, 467, 467]),
    ("perf_event_open", [298, 336, 241, 364]),
    ("personality", [135, 136, 92, 136]),
    ("pidfd_getfd", [438, 438, 438, 438]),
    ("pivot_root", [155, 217, 41, 218]),
    ("process_vm_readv", [310, 347, 270, 376]),
    ("process_vm_writev", [311, 348, 271, 377]),
    ("ptrace", [101, 26, 117, 26]),
    ("quotactl", [179, 131, 60, 131]),
    ("quotactl_fd", [443, 443, 443, 443]),
    ("reboot", [169, 88, 142, 88]),
    ("request_key", [249, 287, 218, 310]),
    ("semctl", [66, 394, 191, 300]),
    ("semget", [64, 393, 190, 299]),
    ("semop", [65, NO, 193, 298]),
    ("semtimedop", [220, NO, 192, 312]),
    ("semtimedop_time64", [NO, 420, NO, 420]),
    ("setdomainname", [171, 121, 162, 121]),
    ("sethostname", [170, 74, 161, 74]),
    ("setns", [308, 346, 268, 375]),
    ("settimeofday", [164, 79, 170, 79]),
    ("shmat", [30, 397, 196, 305]),
    ("shmctl", [31, 396, 195, 308]),
    ("shmdt", [67, 398, 197, 306]),
    ("shmget", [29, 395, 194, 307]),
    ("socket", [41, 359, 198, 281]),
    ("socketcall", [NO, 102, NO, NO]),
    ("statmount", [457, 457, 457, 457]),
    ("stime", [NO, 25, NO, NO]),
    ("swapoff", [168, 115, 225, 115]),
    ("swapon", [167, 87, 224, 87]),
    ("syslog", [103, 103, 116, 103]),
    ("umount", [NO, 22, NO, NO]),
    ("umount2", [166, 52, 39, 52]),
    ("unshare", [272, 310, 97, 337]),
    ("userfaultfd", [323, 374, 282, 388]),
    ("vhangup", [153, 111, 58, 111]),
];

/// Other calls that do the same as the one named: those with a 64-bit time, or their forerunners.
const TWINS: &[(&str, &[&str])] = &[
    ("clock_adjtime", &["clock_adjtime64"]),
    ("clock_settime", &["clock_settime64"]),
    ("mq_timedreceive", &["mq_timedreceive_time64"]),
    ("mq_timedsend", &["mq_timedsend_time64"]),
    ("semtimedop", &["semtimedop_time64"]),
    ("settimeofday", &["stime"]),
    ("umount2", &["umount"]),
];

/// One call of several behind one number, told apart by the first argument.
pub(super) struct Part {
    /// The call with many parts.
    pub(super) of: &'static str,
    /// The bits of the first argument that tell the parts apart.
    pub(super) mask: u32,
    /// The first argument that stands for this part.
    pub(super) number: u32,
}

/// i386 alone has these: ipc(2), socketcall(2).
const IPC: &[(&str, u32)] = &[
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// Returns the number of the system call `name`; `None` when the machine has no such call, or the name
/// is not one that is known here ([`is_known`]).
pub fn syscall_number(name: &str, abi: Abi) -> Option<u32> {
    let row = TABLE.binary_search_by_key(&name, |row| row.0).ok()?;
    Some(TABLE[row].1[abi as usize]).filter(|number| *number != NO)
}

/// Returns whether any machine has a system call `name`, of those known here.
pub fn is_known(name: &str) -> bool {
    TABLE.binary_search_by_key(&name, |row| row.0).is_ok()
}

/// Returns the names that are known, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.0)
}

pub(super) fn twins(name: &str) -> &'static [&'static str] {
    TWINS.iter().find(|(first, _)| *first == name).map_or(&[], |(_, others)| others)
}

/// Returns how i386 also reaches the call `name`.
pub(super) fn part(name: &str) -> Option<Part> {
    if name == "socket" {
        return Some(Part { of: "socketcall", mask: u32::MAX, number: 1 });
    }
    // The upper half is a version.
    let (_, number) = IPC.iter().find(|(part, _)| *part == name)?;
    Some(Part { of: "ipc", mask: 0xffff, number: *number })
}

/// Returns the first arguments that ipc(2) has a meaning for.
pub(super) fn parts_of_ipc() -> impl Iterator<Item = u32> {
    IPC.iter().map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::fs::read_to_string;

    #[test]
    fn the_table_is_sorted_and_has_what_it_refers_to() {
        assert!(TABLE.is_sorted_by(|a, b| a.0 < b.0));
        for (name, twins) in TWINS {
            assert!(is_known(name) && twins.iter().all(|twin| is_known(twin)), "{name}");
        }
        assert!(IPC.iter().all(|(name, _)| is_known(name)));
    }

    /// The installed headers may be older than the table.
    fn compare(header: &str, prefix: &str, abi: Abi) {
        let Ok(text) = read_to_string(header) else {
            eprintln!("SKIP compare: no {header}");
            return;
        };
        let defined: HashMap<&str, u32> = text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix)?.split_once(char::is_whitespace))
            .filter_map(|(name, number)| Some((name, number.trim().parse().ok()?)))
            .collect();
        assert!(defined.len() > 250, "{header}");
        for name in names() {
            let ours = syscall_number(name, abi);
            // The generic header has the 32-bit machines' calls, too.
            if abi == Abi::Aarch64 && name.ends_with("64") {
                assert_eq!(ours, None, "{name}");
                continue;
            }
            match defined.get(name) {
                Some(number) => assert_eq!(ours, Some(*number), "{name}"),
                None => assert!(ours.is_none_or(|number| number >= 443), "{name}"),
            }
        }
    }

    #[test]
    fn numbers_are_those_of_the_headers() {
        compare("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "#define __NR_", Abi::X86_64);
        compare("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", "#define __NR_", Abi::I386);
        compare("/usr/include/asm-generic/unistd.h", "#define __NR_", Abi::Aarch64);
    }
}
