//! Jails that a jail has made itself: `b` in `a` is `a.b` here, and `2` is `1.2`. Whoever names one from here is
//! served by the tools that `a` has, in `a` and with its rights: what it keeps about its jails is never read by ours.

use std::ffi::OsString;

use ::jail::Jails;
use vimage::Result;

use crate::{
    ExitCode,
    flags::{Call, Word},
    jexec, look,
};

/// Does what is asked of jails in jails, if that is what is asked: `None` if anything is left to be done here.
///
/// # Errors
/// A jail cannot be entered, or has no such tool.
pub(crate) fn run(call: &mut Call<'_>, args: &[OsString]) -> Result<Option<ExitCode>> {
    let mut names = named(call);
    let all = names.len();
    // A pattern is about our own.
    names.retain(|name| !name.contains('*'));
    let Some(jails) = names.iter().any(|name| name.contains('.')).then(|| look(&call.root, call.registry))
    else {
        return Ok(None);
    };
    let Some(jails) = jails? else { return Ok(None) };
    let theirs: Vec<_> = names.iter().filter_map(|name| Some((name, split(&jails, name)?))).collect();
    drop(jails);
    let mut worst = None;
    for (name, (jail, inner)) in &theirs {
        let others: Vec<_> = names.iter().filter(|other| other != name).map(String::as_str).collect();
        let argv = errand(call.tool.name, args, (name, inner), &others);
        let code = jexec::run_in(call, jail, &argv)?;
        worst = worst.filter(|worst| *worst != ExitCode::SUCCESS).or(Some(code));
        call.words.retain(|word| word != name.as_str());
    }
    // The rest is ours.
    Ok(worst.filter(|code| *code != ExitCode::SUCCESS || theirs.len() == all))
}

/// The jails that a command names and that must be there: all words, where it names several.
fn named(call: &Call<'_>) -> Vec<String> {
    let by_flag = call.flags.iter().filter(|(flag, _)| flag.takes == Word::Jail);
    let mut names: Vec<String> = by_flag.map(|(_, value)| value.clone()).collect();
    let words = call.words.iter().filter_map(|word| word.to_str());
    match call.tool.name {
        "jexec" => names.extend(words.take(1).map(str::to_owned)),
        "jail" if call.has("r") || call.has("R") => names.extend(words.map(str::to_owned)),
        "jail" if call.has("m") && !call.has("c") => {
            let values =
                words.filter_map(|word| word.strip_prefix("name=").or_else(|| word.strip_prefix("jid=")));
            names.extend(values.take(1).map(str::to_owned));
        }
        "jdb" => names.extend(words.skip(1).map(str::to_owned)),
        _ => {}
    }
    names
}

/// A jail of ours that a name leads through, and what is left of the name there. `None`: it is ours, or nobody's.
fn split(jails: &Jails<'_>, name: &str) -> Option<(String, String)> {
    if jails.read(name).is_ok() {
        return None;
    }
    let mut dots: Vec<_> = name.match_indices('.').map(|(at, _)| at).collect();
    dots.reverse();
    let mut parts = dots.into_iter().map(|at| (&name[..at], &name[at + 1..]));
    parts.find_map(|(outer, inner)| {
        let record = jails.read(outer).ok()?;
        let makes = subsystems::children::hosts(&record.settings);
        (makes && !inner.is_empty()).then(|| (outer.to_owned(), inner.to_owned()))
    })
}

/// The command line of the tool in the jail, from ours: with what the jail is called there, without the other jails that
/// ours names, and without a store of ours.
fn errand(tool: &str, args: &[OsString], (name, inner): (&str, &str), others: &[&str]) -> Vec<OsString> {
    let mut argv = vec![OsString::from(tool)];
    let mut is_named = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--root") => drop(args.next()),
            Some(text) if text.starts_with("--root=") => {}
            Some(text) if others.contains(&text) => {}
            Some(text) if !is_named && ends_in(text, name) => {
                is_named = true;
                argv.push(format!("{}{inner}", text.strip_suffix(name).unwrap_or_default()).into());
            }
            _ => argv.push(arg.clone()),
        }
    }
    argv
}

/// Whether a word is a name, or a flag or definition with it for its value.
fn ends_in(word: &str, name: &str) -> bool {
    word.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('=') || before == "-j")
}
