//! What jail(8) does and says when a jail is made.

use vimage_tests::lab_test;

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

lab_test!(a_persistent_jail_is_made_without_a_word for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=web persist");
    prints(lab, "jls name", "web\n");
    prints(lab, "jexec web sh -c 'echo in; hostname'", "in\nweb\n");
    prints(lab, "jls -j web persist dying", "true false\n");
    quiet(lab, "jail -r web");
    prints(lab, "jls name", "");
});

lab_test!(verbose_says_what_was_done_and_i_prints_the_number for root; needs [CgroupV2]; |lab| {
    prints(lab, "jail -v -c name=a persist", "a: created\n");
    prints(lab, "jail -v -m name=a host.hostname=x", "a: updated\n");
    prints(lab, "jail -v -cm name=a host.hostname=y", "a: updated\n");
    prints(lab, "jail -v -r a", "a: removed\n");
    prints(lab, "jail -i -c jid=77 persist", "77\n");
    prints(lab, "jail -i -m jid=77 host.hostname=x", "77\n");
    prints(lab, "jail -q -c name=b persist", "");
    prints(lab, "jail -r 77 b", "77: removed\nb: removed\n");
    prints(lab, "jail -v -cm name=c persist", "c: created\n");
    prints(lab, "jail -q -r c", "");
});

lab_test!(a_jail_without_a_name_is_called_by_its_number for root; needs [CgroupV2]; |lab| {
    let number = lab.sh("jail -i -c persist=true");
    prints(lab, "jls name", &number);
    prints(lab, "jail -i -c name= persist", &format!("{}\n", number.trim().parse::<u32>().unwrap() + 1));
    prints(lab, "jail -v -c jid=500 name=500 persist", "500: created\n");
    quiet(lab, "jail -q -r '*'");
});

lab_test!(a_command_is_waited_for_and_its_output_is_ours for root; needs [CgroupV2]; |lab| {
    prints(lab, "jail -c name=a command=echo 'one two' three", "one two three\n");
    gives(lab, "jail -c name=a command=sh -c 'echo out; echo err >&2'", 0, "out\n", "err\n");
    prints(lab, "echo given | jail -c name=a command=cat", "given\n");
    prints(lab, "jail -i -c name=a jid=9 command=echo after", "9\nafter\n");
    assert_eq!(names(lab), [""; 0]);
});

lab_test!(a_command_that_fails_takes_its_jail_along for root; needs [CgroupV2]; |lab| {
    refused(lab, "jail -c name=a command=false", "jail: false: failed\n");
    refused(lab, "jail -c name=a command=sh -c 'exit 3'", "jail: sh -c exit 3: failed\n");
    refused(lab, "jail -c name=a command=sh -c 'kill -9 $$'", "jail: sh -c kill -9 $$: exited on signal 9\n");
    refused(lab, "jail -c name=a persist command=sh -c 'kill -TERM $$'", "jail: sh -c kill -TERM $$: exited on signal 15\n");
    refused(lab, "jail -c name=a persist exec.start=false", "jail: false: failed\n");
    assert!(run(lab, "jail -c name=a command=/nosuch").fails(1).ends_with("/nosuch: No such file or directory\n"));
    // What the failed command has started goes with it.
    refused(lab, "jail -c name=a command=sh -c 'sleep 31415.5 & exit 1'", "jail: sh -c sleep 31415.5 & exit 1: failed\n");
    assert_eq!(names(lab), [""; 0]);
    all_gone(lab);
});

lab_test!(several_commands_run_in_order_until_one_fails for root; needs [CgroupV2]; |lab| {
    let out = run(lab, "jail -c name=a exec.start='echo one' exec.start='echo $0 | cat; exit 0' command=echo three");
    assert_eq!(out.ok(), "one\n/bin/sh\nthree\n");
    gives(lab, "jail -c name=a exec.start='echo one' exec.start=false exec.start='echo two' command=echo three",
        1, "one\n", "jail: false: failed\n");
    // What one leaves in the jail's own files is there for the next.
    prints(lab, "jail -c name=a exec.start='echo kept > /dev/shm/x' command=cat /dev/shm/x", "kept\n");
    // The same pid namespace, if there is a process left in it.
    prints(lab, "jail -c name=a exec.start='sleep 5 & echo $! > /dev/shm/pid' command=sh -c 'kill $(cat /dev/shm/pid)'", "");
    lab.until("the process that was killed has ended", || names(lab).is_empty());
});

