//! Jails of a configuration: made, changed and removed by their names, in the order in which they need each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ::jail::{
    Jails,
    configuration::{Configuration, Configured},
    privilege,
    record::Record,
    schedule::{LOOP, Order, SKIPPED, Why},
};
use vimage::{Error, ErrorKind, Result, When};

use super::{
    CREATED, Call, ExitCode, Jids, Manner, Operation, UPDATED, close, complain, exists, not_found, open,
    progress::Progress,
    remove, report, sealed,
    workers::{self, Work},
};
use crate::output::Output;

/// The configuration that a command is about. It need not be there for a removal.
fn read<'r>(call: &Call<'r>, removal: bool) -> std::result::Result<Option<Configuration<'r>>, Vec<Error>> {
    let file = call.value("f");
    let is_there = file.map_or_else(Configuration::is_there, |file| file == "-" || Path::new(file).exists());
    if removal && !is_there {
        return Ok(None);
    }
    Configuration::read(file, call.registry).map(Some).map_err(|errors| {
        let hint = |e: Error| match e.kind() {
            ErrorKind::NotFound if !call.has("f") => {
                e.hint("-f FILE names another; jail -c name=NAME path=DIR persist needs none")
            }
            _ => e,
        };
        errors.into_iter().map(hint).collect()
    })
}

fn complain_all(errors: &[Error]) {
    errors.iter().for_each(|error| complain("jail", error));
}

