//! Links on the running kernel.

mod alone;

use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use alone::{Netns, alone, lo_up, open, until};
use netlink::link::{self, Bridge, Peer, Veth};
use rustix::io::Errno;

const MAC: link::Mac = [2, 0, 0, 0, 0, 7];

#[test]
fn veth_has_what_was_asked_for() {
    alone("veth_has_what_was_asked_for", || {
        let mut socket = open();
        let bridge = Bridge {
            name: "a-bridge-of-15b",
            index: Some(100),
            group: Some(3),
            up: true,
            no_multicast_snooping: true,
            ..Bridge::default()
        };
        let veth = Veth {
            name: "left",
            index: Some(101),
            mac: Some(MAC),
            mtu: Some(1400),
            group: Some(9),
            master: Some(100),
            up: true,
            peer: Peer { name: "right", index: Some(102), mtu: Some(1400), ..Peer::default() },
            ..Veth::default()
        };
        let aliases = [link::set_alias(100, "jails"), link::set_alias(101, "jail:web")];
        socket.batch(&[bridge.create(), veth.create(), link::set_up(102)]).unwrap();
        socket.batch(&aliases).unwrap();

        let found = socket.link_by_name("a-bridge-of-15b").unwrap().unwrap();
        assert_eq!((found.index, found.kind.as_deref(), found.group), (100, Some("bridge"), 3));
        assert_eq!(found.alias.as_deref(), Some("jails"));

        let left = socket.link_by_index(101).unwrap().unwrap();
        assert_eq!(
            left,
            link::Link {
                index: 101,
                name: "left".into(),
                mac: Some(MAC),
                mtu: 1400,
                up: true,
                running: left.running,
                kind: Some("veth".into()),
                master: Some(100),
                port: Some(1),
                alias: Some("jail:web".into()),
                group: 9,
                link: Some(102),
                link_netnsid: None,
            }
        );
        let right = socket.link_by_name("right").unwrap().unwrap();
        assert_eq!((right.index, right.link, right.up, right.master), (102, Some(101), true, None));
        until("the carrier", || open().link_by_name("left").unwrap().unwrap().running);

        assert_eq!(socket.link_by_name("nobody").unwrap(), None);
        assert_eq!(socket.link_by_index(4711).unwrap(), None);
        let indexes: Vec<_> = socket.links().unwrap().iter().map(|link| link.index).collect();
        assert_eq!(indexes, [1, 100, 101, 102]);
    });
}

#[test]
fn links_change() {
    alone("links_change", || {
        let mut socket = open();
        let veth = Veth {
            name: "a",
            index: Some(10),
            peer: Peer { name: "b", index: Some(11), ..Peer::default() },
            ..Veth::default()
        };
        let bridge = Bridge { name: "br", index: Some(12), ..Bridge::default() };
        socket
            .batch(&[
                veth.create(),
                bridge.create(),
                link::set_name(10, "renamed"),
                link::set_alias(10, "x"),
                link::set_group(10, 5),
                link::set_mac(10, MAC),
                link::set_mtu(10, 9000),
                link::set_master(10, 12),
                link::set_up(10),
            ])
            .unwrap();
        let link = socket.link_by_index(10).unwrap().unwrap();
        assert_eq!((link.name.as_str(), link.alias.as_deref(), link.group), ("renamed", Some("x"), 5));
        assert_eq!((link.mac, link.mtu, link.master, link.up), (Some(MAC), 9000, Some(12), true));
        socket.batch(&[link::set_down(10), link::no_master(10), link::set_alias(10, "")]).unwrap();
        let link = socket.link_by_index(10).unwrap().unwrap();
        assert_eq!((link.up, link.master, link.port, link.alias), (false, None, None, None));
        socket.batch(&[link::delete(11)]).unwrap();
        assert_eq!(socket.link_by_name("renamed").unwrap(), None);
    });
}

#[test]
fn peer_is_born_elsewhere() {
    alone("peer_is_born_elsewhere", || {
        let netns = Netns::new();
        let file = netns.file();
        let peer =
            Peer { name: "eth0", index: Some(7), mac: Some(MAC), mtu: None, netns: Some(file.as_fd()) };
        let veth = Veth { name: "host", index: Some(7), up: true, peer, ..Veth::default() };
        let mut here = open();
        here.batch(&[veth.create()]).unwrap();
        assert_eq!(here.link_by_name("eth0").unwrap(), None);
        let host = here.link_by_name("host").unwrap().unwrap();
        assert_eq!((host.index, host.link), (7, Some(7)));
        assert!(host.link_netnsid.is_some_and(|id| id >= 0));

        let mut there = netns.socket();
        there.batch(&[link::set_up(7)]).unwrap();
        let eth0 = there.link_by_name("eth0").unwrap().unwrap();
        assert_eq!((eth0.index, eth0.mac, eth0.up), (7, Some(MAC), true));
    });
}

