use std::fs;

use super::{ATTEMPT, Kind, keeps_a_store, lab_test};

// What the jail's root may do: its own users, its own files.
lab_test!(a_jail_is_of_use for root; needs [CgroupV2, Program("busybox"), Program("ping"), Program("su")]; |lab| {
    keeps_a_store(lab);
    for kind in Kind::all(lab) {
        kind.sh(lab, "/usr/bin/ping -c 1 -W 2 127.0.0.1");
        let owner = kind.sh(lab, "touch /tmp/file; chown 7:8 /tmp/file; stat -c %u:%g /tmp/file");
        assert_eq!(owner, "7:8\n", "{kind:?}");
        if kind.is_host() {
            assert_eq!(kind.sh(lab, "su -s /bin/sh nobody -c 'id -un'"), "nobody\n", "{kind:?}");
        } else {
            let on_host = kind.path.join("tmp/file");
            // The tree keeps the ids that files have inside.
            assert_eq!(lab.sh(&format!("stat -c %u {}", on_host.display())), "7\n", "{kind:?}");
            fs::remove_file(on_host).unwrap();
        }
    }
});

// Without a stack of its own, the jail uses the host's and changes nothing of it.
lab_test!(the_hosts_network_is_not_its_own for root; needs [CgroupV2]; |lab| {
    keeps_a_store(lab);
    // RTM_NEWLINK of a bridge, RTM_DELLINK and RTM_SETLINK (down) of the loopback: rtnetlink(7).
    let request = |kind, rest: &str| {
        format!("socket 16 3 0; sendto $0 {{{}}} 48 0 {{16,0,0}} 12; answer $0", format_args!("48,{kind},1,0,{rest}"))
    };
    let tries = [
        ("socket 2 3 1".to_owned(), "EPERM|EPERM"),
        ("socket 17 3 0x300".to_owned(), "EPERM|EPERM"),
        ("openat -100 /proc/sys/net/ipv4/ip_forward 1".to_owned(), "EACCES|EROFS"),
        (request("0x06050010", "0,0,0,0,0x00120010,0x0001000c,0x64697262,0x00006567"), "EPERM|EPERM"),
        (request("0x00050011", "0,1,0,0,0,0,0,0"), "EPERM|EPERM"),
        (request("0x00050013", "0,1,0,1,0,0,0,0"), "EPERM|EPERM"),
        ("socket 2 1 0; ioctl $0 0x8914 ~6c6f0000000000000000000000000000000000000000000000000000000000000000000000000000"
            .to_owned(), "EPERM|EPERM"),
    ];
    let lines: Vec<_> = tries.iter().map(|(calls, _)| calls.as_str()).collect();
    for user in ["new", "inherit"] {
        let jail = lab.cmd("jail").args(["-c", "path=/", &format!("user={user}"), &format!("command={ATTEMPT}")]);
        let answers = jail.stdin(&(lines.join("\n") + "\n")).run().ok();
        for ((calls, wanted), answer) in tries.iter().zip(answers.lines()) {
            let wanted = wanted.split_once('|').map(|(new, inherit)| if user == "new" { new } else { inherit });
            assert_eq!(Some(answer), wanted, "user={user}: {calls}");
        }
    }
});

lab_test!(
    /// Nor may a jail with room for children change its mounts, which are not locked.
    mounts_of_a_jail_with_room_for_children_stay for root; needs [CgroupV2, Program("busybox")]; |lab| {
        keeps_a_store(lab);
        let read_only = lab.dir();
        let kind = Kind::all(lab).into_iter().find(|kind| kind.maps() && !kind.is_host()).unwrap();
        let jail = kind.jail(lab).arg("children.max=1").arg(format!("mount={} /root none ro", read_only.display()));
        let calls = "openat -100 /proc/self/ns/mnt 0; umount2 / 2; setns $0 0x20000; openat -100 /media/deps 0\n\
                     mount none /root none 0x1020 0\n\
                     openat -100 /root/evil 0x41 0x1a4\n";
        let answers = jail.arg(format!("command={ATTEMPT}")).stdin(calls).run();
        assert!(!answers.stdout.contains("ok"), "{answers}");
        assert_eq!(fs::read_dir(&read_only).unwrap().count(), 0);
    }
);
