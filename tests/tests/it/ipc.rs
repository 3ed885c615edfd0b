//! Interprocess communication: each jail's is its own, within its own limits.

use vimage_tests::{Lab, lab_test};

use crate::escape::ATTEMPT;

lab_test!(one_key_holds_different_contents for root; needs [CgroupV2, Program("perl")]; |lab| {
    two(lab);
    for jail in ["a", "b"] {
        let wrote = in_jail(lab, jail, &format!(
            "my $id = shmget(KEY, 4096, IPC_CREAT | IPC_EXCL | 0600) // die $!; shmwrite($id, 'of {jail}', 0, 4) or die $!;
             my $q = msgget(KEY, IPC_CREAT | IPC_EXCL | 0600) // die $!; msgsnd($q, pack('l! a*', 1, 'to {jail}'), 0) or die $!;
             my $s = semget(KEY, 1, IPC_CREAT | IPC_EXCL | 0600) // die $!; semctl($s, 0, SETVAL, ord '{jail}') // die $!;
             print 'made';"
        ));
        assert_eq!(wrote, "made");
    }
    assert_eq!(lab.sh("tail -q -n +2 /proc/sysvipc/*"), "", "the lab sees what belongs to jails");
    for jail in ["a", "b"] {
        let read = in_jail(lab, jail,
            "my $id = shmget(KEY, 0, 0) // die $!; shmread($id, my $text, 0, 4) or die $!;
             my $q = msgget(KEY, 0) // die $!; msgrcv($q, my $message, 64, 0, IPC_NOWAIT) or die $!;
             my $s = semget(KEY, 1, 0) // die $!;
             print $text, ', ', substr($message, 8), ', ', chr semctl($s, 0, GETVAL, 0);",
        );
        assert_eq!(read, format!("of {jail}, to {jail}, {jail}"));
    }
    // A child of a jail's own does not see them either; and they end with the jail.
    lab.sh("jail -r a && jail -c name=a persist");
    assert_eq!(in_jail(lab, "a", "print defined shmget(KEY, 0, 0) ? 'there' : $!"), "No such file or directory");
    lab.sh("jail -r a b");
});

lab_test!(private_keys_and_removal_while_attached for root; needs [CgroupV2, Program("perl")]; |lab| {
    lab.sh("jail -c name=a persist");
    // As in ltp: each IPC_PRIVATE is another, and a removed segment lives until the last who has it attached is gone.
    let said = in_jail(lab, "a",
        "my ($x, $y) = map { shmget(IPC_PRIVATE, 4096, 0600) // die $! } 1, 2; print $x != $y ? 'two ' : 'one ';
         my $at = syscall(SHMAT, $x, 0, 0); $at != -1 or die $!;
         shmwrite($x, 'kept', 0, 4) or die $!; shmctl($x, IPC_RMID, 0) or die $!;
         my ($line) = grep { (split)[1] eq $x } split /\\n/, `cat /proc/sysvipc/shm`;
         print((split ' ', $line)[6], ' attached, ', unpack('P4', pack('J', $at)), ', ');
         my $s = semget(IPC_PRIVATE, 1, 0600); my $child = fork // die $!;
         if (!$child) { exit(semop($s, pack('s3', 0, -1, 0)) ? 0 : $!{EIDRM} ? 7 : 1) }
         select(undef, undef, undef, 0.2); semctl($s, 0, IPC_RMID, 0) // die $!;
         waitpid($child, 0); print 'woken by ', $? >> 8;",
    );
    assert_eq!(said, "two 1 attached, kept, woken by 7");
    // The process that had the first attached is gone, and with it the segment.
    assert_eq!(lab.sh("jexec a tail -n +2 /proc/sysvipc/shm").lines().count(), 1);
    lab.sh("jail -r a");
});

