//! jail(8): create, modify, remove.

mod ancient;
mod configured;
mod diagnostics;
mod progress;
mod remove;
mod stream;
mod workers;

use std::{fs::File, io::Write as _};

use ::jail::{Jails, privilege};
use kernel::act::Act;
use vimage::{Context as _, Error, ErrorKind, Given, Registry, Result, Value};

use crate::{
    ExitCode, close,
    flags::{Call, Flag, Tool, Word},
    jls::has_made,
    misused, open,
    output::{Output, complain, warn},
    sealed,
};

use ancient::Ancient;

/// The tool.
pub(crate) static TOOL: Tool = Tool {
    name: "jail",
    about: "create, modify and remove jails",
    synopsis: &[
        "[-iqv] [-f FILE] [-J FILE] [-p LIMIT] -c|-m|-cm|-mr|-cmr|-rc [JAIL]",
        "[-iqv] [-n NAME] -c|-m|-cm PARAM[=VALUE] ... [command=COMMAND ...]",
        "[-qv] [-f FILE] [-p LIMIT] -r|-C JAIL ...",
        "[-qv] -R JAIL|name=NAME|jid=JID ...",
        "[-f FILE] -e SEPARATOR",
        "[-hiqv] [-J FILE] [-l -u USER | -U USER] PATH HOSTNAME IP[,IP...] COMMAND ...",
    ],
    doc: &[
        "A jail is a part of a machine that has its own processes, files, users, host name, System V IPC and, \
         if it is asked for, its own network stack. What of it is its own is said by parameters, one group for \
         each subsystem that is virtualised; PARAMETERS lists them.",
        "A definition is PARAM=VALUE. A boolean parameter is written by itself when it is true, and with no \
         before the last part of its name when it is false: persist, allow.noraw_sockets. A mode takes new (the \
         jail has an instance of its own), inherit (it uses its parent's) or disable; to give a member of a \
         mode, as host.hostname is of host, makes the mode new. A list grows when it is given several times; \
         PARAM+=VALUE adds to the list of a jail that exists. An empty value, PARAM=, empties a list and lifts \
         a limit.",
        "The name a.b is that of the jail b in the jail a. A child never has more than its parent, and loses \
         what its parent loses.",
        "A jail of user=new and proc=new with children.max above 0 makes jails itself, if jail(8) is in its tree: they are \
         kept in its /run/jail, and go with it. Outside they are listed with it by jls(8), and found by their names, or by \
         numbers of the same form: 1.2 is the jail 2 in the jail 1. jexec a.b, jail -r a.b and jail -m name=a.b run jexec \
         and jail of the jail a in it. A jail of this kind that persists keeps one small process, once it had any.",
        "A jail that is removed takes all jails in it along. Its name and number are free at once. If something \
         still holds part of it, it is dying until that lets go: jls -d lists it and jdb holders names the \
         holder.",
        "Jails are configured in /etc/jail.conf, as jail.conf(5) of FreeBSD has it: a block for each, or for those \
         whose names a pattern with * meets; NAME = VALUE; or NAME; in a block, or outside of any for all jails that \
         follow; $variables, NAME += VALUE; and .include \"FILE\";. Without a name, or by *, all configured jails are \
         meant. Those that a jail needs (depend, and the jail that it is in) are created before it, and those that \
         need it are removed before it; jails that do not need each other come and go at the same time. Those that need \
         one that failed are skipped. A jail whose parameters are wrong keeps none of the others from being made.",
        "A jail that is given on the command line is created without a word; -v says what was done. Of configured \
         jails, and of several that are removed together, each is named as it comes and goes.",
    ],
    flags: &[
        Flag {
            short: "c",
            help: "create a jail",
            doc: "Creates a jail. It must persist, or have a command. Waits for the command; if it fails the \
                  jail is removed again.",
            ..Flag::BASE
        },
        Flag {
            short: "m",
            help: "modify a jail",
            doc: "Modifies the jail that name or jid says. With -c, creates it if it does not exist. Parameters \
                  that are not given stay as they are. With -r, a configured jail is removed and created anew if a \
                  parameter differs that cannot be changed.",
            ..Flag::BASE
        },
        Flag {
            short: "r",
            help: "remove jails",
            doc: "Removes the jails of these names or numbers, and those in them: the commands of exec.prestop and \
                  exec.stop are run, all processes are asked to end and after stop.timeout are killed, all that was \
                  made is unmade, and the commands of exec.poststop and exec.release are run. A pattern with * \
                  stands for all jails whose names it meets. With -c, configured jails are created anew, and with them all \
                  that need them.",
            ..Flag::BASE
        },
        Flag {
            short: "R",
            help: "remove jails, whatever a configuration says",
            doc: "As -r, without commands, and without time for the processes to end by themselves.",
            ..Flag::BASE
        },
        Flag {
            short: "i",
            help: "print the number of the jail and nothing else",
            doc: "Prints the number of the jail that was created or modified, and nothing else.",
            ..Flag::BASE
        },
        Flag {
            short: "n",
            value: Some("NAME"),
            help: "the jail's name",
            doc: "The same as the parameter name.",
            ..Flag::BASE
        },
        Flag {
            short: "q",
            help: "do not say what was done",
            doc: "Says nothing of what was done, nor that a jail to be removed does not exist.",
            ..Flag::BASE
        },
        Flag {
            short: "v",
            help: "say what was done",
            doc: "Prints a line for each jail that was created, updated or removed.",
            ..Flag::BASE
        },
        Flag {
            short: "d",
            help: "nothing: dying jails are never in the way",
            doc: "Deprecated: does nothing, with a warning. A dying jail has given up its name and number.",
            ..Flag::BASE
        },
        old("h", None, "ip_hostname", "resolve the host name to the jail's addresses"),
        old("l", None, "exec.clean", "run commands in a clean environment"),
        old("s", Some("LEVEL"), "securelevel", "the jail's securelevel"),
        old("u", Some("USER"), "exec.system_user", "the host's user that commands outside run as"),
        old("U", Some("USER"), "exec.jail_user", "the jail's user that commands inside run as"),
        Flag {
            short: "f",
            value: Some("FILE"),
            takes: Word::File,
            help: "the configuration file",
            doc: "Reads the configuration from this file and not from /etc/jail.conf and /etc/jail.conf.d; - is standard input.",
            ..Flag::BASE
        },
        Flag {
            short: "e",
            value: Some("SEPARATOR"),
            help: "print the configured jails",
            doc: "Prints the configured jails and does nothing: a line for each, its parameters with the separator \
                  between them.",
            ..Flag::BASE
        },
        Flag {
            short: "p",
            value: Some("LIMIT"),
            help: "how many jails are at their commands at once",
            doc: "How many jails may be at their commands at once when many are created, modified or removed: 32 by \
                  default, and with 0 as many as there are. What they print is parted by lines.",
            ..Flag::BASE
        },
        Flag {
            short: "J",
            value: Some("FILE"),
            takes: Word::File,
            help: "write the parameters of the new jails to a file",
            doc: "Writes a line to this file for each jail that was created: jid=NUMBER and its parameters, with tabs \
                  between them.",
            ..Flag::BASE
        },
        Flag {
            short: "C",
            help: "clean up after configured jails that are gone",
            doc: "As -r. Of a configured jail that is gone already, the commands of exec.poststop and exec.release are \
                  run. What else such a jail left, every command that makes or removes jails takes up.",
            ..Flag::BASE
        },
    ],
    words: &[Word::Definition, Word::Jail],
    mixed: false,
    exit: "0 if all was done, 1 if anything failed. Several jails are gone on with past a failure.",
    diagnostics: diagnostics::ALL,
    examples: &[
        ("jail -c name=web path=/srv/web host.hostname=web persist", "A jail without processes."),
        ("jail -c path=/srv/web command=/bin/sh -c id", "A jail for one command, gone with it."),
        ("jail -m name=web rctl.memoryuse=256M", "Allows all of the jail's processes together 256 MiB."),
        ("jail -r web db", "Removes two jails together."),
    ],
    run,
};

