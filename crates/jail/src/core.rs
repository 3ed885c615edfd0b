//! The subsystem of what every jail has: its number and name, its place in the tree, its cgroup, and, if it
//! persists, what holds it without processes.

use std::{
    ffi::CString,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kernel::{
    act::Act,
    namespace::{Kind as Namespace, VisitMount},
    step::{Stage, Step},
};
use rustix::{
    fs::CWD,
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
};
use vimage::{
    Anchor, Ask, Child, Context as _, Cost, Doomed, Entry, Error, ErrorKind, House, Instance, Kind, Known,
    Param, Piece, Result, Settings, Site, Subsystem, When,
};

use crate::{cgroup, hooks, house::Premises, process, vault};

/// The subsystem. Others come after it.
#[derive(Debug)]
pub struct Core;

/// Its name.
pub const NAME: &str = "jail";

/// The piece of a jail's processes.
const CGROUP: &str = "cgroup";
/// The piece of what is held in the vault.
const HELD: &str = "held";
/// The piece that says which mounts were prepared: they come and go with who holds them.
const MOUNTS: &str = "mounts";
/// What these are for the kernel.
const OBJECTS: &[(&str, &str)] = &[
    (CGROUP, "cgroup"),
    (HELD, "mounts in the vault"),
    (MOUNTS, "list of mounts (ours)"),
    (Piece::INSTANCE, "cgroup namespace"),
];

static PARAMS: &[Param] = &[
    Param {
        name: "jid",
        kind: Kind::Int { min: 1, max: 999_999 },
        when: When::Create,
        help: "the jail's number",
        doc: "The number of the jail. By default the next free one after the last that was given, cyclically.",
        ..Param::BASE
    },
    Param {
        name: "name",
        kind: Kind::Text { max: 255 },
        help: "the jail's name",
        doc: "The name of the jail; by default its number. A name is not a number, unless it is the jail's own. \
              The name a.b stands for the jail b in the jail a.",
        ..Param::BASE
    },
    Param {
        name: "parent",
        kind: Kind::Int { min: 0, max: 999_999 },
        when: When::Read,
        help: "the number of the jail that this one is in",
        doc: "The number of the jail that this one is in; 0 for one of the host's own.",
        ..Param::BASE
    },
    Param {
        name: "dying",
        kind: Kind::Bool,
        when: When::Read,
        help: "the jail was removed and something still holds it",
        doc: "Whether the jail was removed and something still holds part of it. A dying jail has given up its \
              name and cannot be entered; jdb holders names who holds it.",
        ..Param::BASE
    },
    Param {
        name: "persist",
        kind: Kind::Bool,
        default: Some("false"),
        help: "the jail exists without processes",
        doc: "Whether the jail goes on existing when it has no processes. Without it, a jail is created with a \
              command and vanishes with its last process.",
        ..Param::BASE
    },
    Param {
        name: "children.max",
        kind: Kind::Int { min: 0, max: 999_999 },
        default: Some("0"),
        child: Child::Below,
        help: "how many jails may exist below this one",
        doc: "How many jails may exist in this one, those in its children counted. A child's own number is \
              smaller than its parent's. With user=new it can be made less in a living jail, and not more than \
              it was created with: that many ids were set aside for children. With user=new and proc=new the \
              jail's root makes jails itself, with the jail, jls and jexec of the jail's own tree. For that it has \
              CAP_SYS_ADMIN over its own user namespace, and may mount there what the kernel lets the root of a user \
              namespace mount; what it was given it cannot take away, but for /proc and the like of its own. Limits of System V IPC, message queues and \
              /dev/shm are those of the jail's own, and jails that it makes have theirs.",
        ..Param::BASE
    },
    Param {
        name: "children.cur",
        kind: Kind::Int { min: 0, max: 999_999 },
        when: When::Read,
        help: "how many jails exist below this one",
        doc: "How many jails exist in this one, those in its children counted.",
        ..Param::BASE
    },
    Param {
        name: "depend",
        kind: Kind::List { commas: true },
        help: "jails that must be there before this one",
        doc: "Jails that must be there before this one is created. Configured ones are created first, and this one is \
              removed before them.",
        ..Param::BASE
    },
    Param {
        name: "command",
        kind: Kind::List { commas: false },
        when: When::Create,
        help: "the command to run in the new jail",
        doc: "The command that is run in the new jail, with its arguments: on the command line it swallows all \
              words that follow.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Core {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "number, name, place in the tree, processes, persistence"
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        let own = ask.settings.int("jid").or_else(|| ask.living.map(|l| i64::from(l.jid)));
        check_name(ask.name, own)?;
        let starts = ["command", hooks::START, hooks::POSTSTART];
        let has_command = starts.iter().any(|p| !ask.settings.list(p).is_empty());
        if ask.given.list("command").first().is_some_and(String::is_empty) {
            return Err(Error::usage("command: an empty command"));
        }
        if ask.living.is_none() && !ask.settings.bool("persist") && !has_command {
            return Err(Error::usage("new jail must persist or attach").hint("add persist, or command=..."));
        }
        cgroup::base(ask.house.mark()).map(drop)
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        let base = match site.parent.and_then(|p| p.anchor(CGROUP)) {
            Some(parent) => Path::new(parent.object()).to_owned(),
            None => cgroup::base(site.house.mark())?,
        };
        // A dying jail of the same number may still have its own.
        let dir = (0..).map(|n| match n {
            0 => base.join(site.jid.to_string()),
            n => base.join(format!("{}~{n}", site.jid)),
        });
        let dir = dir.into_iter().find(|d| !d.exists()).unwrap_or(base);
        let leaf = leaf(&dir, site.settings);
        site.make(processes(&dir), || cgroup::create(&leaf))?;
        // A cgroup namespace's root is where its maker is, and that is the jail's cgroup only once the process is there:
        // so it cannot be made together with the others. Linux 4.6.
        Ok(vec![Act::Step(Stage::Others, Step::Unshare(Namespace::Cgroup.flag()))])
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        let mounts: Vec<_> =
            site.fds.names().iter().filter_map(|n| Some(n.strip_prefix("mount:")?.to_owned())).collect();
        site.make(Piece::new(MOUNTS, "all").with(mounts), || Ok(()))
    }

    fn complete(&self, site: &mut Site<'_>) -> Result<()> {
        site.adopt(Namespace::Cgroup.name())?;
        if site.settings.bool("persist") { hold(site) } else { Ok(()) }
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        let held = site.instance().pieces_of(NAME, HELD).next().cloned();
        match (old.bool("persist"), site.settings.bool("persist")) {
            (false, true) if held.is_none() => {
                reopen(&site.instance())?;
                hold(site)?;
            }
            (true, false) => {
                if let Some(piece) = held {
                    let instance = site.instance();
                    // Without processes all of it is gone then, and locked mounts cannot be copied from those of a
                    // process: so that it can be held again if what else is to be changed fails.
                    if differ_but_in_persist(old, site.settings) {
                        reopen(&instance)?;
                    }
                    let house = site.house;
                    site.unmake(&piece, || house.release(&piece.key))?;
                }
            }
            _ => {}
        }
        if let Some(anchor) = site.instance().anchor(CGROUP) {
            let dir = Path::new(anchor.object());
            let leaf = leaf(dir, site.settings);
            if leaf != dir {
                cgroup::create(&leaf)?;
                cgroup::move_all(dir, &leaf)?;
            }
        }
        Ok(Vec::new())
    }

    fn enter(&self, _of: &Instance<'_>, _how: Entry) -> Result<Vec<Act>> {
        Ok(Vec::new())
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        match doomed {
            [first, ..] if first.piece.kind == HELD => {
                let owners: Vec<_> = doomed.iter().map(|d| d.piece.key.as_str()).collect();
                first.of.house.release_all(&owners)
            }
            [first, ..] if first.piece.kind == CGROUP => {
                doomed.iter().map(|d| remove(Path::new(&d.piece.key), d.of.house)).collect()
            }
            _ => doomed.iter().map(|_| Ok(())).collect(),
        }
    }

    fn exists(&self, piece: &Piece, house: &dyn House) -> Result<bool> {
        match piece.kind.as_str() {
            CGROUP => Ok(Path::new(&piece.key).is_dir()),
            HELD => house.holds(&piece.key),
            _ => Ok(true),
        }
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let mut strays = Vec::new();
        for owner in house.held()? {
            if !known.has_key(HELD, &owner) {
                strays.push(Piece::new(HELD, owner));
            }
        }
        let mut dirs = cgroup::inside(&cgroup::base(house.mark())?);
        while let Some(dir) = dirs.pop() {
            if known.has(NAME, CGROUP, &dir.to_string_lossy()) {
                // In it are those of the jails in it, named by their numbers, and that of its own processes.
                let ours = |inner: &PathBuf| is_numbered(inner) && !is_theirs(inner);
                dirs.extend(cgroup::inside(&dir).into_iter().filter(ours));
            } else {
                strays.push(processes(&dir));
            }
        }
        Ok(strays)
    }

    fn cost(&self, piece: &Piece, house: &dyn House) -> Cost {
        match piece.kind.as_str() {
            CGROUP => cgroup::cost(Path::new(&piece.key)),
            HELD => house.kept(&piece.key).map(|kept| vault::cost(&kept)).unwrap_or_default(),
            _ => Cost::default(),
        }
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        OBJECTS
    }
}

/// The piece of the processes in a cgroup.
fn processes(dir: &Path) -> Piece {
    let anchor = Anchor(format!("{CGROUP}:{}", dir.display()));
    Piece::new(CGROUP, dir.to_string_lossy()).anchored(anchor)
}

/// Whether a cgroup was made by a jail's root in the one that the jail has to itself. What we make is ours.
fn is_theirs(inner: &Path) -> bool {
    std::fs::metadata(inner).is_ok_and(|found| found.uid() != rustix::process::geteuid().as_raw())
}

/// Whether a cgroup has a jail's number for its name: `7`, or `7~1`.
fn is_numbered(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split('~').all(|part| part.parse::<u32>().is_ok())
}

/// A jail that another depends on is not there: jail(8)'s words.
#[must_use]
pub fn nonexistent(needed: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("depends on nonexistent jail \"{needed}\""))
}

