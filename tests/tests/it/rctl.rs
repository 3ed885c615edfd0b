//! Rules that limit what jails use, rctl(8), and the resources that they limit.

use std::time::{Duration, Instant};

use vimage_tests::{Lab, Output, lab_test};

use crate::{
    house::House,
    shell::{all_gone, gives, prints, quiet, refused, run},
};

/// What begins a line that is about a store of the test's own: version 1 hierarchies are common to all labs.
fn own(lab: &Lab) -> String {
    format!("export JAIL_ROOT={};", House::new(lab).root)
}

/// Whether this host can limit a resource as a whole: where no controller is there, that is what is said.
fn limits(lab: &Lab, rule: &str) -> bool {
    let added = run(lab, &format!("{} rctl -a jail:probe:{rule}", own(lab)));
    if added.stderr.contains("no cgroup controller can limit it")
        || added.stderr.contains("of the cgroup controller")
    {
        eprintln!("SKIP {rule}: {}", added.stderr.lines().next().unwrap_or_default());
        return false;
    }
    assert_eq!(added.ok(), "");
    true
}

lab_test!(rules_are_kept_and_filtered for root; needs [CgroupV2]; |lab| {
    prints(lab, "rctl; rctl ::; rctl -l jail:a", "");
    quiet(lab, "rctl -a jail:a:openfiles:deny=1k/process j:b:nshm:deny=2");
    quiet(lab, "rctl -a jail:a:nmsgq:deny=10; rctl -a jail:a:nmsgq:deny=5 jail:a:nmsgq:deny=5 jail:a.c:shmsize:deny=1536M");
    let all = "jail:a:openfiles:deny=1024/process\njail:b:nshm:deny=2\njail:a:nmsgq:deny=10\njail:a:nmsgq:deny=5\njail:a.c:shmsize:deny=1610612736\n";
    for everything in ["", ":", "::", "jail", "jail:", ":::", ":::deny"] {
        prints(lab, &format!("rctl {everything}"), all);
    }
    for (filter, meant) in [
        ("jail:b", "jail:b:nshm:deny=2\n"),
        ("j:a:openfiles", "jail:a:openfiles:deny=1024/process\n"),
        ("::nmsgq", "jail:a:nmsgq:deny=10\njail:a:nmsgq:deny=5\n"),
        (":::deny=5", "jail:a:nmsgq:deny=5\n"),
        (":::/process", "jail:a:openfiles:deny=1024/process\n"),
        (":::throttle", ""),
        ("-h jail:a.c", "jail:a.c:shmsize:deny=1.5G\n"),
        ("-hn j:a:openfiles", "jail:a:openfiles:deny=1.0K/process\n"),
        ("-l jail:a.c:nmsgq", "jail:a:nmsgq:deny=10\njail:a:nmsgq:deny=5\n"),
        ("-l jail:ab", ""),
        ("-l jail:b", "jail:b:nshm:deny=2\n"),
    ] {
        prints(lab, &format!("rctl {filter}"), meant);
    }
    refused(lab, "rctl ::::/process", "rctl: malformed rule '::::/process': a rule has four parts\nhint: it looks like jail:NAME:RESOURCE:ACTION=AMOUNT\n");
    // Anybody may read them.
    prints(lab, "setpriv --reuid 65534 --regid 65534 --clear-groups rctl jail:b", "jail:b:nshm:deny=2\n");
    quiet(lab, "rctl -r jail:a:nmsgq:deny=10 ::shmsize");
    prints(lab, "rctl", "jail:a:openfiles:deny=1024/process\njail:b:nshm:deny=2\njail:a:nmsgq:deny=5\n");
    refused(lab, "rctl -r jail:a:nmsgq:deny=10", "rctl: failed to remove rule 'jail:a:nmsgq:deny=10': no such rule\n");
    quiet(lab, "rctl -r :; rctl; rctl -r :");
});

