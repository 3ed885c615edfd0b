//! What a jail's sockets do in a network stack that it shares, by real sockets in one made for the test.

mod lab;

use std::net::{Ipv4Addr, Ipv6Addr};

use bpf::confine::{Addresses, Confined, Family};
use lab::Lab;

fn v4(addresses: &[([u8; 4], u8)], select: bool) -> Family<Ipv4Addr> {
    let all = addresses.iter().map(|(ip, prefix)| (Ipv4Addr::from(*ip), *prefix)).collect();
    Family::New(Addresses::new(all, select).unwrap())
}

fn v6(last: &[u16]) -> Family<Ipv6Addr> {
    let all = last.iter().map(|last| (Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, *last), 64)).collect();
    Family::New(Addresses::new(all, false).unwrap())
}

/// 10.1.1.1 and fd01::1.
fn one_of_each() -> Confined {
    Confined { v4: v4(&[([10, 1, 1, 1], 24)], false), v6: v6(&[1]), reserved_ports: None, same_users: false }
}

#[test]
fn a_socket_is_bound_to_an_own_address_or_to_none() {
    let Some(lab) = Lab::new("a_socket_is_bound", &one_of_each()) else { return };
    lab.jail(
        r"
for asked in ('127.0.0.1', '127.1.2.3', '10.1.1.1', '', '0.0.0.0'):
    same(bound(AF_INET, asked), '10.1.1.1')
for asked in ('10.1.1.2', '10.9.9.9', '224.0.0.1', '255.255.255.255'):
    same(error(bound, AF_INET, asked), EADDRNOTAVAIL)
    same(error(bound, AF_INET6, '::ffff:' + asked), EADDRNOTAVAIL)
for asked in ('::1', 'fd01::1', '::'):
    same(bound(AF_INET6, asked), 'fd01::1')
for asked in ('fd01::2', 'fd02::1', 'ff02::1', '::2'):
    same(error(bound, AF_INET6, asked), EADDRNOTAVAIL)
for asked in ('127.0.0.1', '10.1.1.1', '0.0.0.0'):
    same(bound(AF_INET6, '::ffff:' + asked), '::ffff:10.1.1.1')
for kind in (SOCK_STREAM, SOCK_DGRAM):
    # A socket that is not bound says so.
    same(socket(AF_INET, kind).getsockname(), ('0.0.0.0', 0))
    same(socket(AF_INET6, kind).getsockname()[:2], ('::', 0))
",
    );
    // To the kernel it is one bound to that address: the same port is free at another.
    lab.jail(
        r"
s = socket(); s.bind(('0.0.0.0', 5000)); s.listen()
outside(lambda: socket().bind(('10.1.1.2', 5000)))
same(error(outside, lambda: socket().bind(('10.1.1.1', 5000))), EADDRINUSE)
",
    );
}

#[test]
fn with_more_addresses_any_stays_any() {
    let two = Confined {
        v4: v4(&[([10, 1, 1, 1], 24), ([10, 1, 1, 2], 24)], false),
        v6: v6(&[1, 2]),
        reserved_ports: None,
        same_users: false,
    };
    let Some(lab) = Lab::new("with_more_addresses", &two) else { return };
    lab.jail(
        r"
same([bound(AF_INET, ip) for ip in ('0.0.0.0', '127.0.0.1', '10.1.1.2')], ['0.0.0.0', '10.1.1.1', '10.1.1.2'])
same([bound(AF_INET6, ip) for ip in ('::', '::1', 'fd01::2')], ['::', 'fd01::1', 'fd01::2'])
same(bound(AF_INET6, '::ffff:0.0.0.0'), '::ffff:0.0.0.0')
same(error(bound, AF_INET, '10.1.1.3'), EADDRNOTAVAIL)
same(error(bound, AF_INET6, 'fd01::3'), EADDRNOTAVAIL)

# Both its addresses are reached, and no other of the host's.
for family, own, foreign in ((AF_INET, ('10.1.1.1', '10.1.1.2'), ('10.1.1.3', '127.0.0.1')),
                             (AF_INET6, ('fd01::1', 'fd01::2'), ('fd01::3', '::1'))):
    s = listening(family, '')
    port = s.getsockname()[1]
    for ip in own:
        same(outside(lambda: connected(family, (ip, port)).getpeername()[0]), ip)
    for ip in foreign:
        same(error(outside, lambda: connected(family, (ip, port))), 'timeout')
",
    );
}

