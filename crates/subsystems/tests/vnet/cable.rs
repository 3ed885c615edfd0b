//! Cables on the running kernel.

use vimage::{Owner, Shared};

use crate::lab::{Lab, alone, inside, reaches, run};

const A: &str = "vnet.link=e1 b:e2 10.0.0.1/30 fd00:1::1/64";
const B: &str = "vnet.link=e2 a:e1 10.0.0.2/30 fd00:1::2/64";

/// The flags, addresses and routes of an interface.
fn state(owner: &Owner<'_>, name: &str) -> String {
    inside(owner, &format!("ip address show {name}")) + &inside(owner, &format!("ip route show dev {name}"))
}

fn has_carrier(owner: &Owner<'_>, name: &str) -> bool {
    let text = state(owner, name);
    assert!(text.contains("UP"), "{text}");
    !text.contains("NO-CARRIER") && text.contains("LOWER_UP")
}

#[test]
fn both_declare_it() {
    alone("cable::both_declare_it", |lab| {
        let a = lab.jail("a", 1, &[A, "vnet.route=10.7.0.0/16 via 10.0.0.2"]);
        assert!(!has_carrier(&a, "e1") && state(&a, "e1").contains("10.0.0.1/30"));
        lab.assert_audit(&[&a]);
        let b = lab.jail("b", 2, &[B, "vnet.link=eth0 lan 10.9.0.2/24"]);
        assert!(reaches(&a, "10.0.0.2") && reaches(&b, "10.0.0.1") && reaches(&a, "fd00:1::2"));
        let e1 = state(&a, "e1");
        assert!(e1.contains("10.7.0.0/16 via 10.0.0.2") && e1.contains("inet6 fe80"), "{e1}");
        assert!(!e1.contains("alias") && !e1.contains("group ja") && e1.contains("group default"), "{e1}");
        assert_eq!(run("ip -o link").lines().count(), 1);
        lab.assert_audit(&[&a, &b]);
        lab.remove(vec![b]);
        let kept = state(&a, "e1");
        assert!(!has_carrier(&a, "e1") && kept.contains("10.0.0.1/30") && kept.contains("fd00:1::1/64"));
        assert!(kept.contains("10.7.0.0/16 via 10.0.0.2") && kept.contains("inet6 fe80"), "{kept}");
        lab.assert_audit(&[&a]);
        let b = lab.jail("b", 3, &[B]);
        assert!(reaches(&a, "10.0.0.2") && reaches(&b, "fd00:1::1"));
        lab.assert_audit(&[&a, &b]);
        lab.remove(vec![a, b]);
        lab.assert_clean();
    });
}

#[test]
fn one_declares_it_and_the_other_comes_and_goes() {
    alone("cable::one_declares_it_and_the_other_comes_and_goes", |lab| {
        let b = lab.jail("b", 2, &["vnet=new"]);
        let a = lab.jail("a", 1, &["vnet.link=e1 b:e2 10.0.0.1/30 mtu 1400 mac 02:00:00:00:00:01"]);
        let e2 = state(&b, "e2");
        assert!(has_carrier(&b, "e2") && !e2.contains("inet") && e2.contains("mtu 1400"), "{e2}");
        assert!(state(&a, "e1").contains("02:00:00:00:00:01"));
        inside(&b, "ip address add 10.0.0.2/30 dev e2");
        assert!(reaches(&a, "10.0.0.2"));
        lab.assert_audit(&[&a, &b]);
        lab.remove(vec![b]);
        assert!(!has_carrier(&a, "e1") && state(&a, "e1").contains("10.0.0.1/30"));
        lab.assert_audit(&[&a]);
        let b = lab.jail("b", 3, &["vnet=new"]);
        assert!(has_carrier(&a, "e1") && has_carrier(&b, "e2") && !state(&b, "e2").contains("10.0.0.2"));
        lab.assert_audit(&[&a, &b]);
        // It goes with the one that declared it.
        lab.remove(vec![a]);
        assert!(inside(&b, "ip link show e2").contains("does not exist"));
        assert!(Shared::names(vimage::House::shelf(lab)).unwrap().is_empty());
        let a = lab.jail("a", 4, &["vnet.link=e1 b:e2"]);
        assert!(has_carrier(&a, "e1") && has_carrier(&b, "e2"));
        lab.remove(vec![b]);
        lab.remove(vec![a]);
        lab.assert_clean();
    });
}

