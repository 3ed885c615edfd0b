//! The devices of the host: what is in its /dev, and of which class that is.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Component, Path},
};

use conf::devfs::Class;
use rustix::fs::{major, minor};
use vimage::{Context as _, Result};

use super::super::dev;

/// Character devices through which disks are read and written, by the names of their drivers in /proc/devices.
const DISKS: &[&str] = &["sg", "bsg", "nvme", "nvme-generic", "mtd", "raw", "ublk-char", "ndctl", "dimmctl"];
/// Those through which memory is.
const MEMORY: &[&str] = &["dax", "cpu/msr", "uio"];
/// Minor numbers of the driver `mem`: mem, kmem, port and oldmem. devices.txt of the kernel.
const MEM: (u32, &[u32]) = (1, &[1, 2, 4, 12]);
/// Tapes.
const TAPES: &[&str] = &["st", "osst"];

/// A device of the host's.
#[derive(Debug)]
pub(super) struct Device {
    /// Its path below /dev.
    pub(super) path: String,
    /// Its major and minor number.
    pub(super) number: (u32, u32),
    /// Its class.
    pub(super) class: Option<Class>,
    /// The permissions that it has on the host.
    pub(super) mode: u32,
    /// Its owner there.
    pub(super) uid: u32,
    /// Its group there.
    pub(super) gid: u32,
}

/// Devices below /dev, sorted: all, or those of these paths. What every jail has of its own is not among them.
///
/// # Errors
/// /dev cannot be read.
pub(super) fn devices(names: Option<&BTreeSet<&str>>) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    if let Some(names) = names {
        let is_plain = |path: &&&str| Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
        for path in names.iter().filter(is_plain).filter(|path| !dev::is_own(path)) {
            found.extend(fs::symlink_metadata(Path::new("/dev").join(path)).map(|m| ((*path).to_owned(), m)));
        }
    } else {
        let doing = "cannot read /dev";
        let system = fs::metadata("/dev").doing(doing)?.dev();
        let mut dirs = vec![String::new()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(Path::new("/dev").join(&dir)).doing(doing)?.flatten() {
                let Ok(meta) = entry.metadata() else { continue };
                let path = format!("{dir}{}", entry.file_name().to_string_lossy());
                // Another file system in it is none of devices.
                if meta.is_dir() && meta.dev() == system {
                    dirs.push(path + "/");
                } else {
                    found.push((path, meta));
                }
            }
        }
    }
    let is_device =
        |meta: &fs::Metadata| meta.file_type().is_char_device() || meta.file_type().is_block_device();
    found.retain(|(path, meta)| is_device(meta) && !dev::is_own(path));
    if found.is_empty() {
        return Ok(Vec::new());
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let drivers = Drivers::read()?;
    let device = |(path, meta): (String, fs::Metadata)| {
        let number = (major(meta.rdev()), minor(meta.rdev()));
        let is_block = meta.file_type().is_block_device();
        let class = if is_block { Some(Class::Disk) } else { drivers.class(number) };
        Device { path, number, class, mode: meta.mode() & 0o777, uid: meta.uid(), gid: meta.gid() }
    };
    Ok(found.into_iter().map(device).collect())
}

/// Which driver has which character devices.
#[derive(Debug, Default)]
struct Drivers {
    /// /proc/devices: major number and name.
    names: Vec<(u32, String)>,
    /// /proc/tty/drivers: major number, first and last minor number.
    terminals: Vec<(u32, u32, u32)>,
}

impl Drivers {
    fn read() -> Result<Self> {
        let read = |path| fs::read_to_string(path).doing_with(|| format!("cannot read {path}"));
        // A kernel may be without terminals.
        Ok(Self::parse(&read("/proc/devices")?, &read("/proc/tty/drivers").unwrap_or_default()))
    }

    fn parse(devices: &str, terminals: &str) -> Self {
        let characters = devices.lines().take_while(|line| !line.starts_with("Block"));
        let name = |line: &str| {
            let (major, name) = line.trim().split_once(' ')?;
            Some((major.parse().ok()?, name.trim().to_owned()))
        };
        let terminal = |line: &str| {
            let mut fields = line.split_whitespace().skip(2);
            let (major, minors) = (fields.next()?.parse().ok()?, fields.next()?);
            let (first, last) = minors.split_once('-').unwrap_or((minors, minors));
            Some((major, first.parse().ok()?, last.parse().ok()?))
        };
        Self {
            names: characters.filter_map(name).collect(),
            terminals: terminals.lines().filter_map(terminal).collect(),
        }
    }

    /// The class of a character device.
    fn class(&self, (major, minor): (u32, u32)) -> Option<Class> {
        let is_of = |drivers: &[&str]| {
            self.names.iter().any(|(own, name)| *own == major && drivers.contains(&name.as_str()))
        };
        let is_terminal =
            |(own, first, last): &(u32, u32, u32)| *own == major && (*first..=*last).contains(&minor);
        match () {
            () if is_of(DISKS) => Some(Class::Disk),
            () if is_of(MEMORY) || (major == MEM.0 && MEM.1.contains(&minor)) => Some(Class::Mem),
            () if is_of(TAPES) => Some(Class::Tape),
            () if self.terminals.iter().any(is_terminal) => Some(Class::Tty),
            () => None,
        }
    }
}

/// The number of a name in passwd(5) or group(5).
///
/// # Errors
/// The file cannot be read.
pub(super) fn number(file: &str, name: &str) -> Result<Option<u32>> {
    let text = fs::read(file).doing_with(|| format!("cannot read {file}"))?;
    Ok(find(&String::from_utf8_lossy(&text), name))
}

fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().map(|line| line.split(':')).find_map(|mut fields| {
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_that_of_the_driver() {
        let devices = "Character devices:\n  1 mem\n  4 tty\n  9 st\n 10 misc\n 21 sg\n202 cpu/msr\n\nBlock devices:\n  8 sd\n 10 sg\n";
        let terminals = "serial   /dev/ttyS   4 64-95 serial\nunknown  /dev/tty   4 1-63 console\n";
        let drivers = Drivers::parse(devices, terminals);
        for (major, minor, class) in [
            (1, 1, Some(Class::Mem)),
            (1, 3, None),
            (1, 4, Some(Class::Mem)),
            (4, 64, Some(Class::Tty)),
            (4, 0, None),
            (9, 0, Some(Class::Tape)),
            (10, 229, None),
            (21, 0, Some(Class::Disk)),
            (202, 7, Some(Class::Mem)),
        ] {
            assert_eq!(drivers.class((major, minor)), class, "{major}:{minor}");
        }
    }

    #[test]
    fn names_are_found_in_the_first_field() {
        let text = "root:x:0:0:\nbroken\nkvm:x:107:ann\nann:x:y:\n";
        assert_eq!([find(text, "kvm"), find(text, "ann"), find(text, "0")], [Some(107), None, None]);
    }

    #[test]
    fn a_path_that_leads_out_is_no_device() {
        let names = ["../dev/mem", "/dev/mem", "null", "pts/0", "nosuch"].into();
        assert!(devices(Some(&names)).unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(devices in ".*", terminals in "([a-z/]* ?[0-9-]* ?){0,8}", number in proptest::prelude::any::<(u32, u32)>()) {
            Drivers::parse(&devices, &terminals).class(number);
            find(&devices, &terminals);
        }
    }
}