#[test]
fn a_port_that_others_may_have_too_is_that_of_one_address() {
    let two = v4(&[([10, 1, 1, 1], 24), ([10, 1, 1, 2], 24)], false);
    let confined =
        |same_users| Confined { v4: two.clone(), v6: v6(&[1, 2]), reserved_ports: None, same_users };
    let Some(lab) = Lab::new("a_port_that_others_may_have", &confined(false)) else { return };
    let bound = r"
def shared(family, kind, option, asked):
    s = socket(family, kind); s.setsockopt(SOL_SOCKET, option, 1); s.bind((asked, 0)); return s.getsockname()[0]
UDP, TCP, ADDR, PORT = SOCK_DGRAM, SOCK_STREAM, SO_REUSEADDR, SO_REUSEPORT
def all_of(family, asked): return [shared(family, kind, option, asked) for kind in (UDP, TCP) for option in (ADDR, PORT)]
";
    lab.jail(&format!(
        r"{bound}
same(all_of(AF_INET, '0.0.0.0'), ['10.1.1.1', '0.0.0.0', '0.0.0.0', '0.0.0.0'])
same(all_of(AF_INET6, '::'), ['fd01::1', '::', '::', '::'])
same(all_of(AF_INET6, '::ffff:0.0.0.0')[0], '::ffff:10.1.1.1')

# What is for somebody outside at the same port does not come here.
def sharing():
    s = socket(AF_INET, UDP); s.setsockopt(SOL_SOCKET, ADDR, 1); s.bind(('0.0.0.0', 0)); return s
theirs = outside(sharing)
port = theirs.getsockname()[1]
s = socket(AF_INET, UDP); s.setsockopt(SOL_SOCKET, ADDR, 1); s.bind(('0.0.0.0', port)); s.settimeout(1)
a = outside(socket, AF_INET, UDP)
for ip, to in (('10.1.1.3', theirs), ('10.1.1.1', s)):
    a.sendto(ip.encode(), (ip, port))
    same(to.recv(99).decode(), ip)
"
    ));
    confined(true).attach(lab.cgroup()).unwrap();
    lab.jail(&format!(
        r"{bound}
same(all_of(AF_INET, '0.0.0.0'), ['10.1.1.1', '10.1.1.1', '0.0.0.0', '10.1.1.1'])
same(all_of(AF_INET6, '::'), ['fd01::1', 'fd01::1', '::', 'fd01::1'])
"
    ));
}

