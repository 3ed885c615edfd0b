//! Who holds what a jail is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ::jail::{Jails, cgroup, record::Record};
use kernel::namespace::{Handle, Kind};
use observe::{Namespace, What};
use vimage::{Node, Piece, Result};

/// Whose a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// A process of the jail, or of one in it.
    Jail,
    /// What we hold it with while it persists.
    Vault,
    /// Neither: it keeps a removed jail from being gone.
    Foreign,
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Jail => "jail",
            Self::Vault => "vault",
            Self::Foreign => "foreign",
        }
    }
}

/// The namespaces that are a jail's own, as its record has them.
pub(crate) fn own(record: &Record) -> Vec<Namespace> {
    let anchors =
        record.pieces.iter().filter(|p| p.kind == Piece::INSTANCE).filter_map(|p| p.anchor.as_ref());
    let handles = anchors.filter_map(|a| a.0.parse::<Handle>().ok());
    handles.map(|h| Namespace { kind: h.kind.name().to_owned(), inode: u64::from(h.inum) }).collect()
}

/// The cgroups of a jail.
pub(crate) fn cgroups(record: &Record) -> Vec<&Path> {
    let anchors = record.pieces.iter().filter_map(|p| p.anchor.as_ref()).filter(|a| a.kind() == "cgroup");
    anchors.map(|a| Path::new(a.object())).filter(|dir| dir.is_absolute()).collect()
}

/// The processes of a jail and of those in it.
pub(crate) fn processes(record: &Record) -> BTreeSet<i32> {
    cgroups(record).into_iter().flat_map(cgroup::all_pids).collect()
}

/// The table of holders: of the namespaces of the jail, of those that come and go with its processes, and of
/// its cgroup, whose members are `processes`.
///
/// # Errors
/// The vault cannot be looked into.
pub(crate) fn table(jails: &Jails<'_>, record: &Record) -> Result<Node> {
    let mut table = Node::table(&["whose", "pid", "comm", "what", "holds"]);
    let inside = processes(record);
    let mut wanted = own(record);
    // A mount and a pid namespace are in no record; a child jail's are not this one's.
    let ours = observe::namespaces_of(i32::try_from(std::process::id()).unwrap_or(0));
    let first = record.init.map(|init| init.pid).filter(|pid| inside.contains(pid));
    let its = first.map(observe::namespaces_of).unwrap_or_default();
    let transient = |ns: &Namespace| [Kind::Mnt.name(), Kind::Pid.name()].contains(&ns.kind.as_str());
    wanted.extend(its.into_iter().filter(|ns| transient(ns) && !ours.contains(ns)));
    // One line a holder, with all that it holds.
    let mut lines: BTreeMap<(Whose, Option<i32>, String), Vec<String>> = BTreeMap::new();
    let mut hold = |whose, pid, what: &dyn ToString, kind: &str| {
        let kinds = lines.entry((whose, pid, what.to_string())).or_default();
        if !kinds.iter().any(|k| k == kind) {
            kinds.push(kind.to_owned());
        }
    };
    for holder in observe::take(&wanted) {
        let whose = if inside.contains(&holder.pid) { Whose::Jail } else { Whose::Foreign };
        hold(whose, Some(holder.pid), &holder.what, &holder.namespace.kind);
    }
    for dir in cgroups(record) {
        for pid in cgroup::all_pids(dir) {
            hold(Whose::Jail, Some(pid), &What::Process, "processes");
        }
    }
    for piece in record.pieces.iter().filter(|p| p.kind == "held") {
        for name in jails.premises.vault.names(&piece.key)? {
            hold(Whose::Vault, None, &"pin", &name);
        }
    }
    for ((whose, pid, what), kinds) in lines {
        let comm = pid.map(observe::comm).unwrap_or_default();
        table.row(vec![whose.word().into(), pid.into(), comm.into(), what.into(), kinds.into()]);
    }
    Ok(table)
}
