//! Hosts and moments that are out of the ordinary.

use std::{fs, thread::sleep, time::Duration};

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

lab_test!(a_shared_root_with_a_peer_and_a_slave_holds_nothing for root; needs [CgroupV2]; |lab| {
    lab.sh("mount --make-rshared /");
    let others = ["shared", "slave"].map(|propagation| {
        lab.spawn(&format!("exec unshare --mount --propagation {propagation} sh -c 'echo ready; exec sleep 1000'"))
    });
    for other in &others {
        lab.until("it has a copy of the mounts", || other.stdout() == "ready\n");
    }
    for _ in 0..3 {
        quiet(lab, "jail -c name=a persist; jail -c name=b path=/usr persist");
        prints(lab, "jexec a echo in; ls /proc/$(pgrep -x sleep | head -n 1)/root/run/jail/vault", "in\nns\n");
        // The pin is nowhere but here.
        for other in &others {
            let table = fs::read_to_string(format!("/proc/{}/mountinfo", other.id())).unwrap();
            assert!(!table.contains("/run/jail/vault/ns"), "{table}");
        }
        quiet(lab, "jail -q -r a b");
    }
    for other in &others {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", other.id())).unwrap();
        assert!(!table.contains("/run/jail"), "{table}");
    }
    lab.sh("mount --make-rprivate /");
});

lab_test!(tool_and_jail_run_on_any_processor for root; needs [CgroupV2, Program("taskset")]; with timeout(120); |lab| {
    let cpus: Vec<_> = lab.sh("taskset -c -p $$ | grep -o '[0-9]*' | tail -n 2").lines().map(str::to_owned).collect();
    for round in 0..20 {
        let cpu = |n: usize| format!("taskset -c {}", cpus[(round + n) % cpus.len()]);
        // The last removal takes the vault down, so that each round makes it anew.
        quiet(lab, &format!("{} jail -c name=a persist", cpu(0)));
        quiet(lab, &format!("{} jail -c name=b persist exec.start='sleep 1000 & exit 0'", cpu(1)));
        prints(lab, &format!("{} jexec a echo in", cpu(1)), "in\n");
        quiet(lab, &format!("{} jail -m name=b persist=false; {} jail -m name=b persist", cpu(1), cpu(0)));
        quiet(lab, &format!("{} jail -q -r a b", cpu(round / 2)));
    }
});

lab_test!(a_killed_tool_leaves_nothing_after_a_sweep for root; needs [CgroupV2]; with timeout(180); |lab| {
    let ways = [
        "persist",
        "command=true",
        "persist vnet.link='eth0 lan 10.9.0.1/24'",
        "exec.start=true command=true",
        "user=inherit vnet.link='eth0 lan 10.9.0.1/24' command=true",
    ];
    for (round, define) in (0..75).zip(ways.into_iter().cycle()) {
        let mut maker = lab.spawn(&format!("exec jail -c name=a {define}"));
        // From before its start to after its end, in steps that meet no rhythm of its own.
        sleep(Duration::from_micros(round * 7919 % 30_000));
        maker.kill();
        drop(maker.finish());
        lab.sh("jail -q -r a || true");
        // What was half made is no process of anybody's.
        lab.until("no child survives", || {
            let left = lab.sh("ps -eo pid,comm --no-headers | awk '$2 == \"jail\" || $2 == \"memfd:init\" || $2 == \"init\"'");
            left.is_empty()
        });
        prints(lab, "jail -c name=a command=echo next", "next\n");
    }
    quiet(lab, "jail -c command=true");
    all_gone(lab);
});

lab_test!(a_persistent_jail_survives_the_end_of_its_init for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist exec.start='sleep 1000 & echo kept > /dev/shm/x'");
    for _ in 0..5 {
        // The init's name is that of its program in memory.
        lab.sh("pkill -9 -x memfd:init || pkill -9 -x init");
        prints(lab, "jexec a sh -c 'cat /dev/shm/x; sleep 1000 >/dev/null 2>&1 & exit 0'", "kept\n");
        assert_eq!(names(lab), ["a"]);
    }
    quiet(lab, "jail -r a");
});

lab_test!(commands_come_in_while_others_leave for root; needs [CgroupV2]; with timeout(120); |lab| {
    for mask in ["", "JAIL_MASK=pidfd_exit_info"] {
        quiet(lab, "jail -c name=a persist");
        let line = format!("export {mask} LC_ALL=C; for n in $(seq 25); do jexec a true || echo $?; done");
        let loops = [(); 4].map(|()| lab.spawn(&line));
        for each in loops {
            assert_eq!(each.finish().ok(), "");
        }
        quiet(lab, "jail -r a");
    }
});