#[test]
fn what_goes_to_the_own_machine_goes_to_the_primary_address() {
    let Some(lab) = Lab::new("what_goes_to", &one_of_each()) else { return };
    lab.jail(
        r"
# Outside somebody listens on the host's own machine, and here nobody does.
hosts = outside(listening, AF_INET, '127.0.0.1'), outside(listening, AF_INET6, '::1')
four, six = (s.getsockname()[1] for s in hosts)
for ip in ('127.0.0.1', '127.1.1.1', '0.0.0.0'):
    same(error(connected, AF_INET, (ip, four)), ECONNREFUSED)
    same(error(connected, AF_INET6, ('::ffff:' + ip, four)), ECONNREFUSED)
for ip in ('::1', '::'):
    same(error(connected, AF_INET6, (ip, six)), ECONNREFUSED)
# Any is IPv4's, too, for a socket that is bound to one of these.
def from_mapped():
    s = socket(AF_INET6); s.settimeout(1); s.bind(('::ffff:10.1.1.1', 0)); s.connect(('::', four))
same(error(from_mapped), ECONNREFUSED)

# Here somebody listens.
four, six = listening(AF_INET, '127.0.0.1'), listening(AF_INET6, '::1')
a = connected(AF_INET, ('127.0.0.1', four.getsockname()[1]))
same((a.getpeername()[0], a.getsockname()[0], four.accept()[1][0]), ('10.1.1.1',) * 3)
a = connected(AF_INET6, ('::ffff:127.0.0.1', four.getsockname()[1]))
same((a.getpeername()[0], a.getsockname()[0]), ('::ffff:10.1.1.1',) * 2)
same(four.accept()[1][0], '10.1.1.1')
a = connected(AF_INET6, ('::1', six.getsockname()[1]))
same((a.getpeername()[0], a.getsockname()[0], six.accept()[1][0]), ('fd01::1',) * 3)
# TCP without connect(2).
a = socket()
a.sendto(b'x', 0x20000000, ('127.0.0.1', four.getsockname()[1])) # MSG_FASTOPEN
same(four.accept()[1][0], '10.1.1.1')
",
    );
}

#[test]
fn what_is_sent_comes_from_an_own_address() {
    let Some(lab) = Lab::new("what_is_sent", &one_of_each()) else { return };
    lab.jail(
        r"
for family, mapped, far, own in ((AF_INET, '', '10.1.1.3', '10.1.1.1'), (AF_INET6, '', 'fd01::3', 'fd01::1'),
                                 (AF_INET6, '::ffff:', '10.1.1.3', '10.1.1.1')):
    theirs = AF_INET if mapped else family
    # The host itself would come from another one.
    tcp, udp = outside(listening, theirs, far), outside(receiving, theirs, far)
    same(outside(lambda: connected(theirs, tcp.getsockname()).getsockname()[0]), far)
    a = connected(family, (mapped + far, tcp.getsockname()[1]))
    same(tcp.accept()[1][0], far); same(tcp.accept()[1][0], own)
    same(a.getsockname()[0], mapped + own)
    # Connected and not.
    a = socket(family, SOCK_DGRAM); a.connect((mapped + far, udp.getsockname()[1])); a.send(b'x')
    same((udp.recvfrom(9)[1][0], a.getsockname()[0]), (own, mapped + own))
    a = socket(family, SOCK_DGRAM); a.sendto(b'x', (mapped + far, udp.getsockname()[1]))
    same(udp.recvfrom(9)[1][0], own)
# The own machine.
for family, asked, own in ((AF_INET, '127.0.0.1', '10.1.1.1'), (AF_INET6, '::1', 'fd01::1'),
                           (AF_INET, '0.0.0.0', '10.1.1.1'), (AF_INET6, '::', 'fd01::1')):
    udp = receiving(family, own)
    a = socket(family, SOCK_DGRAM); a.sendto(b'x', (asked, udp.getsockname()[1]))
    same(udp.recvfrom(9)[1][0], own)
udp = receiving(AF_INET, '10.1.1.1')
a = socket(AF_INET6, SOCK_DGRAM); a.sendto(b'x', ('::ffff:127.0.0.1', udp.getsockname()[1]))
same(udp.recvfrom(9)[1][0], '10.1.1.1')
",
    );
    // The source that a message comes with.
    lab.jail(
        r"
import struct
def four(ip):
    return [(IPPROTO_IP, 8, struct.pack('=i4s4s', 0, inet_aton(ip), b'\0' * 4))] # IP_PKTINFO
def six(ip):
    return [(IPPROTO_IPV6, IPV6_PKTINFO, inet_pton(AF_INET6, ip) + b'\0' * 4)]
for family, far, info, own, machine, other in (
        (AF_INET, '10.1.1.3', four, '10.1.1.1', '127.0.0.1', '10.1.1.2'),
        (AF_INET6, 'fd01::3', six, 'fd01::1', '::1', 'fd01::2')):
    udp = outside(receiving, family, far)
    a = socket(family, SOCK_DGRAM)
    for ip in (own, machine):
        a.sendmsg([b'x'], info(ip), 0, udp.getsockname())
        same(udp.recvfrom(9)[1][0], own)
    same(error(a.sendmsg, [b'x'], info(other), 0, udp.getsockname()), EADDRNOTAVAIL)
    a.connect(udp.getsockname())
    same(error(a.sendmsg, [b'x'], info(other)), EADDRNOTAVAIL)
    a.sendmsg([b'x'], info(own)); same(udp.recvfrom(9)[1][0], own)
    udp.settimeout(.2)
    same(error(udp.recvfrom, 9), 'timeout')
",
    );
}

