//! Privileges: what each grants, and what a jail without it is denied, in each shape of jail.

use std::collections::BTreeSet;

use vimage_tests::{Lab, lab_test};

use crate::{
    escape::ATTEMPT,
    shell::{all_gone, prints, quiet, refused, run},
};

/// The shapes: in the host's stack or with one of its own, with ids of its own or the host's.
const SHAPES: [&str; 4] =
    ["vnet=inherit user=new", "vnet=inherit user=inherit", "vnet=new user=new", "vnet=new user=inherit"];

/// What is tried of a privilege, in the words of the example `attempt`, and what comes of it in each of [`SHAPES`]:
/// without the privilege, and with it; `-` where it is refused.
type Case = (&'static str, &'static str, [(&'static str, &'static str); 4]);

const OFF: (&str, &str) = ("EPERM", "-");
const NEVER: [(&str, &str); 4] = [OFF; 4];
/// With ids of the jail's own.
const OWN: [(&str, &str); 4] = [("EPERM", "ok"), OFF, ("EPERM", "ok"), OFF];

/// A case for each privilege, but for those in [`ELSEWHERE`].
#[rustfmt::skip]
const CASES: &[Case] = &[
    ("allow.set_hostname", "sethostname x 1", [("EPERM", "ok"), OFF, ("EPERM", "ok"), ("EPERM", "ok")]),
    ("allow.raw_sockets", "socket 2 3 1", [OFF, ("EPERM", "ok"), ("ok", "ok"), ("ok", "ok")]),
    ("allow.chflags", "openat -100 /tmp/fixed 0x41 0x1a4; ioctl $0 0x40086602 [0x10]; ioctl $0 0x40086602 [0]",
        [("ioctl: EPERM", "-"), ("ioctl: EPERM", "ok"), ("ioctl: EPERM", "-"), ("ioctl: EPERM", "-")]),
    ("allow.mount", "mount tmpfs /tmp tmpfs 0 0", OWN),
    ("allow.mount.devfs", "mount none /tmp devtmpfs 0 0", NEVER),
    ("allow.mount.fdescfs", "mount none /tmp fdescfs 0 0", NEVER),
    ("allow.mount.fusefs", "mount none /tmp fuse 0 0", NEVER),
    ("allow.mount.linprocfs", "mount none /tmp proc 0 0", OWN),
    ("allow.mount.linsysfs", "mount none /tmp sysfs 0 0", [("EPERM", "EPERM"), OFF, ("EPERM", "ok"), OFF]),
    ("allow.mount.nullfs", "mount /usr /tmp none 0x1000 0", OWN),
    ("allow.mount.procfs", "mount none /tmp proc 0 0", OWN),
    ("allow.mount.tmpfs", "mount none /tmp tmpfs 0 0", OWN),
    ("allow.socket_af", "socket 40 1 0", [("ENOSYS", "ok"); 4]),
    ("allow.mlock", "setrlimit 8 [0,0]; mlock %m:8192 4096", [OFF, ("EPERM", "ok"), OFF, OFF]),
    ("allow.extattr", "setxattr /tmp trusted.x v 1 0", NEVER),
    ("allow.read_msgbuf", "syslog 10 0 0",
        [("ENOSYS", "-"), ("ENOSYS", "ok"), ("ENOSYS", "-"), ("ENOSYS", "-")]),
    // ADJ_TICK, to a length that no tick has: who may not adjust the time is told so first, and nobody adjusts it.
    ("allow.settime", "adjtimex [0x4000,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", [OFF, ("EPERM", "EINVAL"), OFF, OFF]),
    ("allow.reserved_ports", "socket 2 1 0; bind $0 ~02000050000000000000000000000000 16",
        [("EACCES", "ok"), ("EACCES", "ok"), ("EACCES", "ok"), ("EACCES", "ok")]),
    ("allow.unprivileged_proc_debug", "ptrace 0 0 0 0", [("EPERM", "ok"); 4]),
    ("allow.suser", "chroot /", [("EPERM", "ok"); 4]),
];

/// Those that grant nothing that one call shows: whether they are given in each of [`SHAPES`].
const ELSEWHERE: &[(&str, [bool; 4])] = &[
    ("allow.sysvipc", [false; 4]),
    ("allow.mount.zfs", [false; 4]),
    ("allow.quotas", [false; 4]),
    ("allow.nfsd", [false; 4]),
    ("allow.adjtime", [false; 4]),
    ("allow.routing", [false, false, true, true]),
    ("allow.setaudit", [false; 4]),
    ("allow.unprivileged_parent_tampering", [false, true, false, true]),
    ("allow.vmm", [true; 4]),
    ("allow.vmm_ppt", [false; 4]),
    ("allow.dying", [true; 4]),
];

