//! The command line: argument words in, text or JSON out.
//!
//! A program that has subsystems of its own hands them to [`run`] and gets all the tools with them.

mod jail8;
mod jdb;
mod sealed;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use ::jail::Jails;
use kernel::act::Act;
use vimage::{Error, Registry, Result, Subsystem};

/// Runs the tool that the program's name says, or, if it says none, the first argument: `jail`, `jls`,
/// `jexec`, `jdb`. `own` are subsystems beyond those of this project.
#[must_use]
pub fn run(own: &[&'static dyn Subsystem<Act>]) -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let named = |word: &OsString| {
        let name = PathBuf::from(word).file_name()?.to_str()?.to_owned();
        TOOLS.iter().find(|t| t.name == name)
    };
    let tool = match args.first().and_then(named) {
        Some(tool) => Some(tool),
        None => {
            args.drain(..args.len().min(1));
            args.first().and_then(named)
        }
    };
    let Some(tool) = tool else {
        let names: Vec<_> = TOOLS.iter().map(|t| t.name).collect();
        eprintln!("usage: {} ...", names.join("|"));
        return ExitCode::FAILURE;
    };
    args.drain(..1);
    let mut list: Vec<&'static dyn Subsystem<Act>> = vec![&::jail::core::Core];
    list.extend(subsystems::TABLE);
    list.extend(own);
    let done = Registry::new(&list).and_then(|registry| (tool.run)(&registry, args));
    done.unwrap_or_else(|error| {
        complain(tool.name, &error);
        ExitCode::FAILURE
    })
}

/// One tool.
struct Tool {
    name: &'static str,
    run: fn(&Registry<Act>, Vec<OsString>) -> Result<ExitCode>,
}

static TOOLS: &[Tool] = &[Tool { name: "jail", run: jail8::run }, Tool { name: "jdb", run: jdb::run }];

/// Prints an error as every tool does: one line, and the hint on a line of its own.
fn complain(tool: &str, error: &Error) {
    eprintln!("{tool}: {error}");
    if let Some(hint) = error.advice() {
        eprintln!("hint: {hint}");
    }
}

/// The store that the user means: `--root`, `JAIL_ROOT`, or /run/jail.
fn open<'r>(root: Option<PathBuf>, registry: &'r Registry<Act>) -> Result<Jails<'r>> {
    let root = root.or_else(|| std::env::var_os("JAIL_ROOT").map(PathBuf::from));
    Jails::open(&root.unwrap_or_else(|| PathBuf::from("/run/jail")), registry)
}