#[test]
fn the_source_is_chosen_by_the_destination_where_that_is_asked_for() {
    let all = [([10, 1, 1, 1], 24), ([10, 1, 2, 1], 24), ([10, 1, 2, 2], 24), ([10, 1, 3, 1], 32)];
    let chosen = Confined { v4: v4(&all, true), ..Confined::default() };
    let Some(lab) = Lab::new("the_source_is_chosen", &chosen) else { return };
    let program = r"
for far, own in (('10.1.1.3', FIRST), ('10.1.2.3', SECOND), ('10.1.3.3', FIRST), ('127.0.0.1', FIRST)):
    udp = receiving(AF_INET, FIRST) if far == '127.0.0.1' else outside(receiving, AF_INET, far)
    port = udp.getsockname()[1]
    for family, mapped in ((AF_INET, ''), (AF_INET6, '::ffff:')):
        a = socket(family, SOCK_DGRAM); a.sendto(b'x', (mapped + far, port))
        b = socket(family, SOCK_DGRAM); b.connect((mapped + far, port)); b.send(b'x')
        same((udp.recvfrom(9)[1][0], udp.recvfrom(9)[1][0]), (own, own))
    # Who is bound stays there.
    a = socket(AF_INET, SOCK_DGRAM); a.bind(('10.1.2.2', 0)); a.sendto(b'x', (far, port))
    a.connect((far, port)); a.send(b'x')
    same((udp.recvfrom(9)[1][0], udp.recvfrom(9)[1][0]), ('10.1.2.2', '10.1.2.2'))
";
    lab.jail(&program.replace("FIRST", "'10.1.1.1'").replace("SECOND", "'10.1.2.1'"));
    Confined { v4: v4(&all, false), ..Confined::default() }.attach(lab.cgroup()).unwrap();
    lab.jail(&program.replace("FIRST", "'10.1.1.1'").replace("SECOND", "'10.1.1.1'"));
}

