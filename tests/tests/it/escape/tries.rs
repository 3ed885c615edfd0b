use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use vimage_tests::mounts;

use super::{ATTEMPT, Kind, keeps_a_store, lab_test};

lab_test!(processes_of_the_host_are_out_of_sight for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    // They would be more than a jail has.
    let _running: Vec<_> = (0..5).map(|_| lab.spawn("exec sleep 1000")).collect();
    for kind in Kind::all(lab) {
        let pids = kind.sh(lab, "cd /proc; for f in [0-9]*; do echo $f; done");
        let pids: Vec<u32> = pids.lines().map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.contains(&1) && pids.len() <= 3, "{kind:?}: {pids:?}");
        assert!(kind.sh(lab, "cat /proc/self/cgroup").contains("0::/\n"), "{kind:?}");
        assert_eq!(kind.sh(lab, "ls /sys/fs/cgroup 2>/dev/null || true"), "", "{kind:?}");
    }
});

// With path=/ and ids of its own, the jail's root has the rights of others on the host's files.
lab_test!(files_of_the_host_are_not_its_own for root; needs [CgroupV2]; |lab| {
    keeps_a_store(lab);
    fs::write("/run/secret", "").unwrap();
    fs::write("/tmp/secret", "").unwrap();
    let kind = Kind::all(lab).into_iter().find(|kind| kind.maps() && kind.is_host()).unwrap();
    let denied = [
        "cat /etc/shadow", "ls /root", "touch /etc/escape", "touch /usr/bin/escape", "touch /root/escape",
        "touch /etc/passwd", "chmod 4755 /usr/bin/env", "chown 0 /etc/passwd", "ln -s x /var/escape",
        "mkdir /escape", "rm /etc/hostname", "cat /run/secret", "cat /tmp/secret", "ls /run/jail",
    ];
    for line in denied {
        let line = format!("{line} 2>/dev/null && echo done || echo denied");
        assert_eq!(kind.sh(lab, &line), "denied\n", "{line}");
    }
    assert!(!kind.sh(lab, "touch /tmp/own /run/own; ls -ln /tmp/own /run/own").is_empty());
    assert!(!Path::new("/tmp/own").exists() && !Path::new("/run/own").exists());
});

// A set-user-id file, and one with a capability, give what the jail has and no more.
lab_test!(no_program_gives_more_rights for root; needs [CgroupV2, Program("busybox"), Program("setpriv")]; |lab| {
    keeps_a_store(lab);
    // CAP_SYS_ADMIN in version 2 of the attribute, capabilities(7).
    let set = "setxattr /tmp/cat security.capability ~0100000200002000000000000000000000000000 20 0";
    for kind in Kind::all(lab) {
        let line = format!(
            "cp /usr/bin/cat /tmp/cat; cp /usr/bin/cat /tmp/suid; chmod 4755 /tmp/suid; chmod 755 /tmp/cat;
             chmod 1777 /tmp; echo '{set}' | {ATTEMPT} >&2
             grep() {{ while read a b; do case $a in CapBnd:|CapPrm:) echo $a $b;; esac; done; }}
             cat /proc/self/status | grep
             /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/suid /proc/self/status | grep
             /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups /tmp/cat /proc/self/status | grep
             /tmp/cat /proc/self/status | grep
             rm -f /tmp/cat /tmp/suid"
        );
        let seen = kind.jail(lab).args(["command=/bin/sh", "-c", &line.replace("rm -f", "/usr/bin/rm -f")]).run().ok();
        let sets = seen.lines().filter_map(|line| u64::from_str_radix(line.split(' ').nth(1)?, 16).ok());
        let sets: Vec<_> = sets.collect();
        assert!(sets.len() >= 4 && sets.iter().all(|set| set & !sets[0] == 0), "{kind:?}: {seen}");
        assert_eq!(sets[0] & (1 << 21), 0, "{kind:?}: {seen}");
    }
});

