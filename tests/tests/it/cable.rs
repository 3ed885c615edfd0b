//! Cables between jails, with the real tools.

use vimage_tests::{Lab, lab_test};

const LINKS: [&str; 2] =
    ["vnet.link=e1 b:e2 10.0.0.1/30 fd00:1::1/64", "vnet.link=e2 a:e1 10.0.0.2/30 fd00:1::2/64"];

/// Creates a jail with one more definition.
fn create(lab: &Lab, name: &str, more: &str, rest: &[&str]) {
    lab.cmd("jail").args(["-c", &format!("name={name}"), "vnet=new", more]).args(rest).run().ok();
}

/// What a program prints in a jail.
fn sees(lab: &Lab, jail: &str, line: &str) -> String {
    lab.cmd("jexec").arg(jail).arg_line(line).run().ok()
}

fn remove(lab: &Lab, jails: &[&str]) {
    lab.cmd("jail").arg("-r").args(jails).run().ok();
}

fn assert_sound(lab: &Lab) {
    assert_eq!(lab.cmd("jdb").args(["audit", "--all"]).run().ok(), "");
}

lab_test!(two_jails_meet_over_a_cable for root; needs [CgroupV2, Program("ping")]; |lab| {
    create(lab, "a", LINKS[0], &["persist"]);
    assert!(sees(lab, "a", "ip link show e1").contains("NO-CARRIER"));
    // One that lives as long as its command.
    create(lab, "b", LINKS[1], &["command=ping", "-n", "-c1", "-W2", "10.0.0.1"]);
    assert_sound(lab);
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
    assert_sound(lab);
});

lab_test!(two_jails_of_a_cable_are_made_and_removed_at_once for root; needs [CgroupV2, Program("ping")]; |lab| {
    for _ in 0..10 {
        let made = LINKS.iter().zip(["a", "b"]).map(|(link, name)| {
            lab.cmd("jail").args(["-c", &format!("name={name}"), "vnet", link, "persist"]).spawn()
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
});