/// A privilege in the words of jail(8), and what it takes besides.
fn definition(name: &str, value: &str) -> String {
    let besides = match (name, value) {
        ("allow.mount", "true") => "allow.mount.tmpfs",
        ("allow.mount.tmpfs" | "allow.mount.nullfs", "true") => "allow.mount",
        (name, "true") if name.starts_with("allow.mount.") => "allow.mount allow.mount.tmpfs",
        _ => "",
    };
    format!("{name}={value} {besides}")
}

fn tried(lab: &Lab, shape: &str, definition: &str, calls: &str) -> String {
    std::fs::write("/tmp/calls", format!("{calls}\n")).unwrap();
    let line = format!("jail -c {shape} {definition} command={ATTEMPT} < /tmp/calls");
    let got = run(lab, &line);
    if got.status.success() {
        return got.stdout.trim_end().to_owned();
    }
    // A privilege that cannot be granted is refused by its name, and with what to do instead.
    let name = definition.split('=').next().unwrap_or_default();
    let named = |name: &str| got.stderr.contains(&format!("{name}: "));
    assert!(
        (named(name) || (name.starts_with("allow.mount.") && named("allow.mount")))
            && got.stderr.contains("\nhint: "),
        "{line}: {got}"
    );
    "-".to_owned()
}

lab_test!(a_privilege_grants_what_its_absence_denies for root; needs [CgroupV2]; with timeout(120); |lab| {
    let listed = lab.sh("jdb show params | grep -o '^ *allow[.][a-z_.]*' | tr -d ' '");
    let listed: BTreeSet<_> = listed.lines().collect();
    let known: BTreeSet<_> = CASES.iter().map(|case| case.0).chain(ELSEWHERE.iter().map(|case| case.0)).collect();
    assert_eq!(listed, known, "a privilege has no case");
    let mut wrong = Vec::new();
    for (name, calls, answers) in CASES {
        for (shape, (without, with)) in SHAPES.iter().zip(answers) {
            for (value, wanted) in [("false", without), ("true", with)] {
                let got = tried(lab, shape, &definition(name, value), calls);
                if got != *wanted {
                    wrong.push(format!("{shape} {name}={value}: {calls}: {got}, not {wanted}"));
                }
            }
        }
    }
    for (name, given) in ELSEWHERE {
        for (shape, given) in SHAPES.iter().zip(given) {
            let got = tried(lab, shape, &format!("{name}=true"), "getpid");
            if (got == "ok") != *given {
                wrong.push(format!("{shape} {name}=true: {got}"));
            }
        }
    }
    // What may set the time adjusts it, too.
    let both = "allow.settime allow.adjtime";
    assert_eq!(tried(lab, SHAPES[1], both, "getpid"), "ok");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
});

/// A jail whose root mounts both what there is and what there was not.
const MOUNTS: &str = "allow.mount allow.mount.tmpfs allow.mount.nullfs";