/// Whether a jail can have a name; `jid` is its number, if it is known.
///
/// # Errors
/// What is wrong with the name.
pub fn check_name(name: &str, jid: Option<i64>) -> Result<()> {
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if numeric && jid.map(|j| j.to_string()).as_deref() != Some(last) {
        return Err(Error::usage("name cannot be numeric (unless it is the jid)"));
    }
    if name.split('.').any(str::is_empty) {
        return Err(Error::usage(format!("name: \"{name}\" has an empty part")));
    }
    if name.contains(|c: char| c == '/' || c == ',' || c.is_whitespace() || c.is_control()) {
        return Err(Error::usage(format!("name: \"{name}\" has a character that no name has"))
            .hint("letters, digits, - and _; a dot between a jail and the jail it is in"));
    }
    Ok(())
}

/// Removes a jail's cgroup, and the directory of all with the last jail.
fn remove(dir: &Path, house: &dyn House) -> Result<()> {
    // A jail's removal has killed them before; those of a cgroup that no record knows still run.
    if std::fs::remove_dir(dir).is_err() {
        cgroup::kill(dir)?;
        cgroup::wait_empty(dir, Instant::now() + Duration::from_secs(1))?;
        cgroup::remove(dir)?;
    }
    let base = cgroup::base(house.mark())?;
    if dir.parent() == Some(&base) {
        let _others_are_there = std::fs::remove_dir(base);
    }
    Ok(())
}

