//! Limits that are set, changed and lifted again.

use vimage_tests::lab_test;

use crate::shell::{prints, quiet, refused, run};

/// What the limits of System V IPC, message queues and shared memory are inside, in a line.
const SEEN: &str = "sh -c 'cd /proc/sys/kernel; echo $(cat shmmax shmmni sem msgmni ../fs/mqueue/queues_max; stat -fc %b /dev/shm)'";

lab_test!(a_limit_is_lifted_by_an_empty_value for root; needs [CgroupV2]; |lab| {
    let limits = ["sysvshm.max=8192", "sysvshm.segments=2", "sysvsem.sets=3", "sysvmsg.queues=4", "mqueue.queues=5", "shm.size=64K"];
    quiet(lab, &format!("jail -c name=a persist {}", limits.join(" ")));
    quiet(lab, "jail -c name=b persist shm.size=");
    let free = lab.sh(&format!("jexec b {SEEN}"));
    prints(lab, &format!("jexec a {SEEN}"), "8192 2 32000 1024000000 500 3 4 5 16\n");
    let empty = limits.map(|limit| limit.split_inclusive('=').next().unwrap());
    quiet(lab, &format!("jail -m name=a {}", empty.join(" ")));
    prints(lab, &format!("jexec a {SEEN}"), &free);
    prints(lab, "jls -j a sysvshm.max shm.size", "- -\n");
    quiet(lab, &format!("jail -m name=a {}", limits.join(" ")));
    prints(lab, &format!("jexec a {SEEN}"), "8192 2 32000 1024000000 500 3 4 5 16\n");
    // What has a default is no limit.
    refused(lab, "jail -m name=a children.max=", "jail: children.max: non-integer value \"\"\n");
    quiet(lab, "jail -q -r a b");
});

lab_test!(a_limit_of_resources_is_lifted_by_an_empty_value for root; needs [CgroupV2]; |lab| {
    // Version 1 hierarchies are the machine's, and other labs look for what is theirs there: so a store, and with it
    // a mark, of this one's own.
    let store = "export JAIL_ROOT=/tmp/limits;";
    for (limit, given, shown) in [
        ("memoryuse", "64M", "67108864"),
        ("maxproc", "20", "20"),
        ("pcpu", "50%", "50"),
    ] {
        let made = run(lab, &format!("{store} jail -c name=a persist rctl.{limit}={given}"));
        if made.stderr.contains("no cgroup controller can limit it") {
            eprintln!("SKIP rctl.{limit}: no controller");
            continue;
        }
        assert_eq!(made.ok(), "");
        prints(lab, &format!("{store} jls -j a rctl.{limit}"), &format!("{shown}\n"));
        quiet(lab, &format!("{store} jail -m name=a rctl.{limit}="));
        prints(lab, &format!("{store} jls -j a rctl.{limit}"), "-\n");
        quiet(lab, &format!("{store} jail -r a; jdb audit"));
    }
});

lab_test!(who_makes_a_jail_is_none_of_its_processes for root; needs [CgroupV2]; |lab| {
    let store = "export JAIL_ROOT=/tmp/limits;";
    for (most, jail) in [
        (1, "allow.noset_hostname persist"),
        (1, "allow.noset_hostname proc=inherit command=true"),
        (2, "command=true"),
    ] {
        let made = run(lab, &format!("{store} jail -c name=a rctl.maxproc={most} {jail}"));
        if made.stderr.contains("no cgroup controller can limit it") {
            return eprintln!("SKIP rctl.maxproc: no controller");
        }
        assert_eq!(made.ok(), "", "{most} {jail}");
        quiet(lab, &format!("{store} jail -r a 2>/dev/null || :; jdb audit"));
    }
});