const fn old(
    short: &'static str,
    value: Option<&'static str>,
    param: &'static str,
    help: &'static str,
) -> Flag {
    Flag { short, value, help, doc: "An old way to give a parameter.", stands_for: Some(param), ..Flag::BASE }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Modify,
    CreateOrModify,
    /// A configured jail is made anew where it cannot be changed.
    ModifyOrRestart,
    CreateModifyOrRestart,
    /// A configured jail is removed if it is there, and made.
    Restart,
    Remove,
    /// As removal; of a configured jail that is gone, what comes after.
    CleanUp,
    /// Removal that may be said by parameters.
    RemoveAnyhow,
}

impl Operation {
    /// Whether jails are removed, and none is made.
    fn removes(self) -> bool {
        matches!(self, Self::Remove | Self::CleanUp | Self::RemoveAnyhow)
    }

    /// Whether a jail that is not there is made.
    fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateOrModify | Self::CreateModifyOrRestart | Self::Restart)
    }
}

/// What is said of it, and how much is done at once.
#[derive(Clone, Copy, Debug)]
struct Manner {
    only_jid: bool,
    quiet: bool,
    verbose: bool,
    at_once: usize,
}

/// The file of `-J`, if there is to be one.
struct Jids(Option<String>);

impl Jids {
    /// That of a call, emptied.
    fn of(call: &Call<'_>) -> Result<Self> {
        let file = call.value("J").map(str::to_owned);
        if let Some(file) = &file {
            File::create(file).doing_with(|| format!("-J {file}"))?;
        }
        Ok(Self(file))
    }

