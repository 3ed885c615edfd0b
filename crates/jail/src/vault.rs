//! The vault: a mount namespace of ours in which namespaces and mounts are held without any process.
//!
//! In the host's own mount namespace the pins would slow every later `clone(CLONE_NEWNS)` on the machine,
//! which copies them. The vault itself is held by one pin under the store, on a private mount, since a mount
//! namespace cannot be pinned on a shared one (mount_namespaces(7)). It goes with the last thing it holds.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use kernel::{
    namespace::{self, Kind, VisitMount},
    spawn::{How, spawn},
    step::{End, Program, Step},
};
use rustix::{
    fs::{
        AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, major, minor, openat2, statx,
    },
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind,
        mount_change, move_mount, open_tree, unmount,
    },
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use vimage::{Context as _, Cost, Error, ErrorKind, Fds, Result};

/// The vault of a store.
#[derive(Debug)]
pub struct Vault {
    dir: PathBuf,
}

/// The lock that keeps the vault from going while it is used.
#[derive(Debug)]
struct Use {
    _lock: File,
    ns: OwnedFd,
}

impl Vault {
    /// The vault under a store's folder. Nothing is made before something is to be held.
    #[must_use]
    pub fn of(store: &Path) -> Self {
        Self { dir: store.join("vault") }
    }

