//! Configurations as people publish them, each through a jail's whole life in trees of Debian.

use std::fs;

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, names, prints, quiet, run};

/// A file of `confs`: its name and what it says.
macro_rules! conf {
    ($name:literal) => {
        ($name, include_str!(concat!("../../confs/", $name, ".conf")))
    };
}

/// What one of the files includes.
const INCLUDED: [(&str, &str); 2] = [conf!("conf.d/forum"), conf!("conf.d/store")];

/// What each file makes.
const FILES: [((&str, &str), &[&str]); 13] = [
    (conf!("handbook-classic"), &["classic"]),
    (conf!("handbook-thin"), &["thin1", "thin2"]),
    (conf!("handbook-vnet"), &["vnet"]),
    (conf!("bastille-thin"), &["alcatraz"]),
    (conf!("bastille-vnet"), &["azkaban"]),
    (conf!("iocage"), &["ioc-builder"]),
    (conf!("pot"), &["nginx_1a2b"]),
    (conf!("service-jails"), &["svcj-postgresql", "svcj-sshd", "svcj-syslogd"]),
    (conf!("manual-dozens"), &[]),
    (conf!("manual-hierarchy"), &["office", "office.mail", "office.web", "office.web.cache"]),
    (conf!("manual-numbers"), &["42", "mx", "ns"]),
    (conf!("linux-segments"), &["db", "gw", "www"]),
    (conf!("includes"), &["forum", "store"]),
];

/// What the jails start: a daemon, after a word that says that it was this jail.
const RC: &str = "hostname >/dev/shm/started; sleep 31415.2 >/dev/null 2>&1 </dev/null & echo started";

/// Where a file says it all.
const WHERE: &str = "/tmp/confs";

/// Trees for all of them at /jails. Each thick jail's is the same one, mounted once more: none writes to it.
fn trees(lab: &Lab, base: &str) {
    fs::create_dir_all(format!("{WHERE}/conf.d")).unwrap();
    for (name, text) in FILES.iter().map(|(conf, _)| conf).chain(&INCLUDED) {
        fs::write(format!("{WHERE}/{name}.conf"), text.replace("/jails/", "/tmp/jails/")).unwrap();
    }
    fs::write(format!("{base}/etc/rc"), RC).unwrap();
    fs::write(format!("{base}/etc/rc.shutdown"), "echo stopped").unwrap();
    // Where the jail's own is shown.
    fs::write(format!("{base}/etc/machine-id"), "").unwrap();
    lab.sh(&format!(
        "mkdir -p /tmp/jails/containers /tmp/jails/thin /tmp/jails/fstab /tmp/jails/base /tmp/log
        cp {base}/etc/rc {base}/etc/rc.shutdown /tmp/jails
        for n in classic vnet azkaban builder nginx_1a2b; do
            mkdir /tmp/jails/containers/$n; mount --bind {base} /tmp/jails/containers/$n
        done
        mount --bind {base} /tmp/jails/base
        for n in thin1 thin2 alcatraz; do
            t=/tmp/jails/thin/$n; mkdir -p $t/usr $t/etc $t/root $t/tmp
            for dir in bin sbin lib lib64; do ln -s usr/$dir $t/$dir; done
            cp {base}/etc/passwd {base}/etc/group {base}/etc/rc {base}/etc/rc.shutdown $t/etc
            echo \"{base}/usr /usr nullfs ro 0 0\" >/tmp/jails/fstab/$n
        done
        ip link add bridge0 type bridge; ip address add 192.168.1.1/24 dev bridge0; ip link set bridge0 up"
    ));
}

/// The names that a file makes; of the one with dozens, all of them.
fn jails(file: &str) -> Vec<String> {
    let (_, names) = FILES.iter().find(|((name, _), _)| *name == file).unwrap();
    match names {
        [] => (1..=24).map(|n| format!("web{n:02}")).collect(),
        names => names.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn live_through(lab: &Lab, file: &str) {
    let (conf, jails) = (format!("{WHERE}/{file}.conf"), jails(file));
    let jail = |words: &str| quiet(lab, &format!("jail -q -f {conf} {words}"));
    let started = |again: &str| {
        let mut there = names(lab);
        there.sort();
        assert_eq!(there, jails, "{file}{again}");
        for name in &jails {
            prints(lab, &format!("jexec {name} cat /dev/shm/started"), &format!("{}\n", hostname(lab, name)));
        }
    };
    // A pattern is no error where nothing is to be done.
    jail("-c '*'");
    started("");
    let jids = run(lab, "jls jid").ok();
    // Changed as people do it: a line for all at the end.
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{text}\n* {{ stop.timeout = 7; }}\n")).unwrap();
    jail("-m '*'");
    assert_eq!(run(lab, "jls stop.timeout").ok(), "7\n".repeat(jails.len()), "{file}");
    jail("-rc '*'");
    started(", restarted");
    let fixed = |jid: &str| file == "manual-numbers" && ["17", "18", "42"].contains(&jid);
    let anew = |jid: &str| fixed(jid) || !jids.lines().any(|before| before == jid);
    assert!(run(lab, "jls jid").ok().lines().all(anew), "{file}: {jids}");
    jail("-r '*'");
    assert_eq!(names(lab), [""; 0], "{file}");
    all_gone(lab);
}

fn hostname(lab: &Lab, name: &str) -> String {
    run(lab, &format!("jls -j {name} host.hostname")).ok().trim_end().to_owned()
}

lab_test!(jails_of_published_configurations_live_through_it_all for root; needs [Debian, Program("ip")];
    with timeout(180); |lab| {
    let base = lab.debian();
    trees(lab, &base.to_string());
    for ((file, _), _) in FILES {
        live_through(lab, file);
    }
    for name in ["vnet", "thin1", "www", "azkaban"] {
        let log = run(lab, &format!("cat /tmp/log/*{name}*")).ok();
        assert!(log.contains("started\n") && log.contains("stopped\n"), "{name}: {log}");
    }
    prints(lab, "sort /tmp/pot/log | uniq -c | tr -s ' '", " 2 created\n 2 released\n");
    lab.sh("ip link delete bridge0; umount /tmp/jails/containers/* /tmp/jails/base");
});