lab_test!(who_may_mount_mounts_what_is_said_and_nothing_else for root; needs [CgroupV2]; |lab| {
    let tmpfs = "mount none /tmp tmpfs 0 0";
    let bind = "mount /usr /tmp none 0x1000 0";
    for (definition, wanted) in [("allow.mount allow.mount.tmpfs", ["ok", "EPERM"]), ("allow.mount allow.mount.nullfs", ["EPERM", "ok"]), (MOUNTS, ["ok", "ok"])] {
        assert_eq!([tmpfs, bind].map(|calls| tried(lab, "", definition, calls)), wanted, "{definition}");
    }
    // A number that old programs had in the flags hides nothing.
    let old = "mount none /tmp tmpfs 0xc0ed0000 0";
    assert_eq!(tried(lab, "", "allow.mount allow.mount.nullfs", old), "EPERM");
    for calls in ["fsopen tmpfs 0", "open_tree -100 /etc 1", "mount_setattr -100 / 0 0 0", "move_mount -100 /etc -100 /tmp 0", "open_tree_attr -100 /etc 1 0 0", "listmount 0 0 0 0", "setns 0 0"] {
        assert_eq!(tried(lab, "", MOUNTS, calls), "ENOSYS", "{calls}");
    }
    for kind in ["ext4", "btrfs", "vfat", "debugfs", "tracefs", "securityfs", "bpf", "configfs", "devtmpfs", "nfs", "hugetlbfs"] {
        let got = tried(lab, "", MOUNTS, &format!("mount none /tmp {kind} 0 0"));
        assert!(["EPERM", "ENODEV", "ENOTBLK", "EINVAL"].contains(&got.as_str()), "{kind}: {got}");
    }
    for kind in ["tmpfs", "ramfs", "proc", "mqueue"] {
        assert_eq!(tried(lab, "", MOUNTS, &format!("mount none /tmp {kind} 0 0")), "ok", "{kind}");
    }
    // A namespace of another kind would have what this jail is denied, or limits of its own.
    for (flag, wanted) in [(0x2000_0000, "EPERM"), (0x0002_0000, "ok"), (0x0800_0000, "ENOSPC"), (0x4000_0000, "ENOSPC"), (0x0400_0000, "ENOSPC"), (0x0200_0000, "ENOSPC"), (0x1000_0000, "ENOSPC")] {
        let got = tried(lab, "vnet", MOUNTS, &format!("unshare {flag}"));
        assert!(got == wanted || flag == 0x2000_0000, "{flag:#x}: {got}");
    }
    // A limit of namespaces is each user's: nobody else in a jail makes one either.
    for shape in SHAPES {
        for definition in ["allow.suser", "allow.noset_hostname"] {
            for calls in ["unshare 0x10000000", "setresuid 1 1 1; unshare 0x10000000"] {
                let got = tried(lab, shape, definition, calls);
                assert!(["ENOSPC", "EPERM"].contains(&got.as_str()), "{shape} {definition}: {calls}: {got}");
            }
        }
    }
    // Over its own user namespace it has the capability, and over the host name no more than is said.
    assert_eq!(tried(lab, "", &format!("{MOUNTS} allow.noset_hostname"), "sethostname x 1"), "EPERM");
    assert_eq!(tried(lab, "allow.noset_hostname", "children.max=1", "sethostname x 1"), "EPERM");
    for (words, error) in [
        ("allow.mount", "allow.mount: nothing that can be mounted is said\nhint: give allow.mount.tmpfs or allow.mount.nullfs, too"),
        ("allow.mount.tmpfs", "allow.mount.tmpfs: mounting takes CAP_SYS_ADMIN\nhint: with allow.mount it can be granted"),
        ("allow.mount allow.mount.tmpfs user=inherit", "allow.mount: CAP_SYS_ADMIN over the host would be far more\nhint: with user=new and proc=new it can be granted"),
        ("allow.mount allow.mount.tmpfs mount='/etc /proc/fs none ro'", "mount: /proc/fs: the jail's root, who mounts, could take it away\nhint: mount it elsewhere than below /proc and /sys, or without children.max and allow.mount"),
    ] {
        refused(lab, &format!("jail -c {words} command=true"), &format!("jail: {error}\n"));
    }
    all_gone(lab);
});

lab_test!(what_a_jail_was_given_stays_whatever_its_root_mounts for root; needs [CgroupV2]; |lab| {
    quiet(lab, &format!("mkdir -p /tmp/given/below; touch /tmp/given/file; jail -c name=m {MOUNTS} mount='/tmp/given /srv none ro' persist"));
    let inside = |line: &str| run(lab, &format!("jexec m sh -c '{line}'"));
    // What it has made itself, with its first process, it may also take down.
    let left = lab.sh("jexec m sh -c 'for at in $(cut -d\" \" -f5 /proc/self/mountinfo | tac); do umount $at 2>/dev/null && echo $at; done; true'");
    assert!(left.lines().all(|at| ["/sys", "/proc", "/dev/mqueue", "/dev/pts"].contains(&at)), "{left}");
    assert!(!inside("mount -o remount,bind,rw /srv").status.success());
    assert!(!inside("touch /srv/new").status.success());
    assert!(!inside("mkdir /tmp/all && mount --bind / /tmp/all").status.success(), "what is below a mount shows");
    let got = inside("mount --rbind /srv /tmp && mount -o remount,bind,rw /tmp");
    assert!(!got.status.success(), "{got}");
    // Whatever is mounted over what we use from outside, the jail is entered, changed and removed.
    quiet(lab, "jexec m sh -c 'exec 3</dev/null; (sleep 1000 <&3 >&3 2>&3 &); mount -t tmpfs none /dev; mount -t tmpfs none /etc; mount -t tmpfs none /srv'");
    prints(lab, "jexec m cat /srv/file 2>/dev/null || echo none", "none\n");
    quiet(lab, "jail -m name=m meta=x");
    prints(lab, "ls /tmp/given", "below\nfile\n");
    quiet(lab, "jail -q -R m");
    // It goes with the last process.
    quiet(lab, &format!("jail -c name=n {MOUNTS} persist; jexec n sh -c 'mount -t tmpfs none /srv; touch /srv/x; test -e /srv/x'"));
    lab.until("its processes are gone", || !run(lab, "jexec n test -e /srv/x").status.success());
    // It may be given persistence later, with all that it was given.
    quiet(lab, &format!("jail -c name=o {MOUNTS} mount='/tmp/given /srv none ro' command=sleep 2 & until jexec o true 2>/dev/null; do sleep 0.1; done; jail -m name=o persist; wait"));
    prints(lab, "jexec o ls /srv", "below\nfile\n");
    assert!(!run(lab, "jexec o umount /srv").status.success());
    quiet(lab, "jail -q -R o");
    quiet(lab, "jail -q -R n; rm -r /tmp/given");
    all_gone(lab);
});

