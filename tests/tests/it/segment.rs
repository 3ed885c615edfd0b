//! Segments of many links.

use std::time::Instant;

use vimage_tests::{Lab, lab_test};

/// Makes a segment of ours full after four links.
const NARROW: (&str, &str) = ("JAIL_MASK", "wide_bridges");

/// The definitions of links of one jail, whose addresses end in numbers from `first` on. Of many only the first
/// has an IPv6 address: the kernel reports each to all others, and drops what is too much at once.
fn links(count: u32, first: u32) -> Vec<String> {
    let one = |n: u32| {
        let number = first + n;
        let six = if n == 0 || count < 10 { format!(" fd00:9::{number:x}/64") } else { String::new() };
        format!("vnet.link=e{n} lan 10.9.{}.{}/16{six}", number >> 8, number & 0xff)
    };
    (0..count).map(one).collect()
}

fn create(lab: &Lab, name: &str, links: &[String]) -> vimage_tests::Cmd {
    lab.cmd("jail").args(["-c", &format!("name={name}"), "vnet", "persist"]).args(links)
}

fn reaches(lab: &Lab, jail: &str, to: &str) {
    lab.sh(&format!("jexec {jail} ping -n -c1 -i0.2 -w5 {to}"));
}

/// How many bridges the records have.
fn bridges(lab: &Lab) -> usize {
    lab.sh("cat /run/jail/shared/vnet.segment*/record").matches(r#""kind":"bridge""#).count()
}

fn assert_sound(lab: &Lab) {
    lab.until("the audit finds nothing", || lab.cmd("jdb").args(["audit", "--all"]).run().status.success());
}

fn assert_gone(lab: &Lab) {
    lab.sh("jdb audit --all");
    let left = || std::fs::read_dir("/run/jail/shared").unwrap().count();
    lab.until("all is gone", || {
        lab.cmd("jdb").args(["audit", "--all"]).run().status.success() && left() == 0
    });
}

lab_test!(a_segment_has_more_links_than_a_bridge_has_ports for root; needs [CgroupV2, Program("ping")]; with timeout(120); |lab| {
    let start = Instant::now();
    // Each of so many interfaces would answer for all others' addresses.
    let quiet = "vnet.sysctl=net.ipv4.conf.all.arp_ignore=1";
    for (name, count, first) in [("a", 500, 256), ("b", 500, 1024)] {
        create(lab, name, &links(count, first)).arg(quiet).run().ok();
    }
    println!("1,000 links: {:?}", start.elapsed());
    assert_eq!(bridges(lab), 2);
    for jail in ["c", "d"] {
        let number = if jail == "c" { 8 } else { 9 };
        lab.sh(&format!(
            r#"jail -c name={jail} vnet vnet.link="eth0 lan 10.9.0.{number}/16 fd00:9::{number}/64" vnet.host="lan 10.9.0.1/16 fd00:9::1/64" persist"#
        ));
    }
    let start = Instant::now();
    create(lab, "e", &links(60, 2048)).arg(quiet).run().ok();
    println!("60 more: {:?}", start.elapsed());
    assert_eq!(bridges(lab), 2);
    // From the second bridge to the first, to others of the second, and to the host.
    for to in ["10.9.1.0", "fd00:9::100", "10.9.4.0", "fd00:9::400", "10.9.0.9", "fd00:9::9", "10.9.8.59", "10.9.0.1", "fd00:9::1"] {
        reaches(lab, "c", to);
    }
    lab.sh("ping -n -c1 -W2 10.9.1.0; ping -n -c1 -W2 10.9.0.8; ping -n -c1 -W2 fd00:9::8");
    let shown = lab.sh("jdb show e vnet");
    assert!(shown.contains("e59") && shown.contains("10.9.8.59/16"), "{shown}");
    assert_sound(lab);
    // Its places on the first bridge are taken again.
    lab.sh("jail -r a");
    assert_sound(lab);
    create(lab, "a", &links(1000, 4096)).arg(quiet).run().ok();
    assert_eq!(bridges(lab), 2);
    reaches(lab, "c", "10.9.16.0");
    reaches(lab, "c", "10.9.19.231");
    let start = Instant::now();
    lab.sh("jail -r a b c d e");
    println!("removed: {:?}", start.elapsed());
    assert_gone(lab);
    assert_eq!(lab.sh("ip -o link").lines().count(), 1);
});

lab_test!(commands_that_fill_a_segment_at_once_lose_nobody for root; needs [CgroupV2, Program("ping")]; |lab| {
    const JAILS: u32 = 8;
    for _ in 0..3 {
        let all = (0..JAILS).map(|n| create(lab, &format!("j{n}"), &links(3, 10 * (n + 1))).env(NARROW.0, NARROW.1).spawn());
        for made in all.collect::<Vec<_>>() {
            made.finish().ok();
        }
        assert_sound(lab);
        // As many as are needed, but for those that were made while one still looked for its place.
        assert!((6..12).contains(&bridges(lab)), "{}", bridges(lab));
        for n in 1..JAILS {
            for link in 0..3 {
                reaches(lab, "j0", &format!("10.9.0.{}", 10 * (n + 1) + link));
            }
        }
        let all = (0..JAILS).map(|n| lab.cmd("jail").args(["-r", &format!("j{n}")]).env(NARROW.0, NARROW.1).spawn());
        for gone in all.collect::<Vec<_>>() {
            gone.finish().ok();
        }
        assert_gone(lab);
    }
});

lab_test!(a_command_that_is_killed_anywhere_leaves_a_segment_whole for root; needs [CgroupV2, Program("ping")]; with timeout(180); |lab| {
    let narrow = |words: &[&str], fault: &str| {
        lab.cmd("jail").args(words).env(NARROW.0, NARROW.1).env("JAIL_FAULT", fault).run().status.success()
    };
    for n in 1..300 {
        let fault = format!("kill:{n}");
        // Without the other the segment would be gone, and the next one made.
        create(lab, "a", &links(3, 10)).env(NARROW.0, NARROW.1).run().ok();
        let b = links(3, 20);
        let words: Vec<_> = ["-c", "name=b", "vnet", "persist"].into_iter().chain(b.iter().map(String::as_str)).collect();
        let made = narrow(&words, &fault);
        if !made {
            let _may_be_there = lab.cmd("jail").args(["-r", "b"]).run();
            assert_sound(lab);
            assert!(bridges(lab) < 3, "{fault}");
            create(lab, "b", &b).env(NARROW.0, NARROW.1).run().ok();
        }
        for to in ["10.9.0.20", "10.9.0.22", "fd00:9::16"] {
            reaches(lab, "a", to);
        }
        let removed = narrow(&["-r", "a", "b"], &fault);
        let _may_be_there = lab.cmd("jail").args(["-r", "a", "b"]).run();
        assert_gone(lab);
        if made && removed {
            return assert!(n > 20, "there are only {n} points");
        }
    }
    panic!("the points never end");
});

lab_test!(a_foreign_bridge_that_is_full_is_left_as_it_is for root; needs [CgroupV2]; |lab| {
    lab.sh("ip link add office up type bridge");
    let batch: String = (0..1023).map(|n| format!("link add u{n} type veth peer name v{n}\nlink set u{n} master office\n")).collect();
    lab.cmd("ip").args(["-batch", "-"]).stdin(&batch).run().ok();
    let said = create(lab, "a", &["vnet.link=eth0 office 10.9.0.2/16".to_owned()]).run().fails(1);
    assert_eq!(
        said,
        "jail: a: vnet.link: \"eth0 office 10.9.0.2/16\": cannot make it: Exchange full\nhint: a bridge of Linux has at most 1023 ports\n"
    );
    assert_sound(lab);
    lab.sh("ip link del u7");
    create(lab, "a", &["vnet.link=eth0 office 10.9.0.2/16".to_owned()]).run().ok();
    lab.sh("jail -r a; ip link add g0 group 7 type veth peer name g1");
    let batch: String = (0..1023).filter(|n| *n != 7).map(|n| format!("link set u{n} group 7\n")).collect();
    lab.cmd("ip").args(["-batch", "-"]).stdin(&batch).run().ok();
    lab.sh("ip link del group 7; ip link del office");
    assert_gone(lab);
});
