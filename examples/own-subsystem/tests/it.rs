//! What the subsystem gets without a line of its own. Needs root and cgroup v2; else says SKIP.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A store of its own.
struct Store(tempfile::TempDir);

fn skip(test: &str, why: &str) {
    // Not by `eprintln!`, which the harness swallows.
    writeln!(std::io::stderr(), "SKIP {test}: {why}").expect("standard error is writable");
}

impl Store {
    fn new(test: &str) -> Option<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let root = read("/proc/self/status").lines().any(|l| l.starts_with("Uid:\t0\t0"));
        if root && read("/proc/self/mountinfo").contains(" - cgroup2 ") {
            return Some(Self(tempfile::tempdir().unwrap()));
        }
        skip(test, "not root, or no cgroup2");
        None
    }

    fn faulty(&self, fault: &str, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_own"));
        command.args(line.split_whitespace()).env("JAIL_ROOT", self.0.path()).env("JAIL_FAULT", fault);
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &str) -> String {
        let output = self.faulty("", line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What there is of jails: folders, links, mounts.
    fn look(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["jails", "names", "ranges", "shared", "counters"] {
            let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
            left.extend(entries.map(|e| e.path().display().to_string()));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|l| l.contains(self.0.path().to_str().unwrap())).map(Into::into));
        left
    }

    /// Nothing is left, once what dies by itself has died and a command has swept.
    #[track_caller]
    fn assert_clean(&self, after: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let _not_found = self.faulty("", "jail -r nobody");
            let left = self.look();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "after {after}: {left:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Of a test that failed, too, no cgroup and no mount stays on the machine.
        let _gone_already = self.faulty("", "jail -r a");
    }
}

const CREATE: &str = "jail -c name=a persist counters.names=x,y";

fn at_every_point(store: &Store, fault: &str, line: &str, mut after: impl FnMut(&str)) {
    for n in 1..200 {
        let fault = format!("{fault}:{n}");
        let passed = store.faulty(&fault, line).status.success();
        after(&fault);
        if passed {
            assert!(n > 10, "there are only {n} points");
            return;
        }
    }
    panic!("it fails at each of 200 points");
}

#[test]
fn a_jail_gets_counters_they_change_and_they_go() {
    let Some(store) = Store::new("a_jail_gets_counters_they_change_and_they_go") else { return };
    store.ok(CREATE);
    let jid = fs::read_link(store.path("names/a")).unwrap();
    let counter = |name: &str| store.path("counters").join(&jid).join(name).exists();
    assert!(counter("x") && counter("y"));
    store.ok("jail -m name=a counters.names=y,z");
    assert!(!counter("x") && counter("y") && counter("z"));
    let refused = store.faulty("", "jail -m name=a counters.names=../x");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no file name"), "{refused:?}");
    store.ok("jail -r a");
    store.assert_clean("removal");
}

#[test]
fn a_create_that_fails_anywhere_leaves_nothing() {
    let Some(store) = Store::new("a_create_that_fails_anywhere_leaves_nothing") else { return };
    at_every_point(&store, "fail", CREATE, |fault| {
        let _made_at_the_end = store.faulty("", "jail -r a");
        store.assert_clean(fault);
    });
}

#[test]
fn after_a_create_that_dies_anywhere_the_next_works_and_leaves_nothing() {
    let test = "after_a_create_that_dies_anywhere_the_next_works_and_leaves_nothing";
    let Some(store) = Store::new(test) else { return };
    at_every_point(&store, "kill", CREATE, |fault| {
        let made = store.path("names/a").is_symlink() && store.faulty("", "jail -r a").status.success();
        if !made {
            store.ok(CREATE);
        }
        let _gone = store.faulty("", "jail -r a");
        store.assert_clean(fault);
    });
}

#[test]
fn the_other_tools_know_it() {
    let Some(store) = Store::new("the_other_tools_know_it") else { return };
    // The usage names the tools that there are.
    let usage = String::from_utf8(store.faulty("", "").stderr).unwrap();
    let known = |tool: &str| usage.contains(tool);
    store.ok(CREATE);
    let folder = store.path("counters").join(fs::read_link(store.path("names/a")).unwrap());
    if known("jls") {
        assert_eq!(store.ok("jls -j a -n counters.names"), "counters.names=x,y\n");
    } else {
        skip("the_other_tools_know_it", "no jls");
    }
    if known("jdb") {
        jdb(&store, &folder);
    } else {
        skip("the_other_tools_know_it", "no jdb");
    }
    store.ok("jail -r a");
    store.assert_clean("removal");
}

fn jdb(store: &Store, folder: &Path) {
    for (line, says) in [
        ("jdb ledger", "counters/counter"),
        ("jdb trace a", "counters/folder"),
        ("jdb show a", "counters"),
        ("jdb show subsystems", "a folder of counters"),
    ] {
        if knows(store, line) {
            let said = store.ok(line);
            assert!(said.contains(says), "{line}: {said}");
        }
    }
    // Findings are a status of their own, so what it says is what counts.
    let audit = || String::from_utf8(store.faulty("", "jdb audit").stdout).unwrap();
    assert!(!audit().contains("counters"), "{}", audit());
    fs::remove_file(folder.join("x")).unwrap();
    fs::create_dir(folder.with_file_name("lost")).unwrap();
    let found = audit();
    assert!(found.contains("/x is recorded and does not exist"), "{found}");
    assert!(found.contains("/lost is in no record"), "{found}");
    if knows(store, "jdb repair") {
        // What is missing cannot be made again, and is said to be left.
        let left = String::from_utf8(store.faulty("", "jdb repair").stdout).unwrap();
        assert!(left.contains("/x is recorded and does not exist"), "{left}");
        assert!(!folder.with_file_name("lost").exists());
    } else {
        fs::remove_dir(folder.with_file_name("lost")).unwrap();
    }
}

/// Whether a verb is there yet.
fn knows(store: &Store, line: &str) -> bool {
    let known = !String::from_utf8_lossy(&store.faulty("", line).stderr).contains("usage: jdb audit [--all]");
    if !known {
        skip("the_other_tools_know_it", &format!("no {line}"));
    }
    known
}
