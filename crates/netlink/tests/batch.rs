//! What happens to a batch when the kernel refuses a message.

mod alone;

use alone::{alone, open};
use netlink::{
    Route, Socket, address,
    link::{self, Bridge},
};
use rustix::{
    io::Errno,
    net::{SendFlags, SocketFlags, SocketType},
};

fn bridge(name: &str) -> netlink::Request {
    Bridge { name, ..Bridge::default() }.create()
}

#[test]
fn the_error_names_the_first_message_refused() {
    alone("the_error_names_the_first_message_refused", || {
        let mut socket = open();
        let requests = [bridge("a"), bridge("b"), bridge("a"), link::set_up(4711), bridge("c")];
        let error = socket.batch(&requests).unwrap_err();
        assert_eq!((error.index, error.refused.errno()), (2, Errno::EXIST));
        assert!(error.to_string().starts_with("message 2: File exists"), "{error}");
        // All answers were read, and the kernel went on after the refusal.
        assert!(socket.link_by_name("c").unwrap().is_some());
        let answers = socket.each(&requests[1..4]).unwrap();
        let errnos: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_err().errno()).collect();
        assert_eq!(errnos, [Errno::EXIST, Errno::EXIST, Errno::NODEV]);
    });
}

#[test]
fn a_batch_longer_than_the_buffers() {
    alone("a_batch_longer_than_the_buffers", || {
        let mut socket = open();
        let requests: Vec<_> = (0..1000)
            .map(|i| if i == 700 { link::set_up(4711) } else { link::set_alias(1, &"x".repeat(200)) })
            .collect();
        let error = socket.batch(&requests).unwrap_err();
        assert_eq!((error.index, error.refused.errno()), (700, Errno::NODEV));
        assert!(socket.batch(&[]).is_ok());
    });
}

/// A socket without any option.
fn plain() -> Socket<Route> {
    let family = rustix::net::AddressFamily::NETLINK;
    let fd = rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    Socket::from_fd(fd).unwrap()
}

#[test]
fn the_kernels_own_words() {
    alone("the_kernels_own_words", || {
        let mut socket = open();
        let (message, flags) = address::add(1, [10, 0, 0, 1].into(), 33);
        let refused = socket.ack(message, flags).unwrap_err();
        assert_eq!(refused.errno(), Errno::INVAL);
        assert!(refused.says().is_some_and(|says| !says.is_empty()), "{refused:?}");
        assert!(refused.to_string().starts_with("Invalid argument: "), "{refused}");
        // The same without the options.
        let (message, flags) = address::add(1, [10, 0, 0, 1].into(), 33);
        let refused = plain().ack(message, flags).unwrap_err();
        assert_eq!((refused.errno(), refused.says()), (Errno::INVAL, None));
    });
}

#[test]
fn strict_dumps_are_complete() {
    alone("strict_dumps_are_complete", || {
        let (mut strict, mut plain) = (open(), plain());
        // No route has come yet, so IPv4 has no main table.
        assert_eq!(strict.routes().unwrap(), []);
        strict.batch(&[bridge("a"), link::set_up(1)]).unwrap();
        assert_eq!(strict.links().unwrap(), plain.links().unwrap());
        assert_eq!(strict.addresses().unwrap(), plain.addresses().unwrap());
        assert!(!strict.addresses().unwrap().is_empty());
        assert_eq!(strict.routes().unwrap(), plain.routes().unwrap());
        assert!(strict.link_by_name("a").unwrap().is_some());
        assert_eq!(strict.link_by_name("b").unwrap(), None);
    });
}

#[test]
fn nobody_else_can_answer() {
    alone("nobody_else_can_answer", || {
        let (socket, forger) = (open(), open());
        let port = rustix::net::getsockname(&socket).unwrap();
        let forged = rustix::net::sendto(&forger, &[0; 16], SendFlags::empty(), &port);
        assert_eq!(forged, Err(Errno::CONNREFUSED));
    });
}
