//! What is refused, in which words, and that nothing has changed then.

use vimage_tests::{Lab, Snapshot, lab_test};

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

/// Runs a line that must be refused in these words, and compares all of the machine before and after.
#[track_caller]
fn unchanged(lab: &Lab, line: &str, stderr: &str) {
    let before = lab.snapshot();
    refused(lab, line, stderr);
    settles(lab, &before, line);
}

#[track_caller]
fn settles(lab: &Lab, before: &Snapshot, line: &str) {
    lab.until(&format!("nothing has changed after {line}"), || {
        lab.sweep();
        lab.snapshot().since(before).is_empty()
    });
}

/// Runs lines that define a jail `a` and are refused in these words.
#[track_caller]
fn refusals(lab: &Lab, rows: &[(&str, &str)]) {
    for (definition, stderr) in rows {
        unchanged(lab, &format!("jail -c name=a persist {definition}"), &format!("jail: {stderr}\n"));
    }
}

lab_test!(a_parameter_that_is_unknown_or_of_another_type for root; needs [CgroupV2]; |lab| {
    refusals(lab, &[
        ("pth=/x", "unknown parameter: pth\nhint: did you mean path?"),
        ("host.hostnam=x", "unknown parameter: host.hostnam\nhint: did you mean host.hostname?"),
        ("rctl.memusage=1", "unknown parameter: rctl.memusage\nhint: did you mean rctl.memoryuse?"),
        ("securelevel=1", "securelevel: Linux has no securelevels\nhint: what the jail's root may do is said by allow.* parameters"),
        ("devfs_ruleset=0", "devfs_ruleset: 0 is no rule set: the jail would have the host's disks and memory\nhint: 4 is what a jail has by default"),
        ("exec.fib=1", "exec.fib: Linux has no numbered routing tables of processes\nhint: vnet.route says where packets go"),
        ("mount.noprocfs", "mount.procfs: every jail has a /proc, of its own processes\nhint: leave it out"),
        ("zfs.dataset=x", "zfs.dataset: a dataset cannot be handed to a jail\nhint: mount=\"/MOUNTPOINT /DIR none\" hands its files in"),
        ("enforce_statfs=1", "enforce_statfs: a jail sees no mounts but its own, which is 2 and not 1\nhint: leave it out"),
        ("blabla", "unknown parameter: blabla\nhint: jdb show params lists all"),
        ("nopath", "unknown parameter: nopath\nhint: did you mean path?"),
        ("persist=maybe", "persist: unknown boolean value \"maybe\""),
        ("nopersist=1", "nopersist: a negated parameter has no value"),
        ("children.max=x", "children.max: non-integer value \"x\""),
        ("children.max=", "children.max: non-integer value \"\""),
        ("children.max=-1", "children.max: value out of range \"-1\"\nhint: from 0 to 999999"),
        ("children.max=99999999999999999999", "children.max: non-integer value \"99999999999999999999\""),
        ("children.max+=3", "children.max: += needs a list"),
        ("rctl.pcpu=50%%", "rctl.pcpu: non-integer value \"50%%\""),
        ("shm.size=1Q", "shm.size: non-integer value \"1Q\""),
        ("rctl.memoryuse=0", "rctl.memoryuse: value out of range \"0\"\nhint: at least 1"),
        ("rctl.pcpu=x", "rctl.pcpu: non-integer value \"x\""),
        ("vnet=old", "vnet: unknown jailsys value \"old\""),
        ("vnet=disable", "vnet: jailsys value not supported here \"disable\"\nhint: it takes new, inherit"),
        ("path", "path: value missing"),
        ("dying", "dying: read-only parameter"),
        ("parent=3", "parent: read-only parameter"),
        ("host.hostuuid=x", "host.hostuuid: not a UUID \"x\"\nhint: it looks like 6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ]);
    let long = "x".repeat(65);
    refusals(lab, &[(&format!("host.hostname={long}"),
        &format!("host.hostname: name of 65 bytes is too long \"{long}\"\nhint: Linux takes at most 64 bytes"))]);
});

lab_test!(a_name_or_number_that_cannot_be for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=web jid=7 persist");
    let character = "has a character that no name has\nhint: letters, digits, - and _; a dot between a jail and the jail it is in";
    for (name, stderr) in [
        ("web", "\"web\" already exists"),
        ("5", "name cannot be numeric (unless it is the jid)"),
        ("web.5", "name cannot be numeric (unless it is the jid)"),
        ("a..b", "name: \"a..b\" has an empty part"),
        (".a", "name: \".a\" has an empty part"),
        ("a.", "name: \"a.\" has an empty part"),
        ("..", "name: \"..\" has an empty part"),
        ("a/b", &format!("name: \"a/b\" {character}")),
        ("'a b'", &format!("name: \"a b\" {character}")),
        ("a,b", &format!("name: \"a,b\" {character}")),
        ("nosuch.b", "jail \"nosuch\" not found"),
        ("web.b", "prison limit exceeded\nhint: jail web has 0 of at most 0 below it, its children.max"),
    ] {
        unchanged(lab, &format!("jail -c name={name} persist"), &format!("jail: {stderr}\n"));
    }
    refusals(lab, &[
        ("jid=7", "jail 7 already exists"),
        ("jid=0", "jid: value out of range \"0\"\nhint: from 1 to 999999"),
        ("jid=1000000", "jid: value out of range \"1000000\"\nhint: from 1 to 999999"),
        ("name=5 jid=6", "name cannot be numeric (unless it is the jid)"),
    ]);
    let long = "x".repeat(256);
    unchanged(lab, &format!("jail -c name={long} persist"), &format!("jail: name: value too long \"{long}\"\nhint: at most 255 bytes\n"));
    quiet(lab, "jail -r web");
});

lab_test!(a_path_that_cannot_be_a_root for root; needs [CgroupV2]; |lab| {
    lab.sh("touch /tmp/file; mkdir -p /tmp/o/l /tmp/o/u /tmp/o/w /tmp/o/m");
    lab.sh("mount -t overlay o -o lowerdir=/tmp/o/l,upperdir=/tmp/o/u,workdir=/tmp/o/w /tmp/o/m");
    refusals(lab, &[
        ("path=/nosuch", "path /nosuch: No such file or directory"),
        ("path=tmp", "path tmp: not an absolute pathname"),
        ("path=/tmp/file", "path /tmp/file: Not a directory"),
        ("path=/tmp/o/m", "a: path /tmp/o/m: its file system cannot be id-mapped\nhint: user=inherit does without"),
        ("mount=x", "mount: \"x\": missing information\nhint: SOURCE MOUNTPOINT TYPE [OPTIONS]"),
        ("mount='/nosuch /mnt none'", "mount: /nosuch: No such file or directory"),
        ("mount='/tmp /mnt nosuchfs'", "a: mount: cannot mount /tmp for /mnt: No such device"),
        ("mount='/usr /nosuch/at none'", "mount: /nosuch/at: No such file or directory"),
        ("mount.fstab=/nosuch", "mount.fstab: /nosuch: No such file or directory"),
    ]);
    // The hint helps.
    for vnet in ["vnet=inherit", "vnet=new"] {
        quiet(lab, &format!("jail -c name=a persist path=/tmp/o/m user=inherit {vnet}; jail -r a"));
    }
    quiet(lab, "umount /tmp/o/m");
});

lab_test!(a_network_that_cannot_be for root; needs [CgroupV2]; |lab| {
    lab.sh("ip link add foreign type veth peer name other");
    quiet(lab, "jail -c name=web jid=7 persist vnet.link='eth0 lan 10.9.0.1/24'");
    refusals(lab, &[
        ("vnet.link='eth0 lan 10.9.0.300/24'", "vnet.link: \"eth0 lan 10.9.0.300/24\": not an address"),
        ("vnet.link='eth0 lan 10.9.0.2'", "vnet.link: \"eth0 lan 10.9.0.2\": 10.9.0.2 lacks the length of its prefix\nhint: 10.9.0.2/24"),
        ("vnet.link='eth0 lan 10.9.0.1/24'", "vnet: address 10.9.0.1 is already on segment lan\nhint: jail 7 has it"),
        ("vnet.link='a lan 10.9.0.2/24' vnet.link='b lan 10.9.0.2/24'", "vnet.link: 10.9.0.2 twice on segment lan"),
        ("vnet.link='eth0123456789012 lan'", "vnet.link: \"eth0123456789012 lan\": \"eth0123456789012\": longer than 15 bytes"),
        ("vnet.link='eth0 lan' vnet.link='eth0 wan'", "vnet.link: eth0 is declared twice"),
        ("vnet.link='eth0 foreign'", "vnet.link: foreign is an interface of the parent, but no bridge\n\
            hint: a segment of ours has a name that no interface has; a foreign one is a bridge"),
        ("vnet vnet.host='foreign 10.9.0.2/24'", "vnet.host: foreign is an interface of the parent, but no bridge\n\
            hint: a segment of ours has a name that no interface has; a foreign one is a bridge"),
        ("vnet.link='eth0 lan 10.9.0.255/24'", "vnet.link: \"eth0 lan 10.9.0.255/24\": 10.9.0.255 is the broadcast address of 10.9.0.0/24"),
        ("vnet.host='lan 10.9.0.0/24'", "vnet.host: \"lan 10.9.0.0/24\": 10.9.0.0 is the address of the network 10.9.0.0/24"),
        ("vnet=inherit vnet.link='eth0 lan'", "vnet.link needs vnet=new, which is inherit"),
    ]);
    quiet(lab, "jail -r web; ip link del foreign");
});

lab_test!(modes_that_exclude_each_other for root; needs [CgroupV2]; |lab| {
    let one = "hint: Linux has one namespace for System V IPC and POSIX message queues together; give";
    refusals(lab, &[
        ("sysvshm=new sysvsem=inherit",
            &format!("sysvshm: new cannot be mixed with sysvsem=inherit\n{one} sysvshm=inherit or sysvshm=disable")),
        ("proc=inherit user=inherit", "proc=inherit cannot be combined with user=inherit\n\
            hint: the jail's root could signal every process of the host's root: nothing on Linux forbids it"),
        ("host=inherit host.hostname=x", "host.hostname needs host=new, which is inherit"),
    ]);
    unchanged(lab, "jail -c name=a", "jail: new jail must persist or attach\nhint: add persist, or command=...\n");
    unchanged(lab, "jail -c name=a exec.start=' '", "jail: exec.start: an empty command\n");
    unchanged(lab, "jail -c name=a command=", "jail: command: an empty command\n");
    unchanged(lab, "jail -c name=a persist command='' x", "jail: command: an empty command\n");
    unchanged(lab, "jail -R", "jail: no jail specified\nhint: jail -R JAIL ..., or '*' for all\n");
});

lab_test!(a_modification_that_cannot_be for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=web jid=7 persist");
    for (line, stderr) in [
        ("name=nosuch persist", "\"nosuch\" not found"),
        ("jid=99 persist", "\"99\" not found"),
        ("host.hostname=x", "no jail specified\nhint: name=NAME or jid=JID"),
        ("name=web path=/tmp", "path cannot be changed after creation"),
        ("name=web allow.mlock", "allow.mlock cannot be changed after creation\n\
            hint: a process that runs cannot be given capabilities, nor be freed of its filter"),
        ("name=web user=inherit", "user cannot be changed after creation"),
        ("name=web pth=/x", "unknown parameter: pth\nhint: did you mean path?"),
    ] {
        unchanged(lab, &format!("jail -m {line}"), &format!("jail: {stderr}\n"));
    }
    quiet(lab, "jail -r web");
});

lab_test!(a_missing_privilege_is_named for root; needs [CgroupV2, Program("setpriv")]; |lab| {
    let user = "setpriv --reuid 65533 --regid 65533 --clear-groups";
    let hint = "hint: this needs CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE, CAP_SYS_ADMIN, which root has\n";
    unchanged(lab, &format!("{user} jail -c name=a persist"), &format!("jail: cannot make /run/jail/jails: Permission denied\n{hint}"));
    quiet(lab, "jail -c name=web persist");
    // Whether it still lives is looked at by every command.
    quiet(lab, "jail -c name=busy command=sh -c 'sleep 1000 >/dev/null &'");
    let denied = format!("Operation not permitted\n{hint}");
    for line in ["-c name=a persist", "-c name=a command=true", "-c name=a user=inherit persist", "-m name=web host.hostname=x"] {
        unchanged(lab, &format!("{user} jail {line}"), &format!("jail: jail_set: {denied}"));
    }
    unchanged(lab, &format!("{user} jail -r web"), &format!("jail: {denied}"));
    refused(lab, &format!("{user} jexec web true"), &format!("jexec: {denied}"));
    for cap in ["SYS_ADMIN", "SETUID", "SETGID", "SYS_PTRACE"] {
        unchanged(lab, &format!("setpriv --bounding-set -{} jail -c name=a persist", cap.to_lowercase()),
            &format!("jail: jail_set: Operation not permitted\nhint: this needs CAP_{cap}, which root has{}\n",
                if cap == "SYS_ADMIN" { " outside a jail, and in one with children.max above 0" } else { "" }));
    }
    unchanged(lab, "setpriv --bounding-set -net_admin jail -c name=a persist vnet.link='eth0 lan'",
        "jail: a: cannot make segment lan: Operation not permitted\nhint: this needs CAP_NET_ADMIN over the network stack\n");
    quiet(lab, "jail -q -r web busy");
});

lab_test!(a_missing_feature_of_the_kernel_is_done_without for root; needs [CgroupV2]; with timeout(120); |lab| {
    let features = [
        "nsfs_handles", "pidfd_ns_ioctls", "pidfd_exit_info", "idmapped_mounts", "cgroup_kill", "wide_bridges",
        "bpf_iterators",
    ];
    for mask in features.map(str::to_owned).into_iter().chain([features.join(",")]) {
        let with = format!("export JAIL_MASK={mask};");
        prints(lab, &format!("{with} jail -c name=m persist exec.start='echo in' command=sh -c 'sleep 1000 >/dev/null & echo on'"), "in\non\n");
        prints(lab, &format!("{with} jexec m sh -c 'sleep 0.1; echo in; pgrep -c sleep'"), "in\n1\n");
        gives(lab, &format!("{with} jexec m sh -c 'exit 3'"), 3, "", "");
        refused(lab, &format!("{with} jail -c name=n command=sh -c 'exit 7'"), "jail: sh -c exit 7: failed\n");
        prints(lab, &format!("{with} jail -c name=n command=sh -c 'sleep 0.1; echo done'"), "done\n");
        // What is the jail's own is so without a map of ids, too.
        prints(lab, &format!("{with} jexec m sh -c 'cd /tmp && touch a /run/a /var/tmp/a && stat -c %U a . /run && test -w /dev'; test ! -e /tmp/a"),
            "root\nroot\nroot\n");
        quiet(lab, &format!("{with} jail -r m"));
        assert_eq!(names(lab), [""; 0]);
    }
    all_gone(lab);
});

lab_test!(a_feature_that_nothing_does_without_is_named for root; needs [CgroupV2]; |lab| {
    lab.sh("mkdir -p /tmp/tree/bin");
    for (mask, definition, inherit, stderr) in [
        ("idmapped_mounts", "path=/tmp/tree", "user=inherit",
            "user: this kernel lacks id-mapped mounts\nhint: user=inherit does without"),
        ("idmapped_mounts", "mount='/usr /mnt none'", "user=inherit",
            "user: this kernel lacks id-mapped mounts\nhint: user=inherit does without"),
        ("user_namespaces", "", "user=inherit",
            "user: this kernel lacks user namespaces\nhint: CONFIG_USER_NS, and user.max_user_namespaces above 0"),
        ("user_namespaces", "vnet user=inherit", "user=inherit",
            "vnet: this kernel lacks user namespaces\nhint: CONFIG_USER_NS, and user.max_user_namespaces above 0"),
        ("net_namespaces", "vnet", "vnet=inherit",
            "vnet: this kernel lacks network namespaces\nhint: CONFIG_NET_NS, and user.max_net_namespaces above 0"),
        ("ipc_namespaces", "", "sysvmsg=inherit sysvsem=inherit sysvshm=inherit",
            "sysvmsg: this kernel lacks ipc namespaces\nhint: CONFIG_IPC_NS, and user.max_ipc_namespaces above 0"),
        ("ipc_namespaces", "sysvmsg=disable sysvsem=disable sysvshm=disable", "mqueue=disable sysvmsg=disable sysvsem=disable sysvshm=disable",
            "mqueue: this kernel lacks ipc namespaces\nhint: CONFIG_IPC_NS, and user.max_ipc_namespaces above 0"),
        ("uts_namespaces", "", "host=inherit",
            "host: this kernel lacks uts namespaces\nhint: CONFIG_UTS_NS, and user.max_uts_namespaces above 0"),
        ("pid_namespaces", "", "proc=inherit",
            "proc: this kernel lacks pid namespaces\nhint: CONFIG_PID_NS, and user.max_pid_namespaces above 0"),
        ("pid_namespaces", "nopersist command=true", "proc=inherit",
            "proc: this kernel lacks pid namespaces\nhint: CONFIG_PID_NS, and user.max_pid_namespaces above 0"),
    ] {
        let with = format!("export JAIL_MASK={mask};");
        unchanged(lab, &format!("{with} jail -c name=a persist {definition}"), &format!("jail: a: {stderr}\n"));
        // Who does not ask for it is not concerned.
        quiet(lab, &format!("{with} jail -c name=a persist {inherit}; jail -r a"));
        all_gone(lab);
    }
});

lab_test!(a_removal_frees_a_full_file_system for root; needs [CgroupV2]; |lab| {
    lab.sh("mount -t tmpfs -o size=192k full /mnt");
    let store = "export JAIL_ROOT=/mnt/store;";
    let empty = lab.snapshot();
    for create in [
        "persist",
        r#"vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.host="lan 10.9.0.1/24" persist"#,
        r#"vnet vnet.link="eth0 lan 10.9.0.11/24" exec.start='sleep 31415.8 & exit 0' persist"#,
    ] {
        quiet(lab, &format!("{store} jail -c name=web {create}"));
        lab.sh("dd if=/dev/zero of=/mnt/fill bs=1k 2>/dev/null || true; ! echo x >/mnt/more 2>/dev/null");
        // What it frees goes on being counted only where there is room.
        let removal = run(lab, &format!("{store} jail -r web"));
        let counts = |line: &str| line.contains("/ledger: ") || line.contains("/trace: ");
        assert!(removal.status.success() && removal.stderr.lines().all(counts), "{removal}");
        lab.until("all is gone", || {
            lab.sh(&format!("{store} jail -q -r nosuch || true; jls -d name; cd $JAIL_ROOT; ls jails ranges shared names pending addresses | grep -v :"))
                .trim().is_empty()
        });
        quiet(lab, &format!("{store} jdb audit --all"));
        assert_eq!(lab.snapshot().since(&empty), [""; 0]);
        lab.sh("rm /mnt/fill /mnt/more");
    }
    lab.sh("umount /mnt");
});

lab_test!(a_full_file_system_does_not_keep_jails for root; needs [CgroupV2]; |lab| {
    lab.sh("mount -t tmpfs -o size=96k full /mnt");
    let store = "export JAIL_ROOT=/mnt/store;";
    quiet(lab, &format!("{store} jail -c name=web persist exec.start='sleep 31415.7 & exit 0'"));
    lab.sh("dd if=/dev/zero of=/mnt/fill bs=1k 2>/dev/null || true");
    for definition in ["persist", "command=true"] {
        let error = run(lab, &format!("{store} jail -c name=a {definition}")).fails(1);
        assert!(error.lines().count() == 1 && error.ends_with(": No space left on device\n"), "{error}");
    }
    // Whatever can be said of it: the jail is gone, and its name is free.
    let removal = run(lab, &format!("{store} jail -r web"));
    assert!(removal.stderr.lines().all(|line| line.ends_with(": No space left on device")), "{removal}");
    prints(lab, &format!("{store} jls name; pgrep -f 'sleep 31415.7$'; true"), "");
    lab.sh("rm /mnt/fill");
    lab.until("all is gone", || {
        lab.sh(&format!("{store} jail -q -r nosuch || true; jls -d name; ls $JAIL_ROOT/jails $JAIL_ROOT/ranges $JAIL_ROOT/files"))
            == "/mnt/store/files:\n\n/mnt/store/jails:\n\n/mnt/store/ranges:\n"
    });
    lab.sh("umount /mnt");
});

lab_test!(a_read_only_store_is_left_alone for root; needs [CgroupV2]; |lab| {
    lab.sh("mount -o remount,ro /run");
    unchanged(lab, "jail -c name=a persist", "jail: cannot make /run/jail/jails: Read-only file system\n");
    lab.sh("mount -o remount,rw /run");
    quiet(lab, "jail -c name=web jid=7 persist; mount -o remount,ro /run");
    unchanged(lab, "jail -c name=a persist", "jail: cannot write /run/jail/numbers/jid: Read-only file system\n");
    unchanged(lab, "jail -r web", "jail: web: cannot open /run/jail/jails/7/lock: Read-only file system\n");
    prints(lab, "mount -o remount,rw /run; jexec web echo in", "in\n");
    quiet(lab, "jail -r web");
});

lab_test!(without_cgroups_nothing_is_made_and_nothing_lost for root; needs [CgroupV2]; |lab| {
    let cgroups = lab.cgroup().display().to_string();
    quiet(lab, "jail -c name=web persist; jail -c name=b command=sh -c 'sleep 1000 >/dev/null &'");
    lab.sh(&format!("umount -l {cgroups}"));
    let missing = "jail: no cgroup2 file system is mounted\nhint: mount -t cgroup2 none /sys/fs/cgroup\n";
    refused(lab, "jail -c name=a persist", missing);
    // The processes of b cannot be seen: that is no reason to take it for dead.
    refused(lab, "jail -r web", missing);
    lab.sh(&format!("mount -t cgroup2 none /media; mount --move /media {cgroups}"));
    lab.leaves_on_purpose(&cgroups);
    assert_eq!(names(lab), ["web", "b"]);
    prints(lab, "jexec b pgrep -c sleep", "1\n");
    quiet(lab, "jail -r web; jail -r b");
});
