//! Jails that are made inside jails, by their own root.

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, prints, quiet, refused, run};

/// What a shell in a jail says.
#[track_caller]
fn says(lab: &Lab, jail: &str, script: &str, text: &str) {
    prints(lab, &format!("jexec {jail} sh -c '{script}' 2>&1 || true"), text);
}

lab_test!(jails_are_made_in_jails_three_levels_deep for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=5 persist");
    says(lab, "a", "jls name; jail -c name=b children.max=2 persist && jls name", "b\n");
    says(lab, "a", "jexec b sh -c \"jls name; jail -c name=c persist && jls name; jexec c hostname\"", "c\nc\n");
    says(lab, "a", "jls name path; jexec b jls -s jid name", "b /\nb.c /\njid=1 name=c\n");
    says(lab, "a", "jexec b jexec c jail -c name=d persist", concat!(
        "jail: jail_set: Operation not permitted\n",
        "hint: this needs CAP_SYS_ADMIN, which root has outside a jail, and in one with children.max above 0\n"));
    says(lab, "a", "jdb audit; jexec b jail -r c; jexec b jls name; jail -q -r b; jls name; jdb audit", "");
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(what_is_made_in_a_jail_goes_with_it for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=5 vnet persist");
    says(lab, "a", "jail -c name=b children.max=2 vnet vnet.link=\"eth0 lan 10.9.8.2/24\" persist && \
        jail -c name=d vnet vnet.link=\"eth0 lan 10.9.8.3/24\" persist && jexec b ping -q -c 1 -W 2 10.9.8.3 | grep -c \"1 received\"", "1\n");
    quiet(lab, "jexec a sh -c 'jexec b sh -c \"sleep 31415.9 & jail -c name=c persist\"'");
    prints(lab, "pgrep -c -f 'sleep 31415.9$'", "1\n");
    quiet(lab, "jail -r a");
    prints(lab, "pgrep -c -f 'sleep 31415.9$' || true", "0\n");
    all_gone(lab);
});

lab_test!(a_jail_that_makes_jails_keeps_the_mounts_it_was_given for root; needs [CgroupV2]; |lab| {
    quiet(lab, "mkdir /tmp/given; echo safe > /tmp/given/file");
    quiet(lab, "jail -c name=a children.max=1 mount='/tmp/given /srv none ro' persist");
    for (line, why) in [
        ("umount -l /", "not mounted"),
        ("umount -l /srv", "not mounted"),
        ("umount -l /run", "not mounted"),
        ("umount -l /run/jail/above", "not mounted"),
        ("umount -l /dev", "not mounted"),
        ("mount -o remount,rw,bind /srv", "permission denied"),
        ("mount -o remount,rw,bind /run/jail/above", "permission denied"),
        ("mount -o remount,dev,bind /tmp", "permission denied"),
        ("mount --move /srv /opt", ""),
        ("mkdir -p /tmp/o; cd /; mount --bind / /tmp/o", ""),
        ("mknod /tmp/sda b 8 0", "Operation not permitted"),
        ("echo 1000 > /proc/sys/user/max_user_namespaces", "Permission denied"),
        ("echo max > /sys/fs/cgroup/cgroup.max.descendants", "Permission denied"),
        ("echo 1 > /sys/fs/cgroup/cgroup.kill", "Permission denied"),
        ("nsenter -t 1 -m true && cat /srv/../proc/1/root/tmp/given/file", ""),
    ] {
        let got = run(lab, &format!("jexec a sh -ec '{line}'"));
        assert!(!got.status.success() && got.stderr.contains(why), "{line}: {got}");
    }
    prints(lab, "jexec a cat /srv/file; cat /tmp/given/file", "safe\nsafe\n");
    quiet(lab, "jail -r a; rm -r /tmp/given");
    all_gone(lab);
});

