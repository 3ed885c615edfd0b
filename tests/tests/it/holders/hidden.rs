//! Holders that take a closer look: what has no descriptor where one looks first, and what keeps a user namespace.

use vimage_tests::{Lab, lab_test};

use super::{Row, goes_with, held, holder, named, removed, says};
use crate::shell::{all_gone, jid, quiet};

/// Holds the stack in these ways, one after the other, and asserts what is said with and without BPF programs.
#[track_caller]
fn are_named(lab: &Lab, kinds: &[(&str, Row<'_>)]) {
    for (kind, row) in kinds {
        let (jid, pid) = held(lab);
        let by = holder(lab, kind, &pid);
        let number = removed(lab, jid);
        for mask in ["bpf_iterators", ""] {
            says(lab, mask, &number, &by, &[*row]);
        }
        goes_with(lab, &number, by);
    }
}

lab_test!(descriptors_of_a_thread for root; needs [CgroupV2, Program("python3"), Device("/dev/net/tun")]; |lab| {
    are_named(lab, &[
        ("threadsocket", ("foreign", "fd # of thread #, tcp socket", "net")),
        ("threadtap", ("foreign", "fd # of thread #, tun or tap interface", "net")),
        ("threadfd", ("foreign", "fd # of thread #", "net")),
    ]);
});

lab_test!(rings_with_requests_and_without_descriptors for root; needs [CgroupV2, Program("python3")]; |lab| {
    are_named(lab, &[
        ("ringpoll", ("perhaps", "fd #, io_uring with requests that wait: poll", "net")),
        ("ringaccept", ("perhaps", "fd #, io_uring with requests that wait: accept", "net")),
        ("ringclosed", ("perhaps", "mapping of an io_uring that is closed", "net")),
        ("ringns", ("foreign", "fd #, io_uring with net:[#]", "net")),
    ]);
});

lab_test!(calls_on_what_was_closed for root; needs [CgroupV2, Program("python3")]; |lab| {
    are_named(lab, &[
        ("accepting", ("perhaps", "thread # in accept(2) on fd #, which is closed", "net")),
        ("polling", ("perhaps", "thread # in poll(2) on fd #, which is closed", "net")),
        ("selecting", ("perhaps", "thread # in select(2) on fd #, which is closed", "net")),
    ]);
});

lab_test!(mounts_that_are_mounted_nowhere for root; needs [CgroupV2, Program("python3")]; |lab| {
    are_named(lab, &[
        ("detached", ("foreign", "fd #", "net")),
        ("tree", ("perhaps", "fd #, /, of a mount that is nowhere", "net")),
        ("context", ("perhaps", "fd #, file system being made", "net")),
        ("ipccontext", ("perhaps", "fd #, file system being made", "ipc")),
    ]);
});

lab_test!(a_program_in_netfilter_and_a_watch for root; needs [CgroupV2, Program("python3"), Kernel(6, 4)]; |lab| {
    are_named(lab, &[
        ("netfilter", ("perhaps", "fd #, BPF program in a netfilter hook", "net")),
        ("watch", ("foreign", "fd #, inotify or fanotify watch of it", "net")),
    ]);
});

lab_test!(unix_sockets_outside for root; needs [CgroupV2, Program("python3")]; |lab| {
    are_named(lab, &[("unread", ("perhaps", "fd #, unix socket with messages that were not read", "net"))]);
    for (kind, holds, sure, unsure) in [
        ("connected", "net", "fd #, unix socket, connected to one inside", "fd #, unix socket that is connected"),
        ("served", "user", "fd #, unix socket, connected from inside", "fd #, unix socket whose other end is closed"),
    ] {
        let (jid, pid) = held(lab);
        let by = holder(lab, kind, &pid);
        let number = removed(lab, jid);
        says(lab, "bpf_iterators", &number, &by, &[("perhaps", unsure, holds)]);
        says(lab, "", &number, &by, &[("foreign", sure, holds)]);
        goes_with(lab, &number, by);
    }
});

lab_test!(what_keeps_a_user_namespace for root; needs [CgroupV2, Program("python3")]; |lab| {
    are_named(lab, &[
        ("mounts", ("foreign", "fd #", "mnt")),
        ("children", ("foreign", "process, for its children", "pid")),
        ("pidfd", ("perhaps", "fd #, pidfd of a process that has ended", "user")),
        ("procfile", ("perhaps", "fd #, /proc/#/status", "user")),
        ("procdir", ("perhaps", "fd #, /proc/# (deleted)", "user")),
    ]);
    // Who opened or mounted what is not for anybody to see but for a BPF program.
    for (kind, row) in [
        ("opened", ("foreign", "fd #, /dev/null, opened inside", "user")),
        // Of a file system of the jail's; the namespace of the queues is not kept.
        ("queue", ("foreign", "fd #, /queue, of a file system mounted inside", "user")),
    ] {
        let (jid, pid) = held(lab);
        let by = holder(lab, kind, &pid);
        named(lab, jid, by, &[row]);
    }
});

lab_test!(nobody_that_is_found for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "opened", &pid);
    quiet(lab, "jail -r a");
    let table = lab.sh(&format!("JAIL_MASK=bpf_iterators jdb holders {jid}"));
    let line = table.lines().find(|line| line.starts_with("nobody ")).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains("nobody was found") && line.contains(&format!("jdb wait {jid}")) && line.ends_with("user"), "{line}");
    drop(by);
    all_gone(lab);
});

lab_test!(a_jail_in_a_jail_that_is_held for root; needs [CgroupV2, Program("python3")]; |lab| {
    quiet(lab, "jail -c name=a children.max=1 persist");
    quiet(lab, "jail -c name=a.b persist vnet exec.start='sleep 31415 & exit 0'");
    let (outer, inner) = (jid(lab, "a"), jid(lab, "a.b"));
    let by = holder(lab, "descriptor", lab.sh("pgrep -fx 'sleep 31415'").trim());
    quiet(lab, "jail -q -r a");
    for number in [outer, inner] {
        says(lab, "", &number.to_string(), &by, &[("foreign", "fd #", "net"), ("kernel", "namespaces that it owns", "user")]);
    }
    drop(by);
    quiet(lab, &format!("jdb wait {outer} 20"));
    all_gone(lab);
});

lab_test!(an_open_setting_holds_nothing for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (_, pid) = held(lab);
    let by = holder(lab, "setting", &pid);
    quiet(lab, "jail -r a");
    all_gone(lab);
    drop(by);
});