lab_test!(what_is_in_shared_memory_outlives_the_last_process for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist exec.start='echo kept > /dev/shm/x'");
    quiet(lab, "jail -c name=b persist");
    prints(lab, "jexec a cat /dev/shm/x; jexec b ls /dev/shm; ls /dev/shm", "kept\n");
    // What is elsewhere in memory is of the jail's run alone, but of no other jail's.
    quiet(lab, "jexec a touch /tmp/a; jexec b test ! -e /tmp/a; test ! -e /tmp/a");
    quiet(lab, "jail -q -r a b");
});

lab_test!(a_host_that_does_not_reap_is_not_waited_for for root; needs [CgroupV2]; with careless_init; |lab| {
    quiet(lab, "jail -c name=a jid=5 persist exec.start='sleep 1000 & exit 0'");
    // The init's parent was the command that made it: now it is the host's pid 1.
    let before = std::time::Instant::now();
    quiet(lab, "jail -r a");
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    prints(lab, "jls name", "");
    quiet(lab, "jail -c name=a jid=5 persist");
    quiet(lab, "jail -r a");
    // As long as the zombie is there, so is its pid namespace, and with it the jail's ids.
    let zombies = lab.sh("ps -eo stat,comm --no-headers | grep -c ^Z || true");
    if zombies.trim() != "0" {
        assert!(!lab.sh("jls -d name").is_empty());
    }
    lab.no_audit("the zombies stay as long as the host's pid 1");
});

/// Mounts a file system below a tree, makes the jail, unmounts it on the host, and waits until it is gone whole.
fn unmounts_below(lab: &Lab, jail: &str) {
    lab.sh("mount --make-rshared /");
    lab.sh("mkdir -p /tmp/tree/data /tmp/tree/usr; cp /usr/bin/busybox /tmp/tree/");
    lab.sh("dd if=/dev/zero of=/tmp/image bs=1M count=8 2>/dev/null; mkfs.ext4 -q /tmp/image; mount -o loop /tmp/image /tmp/tree/data");
    let device = lab.sh("findmnt -n -o SOURCE /tmp/tree/data");
    let used = format!("/sys/fs/ext4/{}", device.trim().trim_start_matches("/dev/"));
    assert!(fs::exists(&used).unwrap());
    quiet(lab, jail);
    quiet(lab, "umount /tmp/tree/data");
    lab.until("the file system is gone", || !fs::exists(&used).unwrap());
    quiet(lab, "jail -r a");
    lab.sh("mount --make-rprivate /");
}

lab_test!(the_host_unmounts_below_a_running_jail for root; needs [CgroupV2, Program("mkfs.ext4"), Program("busybox")]; |lab| {
    unmounts_below(lab, "jail -c name=a path=/tmp/tree command=/busybox sh -c '/busybox sleep 1000 >/dev/null &'");
});

lab_test!(the_host_unmounts_below_an_empty_jail for root; needs [CgroupV2, Program("mkfs.ext4"), Program("busybox")]; |lab| {
    unmounts_below(lab, "jail -c name=a path=/tmp/tree persist");
});

lab_test!(a_command_that_joins_is_left_to_the_jails_init for root; needs [CgroupV2]; |lab| {
    // Left to the host, a command ends when that gets round to collecting it.
    quiet(lab, "jail -c name=a persist");
    let other = lab.spawn("exec jexec a sleep 1000");
    lab.until("it runs", || !lab.sh("jexec a pgrep -x sleep || true").is_empty());
    // Its maker may take a moment to go.
    quiet(lab, "jexec a sh -c 'until grep -q \"^PPid:[^0-9]*1$\" /proc/$$/status; do :; done'");
    drop(other);
    quiet(lab, "jail -r a");
});

lab_test!(pids_of_the_host_are_shown_where_they_are_inherited for root; needs [CgroupV2]; |lab| {
    let sleeper = lab.spawn("exec sleep 31415.9");
    lab.until("it sleeps", || !lab.sh("pgrep -f 'sleep 31415.9$' || true").is_empty());
    quiet(lab, "jail -c name=a proc=inherit persist");
    prints(lab, &format!("jexec a cat /proc/{}/comm", sleeper.id()), "sleep\n");
    // To see is not to touch.
    let kill = run(lab, &format!("jexec a sh -c 'kill {}'", sleeper.id())).fails(1);
    assert!(kill.contains("not permitted"), "{kill}");
    prints(lab, "jexec a sh -c 'echo $PPID; id -u' | tail -n 1", "0\n");
    gives(lab, "jexec a sh -c 'exit 3'", 3, "", "");
    quiet(lab, "jail -r a");
});

lab_test!(the_inside_is_denied_what_is_the_hosts for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist");
    for line in ["unshare -Urm true", "unshare -m true", "mount -o remount,rw /sys", "mount -t tmpfs x /mnt",
        "umount /tmp", "mknod /tmp/null c 1 3", "dmesg", "sh -c 'echo 1 > /proc/sys/kernel/panic'", "nsenter -t 1 -m true",
        "chroot /proc/1/root/.. sh -c 'test -e /run/jail'"] {
        let output = run(lab, &format!("jexec a {line}"));
        assert!(!output.status.success(), "{output}");
    }
    prints(lab, "jexec a hostname", "a\n");
    quiet(lab, "jail -r a");
});

