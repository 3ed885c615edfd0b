//! `rctl.*` and `cpuset.cpus`: limits of what a jail uses. What it uses as a whole is limited by whichever cgroup hierarchy
//! has the controller (cgroups(7)), what each of its processes uses by setrlimit(2). Its System V objects, which are
//! counted by its ipc namespace, are limited by the subsystems of these: [`crate::sysvipc`].
//!
//! In a version 2 hierarchy the limits are files of the jail's own directory. A version 1 controller has a
//! hierarchy of its own: there the jail gets a directory, below its parent's if that has one, and every
//! process that enters the jail enters it.
//!
//! Rules (rctl(8)) are said of a jail's name and kept apart from jails ([`rules`]). A jail has those that it is under among
//! its values, so that to change them is to change the jail: of a parameter and the rules of its resource the strictest
//! counts ([`rule::least`]).

pub mod hierarchy;
mod legacy;
pub mod limit;
mod params;
mod process;
pub mod resource;
pub mod rule;
pub mod rules;
pub mod usage;

use std::{
    collections::BTreeSet,
    ffi::CString,
    path::{Path, PathBuf},
    time::Instant,
};

use kernel::{
    act::Act,
    step::{Stage, Step},
};
use vimage::{
    Ask, Context as _, Cost, Doomed, Entry, Error, ErrorKind, House, Instance, Known, Lack, Param, Piece,
    Result, Settings, Site, Subsystem, Support, Value,
};

use hierarchy::{Hierarchies, Home};
use legacy::{CGROUP1, PATIENCE};
use limit::{Format, LIMITS, Limit};
use params::PARAMS;
use resource::{RESOURCES, Resource, TERMINALS};
use rule::{RULES, is_said, least};

use crate::root::terminals;

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Rctl;

/// Its instance for registries.
pub static RCTL: Rctl = Rctl;

