//! Each file in `tests/files` is in the style of one manual: what is in it, and what of it is not obvious.

use std::{fs, io, path::PathBuf};

use conf::{Conf, Loader, Tree};

use crate::{jail, said, vocabulary};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files"))
}

/// The files, below a name that is the same everywhere.
struct Disk;

impl Loader for Disk {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(folder().join(path))
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        let (directory, pattern) = pattern.rsplit_once('/').unwrap_or((".", pattern));
        let mut names = Vec::new();
        for entry in fs::read_dir(folder().join(directory))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if conf::glob::matches(pattern, &name) {
                names.push(format!("{directory}/{name}"));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A file, whose jails are these, with nothing wrong; and which says the same when it is printed.
#[track_caller]
fn file(name: &str, jails: &[&str]) -> Conf {
    let text = fs::read(folder().join(name)).unwrap();
    let conf = Conf::load(name, text.clone(), &mut Disk).unwrap();
    assert_eq!(conf.jails().collect::<Vec<_>>(), jails);
    for jail in conf.resolver(&vocabulary).jails() {
        assert!(jail.problems.is_empty(), "{:?}", jail.problems);
    }
    let printed = Tree::parse(name, &text).unwrap().to_string();
    let again = Conf::load(name, printed.clone().into_bytes(), &mut Disk).unwrap();
    let (mut before, mut after) = (conf.resolver(&vocabulary), again.resolver(&vocabulary));
    assert_eq!(
        before.jails().map(|j| said(&j)).collect::<Vec<_>>(),
        after.jails().map(|j| said(&j)).collect::<Vec<_>>()
    );
    assert_eq!(Tree::parse(name, printed.as_bytes()).unwrap().to_string(), printed);
    conf
}

/// Whether a jail has these among its parameters.
#[track_caller]
fn has(conf: &Conf, name: &str, wanted: &[&str]) {
    let all = jail(conf, name);
    for want in wanted {
        assert!(all.iter().any(|has| has == want), "{want}: {all:#?}");
    }
}

#[test]
fn the_handbooks_classic_jail() {
    let conf = file("handbook-classic.conf", &["classic"]);
    let path = "path=/usr/local/jails/containers/classic";
    has(&conf, "classic", &["exec.consolelog=/var/log/jail_console_classic.log", path, "allow.raw_sockets"]);
}

#[test]
fn the_handbooks_jail_with_a_network_stack_names_its_epair_by_a_number() {
    let conf = file("handbook-vnet.conf", &["vnet"]);
    let start = "exec.start=\"/bin/sh /etc/rc\",\"/sbin/ifconfig epair154b 192.168.1.154/24 up\",\
                 \"/sbin/route add default 192.168.1.1\"";
    has(&conf, "vnet", &["vnet", "vnet.interface=epair154b", start, "host.hostname=vnet"]);
}

#[test]
fn the_handbooks_thin_jails() {
    let conf = file("handbook-thin.conf", &["thin1", "thin2", "thin3"]);
    let mount = "mount=\"/srv/shared /usr/local/jails/thin3-nullfs-base/mnt nullfs ro 0 0\"";
    has(
        &conf,
        "thin3",
        &["depend=thin1,thin2", mount, "mount.fstab=/usr/local/jails/thin3-nullfs-base.fstab"],
    );
}

#[test]
fn the_handbooks_file_for_each_jail() {
    let conf = file("handbook-main.conf", &["mail", "proxy"]);
    has(&conf, "proxy", &["ip4.addr=em0|192.0.2.10/32,lo1|127.0.1.10/32", "depend=mail"]);
}

#[test]
fn the_manuals_jails_in_jails() {
    let names = ["office", "office.mail", "office.web", "office.web.cache", "lab"];
    let conf = file("manual-hierarchy.conf", &names);
    has(
        &conf,
        "office.web",
        &["path=/var/jail/office.web", "allow.nomount", "stop.timeout=30", "children.max=1"],
    );
    has(&conf, "office.web.cache", &["allow.nomount", "exec.system_user=root"]);
    has(&conf, "lab", &["path=/"]);
    assert!(!jail(&conf, "office").contains(&"allow.nomount".to_owned()));
}

#[test]
fn the_manuals_dozens_of_jails_from_one_block() {
    let names = [
        "www1", "www2", "www3", "www4", "app1", "app2", "app3", "app4", "db1", "db2", "mail", "dns1", "dns2",
    ];
    let conf = file("manual-dozens.conf", &names);
    has(&conf, "app3", &["ip4.addr=10.20.0.23", "path=/tank/jails/app3", "host.hostname=app3.example.org"]);
    has(&conf, "dns1", &["ip4.addr=10.20.0.51,192.0.2.53", "securelevel=2"]);
    has(&conf, "mail", &["host.hostname=mx.example.org", "allow.noraw_sockets"]);
}

#[test]
fn the_manuals_jails_by_number() {
    let conf = file("manual-numbers.conf", &["101", "102", "103"]);
    has(&conf, "101", &["path=/var/jail/ns", "name=ns"]);
    has(&conf, "102", &["path=/var/jail/mx", "depend=101"]);
    has(&conf, "103", &["path=/var/jail/103", "host.hostname=jail103", "name=103"]);
}

#[test]
fn a_thin_jail_of_bastille() {
    let conf = file("bastille-thin.conf", &["alcatraz"]);
    has(
        &conf,
        "alcatraz",
        &["path=/usr/local/bastille/jails/alcatraz/root", "ip6=disable", "interface=bastille0"],
    );
}

#[test]
fn a_vnet_jail_of_bastille_leaves_the_shells_variables_to_the_shell() {
    let conf = file("bastille-vnet.conf", &["folsom"]);
    let resolved = conf.resolver(&vocabulary).jail("folsom").unwrap();
    let prestart = resolved.param("exec.prestart").unwrap();
    let wanted = "epair0=$(ifconfig epair create) && ifconfig ${epair0} up name e0a_folsom && \
                  ifconfig ${epair0%a}b up name e0b_folsom";
    assert_eq!(prestart.values[0].text, wanted);
    assert_eq!(prestart.values.len(), 3);
}

#[test]
fn what_iocage_writes() {
    let conf = file("iocage.conf", &["ioc-builder"]);
    has(
        &conf,
        "ioc-builder",
        &["allow.mount.zfs=1", "zfs.dataset=tank/build/ccache,tank/build/distfiles", "persist"],
    );
}

#[test]
fn a_container_of_pot() {
    let conf = file("pot.conf", &["nginx_1a2b"]);
    let start = "exec.start=\"sh -c \\\"trap 'exit 0' TERM; /usr/local/sbin/nginx -g 'daemon off;'\\\" &\"";
    has(&conf, "nginx_1a2b", &[start, "exec.created=/opt/pot/bin/log,created", "allow.set_hostname=false"]);
}

#[test]
fn links_on_segments() {
    let conf = file("linux-segments.conf", &["router", "db", "app", "edge"]);
    has(&conf, "router", &["vnet.link=\"eth0 lan 10.9.0.2/24\",\"eth1 dmz 10.9.1.1/24 fd09:1::1/64\""]);
    has(&conf, "app", &["mount=\"/srv/pages /srv/jails/app/var/www none ro 0 0\"", "depend=db,router"]);
    has(&conf, "edge", &["vnet.link=\"eth0 dmz 10.9.1.2/24\"", "vnet.route=\"default via 10.9.1.1\""]);
}

#[test]
fn services_on_the_hosts_files() {
    let conf = file("service-jails.conf", &["svcj-postgresql", "svcj-sshd", "svcj-syslogd"]);
    has(&conf, "svcj-postgresql", &["path=/", "persist=true", "exec.start=\"service postgresql onestart\""]);
    has(&conf, "svcj-syslogd", &["nopersist", "ip4=disable", "mount.nodevfs"]);
}

#[test]
fn no_file_is_forgotten() {
    let tests = include_str!("published.rs");
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "jail.conf.d" || tests.contains(&format!("file(\"{name}\"")), "{name}");
    }
}
