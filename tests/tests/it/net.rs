//! Networks of jails: segments, routers, the host's own bridges and interfaces.

use std::time::{Duration, Instant};

use vimage_tests::{Lab, lab_test};

lab_test!(bytes_flow_between_two_jails for root; needs [CgroupV2, Program("iperf3")]; |lab| {
    two(lab);
    lab.sh("jexec b iperf3 --server --daemon");
    lab.until("the server listens", || lab.sh("jexec b ss -Htln").contains(":5201"));
    for how in ["--client 10.9.0.12", "--client fd00:9::12", "--client 10.9.0.12 --reverse", "--client 10.9.0.12 --udp"] {
        let report = lab.sh(&format!("jexec a iperf3 {how} --time 1 --format m"));
        let receiver = report.lines().rfind(|line| line.ends_with("receiver")).unwrap_or_else(|| panic!("{report}"));
        let words: Vec<_> = receiver.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "Mbits/sec").unwrap_or_else(|| panic!("{report}"));
        // What iperf3 sends by UDP unless told otherwise is 1 Mbit/s.
        let rate: f64 = words[at - 1].parse().unwrap_or_else(|_| panic!("{report}"));
        assert!(rate > 0.9, "{report}");
        println!("{how}: {rate} Mbit/s");
    }
    lab.sh("jail -r a b");
});

lab_test!(a_jail_routes_between_two_segments for root;
    needs [CgroupV2, Program("iperf3"), Program("ping")]; |lab| {
    lab.sh(
        r#"jail -c name=router vnet vnet.link="west west 10.1.0.1/24 fd00:1::1/64" vnet.link="east east 10.2.0.1/24 fd00:2::1/64" \
            vnet.sysctl="net.ipv4.ip_forward=1" vnet.sysctl="net.ipv6.conf.all.forwarding=1" persist
        jail -c name=client vnet vnet.link="eth0 west 10.1.0.2/24 fd00:1::2/64" \
            vnet.route="default via 10.1.0.1" vnet.route="default via fd00:1::1" persist
        jail -c name=server vnet vnet.link="eth0 east 10.2.0.2/24 fd00:2::2/64" \
            vnet.route="10.1.0.0/24 via 10.2.0.1" vnet.route="fd00:1::/64 via fd00:2::1" persist"#,
    );
    for (from, to) in [("client", "10.2.0.2"), ("server", "10.1.0.2"), ("client", "fd00:2::2"), ("server", "fd00:1::2")] {
        assert_eq!(hops(lab, from, to), 1, "from {from} to {to}");
    }
    // The hop by its name, as traceroute asks for it: by a packet that lives no longer.
    let told = lab.cmd("jexec").arg_line("client ping -c 1 -W 2 -t 1 10.2.0.2").run().to_string();
    assert!(told.contains("From 10.1.0.1 icmp_seq=1 Time to live exceeded"), "{told}");
    lab.sh("jexec server iperf3 --server --daemon");
    lab.until("the server listens", || lab.sh("jexec server ss -Htln").contains(":5201"));
    lab.sh("jexec client iperf3 --client fd00:2::2 --time 1");
    lab.sh("jexec client iperf3 --client 10.2.0.2 --time 1");
    lab.sh("jexec client iperf3 --client 10.2.0.2 --time 1 --reverse");

    lab.sh("jexec router sysctl -q net.ipv4.ip_forward=0");
    lab.cmd("jexec").arg_line("client ping -c 1 -W 1 10.2.0.2").run().fails(1);
    // The switch was the router's own.
    assert_ne!(lab.sh("jexec client cat /proc/sys/net/ipv4/ip_forward"), "1\n");
    lab.sh("jail -r router client server");
});

