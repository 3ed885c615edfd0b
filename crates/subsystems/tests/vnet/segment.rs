//! Segments of several bridges, on the running kernel: here each is full after four links.

use std::time::{Duration, Instant};

use netlink::{Route, Socket};
use vimage::{Owner, Piece, Shared};

use crate::lab::{Lab, alone_without, inside, reaches, run};

/// Links of one jail on the segment, with addresses whose last number is `net` and up.
fn links(count: u32, net: u32) -> Vec<String> {
    let one = |n| format!("vnet.link=e{n} lan 10.9.0.{}/24 fd00:9::{}/64", net + n, net + n);
    (0..count).map(one).collect()
}

fn words(links: &[String]) -> Vec<&str> {
    links.iter().map(String::as_str).collect()
}

/// The pieces of the segment.
fn pieces(lab: &Lab, kind: &str) -> Vec<Piece> {
    let (_, pieces) = Shared::peek(vimage::House::shelf(lab), "vnet.segment,0:lan").unwrap();
    pieces.into_iter().filter(|piece| piece.kind == kind).collect()
}

/// How many bridges it has, each but the first with a trunk to that.
fn bridges(lab: &Lab) -> usize {
    let (bridges, trunks) = (pieces(lab, "bridge").len(), pieces(lab, "trunk").len());
    assert_eq!(trunks, bridges - 1);
    bridges
}

/// How many ports each has, trunks included.
fn ports(lab: &Lab) -> Vec<usize> {
    let switch = pieces(lab, "bridge")[0].text("stack").unwrap().to_owned();
    let switch = vimage::House::open(lab, &vimage::Anchor(switch)).unwrap().unwrap();
    let links = Socket::<Route>::open_in(&switch).unwrap().links().unwrap();
    let on = |bridge: &Piece| {
        let index = bridge.number("index").unwrap();
        links.iter().filter(|link| link.master.map(u64::from) == Some(index)).count()
    };
    pieces(lab, "bridge").iter().map(on).collect()
}

#[test]
fn bridges_are_made_as_it_grows_and_their_ports_used_again() {
    let name = "segment::bridges_are_made_as_it_grows_and_their_ports_used_again";
    alone_without("wide_bridges", name, |lab| {
        let a = lab.jail("a", 1, &words(&links(3, 10)));
        assert_eq!(ports(lab), [3]);
        // One of the first batch has room there; the others need three bridges, each with a trunk.
        let b = lab.jail("b", 2, &words(&links(9, 20)));
        assert_eq!((bridges(lab), ports(lab)), (4, vec![4 + 3, 1 + 3, 1 + 3, 1 + 2]));
        lab.assert_audit(&[&a, &b]);
        for n in 20..29 {
            assert!(reaches(&a, &format!("10.9.0.{n}")) && reaches(&a, &format!("fd00:9::{n}")), "{n}");
        }
        let mut c = lab.jail("c", 3, &["vnet.link=e0 lan 10.9.0.40/24", "vnet.host=lan 10.9.0.1/24"]);
        assert_eq!((bridges(lab), ports(lab)), (5, vec![4 + 4, 1 + 3, 1 + 3, 1 + 3, 1 + 1]));
        assert!(reaches(&a, "10.9.0.1") && reaches(&b, "10.9.0.1") && reaches(&c, "10.9.0.10"));
        assert!(run("ping -n -c 1 -W 2 10.9.0.28").contains(" 0% packet loss"));
        // What a jail leaves on the first bridge another takes, before there is one more.
        lab.remove(vec![a]);
        let until = Instant::now() + Duration::from_secs(5);
        while ports(lab)[0] != 1 + 4 {
            assert!(Instant::now() < until, "{:?}", ports(lab));
        }
        lab.modify(&mut c, &words(&links(6, 40))).unwrap();
        assert_eq!((bridges(lab), ports(lab)), (5, vec![4 + 4, 1 + 3, 1 + 3, 1 + 3, 1 + 3]));
        assert!(reaches(&b, "10.9.0.45") && reaches(&b, "fd00:9::41") && reaches(&b, "10.9.0.1"));
        lab.assert_audit(&[&b, &c]);
        lab.remove(vec![b]);
        // A segment that goes while another stays takes all of them along.
        lab.modify(&mut c, &["vnet.link=e0 other", "vnet.host="]).unwrap();
        lab.assert_audit(&[&c]);
        lab.remove(vec![c]);
        lab.assert_clean();
    });
}

#[test]
fn a_failure_anywhere_leaves_it_as_it_was() {
    alone_without("wide_bridges", "segment::a_failure_anywhere_leaves_it_as_it_was", |_| {
        for at in 1..500 {
            let lab = Lab::failing(Some(at));
            let first = lab.try_jail("a", 1, &words(&links(3, 10)));
            let mut owners: Vec<Owner<'_>> = first.into_iter().collect();
            owners.extend(lab.try_jail("b", 2, &words(&links(3, 20))));
            lab.assert_audit(&owners.iter().collect::<Vec<_>>());
            if let [a, b] = &mut owners[..] {
                assert_eq!(bridges(&lab), 2, "{at}");
                let _failed_and_changed_back = lab.modify(b, &words(&links(8, 20)));
                let text = inside(b, "ip -br address");
                assert!(
                    reaches(a, "10.9.0.22") && reaches(a, "fd00:9::22"),
                    "{at}: {text} {:?}",
                    ports(&lab)
                );
                lab.assert_audit(&[a, b]);
            }
            let last = owners.pop();
            lab.remove_in(2, last.into_iter().collect());
            lab.assert_audit(&owners.iter().collect::<Vec<_>>());
            lab.remove_in(2, owners);
            lab.assert_clean();
            if lab.recorder.points() < at {
                assert!(at > 40, "{at}");
                return;
            }
        }
        panic!("the points never end");
    });
}
