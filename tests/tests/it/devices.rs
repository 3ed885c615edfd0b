//! Rule sets for devices: what of the host's a jail has in its /dev.

use std::fs;

use vimage_tests::{Lab, lab_test};

use crate::shell::{gives, prints, quiet, refused, run};

/// A host with devices and a devfs.rules of the lab's own. What is called toy is /dev/null.
pub(crate) struct Host<'l>(&'l Lab);

impl<'l> Host<'l> {
    pub(crate) fn new(lab: &'l Lab, rules: &str) -> Self {
        lab.sh(
            "mkdir /tmp/etc; cp -a /etc/. /tmp/etc; mount --bind /tmp/etc /etc
             mount -t tmpfs -o mode=755 devices /mnt; cd /mnt; mkdir net snd
             mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
             mknod -m 640 toy c 1 3; chown 0:6 toy; mknod -m 600 net/tun c 1 3; mknod -m 660 snd/a c 1 5; mknod snd/b c 1 7
             mknod disk0 b 8 0; mknod disk1 b 8 16; mknod mem c 1 1; mknod port c 1 4; ln -s disk0 cdrom
             mount --move /mnt /dev",
        );
        fs::write("/etc/devfs.rules", rules).unwrap();
        Self(lab)
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        self.0.sh("umount /dev; umount /etc");
    }
}

/// What `ls` says of the devices in a jail's /dev: path, mode, owner, group and number.
fn list(dir: &str) -> String {
    let stat = "stat -c \"%n %a %u %g %t:%T\"";
    format!("sh -c 'cd {dir}; find . -xdev -type b,c -exec {stat} {{}} + | sort'")
}

const BASIC: &str = "./full 666 0 0 1:7\n./null 666 0 0 1:3\n./random 666 0 0 1:8\n./tty 666 0 0 5:0\n\
                     ./urandom 666 0 0 1:9\n./zero 666 0 0 1:5\n";

const RULES: &str = "[toys=10]\nadd include $devfsrules_jail\nadd path toy unhide\nadd path net/tun unhide mode 0666\n\
                     add path 'snd/*' unhide user mail group 7\n";
const TOYS: &str = "./full 666 0 0 1:7\n./net/tun 666 0 0 1:3\n./null 666 0 0 1:3\n./random 666 0 0 1:8\n./snd/a 660 8 7 1:5\n\
                    ./snd/b 644 8 7 1:7\n./toy 640 0 6 1:3\n./tty 666 0 0 5:0\n./urandom 666 0 0 1:9\n./zero 666 0 0 1:5\n";

lab_test!(by_default_a_jail_has_what_every_program_expects for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    for given in ["", "devfs_ruleset=4", "devfs_ruleset=devfsrules_jail", "devfs_ruleset=5", "user=inherit"] {
        quiet(lab, &format!("jail -c name=a persist {given}"));
        prints(lab, &format!("jexec a {}", list("/dev")), BASIC);
        prints(lab, "jexec a ls /dev", "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n");
        prints(lab, "jls -j a devfs_ruleset", if given.ends_with('5') { "5\n" } else { "4\n" });
        prints(lab, "jexec a sh -c 'echo x >/dev/null; head -c 2 /dev/zero | wc -c; echo in | cat /dev/stdin'", "2\nin\n");
        quiet(lab, "jail -r a");
    }
});

lab_test!(a_jail_has_exactly_what_its_rule_set_shows for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    for (with, given) in [("", ""), ("", "user=inherit"), ("export JAIL_MASK=idmapped_mounts;", ""), ("", "vnet user=inherit")] {
        quiet(lab, &format!("{with} jail -c name=a persist {given} devfs_ruleset=toys"));
        prints(lab, "jls -j a devfs_ruleset", "10\n");
        prints(lab, &format!("jexec a {}", list("/dev")), TOYS);
        prints(lab, "jexec a sh -c 'cat /dev/toy; head -c 1 /dev/snd/a | wc -c; echo x >/dev/net/tun; test -e /dev/cdrom || echo no link'", "1\nno link\n");
        // Mode and owner count.
        let toy = run(lab, "jexec -U nobody a cat /dev/toy").fails(1);
        assert!(toy.contains("Permission denied"), "{toy}");
        quiet(lab, "jexec -U nobody a cat /dev/net/tun");
        quiet(lab, "jail -r a");
    }
    let shown = lab.sh("jail -c name=a persist devfs_ruleset=10; jdb show a root; jail -r a");
    assert!(shown.contains("  net/tun  1:3     0666  0     0\n"), "{shown}");
    assert!(shown.contains("  snd/a    1:5     0660  8     7\n"), "{shown}");
});

