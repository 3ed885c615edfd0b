//! Jails in jails, made from the host: what they are in, and what they may have at most.

use std::collections::BTreeSet;

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, names, prints, quiet, refused};

/// The ids that a jail has on the host, `first..end`, by the map of a process in it.
fn ids(lab: &Lab, name: &str) -> (u32, u32) {
    // The jail's root is 0 inside, whichever namespace it is seen from: its number on the host is its process's.
    let sleeper = lab.spawn(&format!("exec jexec {name} sleep 1000"));
    let find = || {
        let pids = lab.sh("pgrep -x sleep || true");
        pids.lines().last().map(str::to_owned)
    };
    lab.until("it sleeps", || find().is_some());
    let pid = find().unwrap();
    let uid = lab.sh(&format!("stat -c %u /proc/{pid}")).trim().parse().unwrap();
    let count: u32 = lab.sh(&format!("awk '{{print $3}}' /proc/{pid}/uid_map")).trim().parse().unwrap();
    drop(sleeper);
    lab.sh(&format!("kill -9 {pid} || true"));
    // A zombie would be found as the next one.
    lab.until("it is gone", || find().is_none());
    (uid, uid + count)
}

lab_test!(a_child_is_made_inside_its_parent for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=3 persist");
    quiet(lab, "jail -c name=a.b children.max=1 persist");
    quiet(lab, "jail -c name=a.b.c persist");
    assert_eq!(names(lab), ["a", "a.b", "a.b.c"]);
    prints(lab, "jls -j a children.max children.cur", "3 2\n");
    let (a, b, c) = (ids(lab, "a"), ids(lab, "a.b"), ids(lab, "a.b.c"));
    assert!(a.0 < b.0 && b.1 <= a.1, "{a:?} {b:?}");
    assert!(b.0 < c.0 && c.1 <= b.1, "{b:?} {c:?}");
    // A cgroup below its parent's, and a pid namespace that the parent looks into.
    quiet(lab, "jexec a.b.c sh -c 'sleep 31415.8 & exit 0'");
    let pid = lab.sh("pgrep -f 'sleep 31415.8$'");
    let cgroup = lab.sh(&format!("cat /proc/{}/cgroup | tail -n 1", pid.trim()));
    assert_eq!(cgroup.matches('/').count(), 4, "{cgroup}");
    prints(lab, "jexec a.b.c hostname", "c\n");
    prints(lab, "jail -v -r a", "a.b.c: removed\na.b: removed\na: removed\n");
    prints(lab, "pgrep -f 'sleep 31415.8$'; true", "");
    all_gone(lab);
});

lab_test!(children_have_ranges_of_their_own for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=2 persist; jail -c name=a.b persist; jail -c name=a.c persist; jail -c name=d persist");
    let starts: BTreeSet<_> = ["a", "a.b", "a.c", "d"].map(|name| ids(lab, name).0).into_iter().collect();
    assert_eq!(starts.len(), 4);
    quiet(lab, "jail -q -r '*'");
});

lab_test!(a_parent_has_room_for_so_many for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=2 persist");
    quiet(lab, "jail -c name=a.b children.max=1 persist");
    quiet(lab, "jail -c name=a.b.c persist");
    // Those below its children count.
    refused(lab, "jail -c name=a.d persist", "jail: prison limit exceeded\nhint: jail a has 2 of at most 2 below it, its children.max\n");
    refused(lab, "jail -c name=a.b.d persist", "jail: prison limit exceeded\nhint: jail a.b has 1 of at most 1 below it, its children.max\n");
    refused(lab, "jail -c name=a.b.c.d persist", "jail: prison limit exceeded\nhint: jail a.b.c has 0 of at most 0 below it, its children.max\n");
    quiet(lab, "jail -r a.b.c");
    refused(lab, "jail -c name=a.d children.max=2 persist",
        "jail: children.max: Operation not permitted\nhint: its parent's allows a child at most 1\n");
    quiet(lab, "jail -r a.b; jail -c name=a.d children.max=1 persist");
    quiet(lab, "jail -r a");
});

lab_test!(a_child_is_never_wider_than_its_parent for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=3 allow.noreserved_ports sysvshm=disable sysvmsg.queues=10 persist");
    for (given, hint) in [
        ("allow.reserved_ports", "false"),
        ("sysvshm=new", "disable"),
        ("sysvshm=inherit", "disable"),
        ("sysvmsg.queues=11", "10"),
        ("children.max=3", "2"),
    ] {
        let parameter = given.split('=').next().unwrap();
        refused(lab, &format!("jail -c name=a.b persist {given}"),
            &format!("jail: {parameter}: Operation not permitted\nhint: its parent's allows a child at most {hint}\n"));
    }
    // What is not given is what there is.
    quiet(lab, "jail -c name=a.b persist");
    prints(lab, "jls -j a.b allow.reserved_ports sysvshm sysvmsg.queues", "false disable 10\n");
    refused(lab, "jail -m name=a.b sysvmsg.queues=11",
        "jail: sysvmsg.queues: Operation not permitted\nhint: its parent's allows a child at most 10\n");
    quiet(lab, "jail -r a");
});

