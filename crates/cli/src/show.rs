//! `jdb show`: the declarations, and what there is of a jail.

use std::fs;

use ::jail::{
    Jails,
    record::{Record, State},
};
use kernel::act::Act;
use serde_json::Value as Json;
use vimage::{Child, Error, ErrorKind, Node, Param, Piece, Registry, Result, Settings, Support, Value, When};

use crate::holders;

/// The subsystems by name, with what this host lacks for them.
pub(crate) fn subsystems(registry: &Registry<Act>) -> Node {
    let mut table = Node::table(&["name", "about", "params", "lacks"]);
    let mut all: Vec<_> = registry.iter().collect();
    all.sort_by_key(|s| s.name());
    for subsystem in all {
        let lacks = match subsystem.probe() {
            Support::Full => Vec::new(),
            Support::Lacks(lacks) => lacks.into_iter().map(|l| format!("{} ({})", l.what, l.hint)).collect(),
        };
        table.row(vec![
            subsystem.name().into(),
            subsystem.about().into(),
            subsystem.params().len().into(),
            lacks.into(),
        ]);
    }
    table
}

/// The subsystems in the order in which they are made; they are unmade the other way round.
pub(crate) fn order(registry: &Registry<Act>) -> Node {
    let mut table = Node::table(&["n", "name", "after"]);
    for (n, subsystem) in registry.iter().enumerate() {
        table.row(vec![(n + 1).into(), subsystem.name().into(), subsystem.after().into()]);
    }
    table
}

/// All parameters, and those that are refused, each with the reason.
pub(crate) fn params(registry: &Registry<Act>) -> Node {
    let mut table = Node::table(&["name", "type", "when", "default", "child", "subsystem", "help"]);
    for (param, subsystem) in registry.params() {
        table.row(vec![
            param.name.into(),
            param.kind_text().into(),
            when(param).into(),
            param.default.map_or(Json::Null, Json::from),
            child(param).into(),
            subsystem.into(),
            param.help.into(),
        ]);
    }
    for row in registry.refused() {
        let none = || Json::from("-");
        table.row(vec![
            row.name.into(),
            none(),
            "refused".into(),
            Json::Null,
            none(),
            none(),
            row.reason.into(),
        ]);
    }
    table
}

/// When a parameter can be given, in a word.
pub(crate) fn when(param: &Param) -> &'static str {
    match param.when {
        When::Create => "create",
        When::Modify => "modify",
        When::Read => "read",
    }
}

/// How a child's value relates to its parent's, in a word or two.
pub(crate) fn child(param: &Param) -> &'static str {
    match param.child {
        Child::Free => "free",
        Child::Inherit => "inherits",
        Child::Parents => "the parent's",
        Child::AtMost => "at most",
        Child::Below => "below",
        Child::Subset => "subset",
        Child::AndParent => "if parent",
    }
}

/// The state of a jail, in a word.
fn state(record: &Record) -> &'static str {
    match record.state {
        State::Creating => "creating",
        State::Dying => "dying",
        State::Alive => "alive",
    }
}

/// How a moment in seconds since 1970 is written.
pub(crate) type Moment = fn(u64) -> Json;

/// All jails, in any state.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn jails(jails: &Jails<'_>, moment: Moment) -> Result<Node> {
    let mut table =
        Node::table(&["jid", "name", "state", "persist", "processes", "pieces", "created", "reasons"]);
    for jid in jails.premises.store.jids()? {
        let Some(record) = jails.premises.store.read(jid)? else { continue };
        table.row(vec![
            record.jid.into(),
            record.name.clone().into(),
            state(&record).into(),
            record.settings.bool("persist").into(),
            holders::processes(&record).len().into(),
            record.pieces.len().into(),
            moment(record.created),
            record.reasons.clone().into(),
        ]);
    }
    Ok(table)
}

