//! What jail(8) does and says when jails are removed and renamed, and what is free at once.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use vimage_tests::lab_test;

use crate::shell::{all_gone, gives, jid, names, prints, quiet, refused, run};

lab_test!(several_are_removed_together for root; needs [CgroupV2]; |lab| {
    for name in ["a", "b", "c"] {
        quiet(lab, &format!("jail -c name={name} persist"));
    }
    let number = jid(lab, "c");
    prints(lab, &format!("jail -r a {number}"), "a: removed\nc: removed\n");
    // One that is not there is no reason to keep the others.
    gives(lab, "jail -r a b", 1, "b: removed\n", "jail: \"a\" not found\n");
    refused(lab, "jail -r a", "jail: \"a\" not found\n");
    gives(lab, "jail -q -r a", 1, "", "");
});

lab_test!(daemons_are_killed for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist stop.timeout=1 exec.start='setsid sleep 31415.6 & setsid sleep 31415.6 & exit 0'");
    quiet(lab, "jexec a sh -c 'trap \"\" TERM HUP INT; sleep 31415.6 & exit 0'");
    assert_eq!(lab.sh("pgrep -fc 'sleep 31415.6$' || true").trim(), "3");
    quiet(lab, "jail -r a");
    assert_eq!(lab.sh("pgrep -fc 'sleep 31415.6$' || true").trim(), "0");
});

lab_test!(the_end_of_many_processes_is_waited_for_asleep for root; needs [CgroupV2, Program("strace")]; |lab| {
    quiet(lab, "jail -c name=a persist");
    let many = lab.spawn("exec jexec a sh -c 'for i in $(seq 800); do sleep 1000 & done; wait'");
    lab.until("they run", || lab.sh("pgrep -xc sleep || true").trim() == "800");
    lab.sh("strace -f -e trace=ppoll -o /tmp/calls jail -r a");
    // One for each change of the cgroup, of which there is one, and some of other waits.
    let polls = lab.sh("grep -c ppoll /tmp/calls || true");
    assert!(polls.trim().parse::<u32>().unwrap() < 8, "{polls}");
    drop(many);
});

lab_test!(a_name_and_a_number_are_free_at_once for root; needs [CgroupV2]; |lab| {
    for _ in 0..20 {
        prints(lab, "jail -i -c name=a jid=7 persist command=true", "7\n");
        // The first is dying when the next is made.
        quiet(lab, "jail -r a");
        prints(lab, "jail -i -c name=a persist command=hostname | tail -n 1", "a\n");
        quiet(lab, "jail -r a");
    }
    all_gone(lab);
});

lab_test!(a_dying_jail_is_in_nobodys_way for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a jid=7 persist vnet exec.start='sleep 1000 & exit 0'");
    // A descriptor outside keeps the network stack.
    let pid = lab.sh("pgrep -x sleep");
    let holder = lab.spawn(&format!("exec 9</proc/{}/ns/net; echo held; exec sleep 1000", pid.trim()));
    lab.until("it is held", || holder.stdout() == "held\n");
    quiet(lab, "jail -r a");
    prints(lab, "jls name", "");
    prints(lab, "jls -d -j 7 name dying", "a true\n");
    refused(lab, "jexec a true", "jexec: jail \"a\" not found\n");
    prints(lab, "jail -i -c name=a jid=7 persist vnet", "7\n");
    prints(lab, "jls name jid dying", "a 7 false\n");
    assert_eq!(lab.sh("jls -d name").lines().count(), 2, "the old one has another number");
    quiet(lab, "jail -r a");
    drop(holder);
    all_gone(lab);
});

lab_test!(two_hundred_are_made_and_removed_together for root; needs [CgroupV2]; with timeout(120); |lab| {
    lab.sh("for n in $(seq 200); do jail -c name=j$n persist; done");
    assert_eq!(names(lab).len(), 200);
    let removed = lab.sh("jail -r $(seq -f j%.0f 200)");
    assert_eq!(removed.lines().count(), 200);
    assert_eq!(names(lab), [""; 0]);
    all_gone(lab);
});

lab_test!(those_inside_go_along_first for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=5 persist");
    quiet(lab, "jail -c name=a.b children.max=1 persist");
    quiet(lab, "jail -c name=a.b.c persist exec.start='sleep 1000 & exit 0'");
    quiet(lab, "jail -c name=a-b persist");
    prints(lab, "jail -v -r a", "a.b.c: removed\na.b: removed\na: removed\n");
    assert_eq!(names(lab), ["a-b"]);
    quiet(lab, "jail -r a-b");
});

lab_test!(a_child_made_meanwhile_does_not_stay for root; needs [CgroupV2]; |lab| {
    for _ in 0..10 {
        quiet(lab, "jail -c name=a children.max=5 persist");
        let makers = [1, 2, 3].map(|n| lab.spawn(&format!("exec jail -c name=a.{n}x persist")));
        let other = lab.spawn("exec jail -q -m name=a children.max=4");
        lab.sh("jail -q -r a");
        makers.into_iter().for_each(|maker| drop(maker.finish()));
        drop(other.finish());
        assert_eq!(names(lab), [""; 0]);
    }
});

lab_test!(removals_that_overlap_do_not_wait_for_each_other for root; needs [CgroupV2]; |lab| {
    for _ in 0..5 {
        lab.sh("for n in a b c; do jail -c name=$n children.max=3 persist; jail -c name=$n.x persist; done");
        let removers = ["a.x b", "b.x a", "c b a", "a b c"].map(|names| lab.spawn(&format!("jail -q -r {names} || true")));
        removers.into_iter().for_each(|remover| drop(remover.finish().ok()));
        lab.sh("jail -q -r a b c || true");
        assert_eq!(names(lab), [""; 0]);
    }
});