lab_test!(a_limit_is_the_jails_own_and_can_change for root; needs [CgroupV2, Program("perl")]; |lab| {
    lab.sh(
        "jail -c name=a sysvshm.segments=2 sysvshm.max=8192 sysvmsg.queues=1 sysvsem.sets=1 mqueue.queues=1 shm.size=65536 persist
        jail -c name=b persist",
    );
    let count = |jail: &str, make: &str| {
        in_jail(lab, jail, &format!("my $n = 0; while ($n < 5 && defined {make}) {{ $n++ }} print qq($n $!);"))
    };
    let full = "No space left on device";
    assert_eq!(count("a", "shmget(IPC_PRIVATE, 4096, 0600)"), format!("2 {full}"));
    assert_eq!(count("a", "msgget(IPC_PRIVATE, 0600)"), format!("1 {full}"));
    assert_eq!(count("a", "semget(IPC_PRIVATE, 1, 0600)"), format!("1 {full}"));
    for make in ["shmget(IPC_PRIVATE, 4096, 0600)", "msgget(IPC_PRIVATE, 0600)", "semget(IPC_PRIVATE, 1, 0600)"] {
        assert!(count("b", make).starts_with("5 "));
    }
    assert_eq!(in_jail(lab, "b", "print defined shmget(IPC_PRIVATE, 8193, 0600) ? 'made' : $!"), "made");
    lab.sh("jail -m name=a sysvshm.segments=4");
    assert_eq!(count("a", "shmget(IPC_PRIVATE, 4096, 0600)"), format!("2 {full}"));
    lab.sh("jail -m name=a sysvshm.segments=10");
    assert_eq!(in_jail(lab, "a", "print defined shmget(IPC_PRIVATE, 8193, 0600) ? 'made' : $!"), "Invalid argument");

    lab.cmd("jexec").args(["a", "dd", "if=/dev/zero", "of=/dev/shm/large", "bs=65537", "count=1"]).run().fails(1);
    lab.sh("jexec a rm /dev/shm/large; jail -m name=a shm.size=131072; jexec a dd if=/dev/zero of=/dev/shm/large bs=65537 count=1");
    lab.sh("jexec a mkdir /dev/mqueue/x 2>/dev/null || jexec a touch /dev/mqueue/x");
    lab.cmd("jexec").arg_line("a touch /dev/mqueue/y").run().fails(1);
    lab.sh("jail -r a b");
});

lab_test!(what_is_disabled_is_not_implemented_and_nothing_else_is for root;
    needs [CgroupV2, Program("perl")]; |lab| {
    let kinds = [
        ("sysvshm", "shmget(IPC_PRIVATE, 4096, 0600)"),
        ("sysvmsg", "msgget(IPC_PRIVATE, 0600)"),
        ("sysvsem", "semget(IPC_PRIVATE, 1, 0600)"),
    ];
    for (off, _) in kinds {
        lab.sh(&format!("jail -c name=a {off}=disable persist"));
        for (kind, make) in kinds {
            let said = in_jail(lab, "a", &format!("print defined {make} ? 'made' : $!;"));
            assert_eq!(said, if kind == off { "Function not implemented" } else { "made" }, "{off} {kind}");
        }
        lab.sh("jail -r a");
    }
});

/// Every way to each kind, in the words of the example `attempt`. None fails with ENOSYS where the kind is there; what
/// begins with int80 is by the entry of 32-bit programs: ipc(2), the same with a version in its upper half, and the
/// numbers that each call has had since Linux 5.1.
#[rustfmt::skip]
const WAYS: &[(&str, &[&str])] = &[
    ("sysvshm", &[
        "shmget 0 4096 0x380", "shmat -1 0 0", "shmdt 1", "shmctl -1 2 0",
        "int80:117 23 0 4096 0x380", "int80:117 21 -1 0 0 0", "int80:117 22 0 0 0 1", "int80:117 24 -1 2 0 0",
        "int80:117 0x10017 0 4096 0x380",
        "int80:395 0 4096 0x380", "int80:396 -1 2 0", "int80:397 -1 0 0", "int80:398 1",
    ]),
    ("sysvsem", &[
        "semget 0 1 0x380", "semop -1 0 0", "semtimedop -1 0 0 0", "semctl -1 0 0 0",
        "int80:117 2 0 1 0x380", "int80:117 1 -1 0 0 0", "int80:117 4 -1 0 0 0", "int80:117 3 -1 0 0 0",
        "int80:117 0x10002 0 1 0x380",
        "int80:393 0 1 0x380", "int80:394 -1 0 0 0", "int80:420 -1 0 0 0",
    ]),
    ("sysvmsg", &[
        "msgget 0 0x380", "msgsnd -1 0 1 0", "msgrcv -1 0 1 0 0", "msgctl -1 2 0",
        "int80:117 13 0 0x380", "int80:117 11 -1 1 0 0", "int80:117 12 -1 1 0 0", "int80:117 14 -1 2 0 0",
        "int80:117 0x1000d 0 0x380",
        "int80:399 0 0x380", "int80:400 -1 0 1 0", "int80:401 -1 0 1 0 0", "int80:402 -1 2 0",
    ]),
];