lab_test!(a_rule_that_cannot_be_is_refused_with_its_reason for root; needs [CgroupV2]; |lab| {
    let looks = "hint: it looks like jail:NAME:RESOURCE:ACTION=AMOUNT\n";
    let no_daemon = "hint: memory.events and pids.events of the jail's cgroup count how often one was; rctl -u says how far it is\n";
    for (rule, what, reason) in [
        ("nonsense", "malformed", format!("unknown subject 'nonsense'\n{looks}")),
        ("jail", "malformed", format!("it names no jail\n{looks}")),
        ("jail::nthr:deny=1", "malformed", format!("it names no jail\n{looks}")),
        ("jail:a", "malformed", format!("it names no resource\n{looks}")),
        ("jail:a:nthr", "malformed", "it names no action\nhint: jail:a:nthr:deny=AMOUNT\n".into()),
        ("jail:a:nthr:frob=1", "malformed", "unknown action 'frob'\nhint: jail:a:nthr:deny=AMOUNT\n".into()),
        ("jail:a:nthr:deny", "malformed", "it names no amount\nhint: jail:a:nthr:deny=AMOUNT\n".into()),
        ("jail:a:nthr:deny=x", "malformed", "invalid numeric value 'x'\n".into()),
        ("jail:a:nthr:deny=1q", "malformed", "invalid numeric value '1q'\n".into()),
        ("jail:a:nthr:deny=-1", "malformed", "invalid numeric value '-1'\n".into()),
        ("jail:a:shmsize:deny=16e", "malformed", "invalid numeric value '16e'\n".into()),
        ("jail:a:nthr:deny=0", "malformed", "amount out of range \"0\"\nhint: from 1 to 4194304\n".into()),
        ("jail:a:nthr:deny=1/x", "malformed", "unknown subject 'x' behind /\nhint: jail:a:nthr:deny=1\n".into()),
        ("jail:a/b:nthr:deny=1", "malformed", format!("no jail has such a name\n{looks}")),
        ("jail:a:b:c:nthr:deny=1", "malformed", format!("a rule has four parts\n{looks}")),
        ("user:0:nthr:deny=1", "add", "subject user: Linux limits a user's processes one by one, and nothing that they use together\n\
            hint: a jail for the user's programs has limits; limits.conf(5) has those of a login\n".into()),
        ("p:1:nthr:deny=1", "add", "subject process: a limit of one process ends with it and is no rule\n\
            hint: /process behind an amount limits each process of a jail; prlimit(1) limits one process\n".into()),
        ("loginclass:x:nthr:deny=1", "add", "subject loginclass: Linux has no login classes\nhint: limits.conf(5) has limits of a login\n".into()),
        ("jail:a:wallclock:deny=1", "add", "resource wallclock: Linux ends no process because of its age, and nothing of ours runs to do it\n\
            hint: command=\"timeout 3600 ...\" ends a program, jail -r in a timer of systemd(1) a jail\n".into()),
        ("jail:a:nthr:log=1", "add", format!("action log: Linux logs no limit that is reached, and nothing of ours runs to see it\n{no_daemon}")),
        ("jail:a:nthr:devctl=1", "add", "action devctl: Linux has no devctl(4)\nhint: rctl -u says how far a jail is from a limit\n".into()),
        ("jail:a:memoryuse:sigterm=1g", "add", "action sigterm: Linux sends no signal at a limit of memoryuse, and nothing of ours runs to do it\n\
            hint: jail:a:memoryuse:deny=AMOUNT\n".into()),
        ("jail:a:cputime:sigxcpu=1/process", "add", "action sigxcpu: a process can put off every signal of cputime but SIGKILL\n\
            hint: jail:a:cputime:sigkill=AMOUNT/process\n".into()),
        ("jail:a:cputime:deny=1/process", "add", "action deny: what is above a limit of cputime is killed\nhint: jail:a:cputime:sigkill=AMOUNT/process\n".into()),
        ("jail:a:readbps:deny=1m", "add", "action deny: what is above a limit of readbps waits\nhint: jail:a:readbps:throttle=AMOUNT\n".into()),
        ("jail:a:openfiles:deny=100", "add", "Linux limits openfiles of each process, and not of a jail\nhint: jail:a:openfiles:deny=100/process\n".into()),
        ("jail:a:nshm:deny=1/process", "add", "Linux limits nshm of a jail, and not of each process\nhint: jail:a:nshm:deny=1\n".into()),
        ("jail:a:nshm:deny=1/user", "add", "Linux limits nshm of a jail, and not of each user\nhint: jail:a:nshm:deny=1\n".into()),
    ] {
        let doing = if what == "add" { "failed to add rule" } else { "malformed rule" };
        refused(lab, &format!("rctl -a '{rule}'"), &format!("rctl: {doing} '{rule}': {reason}"));
    }
    for (rule, begins) in [("jail:a:frobs:deny=1", "unknown resource 'frobs'\nhint: cputime, "), ("jail:a b:nshm:deny=1", "it has a blank")] {
        let refusal = run(lab, &format!("rctl -a '{rule}'")).fails(1);
        assert!(refusal.starts_with(&format!("rctl: malformed rule '{rule}': {begins}")), "{refusal}");
    }
    // The status is the number of those that failed, and the others are added.
    let two = run(lab, "rctl -a x jail:a:nshm:deny=1 y; echo $?; rctl; rctl -r jail:a");
    assert_eq!(two.stdout, "2\njail:a:nshm:deny=1\n", "{two}");
    gives(lab, "rctl -a x -r y", 3, "", "rctl: malformed rule 'x': unknown subject 'x'\nhint: it looks like jail:NAME:RESOURCE:ACTION=AMOUNT\n\
        rctl: malformed rule '-r': unknown subject '-r'\nhint: it looks like jail:NAME:RESOURCE:ACTION=AMOUNT\n\
        rctl: malformed rule 'y': unknown subject 'y'\nhint: it looks like jail:NAME:RESOURCE:ACTION=AMOUNT\n");
    refused(lab, "rctl -a -r x", "rctl: at most one of -a, -l, -r, or -u may be specified\n");
    refused(lab, "rctl -u jail:nosuch", "rctl: failed to show resource consumption for 'jail:nosuch': jail \"nosuch\" not found\n");
    refused(lab, "rctl -u ::", "rctl: failed to show resource consumption for '::': it names no jail\nhint: it looks like jail:NAME\n");
    assert!(run(lab, "rctl -u").fails(1).starts_with("usage: rctl [-hn] [FILTER ...]\n"));
    let unprivileged = run(lab, "setpriv --reuid 65534 --regid 65534 --clear-groups rctl -a jail:a:nshm:deny=1");
    assert_eq!((unprivileged.status.code(), unprivileged.stdout.as_str()), (Some(1), ""), "{unprivileged}");
    // What the parameters say.
    refused(lab, "jail -c name=a persist rctl.rules=x", "jail: rctl.rules: read-only parameter\n");
    refused(lab, "jail -c name=a persist rctl.wallclock=1", "jail: rctl.wallclock: Linux ends no process because of its age, and nothing of ours runs to do it\n\
        hint: command=\"timeout 3600 ...\" ends a program, jail -r in a timer of systemd(1) a jail\n");
    refused(lab, "jail -c name=a persist rctl.datasize=1", "jail: rctl.datasize: value out of range \"1\"\nhint: at least 4096\n");
    refused(lab, "jail -c name=a persist rctl.nshm=1 sysvshm=inherit sysvsem=inherit sysvmsg=inherit", "jail: rctl.nshm needs sysvshm=new, which is inherit\n");
});

