//! Configured jails at once: as many as do not need each other.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vimage_tests::{Background, Lab, lab_test};

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

#[track_caller]
fn write(text: &str) {
    std::fs::write("/tmp/jail.conf", format!("path = \"/\"; persist; {text}")).unwrap();
}

/// The lines of something, in order: those of several jails come as they come.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn send(to: &Background, signal: Signal) {
    kill_process(Pid::from_raw(to.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Until a file has so many lines.
#[track_caller]
fn has_lines(lab: &Lab, file: &str, count: usize) {
    lab.until("all are at it", || {
        std::fs::read_to_string(file).is_ok_and(|text| text.lines().count() == count)
    });
}

lab_test!(jails_that_do_not_need_each_other_start_together for root; needs [CgroupV2]; |lab| {
    // Each waits for the others: one after another they would wait for ever.
    let all = "echo $name >> /tmp/met; until [ $(wc -l < /tmp/met) = 3 ]; do sleep 0.01; done";
    write(&format!("exec.timeout = 20; exec.prepare = '{}'; a {{ }} b {{ }} c {{ }}", all.replace("$name", "$JNAME")));
    lab.sh(": > /tmp/met");
    let out = run(lab, "jail -f /tmp/jail.conf -c").ok();
    assert_eq!(sorted(&out), ["a: created", "b: created", "c: created"]);
    // So they stop.
    write(&format!("exec.timeout = 20; exec.prestop = '{}'; a {{ }} b {{ }} c {{ }}", all.replace("$name", "$JNAME")));
    lab.sh(": > /tmp/met");
    let out = run(lab, "jail -f /tmp/jail.conf -r '*'").ok();
    assert_eq!(sorted(&out), ["a: removed", "b: removed", "c: removed"]);
    // As many as are allowed.
    write("exec.start = 'mkdir /tmp/one && sleep 0.05 && rmdir /tmp/one'; a { } b { } c { }");
    prints(lab, "jail -f /tmp/jail.conf -q -p 1 -c", "");
    quiet(lab, "jail -q -r '*'");
    all_gone(lab);
});

lab_test!(each_waits_for_what_it_needs_and_for_nothing_else for root; needs [CgroupV2]; |lab| {
    write("exec.created = 'echo $JNAME >> /tmp/log'; \
        slow { exec.poststart = 'until [ -e /tmp/go ]; do sleep 0.01; done'; } after { depend = slow; } \
        quick { } next { depend = quick; exec.poststart = 'touch /tmp/go'; }");
    let out = run(lab, "jail -f /tmp/jail.conf -c").ok();
    assert_eq!(sorted(&out), ["after: created", "next: created", "quick: created", "slow: created"]);
    assert_eq!(lab.sh("tail -n 1 /tmp/log"), "after\n");
    quiet(lab, "jail -q -r '*'");
    all_gone(lab);
});

lab_test!(who_needs_one_that_fails_is_skipped_and_told_which for root; needs [CgroupV2]; |lab| {
    write("bad { exec.start = false; } web { depend = bad; } mail { depend = web; } other { }");
    let out = run(lab, "jail -f /tmp/jail.conf -c");
    assert_eq!(sorted(&out.stdout), ["bad: created", "other: created"]);
    assert_eq!(out.fails(1), "jail: bad: false: failed\njail: web: skipped\nhint: it needs bad, which failed\n\
        jail: mail: skipped\nhint: it needs bad, which failed\n");
    assert_eq!(names(lab), ["other"]);
    quiet(lab, "jail -q -r other");
    write("bad { } web { depend = bad; exec.prestop = false; } other { }");
    quiet(lab, "jail -q -f /tmp/jail.conf -c");
    refused(lab, "jail -q -f /tmp/jail.conf -r '*'", "jail: web: false: failed\njail: bad: skipped\nhint: web needs it, and was not removed\n");
    quiet(lab, "jail -q -R web bad");
    all_gone(lab);
});

lab_test!(what_jails_print_is_parted_by_lines for root; needs [CgroupV2]; |lab| {
    write("exec.start = 'for n in 1 2 3 4 5 6 7 8; do printf $JNAME; printf $JNAME >&2; sleep 0.01; done; echo; echo >&2; printf end'; a { } b { } c { }");
    let out = run(lab, "jail -q -f /tmp/jail.conf -c");
    assert_eq!(sorted(&out.stderr), ["aaaaaaaa", "bbbbbbbb", "cccccccc"]);
    assert_eq!(sorted(&out.ok()), ["aaaaaaaa", "bbbbbbbb", "cccccccc", "end", "end", "end"]);
    quiet(lab, "jail -q -r '*'");
    all_gone(lab);
});

lab_test!(who_prints_later_is_not_killed_for_it for root; needs [CgroupV2]; |lab| {
    write("exec.poststart = '(sleep 0.3; yes | head -n 100000; echo still here > /tmp/there) & true'; a { } b { }");
    quiet(lab, "jail -q -f /tmp/jail.conf -c");
    lab.until("it has gone on", || std::fs::read_to_string("/tmp/there").is_ok_and(|text| text == "still here\n"));
    quiet(lab, "jail -q -r '*'");
    all_gone(lab);
});

lab_test!(who_is_interrupted_undoes_what_is_half_started for root; needs [CgroupV2]; |lab| {
    let before = lab.snapshot();
    // One is at a command of the host's, and one at one inside.
    let conf = "exec.poststart = 'echo $JNAME >> /tmp/done'; exec.created = 'echo $JNAME >> /tmp/at'; \
        a { exec.created += \"trap '' TERM; sleep 1000; true\"; } b { exec.start = \"trap '' TERM; sleep 1000; true\"; } \
        c { depend = a; } d { }";
    for signal in [Signal::INT, Signal::TERM] {
        write(conf);
        lab.sh(": > /tmp/at; : > /tmp/done");
        let start = lab.cmd("jail").args(["-q", "-f", "/tmp/jail.conf", "-c", "a", ]).spawn();
        has_lines(lab, "/tmp/at", 1);
        send(&start, Signal::TERM);
        assert_eq!(start.finish().fails(1), "jail: a: interrupted\n");
        lab.sh(": > /tmp/at");
        let start = lab.cmd("jail").args(["-f", "/tmp/jail.conf", "-c"]).spawn();
        has_lines(lab, "/tmp/at", 3);
        has_lines(lab, "/tmp/done", 1);
        send(&start, signal);
        let text = start.finish().fails(1);
        assert_eq!(sorted(&text), ["jail: a: interrupted", "jail: b: interrupted", "jail: interrupted"]);
        // What was whole stays.
        assert_eq!(names(lab), ["d"]);
        quiet(lab, "jail -q -r d");
    }
    all_gone(lab);
    lab.until("nothing has changed", || lab.snapshot().since(&before).is_empty());
});

lab_test!(the_death_of_one_who_starts_many_ends_the_start_of_each for root; needs [CgroupV2]; |lab| {
    let before = lab.snapshot();
    write("exec.created = 'echo $JNAME >> /tmp/at'; exec.start = 'sleep 1000'; a { } b { }");
    let mut start = lab.cmd("jail").args(["-f", "/tmp/jail.conf", "-c"]).spawn();
    has_lines(lab, "/tmp/at", 2);
    start.kill();
    assert_eq!(start.finish().signal(), 9);
    lab.until("they are undone", || names(lab).is_empty());
    all_gone(lab);
    lab.until("nothing has changed", || lab.snapshot().since(&before).is_empty());
});

lab_test!(a_command_in_the_background_has_a_session_of_its_own for root; needs [CgroupV2]; |lab| {
    let start = Instant::now();
    quiet(lab, "jail -c name=a exec.start='sleep 1000 &' exec.poststart='sleep 1000 &' exec.timeout=5");
    quiet(lab, "jail -c name=b exec.start='sleep 1000 &' exec.start='sleep 2000 & '");
    assert!(start.elapsed() < Duration::from_secs(5));
    prints(lab, "for pid in $(pgrep -x sleep); do test $(ps -o sid= -p $pid) = $pid || echo no; done; pgrep -cx sleep", "4\n");
    quiet(lab, "pkill -f '^sleep 1000$' -n -x || true; jail -q -r a b");
    lab.sh("pkill -x sleep || true");
    all_gone(lab);
});

lab_test!(the_file_of_jids_has_a_line_for_each_whole for root; needs [CgroupV2]; |lab| {
    let row: String = (0..12).map(|n| format!("j{n} {{ }} ")).collect();
    write(&row);
    quiet(lab, "jail -q -J /tmp/jids -f /tmp/jail.conf -c");
    prints(lab, "grep -cx 'jid=[0-9]*.name=j[0-9]*.path=/.persist' /tmp/jids; cut -f 1 /tmp/jids | sort -u | wc -l", "12\n12\n");
    gives(lab, "jail -J /nosuch/file -f /tmp/jail.conf -c", 1, "", "jail: -J /nosuch/file: No such file or directory\n");
    quiet(lab, "jail -q -r '*'");
    all_gone(lab);
});