#[test]
fn a_link_moves_and_gets_a_new_name() {
    alone("a_link_moves_and_gets_a_new_name", || {
        let netns = Netns::new();
        let file = netns.file();
        let mut here = open();
        let veth = Veth {
            name: "a",
            index: Some(10),
            peer: Peer { name: "b", index: Some(11), ..Peer::default() },
            ..Veth::default()
        };
        let bridge = Bridge { name: "br", index: Some(12), ..Bridge::default() };
        let requests = [veth.create(), bridge.create(), link::set_netns(11, file.as_fd(), Some("eth0"))];
        here.batch(&requests).unwrap();
        assert_eq!(here.link_by_name("b").unwrap(), None);
        assert!(netns.socket().link_by_name("eth0").unwrap().is_some());
        let error = here.batch(&[link::set_netns(12, file.as_fd(), None)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::INVAL);
    });
}

#[test]
fn a_group_goes_at_once() {
    alone("a_group_goes_at_once", || {
        let mut socket = open();
        let names: Vec<_> = (0..20).map(|i| (format!("a{i}"), format!("b{i}"))).collect();
        let requests: Vec<_> = names
            .iter()
            .map(|(name, peer)| {
                let peer = Peer { name: peer, ..Peer::default() };
                Veth { name, group: Some(77), peer, ..Veth::default() }.create()
            })
            .collect();
        socket.batch(&requests).unwrap();
        let (message, flags) = Bridge { name: "stays", ..Bridge::default() }.create();
        socket.ack(message, flags).unwrap();
        socket.batch(&[link::delete_group(77)]).unwrap();
        let names: Vec<_> = socket.links().unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo", "stays"]);
        let error = socket.batch(&[link::delete_group(77)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::NODEV);
    });
}

#[test]
fn no_link_local_address_without_addr_gen_mode() {
    alone("no_link_local_address_without_addr_gen_mode", || {
        let mut socket = open();
        let veth = Veth {
            name: "a",
            index: Some(10),
            peer: Peer { name: "b", index: Some(11), ..Peer::default() },
            ..Veth::default()
        };
        let quiet = link::set_addr_gen_mode_none(10);
        socket.batch(&[veth.create(), quiet, link::set_up(10), link::set_up(11)]).unwrap();
        // The ordinary end's address tells when the quiet one's would have come.
        let mut addresses = Vec::new();
        until("fe80::", || {
            addresses = open().addresses().unwrap();
            addresses.iter().any(|address| address.index == 11 && address.ip.is_ipv6())
        });
        assert!(addresses.iter().all(|address| address.index != 10), "{addresses:?}");
    });
}

#[test]
fn three_hundred_links() {
    alone("three_hundred_links", || {
        let mut socket = open();
        lo_up(&mut socket);
        let names: Vec<_> = (0..150).map(|i| (format!("left-{i:010}"), format!("right-{i:09}"))).collect();
        let requests: Vec<_> = names
            .iter()
            .map(|(name, peer)| {
                Veth { name, peer: Peer { name: peer, ..Peer::default() }, ..Veth::default() }.create()
            })
            .collect();
        socket.batch(&requests).unwrap();
        let links = socket.links().unwrap();
        assert_eq!(links.len(), 301);
        for (left, right) in &names {
            for name in [left, right] {
                assert!(links.iter().any(|link| link.name == *name), "{name}");
            }
        }
    });
}

#[test]
fn a_list_that_changes_is_read_again() {
    alone("a_list_that_changes_is_read_again", || {
        let mut socket = open();
        let names: Vec<_> = (0..100).map(|i| (format!("a{i}"), format!("b{i}"))).collect();
        let pairs = |range: std::ops::Range<usize>| -> Vec<_> {
            let pair = |(name, peer): &'_ (String, String)| {
                Veth { name, group: Some(1), peer: Peer { name: peer, ..Peer::default() }, ..Veth::default() }
                    .create()
            };
            names[range].iter().map(pair).collect()
        };
        socket.batch(&pairs(0..50)).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (stop, requests) = (&stop, pairs(50..51));
            scope.spawn(move || {
                let mut socket = open();
                while !stop.load(Relaxed) {
                    socket.batch(&requests).unwrap();
                    let index = socket.link_by_name("a50").unwrap().unwrap().index;
                    socket.batch(&[link::delete(index)]).unwrap();
                }
            });
            // Nothing may panic before the thread is told to stop: the scope waits for it.
            let lists: Vec<_> = (0..50).map(|_| socket.links()).collect();
            stop.store(true, Relaxed);
            for links in lists {
                let links = links.unwrap();
                let there = |name: &String| links.iter().filter(|link| link.name == *name).count();
                assert!(names[..50].iter().all(|(a, b)| there(a) == 1 && there(b) == 1));
            }
        });
    });
}
