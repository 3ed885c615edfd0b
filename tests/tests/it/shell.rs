//! How these tests speak to the product: by lines of shell, whose whole answer is compared.

use vimage_tests::{Lab, Output};

/// Runs a line of shell to its end.
#[track_caller]
pub(crate) fn run(lab: &Lab, line: &str) -> Output {
    lab.cmd("sh").args(["-c", line]).run()
}

/// Asserts that a line succeeds and says nothing.
#[track_caller]
pub(crate) fn quiet(lab: &Lab, line: &str) {
    gives(lab, line, 0, "", "");
}

/// Asserts that a line succeeds and prints this alone.
#[track_caller]
pub(crate) fn prints(lab: &Lab, line: &str, stdout: &str) {
    gives(lab, line, 0, stdout, "");
}

/// Asserts that a line fails with status 1, prints nothing and complains in these words.
#[track_caller]
pub(crate) fn refused(lab: &Lab, line: &str, stderr: &str) {
    gives(lab, line, 1, "", stderr);
}

/// Asserts all that comes of a line.
#[track_caller]
pub(crate) fn gives(lab: &Lab, line: &str, status: i32, stdout: &str, stderr: &str) {
    let output = run(lab, line);
    let got = (output.status.code(), output.stdout.as_str(), output.stderr.as_str());
    assert!(got == (Some(status), stdout, stderr), "expected {status}, {stdout:?}, {stderr:?} of\n{output}");
}

/// The names of all living jails, in the order of their numbers.
#[track_caller]
pub(crate) fn names(lab: &Lab) -> Vec<String> {
    lab.sh("jls name").lines().map(str::to_owned).collect()
}

/// The number of a jail.
#[track_caller]
pub(crate) fn jid(lab: &Lab, name: &str) -> u32 {
    lab.sh(&format!("jls -j {name} jid")).trim().parse().expect("a number")
}

/// Waits until no jail is left, not even a dying one, with a sweep now and then.
#[track_caller]
pub(crate) fn all_gone(lab: &Lab) {
    lab.until("all jails are gone", || {
        lab.sweep();
        lab.sh("jls -d name").is_empty()
    });
}