lab_test!(a_rule_comes_before_its_jail_and_outlives_it for root; needs [CgroupV2]; |lab| {
    let seen = "sh -c 'ulimit -n; cat /proc/sys/kernel/msgmni'";
    quiet(lab, "rctl -a jail:a:openfiles:deny=64/process jail:a:nmsgq:deny=3");
    // Of the parameter and the rule the stricter counts, and both names say the same.
    quiet(lab, "jail -c name=a persist rctl.openfiles=80 sysvmsg.queues=9");
    prints(lab, &format!("jexec a {seen}"), "64\n3\n");
    prints(lab, "jls -j a rctl.openfiles rctl.nmsgq sysvmsg.queues rctl.rules", "64 3 3 jail:a:openfiles:deny=64/process,jail:a:nmsgq:deny=3\n");
    prints(lab, "jls -s -j a rctl.rules", "\n");
    // A rule is at once, and when it goes there is what the parameter says.
    quiet(lab, "rctl -a jail:a:openfiles:deny=50/process");
    prints(lab, "jexec a sh -c 'ulimit -n'", "50\n");
    quiet(lab, "rctl -r jail:a:openfiles");
    prints(lab, &format!("jexec a {seen}; jls -j a rctl.openfiles"), "80\n3\n80\n");
    quiet(lab, "jail -m name=a sysvmsg.queues=2");
    prints(lab, "jls -j a sysvmsg.queues rctl.nmsgq", "2 2\n");
    quiet(lab, "jail -m name=a sysvmsg.queues=");
    prints(lab, "jls -j a sysvmsg.queues rctl.nmsgq", "- 3\n");
    quiet(lab, "jail -r a");
    prints(lab, "rctl", "jail:a:nmsgq:deny=3\n");
    prints(lab, "jail -c name=a command=cat /proc/sys/kernel/msgmni", "3\n");
    // One without a name is called by its number.
    quiet(lab, "rctl -a jail:77:nmsgq:deny=4");
    prints(lab, "jail -c jid=77 command=cat /proc/sys/kernel/msgmni", "4\n");
    let next = lab.sh("jail -c persist=true; jls -n name | tail -1 | cut -d = -f 2").trim().parse::<u32>().unwrap() + 1;
    quiet(lab, &format!("rctl -a jail:{next}:nmsgq:deny=6; jail -q -r '*'"));
    prints(lab, "jail -c command=cat /proc/sys/kernel/msgmni", "6\n");
    quiet(lab, "rctl -r :; jail -c name=a persist");
    prints(lab, &format!("jexec a {seen} | tail -1; jls -j a rctl.rules"), "32000\n-\n");
    quiet(lab, "jail -r a");
});