lab_test!(a_jail_sees_no_mounts_but_its_own for root; needs [CgroupV2]; |lab| {
    quiet(lab, "mkdir -p /tmp/tree/bin /tmp/secret; cp /usr/bin/busybox /tmp/tree/bin; mount -t tmpfs secret /tmp/secret; mkdir /tmp/secret/jail; mkdir /tmp/tree/below; mount -t tmpfs below /tmp/tree/below");
    for shape in SHAPES {
        let jail = format!("jail -c path=/tmp/tree {shape} enforce_statfs=2 command=/bin/busybox");
        let seen = lab.sh(&format!("{jail} cat /proc/self/mounts; {jail} df -a"));
        assert!(seen.contains("below /below tmpfs") && !seen.contains("secret") && !seen.contains("/tmp/"), "{seen}");
    }
    refused(lab, "jail -c enforce_statfs=1 command=true",
        "jail: enforce_statfs: a jail sees no mounts but its own, which is 2 and not 1\nhint: leave it out\n");
    quiet(lab, "umount /tmp/secret /tmp/tree/below; rm -r /tmp/secret /tmp/tree");
    all_gone(lab);
});

lab_test!(what_a_jails_root_has_mounted_is_not_taken_for_what_it_was_given for root; needs [CgroupV2]; |lab| {
    quiet(lab, &format!("jail -c name=p {MOUNTS} persist; jexec p sh -c 'exec 3</dev/null; (sleep 1000 <&3 >&3 2>&3 &); mkdir /tmp/x; mount --bind /tmp/x /dev/shm'"));
    quiet(lab, "jail -m name=p shm.size=2m");
    quiet(lab, "jail -m name=p nopersist");
    refused(lab, "jail -m name=p shm.size=1m", concat!(
        "jail: p: the jail's root mounts, and what lies at /dev/shm need not be what it was given\n",
        "hint: a jail that persists is known by what is held of it\n"));
    prints(lab, "jls -j p shm.size; jdb show p root >/dev/null && echo shown", "2097152\nshown\n");
    quiet(lab, "jail -q -R p");
    all_gone(lab);
});

lab_test!(a_jail_reads_the_hosts_resolver_and_does_not_write_it for root; needs [CgroupV2]; |lab| {
    quiet(lab, "mkdir /tmp/tree; echo nameserver 192.0.2.1 >/tmp/resolv; touch /etc/resolv.conf; mount --bind /tmp/resolv /etc/resolv.conf");
    let tries = "cd /etc; b=/bin/busybox; $b cat resolv.conf; $b true >resolv.conf; $b chmod 4755 resolv.conf; $b chown 1 resolv.conf; $b mount -o remount,bind,rw /etc/resolv.conf";
    for shape in SHAPES.into_iter().chain([MOUNTS]) {
        // Each its own: the file in it that is mounted on goes with the jail.
        let tree = lab.sh("tree=$(mktemp -d /tmp/tree/XXXX); chmod 755 $tree; mkdir $tree/bin $tree/etc; cp /usr/bin/busybox $tree/bin; printf $tree");
        let got = run(lab, &format!("jail -c path={tree} {shape} command=/bin/busybox sh -c '{tries}'"));
        assert_eq!(got.stdout, "nameserver 192.0.2.1\n", "{shape}: {got}");
    }
    prints(lab, "cat /tmp/resolv; stat -c %a:%u /tmp/resolv", "nameserver 192.0.2.1\n644:0\n");
    quiet(lab, "umount /etc/resolv.conf; rm -r /tmp/tree /tmp/resolv");
    all_gone(lab);
});
