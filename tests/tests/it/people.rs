//! What people see: names, tables, terminals, and what those without rights are told.

use vimage_tests::lab_test;

use crate::shell::{gives, prints, quiet, refused, run};

lab_test!(a_jail_without_a_name_has_its_number_for_a_host_name for root; needs [CgroupV2]; |lab| {
    prints(lab, "jail -c jid=41 persist; jexec 41 hostname; jls host.hostname", "41\n41\n");
    prints(lab, "jail -c command=hostname", "1\n");
    quiet(lab, "jail -c persist=true");
    prints(lab, "jexec 2 hostname; jls -j 2 host.hostname; jail -m jid=2 host.hostname=x; jexec 2 hostname", "2\n2\nx\n");
    quiet(lab, "jail -q -r '*'");
});

lab_test!(who_lacks_a_right_to_look_is_told_which for root; needs [CgroupV2, Program("setpriv")]; |lab| {
    quiet(lab, "jail -c name=a persist exec.start='sleep 1000 & exit 0'");
    let user = "setpriv --reuid 65533 --regid 65533 --clear-groups";
    let hint = "hint: this needs CAP_DAC_READ_SEARCH, which root has";
    refused(lab, &format!("{user} jdb holders a"),
        "jdb: Operation not permitted\nhint: this needs CAP_SYS_PTRACE, which root has\n");
    for command in ["ledger", "bundle a /tmp/x"] {
        let error = run(lab, &format!("{user} jdb {command}")).fails(1);
        assert!(error.contains(": Permission denied\n") && error.ends_with(&format!("{hint}\n")), "{error}");
    }
    quiet(lab, "jail -r a");
});

lab_test!(a_holder_has_a_line for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist vnet exec.start='sleep 1000 & exit 0'");
    let table = lab.sh("jdb holders a");
    let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let of = |comm: &str| lines.iter().filter(|words| words.contains(&comm)).count();
    assert_eq!((of("init"), of("sleep"), of("vault"), lines.len()), (1, 1, 1, 4), "{table}");
    for kind in ["user", "mnt", "net", "ipc", "uts", "pid", "cgroup", "processes"] {
        assert!(lines[1].iter().any(|word| word.trim_matches(['[', ']', ',', '"']) == kind), "{kind}: {table}");
    }
    assert!(lab.sh("jdb show a").contains(" init "), "its init has a name");
    // Local time for people, seconds for programs.
    let created = lab.sh("jdb show a | grep ^created");
    assert!(created.contains('T') && created.contains(':'), "{created}");
    lab.sh("jdb --json show jails | grep -q '\"created\": [0-9]*,'");
    // What a trace prints is bounded.
    for _ in 0..5 {
        quiet(lab, "jail -m name=a host.hostname=x");
    }
    prints(lab, "jdb trace | grep -c ^command; jdb trace --last | grep -c ^command", "3\n1\n");
    assert!(lab.sh("jdb trace --all | grep -c ^command").trim().parse::<u32>().unwrap() > 5);
    quiet(lab, "jail -r a");
});

lab_test!(an_identity_that_was_not_given_is_shown for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist; jail -c name=b persist host=inherit; mkdir -p /tmp/tree/bin; jail -c name=c persist path=/tmp/tree");
    prints(lab, "test \"$(jls -j a host.hostuuid | tr -d -)\" = \"$(jexec a cat /etc/machine-id)\"; jls -j a host.hostid", "0\n");
    prints(lab, "test \"$(jls -j b host.hostuuid | tr -d -)\" = \"$(cat /etc/machine-id)\"", "");
    prints(lab, "jls -n -j c host.hostuuid host.hostid", "host.hostuuid=00000000-0000-0000-0000-000000000000 host.hostid=0\n");
    // What was shown can be given.
    quiet(lab, "line=$(jls -s -j c); jail -r c; eval jail -c $line");
    quiet(lab, "jail -q -r '*'");
});

lab_test!(output_that_goes_past_the_jails_terminal_is_left_alone for root; needs [CgroupV2, Program("script")]; |lab| {
    quiet(lab, "jail -c name=a persist");
    let line = "sleep 1 | script -qec \"jexec a sh -c 'echo one; echo two; sleep 0.3' | cat\" /dev/null";
    prints(lab, line, "one\r\ntwo\r\n");
    let line = "sleep 1 | script -qec \"jexec a sh -c 'echo one >&2; echo two | cat >&2; sleep 0.3' | cat\" /dev/null";
    prints(lab, line, "one\r\ntwo\r\n");
    prints(lab, "sleep 1 | script -qec \"jexec a printf 'one\\ntwo\\n'\" /dev/null", "one\r\ntwo\r\n");
    quiet(lab, "jail -r a");
});

lab_test!(a_stop_character_is_the_jails for root; needs [CgroupV2, Program("script")]; |lab| {
    quiet(lab, "jail -c name=a persist");
    // Nobody above the command could go on with it: the kernel stops no such process, nor is jexec stopped.
    let line = "(sleep 0.5; printf '\\032'; sleep 1.5) | script -qec 'jexec a sh -c \"sleep 1; echo over\"' /dev/null";
    prints(lab, line, "^Zover\r\n");
    quiet(lab, "jail -r a");
});

lab_test!(a_directory_that_is_not_there_is_named for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist");
    let error = "jexec: cannot change to the directory \"/nodir\": No such file or directory\n";
    gives(lab, "jexec -d /nodir a true", 1, "", error);
    quiet(lab, "jexec a sh -c 'sleep 1000 >/dev/null &'");
    gives(lab, "jexec -d /nodir a true", 1, "", error);
    quiet(lab, "jail -r a");
});

lab_test!(an_address_has_the_key_of_its_family for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a jid=5 persist vnet.link='eth0 lan fd09::12/64'; jail -c name=b jid=6 persist vnet.link='eth0 lan fd09::13/64 10.9.0.3/24'");
    let json = lab.sh("jls --libxo json");
    assert!(json.contains("\"ipv4\":\"\",\"ipv6\":\"fd09::12\"") && json.contains("\"ipv4\":\"10.9.0.3\",\"jid\":6"), "{json}");
    quiet(lab, "jail -q -r '*'");
});
