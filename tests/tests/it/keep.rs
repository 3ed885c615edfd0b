//! What is not ours is kept, whatever is in a removal's way; and a removal that cannot go on says so.

use std::{
    fs,
    time::{Duration, Instant},
};

use vimage_tests::{Lab, lab_test};

use crate::{
    house::House,
    shell::{all_gone, prints, quiet, refused, run},
};

/// A tree of the user's, with a file in it, and one that is mounted in the jail.
const TREE: &str =
    "mkdir -p /tmp/tree/bin /tmp/tree/etc /tmp/tree/mnt /tmp/data; cp /usr/bin/busybox /tmp/tree/bin/
    for name in sh mkdir sleep cat; do ln -s busybox /tmp/tree/bin/$name; done
    echo kept >/tmp/tree/file; echo kept >/tmp/data/file";
const JAIL: &str = "jail -c name=a jid=7 path=/tmp/tree mount='/tmp/data /mnt none rw' persist";

#[track_caller]
fn kept() {
    for file in ["/tmp/tree/file", "/tmp/data/file"] {
        assert_eq!(fs::read_to_string(file).unwrap_or_default(), "kept\n", "{file}");
    }
}

/// Does something in the vault, where there is no program.
#[track_caller]
fn in_vault(lab: &Lab, what: &str) {
    // `data` is a copy of the mount of /tmp/data: open_tree(2), by its number, which is the same everywhere.
    let enter = "import ctypes, os; c = ctypes.CDLL(None); v = os.open('/run/jail/vault/ns', os.O_RDONLY)
data = c.syscall(428, -100, b'/tmp/data', 1); assert c.setns(v, 0) == 0";
    lab.cmd("python3").args(["-c", &format!("{enter}; {what}")]).run().ok();
}

lab_test!(a_shelf_of_the_vault_that_was_half_made_costs_no_data for root; needs [CgroupV2, Program("busybox"), Program("python3")]; |lab| {
    lab.sh(TREE);
    // The shelf is there, and is no mount: who made it was killed before that. Nobody knows of it.
    quiet(lab, "jail -c name=n persist");
    in_vault(lab, "os.mkdir('/7')");
    quiet(lab, JAIL);
    prints(lab, "jexec a cat /mnt/file", "kept\n");
    let removed = run(lab, "jail -r a");
    kept();
    removed.ok();
    quiet(lab, "jail -r n");
    all_gone(lab);
});

lab_test!(a_removal_goes_into_no_mount_that_is_in_its_way for root; needs [CgroupV2, Program("busybox"), Program("python3")]; |lab| {
    lab.sh(TREE);
    // Somebody has mounted a copy of all that is held over it.
    quiet(lab, JAIL);
    in_vault(lab, "assert c.mount(b'/7', b'/7', None, 4096 | 16384, None) == 0");
    let removed = run(lab, "jail -r a");
    kept();
    removed.ok();
    all_gone(lab);
});

lab_test!(a_mount_that_will_not_go_stops_what_would_have_gone_on_into_it for root; needs [CgroupV2, Program("busybox"), Program("python3")]; |lab| {
    lab.sh(TREE);
    // Below the shelf that is to be removed lies another mount of the user's data.
    quiet(lab, "jail -c name=n persist");
    in_vault(lab, "os.mkdir('/7'); os.mkdir('/7/x'); assert c.syscall(429, data, b'', -100, b'/7/x', 4) == 0");
    quiet(lab, &format!("{JAIL} exec.start='sleep 31415.7 & :'"));
    refused(lab, "jail -r a", "jail: a: cannot undo jail/held/7: cannot release 7: Device or resource busy\n");
    kept();
    assert!(!run(lab, "pgrep -f 'sleep 31415.7$'").status.success());
    prints(lab, "jls -d name dying", "n false\na true\n");
    in_vault(lab, "assert c.umount2(b'/7/x', 2) == 0");
    quiet(lab, "jail -r n");
    all_gone(lab);
    kept();
});

