//! Lines of fstab(5): what to mount in a jail.

use std::{os::fd::OwnedFd, path::Path};

use kernel::mount::{Attr, mount_setattr, unescape};
use rustix::{
    fs::AtFlags,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    },
};
use vimage::{Context as _, Error, Result, Settings};

use super::tree;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The device, directory or file.
    source: String,
    /// Where in the jail, from its root.
    pub(super) at: String,
    /// The type; `None` for a mount of the host's directory or file.
    kind: Option<String>,
    /// The attributes of the mount.
    attributes: MountAttrFlags,
    /// The options of the file system.
    options: Vec<String>,
}

/// What is being done with a file of lines, as jail(8) says it.
#[must_use]
pub fn file(path: &str) -> String {
    format!("mount.fstab: {path}")
}

/// All lines of a jail's settings, those of `mount.fstab` first.
///
/// # Errors
/// A line is malformed, or the file cannot be read.
pub(super) fn lines(settings: &Settings) -> Result<Vec<Line>> {
    let root = settings.text("path").unwrap_or("/");
    let mut lines = Vec::new();
    if let Some(path) = settings.text("mount.fstab").filter(|p| !p.is_empty()) {
        let text = std::fs::read_to_string(path).doing_with(|| file(path))?;
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            lines.push(parse(line, root).doing_with(|| file(path))?);
        }
    }
    for line in settings.list("mount") {
        lines.push(parse(line, root).doing("mount")?);
    }
    for line in &lines {
        if line.kind.is_none() {
            std::fs::metadata(&line.source).doing_with(|| format!("mount: {}", line.source))?;
        }
    }
    Ok(lines)
}

/// Reads a line. The mount point is below the jail's root; FreeBSD's way of writing it with the root in front
/// is understood, too.
fn parse(line: &str, root: &str) -> Result<Line> {
    let fields: Vec<_> = line.split_whitespace().map(unescape).collect();
    let wrong =
        |what: &str| Error::usage(format!("\"{line}\": {what}")).hint("SOURCE MOUNTPOINT TYPE [OPTIONS]");
    let (Some(source), Some(at), Some(kind)) = (fields.first(), fields.get(1), fields.get(2)) else {
        return Err(wrong("missing information"));
    };
    let at = match at.strip_prefix(root).filter(|_| root != "/") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => at,
    };
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    if !at.starts_with('/') || at[1..].trim_end_matches('/').split('/').any(odd) {
        return Err(wrong("the mount point is not an absolute path below the root"));
    }
    let kind = match kind.as_str() {
        "none" | "nullfs" | "bind" => None,
        other => Some(other.to_owned()),
    };
    if kind.is_none() && !source.starts_with('/') {
        return Err(wrong("the source is not an absolute path"));
    }
    let mut attributes = MountAttrFlags::empty();
    let mut options = Vec::new();
    for option in fields.get(3).map_or("", String::as_str).split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
            "nosuid" => attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
            "rw" | "bind" | "defaults" | "late" | "auto" => {}
            other if kind.is_some() => options.push(other.to_owned()),
            other => return Err(wrong(&format!("a mount of a directory has no option {other}"))),
        }
    }
    let at = at.trim_end_matches('/').to_owned();
    Ok(Line { source: source.clone(), at, kind, attributes, options })
}

impl Line {
    /// Mounts it, detached.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn mount(&self) -> Result<OwnedFd> {
        let doing = || format!("mount: cannot mount {} for {}", self.source, self.at);
        let Some(kind) = &self.kind else {
            let tree = tree::clone_one(Path::new(&self.source)).doing_with(doing)?;
            let attr = Attr { set: self.attributes, ..Attr::default() };
            mount_setattr(&tree, c"", AtFlags::EMPTY_PATH, &attr).doing_with(doing)?;
            return Ok(tree);
        };
        let make = || {
            let fs = fsopen(kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&fs, "source", self.source.as_str())?;
            for option in &self.options {
                match option.split_once('=') {
                    Some((name, value)) => fsconfig_set_string(&fs, name, value)?,
                    None => fsconfig_set_flag(&fs, option.as_str())?,
                }
            }
            if self.attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
                fsconfig_set_flag(&fs, "ro")?;
            }
            fsconfig_create(&fs)?;
            fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes)
        };
        make().doing_with(doing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_mounted_with_attributes() {
        let line = parse("/srv/my\\040pages /var/www none ro,nosuid", "/").unwrap();
        assert_eq!(
            (line.source.as_str(), line.at.as_str(), &line.kind),
            ("/srv/my pages", "/var/www", &None)
        );
        assert_eq!(line.attributes, MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID);
    }

    #[test]
    fn freebsds_way_of_writing_the_mount_point_is_understood() {
        assert_eq!(parse("/a /srv/jail/mnt/ nullfs rw", "/srv/jail").unwrap().at, "/mnt");
        assert_eq!(parse("/a /srv/jailhouse nullfs rw", "/srv/jail").unwrap().at, "/srv/jailhouse");
    }

    #[test]
    fn what_is_missing_or_leads_out_is_refused() {
        for bad in
            ["", "/a", "/a /b", "/a b none", "/a / none", "/a /b/../c none", "a /b none", "/a /b none suid"]
        {
            assert!(parse(bad, "/").is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in ".*", root in "/[a-z/]*") {
            drop(parse(&line, &root));
        }
    }
}
