//! Specimens are tests that a lab should stop, or that show something to the host. They are ignored, but for the
//! tests here, which run them and look on from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio, id};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use vimage_tests::{lab_test, mounts};

lab_test!(is_a_machine_of_its_own for root, rootless; needs [CgroupV2]; |lab| {
    assert_eq!(lab.sh("hostname"), "lab\n");
    assert_eq!(fs::read_dir("/run").unwrap().count(), 0);
    assert_eq!(fs::read_dir("/tmp").unwrap().count(), 0);
    assert!(fs::read_to_string("/proc/self/cgroup").unwrap().contains("0::/lab\n"));
    let cgroups = mounts().into_iter().rfind(|mount| mount.kind == "cgroup2").unwrap();
    assert_eq!(cgroups.root, "/");
    let dirs = fs::read_dir(lab.cgroup()).unwrap().flatten().filter(|entry| entry.path().is_dir());
    assert_eq!(dirs.count(), 1);

    let links = lab.sh("ip -o link");
    assert!(links.lines().count() == 1 && links.contains("lo: <LOOPBACK,UP"), "{links}");
    let names = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
    let pids = names.filter(|name| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
    assert_eq!(pids.count(), 2, "the lab's init and the test");
});

lab_test!(maps_only_the_caller for rootless; |lab| {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let ids: Vec<u32> = map.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert!(ids[0] == 0 && ids[1] != 0 && ids[2] == 1, "{map}");
    let file = lab.dir().join("file");
    assert!(lab.cmd("mknod").arg(&file).args(["c", "1", "3"]).run().fails(1).contains("not permitted"));
    fs::write(&file, "").unwrap();
    lab.cmd("chown").arg("1").arg(&file).run().fails(1);
});

lab_test!(is_root_in_root_mode for root; |lab| {
    lab.cmd("mknod").arg(lab.dir().join("null")).args(["c", "1", "3"]).run().ok();
});

lab_test!(init_reaps_orphans for root, rootless; |lab| {
    let orphan = orphan(lab);
    lab.until("the orphan is reaped", || !orphan.exists());
});

lab_test!(careless_init_does_not for root, rootless; with careless_init; |lab| {
    let orphan = orphan(lab);
    let stat = || fs::read_to_string(orphan.join("stat")).unwrap();
    lab.until("the orphan is dead", || stat().contains(") Z 1 "));
    sleep(Duration::from_millis(50));
    assert!(stat().contains(") Z 1 "));
});

/// Leaves a process to pid 1 that ends at once; returns its directory in `/proc`.
fn orphan(lab: &vimage_tests::Lab) -> PathBuf {
    Path::new("/proc").join(lab.sh("sleep 0.05 & echo $!").trim())
}

lab_test!(commands_say_what_came_of_them for root, rootless; |lab| {
    assert_eq!(lab.cmd("cat").stdin("a line\n").run().ok(), "a line\n");
    assert_eq!(lab.cmd("printf").arg_line("%s. one two").run().ok(), "one.two.");
    assert_eq!(lab.cmd("sh").args(["-c", "echo no >&2; exit 3"]).run().fails(3), "no\n");
    assert_eq!(lab.cmd("sh").args(["-c", "kill -TERM $$"]).run().signal(), 15);
    assert_eq!(lab.cmd("sh").args(["-c", "echo $VAR $TZ $HOME"]).env("VAR", "x").run().ok(), "x UTC\n");
    assert_eq!(lab.cmd("pwd").current_dir("/run").run().ok(), "/run\n");
    // What is left running holds the output open, and is not waited for.
    lab.sh("sleep 0.5 &");

    let server = lab.spawn("echo ready; exec sleep 1000");
    lab.until("it is ready", || server.stdout() == "ready\n");
    let mut other = lab.spawn("exec sleep 1000");
    other.kill();
    assert_eq!(other.finish().signal(), 9);
});

lab_test!(purpose_excuses_a_change for root, rootless; |lab| {
    lab.sh("ip link add left0 type veth peer name left1");
    lab.leaves_on_purpose("link left");
});

// What a test can leave behind, and how the audit calls it.
lab_test!(#[ignore = "a specimen"] leaves_link for root, rootless; |lab| {
    lab.sh("ip link add left0 type veth peer name left1");
});
lab_test!(#[ignore = "a specimen"] leaves_mount for root, rootless; |lab| {
    lab.cmd("mount").args(["-t", "tmpfs", "left"]).arg(lab.dir()).run().ok();
});
lab_test!(#[ignore = "a specimen"] leaves_namespace for root, rootless; |lab| {
    lab.sh("touch /run/left; mount --bind /proc/self/ns/net /run/left");
});
lab_test!(#[ignore = "a specimen"] leaves_cgroup for root, rootless; needs [CgroupV2]; |lab| {
    fs::create_dir_all(lab.cgroup().join("left/below")).unwrap();
});
lab_test!(#[ignore = "a specimen"] leaves_process for root, rootless; |lab| {
    lab.sh("sleep 31415.1 &");
});
lab_test!(#[ignore = "a specimen"] leaves_sysv for root, rootless; |lab| {
    lab.sh("ipcmk --queue");
});
lab_test!(#[ignore = "a specimen"] leaves_file for root, rootless; |_| {
    fs::create_dir_all("/run/jail/left").unwrap();
});
lab_test!(#[ignore = "a specimen"] unmounts_tmp for root, rootless; |lab| {
    lab.sh("umount -l /tmp");
});

