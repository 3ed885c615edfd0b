//! Jails that a jail's root makes by itself: with `children.max`, `jail`, `jls` and `jexec` work inside.
//!
//! What that takes is CAP_SYS_ADMIN over the jail's own user namespace, and so all that could be undone with it is
//! locked: its mounts (mount_namespaces(7)), its part of the cgroup tree, and how many namespaces there may be. Its
//! records lie in a file system of its own, and nothing on the host depends on what they say.

mod told;

use std::{
    fs::{self, read_dir},
    io::{self, ErrorKind::NotFound},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use kernel::{
    act::Act,
    step::{Stage, Step},
};
use rustix::mount::MountFlags;
use vimage::{
    Context as _, Cost, Doomed, Entry, House, Instance, Known, Param, Piece, Result, Settings, Site,
    Subsystem, Told,
};

use crate::{
    root::tmpfs,
    shown::{self, PLACE, attach, folder},
    user::{self, Ids},
};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Children;

const NAME: &str = "children";

/// The folder of the store that has one for each jail that makes jails.
pub const TOLD: &str = told::ALL;

/// The cgroups that each child may have: its own, those in which it has its processes and its children, and what its
/// programs make.
const CGROUPS: i64 = 64;

/// How deep they may be below the jail's own: two for each jail in a jail, and what programs make. A path of so many names
/// can be walked.
const DEPTH: u32 = 12;

/// What whoever has a part of the cgroup tree to himself must be able to write, cgroups(7) and the kernel's
/// cgroup-v2.rst, "Model of Delegation".
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

impl Subsystem<Act> for Children {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "jails that the jail makes itself"
    }

    fn params(&self) -> &'static [Param] {
        &[]
    }

    fn after(&self) -> &'static [&'static str] {
        &["root"]
    }

    fn first(&self, settings: &Settings) -> Vec<Act> {
        // What its jails are held by lies in its mount namespace.
        if hosts(settings) { vec![Act::Keep] } else { Vec::new() }
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        if hosts(site.settings) {
            let size = format!("{}m", 16 + most(site.settings) / 8);
            site.fds.put(format!("mount:{PLACE}"), tmpfs("755", Some(&size))?);
            told::begin(site)?;
        }
        told::tell(site)
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        let instance = site.instance();
        let (true, Some(ids), Some(cgroup)) =
            (hosts(site.settings), user::ids(&instance), instance.anchor("cgroup"))
        else {
            return Ok(());
        };
        let dir = Path::new(cgroup.object());
        let doing = || format!("children.max: cannot hand over the cgroup {}", dir.display());
        let most = (most(site.settings) + 1) * CGROUPS;
        for (file, limit) in
            [("cgroup.max.descendants", most.to_string()), ("cgroup.max.depth", DEPTH.to_string())]
        {
            match fs::write(dir.join(file), limit) {
                // Before Linux 4.14.
                Err(e) if e.kind() == NotFound => {}
                written => written.doing_with(doing)?,
            }
        }
        delegate(dir, ids.base).doing_with(doing)
    }

    fn enter(&self, of: &Instance<'_>, how: Entry) -> Result<Vec<Act>> {
        if how == Entry::Joining || !hosts(of.settings) {
            return Ok(Vec::new());
        }
        let mount = Step::Mount {
            kind: c"cgroup2".into(),
            at: c"/sys/fs/cgroup".into(),
            flags: MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            data: c"".into(),
        };
        let told = attach(&told::path(of.house, of.jid), Told::FOLDER)?;
        let told = told.into_iter().map(|step| Act::Step(Stage::Outside, step));
        Ok(told.chain([Act::Step(Stage::Mounts, mount)]).collect())
    }

    fn follows_all(&self) -> bool {
        true
    }

    fn update(&self, site: &mut Site<'_>, _old: &Settings) -> Result<Vec<Act>> {
        told::again(site).map(|()| Vec::new())
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        doomed.iter().map(|d| shown::remove(Path::new(&d.piece.key))).collect()
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Path::new(&piece.key).try_exists().doing_with(|| format!("cannot look for {}", piece.key))
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        let mut strays = Vec::new();
        for path in inside(&folder(house, told::ALL)) {
            let key = path.to_string_lossy();
            if !known.has(NAME, told::FOLDER, &key) {
                strays.push(Piece::new(told::FOLDER, key));
                continue;
            }
            let files = inside(&path).filter(|file| !file.ends_with(Told::SELF));
            let files = files.map(|file| file.to_string_lossy().into_owned());
            strays.extend(
                files.filter(|key| !known.has(NAME, told::FILE, key)).map(|key| Piece::new(told::FILE, key)),
            );
        }
        Ok(strays)
    }

    fn cost(&self, piece: &Piece, _house: &dyn House) -> Cost {
        let bytes = fs::metadata(&piece.key).map_or(0, |file| file.len());
        Cost::default().bytes(bytes, "files")
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        &[(told::FOLDER, "folder (ours)"), (told::FILE, "file")]
    }
}

/// Whether the root of a jail with these settings makes jails by itself. For that it needs user and pid namespaces of
/// its own, and to be root at all.
#[must_use]
pub fn hosts(settings: &Settings) -> bool {
    is_able(settings) && most(settings) > 0
}

/// Whether the root of a jail with these settings can have CAP_SYS_ADMIN over a user namespace of the jail's own.
pub(crate) fn is_able(settings: &Settings) -> bool {
    settings.is_new("user") && settings.is_new("proc") && settings.bool("allow.suser")
}

/// The ids of a jail that was made with room for jails: though it may make none for now, it may again, while the mounts
/// are there that its first process gets.
pub(crate) fn could_host(of: &Instance<'_>) -> Option<Ids> {
    user::ids(of).filter(|ids| is_able(of.settings) && ids.children > 0)
}

/// How many jails there may be in one.
pub(crate) fn most(settings: &Settings) -> i64 {
    settings.int("children.max").unwrap_or(0)
}

fn inside(dir: &Path) -> impl Iterator<Item = PathBuf> {
    read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Hands a cgroup over to a user. What was in it before stays ours: he may move processes into it and out of it, and
/// neither remove nor freeze it.
fn delegate(dir: &Path, owner: u32) -> io::Result<()> {
    let own = inside(dir).filter(|below| below.is_dir());
    for dir in own.chain([dir.to_owned()]) {
        DELEGATED.iter().try_for_each(|file| chown(dir.join(file), Some(owner), Some(owner)))?;
    }
    chown(dir, None, Some(owner))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o1775))
}