lab_test!(narrowing_a_parent_narrows_all_below_at_once for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=5 sysvmsg.queues=9 persist");
    quiet(lab, "jail -c name=a.b children.max=3 sysvmsg.queues=8 persist");
    quiet(lab, "jail -c name=a.b.c children.max=2 sysvmsg.queues=7 persist");
    quiet(lab, "jail -m name=a sysvmsg.queues=5 children.max=3");
    prints(lab, "jls -j a.b sysvmsg.queues children.max", "5 2\n");
    prints(lab, "jls -j a.b.c sysvmsg.queues children.max", "5 1\n");
    prints(lab, "jexec a.b.c cat /proc/sys/kernel/msgmni", "5\n");
    // A parent that is made wider leaves its children as they are.
    quiet(lab, "jail -m name=a sysvmsg.queues=9 children.max=5");
    prints(lab, "jls -j a.b.c sysvmsg.queues children.max", "5 1\n");
    quiet(lab, "jail -r a");
});

lab_test!(a_living_jail_gets_room_for_children_where_it_can for root; needs [CgroupV2]; |lab| {
    // Its ids were given out when it was made.
    quiet(lab, "jail -c name=a persist");
    refused(lab, "jail -m name=a children.max=2",
        "jail: children.max: a living jail has room for 0 children, not 2\nhint: give it when the jail is created\n");
    quiet(lab, "jail -r a; jail -c name=a user=inherit persist exec.start='sleep 1000 & exit 0'");
    quiet(lab, "jail -m name=a children.max=1");
    prints(lab, "jexec a pgrep -c sleep", "1\n");
    quiet(lab, "jail -c name=a.b persist; jail -r a.b; jail -m name=a children.max=0");
    prints(lab, "jexec a pgrep -c sleep", "1\n");
    quiet(lab, "jail -r a");
});

lab_test!(only_the_removed_branch_goes for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=5 persist; jail -c name=a.b children.max=2 persist; jail -c name=a.b.x persist; jail -c name=a.c persist");
    quiet(lab, "jail -r a.b");
    assert_eq!(names(lab), ["a", "a.c"]);
    prints(lab, "jexec a.c echo in", "in\n");
    quiet(lab, "jail -c name=a.b persist; jail -r a");
    all_gone(lab);
});

lab_test!(ids_of_a_parent_may_be_a_childs for root; needs [CgroupV2, Program("ip")]; |lab| {
    for (parent, child) in [("new", "inherit"), ("inherit", "inherit"), ("inherit", "new")] {
        quiet(lab, &format!("jail -c name=a user={parent} vnet children.max=2 persist"));
        quiet(lab, &format!("jail -c name=a.b user={child} vnet children.max=1 persist"));
        quiet(lab, &format!("jail -c name=a.b.c user={child} vnet persist"));
        let (a, b, c) = (ids(lab, "a"), ids(lab, "a.b"), ids(lab, "a.b.c"));
        assert_eq!((a == b, b == c), (child == "inherit", child == "inherit"), "{a:?} {b:?} {c:?}");
        for name in ["a", "a.b", "a.b.c"] {
            quiet(lab, &format!("jexec {name} ip link add dum type veth peer name mud"));
            quiet(lab, &format!("jexec {name} ip link del dum"));
        }
        // Room is given when a jail is made.
        refused(lab, "jail -m name=a.b.c children.max=1",
            "jail: children.max: Operation not permitted\nhint: its parent's allows a child at most 0\n");
        refused(lab, "jail -m name=a children.max=3",
            "jail: children.max: a living jail has room for 2 children, not 3\nhint: give it when the jail is created\n");
        quiet(lab, "jail -r a");
        all_gone(lab);
    }
    // With the parent's ids and in its user namespace, a child's children have ranges of its parent's.
    quiet(lab, "jail -c name=a children.max=2 persist; jail -c name=a.b user=inherit children.max=1 persist; jail -c name=a.b.c persist");
    let (a, c) = (ids(lab, "a"), ids(lab, "a.b.c"));
    assert!(a.0 < c.0 && c.1 <= a.1, "{a:?} {c:?}");
    quiet(lab, "jail -r a");
});