lab_test!(a_link_in_the_tree_leads_a_removal_to_no_file_of_the_hosts for root; needs [CgroupV2, Program("busybox")]; |lab| {
    lab.sh(TREE);
    lab.sh("mkdir /tmp/other; touch /tmp/other/resolv.conf");
    quiet(lab, JAIL);
    lab.sh("rm -r /tmp/tree/etc; ln -s /tmp/other /tmp/tree/etc; jail -r a");
    assert!(fs::exists("/tmp/other/resolv.conf").unwrap());
    kept();
});

lab_test!(a_mount_in_use_outside_does_not_keep_a_jail for root; needs [CgroupV2, Program("busybox")]; |lab| {
    lab.sh(TREE);
    quiet(lab, &format!("{JAIL} mount='tmpfs /tmp tmpfs rw' exec.start='mkdir /tmp/in; echo x >/tmp/in/file; sleep 31415.7 >/dev/null & :'"));
    let pid = lab.sh("pgrep -f 'sleep 31415.7$'").trim().to_owned();
    // A working directory, an open file, and a copy of all of its mounts.
    let users = [
        format!("cd /proc/{pid}/root/tmp/in; echo ready; exec sleep 1000"),
        format!("exec 9</proc/{pid}/root/tmp/in/file; echo ready; exec sleep 1000"),
        format!("exec nsenter --mount=/proc/{pid}/ns/mnt /bin/busybox unshare -m sh -c 'echo ready; exec sleep 1000'"),
    ].map(|line| lab.spawn(&line));
    for user in &users {
        lab.until("it is used", || user.stdout() == "ready\n");
    }
    quiet(lab, "jail -r a");
    kept();
    // The name and the number are free, and no record is left once they are gone.
    quiet(lab, &format!("{JAIL}; jail -r a"));
    drop(users);
    all_gone(lab);
    kept();
});

/// Freezes the process of a jail, `$pid`, removes the jail, and thaws it after; `stuck`: so that it cannot be killed.
fn frozen(lab: &Lab, freeze: &str, thaw: &str, stuck: bool) {
    let house = House::new(lab);
    house.sh(
        "jail -c name=a persist stop.timeout=1 vnet vnet.link='eth0 lan' exec.start='sleep 31415.7 & exit 0'",
    );
    house.sh(&format!("pid=$(pgrep -f 'sleep 31415.7$'); {freeze}"));
    let start = Instant::now();
    let removed = house.cmd("jail -r a").run();
    if stuck {
        assert!(start.elapsed() < Duration::from_secs(14), "{:?}", start.elapsed());
        assert_eq!(
            removed.fails(1),
            "jail: a: its processes were killed and do not end\n\
             hint: a frozen one ends when it is thawed; the next command then finishes the removal\n"
        );
        // It is in nobody's way: its name is free, and no command waits for it again.
        let start = Instant::now();
        assert_eq!(house.sh("jls name; jls -d name dying; jail -c name=a persist; jail -r a"), "a true\n");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    } else {
        removed.ok();
    }
    house.sh(thaw);
    house.empty();
    assert!(!house.cmd("pgrep -f 'sleep 31415.7$'").run().status.success());
    house.sh("jdb audit --all");
}

lab_test!(a_frozen_jail_is_removed for root; needs [CgroupV2]; |lab| {
    let dir = lab.cgroup();
    let dir = dir.display();
    frozen(lab, &format!("echo 1 >{dir}$(sed -n 's/^0:://p' /proc/$pid/cgroup)/cgroup.freeze"), ":", false);
});

// Of version 1: what it has frozen cannot be killed.
lab_test!(a_jail_that_cannot_be_killed_is_left_dying_and_goes_when_it_thaws for root; needs [CgroupV2, Device("/sys/fs/cgroup/freezer/cgroup.procs")]; |lab| {
    let dir = format!("/sys/fs/cgroup/freezer/{}", House::new(lab).root.trim_start_matches("/run/"));
    let freeze = "echo $pid >$D/cgroup.procs; echo FROZEN >$D/freezer.state; until grep -q FROZEN $D/freezer.state; do :; done";
    frozen(lab, &format!("D={dir}; mkdir $D; {freeze}"), &format!("echo THAWED >{dir}/freezer.state"), true);
    lab.until("it is empty", || fs::remove_dir(&dir).is_ok());
});