lab_test!(what_a_jail_shares_has_no_limit_of_its_own for root; needs [CgroupV2]; |lab| {
    let shared = "jail -c name=a persist sysvmsg=inherit sysvsem=inherit sysvshm=inherit";
    quiet(lab, shared);
    refused(lab, "rctl -a jail:a:nshm:deny=3", "rctl: failed to add rule 'jail:a:nshm:deny=3': rctl.nshm needs sysvshm=new, which is inherit\n");
    prints(lab, "rctl; jls -j a rctl.rules", "-\n");
    quiet(lab, "jail -r a; rctl -a jail:a:nshm:deny=3");
    refused(lab, shared, "jail: rctl.nshm needs sysvshm=new, which is inherit\n");
    // None can exist where they are disabled.
    quiet(lab, "jail -c name=a persist sysvshm=disable; jail -r a; rctl -r jail:a");
});

lab_test!(rules_stay_with_the_name for root; needs [CgroupV2]; |lab| {
    quiet(lab, "rctl -a jail:a:nshm:deny=3 jail:b:nshm:deny=5 jail:b.c:nsem:deny=7");
    quiet(lab, "jail -c name=a persist children.max=2; jail -c name=a.c persist");
    // A jail in another is under the rules of both where what it uses is not counted in the other's.
    prints(lab, "jls -j a.c rctl.rules rctl.nshm rctl.nsem; jexec a.c cat /proc/sys/kernel/shmmni", "jail:a:nshm:deny=3 3 -\n3\n");
    quiet(lab, "jail -m jid=$(jls -j a jid) name=b");
    prints(lab, "jls -j b rctl.rules; jls -j b.c rctl.rules", "jail:b:nshm:deny=5\njail:b:nshm:deny=5,jail:b.c:nsem:deny=7\n");
    prints(lab, "jexec b.c sh -c 'cat /proc/sys/kernel/shmmni; cut -f 2 /proc/sys/kernel/sem'; rctl -l jail:b.c", "5\n7\njail:b:nshm:deny=5\njail:b.c:nsem:deny=7\n");
    quiet(lab, "rctl -r jail:b:nshm");
    prints(lab, "jexec b.c cat /proc/sys/kernel/shmmni; jls -j b rctl.rules", "4096\n-\n");
    prints(lab, "rctl", "jail:a:nshm:deny=3\njail:b.c:nsem:deny=7\n");
    quiet(lab, "rctl -r :; jail -q -r b");
});

/// A jail under a rule runs a shell line that meets the limit, and one that does not.
struct Meets {
    rule: &'static str,
    /// Fails, or is killed, at the limit.
    over: &'static str,
    /// The end of what comes of it.
    says: &'static str,
}

const fn meets(rule: &'static str, over: &'static str, says: &'static str) -> Meets {
    Meets { rule, over, says }
}

/// Runs a line in which $LINE is another.
fn meet(lab: &Lab, line: &str, within: &str) -> Output {
    lab.cmd("sh").args(["-c", within]).env("LINE", line).run()
}

const PROGRAMS: [Meets; 14] = [
    meets("cputime:sigkill=1/process", "sh -c 'while :; do :; done'; echo $?", "137"),
    meets("datasize:deny=64m/process", "python3 -c 'x = bytearray(200 << 20)' 2>&1", "MemoryError"),
    meets(
        "vmemoryuse:deny=128m/process",
        "python3 -c 'import mmap; mmap.mmap(-1, 200 << 20)' 2>&1",
        "Cannot allocate memory",
    ),
    meets(
        "stacksize:deny=256k/process",
        "bash -c 'f() { (( $1 )) && f $(( $1 - 1 )); }; f 2000' 2>/dev/null; echo $?",
        "139",
    ),
    meets("coredumpsize:deny=1m/process", "sh -c 'ulimit -c 4096; ulimit -c 2>&1; ulimit -Hc'", "2048"),
    meets(
        "memorylocked:deny=64k/process",
        "python3 -c 'import ctypes, mmap, os; m = mmap.mmap(-1, 1 << 20); l = ctypes.CDLL(None, use_errno=True); \
        print(l.mlock(ctypes.byref(ctypes.c_char.from_buffer(m)), ctypes.c_size_t(1 << 20)), os.strerror(ctypes.get_errno()))'",
        "-1 Cannot allocate memory",
    ),
    meets(
        "openfiles:deny=32/process",
        "python3 -c 'f = [open(\"/dev/null\") for n in range(100)]' 2>&1",
        "Too many open files: '/dev/null'",
    ),
    meets(
        "pseudoterminals:deny=2",
        "python3 -c 'import os; [os.openpty() for n in range(3)]' 2>&1",
        "No space left on device",
    ),
    meets("nmsgq:deny=2", "for n in 1 2 3; do ipcmk -Q; done 2>&1", "No space left on device"),
    meets("nsem:deny=4", "ipcmk -S 3; ipcmk -S 2 2>&1", "No space left on device"),
    meets(
        "nsemop:deny=2",
        "python3 -c 'import ctypes, os; l = ctypes.CDLL(None, use_errno=True); s = l.semget(0, 9, 0o600); \
        print(l.semop(s, bytes([0, 0, 1, 0, 0, 0] * 3), ctypes.c_size_t(3)), os.strerror(ctypes.get_errno()))'",
        "-1 Argument list too long",
    ),
    meets("nshm:deny=2", "for n in 1 2 3; do ipcmk -M 4096; done 2>&1", "No space left on device"),
    meets("shmsize:deny=64k", "ipcmk -M 40000; ipcmk -M 40000 2>&1", "No space left on device"),
    meets("shmsize:deny=0", "ipcmk -M 1 2>&1", "No space left on device"),
];