#[test]
fn audit_reports_what_is_left_behind() {
    let left = [
        ("leaves_link", "+ link left0\n+ link left1"),
        ("leaves_mount", " /tmp/dir-1 (tmpfs /)"),
        ("leaves_namespace", " /run/left (nsfs net:["),
        ("leaves_cgroup", "/left/below\n"),
        ("leaves_process", " (sleep)"),
        ("leaves_sysv", "+ sysv msg 0"),
        ("leaves_file", "+ file /run/jail/left"),
        ("unmounts_tmp", " /tmp (tmpfs /)"),
    ];
    let audit = |specimen, mode, what| {
        let printed = fails(&format!("{specimen}::{mode}"));
        assert!(printed.contains("left its machine changed") && printed.contains(what), "{printed}");
    };
    // At once, since each of them waits a while for what is left to go.
    thread::scope(|scope| {
        for mode in modes() {
            for (specimen, what) in left {
                scope.spawn(move || audit(specimen, mode, what));
            }
        }
    });
    assert!(!runs_on_the_host("31415.1"));
}

lab_test!(#[ignore = "a specimen"] panics for root, rootless; |_| {
    panic!("a message of its own");
});

#[test]
fn panic_fails_the_test_with_its_message() {
    for mode in modes() {
        let printed = fails(&format!("panics::{mode}"));
        assert!(
            printed.contains("a message of its own") && printed.contains("tests/it/lab.rs:"),
            "{printed}"
        );
    }
}

lab_test!(#[ignore = "a specimen"] takes_too_long for root, rootless; with timeout(1); |lab| {
    println!("before");
    lab.sh("setsid sleep 31415.2 & sleep 31415.2");
});

#[test]
fn timeout_kills_the_whole_lab() {
    for mode in modes() {
        let printed = fails(&format!("takes_too_long::{mode}"));
        assert!(printed.contains("before") && printed.contains("killed after 1 s"), "{printed}");
        assert!(!runs_on_the_host("31415.2"));
    }
}

lab_test!(#[ignore = "a specimen"] changes_everything for root, rootless; needs [CgroupV2]; with timeout(30); |lab| {
    lab.no_audit("shows that nothing of this reaches the host");
    let claimed = Instant::now();
    lab.sh("hostname specimen; ip link add specimen0 type veth peer name specimen1; ip link set lo down");
    lab.sh("mkdir /run/specimen; mount -t tmpfs specimen /mnt; (sleep 31415.3 &)");
    fs::create_dir_all(lab.cgroup().join("jail/specimen")).unwrap();
    // Long enough to meet the other one.
    sleep(Duration::from_millis(1500));
    println!("claimed for {} ms", claimed.elapsed().as_millis());
});

#[test]
fn labs_collide_neither_with_each_other_nor_with_the_host() {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let start = Instant::now();
    let claimed: u64 = thread::scope(|scope| {
        let run = |mode| scope.spawn(move || passes(&format!("changes_everything::{mode}")));
        let all: Vec<_> = modes().into_iter().chain(modes()).map(run).collect();
        let claimed = |output: String| {
            let (_, rest) = output.split_once("claimed for ")?;
            rest.split(' ').next()?.parse::<u64>().ok()
        };
        all.into_iter().map(|one| claimed(one.join().unwrap()).expect("it says how long")).sum()
    });
    assert!(start.elapsed() < Duration::from_millis(claimed), "they ran one after the other");

    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    assert!(!fs::read_to_string("/proc/net/dev").unwrap().contains("specimen"));
    assert!(!mounts().iter().any(|mount| mount.point == Path::new("/mnt") && mount.kind == "tmpfs"));
    assert!(!Path::new("/run/specimen").exists());
    assert!(!runs_on_the_host("31415.3"));
}

