//! `rctl.*` and `cpuset.cpus`: limits of a jail's memory, processes, processor time and processors, by whichever cgroup hierarchy has the
//! controller (cgroups(7)).
//!
//! In a version 2 hierarchy the limits are files of the jail's own directory. A version 1 controller has a
//! hierarchy of its own: there the jail gets a directory, below its parent's if that has one, and every
//! process that enters the jail enters it.

pub mod hierarchy;
mod legacy;
pub mod limit;

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    time::Instant,
};

use kernel::{
    act::Act,
    step::{Stage, Step},
};
use vimage::{
    Ask, Child, Context as _, Cost, Doomed, Entry, Error, ErrorKind, House, Instance, Kind, Known, Lack,
    Param, Piece, Result, Settings, Site, Subsystem, Support,
};

use hierarchy::{Hierarchies, Home};
use legacy::{CGROUP1, PATIENCE};
use limit::{LAST_CPU, LIMITS, Limit};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Rctl;

/// Its instance for registries.
pub static RCTL: Rctl = Rctl;

static PARAMS: [Param; 4] = [
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
        kind: Kind::Percent { min: 1, max: 1_000_000 },
        child: Child::AtMost,
        help: "how much processor time the jail may use, in percent of one processor",
        doc: "The share of processor time of all the jail's processes together in percent; 100 is one processor, \
              200 two: cpu.max, or cpu.cfs_quota_us, over a tenth of a second. What is above \
              waits. 50 and 50% are the same.",
        ..Param::BASE
    },
    Param {
        name: "cpuset.cpus",
        kind: Kind::Numbers { max: LAST_CPU },
        child: Child::Subset,
        help: "which processors the jail may use",
        doc: "The processors that the jail's processes run on, a list such as 0-3,8: cpuset.cpus. They can choose \
              among these and no others, sched_setaffinity(2). What cpuset -l is on FreeBSD.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Rctl {
    fn name(&self) -> &'static str {
        "rctl"
    }

    fn about(&self) -> &'static str {
        "limits of memory, processes, processor time and processors"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn probe(&self) -> Support {
        let hierarchies = Hierarchies::read().unwrap_or_default();
        let lacks = LIMITS.iter().filter(|l| hierarchies.home(l.controller).is_none());
        let lacks: Vec<_> = lacks.map(|l| Lack { what: l.lack, hint: l.without, denies: &[] }).collect();
        if lacks.is_empty() { Support::Full } else { Support::Lacks(lacks) }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        let mut given = LIMITS.iter().filter(|l| ask.settings.get(l.param).is_some()).peekable();
        if given.peek().is_none() {
            return Ok(());
        }
        if ask.settings.int("rctl.memoryuse") == Some(0) {
            let error = Error::usage("rctl.memoryuse: value out of range \"0\"");
            return Err(error.hint("at least 1"));
        }
        let hierarchies = Hierarchies::read()?;
        given.try_for_each(|limit| {
            let home = home(&hierarchies, limit)?;
            // What was there once may be gone, and is no reason to refuse a change of something else.
            ask.given.get(limit.param).map_or(Ok(()), |value| match &home {
                Home::Unified(top) => limit.unified.check(top, limit.param, value),
                Home::Legacy(top) => limit.legacy.check(top, limit.param, value),
            })
        })
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        let given: Vec<_> = LIMITS.iter().filter(|l| site.settings.get(l.param).is_some()).collect();
        apply(site, &given)?;
        // From the start, so that the root of the jail's cgroup namespace is there in every hierarchy.
        joins(&site.instance())
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

    fn inspect(&self, of: &Instance<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        let mut live = Settings::default();
        for limit in LIMITS.iter().filter(|l| wanted(l.param) && of.settings.get(l.param).is_some()) {
            let (dir, format) = match legacy::own(of, limit.controller) {
                Some(dir) => (dir, &limit.legacy),
                None => match of.anchor("cgroup") {
                    Some(anchor) => (PathBuf::from(anchor.object()), &limit.unified),
                    None => continue,
                },
            };
            match limit::read(&dir, format) {
                Ok(Some(value)) => drop(live.set(limit.param, value)),
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
        let one = |d: &Doomed<'_>| {
            let dir = Path::new(&d.piece.key);
            if d.alone {
                legacy::leave(d.of, dir, d.piece.text("controller").unwrap_or_default())?;
            }
            legacy::remove(dir, deadline)
        };
        let gone = doomed.iter().map(one).collect();
        for above in doomed.iter().filter_map(|d| Path::new(&d.piece.key).parent()) {
            // The common directory goes with the last jail; while there are others it is not empty.
            let _others_are_there = std::fs::remove_dir(above);
        }
        gone
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Path::new(&piece.key).try_exists().doing_with(|| format!("cannot look for {}", piece.key))
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let hierarchies = Hierarchies::read()?;
        let mut strays = Vec::new();
        for limit in &LIMITS {
            let Some(base) = hierarchies.legacy(limit.controller) else { continue };
            let dirs = legacy::below(&base.join(house.mark()));
            let pieces = dirs.into_iter().map(|dir| legacy::piece(&dir, limit.controller));
            strays.extend(pieces.filter(|p| !known.has("rctl", CGROUP1, &p.key)));
        }
        Ok(strays)
    }

    fn cost(&self, piece: &Piece, _house: &dyn House) -> Cost {
        legacy::cost(Path::new(&piece.key), piece.text("controller").unwrap_or_default())
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        legacy::OBJECTS
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
    legacy::dirs(of).into_values().map(join).collect()
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
        let value = site.settings.get(limit.param).cloned();
        match home(&hierarchies, limit)? {
            Home::Legacy(base) => {
                let dir = match legacy::own(&site.instance(), limit.controller).filter(|d| d.exists()) {
                    Some(dir) => dir,
                    // An update that failed before it made the directory is changed back.
                    None if value.is_none() => continue,
                    None => legacy::make(site, &base, limit).doing(limit.param)?,
                };
                let above = dir.parent().unwrap_or(&base);
                limit::write(&dir, above, &limit.legacy, value.as_ref()).doing(limit.param)?;
            }
            Home::Unified(top) => {
                let Some(dir) = site.instance().anchor("cgroup").map(|a| PathBuf::from(a.object())) else {
                    return Err(
                        Error::new(ErrorKind::Failed, "no cgroup of the jail's own").doing(limit.param)
                    );
                };
                hierarchy::enable(&dir, limit.controller).doing(limit.param)?;
                limit::write(&dir, &top, &limit.unified, value.as_ref()).doing(limit.param)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_a_parameter() {
        let limits = LIMITS.each_ref().map(|l| l.param);
        assert_eq!(limits, PARAMS.each_ref().map(|p| p.name));
    }

    #[test]
    fn a_limit_without_controller_names_it() {
        let error = home(&Hierarchies::default(), &LIMITS[0]).unwrap_err();
        let text = "rctl.memoryuse: no cgroup controller can limit it on this host (memory)";
        assert_eq!((error.to_string().as_str(), error.kind()), (text, ErrorKind::Unsupported));
    }
}