    /// Holds an object as `name` for an owner.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn hold(&self, owner: &str, name: &str, object: BorrowedFd<'_>) -> Result<()> {
        let used = self.used_or_made()?;
        let doing = || format!("cannot hold {name}");
        let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        // A detached mount is moved as it is; a namespace is not a mount yet.
        let mounted = name.starts_with("mount:");
        let visit = VisitMount::enter(&used.ns).doing("cannot enter the vault")?;
        let tree = if mounted {
            None
        } else {
            Some(open_tree(object, "", flags | OpenTreeFlags::OPEN_TREE_CLONE).doing_with(doing)?)
        };
        let shelf = Path::new("/").join(owner);
        fs::create_dir(&shelf).or_else(exists).doing_with(doing)?;
        // A mount of its own, so that one umount takes all below it. One that is there and is none was left by
        // somebody who was killed.
        let there = openat2(CWD, &shelf, PLACE, Mode::empty(), ResolveFlags::empty()).doing_with(doing)?;
        if !is_mount(&there) {
            mount_bind(&shelf, &shelf).doing_with(doing)?;
        }
        let at = shelf.join(file_name(name));
        let there = openat2(CWD, &at, PLACE, Mode::empty(), ResolveFlags::empty());
        if there.is_ok_and(|there| is_mount(&there)) {
            let error = Error::new(ErrorKind::Exists, "something is held in its place").doing(doing());
            return Err(error.hint("if no jail of this store is being made, it is in no record: jdb repair"));
        }
        let is_dir = mounted && rustix::fs::fstat(object).doing_with(doing)?.st_mode & 0o170_000 == 0o040_000;
        match is_dir {
            true => fs::create_dir(&at).or_else(exists).doing_with(doing)?,
            false => File::create(&at).map(drop).doing_with(doing)?,
        }
        let from = tree.as_ref().map_or(object, AsFd::as_fd);
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        match place(&shelf, name) {
            Some(place) => move_mount(from, "", place, "", flags | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH),
            None => move_mount(from, "", CWD, &at, flags),
        }
        .doing_with(doing)?;
        drop(visit);
        Ok(())
    }

    /// A held object: a namespace opened, a mount cloned. `None` if it is not held.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn open(&self, owner: &str, name: &str) -> Result<Option<OwnedFd>> {
        let Some(used) = self.used()? else { return Ok(None) };
        let at = Path::new("/").join(owner).join(file_name(name));
        let _visit = VisitMount::enter(&used.ns).doing("cannot enter the vault")?;
        if !at.exists() {
            return Ok(None);
        }
        if !name.starts_with("mount:") {
            let file = File::open(&at).doing_with(|| format!("cannot open the held {name}"))?;
            // A file on which nothing is mounted is no namespace.
            return Ok(namespace::kind_of(&file).is_ok().then(|| file.into()));
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE;
        let doing = || format!("cannot open the held {name}");
        let inside = place(Path::new("/").join(owner).as_path(), name).filter(is_mount);
        let there = match inside {
            Some(place) => place,
            None => openat2(CWD, &at, PLACE, Mode::empty(), ResolveFlags::empty()).doing_with(doing)?,
        };
        if !is_mount(&there) {
            // The host has unmounted it.
            return Ok(None);
        }
        let flags = flags | OpenTreeFlags::AT_EMPTY_PATH;
        match open_tree(&there, "", flags) {
            // What is locked below it was copied with it, and goes with it.
            Err(Errno::INVAL) => open_tree(&there, "", flags | OpenTreeFlags::AT_RECURSIVE),
            one => one,
        }
        .map(Some)
        .doing_with(doing)
    }

    /// The names of what an owner holds, in an order in which mounts can be attached.
    ///
    /// # Errors
    /// The vault cannot be entered.
    pub fn names(&self, owner: &str) -> Result<Vec<String>> {
        let Some(used) = self.used()? else { return Ok(Vec::new()) };
        let _visit = VisitMount::enter(&used.ns).doing("cannot enter the vault")?;
        let entries = fs::read_dir(Path::new("/").join(owner)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|e| Some(e.file_name().to_str()?.replace(',', "/").replace("//", ",")))
            .collect();
        names.sort();
        Ok(names)
    }

    /// All owners.
    ///
    /// # Errors
    /// The vault cannot be entered.
    pub fn owners(&self) -> Result<Vec<String>> {
        let Some(used) = self.used()? else { return Ok(Vec::new()) };
        let _visit = VisitMount::enter(&used.ns).doing("cannot enter the vault")?;
        let entries = fs::read_dir("/").doing("cannot read the vault")?;
        Ok(entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
    }

    /// Whether it holds anything for an owner.
    ///
    /// # Errors
    /// The vault cannot be entered.
    pub fn has(&self, owner: &str) -> Result<bool> {
        let Some(used) = self.used()? else { return Ok(false) };
        let _visit = VisitMount::enter(&used.ns).doing("cannot enter the vault")?;
        Path::new("/").join(owner).try_exists().doing_with(|| format!("cannot look for {owner}"))
    }

    /// Drops all that owners hold, and the vault itself when nothing is left in it. Answers for each owner.
    pub fn release(&self, owners: &[&str]) -> Vec<Result<()>> {
        self.release_all(owners).unwrap_or_else(|error| owners.iter().map(|_| Err(error.clone())).collect())
    }

    fn release_all(&self, owners: &[&str]) -> Result<Vec<Result<()>>> {
        let Some(used) = self.used()? else {
            self.abandon()?;
            return Ok(owners.iter().map(|_| Ok(())).collect());
        };
        let (done, empty) = {
            let _visit = VisitMount::enter(&used.ns).doing("cannot enter the vault")?;
            if let [first, _, ..] = owners {
                take_down(&Path::new("/").join(format!("{first}{GONE}")), owners)?;
            }
            let done = owners.iter().map(|owner| drop_shelf(owner)).collect();
            // A tmpfs counts the folders in a folder: to list them takes longer the more jails there are.
            (done, fs::metadata("/").doing("cannot read the vault")?.nlink() == 2)
        };
        drop(used);
        if empty {
            self.close()?;
        }
        Ok(done)
    }

    /// Takes the vault down, unless it is used again.
    fn close(&self) -> Result<()> {
        let Ok(lock) = File::open(&self.dir) else { return Ok(()) };
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let Some(ns) = self.pinned()? else { return Ok(()) };
        let visit = VisitMount::enter(&ns).doing("cannot enter the vault")?;
        let empty = fs::read_dir("/").doing("cannot read the vault")?.next().is_none();
        drop(visit);
        if !empty {
            return Ok(());
        }
        drop(ns);
        let doing = || format!("cannot unmount {}", self.dir.display());
        unmount(self.pin(), UnmountFlags::DETACH).doing_with(doing)?;
        // On our folder nobody else has reason to mount anything.
        uncover(&self.dir)
    }

    /// Takes down what is left of a vault whose maker died before it was pinned.
    fn abandon(&self) -> Result<()> {
        let Ok(lock) = File::open(&self.dir) else { return Ok(()) };
        // Somebody is making it.
        if lock.try_lock().is_err() || self.pinned()?.is_some() {
            return Ok(());
        }
        uncover(&self.dir)
    }

    fn pin(&self) -> PathBuf {
        self.dir.join("ns")
    }

    /// The vault's namespace, if there is one.
    fn pinned(&self) -> Result<Option<OwnedFd>> {
        let Ok(file) = File::open(self.pin()) else { return Ok(None) };
        Ok(namespace::kind_of(&file).is_ok_and(|k| k == Kind::Mnt).then(|| file.into()))
    }

    fn used(&self) -> Result<Option<Use>> {
        let Ok(lock) = File::open(&self.dir) else { return Ok(None) };
        lock.lock_shared().doing_with(|| format!("cannot lock {}", self.dir.display()))?;
        Ok(self.pinned()?.map(|ns| Use { _lock: lock, ns }))
    }

    fn used_or_made(&self) -> Result<Use> {
        loop {
            if let Some(used) = self.used()? {
                return Ok(used);
            }
            let doing = || format!("cannot make the vault {}", self.dir.display());
            fs::DirBuilder::new().mode(0o700).create(&self.dir).or_else(exists).doing_with(doing)?;
            // The lock is on the folder below the mount that we are about to put on it.
            let lock = File::open(&self.dir).doing_with(doing)?;
            lock.lock().doing_with(doing)?;
            if self.pinned()?.is_none() {
                self.make()?;
            }
        }
    }

    fn make(&self) -> Result<()> {
        let doing = || format!("cannot make the vault {}", self.dir.display());
        uncover(&self.dir)?;
        mount_bind(&self.dir, &self.dir).doing_with(doing)?;
        // Private, and left out where a tree is copied with all that is mounted in it: a copy of the pin would be refused.
        mount_change(&self.dir, MountPropagationFlags::UNBINDABLE).doing_with(doing)?;
        File::create(self.pin()).doing_with(doing)?;
        // The kernel refuses to pin a mount namespace in one that it counts as younger (EINVAL, ELOOP); since Linux
        // 6.18 it tells the age by ids that are handed out in batches, one for each cpu. So each cpu is tried, those
        // that we are not to run on, too; at last the batch of ours is used up, of 4,096 at most.
        let own = sched_getaffinity(None).doing_with(doing)?;
        let mut pinned = Err(Errno::LOOP);
        for cpu in 0..CpuSet::MAX_CPU {
            let mut one = CpuSet::new();
            one.set(cpu);
            if sched_setaffinity(None, &one).is_err() {
                continue;
            }
            let ns = self.namespace();
            sched_setaffinity(None, &own).doing_with(doing)?;
            pinned = self.bind(&ns?);
            if !is_younger(pinned) {
                break;
            }
        }
        for _ in 0..80 {
            if !is_younger(pinned) {
                break;
            }
            use_up(64).doing_with(doing)?;
            pinned = self.bind(&self.namespace()?);
        }
        if pinned.is_err() {
            let _unpinned = unmount(&self.dir, UnmountFlags::DETACH);
        }
        pinned.doing_with(doing)
    }

    fn bind(&self, ns: &OwnedFd) -> rustix::io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(ns, "", flags | OpenTreeFlags::OPEN_TREE_CLONE)?;
        move_mount(tree, "", CWD, self.pin(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }

    /// A mount namespace with an empty tmpfs as its only mount.
    fn namespace(&self) -> Result<OwnedFd> {
        let doing = || format!("cannot make the vault {}", self.dir.display());
        let path = CString::new(self.dir.as_os_str().as_encoded_bytes()).doing_with(doing)?;
        let steps = vec![
            Step::Propagate(MountPropagationFlags::REC | MountPropagationFlags::PRIVATE),
            Step::Mount {
                kind: c"tmpfs".into(),
                at: path.clone(),
                flags: MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
                data: c"mode=700".into(),
            },
            Step::Chdir(path),
            Step::Pivot,
            Step::Wait(0),
        ];
        let how = How { namespaces: u64::from(Kind::Mnt.flag()), ..How::default() };
        let child = spawn(Program::new(steps, End::Exit), how).doing_with(doing)?;
        let ns = namespace::of_process(child.pidfd(), Kind::Mnt).doing_with(doing)?;
        let done = child.finish().doing_with(doing)?;
        for pidfd in &done.pidfds {
            let _status = kernel::spawn::reap(pidfd.as_fd());
        }
        Ok(ns)
    }
}

/// What an owner's objects cost: how many there are, and the memory of files in a tmpfs that is mounted nowhere else: what
/// the host has mounted, too, would stay.
#[must_use]
pub fn cost(kept: &Fds) -> Cost {
    let names = kept.names();
    let (mounts, namespaces): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.starts_with("mount:"));
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut seen: BTreeSet<_> =
        host.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect();
    let mut files = 0;
    for fd in mounts.iter().filter_map(|name| kept.get(name)) {
        let (Ok(stat), Ok(system)) = (rustix::fs::fstat(&*fd), rustix::fs::fstatfs(&*fd)) else { continue };
        if system.f_type == TMPFS && seen.insert(format!("{}:{}", major(stat.st_dev), minor(stat.st_dev))) {
            let used = system.f_blocks.saturating_sub(system.f_bfree);
            files += used.saturating_mul(u64::try_from(system.f_bsize).unwrap_or_default());
        }
    }
    Cost::default()
        .count(namespaces.len() as u64, "namespace", "namespaces")
        .count(mounts.len() as u64, "mount", "mounts")
        .bytes(files, "files in memory")
}

