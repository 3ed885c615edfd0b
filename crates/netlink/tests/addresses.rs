//! Addresses and routes on the running kernel.

mod alone;

use std::net::{IpAddr, TcpListener};

use alone::{alone, lo_up, open};
use netlink::{
    Af, address,
    link::{Peer, Veth, set_up},
    route::{self, Route},
};
use rustix::io::Errno;

fn veth() -> Veth<'static> {
    let peer = Peer { name: "b", index: Some(11), ..Peer::default() };
    Veth { name: "a", index: Some(10), up: true, peer, ..Veth::default() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_are_usable_at_once() {
    alone("addresses_are_usable_at_once", || {
        let mut socket = open();
        lo_up(&mut socket);
        let (v4, v6) = (ip("10.9.0.1"), ip("fd00::1"));
        let requests = [veth().create(), set_up(11), address::add(10, v4, 24), address::add(10, v6, 64)];
        socket.batch(&requests).unwrap();
        // With duplicate address detection the bind would fail with EADDRNOTAVAIL for a second or two.
        drop(TcpListener::bind((v6, 0)).unwrap());
        drop(TcpListener::bind((v4, 0)).unwrap());

        let found = socket.addresses().unwrap();
        // The kernel marks its own, from Linux 5.18 on.
        let mark = found[0].mark;
        let (scope, ip_of_lo) = (address::SCOPE_HOST, ip("127.0.0.1"));
        assert_eq!(found[0], address::Address { index: 1, ip: ip_of_lo, prefix_len: 8, scope, mark });
        for (ip, prefix_len) in [(v4, 24), (v6, 64)] {
            let scope = address::SCOPE_UNIVERSE;
            let expected = address::Address { index: 10, ip, prefix_len, scope, mark: 0 };
            assert!(found.contains(&expected), "{found:?}");
        }

        let error = socket.batch(&[address::add(10, v4, 24)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::EXIST);
        socket.batch(&[address::delete(10, v4, 24), address::delete(10, v6, 64)]).unwrap();
        assert!(!socket.addresses().unwrap().iter().any(|address| [v4, v6].contains(&address.ip)));
        let error = socket.batch(&[address::delete(10, v4, 24)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::ADDRNOTAVAIL);
    });
}

#[test]
fn routes_come_and_go() {
    alone("routes_come_and_go", || {
        let mut socket = open();
        assert_eq!(socket.routes().unwrap(), []);
        let link_only = Route { dest: Some((ip("192.0.2.0"), 24)), oif: Some(10), ..Route::default() };
        let default4 = Route { gateway: Some(ip("10.9.0.2")), oif: Some(10), ..Route::default() };
        let default6 =
            Route { gateway: Some(ip("fd00::2")), oif: Some(10), family: Af::Inet6, ..Route::default() };
        let net6 =
            Route { dest: Some((ip("fd01::"), 48)), oif: Some(10), family: Af::Inet6, ..Route::default() };
        let all = [link_only, default4, default6, net6];
        let mut requests = vec![
            veth().create(),
            set_up(11),
            address::add(10, ip("10.9.0.1"), 24),
            address::add(10, ip("fd00::1"), 64),
        ];
        requests.extend(all.iter().map(route::add));
        socket.batch(&requests).unwrap();
        let found = socket.routes().unwrap();
        for route in all {
            assert!(found.contains(&route), "{route:?} in {found:?}");
        }
        let connected = Route { dest: Some((ip("10.9.0.0"), 24)), oif: Some(10), ..Route::default() };
        assert!(found.contains(&connected));

        let error = socket.batch(&[route::add(&default4)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::EXIST);
        let requests: Vec<_> = all.iter().map(route::delete).collect();
        socket.batch(&requests).unwrap();
        let found = socket.routes().unwrap();
        assert!(!all.iter().any(|route| found.contains(route)), "{found:?}");
        let error = socket.batch(&[route::delete(&default4)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::SRCH);
        let nowhere = Route { gateway: Some(ip("203.0.113.1")), ..Route::default() };
        let error = socket.batch(&[route::add(&nowhere)]).unwrap_err();
        assert_eq!(error.refused.errno(), Errno::NETUNREACH);
    });
}