lab_test!(a_rule_set_hides_what_a_jail_has_of_its_own for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, "[bare=20]\nadd hide\nadd path null unhide mode 600\n[more=21]\nadd include 4\nadd path 'std*' hide\n\
                                add type tty hide\n");
    prints(lab, "jail -c name=a devfs_ruleset=bare command=ls /dev", "mqueue\nnull\npts\nshm\n");
    prints(lab, "jail -c name=a devfs_ruleset=more command=ls /dev", "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nurandom\nzero\n");
});

lab_test!(a_file_may_replace_a_set_that_is_built_in for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, "[devfsrules_jail=4]\nadd include $devfsrules_hide_all\nadd path toy unhide\n");
    prints(lab, &format!("jail -c name=a command={}", list("/dev")), "./toy 640 0 6 1:3\n");
    prints(lab, &format!("jail -c name=a devfs_ruleset=5 command={}", list("/dev")), "./toy 640 0 6 1:3\n");
});

lab_test!(no_jail_is_given_a_disk_or_memory for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, "[disks=10]\nadd include 4\nadd path 'disk*' unhide\n[memory=11]\nadd include 4\nadd path port unhide\n\
                                [all=12]\nadd path null mode 600\n[others=13]\nadd include 4\nadd unhide\nadd type disk hide\n\
                                add 1000 type mem hide\n");
    let head = "jail: devfs_ruleset: ";
    for given in ["", "user=inherit"] {
        for (set, stderr) in [
            ("0", "0 is no rule set: the jail would have the host's disks and memory\nhint: 4 is what a jail has by default"),
            ("10", "/etc/devfs.rules line 3: disk0 is a disk of the host, which no jail is given\n    3 | add path 'disk*' unhide\n      \
                    | ^^^^^^^^^^^^^^^^^^^^^^^\n  hint: add type disk hide, as a later rule, leaves such out"),
            ("memory", "/etc/devfs.rules line 6: port is memory of the host, which no jail is given\n    6 | add path port unhide\n      \
                    | ^^^^^^^^^^^^^^^^^^^^\n  hint: add type mem hide, as a later rule, leaves such out"),
            ("all", "disk0 is a disk of the host, which no jail is given\nhint: a rule set begins with add include $devfsrules_hide_all"),
        ] {
            refused(lab, &format!("jail -c name=a persist {given} devfs_ruleset={set}"), &format!("{head}{stderr}\n"));
        }
    }
    prints(lab, "jail -c name=a devfs_ruleset=others command=sh -c 'cd /dev; echo *; echo snd/*'",
        "fd full mqueue net null ptmx pts random shm snd stderr stdin stdout toy tty urandom zero\nsnd/a snd/b\n");
});

