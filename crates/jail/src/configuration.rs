//! Configured jails: what jail.conf(5) says of each, in the words of the subsystems' parameters.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use conf::{Conf, Known, Loader, Parameters, Unknown, glob, pattern};
use kernel::act::Act;
use vimage::{Context as _, Error, Given, Kind, Named, Registry, Result, Value};

use crate::hooks;

/// The file that is read by default.
const FILE: &str = "/etc/jail.conf";

/// The directory with more files, each for some jails.
const FOLDER: &str = "/etc/jail.conf.d";

/// Whether a name of jails, which may be a pattern with `*`, stands for a name.
#[must_use]
pub fn meets(word: &str, name: &str) -> bool {
    word == name || (pattern::is_pattern(word) && pattern::matches(word, name))
}

/// A configuration that was read without an error.
#[derive(Debug)]
pub struct Configuration<'r> {
    conf: Conf,
    registry: &'r Registry<Act>,
}

/// One configured jail.
#[derive(Clone, Debug)]
pub struct Configured {
    /// The name of its block, by which messages call it.
    pub name: String,
    /// Its parameters.
    pub given: Given,
    /// The same, as [`conf::quoted`] words in the order of definition: for `jail -e`.
    pub words: Vec<String>,
    /// What is wrong with it, each with its place. If anything is, parameters may be missing.
    pub wrong: Vec<Error>,
}

impl Configured {
    /// The name that the jail will have: that of its block, if no other is given.
    #[must_use]
    pub fn jail(&self) -> &str {
        self.given.settings.text("name").unwrap_or(&self.name)
    }

    /// Whether a word means it: the name of its block or a pattern that this meets, or its number.
    #[must_use]
    pub fn is_meant(&self, word: &str) -> bool {
        meets(word, &self.name) || self.given.settings.int("jid").is_some_and(|jid| word.parse() == Ok(jid))
    }

    /// The names of the configured or other jails that must be there before it: the one that it is in is one of them.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        let parent = crate::record::parent_of(self.jail());
        self.given.settings.list("depend").iter().map(String::as_str).chain(parent)
    }
}

impl<'r> Configuration<'r> {
    /// Whether there is what is read where no file is named.
    #[must_use]
    pub fn is_there() -> bool {
        Path::new(FILE).exists() || Path::new(FOLDER).exists()
    }

    /// Reads a file and all that it includes; `-` is standard input. Without one: /etc/jail.conf, and behind it what is in
    /// /etc/jail.conf.d, unless the file speaks of that by itself.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn read(file: Option<&str>, registry: &'r Registry<Act>) -> Result<Self, Vec<Error>> {
        let (name, text) = match file {
            Some("-") => ("STDIN", bounded(io::stdin().lock())),
            Some(file) => (file, File::open(file).and_then(bounded)),
            None => (FILE, default()),
        };
        let file = file.unwrap_or(FILE);
        let text = text.doing_with(|| file.to_owned()).map_err(|error| vec![error])?;
        let conf = Conf::load(name, text, &mut Files).map_err(|report| {
            let mut errors: Vec<_> = report.iter().map(Error::usage).collect();
            if report.omitted() > 0 {
                errors.push(Error::usage(format!("{file}: {} more errors", report.omitted())));
            }
            errors
        })?;
        Ok(Self { conf, registry })
    }

    /// All jails, in the order of the configuration. What is wrong with one is said of it, and keeps nothing from the
    /// others.
    #[must_use]
    pub fn jails(&self) -> Vec<Configured> {
        let parameters = Declared(self.registry);
        let mut resolver = self.conf.resolver(&parameters);
        let mut jails: Vec<_> = resolver.jails().map(|jail| self.define(&jail)).collect();
        depend_on_names(&mut jails);
        jails
    }

    /// A jail, as its definitions say.
    fn define(&self, jail: &conf::Jail<'_>) -> Configured {
        let mut found = Configured {
            name: jail.name.to_owned(),
            given: Given::default(),
            words: Vec::new(),
            wrong: jail.problems.iter().map(|p| Error::usage(self.conf.show(p)).doing(jail.name)).collect(),
        };
        if found.wrong.is_empty()
            && let Err(error) = self.take(&mut found, &jail.params)
        {
            found.wrong.push(error.doing(jail.name));
        }
        found
    }

    /// Takes parameters over as if they had been given on a command line: the values of a list one after another.
    fn take(&self, to: &mut Configured, params: &[conf::Param<'_>]) -> Result<()> {
        let word = |param: &conf::Param<'_>| {
            let values: Vec<_> = param.values.iter().map(|v| conf::quoted(&v.text)).collect();
            match values.as_slice() {
                [] => param.word.to_owned(),
                values => format!("{}={}", param.word, values.join(",")),
            }
        };
        to.words = params.iter().map(word).collect();
        // What `command` says comes after what exec.start says, wherever it stands.
        let (commands, others): (Vec<_>, Vec<_>) = params.iter().partition(|p| p.name == "command");
        for param in others.into_iter().chain(commands) {
            if param.values.is_empty() {
                self.registry.define(&mut to.given, param.word).doing_with(|| self.conf.place(param.span))?;
            }
            for value in &param.values {
                // In a file it is one more line to run: words after it belong to nothing.
                let word = if param.name == "command" { hooks::START } else { param.word };
                let definition = format!("{word}={}", value.text);
                self.registry
                    .define(&mut to.given, &definition)
                    .doing_with(|| self.conf.place(value.span))?;
            }
        }
        Ok(())
    }
}

