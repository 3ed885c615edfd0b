//! jls(8): list jails.

mod inner;
mod print;
mod values;

use ::jail::{
    Jails, above,
    record::{Record, State},
};
use vimage::{Error, ErrorKind, Result};

use crate::{
    ExitCode,
    flags::{Call, Flag, Tool, Word},
    look,
    output::{Output, complain},
};
use print::{Json, Manner};
use values::{Column, Values};

/// The tool.
pub(crate) static TOOL: Tool = Tool {
    name: "jls",
    about: "list jails",
    synopsis: &["[-adhNnqsv] [-j JAIL] [--libxo FORMAT] [PARAM ...]", "-c -j JAIL"],
    doc: &[
        "Lists the jails: number, first address, host name and path of each, or the parameters that are named. \
         Values that the kernel has are read from it; where the caller may not, they are those that were set.",
        "An empty text is printed as \"\", an empty list as -. Addresses are those of the jail's links.",
        "Reading takes no lock and changes nothing.",
    ],
    flags: &[
        Flag {
            short: "a",
            help: "also dying jails",
            doc: "Lists also the jails that are dying.",
            ..Flag::BASE
        },
        Flag { short: "d", help: "also dying jails", doc: "The same as -a.", ..Flag::BASE },
        Flag {
            short: "j",
            value: Some("JAIL"),
            takes: Word::Jail,
            help: "only this jail",
            doc: "Lists only the jail of this name or number.",
            ..Flag::BASE
        },
        Flag {
            short: "c",
            help: "only say whether the jail exists",
            doc: "Prints nothing: the exit status says whether the jail of -j exists.",
            ..Flag::BASE
        },
        Flag {
            short: "h",
            help: "a line with the names of the parameters",
            doc: "Prints the names of the parameters first. Without named parameters, lists all.",
            ..Flag::BASE
        },
        Flag {
            short: "N",
            help: "names in place of numbers",
            doc: "Prints the name of the jail in place of its number in the usual columns.",
            ..Flag::BASE
        },
        Flag {
            short: "n",
            help: "name=value",
            doc: "Prints parameters as name=value, and booleans as name or noname. Without named parameters, \
                  lists all.",
            ..Flag::BASE
        },
        Flag {
            short: "q",
            help: "quote values",
            doc: "Quotes values that a shell would split or change.",
            ..Flag::BASE
        },
        Flag {
            short: "s",
            help: "as arguments of jail(8)",
            doc: "Prints parameters so that they can be given to jail -c. Leaves out those that can only be read, \
                  those without a value, and the members of a mode that is not new. A list that does not split \
                  at commas is printed as one argument an item.",
            ..Flag::BASE
        },
        Flag {
            short: "v",
            help: "several lines a jail",
            doc: "Prints also the name, the state (ACTIVE or DYING) and all addresses, on several lines. There are \
                  no CPU sets, and - stands for their number.",
            ..Flag::BASE
        },
        Flag {
            long: "libxo",
            value: Some("FORMAT"),
            takes: Word::OneOf(&["text", "json", "json,pretty"]),
            help: "print as JSON",
            doc: "Prints as libxo(3) does: text, json, or json,pretty.",
            ..Flag::BASE
        },
    ],
    words: &[Word::Param],
    mixed: false,
    exit: "0, or 1 if the jail of -j does not exist or a value could not be read.",
    diagnostics: &[],
    examples: &[
        ("jls -j web jid host.hostname", "Two parameters of one jail."),
        ("jls -s -j web", "What it takes to create the jail anew."),
        ("jls --libxo=json -n", "All parameters of all jails, as JSON."),
    ],
    run,
};