/// `TMPFS_MAGIC` of linux/magic.h.
pub(crate) const TMPFS: i64 = 0x0102_1994;

/// What the name ends with under which the mounts of several owners are taken down.
const GONE: &str = ".gone";

/// Takes the mounts of several owners down by one umount: the kernel waits for a grace period in each, and in no move.
/// Killed half way it leaves one more owner, of whom no record tells: the audit finds that.
///
/// # Errors
/// What was moved cannot be unmounted. What cannot be moved stays in its place.
fn take_down(gone: &Path, owners: &[&str]) -> Result<()> {
    let doing = || format!("cannot release {}", gone.display());
    fs::create_dir(gone).or_else(exists).doing_with(doing)?;
    mount_bind(gone, gone).doing_with(doing)?;
    for owner in owners {
        let at = gone.join(owner);
        // No mount, no move: it is looked at by itself then.
        let _stays = fs::create_dir(&at).is_ok()
            && move_mount(CWD, Path::new("/").join(owner), CWD, &at, MoveMountFlags::empty()).is_ok();
    }
    uncover(gone)?;
    clear(gone).and_then(|()| fs::remove_dir(gone)).doing_with(doing)
}

/// Drops all that one owner holds.
fn drop_shelf(owner: &str) -> Result<()> {
    let shelf = Path::new("/").join(owner);
    if shelf.exists() {
        uncover(&shelf)?;
        clear(&shelf)
            .and_then(|()| fs::remove_dir(&shelf))
            .doing_with(|| format!("cannot release {owner}"))?;
    }
    Ok(())
}

