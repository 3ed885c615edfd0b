//! Privileges: what each grants, and what a jail without it is denied, in each shape of jail.

use std::collections::BTreeSet;

use vimage_tests::{Lab, lab_test};

use crate::{escape::ATTEMPT, shell::run};

/// The shapes: in the host's stack or with one of its own, with ids of its own or the host's.
const SHAPES: [&str; 4] =
    ["vnet=inherit user=new", "vnet=inherit user=inherit", "vnet=new user=new", "vnet=new user=inherit"];

/// What is tried of a privilege, in the words of the example `attempt`, and what comes of it in each of [`SHAPES`]:
/// without the privilege, and with it; `-` where it is refused.
type Case = (&'static str, &'static str, [(&'static str, &'static str); 4]);

const OFF: (&str, &str) = ("EPERM", "-");
const NEVER: [(&str, &str); 4] = [OFF; 4];

/// A case for each privilege, but for those in [`ELSEWHERE`].
#[rustfmt::skip]
const CASES: &[Case] = &[
    ("allow.set_hostname", "sethostname x 1", [("EPERM", "ok"), OFF, ("EPERM", "ok"), ("EPERM", "ok")]),
    ("allow.raw_sockets", "socket 2 3 1", [OFF, ("EPERM", "ok"), ("ok", "ok"), ("ok", "ok")]),
    ("allow.chflags", "openat -100 /tmp/fixed 0x41 0x1a4; ioctl $0 0x40086602 [0x10]; ioctl $0 0x40086602 [0]",
        [("ioctl: EPERM", "-"), ("ioctl: EPERM", "ok"), ("ioctl: EPERM", "-"), ("ioctl: EPERM", "-")]),
    ("allow.mount", "mount tmpfs /tmp tmpfs 0 0", NEVER),
    ("allow.mount.devfs", "mount none /tmp devpts 0 0", NEVER),
    ("allow.mount.fdescfs", "mount none /tmp mqueue 0 0", NEVER),
    ("allow.mount.fusefs", "mount none /tmp fuse 0 0", NEVER),
    ("allow.mount.linprocfs", "mount none /tmp proc 0 0", NEVER),
    ("allow.mount.linsysfs", "mount none /tmp sysfs 0 0", NEVER),
    ("allow.mount.nullfs", "mount / /tmp none 0x1000 0", NEVER),
    ("allow.mount.procfs", "mount none /tmp proc 0 0", NEVER),
    ("allow.mount.tmpfs", "mount none /tmp tmpfs 0 0", NEVER),
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

fn tried(lab: &Lab, shape: &str, definition: &str, calls: &str) -> String {
    let line = format!("echo '{calls}' | jail -c {shape} {definition} command={ATTEMPT}");
    let got = run(lab, &line);
    if got.status.success() {
        return got.stdout.trim_end().to_owned();
    }
    // A privilege that cannot be granted is refused by its name, and with what to do instead.
    let name = definition.split('=').next().unwrap_or_default();
    assert!(got.stderr.contains(&format!("{name}: ")) && got.stderr.contains("\nhint: "), "{line}: {got}");
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
                let got = tried(lab, shape, &format!("{name}={value}"), calls);
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