/// The host name as the jail has it, as jls(8) says, and the host's.
fn host_names(lab: &Lab, jail: &str) -> [String; 3] {
    [format!("jexec {jail} hostname"), format!("jls -j {jail} host.hostname"), "hostname".to_owned()]
        .map(|line| lab.sh(&line).trim().to_owned())
}

lab_test!(a_jail_sets_its_own_host_name for root; needs [CgroupV2]; |lab| {
    let ours = lab.sh("hostname").trim().to_owned();
    let given = |name: &str| [name.to_owned(), name.to_owned(), ours.clone()];
    for kind in ["", "user=inherit vnet", "proc=inherit", "vnet.link='eth0 lan 10.9.0.1/24'"] {
        quiet(lab, &format!("jail -c name=a persist {kind}"));
        prints(lab, "jls -j a allow.set_hostname", "true\n");
        assert_eq!(host_names(lab, "a"), given("a"));
        quiet(lab, "jexec a hostname inside");
        // It stays without processes, and when something else changes.
        assert_eq!(host_names(lab, "a"), given("inside"));
        quiet(lab, "jail -m name=a host.domainname=example.org");
        prints(lab, "jexec a domainname; jls -j a host.domainname; domainname", "example.org\nexample.org\n(none)\n");
        assert_eq!(host_names(lab, "a"), given("inside"));
        // From outside it can be changed as ever, and back to what it was made with.
        for name in ["outside", "a"] {
            quiet(lab, &format!("jail -m name=a host.hostname={name}"));
            assert_eq!(host_names(lab, "a"), given(name));
        }
        quiet(lab, "jexec a hostname inside; jail -m name=a host.hostname=a");
        assert_eq!(host_names(lab, "a"), given("a"));
        // Only its root does.
        let user = run(lab, "jexec -U nobody a hostname x").fails(1);
        assert!(user.contains("hostname: "), "{user}");
        quiet(lab, "jail -r a");
    }
    prints(lab, "jail -c name=a command=sh -c 'hostname here; hostname'", "here\n");
    assert_eq!(lab.sh("hostname").trim(), ours);
});

lab_test!(a_host_name_that_is_not_the_jails_to_set for root; needs [CgroupV2]; |lab| {
    for (kind, said) in [
        ("allow.noset_hostname", "false"),
        ("allow.nosuser", "true"),
        ("user=inherit", "false"),
        ("host=inherit", "false"),
    ] {
        quiet(lab, &format!("jail -c name=a persist {kind}"));
        prints(lab, "jls -j a allow.set_hostname", &format!("{said}\n"));
        let before = host_names(lab, "a");
        assert!(!run(lab, "jexec a hostname x").status.success(), "{kind}");
        assert_eq!(host_names(lab, "a"), before, "{kind}");
        quiet(lab, "jail -r a");
    }
    refused(lab, "jail -c name=a persist user=inherit allow.set_hostname",
        "jail: allow.set_hostname: a jail in the host's user namespace makes none for it\n\
         hint: with user=new or vnet=new it can be granted\n");
    refused(lab, "jail -c name=a persist host=inherit allow.set_hostname",
        "jail: allow.set_hostname: the host name is the parent's\nhint: with host=new it can be granted\n");
    // A child has it if its parent does, and a name of its own.
    quiet(lab, "jail -c name=a children.max=2 persist; jail -c name=a.b persist; jail -c name=a.c host=inherit persist");
    quiet(lab, "jexec a.b hostname x; jexec a hostname y");
    prints(lab, "jexec a.b hostname; jexec a hostname; jexec a.c hostname; jls -j a.c host.hostname", "x\ny\ny\ny\n");
    assert!(!run(lab, "jexec a.c hostname z").status.success());
    quiet(lab, "jail -r a; jail -c name=a allow.noset_hostname children.max=1 persist; jail -c name=a.b persist");
    prints(lab, "jls -j a.b allow.set_hostname", "false\n");
    refused(lab, "jail -c name=a.c persist allow.set_hostname", "jail: prison limit exceeded\nhint: jail a has 1 of at most 1 below it, its children.max\n");
    quiet(lab, "jail -r a.b");
    refused(lab, "jail -c name=a.c persist allow.set_hostname",
        "jail: allow.set_hostname: Operation not permitted\nhint: its parent's allows a child at most false\n");
    quiet(lab, "jail -r a");
});

lab_test!(room_for_children_is_room_for_all_of_them for root; needs [CgroupV2]; with timeout(120); |lab| {
    // Each takes two user namespaces, and those of the removed go when the kernel gets round to it.
    quiet(lab, "jail -c name=a children.max=2 persist");
    for _ in 0..20 {
        quiet(lab, "jail -c name=a.b persist; jail -c name=a.c persist; jail -q -r a.b a.c");
    }
    quiet(lab, "jail -r a");
});
