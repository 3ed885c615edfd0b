//! What ipc of its own adds to a jail's creation, and what it costs to use.

use std::{
    fs::{self, File},
    process::Command,
};

use crate::{
    lab::{Lab, Result, finish, settle, time},
    pairs::{Pairs, head, in_turn},
};

/// One comparison: what it is called, the parameters that are new or inherited, what else is said of ipc.
/// System V ipc and POSIX message queues are one namespace: one of them cannot be new beside the other's
/// inherited, so that other is denied in both halves.
type Comparison = (&'static str, &'static [&'static str], &'static [&'static str]);

const ALL: Comparison = ("all five", &["sysvmsg", "sysvsem", "sysvshm", "mqueue", "shm"], &[]);
const COMPARED: [Comparison; 4] = [
    ("sysvmsg, sysvsem, sysvshm", &["sysvmsg", "sysvsem", "sysvshm"], &["mqueue=disable", "shm=inherit"]),
    ("mqueue", &["mqueue"], &["sysvmsg=disable", "sysvsem=disable", "sysvshm=disable", "shm=inherit"]),
    ("shm", &["shm"], &["sysvmsg=inherit", "sysvsem=inherit", "sysvshm=inherit", "mqueue=inherit"]),
    ALL,
];

/// How much the program prints.
const LINES: usize = 5;

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, pairs: usize) -> Result<()> {
    head("ipc: a jail with this =new, made, run and removed, against =inherit", "new", "inherit");
    for compared in COMPARED {
        let measured = Pairs::measure(pairs, |_, is_new| {
            settle();
            time(&mut jail(lab, &compared, if is_new { "new" } else { "inherit" }, "true"))
        })?;
        measured.print(compared.0, "us");
        measured.print_difference("us");
    }
    for (against, filter) in [("host", false), ("filtered", true)] {
        let inside = || used(lab, jail(lab, &ALL, "new", "ipc"), LINES);
        let outside = || {
            let mut command = lab.quiet(&lab.ipc());
            command.args(filter.then_some("filter"));
            used(lab, command, LINES)
        };
        let runs = in_turn(pairs, inside, outside)?;
        let title = if filter { "the host under a filter that denies nothing" } else { "the host" };
        head(&format!("ipc: one operation inside a jail, against {title}"), "jail", against);
        for n in 0..runs[0][0].len() {
            let pairs = runs.iter().map(|[inside, outside]| (inside[n].1, outside[n].1));
            Pairs::of(pairs).print(&runs[0][0][n].0, "ns");
        }
    }
    lab.remove_all()
}

/// A jail of one command with the compared ipc in a mode.
fn jail(lab: &Lab, (_, parameters, others): &Comparison, mode: &str, command: &str) -> Command {
    let parameters = parameters.iter().map(|p| format!("{p}={mode}")).collect::<Vec<_>>();
    let all: Vec<_> = parameters.iter().map(String::as_str).chain(others.iter().copied()).collect();
    jail_of(lab, &all, command, &[])
}

/// A jail of one command.
pub(crate) fn jail_of(lab: &Lab, parameters: &[&str], command: &str, words: &[&str]) -> Command {
    // The one before may not be gone when the next is made.
    let mut jail = lab.jail(["-c", &format!("name=n{}", lab.numbers(1)), &lab.path()]);
    jail.args(parameters).arg(format!("command={command}")).args(words);
    jail
}

/// What a program that measures prints: so many names, each with nanoseconds.
pub(crate) fn used(lab: &Lab, mut command: Command, lines: usize) -> Result<Vec<(String, f64)>> {
    // Not a pipe: the jail's init has it open, too, for a moment longer.
    command.stdout(File::create(lab.scratch())?);
    finish(&mut command)?;
    let text = fs::read_to_string(lab.scratch())?;
    let found: Option<Vec<_>> = text
        .lines()
        .map(|line| line.rsplit_once(' ').and_then(|(name, ns)| Some((name.to_owned(), ns.parse().ok()?))))
        .collect();
    match found {
        Some(found) if found.len() == lines => Ok(found),
        _ => Err(format!("{command:?}: printed {text:?}").into()),
    }
}
