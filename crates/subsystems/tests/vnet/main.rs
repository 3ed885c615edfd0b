//! Network stacks on the running kernel.

mod cable;
mod lab;
mod segment;

use std::{
    os::fd::AsRawFd as _,
    process::{self, Command, Stdio},
    time::{Duration, Instant},
};

use lab::{Lab, alone, inside, reaches, run};
use subsystems::vnet;
use vimage::{Owner, Subsystem as _};

#[test]
fn jails_on_a_segment_reach_each_other_and_leave_nothing() {
    alone("jails_on_a_segment_reach_each_other_and_leave_nothing", |lab| {
        let a = lab.jail(
            "a",
            1,
            &["vnet.link=eth0 lan 10.9.0.11/24 fd00:9::11/64", "vnet.route=default via 10.9.0.1"],
        );
        let words = [
            "vnet.link=eth0 lan 10.9.0.12/24 fd00:9::12/64 mac 02:00:00:00:00:12 mtu 1400",
            "vnet.link=eth1 wan",
        ];
        let b = lab.jail("b", 2, &words);
        assert!(reaches(&a, "10.9.0.12") && reaches(&b, "10.9.0.11") && reaches(&a, "fd00:9::12"));
        assert!(inside(&a, "ip route").contains("default via 10.9.0.1 dev eth0"));
        let eth0 = inside(&b, "ip address show eth0");
        assert!(
            eth0.contains("02:00:00:00:00:12") && eth0.contains("mtu 1400") && eth0.contains("UP,LOWER_UP"),
            "{eth0}"
        );
        // Of IPv6 an interface has what is used of it, at once.
        assert!(
            eth0.contains("inet6 fe80::ff:fe00:12/64 scope link") && !eth0.contains("tentative"),
            "{eth0}"
        );
        assert_eq!(eth0.matches("inet6").count(), 2, "{eth0}");
        assert!(!inside(&b, "ip address show eth1").contains("inet6"));
        assert!(reaches(&a, "fe80::ff:fe00:12%eth0"));
        let text =
            inside(&a, "cat /proc/sys/net/ipv4/tcp_orphan_retries /proc/sys/net/ipv6/conf/eth0/accept_ra");
        assert_eq!(text, "1\n0\n");
        // The host sees nothing of it.
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_audit(&[&a, &b]);
        let shown = vnet::Vnet.show(&b.instance(lab)).unwrap().text();
        assert!(shown.contains("10.9.0.12/24") && shown.contains("eth1"), "{shown}");
        lab.remove(vec![a]);
        lab.assert_audit(&[&b]);
        lab.remove(vec![b]);
        lab.assert_clean();
    });
}

#[test]
fn a_failed_birth_leaves_nothing_and_takes_nothing_from_others() {
    alone("a_failed_birth_leaves_nothing_and_takes_nothing_from_others", |lab| {
        let a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24"]);
        let error = lab.try_jail("b", 2, &["vnet.link=eth0 lan 10.9.0.11/24"]).unwrap_err();
        assert_eq!(error.to_string(), "vnet: address 10.9.0.11 is already on segment lan");
        assert_eq!(error.advice(), Some("jail 1 has it"));
        let c = lab.jail("c", 3, &["vnet.link=eth0 other 10.9.0.11/24"]);
        let words = ["vnet.link=eth0 lan 10.9.0.13/24", "vnet.route=default via 10.8.0.1"];
        let error = lab.try_jail("d", 4, &words).unwrap_err().to_string();
        assert!(error.starts_with("vnet.route: \"default via 10.8.0.1\": Network is unreachable"), "{error}");
        let error = lab.try_jail("d", 4, &["vnet.sysctl=net.ipv4.nonsense=1"]).unwrap_err().to_string();
        assert!(error.starts_with("vnet.sysctl: \"net.ipv4.nonsense=1\": No such file"), "{error}");
        lab.assert_audit(&[&a, &c]);
        lab.remove(vec![a, c]);
        lab.assert_clean();
    });
}

