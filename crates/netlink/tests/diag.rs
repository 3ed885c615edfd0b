//! Sockets listed and destroyed on the running kernel.

mod alone;

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
};

use alone::{alone, lo_up, open};
use netlink::{
    Af, Diag, Socket,
    diag::{self, SocketInfo, destroy_all, sockets},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, ipproto},
};

const FIN_WAIT1: u8 = 4;

fn tcp(socket: &mut Socket<Diag>, state: u8) -> Vec<SocketInfo> {
    let mut found = sockets(socket, diag::TCP, Af::Inet).unwrap();
    found.retain(|info| info.state == state);
    found
}

/// A connection whose near end was closed while the far end's window was full: nobody holds it, and the kernel
/// keeps it for minutes.
fn orphan() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let block = vec![0; 1 << 16];
    loop {
        match near.write(&block) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    (listener, far)
}

#[test]
fn an_orphan_is_destroyed() {
    alone("an_orphan_is_destroyed", || {
        lo_up(&mut open());
        let (_listener, mut far) = orphan();
        let mut socket = Socket::<Diag>::open().unwrap();
        let found = tcp(&mut socket, FIN_WAIT1);
        let [info] = found[..] else { panic!("{found:?}") };
        assert_eq!((info.inode, info.remote), (0, far.local_addr().unwrap()));
        assert_eq!(info.local, far.peer_addr().unwrap());
        let (message, flags) = diag::destroy(&info);
        socket.ack(message.clone(), flags).unwrap();
        assert_eq!(tcp(&mut socket, FIN_WAIT1), []);
        assert_eq!(socket.ack(message, flags).unwrap_err().errno(), Errno::NOENT);
        // The far end is told.
        let reset = std::iter::repeat_with(|| far.read(&mut [0; 1 << 16])).find_map(Result::err).unwrap();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn everything_goes_but_what_is_bound() {
    alone("everything_goes_but_what_is_bound", || {
        lo_up(&mut open());
        let (listener, far) = orphan();
        let waiting = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener6 = TcpListener::bind("[::1]:0").unwrap();
        let near6 = TcpStream::connect(listener6.local_addr().unwrap()).unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect("127.0.0.1:9").unwrap();
        let raw: Vec<_> = [ipproto::ICMP, ipproto::ICMP, ipproto::UDP]
            .into_iter()
            .map(|protocol| {
                let flags = SocketFlags::CLOEXEC;
                rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(protocol)).unwrap()
            })
            .collect();
        let mut socket = Socket::<Diag>::open().unwrap();
        assert_eq!(sockets(&mut socket, diag::RAW, Af::Inet).unwrap().len(), 3);
        assert!(!sockets(&mut socket, diag::TCP, Af::Inet6).unwrap().is_empty());
        // The port stays the UDP socket's until its descriptor is closed.
        assert_eq!(destroy_all(&mut socket).unwrap(), 0);
        drop((listener, far, waiting, listener6, near6, connected, raw));
        assert_eq!(destroy_all(&mut socket).unwrap(), 0);
    });
}

#[test]
fn a_protocol_without_diag_is_empty() {
    alone("a_protocol_without_diag_is_empty", || {
        let mut socket = Socket::<Diag>::open().unwrap();
        for protocol in [1, 58, 200] {
            for family in Af::ALL {
                assert_eq!(sockets(&mut socket, protocol, family).unwrap(), []);
            }
        }
        assert_eq!(destroy_all(&mut socket).unwrap(), 0);
    });
}
