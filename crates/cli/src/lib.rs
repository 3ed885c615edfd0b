//! The command line: argument words in, text or JSON out.
//!
//! A program that has subsystems of its own hands them to [`run`] and gets all the tools with them.

mod bundle;
mod flags;
mod generate;
mod holders;
mod inside;
mod jail8;
mod jdb;
mod jexec;
mod jls;
mod ledger;
mod output;
mod rctl;
mod relay;
mod sealed;
mod show;
mod trace;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process,
};

use ::jail::Jails;
use kernel::act::Act;
use vimage::{Registry, Result, Subsystem};

pub use bundle::bundle;
use flags::{Call, Tool};
use output::{Output, complain, warn};

/// All tools.
static TOOLS: &[&Tool] = &[&jail8::TOOL, &jls::TOOL, &jexec::TOOL, &jdb::TOOL, &rctl::TOOL];

/// What a tool ends with, exit(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExitCode(u8);

impl ExitCode {
    const SUCCESS: Self = Self(0);
    const FAILURE: Self = Self(1);
}

/// Runs the tool that the program's name says, or, if it says none, the first argument: `jail`, `jls`,
/// `jexec`, `jdb`, `rctl`. `own` are subsystems beyond those of this project.
#[must_use]
pub fn run(own: &[&'static dyn Subsystem<Act>]) -> process::ExitCode {
    status(own).into()
}

/// As [`run`]; returns the status, for a program that has a `main` of its own ([`kernel::main!`]).
#[must_use]
pub fn status(own: &[&'static dyn Subsystem<Act>]) -> u8 {
    choose(own).0
}

fn choose(own: &[&'static dyn Subsystem<Act>]) -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let named = |word: &OsString| {
        let name = PathBuf::from(word).file_name()?.to_str()?.to_owned();
        TOOLS.iter().copied().find(|t| t.name == name)
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
        warn(format_args!("usage: {} ...", names.join("|")));
        return ExitCode::FAILURE;
    };
    args.drain(..1);
    let done = registry(own).and_then(|registry| call(tool, &registry, args));
    done.unwrap_or_else(|error| {
        complain(tool.name, &error);
        ExitCode::FAILURE
    })
}

/// All subsystems: the jail's own two, those of this project, and those of the program.
fn registry(own: &[&'static dyn Subsystem<Act>]) -> Result<Registry<Act>> {
    let mut list: Vec<&'static dyn Subsystem<Act>> = vec![&::jail::core::Core, &::jail::hooks::Hooks];
    list.extend(subsystems::TABLE);
    list.extend(own);
    Registry::new(&list).map(|registry| registry.refusing(subsystems::refused::ROWS))
}

fn call(tool: &'static Tool, registry: &Registry<Act>, args: Vec<OsString>) -> Result<ExitCode> {
    let (flags, words) = flags::parse(tool, registry, args.clone())?;
    let mut call = Call { tool, registry, root: PathBuf::new(), flags, words, out: Output::default() };
    let root =
        call.value("root").map(PathBuf::from).or_else(|| std::env::var_os("JAIL_ROOT").map(Into::into));
    call.root = root.unwrap_or_else(|| PathBuf::from("/run/jail"));
    let done = if call.has("help") {
        call.out.line(flags::help(tool, registry));
        Ok(ExitCode::SUCCESS)
    } else if call.has("version") {
        call.out.line(format_args!("{} (vimage) {}", tool.name, env!("CARGO_PKG_VERSION")));
        Ok(ExitCode::SUCCESS)
    } else if let Some(what) = call.value("generate") {
        generate::generate(tool, registry, what).map(|text| {
            call.out.text(text);
            ExitCode::SUCCESS
        })
    } else {
        inside::run(&mut call, &args).and_then(|there| match there {
            Some((code, true)) => Ok(code),
            Some((code, false)) if code != ExitCode::SUCCESS => (tool.run)(&mut call).map(|_| code),
            _ => (tool.run)(&mut call),
        })
    };
    // What was found out is printed, whatever happened after.
    let written = call.out.finish();
    let done = done?;
    written.map(|()| done)
}

/// Prints how a tool is called: it was called otherwise.
fn misused(tool: &Tool) -> ExitCode {
    warn(flags::usage(tool));
    ExitCode::FAILURE
}

/// Opens the store to change jails. The command's words go to the trace, where they begin what it did.
fn open<'r>(call: &Call<'r>) -> Result<Jails<'r>> {
    let jails = Jails::open(&call.root, call.registry)?;
    jails.take_up()?;
    let words: Vec<_> = std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()).collect();
    let words = format!("{} {}", call.tool.name, words.join(" "));
    jails.recorder().note("", trace::COMMAND, words.trim_end(), std::time::Instant::now(), None);
    Ok(jails)
}

/// Opens the store to read it; `None` if there is none, and so no jail. A reader makes nothing and needs no
/// rights but to read the files.
fn look<'r>(root: &Path, registry: &'r Registry<Act>) -> Result<Option<Jails<'r>>> {
    let jails = root.join("jails").is_dir().then(|| Jails::open(root, registry)).transpose()?;
    Ok(jails.filter(|jails| !jails.has_outlived_a_boot()))
}

/// Says what came of a command that is no failure, and writes down what it did. That it could not be written down is
/// no reason to say that it was not done, and where it was not done, that is what is to be said.
fn close(tool: &Tool, jails: &Jails<'_>, done: bool) {
    for what in jails.premises.take_told() {
        warn(format_args!("{}: {what}", tool.name));
    }
    if let Err(error) = jails.close()
        && done
    {
        complain(tool.name, &error);
    }
}
