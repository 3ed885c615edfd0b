//! `kill -9`, and failures, before and after every piece of every subsystem: of one jail that has all of them, of jails
//! in jails, and of many at once. Changes are in `change`.

use std::fs;

use vimage_tests::{Output, Snapshot, lab_test};

use crate::{house::House, limits::pins};

/// What is made and removed.
struct Case {
    create: &'static str,
    remove: &'static str,
}

/// One jail with something of every subsystem: links, a cable, interfaces of the host's, mounts, limits, a process.
const WHOLE: Case = Case {
    create: r#"exec jail -c name=w vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.link="eth1 x:eth1 10.8.0.1/24" \
        vnet.host="lan 10.9.0.1/24" vnet.member="lan card2" vnet.interface=card0 vnet.route="default via 10.9.0.1" \
        vnet.sysctl="net.ipv4.ip_forward=1" rctl.maxproc=90 host.hostname=w mqueue.queues=7 shm.size=1M \
        sysvmsg.queues=9 sysvsem=disable env.a=1 mount="/tmp/data /mnt none rw" allow.raw_sockets \
        persist exec.start='sleep 31415.7 & exit 0'"#,
    remove: "exec jail -r w",
};

/// In a tree of its own, where a file is made to mount on.
const TREE: Case = Case { create: "exec jail -c name=w path=/tmp/tree user=inherit vnet persist", ..WHOLE };

/// With addresses of the host's, one of which an interface has while it is there.
const CLASSIC: Case = Case {
    create: "exec jail -c name=w ip4.addr='d0|10.9.8.1,10.9.8.2' ip6.addr=fd09::1 interface=d0 persist",
    ..WHOLE
};

/// With processors of its own, in a jail that has some.
const PINNED: Case = Case {
    create: r#"test -e $JAIL_ROOT/names/w || JAIL_FAULT= jail -c name=w children.max=1 cpuset.cpus=0 persist
        exec jail -c name=w.a cpuset.cpus=0 persist exec.start='sleep 31415.7 & exit 0'"#,
    ..WHOLE
};

/// Two jails in a jail, made at once and removed with it. It is the inner ones whose making is killed.
const NESTED: Case = Case {
    create: r#"test -e $JAIL_ROOT/names/w || JAIL_FAULT= jail -c name=w children.max=4 rctl.maxproc=90 vnet persist
        pids=; for n in a b; do
            jail -c name=w.$n vnet vnet.link="eth0 lan" rctl.maxproc=50 persist exec.start='sleep 31415.7 & exit 0' &
            pids="$pids $!"
        done; status=0; for pid in $pids; do wait $pid || status=1; done; exit $status"#,
    ..WHOLE
};

/// How many are made and removed at once.
const MANY: usize = 20;

/// Makes so many jails at once, and fails if one of them does.
fn at_once(definition: &str) -> String {
    format!(
        "pids=; for n in $(seq {MANY}); do jail -c name=w$n {definition} persist & pids=\"$pids $!\"; done
        status=0; for pid in $pids; do wait $pid || status=1; done; exit $status"
    )
}