#[test]
fn an_end_that_went_with_the_other_jail_comes_back_with_it() {
    alone("cable::an_end_that_went_with_the_other_jail_comes_back_with_it", |lab| {
        let a = lab.jail("a", 1, &[A, "vnet.route=10.7.0.0/16 via 10.0.0.2"]);
        for (jid, words) in [(2, vec!["vnet=new"]), (3, vec![B]), (4, vec![B])] {
            let b = lab.jail("b", jid, &words);
            assert!(has_carrier(&a, "e1") && has_carrier(&b, "e2"));
            assert!(state(&a, "e1").contains("10.7.0.0/16 via 10.0.0.2"), "{}", state(&a, "e1"));
            lab.assert_audit(&[&a, &b]);
            lab.bury(b);
            lab.assert_audit(&[&a]);
        }
        // Not even a change of its own needs the other.
        let mut a = a;
        lab.modify(&mut a, &["vnet.link=e1 b:e2 10.0.0.1/29"]).unwrap();
        assert!(!has_carrier(&a, "e1") && state(&a, "e1").contains("10.0.0.1/29"));
        lab.assert_audit(&[&a]);
        let b = lab.jail("b", 5, &[B]);
        assert!(reaches(&b, "10.0.0.1"));
        lab.bury(a);
        lab.bury(b);
        lab.assert_clean();
    });
}

#[test]
fn cables_are_changed_like_links() {
    alone("cable::cables_are_changed_like_links", |lab| {
        let mut a = lab.jail("a", 1, &["vnet.link=eth0 lan 10.9.0.1/24"]);
        let mut b = lab.jail("b", 2, &["vnet=new"]);
        let index = |owner: &Owner<'_>| inside(owner, "cat /sys/class/net/e1/ifindex");
        lab.modify(&mut a, &[A]).unwrap();
        assert!(has_carrier(&b, "e2"));
        let before = index(&a);
        lab.modify(&mut b, &["vnet.link=e2 a:e1 10.0.0.2/30 mtu 1300 autoconf on"]).unwrap();
        assert!(reaches(&a, "10.0.0.2"));
        let e2 = state(&b, "e2");
        assert!(e2.contains("mtu 1300") && e2.contains("fe80"), "{e2}");
        lab.modify(&mut b, &[B]).unwrap();
        assert!(reaches(&a, "10.0.0.2"));
        lab.modify(&mut a, &["vnet.link=e1 b:e2 10.0.0.1/29 mtu 1400 mac 02:00:00:00:00:01"]).unwrap();
        let e1 = state(&a, "e1");
        assert!(e1.contains("10.0.0.1/29") && !e1.contains("10.0.0.1/30") && !e1.contains("fd00"), "{e1}");
        assert!(e1.contains("mtu 1400") && e1.contains("02:00:00:00:00:01") && index(&a) == before, "{e1}");
        lab.assert_audit(&[&a, &b]);
        // A change that fails is taken back.
        let words = ["vnet.link=e1 lan 10.9.0.7/24", "vnet.route=default via 10.6.0.1"];
        assert!(lab.modify(&mut a, &words).is_err());
        assert!(has_carrier(&b, "e2") && state(&a, "e1").contains("10.0.0.1/29"));
        // Undeclared it stays, for the other's sake; then it goes.
        lab.modify(&mut b, &["vnet.link="]).unwrap();
        assert!(has_carrier(&a, "e1") && !state(&b, "e2").contains("inet "));
        assert!(state(&b, "e2").contains("mtu 1400"));
        lab.assert_audit(&[&a, &b]);
        lab.modify(&mut a, &["vnet.link=e1 lan 10.9.0.1/24", "vnet.link=e2 a:e3 autoconf on"]).unwrap();
        assert!(inside(&b, "ip link show e2").contains("does not exist"));
        assert!(has_carrier(&a, "e2") && has_carrier(&a, "e3"));
        lab.assert_audit(&[&a, &b]);
        lab.modify(&mut a, &["vnet.link="]).unwrap();
        assert!(Shared::names(vimage::House::shelf(lab)).unwrap().is_empty());
        lab.remove(vec![a, b]);
        lab.assert_clean();
    });
}

