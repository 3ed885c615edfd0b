//! `rctl.*`: limits of a jail's memory, processes and processor time, by whichever cgroup hierarchy has the
//! controller (cgroups(7)).
//!
//! In a version 2 hierarchy the limits are files of the jail's own directory. A version 1 controller has a
//! hierarchy of its own: there the jail gets a directory, below its parent's if that has one, and every
//! process that enters the jail enters it.

pub mod hierarchy;
pub mod limit;

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use kernel::{
    act::Act,
    step::{Stage, Step},
};
use vimage::{
    Ask, Child, Context as _, Doomed, Entry, Error, ErrorKind, House, Instance, Kind, Known, Lack, Param,
    Piece, Plan, Result, Settings, Site, Subsystem, Support, Value,
};

use hierarchy::{Hierarchies, Home};
use limit::{LIMITS, Limit};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Rctl;

/// Its instance for registries.
pub static RCTL: Rctl = Rctl;

/// The piece of a directory in a version 1 hierarchy: its key is the path, since each is one of its own;
/// its data the controller.
const CGROUP1: &str = "cgroup1";

/// How long a directory is tried to be removed while its last processes end.
const PATIENCE: Duration = Duration::from_secs(1);

static PARAMS: [Param; 3] = [
    Param {
        name: "rctl.memoryuse",
        kind: Kind::Size,
        child: Child::AtMost,
        help: "how much memory the jail may use",
        doc: "The greatest amount of memory of all the jail's processes together, page cache and /dev/shm \
              included, swap not: memory.max, or memory.limit_in_bytes. What is above is reclaimed; if it cannot \
              be, the kernel kills processes of the jail.",
        ..Param::BASE
    },
    Param {
        name: "rctl.maxproc",
        kind: Kind::Int { min: 1, max: 4_194_304 },
        child: Child::AtMost,
        help: "how many processes the jail may have",
        doc: "The greatest number of the jail's processes, threads counted: pids.max. At the limit fork(2) fails \
              with EAGAIN.",
        ..Param::BASE
    },
    Param {
        name: "rctl.pcpu",
        kind: Kind::Int { min: 1, max: 1_000_000 },
        child: Child::AtMost,
        help: "how much processor time the jail may use, in percent of one processor",
        doc: "The share of processor time of all the jail's processes together in percent; 100 is one processor, \
              200 two: cpu.max, or cpu.cfs_quota_us, over a tenth of a second. What is above waits.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Rctl {
    fn name(&self) -> &'static str {
        "rctl"
    }

    fn about(&self) -> &'static str {
        "limits of memory, processes and processor time"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn probe(&self) -> Support {
        let hierarchies = Hierarchies::read().unwrap_or_default();
        let lacks = LIMITS.iter().filter(|l| hierarchies.home(l.controller).is_none());
        let lacks: Vec<_> = lacks.map(|l| Lack { what: l.lack, hint: l.without }).collect();
        if lacks.is_empty() { Support::Full } else { Support::Lacks(lacks) }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        let mut given = LIMITS.iter().filter(|l| ask.settings.int(l.param).is_some()).peekable();
        if given.peek().is_none() {
            return Ok(());
        }
        let hierarchies = Hierarchies::read()?;
        given.try_for_each(|limit| home(&hierarchies, limit).map(drop))
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Plan<Act>> {
        let given: Vec<_> = LIMITS.iter().filter(|l| site.settings.int(l.param).is_some()).collect();
        apply(site, &given)?;
        // From the start, so that the root of the jail's cgroup namespace is there in every hierarchy.
        Ok(Plan { birth: joins(&site.instance())?, prepared: Vec::new() })
    }

    fn enter(&self, of: &Instance<'_>, how: Entry) -> Result<Vec<Act>> {
        if how == Entry::Born { Ok(Vec::new()) } else { joins(of) }
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        let changed: Vec<_> =
            LIMITS.iter().filter(|l| site.settings.get(l.param) != old.get(l.param)).collect();
        apply(site, &changed)?;
        Ok(Vec::new())
    }
    fn inspect(&self, of: &Instance<'_>) -> Result<Settings> {
        let mut live = Settings::default();
        for limit in LIMITS.iter().filter(|l| of.settings.int(l.param).is_some()) {
            let (dir, format) = match own(of, limit.controller) {
                Some(dir) => (dir, &limit.legacy),
                None => match of.anchor("cgroup") {
                    Some(anchor) => (PathBuf::from(anchor.object()), &limit.unified),
                    None => continue,
                },
            };
            match limit::read(&dir, format) {
                Ok(Some(value)) => drop(live.set(limit.param, Value::Int(value))),
                Ok(None) => drop(live.remove(limit.param)),
                // The jail is on its way out.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e.doing(limit.param)),
            }
        }
        Ok(live)
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        let deadline = Instant::now() + PATIENCE;
        let gone = doomed.iter().map(|d| remove(Path::new(&d.piece.key), deadline)).collect();
        for above in doomed.iter().filter_map(|d| Path::new(&d.piece.key).parent()) {
            // The common directory goes with the last jail; while there are others it is not empty.
            let _others_are_there = fs::remove_dir(above);
        }
        gone
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Path::new(&piece.key).try_exists().doing_with(|| format!("cannot look for {}", piece.key))
    }

    fn strays(&self, known: &Known, _house: &dyn House) -> Result<Vec<Piece>> {
        let hierarchies = Hierarchies::read()?;
        let mut strays = Vec::new();
        for limit in &LIMITS {
            let Some(base) = hierarchies.legacy(limit.controller) else { continue };
            let dirs = below(&base.join(hierarchy::BASE));
            let pieces = dirs.into_iter().map(|dir| piece(&dir, limit.controller));
            strays.extend(pieces.filter(|p| !known.has("rctl", CGROUP1, &p.key)));
        }
        Ok(strays)
    }
}

/// The steps into a jail's cgroups of the first version, for a process that does not have the jail's ids yet:
/// its root may not write there.
fn joins(of: &Instance<'_>) -> Result<Vec<Act>> {
    let join = |dir: PathBuf| {
        let file = dir.join("cgroup.procs");
        let path = CString::new(file.into_os_string().into_encoded_bytes())
            .map_err(|_| Error::usage("rctl: path with a null byte"))?;
        Ok(Act::Step(Stage::User, Step::Write(path, b"0".to_vec())))
    };
    legacy(of).into_values().map(join).collect()
}

/// Where a limit is enforced.
fn home(hierarchies: &Hierarchies, limit: &Limit) -> Result<Home> {
    hierarchies.home(limit.controller).ok_or_else(|| {
        let what = format!("no cgroup controller can limit it on this host ({})", limit.controller);
        Error::unsupported(format!("{}: {what}", limit.param))
            .hint("the kernel may have it switched off at boot")
    })
}

/// Writes limits; a jail's own directories in version 1 hierarchies are made where they are missing.
fn apply(site: &mut Site<'_>, limits: &[&Limit]) -> Result<()> {
    if limits.is_empty() {
        return Ok(());
    }
    let hierarchies = Hierarchies::read()?;
    for limit in limits {
        let value = site.settings.int(limit.param);
        match home(&hierarchies, limit)? {
            Home::Legacy(base) => {
                let dir = match own(&site.instance(), limit.controller) {
                    Some(dir) => dir,
                    None => make(site, &base, limit.controller).doing(limit.param)?,
                };
                limit::write(&dir, &limit.legacy, value).doing(limit.param)?;
            }
            Home::Unified => {
                let Some(dir) = site.instance().anchor("cgroup").map(|a| PathBuf::from(a.object())) else {
                    return Err(
                        Error::new(ErrorKind::Failed, "no cgroup of the jail's own").doing(limit.param)
                    );
                };
                hierarchy::enable(&dir, limit.controller).doing(limit.param)?;
                limit::write(&dir, &limit.unified, value).doing(limit.param)?;
            }
        }
    }
    Ok(())
}

/// Makes the jail's directory in the hierarchy of a version 1 controller, and moves the jail's processes in,
/// if it has some already.
fn make(site: &mut Site<'_>, base: &Path, controller: &str) -> Result<PathBuf> {
    let above = legacy(&site.instance()).remove(controller).unwrap_or_else(|| base.join(hierarchy::BASE));
    let dir = above.join(site.jid.to_string());
    site.make(piece(&dir, controller), || {
        fs::create_dir_all(&dir).doing_with(|| format!("cannot make the cgroup {}", dir.display()))
    })?;
    if let Some(anchor) = site.instance().anchor("cgroup") {
        move_all(Path::new(anchor.object()), &dir)?;
    }
    Ok(dir)
}

fn piece(dir: &Path, controller: &str) -> Piece {
    Piece::new(CGROUP1, dir.to_string_lossy()).with(BTreeMap::from([("controller", controller)]))
}

/// Moves the processes of a cgroup and those below it. Again while there are new ones: a process forks into
/// its own cgroup.
fn move_all(from: &Path, to: &Path) -> Result<()> {
    let target = to.join("cgroup.procs");
    let mut moved: Vec<String> = Vec::new();
    loop {
        let mut dirs = below(from);
        dirs.push(from.to_owned());
        let texts = dirs.iter().map(|d| fs::read_to_string(d.join("cgroup.procs")).unwrap_or_default());
        let pids: Vec<String> =
            texts.flat_map(|t| t.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let new: Vec<String> = pids.into_iter().filter(|p| !moved.contains(p)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in &new {
            match fs::write(&target, pid) {
                // It has exited.
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                other => other.doing_with(|| format!("cannot move process {pid} to {}", to.display()))?,
            }
        }
        moved.extend(new);
    }
}

/// The jail's own directory in the hierarchy of a version 1 controller.
fn own(of: &Instance<'_>, controller: &str) -> Option<PathBuf> {
    let mut pieces = of.pieces_of("rctl", CGROUP1);
    pieces.find(|p| p.text("controller") == Some(controller)).map(|p| PathBuf::from(&p.key))
}

/// The directories that the jail's processes are in, by version 1 controller: its own, else its nearest
/// ancestor's.
fn legacy(of: &Instance<'_>) -> BTreeMap<String, PathBuf> {
    let mut dirs = of.parent.map(legacy).unwrap_or_default();
    for piece in of.pieces_of("rctl", CGROUP1) {
        if let Some(controller) = piece.text("controller") {
            dirs.insert(controller.to_owned(), PathBuf::from(&piece.key));
        }
    }
    dirs
}

/// The directories below one, the deepest first; none if it is gone.
fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path());
    dirs.flat_map(|d| below(&d).into_iter().chain([d])).collect()
}

/// Removes an empty cgroup; one that is gone is success. Busy: its last processes are zombies still, or an
/// interrupted removal is under way.
fn remove(dir: &Path, deadline: Instant) -> Result<()> {
    loop {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                sleep(Duration::from_millis(2));
            }
            other => return other.doing_with(|| format!("cannot remove the cgroup {}", dir.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::Toy;

    fn instance<'a>(
        jid: u32,
        settings: &'a Settings,
        pieces: &'a [Piece],
        parent: Option<&'a Instance<'a>>,
    ) -> Instance<'a> {
        Instance { name: "web", jid, settings, parent, pieces, fds: vimage::Fds::default(), house: &Toy }
    }

    fn own_piece(dir: &str, controller: &str) -> Piece {
        Piece { subsystem: "rctl".into(), ..piece(Path::new(dir), controller) }
    }

    #[test]
    fn each_limit_is_a_parameter() {
        let limits = LIMITS.each_ref().map(|l| l.param);
        assert_eq!(limits, PARAMS.each_ref().map(|p| p.name));
    }

    #[test]
    fn processes_enter_the_nearest_directory_of_each_controller() {
        let settings = Settings::default();
        let parents = [own_piece("/m/jail/1", "memory"), own_piece("/p/jail/1", "pids")];
        let children = [own_piece("/m/jail/1/2", "memory")];
        let parent = instance(1, &settings, &parents, None);
        let child = instance(2, &settings, &children, Some(&parent));
        let acts = RCTL.enter(&child, Entry::Joining).unwrap();
        let paths: Vec<_> = acts
            .iter()
            .map(|act| match act {
                Act::Step(Stage::User, Step::Write(path, bytes)) if bytes == b"0" => path.to_str().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(paths, ["/m/jail/1/2/cgroup.procs", "/p/jail/1/cgroup.procs"]);
        assert_eq!(own(&child, "pids"), None);
    }

    #[test]
    fn what_is_gone_is_undone_and_what_holds_files_is_not() {
        let dir = std::env::temp_dir().join(format!("rctl-{}", std::process::id()));
        fs::create_dir_all(dir.join("1/2")).unwrap();
        assert_eq!(below(&dir), [dir.join("1/2"), dir.join("1")]);
        let now = Instant::now();
        assert!(remove(&dir.join("1"), now).is_err());
        assert!(remove(&dir.join("1/2"), now).is_ok() && remove(&dir.join("1/2"), now).is_ok());
        assert!(!RCTL.exists(&piece(&dir.join("1/2"), "pids"), &Toy).unwrap());
        assert!(RCTL.exists(&piece(&dir.join("1"), "pids"), &Toy).unwrap());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_limit_without_controller_names_it() {
        let error = home(&Hierarchies::default(), &LIMITS[0]).unwrap_err();
        let text = "rctl.memoryuse: no cgroup controller can limit it on this host (memory)";
        assert_eq!((error.to_string().as_str(), error.kind()), (text, ErrorKind::Unsupported));
    }
}
