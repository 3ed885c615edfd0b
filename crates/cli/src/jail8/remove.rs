//! Removal: by names, numbers and patterns, those first that need others.

use std::collections::{BTreeMap, BTreeSet};

use ::jail::{
    Jails,
    configuration::{Configured, meets},
    record::Record,
    schedule::{Order, SKIPPED, Why},
    stop,
};
use vimage::{Error, ErrorKind, Result};

use super::{
    ExitCode, Operation, REMOVED, close, complain, not_found,
    progress::Progress,
    workers::{self, Work},
};
use crate::output::Output;

/// A jail's record with what its configuration says of its end, and not what one that it was made by has said.
fn configured(jails: &Jails<'_>, by: &BTreeMap<&str, &Configured>, mut record: Record) -> Result<Record> {
    let Some(by) = by.get(record.name.as_str()) else { return Ok(record) };
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

/// How jails are removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether their commands are run, and their processes asked to end.
    pub commands: bool,
    /// Whether each is named as it goes.
    pub says: bool,
    /// What goes for the whole command.
    pub of: super::Manner,
}

/// Removes the jails that words mean; `all` are the configured ones.
pub(super) fn run(
    jails: &Jails<'_>,
    operation: Operation,
    words: &[String],
    all: &[Configured],
    manner: super::Manner,
    out: &mut Output,
) -> Result<ExitCode> {
    let mut found: BTreeMap<String, Record> = BTreeMap::new();
    let mut failed = false;
    let mut living = None;
    let mut gone: Vec<&Configured> = Vec::new();
    for word in words {
        let word = word.strip_prefix("name=").or_else(|| word.strip_prefix("jid=")).unwrap_or(word);
        if word.contains('*') {
            if living.is_none() {
                living = Some(jails.list(false)?);
            }
            let meant = living.iter().flatten().filter(|record| meets(word, &record.name));
            found.extend(meant.map(|record| (record.name.clone(), record.clone())));
            let cleans = |jail: &&Configured| operation == Operation::CleanUp && meets(word, &jail.name);
            gone.extend(all.iter().filter(cleans).filter(|jail| jails.read(jail.jail()).is_err()));
            continue;
        }
        // The name of a block is not always the jail's own.
        let by = all.iter().find(|jail| jail.name == word);
        match jails.read(by.map_or(word, Configured::jail)) {
            Ok(record) => drop(found.insert(record.name.clone(), record)),
            Err(e) if e.kind() == ErrorKind::NotFound && operation == Operation::CleanUp && by.is_some() => {
                gone.extend(by);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                failed = true;
                if !manner.quiet {
                    complain("jail", &not_found(word));
                }
            }
            Err(e) => {
                failed = true;
                complain("jail", &e);
            }
        }
    }
    let several = words.len() > 1 || words.iter().any(|w| w.contains('*')) || !all.is_empty();
    let commands = operation != Operation::RemoveAnyhow;
    let how = Manner { commands, says: !manner.quiet && (manner.verbose || several), of: manner };
    let mut going = Going::new(jails, found, all, how)?;
    going.all(out)?;
    for jail in gone {
        out.flush();
        if let Err(error) = jails.clean_up(jail.jail(), &jail.given) {
            complain("jail", &error.doing(&jail.name));
            failed = true;
        }
    }
    Ok(if failed || going.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Removes jails, and those that need them. Returns the names of all these, and of those that are still there.
pub(super) fn all(
    jails: &Jails<'_>,
    found: BTreeMap<String, Record>,
    all: &[Configured],
    manner: Manner,
    out: &mut Output,
) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let mut going = Going::new(jails, found, all, manner)?;
    going.all(out)?;
    let names = going.records.iter().map(|record| record.name.clone()).collect();
    Ok((names, going.kept.into_keys().collect()))
}

/// Jails that are to go.
struct Going<'a, 'r> {
    jails: &'a Jails<'r>,
    manner: Manner,
    records: Vec<Record>,
    /// What each needs.
    needs: Vec<Vec<String>>,
    /// Who needs a jail.
    needed_by: BTreeMap<String, Vec<usize>>,
    /// Those that are still there after their turn, each with the one that is the cause.
    kept: BTreeMap<String, String>,
    /// Whether anything was not done.
    failed: bool,
}

impl<'a, 'r> Going<'a, 'r> {
    fn new(
        jails: &'a Jails<'r>,
        mut found: BTreeMap<String, Record>,
        all: &[Configured],
        manner: Manner,
    ) -> Result<Self> {
        needing(jails, all, &mut found);
        let by_name: BTreeMap<&str, &Configured> = all.iter().map(|jail| (jail.jail(), jail)).collect();
        let records = found
            .into_values()
            .map(|record| configured(jails, &by_name, record))
            .collect::<Result<Vec<_>>>()?;
        let needs = |record: &Record| match by_name.get(record.name.as_str()) {
            Some(jail) => jail.needs().map(str::to_owned).collect(),
            None => record.parent().map(str::to_owned).into_iter().collect::<Vec<_>>(),
        };
        let needs: Vec<_> = records.iter().map(needs).collect();
        let mut needed_by: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (n, needs) in needs.iter().enumerate() {
            needs.iter().for_each(|need| needed_by.entry(need.clone()).or_default().push(n));
        }
        Ok(Self { jails, manner, records, needs, needed_by, kept: BTreeMap::new(), failed: false })
    }

    fn all(&mut self, out: &mut Output) -> Result<()> {
        let super::Manner { quiet, at_once, .. } = self.manner.of;
        let (order, progress) =
            (self.order().reversed(), Progress::new("stopping", self.records.len(), quiet));
        workers::run(self, order, at_once, progress, out)
    }

    fn order(&self) -> Order {
        let things = |needs: &dyn Fn(usize) -> bool| {
            let of = |n: usize| self.needs[n].iter().map(String::as_str).filter(|_| needs(n)).collect();
            let names = self.records.iter().map(|record| record.name.as_str());
            Order::new(&names.enumerate().map(|(n, name)| (name, of(n))).collect::<Vec<_>>())
        };
        let stuck = things(&|_| true).stuck();
        // In a loop nobody is first.
        things(&|n| !stuck.contains(&(n, Why::Loop)))
    }
}

impl Work for Going<'_, '_> {
    fn name(&self, n: usize) -> &str {
        &self.records[n].name
    }

    /// The kernel takes down many as fast as one; but nobody waits for the commands of another.
    fn joins(&self, n: usize) -> bool {
        !(self.manner.commands && stop::has_commands(&self.records[n]))
    }

    fn may_begin(&mut self, n: usize) -> bool {
        let name = &self.records[n].name;
        let needing = self.needed_by.get(name).into_iter().flatten();
        let Some(cause) = needing.into_iter().find_map(|n| self.kept.get(&self.records[*n].name)).cloned()
        else {
            return true;
        };
        let error = Error::new(ErrorKind::Busy, SKIPPED);
        complain("jail", &error.hint(format!("{cause} needs it, and was not removed")).doing(name));
        self.kept.insert(name.clone(), cause);
        self.failed = true;
        false
    }

    fn act(&self, job: &[usize], out: &mut Output) -> bool {
        // What the commands that are run now print comes after what was printed.
        out.flush();
        let records: Vec<_> = job.iter().map(|n| self.records[*n].clone()).collect();
        let done = if self.manner.commands { self.jails.stop(records) } else { self.jails.remove(&records) };
        let (removed, errors) = done.unwrap_or_else(|error| (Vec::new(), vec![error]));
        if self.manner.says {
            removed.iter().for_each(|name| out.line(format_args!("{name}: {REMOVED}")));
        }
        errors.iter().for_each(|error| complain("jail", error));
        errors.is_empty()
    }

    fn write_down(&self, complains: bool) {
        close(&super::TOOL, self.jails, complains);
    }

    fn ended(&mut self, n: usize, done: bool) {
        let Record { name, jid, .. } = &self.records[n];
        self.failed |= !done;
        if self.jails.read(name).is_ok_and(|record| record.jid == *jid) {
            self.kept.insert(name.clone(), name.clone());
        }
    }
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