/// Prints the configured jails: `jail -e`.
pub(super) fn print(call: &mut Call<'_>) -> Result<ExitCode> {
    let separator = call.value("e").unwrap_or_default().to_owned();
    let jails = match read(call, false) {
        Ok(configuration) => configuration.map(|c| c.jails()).unwrap_or_default(),
        Err(errors) => {
            complain_all(&errors);
            return Ok(ExitCode::FAILURE);
        }
    };
    let (good, wrong) = sorted(jails);
    wrong.iter().for_each(|jail| complain_all(&jail.wrong));
    good.iter().for_each(|jail| call.out.line(jail.words.join(&separator)));
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The jails with which nothing is wrong, and the others.
fn sorted(jails: Vec<Configured>) -> (Vec<Configured>, Vec<Configured>) {
    jails.into_iter().partition(|jail| jail.wrong.is_empty())
}

/// Does what is asked to the jails of these names; without names, to all that are configured.
pub(super) fn run(
    call: &mut Call<'_>,
    operation: Operation,
    words: &[String],
    manner: Manner,
    jids: &Jids,
) -> Result<ExitCode> {
    let removal = operation.removes();
    // Removal without commands needs to know of none.
    let read = if operation == Operation::RemoveAnyhow { Ok(None) } else { read(call, removal) };
    let configuration = match read {
        Ok(configuration) => configuration,
        Err(errors) => {
            complain_all(&errors);
            return Ok(ExitCode::FAILURE);
        }
    };
    let (all, wrong) = sorted(configuration.map(|c| c.jails()).unwrap_or_default());
    if removal {
        let jails = open(call)?;
        jails.sweep()?;
        let done = remove::run(&jails, operation, words, &all, manner, &mut call.out);
        close(call.tool, &jails, matches!(done, Ok(ExitCode::SUCCESS)));
        return done;
    }
    let is_meant = |jail: &Configured| words.is_empty() || words.iter().any(|word| jail.is_meant(word));
    let asked: BTreeSet<&str> = all.iter().filter(|j| is_meant(j)).map(|j| j.name.as_str()).collect();
    let mut failed = false;
    // That there is no jail at all is no error of who means all.
    for word in words.iter().filter(|word| *word != "*") {
        if !all.iter().chain(&wrong).any(|jail| jail.is_meant(word)) {
            failed = true;
            complain("jail", &not_found(word));
        }
    }
    let creates = operation.creates();
    let chosen = match creates {
        true => with_needs(&all, &asked),
        false => all.iter().filter(|jail| asked.contains(jail.name.as_str())).collect(),
    };
    // What another needs may be wrong, too, and was not asked for.
    let needed: BTreeSet<&str> = chosen.iter().filter(|_| creates).flat_map(|jail| jail.needs()).collect();
    for jail in wrong.iter().filter(|jail| is_meant(jail) || needed.contains(jail.jail())) {
        failed = true;
        complain_all(&jail.wrong);
    }
    for jail in &chosen {
        if call.value("f") == Some("-") && sealed::is_needed(&jail.given.settings).unwrap_or(true) {
            let error = Error::unsupported(
                "a jail with user=inherit and a tree of its own cannot be read from standard input",
            );
            return Err(error.doing(&jail.name).hint("write the configuration to a file"));
        }
        sealed::seal(&jail.given.settings)?;
    }
    if chosen.is_empty() {
        return Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    if creates { privilege::check_set() } else { privilege::check() }?;
    let jails = open(call)?;
    jails.sweep_dead()?;
    let by_pattern = words.is_empty() || words.iter().any(|word| word.contains('*'));
    let anew = BTreeSet::new();
    let bad = BTreeMap::new();
    let mut run = Run { jails: &jails, operation, chosen, asked, by_pattern, manner, jids, anew, bad };
    let done = run.all(&all, &mut call.out);
    failed |= !run.bad.is_empty();
    if failed || done.is_err() {
        // Of those whose process was ended.
        jails.sweep_dead()?;
    }
    let done = done.map(|()| if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    close(call.tool, &jails, matches!(done, Ok(ExitCode::SUCCESS)));
    done
}

/// Those that are asked for and what they need, in the order of the configuration.
fn with_needs<'c>(all: &'c [Configured], asked: &BTreeSet<&str>) -> Vec<&'c Configured> {
    let mut by_name: BTreeMap<&str, Vec<&Configured>> = BTreeMap::new();
    all.iter().for_each(|jail| by_name.entry(jail.jail()).or_default().push(jail));
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&Configured> =
        all.iter().filter(|jail| asked.contains(jail.name.as_str())).collect();
    while let Some(jail) = waiting.pop() {
        if wanted.insert(&jail.name) {
            waiting.extend(jail.needs().filter_map(|need| by_name.get(need)).flatten());
        }
    }
    all.iter().filter(|jail| wanted.contains(jail.name.as_str())).collect()
}

/// One command over many jails.
struct Run<'a, 'r> {
    jails: &'a Jails<'r>,
    operation: Operation,
    chosen: Vec<&'a Configured>,
    asked: BTreeSet<&'a str>,
    by_pattern: bool,
    manner: Manner,
    jids: &'a Jids,
    /// The jails that were removed to be made anew.
    anew: BTreeSet<String>,
    /// The jails that are not as they were to be, each with the one that is the cause.
    bad: BTreeMap<String, String>,
}

impl<'a> Run<'a, '_> {
    fn all(&mut self, all: &'a [Configured], out: &mut Output) -> Result<()> {
        self.make_room(all, out)?;
        let things: Vec<_> = self.chosen.iter().map(|jail| (jail.jail(), jail.needs().collect())).collect();
        let order = Order::new(&things);
        let stuck = order.stuck();
        for (n, why) in &stuck {
            let jail = self.chosen[*n];
            match why {
                Why::Loop => self.fail(jail, &Error::new(ErrorKind::Failed, LOOP)),
                Why::Needs => {
                    let cause = jail.needs().find(|need| stuck.iter().any(|(n, _)| things[*n].0 == *need));
                    self.skip(jail, cause.unwrap_or_default());
                }
            }
        }
        let doing = if self.operation.creates() { "starting" } else { "changing" };
        let Manner { quiet, at_once, .. } = self.manner;
        let progress = Progress::new(doing, things.len(), quiet);
        workers::run(self, order, at_once, progress, out)
    }

    /// Removes those that are to be made anew, and the living that need them: these are made anew, too.
    fn make_room(&mut self, all: &'a [Configured], out: &mut Output) -> Result<()> {
        let mut found = BTreeMap::new();
        for jail in &self.chosen {
            let there = self.jails.read(jail.jail()).ok();
            match (self.operation, there) {
                (Operation::Restart, there) if self.asked.contains(jail.name.as_str()) => match there {
                    Some(record) => drop(found.insert(record.name.clone(), record)),
                    // It is made all the same.
                    None if !self.by_pattern && !self.manner.quiet => {
                        complain("jail", &not_found(&jail.name));
                    }
                    None => {}
                },
                (Operation::ModifyOrRestart | Operation::CreateModifyOrRestart, Some(record))
                    if self.differs(jail, &record) =>
                {
                    found.insert(record.name.clone(), record);
                }
                _ => {}
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let removal = remove::Manner { commands: true, says: !self.manner.quiet, of: self.manner };
        let (there, kept) = remove::all(self.jails, found, all, removal, out)?;
        self.anew = there.difference(&kept).cloned().collect();
        let chosen: BTreeSet<&str> = self.chosen.iter().map(|jail| jail.name.as_str()).collect();
        self.chosen = all
            .iter()
            .filter(|jail| chosen.contains(jail.name.as_str()) || self.anew.contains(jail.jail()))
            .filter(|jail| !kept.contains(jail.jail()))
            .collect();
        self.bad.extend(kept.into_iter().map(|name| (name.clone(), name)));
        Ok(())
    }

    fn fail(&mut self, jail: &Configured, error: &Error) {
        complain("jail", &error.clone().doing(&jail.name));
        self.bad.insert(jail.jail().to_owned(), jail.jail().to_owned());
    }

    fn skip(&mut self, jail: &Configured, cause: &str) {
        let error = Error::new(ErrorKind::Failed, SKIPPED).hint(format!("it needs {cause}, which failed"));
        complain("jail", &error.doing(&jail.name));
        self.bad.insert(jail.jail().to_owned(), cause.to_owned());
    }

    /// What jail(8) does with one jail that is there or not.
    fn one(&self, jail: &Configured, out: &mut Output) -> Result<()> {
        if self.anew.contains(jail.jail()) {
            return self.create(jail, out);
        }
        let there = self.jails.read(jail.jail()).is_ok();
        let asked = self.asked.contains(jail.name.as_str()) && !self.by_pattern;
        match (self.operation, there) {
            (Operation::Create, true) if asked => Err(exists(jail.jail())),
            // One that is needed, or meant by a pattern, is there.
            (Operation::Create | Operation::Restart, true) => Ok(()),
            (Operation::Modify | Operation::ModifyOrRestart, false) => Err(not_found(jail.jail())),
            (_, true) => {
                let changed = self.jails.modify(jail.jail(), &jail.given)?;
                report_made(self.manner, changed.jid, &jail.name, UPDATED, out);
                Ok(())
            }
            (_, false) => self.create(jail, out),
        }
    }

    /// Whether a parameter is another than that of the living jail, and cannot be changed.
    fn differs(&self, jail: &Configured, record: &Record) -> bool {
        let fixed =
            |name: &str| self.jails.registry.param(name).is_some_and(|param| param.when == When::Create);
        let mut given = jail.given.settings.iter().filter(|(name, _)| !["name", "jid"].contains(name));
        given.any(|(name, value)| fixed(name) && record.settings.get(name) != Some(value))
    }

    fn create(&self, jail: &Configured, out: &mut Output) -> Result<()> {
        let mut given = jail.given.clone();
        if given.settings.text("name").is_none() && given.settings.get("jid").is_none() {
            given.settings.set("name", vimage::Value::Text(jail.name.clone()));
        }
        let mut announce =
            |made: &::jail::Created| report_made(self.manner, made.jid, &jail.name, CREATED, out);
        let made = self.jails.create(&given, &mut announce)?;
        self.jids.add(made.jid, &jail.words)
    }
}

impl Work for Run<'_, '_> {
    fn name(&self, n: usize) -> &str {
        &self.chosen[n].name
    }

    fn joins(&self, _: usize) -> bool {
        false
    }

    fn may_begin(&mut self, n: usize) -> bool {
        let jail = self.chosen[n];
        let Some(cause) = jail.needs().find_map(|need| self.bad.get(need)).cloned() else { return true };
        self.skip(jail, &cause);
        false
    }

    fn act(&self, job: &[usize], out: &mut Output) -> bool {
        let mut done = true;
        for jail in job.iter().map(|n| self.chosen[*n]) {
            if let Err(error) = self.one(jail, out) {
                complain("jail", &error.doing(&jail.name));
                done = false;
            }
        }
        done
    }

    fn write_down(&self, complains: bool) {
        close(&super::TOOL, self.jails, complains);
    }

    fn ended(&mut self, n: usize, done: bool) {
        if !done {
            let name = self.chosen[n].jail();
            self.bad.insert(name.to_owned(), name.to_owned());
        }
    }
}

/// A configured jail is named as it comes, by the name of its block, unless nothing is to be said.
fn report_made(manner: Manner, jid: u32, name: &str, what: &str, out: &mut Output) {
    report(Manner { verbose: !manner.quiet, ..manner }, jid, name, what, out);
}