#[test]
fn an_end_has_one_use() {
    alone("cable::an_end_has_one_use", |lab| {
        let a = lab.jail("a", 1, &[A]);
        let refused = |name: &str, words: &[&str]| lab.try_jail(name, 9, words).unwrap_err().to_string();
        assert_eq!(refused("b", &["vnet.link=e2 lan"]), "vnet.link: b:e2 is the end of a cable");
        assert_eq!(refused("b", &["vnet.link=e2 c:e1"]), "vnet.link: b:e2 is the end of a cable");
        assert_eq!(
            refused("c", &["vnet.link=e1 a:e1"]),
            "vnet.link: \"e1 a:e1\": jail a has an interface e1 already"
        );
        assert_eq!(refused("c", &["vnet.link=e1 b:e2"]), "vnet.link: b:e2 is the end of a cable");
        assert_eq!(refused("c", &["vnet.link=e1 c:e1"]), "vnet.link: \"e1 c:e1\": a cable has two ends");
        assert_eq!(
            refused("c", &["vnet.link=e1 d:x", "vnet.link=e2 d:x"]),
            "vnet.link: \"e2 d:x\": d:x is used twice"
        );
        assert_eq!(
            refused("c", &[&format!("vnet.link=e1 {}:e1", "d".repeat(250))]),
            format!("vnet.link: \"e1 {}:e1\": the names of its ends are too long together", "d".repeat(250))
        );
        let b = lab.jail("b", 2, &[B, "vnet.link=eth0 lan"]);
        assert_eq!(
            refused("c", &["vnet.link=e1 b:eth0"]),
            "vnet.link: \"e1 b:eth0\": jail b has an interface eth0 already"
        );
        lab.assert_audit(&[&a, &b]);
        // Under another name it would be another cable.
        let mut a = a;
        a.name = "z".to_owned();
        let error = lab.modify(&mut a, &["vnet.route="]).unwrap_err();
        assert_eq!(error.to_string(), "vnet: a jail at the end of a cable keeps its name");
        a.name = "a".to_owned();
        // In another jail the names are others'.
        let parent = a.instance(lab);
        let x = lab.try_child(Some(&parent), "a.x", 3, &["vnet.link=e1 b:e2 10.0.0.1/30"]).unwrap();
        let y = lab.try_child(Some(&parent), "a.b", 4, &["vnet.link=e2 x:e1 10.0.0.2/30"]).unwrap();
        assert!(reaches(&x, "10.0.0.2") && reaches(&a, "10.0.0.2"));
        // Whatever its root does to an end, it is known again.
        inside(&y, "ip link set e2 down");
        inside(&y, "ip link set e2 name other alias mine group 7");
        lab.assert_audit(&[&a, &b, &x, &y]);
        lab.remove(vec![y]);
        assert!(!has_carrier(&x, "e1"));
        lab.assert_audit(&[&a, &b, &x]);
        lab.remove(vec![x]);
        drop(parent);
        lab.remove(vec![a, b]);
        lab.assert_clean();
    });
}

#[test]
fn a_failure_anywhere_leaves_nothing_and_the_other_end_whole() {
    alone("cable::a_failure_anywhere_leaves_nothing_and_the_other_end_whole", |_| {
        for at in 1..500 {
            let lab = Lab::failing(Some(at));
            let mut owners = Vec::new();
            for (jid, name, link) in [(1, "a", A), (2, "b", B)] {
                owners.extend(lab.try_jail(name, jid, &[link, "vnet.link=eth0 lan"]));
            }
            let living: Vec<_> = owners.iter().collect();
            lab.assert_audit(&living);
            if let [a, b] = &mut owners[..] {
                assert!(has_carrier(a, "e1") && reaches(b, "10.0.0.1"), "{at}");
                for (owner, words) in [(b, ["vnet.link=e3 lan"]), (a, ["vnet.link=e1 b:e2 autoconf on"])] {
                    let _failed_and_changed_back = lab.modify(owner, &words);
                }
                lab.assert_audit(&owners.iter().collect::<Vec<_>>());
                assert!(has_carrier(&owners[0], "e1") && has_carrier(&owners[1], "e2"), "{at}");
            }
            let last = owners.pop();
            lab.remove_in(2, last.into_iter().collect());
            assert!(owners.iter().all(|a| state(a, "e1").contains("e1")), "{at}");
            lab.remove_in(2, owners);
            lab.assert_clean();
            assert_eq!(run("ip -o link").lines().count(), 1, "{at}");
            if lab.recorder.points() < at {
                assert!(at > 40, "{at}");
                return;
            }
        }
        panic!("the points never end");
    });
}
