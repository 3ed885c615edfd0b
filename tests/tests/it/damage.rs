//! Records that are damaged or gone: the marks in the kernel find what they spoke of.

use std::fs;

use vimage_tests::lab_test;

use crate::house::House;

/// A jail with something of every subsystem, and a process.
const FULL: &str = r#"mkdir -p /tmp/data; echo kept >/tmp/data/file
    ip link show card0 >/dev/null 2>&1 || ip link add card0 address 02:00:00:00:00:77 mtu 1400 up type veth peer name card1
    jail -c name=w jid=7 vnet vnet.link="eth0 lan 10.9.0.11/24" vnet.host="lan 10.9.0.1/24" vnet.interface=card0 \
        rctl.maxproc=90 host.hostname=w mqueue.queues=7 mount="/tmp/data /mnt none rw" allow.raw_sockets \
        persist exec.start='sleep 31415.7 & exit 0'"#;

/// What can happen to a record, `$R`; and whether that is told, or it is as if there had been none.
const DAMAGES: [(&str, bool); 5] = [
    ("truncate -s 200 $R", true),
    ("truncate -s 0 $R", true),
    ("head -c 4096 /dev/urandom >$R", true),
    (r#"sed -i 's/"version":1,/"version":99,/' $R"#, true),
    ("rm $R", false),
];

impl House<'_> {
    /// Asserts that nothing runs any more of the jail above, and that what is not ours is as it was.
    #[track_caller]
    fn is_rid_of_it(&self, after: &str) {
        assert!(!self.cmd("pgrep -f 'sleep 31415.7$'").run().status.success(), "{after}");
        assert_eq!(fs::read_to_string("/tmp/data/file").unwrap(), "kept\n", "{after}");
        let card = self.sh("ip -o link show card0");
        assert!(
            card.contains("02:00:00:00:00:77") && card.contains(",UP") && !card.contains("alias"),
            "{after}: {card}"
        );
    }
}

lab_test!(what_a_damaged_record_spoke_of_is_found_by_its_marks for root; needs [CgroupV2]; with timeout(120); |lab| {
    lab.leaves_on_purpose("link card");
    let house = House::new(lab);
    // What stays of a first jail is there before.
    house.sh(&format!("jail -c name=n persist; {FULL}; jail -r w"));
    lab.until("the first is gone", || house.left().0 == house.left().0 && house.sh("jls -d name") == "n\n");
    let before = house.left();
    for (how, told) in DAMAGES {
        house.sh(FULL);
        house.sh(&format!("R=$JAIL_ROOT/jails/7/record; test -s $R; {how}"));
        // No other jail is the worse for it.
        assert_eq!(house.sh("jexec n true; jail -c name=x persist; jail -r x"), "");
        let said = house.cmd("jdb repair").run();
        let named = said.stderr.contains("/jails/7/record") && said.stderr.contains("hint: ");
        assert_eq!(named, told, "{how}: {said}");
        // As the hint says.
        house.sh("rm -rf $JAIL_ROOT/jails/7; jdb repair; jdb audit --all");
        house.is_rid_of_it(how);
        lab.until(&format!("nothing is left after {how}"), || house.left() == before);
        house.sh("jail -c name=w jid=7 persist; jail -r w");
    }
    house.sh("jail -r n");
});

lab_test!(a_jail_whose_folder_is_gone_is_in_nobodys_way for root; needs [CgroupV2]; |lab| {
    lab.leaves_on_purpose("link card");
    let house = House::new(lab);
    house.sh(&format!("{FULL}; rm -r $JAIL_ROOT/jails/7"));
    // Under its name and number, beside what is left of it, which is then found.
    house.sh("jail -c name=w jid=7 vnet vnet.link='eth0 lan' mount='/tmp/data /mnt none rw' persist; jexec w test -f /mnt/file");
    assert!(house.cmd("jdb audit").run().stdout.contains("is in no record"));
    house.sh("jdb repair; jdb audit; jexec w test -f /mnt/file");
    house.is_rid_of_it("repair");
    house.sh("jail -r w");
    house.is_rid_of_it("removal");
});

lab_test!(a_jail_in_a_jail_whose_record_is_gone_is_found for root; needs [CgroupV2]; |lab| {
    let house = House::new(lab);
    house.sh("jail -c name=a children.max=3 vnet persist; jail -c name=a.b jid=8 vnet rctl.maxproc=50 persist exec.start='sleep 31415.7 & exit 0'");
    house.sh("jail -c name=a.c persist; rm -r $JAIL_ROOT/jails/8; jdb repair; jdb audit");
    assert!(!house.cmd("pgrep -f 'sleep 31415.7$'").run().status.success());
    assert_eq!(house.sh("jls name"), "a\na.c\n");
    house.sh("jexec a.c true; jail -r a");
});

lab_test!(what_jails_share_is_found_when_its_record_is_damaged for root; needs [CgroupV2]; |lab| {
    for how in ["echo garbage >$R/record", "rm -r $R"] {
        let house = House::new(lab);
        house.sh("jail -c name=w vnet vnet.link='eth0 lan 10.9.0.11/24' persist; jail -c name=n persist");
        house.sh(&format!("R=$JAIL_ROOT/shared/vnet.segment,0:lan; test -s $R/record; {how}"));
        // It is gone with its jail or, where nobody understands it, named with what to do.
        let removed = house.cmd("jail -r w").run();
        let repaired = house.cmd("jdb repair").run();
        if !removed.status.success() {
            assert!(removed.stderr.contains("hint: rm -r ") && repaired.stderr.contains("hint: rm -r "), "{removed} {repaired}");
            house.sh("rm -r $JAIL_ROOT/shared/vnet.segment,0:lan; jdb repair");
        }
        house.sh("jdb audit --all; jail -c name=w vnet vnet.link='eth0 lan 10.9.0.11/24' persist; jail -r w n");
        assert!(house.empty().0.iter().all(|file| !file.contains('/')), "{how}: {:?}", house.left().0);
    }
});

lab_test!(a_store_whose_records_are_all_gone_is_repaired for root; needs [CgroupV2]; |lab| {
    lab.leaves_on_purpose("link card");
    let house = House::new(lab);
    for how in ["rm -r $JAIL_ROOT/jails", "cd $JAIL_ROOT; rm -r jails names shared ranges addresses pending"] {
        house.sh(&format!("{FULL}; {how}"));
        house.sh("jdb repair; jdb audit --all");
        house.is_rid_of_it(how);
        house.sh("jail -c name=w vnet vnet.link='eth0 lan 10.9.0.11/24' persist; jail -r w");
    }
});
