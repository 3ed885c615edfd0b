//! jail(8): create, modify, remove.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use kernel::act::Act;
use lexopt::prelude::*;
use vimage::{Context as _, Error, ErrorKind, Given, Registry, Result, Value};

use crate::{complain, open, sealed};

/// What was asked.
#[derive(Debug, Default)]
struct Asked {
    root: Option<PathBuf>,
    create: bool,
    modify: bool,
    remove: bool,
    only_jid: bool,
    quiet: bool,
    verbose: bool,
    words: Vec<String>,
}

pub(crate) fn run(registry: &Registry<Act>, args: Vec<OsString>) -> Result<ExitCode> {
    let asked = parse(args)?;
    if asked.create {
        sealed::seal(&given(registry, &asked.words)?.settings)?;
    }
    let jails = open(asked.root.clone(), registry)?;
    // What earlier commands could not finish; what still will not go is shown by jls -d.
    jails.sweep()?;
    let done = act(&asked, &jails);
    // What could not be written down is no reason to say that the jail was not made.
    if let Err(error) = jails.close() {
        complain("jail", &error);
    }
    done
}

fn act(asked: &Asked, jails: &::jail::Jails<'_>) -> Result<ExitCode> {
    if asked.remove {
        let (removed, errors) = match jails.remove(&asked.words) {
            Err(e) if asked.quiet && e.kind() == ErrorKind::NotFound => return Ok(ExitCode::FAILURE),
            other => other?,
        };
        if !asked.quiet && (asked.verbose || asked.words.len() > 1) {
            removed.iter().for_each(|name| println!("{name}: removed"));
        }
        errors.iter().for_each(|error| complain("jail", error));
        return Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let given = given(jails.registry, &asked.words)?;
    let named = given.settings.get("jid").or_else(|| given.settings.get("name")).map(Value::text);
    let there = named.as_deref().is_some_and(|name| jails.read(name).is_ok());
    if asked.modify && (there || !asked.create) {
        let name = named.ok_or_else(|| Error::usage("no jail specified"))?;
        let changed = jails.modify(&name, &given)?;
        report(asked, changed.jid, &changed.name, "updated");
        return Ok(ExitCode::SUCCESS);
    }
    jails.create(&given, &mut |created| report(asked, created.jid, &created.name, "created"))?;
    Ok(ExitCode::SUCCESS)
}

/// A jail given by parameters on the command line prints nothing, unless asked to.
fn report(asked: &Asked, jid: u32, name: &str, what: &str) {
    if asked.only_jid {
        println!("{jid}");
    } else if asked.verbose {
        println!("{name}: {what}");
    }
}

/// The definitions of one jail. `command` takes all words that follow.
fn given(registry: &Registry<Act>, words: &[String]) -> Result<Given> {
    let mut given = Given::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(first) = word.strip_prefix("command=") else {
            registry.define(&mut given, word)?;
            continue;
        };
        let argv =
            std::iter::once(first).chain(words.by_ref().map(String::as_str)).map(str::to_owned).collect();
        given.settings.set("command", Value::List(argv));
    }
    Ok(given)
}

fn parse(args: Vec<OsString>) -> Result<Asked> {
    let mut asked = Asked::default();
    let mut parser = lexopt::Parser::from_args(args);
    let wrong = |e: lexopt::Error| Error::usage(e).hint("jail --help");
    let mut name = None;
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Short('c') => asked.create = true,
            Short('m') => asked.modify = true,
            Short('r' | 'R') => asked.remove = true,
            Short('i') => asked.only_jid = true,
            Short('q') => asked.quiet = true,
            Short('v') => asked.verbose = true,
            Short('n') => name = Some(parser.value().map_err(wrong)?.string().map_err(wrong)?),
            Long("root") => asked.root = Some(parser.value().map_err(wrong)?.into()),
            Value(word) => {
                let rest = std::iter::once(Ok(word)).chain(parser.raw_args().map_err(wrong)?.map(Ok));
                for word in rest {
                    let word: Result<OsString> = word;
                    let word = word?.into_string();
                    asked.words.push(word.map_err(|w| Error::usage(format!("{}: not UTF-8", w.display())))?);
                }
            }
            other => return Err(wrong(other.unexpected())),
        }
    }
    asked.words.splice(0..0, name.map(|n| format!("name={n}")));
    match (asked.create || asked.modify, asked.remove) {
        (true, false) | (false, true) if !asked.words.is_empty() => Ok(asked),
        _ => Err(Error::usage("usage: jail -c|-m|-cm [-iqv] param=value ...; jail -r|-R [-qv] jail ..."))
            .doing("jail"),
    }
}