#[test]
fn what_no_call_was_asked_about_is_held_by_its_packets() {
    let Some(lab) = Lab::new("what_no_call", &one_of_each()) else { return };
    lab.jail(
        r"
for family, own, others in ((AF_INET, '10.1.1.1', ('10.1.1.2', '127.0.0.1')), (AF_INET6, 'fd01::1', ('fd01::2', '::1'))):
    # Listening without bind(2): the kernel finds a port, at any address.
    s = socket(family); s.listen()
    ip, port = s.getsockname()[:2]
    same(ip, own)
    same(outside(lambda: connected(family, (own, port)).getpeername()[0]), own)
    for other in others:
        same(error(outside, lambda: connected(family, (other, port))), 'timeout')
    # A datagram that goes to any socket with that port.
    s = socket(family, SOCK_DGRAM); s.settimeout(.2); s.sendto(b'x', (own, 9))
    ip, port = s.getsockname()[:2]
    same(ip, own)
    def send(to):
        a = socket(family, SOCK_DGRAM); a.sendto(b'y', (to, port))
    outside(lambda: send(others[0]))
    same(error(s.recv, 9), 'timeout')
    outside(lambda: send(own))
    same(s.recv(9), b'y')
# An IPv6 socket that takes IPv4, too.
s = socket(AF_INET6); s.bind(('::', 0)); s.listen()
port = s.getsockname()[1]
same(outside(lambda: connected(AF_INET, ('10.1.1.1', port)).getpeername()[0]), '10.1.1.1')
same(error(outside, lambda: connected(AF_INET, ('10.1.1.2', port))), 'timeout')
listener = outside(listening, AF_INET, '127.0.0.1')
# A route over the host's own machine.
s = timed(socket()); s.bind(('10.1.1.1', 0))
s.setsockopt(IPPROTO_IP, IP_OPTIONS, bytes((1, 131, 7, 4)) + inet_aton('127.0.0.1')) # LSRR
same(error(s.connect, ('10.1.1.1', listener.getsockname()[1])), 'timeout')
# Sockets that are bound and send as they like.
for own, to in (('10.1.1.2', '10.1.1.3'), ('10.1.1.1', '127.0.0.1')):
    s = socket(AF_INET, SOCK_RAW, 253); s.bind((own, 0))
    same(error(s.sendto, b'x', (to, 0)), EPERM)
s.sendto(b'x', ('10.1.1.3', 0))
# Another protocol for streams.
def other(bind):
    s = timed(socket(AF_INET, SOCK_STREAM, 262)) # IPPROTO_MPTCP
    s.bind((bind, 0))
    s.connect(listener.getsockname())
for bind in ('', '10.1.1.1'):
    assert error(other, bind) in ('timeout', ECONNREFUSED, EPROTONOSUPPORT, ENOPROTOOPT)
",
    );
}

#[test]
fn a_family_that_the_jail_has_not_cannot_be_used() {
    let no_v4 = Confined { v4: Family::Disable, v6: v6(&[1]), reserved_ports: None, same_users: false };
    let Some(lab) = Lab::new("a_family", &no_v4) else { return };
    lab.jail(
        r"
same(error(socket, AF_INET), EAFNOSUPPORT)
same(error(socket, AF_INET, SOCK_DGRAM), EAFNOSUPPORT)
same(bound(AF_INET6, '::'), 'fd01::1')
for kind in (SOCK_STREAM, SOCK_DGRAM):
    for call in ('bind', 'connect'):
        for ip in ('10.1.1.1', '127.0.0.1', '0.0.0.0'):
            same(error(getattr(socket(AF_INET6, kind), call), ('::ffff:' + ip, 99)), EAFNOSUPPORT)
same(error(socket(AF_INET6, SOCK_DGRAM).sendto, b'x', ('::ffff:10.1.1.1', 99)), EAFNOSUPPORT)
s = socket(AF_INET6); s.listen()
port = s.getsockname()[1]
same(error(outside, lambda: connected(AF_INET, ('10.1.1.1', port))), 'timeout')
socket(AF_UNIX)
",
    );
    let no_v6 =
        Confined { v4: Family::Inherit, v6: Family::Disable, reserved_ports: None, same_users: false };
    no_v6.attach(lab.cgroup()).unwrap();
    lab.jail(
        r"
same(error(socket, AF_INET6), EAFNOSUPPORT)
same(error(socket, AF_INET6, SOCK_DGRAM), EAFNOSUPPORT)
same([bound(AF_INET, ip) for ip in ('10.1.1.2', '127.0.0.1', '')], ['10.1.1.2', '127.0.0.1', '0.0.0.0'])
",
    );
}

