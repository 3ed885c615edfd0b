//! Jails of a configuration: made, changed and removed by their names, in the order in which they need each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ::jail::{
    Jails,
    configuration::{self, Configuration, Configured},
    record::Record,
    schedule::{self, Why},
};
use vimage::{Error, ErrorKind, Result, When};

use super::{
    Call, ExitCode, Manner, Operation, close, complain, line, open, remove, report, sealed, write_jids,
};

/// The configuration that a command is about. It need not be there for a removal.
fn read<'r>(call: &Call<'r>, removal: bool) -> std::result::Result<Option<Configuration<'r>>, Vec<Error>> {
    let file = call.value("f").unwrap_or(configuration::FILE);
    if removal && file != "-" && !Path::new(file).exists() {
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
) -> Result<ExitCode> {
    let removal = matches!(operation, Operation::Remove | Operation::RemoveAnyhow);
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
        close(call.tool, &jails, &done);
        return done;
    }
    let is_meant = |jail: &Configured| words.is_empty() || words.iter().any(|word| jail.is_meant(word));
    let asked: BTreeSet<&str> = all.iter().filter(|j| is_meant(j)).map(|j| j.name.as_str()).collect();
    let mut failed = false;
    // That there is no jail at all is no error of who means all.
    for word in words.iter().filter(|word| *word != "*") {
        if !all.iter().chain(&wrong).any(|jail| jail.is_meant(word)) {
            failed = true;
            complain("jail", &Error::new(ErrorKind::NotFound, format!("\"{word}\" not found")));
        }
    }
    let creates = operation != Operation::Modify && operation != Operation::ModifyOrRestart;
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
    let jails = open(call)?;
    jails.sweep_dead()?;
    let by_pattern = words.is_empty() || words.iter().any(|word| word.contains('*'));
    let mut run = Run {
        jails: &jails,
        operation,
        asked,
        by_pattern,
        manner,
        call,
        bad: BTreeSet::new(),
        lines: Vec::new(),
    };
    run.all(&chosen);
    failed |= !run.bad.is_empty();
    let lines = std::mem::take(&mut run.lines);
    let done = write_jids(call, &lines).map(|()| if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    close(call.tool, &jails, &done);
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
    asked: BTreeSet<&'a str>,
    by_pattern: bool,
    manner: Manner,
    call: &'a mut Call<'r>,
    /// The jails that are not as they were to be.
    bad: BTreeSet<String>,
    /// Those that were made, for `-J`.
    lines: Vec<String>,
}

impl Run<'_, '_> {
    fn all(&mut self, chosen: &[&Configured]) {
        let things: Vec<_> = chosen.iter().map(|jail| (jail.jail(), jail.needs().collect())).collect();
        let (groups, left) = schedule::order(&things);
        for (number, why) in left {
            let text = match why {
                Why::Loop => "dependency loop",
                Why::Needs => "skipped",
            };
            self.fail(chosen[number], &Error::new(ErrorKind::Failed, text));
        }
        for jail in groups.into_iter().flatten().map(|number| chosen[number]) {
            let done = match jail.needs().any(|need| self.bad.contains(need)) {
                true => Err(Error::new(ErrorKind::Failed, "skipped")),
                false => self.one(jail),
            };
            if let Err(error) = done {
                self.fail(jail, &error);
            }
        }
    }

    fn fail(&mut self, jail: &Configured, error: &Error) {
        complain("jail", &error.clone().doing(&jail.name));
        self.bad.insert(jail.jail().to_owned());
    }

    /// What jail(8) does with one jail that is there or not.
    fn one(&mut self, jail: &Configured) -> Result<()> {
        let there = self.jails.read(jail.jail()).ok();
        let asked = self.asked.contains(jail.name.as_str()) && !self.by_pattern;
        match (self.operation, there) {
            (Operation::Create, Some(_)) if asked => {
                Err(Error::new(ErrorKind::Exists, format!("\"{}\" already exists", jail.jail())))
            }
            // One that is needed, or meant by a pattern, is there.
            (Operation::Create, Some(_)) => Ok(()),
            (Operation::Modify | Operation::ModifyOrRestart, None) => {
                Err(Error::new(ErrorKind::NotFound, format!("\"{}\" not found", jail.jail())))
            }
            (Operation::ModifyOrRestart | Operation::CreateModifyOrRestart, Some(record))
                if self.differs(jail, &record) =>
            {
                self.anew(jail, record)
            }
            (Operation::Restart, Some(record)) if self.asked.contains(jail.name.as_str()) => {
                self.anew(jail, record)
            }
            (Operation::Restart, Some(_)) => Ok(()),
            (_, Some(_)) => {
                let changed = self.jails.modify(jail.jail(), &jail.given)?;
                self.report(changed.jid, jail, "updated");
                Ok(())
            }
            (_, None) => self.create(jail),
        }
    }

    /// Whether a parameter is another than that of the living jail, and cannot be changed.
    fn differs(&self, jail: &Configured, record: &Record) -> bool {
        let fixed =
            |name: &str| self.jails.registry.param(name).is_some_and(|param| param.when == When::Create);
        let mut given = jail.given.settings.iter().filter(|(name, _)| !["name", "jid"].contains(name));
        given.any(|(name, value)| fixed(name) && record.settings.get(name) != Some(value))
    }

    fn anew(&mut self, jail: &Configured, record: Record) -> Result<()> {
        let record = remove::configured(self.jails, record, Some(jail))?;
        let (removed, errors) = self.jails.stop(vec![record])?;
        if let Some(error) = errors.into_iter().next() {
            return Err(error);
        }
        for name in &removed {
            self.say(&format!("{name}: removed"));
        }
        self.create(jail)
    }

    fn create(&mut self, jail: &Configured) -> Result<()> {
        let mut given = jail.given.clone();
        if given.settings.text("name").is_none() && given.settings.get("jid").is_none() {
            given.settings.set("name", vimage::Value::Text(jail.name.clone()));
        }
        let (jails, manner) = (self.jails, self.manner);
        let out = &mut self.call.out;
        let mut announce = |made: &::jail::Created| report_made(manner, made.jid, &jail.name, "created", out);
        let made = jails.create(&given, &mut announce)?;
        self.lines.push(line(made.jid, &jail.words));
        Ok(())
    }

    fn report(&mut self, jid: u32, jail: &Configured, what: &str) {
        report_made(self.manner, jid, &jail.name, what, &mut self.call.out);
    }

    fn say(&mut self, line: &str) {
        if !self.manner.quiet {
            self.call.out.line(line);
            self.call.out.flush();
        }
    }
}

/// A configured jail is named as it comes, by the name of its block, unless nothing is to be said.
fn report_made(manner: Manner, jid: u32, name: &str, what: &str, out: &mut crate::output::Output) {
    report(Manner { verbose: !manner.quiet, ..manner }, jid, name, what, out);
}
