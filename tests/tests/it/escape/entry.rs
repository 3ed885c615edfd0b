use std::{
    fs::{self, File},
    os::unix::fs::symlink,
};

use rustix::fs::{StatVfsMountFlags, fstatvfs};

use super::{Kind, keeps_a_store, lab_test};

lab_test!(no_descriptor_comes_in for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    for kind in Kind::all(lab) {
        let line = format!(
            "exec 5</ 7</etc; jail -c path={} user={} 'mount=/usr /usr none ro' command=/bin/ls /proc/self/fd",
            kind.path.display(),
            kind.user
        );
        // The fourth is the directory itself.
        assert_eq!(lab.sh(&line), "0\n1\n2\n3\n", "{kind:?}");
    }
});

// While a command's path is followed, nothing is open that a link of the jail's could lead to.
lab_test!(no_link_leads_through_descriptors for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    for kind in Kind::all(lab).into_iter().filter(|kind| !kind.is_host()) {
        for number in 3..32 {
            let dir = kind.path.join(format!("{number}-{}", kind.user));
            fs::create_dir(&dir).unwrap();
            let up = "../".repeat(12);
            symlink(format!("/proc/self/fd/{number}/{up}usr/bin/busybox"), dir.join("sh")).unwrap();
            let command = format!("command=/{number}-{}/sh", kind.user);
            let complaint = kind.jail(lab).args([&*command, "-c", "true"]).run().fails(1);
            assert!(complaint.contains("No such file"), "{kind:?} {number}: {complaint}");
        }
    }
});

// Of the init, too: before it is the tiny program that it will be, it shares the memory of jail(8).
lab_test!(memory_of_the_tool_is_out_of_sight for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    for kind in Kind::all(lab).into_iter().filter(|kind| !kind.is_host()) {
        for _ in 0..40 {
            let line = kind.jail(lab).args(["command=/bin/readlink", "/proc/1/exe"]).run();
            let seen = line.stdout.trim();
            assert!(seen.is_empty() || seen == "/memfd:init (deleted)", "{kind:?}: {seen}");
        }
    }
});

// A command that is a link to /proc/self/exe is the tool's own file.
lab_test!(the_tool_is_read_only for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    let kind = Kind::all(lab).into_iter().find(|kind| !kind.maps() && !kind.is_host()).unwrap();
    symlink("/proc/self/exe", kind.path.join("bin/jls")).unwrap();
    // It waits for the other end of a fifo: the only record of the store that it is to list.
    lab.cmd("mkdir").arg("-p").arg(kind.path.join("store/jails/1")).run().ok();
    lab.cmd("mkfifo").arg(kind.path.join("store/jails/1/record")).run().ok();
    let mut waiting = kind.jail(lab).args(["command=/bin/jls", "--root", "/store"]).spawn();
    let mut pid = String::new();
    lab.until("the tool runs inside", || {
        let found = lab.cmd("pgrep").args(["-x", "-f", "/bin/jls --root /store"]).run();
        pid = found.stdout.trim().to_owned();
        !pid.is_empty()
    });
    let exe = File::open(format!("/proc/{pid}/exe")).unwrap();
    lab.sh(&format!("kill -9 {pid}"));
    let _killed = { waiting.kill(); waiting.finish() };
    // Opening it for writing would fail for as long as any tool runs, and then no more.
    assert!(fstatvfs(&exe).unwrap().f_flag.contains(StatVfsMountFlags::RDONLY));
    lab.no_audit("the jail's first command was killed with the tool");
});

lab_test!(the_init_is_confined_as_the_command_is for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    for kind in Kind::all(lab) {
        let seen = kind.sh(lab, &format!("{READY} cat /proc/1/status; echo; cat /proc/self/status; echo; {LOOK}"));
        let parts: Vec<_> = seen.split("\n\n").collect();
        let rights = |status: &str| {
            let mut lines: Vec<_> = status.lines().map(str::to_owned).collect();
            lines.retain(|line| ["Cap", "Seccomp", "Uid", "Gid"].iter().any(|name| line.starts_with(name)));
            lines
        };
        assert_eq!(parts[2], "fds= cwd=/ root=/ environ=\n", "{kind:?}");
        assert_eq!(rights(parts[0]), rights(parts[1]), "{kind:?}");
        assert!(parts[0].contains("Seccomp:\t2\n"), "{seen}");
    }
});

/// Waits until the init is what it will be, and has closed what it was given.
const READY: &str = "until [ \"$(readlink /proc/1/exe)\" = '/memfd:init (deleted)' ]; do :; done; \
                     while [ \"$(ls /proc/1/fd)\" ]; do :; done;";

/// What can be seen of the init.
const LOOK: &str = "echo fds=$(ls /proc/1/fd) cwd=$(readlink /proc/1/cwd) root=$(readlink /proc/1/root) \
                    environ=$(cat /proc/1/environ)";

// As a command that enters is a process of the jail before it is a program.
lab_test!(who_enters_is_out_of_sight_and_reach for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    for kind in Kind::all(lab).into_iter().filter(|kind| !kind.is_host()) {
        let watch = "cd /proc; while :; do for p in [0-9]*; do readlink $p/exe; done; done 2>/dev/null > /root/seen";
        kind.jail(lab).args(["name=cell", "persist"]).run().ok();
        let watching = lab.cmd("jexec").args(["cell", "/bin/sh", "-c", watch]).spawn();
        for _ in 0..40 {
            lab.cmd("jexec").args(["cell", "/bin/busybox", "true"]).run().ok();
        }
        for number in 3..32 {
            let up = "../".repeat(12);
            let link = kind.path.join(format!("root/{number}"));
            symlink(format!("/proc/self/fd/{number}/{up}"), &link).unwrap();
            let entered = lab.cmd("jexec").args(["-d", &format!("/root/{number}"), "cell", "/bin/pwd"]).run();
            assert!(entered.stdout.is_empty(), "{kind:?} {number}: {entered}");
            fs::remove_file(link).unwrap();
        }
        lab.cmd("jail").args(["-r", "cell"]).run().ok();
        let _killed = watching.finish();
        let seen = fs::read_to_string(kind.path.join("root/seen")).unwrap();
        assert!(seen.lines().any(|line| line == "/bin/busybox"), "{kind:?}");
        assert!(seen.lines().all(|line| !line.contains("/jexec") && !line.contains("/jail")), "{kind:?}");
    }
});