#[test]
fn a_family_that_is_the_hosts_is_as_outside() {
    let only_v4 = Confined { v4: v4(&[([10, 1, 1, 1], 24)], false), ..Confined::default() };
    let Some(lab) = Lab::new("a_family_that_is", &only_v4) else { return };
    lab.jail(
        r"
same([bound(AF_INET6, ip) for ip in ('fd01::2', '::1', '::')], ['fd01::2', '::1', '::'])
same(bound(AF_INET6, '::ffff:127.0.0.1'), '::ffff:10.1.1.1')
same(error(bound, AF_INET6, '::ffff:10.1.1.2'), EADDRNOTAVAIL)
listener = outside(listening, AF_INET6, '::1')
a = connected(AF_INET6, listener.getsockname())
same(listener.accept()[1][0], '::1')
four = outside(listening, AF_INET, '127.0.0.1')
s = socket(AF_INET6); s.settimeout(1); s.bind(('::ffff:10.1.1.1', 0))
same(error(s.connect, ('::', four.getsockname()[1])), ECONNREFUSED)
",
    );
}

#[test]
fn reserved_ports_are_for_one_user_if_so_wished() {
    let confined = one_of_each();
    let Some(lab) = Lab::new("reserved_ports", &confined) else { return };
    let program = |expected: &str| {
        format!(
            "
os.setuid(65534)
for family, ip in ((AF_INET, '0.0.0.0'), (AF_INET, '10.1.1.1'), (AF_INET6, '::'), (AF_INET6, '::ffff:127.0.0.1')):
    same(error(socket(family).bind, (ip, 80)), {expected})
same(error(socket().bind, ('10.1.1.2', 80)), EADDRNOTAVAIL)
"
        )
    };
    lab.jail(&program("EACCES"));
    Confined { reserved_ports: Some(65_534), ..confined }.attach(lab.cgroup()).unwrap();
    lab.jail(&program("None"));
    lab.jail(&program("EACCES").replace("65534", "65533"));
    // By themselves.
    Confined { reserved_ports: Some(65_534), ..Confined::default() }.attach(lab.cgroup()).unwrap();
    lab.jail("os.setuid(65534); socket().bind(('10.1.1.2', 80)); socket(AF_INET6).bind(('fd01::2', 81))");
}

#[test]
fn addresses_of_a_living_jail_change() {
    let before = one_of_each();
    let Some(lab) = Lab::new("addresses_of_a_living", &before) else { return };
    assert!(before.is_attached(lab.cgroup()).unwrap());
    let mut jail = lab.start(
        r"
four = listening(AF_INET, '10.1.1.1'); udp = receiving(AF_INET, '10.1.1.1')
far = outside(receiving, AF_INET, '10.1.1.3')
udp.sendto(b'x', far.getsockname()); same(far.recvfrom(9)[1][0], '10.1.1.1')
joined = socket(AF_INET, SOCK_DGRAM); joined.connect(far.getsockname()); joined.send(b'x'); far.recv(9)
say('first')
# What is there is cut off.
same(error(udp.sendto, b'x', far.getsockname()), EADDRNOTAVAIL)
same(error(joined.send, b'x'), EPERM)
same(error(outside, lambda: connected(AF_INET, four.getsockname())), 'timeout')
same([bound(AF_INET, ip) for ip in ('0.0.0.0', '127.0.0.1', '10.1.1.2')], ['10.1.1.2'] * 3)
same(error(bound, AF_INET, '10.1.1.1'), EADDRNOTAVAIL)
six = socket(AF_INET6)
say('second')
same(error(socket, AF_INET6), EAFNOSUPPORT)
same(error(six.bind, ('fd01::1', 0)), EAFNOSUPPORT)
same(error(socket(AF_INET, SOCK_DGRAM).sendto, b'x', ('10.1.1.3', 9)), None)
say('third')
same([bound(AF_INET, ip) for ip in ('10.1.1.1', '127.0.0.1', '')], ['10.1.1.1', '127.0.0.1', '0.0.0.0'])
six.bind(('fd01::1', 0))
udp.sendto(b'x', far.getsockname()); same(far.recvfrom(9)[1][0], '10.1.1.1')
",
    );
    jail.wait_for("first");
    let second = Confined { v4: v4(&[([10, 1, 1, 2], 24)], false), ..before.clone() };
    second.attach(lab.cgroup()).unwrap();
    assert!(second.is_attached(lab.cgroup()).unwrap());
    jail.wait_for("second");
    let third = Confined { v6: Family::Disable, ..second.clone() };
    assert!(!third.is_attached(lab.cgroup()).unwrap());
    third.attach(lab.cgroup()).unwrap();
    assert!(third.is_attached(lab.cgroup()).unwrap() && !second.is_attached(lab.cgroup()).unwrap());
    jail.wait_for("third");
    let none = Confined::default();
    none.attach(lab.cgroup()).unwrap();
    assert!(none.is_attached(lab.cgroup()).unwrap());
    jail.end();
}