lab_test!(programs_meet_the_limits for root; needs [CgroupV2, Program("python3"), Program("ipcmk"), Program("bash")]; |lab| {
    for Meets { rule, over, says } in &PROGRAMS {
        quiet(lab, &format!("rctl -a jail:a:{rule}"));
        let met = meet(lab, over, "jail -c name=a command=sh -c \"$LINE\"; rctl -r jail:a");
        let last = met.stdout.trim_end();
        assert!(last.ends_with(says), "{rule}: {met}");
    }
});

lab_test!(the_least_that_a_process_may_have_keeps_nobody_out for root; needs [CgroupV2]; |lab| {
    let least = "rctl.openfiles=12 rctl.datasize=256k rctl.stacksize=64k rctl.memorylocked=0 rctl.cputime=1";
    for shape in ["", "vnet", "user=inherit", "user=inherit vnet"] {
        prints(lab, &format!("jail -c {shape} {least} command=sh -c 'ulimit -n'"), "12\n");
        quiet(lab, &format!("jail -c name=a {shape} {least} persist"));
        prints(lab, "jexec a sh -c 'ulimit -n; sleep 1000 >/dev/null 2>&1 &'", "12\n");
        prints(lab, "jexec a sh -c 'ulimit -n'", "12\n");
        quiet(lab, "jail -q -R a");
    }
    all_gone(lab);
});

/// What is done in a virtual machine with another kernel, whose controllers are all of version 2.
const VERSION_2: &str = r#"
export PATH=/bin; /bin/busybox --install -s /bin; cd /
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run; ip link set lo up
# Whatever it is, its figures are those of the folder of jail 1.
show() { cd /sys/fs/cgroup/jail/1; echo "$1:" $(cat memory.max memory.swap.max pids.max cpu.max cpuset.cpus); cd /; }
jail -c name=a vnet persist rctl.memoryuse=16m rctl.nthr=20 rctl.pcpu=50 rctl.swapuse=1m cpuset.cpus=1
show made
rctl -a jail:a:nthr:deny=10 jail:a:memoryuse:deny=8m
show ruled
jexec a sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait' 2>&1 | grep -o "can't fork"
until jexec a tail /dev/zero 2>/dev/null; test $? = 137; do sleep 0.1; done
echo "killed for its memory"
rctl -u jail:a:memoryuse | grep -c memoryuse=
rctl -r jail:a
show free
jail -m name=a cpuset.cpus=0-1 rctl.pcpu= rctl.swapuse=
show changed
jail -c name=b persist children.max=2 rctl.nthr=30
jail -c name=b.c persist rctl.nthr=10
echo "nested:" $(cat /sys/fs/cgroup/jail/2/pids.max /sys/fs/cgroup/jail/2/3/pids.max)
jail -q -r a b; jdb audit --all && test ! -e /sys/fs/cgroup/jail/1 && echo "nothing is left"
echo "the end"
poweroff -f
"#;

