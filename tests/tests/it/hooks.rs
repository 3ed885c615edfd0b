//! The commands around a jail's life, and the time that its processes have to end.

use std::time::{Duration, Instant};

use vimage_tests::lab_test;

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

lab_test!(each_runs_at_its_time_and_knows_the_jail for root; needs [CgroupV2]; |lab| {
    let note = |hook: &str| format!("exec.{hook}='echo {hook} $JID $JNAME $JPATH >> /tmp/log'");
    let all: Vec<_> = ["prepare", "prestart", "created", "poststart", "prestop", "poststop", "release"]
        .iter()
        .map(|hook| note(hook))
        .collect();
    let inside = "exec.start='echo start $JID $JNAME >> /var/log/inside' exec.stop='echo stop $JID >> /var/log/inside'";
    lab.sh("mkdir -p /tmp/tree/var/log");
    lab.sh("mkdir -p /tmp/tree/bin && cp $(command -v busybox) /tmp/tree/bin/ && ln -s busybox /tmp/tree/bin/sh");
    quiet(lab, &format!("jail -c name=a jid=7 path=/tmp/tree persist {} {inside}", all.join(" ")));
    assert_eq!(lab.sh("cat /tmp/log"), "prepare 7 a /tmp/tree\nprestart 7 a /tmp/tree\ncreated 7 a /tmp/tree\npoststart 7 a /tmp/tree\n");
    quiet(lab, "jail -r a");
    assert_eq!(lab.sh("tail -n 3 /tmp/log"), "prestop 7 a /tmp/tree\npoststop 7 a /tmp/tree\nrelease 7 a /tmp/tree\n");
    assert_eq!(lab.sh("cat /tmp/tree/var/log/inside"), "start 7 a\nstop 7\n");
    all_gone(lab);
});

lab_test!(what_prepares_a_jail_may_make_its_tree for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a path=/tmp/new persist exec.prepare='mkdir /tmp/new'");
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(one_that_fails_undoes_the_start for root; needs [CgroupV2]; |lab| {
    for hook in ["prepare", "prestart", "created", "start", "poststart"] {
        refused(lab, &format!("jail -c name=a persist exec.{hook}=false"), "jail: false: failed\n");
        assert_eq!(names(lab), [""; 0], "{hook}");
    }
    refused(lab, "jail -c name=a persist exec.created='kill -9 $$'", "jail: /bin/sh -c kill -9 $$: exited on signal 9\n");
    refused(lab, "jail -c name=a persist exec.created=nosuchprogram", "jail: execvp(): nosuchprogram: No such file or directory\n");
    all_gone(lab);
});

lab_test!(one_that_fails_keeps_the_jail for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist exec.prestop=false");
    quiet(lab, "jail -c name=b persist exec.stop=false");
    quiet(lab, "jail -c name=c persist children.max=1");
    quiet(lab, "jail -c name=c.d persist exec.stop=false");
    gives(lab, "jail -p 1 -r a b c c.d", 1, "", "jail: a: false: failed\njail: b: false: failed\njail: c.d: false: failed\n\
        jail: c: skipped\nhint: c.d needs it, and was not removed\n");
    assert_eq!(names(lab), ["a", "b", "c", "c.d"]);
    // Whoever means it all the same:
    prints(lab, "jail -R a b c", "c.d: removed\na: removed\nb: removed\nc: removed\n");
    all_gone(lab);
});

lab_test!(a_jail_in_another_has_its_own_end for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist children.max=2 exec.poststop='echo $JNAME >> /tmp/log'");
    quiet(lab, "jail -c name=a.b persist children.max=1 exec.prestop='echo before $JNAME >> /tmp/log'");
    quiet(lab, "jail -c name=a.b.c persist exec.stop='hostname > /dev/shm/x' exec.release='echo $JNAME >> /tmp/log'");
    quiet(lab, "jail -r a");
    prints(lab, "cat /tmp/log", "before a.b\na.b.c\na\n");
    // One that does not go keeps those that it is in.
    quiet(lab, "jail -c name=a persist children.max=2");
    quiet(lab, "jail -c name=a.b persist exec.prestop=false");
    refused(lab, "jail -r a", "jail: a.b: false: failed\njail: a: skipped\nhint: a jail in it was not removed\n");
    quiet(lab, "jail -R a");
    all_gone(lab);
});

lab_test!(a_command_has_so_much_time for root; needs [CgroupV2]; |lab| {
    let start = Instant::now();
    refused(lab, "jail -c name=a persist exec.timeout=1 exec.prestart='sleep 1000'", "jail: sleep 1000: timed out\n");
    refused(lab, "jail -c name=a persist exec.timeout=1 exec.start='sleep 1000'", "jail: sleep 1000: timed out\n");
    refused(lab, "jail -c name=a exec.timeout=1 command=sleep 1000", "jail: sleep 1000: timed out\n");
    assert!(start.elapsed() < Duration::from_secs(30));
    all_gone(lab);
});

