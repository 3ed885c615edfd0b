//! What is read of a jail: parameters, live where the kernel has them.

use std::{borrow::Cow, cell::Cell, collections::BTreeSet, rc::Rc};

use ::jail::{
    Listing, below,
    record::{Record, State},
};
use kernel::act::Act;
use vimage::{
    Error, ErrorKind, Kind, Mode, Named, Param, Registry, Result, Settings, Subsystem, Told, Value, When,
    pairs,
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

    /// Whether jail(8) takes it at all.
    fn can_be_given(&self) -> bool {
        self.param.when != When::Read
    }
}

/// The values of a jail.
#[derive(Debug)]
pub(super) struct Values {
    /// What is written of it.
    pub record: Rc<Record>,
    /// What is not written there or is otherwise now: values that the kernel has, and those that are computed.
    pub live: Settings,
    /// Its number, where it is not of our records: that of one in a jail that made it, `1.2`.
    pub number: Option<String>,
}

/// The host's name of a jail, for the usual columns.
const HOSTNAME: &str = "host.hostname";
/// The interfaces whose addresses are shown.
const LINKS: &str = "vnet.link";
/// Addresses of the host's stack.
const ADDRESSES: [(&str, &str); 2] = [("ip4", "ip4.addr"), ("ip6", "ip6.addr")];
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

/// What is to be found out about each jail beyond its record.
pub(super) struct Wanted<'j, 'r> {
    listing: &'j Listing<'j, 'r>,
    /// The parameters.
    wanted: BTreeSet<&'static str>,
    /// Who has live values of them.
    owners: Vec<&'static dyn Subsystem<Act>>,
    /// Those of them that are computed.
    computed: Vec<&'static str>,
    /// All names, if children are to be counted.
    names: Vec<String>,
}

/// Parameters that no record has.
const COMPUTED: [&str; 5] = ["jid", "name", "parent", "dying", CHILDREN];
/// How many jails are in one.
const CHILDREN: &str = "children.cur";

impl<'j, 'r> Wanted<'j, 'r> {
    /// What the columns need that will be printed.
    ///
    /// # Errors
    /// The names of the jails cannot be read.
    pub(super) fn new(listing: &'j Listing<'j, 'r>, columns: &[Column], manner: &Manner) -> Result<Self> {
        let printed = columns.iter().filter(|c| !manner.skip || c.can_be_given());
        let wanted: BTreeSet<_> = match columns {
            [] => BTreeSet::from([HOSTNAME]),
            _ => printed.map(|c| c.param.name).collect(),
        };
        let jails = listing.jails();
        let mut owners: Vec<_> = jails
            .registry
            .params()
            .filter(|(p, _)| wanted.contains(p.name))
            .map(|(_, owner)| owner)
            .collect();
        owners.sort_unstable();
        owners.dedup();
        let names = if wanted.contains(CHILDREN) { jails.premises.store.taken()? } else { Vec::new() };
        Ok(Self {
            listing,
            owners: owners.into_iter().filter_map(|name| jails.registry.subsystem(name)).collect(),
            computed: COMPUTED.into_iter().filter(|name| wanted.contains(name)).collect(),
            names,
            wanted,
        })
    }

    /// Whether children are counted.
    pub(super) fn counts(&self) -> bool {
        self.computed.contains(&CHILDREN)
    }

    /// Reads it of a jail. What cannot be read is as it was set, and is complained about, unless the caller just
    /// lacks the right.
    pub(super) fn read(&self, record: Rc<Record>, failed: &Cell<bool>) -> Values {
        let mut live = Settings::default();
        if record.state == State::Alive && !self.owners.is_empty() {
            let found = self.listing.with_instance(&record, |of| {
                let mut live = Settings::default();
                for owner in &self.owners {
                    match owner.inspect(of, &|name| self.wanted.contains(name)) {
                        Ok(found) => live.merge(&found),
                        Err(e) if e.kind() == ErrorKind::Denied => {}
                        // One that went away while it was looked at is not worth a word.
                        Err(_) if !self.listing.jails().is_alive(&record) => {}
                        Err(e) => {
                            failed.set(true);
                            complain("jls", &e.doing(owner.name()).doing(&record.name));
                        }
                    }
                }
                Ok(live)
            });
            // Without its ancestors it is as it was set.
            live = found.unwrap_or_default();
        }
        for name in &self.computed {
            live.set(name, self.compute(name, &record));
        }
        Values { record, live, number: None }
    }

