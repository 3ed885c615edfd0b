//! jls(8): list jails.

mod inner;
mod print;
mod values;

use std::{cell::Cell, iter, rc::Rc};

use ::jail::{
    Jails, Listing, above,
    record::{Record, State},
};
use vimage::{Error, ErrorKind, Result};

use crate::{
    ExitCode,
    flags::{Call, Flag, Tool, Word},
    look,
    output::{Output, complain},
};
use inner::Inner;
pub(crate) use inner::has_made;
use print::{Json, Manner, NamedJson};
use values::{Column, Values, Wanted};

/// The tool.
pub(crate) static TOOL: Tool = Tool {
    name: "jls",
    about: "list jails",
    synopsis: &["[-adhNnqsv] [-j JAIL] [--libxo FORMAT] [PARAM ...]", "-c -j JAIL"],
    doc: &[
        "Lists the jails: number, first address, host name and path of each, or the parameters that are named. \
         Values that the kernel has are read from it; where the caller may not, they are those that were set.",
        "An empty text is printed as \"\", an empty list as -. Addresses are those of the jail's links.",
        "Reading takes no lock and changes nothing; but a jail that makes jails itself, and has processes, is asked for \
         them by the jls of its own tree, which has a second for it.",
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
    let elsewhere = match (call.value("j"), &store) {
        (Some(word), Some(jails)) => inner::find(jails, word, dying).transpose(),
        _ => None,
    };
    if let Some(found) = elsewhere {
        if call.has("c") {
            return exists(found.map(drop));
        }
        let columns = values::columns(call.registry, &words, &manner)?;
        print(call, &mut iter::once(found?), columns, &manner, json);
        return Ok(ExitCode::SUCCESS);
    }
    let found = match (call.value("j"), &store) {
        (None, _) if call.has("c") => return Err(Error::usage("-c needs -j JAIL")),
        (None, _) => None,
        (Some(word), Some(jails)) => Some(find(jails, word, dying)),
        (Some(word), None) => {
            Some(Err(Error::new(ErrorKind::NotFound, format!("jail \"{word}\" not found"))))
        }
    };
    if call.has("c") {
        return exists(found.transpose().map(drop));
    }
    let columns = values::columns(call.registry, &words, &manner)?;
    let found = found.transpose()?;
    let Some(jails) = &store else {
        print(call, &mut iter::empty(), columns, &manner, json);
        return Ok(ExitCode::SUCCESS);
    };
    let listing = Listing::new(jails);
    let wanted = Wanted::new(&listing, &columns, &manner)?;
    let failed = Cell::new(false);
    match found {
        Some(record) => {
            let record = Rc::new(record);
            let mut values = wanted.read(record.clone(), &failed);
            if wanted.counts() {
                values.has_also(made_by(&mut Inner::new(jails, dying), &record, &failed).len());
            }
            print(call, &mut iter::once(values), columns, &manner, json);
        }
        None => {
            // Each is followed by those that it has made itself.
            let mut inner = Inner::new(jails, dying);
            inner.ask_all();
            let own = listing.records(dying)?.flat_map(|record| {
                let mut values = wanted.read(record.clone(), &failed);
                let inner = made_by(&mut inner, &record, &failed);
                values.has_also(inner.len());
                iter::once(values).chain(inner)
            });
            let told = above::others(&jails.premises.store).into_iter().map(Values::told);
            print(call, &mut own.chain(told), columns, &manner, json);
        }
    }
    Ok(if failed.get() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What -c says of a jail that was looked for.
fn exists(found: Result<()>) -> Result<ExitCode> {
    match found {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(ExitCode::FAILURE),
        Err(e) => Err(e),
    }
}

/// The jails that one has made itself.
fn made_by(inner: &mut Inner<'_, '_>, record: &Record, failed: &Cell<bool>) -> Vec<Values> {
    inner.rows(record).unwrap_or_else(|error| {
        failed.set(true);
        complain("jls", &error);
        Vec::new()
    })
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

/// Prints each jail as soon as it was read.
fn print(
    call: &mut Call<'_>,
    jails: &mut dyn Iterator<Item = Values>,
    columns: Vec<Column>,
    manner: &Manner,
    json: Option<Json>,
) {
    let out = &mut call.out;
    match json {
        Some(json) if columns.is_empty() => {
            json.document(out, jails.map(|values| print::standard_json(&values, manner)));
        }
        Some(json) => {
            let columns = print::in_order(columns);
            json.document(out, jails.map(|values| NamedJson { values, columns: &columns }));
        }
        None => {
            header(out, &columns, manner);
            for values in jails {
                if columns.is_empty() {
                    out.text(print::standard(&values, manner));
                } else {
                    out.line(print::named(&values, &columns, manner));
                }
            }
        }
    }
}

fn header(out: &mut Output, columns: &[Column], manner: &Manner) {
    if columns.is_empty() {
        out.line(print::heading(manner));
    } else if manner.header {
        let names: Vec<_> = columns.iter().map(|c| &*c.name).collect();
        out.line(names.join(" "));
    }
}
