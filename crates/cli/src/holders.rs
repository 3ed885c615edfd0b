//! Who holds what a jail is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    path::Path,
};

use ::jail::{
    Jails, cgroup,
    record::{Record, State},
};
use kernel::namespace::{Handle, Kind};
use observe::{Holder, Namespace, What};
use vimage::{Node, Piece, Result};

/// The kind of the piece that says that the vault holds a jail.
const HELD: &str = "held";

/// Whose a holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// A process of the jail, or of one in it.
    Jail,
    /// What we hold it with while it persists.
    Vault,
    /// Neither: it keeps a removed jail from being gone.
    Foreign,
    /// As the last, if it holds it at all: that cannot be known.
    Perhaps,
    /// No process, but the kernel.
    Kernel,
    /// Nobody that could be found.
    Nobody,
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Jail => "jail",
            Self::Vault => "vault",
            Self::Foreign => "foreign",
            Self::Perhaps => "perhaps",
            Self::Kernel => "kernel",
            Self::Nobody => "nobody",
        }
    }
}

/// The namespaces that are a jail's own, as its record has them.
pub(crate) fn own(record: &Record) -> Vec<Namespace> {
    handles(record).map(|handle| namespace(&handle)).collect()
}

fn handles(record: &Record) -> impl Iterator<Item = Handle> {
    let anchors =
        record.pieces.iter().filter(|p| p.kind == Piece::INSTANCE).filter_map(|p| p.anchor.as_ref());
    anchors.filter_map(|a| a.0.parse().ok())
}

fn namespace(handle: &Handle) -> Namespace {
    Namespace { kind: handle.kind.name().to_owned(), inode: u64::from(handle.inum) }
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
    let inside = processes(record);
    let mut wanted = own(record);
    // A mount and a pid namespace are in no record; a child jail's are not this one's.
    let ours = observe::namespaces_of(i32::try_from(std::process::id()).unwrap_or(0));
    let first = record.init.map(|init| init.pid).filter(|pid| inside.contains(pid));
    let its = first.map(observe::namespaces_of).unwrap_or_default();
    let transient = |ns: &Namespace| [Kind::Mnt.name(), Kind::Pid.name()].contains(&ns.kind.as_str());
    wanted.extend(its.into_iter().filter(|ns| transient(ns) && !ours.contains(ns)));
    let mut lines = Lines::default();
    let holders = observe::take(&wanted);
    let hidden = observe::hidden(&unexplained(record, &holders));
    for holder in holders.iter().chain(&hidden) {
        let whose = match holder.pid {
            // Its init, too, when it has ended and is not collected.
            Some(pid) if inside.contains(&pid) || record.init.is_some_and(|init| init.pid == pid) => {
                Whose::Jail
            }
            Some(_) if !holder.sure => Whose::Perhaps,
            Some(_) => Whose::Foreign,
            None if matches!(holder.what, What::Orphan(_)) => Whose::Kernel,
            None => Whose::Foreign,
        };
        lines.add(whose, holder.pid, &holder.what, &holder.namespace.kind, holder.release());
    }
    if !record.pieces.iter().any(|piece| piece.kind == HELD) {
        let all: Vec<_> = holders.iter().chain(&hidden).collect();
        lines.unexplained(record, &all);
    }
    for dir in cgroups(record) {
        for pid in cgroup::all_pids(dir) {
            lines.add(Whose::Jail, Some(pid), &What::Process, "processes", format!("kill -9 {pid}"));
        }
    }
    for piece in record.pieces.iter().filter(|p| p.kind == HELD) {
        for name in jails.premises.vault.names(&piece.key)? {
            lines.add(Whose::Vault, None, &"pin", &name, format!("jail -r {}", record.name));
        }
    }
    if lines.0.is_empty() && record.state == State::Dying {
        lines.add(
            Whose::Nobody,
            None,
            &"nobody was found, and nothing of it lives",
            "",
            "jdb repair".to_owned(),
        );
    }
    Ok(lines.node())
}

/// The namespaces of a jail that live, each opened.
fn alive(record: &Record) -> Vec<(Namespace, OwnedFd)> {
    handles(record).filter_map(|handle| Some((namespace(&handle), handle.open().ok()?))).collect()
}

/// The namespaces that live though nobody was found to hold them, each opened. A user namespace is held by those that
/// it owns, and all of a jail that persists by the vault.
fn unexplained(record: &Record, holders: &[Holder]) -> Vec<(Namespace, OwnedFd)> {
    if record.pieces.iter().any(|piece| piece.kind == HELD) {
        return Vec::new();
    }
    let mut alive = alive(record);
    if alive.iter().any(|(namespace, _)| namespace.kind != Kind::User.name()) {
        alive.retain(|(namespace, _)| namespace.kind != Kind::User.name());
    }
    alive.retain(|(namespace, _)| !holders.iter().any(|holder| holder.namespace == *namespace));
    alive
}

/// The lines of the table: one a holder, with all that it holds and what makes it let go.
#[derive(Default)]
struct Lines(BTreeMap<(Whose, Option<i32>, String), Held>);

/// What a holder holds, and what makes it let go.
#[derive(Default)]
struct Held {
    kinds: Vec<String>,
    release: String,
}

impl Lines {
    fn add(&mut self, whose: Whose, pid: Option<i32>, what: &dyn ToString, kind: &str, release: String) {
        let held = self.0.entry((whose, pid, what.to_string())).or_default();
        if !kind.is_empty() && !held.kinds.iter().any(|k| k == kind) {
            held.kinds.push(kind.to_owned());
        }
        held.release = release;
    }

    /// What of a jail lives though nobody was found to hold it. A user namespace is held by those that it owns.
    fn unexplained(&mut self, record: &Record, holders: &[&Holder]) {
        let (alive, recorded) = (alive(record), own(record));
        for (namespace, _) in &alive {
            let mut its = holders.iter().filter(|holder| holder.namespace == *namespace).peekable();
            let found = its.peek().is_some();
            if its.any(|holder| holder.sure) {
                continue;
            }
            let is_user = namespace.kind == Kind::User.name();
            // Those that are not in the record were found by it.
            let owns = alive.len() > 1 || holders.iter().any(|holder| !recorded.contains(&holder.namespace));
            if is_user && owns {
                let release = "let go of those".to_owned();
                self.add(Whose::Kernel, None, &"namespaces that it owns", &namespace.kind, release);
            } else if !found {
                self.nobody(record, &namespace.kind);
            }
        }
    }

    /// That nobody was found to hold a namespace, though it lives.
    fn nobody(&mut self, record: &Record, kind: &str) {
        let what = "nobody was found; the kernel may still hold it, as for sockets that end by a timer or for a grace \
                    period, or what it has without a process";
        self.add(Whose::Nobody, None, &what, kind, format!("jdb wait {}", record.jid));
    }

    fn node(self) -> Node {
        let mut table = Node::table(&["whose", "pid", "comm", "what", "release", "holds"]);
        for ((whose, pid, mut what), Held { kinds, mut release }) in self.0 {
            let comm = pid.map(observe::comm).unwrap_or_default();
            if let Some(place) = pid.and_then(observe::waits) {
                what.push_str(&format!(", waits in {place}"));
                release.push_str("; it may have to wake first");
            }
            let [comm, what, release] = [comm, what, release].map(|text| text.replace(char::is_control, "?"));
            let words = [comm.into(), what.into(), release.into(), kinds.into()];
            table.row([whose.word().into(), pid.into()].into_iter().chain(words).collect());
        }
        table
    }
}
