//! How long it takes to find who holds a jail, on a machine that is full of others.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use crate::{
    lab::{Lab, Result, finish, time},
    stats::median,
};

/// Processes, what each has open, and of which kind.
const CROWDS: [(u32, u32, &str); 3] = [(1, 0, "files"), (1_000, 10, "files"), (5, 18_000, "sockets")];

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, rounds: usize) -> Result<()> {
    finish(lab.jail(["-c", "name=held", "persist", "vnet"]).arg(lab.path()))?;
    say!("\ncensus: jdb holders of one jail, among other processes; medians of {rounds}");
    for (processes, count, kind) in CROWDS {
        let mut crowd = lab.quiet(&lab.tree().join("bin/busy"));
        crowd.args(["hold", &processes.to_string(), &count.to_string(), kind]);
        let mut crowd = crowd.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(crowd.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        let took = (0..rounds).map(|_| time(&mut lab.jdb(["holders", "held"]))).collect::<Result<Vec<_>>>();
        // It ends with its standard input.
        drop(crowd.stdin.take());
        crowd.wait()?;
        if line != "ready\n" {
            return Err("the other processes did not get ready".into());
        }
        say!("{processes:>6} processes with {count:>6} {kind:<8} each {:>8.1} ms", median(&took?) / 1e3);
    }
    lab.remove_all()
}