fn run(call: &mut Call<'_>) -> Result<ExitCode> {
    let words = call.texts()?;
    let manner = Manner::of(call.flags.iter().map(|(flag, _)| flag.key()), !words.is_empty());
    let json = call.value("libxo").map(Json::parse).transpose()?.flatten();
    let dying = call.has("a") || call.has("d");
    let store = look(&call.root, call.registry)?;
    let Some(word) = call.value("j").map(str::to_owned) else {
        if call.has("c") {
            return Err(Error::usage("-c needs -j JAIL"));
        }
        let mut reader = Reader::of(store.as_ref(), values::columns(call.registry, &words, &manner)?, dying);
        reader.all()?;
        return print(call, &reader, &manner, json);
    };
    let found = store.as_ref().map(|jails| find(jails, &word, dying)).transpose();
    if call.has("c") {
        return Ok(match found {
            Ok(Some(_)) => ExitCode::SUCCESS,
            Ok(None) => ExitCode::FAILURE,
            Err(e) if e.kind() == ErrorKind::NotFound => ExitCode::FAILURE,
            Err(e) => return Err(e),
        });
    }
    let mut reader = Reader::of(store.as_ref(), values::columns(call.registry, &words, &manner)?, dying);
    match found? {
        Some(record) => reader.one(&record)?,
        None => return Err(Error::new(ErrorKind::NotFound, format!("jail \"{word}\" not found"))),
    }
    print(call, &reader, &manner, json)
}

/// The record of a jail; that of a dying one only if dying jails are to be seen.
fn find(jails: &Jails<'_>, word: &str, dying: bool) -> Result<Record> {
    match jails.read(word) {
        Err(e) if dying && e.kind() == ErrorKind::NotFound => {
            let found = jails.find(word)?;
            if found.state == State::Dying { Ok(found) } else { Err(e) }
        }
        other => other,
    }
}

/// Reads the rows of the list.
struct Reader<'j, 'r> {
    jails: Option<&'j Jails<'r>>,
    columns: Vec<Column>,
    dying: bool,
    rows: Vec<Values>,
    /// Whether something could not be read.
    failed: bool,
}

impl<'j, 'r> Reader<'j, 'r> {
    fn of(jails: Option<&'j Jails<'r>>, columns: Vec<Column>, dying: bool) -> Self {
        Self { jails, columns, dying, rows: Vec::new(), failed: false }
    }

    /// All jails, each followed by those that it has made itself.
    fn all(&mut self) -> Result<()> {
        let Some(jails) = self.jails else { return Ok(()) };
        let names = jails.premises.store.names()?;
        for record in jails.list(self.dying)? {
            let mut values = Values::read(jails, &record, &self.columns, &names, &mut self.failed);
            let inner = self.made_by(jails, &record);
            values.has_also(inner.len());
            self.rows.push(values);
            self.rows.extend(inner);
        }
        self.rows.extend(above::others(&jails.premises.store).into_iter().map(Values::told));
        Ok(())
    }

    /// One jail.
    fn one(&mut self, record: &Record) -> Result<()> {
        let Some(jails) = self.jails else { return Ok(()) };
        let names = jails.premises.store.names()?;
        let mut values = Values::read(jails, record, &self.columns, &names, &mut self.failed);
        if self.columns.iter().any(|column| column.name == values::CHILDREN) {
            values.has_also(self.made_by(jails, record).len());
        }
        self.rows.push(values);
        Ok(())
    }

    fn made_by(&mut self, jails: &Jails<'_>, record: &Record) -> Vec<Values> {
        inner::rows(jails, record, self.dying).unwrap_or_else(|error| {
            self.failed = true;
            complain("jls", &error);
            Vec::new()
        })
    }
}

fn print(
    call: &mut Call<'_>,
    reader: &Reader<'_, '_>,
    manner: &Manner,
    json: Option<Json>,
) -> Result<ExitCode> {
    let (out, columns) = (&mut call.out, &reader.columns[..]);
    let mut objects = Vec::new();
    if json.is_none() {
        header(out, columns, manner);
    }
    for values in &reader.rows {
        match (json, columns.is_empty()) {
            (None, false) => out.line(print::named(values, columns, manner)),
            (None, true) => out.text(print::standard(values, manner)),
            (Some(_), false) => objects.push(print::named_json(values, columns)),
            (Some(_), true) => objects.push(print::standard_json(values, manner)),
        }
    }
    if let Some(json) = json {
        out.line(json.document(objects));
    }
    Ok(if reader.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn header(out: &mut Output, columns: &[Column], manner: &Manner) {
    if columns.is_empty() {
        out.line(print::heading(manner));
    } else if manner.header {
        let names: Vec<_> = columns.iter().map(|c| &*c.name).collect();
        out.line(names.join(" "));
    }
}
