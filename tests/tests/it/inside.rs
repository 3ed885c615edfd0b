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
    says(lab, "a", "jls name path; jexec b jls -s jid name", "b /\njid=1 name=c\n");
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
    says(lab, "a", "jail -c name=b allow.reserved_ports persist", concat!(
        "jail: allow.reserved_ports: Operation not permitted\nhint: its parent's allows a child at most false\n"));
    says(lab, "a", "jail -c name=b sysvmsg=new persist", concat!(
        "jail: sysvmsg: Operation not permitted\nhint: its parent's allows a child at most disable\n"));
    says(lab, "a", "jail -c name=b children.max=3 persist", concat!(
        "jail: children.max: Operation not permitted\nhint: its parent's allows a child at most 2\n"));
    says(lab, "a", "jail -c name=x persist", "jail: jail \"x\" already exists\nhint: it was made from outside this jail\n");
    says(lab, "a", "jail -c name=b persist && jail -c name=c persist && jail -c name=d persist", concat!(
        "jail: prison limit exceeded\nhint: this jail has 3 of at most 3 in it, its children.max\n"));
    prints(lab, "jexec a sh -c 'grep -ls secret -r /run/jail || echo none'", "none\n");
    // What is told follows.
    quiet(lab, "jail -r a.x");
    says(lab, "a", "jail -c name=x persist; jls name | sort | tr \"\\n\" \" \"", "b c x ");
    quiet(lab, "jail -m name=a children.max=2");
    says(lab, "a", "jail -q -r x; jail -c name=x persist", concat!(
        "jail: prison limit exceeded\nhint: this jail has 2 of at most 2 in it, its children.max\n"));
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
        "jail: a: persist: a jail that makes jails itself persists from its creation on, or never\n",
        "hint: its mounts are locked; give it when the jail is created\n"));
    quiet(lab, "jail -r a");
    all_gone(lab);
});