/// All there is of a jail.
///
/// # Errors
/// A live value cannot be read.
pub(crate) fn jail(jails: &Jails<'_>, record: &Record, moment: Moment) -> Result<Node> {
    let mut node = Node::map();
    node.put("name", Node::leaf(record.name.as_str()));
    node.put("jid", Node::leaf(record.jid));
    node.put("state", Node::leaf(state(record)));
    node.put("parent", Node::Leaf(record.parent().map_or(Json::Null, Json::from)));
    node.put("created", Node::Leaf(moment(record.created)));
    node.put("reasons", Node::leaf(record.reasons.clone()));
    let (settings, unread) = live(jails, record);
    node.put("settings", values(settings.iter()));
    if let Some(error) = unread {
        node.put("unread", Node::leaf(error.to_string()));
    }
    node.put("pieces", pieces(record.pieces.iter()));
    node.put("namespaces", namespaces(record));
    node.put("processes", processes(record));
    Ok(node)
}

/// What one subsystem has of a jail: its parameters and its pieces.
///
/// # Errors
/// There is no such subsystem.
pub(crate) fn part(jails: &Jails<'_>, record: &Record, name: &str) -> Result<Node> {
    let subsystem = jails.registry.subsystem(name).ok_or_else(|| {
        let names: Vec<_> = jails.registry.iter().map(|s| s.name()).collect();
        Error::new(ErrorKind::NotFound, format!("no subsystem is named {name}")).hint(names.join(", "))
    })?;
    let (settings, unread) = live(jails, record);
    let own = subsystem.params().iter().filter_map(|p| Some((p.name, settings.get(p.name)?)));
    let mut node = Node::map();
    node.put("subsystem", Node::leaf(subsystem.name()));
    node.put("about", Node::leaf(subsystem.about()));
    node.put("settings", values(own));
    if let Some(error) = unread {
        node.put("unread", Node::leaf(error.to_string()));
    }
    if let Node::Map(live) = jails.with_instance(record, |of| subsystem.show(of))? {
        live.into_iter().for_each(|(name, child)| node.put(name, child));
    }
    node.put("pieces", pieces(record.pieces.iter().filter(|p| p.subsystem == name)));
    Ok(node)
}

/// Live values, and why some are not live but as they were set.
fn live(jails: &Jails<'_>, record: &Record) -> (Settings, Option<Error>) {
    if record.state != State::Alive {
        return (record.settings.clone(), None);
    }
    match jails.with_instance(record, |of| jails.driver().inspect(of)) {
        Ok(settings) => (settings, None),
        Err(error) => (record.settings.clone(), Some(error)),
    }
}

fn values<'v>(all: impl Iterator<Item = (&'v str, &'v Value)>) -> Node {
    let mut node = Node::map();
    for (name, value) in all {
        node.put(name, Node::Leaf(serde_json::to_value(value).unwrap_or_default()));
    }
    node
}

fn pieces<'p>(all: impl Iterator<Item = &'p Piece>) -> Node {
    let mut table = Node::table(&["subsystem", "kind", "key", "anchor", "data"]);
    for piece in all {
        table.row(vec![
            piece.subsystem.clone().into(),
            piece.kind.clone().into(),
            piece.key.clone().into(),
            piece.anchor.as_ref().map_or(Json::Null, |a| a.0.clone().into()),
            piece.data.clone(),
        ]);
    }
    table
}

fn namespaces(record: &Record) -> Node {
    let mut table = Node::table(&["kind", "inode"]);
    for namespace in holders::own(record) {
        table.row(vec![namespace.kind.into(), namespace.inode.into()]);
    }
    table
}

fn processes(record: &Record) -> Node {
    let mut table = Node::table(&["pid", "uid", "state", "comm", "command"]);
    for pid in holders::processes(record) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()).unwrap_or_default().to_owned()
        };
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        let uid = field("Uid:").parse::<u32>().map_or(Json::Null, Json::from);
        let row = [field("State:"), observe::comm(pid), words.trim_end().to_owned()].map(Json::from);
        let [state, comm, command] = row;
        table.row(vec![pid.into(), uid, state, comm, command]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_and_subsystem_is_shown() {
        let registry = crate::registry(&[]).unwrap();
        let text = params(&registry).text();
        assert!(text.starts_with("NAME "), "{text}");
        for (param, _) in registry.params() {
            assert!(text.lines().any(|l| l.split(' ').next() == Some(param.name)), "{}", param.name);
        }
        let json = order(&registry).json();
        assert_eq!(json[0]["name"], "jail");
        assert_eq!(json[0]["n"], 1);
        assert_eq!(subsystems(&registry).json().as_array().unwrap().len(), registry.iter().count());
    }
}