    fn compute(&self, name: &str, record: &Record) -> Value {
        let number = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        match name {
            "jid" => Value::Int(i64::from(record.jid)),
            "name" => Value::Text(record.name.clone()),
            "dying" => Value::Bool(record.state == State::Dying),
            CHILDREN => number(below(&self.names, &record.name).len()),
            _ => {
                let parent =
                    record.parent().and_then(|parent| self.listing.jails().premises.store.jid(parent));
                Value::Int(parent.map_or(0, i64::from))
            }
        }
    }
}

impl Values {
    /// Of a jail that is in no record of ours: its number, its name, and the number of the jail that it is in.
    pub(super) fn foreign(number: String, name: String, parent: String, settings: Settings) -> Self {
        let state = if settings.bool("dying") { State::Dying } else { State::Alive };
        let mut live = Settings::default();
        live.set("jid", Value::Text(number.clone()));
        live.set("name", Value::Text(name.clone()));
        live.set("parent", Value::Text(parent));
        live.set("dying", Value::Bool(state == State::Dying));
        let record = Record { name, settings, ..Record::blank(0, state) };
        Self { record: Rc::new(record), live, number: Some(number) }
    }

    /// Of a jail in the one that we are in, that was made from further up.
    pub(super) fn told(told: Told) -> Self {
        let parent = if told.name.contains('.') { format!(".{}", told.parent) } else { "0".to_owned() };
        Self::foreign(format!(".{}", told.jid), told.name, parent, told.settings)
    }

    /// Counts jails that are not in our records.
    pub(super) fn has_also(&mut self, more: usize) {
        if let Some(known) = self.live.int(CHILDREN) {
            let more = i64::try_from(more).unwrap_or(i64::MAX);
            self.live.set(CHILDREN, Value::Int(known.saturating_add(more)));
        }
    }

    /// Its number.
    pub(super) fn number(&self) -> String {
        self.number.clone().unwrap_or_else(|| self.record.jid.to_string())
    }

    /// The value of a parameter.
    fn value(&self, name: &str) -> Option<&Value> {
        self.live.get(name).or_else(|| self.record.settings.get(name))
    }

    fn is_new(&self, mode: &str) -> bool {
        matches!(self.value(mode), Some(Value::Text(word)) if Mode::of(word) == Some(Mode::New))
    }

    /// Whether it is dying.
    pub(super) fn is_dying(&self) -> bool {
        self.record.state == State::Dying
    }

    /// The value of a column.
    pub(super) fn get(&self, column: &Column) -> Option<Cow<'_, Value>> {
        let value = self.value(column.param.name)?;
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
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The host name.
    pub(super) fn hostname(&self) -> &str {
        self.text(HOSTNAME)
    }

    /// The jail's addresses, those of the host's stack and those of its links, without the lengths of their networks.
    pub(super) fn addresses(&self) -> Vec<&str> {
        let own =
            ADDRESSES.iter().filter(|(mode, _)| self.is_new(mode)).flat_map(|(_, list)| self.items(list));
        let own = own.filter_map(|item| item.rsplit('|').next()?.split(['/', ' ']).next());
        let links = self.items(LINKS).iter().flat_map(|link| {
            let tokens = link.split_whitespace().skip(2).take_while(|token| token.contains('/'));
            tokens.filter_map(|token| token.split('/').next())
        });
        own.chain(links).collect()
    }

    /// The items of a list.
    fn items(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// Whether a parameter can be given to jail(8) with this value: not one that can only be read, has none,
    /// or belongs to a mode that is not new.
    pub(super) fn can_be_given(&self, column: &Column, value: Option<&Value>) -> bool {
        // A pair that is not there is a value, too, where there are pairs.
        column.can_be_given()
            && (value.is_some() || (column.key.is_some() && self.value(column.param.name).is_some()))
            && column.modes.iter().all(|mode| self.is_new(mode))
    }
}