lab_test!(limits_are_those_of_cgroups_of_version_2 for root;
needs [Program("qemu-system-x86_64"), Program("busybox"), GuestKernel]; with timeout(240); |lab| {
    lab.sh("mkdir /tmp/guest");
    vimage_tests::guest::write_script("/tmp/guest".as_ref(), VERSION_2);
    let machine = "timeout 200 qemu-system-x86_64 -accel tcg -smp 2 -m 512 -nodefaults -no-user-config -display none -no-reboot \
        -serial stdio -kernel /tmp/guest/kernel -initrd /tmp/guest/initrd -append 'console=ttyS0 quiet panic=-1' < /dev/null";
    let said = lab.sh(machine).replace('\r', "");
    // Without what the kernel says.
    let said: String = said.lines().filter(|line| !line.starts_with('[')).map(|line| format!("{line}\n")).collect();
    let wanted = "made: 16777216 1048576 20 50000 100000 1\nruled: 8388608 1048576 10 50000 100000 1\ncan't fork\n\
        killed for its memory\n1\nfree: 16777216 1048576 20 50000 100000 1\nchanged: 16777216 max 20 max 100000 0-1\n\
        nested: 30 10\nnothing is left\nthe end\n";
    assert!(said.contains(wanted), "{said}");
});

lab_test!(programs_meet_the_limits_of_all_of_a_jail for root; needs [CgroupV2, Program("python3")]; |lab| {
    let store = own(lab);
    let threads = "python3 -c 'import threading, time; [threading.Thread(target=time.sleep, args=(9,), daemon=True).start() for n in range(30)]' 2>&1 | tail -1";
    let memory = "python3 -c 'x = bytearray(200 << 20)'; echo $?";
    let waits = "python3 -c 'import time; t = time.monotonic()\nwhile time.monotonic() < t + 1: pass\nprint(time.process_time() < 0.6)'";
    for (rule, line, says) in [
        ("nthr:deny=20", threads, "can't start new thread"),
        ("maxproc:deny=20", threads, "can't start new thread"),
        ("memoryuse:deny=48m", memory, "137"),
        ("pcpu:deny=20", waits, "True"),
    ] {
        if !limits(lab, rule) {
            continue;
        }
        quiet(lab, &format!("{store} rctl -a jail:a:{rule}"));
        let met = meet(lab, line, &format!("{store} jail -c name=a command=sh -c \"$LINE\"; rctl -r jail:a"));
        assert!(met.stdout.trim_end().ends_with(says), "{rule}: {met}");
    }
    quiet(lab, &format!("{store} jdb audit"));
});

lab_test!(a_jail_reads_and_writes_no_faster_than_it_may for root; needs [CgroupV2]; |lab| {
    let test = "a_jail_reads_and_writes_no_faster_than_it_may";
    // A file on a disk: that of this program.
    let dir = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let file = dir.join(format!("rctl-{}", std::process::id()));
    let file = file.display();
    let dd = |from: &str, to: &str, flag: &str| format!("dd if={from} of={to} bs=1M count=6 {flag}=direct 2>&1 | tail -1");
    let made = run(lab, &dd("/dev/zero", &file.to_string(), "oflag"));
    let disk = made.stdout.contains("copied") && lab.sh(&format!("df --output=source {file} | tail -1")).starts_with("/dev/");
    if !disk || !limits(lab, "readbps:throttle=1m") {
        let _there = std::fs::remove_file(file.to_string());
        return eprintln!("SKIP {test}: no file on a disk, or no controller of devices");
    }
    let store = own(lab);
    for (resource, line) in [
        ("readbps:throttle=4m", dd(&file.to_string(), "/dev/null", "iflag")),
        ("writebps:throttle=4m", dd("/dev/zero", &file.to_string(), "oflag")),
        ("readiops:throttle=4", dd(&file.to_string(), "/dev/null", "iflag")),
        ("writeiops:throttle=4", dd("/dev/zero", &file.to_string(), "oflag")),
    ] {
        quiet(lab, &format!("{store} rctl -a jail:a:{resource}"));
        let start = Instant::now();
        let done = run(lab, &format!("{store} jail -c name=a user=inherit command=sh -c \"{line}\""));
        assert!(done.stdout.contains("copied"), "{done}");
        // The kernel lets no more through: 6 MiB at 4 a second, or six requests at least at four.
        assert!(start.elapsed() > Duration::from_secs(1), "{resource}: {done}");
        let param = resource.split(':').next().unwrap();
        quiet(lab, &format!("{store} jail -c name=a persist rctl.{param}=1073741824"));
        let amount = resource.split('=').nth(1).unwrap().replace("4m", "4194304");
        prints(lab, &format!("{store} jls -j a rctl.{param}; rctl -r jail:a; jls -j a rctl.{param}; jail -m name=a rctl.{param}=; jls -j a rctl.{param}"),
            &format!("{amount}\n1073741824\n-\n"));
        quiet(lab, &format!("{store} jail -r a"));
    }
    std::fs::remove_file(file.to_string()).unwrap();
    quiet(lab, &format!("{store} jdb audit"));
});

/// The soft and the hard limit of open files of the first sleep of a jail.
fn files(lab: &Lab, jail: &str) -> String {
    let line = format!(
        "jexec {jail} sh -c 'cat /proc/$(pgrep -o sleep)/limits' | awk '/open files/ {{ print $4, $5 }}'"
    );
    lab.sh(&line).trim().to_owned()
}