impl Subsystem<Act> for Rctl {
    fn name(&self) -> &'static str {
        "rctl"
    }

    fn about(&self) -> &'static str {
        "limits of memory, processes, processor time, devices and processors"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn after(&self) -> &'static [&'static str] {
        &["root"]
    }

    fn probe(&self) -> Support {
        let hierarchies = Hierarchies::read().unwrap_or_default();
        let lacks = LIMITS.iter().filter(|l| home(&hierarchies, l).is_err());
        let lacks: Vec<_> = lacks.map(|l| Lack { what: l.lack, hint: l.without, denies: &[] }).collect();
        if lacks.is_empty() { Support::Full } else { Support::Lacks(lacks) }
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        // One that is damaged is told of by rctl(8), and keeps no jail from being made.
        let own = rules::read(ask.house).unwrap_or_default().rules.into_iter().filter(|r| r.jail == ask.name);
        let parents = ask.above.into_iter().flat_map(rule::rules).filter(|r| r.resource.apart);
        let all: Vec<_> = parents.chain(own).map(|rule| rule.to_string()).collect();
        match all.is_empty() {
            true => ask.settings.remove(RULES),
            false => ask.settings.set(RULES, Value::List(all)),
        };
        let Some(above) = ask.above.filter(|_| ask.living.is_none()) else { return };
        for param in apart() {
            if let (None, Some(limit)) = (ask.settings.get(param), above.get(param)) {
                ask.settings.set(param, limit.clone());
            }
        }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        for resource in &RESOURCES {
            if let Some(less) = ask.settings.int(resource.param).filter(|n| *n < resource.least) {
                let error = Error::usage(format!("{}: value out of range \"{less}\"", resource.param));
                return Err(error.hint(format!("at least {}", resource.least)));
            }
        }
        let mut given = LIMITS.iter().filter(|l| l.value(&ask.settings).is_some()).peekable();
        if given.peek().is_none() {
            return Ok(());
        }
        let hierarchies = Hierarchies::read()?;
        given.try_for_each(|limit| {
            let (Home::Unified(top) | Home::Legacy(top), format) = home(&hierarchies, limit)?;
            // What was there once may be gone, and is no reason to refuse a change of something else.
            ask.given.get(limit.name()).map_or(Ok(()), |value| format.check(&top, limit.name(), value))
        })
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        let given: Vec<_> = LIMITS.iter().filter(|l| l.value(site.settings).is_some()).collect();
        apply(site, &given)?;
        // From the start, so that the root of the jail's cgroup namespace is there in every hierarchy.
        joins(&site.instance())
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        match least(site.settings, &[TERMINALS]) {
            Some(most) => terminals::limit(&site.instance(), Some(most)).doing(TERMINALS),
            None => Ok(()),
        }
    }

    fn enter(&self, of: &Instance<'_>, how: Entry) -> Result<Vec<Act>> {
        let mut acts = if how == Entry::Born { Vec::new() } else { joins(of)? };
        acts.extend(process::steps(of.settings));
        Ok(acts)
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        let changed: Vec<_> = LIMITS.iter().filter(|l| l.value(site.settings) != l.value(old)).collect();
        apply(site, &changed)?;
        process::update(&site.instance(), old)?;
        let terminals = least(site.settings, &[TERMINALS]);
        if terminals != least(old, &[TERMINALS]) {
            terminals::limit(&site.instance(), terminals).doing(TERMINALS)?;
        }
        Ok(Vec::new())
    }

    fn inspect(&self, of: &Instance<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        let mut live = Settings::default();
        let is_wanted = |param: &&&str| wanted(param) && is_said(of.settings, param);
        for param in apart().filter(|param| is_wanted(&param)) {
            live.set(param, Value::Int(least(of.settings, &[param]).unwrap_or_default()));
        }
        for limit in &LIMITS {
            let params: Vec<_> = limit.params.iter().filter(is_wanted).collect();
            if params.is_empty() {
                continue;
            }
            let (dir, format) = match (legacy::own(of, limit.legacy_controller()), &limit.legacy) {
                (Some(dir), Some(format)) => (dir, format),
                _ => match of.anchor("cgroup") {
                    Some(anchor) => (PathBuf::from(anchor.object()), &limit.unified),
                    None => continue,
                },
            };
            match limit::read(&dir, format) {
                Ok(value) => {
                    for param in params {
                        match value.clone() {
                            Some(value) => live.set(param, value),
                            None => live.remove(param),
                        };
                    }
                }
                // The jail is on its way out.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e.doing(limit.name())),
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
        let controllers: BTreeSet<_> = LIMITS.iter().map(Limit::legacy_controller).collect();
        for controller in controllers {
            let Some(base) = hierarchies.legacy(controller) else { continue };
            let dirs = legacy::below(&base.join(house.mark()));
            let pieces = dirs.into_iter().map(|dir| legacy::piece(&dir, controller));
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

/// The parameters of what is each jail's own, and not counted in the one that it is in; but for System V objects.
fn apart() -> impl Iterator<Item = &'static str> {
    process::ROWS.iter().map(|(param, _)| *param).chain([TERMINALS])
}

/// Where a limit is enforced, and the file of it there.
fn home(hierarchies: &Hierarchies, limit: &'static Limit) -> Result<(Home, &'static Format)> {
    match (hierarchies.home(limit.controller, limit.legacy_controller()), &limit.legacy) {
        (Some(unified @ Home::Unified(_)), _) => Ok((unified, &limit.unified)),
        (Some(legacy @ Home::Legacy(_)), Some(format)) => Ok((legacy, format)),
        (Some(Home::Legacy(_)), None) => {
            let what = format!("version 1 of the cgroup controller {} cannot limit it", limit.controller);
            Err(Error::unsupported(format!("{}: {what}", limit.name()))
                .hint("it limits memory and swap together; a host with version 2 alone has a limit of each"))
        }
        (None, _) => {
            let what = format!("no cgroup controller can limit it on this host ({})", limit.controller);
            Err(Error::unsupported(format!("{}: {what}", limit.name()))
                .hint("the kernel may have it switched off at boot"))
        }
    }
}

/// Whether this host can honour a rule of a resource.
///
/// # Errors
/// It lacks what limits it.
pub fn admit(resource: &Resource) -> Result<()> {
    let Some(limit) = LIMITS.iter().find(|limit| limit.params.contains(&resource.param)) else {
        return Ok(());
    };
    home(&Hierarchies::read()?, limit).map(drop)
}

/// Writes limits; a jail's own directories in version 1 hierarchies are made where they are missing.
fn apply(site: &mut Site<'_>, limits: &[&'static Limit]) -> Result<()> {
    if limits.is_empty() {
        return Ok(());
    }
    let hierarchies = Hierarchies::read()?;
    for limit in limits {
        let value = limit.value(site.settings);
        match home(&hierarchies, limit)? {
            (Home::Legacy(base), format) => {
                let own = legacy::own(&site.instance(), limit.legacy_controller());
                let dir = match own.filter(|d| d.exists()) {
                    Some(dir) => dir,
                    // An update that failed before it made the directory is changed back.
                    None if value.is_none() => continue,
                    None => legacy::make(site, &base, limit).doing(limit.name())?,
                };
                let above = dir.parent().unwrap_or(&base);
                limit::write(&dir, above, format, value.as_ref()).doing(limit.name())?;
            }
            (Home::Unified(top), format) => {
                let Some(dir) = site.instance().anchor("cgroup").map(|a| PathBuf::from(a.object())) else {
                    return Err(
                        Error::new(ErrorKind::Failed, "no cgroup of the jail's own").doing(limit.name())
                    );
                };
                hierarchy::enable(&dir, limit.controller).doing(limit.name())?;
                limit::write(&dir, &top, format, value.as_ref()).doing(limit.name())?;
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
        let limits: BTreeSet<_> =
            LIMITS.iter().flat_map(|l| l.params).copied().chain(apart()).chain([RULES]).collect();
        assert_eq!(limits, PARAMS.iter().map(|p| p.name).collect());
    }

    #[test]
    fn a_limit_without_controller_names_it() {
        let error = home(&Hierarchies::default(), &LIMITS[0]).err().unwrap();
        let text = "rctl.memoryuse: no cgroup controller can limit it on this host (memory)";
        assert_eq!((error.to_string().as_str(), error.kind()), (text, ErrorKind::Unsupported));
    }
}
