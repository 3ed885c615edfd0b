//! Interfaces of the host's as ports of a segment: used, never removed, and at home again as they were.

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, gives, quiet, refused, run};

/// Makes an interface of the host's, whose other end is in the stack of somebody else: its `ADDRESS` is 10.9.0.2.
fn card(lab: &Lab, state: &str) {
    lab.sh(&format!(
        "ip netns add far; ip link add card0 address 02:00:00:00:00:77 mtu 1400 type veth peer name eth0 netns far
         echo 1 >/proc/sys/net/ipv6/conf/card0/disable_ipv6; ip link set card0 alias mine {state}
         ip -n far address add 10.9.0.2/24 dev eth0; ip -n far link set eth0 up"
    ));
    lab.leaves_on_purpose("link card");
    lab.leaves_on_purpose("netns");
}

/// Everything that the host says of it.
fn state(lab: &Lab) -> String {
    // Whether there is a carrier comes and goes with the other end.
    lab.sh("ip -o link show card0 | sed 's/NO-CARRIER,//; s/,LOWER_UP//; s/,M-DOWN//; s/state [A-Z]* //; s/qdisc [a-z]* //'
            cat /proc/sys/net/ipv6/conf/card0/disable_ipv6")
}

fn reaches(lab: &Lab, jail: &str) {
    lab.sh(&format!("jexec {jail} ping -n -c1 -i0.2 -w5 10.9.0.2"));
    lab.sh(&format!(
        "ip netns exec far ping -n -c1 -i0.2 -w5 {}",
        if jail == "a" { "10.9.0.11" } else { "10.9.0.12" }
    ));
}

const A: &str = r#"jail -c name=a vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.member="lan card0" persist"#;
const B: &str = r#"jail -c name=b vnet vnet.link="eth0 lan 10.9.0.12/24" vnet.member="lan card0" persist"#;

lab_test!(a_member_is_on_the_segment_and_comes_home_as_it_was for root; needs [CgroupV2, Program("ping")]; |lab| {
    for up in ["up", "down"] {
        card(lab, up);
        let before = state(lab);
        assert_eq!(before.contains(",UP"), up == "up", "{before}");
        quiet(lab, A);
        reaches(lab, "a");
        assert!(!lab.sh("ip -o link").contains("card0"));
        let shown = lab.sh("jdb show a vnet; jdb audit --all");
        assert!(shown.contains("lan      card0   02:00:00:00:00:77  1400  true"), "{shown}");
        lab.sh("jail -r a");
        assert_eq!(state(lab), before);
        lab.sh("ip link del card0; ip netns del far");
    }
    all_gone(lab);
});

lab_test!(a_member_stays_as_long_as_any_jail_asks_for_it for root; needs [CgroupV2, Program("ping")]; |lab| {
    card(lab, "up");
    let before = state(lab);
    quiet(lab, A);
    quiet(lab, B);
    refused(lab, r#"jail -c name=c vnet vnet.member="wan card0" persist"#,
        "jail: c: vnet.member: cannot plug \"card0\" into segment wan: it is on segment lan\n");
    quiet(lab, "jail -r a");
    reaches(lab, "b");
    // To another segment and back, and away.
    quiet(lab, r#"jail -m name=b vnet.member="wan card0""#);
    assert!(run(lab, "jexec b ping -n -c1 -w1 10.9.0.2").fails(1).is_empty());
    quiet(lab, r#"jail -m name=b vnet.member="lan card0""#);
    reaches(lab, "b");
    quiet(lab, r#"jail -m name=b vnet.member="""#);
    assert_eq!(state(lab), before);
    quiet(lab, r#"jail -m name=b vnet.member+="lan card0"; jail -r b"#);
    assert_eq!(state(lab), before);
    // By a jail that ends by itself.
    quiet(lab, &A.replace("persist", "command=true"));
    assert_eq!(state(lab), before);
    lab.sh("ip link del card0; ip netns del far; jdb audit --all");
});

lab_test!(a_member_of_a_foreign_bridge_stays_where_it_is for root; needs [CgroupV2, Program("ping")]; |lab| {
    for up in ["up", "down"] {
        card(lab, up);
        lab.sh("ip link add lan type bridge; ip link set lan up");
        let before = state(lab);
        quiet(lab, A);
        quiet(lab, B);
        reaches(lab, "a");
        assert!(state(lab).contains("master lan") && lab.sh("jdb show a vnet").contains("card0"));
        quiet(lab, "jail -r a");
        reaches(lab, "b");
        quiet(lab, "jail -r b");
        assert_eq!(state(lab), before);
        // One that is its port already is left alone.
        lab.sh("ip link set card0 master lan up");
        let before = state(lab);
        quiet(lab, A);
        reaches(lab, "a");
        assert!(lab.sh("jdb show a vnet").contains("card0"));
        quiet(lab, "jail -r a");
        assert_eq!(state(lab), before);
        lab.sh("ip link del card0; ip link del lan; ip netns del far; jdb audit --all");
    }
});

lab_test!(what_cannot_be_a_member_is_refused_before_anything_is_changed for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    lab.sh("ip link add br9 type bridge; ip link add port9 type veth peer name end9; ip link set port9 master br9
            ip tuntap add tun9 mode tun");
    quiet(lab, r#"jail -c name=a vnet vnet.link="eth0 br9" vnet.host="lan 10.9.0.1/24" persist"#);
    let before = lab.snapshot();
    for (member, why) in [
        ("lan", "\"lan\": an interface is needed\nhint: SEGMENT INTERFACE ..."),
        ("lan lo", "\"lan lo\": \"lo\": lo is the loopback interface, which every stack has"),
        ("lan card0 card0", "card0 is declared twice"),
        ("lan nosuch", "cannot plug \"nosuch\" into segment lan: No such device\nhint: another jail may have it"),
        ("lan br9", "cannot plug \"br9\" into segment lan: a bridge cannot be a port of another\nhint: a segment named br9 is this bridge"),
        ("lan port9", "cannot plug \"port9\" into segment lan: it is a port of br9\nhint: ip link set port9 nomaster"),
        ("lan tun9", "cannot plug \"tun9\" into segment lan: it is no ethernet interface"),
        ("wan lan", "cannot plug \"lan\" into segment wan: it connects jails"),
        ("card0 port9", "card0 is an interface of the parent, but no bridge\n\
                         hint: a segment of ours has a name that no interface has; a foreign one is a bridge"),
    ] {
        refused(lab, &format!("jail -c name=b vnet vnet.member='{member}' persist"), &format!("jail: vnet.member: {why}\n"));
    }
    refused(lab, "jail -c name=b vnet vnet.interface=card0 vnet.member='lan card0' persist",
        "jail: vnet.member: card0 is moved into the jail by vnet.interface\n");
    refused(lab, "jail -m name=a vnet.member='lan nosuch'",
        "jail: vnet.member: cannot plug \"nosuch\" into segment lan: No such device\nhint: another jail may have it\n");
    assert_eq!(lab.snapshot().since(&before), [""; 0]);
    lab.sh("jail -r a; ip link del br9; ip link del port9; ip link del tun9; ip link del card0; ip netns del far");
});

lab_test!(a_tap_whose_program_ends_is_missed_by_nobody for root; needs [CgroupV2, Program("ping"), Device("/dev/net/tun")]; |lab| {
    // What a program with a tap does: python3 has no need of anything else.
    let tap = "exec python3 -c 'import fcntl,os,sys,time
fd = os.open(\"/dev/net/tun\", os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, b\"tap0\".ljust(16, b\"\\0\") + b\"\\2\\x10\".ljust(16, b\"\\0\"))
print(\"has it\", flush=True)
frame = os.read(fd, 2000)
print(len(frame) > 13, flush=True)
time.sleep(1000)'";
    let first = lab.spawn(tap);
    lab.until("there is a tap", || first.stdout() == "has it\n");
    quiet(lab, r#"jail -c name=a vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.member="lan tap0" persist"#);
    lab.until("its program goes on with it", || {
        run(lab, "jexec a ping -n -c1 -w1 10.9.0.9").fails(1);
        first.stdout() == "has it\nTrue\n"
    });
    drop(first);
    quiet(lab, "jdb audit --all");
    gives(lab, "jail -m name=a vnet.host='lan 10.9.0.1/24'", 0, "", "jail: a: vnet.member: \"tap0\" is gone\n");
    // A virtual machine is started again.
    let second = lab.spawn(tap);
    lab.until("there is a tap anew", || second.stdout() == "has it\n");
    quiet(lab, "jail -m name=a vnet.host=");
    lab.until("it is on the segment", || {
        run(lab, "jexec a ping -n -c1 -w1 10.9.0.9").fails(1);
        second.stdout() == "has it\nTrue\n"
    });
    quiet(lab, "jail -r a");
    lab.sh("ip link show tap0");
    drop(second);
    lab.until("it is gone", || run(lab, "ip link show tap0").status.code() == Some(1));
    // With nobody's tap left there is nothing to bring home.
    let third = lab.spawn(tap);
    lab.until("there is a tap once more", || third.stdout() == "has it\n");
    quiet(lab, r#"jail -c name=a vnet vnet.member="lan tap0" persist"#);
    drop(third);
    quiet(lab, "jail -r a");
    all_gone(lab);
});

lab_test!(a_member_whose_name_was_taken_comes_home_by_another_and_that_is_said for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    quiet(lab, A);
    lab.sh("ip link add card0 address 02:00:00:00:00:77 mtu 1400 type veth peer name card1");
    gives(lab, "jail -r a", 0, "", "jail: vnet.member: \"card0\" came home as card0.1: its name was taken\n");
    let home = lab.sh("ip -o link show card0.1");
    assert!(home.contains("02:00:00:00:00:77") && home.contains(",UP") && home.contains("alias was card0"), "{home}");
    lab.sh("ip link del card0; ip link del card0.1; ip netns del far");
});

lab_test!(a_member_of_a_parent_jails_comes_home_to_it for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    let on_the_host = state(lab);
    quiet(lab, "jail -c name=a children.max=3 vnet vnet.interface=card0 persist");
    lab.sh("jexec a ip link set card0 mtu 1350 up");
    for n in ["b", "c"] {
        quiet(lab, &format!("jail -c name=a.{n} vnet vnet.link='eth0 lan' vnet.member='lan card0' persist"));
    }
    assert!(!lab.sh("jexec a ip -o link").contains("card0"));
    quiet(lab, "jail -r a.b");
    assert!(!lab.sh("jexec a ip -o link").contains("card0"));
    quiet(lab, "jail -r a.c");
    assert!(lab.sh("jexec a ip -o link show card0").contains("mtu 1350"));
    // From the innermost to the host, by one removal of both.
    quiet(lab, "jail -c name=a.b vnet vnet.member='lan card0' persist; jail -r a");
    assert_eq!(state(lab).lines().next(), on_the_host.lines().next());
    lab.sh("ip link del card0; ip netns del far");
    all_gone(lab);
});

lab_test!(a_member_whose_record_is_lost_finds_home_by_its_alias for root; needs [CgroupV2]; |lab| {
    card(lab, "up");
    let before = state(lab).lines().next().map(str::to_owned);
    for lost in ["rm -r /run/jail/shared/vnet.member*", "rm -r /run/jail/shared/vnet.*"] {
        for bridge in ["", "ip link add lan type bridge;"] {
            lab.sh(&format!("{bridge} {A}; rm -r /run/jail/jails/* /run/jail/names/*; {lost}"));
            let found = run(lab, "jdb audit --all").fails(1);
            let repaired = lab.sh("jdb repair");
            assert_eq!(state(lab).lines().next().map(str::to_owned), before, "{lost} {bridge}\n{found}\n{repaired}");
            lab.sh("ip link del lan 2>/dev/null || :; echo 1 >/proc/sys/net/ipv6/conf/card0/disable_ipv6");
            lab.until("the audit finds nothing", || { lab.sh("jdb repair"); run(lab, "jdb audit --all").status.success() });
        }
    }
    lab.sh("ip link del card0; ip netns del far");
});

lab_test!(a_change_that_is_killed_or_fails_anywhere_costs_nobody_a_member for root; needs [CgroupV2]; with timeout(120); |lab| {
    card(lab, "up");
    let before = state(lab);
    for bridge in [false, true] {
        if bridge {
            lab.sh("ip link add wan type bridge");
        }
        quiet(lab, "jail -c name=a vnet vnet.link='eth0 lan' persist");
        for (change, fewest) in [("vnet.member='lan card0'", 5), ("vnet.member='wan card0'", 5), ("vnet.member=", 3)] {
            let line = format!("exec jail -m name=a {change}");
            for n in 2.. {
                let how = if n % 2 == 0 { "kill" } else { "fail" };
                let fault = format!("{how}:{}", n / 2);
                if lab.cmd("sh").args(["-c", &line]).env("JAIL_FAULT", &fault).run().status.success() {
                    assert!(n / 2 > fewest, "there are only {n} points of {change}");
                    break;
                }
                // Whoever is next takes it back.
                lab.sh("jexec a true; jdb audit --all");
                let kept = lab.sh("jls -j a vnet.member");
                let is_home = state_anywhere(lab) == before;
                assert_eq!(is_home, kept == "\n" || kept == "-\n" || kept == "\"\"\n", "{fault} {change}: {kept}");
            }
        }
        assert_eq!(state(lab), before);
        quiet(lab, "jail -r a");
    }
    lab.sh("ip link del wan; ip link del card0; ip netns del far");
});

/// As [`state`], of one that may be elsewhere.
fn state_anywhere(lab: &Lab) -> String {
    if run(lab, "ip link show card0").status.success() { state(lab) } else { String::new() }
}

lab_test!(jails_that_come_and_go_at_once_share_a_member for root; needs [CgroupV2, Program("ping")]; with timeout(120); |lab| {
    const JAILS: u32 = 8;
    card(lab, "up");
    let before = state(lab);
    for _ in 0..3 {
        let create = |n: u32| format!("exec jail -c name=j{n} vnet vnet.link='eth0 lan 10.9.0.1{n}/24' vnet.member='lan card0' persist");
        for made in (0..JAILS).map(|n| lab.spawn(&create(n))).collect::<Vec<_>>() {
            made.finish().ok();
        }
        for n in 0..JAILS {
            lab.sh(&format!("jexec j{n} ping -n -c1 -i0.2 -w5 10.9.0.2"));
        }
        lab.sh("jdb audit --all");
        for gone in (0..JAILS).map(|n| lab.spawn(&format!("exec jail -r j{n}"))).collect::<Vec<_>>() {
            gone.finish().ok();
        }
        assert_eq!(state(lab), before);
    }
    lab.sh("ip link del card0; ip netns del far");
    all_gone(lab);
});

lab_test!(a_member_finds_its_place_on_a_segment_whose_bridge_is_full for root; needs [CgroupV2, Program("ping")]; |lab| {
    card(lab, "up");
    let before = state(lab);
    let links: String = (1..6).map(|n| format!(" vnet.link='eth{n} lan'")).collect();
    let last = B.replace("name=b", "name=c");
    quiet(lab, &format!("export JAIL_MASK=wide_bridges; jail -c name=b vnet {links} persist; {A}; {last}"));
    reaches(lab, "a");
    lab.sh("jexec c ping -n -c1 -i0.2 -w5 10.9.0.2; jdb audit --all");
    quiet(lab, "jail -q -r a b c");
    assert_eq!(state(lab), before);
    lab.sh("ip link del card0; ip netns del far");
    all_gone(lab);
});