lab_test!(a_jail_gives_its_own_jails_no_more_than_it_has for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=3 allow.noreserved_ports sysvmsg=disable meta=secret persist");
    quiet(lab, "jail -c name=a.x host.hostname=ex persist");
    says(lab, "a", "jail -c name=b allow.reserved_ports persist",
        "jail: allow.reserved_ports: Operation not permitted\nhint: its parent's allows a child at most false\n");
    says(lab, "a", "jail -c name=b sysvmsg=new persist",
        "jail: sysvmsg: Operation not permitted\nhint: its parent's allows a child at most disable\n");
    says(lab, "a", "jail -c name=b children.max=3 persist",
        "jail: children.max: Operation not permitted\nhint: its parent's allows a child at most 2\n");
    says(lab, "a", "jail -c name=x persist", "jail: jail \"x\" already exists\nhint: it was made from outside this jail\n");
    says(lab, "a", "jail -c name=b persist && jail -c name=c persist && jail -c name=d persist",
        "jail: prison limit exceeded\nhint: this jail has 3 of at most 3 in it, its children.max\n");
    prints(lab, "jexec a sh -c 'grep -ls secret -r /run/jail || echo none'", "none\n");
    // What is told follows.
    quiet(lab, "jail -r a.x");
    says(lab, "a", "jail -c name=x persist; jls name | sort | tr \"\\n\" \" \"", "b c x ");
    quiet(lab, "jail -m name=a children.max=2");
    says(lab, "a", "jail -q -r x; jail -c name=x persist",
        "jail: prison limit exceeded\nhint: this jail has 2 of at most 2 in it, its children.max\n");
    quiet(lab, "jail -q -r a");
    all_gone(lab);
});

