//! What is read of a jail: parameters, live where the kernel has them.

use std::{borrow::Cow, collections::BTreeSet};

use ::jail::{
    Jails,
    record::{Record, State},
};
use kernel::act::Act;
use vimage::{
    Error, ErrorKind, Kind, Mode, Named, Param, Registry, Result, Settings, Told, Value, When, pairs,
};

use super::print::Manner;
use crate::output::complain;

/// A parameter to be printed.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// The word for it.
    pub name: Cow<'static, str>,
    /// Its declaration.
    pub param: &'static Param,
    /// The key, if it is but a pair of the parameter.
    pub key: Option<String>,
    /// The modes that it is a member of.
    modes: Vec<&'static str>,
}

impl Column {
    fn new(registry: &Registry<Act>, param: &'static Param) -> Self {
        let stems = param.name.match_indices('.').map(|(at, _)| &param.name[..at]);
        let is_mode = |stem: &&str| registry.param(stem).is_some_and(|p| matches!(p.kind, Kind::Mode(_)));
        Self { name: param.name.into(), param, key: None, modes: stems.filter(is_mode).collect() }
    }

    /// Of a word that is no parameter's name: one of a pair.
    fn pair(registry: &Registry<Act>, word: &str) -> Result<Self> {
        match registry.lookup(word)? {
            Named { param, key: Some(key), .. } => Ok(Self {
                name: word.to_owned().into(),
                key: Some(key.to_owned()),
                ..Self::new(registry, param)
            }),
            // A negated one is no column.
            _ => Err(Error::usage(format!("unknown parameter: {word}"))),
        }
    }
}

/// The values of a jail.
#[derive(Debug)]
pub(super) struct Values {
    /// All of them, those that are computed included.
    pub settings: Settings,
    /// Its number, as we see it: of one in a jail that made it, `1.2`.
    pub number: String,
    /// Its name.
    pub name: String,
    /// Whether it is dying.
    pub dying: bool,
}

/// The host's name of a jail, for the usual columns.
const HOSTNAME: &str = "host.hostname";
/// How many jails there are in one.
pub(super) const CHILDREN: &str = "children.cur";
/// The interfaces whose addresses are shown.
const LINKS: &str = "vnet.link";
/// What cannot be given again: on the command line it takes all that follows.
const COMMAND: &str = "command";

/// The parameters to be printed; none: the usual columns.
///
/// # Errors
/// `unknown parameter: x`.
pub(super) fn columns(registry: &Registry<Act>, words: &[String], manner: &Manner) -> Result<Vec<Column>> {
    if words.is_empty() && !manner.header && !manner.names {
        return Ok(Vec::new());
    }
    let all = || {
        let mut all: Vec<_> = registry.params().map(|(param, _)| Column::new(registry, param)).collect();
        all.retain(|c| c.name != COMMAND);
        all.sort_by_key(|c| (c.param.name.contains('.'), c.param.name));
        all
    };
    if words.is_empty() {
        return Ok(all());
    }
    let mut columns: Vec<Column> = Vec::new();
    for word in words {
        let more = match (word.as_str(), registry.param(word)) {
            ("all", None) => all(),
            (_, Some(param)) => vec![Column::new(registry, param)],
            (_, None) => vec![Column::pair(registry, word)?],
        };
        for column in more {
            if !columns.iter().any(|c| c.name == column.name) {
                columns.push(column);
            }
        }
    }
    Ok(columns)
}