lab_test!(a_jail_and_those_inside_are_renamed for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a jid=5 children.max=5 persist");
    quiet(lab, "jail -c name=a.b jid=6 children.max=2 persist");
    quiet(lab, "jail -c name=a.b.c jid=7 persist");
    quiet(lab, "jail -c name=taken persist");
    prints(lab, "jail -v -m jid=5 name=z", "z: updated\n");
    assert_eq!(names(lab), ["taken", "z", "z.b", "z.b.c"]);
    quiet(lab, "jail -m jid=6 name=y");
    quiet(lab, "jail -m jid=7 name=z.y.x");
    assert_eq!(names(lab), ["taken", "z", "z.y", "z.y.x"]);
    prints(lab, "jexec z.y.x echo in", "in\n");
    refused(lab, "jexec a true", "jexec: jail \"a\" not found\n");
    refused(lab, "jail -m jid=5 name=taken", "jail: jail \"taken\" already exists\n");
    refused(lab, "jail -m jid=6 name=taken.b", "jail: cannot change jail's parent\n");
    refused(lab, "jail -m jid=6 name=7", "jail: name cannot be numeric (unless it is the jid)\n");
    // Nothing of a modification that fails is done.
    refused(lab, "jail -m jid=5 name=new path=/tmp", "jail: path cannot be changed after creation\n");
    assert_eq!(names(lab), ["taken", "z", "z.y", "z.y.x"]);
    quiet(lab, "jail -m jid=5 name=");
    quiet(lab, "jail -c name=z persist");
    assert_eq!(names(lab), ["taken", "z", "5", "5.y", "5.y.x"]);
    quiet(lab, "jail -q -r '*'");
});

lab_test!(a_removal_wins_over_who_cannot_enter for root; needs [CgroupV2]; |lab| {
    for (jail, command) in [("persist", "true"), ("persist exec.start='sleep 1000 & exit 0'", "true"), ("user=inherit persist", "sh -c 'exit 3'")] {
        let before = lab.snapshot();
        quiet(lab, &format!("jail -c name=y jid=7 {jail}"));
        let freeze = lab.cgroup().join("jail/7/cgroup.freeze");
        lab.sh(&format!("echo 1 >{}", freeze.display()));
        let entering = lab.spawn(&format!("exec jexec y {command}"));
        lab.until("it holds the lock", || {
            lab.sh("flock -n /run/jail/jails/7/lock true && echo free || true").is_empty()
        });
        let start = Instant::now();
        let refused = run(lab, "jail -m name=y host.hostname=z").fails(1);
        let pid = entering.id();
        let by = format!("jail: jail \"y\" is locked by process {pid} (jexec)\nhint: ");
        assert!(refused.starts_with(&by) && start.elapsed() < Duration::from_secs(8), "{refused}");
        let start = Instant::now();
        quiet(lab, "jail -r y");
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        let entered = entering.finish();
        assert!(!entered.status.success() && !entered.to_string().contains("panicked"), "{entered}");
        all_gone(lab);
        lab.until("nothing is left", || lab.snapshot() == before);
    }
});

lab_test!(who_enters_a_frozen_jail_goes_on_when_it_thaws for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=y jid=7 persist");
    let freeze = lab.cgroup().join("jail/7/cgroup.freeze").display().to_string();
    lab.sh(&format!("echo 1 >{freeze}"));
    let entering = lab.spawn("exec jexec y echo in");
    let changing = lab.spawn("sleep 0.2; exec jail -m name=y host.hostname=z");
    sleep(Duration::from_millis(800));
    lab.sh(&format!("echo 0 >{freeze}"));
    assert_eq!(entering.finish().ok(), "in\n");
    changing.finish().ok();
    prints(lab, "jls -j y host.hostname", "z\n");
    quiet(lab, "jail -r y");
    all_gone(lab);
});

lab_test!(a_renaming_that_was_killed_is_finished for root; needs [CgroupV2]; |lab| {
    for pause in 0..30 {
        quiet(lab, "jail -c name=a jid=5 children.max=5 persist");
        quiet(lab, "jail -c name=a.b jid=6 persist");
        let mut renamer = lab.spawn("exec jail -m jid=5 name=z");
        sleep(Duration::from_millis(pause));
        renamer.kill();
        drop(renamer.finish());
        lab.sweep();
        let names = names(lab);
        assert!(names == ["a", "a.b"] || names == ["z", "z.b"], "{names:?}");
        assert_eq!(lab.sh("ls /run/jail/names | wc -l").trim(), "2");
        quiet(lab, "jail -q -r 5");
    }
});

lab_test!(an_audit_and_a_repair_leave_alone_what_is_being_made for root; needs [CgroupV2]; |lab| {
    // What was read before a jail was made knows nothing of it, and nothing of the segment made with it.
    let other = |command| {
        lab.sh(&format!(
            r#"i=0; while [ $i -lt 25 ]; do i=$((i + 1))
                jail -c name=a vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.host="lan 10.9.0.1/24" persist
                jexec a true; ip link show lan >/dev/null; jail -r a
            done & pid=$!
            while kill -0 $pid 2>/dev/null; do {command}; done
            wait $pid"#
        ))
    };
    assert_eq!(other("jdb audit"), "");
    let mended = other("jdb repair");
    assert!(!mended.contains("is in no record"), "{mended}");
    all_gone(lab);
});