lab_test!(what_is_wrong_with_the_file_is_said_to_who_uses_it for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, "[a=10]\nadd include $devfsrules_jial\nadd pth toy unhide\n[b]\nadd path toy mode 9\n[c=11]\nadd include 10\n");
    let all = "jail: devfs_ruleset: /etc/devfs.rules line 2: include: no rule set $devfsrules_jial\n    \
               2 | add include $devfsrules_jial\n      |             ^^^^^^^^^^^^^^^^\n  hint: a number from 1 to 65535, or $NAME\n\
               /etc/devfs.rules line 3: pth: no part of a rule\n    3 | add pth toy unhide\n      |     ^^^\n  \
               hint: path PATTERN, type TYPE, hide, unhide, mode MODE, user USER, group GROUP, include RULESET\n\
               /etc/devfs.rules line 4: [b]: not the head of a rule set\n    4 | [b]\n      | ^^^\n  hint: [NAME=NUMBER]\n\
               /etc/devfs.rules line 5: mode: not a mode \"9\"\n    5 | add path toy mode 9\n      |                   ^\n  \
               hint: octal, from 0 to 777\n";
    for set in ["10", "a", "11", "b", "99"] {
        refused(lab, &format!("jail -c name=j persist devfs_ruleset={set}"), all);
    }
    // Who uses none of its sets is not concerned.
    quiet(lab, "jail -c name=j persist; jail -m name=j devfs_ruleset=5; jail -m name=j devfs_ruleset=devfsrules_jail");
    refused(lab, "jail -m name=j devfs_ruleset=10", all);
    prints(lab, "jls -j j devfs_ruleset", "4\n");
    fs::write("/etc/devfs.rules", "[a=4]\nadd hid\n").unwrap();
    assert!(run(lab, "jail -c name=k persist").fails(1).contains("line 2: hid: no part of a rule\n"));
    fs::write("/etc/devfs.rules", "[a=10]\nadd path toy unhide user no:one\nadd hide\nadd path toy unhide\n").unwrap();
    refused(lab, "jail -c name=k persist devfs_ruleset=a",
        "jail: devfs_ruleset: /etc/devfs.rules line 2: user: /etc/passwd has no \"no:one\"\n    \
         2 | add path toy unhide user no:one\n      |                          ^^^^^^\n  hint: a number needs no name\n");
    for set in ["12", "nosuch", "70000", "-1"] {
        refused(lab, &format!("jail -c name=k persist devfs_ruleset={set}"), &format!(
            "jail: devfs_ruleset: no rule set \"{set}\"\nhint: 1 devfsrules_hide_all, 2 devfsrules_unhide_basic, \
             3 devfsrules_unhide_login, 4 devfsrules_jail, 5 devfsrules_jail_vnet, 10 a\n"));
    }
    lab.sh("rm /etc/devfs.rules; mkdir /etc/devfs.rules");
    refused(lab, "jail -c name=k persist devfs_ruleset=a", "jail: devfs_ruleset: /etc/devfs.rules: Is a directory\n");
    quiet(lab, "jail -c name=k persist; jail -q -r j k");
});

lab_test!(devices_come_to_a_living_jail_and_go for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    let sleep = "command=sh -c 'exec 3</dev/zero; sleep 1000 >/dev/null 2>&1 &'";
    for (given, devices) in [("persist", "/dev"), ("persist user=inherit", "/dev"), (sleep, "/dev"), ("persist children.max=1", "/dev")] {
        quiet(lab, &format!("jail -c name=a {}", if given.starts_with("command") { given.to_owned() } else { format!("{given} exec.start='sleep 1000 & exit 0'") }));
        let devices = list(devices);
        quiet(lab, "jail -m name=a devfs_ruleset=toys");
        prints(lab, &format!("jls -j a devfs_ruleset; jexec a {devices}"), &format!("10\n{TOYS}"));
        // Wherever the jail has put them.
        quiet(lab, "jexec a sh -c 'cd /dev; mkdir -p d/e; ln toy d/e/x; mv net/tun d/y; chmod 666 toy; rm null; ln -sf /etc/passwd stdin'");
        quiet(lab, "jail -m name=a devfs_ruleset=4");
        prints(lab, &format!("jexec a {devices}; jexec a readlink /dev/stdin; jexec a ls -d /dev/d/e"), &format!("{BASIC}/etc/passwd\n/dev/d/e\n"));
        // What the jail has in its place is not taken away.
        quiet(lab, "jexec a touch /dev/toy");
        refused(lab, "jail -m name=a devfs_ruleset=10", "jail: a: devfs_ruleset: cannot make /dev/toy: File exists\n");
        prints(lab, &format!("jls -j a devfs_ruleset; jexec a {devices}"), &format!("4\n{BASIC}"));
        quiet(lab, "jexec a sh -c 'rm /dev/toy; rmdir /dev/net; ln -s /tmp /dev/net'");
        refused(lab, "jail -m name=a devfs_ruleset=10", "jail: a: devfs_ruleset: cannot make /dev/net/tun: Too many levels of symbolic links\n");
        assert!(!fs::exists("/tmp/tun").unwrap());
        prints(lab, &format!("jls -j a devfs_ruleset; jexec a {devices}"), &format!("4\n{BASIC}"));
        quiet(lab, "jail -r a");
    }
});

