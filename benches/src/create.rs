//! What one jail with a network stack of its own costs, and where the time goes.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    lab::{Lab, Result, finish, settle, time},
    pairs::{Pairs, head},
    stats::median,
};

/// How many rows of a table are worth a look.
const ROWS: usize = 24;

/// Measures and prints.
///
/// # Errors
/// A program failed.
pub fn figures(lab: &Lab, pairs: usize) -> Result<()> {
    // It keeps the segment and the stack that switches: these are not what one more jail costs.
    let keeper = ["-c", "name=keeper", "persist", "vnet", "vnet.link=eth0 benchlan 10.99.0.1/24"];
    finish(lab.jail(keeper).arg(lab.path()))?;
    let trace = lab.store().join("trace");
    let mut spent = Spent::default();
    let measured = Pairs::measure(pairs, |n, product| {
        settle();
        if !product {
            return time(&mut floor(lab));
        }
        fs::remove_file(&trace)?;
        let took = time(&mut one(lab, n))?;
        spent.add(&fs::read_to_string(&trace)?, &name(n), took)?;
        Ok(took)
    })?;
    head("create: a jail with its own network stack, made, `true` run in it, removed", "jail", "floor");
    measured.print("jail -c command=true / floor", "us");
    let bare = Pairs::measure(pairs, |_, product| {
        settle();
        if product {
            // Complains, and has done nothing but start.
            let mut nothing = lab.jail([]);
            nothing.stderr(std::process::Stdio::null());
            let start = std::time::Instant::now();
            nothing.status()?;
            return Ok(start.elapsed().as_secs_f64() * 1e6);
        }
        time(&mut floor(lab))
    })?;
    bare.print("jail without arguments / floor", "us");
    spent.print();
    calls(lab)?;
    lab.remove_all()
}

fn name(n: usize) -> String {
    format!("n{n}")
}

/// The jail that is measured.
fn one(lab: &Lab, n: usize) -> Command {
    let link = format!("vnet.link=eth0 benchlan 10.99.0.{}/24", 2 + n % 250);
    let mut command = lab.jail(["-c", &format!("name={}", name(n)), "vnet", &link]);
    command.args(["vnet.route=default via 10.99.0.1", &lab.path(), "command=true"]);
    command
}

/// The same, bare.
fn floor(lab: &Lab) -> Command {
    let mut command = lab.quiet(&lab.floor());
    command.args(["run", &lab.numbers(1).to_string()]).arg(lab.cgroup()).arg(lab.tree()).arg("/bin/true");
    command
}

/// Times of all runs by what they were spent on.
#[derive(Debug, Default)]
struct Spent {
    wall: Vec<f64>,
    rows: BTreeMap<String, Vec<f64>>,
}

/// One event of the product's trace.
#[derive(Clone, Debug)]
struct Event {
    label: String,
    own: bool,
    at: f64,
    end: f64,
}

impl Spent {
    /// Adds what the trace of one command says.
    fn add(&mut self, trace: &str, jail: &str, wall: f64) -> Result<()> {
        let mut events = trace.lines().map(|line| event(line, jail)).collect::<Result<Vec<_>>>()?;
        // The outer of two that begin together comes first.
        events.sort_by(|a, b| a.at.total_cmp(&b.at).then(b.end.total_cmp(&a.end)));
        let mut row = BTreeMap::<String, f64>::new();
        let (mut end, mut before) = (0.0, "the command's start".to_owned());
        for event in events {
            if event.end <= end && end > 0.0 {
                *row.entry(format!("  of it: {}", event.label)).or_default() += event.end - event.at;
                continue;
            }
            *row.entry(format!("between: after {before}")).or_default() += (event.at - end).max(0.0);
            let label = if event.own { event.label } else { format!("sweep: {}", event.label) };
            *row.entry(label.clone()).or_default() += event.end - event.at.max(end);
            (end, before) = (event.end, label);
        }
        row.insert("outside: start, run of the command, end".to_owned(), wall - end);
        let runs = self.wall.len();
        for (label, took) in row {
            // Those that had no such row spent nothing on it.
            let all = self.rows.entry(label).or_default();
            all.resize(runs, 0.0);
            all.push(took);
        }
        self.wall.push(wall);
        Ok(())
    }

