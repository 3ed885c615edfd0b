//! Sockets listed and destroyed on the running kernel.

mod alone;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
};

use alone::{alone, lo_up, open, through};
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

/// One of several listeners on one port.
fn sharing_listener() -> TcpListener {
    let fd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::sockopt::set_socket_reuseport(&fd, true).unwrap();
    rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5001)).unwrap();
    rustix::net::listen(&fd, 1).unwrap();
    fd.into()
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
        let bound = UdpSocket::bind("127.0.0.1:5000").unwrap();
        let sharing: Vec<_> = (0..5).map(|_| sharing_listener()).collect();
        let raw: Vec<_> = [ipproto::ICMP, ipproto::ICMP, ipproto::UDP]
            .into_iter()
            .map(|protocol| {
                let flags = SocketFlags::CLOEXEC;
                rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(protocol)).unwrap()
            })
            .collect();
        let mut socket = Socket::<Diag>::open().unwrap();
        match sockets(&mut socket, diag::RAW, Af::Inet).unwrap().len() {
            0 => println!("SKIP raw sockets: the kernel has no CONFIG_INET_RAW_DIAG"),
            found => assert_eq!(found, raw.len()),
        }
        assert!(!sockets(&mut socket, diag::TCP, Af::Inet6).unwrap().is_empty());
        // A UDP port that was asked for by number stays its socket's until the descriptor is closed.
        assert_eq!(destroy_all(&mut socket).unwrap(), 1);
        drop(bound);
        assert_eq!(destroy_all(&mut socket).unwrap(), 0);
        drop((listener, far, waiting, listener6, near6, connected, raw, sharing));
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

#[test]
fn a_stranger_may_not_destroy() {
    // Root over its own namespaces; the wrapper gives that up again.
    through(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], "a_stranger_may_not_destroy", || {
        let _listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let mut socket = Socket::<Diag>::open().unwrap();
        let error = destroy_all(&mut socket).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::PERM.raw_os_error()));
    });
}
