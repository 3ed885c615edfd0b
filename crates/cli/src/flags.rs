//! Tools and their flags. One declaration of each feeds the parser, its errors, `--help`, the manual and the
//! completions.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use kernel::act::Act;
use lexopt::Arg;
use vimage::{Error, Registry, Result};

use crate::{ExitCode, output::Output};

/// One tool.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Its name.
    pub name: &'static str,
    /// One line: small first letter, no full stop.
    pub about: &'static str,
    /// How it is called, without its name; one line each.
    pub synopsis: &'static [&'static str],
    /// The manual's description, by paragraphs.
    pub doc: &'static [&'static str],
    /// Its flags, but for those that all tools have.
    pub flags: &'static [Flag],
    /// What its words are.
    pub words: &'static [Word],
    /// Whether flags may follow words; else the first word ends them, as getopt(3) has it in POSIX.
    pub mixed: bool,
    /// The manual's section on exit status.
    pub exit: &'static str,
    /// What it prints that has a meaning of its own.
    pub diagnostics: &'static [Diagnostic],
    /// Commands with what they do.
    pub examples: &'static [(&'static str, &'static str)],
    /// What it does.
    pub run: fn(&mut Call<'_>) -> Result<ExitCode>,
}

/// A message of a tool.
#[derive(Debug)]
pub(crate) struct Diagnostic {
    /// Its text, with words in capitals for what it is about.
    pub text: fn() -> String,
    /// The manual's paragraph.
    pub means: &'static str,
}

/// One flag. It has a letter, a long name, or both.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The letter, or nothing.
    pub short: &'static str,
    /// The long name, or nothing.
    pub long: &'static str,
    /// The name of its value; `None` if it takes none.
    pub value: Option<&'static str>,
    /// What its value is.
    pub takes: Word,
    /// One line: small first letter, no full stop.
    pub help: &'static str,
    /// The manual's paragraph.
    pub doc: &'static str,
    /// The parameter that it is an old way to give. Where no subsystem has the parameter there is no such flag.
    pub stands_for: Option<&'static str>,
}

/// What a word is, for the completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Nothing that could be completed.
    Any,
    /// The name of a jail.
    Jail,
    /// A parameter's name.
    Param,
    /// A parameter's name, followed by `=`.
    Definition,
    /// A file.
    File,
    /// A directory.
    Dir,
    /// A user.
    User,
    /// One of these.
    OneOf(&'static [&'static str]),
}

impl Flag {
    /// A flag without value; the other fields by struct update.
    pub(crate) const BASE: Self =
        Self { short: "", long: "", value: None, takes: Word::Any, help: "", doc: "", stands_for: None };

    /// By what tools tell it from others: the letter, or the long name of a flag that has none.
    pub(crate) fn key(&self) -> &'static str {
        if self.short.is_empty() { self.long } else { self.short }
    }

    /// As the user writes it: `-j JAIL`, `--root DIR`.
    pub(crate) fn written(&self) -> String {
        let names = [("-", self.short), ("--", self.long)]
            .map(|(dash, name)| if name.is_empty() { String::new() } else { format!("{dash}{name}") });
        let names: Vec<_> = names.into_iter().filter(|n| !n.is_empty()).collect();
        let value = self.value.map(|v| format!(" {v}")).unwrap_or_default();
        names.join(", ") + &value
    }

    /// Whether there is such a flag, given the parameters that there are.
    pub(crate) fn exists(&self, registry: &Registry<Act>) -> bool {
        self.stands_for.is_none_or(|param| registry.param(param).is_some())
    }
}

/// What can be generated.
pub(crate) const GENERATED: &[&str] = &["man", "bash", "zsh", "fish"];