    /// Adds the line of a new jail, whole: others may be added at the same time.
    fn add(&self, jid: u32, words: &[String]) -> Result<()> {
        let others = words.iter().filter(|word| !word.starts_with("jid="));
        self.write(
            std::iter::once(format!("jid={jid}")).chain(others.cloned()).collect::<Vec<_>>().join("\t"),
        )
    }

    fn write(&self, line: String) -> Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let opened = File::options().append(true).create(true).open(file);
        opened.and_then(|mut f| f.write_all((line + "\n").as_bytes())).doing_with(|| format!("-J {file}"))
    }
}

fn run(call: &mut Call<'_>) -> Result<ExitCode> {
    let mut words = call.texts()?;
    if call.has("d") {
        warn(format_args!("{}: {DEPRECATED}", call.tool.name));
    }
    let letters: String = ["c", "m", "r", "R", "C"].into_iter().filter(|letter| call.has(letter)).collect();
    let ancient = Ancient::of(&words).filter(|_| letters.is_empty());
    if let Some(ancient) = &ancient {
        words = ancient.definitions();
    }
    let old = call.flags.iter().filter_map(|(flag, value)| match (flag.stands_for, flag.value) {
        (Some(param), Some(_)) => Some(format!("{param}={value}")),
        (Some(param), None) => Some(param.to_owned()),
        (None, _) => None,
    });
    let named = call.value("n").map(|name| format!("name={name}"));
    words.splice(0..0, named.into_iter().chain(old).collect::<Vec<_>>());
    if call.has("e") {
        // It only prints: whoever wants something done besides may mean anything.
        return if letters.is_empty() && words.is_empty() {
            configured::print(call)
        } else {
            Ok(misused(call.tool))
        };
    }
    let operation = match letters.as_str() {
        "c" => Operation::Create,
        "m" => Operation::Modify,
        "cm" => Operation::CreateOrModify,
        "r" => Operation::Remove,
        "R" => Operation::RemoveAnyhow,
        "C" | "rC" => Operation::CleanUp,
        "" if ancient.is_some() => Operation::Create,
        "mr" => Operation::ModifyOrRestart,
        "cmr" => Operation::CreateModifyOrRestart,
        "cr" => Operation::Restart,
        _ => return Ok(misused(call.tool)),
    };
    let at_once = match call.value("p").map(str::parse::<usize>) {
        None => workers::AT_ONCE,
        Some(Ok(0)) => usize::MAX,
        Some(Ok(limit)) => limit,
        Some(Err(_)) => {
            return Err(Error::usage(format!("-p {}: not a number", call.value("p").unwrap_or_default())));
        }
    };
    check(operation, &words)?;
    let jids = Jids::of(call)?;
    let manner = Manner {
        only_jid: call.has("i"),
        quiet: call.has("q") || call.has("i"),
        verbose: call.has("v") && !call.has("q"),
        at_once,
    };
    // What earlier commands could not finish; what still will not go is shown by jls -d.
    if by_name(operation, &words) {
        return configured::run(call, operation, &words, manner, &jids);
    }
    let given = given(call.registry, &words)?;
    sealed::seal(&given.settings)?;
    let jails = open(call)?;
    privilege::check_set()?;
    // What waits for the kernel alone is looked at when there is time.
    jails.sweep_dead()?;
    let mut made = Vec::new();
    let done = make(&jails, operation, &given, manner, &mut made, &mut call.out);
    let done = done.and_then(|code| {
        made.iter()
            .try_for_each(|jid| match &ancient {
                Some(ancient) => jids.write(ancient.line(*jid)),
                None => jids.add(*jid, &words),
            })
            .map(|()| code)
    });
    close(call.tool, &jails, matches!(done, Ok(ExitCode::SUCCESS)));
    done
}

/// What is said of a jail, in jail(8)'s words.
const CREATED: &str = "created";
const UPDATED: &str = "updated";
const REMOVED: &str = "removed";

/// What is said of a flag that means nothing any more.
const DEPRECATED: &str = "-d is deprecated and does nothing";

/// jail(8)'s words for a command that is about no jail.
fn no_jail() -> Error {
    Error::usage("no jail specified")
}

/// jail(8)'s words for a name that a jail has already.
fn exists(name: &str) -> Error {
    Error::new(ErrorKind::Exists, format!("\"{name}\" already exists"))
}

/// jail(8)'s words for a name that is no jail's.
fn not_found(word: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("\"{word}\" not found"))
}

