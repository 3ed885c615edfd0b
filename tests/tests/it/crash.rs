//! `kill -9`, and failures, before and after every piece of every subsystem: of one jail that has all of them, of jails
//! in jails, and of many at once. Interfaces of the host's are in `home`; its own on segments, and changes, in `change`.

use std::fs;

use vimage_tests::{Output, Snapshot, lab_test};

use crate::house::House;

/// What is made and removed.
struct Case {
    create: &'static str,
    remove: &'static str,
}

/// One jail with something of every subsystem: links, a cable, mounts, limits, a process.
const WHOLE: Case = Case {
    create: r#"exec jail -c name=w vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.link="eth1 x:eth1 10.8.0.1/24" \
        vnet.route="default via 10.9.0.1" vnet.sysctl="net.ipv4.ip_forward=1" rctl.maxproc=90 \
        host.hostname=w mqueue.queues=7 shm.size=1M sysvmsg.queues=9 mount="/tmp/data /mnt none rw" allow.raw_sockets \
        persist exec.start='sleep 31415.7 & exit 0'"#,
    remove: "exec jail -r w",
};

/// As [`WHOLE`], without the links, which vnet's own tests let fail at every point.
const PLAIN: Case = Case {
    create: r#"exec jail -c name=w vnet rctl.maxproc=90 \
        host.hostname=w mqueue.queues=7 shm.size=1M sysvmsg.queues=9 mount="/tmp/data /mnt none rw" persist"#,
    ..WHOLE
};

/// A jail in a jail, removed with it. It is the inner one whose making is killed.
const NESTED: Case = Case {
    create: "test -e $JAIL_ROOT/names/w || JAIL_FAULT= jail -c name=w children.max=4 rctl.maxproc=90 persist
        exec jail -c name=w.a vnet rctl.maxproc=50 persist exec.start='sleep 31415.7 & exit 0'",
    ..WHOLE
};

/// How many are removed at once.
const MANY: usize = 20;

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
        self.sh("mkdir -p /tmp/data; echo kept >/tmp/data/file");
        // What stays of a first jail is there before.
        self.sh(case.create);
        self.sh(case.remove);
        let before = self.empty();
        // Each of them takes up what is left: another creation, a removal, a repair.
        let mut next = [case.create, "jail -q -r w", "jdb repair"].into_iter().cycle();
        self.at_each_point(how, case.create, |_, what| {
            let by = next.next().unwrap_or_default();
            let _may_be_refused = self.cmd(by).run();
            if fs::symlink_metadata(format!("{}/names/w", self.root)).is_ok() {
                self.sh(case.remove);
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
        self.sh("jdb audit --all; test \"$(cat /tmp/data/file)\" = kept");
    }
}

lab_test!(a_jail_with_everything_is_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("kill", &WHOLE);
});

lab_test!(a_jail_with_everything_fails_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("fail", &PLAIN);
});

lab_test!(jails_in_jails_are_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    House::new(lab).walk("kill", &NESTED);
});

lab_test!(twenty_jails_at_once_are_killed_at_every_point for root; needs [CgroupV2]; with timeout(120); |lab| {
    let house = House::new(lab);
    // Two at a time, as there may be two processors.
    let half = |first| format!("for n in $(seq {first} 2 {MANY}); do jail -c name=w$n user=inherit host=inherit persist; done");
    let create = format!("({}) & {}; wait $!", half(1), half(2));
    house.sh(&format!("{create}; jail -r '*'"));
    let before = house.empty();
    house.sh(&create);
    house.at_each_point("kill", "exec jail -r '*'", |_, what| {
        house.is_as(&before, what);
        house.sh(&create);
    });
    house.sh("jail -r '*'");
});
