//! Limits that are set, changed and lifted again.

use vimage_tests::{Lab, lab_test};

use crate::{
    house::House,
    shell::{prints, quiet, refused, run},
};

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
    let store = own(lab);
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

/// What begins a line that is about a store of the test's own.
fn own(lab: &Lab) -> String {
    format!("export JAIL_ROOT={};", House::new(lab).root)
}

/// Whether jails can be given processors here.
pub(crate) fn pins(lab: &Lab, test: &str) -> bool {
    let made = run(lab, &format!("{} jail -c name=probe persist cpuset.cpus=0 && jail -r probe", own(lab)));
    if made.stderr.contains("no cgroup controller can limit it") {
        eprintln!("SKIP {test}: no controller cpuset");
        return false;
    }
    assert_eq!(made.ok(), "");
    true
}

/// The processors that a jail has, and one that sleeps in it, and what is recorded.
fn processors(lab: &Lab, store: &str, jail: &str, said: &str) {
    let status = "grep -h Cpus_allowed_list /proc/self/status /proc/$(pgrep -o sleep)/status | cut -f 2";
    prints(lab, &format!("{store} jexec {jail} sh -c '{status}'; jls -j {jail} cpuset.cpus"), said);
}

lab_test!(a_jail_runs_on_the_processors_that_it_is_given for root; needs [CgroupV2]; |lab| {
    if !pins(lab, "a_jail_runs_on_the_processors_that_it_is_given") {
        return;
    }
    let all = lab.sh("grep Cpus_allowed_list /proc/self/status | cut -f 2").trim().to_owned();
    let last = lab.sh("nproc").trim().parse::<u32>().unwrap() - 1;
    let store = own(lab);
    let of = |line: &str| format!("{store} {line}");
    let sleep = "exec.start='sleep 1000 >/dev/null 2>&1 &'";
    // From its first process on, and later.
    prints(lab, &of("jail -c name=a cpuset.cpus=0 command=sh -c 'grep Cpus_allowed_list /proc/self/status | cut -f 2'"), "0\n");
    quiet(lab, &of(&format!("jail -c name=a persist children.max=3 {sleep}")));
    processors(lab, &store, "a", &format!("{all}\n{all}\n-\n"));
    quiet(lab, &of(&format!("jail -c name=a.b persist {sleep}; jail -m name=a cpuset.cpus={last}")));
    // A process and a jail that are there already.
    processors(lab, &store, "a", &format!("{last}\n{last}\n{last}\n"));
    processors(lab, &store, "a.b", &format!("{last}\n{last}\n-\n"));
    // What it has it cannot leave.
    let taskset = run(lab, &of(&format!("jexec a sh -c 'taskset -c 0 true; taskset -cp 0-{last} $$ >/dev/null; exec grep Cpus_allowed_list /proc/self/status'")));
    assert!(taskset.stdout.ends_with(&format!("\t{last}\n")), "{taskset}");
    quiet(lab, &of("jail -m name=a cpuset.cpus="));
    processors(lab, &store, "a", &format!("{all}\n{all}\n-\n"));
    processors(lab, &store, "a.b", &format!("{all}\n{all}\n-\n"));
    // One that is there is written in one way.
    quiet(lab, &of(&format!("jail -m name=a cpuset.cpus={last},0-{last},0")));
    prints(lab, &of("test $(jls -j a cpuset.cpus) = $(jls -s -j a cpuset.cpus | cut -d = -f 2); jls -j a.b cpuset.cpus"), "-\n");
    quiet(lab, &of("jail -q -r a; jdb audit"));
});

lab_test!(a_child_has_no_processor_that_its_parent_has_not for root; needs [CgroupV2]; |lab| {
    let several = lab.sh("nproc").trim() != "1";
    if !pins(lab, "a_child_has_no_processor_that_its_parent_has_not") || !several {
        return;
    }
    let store = own(lab);
    let of = |line: &str| format!("{store} {line}");
    let sleep = "exec.start='sleep 1000 >/dev/null 2>&1 &'";
    quiet(lab, &of("jail -c name=a persist children.max=3 cpuset.cpus=0"));
    refused(lab, &of("jail -c name=a.b persist cpuset.cpus=0-1"),
        "jail: cpuset.cpus: Operation not permitted\nhint: its parent's allows a child at most 0\n");
    quiet(lab, &of(&format!("jail -m name=a cpuset.cpus=0-1; jail -c name=a.b persist cpuset.cpus=0-1 {sleep}; jail -c name=a.c persist cpuset.cpus=1 {sleep}")));
    // What a parent loses its children lose; who has none of the rest has all of it.
    quiet(lab, &of("jail -m name=a cpuset.cpus=0"));
    processors(lab, &store, "a.b", "0\n0\n0\n");
    processors(lab, &store, "a.c", "0\n0\n0\n");
    quiet(lab, &of("jail -m name=a.c cpuset.cpus="));
    processors(lab, &store, "a.c", "0\n0\n0\n");
    quiet(lab, &of("jail -q -r a; jdb audit"));
});

lab_test!(processors_that_are_not_there_are_refused for root; needs [CgroupV2]; |lab| {
    if !pins(lab, "processors_that_are_not_there_are_refused") {
        return;
    }
    let store = own(lab);
    let refusal = run(lab, &format!("{store} jail -c name=a persist cpuset.cpus=0,8191")).fails(1);
    assert!(refusal.starts_with("jail: cpuset.cpus: no such processor 8191\nhint: this host has 0"), "{refusal}");
    for bad in ["x", "1-0", "0-", "0,", "-1", "8192", "0-3:2", " 0"] {
        refused(lab, &format!("{store} jail -c name=a persist cpuset.cpus='{bad}'"), &format!(
            "jail: cpuset.cpus: not a list of numbers \"{bad}\"\nhint: it looks like 0-3,8, with numbers up to 8191\n"));
    }
    refused(lab, &format!("{store} jail -c name=a persist cpuset.id=1"),
        "jail: cpuset.id: Linux has no numbered sets of processors\nhint: cpuset.cpus=0-3 says which processors a jail has\n");
});

lab_test!(who_makes_a_jail_is_none_of_its_processes for root; needs [CgroupV2]; |lab| {
    let store = own(lab);
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