/// Holds all that is open of a jail: its namespaces and its prepared mounts.
fn hold(site: &mut Site<'_>) -> Result<()> {
    let owner = site.instance().anchor(CGROUP).map(|a| a.object().to_owned()).unwrap_or_default();
    let owner = owner.rsplit('/').next().unwrap_or_default().to_owned();
    let (fds, house) = (site.fds.clone(), site.house);
    site.make(Piece::new(HELD, owner.as_str()), || {
        let mut names = fds.names();
        names.sort();
        for name in names.iter().filter(|n| n.starts_with("mount:") || is_held(n)) {
            if let Some(fd) = fds.get(name) {
                house.hold(&owner, name, fd.as_fd())?;
            }
        }
        Ok(())
    })
}

/// Whether a namespace outlives the processes of a persistent jail. Mount and pid namespaces do not: they are
/// made together with the jail's first process.
fn is_held(name: &str) -> bool {
    ["user", "net", "ipc", "uts", "cgroup"].contains(&name)
}

/// Opens the namespaces of a living jail, and the mounts that its processes have at the places of prepared
/// ones.
fn reopen(of: &Instance<'_>) -> Result<()> {
    for piece in of.pieces.iter().filter(|p| p.kind == Piece::INSTANCE) {
        of.fd(&piece.key)?;
    }
    for path in prepared(of) {
        if of.fd(&format!("mount:{path}"))?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "persist: the jail has no process left to keep"));
        }
    }
    Ok(())
}