#[test]
fn the_parent_has_an_interface_while_any_jail_asks_for_it() {
    alone("the_parent_has_an_interface_while_any_jail_asks_for_it", |lab| {
        let host = "vnet.host=lan 10.9.0.1/24 10.9.0.2/24 fd00:9::1/64";
        let a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24", host]);
        let b = lab.jail("b", 2, &["vnet.link=eth0 lan 10.9.0.12/24", "vnet.host=lan 10.9.0.2/24"]);
        assert!(reaches(&a, "10.9.0.1") && reaches(&b, "10.9.0.2"));
        assert!(run("ping -n -c 1 -W 2 10.9.0.12").contains(" 0% packet loss"));
        let six = run("ip -6 -o address show lan");
        assert!(six.contains("fe80::") && !six.contains("tentative") && six.lines().count() == 2, "{six}");
        let words = ["vnet.link=eth0 lan 10.9.0.13/24", "vnet.host=lan 10.9.0.3/24"];
        let error = lab.try_jail("c", 3, &words).unwrap_err();
        assert_eq!(
            error.to_string(),
            "vnet.host: \"lan 10.9.0.3/24\": 10.9.0.3/24 is not what another jail asked for"
        );
        let words = ["vnet.link=eth0 lan 10.9.0.1/24"];
        assert_eq!(lab.try_jail("c", 3, &words).unwrap_err().advice(), Some("the parent has it"));
        lab.assert_audit(&[&a, &b]);
        lab.remove(vec![a]);
        assert!(run("ip -o link").contains("lan@"));
        lab.remove(vec![b]);
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_clean();
    });
}

#[test]
fn a_foreign_bridge_is_used_and_stays_as_it_is() {
    alone("a_foreign_bridge_is_used_and_stays_as_it_is", |lab| {
        run("ip link add br0 mtu 1450 up type bridge");
        // A bridge takes the least address of its ports for its own: not that of a jail's.
        run("ip link add dummy0 address 02:00:00:00:00:01 mtu 1450 up type veth peer name dummy1");
        run("ip link set dummy0 master br0");
        run("ip address add 10.9.0.1/24 dev br0");
        let before = run("ip link show br0");
        let a = lab.jail("a", 1, &["vnet.link=eth0 br0 10.9.0.11/24"]);
        assert!(inside(&a, "ip link show eth0").contains("mtu 1450"));
        assert!(reaches(&a, "10.9.0.1"));
        let tidy = |text: String| {
            text.replace("state DOWN", "")
                .replace("state UP", "")
                .replace("NO-CARRIER,", "")
                .replace(",LOWER_UP", "")
        };
        assert_eq!(tidy(run("ip link show br0")), tidy(before.clone()));
        lab.assert_audit(&[&a]);
        let error = lab.try_jail("b", 2, &["vnet.link=eth0 dummy1"]).unwrap_err().to_string();
        assert_eq!(error, "vnet.link: dummy1 is an interface of the parent, but no bridge");
        lab.remove(vec![a]);
        lab.assert_clean();
        assert_eq!(tidy(run("ip link show br0")), tidy(before));
    });
}

#[test]
fn an_interface_is_borrowed_and_returned_as_it_was() {
    alone("an_interface_is_borrowed_and_returned_as_it_was", |lab| {
        run("ip link add e0a mtu 1400 address 02:00:00:00:00:0a up type veth peer name e0b");
        run("ip link set e0b up");
        let a = lab.jail("a", 1, &["vnet.interface=e0a,e0b"]);
        assert_eq!(run("ip -o link").lines().count(), 1);
        assert_eq!(inside(&a, "ip -o link").lines().count(), 3);
        let error = lab.try_jail("b", 2, &["vnet.interface=e0b"]).unwrap_err().to_string();
        assert_eq!(error, "vnet.interface: cannot move \"e0b\": No such device");
        // The jail's root does what it likes, and somebody takes the other's name.
        inside(&a, "ip link set e0a name mine address 02:00:00:00:00:0b mtu 1300");
        inside(&a, "ip link set mine name e9");
        run("ip link add e0b type veth peer name other");
        lab.assert_audit(&[&a]);
        lab.remove(vec![a]);
        let e0a = run("ip link show e0a");
        assert!(e0a.contains("mtu 1400") && e0a.contains("02:00:00:00:00:0a") && e0a.contains("UP"), "{e0a}");
        assert!(run("ip link show e0b.1").contains("was e0b"));
        lab.assert_clean();
    });
}

