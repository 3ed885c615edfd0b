//! Jails with a file tree of their own: whose files are whose, and what is mounted.

use vimage_tests::{Lab, lab_test};

use crate::shell::{prints, quiet, run};

/// Makes a tree whose programs are the host's.
fn tree(lab: &Lab) {
    lab.sh("mkdir -p /tmp/tree/usr /tmp/tree/etc /tmp/tree/root /tmp/tree/home /tmp/tree/mnt; cd /tmp/tree
        for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done
        cp -a /etc/pam.d /etc/login.defs /etc/nsswitch.conf /etc/security /etc/sudoers /etc/ld.so.cache etc/ 2>/dev/null || true
        printf 'root:x:0:0:root:/root:/bin/sh\\nann:x:1000:1000:ann:/home/ann:/bin/sh\\n' > etc/passwd
        printf 'root:x:0:\\nann:x:1000:\\n' > etc/group
        printf 'root::1::::::\\nann::1::::::\\n' > etc/shadow
        mkdir home/ann; chown 1000:1000 home/ann; chmod 600 etc/shadow; touch root/file");
}

/// The programs of a tree.
const USR: &str = "mount='/usr /usr none ro'";

lab_test!(files_keep_their_owners for root; needs [CgroupV2]; |lab| {
    tree(lab);
    for (user, more) in [("new", ""), ("inherit", ""), ("inherit", "vnet")] {
        quiet(lab, &format!("jail -c name=a path=/tmp/tree user={user} {more} {USR} persist"));
        prints(lab, "jexec a stat -c '%u %g %n' /root/file /home/ann /bin/sh", "0 0 /root/file\n1000 1000 /home/ann\n0 0 /bin/sh\n");
        quiet(lab, &format!("jexec -U ann a sh -c 'echo mine > ~/{user}'"));
        quiet(lab, &format!("jexec a sh -c 'echo ours > /root/{user}; chown 1000 /root/{user}'"));
        prints(lab, &format!("stat -c '%u %g' /tmp/tree/home/ann/{user} /tmp/tree/root/{user}"), "1000 1000\n1000 0\n");
        quiet(lab, "jail -r a");
    }
});

lab_test!(what_is_mounted_below_is_there_and_keeps_its_owners for root; needs [CgroupV2]; |lab| {
    tree(lab);
    lab.sh("mkdir -p /tmp/tree/mnt/sub; mount -t tmpfs sub /tmp/tree/mnt/sub; mkdir /tmp/tree/mnt/sub/deep");
    lab.sh("mount -t tmpfs deep /tmp/tree/mnt/sub/deep; touch /tmp/tree/mnt/sub/f /tmp/tree/mnt/sub/deep/f; chown 1000 /tmp/tree/mnt/sub/f");
    quiet(lab, &format!("jail -c name=a path=/tmp/tree {USR} persist"));
    prints(lab, "jexec a stat -c '%u %n' /mnt/sub/f /mnt/sub/deep/f", "1000 /mnt/sub/f\n0 /mnt/sub/deep/f\n");
    quiet(lab, "jexec a touch /mnt/sub/new");
    prints(lab, "stat -c %u /tmp/tree/mnt/sub/new", "0\n");
    quiet(lab, "jail -r a; umount -R /tmp/tree/mnt/sub");
});

lab_test!(lines_of_mount_are_mounted for root; needs [CgroupV2]; |lab| {
    tree(lab);
    lab.sh("mkdir /tmp/data; mount -t tmpfs data /tmp/data; echo data > /tmp/data/file; echo one > /tmp/one; chown 1000 /tmp/one; cp /usr/bin/id /tmp/data/setuid; chmod 4755 /tmp/data/setuid");
    quiet(lab, &format!("jail -c name=a path=/tmp/tree {USR} mount='/tmp/data /mnt/ro none ro' mount='/tmp/data /mnt/rw none nosuid' \
        mount='x /mnt/small tmpfs size=64k' mount='/tmp/one /etc/one none' persist"));
    prints(lab, "jexec a sh -c 'cat /mnt/ro/file /etc/one; stat -c %u /etc/one'", "data\none\n1000\n");
    assert!(run(lab, "jexec a touch /mnt/ro/new").fails(1).ends_with("Read-only file system\n"));
    assert!(run(lab, "jexec a touch /usr/new").fails(1).ends_with("Read-only file system\n"));
    quiet(lab, "jexec a touch /mnt/rw/new; test -e /tmp/data/new");
    prints(lab, "jexec -U ann a sh -c '/mnt/ro/setuid -u; /mnt/rw/setuid -u; id -u' 2>&1", "0\n1000\n1000\n");
    assert!(run(lab, "jexec a dd if=/dev/zero of=/mnt/small/fill bs=1k count=100").fails(1).contains("No space left"));
    // Nothing of it is on the host.
    prints(lab, "ls -A /tmp/tree/mnt/small /tmp/tree/mnt/ro; cat /tmp/tree/etc/one", "/tmp/tree/mnt/ro:\n\n/tmp/tree/mnt/small:\n");
    quiet(lab, "jail -r a; umount /tmp/data");
});

/// Makes a jail with a read-only root, and asserts that nothing in it makes the root writable.
fn stays_read_only(lab: &Lab, more: &str) {
    tree(lab);
    lab.sh("mkdir -p /tmp/view /tmp/tree/proc /tmp/tree/sys /tmp/tree/dev; mount --bind /tmp/tree /tmp/view; mount -o remount,bind,ro /tmp/view");
    quiet(lab, &format!("jail -c name=a path=/tmp/view {USR} {more} persist"));
    for line in [
        "touch /new",
        "mount -o remount,rw /",
        "mount -o remount,bind,rw /",
        "umount /",
        "unshare -Urm mount -o remount,bind,rw /",
    ] {
        let output = run(lab, &format!("jexec a {line}"));
        assert!(!output.status.success(), "{output}");
    }
    quiet(lab, "jail -r a; umount /tmp/view");
}

lab_test!(a_read_only_root_stays_so for root; needs [CgroupV2]; |lab| {
    stays_read_only(lab, "");
});

lab_test!(a_read_only_root_stays_so_with_room_for_children for root; needs [CgroupV2]; |lab| {
    stays_read_only(lab, "children.max=1");
});

lab_test!(users_change_and_ping_inside for root; needs [CgroupV2, Program("su"), Program("ping"), Program("sudo")]; |lab| {
    tree(lab);
    lab.sh("printf 'root ALL=(ALL) ALL\\nann ALL=(ALL) NOPASSWD: ALL\\n' > /tmp/tree/etc/sudoers; chmod 440 /tmp/tree/etc/sudoers");
    quiet(lab, &format!("jail -c name=a path=/tmp/tree vnet {USR} persist"));
    quiet(lab, "jail -c name=host vnet persist");
    prints(lab, "jexec a su ann -c 'id -u'", "1000\n");
    prints(lab, "jexec -U ann a sudo -n id -u 2>/dev/null", "0\n");
    for jail in ["a", "host"] {
        lab.sh(&format!("jexec {jail} ping -c 1 -W 2 127.0.0.1"));
    }
    lab.sh("jexec -U ann a ping -c 1 -W 2 127.0.0.1");
    prints(lab, "jexec host su nobody -s /bin/sh -c 'id -u'", "65534\n");
    quiet(lab, "jail -q -r a host");
});

lab_test!(who_makes_a_jail_with_a_strict_umask_keeps_no_file_from_it for root; needs [CgroupV2]; |lab| {
    lab.sh("mkdir -p /tmp/tree/etc /tmp/tree/bin; cp $(command -v busybox) /tmp/tree/bin/sh; touch /tmp/tree/etc/machine-id");
    for jail in ["path=/tmp/tree", "path=/ env.a=1"] {
        let out = run(lab, &format!("umask 077; jail -c name=a {jail} command=sh -c 'read id </etc/machine-id; echo $id'"));
        assert_eq!(out.ok().trim_end().len(), 32, "{jail}");
    }
    prints(lab, "umask 077; jail -c name=a path=/ env.a=1 command=cat /run/jail/env", "a=1\n");
});