/// Opens one of the mounts of a living jail: as it is held, or as its processes have it at its place; or the mount
/// namespace that they are in.
///
/// # Errors
/// It is there and cannot be opened.
pub(crate) fn reopen_mount(of: &Instance<'_>, premises: &Premises, name: &str) -> Result<Option<OwnedFd>> {
    if name == Namespace::Mnt.name() {
        return mounts(of);
    }
    let Some(path) = name.strip_prefix("mount:").filter(|path| prepared(of).any(|p| p == *path)) else {
        return Ok(None);
    };
    if let Some(held) = of.pieces_of(NAME, HELD).next() {
        return premises.vault.open(&held.key, name);
    }
    match visit(of)? {
        Some(_visit) => clone_of(path).map(Some),
        None => Ok(None),
    }
}

/// The places of the mounts that were prepared for a jail.
fn prepared<'a>(of: &Instance<'a>) -> impl Iterator<Item = &'a str> {
    let pieces = of.pieces.iter().find(|p| p.subsystem == NAME && p.kind == MOUNTS);
    pieces.and_then(|p| p.data.as_array()).into_iter().flatten().filter_map(|p| p.as_str())
}

fn differ_but_in_persist(old: &Settings, new: &Settings) -> bool {
    let others = |s: &Settings| {
        let mut others = s.clone();
        others.remove("persist");
        others
    };
    others(old) != others(new)
}

/// The mount namespace of one of a jail's processes, if it has any.
fn mounts(of: &Instance<'_>) -> Result<Option<OwnedFd>> {
    let dir = of.anchor(CGROUP).map(|a| leaf(Path::new(a.object()), of.settings)).unwrap_or_default();
    for (_, process) in process::open_listed(|| cgroup::pids(&dir)) {
        match kernel::namespace::of_process(&process, Namespace::Mnt) {
            // It is on its way out.
            Err(Errno::SRCH) => {}
            mounts => return mounts.map(Some).doing("cannot open its mount namespace"),
        }
    }
    Ok(None)
}

/// Enters that namespace.
fn visit(of: &Instance<'_>) -> Result<Option<VisitMount>> {
    let Some(mounts) = mounts(of)? else { return Ok(None) };
    VisitMount::enter(&mounts).map(Some).doing("cannot enter its mount namespace")
}

/// A clone of the mount at a place.
fn clone_of(path: &str) -> Result<OwnedFd> {
    let target = CString::new(path).doing("mount")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match open_tree(CWD, &target, flags) {
        // What is locked below it cannot be left out of a copy.
        Err(Errno::INVAL) => {
            let what =
                "persist: a jail whose root mounts, or makes jails, persists from its creation on, or never";
            Err(Error::unsupported(what).hint("its mounts are locked; give it when the jail is created"))
        }
        tree => tree.doing_with(|| format!("cannot open its mount {path}")),
    }
}

/// The cgroup that a jail's processes are in: one below its own where there may be child jails, since a v2
/// cgroup that hands controllers down has no processes of its own. It stays when there may be none any more.
#[must_use]
pub fn leaf(dir: &Path, settings: &Settings) -> PathBuf {
    let below = dir.join("self");
    if settings.int("children.max").unwrap_or(0) > 0 || below.is_dir() { below } else { dir.to_owned() }
}

/// Opens what the vault holds for a jail, into its open objects.
///
/// # Errors
/// The vault cannot be entered.
pub(crate) fn reopen_held(of: &Instance<'_>, premises: &Premises) -> Result<()> {
    let Some(held) = of.pieces_of(NAME, HELD).next() else { return Ok(()) };
    for name in premises.vault.names(&held.key)?.iter().filter(|n| n.starts_with("mount:")) {
        if let Some(fd) = premises.vault.open(&held.key, name)? {
            of.fds.put(name.as_str(), fd);
        }
    }
    Ok(())
}
