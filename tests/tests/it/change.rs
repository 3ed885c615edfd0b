//! `jail -m` that fails, or is killed, at every point of its way.

use vimage_tests::{Lab, lab_test};

use crate::{house::House, limits::pins};

/// A jail, and what is changed of it.
struct Case {
    create: &'static str,
    change: &'static str,
    /// The names it may have afterwards, its first one first.
    names: &'static [&'static str],
}

const LINKS: Case = Case {
    create: r#"jail -c name=j vnet vnet.link="eth0 lan 10.9.0.11/24 mtu 1400" vnet.link="eth1 more 10.8.0.11/24" \
        vnet.host="lan 10.9.0.1/24" vnet.route="default via 10.9.0.1" host.hostname=one rctl.maxproc=90 persist"#,
    change: r#"jail -m name=j vnet.link="eth0 lan 10.9.0.12/24 mtu 1300" vnet.link="eth2 third 10.7.0.11/24" \
        vnet.host="lan 10.9.0.2/24" vnet.route="default via 10.9.0.2" host.hostname=two rctl.maxproc=91"#,
    names: &["j"],
};

/// From nothing, and all at once.
const NAME: Case = Case {
    create: "jail -c name=j vnet host.hostname=one persist",
    change: r#"jail -m jid=$(jls -j j jid) name=k vnet.link="eth0 lan 10.9.0.12/24" vnet.host="lan 10.9.0.2/24" \
        vnet.route="default via 10.9.0.2" host.hostname=two rctl.maxproc=91"#,
    names: &["j", "k"],
};

/// All links go; another jail on the segment stays, and with it what they share.
const LAST: Case = Case {
    create: r#"jls -j n jid >/dev/null 2>&1 || jail -c name=n vnet vnet.link="eth0 lan 10.9.0.99/24" persist
        jail -c name=j vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.host="lan 10.9.0.1/24" \
        vnet.route="default via 10.9.0.1" rctl.maxproc=90 persist"#,
    change: "jail -m name=j vnet.link= vnet.host= vnet.route=",
    names: &["j"],
};

/// Of every subsystem that has something to change, and a limit that is lifted.
const OTHERS: Case = Case {
    create: r#"jail -c name=j vnet children.max=3 rctl.maxproc=90 shm.size=1M mqueue.queues=7 sysvmsg.queues=9 \
        host.domainname=one meta.a=1 env.a=1 persist"#,
    change: r#"jail -m name=j children.max=2 rctl.maxproc= rctl.pcpu=50 shm.size=2M mqueue.queues=8 \
        sysvmsg.queues=10 sysvshm.segments=99 host.domainname=two host.hostname=two devfs_ruleset=1 vnet.sysctl="net.ipv4.ip_forward=1" \
        meta.b=2 env.b=2"#,
    names: &["j"],
};

/// An interface of the host's comes, and a cable changes to another jail.
const BORROWED: Case = Case {
    create: r#"jail -c name=j vnet vnet.link="eth0 x:eth0 10.8.0.1/24" persist"#,
    change: r#"jail -m name=j vnet.interface=card0 vnet.link="eth0 y:eth0 10.8.0.2/24" rctl.maxproc=90"#,
    names: &["j"],
};

/// It goes home.
const RETURNED: Case = Case {
    create: r#"jail -c name=j vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.interface=card0 persist"#,
    change: r#"jail -m name=j vnet.interface= vnet.link="eth0 lan 10.9.0.12/24" rctl.maxproc=90"#,
    names: &["j"],
};

/// With a process, that holds it.
const KEPT: Case = Case {
    create: r#"jail -c name=j vnet vnet.link="eth0 lan 10.9.0.11/24" command=sh -c 'sleep 1000 >/dev/null 2>&1 &'"#,
    change: r#"jail -m name=j persist vnet.link="eth0 more 10.9.0.11/24" rctl.maxproc=90 env.a=1"#,
    names: &["j"],
};

const LET_GO: Case = Case {
    create: r#"jail -c name=j vnet vnet.link="eth0 lan 10.9.0.11/24" env.a=1 persist; jexec j sh -c 'sleep 1000 >/dev/null 2>&1 &'"#,
    change: r#"jail -m name=j persist=0 vnet.link="eth0 more 10.9.0.11/24" rctl.maxproc=90 env="#,
    names: &["j"],
};