lab_test!(a_persistent_jail_keeps_its_jails_when_it_has_no_process for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=1 persist");
    says(lab, "a", "jail -c name=b persist", "");
    says(lab, "a", "jls name; ps -o args= -e | head -n 2", "b\ninit\nkeeper\n");
    quiet(lab, "jail -m name=a persist=false");
    lab.until("it goes with its last process", || run(lab, "jls name").stdout.is_empty());
    all_gone(lab);
    quiet(lab, "jail -c name=a children.max=1 command=sh -c 'sleep 1000 >/dev/null 2>&1 &'");
    refused(lab, "jail -m name=a persist", concat!(
        "jail: a: persist: a jail whose root mounts, or makes jails, persists from its creation on, or never\n",
        "hint: its mounts are locked; give it when the jail is created\n"));
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(what_a_jail_has_made_is_seen_and_reached_from_every_level for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a jid=7 children.max=5 persist; jail -c name=z jid=9 persist");
    quiet(lab, "jexec a jail -c name=b children.max=3 host.hostname=bee persist; jexec a.b jail -c name=c persist");
    prints(lab, "jls jid name host.hostname parent children.cur",
        "7 a a 0 2\n7.1 a.b bee 7 1\n7.1.1 a.b.c c 7.1 0\n9 z z 0 0\n");
    prints(lab, "jls | cut -c 1-40", concat!(
        "   JID  IP Address      Hostname        \n",
        "     7                  a               \n",
        "   7.1                  bee             \n",
        " 7.1.1                  c               \n",
        "     9                  z               \n"));
    says(lab, "a", "jls jid name; jls -j b.c jid parent", "1 b\n1.1 b.c\n1.1 1\n");
    prints(lab, "jls --libxo=json jid name | grep -o '\"jid\":\"7.1.1\",\"name\":\"a.b.c\"'", "\"jid\":\"7.1.1\",\"name\":\"a.b.c\"\n");
    prints(lab, "jexec a.b.c hostname; jexec 7.1 hostname; jls -j 7.1.1 name; jls -c -j a.b", "c\nbee\na.b.c\n");
    quiet(lab, "jail -m name=a.b host.hostname=wasp; jail -r 7.1.1");
    prints(lab, "jls name host.hostname", "a a\na.b wasp\nz z\n");
    quiet(lab, "jail -q -r z a.b");
    prints(lab, "jls name", "a\n");
    refused(lab, "jexec a.b true", "jexec: jail \"b\" not found\n");
    refused(lab, "jexec z.b true", "jexec: jail \"z.b\" not found\n");
    refused(lab, "jls -c -j a.b", "");
    refused(lab, "jls -j a.b", "jls: jail \"a.b\" not found\n");
    // One name is one jail's.
    quiet(lab, "jexec a jail -c name=b persist");
    refused(lab, "jail -c name=a.b persist", "jail: \"a.b\" already exists\nhint: the jail a has made it itself\n");
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(a_jail_sees_what_was_made_in_it_from_outside for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a jid=7 children.max=5 persist; jail -c name=a.x jid=8 children.max=1 meta=secret persist; jail -c name=a.x.y jid=9 persist");
    quiet(lab, "jexec a jail -c name=b persist");
    says(lab, "a", "jls jid name; jls -j x jid name parent; jls -j .9 name parent", "1 b\n.8 x\n.9 x.y\n.8 x 0\nx.y .8\n");
    says(
        lab,
        "a",
        "jexec x true",
        "jexec: jail \"x\" not found\nhint: it was made from outside this jail, and is entered, changed and removed there\n",
    );
    // By name or by the number that it has outside.
    quiet(lab, "jail -m jid=8 name=a.q");
    says(lab, "a", "jls name; grep -l secret /run/jail/above/* || echo none", "b\nq\nq.y\nnone\n");
    quiet(lab, "jail -r a.q");
    says(lab, "a", "jls name", "b\n");
    quiet(lab, "jail -r a");
    all_gone(lab);
});

/// Runs lines in the jail `a`, which has tools of another making, and what `jls` says then.
fn hostile(lab: &Lab, tool: &str) -> vimage_tests::Output {
    let script = format!("#!/bin/sh\n{tool}\n");
    std::fs::write("/tmp/tree/bin/jls", script).unwrap();
    lab.sh("chmod 755 /tmp/tree/bin/jls");
    run(lab, "PATH=/bin:$PATH timeout 10 jls jid name")
}

lab_test!(a_jail_that_lies_about_its_jails_harms_nobody for root; needs [CgroupV2, Debian]; with timeout(180); |lab| {
    let tree = lab.debian();
    lab.sh(&format!("ln -s {} /tmp/tree", tree.path().display()));
    quiet(lab, "jail -c name=a jid=7 path=/tmp/tree children.max=3 persist; jail -c name=web jid=8 path=/ persist");
    quiet(lab, "jexec a true");
    let ours = "7 a\n8 web\n";
    let failing = |tool: &str, why: &str| {
        let got = hostile(lab, tool);
        assert!(got.stdout == ours && got.stderr.contains(why) && got.stderr.lines().count() == 1, "{tool}: {got}");
    };
    failing("exec sleep 100", "jls: a: cannot list the jails that it has made: no answer within 1 s");
    failing("exec yes", "an answer of more than 65536 bytes");
    failing("head -c 60000 /dev/zero | tr '\\0' '['", "recursion limit");
    failing("echo '{\"jail-information\"'", "EOF while parsing");
    failing("yes & sleep 0.2; exit", "an answer of more than");
    // What is no jail is not seen; none takes a place above, nor more places than there are.
    let row = |jid: &str, name: &str| format!("{{\"jid\":{jid},\"name\":\"{name}\",\"host.hostname\":\"\\\\u001b[31m\",\"path\":17}}");
    let rows = [row("\"1\"", "ok"), row("\"0\"", "zero"), row("\"-1\"", "neg"), row("3", "number"), row("\"4\"", "a/b"),
        row("\"5\"", ""), row("\"6\"", "x\\\\u001b[2J"), row("\".8\"", "above")].join(",");
    let got = hostile(lab, &format!("printf '%s' '{{\"jail-information\":{{\"jail\":[{rows}]}}}}' | sed 's/\\\\\\\\/\\\\/g'"));
    assert!(got.stdout == "7 a\n7.1 a.ok\n8 web\n" || got.stdout == ours, "{got}");
    let many = (1..50).map(|n| row(&format!("\"{n}\""), &format!("n{n}"))).collect::<Vec<_>>().join(",");
    std::fs::write("/tmp/tree/many", format!("{{\"jail-information\":{{\"jail\":[{many}]}}}}").replace("\\\\", "\\")).unwrap();
    let got = hostile(lab, "cat /many");
    assert_eq!(got.stdout, "7 a\n7.1 a.n1\n7.2 a.n2\n7.3 a.n3\n8 web\n");
    prints(lab, "PATH=/bin:$PATH jls -j a children.cur; PATH=/bin:$PATH jls | grep -c '31m'; PATH=/bin:$PATH jls | grep -c \"$(printf '\\\\033')\" || true", "3\n3\n0\n");
    quiet(lab, "jail -q -r a web; rm /tmp/tree");
    all_gone(lab);
});

lab_test!(a_hostile_store_in_a_jail_harms_nobody_above for root; needs [CgroupV2]; with timeout(180); |lab| {
    quiet(lab, "mkdir /tmp/safe; echo safe > /tmp/safe/file");
    for forgery in [
        // A record that speaks of what is the host's: its cgroup, its processes, its files, its interfaces.
        "mkdir -p jails/1 names; ln -s ../jails/1 names/b; printf %s \"$FORGED\" > jails/1/record; touch jails/1/journal",
        "mkdir -p jails; ln -s / jails/1; ln -s /proc/1/root jails/2; ln -s .. jails/3",
        "mkdir -p jails/1; ln -s record jails/1/record; ln -s journal jails/1/journal",
        "mkdir -p jails/1; dd if=/dev/zero of=jails/1/record bs=1M count=64 2>/dev/null || true",
        "mkdir -p jails/1; dd if=/dev/zero of=jails/1/record bs=1 seek=1T count=1 2>/dev/null || true",
        "mkfifo jails; mkfifo names ledger trace pending",
        "mkdir -p vault; mount --bind / vault; touch vault/ns",
        "mkdir -p jails/1; mount --bind jails jails/1; mount --rbind / jails",
        "d=/run/jail; for i in $(seq 50); do d=$d/jails/1; mkdir -p $d; done",
        "mkdir -p /sys/fs/cgroup/jail/1/2/3/4; mkdir -p /sys/fs/cgroup/99 /sys/fs/cgroup/self/1",
        "umount /sys/fs/cgroup; mount -t tmpfs none /run/jail; mount -t tmpfs none /run; mount -t tmpfs none /proc",
    ] {
        quiet(lab, "jail -c name=a jid=7 children.max=3 persist; jail -c name=web jid=8 persist; jexec web sh -c 'sleep 31415.4 & exit 0'");
        let dir = lab.sh("find /sys/fs/cgroup -type d -path '*/8' | head -n 1");
        let forged = format!(concat!(
            r#"{{"version":1,"jid":1,"name":"b","state":"alive","settings":{{"persist":true,"path":"/","name":"b","jid":1}},"#,
            r#""init":{{"pid":1,"inode":1}},"created":1,"pieces":[{{"subsystem":"jail","kind":"cgroup","key":"{dir}","#,
            r#""anchor":"cgroup:{dir}"}},{{"subsystem":"root","kind":"file","key":"/tmp/safe/file"}},"#,
            r#"{{"subsystem":"meta","kind":"file","key":"/tmp/safe/file"}},{{"subsystem":"jail","kind":"held","key":"8"}}]}}"#),
            dir = dir.trim());
        let line = format!("cd /run/jail; FORGED='{forged}'; {forgery}");
        std::fs::write("/tmp/forge", line).unwrap();
        lab.sh("jexec a sh < /tmp/forge 2>&1 || true");
        // Whatever it says of its own jails, ours are listed, reached and audited, in time.
        let listed = run(lab, "timeout 20 jls name");
        let names: Vec<_> = listed.stdout.lines().filter(|name| !name.starts_with("a.")).collect();
        assert_eq!(names, ["a", "web"], "{forgery}: {listed}");
        for tool in ["jail -r a.b", "jexec a.b true", "jls -j a.b"] {
            let _whatever = run(lab, &format!("timeout -s KILL 5 {tool} </dev/null >/dev/null 2>&1"));
        }
        prints(lab, "jexec web hostname; pgrep -c -f 'sleep 31415.4$'; cat /tmp/safe/file; timeout 20 jdb audit", "web\n1\nsafe\n");
        let removed = run(lab, "timeout 20 jail -r a");
        assert!(removed.status.success(), "{forgery}: {removed}");
        prints(lab, "jls name; cat /tmp/safe/file; pgrep -c -f 'sleep 31415.4$'", "web\nsafe\n1\n");
        quiet(lab, "jail -q -R web");
        all_gone(lab);
    }
    quiet(lab, "rm -r /tmp/safe /tmp/forge");
});

lab_test!(a_link_in_a_directory_of_the_jails_leads_no_mount_point_out for root; needs [CgroupV2]; |lab| {
    quiet(lab, "mkdir -p /tmp/victim /tmp/given; echo hi > /tmp/given/file; mkdir -m 755 /media/victim 2>/dev/null || true");
    let victim = if std::path::Path::new("/media/victim").is_dir() { "/media/victim" } else { "/tmp/victim" };
    quiet(lab, "jail -c name=a children.max=1 mount='/tmp/given/file /tmp/d/made none ro' persist; jexec a true");
    // The next first process of the jail finds a link to where only the host's root may make files.
    let pid = lab.sh("jexec a sh -c 'pgrep -x keeper || pgrep -f ^keeper'");
    quiet(lab, &format!("jexec a sh -c 'mv /tmp/d /tmp/e; ln -s {victim} /tmp/d; kill -9 {}' || true", pid.trim()));
    lab.until("it has no process", || run(lab, "jexec a true").status.code() == Some(1) || lab.sh(&format!("ls {victim}")).is_empty());
    let _refused = run(lab, "jexec a true");
    prints(lab, &format!("ls {victim}"), "");
    quiet(lab, "jail -r a; rm -r /tmp/victim /tmp/given; rmdir /media/victim 2>/dev/null || true");
    all_gone(lab);
});

lab_test!(what_could_not_be_locked_is_not_mounted_in_a_jail_that_makes_jails for root; needs [CgroupV2]; |lab| {
    quiet(lab, "mkdir /tmp/given");
    for (at, vnet) in [("/proc/fs", ""), ("/proc", ""), ("/sys/fs/bpf", "vnet")] {
        refused(lab, &format!("jail -c name=a {vnet} children.max=1 mount='/tmp/given {at} none ro' persist"),
            &format!("jail: mount: {at}: the jail's root, who mounts, could take it away\nhint: mount it elsewhere than below /proc and /sys, or without children.max and allow.mount\n"));
    }
    // Where no jails are made it is there, also below a /sys of the jail's own.
    quiet(lab, "touch /tmp/given/seen; jail -c name=a vnet mount='/tmp/given /sys/fs/bpf none ro' command=test -e /sys/fs/bpf/seen");
    quiet(lab, "rm -r /tmp/given");
    all_gone(lab);
});

lab_test!(a_file_that_is_named_like_a_jail_is_a_file for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a jid=1 children.max=1 persist; jexec a true; jdb bundle a /tmp/a.tar; jdb bundle 1 /tmp/1.5");
    quiet(lab, "cd /tmp; jdb bundle a a.tar2; test -s a.tar2");
    assert!(!run(lab, "jdb wait a 1.5").stderr.contains("\"5\""));
    quiet(lab, "rm /tmp/a.tar /tmp/1.5 /tmp/a.tar2; jail -r a");
    all_gone(lab);
});

lab_test!(mounts_are_locked_also_while_a_jail_may_make_none for root; needs [CgroupV2]; |lab| {
    quiet(lab, "mkdir /tmp/given; jail -c name=a children.max=1 mount='/tmp/given /srv none ro' persist; jail -m name=a children.max=0");
    // The mounts are those of this process when it may make jails again.
    quiet(lab, "jexec a sh -c 'sleep 1000 >/dev/null 2>&1 &'; jail -m name=a children.max=1");
    for line in ["umount -l /srv", "mount -o remount,rw,bind /srv"] {
        assert!(!run(lab, &format!("jexec a {line}")).status.success(), "{line}");
    }
    quiet(lab, "jail -q -R a; rmdir /tmp/given");
    all_gone(lab);
});

lab_test!(whatever_a_jail_does_to_who_comes_in_the_list_is_there for root; needs [CgroupV2]; with timeout(180); |lab| {
    for hostility in [
        // Its processes are put to sleep, as far as they are its own.
        "cd /sys/fs/cgroup; rmdir self; echo 1 > self/cgroup.freeze; mkdir mine; for p in $(cat self/cgroup.procs); do echo $p > mine/cgroup.procs; done; echo 1 > mine/cgroup.freeze",
        "setsid sh -c 'while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; test $p -gt 3 -a $p != $$ && kill -STOP $p; done; done' >/dev/null 2>&1 </dev/null & sleep 0.2",
    ] {
        quiet(lab, "jail -c name=a jid=7 children.max=2 persist; jail -c name=z jid=8 persist; jexec a true");
        std::fs::write("/tmp/hostile", hostility).unwrap();
        let _held = run(lab, "timeout -s KILL 5 jexec a sh -c \"$(cat /tmp/hostile)\" >/dev/null 2>&1");
        let listed = run(lab, "timeout -s KILL 10 jls name");
        assert_eq!(listed.stdout, "a\nz\n", "{hostility}: {listed}");
        quiet(lab, "timeout -s KILL 10 jail -m name=z meta=x; timeout -s KILL 10 jail -q -R a z");
        all_gone(lab);
    }
    quiet(lab, "rm /tmp/hostile");
});

lab_test!(cgroups_that_a_jail_makes_are_few_and_not_deep_and_no_strays for root; needs [CgroupV2, Program("python3")]; |lab| {
    quiet(lab, "jail -c name=a children.max=2 persist");
    prints(lab, "jexec a python3 -c '
import os
os.chdir(\"/sys/fs/cgroup\")
n = 0
try:
    while True: os.mkdir(\"d\" * 200); os.chdir(\"d\" * 200); n += 1
except OSError: print(n)
'", "12\n");
    quiet(lab, "jexec a sh -c 'mkdir /sys/fs/cgroup/99; chown 5:5 /sys/fs/cgroup/99; rmdir /sys/fs/cgroup/self || true; mv /sys/fs/cgroup/self /sys/fs/cgroup/x || true' 2>/dev/null");
    quiet(lab, "jdb audit; jexec a true; jail -r a");
    all_gone(lab);
});

lab_test!(when_all_processes_of_a_jail_are_killed_its_jails_are_gone_with_them for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=3 persist; jexec a jail -c name=b persist; jexec a jail -c name=c persist");
    let _killed = run(lab, "jexec a sh -c 'kill -9 -1'");
    // Its init leaves when it finds itself alone.
    let processes = "find /sys/fs/cgroup -path '*/self/cgroup.procs' -exec cat {} +";
    lab.until("it has none", || lab.sh(processes).is_empty());
    says(lab, "a", "jls name; jdb audit; jail -c name=b persist; jls name; jdb audit", "b\n");
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(a_command_about_jails_in_jails_does_the_rest_too for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a children.max=3 persist; jail -c name=z persist; jexec a jail -c name=b persist");
    let got = run(lab, "jail -q -r a.nope z");
    assert_eq!(got.status.code(), Some(1), "{got}");
    prints(lab, "jls name", "a\na.b\n");
    quiet(lab, "jail -m host.hostname=a.b name=a.b");
    prints(lab, "jexec a.b hostname; jls -j a.b name host.hostname children.max", "a.b\na.b a.b 0\n");
    quiet(lab, "jail -q -r 'a.*'; jls -c -j a.b; jail -r a");
    all_gone(lab);
});
