//! A store of a test's own.

use std::time::SystemTime;

use vimage_tests::{Cmd, Lab, Snapshot};

/// A store of its own: version 1 hierarchies of cgroups are common to all labs, and are told apart by the store.
pub(crate) struct House<'l> {
    pub(crate) lab: &'l Lab,
    pub(crate) root: String,
}

impl<'l> House<'l> {
    pub(crate) fn new(lab: &'l Lab) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
        let root = format!("/run/store-{}", now.as_nanos());
        Self { lab, root }
    }

    pub(crate) fn cmd(&self, line: &str) -> Cmd {
        self.lab.cmd("sh").args(["-euc", line]).env("JAIL_ROOT", &self.root)
    }

    #[track_caller]
    pub(crate) fn sh(&self, line: &str) -> String {
        self.cmd(line).run().ok()
    }

    /// As every command does.
    pub(crate) fn sweep(&self) {
        let _there_is_none = self.cmd("jail -q -r nosuch").run();
    }

    /// What there is of jails.
    pub(crate) fn left(&self) -> (Vec<String>, Snapshot) {
        self.sweep();
        let dirs = "jails names pending ranges shared addresses files env";
        let files = self.sh(&format!("cd $JAIL_ROOT; find {dirs} 2>/dev/null || true"));
        (files.lines().map(str::to_owned).collect(), self.lab.snapshot())
    }
    /// What there is when all jails are gone.
    pub(crate) fn empty(&self) -> (Vec<String>, Snapshot) {
        self.lab.until("all are gone", || {
            self.sweep();
            self.sh("jls -d name").is_empty()
        });
        self.left()
    }
}
