//! The post-mortem bundle: all that can be known of a jail, in one file.

use std::{fs, path::Path};

use ::jail::{Jails, record::Record};
use serde_json::Value as Json;
use vimage::{Context as _, Node, Result};

use crate::{holders, ledger, show, trace};

/// All that is known of a jail, living or dying: record, journal, live values, trace, ledger, audit, holders,
/// and what the kernel says of its processes. Nothing is changed.
///
/// # Errors
/// `jail "x" not found`; the store cannot be read.
pub fn bundle(jails: &Jails<'_>, name: &str) -> Result<Node> {
    let record = jails.find(name)?;
    let mut node = Node::map();
    node.put("version", Node::leaf(env!("CARGO_PKG_VERSION")));
    node.put("kernel", Node::leaf(file("/proc/sys/kernel/osrelease".as_ref()).trim_end()));
    let written = serde_json::to_value(&record).doing("cannot encode the record")?;
    node.put("record", Node::Leaf(written));
    let dir = jails.premises.store.root().join("jails").join(record.jid.to_string());
    node.put("journal", Node::leaf(file(&dir.join("journal"))));
    node.put("live", show::jail(jails, &record, Json::from)?);
    let commands =
        trace::concerning(trace::commands(jails.premises.store.trace()), Some(&record.name), usize::MAX);
    let commands: Vec<_> = commands.iter().map(|c| c.node().json()).collect();
    node.put("trace", Node::leaf(commands));
    node.put("ledger", ledger::table(jails, true)?);
    node.put("audit", missing(jails, &record));
    node.put("holders", holders::table(jails, &record)?);
    node.put("processes", processes(&record));
    Ok(node)
}

/// The pieces of the jail that do not exist. A jail that is being undone has such.
fn missing(jails: &Jails<'_>, record: &Record) -> Node {
    match jails.with_instance(record, |of| jails.driver().missing(of)) {
        Ok(findings) => Node::leaf(findings.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Err(error) => Node::leaf(error.to_string()),
    }
}

/// What the kernel says of each process of the jail.
fn processes(record: &Record) -> Node {
    let mut table = Node::table(&["pid", "comm", "status", "cgroup", "mountinfo", "namespaces"]);
    for pid in holders::processes(record) {
        let of = |name: &str| Json::from(file(format!("/proc/{pid}/{name}").as_ref()));
        let namespaces: Vec<_> = observe::namespaces_of(pid).iter().map(ToString::to_string).collect();
        table.row(vec![
            pid.into(),
            observe::comm(pid).into(),
            of("status"),
            of("cgroup"),
            of("mountinfo"),
            namespaces.into(),
        ]);
    }
    table
}

/// The text of a file; empty if it cannot be read, as when its process has ended.
fn file(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
