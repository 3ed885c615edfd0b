//! Cables between jails, with the real tools.

use vimage_tests::{Lab, lab_test};

const LINKS: [&str; 2] =
    ["vnet.link=e1 b:e2 10.0.0.1/30 fd00:1::1/64", "vnet.link=e2 a:e1 10.0.0.2/30 fd00:1::2/64"];

/// Creates a jail with one more definition.
fn create(lab: &Lab, name: &str, more: &str, rest: &[&str]) {
    let words = [format!("name={name}"), format!("exec.start={} &", sleep(name)), more.to_owned()];
    lab.cmd("jail").args(["-c", "vnet=new"]).args(words).args(rest).run().ok();
}

/// What a program prints in a jail's network stack, entered without our tools by a process of the jail's.
fn sees(lab: &Lab, jail: &str, line: &str) -> String {
    // The shell that starts it does not wait for it.
    let mut pid = String::new();
    lab.until("there is a process", || {
        pid = lab.sh(&format!("pgrep -fx '{}' || true", sleep(jail)));
        !pid.is_empty()
    });
    lab.cmd("nsenter").args(["-t", pid.trim(), "--net", "--"]).arg_line(line).run().ok()
}

/// A process that tells one jail from the other.
fn sleep(jail: &str) -> &str {
    if jail == "a" { "sleep 31416.1" } else { "sleep 31416.2" }
}

fn remove(lab: &Lab, jails: &[&str]) {
    lab.cmd("jail").arg("-r").args(jails).run().ok();
}

fn assert_sound(lab: &Lab) {
    // A jail that was removed, or ended, takes a moment to be gone.
    lab.until("the audit finds nothing", || lab.cmd("jdb").args(["audit", "--all"]).run().status.success());
}

/// Nothing is left, once what dies by itself has died; but for the store's own folders.
fn assert_gone(lab: &Lab) {
    lab.until("all are gone", || {
        // Any command sweeps.
        let _not_found = lab.cmd("jail").args(["-r", "nobody"]).run();
        ["jails", "shared", "pending"].iter().all(|dir| entries(dir) == 0)
    });
    lab.leaves_on_purpose("file /run/jail");
}

fn entries(dir: &str) -> usize {
    std::fs::read_dir(format!("/run/jail/{dir}")).unwrap().count()
}

lab_test!(two_jails_meet_over_a_cable for root; needs [CgroupV2, Program("ping"), Program("pgrep")]; |lab| {
    create(lab, "a", LINKS[0], &["persist"]);
    assert!(sees(lab, "a", "ip link show e1").contains("NO-CARRIER"));
    // One that lives as long as its command.
    let words = ["-c", "name=b", "vnet", LINKS[1], "command=ping", "-n", "-c1", "-W2", "10.0.0.1"];
    assert!(lab.cmd("jail").args(words).run().ok().contains(" 0% packet loss"));
    assert_sound(lab);
    lab.until("its name is free", || entries("names") == 1);
    create(lab, "b", LINKS[1], &["persist"]);
    assert!(sees(lab, "a", "ping -n -c1 -W2 fd00:1::2").contains(" 0% packet loss"));
    // The host has no part in it.
    assert_eq!(lab.sh("ip -o link").lines().count(), 1);
    lab.cmd("ping").args(["-n", "-c1", "-W1", "10.0.0.1"]).run().fails(2);
    assert_sound(lab);
    remove(lab, &["b"]);
    let e1 = sees(lab, "a", "ip address show e1");
    assert!(e1.contains("NO-CARRIER") && e1.contains("10.0.0.1/30"), "{e1}");
    assert_sound(lab);
    // An end that is not declared.
    create(lab, "b", "persist", &[]);
    assert!(sees(lab, "b", "ip link show e2").contains("LOWER_UP"));
    lab.cmd("jail").args(["-m", "name=b", LINKS[1]]).run().ok();
    assert!(sees(lab, "b", "ping -n -c1 -W2 10.0.0.1").contains(" 0% packet loss"));
    remove(lab, &["a", "b"]);
    assert_gone(lab);
});

lab_test!(a_jail_that_ends_by_itself_gives_the_other_its_end_back_when_it_returns for root; needs [CgroupV2, Program("ping"), Program("pgrep")]; |lab| {
    create(lab, "a", LINKS[0], &["vnet.route=10.7.0.0/16 via 10.0.0.2", "persist"]);
    for _ in 0..5 {
        create(lab, "b", LINKS[1], &["command=ping", "-n", "-c1", "-W2", "10.0.0.1"]);
        assert!(sees(lab, "a", "ip route").contains("10.7.0.0/16 via 10.0.0.2 dev e1"));
        // Without asking us, and so without a removal.
        assert!(sees(lab, "b", "ip route").contains("10.0.0.0/30"));
        lab.sh(&format!("pkill -fx '{}'", sleep("b")));
        lab.until("the interface is gone, too", || {
            !sees(lab, "a", "ip -o link").contains("e1@")
        });
        assert_sound(lab);
        lab.until("the name is free", || entries("names") == 1);
    }
    remove(lab, &["a"]);
    assert_gone(lab);
});

lab_test!(two_jails_of_a_cable_are_made_and_removed_at_once for root; needs [CgroupV2, Program("ping"), Program("pgrep")]; |lab| {
    for _ in 0..10 {
        let made = LINKS.iter().zip(["a", "b"]).map(|(link, name)| {
            let words = [format!("name={name}"), format!("exec.start={} &", sleep(name))];
            lab.cmd("jail").args(["-c", "vnet", link, "persist"]).args(words).spawn()
        });
        for made in made.collect::<Vec<_>>() {
            made.finish().ok();
        }
        assert!(sees(lab, "a", "ping -n -c1 -W2 10.0.0.2").contains(" 0% packet loss"));
        assert_sound(lab);
        for gone in ["a", "b"].map(|name| lab.cmd("jail").args(["-r", name]).spawn()) {
            gone.finish().ok();
        }
        assert_sound(lab);
    }
    assert_gone(lab);
});

lab_test!(a_command_that_is_killed_anywhere_leaves_cables_that_can_be_mended for root; needs [CgroupV2, Program("ping"), Program("pgrep")]; with timeout(180); |lab| {
    create(lab, "a", LINKS[0], &["persist"]);
    let faulty = |fault: &str, words: &[&str]| {
        lab.cmd("jail").args(words).env("JAIL_FAULT", fault).run().status.success()
    };
    for n in 1..300 {
        let fault = format!("kill:{n}");
        let made = faulty(&fault, &["-c", "name=b", "vnet", LINKS[1], "persist"]);
        let _may_be_there = lab.cmd("jail").args(["-r", "b"]).run();
        assert_sound(lab);
        create(lab, "b", LINKS[1], &["persist"]);
        assert!(sees(lab, "b", "ping -n -c1 -W2 10.0.0.1").contains(" 0% packet loss"), "{fault}");
        let removed = faulty(&fault, &["-r", "b"]);
        assert_sound(lab);
        assert!(removed || entries("names") == 1, "{fault}");
        if made && removed {
            assert!(n > 20, "there are only {n} points");
            remove(lab, &["a"]);
            return assert_gone(lab);
        }
    }
    panic!("the points never end");
});