/// Takes all mounts off a folder of ours.
fn uncover(dir: &Path) -> Result<()> {
    loop {
        match unmount(dir, UnmountFlags::DETACH) {
            Ok(()) => {}
            // It is no mount point.
            Err(Errno::INVAL) => return Ok(()),
            Err(e) => return Err(e).doing_with(|| format!("cannot unmount {}", dir.display())),
        }
    }
}

/// Removes the places of mounts from a shelf, and nothing below them: what is still mounted on one is a user's tree,
/// and keeps it (EBUSY).
fn clear(shelf: &Path) -> io::Result<()> {
    for entry in fs::read_dir(shelf)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Whether the kernel refused a pin for the namespace's age.
fn is_younger(pinned: rustix::io::Result<()>) -> bool {
    matches!(pinned, Err(Errno::INVAL | Errno::LOOP))
}

/// Makes namespaces of the cheapest kind, whose ids are not given again.
fn use_up(ids: u32) -> Result<()> {
    let how = How { namespaces: u64::from(Kind::Uts.flag()), ..How::default() };
    for _ in 0..ids {
        let child = spawn(Program::new(Vec::new(), End::Exit), how).doing("cannot make a namespace")?;
        for pidfd in child.finish().doing("cannot make a namespace")?.pidfds {
            let _status = kernel::spawn::reap(pidfd.as_fd());
        }
    }
    Ok(())
}

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The place of a mount in the tree that is held as its owner's root, if it has one there. Held on the tree, it
/// hears of the host's umount as the tree does; a link in the tree is not followed, for it is not ours.
fn place(shelf: &Path, name: &str) -> Option<OwnedFd> {
    let path = name.strip_prefix("mount:/").filter(|path| !path.is_empty())?;
    let root =
        openat2(CWD, shelf.join(file_name("mount:/")), PLACE, Mode::empty(), ResolveFlags::empty()).ok()?;
    openat2(root, path, PLACE, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS).ok()
}

/// Whether an open place is the root of a mount. statx(2), Linux 5.8.
fn is_mount(place: &OwnedFd) -> bool {
    let found = statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::empty());
    found.is_ok_and(|f| f.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// A name as one component of a path.
fn file_name(name: &str) -> String {
    name.replace(',', ",,").replace('/', ",")
}

fn exists(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) }
}