lab_test!(#[ignore = "a specimen"] never_ends for root, rootless; needs [CgroupV2]; |lab| {
    lab.sh("sleep 31415.4");
});

#[test]
fn nothing_outlives_a_killed_run() {
    for mode in modes() {
        let mut run = specimen(&format!("never_ends::{mode}")).stdout(Stdio::null()).spawn().unwrap();
        within_10_s(|| runs_on_the_host("31415.4"));
        run.kill().unwrap();
        run.wait().unwrap();
        within_10_s(|| !runs_on_the_host("31415.4"));
        // Whoever comes next tidies up.
        within_10_s(|| {
            passes(&format!("is_a_machine_of_its_own::{mode}"));
            cgroups_of(run.id()).is_empty()
        });
    }
}

#[test]
fn labs_remove_their_cgroups() {
    for mode in modes() {
        let run =
            specimen(&format!("leaves_cgroup::{mode}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut run = run.unwrap();
        assert!(!run.wait().unwrap().success());
        assert_eq!(cgroups_of(run.id()), Vec::<PathBuf>::new());
    }
}

lab_test!(#[ignore = "a specimen"] needs_the_impossible for root, rootless; needs [Program("no-such-program")]; |_| {
    panic!("it was run");
});

#[test]
fn skips_are_counted_and_can_be_forbidden() {
    let skips = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skips-{}", id()));
    for mode in modes() {
        let name = format!("needs_the_impossible::{mode}");
        let output = specimen(&name).env("LAB_SKIPS", &skips).output().unwrap();
        let line = format!("lab::{name}: no program no-such-program\n");
        assert!(
            output.status.success() && text(&output).contains(&format!("SKIP {line}")),
            "{}",
            text(&output)
        );
        assert!(fs::read_to_string(&skips).unwrap().ends_with(&line));

        let output = specimen(&name).env("LAB_REQUIRE", "root,no-such-program").output().unwrap();
        assert!(!output.status.success() && text(&output).contains("LAB_REQUIRE has"), "{}", text(&output));
    }
    assert_eq!(fs::read_to_string(&skips).unwrap_or_default().lines().count(), modes().len());
    fs::remove_file(skips).ok();
}

/// Returns the modes of labs that are possible here. A test that is skipped for want of one tells of the other.
fn modes() -> Vec<&'static str> {
    let mut modes = vec!["as_root", "rootless"];
    modes.retain(|mode| {
        let output = specimen(&format!("is_a_machine_of_its_own::{mode}")).output().unwrap();
        !text(&output).contains("SKIP ")
    });
    modes
}

/// Returns what runs one ignored test of this binary, as the harness would.
fn specimen(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--include-ignored", "--nocapture"]).arg(format!("lab::{name}"));
    command.env_remove("LAB_SKIPS").env_remove("LAB_REQUIRE");
    command
}

#[track_caller]
fn passes(name: &str) -> String {
    let output = specimen(name).output().unwrap();
    assert!(output.status.success() && text(&output).contains("1 passed"), "{}", text(&output));
    text(&output)
}

/// Returns what a specimen that must fail has printed.
#[track_caller]
fn fails(name: &str) -> String {
    let output = specimen(name).output().unwrap();
    assert!(output.status.code() == Some(101), "{}", text(&output));
    text(&output)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn runs_on_the_host(seconds: &str) -> bool {
    let wanted = format!("sleep\0{seconds}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == wanted.as_bytes())
}

/// Returns the cgroups that labs of this run of the tests have.
fn cgroups_of(run: u32) -> Vec<PathBuf> {
    let Some(top) = mounts().into_iter().rev().find(|mount| mount.kind == "cgroup2") else {
        return Vec::new();
    };
    let all = fs::read_dir(top.point).unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.to_string_lossy().contains(&format!("/vimage-lab-{run}-"))).collect()
}

#[track_caller]
fn within_10_s(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not so within 10 s");
        sleep(Duration::from_millis(10));
    }
}
