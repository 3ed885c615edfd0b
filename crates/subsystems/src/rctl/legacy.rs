//! A jail's own directories in version 1 hierarchies.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use vimage::{Context as _, Cost, Instance, Piece, Result, Site};

use super::limit::Limit;

/// The piece of a directory in a version 1 hierarchy: its key is the path, since each is one of its own;
/// its data the controller.
pub(super) const CGROUP1: &str = "cgroup1";
/// What that is for the kernel.
pub(super) const OBJECTS: &[(&str, &str)] = &[(CGROUP1, "cgroup (version 1)")];

/// How long a directory is tried to be removed while its last processes end.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Makes the jail's directory in the hierarchy of a version 1 controller, and moves the jail's processes in,
/// if it has some already.
pub(super) fn make(site: &mut Site<'_>, base: &Path, limit: &Limit) -> Result<PathBuf> {
    let common = base.join(site.house.mark());
    let nests = limit.seeds.is_empty();
    let parents = dirs(&site.instance()).remove(limit.legacy_controller()).filter(|_| nests);
    let above = parents.unwrap_or_else(|| common.clone());
    let dir = above.join(site.jid.to_string());
    site.make(piece(&dir, limit.legacy_controller()), || {
        let make = || {
            fs::create_dir_all(&dir)?;
            [&common, &dir].into_iter().try_for_each(|dir| seed(dir, limit.seeds))
        };
        make().doing_with(|| format!("cannot make the cgroup {}", dir.display()))
    })?;
    if let Some(anchor) = site.instance().anchor("cgroup") {
        move_all(Path::new(anchor.object()), &dir, &above)?;
    }
    Ok(dir)
}

/// Fills what must not be empty from the directory above.
fn seed(dir: &Path, files: &[&str]) -> io::Result<()> {
    for file in files {
        let path = dir.join(file);
        if fs::read_to_string(&path)?.trim().is_empty() {
            fs::write(&path, fs::read(dir.with_file_name(file))?)?;
        }
    }
    Ok(())
}

/// Moves the processes of a jail that lives on out of its directory: to where they were before it was made.
pub(super) fn leave(of: &Instance<'_>, dir: &Path, controller: &str) -> Result<()> {
    let parents = of.parent.and_then(|parent| dirs(parent).remove(controller));
    // Above it is the common directory of the jails, which has no processes, and above that the top.
    let Some(to) = parents.or_else(|| dir.ancestors().nth(2).map(Path::to_owned)) else { return Ok(()) };
    for from in below(dir).into_iter().chain([dir.to_owned()]) {
        move_all(&from, &to, &to.join("nowhere"))?;
    }
    Ok(())
}

pub(super) fn piece(dir: &Path, controller: &str) -> Piece {
    Piece::new(CGROUP1, dir.to_string_lossy()).with(BTreeMap::from([("controller", controller)]))
}

/// Moves the processes of a cgroup and those below it, again while there are new ones: a process forks into
/// its own cgroup. Whoever is in a directory below `above` already belongs to a child jail with a limit of
/// its own, and keeps that.
fn move_all(from: &Path, to: &Path, above: &Path) -> Result<()> {
    let target = to.join("cgroup.procs");
    let mut settled: Option<Vec<String>> = None;
    loop {
        let dirs = below(from).into_iter().chain([from.to_owned()]);
        let mut new: Vec<String> = dirs.flat_map(|d| pids(&d)).collect();
        // A jail that is being made has none, and need not look at all the others.
        if new.is_empty() {
            return Ok(());
        }
        let settled = settled.get_or_insert_with(|| below(above).iter().flat_map(|d| pids(d)).collect());
        new.retain(|pid| !settled.contains(pid));
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
        settled.extend(new);
    }
}

/// The processes of a cgroup; without those that we cannot see, whose 0 would stand for ourselves.
fn pids(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter(|pid| *pid != "0").map(str::to_owned).collect()
}

/// What a directory costs: the processes that it limits, and what is charged to it. They are in other hierarchies, too, so
/// that the controller is named.
pub(super) fn cost(dir: &Path, controller: &str) -> Cost {
    let dirs = below(dir).into_iter().chain([dir.to_owned()]);
    let limited: usize = dirs.map(|dir| pids(&dir).len()).sum();
    let charged = fs::read_to_string(dir.join("memory.usage_in_bytes")).unwrap_or_default();
    Cost::default()
        .count(
            limited as u64,
            format!("process limited by {controller}"),
            format!("processes limited by {controller}"),
        )
        .bytes(charged.trim().parse().unwrap_or(0), "charged memory")
}

/// The jail's own directory in the hierarchy of a version 1 controller.
pub(super) fn own(of: &Instance<'_>, controller: &str) -> Option<PathBuf> {
    let mut pieces = of.pieces_of("rctl", CGROUP1);
    pieces.find(|p| p.text("controller") == Some(controller)).map(|p| PathBuf::from(&p.key))
}

/// The directories that the jail's processes are in, by version 1 controller: its own, else its nearest
/// ancestor's.
pub(super) fn dirs(of: &Instance<'_>) -> BTreeMap<String, PathBuf> {
    let mut found = of.parent.map(dirs).unwrap_or_default();
    for piece in of.pieces_of("rctl", CGROUP1) {
        if let Some(controller) = piece.text("controller") {
            found.insert(controller.to_owned(), PathBuf::from(&piece.key));
        }
    }
    found
}

/// The directories below one, the deepest first; none if it is gone.
pub(super) fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path());
    dirs.flat_map(|d| below(&d).into_iter().chain([d])).collect()
}

/// Removes an empty cgroup; one that is gone is success. Busy: its last processes are zombies still, or an
/// interrupted removal is under way.
pub(super) fn remove(dir: &Path, deadline: Instant) -> Result<()> {
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
    use kernel::{
        act::Act,
        step::{Stage, Step},
    };
    use vimage::{Entry, Settings, Subsystem as _};

    use super::*;
    use crate::{host::tests::Toy, rctl::RCTL};

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
    fn what_must_not_be_empty_is_taken_from_above() {
        let top = std::env::temp_dir().join(format!("seed-{}", std::process::id()));
        fs::create_dir_all(top.join("common")).unwrap();
        for (file, text) in
            [("cpus", "0-3\n"), ("mems", "0\n"), ("common/cpus", "2\n"), ("common/mems", "\n")]
        {
            fs::write(top.join(file), text).unwrap();
        }
        seed(&top.join("common"), &["cpus", "mems"]).unwrap();
        let text = |file: &str| fs::read_to_string(top.join("common").join(file)).unwrap();
        assert_eq!((text("cpus"), text("mems")), ("2\n".into(), "0\n".into()));
        assert!(seed(&top.join("common"), &["nosuch"]).is_err());
        fs::remove_dir_all(top).unwrap();
    }

    #[test]
    fn only_visible_processes_that_are_not_settled_move() {
        let top = std::env::temp_dir().join(format!("move-{}", std::process::id()));
        let (from, to) = (top.join("from"), top.join("to"));
        for dir in [&from.join("child"), &to, &top.join("above/2")] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(from.join("cgroup.procs"), "0\n12\n").unwrap();
        fs::write(from.join("child/cgroup.procs"), "34\n").unwrap();
        fs::write(top.join("above/2/cgroup.procs"), "34\n").unwrap();
        move_all(&from, &to, &top.join("above")).unwrap();
        assert_eq!(fs::read_to_string(to.join("cgroup.procs")).unwrap(), "12");
        fs::remove_dir_all(top).unwrap();
    }
}
