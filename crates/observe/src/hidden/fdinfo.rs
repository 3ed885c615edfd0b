//! What the kernel says of an open file: proc_pid_fdinfo(5).

/// Operations of io_uring_enter(2) that wait for something, by their numbers.
const OPERATIONS: &[(&str, &str)] = &[
    ("1", "readv"),
    ("2", "writev"),
    ("6", "poll"),
    ("9", "sendmsg"),
    ("10", "recvmsg"),
    ("13", "accept"),
    ("16", "connect"),
    ("22", "read"),
    ("23", "write"),
    ("26", "send"),
    ("27", "recv"),
    ("49", "read"),
];

/// The value of the first line of a name, `mnt_id:\t17`.
fn value<'t>(fdinfo: &'t str, name: &str) -> Option<&'t str> {
    fdinfo.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// How many descriptors wait in a socket: the line `scm_fds: 2`, Linux 5.12.
pub(super) fn in_flight(fdinfo: &str) -> u32 {
    value(fdinfo, "scm_fds").and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The mount that a file is of, as it is numbered in proc_pid_mountinfo(5).
pub(super) fn mount(fdinfo: &str) -> Option<u64> {
    value(fdinfo, "mnt_id")?.parse().ok()
}

/// The inode number, Linux 5.14.
pub(super) fn inode(fdinfo: &str) -> Option<u64> {
    value(fdinfo, "ino")?.parse().ok()
}

/// Whether the process of a pidfd has ended and was collected.
pub(super) fn has_ended(fdinfo: &str) -> bool {
    value(fdinfo, "Pid") == Some("-1")
}

/// Whether a BPF link is of a program in a netfilter hook, Linux 6.4: others keep no stack.
pub(super) fn is_in_netfilter(fdinfo: &str) -> bool {
    value(fdinfo, "link_type") == Some("netfilter")
}

/// The files that are registered with a ring, by their names: lines like `    0: socket:[4711]`.
pub(super) fn registered(fdinfo: &str) -> Vec<String> {
    let lines = fdinfo.lines().skip_while(|line| !line.starts_with("UserFiles:")).skip(1);
    let files = lines.take_while(|line| line.starts_with(' '));
    files.filter_map(|line| Some(line.trim_start().split_once(": ")?.1.to_owned())).collect()
}

/// The requests that wait in a ring, in words: lines like `  op=13, task_works=0` below `PollList:`, Linux 5.12.
pub(super) fn waiting(fdinfo: &str) -> Option<String> {
    let lines = fdinfo.lines().skip_while(|line| !line.starts_with("PollList:")).skip(1);
    let requests = lines.map_while(|line| line.trim_start().strip_prefix("op=")?.split(',').next());
    let mut names: Vec<_> = requests
        .map(|number| match OPERATIONS.iter().find(|(of, _)| *of == number) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("operation {number}"),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

/// What inotify(7) or fanotify(7) watches: inode numbers and devices, the latter as the kernel has them.
pub(super) fn watched(fdinfo: &str) -> Vec<(u64, u64)> {
    let hex = |line: &str, name: &str| {
        let rest = line.split_once(name)?.1;
        u64::from_str_radix(rest.split(' ').next()?, 16).ok()
    };
    let watches = fdinfo.lines().filter(|line| line.starts_with("inotify ") || line.starts_with("fanotify "));
    watches.filter_map(|line| Some((hex(line, " ino:")?, hex(line, " sdev:")?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_registered_or_waits_is_read() {
        assert_eq!(in_flight("pos:\t0\nino:\t7\nscm_fds: 2\n"), 2);
        assert_eq!(in_flight("pos:\t0\nflags:\t02\n"), 0);
        let ring = "mnt_id:\t17\nino:\t5\nUserFiles:\t2\n    0: socket:[7101794]\n    1: /tmp/x: y\nUserBufs:\t0\n\
                    PollList:\n  op=13, task_works=0\n  op=99, task_works=0\n  op=13, task_works=0\nCqOverflowList:\n";
        assert_eq!(registered(ring), ["socket:[7101794]", "/tmp/x: y"]);
        assert_eq!(waiting(ring).unwrap(), "accept, operation 99");
        assert_eq!(waiting("PollList:\nCqOverflowList:\n"), None);
        assert_eq!((mount(ring), inode(ring)), (Some(17), Some(5)));
    }

    #[test]
    fn watches_and_pidfds_are_read() {
        let watch = "inotify wd:1 ino:f0000076 sdev:4 mask:fff ignored_mask:0 fhandle-bytes:8\n\
                     fanotify flags:0 event-flags:0\nfanotify ino:4f969 sdev:800013 mflags:0 mask:3b\n";
        assert_eq!(watched(watch), [(0xf000_0076, 4), (0x4_f969, 0x80_0013)]);
        assert!(has_ended("Pid:\t-1\nNSpid:\t-1\n") && !has_ended("Pid:\t12\n"));
        assert!(is_in_netfilter("link_type:\tnetfilter\n") && !is_in_netfilter("link_type:\ttcx\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*", line in "(UserFiles:\n|PollList:\n|inotify )[ 0-9a-f:=op\n]{0,60}") {
            for text in [&text, &line] {
                in_flight(text);
                registered(text);
                waiting(text);
                watched(text);
            }
        }
    }
}