lab_test!(ipv6_goes_by_link_local_addresses for root; needs [CgroupV2, Program("ping"), Program("nc")]; |lab| {
    // The next hops of all routes are known by their link-local addresses, made of what they are asked to have.
    lab.sh(
        r#"jail -c name=router vnet vnet.link="west west fd00:1::1/64 mac 02:00:00:00:00:01" \
            vnet.link="east east fd00:2::1/64 mac 02:00:00:00:00:01" \
            vnet.route="fd00:3::/64 via fe80::ff:fe00:2 dev west" vnet.sysctl="net.ipv6.conf.all.forwarding=1" persist
        jail -c name=second vnet vnet.link="west west fd00:1::2/64 mac 02:00:00:00:00:02" vnet.link="there there fd00:3::1/64" \
            vnet.sysctl="net.ipv6.conf.all.forwarding=1" persist
        jail -c name=client vnet vnet.link="eth0 west fd00:1::3/64" vnet.route="default via fe80::ff:fe00:1 dev eth0" persist
        jail -c name=server vnet vnet.link="eth0 east fd00:2::2/64" vnet.route="default via fe80::ff:fe00:1 dev eth0" persist
        jail -c name=remote vnet vnet.link="eth0 there fd00:3::2/64" vnet.route="default via fd00:3::1" persist"#,
    );
    lab.sh("jexec server sh -c 'echo a page | nc -N -l fd00:2::2 80 >/dev/null &'");
    lab.until("the server listens", || lab.sh("jexec server ss -Htln").contains(":80"));
    assert_eq!(lab.sh("jexec client nc -N fd00:2::2 80 </dev/null"), "a page\n");
    assert_eq!(hops(lab, "client", "fd00:2::2"), 1);
    // The first router says who is nearer, in its own link-local name, and the client believes it.
    lab.until("the client is redirected", || {
        lab.sh("jexec client ping -c 1 -W 2 fd00:3::2");
        lab.sh("jexec client ip -6 route get fd00:3::2").contains("via fe80::ff:fe00:2 dev eth0")
    });
    assert_eq!(hops(lab, "client", "fd00:3::2"), 1);
    lab.sh("jail -r router second client server remote");
});

lab_test!(a_foreign_bridge_with_an_uplink_is_used_and_left_alone for root;
    needs [CgroupV2, Program("ping")]; |lab| {
    // The other end of the uplink is in a stack of its own, as a router of the site's would be.
    lab.sh(
        "ip link add office type bridge && ip link add uplink type veth peer name far
        ip link set uplink master office up && ip link set office up && ip address add 192.0.2.2/24 dev office
        ip netns add site && ip link set far netns site
        ip -n site address add 192.0.2.1/24 dev far && ip -n site link set far up",
    );
    lab.leaves_on_purpose("link office");
    lab.leaves_on_purpose("link uplink");
    lab.leaves_on_purpose("/run/netns");
    let bridge = || lab.sh("ip -d -o link show office | sed 's/ gc_timer.*//'; ip -o address show office; bridge link");
    let before = bridge();
    lab.sh(
        r#"jail -c name=web vnet vnet.link="eth0 office 192.0.2.11/24" vnet.route="default via 192.0.2.1" persist
        jexec web ping -c 1 -W 2 192.0.2.1; jexec web ping -c 1 -W 2 192.0.2.2; ping -c 1 -W 2 192.0.2.11
        ip netns exec site ping -c 1 -W 2 192.0.2.11"#,
    );
    assert_ne!(bridge(), before);
    lab.sh("jail -r web");
    lab.until("the bridge is as before", || bridge() == before);
    lab.sh("ping -c 1 -W 2 192.0.2.1");
});

