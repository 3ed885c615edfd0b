//! A jail's root tries to get out, or at the host, by every way that is known; and to do what it may.
//!
//! The tries are made in four kinds of jail: with the host's tree and with one of its own, each with ids of its
//! own and with the host's. Each has a network stack of its own. Without one, a jail with the host's ids is in the
//! host's user namespace: two kinds more, for the calls.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use vimage_tests::{Cmd, Lab, lab_test};

/// The calls that are tried.
mod calls;
/// The host's devices.
mod devices;
/// What is open, or in memory, when a jail's command starts.
mod entry;
/// What must work, the host's network stack, and what is known to lead out.
mod rights;
/// A network stack of its own, which the jail's root rules, and the others, which it does not.
mod stack;
/// Other tries than by a single call.
mod tries;

/// A program that makes the calls it is told, see its own documentation.
pub(crate) const ATTEMPT: &str = "/media/examples/attempt";

/// A kind of jail.
#[derive(Clone, Debug)]
struct Kind {
    /// `new` or `inherit`.
    user: &'static str,
    /// `new` or `inherit`.
    vnet: &'static str,
    /// The jail's root.
    path: PathBuf,
}

impl Kind {
    /// The four.
    fn all(lab: &Lab) -> Vec<Self> {
        let tree = tree(lab);
        let paths = [PathBuf::from("/"), tree];
        let of_path =
            |path: &PathBuf| ["new", "inherit"].map(|user| Self { user, vnet: "new", path: path.clone() });
        paths.iter().flat_map(of_path).collect()
    }

    /// The two in the host's user namespace.
    fn shared(lab: &Lab) -> Vec<Self> {
        let kinds = Self::all(lab).into_iter().filter(|kind| !kind.maps());
        kinds.map(|kind| Self { vnet: "inherit", ..kind }).collect()
    }

    fn maps(&self) -> bool {
        self.user == "new"
    }

    fn is_host(&self) -> bool {
        self.path == Path::new("/")
    }

    /// jail(8) up to the command.
    fn jail(&self, lab: &Lab) -> Cmd {
        let cmd = lab.cmd("jail").arg("-c").arg(format!("path={}", self.path.display()));
        let cmd = cmd.arg(format!("user={}", self.user)).arg(format!("vnet={}", self.vnet));
        // The tree has what is linked with the host's libraries at the same place.
        if self.is_host() {
            cmd
        } else {
            cmd.arg("mount=/usr /usr none ro").arg("mount=/media /media none ro")
        }
    }

    /// What a line of shell in such a jail prints.
    #[track_caller]
    fn sh(&self, lab: &Lab, line: &str) -> String {
        self.jail(lab).args(["command=/bin/sh", "-c", line]).run().ok()
    }

    /// What comes of calls, a line each.
    #[track_caller]
    fn attempt(&self, lab: &Lab, calls: &str) -> Vec<String> {
        self.attempt_with(lab, "nopersist", calls)
    }

    /// The same, in a jail with another parameter.
    #[track_caller]
    fn attempt_with(&self, lab: &Lab, definition: &str, calls: &str) -> Vec<String> {
        assert!(
            Path::new(ATTEMPT).exists(),
            "there is no {ATTEMPT}\nhint: `cargo build --package kernel --examples` first"
        );
        let answers =
            self.jail(lab).arg(definition).arg(format!("command={ATTEMPT}")).stdin(calls).run().ok();
        answers.lines().map(str::to_owned).collect()
    }
}

/// Makes a tree of the least that a jail needs.
fn tree(lab: &Lab) -> PathBuf {
    let tree = lab.dir();
    for dir in ["bin", "dev", "etc", "media", "proc", "root", "srv", "sys", "tmp", "usr", "var"] {
        fs::create_dir(tree.join(dir)).unwrap();
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/usr/bin/busybox", tree.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "chmod", "chown", "cp", "id", "pwd", "ls", "mkdir", "readlink", "sleep", "stat", "touch",
    ] {
        symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    for dir in ["lib", "lib64", "sbin"] {
        symlink(format!("usr/{dir}"), tree.join(dir)).unwrap();
    }
    tree
}

/// Excuses what a store keeps.
fn keeps_a_store(lab: &Lab) {
    lab.leaves_on_purpose(" /run/jail");
    lab.leaves_on_purpose("/jail");
}

lab_test!(no_call_leads_out for root; needs [CgroupV2, Program("busybox")]; |lab| {
    keeps_a_store(lab);
    let lines: Vec<_> = calls::CALLS.iter().map(|call| call.calls).collect();
    let mut wrong = Vec::new();
    for kind in Kind::all(lab).into_iter().chain(Kind::shared(lab)) {
        let answers = kind.attempt(lab, &(lines.join("\n") + "\n"));
        assert_eq!(answers.len(), lines.len(), "{answers:#?}");
        for (call, answer) in calls::CALLS.iter().zip(answers) {
            let wanted = match (kind.user, kind.vnet) {
                ("new", _) => call.new,
                (_, "new") => call.inherit,
                _ => call.shared,
            };
            if !wanted.split('|').any(|wanted| wanted == answer) {
                wrong.push(format!("{kind:?}: {}: {answer}, not {wanted}", call.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
});
