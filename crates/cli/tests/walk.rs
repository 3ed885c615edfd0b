//! The real tools, made to fail or die at every point of their way, and given records that are damaged.
//!
//! Needs root and a cgroup v2 file system; else each test says SKIP.

use std::{
    fs,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use vimage::House as _;

/// A store of its own, in a folder that goes with it.
struct House {
    root: tempfile::TempDir,
}

impl House {
    /// `None` where the tests cannot run.
    fn new(test: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let lacks = match (rustix::process::geteuid().is_root(), mounts.contains(" - cgroup2 ")) {
            (true, true) => return Some(Self { root: tempfile::tempdir().unwrap() }),
            (false, _) => "root",
            _ => "cgroup2",
        };
        // Not by `eprintln!`, which the harness swallows.
        writeln!(std::io::stderr(), "SKIP {test}: no {lacks}").expect("standard error is writable");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jail"));
        command.args(line.split_whitespace()).env("JAIL_ROOT", self.root.path()).env_remove("JAIL_FAULT");
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, line: &str) {
        let output = self.run(line);
        assert!(output.status.success(), "jail {line}: {}", text(&output));
    }

    fn faulty(&self, fault: &str, line: &str) -> Output {
        self.command(line).env("JAIL_FAULT", fault).output().unwrap()
    }

    /// What there is of jails, once what dies by itself has died. The folders themselves stay.
    fn left(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            // Any command sweeps.
            let _not_found = self.run("-r nobody");
            let left = self.look();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn look(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["jails", "names", "pending", "ranges", "shared"] {
            left.extend(entries(&self.path(folder)));
        }
        left.extend(entries(&self.cgroups()));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = self.root.path().to_str().unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(root)).map(str::to_owned));
        left
    }

    fn cgroups(&self) -> PathBuf {
        let premises = jail::house::Premises::open(self.root.path()).unwrap();
        jail::cgroup::base(premises.mark()).unwrap()
    }

    #[track_caller]
    fn assert_clean(&self, after: &str) {
        assert_eq!(self.left(), [""; 0], "after {after}");
    }

    fn record(&self) -> PathBuf {
        let folder = fs::read_link(self.path("names/w")).unwrap();
        self.path("jails").join(folder).join("record")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Of a test that failed, too, nothing stays on the machine.
        let base = self.cgroups();
        for cgroup in entries(&base) {
            let _gone = fs::write(base.join(&cgroup).join("cgroup.kill"), "1");
            let _gone = fs::remove_dir(base.join(&cgroup));
        }
        let _gone = fs::remove_dir(base);
        for mount in ["vault/ns", "vault", "vault"] {
            let _gone = rustix::mount::unmount(self.path(mount), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// The folders in a folder, or, in the store, all that is there: a cgroup's own files are none of ours.
fn entries(dir: &Path) -> Vec<String> {
    let cgroup = dir.starts_with("/sys");
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let entries = entries.filter(|e| !cgroup || e.file_type().unwrap().is_dir());
    entries.map(|e| e.path().to_string_lossy().into_owned()).collect()
}

fn text(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    format!("{}: {stderr}", output.status)
}

const CREATE: &str = "-c name=w persist";

/// Does the act with a fault at each point in turn, until it passes them all.
fn at_every_point(fault: &str, mut act: impl FnMut(&str) -> Output) {
    for n in 1..300 {
        let output = act(&format!("{fault}:{n}"));
        if output.status.success() {
            assert!(n > 5, "there are only {n} points");
            return;
        }
        let said = text(&output);
        match fault {
            "fail" => assert!(output.status.code() == Some(1) && said.contains("injected failure"), "{said}"),
            _ => assert_eq!(output.status.signal(), Some(6), "{said}"),
        }
    }
    panic!("it fails at each of 300 points");
}

#[test]
fn a_create_that_fails_leaves_nothing() {
    let Some(house) = House::new("a_create_that_fails_leaves_nothing") else { return };
    at_every_point("fail", |fault| {
        let output = house.faulty(fault, CREATE);
        if !output.status.success() {
            house.assert_clean(fault);
        }
        output
    });
    house.ok("-r w");
    house.assert_clean("removal");
}

#[test]
fn a_create_with_a_command_that_fails_leaves_nothing() {
    let Some(house) = House::new("a_create_with_a_command_that_fails_leaves_nothing") else { return };
    at_every_point("fail", |fault| {
        let output = house.faulty(fault, "-c name=w command=/bin/true");
        house.assert_clean(fault);
        output
    });
}

#[test]
fn after_a_create_that_is_killed_the_name_can_be_had_again() {
    let Some(house) = House::new("after_a_create_that_is_killed_the_name_can_be_had_again") else { return };
    at_every_point("kill", |fault| {
        let output = house.faulty(fault, CREATE);
        if !output.status.success() {
            house.ok(CREATE);
        }
        house.ok("-r w");
        house.assert_clean(fault);
        output
    });
}

#[test]
fn what_a_create_that_is_killed_left_is_swept_by_any_command() {
    let Some(house) = House::new("what_a_create_that_is_killed_left_is_swept_by_any_command") else { return };
    for create in [CREATE, "-c name=w user=inherit vnet persist"] {
        at_every_point("kill", |fault| {
            let output = house.faulty(fault, create);
            // Where it fails the jail was not made, or it was and nobody was told.
            let _gone = house.run("-r w");
            house.assert_clean(fault);
            output
        });
    }
}

#[test]
fn a_removal_that_is_killed_is_finished_by_the_next_command() {
    let Some(house) = House::new("a_removal_that_is_killed_is_finished_by_the_next_command") else { return };
    at_every_point("kill", |fault| {
        house.ok(CREATE);
        let output = house.faulty(fault, "-r w");
        house.ok(CREATE);
        house.ok("-r w");
        house.assert_clean(fault);
        output
    });
}

#[test]
fn a_removal_that_fails_gives_the_name_up_and_is_finished_by_the_next_command() {
    let name = "a_removal_that_fails_gives_the_name_up_and_is_finished_by_the_next_command";
    let Some(house) = House::new(name) else { return };
    at_every_point("fail", |fault| {
        house.ok(CREATE);
        let output = house.faulty(fault, "-r w");
        house.assert_clean(fault);
        output
    });
}

#[test]
fn what_is_left_of_a_vault_that_was_not_finished_goes() {
    let Some(house) = House::new("what_is_left_of_a_vault_that_was_not_finished_goes") else { return };
    fs::create_dir(house.path("vault")).unwrap();
    for _ in 0..2 {
        rustix::mount::mount_bind(house.path("vault"), house.path("vault")).unwrap();
    }
    house.ok(CREATE);
    house.ok("-r w");
    house.assert_clean("removal");
}

#[test]
fn a_dying_jail_that_made_way_does_not_take_the_name_of_the_next() {
    let Some(house) = House::new("a_dying_jail_that_made_way_does_not_take_the_name_of_the_next") else {
        return;
    };
    for _ in 0..20 {
        house.ok("-c name=w jid=7 persist");
        house.ok("-r w");
        house.ok("-c name=w jid=7 persist");
        let _swept = house.run("-r nobody");
        house.ok("-r w");
    }
    house.assert_clean("removal");
}

/// Damages the record of a jail, and says whether it can be had again.
fn damaged(test: &str, damage: impl Fn(&Path)) -> Option<Output> {
    let house = House::new(test)?;
    house.ok(CREATE);
    let record = house.record();
    damage(&record);
    for line in ["-r w", CREATE, "-c name=other persist", "-r other", "-m name=w children.max=2"] {
        let output = house.run(line);
        let said = text(&output);
        assert!(output.status.success() || said.contains("jail: "), "{line}: {said}");
    }
    house.ok("-c name=other persist");
    house.ok("-r other");
    Some(house.run(CREATE))
}

#[test]
fn a_damaged_record_is_named_and_nothing_else_is_the_worse_for_it() {
    let test = "a_damaged_record_is_named_and_nothing_else_is_the_worse_for_it";
    let cut = |record: &Path| {
        let whole = fs::read(record).unwrap();
        fs::write(record, &whole[..whole.len() / 2]).unwrap();
    };
    let damages: [&dyn Fn(&Path); 4] = [
        &cut,
        &|record| fs::write(record, "").unwrap(),
        &|record| fs::write(record, [0xff, 0xfe, b'{', 0]).unwrap(),
        &|record| fs::write(record, "{\"version\":1}").unwrap(),
    ];
    for damage in damages {
        let Some(output) = damaged(test, damage) else { return };
        let said = text(&output);
        assert!(said.contains("cannot understand") && said.contains("/record"), "{said}");
        assert!(said.contains("hint: "), "{said}");
    }
}

#[test]
fn a_jail_whose_record_is_gone_can_be_made_anew() {
    let Some(output) = damaged("a_jail_whose_record_is_gone_can_be_made_anew", |record| {
        fs::remove_file(record).unwrap();
    }) else {
        return;
    };
    let said = text(&output);
    assert!(output.status.success() || said.contains("already exists"), "{said}");
}