lab_test!(a_borrowed_interface_comes_home_as_it_was for root; needs [CgroupV2]; |lab| {
    lab.sh(
        "ip link add card0 address 02:00:00:00:00:77 mtu 1400 type veth peer name card1
        ip link set card0 up && ip link set card1 up",
    );
    lab.leaves_on_purpose("link card");
    let state = || lab.sh("ip -o link show card0 | grep -o 'mtu [0-9]*\\|link/ether [0-9a-f:]*\\|[<,]UP[,>]'");
    let before = state();
    assert!(before.contains("mtu 1400") && before.contains("02:00:00:00:00:77") && before.contains("UP"), "{before}");
    lab.sh("jail -c name=nic vnet vnet.interface=card0 persist");
    lab.cmd("ip").arg_line("link show card0").run().fails(1);
    lab.sh(
        "jexec nic ip link set card0 address 02:00:00:00:00:99 mtu 1300 up
        jexec nic ip address add 10.0.0.1/24 dev card0; jexec nic sh -c 'sleep 1000 &'",
    );
    lab.sh("jail -r nic");
    assert_eq!(state(), before);
    assert!(!lab.sh("ip -o address show card0").contains("10.0.0.1"));

    // Also when the jail ends by itself: the kernel destroys a virtual interface with its stack.
    for _ in 0..5 {
        lab.sh("jail -c name=nic vnet vnet.interface=card0 command=true; sleep 0.1");
        assert_eq!(state(), before);
    }
    // Nobody waits for this one's end, so it is the next command that looks.
    lab.sh("jail -c name=nic vnet vnet.interface=card0 command=sh -c 'sleep 0.1 >/dev/null 2>&1 &'; sleep 0.5; jdb audit --all");
    assert_eq!(state(), before);
    // Nor is it lost when it was taken later.
    lab.sh("jail -c name=nic vnet command=sh -c 'sleep 0.5 >/dev/null 2>&1 &'; jail -m name=nic vnet.interface=card0; sleep 0.8; jdb audit --all");
    assert_eq!(state(), before);
    lab.sh("jail -c name=nic vnet command=sh -c 'sleep 0.5 >/dev/null 2>&1 &'; jail -m name=nic vnet.interface=card0; jail -m name=nic vnet.interface=; sleep 0.8; jdb audit --all");
    assert_eq!(state(), before);

    // Its name was given to another meanwhile.
    lab.sh("jail -c name=nic vnet vnet.interface=card0 persist; ip link add card0 type bridge; jail -r nic");
    assert!(lab.sh("ip -o link show card0.1").contains("02:00:00:00:00:77"));
});

lab_test!(the_jails_root_rules_its_stack for root;
    needs [CgroupV2, Program("tcpdump"), Program("ping")]; |lab| {
    two(lab);
    lab.sh("jexec a ip route add 10.77.0.0/16 via 10.9.0.12; jexec a ip rule add to 10.78.0.0/16 table 5");
    assert!(lab.sh("jexec a ip route get 10.77.1.1").contains("via 10.9.0.12 dev eth0"));
    assert!(!lab.sh("ip route; jexec b ip route").contains("10.77"));
    lab.sh("jexec a ip link add dummy0 type bridge; jexec a ip link set eth0 mtu 1280");
    assert!(!lab.sh("ip -o link").contains("dummy0"));

    let capture = lab.spawn("exec jexec a tcpdump -Z root -c 2 -n -l -i eth0 icmp 2>&1");
    lab.until("it listens", || capture.stdout().contains("listening on eth0"));
    lab.sh("jexec a ping -c 1 -W 2 10.9.0.12");
    let seen = capture.finish().ok();
    for line in ["10.9.0.11 > 10.9.0.12: ICMP echo request", "10.9.0.12 > 10.9.0.11: ICMP echo reply"] {
        assert!(seen.contains(line), "{seen}");
    }
    lab.sh("jail -r a b");
});

