//! The bytes of requests, against the layouts in the kernel's headers.
#![cfg(target_endian = "little")]

use std::os::fd::{AsFd, AsRawFd};

use netlink::{
    Af, address,
    diag::{self, SocketInfo},
    link::{self, Bridge, Peer, Veth},
    nsid,
    route::{self, Route},
};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NetlinkSerializable};

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// Type, flags and body.
fn bytes<M: NetlinkSerializable>((message, flags): &(M, u16)) -> (u16, u16, Vec<u8>) {
    let mut body = vec![0; message.buffer_len()];
    message.serialize(&mut body);
    (message.message_type(), *flags, body)
}

/// `struct ifinfomsg`.
fn ifinfomsg(index: u8, flags: u8, change: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, index, 0, 0, 0, flags, 0, 0, 0, change, 0, 0, 0]
}

/// `struct nlattr`, value and padding.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn concat(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn veth() {
    let netns = std::fs::File::open("/proc/self/ns/net").unwrap();
    let fd = netns.as_raw_fd().to_le_bytes();
    let veth = Veth {
        name: "a",
        index: Some(5),
        mtu: Some(1400),
        group: Some(3),
        master: Some(4),
        up: true,
        peer: Peer {
            name: "b",
            index: Some(6),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: None,
            netns: Some(netns.as_fd()),
        },
        ..Veth::default()
    };
    // Neither IFF_UP nor IFLA_MASTER: the kernel takes them for the main device only.
    let peer = concat(&[
        ifinfomsg(6, 0, 0),
        attribute(3, b"b\0"),
        attribute(1, &[2, 0, 0, 0, 0, 1]),
        attribute(28, &fd),
    ]);
    let info = concat(&[attribute(1, b"veth\0"), attribute(2, &attribute(1, &peer))]);
    let expected = concat(&[
        ifinfomsg(5, 1, 1),
        attribute(3, b"a\0"),
        attribute(4, &1400u32.to_le_bytes()),
        attribute(27, &3u32.to_le_bytes()),
        attribute(10, &4u32.to_le_bytes()),
        attribute(18, &info),
    ]);
    assert_eq!(bytes(&veth.create()), (16, CREATE, expected));
}

#[test]
fn bridge() {
    let bridge = Bridge { name: "br", no_multicast_snooping: true, ..Bridge::default() };
    let data = concat(&[attribute(5, &[0; 4]), attribute(23, &[0])]);
    let info = concat(&[attribute(1, b"bridge\0"), attribute(2, &data)]);
    let expected = concat(&[ifinfomsg(0, 0, 0), attribute(3, b"br\0"), attribute(18, &info)]);
    assert_eq!(bytes(&bridge.create()), (16, CREATE, expected));
}

#[test]
fn changes() {
    assert_eq!(bytes(&link::set_up(9)), (19, 0, ifinfomsg(9, 1, 1)));
    assert_eq!(bytes(&link::set_down(9)), (19, 0, ifinfomsg(9, 0, 1)));
    assert_eq!(bytes(&link::delete(9)), (17, 0, ifinfomsg(9, 0, 0)));
    let alias = concat(&[ifinfomsg(9, 0, 0), attribute(20, b"x\0")]);
    assert_eq!(bytes(&link::set_alias(9, "x")), (19, 0, alias));
    let group = concat(&[ifinfomsg(0, 0, 0), attribute(27, &7u32.to_le_bytes())]);
    assert_eq!(bytes(&link::delete_group(7)), (17, 0, group));
    let inet6 = attribute(26, &attribute(10, &attribute(8, &[1])));
    assert_eq!(bytes(&link::set_addr_gen_mode_none(9)), (19, 0, concat(&[ifinfomsg(9, 0, 0), inet6])));
}

#[test]
fn addresses() {
    let v4 = [10, 0, 0, 1];
    let expected = concat(&[
        vec![2, 24, 0, 0, 9, 0, 0, 0],
        attribute(2, &v4),
        attribute(1, &v4),
        attribute(4, &[10, 0, 0, 255]),
    ]);
    assert_eq!(bytes(&address::add(9, v4.into(), 24)), (20, CREATE, expected));
    let mut v6 = [0; 16];
    (v6[0], v6[15]) = (0xfd, 1);
    let head = [vec![10, 64, 0, 0, 9, 0, 0, 0], attribute(2, &v6), attribute(1, &v6)].concat();
    let nodad = concat(&[head.clone(), attribute(8, &2u32.to_le_bytes())]);
    assert_eq!(bytes(&address::add(9, v6.into(), 64)), (20, CREATE, nodad));
    assert_eq!(bytes(&address::delete(9, v6.into(), 64)), (21, 0, head));
}

#[test]
fn routes() {
    let default = Route { gateway: Some([10, 0, 0, 1].into()), oif: Some(9), ..Route::default() };
    let gateway = [attribute(5, &[10, 0, 0, 1]), attribute(4, &9u32.to_le_bytes())].concat();
    // struct rtmsg: table main, protocol static, scope universe, unicast.
    let expected = concat(&[vec![2, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0], gateway.clone()]);
    assert_eq!(bytes(&route::add(&default)), (24, CREATE, expected));
    let expected = concat(&[vec![2, 0, 0, 0, 254, 0, 255, 0, 0, 0, 0, 0], gateway]);
    assert_eq!(bytes(&route::delete(&default)), (25, 0, expected));
    let link = Route { dest: Some(([10, 0, 0, 0].into(), 8)), oif: Some(9), ..Route::default() };
    let (_, _, body) = bytes(&route::add(&link));
    assert_eq!(body[..12], [2, 8, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0]);
}

#[test]
fn nsids() {
    let netns = std::fs::File::open("/proc/self/ns/net").unwrap();
    let fd = attribute(3, &netns.as_raw_fd().to_le_bytes());
    let ask = concat(&[vec![0; 4], fd]);
    assert_eq!(bytes(&nsid::get(netns.as_fd())), (90, 0, ask.clone()));
    let auto = concat(&[ask, attribute(1, &[255; 4])]);
    assert_eq!(bytes(&nsid::set(netns.as_fd(), None)), (88, 0, auto));
}

#[test]
fn destroy() {
    let mut info = SocketInfo {
        family: Af::Inet,
        protocol: diag::TCP,
        state: 4,
        local: "10.0.0.1:256".parse().unwrap(),
        remote: "10.0.0.2:80".parse().unwrap(),
        interface: 9,
        uid: 0,
        inode: 0,
        cookie: 0x1_0000_0002,
    };
    let (kind, flags, body) = bytes(&diag::destroy(&info));
    assert_eq!((kind, flags, body.len()), (21, 0, 56));
    assert_eq!(body[..4], [2, 6, 0, 0]);
    // struct inet_diag_sockid: ports and addresses in network order, interface, cookie low half first.
    assert_eq!(body[8..16], [1, 0, 0, 80, 10, 0, 0, 1]);
    assert_eq!(body[28..32], [10, 0, 0, 2]);
    assert_eq!(body[44..], [9, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
    // The IP protocol of a raw socket travels in what is padding otherwise.
    (info.protocol, info.local) = (diag::RAW, "0.0.0.0:1".parse().unwrap());
    assert_eq!(bytes(&diag::destroy(&info)).2[..4], [2, 255, 0, 1]);
}