/// Flags of all tools.
pub(crate) static COMMON: &[Flag] = &[
    Flag {
        long: "root",
        value: Some("DIR"),
        takes: Word::Dir,
        help: "the folder of the jails' records",
        doc: "Uses the records in this folder, not those in JAIL_ROOT or /run/jail. Jails of different folders \
              do not know each other.",
        ..Flag::BASE
    },
    Flag {
        long: "generate",
        value: Some("WHAT"),
        takes: Word::OneOf(GENERATED),
        help: "print the manual page or the completions of a shell",
        doc: "Prints the manual page (man), or the completions for bash, zsh or fish. Of jail(8), conf is the page \
              jail.conf(5), rules the page devfs.rules(5), freebsd a page for who comes from FreeBSD, systemd a unit that \
              starts all configured jails at boot, and systemd@ one for each by its name.",
        ..Flag::BASE
    },
    Flag { long: "help", help: "print this", doc: "Prints a summary of the flags.", ..Flag::BASE },
    Flag { long: "version", help: "print the version", doc: "Prints the version.", ..Flag::BASE },
];

/// A call of a tool.
#[derive(Debug)]
pub(crate) struct Call<'r> {
    /// The tool.
    pub tool: &'static Tool,
    /// All subsystems and their parameters.
    pub registry: &'r Registry<Act>,
    /// The folder of the records.
    pub root: PathBuf,
    /// The flags that were given, in order, each with its value.
    pub flags: Vec<(&'static Flag, String)>,
    /// The words that were given.
    pub words: Vec<OsString>,
    /// Where the tool writes to.
    pub out: Output,
}

impl Call<'_> {
    /// The value of a flag; the last one, if it was given several times.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(flag, _)| flag.key() == key).map(|(_, value)| value.as_str())
    }

    /// Whether a flag was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The words as text.
    ///
    /// # Errors
    /// One is not UTF-8.
    pub(crate) fn texts(&self) -> Result<Vec<String>> {
        self.words.iter().cloned().map(text).collect()
    }
}

/// A word as text.
///
/// # Errors
/// It is not UTF-8.
pub(crate) fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|w| Error::usage(format!("{}: not UTF-8", w.display())))
}