lab_test!(links_come_and_go_in_a_living_jail for root; needs [CgroupV2, Program("ping")]; |lab| {
    two(lab);
    let eth0 = || lab.sh("jexec a ip -o link show eth0");
    let before = eth0();
    lab.sh("jexec a sh -c 'sleep 1000 &'");
    let second = |jail: &str, n: u32| format!(r#"vnet.link="eth0 lan 10.9.0.1{n}/24" vnet.link="eth1 more 10.8.0.1{n}/24" name={jail}"#);
    lab.sh(&format!("jail -m {}; jail -m {}", second("a", 1), second("b", 2)));
    lab.sh("jexec a ping -c 1 -W 2 10.8.0.12; jexec a ping -c 1 -W 2 10.9.0.12");
    assert_eq!(eth0(), before, "it was made again");

    lab.sh(r#"jail -m name=a vnet.link="eth0 lan 10.9.0.11/24""#);
    lab.cmd("jexec").arg_line("a ip link show eth1").run().fails(1);
    lab.cmd("jexec").arg_line("b ping -c 1 -W 1 10.8.0.11").run().fails(1);
    assert_eq!(eth0(), before, "it was made again");
    assert!(lab.sh("jexec a sh -c 'cat /proc/[0-9]*/comm 2>/dev/null || true'").contains("sleep"), "its processes were disturbed");
    lab.sh("jail -r a b");
});

lab_test!(a_child_has_its_parents_stack_or_its_own for root; needs [CgroupV2]; |lab| {
    lab.sh(
        r#"jail -c name=a children.max=2 vnet vnet.link="eth0 lan 10.9.0.11/24" persist
        jail -c name=a.shares persist; jail -c name=a.own vnet vnet.link="eth0 in 10.8.0.11/24" persist"#,
    );
    let addresses = |jail: &str| lab.sh(&format!("jexec {jail} ip -br address show eth0"));
    assert!(addresses("a").contains("10.9.0.11"));
    assert!(addresses("a.shares").contains("10.9.0.11"));
    assert!(addresses("a.own").contains("10.8.0.11"));
    // To see its parent's is not to rule them.
    lab.cmd("jexec").arg_line("a.shares ip address add 10.9.0.99/24 dev eth0").run().fails(2);
    lab.sh("jail -r a");
});

lab_test!(one_address_on_a_segment_is_one_jails for root; needs [CgroupV2]; |lab| {
    two(lab);
    let create = |link: &str| lab.cmd("jail").args(["-c", "name=c", "vnet", &format!("vnet.link={link}"), "persist"]).run();
    let said = create("eth0 lan 10.9.0.11/24").fails(1);
    assert!(said.contains("vnet: address 10.9.0.11 is already on segment lan"), "{said}");
    let said = create("eth0 lan fd00:9::12/64").fails(1);
    assert!(said.contains("address fd00:9::12 is already on segment lan"), "{said}");
    // On another segment it is another's business, and once it is free it can be had.
    create("eth0 other 10.9.0.11/24").ok();
    lab.sh("jail -r c a");
    create("eth0 lan 10.9.0.11/24").ok();
    lab.sh("jail -r b c");
});

lab_test!(a_jail_keeps_its_ethernet_addresses for root; needs [CgroupV2]; |lab| {
    let addresses = || {
        two(lab);
        let addresses = ["a", "b"].map(|jail| lab.sh(&format!("jexec {jail} cat /sys/class/net/eth0/address")));
        lab.sh("jail -r a b");
        addresses
    };
    let before = addresses();
    assert_ne!(before[0], before[1]);
    assert_eq!(addresses(), before);
});

lab_test!(an_open_connection_does_not_keep_a_removed_jail for root; needs [CgroupV2, Program("nc")]; |lab| {
    two(lab);
    lab.sh("jexec b sh -c 'nc -l -p 9000 >/dev/null &'");
    lab.until("the server listens", || lab.sh("jexec b ss -Htln").contains(":9000"));
    // More than the peer takes in before it vanishes, so that there is always something to be sent again.
    lab.sh("jexec a sh -c 'nc 10.9.0.12 9000 </dev/zero &'");
    lab.until("it is connected", || lab.sh("jexec a ss -Htn state established").contains(":9000"));
    lab.sh("jexec b ip link set eth0 down");
    lab.until("bytes are outstanding", || {
        let table = lab.sh("jexec a ss -Htn state established");
        table.split_whitespace().nth(1).is_some_and(|queued| queued != "0")
    });
    let start = Instant::now();
    lab.sh("jail -r a");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    lab.until("nothing is dying", || fs_is_empty("/run/jail/jails", lab));
    println!("removed in {took:?}");
    lab.sh("jail -r b");
});

/// Whether no jail but `b` is on the books, after a sweep.
fn fs_is_empty(dir: &str, lab: &Lab) -> bool {
    lab.sh("jdb audit --all");
    std::fs::read_dir(dir).map_or(0, Iterator::count) == 1
}

/// Makes two jails on a segment.
fn two(lab: &Lab) {
    lab.sh(r#"jail -c name=a vnet vnet.link="eth0 lan 10.9.0.11/24 fd00:9::11/64" persist
        jail -c name=b vnet vnet.link="eth0 lan 10.9.0.12/24 fd00:9::12/64" persist"#);
}

/// Returns how many routers a packet passes: from what is left of its 64 hops when it comes back.
fn hops(lab: &Lab, from: &str, to: &str) -> u32 {
    let report = lab.sh(&format!("jexec {from} ping -c 1 -W 5 {to}"));
    let left = report
        .split("ttl=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_else(|| panic!("{report}"));
    64 - left.parse::<u32>().unwrap_or_else(|_| panic!("{report}"))
}
