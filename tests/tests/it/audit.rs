//! What is left over has a name, a cost and an end; and what was made and freed is counted by kernel object.

use std::collections::BTreeMap;

use vimage_tests::lab_test;

use crate::house::House;

impl House<'_> {
    /// The costs that an audit tells, by the beginning of what was found.
    fn costs(&self) -> Vec<(String, String)> {
        let audit = self.cmd("jdb --json audit --all").run();
        let findings: serde_json::Value = serde_json::from_str(&audit.stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let one = |f: &serde_json::Value| {
            let piece = ["subsystem", "kind", "key"].map(|part| text(&f["piece"][part])).join("/");
            (text(&f["owner"]) + piece.trim_matches('/'), text(&f["cost"]))
        };
        findings.as_array().unwrap().iter().map(one).collect()
    }
}

#[track_caller]
fn cost(costs: &[(String, String)], of: &str) -> String {
    let found = costs.iter().find(|(what, _)| what.starts_with(of));
    found.unwrap_or_else(|| panic!("no {of}: {costs:?}")).1.clone()
}

lab_test!(what_is_left_over_is_told_with_its_cost for root; needs [CgroupV2]; |lab| {
    let house = House::new(lab);
    house.sh(r#"jail -c name=n persist; mkdir /tmp/data; dd if=/dev/zero of=/tmp/data/file bs=1M count=5 2>/dev/null
        jail -c name=w jid=7 vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.link="eth1 lan" children.max=1 \
            mount="/tmp/data /mnt none rw" persist exec.start='sleep 31415.7 & exit 0'
        jexec w dd if=/dev/zero of=/dev/shm/file bs=1M count=3 2>/dev/null"#);
    assert_eq!(house.costs(), []);
    house.sh("rm -r $JAIL_ROOT/jails/7");
    // Once for all: where there are links it looks again, since the kernel may be about to take them down.
    let costs = house.costs();
    let of = |what| cost(&costs, what);
    let cgroup = of("jail/cgroup/");
    // Its init, the one that keeps what it makes, and the one that it was started with.
    assert!(cgroup.starts_with("3 processes, ") && cgroup.ends_with(" of memory"), "{cgroup}");
    assert_eq!(of("user/range/"), "65536 ids that no jail can have");
    assert_eq!(of("vnet/address/0:lan,10.9.0.11"), "no other can have 10.9.0.11 on segment lan");
    assert_eq!(of("vnet/link/"), "1 veth pair");
    assert_eq!(of("vnet.segment,0:lan"), "1 bridge, 2 ports in use");
    assert_eq!(of("root/file/"), "33 bytes of files");
    // Of which the files in /tmp are none.
    let held = of("jail/held/7");
    assert!(held.starts_with("5 namespaces, ") && held.ends_with(" mounts, 3M of files in memory"), "{held}");
    // For people, in one line, with the command that mends it.
    let text = house.cmd("jdb audit").run().stdout;
    let line = "vnet/address/0:lan,10.9.0.11 is in no record: no other can have 10.9.0.11 on segment lan (jdb repair)\n";
    assert!(text.contains(line), "{text}");
    // Of one that has no record either.
    house.sh("rm -r $JAIL_ROOT/shared/vnet.segment,0:lan");
    assert_eq!(cost(&house.costs(), "vnet/bridge/"), "1 bridge, 2 ports in use");
    house.sh("jdb repair; jdb audit --all; jail -r n");
});

lab_test!(a_dying_jail_is_told_with_what_it_costs for root; needs [CgroupV2]; |lab| {
    let house = House::new(lab);
    house.sh("jail -c name=w vnet vnet.link='eth0 lan 10.9.0.11/24' persist; jexec w ipcmk -M 1M >/dev/null; jexec w ipcmk -S 3 >/dev/null");
    let pid = house.sh("jexec w sh -c 'exec sleep 31415.7 >/dev/null 2>&1 &'; pgrep -f 'sleep 31415.7$'");
    // Somebody else is in its namespaces, and outlives it.
    let mut holder = lab.spawn(&format!("exec nsenter -t {} -n -i sleep 31415.8", pid.trim()));
    lab.until("it is there", || house.cmd("pgrep -f '^sleep 31415.8$'").run().status.success());
    house.sh("jail -r w");
    let cost = cost(&house.costs(), "w");
    assert!(cost.contains("1 network stack") && cost.contains("1 shared memory segment, 1M of shared memory"), "{cost}");
    assert!(cost.contains("1 semaphore set"), "{cost}");
    holder.kill();
    drop(holder.finish());
    lab.until("it is gone", || house.cmd("jdb audit --all").run().status.success());
});

lab_test!(every_kind_of_piece_says_which_kernel_object_it_is for root; needs [CgroupV2]; |lab| {
    lab.sh("ip link add card0 type veth peer name card1");
    let house = House::new(lab);
    house.sh(r#"mkdir -p /tmp/tree/etc /tmp/tree/dev /tmp/tree/proc /tmp/tree/sys; mount --bind /tmp/tree /tmp/tree
        jail -c name=a vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.link="eth1 b:eth1" vnet.host="lan 10.9.0.1/24" \
            vnet.interface=card0 rctl.maxproc=90 sysvmsg=disable persist
        jail -c name=b vnet vnet.link="eth1 a:eth1" user=inherit persist
        jail -m name=b vnet.sysctl="net.ipv4.ip_forward=1"
        jail -c name=c path=/tmp/tree persist; jail -r '*'"#);
    let rows: serde_json::Value = serde_json::from_str(&house.sh("jdb --json ledger")).unwrap();
    let text = |row: &serde_json::Value, column: &str| row[column].as_str().unwrap().to_owned();
    let mut objects: BTreeMap<_, _> =
        rows.as_array().unwrap().iter().map(|row| (text(row, "kind"), text(row, "object"))).collect();
    // Where limits are of the first version.
    objects.remove("rctl/cgroup1");
    let expected = [
        ("host/instance", "uts namespace"),
        ("inet/programs", "programs at a cgroup"),
        ("jail/cgroup", "cgroup"),
        ("jail/held", "mounts in the vault"),
        ("jail/instance", "cgroup namespace"),
        ("jail/mounts", "list of mounts (ours)"),
        ("root/file", "file"),
        ("root/dev", "tmpfs (its /dev)"),
        ("root/mountpoint", "file in the jail's tree"),
        ("sysvmsg/filter", "rule of the seccomp filter"),
        ("sysvmsg/instance", "ipc namespace"),
        ("sysvsem/instance", "ipc namespace"),
        ("user/ids", "id range of another (ours)"),
        ("user/instance", "user namespace"),
        ("user/range", "id range (ours)"),
        ("vnet/address", "claim of an address (ours)"),
        ("vnet/bridge", "bridge"),
        ("vnet/cable", "veth pair"),
        ("vnet/end", "end of a veth pair"),
        ("vnet/held", "mount in the vault"),
        ("vnet/instance", "network namespace"),
        ("vnet/interface", "interface of another (borrowed)"),
        ("vnet/link", "veth pair"),
        ("vnet/sysctl", "sysctl"),
        ("vnet/use", "use of something shared (ours)"),
    ];
    assert_eq!(objects, expected.map(|(kind, object)| (kind.to_owned(), object.to_owned())).into());
    lab.until("nothing is outstanding", || {
        house.sweep();
        let rows: serde_json::Value = serde_json::from_str(&house.sh("jdb --json ledger")).unwrap();
        rows.as_array().unwrap().iter().all(|row| row["outstanding"] == 0)
    });
    lab.sh("ip link del card0; umount /tmp/tree");
});
