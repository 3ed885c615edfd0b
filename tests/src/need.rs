//! What a test needs of the machine it runs on. A skip is never silent.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};

use crate::{cmd, guest, mounts};

/// Something that not every host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The privilege to make namespaces without a user namespace.
    Root,
    /// The permission to make a user namespace.
    Rootless,
    /// A cgroup v2 directory in which the test may make others.
    CgroupV2,
    /// A Debian for jails to run, and with it root: to unpack one is to make files of many owners.
    Debian,
    /// A program that the product has no part in.
    Program(&'static str),
    /// A kernel for virtual machines, as packages of Debian have it, with modules that are not compressed.
    GuestKernel,
    /// Linux of this version, or a later one.
    Kernel(u32, u32),
    /// A device that can be opened for reading and writing.
    Device(&'static str),
}

/// The word that `LAB_REQUIRE` has for it.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Rootless => f.write_str("rootless"),
            Self::CgroupV2 => f.write_str("cgroup2"),
            Self::Debian => f.write_str("debian"),
            Self::Program(name) | Self::Device(name) => f.write_str(name),
            Self::GuestKernel => f.write_str("guest-kernel"),
            Self::Kernel(..) => f.write_str("kernel"),
        }
    }
}

impl Need {
    /// Returns why this is missing in the lab we are in, if it is.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            // We are in a lab: its mode was possible, and what had to be brought was brought.
            Self::Root | Self::Rootless | Self::Debian => None,
            Self::CgroupV2 => cgroup2_missing(),
            Self::Program(name) => {
                let found =
                    cmd::PATH.split(':').any(|dir| fs::exists(format!("{dir}/{name}")).unwrap_or(false));
                (!found).then(|| format!("no program {name}"))
            }
            Self::GuestKernel => {
                guest::kernel().is_none().then(|| "no kernel in /boot with its modules".to_owned())
            }
            Self::Kernel(major, minor) => {
                let release = rustix::system::uname().release().to_string_lossy().into_owned();
                let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
                let here = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                (here < (major, minor)).then(|| format!("Linux {release} is older than {major}.{minor}"))
            }
            Self::Device(path) => {
                let opened = File::options().read(true).write(true).open(path);
                opened.err().map(|error| format!("{path}: {error}"))
            }
        }
    }
}

fn cgroup2_missing() -> Option<String> {
    let Some(root) = mounts::cgroup2() else {
        return Some("cgroup v2 is not mounted".to_owned());
    };
    let probe = root.join("probe");
    let made = fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe));
    made.err().map(|error| format!("{}: {error}", probe.display()))
}

/// Reports a skipped test, as loudly as can be done without failing it; where `LAB_REQUIRE` has the need, by failing it.
pub(crate) fn skip(test: &str, need: &str, reason: &str) {
    // Not by `eprintln!`, which the test harness swallows.
    writeln!(io::stderr(), "SKIP {test}: {reason}").expect("standard error is writable");
    if let Some(path) = std::env::var_os("LAB_SKIPS") {
        let file = File::options().append(true).create(true).open(&path);
        file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()))
            .unwrap_or_else(|error| panic!("LAB_SKIPS={}: {error}", path.display()));
    }
    let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == need), "{test}: LAB_REQUIRE has \"{need}\": {reason}");
}