lab_test!(processes_that_are_there_are_limited_and_let_go for root; needs [CgroupV2]; |lab| {
    let sleep = "exec.start='sleep 1000 >/dev/null 2>&1 &'";
    quiet(lab, &format!("jail -c name=a persist children.max=2 {sleep}; jail -c name=a.b persist rctl.openfiles=40 {sleep}"));
    let free = files(lab, "a");
    quiet(lab, "rctl -a jail:a:openfiles:deny=100/process");
    assert_eq!((files(lab, "a"), files(lab, "a.b")), ("100 100".into(), "40 40".into()));
    quiet(lab, "rctl -a jail:a:openfiles:deny=30/process");
    assert_eq!((files(lab, "a"), files(lab, "a.b")), ("30 30".into(), "30 30".into()));
    // What a child starts has it, too, and may not have more.
    prints(lab, "jexec a.b sh -c 'ulimit -n; ulimit -n 31 2>/dev/null || echo no'", "30\nno\n");
    let back = run(lab, "rctl -r jail:a");
    assert_eq!((back.status.code(), back.stdout.as_str()), (Some(0), ""), "{back}");
    if back.stderr.contains("to raise one takes CAP_SYS_RESOURCE") {
        eprintln!("SKIP processes_that_are_there_are_limited_and_let_go: no CAP_SYS_RESOURCE");
    } else {
        assert_eq!((back.stderr.as_str(), files(lab, "a"), files(lab, "a.b")), ("", free, "40 40".into()));
    }
    prints(lab, "jexec a.b sh -c 'ulimit -n'", "40\n");
    quiet(lab, "jail -q -r a");
});

lab_test!(terminals_are_limited_while_a_jail_lives for root; needs [CgroupV2, Program("python3")]; |lab| {
    quiet(lab, "jail -c name=a persist");
    let open = "jexec a python3 -c 'import os; print(len([os.openpty() for n in range(3)]))' 2>&1 | tail -1; jexec a stat -c '%a %G' /dev/pts/ptmx /dev/pts; \
        jexec a script -qc 'stat -c \"%a %G\" $(tty)' /dev/null </dev/null";
    let free = lab.sh(open);
    quiet(lab, "rctl -a jail:a:pseudoterminals:deny=2");
    assert_eq!(lab.sh(open), free.replacen('3', "OSError: [Errno 28] No space left on device", 1));
    prints(lab, "jls -j a rctl.pseudoterminals", "2\n");
    quiet(lab, "jail -m name=a rctl.pseudoterminals=7; rctl -r jail:a");
    assert_eq!(lab.sh(open), free);
    quiet(lab, "jail -m name=a rctl.pseudoterminals=; jail -r a");
});

lab_test!(what_a_jail_uses_is_counted_with_those_in_it for root; needs [CgroupV2]; |lab| {
    let store = own(lab);
    let sleep = "exec.start='sleep 1000 >/dev/null 2>&1 &'";
    quiet(lab, &format!("{store} jail -c name=a persist children.max=2; jail -c name=a.b persist {sleep}"));
    quiet(lab, &format!("{store} jexec a ipcmk -M 4096 >/dev/null; jexec a ipcmk -S 3 >/dev/null"));
    let used = lab.sh(&format!("{store} rctl -u jail:a"));
    let value = |name: &str| -> u64 {
        let line = used.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{name}: {used}")).parse().unwrap()
    };
    for name in ["memoryuse", "vmemoryuse", "openfiles", "datasize", "stacksize"] {
        assert!(value(name) > 0, "{name}: {used}");
    }
    // A sleep, the shell that started it has ended, and the inits of both.
    assert!((2..=6).contains(&value("maxproc")) && value("nthr") >= value("maxproc"), "{used}");
    assert_eq!((value("nshm"), value("shmsize"), value("nsem"), value("nmsgq")), (1, 4096, 3, 0));
    prints(lab, &format!("{store} rctl -u jail:a:nsem; rctl -hu jail:a:shmsize"), "nsem=3\nshmsize=4.0K\n");
    // A child is under its parent's limits, however many there are.
    if limits(lab, "nthr:deny=9") {
        let forks = "jexec a.b sh -c 'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 >/dev/null 2>&1 & done' 2>&1 | tail -1";
        quiet(lab, &format!("{store} rctl -a jail:a:nthr:deny=9"));
        let met = lab.sh(&format!("{store} {forks}"));
        assert!(met.contains("Cannot fork") || met.contains("Resource temporarily unavailable"), "{met}");
        quiet(lab, &format!("{store} rctl -r :"));
    }
    quiet(lab, &format!("{store} jail -q -r a; jdb audit"));
});