#[test]
fn a_living_jail_is_changed_in_place_and_back() {
    alone("a_living_jail_is_changed_in_place_and_back", |lab| {
        let mut a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24 10.9.0.21/24", "vnet.link=eth1 wan"]);
        let b = lab.jail("b", 2, &["vnet.link=eth0 lan 10.9.0.12/24"]);
        let index = |owner: &Owner<'_>| inside(owner, "cat /sys/class/net/eth0/ifindex");
        let before = index(&a);
        let words = [
            "vnet.link=eth0 lan 10.9.0.21/24 mtu 1400 mac 02:00:00:00:00:07",
            "vnet.link=eth2 new 10.7.0.1/24",
            "vnet.route=default via 10.9.0.1",
            "vnet.host=lan 10.9.0.1/24",
            "vnet.sysctl=net.ipv4.ip_forward=1",
        ];
        lab.modify(&mut a, &words).unwrap();
        assert_eq!(index(&a), before);
        let eth0 = inside(&a, "ip address show eth0");
        assert!(eth0.contains("10.9.0.21/24") && !eth0.contains("10.9.0.11/24"), "{eth0}");
        assert!(eth0.contains("mtu 1400") && eth0.contains("02:00:00:00:00:07"), "{eth0}");
        assert!(inside(&a, "ip link show eth1").contains("does not exist"));
        assert!(inside(&a, "ip route").contains("default via 10.9.0.1"));
        assert!(reaches(&a, "10.9.0.12") && reaches(&a, "10.9.0.1"));
        lab.assert_audit(&[&a, &b]);
        // The address that it gave up is free, one that it has is not.
        assert!(lab.try_jail("c", 3, &["vnet.link=eth0 lan 10.9.0.21/24"]).is_err());
        let c = lab.jail("c", 3, &["vnet.link=eth0 lan 10.9.0.11/24"]);
        // A change that fails is taken back.
        let words = ["vnet.link=eth0 lan 10.9.0.31/24", "vnet.route=default via 10.6.0.1", "vnet.host="];
        assert!(lab.modify(&mut a, &words).is_err());
        assert!(reaches(&a, "10.9.0.1") && inside(&a, "ip route").contains("default via 10.9.0.1"));
        assert!(inside(&a, "ip address show eth2").contains("10.7.0.1/24"));
        lab.assert_audit(&[&a, &b, &c]);
        lab.modify(&mut a, &["vnet.link=", "vnet.route=", "vnet.host="]).unwrap();
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_audit(&[&a, &b, &c]);
        lab.remove(vec![a, b, c]);
        lab.assert_clean();
    });
}

#[test]
fn a_link_local_address_comes_and_goes_with_what_needs_it() {
    alone("a_link_local_address_comes_and_goes_with_what_needs_it", |lab| {
        let mut a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24 mac 02:00:00:00:00:01"]);
        let six = |owner: &Owner<'_>| {
            let text = inside(owner, "ip -6 -br address show eth0");
            let mut all: Vec<_> = text.split_whitespace().skip(2).map(str::to_owned).collect();
            all.sort();
            all
        };
        assert_eq!(six(&a), [""; 0]);
        let mut change = |item: &str, has: &[&str]| {
            lab.modify(&mut a, &[&format!("vnet.link=eth0 lan {item}")]).unwrap();
            assert_eq!(six(&a), has, "{item}");
            lab.assert_audit(&[&a]);
        };
        change("fd00:9::11/64 mac 02:00:00:00:00:01", &["fd00:9::11/64", "fe80::ff:fe00:1/64"]);
        change("fd00:9::11/64 mac 02:00:00:00:00:02", &["fd00:9::11/64", "fe80::ff:fe00:2/64"]);
        change("fd00:9::11/64 fe80::7/64 mac 02:00:00:00:00:02", &["fd00:9::11/64", "fe80::7/64"]);
        change("fd00:9::12/64 mac 02:00:00:00:00:02", &["fd00:9::12/64", "fe80::ff:fe00:2/64"]);
        change("10.9.0.11/24 mac 02:00:00:00:00:02", &[]);
        lab.modify(&mut a, &["vnet.link=eth0 lan fd00:9::11/64"]).unwrap();
        let own = six(&a);
        assert!(own.len() == 2 && own[1].starts_with("fe80::"), "{own:?}");
        // Under another name it keeps its ethernet address, and with it this one.
        a.name = "z".to_owned();
        lab.modify(&mut a, &["vnet.link=eth0 lan fd00:9::11/64 mtu 1400"]).unwrap();
        assert_eq!(six(&a), own);
        lab.modify(&mut a, &["vnet.link=eth0 lan mtu 1400"]).unwrap();
        assert_eq!(six(&a), [""; 0]);
        lab.remove(vec![a]);
        lab.assert_clean();
    });
}