lab_test!(a_process_keeps_the_device_that_it_has_open for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    quiet(lab, "jail -c name=a persist devfs_ruleset=10");
    let reader = lab.spawn("exec jexec a sh -c 'exec 3</dev/snd/a; echo has; while [ -e /dev/snd/a ]; do sleep 0.01; done; head -c 3 <&3 | wc -c'");
    lab.until("it has it", || reader.stdout() == "has\n");
    quiet(lab, "jail -m name=a devfs_ruleset=4");
    lab.until("it still has it", || reader.stdout() == "has\n3\n");
    drop(reader);
    quiet(lab, "jail -r a");
});

// A process that may make namespaces can have anything on /dev in its own.
lab_test!(what_a_jail_mounts_on_its_dev_is_not_taken_for_it for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    let over = "mount -t tmpfs x /dev && echo over && exec sleep 1000";
    let jail = lab.spawn(&format!("exec jail -c name=a proc=inherit children.max=1 command=unshare -Urm sh -c '{over}'"));
    lab.until("it has mounted", || jail.stdout().contains("over"));
    refused(lab, "jail -m name=a devfs_ruleset=10", "jail: devfs_ruleset: another file system is mounted on the jail's /dev\n");
    prints(lab, "jls -j a devfs_ruleset", "4\n");
    quiet(lab, "jail -q -R a");
    drop(jail);
});

lab_test!(a_jail_in_a_jail_has_its_parents_rule_set for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    quiet(lab, "jail -c name=a persist devfs_ruleset=10 children.max=3; jail -c name=a.b children.max=1 persist");
    quiet(lab, "jail -c name=a.b.c devfs_ruleset=toys persist");
    prints(lab, &format!("jls -j a.b.c devfs_ruleset; jexec a.b.c {}", list("/dev")), &format!("10\n{TOYS}"));
    let denied = |parents| format!("jail: devfs_ruleset: Operation not permitted\nhint: a jail in a jail has its parent's, which is {parents}\n");
    refused(lab, "jail -c name=a.d devfs_ruleset=4 persist", &denied(10));
    refused(lab, "jail -m name=a.b devfs_ruleset=4", &denied(10));
    quiet(lab, "jail -m name=a.b devfs_ruleset=10");
    // It changes with its parent's.
    quiet(lab, "jail -m name=a devfs_ruleset=4");
    for name in ["a", "a.b", "a.b.c"] {
        prints(lab, &format!("jls -j {name} devfs_ruleset; jexec {name} {}", list("/dev")), &format!("4\n{BASIC}"));
    }
    refused(lab, "jail -m name=a.b.c devfs_ruleset=toys", &denied(4));
    quiet(lab, "jail -r a");
});

lab_test!(a_configuration_says_it_as_in_freebsd for root; needs [CgroupV2]; |lab| {
    let _host = Host::new(lab, RULES);
    fs::write("/tmp/jail.conf", "persist; mount.devfs; devfs_ruleset = 4;\nweb { devfs_ruleset = 10; }\ndb { }\nbad {\n  devfs_ruleset = 7;\n}\n").unwrap();
    gives(lab, "jail -q -f /tmp/jail.conf -c", 1, "",
        "jail: bad: devfs_ruleset: no rule set \"7\"\nhint: 1 devfsrules_hide_all, 2 devfsrules_unhide_basic, 3 devfsrules_unhide_login, \
         4 devfsrules_jail, 5 devfsrules_jail_vnet, 10 toys\n");
    prints(lab, "jls name devfs_ruleset | sort", "db 4\nweb 10\n");
    quiet(lab, "jail -q -r web db");
});