#[test]
fn others_programs_stay_and_what_fails_changes_nothing() {
    let before = one_of_each();
    let Some(lab) = Lab::new("others_programs", &before) else { return };
    // The place for getsockname(2) of IPv4 sockets is full, so that nothing is added there: by others, of another name.
    let none = Confined { v4: Family::Disable, ..before.clone() };
    none.attach(lab.cgroup()).unwrap();
    lab.fill(bpf::confine::Point::Name4);
    let error = before.attach(lab.cgroup()).unwrap_err();
    assert_eq!(error.errno(), Some(rustix::io::Errno::TOOBIG), "{error}");
    assert!(none.is_attached(lab.cgroup()).unwrap());
    lab.jail("same(error(socket, AF_INET), EAFNOSUPPORT); same(bound(AF_INET6, '::'), 'fd01::1')");
    Confined::default().attach(lab.cgroup()).unwrap();
    assert_eq!(lab.attached(bpf::confine::Point::Name4), 64);
    // Where nothing was attached, nothing is.
    before.attach(lab.cgroup()).unwrap_err();
    assert!(Confined::default().is_attached(lab.cgroup()).unwrap());
    assert_eq!(lab.attached(bpf::confine::Point::Name4), 64);
}

#[test]
fn who_is_outside_is_as_before() {
    let Some(lab) = Lab::new("who_is_outside", &one_of_each()) else { return };
    lab.jail(
        r"
same(outside(lambda: [bound(AF_INET, ip) for ip in ('10.1.1.2', '127.0.0.1', '')]), ['10.1.1.2', '127.0.0.1', '0.0.0.0'])
# And a socket that was made there stays one of the host's.
s = outside(socket); s.bind(('127.0.0.1', 0)); same(s.getsockname()[0], '127.0.0.1')
",
    );
}

#[test]
fn a_jail_in_a_jail_has_what_both_allow() {
    let two = Confined { v4: v4(&[([10, 1, 1, 1], 24), ([10, 1, 1, 2], 24)], false), ..Confined::default() };
    let Some(outer) = Lab::new("a_jail_in_a_jail", &two) else { return };
    // The second of its addresses, and one that it has not.
    let inner =
        Confined { v4: v4(&[([10, 1, 1, 2], 24), ([10, 1, 2, 1], 24)], false), ..Confined::default() };
    let Some(inner) = Lab::within(&outer, "a_jail_in_a_jail", &inner) else { return };
    inner.jail(
        r"
same([bound(AF_INET, ip) for ip in ('127.0.0.1', '10.1.1.2')], ['10.1.1.2'] * 2)
for ip in ('10.1.1.1', '10.1.2.1', '10.1.1.3'):
    same(error(bound, AF_INET, ip), EADDRNOTAVAIL)
s = listening(AF_INET, '127.0.0.1')
same(connected(AF_INET, ('127.0.0.1', s.getsockname()[1])).getsockname()[0], '10.1.1.2')
same(s.accept()[1][0], '10.1.1.2')
",
    );
    assert!(two.is_attached(outer.cgroup()).unwrap());
}
