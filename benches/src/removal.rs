//! How long many jails with connections take to be gone, removed together.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use kernel::namespace::Handle;
use serde_json::Value;

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
    let mut rows: [Vec<(f64, f64)>; 4] = Default::default();
    for _ in 0..rounds {
        let (bare, whole) = (floor(lab, jails, false)?, floor(lab, jails, true)?);
        let ours = ours(lab, jails)?;
        rows[0].push((ours.gone, whole));
        rows[1].push((ours.gone, bare));
        rows[2].push((ours.returned, whole));
        rows[3].push((ours.forgotten, whole));
    }
    head(&format!("removal: {jails} jails with {CONNECTIONS} connections each, at once"), "jails", "floor");
    let [gone, bare, returned, forgotten] = rows;
    Pairs::of(gone).print("until all stacks are gone / floor", "us");
    Pairs::of(bare).print("the same / bare stacks", "us");
    Pairs::of(returned).print("until jail -r ends / floor", "us");
    Pairs::of(forgotten).print("until no record is left / floor", "us");
    lab.remove_all()
}

/// When many jails were so far, in microseconds from the start of the command.
struct Ours {
    returned: f64,
    gone: f64,
    forgotten: f64,
}

fn ours(lab: &Lab, jails: usize) -> Result<Ours> {
    let start = format!("exec.start=busy connected {CONNECTIONS} < /dev/null > /dev/null 2>&1 & exit 0");
    for n in 0..jails {
        finish(&mut lab.jail(["-q", "-c", &format!("name=r{n}"), "persist", "vnet", &lab.path(), &start]))?;
    }
    let stacks = stacks(lab)?;
    if stacks.len() != jails {
        return Err(format!("{} stacks of {jails} jails are known", stacks.len()).into());
    }
    let begin = Instant::now();
    let since = || begin.elapsed().as_secs_f64() * 1e6;
    let returned = time(&mut lab.jail(["-q", "-R", "*"]))?;
    for stack in stacks {
        while stack.open().is_ok() {
            thread::sleep(Duration::from_micros(500));
        }
    }
    let gone = since();
    while fs::read_dir(lab.store().join("jails"))?.next().is_some() {
        lab.jail(["-q", "-r", "none"]).stderr(Stdio::null()).status()?;
    }
    Ok(Ours { returned, gone, forgotten: since() })
}

/// The network stacks of all jails, as their records name them.
fn stacks(lab: &Lab) -> Result<Vec<Handle>> {
    let mut stacks = Vec::new();
    for jail in fs::read_dir(lab.store().join("jails"))? {
        let record: Value = serde_json::from_slice(&fs::read(jail?.path().join("record"))?)?;
        let pieces = record["pieces"].as_array().into_iter().flatten();
        let anchors = pieces.filter_map(|piece| piece["anchor"].as_str());
        stacks.extend(anchors.filter(|a| a.starts_with("net:")).filter_map(|a| a.parse::<Handle>().ok()));
    }
    Ok(stacks)
}

/// Microseconds from the first kill until the kernel says that as many stacks with as many sockets are gone; `whole`:
/// with all else of the kernel's that a jail has.
fn floor(lab: &Lab, jails: usize, whole: bool) -> Result<f64> {
    let mut command = lab.quiet(&lab.tree().join("bin/busy"));
    command.args(["stacks", &jails.to_string(), CONNECTIONS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    if whole {
        command.arg(lab.cgroup());
    }
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
