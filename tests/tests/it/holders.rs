//! Every way to keep a removed jail's namespaces: the jail is in nobody's way, `jdb holders` names the holder, and
//! the jail goes when that lets go.

use std::time::{Duration, Instant};

use vimage_tests::{Background, Lab, lab_test};

use crate::shell::{all_gone, gives, jid, prints, quiet, refused, run};

/// What takes a closer look.
mod hidden;

/// A jail `a` with a process; returns the jail's number and that process.
fn held(lab: &Lab) -> (u32, String) {
    quiet(lab, "jail -c name=a persist vnet exec.start='sleep 31415 & exit 0'");
    (jid(lab, "a"), lab.sh("pgrep -fx 'sleep 31415'").trim().to_owned())
}

/// A program that holds a namespace of a process in one of the ways of holder.py.
fn holder(lab: &Lab, kind: &str, pid: &str) -> Background {
    let program = lab.dir().join("holder.py");
    std::fs::write(&program, include_str!("holder.py")).expect("the lab has a disk");
    let holder = lab.spawn(&format!("exec 2>&1; exec python3 {} {kind} {pid}", program.display()));
    lab.until(&format!("it is held: {kind}"), || match holder.stdout().as_str() {
        "" => false,
        "held\n" => true,
        other => panic!("{kind}: {other}"),
    });
    holder
}

/// A line of the table: whose, the beginning of what, and one of the kinds that it holds.
type Row<'a> = (&'a str, &'a str, &'a str);

/// Removes the jail, asserts that the holder is named so, and that the jail goes with it.
#[track_caller]
fn named(lab: &Lab, jid: u32, holder: Background, expected: &[Row<'_>]) {
    let number = removed(lab, jid);
    says(lab, "", &number, &holder, expected);
    goes_with(lab, &number, holder);
}

/// Removes the jail, which keeps neither name nor number from anybody. Returns the number that it has as it is dying.
#[track_caller]
fn removed(lab: &Lab, jid: u32) -> String {
    quiet(lab, "jail -r a");
    prints(lab, &format!("jail -i -c name=a jid={jid} persist; jail -q -r a"), &format!("{jid}\n"));
    lab.sh("jls -d name jid | awk '$1 == \"a\" { last = $2 } END { print last }'").trim().to_owned()
}

/// Asserts that a dying jail is gone when its holder is.
#[track_caller]
fn goes_with(lab: &Lab, number: &str, holder: Background) {
    let busy = format!("jdb: jail \"{number}\" is not gone\nhint: jdb holders {number} says who holds it\n");
    refused(lab, &format!("jdb wait {number} 0.1"), &busy);
    let waits = lab.spawn(&format!("exec jdb wait {number} 20"));
    drop(holder);
    assert!(waits.finish().status.success());
    gives(lab, &format!("jdb holders {number}"), 1, "", &format!("jdb: jail \"{number}\" not found\n"));
    all_gone(lab);
}

/// Asserts that the table of a dying jail has these lines of a holder.
#[track_caller]
fn says(lab: &Lab, mask: &str, number: &str, holder: &Background, expected: &[Row<'_>]) {
    let find = |rows: &serde_json::Value, (whose, what, holds): Row<'_>| {
        rows.as_array().expect("a table").iter().any(|row| {
            row["whose"] == whose
                && row["what"].as_str().is_some_and(|text| matches(text, what))
                && row["holds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == holds))
                && row["release"].as_str().is_some_and(|text| !text.is_empty())
                && (whose == "kernel" || row["pid"] == holder.id())
        })
    };
    // What the jail itself had takes a moment to go, and hides meanwhile what is held for longer.
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let table = lab.sh(&format!("JAIL_MASK={mask} jdb --json holders {number}"));
        let rows = serde_json::from_str(&table).expect("JSON");
        let missing: Vec<_> = expected.iter().filter(|row| !find(&rows, **row)).collect();
        if missing.is_empty() && !table.contains("nobody") {
            return;
        }
        assert!(Instant::now() < deadline, "{missing:?} of {} is not in {table}", holder.id());
    }
}

/// Whether a text begins as a pattern does, in which `#` stands for any number.
fn matches(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('#');
    let rest = parts.next().and_then(|first| text.strip_prefix(first));
    let digit = |c: char| c.is_ascii_digit();
    rest.is_some_and(|rest| {
        parts
            .try_fold(rest, |rest, part| {
                let after = rest.trim_start_matches(digit);
                if after.len() == rest.len() { None } else { after.strip_prefix(part) }
            })
            .is_some()
    })
}

lab_test!(a_descriptor_of_the_stack for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "descriptor", &pid);
    named(lab, jid, by, &[("foreign", "fd #", "net"), ("kernel", "namespaces that it owns", "user")]);
});

lab_test!(a_descriptor_that_was_opened_through_a_mount for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "pinned", &pid);
    named(lab, jid, by, &[("foreign", "fd ", "net")]);
});

lab_test!(sockets_of_all_families for root; needs [CgroupV2, Program("python3")]; |lab| {
    for (kind, what) in [
        ("tcp", "tcp socket 127.0.0.1:4711"),
        ("udp", "udp socket"),
        ("unix", "unix socket"),
        ("netlink", "netlink socket"),
        ("packet", "packet socket"),
    ] {
        let (jid, pid) = held(lab);
        let by = holder(lab, kind, &pid);
        let line = lab.sh(&format!("jdb holders a | grep ' {} '", by.id()));
        assert!(line.contains(what) && line.contains("foreign"), "{line}");
        named(lab, jid, by, &[("foreign", "fd ", "net")]);
    }
});

