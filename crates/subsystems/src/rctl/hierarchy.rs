//! Which cgroup hierarchies there are, and where: /proc/PID/mountinfo (proc_pid_mountinfo(5)) and
//! /proc/PID/cgroup (cgroups(7)).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kernel::mount::unescape;
use vimage::{Context as _, Error, ErrorKind, Result};

/// The mounted cgroup hierarchies that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// The version 2 hierarchy's.
    unified: Option<PathBuf>,
    /// Version 1 controllers, each with its mount.
    legacy: Vec<(String, PathBuf)>,
}

/// Where a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the version 2 hierarchy, which is mounted here.
    Unified(PathBuf),
    /// In a version 1 hierarchy that is mounted here.
    Legacy(PathBuf),
}

/// A line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// What directory of the file system is mounted: of a cgroup, as seen from our cgroup namespace's root.
    root: String,
    /// Where.
    point: String,
    /// The file system's type.
    kind: String,
    /// The file system's options: a version 1 hierarchy's controllers among them.
    options: String,
}

impl Hierarchies {
    /// Those that this process sees.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read() -> Result<Self> {
        let read = |file: &str| fs::read_to_string(file).doing_with(|| format!("cannot read {file}"));
        Ok(Self::of(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?))
    }

    /// Those of the texts of /proc/PID/mountinfo and /proc/PID/cgroup.
    #[must_use]
    pub fn of(mountinfo: &str, cgroups: &str) -> Self {
        let mut found = Self::default();
        let own = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
        // A later mount covers an earlier one on the same point.
        for mount in mountinfo.lines().filter_map(parse) {
            let point = PathBuf::from(&mount.point);
            match mount.kind.as_str() {
                "cgroup2" if is_ours(&mount.root, own) => found.unified = Some(point),
                "cgroup" => {
                    for (controller, path) in cgroups.lines().flat_map(of_line) {
                        let is_its = mount.options.split(',').any(|o| o == controller);
                        if is_its && is_ours(&mount.root, Some(path)) {
                            found.legacy.retain(|(other, _)| other != controller);
                            found.legacy.push((controller.to_owned(), point.clone()));
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// The mount of a version 1 controller.
    #[must_use]
    pub fn legacy(&self, controller: &str) -> Option<&Path> {
        self.legacy.iter().find(|(c, _)| c == controller).map(|(_, point)| point.as_path())
    }

    /// Where a controller is, by its names in version 2 and in version 1; `None`: nowhere. A controller is in one
    /// hierarchy at a time.
    #[must_use]
    pub fn home(&self, controller: &str, legacy: &str) -> Option<Home> {
        let has = |point: &&PathBuf| {
            let controllers = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
            controllers.split_whitespace().any(|c| c == controller)
        };
        if let Some(point) = self.unified.as_ref().filter(has) {
            return Some(Home::Unified(point.clone()));
        }
        self.legacy(legacy).map(|point| Home::Legacy(point.to_owned()))
    }
}

/// Makes a controller available in a directory of the version 2 hierarchy, by enabling it in all directories
/// above. It stays enabled there: others may have come to rely on it.
///
/// # Errors
/// One of them has processes of its own, or does not have the controller itself.
pub fn enable(dir: &Path, controller: &str) -> Result<()> {
    let control = |d: &Path| d.join("cgroup.subtree_control");
    let above: Vec<_> = dir.ancestors().skip(1).take_while(|d| control(d).exists()).collect();
    for dir in above.into_iter().rev() {
        let file = control(dir);
        let doing = || format!("cannot enable the controller {controller} in {}", dir.display());
        let enabled = fs::read_to_string(&file).doing_with(doing)?;
        if enabled.split_whitespace().any(|c| c == controller) {
            continue;
        }
        let Err(e) = fs::write(&file, format!("+{controller}")) else { continue };
        return Err(match e.kind() {
            io::ErrorKind::ResourceBusy => Error::new(ErrorKind::Busy, "it has processes of its own")
                .hint("in version 2 a cgroup has processes or controlled cgroups, not both, cgroups(7)"),
            io::ErrorKind::NotFound => Error::unsupported("the controller is not available there")
                .hint("enable it in the cgroup.subtree_control above"),
            _ => return Err(e).doing_with(doing),
        }
        .doing(doing()));
    }
    Ok(())
}

/// Whether a mount can be used by a process in the cgroup `path`: it shows our namespace's root, or, in a
/// container without a cgroup namespace of its own, a directory that we are in. One that shows more than
/// our namespace (`/..`) cannot: the way back down is not known.
fn is_ours(root: &str, path: Option<&str>) -> bool {
    let is_above = root.split('/').any(|part| part == "..");
    let holds =
        |path: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    root == "/" || (!is_above && path.is_some_and(holds))
}

/// The version 1 controllers of a line of /proc/PID/cgroup, each with the path; several can share a hierarchy.
fn of_line(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = line.split_once(':').and_then(|(_, rest)| rest.split_once(':'));
    let named = fields.filter(|(controllers, _)| !controllers.is_empty());
    named.into_iter().flat_map(|(controllers, path)| controllers.split(',').map(move |c| (c, path)))
}

/// A line of mountinfo; `None`: it is none.
fn parse(line: &str) -> Option<Mount> {
    // Optional fields come before the dash, any number of them.
    let (mount, super_block) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let mut super_block = super_block.split(' ');
    Some(Mount {
        root: unescape(mount.next()?),
        point: unescape(mount.next()?),
        kind: unescape(super_block.next()?),
        options: super_block.nth(1)?.to_owned(),
    })
}

#[cfg(test)]
mod tests;
