//! Trees of Debian for jails to have as their roots. Each is made of the packages below by mmdebstrap(1): once, outside
//! every lab, since a lab has no network. The archive stays beside the build; a lab unpacks it as often as it likes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is installed. The archive is named by this, so that a change of it makes a new one.
const PACKAGES: &str = "postgresql-15,postgresql-contrib,nginx-light,curl,iperf3,iproute2";

/// Tells the lab where the archive is.
pub(crate) const ARCHIVE: &str = "VIMAGE_DEBIAN";

/// Tells the lab where to unpack it.
pub(crate) const ROOM: &str = "VIMAGE_DEBIAN_ROOM";

/// What nobody reads in a test.
const WITHOUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Run in the new tree before PostgreSQL is installed, which makes a cluster of its own otherwise.
const NO_CLUSTER: &str = r#"mkdir "$1/etc/postgresql-common" &&
    echo create_main_cluster = false > "$1/etc/postgresql-common/createcluster.conf""#;

/// Returns the archive, made if it is not there yet, or why it cannot be made.
pub(crate) fn archive() -> Result<PathBuf, String> {
    // Who comes while it is made waits; who comes after a failure tries again.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let archive = shelf().join(format!("{}.tar", PACKAGES.replace(',', "+")));
    if !archive.exists() {
        make(&archive)?;
    }
    Ok(archive)
}

/// Returns `target/PROFILE/debian-trees`: on the real disk, unlike a lab's /tmp, and beside the binaries, which a lab
/// sees wherever they are.
fn shelf() -> PathBuf {
    let exe = std::env::current_exe().expect("the test binary has a path");
    exe.ancestors().nth(2).expect("the test binary is in target/PROFILE/deps").join("debian-trees")
}

fn make(archive: &Path) -> Result<(), String> {
    fs::create_dir_all(shelf()).map_err(|error| format!("{}: {error}", shelf().display()))?;
    // Another run may be making it at the same time: whoever is first is as good as the last.
    let part = archive.with_extension(format!("{}.part", process::id()));
    let words = format!("--mode=root --variant=minbase --format=tar --quiet --include={PACKAGES}");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(words.split(' ')).arg("--aptopt=Acquire::Languages \"none\"");
    mmdebstrap.args(WITHOUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    mmdebstrap.arg(format!("--essential-hook={NO_CLUSTER}")).arg("bookworm").arg(&part);
    let made = mmdebstrap.output().map_err(|error| format!("mmdebstrap: {error}"))?;
    if !made.status.success() {
        fs::remove_file(&part).ok();
        let complaint = String::from_utf8_lossy(&made.stderr);
        let worst = complaint.lines().find(|line| line.starts_with("E: "));
        return Err(format!(
            "mmdebstrap: {}",
            worst.or_else(|| complaint.lines().last()).unwrap_or("no word of why")
        ));
    }
    fs::rename(&part, archive).map_err(|error| format!("{}: {error}", archive.display()))
}

/// A tree, gone when dropped.
#[derive(Debug)]
pub struct Tree(PathBuf);

impl Tree {
    pub(crate) fn unpack(number: u32) -> Self {
        let archive = PathBuf::from(std::env::var_os(ARCHIVE).expect("the test needs Debian"));
        let room = PathBuf::from(std::env::var_os(ROOM).expect("a lab with an archive has room for trees"));
        let tree = Self(room.join(number.to_string()));
        fs::create_dir_all(&tree.0).expect("there is room beside the archive");
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--numeric-owner", "--directory"]).arg(&tree.0);
        let unpacked = tar.stdin(File::open(archive).expect("the archive is readable")).status();
        assert!(unpacked.expect("tar can be run").success(), "a tree cannot be unpacked");
        tree
    }

    /// Returns where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The outside's hold of a lab's trees: whatever is left of them goes with it, however the lab ended.
#[derive(Debug)]
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        remove_abandoned(&shelf());
        // Named by the process that runs the tests, so that a later one can tell which are abandoned.
        Self(shelf().join(format!("{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Removes what a killed run of the tests had no time to remove.
fn remove_abandoned(shelf: &Path) {
    for entry in fs::read_dir(shelf).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}
