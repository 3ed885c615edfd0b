use std::fs;

use super::{ATTEMPT, Kind, Lab, keeps_a_store, lab_test};

/// A program of the host's at the place where it is.
fn at(lab: &Lab, name: &str) -> String {
    lab.sh(&format!("readlink -f $(command -v {name})")).trim().to_owned()
}

lab_test!(a_jail_rules_its_own_stack for root; needs [CgroupV2, Program("busybox"), Program("ip"), Program("tcpdump")]; |lab| {
    keeps_a_store(lab);
    let (ip, tcpdump) = (at(lab, "ip"), at(lab, "tcpdump"));
    let before = lab.sh("ip -o address; ip -o route show table all; cat /proc/sys/net/ipv4/ip_forward");
    let line = format!(
        "{ip} link set lo up && {ip} addr add 10.7.0.1/24 dev lo && {ip} route add 10.8.0.0/24 via 10.7.0.2 &&
         {ip} link add d0 type veth peer name d1 && {ip} link set d0 mtu 1400 up && {ip} link del d0 &&
         {ip} rule add from 10.7.0.9 table 9
         echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward
         /usr/bin/rm -f /tmp/heard
         {tcpdump} -Z root -i lo -c 1 --immediate-mode icmp >/dev/null 2>/tmp/heard &
         until /usr/bin/grep -q listening /tmp/heard 2>/dev/null; do :; done
         /usr/bin/ping -c 1 -W 2 127.0.0.1 >/dev/null && echo pinged; wait $!
         cat /tmp/heard; {ip} route; {ip} rule"
    );
    for kind in Kind::all(lab) {
        // Two of them have one tree, and what the first heard is still there.
        if !kind.is_host() {
            // tcpdump looks itself up.
            fs::write(kind.path.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        }
        let seen = kind.sh(lab, &line);
        assert!(seen.starts_with("1\n"), "{kind:?}: {seen}");
        for made in ["pinged\n", "\n1 packet captured", "10.8.0.0/24 via 10.7.0.2 dev lo", "from 10.7.0.9 lookup 9"] {
            assert!(seen.contains(made), "{kind:?}: {seen}");
        }
    }
    assert_eq!(lab.sh("ip -o address; ip -o route show table all; cat /proc/sys/net/ipv4/ip_forward"), before);
});

// Below /proc/sys, the root of a jail with the host's ids writes what is its stack's, and what every jail's root
// may write of its stack: files that the kernel guards by the host's root's uid alone would be more.
lab_test!(no_other_sysctl_is_the_jails for root; needs [CgroupV2]; |lab| {
    keeps_a_store(lab);
    let mut writable = Vec::new();
    for kind in Kind::all(lab).into_iter().filter(Kind::is_host) {
        let found = kind.sh(lab, "find /proc/sys -type f -writable | sort");
        assert!(found.contains("/proc/sys/net/ipv4/ip_forward\n"), "{kind:?}: {found}");
        let of_net = |path: &&str| path.starts_with("/proc/sys/net/");
        if !kind.maps() {
            assert_eq!(found.lines().find(|path| !of_net(path)), None, "{kind:?}");
        }
        writable.push(found.lines().filter(of_net).map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(writable[0], writable[1]);
});

lab_test!(
    /// A capability over the jail's stack would be one over the host's, were it of the host's user namespace:
    /// RTM_GETLINK and RTM_NEWLINK (down) of link 1 with IFLA_TARGET_NETNSID.
    a_peers_stack_is_out_of_reach for root; needs [CgroupV2, Program("busybox"), Program("ip")]; |lab| {
        keeps_a_store(lab);
        let request = |kind: &str| {
            format!("socket 16 3 0; sendto $0 {{40,{kind},1,0,0,1,0,1,0x002e0008,0}} 40 0 {{16,0,0}} 12; answer $0\n")
        };
        let calls = request("0x00010012") + &request("0x00050010");
        lab.sh("ip link add shared type bridge; ip link set shared up");
        for (n, kind) in Kind::all(lab).into_iter().enumerate() {
            // The other end of the cable is in a jail of the same user, whose ids may be the same.
            let link = format!("vnet.link=eth0 peer{n}:eth0 10.7.0.2/24");
            lab.cmd("jail").args(["-c", &format!("name=peer{n}"), "persist", "vnet", &format!("user={}", kind.user)]).run().ok();
            let links = [link, format!("vnet.link=eth0 lan 10.9.0.{}/24", n + 1), "vnet.link=eth0 shared".to_owned()];
            for link in links {
                let jail = kind.jail(lab).arg(&link).arg(format!("command={ATTEMPT}"));
                let answers = jail.stdin(&calls).run().ok();
                assert!(answers.lines().all(|answer| ["EACCES", "EPERM"].contains(&answer)), "{kind:?} {link}: {answers}");
                assert_eq!(answers.lines().count(), 2, "{kind:?} {link}");
            }
            lab.cmd("jail").args(["-r", &format!("peer{n}")]).run().ok();
        }
        lab.sh("ip link del shared");
    }
);

lab_test!(
    /// To the kernel the root of a jail in the host's user namespace is the owner of all others' (user_namespaces(7)):
    /// it may name their stacks, where they are linked with the host's, and change nothing of them all the same.
    the_hosts_stack_is_no_way_into_a_jails for root; needs [CgroupV2, Program("busybox"), Program("ip")]; |lab| {
        keeps_a_store(lab);
        lab.sh("ip link add shared type bridge; ip link set shared up");
        let request = |kind: &str| {
            format!("socket 16 3 0; sendto $0 {{40,{kind},1,0,0,1,0,1,0x002e0008,0}} 40 0 {{16,0,0}} 12; answer $0\n")
        };
        // RTM_NEWLINK, RTM_DELLINK, RTM_SETLINK.
        let calls: String = ["0x00050010", "0x00050011", "0x00050013"].map(request).concat();
        for other in Kind::all(lab) {
            other.jail(lab).args(["name=other", "persist", "vnet.link=eth0 shared"]).run().ok();
            for kind in Kind::shared(lab) {
                let answers = kind.attempt(lab, &calls);
                assert_eq!(answers, ["EPERM"; 3], "{kind:?} into {other:?}");
            }
            lab.cmd("jail").args(["-r", "other"]).run().ok();
        }
        lab.sh("ip link del shared");
    }
);