/// Whether jails are named, and not defined on the command line.
fn by_name(operation: Operation, words: &[String]) -> bool {
    match operation {
        Operation::Remove | Operation::CleanUp | Operation::RemoveAnyhow => true,
        _ => matches!(words, [] | [_]) && !words.iter().any(|word| word.contains('=')),
    }
}

/// Refuses forms that mean nothing.
fn check(operation: Operation, words: &[String]) -> Result<()> {
    let definition = words.iter().find(|word| word.contains('='));
    match operation {
        _ if operation.removes() && words.is_empty() => {
            let letter = match operation {
                Operation::CleanUp => "C",
                Operation::RemoveAnyhow => "R",
                _ => "r",
            };
            Err(no_jail().hint(format!("jail -{letter} JAIL ..., or '*' for all")))
        }
        Operation::Remove | Operation::CleanUp => definition.map_or(Ok(()), |word| {
            Err(Error::usage(format!("{word}: -r takes names and numbers")).hint("jail -r NAME"))
        }),
        Operation::ModifyOrRestart | Operation::CreateModifyOrRestart | Operation::Restart
            if !by_name(operation, words) =>
        {
            let error = Error::unsupported("only a configured jail is made anew");
            Err(error.hint("jail -r JAIL && jail -c PARAM=VALUE ..."))
        }
        _ => Ok(()),
    }
}

fn make(
    jails: &Jails<'_>,
    operation: Operation,
    given: &Given,
    manner: Manner,
    made: &mut Vec<u32>,
    out: &mut Output,
) -> Result<ExitCode> {
    let named = ["jid", "name"].into_iter().find_map(|key| given.settings.get(key)).map(Value::text);
    let there = named.as_deref().map(|name| jails.read(name).is_ok());
    // A number that is given as a name is no name of the jail that has it.
    let taken = |name: &str| jails.read(name).is_ok_and(|record| record.name == name);
    if let Some(name) = given.settings.text("name").filter(|n| operation == Operation::Create && taken(n)) {
        return Err(exists(name));
    }
    let parent = named.as_deref().and_then(|name| Some((name, jails.read(name.rsplit_once('.')?.0).ok()?)));
    if let Some((name, parent)) = parent.filter(|_| operation.creates() && there == Some(false))
        && has_made(jails, &parent, name)
    {
        return Err(exists(name).hint(format!("the jail {} has made it itself", parent.name)));
    }
    match (operation, named, there) {
        (Operation::Modify, Some(name), Some(false)) => Err(not_found(&name)),
        (Operation::Modify, None, _) => Err(no_jail().hint("name=NAME or jid=JID")),
        (Operation::Modify | Operation::CreateOrModify, Some(name), Some(true)) => {
            let changed = jails.modify(&name, given)?;
            report(manner, changed.jid, &changed.name, UPDATED, out);
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            let new = jails.create(given, &mut |made| report(manner, made.jid, &made.name, CREATED, out))?;
            made.push(new.jid);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A jail given by parameters on the command line prints nothing, unless asked to. What is printed goes out
/// before a command of the jail writes to the same place.
fn report(manner: Manner, jid: u32, name: &str, what: &str, out: &mut Output) {
    if manner.only_jid {
        out.line(jid);
    } else if manner.verbose {
        out.line(format_args!("{name}: {what}"));
    }
    out.flush();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(operation: Operation, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        check(operation, &words).map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn removal_takes_names() {
        assert_eq!(refusal(Operation::Remove, &[]), "no jail specified");
        assert_eq!(refusal(Operation::Remove, &["a", "name=x"]), "name=x: -r takes names and numbers");
        assert_eq!(refusal(Operation::RemoveAnyhow, &["name=x"]), "");
        assert_eq!(refusal(Operation::Remove, &["a", "b"]), "");
    }

    #[test]
    fn one_word_is_a_name_and_more_are_a_definition() {
        let by_name = |operation, words: &[&str]| {
            by_name(operation, &words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
        };
        assert!(by_name(Operation::Create, &[]) && by_name(Operation::Create, &["web"]));
        assert!(
            !by_name(Operation::Create, &["name=web"]) && !by_name(Operation::Create, &["persist", "vnet"])
        );
        assert!(by_name(Operation::Remove, &["web", "db"]));
        assert_eq!(refusal(Operation::Restart, &["web"]), "");
        assert_eq!(refusal(Operation::Restart, &["name=web"]), "only a configured jail is made anew");
    }

    #[test]
    fn a_command_swallows_what_follows() {
        let registry = crate::registry(&[]).unwrap();
        let words = ["persist", "command=/bin/echo", "name=x", "-r"].map(str::to_owned);
        let given = given(&registry, &words).unwrap();
        assert_eq!(given.settings.list("command"), ["/bin/echo", "name=x", "-r"]);
        assert!(given.settings.get("name").is_none());
    }
}