#[test]
fn a_failure_anywhere_leaves_nothing() {
    alone("a_failure_anywhere_leaves_nothing", |_| {
        run("ip link add br0 up type bridge");
        run("ip link add e0a up type veth peer name e0b");
        run("ip link add e1a up type veth peer name e1b");
        let words = [
            "vnet.link=eth0 lan 10.9.0.11/24",
            "vnet.link=eth1 br0",
            "vnet.host=lan 10.9.0.1/24",
            "vnet.member=lan e1a",
            "vnet.member=br0 e1b",
            "vnet.route=default via 10.9.0.1",
            "vnet.sysctl=net.ipv4.ip_forward=1",
            "vnet.interface=e0b",
        ];
        let changed = [
            "vnet.link=eth0 wan 10.9.0.12/24",
            "vnet.host=",
            "vnet.member=wan e1a",
            "vnet.interface=",
            "vnet.route=",
        ];
        let links = || run("ip -o link").lines().count();
        let before = links();
        for at in 1..500 {
            let lab = Lab::failing(Some(at));
            if let Ok(mut owner) = lab.try_jail("a", 1, &words) {
                let done = lab.modify(&mut owner, &changed);
                if let Err(error) = done {
                    let state =
                        inside(&owner, "ip address") + &run("ip address") + &inside(&owner, "ip route");
                    assert!(reaches(&owner, "10.9.0.1"), "{at}: {error:?} {:?} {state}", error.advice());
                }
                lab.assert_audit(&[&owner]);
                lab.remove_in(2, vec![owner]);
            }
            lab.assert_clean();
            assert_eq!(links(), before, "{at}");
            if lab.recorder.points() < at {
                assert!(at > 40, "{at}");
                return;
            }
        }
        panic!("the points never end");
    });
}

#[test]
fn a_child_is_connected_to_its_parents_stack() {
    alone("a_child_is_connected_to_its_parents_stack", |lab| {
        let a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24"]);
        let parent = a.instance(lab);
        let words = ["vnet.link=eth0 lan 10.8.0.11/24", "vnet.host=lan 10.8.0.99/24"];
        let child = lab.try_child(Some(&parent), "a.b", 2, &words).unwrap();
        // A segment of the parent's, which has nothing to do with the host's of that name.
        assert!(inside(&a, "ip address show lan").contains("10.8.0.99/24"));
        assert!(reaches(&child, "10.8.0.99"));
        let error = lab.try_child(Some(&parent), "a.c", 3, &["vnet.link=eth0 eth0"]).unwrap_err().to_string();
        assert_eq!(error, "vnet.link: eth0 is an interface of the parent, but no bridge");
        lab.remove(vec![child]);
        assert!(inside(&a, "ip link show lan").contains("does not exist"));
        drop(parent);
        lab.remove(vec![a]);
        lab.assert_clean();
    });
}

#[test]
fn a_connection_that_nobody_holds_does_not_keep_the_stack() {
    alone("a_connection_that_nobody_holds_does_not_keep_the_stack", |lab| {
        let a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.11/24"]);
        let b = lab.jail("b", 2, &["vnet.link=eth0 lan 10.9.0.12/24"]);
        // Bytes that can never arrive: the other end neither reads nor closes.
        let server = "import socket,time;s=socket.create_server(('10.9.0.12',7));c=s.accept();time.sleep(60)";
        let client = "import socket;s=socket.create_connection(('10.9.0.12',7));s.setblocking(False)\n\
                      try:\n while True: s.send(b'x'*65536)\nexcept BlockingIOError: pass";
        let nsenter = |owner: &Owner<'_>, text: &str| {
            let net =
                format!("--net=/proc/{}/fd/{}", process::id(), owner.fds.get("net").unwrap().as_raw_fd());
            Command::new("nsenter").args([&net, "python3", "-c", text]).stderr(Stdio::null()).spawn().unwrap()
        };
        let mut server = nsenter(&b, server);
        let until = Instant::now() + Duration::from_secs(20);
        while !nsenter(&a, client).wait().unwrap().success() {
            assert!(Instant::now() < until);
        }
        let orphans = vnet::Vnet.show(&a.instance(lab)).unwrap().json()["sockets"]["tcp"].clone();
        assert_eq!(orphans, 1);
        // A bare close of its stack would take minutes; `remove` waits for 5 s at most.
        lab.remove(vec![a]);
        server.kill().unwrap();
        server.wait().unwrap();
        lab.remove(vec![b]);
        lab.assert_clean();
    });
}