    fn print(&self) {
        let runs = self.wall.len();
        let wall = median(&self.wall);
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .map(|(label, took)| {
                let mut took = took.clone();
                took.resize(runs, 0.0);
                (label, median(&took))
            })
            .collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        say!("\nwhere the jail's time goes, by the product's own trace: medians of {runs} runs");
        say!("(sweep: what the jail before left to the next command; of it: part of another row)");
        for (label, took) in rows.into_iter().take(ROWS).filter(|(_, took)| *took >= 10.0) {
            say!("{label:<60} {took:>8.0} us {:>5.1} %", took / wall * 100.0);
        }
    }
}

fn event(line: &str, jail: &str) -> Result<Event> {
    let json: Value = serde_json::from_str(line).map_err(|e| format!("trace: {line}: {e}"))?;
    let text = |key: &str| json[key].as_str().unwrap_or_default();
    let number = |key: &str| json[key].as_f64().unwrap_or_default();
    // What a piece is called differs from jail to jail: only its kind counts.
    let what: Vec<_> =
        text("what").split(' ').map(|word| word.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
    Ok(Event {
        label: format!("{} {}", text("phase"), what.join(" ")),
        own: text("jail") == jail,
        at: number("at"),
        end: number("at") + number("took"),
    })
}

/// System calls of one jail, and of the floor.
fn calls(lab: &Lab) -> Result<()> {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|o| o.status.success());
    if !there {
        say!("\nsystem calls: no strace(1) to count them");
        return Ok(());
    }
    say!("\nsystem calls, those of `true` among them");
    for (what, command) in [("jail", one(lab, 251)), ("floor", floor(lab))] {
        settle();
        let file = lab.scratch();
        let mut strace = lab.quiet(Path::new("strace"));
        strace.args(["-f", "-c", "-o"]).arg(&file).arg(command.get_program()).args(command.get_args());
        finish(&mut strace)?;
        let mut counts = counts(&fs::read_to_string(&file)?);
        let total = counts.remove("total").unwrap_or_default();
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let most: Vec<_> = counts.iter().take(8).map(|(name, count)| format!("{name} {count}")).collect();
        say!("{what:<6} {total:>6}   {}", most.join(", "));
    }
    Ok(())
}

/// The calls by name in what `strace -c` writes: share, seconds, each, calls, perhaps errors, name.
fn counts(table: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let name = fields.last().filter(|_| fields.len() >= 5)?;
        Some(((*name).to_owned(), fields[3].parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_strace_is_read_with_errors_and_without() {
        let counts = counts(
            "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ------------------\n \
             13.79    0.000726           5       126         1 openat\n  \
             8.43    0.000498           3       165           close\n\
             ------ ----------- ----------- --------- --------- ------------------\n\
             100.00    0.005265           4      1153        53 total\n",
        );
        assert_eq!(counts["openat"], 126);
        assert_eq!(counts["close"], 165);
        assert_eq!(counts["total"], 1153);
        assert_eq!(counts.len(), 3);
    }

    #[test]
    fn time_is_split_into_events_what_lies_in_them_and_between() {
        let trace = r#"{"jail":"old","phase":"undo","what":"vnet/link/p1 vnet/link/p2","at":5,"took":10}
{"jail":"n1","phase":"make","what":"vnet/link/p3","at":25,"took":5}
{"jail":"n1","phase":"furnish","what":"vnet","at":20,"took":20}
"#;
        let mut spent = Spent::default();
        spent.add("", "n0", 7.0).unwrap();
        spent.add(trace, "n1", 100.0).unwrap();
        let rows: Vec<_> = spent.rows.iter().map(|(label, took)| (label.as_str(), took.clone())).collect();
        assert_eq!(
            rows,
            [
                ("  of it: make vnet/link", vec![0.0, 5.0]),
                ("between: after sweep: undo vnet/link vnet/link", vec![0.0, 5.0]),
                ("between: after the command's start", vec![0.0, 5.0]),
                ("furnish vnet", vec![0.0, 20.0]),
                ("outside: start, run of the command, end", vec![7.0, 60.0]),
                ("sweep: undo vnet/link vnet/link", vec![0.0, 10.0]),
            ]
        );
    }
}
