//! What ipc of its own adds to a jail's creation, and what it costs to use.

use std::{
    fs::{self, File},
    process::Command,
};

use crate::{
    lab::{Lab, Result, finish, settle, time},
    pairs::{Pairs, head},
};

/// All ipc of the parent's. One more word takes the place of the one that says the same.
const INHERIT: [&str; 5] =
    ["sysvmsg=inherit", "sysvsem=inherit", "sysvshm=inherit", "mqueue=inherit", "shm=inherit"];

/// What is compared with that.
const NEW: [(&str, &[&str]); 4] = [
    ("sysvmsg, sysvsem, sysvshm", &["sysvmsg=new", "sysvsem=new", "sysvshm=new"]),
    ("mqueue", &["mqueue=new"]),
    ("shm", &["shm=new"]),
    ("all five", &["sysvmsg=new", "sysvsem=new", "sysvshm=new", "mqueue=new", "shm=new"]),
];

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, pairs: usize) -> Result<()> {
    head("ipc: a jail with this =new, made, run and removed, against =inherit", "new", "inherit");
    for (what, new) in NEW {
        let measured = Pairs::measure(pairs, |_, is_new| {
            settle();
            time(&mut jail(lab, if is_new { new } else { &[] }, "true"))
        })?;
        measured.print(what, "us");
        measured.print_difference("us");
    }
    let mut runs: Vec<[Vec<(String, f64)>; 2]> = Vec::new();
    for n in 0..pairs {
        let inside = || used(lab, jail(lab, NEW[3].1, "ipc"));
        let outside = || used(lab, lab.quiet(&lab.ipc()));
        runs.push(if n % 2 == 0 {
            let inside = inside()?;
            [inside, outside()?]
        } else {
            let outside = outside()?;
            [inside()?, outside]
        });
    }
    head("ipc: one operation inside a jail, against the host", "jail", "host");
    for n in 0..runs[0][0].len() {
        let pairs = runs.iter().map(|[inside, outside]| (inside[n].1, outside[n].1));
        Pairs::of(pairs).print(&runs[0][0][n].0, "ns");
    }
    lab.remove_all()
}

/// A jail of one command with its ipc inherited but for `new`.
fn jail(lab: &Lab, new: &[&str], command: &str) -> Command {
    let parameter = |word: &str| word.split('=').next().unwrap_or_default().to_owned();
    let kept = INHERIT.iter().filter(|word| !new.iter().any(|n| parameter(n) == parameter(word)));
    let mut jail = lab.jail(["-c", "name=one", &lab.path()]);
    jail.args(kept).args(new).arg(format!("command={command}"));
    jail
}

/// What the program that uses ipc prints: names and nanoseconds.
fn used(lab: &Lab, mut command: Command) -> Result<Vec<(String, f64)>> {
    // Not a pipe: the jail's init has it open, too, for a moment longer.
    command.stdout(File::create(lab.scratch())?);
    finish(&mut command)?;
    let text = fs::read_to_string(lab.scratch())?;
    let lines: Option<Vec<_>> = text
        .lines()
        .map(|line| line.split_once(' ').and_then(|(name, ns)| Some((name.to_owned(), ns.parse().ok()?))))
        .collect();
    match lines {
        Some(lines) if lines.len() == 3 => Ok(lines),
        _ => Err(format!("{command:?}: printed {text:?}").into()),
    }
}