// In a copied tree nodes are no devices, whoever made them.
lab_test!(a_node_in_the_tree_is_no_device for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    for mut kind in Kind::all(lab).into_iter().filter(|kind| !kind.is_host()) {
        let tree = lab.dir();
        lab.sh(&format!("mount -t tmpfs -o mode=755 x {0}; cp -a {1}/. {0}", tree.display(), kind.path.display()));
        kind.path = tree.clone();
        lab.cmd("mknod").args(["-m", "666"]).arg(tree.join("null")).args(["c", "1", "3"]).run().ok();
        lab.cmd("cat").arg(tree.join("null")).run().ok();
        let answers = kind.attempt(lab, "openat -100 /null 0\nopenat -100 /dev/null 2\n");
        assert_eq!(answers, ["EACCES", "ok"], "{kind:?}");
        lab.sh(&format!("umount {}", tree.display()));
    }
});

lab_test!(objects_of_others_are_not_found for root; needs [CgroupV2, Program("busybox"), Program("perl")]; |lab| {
    keeps_a_store(lab);
    let host = |calls: &str| lab.cmd(ATTEMPT).stdin(&format!("{calls}\n")).run().ok();
    assert_eq!(host("shmget 0x1234 4096 0x3b6"), "ok\n");
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let id = table.lines().nth(1).and_then(|line| line.split_whitespace().nth(1)).unwrap();
    let listen = "socket(my $s, 1, 1, 0); bind($s, pack(q(S), 1).qq(\\0lab)) or die; listen($s, 9); \
                  $| = 1; print q(ready); sleep";
    let server = lab.spawn(&format!("exec perl -e '{listen}'"));
    lab.until("it listens", || server.stdout() == "ready");
    let connect = "socket 1 1 0; connect $0 ~0100006c6162 6";
    assert_eq!((host("shmget 0x1234 0 0"), host(connect)), ("ok\n".to_owned(), "ok\n".to_owned()));
    for kind in Kind::all(lab) {
        let answers = kind.attempt(lab, &format!("shmget 0x1234 0 0\nshmat {id} 0 0\n{connect}\n"));
        assert_eq!(answers, ["ENOENT", "EINVAL", "ECONNREFUSED"], "{kind:?}");
    }
    lab.sh("ipcrm -M 0x1234");
});

// Whatever a tree has where something is to be mounted, the mounts are inside, and nothing is made outside.
lab_test!(links_in_the_tree_stay_inside for root; needs [CgroupV2, Program("busybox")]; with timeout(300); |lab| {
    keeps_a_store(lab);
    let outside = lab.dir();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
    let up = format!("{}{}", "../".repeat(12), &outside.to_string_lossy()[1..]);
    let absolute = outside.to_string_lossy().into_owned();
    let through: Vec<_> = (3..24).map(|fd| format!("/proc/self/fd/{fd}/{up}")).collect();
    let before = lab.snapshot();
    for kind in Kind::all(lab).into_iter().filter(|kind| !kind.is_host()) {
        for target in [&*absolute, &*up, "/etc", "/bin"].into_iter().chain(through.iter().map(String::as_str)) {
            for name in ["dev", "proc", "sys", "srv"] {
                let link = kind.path.join(name);
                // An earlier jail's mount points may be in it; nothing is mounted there.
                fs::remove_dir_all(&link).unwrap();
                symlink(target, &link).unwrap();
                let modes: &[&str] = if kind.maps() { &["proc=new", "proc=inherit"] } else { &["proc=new"] };
                for mode in modes {
                    let jail = kind.jail(lab).arg(mode).arg("mount=/usr /srv/a/b none ro");
                    // It may fail, if what it finds is of no use.
                    let _either = jail.args(["command=/bin/busybox", "true"]).run();
                    let made: Vec<_> = fs::read_dir(&outside).unwrap().flatten().collect();
                    assert!(made.is_empty(), "{kind:?} {mode} {name} -> {target}: {made:?}");
                }
                fs::remove_file(&link).unwrap();
                fs::create_dir(&link).unwrap();
            }
        }
    }
    let mut changes = lab.snapshot().since(&before);
    changes.retain(|change| change.contains("mount ") && !change.contains("/run/jail"));
    assert!(changes.is_empty(), "{changes:#?}");
    assert!(mounts().iter().all(|mount| !mount.point.starts_with(&outside)));
});
