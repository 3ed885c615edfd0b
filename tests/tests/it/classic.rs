//! Jails in the host's network stack that have some of its addresses.

use vimage_tests::{Lab, lab_test};

use crate::shell::{all_gone, gives, names, prints, quiet, refused, run};

/// The host as it was.
fn without_addresses(lab: &Lab) {
    all_gone(lab);
    quiet(lab, "ip link del d0");
}

/// Addresses for the host and its jails.
fn addresses(lab: &Lab) {
    quiet(lab, "ip link add d0 type bridge; ip link set d0 up
        for n in 1 2 3 4; do ip addr add 10.1.1.$n/24 dev d0; done; ip -6 addr add fd01::1/64 dev d0 nodad; ip -6 addr add fd01::2/64 dev d0 nodad");
}

/// What a script of Python prints in a jail, with sockets at hand.
fn python(lab: &Lab, jail: &str, script: &str) -> String {
    std::fs::write("/tmp/script.py", format!("{HEAD}{script}")).unwrap();
    let enter = if jail.is_empty() { String::new() } else { format!("jexec {jail} ") };
    let got = run(lab, &format!("timeout 20 {enter}python3 - < /tmp/script.py"));
    assert!(got.status.success(), "{script}: {got}");
    got.stdout.trim_end().to_owned()
}

const HEAD: &str = r#"
import socket, errno, os
from socket import *
def name(e): return errno.errorcode[e.errno]
def bound(family, ip, port=0, kind=SOCK_STREAM):
    s = socket(family, kind)
    try: s.bind((ip, port))
    except OSError as e: return name(e)
    return s.getsockname()[0]
def reached(family, ip, port, source=None):
    s = socket(family, SOCK_STREAM)
    s.settimeout(2)
    try:
        if source: s.bind((source, 0))
        s.connect((ip, port))
    except OSError as e: return name(e) if e.errno else 'timeout'
    return s.recv(100).decode()
"#;

/// A server at an address, that tells whoever comes who he is and who it is.
const SERVER: &str = r#"
import sys
from socket import *
s = socket(AF_INET6 if ':' in sys.argv[1] else AF_INET, SOCK_STREAM)
s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen()
print('ready', flush=True)
while True:
    c, a = s.accept()
    c.sendall((sys.argv[3] + ' ' + a[0]).encode())
    c.close()
"#;

fn serve(lab: &Lab, jail: &str, ip: &str, port: u16, name: &str) -> vimage_tests::Background {
    std::fs::write("/tmp/server.py", SERVER).unwrap();
    let enter = if jail.is_empty() { String::new() } else { format!("jexec {jail} ") };
    let server = lab.spawn(&format!("exec {enter}python3 -c \"$(cat /tmp/server.py)\" {ip} {port} {name}"));
    lab.until("it serves", || run(lab, &format!("ss -Hltn 'sport = {port}' | grep -q .")).status.success());
    server
}

lab_test!(a_classic_jail_has_its_address_alone for root; needs [CgroupV2, Program("python3")]; |lab| {
    addresses(lab);
    quiet(lab, "jail -c name=a ip4.addr=10.1.1.2 persist");
    prints(lab, "jls; jls -j a ip4 ip4.addr ip6", "   JID  IP Address      Hostname                      Path\n     1  10.1.1.2        a                             /\nnew 10.1.1.2 disable\n");
    let bound = |script: &str| python(lab, "a", &format!("print({script})"));
    for (ip, what) in [("", "10.1.1.2"), ("0.0.0.0", "10.1.1.2"), ("127.0.0.1", "10.1.1.2"), ("127.9.9.9", "10.1.1.2"),
        ("10.1.1.2", "10.1.1.2"), ("10.1.1.1", "EADDRNOTAVAIL"), ("10.1.1.3", "EADDRNOTAVAIL"), ("8.8.8.8", "EADDRNOTAVAIL")] {
        assert_eq!(bound(&format!("bound(AF_INET, '{ip}')")), what, "{ip}");
        assert_eq!(bound(&format!("bound(AF_INET, '{ip}', 0, SOCK_DGRAM)")), what, "{ip} UDP");
    }
    // Root binds low ports, though it has no capability over the host's stack.
    assert_eq!(bound("bound(AF_INET, '0.0.0.0', 80)"), "10.1.1.2");
    assert_eq!(bound("[os.setuid(1), bound(AF_INET, '0.0.0.0', 80)][1]"), "EACCES");
    // No IPv6, since none was given; in no disguise either.
    assert_eq!(python(lab, "a", "try: socket(AF_INET6, SOCK_STREAM); print('made')\nexcept OSError as e: print(name(e))"), "EAFNOSUPPORT");
    quiet(lab, "jail -r a");
    without_addresses(lab);
});

lab_test!(a_classic_jail_speaks_from_its_address_alone for root; needs [CgroupV2, Program("python3")]; |lab| {
    addresses(lab);
    quiet(lab, "jail -c name=a ip4.addr=10.1.1.2 persist; jail -c name=b ip4.addr=10.1.1.3 ip6.addr=fd01::2 persist");
    let _host = serve(lab, "", "127.0.0.1", 7001, "host");
    let _any = serve(lab, "", "0.0.0.0", 7002, "any");
    let _jail = serve(lab, "b", "0.0.0.0", 7003, "b");
    let _six = serve(lab, "b", "::", 7004, "six");
    let reached = |jail: &str, args: &str| python(lab, jail, &format!("print(reached({args}))"));
    // The host's loopback is out of reach, its own stands for itself.
    assert_eq!(reached("a", "AF_INET, '127.0.0.1', 7001"), "ECONNREFUSED");
    assert_eq!(reached("b", "AF_INET, '127.0.0.1', 7003"), "b 10.1.1.3");
    assert_eq!(reached("a", "AF_INET, '10.1.1.1', 7002"), "any 10.1.1.2");
    assert_eq!(reached("a", "AF_INET, '10.1.1.3', 7003"), "b 10.1.1.2");
    assert_eq!(reached("", "AF_INET, '10.1.1.3', 7003"), "b 10.1.1.1");
    assert_eq!(reached("b", "AF_INET6, '::1', 7004"), "six fd01::2");
    assert_eq!(reached("", "AF_INET6, 'fd01::2', 7004"), "six fd01::2");
    // Nobody reaches what listens in a jail by another address of the host's.
    assert_eq!(reached("", "AF_INET, '10.1.1.1', 7003"), "ECONNREFUSED");
    assert_eq!(reached("a", "AF_INET, '10.1.1.1', 7002, '10.1.1.3'"), "EADDRNOTAVAIL");
    // Nor does what listens without a bind.
    assert_eq!(python(lab, "a", r#"
s = socket(AF_INET, SOCK_STREAM); s.listen(); host, port = s.getsockname(); print(host)
c = socket(AF_INET, SOCK_STREAM); c.connect(('127.0.0.1', port)); print(c.getsockname()[0], c.getpeername()[0])
u = socket(AF_INET, SOCK_DGRAM); u.bind(('', 0)); v = socket(AF_INET, SOCK_DGRAM); v.sendto(b'x', ('127.0.0.1', u.getsockname()[1]))
print(u.recvfrom(10)[1][0])
try:
    v.sendmsg([b'x'], [(IPPROTO_IP, 8, b'\0\0\0\0' + inet_aton('10.1.1.3') + b'\0\0\0\0')], 0, ('10.1.1.1', 9)); print('sent')
except OSError as e: print(name(e) != '')
"#), "10.1.1.2\n10.1.1.2 10.1.1.2\n10.1.1.2\nTrue");
    quiet(lab, "jail -q -R a b");
    without_addresses(lab);
});

lab_test!(root_of_a_jail_in_the_hosts_stack_binds_low_ports_unless_forbidden for root; needs [CgroupV2, Program("python3")]; |lab| {
    quiet(lab, "ip link set lo up; jail -c name=a persist; jail -c name=b allow.noreserved_ports persist; jail -c name=c vnet persist; jail -c name=d children.max=2 persist");
    let bound = |jail: &str| python(lab, jail, "print([bound(family, '', 81) for family in (AF_INET, AF_INET6)])");
    let user = |jail: &str| python(lab, jail, "os.setuid(1); print(bound(AF_INET, '127.0.0.1', 81))");
    assert_eq!((bound("a"), user("a").as_str()), ("['0.0.0.0', '::']".to_owned(), "EACCES"));
    assert_eq!(bound("b"), "['EACCES', 'EACCES']");
    assert_eq!(bound("c"), "['0.0.0.0', '::']");
    // Nobody in a jail can let another one have them, and says so.
    prints(lab, "jexec d jail -c name=e persist; jexec d jls -j e allow.reserved_ports", "false\n");
    refused(lab, "jexec d jail -c name=f allow.reserved_ports persist",
        "jail: allow.reserved_ports: it takes CONFIG_CGROUP_BPF, and root outside of any jail\nhint: with vnet=new or user=inherit it can be granted\n");
    quiet(lab, "jail -q -r a b c d");
    all_gone(lab);
});

lab_test!(an_interface_has_the_address_while_a_jail_asks_for_it for root; needs [CgroupV2]; |lab| {
    addresses(lab);
    let has = |ip: &str| lab.sh(&format!("ip -o addr show dev d0 | grep -c ' {ip}/' || true")).trim() == "1";
    quiet(lab, "jail -c name=a ip4.addr='d0|10.2.0.1,10.2.0.2/24' ip6.addr=fd02::1 interface=d0 persist");
    prints(lab, "ip -o addr show dev d0 | grep -o ' 10[.]2[.][^ ]*/[0-9]*\\|fd02[^ ]*' | tr -d ' '", "10.2.0.1/32\n10.2.0.2/24\nfd02::1/128\n");
    quiet(lab, "jdb audit");
    quiet(lab, "jail -c name=b ip4.addr='d0|10.2.0.1,d0|10.1.1.4' persist; jail -r a");
    assert!(has("10.2.0.1") && !has("10.2.0.2") && !has("fd02::1") && has("10.1.1.4"));
    quiet(lab, "jail -m name=b ip4.addr='d0|10.2.0.3'");
    assert!(!has("10.2.0.1") && has("10.2.0.3") && has("10.1.1.4"));
    // Others of its network, of whomever, do not go with the first of them.
    quiet(lab, "jail -c name=x ip4.addr='d0|10.3.0.1/24' persist; jail -c name=y ip4.addr='d0|10.3.0.2/24' persist; ip addr add 10.3.0.3/24 dev d0; jail -r x");
    assert!(!has("10.3.0.1") && has("10.3.0.2") && has("10.3.0.3"));
    refused(lab, "jail -c name=z ip4.addr='d0|10.3.0.2' persist",
        "jail: z: ip4.addr: \"d0|10.3.0.2\": d0 has it as 10.3.0.2/24\nhint: a jail has asked for it so; it is another's when that gives it up\n");
    quiet(lab, "jail -r y; ip addr del 10.3.0.3/24 dev d0");
    // Another store's are nobody's strays.
    quiet(lab, "mkdir /tmp/store; JAIL_ROOT=/tmp/store jail -c name=o ip4.addr='d0|10.3.0.4' persist; jdb audit; JAIL_ROOT=/tmp/store jdb audit");
    quiet(lab, "JAIL_ROOT=/tmp/store jail -r o; JAIL_ROOT=/tmp/store jdb wait o >/dev/null 2>&1; rm -r /tmp/store");
    // A jail whose interface is gone is changed all the same.
    quiet(lab, "ip link add d1 type bridge; jail -c name=g ip4.addr='d1|10.4.0.1' persist; ip link del d1; jail -m name=g host.hostname=gg; jail -r g");
    refused(lab, "jail -m name=b ip4.addr='nosuch|10.2.0.3'", "jail: ip4.addr: \"nosuch|10.2.0.3\": no interface nosuch\n");
    quiet(lab, "jail -r b");
    // One that was there before is not ours.
    assert!(!has("10.2.0.3") && has("10.1.1.4"));
    without_addresses(lab);
});

lab_test!(what_is_no_address_of_a_jail_is_refused for root; needs [CgroupV2]; |lab| {
    for (given, why) in [
        ("ip4.addr=10.0.0.300", "ip4.addr: \"10.0.0.300\": not an IPv4 address"),
        ("ip6.addr=10.0.0.3", "ip6.addr: \"10.0.0.3\": not an IPv6 address"),
        ("ip4.addr=10.0.0.1,10.0.0.1", "ip4.addr: 10.0.0.1 twice"),
        ("ip4.addr='nosuch|10.0.0.1'", "ip4.addr: \"nosuch|10.0.0.1\": no interface nosuch"),
        ("ip4=inherit ip4.addr=10.0.0.1", "ip4.addr needs ip4=new, which is inherit"),
        ("vnet ip4.addr=10.0.0.1", "vnet jails cannot have IP address restrictions\nhint: vnet.link gives a jail addresses in a stack of its own"),
        ("ip_hostname", "host.hostname"),
    ] {
        let got = run(lab, &format!("jail -c name=a persist {given}")).fails(1);
        assert!(got.trim_start_matches("jail: ").trim_start_matches("a: ").starts_with(why), "{given}: {got}");
    }
    let many = (0..256).map(|n| format!("10.0.0.{n}")).collect::<Vec<_>>().join(",");
    refused(lab, &format!("jail -c name=a persist ip4.addr={many}"), "jail: ip4.addr: too many IPv4 addresses\nhint: 256 of at most 255\n");
    all_gone(lab);
});

lab_test!(a_child_has_addresses_of_its_parents for root; needs [CgroupV2, Program("python3")]; |lab| {
    addresses(lab);
    quiet(lab, "jail -c name=a ip4.addr=10.1.1.2,10.1.1.3 children.max=3 persist; jail -c name=a.b ip4.addr=10.1.1.3 persist; jail -c name=a.c persist");
    refused(lab, "jail -c name=a.d ip4.addr=10.1.1.1 persist",
        "jail: ip4.addr: 10.1.1.1: Operation not permitted\nhint: the jail that it is in does not have it\n");
    let bound = |jail: &str, ip: &str| python(lab, jail, &format!("print(bound(AF_INET, '{ip}'))"));
    assert_eq!(bound("a.b", "127.0.0.1"), "10.1.1.3");
    assert_eq!(bound("a.b", "10.1.1.2"), "EADDRNOTAVAIL");
    assert_eq!(bound("a.c", "127.0.0.1"), "10.1.1.2");
    assert_eq!(bound("a.c", "10.1.1.1"), "EADDRNOTAVAIL");
    // What the parent is given later the child is not; and one that makes jails itself is given no more.
    quiet(lab, "jail -c name=p ip4.addr=10.1.1.2 user=inherit children.max=3 persist; jail -c name=p.c ip4.addr=10.1.1.2 user=inherit persist; jail -m name=p ip4.addr=10.1.1.2,10.1.1.3");
    assert_eq!(bound("p.c", "10.1.1.3"), "EADDRNOTAVAIL");
    quiet(lab, "jail -m name=p ip4=inherit ip6=inherit");
    assert_eq!(bound("p.c", "10.1.1.3"), "EADDRNOTAVAIL");
    quiet(lab, "jail -q -r p");
    for given in ["ip4.addr=10.1.1.2,10.1.1.3,10.1.1.4", "ip4=inherit", "ip6=inherit"] {
        let why = run(lab, &format!("jail -m name=a {given}")).fails(1);
        assert!(why.contains(": a jail that makes jails is given no more addresses as it lives\n"), "{given}: {why}");
    }
    // What the parent loses the child has no longer.
    quiet(lab, "jail -m name=a ip4.addr=10.1.1.2");
    assert_eq!(bound("a.b", "10.1.1.3"), "EADDRNOTAVAIL");
    assert_eq!(bound("a", "10.1.1.3"), "EADDRNOTAVAIL");
    quiet(lab, "jail -q -r a");
    // A jail that a jail makes has just what that has.
    quiet(lab, "jail -c name=a ip4.addr=10.1.1.2 children.max=3 persist; jexec a jail -c name=b persist; jexec a jail -c name=c ip4.addr=10.1.1.2 persist");
    assert_eq!(bound("a.b", "0.0.0.0"), "10.1.1.2");
    assert_eq!(bound("a.c", "10.1.1.1"), "EADDRNOTAVAIL");
    let why = run(lab, "jexec a jail -c name=d ip4.addr=10.1.1.3 persist").fails(1);
    assert!(why.starts_with("jail: ip4.addr: 10.1.1.3: Operation not permitted\n"), "{why}");
    quiet(lab, "jail -q -r a");
    without_addresses(lab);
});

lab_test!(the_ancient_form_makes_a_jail_too for root; needs [CgroupV2]; |lab| {
    addresses(lab);
    prints(lab, "jail -J /tmp/jids / old.lan 10.1.1.2,fd01::2 sh -c 'hostname; jls -q -s 2>/dev/null | wc -l'; cat /tmp/jids",
        "old.lan\n0\n1\t/\told.lan\t10.1.1.2,fd01::2\tsh -c hostname; jls -q -s 2>/dev/null | wc -l\n");
    gives(lab, "jail -i -l -u root / old.lan 10.1.1.2 sh -c 'exit 3'", 1, "2\n", "jail: sh -c exit 3: failed\n");
    quiet(lab, "jail -c name=h ip_hostname host.hostname=localhost persist");
    assert!(lab.sh("jls -j h ip4.addr").contains("127.0.0.1"));
    assert_eq!(names(lab), ["h"]);
    quiet(lab, "jail -r h; rm /tmp/jids");
    without_addresses(lab);
});

lab_test!(the_host_and_its_jails_serve_one_port for root;
    needs [Debian, CgroupV2, Program("curl"), Program("nginx")]; with timeout(120); |lab| {
    addresses(lab);
    quiet(lab, "ip link set lo up");
    let tree = lab.debian();
    std::fs::write("/tmp/nginx.conf", "pid /tmp/nginx.pid; error_log /tmp/nginx.log; events { }
        http { access_log off; server { listen 10.1.1.1:80; location / { return 200 'host'; } } }").unwrap();
    lab.sh("nginx -c /tmp/nginx.conf");
    for (name, ip) in [("one", "10.1.1.2"), ("two", "10.1.1.3")] {
        quiet(lab, &format!("jail -c name={name} path={tree} ip4.addr={ip} mount='none /run tmpfs' mount='none /etc/nginx/sites-enabled tmpfs' persist"));
        // Any address is the jail's, and so is the port at it.
        let site = format!("server {{ listen 80; location / {{ return 200 {name}; }} }}");
        lab.sh(&format!("echo '{site}' | jexec {name} tee /etc/nginx/sites-enabled/default; jexec {name} nginx"));
    }
    quiet(lab, &format!("jail -c name=net path={tree} vnet vnet.link='eth0 lan 10.9.0.11/24' vnet.host='lan 10.9.0.1/24' vnet.route='10.1.1.0/24 via 10.9.0.1' mount='none /run tmpfs' exec.start=nginx persist"));
    let get = |from: &str, url: &str| lab.sh(&format!("{from} curl -sS --fail --max-time 5 {url}")).trim().to_owned();
    for from in ["", "jexec one", "jexec two"] {
        for (ip, who) in [("10.1.1.1", "host"), ("10.1.1.2", "one"), ("10.1.1.3", "two")] {
            assert_eq!(get(from, &format!("http://{ip}/")), who, "{from} {ip}");
        }
        assert!(get(from, "http://10.9.0.11/").contains("Welcome to nginx"), "{from}");
    }
    // Each is its own localhost.
    assert_eq!(get("jexec two", "http://127.0.0.1/"), "two");
    assert_eq!(get("jexec one", "http://localhost/"), "one");
    // What is served by name of the address only is not served at another.
    assert!(run(lab, "curl -sS --max-time 2 http://127.0.0.1/").fails(7).contains("127.0.0.1"));
    let log = lab.sh("jexec two cut -d' ' -f1 /var/log/nginx/access.log | sort -u");
    assert_eq!(log, "10.1.1.1\n10.1.1.2\n10.1.1.3\n10.9.0.1\n");
    lab.sh("jail -q -r one two net; kill $(cat /tmp/nginx.pid); rm /tmp/nginx.conf");
    lab.until("the host's has ended", || !run(lab, "pgrep -x nginx").status.success());
    lab.sh("rm -f /tmp/nginx.log /tmp/nginx.pid");
    without_addresses(lab);
});

lab_test!(a_database_in_a_classic_jail_is_reached_from_another for root; needs [Debian, CgroupV2]; with timeout(180); |lab| {
    addresses(lab);
    let tree = lab.debian();
    const BIN: &str = "/usr/lib/postgresql/15/bin";
    const DATA: &str = "/var/lib/postgresql/data";
    quiet(lab, &format!("jail -c name=db path={tree} ip4.addr=10.1.1.2 mount='none /var/lib/postgresql tmpfs' mount='none /run/postgresql tmpfs mode=1777' persist
        jail -c name=app path={tree} ip4.addr=10.1.1.3 persist"));
    lab.sh(&format!("jexec db chown postgres:postgres /var/lib/postgresql
        jexec -U postgres db {BIN}/initdb --auth=trust --no-sync --locale=C --encoding=UTF8 -D {DATA}
        echo \"listen_addresses = '*'\" | jexec -U postgres db tee -a {DATA}/postgresql.conf
        echo host all all 10.1.1.3/32 trust | jexec -U postgres db tee -a {DATA}/pg_hba.conf
        jexec -U postgres db {BIN}/pg_ctl --wait --silent -D {DATA} -l {DATA}/log start"));
    lab.until("the server is ready", || run(lab, "jexec db pg_isready --quiet").status.success());
    let ask = |sql: &str| lab.sh(&format!("jexec app psql -h 10.1.1.2 -U postgres -tA -c '{sql}'")).trim().to_owned();
    assert_eq!(ask("SELECT inet_server_addr() || $$ $$ || inet_client_addr()"), "10.1.1.2/32 10.1.1.3/32");
    // In its own jail it is localhost; the host, which pg_hba.conf does not name, comes from another address.
    assert_eq!(lab.sh("jexec db psql -h 127.0.0.1 -U postgres -tA -c 'SELECT inet_client_addr()' 2>&1 || true").matches("10.1.1.2").count(), 1);
    quiet(lab, "jail -q -r app db");
    without_addresses(lab);
});

lab_test!(raw_sockets_send_with_the_jails_own_addresses_alone for root; needs [CgroupV2, Program("python3")]; |lab| {
    addresses(lab);
    quiet(lab, "jail -c name=a user=inherit ip4.addr=10.1.1.2 ip6.addr=fd01::2 allow.raw_sockets persist");
    // Protocol 253 is for experiments, RFC 3692. What comes is counted by its source.
    std::fs::write("/tmp/listen.py", r#"
import sys, select
from socket import *
ends = [socket(AF_INET, SOCK_RAW, 253), socket(AF_INET6, SOCK_RAW, 253)]
print('ready', flush=True)
while True:
    for s in select.select(ends, [], [])[0]: print(s.recvfrom(100)[1][0], flush=True)
"#).unwrap();
    let listens = lab.spawn("exec python3 /tmp/listen.py");
    lab.until("it listens", || listens.stdout().contains("ready"));
    let send = r#"
import struct
def send(source):
    if ':' in source:
        s = socket(AF_INET6, SOCK_RAW, 253)
        s.setsockopt(IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
        try: s.bind((source, 0)); s.sendto(b'x', ('fd01::1', 0))
        except OSError as e: return name(e)
        return 'sent'
    s = socket(AF_INET, SOCK_RAW, 253)
    s.setsockopt(IPPROTO_IP, IP_HDRINCL, 1)
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 21, 0, 0, 64, 253, 0, inet_aton(source), inet_aton('10.1.1.1'))
    try: s.sendto(head + b'x', ('10.1.1.1', 0))
    except OSError as e: return name(e)
    return 'sent'
for source in ['10.1.1.3', '10.1.1.1', '8.8.8.8', 'fd01::3', 'fd01::1', '10.1.1.2', 'fd01::2']: print(source, send(source))
"#;
    let sent = python(lab, "a", send);
    assert!(sent.ends_with("10.1.1.2 sent\nfd01::2 sent"), "{sent}");
    assert_eq!(sent.matches(" sent").count(), 2, "{sent}");
    lab.until("both have come", || listens.stdout().lines().count() >= 3);
    let mut seen: Vec<_> = listens.stdout().lines().skip(1).map(str::to_owned).collect();
    seen.sort();
    assert_eq!(seen, ["10.1.1.2", "fd01::2"]);
    let mut listens = listens;
    listens.kill();
    let _killed = listens.finish();
    quiet(lab, "jail -r a; rm /tmp/listen.py");
    without_addresses(lab);
});
