//! Who holds what a jail is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    path::Path,
};

use ::jail::{Jails, cgroup, record::Record};
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
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Jail => "jail",
            Self::Vault => "vault",
            Self::Foreign => "foreign",
            Self::Perhaps => "perhaps",
            Self::Kernel => "kernel",
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
    let open =
        |user: bool| handles(record).filter(move |h| (h.kind == Kind::User) == user && h.open().is_ok());
    let held = |handle: &Handle| holders.iter().any(|holder| holder.namespace == namespace(handle));
    if open(true).any(|user| !held(&user)) && record.init.is_none_or(|init| !inside.contains(&init.pid)) {
        let (what, release) = match open(false).next() {
            Some(_) => ("namespaces that it owns", "let go of those"),
            None => ("files that were opened inside", "whoever has them has to close them"),
        };
        lines.add(Whose::Kernel, None, &what, Kind::User.name(), release.to_owned());
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
    Ok(lines.node())
}

/// The namespaces that live though nobody was found to hold them, each opened. A user namespace is held by those that
/// it owns, and all of a jail that persists by the vault.
fn unexplained(record: &Record, holders: &[Holder]) -> Vec<(Namespace, OwnedFd)> {
    if record.pieces.iter().any(|piece| piece.kind == HELD) {
        return Vec::new();
    }
    let handles = handles(record).filter(|handle| handle.kind != Kind::User);
    let open = handles.filter_map(|handle| Some((namespace(&handle), handle.open().ok()?)));
    open.filter(|(namespace, _)| !holders.iter().any(|holder| holder.namespace == *namespace)).collect()
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
        if !held.kinds.iter().any(|k| k == kind) {
            held.kinds.push(kind.to_owned());
        }
        held.release = release;
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