/// Makes the names of all that is depended on: a configuration may call a jail by its block or by its number.
fn depend_on_names(jails: &mut [Configured]) {
    let name = |jail: &Configured| jail.jail().to_owned();
    let number = |jail: &Configured| jail.given.settings.int("jid").map(|jid| jid.to_string());
    // What is a name is no number of another.
    let mut names: BTreeMap<String, String> =
        jails.iter().filter_map(|jail| Some((number(jail)?, name(jail)))).collect();
    names.extend(jails.iter().map(|jail| (jail.name.clone(), name(jail))));
    names.extend(jails.iter().map(|jail| (name(jail), name(jail))));
    for jail in jails {
        let depend = jail.given.settings.list("depend");
        if depend.iter().any(|word| names.get(word).is_some_and(|name| name != word)) {
            let depend = depend.iter().map(|word| names.get(word).unwrap_or(word).clone()).collect();
            jail.given.settings.set("depend", Value::List(depend));
        }
    }
}

/// The parameters that the subsystems declare.
struct Declared<'r>(&'r Registry<Act>);

impl Parameters for Declared<'_> {
    fn look_up(&self, word: &str) -> Result<Known, Unknown> {
        match self.0.lookup(word) {
            Ok(Named { param, key, .. }) => {
                // Each pair is set by itself.
                let name = key.map_or(param.name, |_| word);
                Ok(Known { name: name.to_owned(), list: matches!(param.kind, Kind::List { .. }) })
            }
            Err(error) => {
                Err(Unknown { message: error.to_string(), hint: error.advice().map(str::to_owned) })
            }
        }
    }

    /// A variable may have the name of a subsystem's: there are more of these than FreeBSD has.
    fn is_reserved(&self, name: &str) -> bool {
        self.0.param(name).is_some_and(|param| !matches!(param.kind, Kind::Mode(_)))
    }
}

/// The files of this machine.
struct Files;

impl Loader for Files {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        bounded(File::open(path)?)
    }

    fn glob(&mut self, pattern: &str) -> io::Result<Vec<String>> {
        let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for dir in found {
                let dir_name = if dir.is_empty() { "." } else { &dir };
                if !glob::is_pattern(part) && !part.contains('\\') {
                    let path = format!("{dir}{part}");
                    if Path::new(&path).exists() {
                        next.push(path);
                    }
                    continue;
                }
                // What is no directory, or is not there, has no such files.
                let Ok(entries) = fs::read_dir(dir_name) else { continue };
                let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
                next.extend(
                    names.filter(|name| glob::matches(part, name)).map(|name| format!("{dir}{name}")),
                );
            }
            found = next.into_iter().map(|path| path + "/").collect();
        }
        let mut files: Vec<_> = found.into_iter().map(|path| path.trim_end_matches('/').to_owned()).collect();
        files.sort();
        Ok(files)
    }
}

/// What is read where no file is named.
fn default() -> io::Result<Vec<u8>> {
    let text = File::open(FILE).and_then(bounded);
    if !Path::new(FOLDER).is_dir() {
        return text;
    }
    let mut text = match text {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    if !text.windows(FOLDER.len()).any(|words| words == FOLDER.as_bytes()) {
        text.extend(format!("\n.include \"{FOLDER}/*.conf\";\n").into_bytes());
    }
    Ok(text)
}

/// What a file has, no more than a configuration may have: it may have no end.
fn bounded(file: impl io::Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(conf::MOST_BYTES as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}
