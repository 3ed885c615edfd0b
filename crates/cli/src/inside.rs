//! Jails that a jail has made itself: `b` in `a` is `a.b` here, and `2` is `1.2`. Whoever names one from here is
//! served by the tools that `a` has, in `a` and with its rights: what it keeps about its jails is never read by ours.

use std::{collections::BTreeSet, ffi::OsString};

use ::jail::{Jails, process::Command};
use vimage::Result;

use crate::{ExitCode, flags::Call, jexec, look};

/// Does what is asked of jails in jails. Returns what came of it, if anything was asked of one, and whether that was all.
///
/// # Errors
/// A jail cannot be entered, or has no such tool.
pub(crate) fn run(call: &mut Call<'_>, args: &[OsString]) -> Result<Option<(ExitCode, bool)>> {
    let names = named(call);
    // A pattern is about our own.
    let may_be = |name: &&String| name.contains('.') && !name.contains('*');
    if !names.iter().any(|name| may_be(&name)) {
        return Ok(None);
    }
    let Some(jails) = look(&call.root, call.registry)? else { return Ok(None) };
    let theirs: Vec<_> =
        names.iter().filter(may_be).filter_map(|name| Some((name, split(&jails, name)?))).collect();
    drop(jails);
    let mut worst = None;
    for (name, (jail, inner)) in &theirs {
        let others: Vec<_> = names.iter().filter(|other| other != name).map(String::as_str).collect();
        let argv = errand(call.tool.name, args, (name, inner), &others);
        let code = jexec::run_in(call, jail, argv)?;
        worst = worst.filter(|worst| *worst != ExitCode::SUCCESS).or(Some(code));
        call.words.retain(|word| word != name.as_str());
    }
    Ok(worst.map(|code| (code, theirs.len() == names.len())))
}

/// The jails that a command names and that must be there.
fn named(call: &Call<'_>) -> BTreeSet<String> {
    let words = call.words.iter().filter_map(|word| word.to_str());
    match call.tool.name {
        "jexec" => words.take(1).map(str::to_owned).collect(),
        // What a file configures is ours.
        "jail" if call.has("f") || call.has("c") => BTreeSet::new(),
        "jail" if call.has("r") || call.has("R") => words.map(str::to_owned).collect(),
        "jail" if call.has("m") => {
            let values = words.filter_map(|word| KEYS.iter().find_map(|key| word.strip_prefix(key)));
            values.take(1).map(str::to_owned).collect()
        }
        // Of a bundle the file would be in the jail.
        "jdb" if call.words.first().is_none_or(|word| word != "bundle") => {
            words.skip(1).take(1).map(str::to_owned).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// The definitions that say which jail is meant.
const KEYS: [&str; 2] = ["name=", "jid="];

/// A jail of ours that a name leads through, and what is left of the name there. `None`: it is ours, or nobody's.
pub(crate) fn split(jails: &Jails<'_>, name: &str) -> Option<(String, String)> {
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

/// A tool of ours that a jail has, to be run in it.
pub(crate) fn tool(argv: Vec<OsString>) -> Command {
    let mut command = Command::new(argv);
    // That of the store is ours.
    command.env.retain(|(name, _)| name != "JAIL_ROOT");
    command
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
            Some(text) if !is_named && means(text, name) => {
                is_named = true;
                argv.push(format!("{}{inner}", text.strip_suffix(name).unwrap_or_default()).into());
            }
            _ => argv.push(arg.clone()),
        }
    }
    argv
}

/// Whether a word is a name, or the definition that says it.
fn means(word: &str, name: &str) -> bool {
    word == name || KEYS.iter().any(|key| word.strip_prefix(key) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errand_of(args: &[&str], name: (&str, &str), others: &[&str]) -> Vec<String> {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        errand("jail", &args, name, others).into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn an_errand_names_the_jail_as_it_is_called_there_and_no_other() {
        assert_eq!(errand_of(&["-q", "-r", "a.b", "c"], ("a.b", "b"), &["c"]), ["jail", "-q", "-r", "b"]);
        assert_eq!(
            errand_of(
                &["--root", "/x", "-m", "host.hostname=a.b", "name=a.b", "meta=a.b"],
                ("a.b", "b"),
                &[]
            ),
            ["jail", "-m", "host.hostname=a.b", "name=b", "meta=a.b"]
        );
        assert_eq!(
            errand_of(&["--root=/x", "a.b", "echo", "a.b"], ("a.b", "b"), &[]),
            ["jail", "b", "echo", "a.b"]
        );
    }
}