/// The summary of how a tool is called.
pub(crate) fn usage(tool: &Tool) -> String {
    let lines = tool.synopsis.iter().enumerate().map(|(n, line)| {
        let before = if n == 0 { "usage:" } else { "      " };
        format!("{before} {} {line}", tool.name)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What `--help` prints.
pub(crate) fn help(tool: &Tool, registry: &Registry<Act>) -> String {
    let flags: Vec<_> = tool.flags.iter().chain(COMMON).filter(|f| f.exists(registry)).collect();
    let width = flags.iter().map(|f| f.written().len()).max().unwrap_or(0);
    let mut lines = vec![format!("{}: {}", tool.name, tool.about), usage(tool), String::new()];
    lines.extend(flags.iter().map(|f| format!("  {:width$}  {}", f.written(), f.help)));
    lines.join("\n")
}

/// What was typed: flags with their values, and words.
pub(crate) type Typed = (Vec<(&'static Flag, String)>, Vec<OsString>);

/// Reads a tool's arguments.
///
/// # Errors
/// A flag is unknown or lacks its value.
pub(crate) fn parse(tool: &'static Tool, registry: &Registry<Act>, args: Vec<OsString>) -> Result<Typed> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut flags, mut words) = (Vec::new(), Vec::new());
    let wrong = |text: String| Error::usage(text).hint(format!("{} --help lists the options", tool.name));
    loop {
        // No tool has a digit for a letter.
        let mut ahead = parser.try_raw_args().filter(|_| tool.mixed);
        if let Some(word) = ahead.as_mut().and_then(|words| words.next_if(is_negative)) {
            words.push(word);
            continue;
        }
        let Some(arg) = parser.next().map_err(|e| wrong(e.to_string()))? else { break };
        let all = tool.flags.iter().chain(COMMON).filter(|f| f.exists(registry));
        let found = match &arg {
            Arg::Short(letter) => all.clone().find(|f| f.short.starts_with(*letter)),
            Arg::Long(name) => all.clone().find(|f| f.long == *name && !name.is_empty()),
            Arg::Value(word) => {
                words.push(word.clone());
                if !tool.mixed {
                    words.extend(parser.raw_args().map_err(|e| wrong(e.to_string()))?);
                }
                continue;
            }
        };
        let Some(flag) = found else {
            return Err(match arg {
                Arg::Short(letter) => wrong(format!("unknown option -{letter}")),
                Arg::Long(name) => {
                    let error = Error::usage(format!("unknown option --{name}"));
                    match all.map(|f| f.long).find(|long| !long.is_empty() && long.starts_with(name)) {
                        Some(near) => error.hint(format!("did you mean --{near}?")),
                        None => error.hint(format!("{} --help lists the options", tool.name)),
                    }
                }
                Arg::Value(_) => wrong("unknown option".to_owned()),
            });
        };
        let value = match flag.value {
            None => String::new(),
            Some(name) => {
                let missing = |_| wrong(format!("option {} needs a value", flag.written()));
                let value = parser.value().map_err(missing)?;
                text(value).map_err(|e| e.doing(name))?
            }
        };
        flags.push((flag, value));
    }
    Ok((flags, words))
}

/// Whether a word is a negative number, which is no bundle of letters.
fn is_negative(word: &OsStr) -> bool {
    let number = word.to_str().and_then(|word| word.strip_prefix('-'));
    number.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') && rest.parse::<f64>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static TOOL: Tool = Tool {
        name: "toy",
        about: "a test",
        synopsis: &["[-ab] [-n NAME] word ..."],
        doc: &[],
        flags: &[
            Flag { short: "a", help: "first", ..Flag::BASE },
            Flag { short: "b", long: "both", help: "second", ..Flag::BASE },
            Flag { short: "n", value: Some("NAME"), help: "third", ..Flag::BASE },
            Flag { short: "z", stands_for: Some("no.such.parameter"), ..Flag::BASE },
        ],
        words: &[],
        mixed: false,
        exit: "",
        diagnostics: &[],
        examples: &[],
        run: |_| Ok(ExitCode::SUCCESS),
    };

    fn typed(args: &[&str]) -> Result<(Vec<String>, Vec<OsString>)> {
        let registry = Registry::new(&[]).unwrap();
        let (flags, words) = parse(&TOOL, &registry, args.iter().map(Into::into).collect())?;
        Ok((flags.into_iter().map(|(f, v)| f.key().to_owned() + &v).collect(), words))
    }

    #[test]
    fn letters_bundle_and_the_first_word_ends_flags() {
        let (flags, words) = typed(&["-abnx", "--both", "word", "-a"]).unwrap();
        assert_eq!(flags, ["a", "b", "nx", "b"]);
        assert_eq!(words, ["word", "-a"]);
        let (flags, words) = typed(&["-n", "-a", "--", "-b"]).unwrap();
        assert_eq!((flags, words), (vec!["n-a".to_owned()], vec![OsString::from("-b")]));
    }

    #[test]
    fn a_negative_number_is_a_word_and_no_letters() {
        for (word, negative) in [
            ("-1", true),
            ("-.5", true),
            ("-1e3", true),
            ("-1x", false),
            ("-", false),
            ("1", false),
            ("-inf", false),
        ] {
            assert_eq!(is_negative(OsStr::new(word)), negative, "{word}");
        }
    }

    #[test]
    fn no_tool_has_a_digit_for_a_letter() {
        let letters = crate::TOOLS.iter().flat_map(|tool| tool.flags).map(|flag| flag.short);
        assert!(letters.into_iter().all(|letter| !letter.starts_with(|c: char| c.is_ascii_digit())));
    }

    #[test]
    fn wrong_flags_are_named() {
        let error = |args| typed(args).unwrap_err();
        assert_eq!(error(&["-aq"]).to_string(), "unknown option -q");
        assert_eq!(error(&["--bot"]).to_string(), "unknown option --bot");
        assert_eq!(error(&["--bot"]).advice(), Some("did you mean --both?"));
        assert_eq!(error(&["-n"]).to_string(), "option -n NAME needs a value");
        assert_eq!(error(&["-z"]).to_string(), "unknown option -z");
    }

    #[test]
    fn help_lists_each_flag_once() {
        let text = help(&TOOL, &Registry::new(&[]).unwrap());
        assert!(text.starts_with("toy: a test\nusage: toy [-ab] [-n NAME] word ...\n\n  -a "), "{text}");
        assert!(text.contains("\n  -b, --both       second\n"), "{text}");
        assert!(!text.contains("-z"), "{text}");
    }
}