impl Values {
    /// Reads what the columns need. What cannot be read is as it was set, and is complained about, unless
    /// the caller just lacks the right.
    pub(super) fn read(
        jails: &Jails<'_>,
        record: &Record,
        columns: &[Column],
        names: &[(String, u32)],
        failed: &mut bool,
    ) -> Self {
        let mut settings = record.settings.clone();
        let wanted: BTreeSet<&str> = match columns {
            [] => BTreeSet::from([HOSTNAME]),
            columns => columns.iter().map(|c| c.param.name).collect(),
        };
        if record.state == State::Alive {
            let owners: BTreeSet<&str> =
                jails.registry.params().filter(|(p, _)| wanted.contains(p.name)).map(|(_, s)| s).collect();
            let live = jails.with_instance(record, |of| {
                let mut live = Settings::default();
                for owner in owners.iter().filter_map(|name| jails.registry.subsystem(name)) {
                    match owner.inspect(of) {
                        Ok(found) => live.merge(&found),
                        Err(e) if e.kind() == ErrorKind::Denied => {}
                        // One that went away while it was looked at is not worth a word.
                        Err(_) if !jails.is_alive(record) => {}
                        Err(e) => {
                            *failed = true;
                            complain("jls", &e.doing(owner.name()).doing(&record.name));
                        }
                    }
                }
                Ok(live)
            });
            if let Ok(live) = live {
                settings.merge(&live);
            }
        }
        let dying = record.state == State::Dying;
        let number = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let below = format!("{}.", record.name);
        let parent = record.parent().and_then(|p| names.iter().find(|(name, _)| name == p));
        settings.set("jid", Value::Int(i64::from(record.jid)));
        settings.set("name", Value::Text(record.name.clone()));
        settings.set("parent", Value::Int(parent.map_or(0, |(_, jid)| i64::from(*jid))));
        settings.set("dying", Value::Bool(dying));
        if columns.iter().any(|c| c.name == CHILDREN) {
            let children = names.iter().filter(|(name, _)| name.starts_with(&below)).count();
            settings.set(CHILDREN, number(children));
        }
        Self { settings, number: record.jid.to_string(), name: record.name.clone(), dying }
    }

    /// Counts jails that are not in our records.
    pub(super) fn has_also(&mut self, more: usize) {
        if let Some(known) = self.settings.int(CHILDREN) {
            let more = i64::try_from(more).unwrap_or(i64::MAX);
            self.settings.set(CHILDREN, Value::Int(known.saturating_add(more)));
        }
    }

    /// Of a jail in the one that we are in, that was made from further up.
    pub(super) fn told(told: Told) -> Self {
        let Told { jid, name, parent, mut settings } = told;
        let number = format!(".{jid}");
        let parent = if name.contains('.') { format!(".{parent}") } else { "0".to_owned() };
        settings.set("parent", Value::Text(parent));
        settings.set("jid", Value::Text(number.clone()));
        settings.set("name", Value::Text(name.clone()));
        settings.set("dying", Value::Bool(false));
        Self { settings, number, name, dying: false }
    }

    /// The value of a column.
    pub(super) fn get(&self, column: &Column) -> Option<Cow<'_, Value>> {
        let value = self.settings.get(column.param.name)?;
        match &column.key {
            None => Some(Cow::Borrowed(value)),
            Some(key) => {
                let found = pairs::value(self.text(column.param.name), key)?;
                Some(Cow::Owned(Value::Text(found.to_owned())))
            }
        }
    }

    /// A text, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.settings.text(name).unwrap_or_default()
    }

    /// The host name.
    pub(super) fn hostname(&self) -> &str {
        self.text(HOSTNAME)
    }

    /// The addresses of the jail's links, without the lengths of their networks.
    pub(super) fn addresses(&self) -> Vec<&str> {
        let links = self.settings.list(LINKS).iter();
        links
            .flat_map(|link| {
                let tokens = link.split_whitespace().skip(2).take_while(|token| token.contains('/'));
                tokens.filter_map(|token| token.split('/').next())
            })
            .collect()
    }

    /// Whether a parameter can be given to jail(8) with this value: not one that can only be read, has none,
    /// or belongs to a mode that is not new.
    pub(super) fn can_be_given(&self, column: &Column) -> bool {
        column.param.when != When::Read
            && self.settings.get(column.param.name).is_some()
            && column.modes.iter().all(|mode| self.settings.mode(mode) == Mode::New)
    }
}