// The processor that its first process is made on is no business of its processes.
lab_test!(a_jail_runs_on_the_processors_that_its_creator_may_use for root; needs [CgroupV2]; |lab| {
    for on in ["", "taskset -c 0 "] {
        let list = "grep Cpus_allowed /proc/self/status";
        let ours = run(lab, &format!("{on}{list}")).ok();
        prints(lab, &format!("{on}jail -c name=a vnet command={list}"), &ours);
        prints(lab, &format!("{on}jail -c name=a exec.start='{list}' command=true"), &ours);
    }
});

lab_test!(a_jail_that_does_not_persist_ends_with_its_last_process for root; needs [CgroupV2]; |lab| {
    prints(lab, "jail -c name=a command=sh -c 'sleep 0.3 >/dev/null & echo started'", "started\n");
    assert_eq!(names(lab), ["a"]);
    refused(lab, "jail -c name=a persist", "jail: \"a\" already exists\n");
    lab.until("its last process has ended", || names(lab).is_empty());
    // Its name is free at once, whoever sweeps.
    quiet(lab, "jail -c name=a persist");
    quiet(lab, "jail -r a");
});

lab_test!(persistence_comes_and_goes for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a command=sh -c 'sleep 1000 >/dev/null & echo $! > /dev/shm/pid'");
    quiet(lab, "jail -m name=a persist");
    quiet(lab, "jexec a sh -c 'kill $(cat /dev/shm/pid)'");
    prints(lab, "sleep 0.2; jexec a sh -c 'hostname; ls /dev/shm'", "a\npid\n");
    quiet(lab, "jail -m name=a nopersist");
    assert_eq!(names(lab), [""; 0]);
});

lab_test!(a_jail_is_not_locked_while_its_command_runs for root; needs [CgroupV2]; |lab| {
    for define in ["command=sleep 1000", "persist exec.start='sleep 1000'", "exec.start=true command=sleep 1000"] {
        let maker = lab.spawn(&format!("exec jail -v -c name=a {define}"));
        lab.until("the jail is there", || maker.stdout() == "a: created\n");
        lab.until("its last command runs", || run(lab, "jexec a pgrep -x sleep").status.success());
        quiet(lab, "jail -r a");
        // One that came in just then was not asked any more.
        let ended = maker.finish().fails(1);
        assert!(["15", "9"].iter().any(|s| ended == format!("jail: sleep 1000: exited on signal {s}\n")), "{ended}");
        assert_eq!(names(lab), [""; 0]);
    }
});

lab_test!(a_jail_is_not_swept_between_its_commands for root; needs [CgroupV2]; |lab| {
    let maker = lab.spawn("exec jail -v -c name=a exec.start='sleep 0.05' exec.start='sleep 0.05' exec.start='sleep 0.05' command=echo done");
    lab.until("the jail is there", || maker.stdout().starts_with("a: created\n"));
    for _ in 0..20 {
        lab.sweep();
    }
    assert_eq!(maker.finish().ok(), "a: created\ndone\n");
});

lab_test!(sixteen_at_once_are_all_made for root; needs [CgroupV2]; |lab| {
    let makers: Vec<_> = (0..16).map(|n| lab.spawn(&format!("exec jail -i -c name=j{n} persist"))).collect();
    let mut jids: Vec<_> = makers.into_iter().map(|maker| maker.finish().ok()).collect();
    jids.sort();
    jids.dedup();
    assert_eq!((jids.len(), names(lab).len()), (16, 16));
    quiet(lab, "jail -q -r '*'");
});

lab_test!(of_two_with_one_name_one_is_made for root; needs [CgroupV2]; |lab| {
    for _ in 0..10 {
        let makers = [(); 2].map(|()| lab.spawn("exec jail -c name=x persist"));
        let mut said = makers.map(|maker| {
            let output = maker.finish();
            (output.status.code(), output.stderr)
        });
        said.sort();
        assert_eq!(said[0], (Some(0), String::new()));
        assert!(said[1].0 == Some(1) && said[1].1.ends_with("\"x\" already exists\n"), "{said:?}");
        quiet(lab, "jail -r x");
    }
});