lab_test!(processes_are_asked_to_end_before_they_are_killed for root; needs [CgroupV2]; |lab| {
    let begins = |seconds: u32, trap: &str| {
        quiet(lab, &format!("jail -c name=a persist stop.timeout={seconds}"));
        let inside = lab.spawn(&format!("exec jexec a sh -c 'trap \"{trap}\" TERM; echo ready; while :; do sleep 0.1; done'"));
        lab.until("it is ready", || inside.stdout().starts_with("ready\n"));
        inside
    };
    let ends = begins(60, "echo asked; exit 0");
    quiet(lab, "jail -r a");
    assert_eq!(ends.finish().ok(), "ready\nasked\n");
    // Who does not listen is killed, and at once where no time is given.
    for (seconds, least) in [(1, 900), (0, 0)] {
        let deaf = begins(seconds, "");
        let start = Instant::now();
        quiet(lab, "jail -r a");
        assert!(start.elapsed() >= Duration::from_millis(least), "{:?}", start.elapsed());
        assert_eq!(deaf.finish().status.code(), Some(128 + 9));
    }
    all_gone(lab);
});

lab_test!(commands_inside_are_a_users_and_print_to_a_file for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist exec.jail_user=daemon exec.clean exec.consolelog=/tmp/console \
        exec.start='id -un; echo $HOME $USER $JID; echo oops >&2'");
    assert_eq!(lab.sh("cat /tmp/console"), "daemon\n/usr/sbin daemon\noops\n");
    prints(lab, "stat -c %a /tmp/console", "600\n");
    quiet(lab, "jail -r a");
    refused(lab, "jail -c name=a persist exec.jail_user=nosuch exec.start=id", "jail: nosuch: no such user\nhint: it was looked for in the jail's own /etc/passwd\n");
    refused(lab, "jail -c name=a persist exec.system_user=nosuch", "jail: exec.system_user: nosuch: no such user\n");
    prints(lab, "jail -c name=a exec.system_user=nobody exec.prestart='id -un' command=true", "nobody\n");
    refused(lab, "jail -c name=a persist exec.consolelog=x", "jail: exec.consolelog: x: not an absolute pathname\n");
    // A link in the jail's tree leads out of it.
    lab.sh("mkdir -p /tmp/tree && ln -s /etc /tmp/tree/log");
    let out = run(lab, "jail -c name=a path=/tmp/tree persist exec.consolelog=/tmp/tree/log/console exec.start=true");
    assert!(out.fails(1).contains("exec.consolelog: /tmp/tree/log/console: "));
    prints(lab, "ls /etc/console 2>&1 | wc -l; test -e /etc/console || echo none", "1\nnone\n");
    all_gone(lab);
});

lab_test!(the_file_for_what_is_printed_is_never_what_the_jail_makes_of_it for root; needs [CgroupV2]; |lab| {
    lab.sh("mkdir -p /tmp/tree/bin /tmp/tree/log && cp $(command -v busybox) /tmp/tree/bin/ && ln -s busybox /tmp/tree/bin/sh");
    lab.sh("mkdir /tmp/aim && ln -s /tmp/aim /tmp/tree/link && ln -s tree /tmp/also && ln -s /tmp/tree/link /tmp/deep");
    // However the host calls the tree, a link in it is not followed.
    for (path, log) in [("also", "tree/link"), ("tree", "also/link"), ("tree", "deep"), ("tree", "aim/../tree/link")] {
        let out = run(lab, &format!("jail -c name=a path=/tmp/{path} persist exec.consolelog=/tmp/{log}/c exec.start='echo hi'"));
        assert_eq!(out.fails(1), format!("jail: exec.consolelog: /tmp/{log}/c: Too many levels of symbolic links\n"));
    }
    prints(lab, "ls /tmp/aim", "");
    // A pipe that nobody reads keeps nobody waiting.
    quiet(lab, "jail -c name=a path=/tmp/also persist exec.consolelog=/tmp/tree/log/c exec.stop='echo stop;'");
    lab.sh("mkfifo /tmp/tree/log/c");
    refused(lab, "jail -r a", "jail: a: exec.consolelog: /tmp/tree/log/c: No such device or address\n");
    // Who has it open for both never comes to its end.
    let reader = lab.spawn("exec sleep 31415.9 <>/tmp/tree/log/c");
    lab.until("it is not a file", || {
        run(lab, "jail -r a").fails(1) == "jail: a: exec.consolelog: /tmp/tree/log/c: not a file\n"
    });
    lab.sh("pkill -f '^sleep 31415.9'");
    let _killed = reader.finish();
    lab.sh("rm /tmp/tree/log/c");
    quiet(lab, "jail -r a");
    prints(lab, "cat /tmp/tree/log/c", "stop\n");
    all_gone(lab);
});

