//! What an idle jail takes of the machine's memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    lab::{Lab, Result, finish, settle},
    pairs::{Pairs, head},
};

/// What is looked at in proc_meminfo(5). Of the first more means less used.
const FIELDS: [&str; 6] = ["MemAvailable", "Slab", "SUnreclaim", "Percpu", "KernelStack", "Shmem"];

/// How many of them have a ratio worth the name: the floor takes none of the others.
const RATIOS: usize = 3;

/// Measures and prints.
///
/// # Errors
/// A program failed; a process of ours was left in a jail.
pub fn figures(lab: &Lab, jails: usize, rounds: usize) -> Result<()> {
    let mut runs = Vec::new();
    for n in 0..rounds {
        // The slabs that the first jails make are kept by the kernel for the next: a round that does not count.
        if n == 0 {
            ours(lab, jails)?;
            floors(lab, jails)?;
        }
        runs.push(if n % 2 == 0 {
            let ours = ours(lab, jails)?;
            (ours, floors(lab, jails)?)
        } else {
            let floors = floors(lab, jails)?;
            (ours(lab, jails)?, floors)
        });
    }
    head(&format!("memory: each of {jails} idle jails with their own network stack"), "jail", "floor");
    for (n, field) in FIELDS.into_iter().enumerate() {
        let pairs = Pairs::of(runs.iter().map(|(ours, floors)| (ours[field], floors[field])));
        if n < RATIOS {
            pairs.print(field, "KiB");
        } else {
            pairs.print_halves(field, "KiB");
        }
    }
    say!("no process was in any of them");
    Ok(())
}

/// KiB by field that each jail of ours takes.
fn ours(lab: &Lab, jails: usize) -> Result<BTreeMap<&'static str, f64>> {
    let before = taken()?;
    let made = (0..jails).try_for_each(|n| {
        let link = format!("vnet.link=eth0 benchlan 10.99.{}.{}/16", n / 250, 1 + n % 250);
        finish(&mut lab.jail(["-c", &format!("name=m{n}"), "persist", "vnet", &link, &lab.path()]))
    });
    let used = made.and_then(|()| {
        processless(lab)?;
        taken()
    });
    // The last reference to a jail's files may be the next command's to drop.
    lab.remove_all()?;
    settle();
    finish(&mut lab.jail(["-c", "name=last", &lab.path(), "command=true"]))?;
    Ok(each(&before, &used?, jails))
}

/// The same of those that the floor holds.
fn floors(lab: &Lab, jails: usize) -> Result<BTreeMap<&'static str, f64>> {
    let before = taken()?;
    let count = u32::try_from(jails)?;
    let mut command = lab.quiet(&lab.floor());
    command.args(["hold", &lab.numbers(count).to_string()]).arg(lab.cgroup()).arg(lab.tree());
    command.arg(jails.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let used = ready(&mut holder).and_then(|()| taken());
    // It lets go at the end of its standard input.
    drop(holder.stdin.take());
    let ended = holder.wait()?;
    if !ended.success() {
        return Err(format!("{command:?}: {ended}").into());
    }
    Ok(each(&before, &used?, jails))
}

fn ready(holder: &mut Child) -> Result<()> {
    let output = holder.stdout.take().ok_or("the floor has no standard output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    if line == "ready\n" { Ok(()) } else { Err("the floor did not get ready".into()) }
}

fn each(
    before: &BTreeMap<&'static str, f64>,
    after: &BTreeMap<&'static str, f64>,
    jails: usize,
) -> BTreeMap<&'static str, f64> {
    let jails = f64::from(u32::try_from(jails).unwrap_or(u32::MAX));
    let used = |field: &str| {
        if field == FIELDS[0] { before[field] - after[field] } else { after[field] - before[field] }
    };
    FIELDS.into_iter().map(|field| (field, used(field) / jails)).collect()
}

/// The fields, when all that can be dropped was dropped and the kernel has freed what it was about to free.
///
/// # Errors
/// They cannot be read.
pub fn taken() -> Result<BTreeMap<&'static str, f64>> {
    for _ in 0..3 {
        finish(&mut Command::new("sync"))?;
        fs::write("/proc/sys/vm/drop_caches", "3").map_err(|e| format!("cannot drop caches: {e}"))?;
        std::thread::sleep(Duration::from_millis(400));
    }
    let text = fs::read_to_string("/proc/meminfo")?;
    FIELDS
        .into_iter()
        .map(|field| {
            let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
            let kib = value.and_then(|v| v.split_whitespace().next()?.parse().ok());
            Ok((field, kib.ok_or_else(|| format!("/proc/meminfo has no {field}"))?))
        })
        .collect()
}

/// Fails if any process is in a jail of ours, or is one of the product's.
fn processless(lab: &Lab) -> Result<()> {
    let mut cgroups = Vec::new();
    for entry in fs::read_dir(lab.store().join("jails"))? {
        let record = fs::read_to_string(entry?.path().join("record"))?;
        let record: serde_json::Value = serde_json::from_str(&record)?;
        let anchors = record["pieces"].as_array().into_iter().flatten().filter_map(|p| p["anchor"].as_str());
        cgroups.extend(anchors.filter_map(|a| a.strip_prefix("cgroup:/")).map(|a| format!("/{a}")));
    }
    if cgroups.is_empty() {
        return Err("no jail's record names a cgroup".into());
    }
    for cgroup in cgroups {
        let events = fs::read_to_string(format!("{cgroup}/cgroup.events"))?;
        if !events.contains("populated 0") {
            return Err(format!("{cgroup}: an idle jail has processes").into());
        }
    }
    for process in fs::read_dir("/proc")?.flatten() {
        // Kernel threads and processes that have just ended have none.
        let Ok(exe) = fs::read_link(process.path().join("exe")) else { continue };
        if exe == lab.program() {
            return Err(format!("{}: a process of ours was left", process.path().display()).into());
        }
    }
    Ok(())
}
