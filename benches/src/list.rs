//! How long it takes to list many jails, against reading what is written of them.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    lab::{Lab, Result, finish, time},
    pairs::{Pairs, head},
};

/// Lists, as jls(8) is asked for them.
const LISTS: [(&str, &[&str]); 4] = [
    ("jls", &[]),
    ("jls -s", &["-s"]),
    ("jls --libxo=json -n", &["--libxo=json", "-n"]),
    ("jls -j of one", &["-j", "j7"]),
];

/// Measures and prints.
///
/// # Errors
/// A command failed.
pub fn figures(lab: &Lab, jails: usize, pairs: usize) -> Result<()> {
    let dir = lab.scratch_dir()?;
    let file = dir.join("jail.conf");
    let mut text = format!("{}; persist;\n", lab.path());
    for n in 0..jails {
        let _into_memory = writeln!(text, "j{n} {{ }}");
    }
    fs::write(&file, text)?;
    finish(lab.jail(["-q", "-f"]).arg(&file).arg("-c"))?;
    head(&format!("list: {jails} jails, against reading their records"), "list", "read");
    let records = lab.store().join("jails");
    let read = || -> Result<f64> {
        let start = Instant::now();
        for entry in fs::read_dir(&records)? {
            fs::read(entry?.path().join("record"))?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    for (what, flags) in LISTS {
        let list = || time(jls(lab).args(flags));
        let measured = Pairs::measure(pairs, |_, is_list| if is_list { list() } else { read() });
        measured?.print(what, "us");
    }
    fs::remove_dir_all(dir)?;
    lab.remove_all()
}

/// The product's jls(8), of which nobody reads what it prints.
fn jls(lab: &Lab) -> Command {
    let mut jls = lab.quiet(&lab.program().with_file_name("jls"));
    jls.arg("--root").arg(lab.store()).stdout(Stdio::null());
    jls
}