impl House<'_> {
    /// Waits until all is as it was, with nothing done but what each command does.
    #[track_caller]
    fn is_as(&self, before: &(Vec<String>, Snapshot), what: &str) {
        self.lab.until(&format!("all is as it was after {what}"), || self.left() == *before);
    }

    /// Lets a line fail or die at each of its points in turn. `each` is told what came of it, and makes it good.
    fn at_each_point(&self, how: &str, line: &str, mut each: impl FnMut(&Output, &str)) {
        for n in 1..1000 {
            let fault = format!("{how}:{n}");
            let output = self.cmd(line).env("JAIL_FAULT", &fault).run();
            each(&output, &format!("{fault} {line}: {output}"));
            if output.status.success() {
                return assert!(n > 10, "there are only {n} points");
            }
        }
        panic!("the points never end");
    }

    /// A creation and a removal of a case, at every point.
    fn walk(&self, how: &str, case: &Case) {
        self.sh("mkdir -p /tmp/data /tmp/tree/etc /tmp/tree/dev /tmp/tree/proc /tmp/tree/sys; echo kept >/tmp/data/file
            ip link add card0 address 02:00:00:00:00:77 mtu 1400 up type veth peer name card1
            ip link add card2 address 02:00:00:00:00:78 mtu 1400 up type veth peer name card3");
        // What stays of a first jail is there before.
        self.sh(case.create);
        self.sh(case.remove);
        let before = self.empty();
        // Each of them takes up what is left: another creation, a removal, a repair.
        let mut next = [case.create, "jail -q -r w", "jdb repair"].into_iter().cycle();
        self.at_each_point(how, case.create, |_, what| {
            let by = next.next().unwrap_or_default();
            let did = self.cmd(by).run();
            if fs::symlink_metadata(format!("{}/names/w", self.root)).is_ok() {
                // Where its first process had not ended yet, the jail was not to be had before, and is swept now.
                let removed = self.cmd(case.remove).run();
                let swept = removed.stderr.ends_with("not found\n");
                assert!(removed.status.success() || swept, "{what}\n{did}\n{removed}");
            }
            self.is_as(&before, &format!("{what}\n{by}"));
        });
        self.sh(case.create);
        self.at_each_point(how, case.remove, |output, what| {
            if how == "fail" && !output.status.success() {
                assert!(output.stderr.contains("injected failure"), "{what}");
                let dying = self.sh("cat $JAIL_ROOT/jails/*/record");
                assert!(
                    dying.contains(r#""state":"dying""#) && dying.contains(r#""reasons":["#),
                    "{what}: {dying}"
                );
            }
            self.is_as(&before, what);
            self.sh(case.create);
        });
        self.sh(case.remove);
        self.is_as(&before, "all");
        self.sh(
            "jdb audit --all; test \"$(cat /tmp/data/file)\" = kept; test ! -e /tmp/tree/etc/resolv.conf",
        );
        self.sh("ip -o link show up card0 | grep 'mtu 1400 .* 02:00:00:00:00:77'; ip link del card0
            ip -o link show up card2 | grep 'mtu 1400 .* 02:00:00:00:00:78'; ip link del card2");
    }
}

lab_test!(a_jail_with_everything_is_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("kill", &WHOLE);
});

lab_test!(a_jail_with_everything_fails_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("fail", &WHOLE);
});

lab_test!(a_jail_with_a_tree_of_its_own_is_killed_or_fails_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("kill", &TREE);
    House::new(lab).walk("fail", &TREE);
});

lab_test!(a_classic_jail_is_killed_or_fails_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    lab.sh("ip link add d0 type bridge; ip link set d0 up");
    House::new(lab).walk("kill", &CLASSIC);
    House::new(lab).walk("fail", &CLASSIC);
    lab.sh("ip link del d0");
});

lab_test!(jails_with_processors_of_their_own_are_killed_or_fail_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    if pins(lab, "jails_with_processors_of_their_own_are_killed_or_fail_at_every_point") {
        House::new(lab).walk("kill", &PINNED);
        House::new(lab).walk("fail", &PINNED);
    }
});

lab_test!(jails_in_jails_are_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("kill", &NESTED);
});

lab_test!(jails_in_jails_fail_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("fail", &NESTED);
});

impl House<'_> {
    /// So many creations at once, each killed at the same point of its way.
    fn makings_are_killed(&self, definition: &str) {
        let create = at_once(definition);
        self.sh(&format!("({create}); jail -r '*'"));
        let before = self.empty();
        let mut next = [&*create, "jail -q -r '*'", "jdb repair"].into_iter().cycle();
        self.at_each_point("kill", &create, |_, what| {
            let by = next.next().unwrap_or_default();
            let done = self.cmd(by).run();
            if by == create {
                // What is left of the others, an address, say, is in nobody's way, though another command may be at it.
                assert_eq!(self.sh("jls name").lines().count(), MANY, "{what}\n{done}");
            }
            let _there_may_be_none = self.cmd("jail -q -r '*'").run();
            self.is_as(&before, &format!("{what}\n{by}"));
            self.sh("jdb audit --all");
        });
    }
}

lab_test!(twenty_jails_made_at_once_are_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).makings_are_killed("user=inherit host=inherit");
});

lab_test!(twenty_jails_on_one_segment_made_at_once_are_killed_at_every_point for root; needs [CgroupV2]; with timeout(180); |lab| {
    House::new(lab).makings_are_killed(r#"vnet vnet.link="eth0 lan 10.9.0.$n/24" vnet.host="lan 10.9.0.254/24""#);
});

lab_test!(twenty_jails_removed_at_once_are_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    let house = House::new(lab);
    let create = at_once("user=inherit host=inherit");
    house.sh(&format!("({create}); jail -r '*'"));
    let before = house.empty();
    house.sh(&create);
    house.at_each_point("kill", "exec jail -r '*'", |_, what| {
        house.is_as(&before, what);
        house.sh(&create);
    });
    house.sh("jail -r '*'");
});
