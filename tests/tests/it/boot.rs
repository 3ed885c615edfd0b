//! Stores that are on a disk, and so outlive a boot.

use std::fs;

use vimage_tests::lab_test;

use crate::shell::{names, prints, quiet, run};

lab_test!(a_store_that_outlived_a_boot_starts_clean for root; needs [CgroupV2]; |lab| {
    // No test can boot the kernel. A copy of a store whose jails are gone is what one leaves.
    lab.sh("mkdir -p /tmp/l /tmp/u /tmp/w /tmp/tree/etc
        mount -t overlay -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w disk /mnt
        for n in a b c; do
            jail --root /mnt/store -c name=$n path=/tmp/tree persist vnet vnet.link='eth0 lan' mount='/tmp/l /mnt none ro'
        done
        mkdir /mnt/other
        (cd /mnt/store; cp -a boot jails names numbers pending ranges shared /mnt/other)
        jail --root /mnt/store -r '*'");
    // The mount point that the jails had made in their tree.
    lab.sh("touch /tmp/tree/etc/resolv.conf; truncate -s 100 /mnt/other/jails/2/record");
    prints(lab, "jls --root /mnt/other -n name", "name=a\nname=c\n");
    lab.sh("echo another >/mnt/other/boot");
    prints(lab, "jls --root /mnt/other name; jls --root /mnt/other -d name", "");
    let told = run(lab, "jail --root /mnt/other -c name=b persist");
    assert!(told.stderr.starts_with("jail: jail 2, of another boot: cannot understand "), "{}", told.stderr);
    prints(lab, "jls --root /mnt/other name", "b\n");
    assert!(!fs::exists("/tmp/tree/etc/resolv.conf").unwrap());
    quiet(lab, "jail --root /mnt/other -r b");
    lab.sh("jdb --root /mnt/other repair; jdb --root /mnt/other audit --all");
    assert_eq!(names(lab), [""; 0]);
    lab.sh("rm -rf /mnt/other /mnt/store; umount /mnt");
});

lab_test!(units_for_systemd_are_such_and_their_commands_do_what_they_say for root;
    needs [CgroupV2, Program("systemd-analyze")]; |lab| {
    lab.sh("mkdir /tmp/units; jail --generate systemd >/tmp/units/jail.service
        jail --generate systemd@ >/tmp/units/jail@.service
        systemd-analyze verify --man=no --recursive-errors=no /tmp/units/jail.service /tmp/units/jail@web.service
        mkdir /tmp/etc; mount --bind /tmp/etc /etc");
    fs::write("/etc/jail.conf", "persist; host = inherit; web { depend = db; } db {} odd {}").unwrap();
    let commands = |unit: &str| {
        let text = fs::read_to_string(unit).unwrap().replace("%i", "web");
        ["ExecStart=", "ExecStop="].map(|key| text.lines().find_map(|l| l.strip_prefix(key)).unwrap().to_owned())
    };
    let [start, stop] = commands("/tmp/units/jail@.service");
    // Started again it is not made again.
    for _ in 0..2 {
        quiet(lab, &start);
        assert_eq!(names(lab), ["db", "web"]);
    }
    quiet(lab, &stop);
    assert_eq!(names(lab), ["db"]);
    let [start, stop] = commands("/tmp/units/jail.service");
    lab.sh("mkdir /etc/jail.conf.d; echo 'last { }' >/etc/jail.conf.d/last.conf");
    quiet(lab, &start);
    let mut all = names(lab);
    all.sort();
    assert_eq!(all, ["db", "last", "odd", "web"]);
    quiet(lab, &stop);
    assert_eq!(names(lab), [""; 0]);
    // Either may be all that there is, and who includes the directory by himself has it once.
    lab.sh("mv /etc/jail.conf /tmp/kept");
    prints(lab, "jail -e ' '", "name=last\n");
    lab.sh("(cat /tmp/kept; echo '.include \"/etc/jail.conf.d/*.conf\";') >/etc/jail.conf");
    prints(lab, "jail -e ' ' | grep -c name=last", "1\n");
    lab.sh("umount /etc");
});