lab_test!(no_way_leads_to_what_is_disabled_and_each_to_what_is_not for root; needs [CgroupV2]; |lab| {
    // Not every kernel has the entry of 32-bit programs; getpid(2) is always answered by one that has.
    let has_entry = lab.cmd(ATTEMPT).stdin("int80:20\n").run().stdout == "ok\n";
    let ways = WAYS.iter().flat_map(|(kind, calls)| calls.iter().map(move |call| (*kind, *call)));
    let ways: Vec<_> = ways.filter(|(_, call)| has_entry || !call.starts_with("int80")).collect();
    // By x32 there is no call at all.
    let lines: String = ways.iter().map(|(_, call)| format!("{call}\n")).chain(["0x4000001d 0 4096 0x380\n".into()]).collect();
    for user in ["new", "inherit"] {
        for off in [&[][..], &["sysvshm"], &["sysvsem"], &["sysvmsg"], &["sysvshm", "sysvsem", "sysvmsg"]] {
            let jail = lab.cmd("jail").args(["-c", &format!("user={user}")]);
            let jail = jail.args(off.iter().map(|kind| format!("{kind}=disable")));
            let answers = jail.arg(format!("command={ATTEMPT}")).stdin(&lines).run().ok();
            let answers: Vec<_> = answers.lines().collect();
            assert_eq!(answers.len(), ways.len() + 1, "{answers:?}");
            for ((kind, call), answer) in ways.iter().zip(&answers) {
                assert_eq!(*answer == "ENOSYS", off.contains(kind), "user={user}, without {off:?}: {call}: {answer}");
            }
            assert_eq!(answers.last(), Some(&"ENOSYS"));
        }
    }
});

lab_test!(posix_names_are_the_jails_own_and_outlive_its_processes for root; needs [CgroupV2]; |lab| {
    two(lab);
    for jail in ["a", "b"] {
        lab.sh(&format!("jexec {jail} sh -c 'echo {jail} >/dev/shm/name; : >/dev/mqueue/name; : >/dev/mqueue/of-{jail}'"));
    }
    assert_eq!(lab.sh("ls /dev/shm"), "");
    for (jail, other) in [("a", "b"), ("b", "a")] {
        // Nobody runs in either between two commands.
        assert_eq!(lab.sh(&format!("jexec {jail} cat /dev/shm/name")), format!("{jail}\n"));
        assert_eq!(lab.sh(&format!("jexec {jail} ls /dev/mqueue")), format!("name\nof-{jail}\n"));
        assert!(!lab.sh(&format!("jexec {jail} ls /dev/mqueue /dev/shm")).contains(&format!("of-{other}")));
    }
    lab.sh("jail -r a; jail -c name=a persist");
    assert_eq!(lab.sh("jexec a ls /dev/shm"), "");
    lab.sh("jail -r a b");
});

lab_test!(what_is_inherited_is_shared_with_the_parent for root; needs [CgroupV2, Program("perl")]; |lab| {
    lab.sh(
        "jail -c name=a children.max=2 persist
        jail -c name=a.shares sysvshm=inherit sysvsem=inherit sysvmsg=inherit mqueue=inherit shm=inherit persist
        jail -c name=a.own persist",
    );
    lab.sh("jexec a sh -c 'echo parent >/dev/shm/name'");
    in_jail(lab, "a", "my $id = shmget(KEY, 4096, IPC_CREAT | 0666) // die $!; shmwrite($id, 'parent', 0, 6) or die $!;");
    let read = "my $id = shmget(KEY, 0, 0) // do { print $!; exit }; shmread($id, my $t, 0, 6) or die $!; print $t;";
    assert_eq!(in_jail(lab, "a.shares", read), "parent");
    assert_eq!(lab.sh("jexec a.shares cat /dev/shm/name"), "parent\n");
    assert_eq!(in_jail(lab, "a.own", read), "No such file or directory");
    assert_eq!(lab.sh("jexec a.own ls /dev/shm"), "");
    lab.sh("jail -r a");
});

fn two(lab: &Lab) {
    lab.sh("jail -c name=a persist; jail -c name=b persist");
}

/// Runs a piece of perl in a jail, with what it needs of IPC, and returns what it prints.
#[track_caller]
fn in_jail(lab: &Lab, jail: &str, script: &str) -> String {
    let shmat = if cfg!(target_arch = "aarch64") { 196 } else { 30 };
    let program = format!(
        "use strict; use Errno; use IPC::SysV qw(IPC_CREAT IPC_EXCL IPC_NOWAIT IPC_PRIVATE IPC_RMID GETVAL SETVAL);
         use constant {{ KEY => 0x76696d67, SHMAT => {shmat} }}; $| = 1; {script}"
    );
    lab.cmd("jexec").args([jail, "perl", "-e", &program]).run().ok()
}
