//! How long many jails with connections take to be gone, removed together.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::Instant,
};

use crate::{
    lab::{Lab, Result, finish, time},
    pairs::{Pairs, head},
};

/// Connections of each jail with itself: two sockets each.
const CONNECTIONS: &str = "10";

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, jails: usize, rounds: usize) -> Result<()> {
    let (mut removed, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let floor = floor(lab, jails)?;
        let (first, second) = ours(lab, jails)?;
        removed.push((first, floor));
        gone.push((second, floor));
    }
    head(&format!("removal: {jails} jails with {CONNECTIONS} connections each, at once"), "jails", "floor");
    Pairs::of(removed).print("jail -r '*' / floor", "us");
    Pairs::of(gone).print("until no record is left / floor", "us");
    lab.remove_all()
}

/// Microseconds until the command has ended, and until the last jail is gone.
fn ours(lab: &Lab, jails: usize) -> Result<(f64, f64)> {
    let start = format!("exec.start=busy connected {CONNECTIONS} < /dev/null > /dev/null 2>&1 & exit 0");
    for n in 0..jails {
        finish(&mut lab.jail(["-q", "-c", &format!("name=r{n}"), "persist", "vnet", &lab.path(), &start]))?;
    }
    let begin = Instant::now();
    let removed = time(&mut lab.jail(["-q", "-r", "*"]))?;
    while fs::read_dir(lab.store().join("jails"))?.next().is_some() {
        lab.jail(["-q", "-r", "none"]).stderr(Stdio::null()).status()?;
    }
    Ok((removed, begin.elapsed().as_secs_f64() * 1e6))
}

/// Microseconds from the first kill until the kernel says that as many stacks with as many sockets are gone.
fn floor(lab: &Lab, jails: usize) -> Result<f64> {
    let mut command = lab.quiet(&lab.tree().join("bin/busy"));
    command.args(["stacks", &jails.to_string(), CONNECTIONS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut stacks = command.spawn()?;
    let mut lines = BufReader::new(stacks.stdout.take().ok_or("no standard output")?).lines();
    let ready = lines.next().transpose()?;
    drop(stacks.stdin.take());
    let took = lines.next().transpose()?;
    stacks.wait()?;
    match (ready.as_deref(), took) {
        (Some("ready"), Some(took)) => Ok(took.parse()?),
        _ => Err("the stacks did not get ready\nhint: it takes Linux 6.18".into()),
    }
}
