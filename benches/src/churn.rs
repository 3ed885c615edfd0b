//! Whether anything is left of jails that come and go: a curve over thousands.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use crate::{
    lab::{Lab, Result, finish},
    memory::taken,
};

/// How many points the curve has.
const POINTS: usize = 10;

/// Makes and removes so many jails, each with a jail in it, and prints the kernel's memory and the product's ledger
/// on the way.
///
/// # Errors
/// A program failed; something is left at the end.
pub fn figures(lab: &Lab, rounds: usize) -> Result<()> {
    let keeper = ["-c", "name=keeper", "persist", "vnet", "vnet.link=eth0 benchlan 10.99.0.1/16"];
    finish(lab.jail(keeper).arg(lab.path()))?;
    say!(
        "\nchurn: {rounds} jails, each with sockets, routes, System V and POSIX objects, a mount and a jail in it"
    );
    say!(
        "{:>8} {:>12} {:>12} {:>12} {:>10} {:>10} {:>8}",
        "jails",
        "available",
        "slab",
        "unreclaimed",
        "made",
        "freed",
        "alive"
    );
    // The slabs that the first make are kept by the kernel for the next.
    (0..100).try_for_each(|n| round(lab, n))?;
    let mut curve = vec![point(lab, 0)?];
    let kept = alive(&ledger(lab)?);
    for n in 1..=POINTS {
        let (from, to) = ((n - 1) * rounds / POINTS, n * rounds / POINTS);
        (from..to).try_for_each(|n| round(lab, n))?;
        curve.push(point(lab, to)?);
    }
    let left: Vec<_> =
        alive(&ledger(lab)?).into_iter().filter(|(kind, alive)| kept.get(kind) != Some(alive)).collect();
    if let (Some(first), Some(last)) = (curve.first(), curve.last()) {
        let each = |field: &str| (last[field] - first[field]) * 1024.0 / to_f64(rounds);
        say!(
            "a jail leaves {:.1} bytes of slab, {:.1} of it unreclaimable",
            each("Slab"),
            each("SUnreclaim")
        );
    }
    lab.remove_all()?;
    finish(&mut lab.jdb(["audit", "--all"]))?;
    if !left.is_empty() {
        return Err(format!("the ledger has something outstanding: {left:?}").into());
    }
    say!("nothing is outstanding in the ledger, and the audit finds nothing");
    Ok(())
}

fn round(lab: &Lab, n: usize) -> Result<()> {
    let (name, inner) = (format!("name=c{n}"), format!("name=c{n}.in"));
    let (third, fourth) = (1 + n / 250 % 200, 1 + n % 250);
    let link = format!("vnet.link=eth0 benchlan 10.99.{third}.{fourth}/16 fd99::{third}:{fourth}/64");
    let busy = ["command=/bin/busy", "10.99.255.250"];
    let outer = ["-c", &name, "children.max=1", "persist", "vnet", &link, "vnet.route=default via 10.99.0.1"];
    finish(lab.jail(outer).args(["mount=/tmp /mnt none ro", &lab.path()]).args(busy))?;
    let inner = ["-c", &inner, "sysvshm=new", "sysvsem=new", "sysvmsg=new", &lab.path()];
    finish(lab.jail(inner).args(busy))?;
    finish(&mut lab.jail(["-r", &format!("c{n}")]))
}

/// A line of the curve, when the kernel has taken down what it was about to.
fn point(lab: &Lab, jails: usize) -> Result<BTreeMap<&'static str, f64>> {
    lab.all_gone()?;
    let memory = taken()?;
    let sum = |column: &str| {
        ledger(lab).map(|rows| rows.iter().filter_map(|row| row[column].as_i64()).sum::<i64>())
    };
    say!(
        "{jails:>8} {:>8.0} KiB {:>8.0} KiB {:>8.0} KiB {:>10} {:>10} {:>8}",
        memory["MemAvailable"],
        memory["Slab"],
        memory["SUnreclaim"],
        sum("made")?,
        sum("freed")?,
        sum("alive")?
    );
    Ok(memory)
}

/// The rows of the ledger.
fn ledger(lab: &Lab) -> Result<Vec<Value>> {
    let mut command: Command = lab.jdb(["--json", "ledger"]);
    let output = command.stdout(std::process::Stdio::piped()).output()?;
    let rows: Value = serde_json::from_slice(&output.stdout)?;
    Ok(rows.as_array().cloned().unwrap_or_default())
}

/// How many of each kind are there.
fn alive(rows: &[Value]) -> BTreeMap<String, i64> {
    let one = |row: &Value| Some((row["kind"].as_str()?.to_owned(), row["alive"].as_i64()?));
    rows.iter().filter_map(one).collect()
}

fn to_f64(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