lab_test!(a_damaged_line_takes_no_rule_along for root; needs [CgroupV2]; |lab| {
    quiet(lab, "rctl -a jail:a:nshm:deny=3 jail:a:nmsgq:deny=4 jail:a:nsem:deny=5");
    lab.sh("cd /run/jail/rules; sed -i '2s/deny/d\\x01ny/' rctl; printf 'jail:a:ns' >>rctl");
    prints(lab, "jail -c name=a command=sh -c 'cat /proc/sys/kernel/shmmni /proc/sys/kernel/msgmni; cut -f 2 /proc/sys/kernel/sem'", "3\n32000\n5\n");
    let told = run(lab, "rctl");
    assert_eq!((told.stdout.as_str(), told.status.code()), ("jail:a:nshm:deny=3\njail:a:nsem:deny=5\n", Some(1)), "{told}");
    assert!(told.stderr.starts_with("rctl: line 2 of the rules is damaged, and is none: malformed rule 'jail:a:nmsgq:d\\u{1}ny=4'"), "{told}");
    // They are gone with the next change.
    quiet(lab, "rctl -a jail:a:nmsgq:deny=4");
    prints(lab, "rctl; ls /run/jail/rules", "jail:a:nshm:deny=3\njail:a:nsem:deny=5\njail:a:nmsgq:deny=4\nlock\nrctl\n");
    quiet(lab, "rctl -r :");
});

lab_test!(a_rule_and_a_jail_that_come_at_once_meet for root; needs [CgroupV2]; |lab| {
    for n in 0..12 {
        lab.sh(&format!("rctl -a jail:j{n}:nshm:deny=7 & jail -c name=j{n} persist; wait"));
        prints(lab, &format!("jls -j j{n} rctl.nshm; jexec j{n} cat /proc/sys/kernel/shmmni"), "7\n7\n");
    }
    lab.sh("rctl -r : & jail -q -r '*'; wait");
    prints(lab, "rctl", "");
});

lab_test!(a_rule_that_fails_is_none for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist rctl.nshm=9");
    for n in 1..40 {
        let added = run(lab, &format!("JAIL_FAULT=fail:{n} rctl -a jail:a:nshm:deny=7"));
        let expected = if added.status.success() { "7\njail:a:nshm:deny=7\n" } else { "9\n" };
        prints(lab, "jexec a cat /proc/sys/kernel/shmmni; rctl", expected);
        if added.status.success() {
            assert!(n > 1, "there was no fault");
            quiet(lab, "rctl -r :; jail -r a");
            return;
        }
        assert_eq!(added.stdout, "");
    }
    panic!("it never succeeds");
});

lab_test!(a_rule_whose_command_is_killed_comes_with_the_next for root; needs [CgroupV2]; |lab| {
    quiet(lab, "jail -c name=a persist rctl.nshm=9");
    for n in 1..40 {
        let added = run(lab, &format!("JAIL_FAULT=kill:{n} rctl -a jail:a:nshm:deny=7"));
        if added.status.success() {
            assert!(n > 1, "there was no fault");
            break;
        }
        quiet(lab, "rctl -a jail:a:nshm:deny=7");
        prints(lab, "jexec a cat /proc/sys/kernel/shmmni; rctl; jls -j a rctl.nshm", "7\njail:a:nshm:deny=7\n7\n");
        quiet(lab, "rctl -r jail:a; jdb audit");
        prints(lab, "jexec a cat /proc/sys/kernel/shmmni; jls -j a rctl.nshm", "9\n9\n");
    }
    quiet(lab, "rctl -r :; jail -r a");
});

lab_test!(a_jail_makes_jails_under_its_rules for root; needs [CgroupV2]; |lab| {
    quiet(lab, "rctl -a jail:a:openfiles:deny=60/process jail:a:nshm:deny=4; jail -c name=a children.max=3 persist");
    prints(lab, "jexec a sh -c 'jail -c name=b persist; jexec b sh -c \"ulimit -n; cat /proc/sys/kernel/shmmni\"; jls -j b rctl.rules'",
        "60\n4\njail:a:openfiles:deny=60/process,jail:a:nshm:deny=4\n");
    // It has rules of its own for them, and these do not lift its own.
    prints(lab, "jexec a sh -c 'rctl -a jail:b:nshm:deny=3 jail:b:openfiles:deny=900/process; jexec b sh -c \"ulimit -n; cat /proc/sys/kernel/shmmni\"; rctl'",
        "60\n3\njail:b:nshm:deny=3\njail:b:openfiles:deny=900/process\n");
    quiet(lab, "jail -q -r a; rctl -r :");
});
