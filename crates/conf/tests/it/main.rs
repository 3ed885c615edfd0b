//! The jail.conf language, from text to the parameters of a jail; and the rule sets for devices.

/// Rule sets for devices.
mod devfs;
/// Every rule of the grammar.
mod grammar;
/// `.include`.
mod includes;
/// What ends with an error before it takes all time or memory.
mod limits;
/// Each error, with its place.
mod messages;
/// Files as people publish them.
mod published;
/// What each jail gets.
mod resolved;
/// Printed and read again.
mod round_trip;

use std::{collections::BTreeMap, io};

use conf::{Conf, Jail, Known, Loader, Report, Tree, Unknown};

/// Files in memory.
#[derive(Debug, Default)]
struct Files(BTreeMap<String, String>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
    }
}

impl Loader for Files {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        // What the kernel says: with its number, which nobody is to see.
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        let matches = |path: &&String| {
            let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            pattern.len() == path.len() && pattern.iter().zip(path).all(|(p, n)| conf::glob::matches(p, n))
        };
        Ok(self.0.keys().filter(matches).cloned().collect())
    }
}

fn load(text: &str, files: &[(&str, &str)]) -> Result<Conf, Report> {
    Conf::load("jail.conf", text.as_bytes().to_vec(), &mut Files::new(files))
}

/// Without included files.
#[track_caller]
fn conf(text: &str) -> Conf {
    load(text, &[]).unwrap()
}

/// The first lines of all problems.
fn complaints(result: Result<impl Sized, Report>) -> Vec<String> {
    let Err(report) = result else { return Vec::new() };
    report.iter().map(|shown| shown.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

/// A file as it is printed, which shows what was read.
#[track_caller]
fn printed(text: &str) -> String {
    Tree::parse("jail.conf", text.as_bytes()).unwrap().to_string()
}

/// Booleans, lists and others, by FreeBSD's names and some of ours.
fn vocabulary(word: &str) -> Result<Known, Unknown> {
    const BOOLEANS: [&str; 8] = [
        "persist",
        "exec.clean",
        "ip4.saddrsel",
        "mount.devfs",
        "mount.fdescfs",
        "mount.procfs",
        "ip_hostname",
        "allow.mount",
    ];
    const LISTS: [&str; 10] = [
        "depend",
        "ip4.addr",
        "ip6.addr",
        "vnet.interface",
        "vnet.link",
        "vnet.host",
        "vnet.route",
        "vnet.sysctl",
        "mount",
        "zfs.dataset",
    ];
    const OTHERS: [&str; 18] = [
        "jid",
        "name",
        "path",
        "host",
        "host.hostname",
        "host.domainname",
        "host.hostuuid",
        "vnet",
        "ip4",
        "ip6",
        "devfs_ruleset",
        "enforce_statfs",
        "children.max",
        "securelevel",
        "interface",
        "mount.fstab",
        "stop.timeout",
        "osrelease",
    ];
    let known = |name: &str, list| Ok(Known { name: name.to_owned(), list });
    let (stem, last) = word.rfind('.').map_or(("", word), |dot| word.split_at(dot + 1));
    let positive = last.strip_prefix("no").map(|bare| format!("{stem}{bare}"));
    match word {
        _ if BOOLEANS.contains(&word) || word.starts_with("allow.") && positive.is_none() => {
            known(word, false)
        }
        _ if LISTS.contains(&word) => known(word, true),
        "exec.consolelog" | "exec.timeout" | "exec.fib" | "exec.jail_user" | "exec.system_user" => {
            known(word, false)
        }
        _ if word.starts_with("exec.") => known(word, true),
        _ if OTHERS.contains(&word) || word.starts_with("sysv") || word.starts_with("rctl.") => {
            known(word, false)
        }
        _ => match positive {
            Some(name) if BOOLEANS.contains(&&*name) || name.starts_with("allow.") => known(&name, false),
            _ => Err(Unknown {
                message: format!("unknown parameter: {word}"),
                hint: Some("see jail(8)".into()),
            }),
        },
    }
}

/// A jail's parameters as one would write them on a command line, but for the name.
fn said(jail: &Jail<'_>) -> Vec<String> {
    let mut params = jail.params.iter().map(|param| match &*param.values {
        [] => param.word.to_owned(),
        values => {
            let values: Vec<_> = values.iter().map(|value| conf::quoted(&value.text)).collect();
            format!("{}={}", param.word, values.join(","))
        }
    });
    params.next();
    params.collect()
}

/// What a jail has, and it has nothing wrong.
#[track_caller]
fn jail(conf: &Conf, name: &str) -> Vec<String> {
    let jail = conf.resolver(&vocabulary).jail(name).expect("it is configured");
    let problems: Vec<_> = jail.problems.iter().map(|problem| conf.show(problem)).collect();
    assert!(problems.is_empty(), "{problems:?}");
    said(&jail)
}

/// What is wrong with a jail, in first lines.
fn wrong(conf: &Conf, name: &str) -> Vec<String> {
    let jail = conf.resolver(&vocabulary).jail(name).expect("it is configured");
    jail.problems.iter().map(|problem| problem.message().to_owned()).collect()
}