lab_test!(a_hook_of_one_jail_that_makes_another_leaves_it_no_word_of_its_own for root; needs [CgroupV2]; |lab| {
    std::fs::write("/tmp/hook", "exec jail -c name=b persist exec.prestart='sh -c env' exec.created='sh -c env' exec.start='sh -c env'\n").unwrap();
    let text = lab.sh("jail -c name=a jid=7 persist exec.created='sh /tmp/hook'");
    let mut of: Vec<_> = text.lines().filter(|l| ["JID=", "JNAME="].iter().any(|v| l.starts_with(v))).collect();
    of.sort_unstable();
    let jid = format!("JID={}", crate::shell::jid(lab, "b"));
    assert_eq!(of, [&jid, &jid, "JNAME=b", "JNAME=b", "JNAME=b"]);
    quiet(lab, "jail -q -r a b");
    // A user has a home.
    prints(lab, "jail -c name=a exec.system_user=daemon exec.prestart='echo $HOME' command=true", "/usr/sbin\n");
    all_gone(lab);
});

lab_test!(what_takes_too_long_ends_with_all_that_it_started for root; needs [CgroupV2]; |lab| {
    let deep = "(sleep 1000 & sleep 1000) & wait; true";
    refused(lab, &format!("jail -c name=a persist exec.timeout=1 exec.prestart='{deep}'"), &format!("jail: /bin/sh -c {deep}: timed out\n"));
    quiet(lab, &format!("jail -c name=a persist exec.timeout=1 exec.stop='{deep}'"));
    refused(lab, "jail -r a", &format!("jail: a: /bin/sh -c {deep}: timed out\n"));
    lab.until("nothing of it runs", || lab.sh("pgrep -x sleep || true").is_empty());
    quiet(lab, "jail -R a");
    all_gone(lab);
});

lab_test!(a_jail_in_another_is_stopped_before_it for root; needs [CgroupV2]; |lab| {
    let make = || {
        let hooks = "exec.prestop='echo prestop $JNAME' exec.stop='echo stop $JNAME' exec.poststop='echo poststop $JNAME'";
        quiet(lab, &format!("jail -c name=a persist children.max=2 {hooks}"));
        quiet(lab, &format!("jail -c name=a.b persist {hooks}"));
    };
    make();
    prints(lab, "jail -r a", "prestop a.b\nstop a.b\nprestop a\nstop a\npoststop a.b\npoststop a\n");
    make();
    quiet(lab, "jail -m name=a.b exec.stop=false");
    gives(lab, "jail -r a", 1, "prestop a.b\n", "jail: a.b: false: failed\njail: a: skipped\nhint: a jail in it was not removed\n");
    quiet(lab, "jail -R a");
    all_gone(lab);
});

lab_test!(one_that_was_made_meanwhile_is_not_removed for root; needs [CgroupV2]; |lab| {
    let again = "jail -R a; jail -c name=a persist";
    quiet(lab, &format!("jail -c name=a persist exec.prestop='{again}'"));
    quiet(lab, "jail -r a");
    assert_eq!(names(lab), ["a"]);
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(whoever_may_not_remove_a_jail_runs_none_of_its_commands for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist exec.prestop='echo prestop'");
    let text = run(lab, "setpriv --bounding-set=-sys_admin jail -r a");
    assert_eq!(text.stdout, "");
    assert!(text.fails(1).starts_with("jail: Operation not permitted\n"));
    quiet(lab, "jail -q -R a");
    all_gone(lab);
});

lab_test!(one_that_removes_its_own_jail_is_told_so for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist exec.prestop='jail -r a'");
    refused(lab, "jail -r a", "jail: a: its commands for its removal are being run already\nhint: jail -R a removes it all the same\n\
        jail: a: jail -r a: failed\n");
    quiet(lab, "jail -R a");
    all_gone(lab);
});

lab_test!(the_links_of_no_jail_lead_what_another_prints_elsewhere for root; needs [CgroupV2]; |lab| {
    lab.sh("mkdir -p /tmp/tree/bin /tmp/other /tmp/aim && cp $(command -v busybox) /tmp/tree/bin/ && ln -s busybox /tmp/tree/bin/sh");
    lab.sh("ln -s /tmp/aim /tmp/other/link && mkdir /tmp/host && ln -s host /tmp/log");
    quiet(lab, "jail -c name=other path=/tmp/other persist");
    let log = |file: &str| format!("jail -c name=a path=/tmp/tree persist exec.consolelog={file} exec.start='echo hi;'");
    refused(lab, &log("/tmp/other/link/c"), "jail: exec.consolelog: /tmp/other/link/c: Too many levels of symbolic links\n");
    prints(lab, "ls /tmp/aim", "");
    // Those of the host are its own.
    quiet(lab, &log("/tmp/log/c"));
    prints(lab, "cat /tmp/host/c", "hi\n");
    quiet(lab, "jail -q -r a other");
    all_gone(lab);
});