lab_test!(what_does_not_show_by_itself for root; needs [CgroupV2, Program("python3")]; |lab| {
    for (kind, whose, what, holds) in [
        ("ring", "foreign", "fd ", "net"),
        // The removal has ended the connection, and so it is in no table.
        ("tcpring", "perhaps", "fd ", "net"),
        ("flight", "perhaps", "fd ", "net"),
        ("mapping", "foreign", "mapping of socket:[", "net"),
        ("table", "perhaps", "fd ", "net"),
        ("segment", "foreign", "mapping of SysV shared memory, key 0x00001234, id 0", "ipc"),
        ("ipctable", "perhaps", "fd ", "ipc"),
    ] {
        let (jid, pid) = held(lab);
        let by = holder(lab, kind, &pid);
        named(lab, jid, by, &[(whose, what, holds)]);
    }
});

lab_test!(an_interface_that_was_made_inside for root; needs [CgroupV2, Program("python3"), Device("/dev/net/tun")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "tap", &pid);
    named(lab, jid, by, &[("foreign", "fd ", "net")]);
    // It is kept by whoever opened the device there, with an interface or without, and wherever that is by now.
    for kind in ["baretap", "movedtap"] {
        let (jid, pid) = held(lab);
        let by = holder(lab, kind, &pid);
        named(lab, jid, by, &[("foreign", "fd #, tun or tap interface", "net")]);
    }
});

lab_test!(a_thread_whose_first_has_ended for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "thread", &pid);
    named(lab, jid, by, &[("foreign", "thread ", "net")]);
});

lab_test!(a_mount_elsewhere for root; needs [CgroupV2]; |lab| {
    let (jid, pid) = held(lab);
    let pin = format!("touch /tmp/pin; mount --bind /proc/{pid}/ns/net /tmp/pin; echo held; exec sleep 1000");
    let by = lab.spawn(&format!("exec unshare --mount sh -c '{pin}'"));
    lab.until("it is held", || by.stdout() == "held\n");
    named(lab, jid, by, &[("foreign", "mount /tmp/pin", "net")]);
});

lab_test!(a_connection_that_was_orphaned_later for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "orphan", &pid);
    quiet(lab, "jail -r a");
    lab.sh(&format!("kill -USR1 {}", by.id()));
    assert!(by.finish().status.success());
    let table = lab.sh(&format!("jdb holders {jid}"));
    assert!(table.contains("orphan tcp connection") && table.contains("jdb repair"), "{table}");
    // The kernel would go on with it for minutes.
    quiet(lab, &format!("jdb wait {jid} 10"));
    all_gone(lab);
});

lab_test!(what_others_have_open_is_not_opened for root; needs [CgroupV2, Program("python3")]; |lab| {
    held(lab);
    // To open it for reading waits for a writer, who never comes.
    let reads = r#"import os, time; os.mkfifo("/tmp/fifo"); os.open("/tmp/fifo", os.O_RDONLY | os.O_NONBLOCK); print("held", flush=True); time.sleep(1000)"#;
    let by = lab.spawn(&format!("exec python3 -c '{reads}'"));
    lab.until("it is open", || by.stdout() == "held\n");
    lab.sh("timeout 10 jdb holders a");
    quiet(lab, "jail -r a; rm /tmp/fifo");
});

lab_test!(who_waits_is_told_as_json_and_a_repair_says_what_is_held for root; needs [CgroupV2, Program("python3")]; |lab| {
    let (jid, pid) = held(lab);
    let by = holder(lab, "descriptor", &pid);
    quiet(lab, "jail -r a");
    let outcome = |line: &str, status| {
        let output = run(lab, line);
        assert_eq!(output.status.code(), Some(status), "{output}");
        let json: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert!(json["jail"] == "a" && json["jid"] == jid && json["waited"].is_number(), "{json}");
        json["gone"].as_bool()
    };
    assert_eq!(outcome(&format!("jdb --json wait {jid} 0.1"), 1), Some(false));
    // It waits for others, which is no fault.
    let repaired = lab.sh("jdb repair");
    assert!(repaired.starts_with("a: still dying: ") && repaired.ends_with(&format!(" (jdb holders {jid})\n")), "{repaired}");
    quiet(lab, "jdb audit");
    drop(by);
    assert_eq!(outcome(&format!("jdb --json wait {jid} 20"), 0), Some(true));
    all_gone(lab);
});

lab_test!(a_jail_without_a_holder_is_gone_when_it_is_waited_for for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist vnet");
    let number = jid(lab, "a");
    refused(lab, "jdb wait a x", "jdb: wait: \"x\" is no number of seconds\n");
    for seconds in ["-1", "-0.5"] {
        refused(lab, &format!("jdb wait a {seconds}"), "jdb: wait: seconds cannot be negative\n");
    }
    refused(lab, "jdb wait b", "jdb: jail \"b\" not found\n");
    let waits = lab.spawn("exec jdb wait a");
    quiet(lab, "jail -r a");
    assert!(waits.finish().status.success());
    refused(lab, &format!("jdb wait {number}"), &format!("jdb: jail \"{number}\" not found\n"));
    prints(lab, "jls -d name", "");
    // The time is kept.
    quiet(lab, "jail -c name=a persist");
    let start = Instant::now();
    lab.sh("! jdb wait a 0.3");
    assert!(start.elapsed() >= Duration::from_millis(300));
    quiet(lab, "jail -r a");
});
