//! Removal: by names, numbers and patterns, those first that need others.

use std::collections::{BTreeMap, BTreeSet};

use ::jail::{
    Jails,
    configuration::{Configured, meets},
    record::Record,
    schedule,
};
use vimage::{Error, ErrorKind, Result};

use super::{ExitCode, Manner, Operation, complain};
use crate::output::Output;

/// A jail's record with what its configuration says of its end, and not what one that it was made by has said.
pub(super) fn configured(jails: &Jails<'_>, mut record: Record, by: Option<&Configured>) -> Result<Record> {
    let Some(by) = by else { return Ok(record) };
    let params = jails.registry.params().map(|(param, _)| param);
    for param in params.filter(|param| param.name.starts_with("exec.") || param.name == "stop.timeout") {
        let default = param.default.map(|text| param.parse(text)).transpose()?;
        match by.given.settings.get(param.name).cloned().or(default) {
            Some(value) => record.settings.set(param.name, value),
            None => record.settings.remove(param.name),
        };
    }
    Ok(record)
}

/// Removes the jails that words mean; `all` are the configured ones.
pub(super) fn run(
    jails: &Jails<'_>,
    operation: Operation,
    words: &[String],
    all: &[Configured],
    manner: Manner,
    out: &mut Output,
) -> Result<ExitCode> {
    let mut found: BTreeMap<String, Record> = BTreeMap::new();
    let mut failed = false;
    let mut living = None;
    for word in words {
        let word = word.strip_prefix("name=").or_else(|| word.strip_prefix("jid=")).unwrap_or(word);
        if word.contains('*') {
            if living.is_none() {
                living = Some(jails.list(false)?);
            }
            let meant = living.iter().flatten().filter(|record| meets(word, &record.name));
            found.extend(meant.map(|record| (record.name.clone(), record.clone())));
            continue;
        }
        // The name of a block is not always the jail's own.
        let name = all.iter().find(|jail| jail.name == word).map_or(word, Configured::jail);
        match jails.read(name) {
            Ok(record) => drop(found.insert(record.name.clone(), record)),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                failed = true;
                if !manner.quiet {
                    complain("jail", &Error::new(ErrorKind::NotFound, format!("\"{word}\" not found")));
                }
            }
            Err(e) => {
                failed = true;
                complain("jail", &e);
            }
        }
    }
    needing(jails, all, &mut found);
    let by_name: BTreeMap<&str, &Configured> = all.iter().map(|jail| (jail.jail(), jail)).collect();
    let needs = |name: &str| by_name.get(name).map(|jail| jail.needs().collect()).unwrap_or_default();
    let things: Vec<_> = found.keys().map(|name| (name.as_str(), needs(name))).collect();
    let (groups, loops) = schedule::order(&things);
    // In a loop nobody is first.
    let groups = groups.into_iter().chain([loops.into_iter().map(|(number, _)| number).collect()]).rev();
    let several = words.len() > 1 || words.iter().any(|w| w.contains('*')) || !all.is_empty();
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for group in groups {
        let mut going = Vec::new();
        for number in group {
            let name = things[number].0;
            let needed = !kept.is_empty()
                && things.iter().any(|(other, needs)| needs.contains(&name) && kept.contains(*other));
            let Some(record) = found.get(name).filter(|_| !needed).cloned() else {
                complain("jail", &Error::new(ErrorKind::Busy, "skipped").doing(name));
                failed |= kept.insert(name.to_owned());
                continue;
            };
            going.push(configured(jails, record, by_name.get(name).copied())?);
        }
        if going.is_empty() {
            continue;
        }
        let names: Vec<_> = going.iter().map(|record| record.name.clone()).collect();
        // What the commands that are run now print comes after what was printed.
        out.flush();
        let (removed, errors) =
            if operation == Operation::Remove { jails.stop(going)? } else { jails.remove(&going)? };
        if !manner.quiet && (manner.verbose || several) {
            removed.iter().for_each(|name| out.line(format_args!("{name}: removed")));
        }
        kept.extend(names.into_iter().filter(|name| !removed.contains(name)));
        failed |= !errors.is_empty();
        errors.iter().for_each(|error| complain("jail", error));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Adds the living jails that need one that is to be removed.
fn needing(jails: &Jails<'_>, all: &[Configured], found: &mut BTreeMap<String, Record>) {
    let mut needed_by: BTreeMap<&str, Vec<&Configured>> = BTreeMap::new();
    for jail in all {
        jail.needs().for_each(|need| needed_by.entry(need).or_default().push(jail));
    }
    let mut waiting: Vec<String> = found.keys().cloned().collect();
    while let Some(name) = waiting.pop() {
        for jail in needed_by.get(name.as_str()).into_iter().flatten() {
            let Some(record) = jails.read(jail.jail()).ok().filter(|r| !found.contains_key(&r.name)) else {
                continue;
            };
            waiting.push(record.name.clone());
            found.insert(record.name.clone(), record);
        }
    }
}