/// Without a process nothing is left of it in the end.
const EMPTY: Case = Case {
    create: r#"jail -c name=j vnet vnet.link="eth0 lan 10.9.0.11/24" persist"#,
    change: r#"jail -m name=j persist=0 vnet.link="eth0 more 10.9.0.11/24" rctl.maxproc=90"#,
    names: &["j"],
};

/// What the jail allows is narrowed for the one inside, which is done after the change: by the next command, if by
/// no other.
const NESTED: Case = Case {
    create: "jail -c name=j children.max=2 rctl.maxproc=90 persist; jail -c name=j.c rctl.maxproc=80 persist",
    change: "jail -m jid=$(jls -j j jid) name=k rctl.maxproc=50",
    names: &["j", "k"],
};

/// Processors come to a jail, with a process in it and in the one inside.
const PINNED: Case = Case {
    create: "jail -c name=j children.max=1 persist exec.start='sleep 1000 >/dev/null 2>&1 &'
        jail -c name=j.c persist exec.start='sleep 1000 >/dev/null 2>&1 &'",
    change: "jail -m name=j cpuset.cpus=0 host.hostname=two env.a=1",
    names: &["j"],
};

/// And go.
const UNPINNED: Case = Case {
    create:
        "jail -c name=j children.max=1 cpuset.cpus=0 env.a=1 persist exec.start='sleep 1000 >/dev/null 2>&1 &'
        jail -c name=j.c cpuset.cpus=0 persist exec.start='sleep 1000 >/dev/null 2>&1 &'",
    change: "jail -m name=j cpuset.cpus= host.hostname=two env=",
    names: &["j"],
};

const CASES: [Case; 9] = [LINKS, NAME, LAST, OTHERS, BORROWED, RETURNED, KEPT, LET_GO, NESTED];

impl House<'_> {
    /// All of a jail that a change may change, as the kernel has it and as the record says; and that it can be
    /// entered.
    #[track_caller]
    fn state(&self, names: &[&str]) -> (String, String) {
        let there = |name: &&&str| self.cmd(&format!("jls -j {name} jid")).run().status.success();
        let Some(name) = names.iter().find(there) else {
            panic!("none of {names:?}: {}", self.sh("jls -d; jdb audit || true"));
        };
        let script = format!(
            "jexec {name} sh -c 'hostname; ip -o link; ip -o address; ip route' >/tmp/inside
            sed 's/^[0-9]*: //; s/@if[0-9]*//; s/link-netns.*//; s/valid_lft.*//; s/qlen.*link/link/; s/state [A-Z]*//' /tmp/inside | sort
            ip -o link show card0 2>/dev/null | grep -o 'card0\\|mtu [0-9]*\\|[<,]UP[,>]\\|link/ether.*\\|alias.*' || true
            jexec {name} ls /dev
            jexec {name} sh -c 'domainname; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/queues_max'
            for i in {name} {name}.c; do
                jexec $i sh -c 'grep -h Cpus_allowed_list /proc/self/status /proc/$(pgrep -o sleep)/status' 2>/dev/null || true
            done
            jexec {name} sh -c 'cat /run/jail/env; grep -c /run/jail/env /proc/self/mountinfo' 2>/dev/null || true
            ip -o address show >/tmp/host; grep -v ' lo ' /tmp/host | sed 's/^[0-9]*: //; s/valid_lft.*//'
            jls -j {name} -n persist children.max rctl.maxproc rctl.pcpu vnet.link vnet.host \
                vnet.route vnet.interface vnet.sysctl host.hostname host.domainname shm.size mqueue.queues \
                sysvmsg.queues sysvshm.segments meta env cpuset.cpus devfs_ruleset
            if jls -j {name}.c jid >/dev/null 2>&1; then jls -j {name}.c rctl.maxproc; jexec {name}.c true; fi"
        );
        ((*name).to_owned(), self.sh(&script))
    }

    /// `again`: in which steps of its way it is killed when it is taken back, too.
    fn at_every_point(&self, fault: &str, case: &Case, again: &[u32]) {
        // So that what stays of a first jail is there before.
        self.sh(case.create);
        self.sh(case.change);
        let after = self.state(case.names);
        self.sh(&format!("jail -r {}", after.0));
        self.lab.until("it is gone", || {
            self.sweep();
            !self.sh("jls -d name").lines().any(|name| name == after.0)
        });
        let empty = self.left();
        for n in 1..400 {
            let what = format!("{fault}:{n} {}", case.change);
            self.sh(case.create);
            let before = self.state(case.names);
            let output = self.cmd(case.change).env("JAIL_FAULT", format!("{fault}:{n}")).run();
            let failed = !output.status.success();
            if fault == "kill" {
                for again in again {
                    let fault = format!("kill:{}", n * again % 23 + 1);
                    let _may_be_killed = self.cmd("jail -q -r nosuch").env("JAIL_FAULT", fault).run();
                }
                self.sweep();
            } else if failed {
                assert!(output.to_string().contains("injected failure"), "{what}: {output}");
            }
            let done = output.to_string().contains("hint: the change is made");
            if done {
                self.sweep();
            }
            let now = self.state(case.names);
            let right = if failed && !done && (fault == "fail" || now != after) { &before } else { &after };
            assert_eq!(now, *right, "{what}: {output}");
            let findings = self.cmd("jdb audit --all").run();
            assert!(findings.status.success(), "{what}: {output} {findings} {}", self.sh("jdb trace"));
            self.sh(&format!("jail -r {}", now.0));
            self.lab.until(&format!("all is gone after {what}"), || self.left() == empty);
            if !failed {
                assert!(n > 4, "there are only {n} points");
                self.sh("jail -r '*' || true");
                return;
            }
        }
        panic!("the points never end");
    }
}

/// Each in a house of its own, beside an interface of the host's.
fn each_case(lab: &Lab, walk: impl Fn(&House<'_>, &Case)) {
    lab.sh("ip link add card0 address 02:00:00:00:00:77 mtu 1400 up type veth peer name card1");
    CASES.iter().for_each(|case| walk(&House::new(lab), case));
    lab.sh("ip link del card0");
}

lab_test!(a_change_that_is_killed_is_taken_back_or_done for root; needs [CgroupV2]; with timeout(300); |lab| {
    each_case(lab, |house, case| house.at_every_point("kill", case, &[]));
});

lab_test!(a_jail_that_is_let_go_stays_if_that_fails for root; needs [CgroupV2]; |lab| {
    let house = House::new(lab);
    let empty = house.left().1;
    for n in 1..400 {
        let what = format!("fail:{n}");
        house.sh(EMPTY.create);
        let before = house.state(EMPTY.names);
        let changed = house.cmd(EMPTY.change).env("JAIL_FAULT", &what).run().status.success();
        if !changed {
            assert_eq!(house.state(EMPTY.names), before, "{what}");
            house.sh("jdb audit --all; jail -r j");
        }
        lab.until(&format!("all is gone after {what}"), || house.left().1 == empty);
        // Killed, it goes one way or the other.
        house.sh(EMPTY.create);
        let _killed = house.cmd(EMPTY.change).env("JAIL_FAULT", format!("kill:{n}")).run();
        house.sweep();
        if house.cmd("jls -j j jid").run().status.success() {
            assert_eq!(house.state(EMPTY.names), before, "{what}");
            house.sh("jdb audit --all; jail -r j");
        }
        lab.until(&format!("all is gone after kill:{n}"), || house.left().1 == empty);
        if changed {
            assert!(n > 10, "there are only {n} points");
            return;
        }
    }
    panic!("the points never end");
});

lab_test!(a_change_of_processors_is_taken_back_or_done for root; needs [CgroupV2]; with timeout(300); |lab| {
    if !pins(lab, "a_change_of_processors_is_taken_back_or_done") {
        return;
    }
    for case in [PINNED, UNPINNED] {
        House::new(lab).at_every_point("kill", &case, &[]);
        House::new(lab).at_every_point("kill", &case, &[5, 11, 2]);
        House::new(lab).at_every_point("fail", &case, &[]);
    }
});

lab_test!(a_change_that_fails_leaves_exactly_what_was for root; needs [CgroupV2]; with timeout(300); |lab| {
    each_case(lab, |house, case| house.at_every_point("fail", case, &[]));
});

lab_test!(a_taking_back_that_is_killed_is_taken_up for root; needs [CgroupV2]; with timeout(300); |lab| {
    each_case(lab, |house, case| house.at_every_point("kill", case, &[5, 11, 2]));
});
