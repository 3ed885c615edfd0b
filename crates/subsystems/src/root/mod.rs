//! The root: a jail's file tree and what is mounted in it. mount_namespaces(7).
//!
//! Its mounts are prepared while the jail is born, detached from every tree, and attached by each first
//! process in a mount namespace made for it. So nothing of them is ever mounted on the host.

mod dev;
pub use terminals::open_terminal;

pub mod devfs;
pub mod fstab;
mod identity;
pub(crate) mod terminals;
mod tree;
pub(crate) use tree::tmpfs;

use std::{
    ffi::CString,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    rc::Rc,
};

use kernel::{
    act::Act,
    mount::{AT_RECURSIVE, Attr, mount_setattr},
    namespace::Kind as Namespace,
    probe::{Feature, has},
    step::{Stage, Step},
};
use rustix::{
    fs::{AtFlags, Gid, Uid, chownat},
    io::Errno,
    mount::{MountAttrFlags, MountFlags, MountPropagationFlags},
};
use vimage::{
    Ask, Child, Context as _, Cost, Doomed, Entry, Error, ErrorKind, House, Instance, Kind, Known, Mode,
    Node, Param, Piece, Result, Settings, Site, Subsystem, Value, When,
};

use crate::{allow, shown, user};

/// The subsystem.
#[derive(Debug)]
pub struct Root;

static PARAMS: &[Param] = &[
    Param {
        name: "enforce_statfs",
        kind: Kind::Int { min: 0, max: 2 },
        default: Some("2"),
        help: "how much the jail sees of the host's mounts",
        doc: "What every jail has is 2, and 0 and 1 are refused: the mounts of a jail are its own, copies of those at and below its \
              root and what it was given, and it sees none of the host's. Of each the kernel tells the device and which directory \
              of it that is, by its name on the host: proc_pid_mountinfo(5).",
        ..Param::BASE
    },
    Param {
        name: "path",
        kind: Kind::Text { max: 4095 },
        when: When::Create,
        default: Some("/"),
        help: "the directory that is the jail's root",
        doc: "The directory that is the jail's root. With user=new, the tree is mounted so that its files keep \
              their owners inside: what root in the jail writes is root's on the host, programs with the \
              set-user-id bit or capabilities, too, so keep users of the host out of the tree by a directory \
              above it of mode 0700. The root / itself is shared with the rights of others, and the jail has a \
              /run, /tmp and /var/tmp of its own.",
        ..Param::BASE
    },
    Param {
        name: "mount",
        kind: Kind::List { commas: false },
        when: When::Create,
        help: "file systems to mount in the jail, a line of fstab(5) each",
        doc: "File systems to mount in the jail: a line of fstab(5) each, with a mount point below the jail's \
              root. The type none (or nullfs, or bind) mounts a directory or file of the host; options are ro, \
              rw, nosuid, nodev, noexec, and those of the file system. Mount points that a tree of the jail's own \
              lacks, /dev, /proc and /sys among them, are made in it, empty, and stay when the jail is removed: \
              another jail may have the same tree, and would lose what it has mounted there with the mount point. \
              In the host's own tree / none is made.",
        ..Param::BASE
    },
    Param {
        name: "mount.fstab",
        kind: Kind::Text { max: 4095 },
        when: When::Create,
        help: "a file of such lines",
        doc: "An fstab(5) file, whose lines are mounted before those of mount.",
        ..Param::BASE
    },
    Param {
        name: devfs::PARAM,
        default: Some(devfs::DEFAULT),
        child: Child::Parents,
        help: "the rule set that says which devices the jail has",
        doc: "Which devices the jail has in its /dev: a rule set, by its number or its name, of those that are built \
              in or of /etc/devfs.rules, see devfs.rules(5). The default 4, devfsrules_jail, shows null, zero, full, random, \
              urandom, tty, ptmx, fd, stdin, stdout and stderr, and no device of the host. Others show what they \
              say, but never a disk or memory of the host: such a set is refused, and so is 0, which is none. With \
              allow.vmm there are those for virtual machines besides. A \
              jail in a jail has the rule set of that. When it is changed, devices come to a living jail and go from \
              it; a process that has one open keeps it. What the set says is looked up when the jail is made and when \
              its number is changed.",
        ..Param::BASE
    },
    everywhere(
        "mount.devfs",
        "the jail has a /dev",
        "Every jail has a /dev of its own, with the devices that devfs_ruleset says and its own terminals, shared memory \
         and message queues.",
    ),
    everywhere(
        "mount.fdescfs",
        "the jail has a /dev/fd",
        "Every jail has a /dev/fd, which leads to /proc/self/fd.",
    ),
    everywhere("mount.procfs", "the jail has a /proc", "Every jail has a /proc, of its own processes."),
];

/// A `path` that does not begin at the root: jail(8)'s words.
#[must_use]
pub fn relative(path: &str) -> Error {
    Error::usage(format!("path {path}: not an absolute pathname"))
}

/// What FreeBSD's jails have if they ask for it.
const fn everywhere(name: &'static str, help: &'static str, doc: &'static str) -> Param {
    Param { name, kind: Kind::Bool, when: When::Create, default: Some("true"), help, doc, ..Param::BASE }
}

/// Files that the host's root may write by its uid alone, whatever its capabilities.
const OF_ROOT: [&std::ffi::CStr; 11] = [
    c"/proc/sys",
    c"/proc/sysrq-trigger",
    c"/proc/irq",
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/acpi",
    c"/proc/scsi",
    c"/proc/asound",
    c"/proc/driver",
    c"/proc/mtrr",
    c"/proc/dynamic_debug",
];

impl Subsystem<Act> for Root {
    fn name(&self) -> &'static str {
        "root"
    }

    fn about(&self) -> &'static str {
        "file tree, mounts, /dev, /proc, /sys"
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    fn after(&self) -> &'static [&'static str] {
        &["user", "shm"]
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        devfs::resolve(ask);
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        devfs::check(ask)?;
        if let Some(level @ (0 | 1)) = ask.settings.int("enforce_statfs") {
            let what =
                format!("enforce_statfs: a jail sees no mounts but its own, which is 2 and not {level}");
            return Err(Error::unsupported(what).hint("leave it out"));
        }
        if ask.living.is_some() {
            return Ok(());
        }
        for param in PARAMS.iter().filter(|param| param.kind == Kind::Bool) {
            if ask.settings.get(param.name) == Some(&Value::Bool(false)) {
                let why = param.doc.trim_end_matches('.').replacen("Every", "every", 1);
                return Err(Error::unsupported(format!("{}: {why}", param.name)).hint("leave it out"));
            }
        }
        let path = ask.settings.text("path").unwrap_or("/");
        if !path.starts_with('/') {
            return Err(relative(path));
        }
        let found = std::fs::metadata(path).doing_with(|| format!("path {path}"))?;
        if !found.is_dir() {
            return Err(Error::usage(format!("path {path}: Not a directory")));
        }
        identity::check(ask)?;
        let lines = fstab::lines(&ask.settings)?;
        if allow::administers(&ask.settings)
            && let Some(line) = lines.iter().find(|line| is_late(&line.at, !ask.settings.is_new("vnet")))
        {
            let what = format!("mount: {}: the jail's root, who mounts, could take it away", line.at);
            return Err(Error::unsupported(what).hint(
                "mount it elsewhere than below /proc and /sys, or without children.max and allow.mount",
            ));
        }
        if path == "/" { places(&lines) } else { Ok(()) }
    }

    fn first(&self, settings: &Settings) -> Vec<Act> {
        let apart = allow::administers(settings).then_some(Act::Apart);
        [Act::Namespace(Namespace::Mnt, None)].into_iter().chain(apart).collect()
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        let files = identity::prepare(site)?;
        let instance = site.instance();
        let path = site.settings.text("path").unwrap_or("/");
        let mut prepared = tree::clone(Path::new(path))?;
        if path == "/" {
            for (at, mode) in [("/run", "755"), ("/tmp", "1777"), ("/var/tmp", "1777")] {
                prepared.push((at.to_owned(), tmpfs(mode, None)?));
            }
        }
        let nodes = devfs::nodes(site.settings)?;
        for path in devfs::lacks(site.settings, &nodes) {
            site.house.tell(format!("{}: allow.vmm: the host has no /dev/{path}", site.name));
        }
        let devices = dev::make(user::nearest_ids(&instance), &nodes)?;
        let own = devices.iter().find(|(at, _)| at == "/dev").map(|(_, dev)| dev::system(dev)).transpose()?;
        prepared.extend(devices);
        let inherits = |name| !site.settings.is_new(name);
        if user::has_namespace(site.settings) || user::is_inside()? {
            // Neither can be mounted by the root of a user namespace that does not own what they show.
            for (at, shared) in [("/proc", inherits("proc")), ("/sys", inherits("vnet"))] {
                if shared {
                    prepared.push((at.to_owned(), tree::clone_one(Path::new(at))?));
                }
            }
        }
        prepared.extend(files);
        if let Some(own) = own {
            site.make(Piece::new(dev::SYSTEM, own), || Ok(()))?;
        }
        for line in fstab::lines(site.settings)? {
            prepared.push((line.at.clone(), line.mount()?));
        }
        for (at, tree) in prepared {
            site.fds.put(format!("mount:{at}"), tree);
        }
        Ok(())
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        let instance = site.instance();
        let map = user::ids(&instance).filter(|i| !i.identity).and_then(|_| site.fds.get("user"));
        let host = site.settings.text("path") == Some("/");
        let given: Vec<_> = fstab::lines(site.settings)?.into_iter().map(|l| l.at).collect();
        for (at, tree) in trees(&instance) {
            // What lies below a host's umount must not hold it up; what the jail mounts stays inside.
            let propagation = MountPropagationFlags::DOWNSTREAM;
            let mapped = map.as_deref().filter(|_| is_mapped(&at, host, &given)).map(OwnedFd::as_fd);
            let mut set =
                if at == "/sys" { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
            // A jail's devices are those in its /dev, and what was handed in: a node in a copied tree would be
            // opened with the rights of its owner, who in a mapped tree is the jail's root.
            if !at.starts_with("/dev") && !given.contains(&at) {
                set |= MountAttrFlags::MOUNT_ATTR_NODEV;
            }
            let attr = Attr { set, propagation, userns: mapped, ..Attr::default() };
            // One that was copied with what is below. A mapping is of one file system alone.
            let below = if mapped.is_none() { AT_RECURSIVE } else { AtFlags::empty() };
            let all = AtFlags::EMPTY_PATH | below;
            match mount_setattr(&tree, c"", all, &attr) {
                Ok(()) => {}
                // Linux before 6.3 maps no tmpfs; one of ours is empty, and can be the jail's from the start.
                Err(Errno::INVAL) if mapped.is_some() && is_ours(&at, host) && !given.contains(&at) => {
                    let doing = || format!("mount: cannot prepare {at}");
                    let base = user::ids(&instance).map_or(0, |ids| ids.base);
                    let (uid, gid) = (Uid::from_raw(base), Gid::from_raw(base));
                    chownat(&tree, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).doing_with(doing)?;
                    let plain = Attr { userns: None, ..attr };
                    mount_setattr(&tree, c"", AtFlags::EMPTY_PATH, &plain).doing_with(doing)?;
                }
                Err(Errno::INVAL) if mapped.is_some() && at != "/" && !given.contains(&at) => {
                    site.fds.remove(&format!("mount:{at}"));
                }
                Err(Errno::INVAL) if mapped.is_some() && !has(Feature::IdmappedMounts) => {
                    let what = "user: this kernel lacks id-mapped mounts";
                    return Err(Error::unsupported(what).hint("user=inherit does without"));
                }
                Err(Errno::INVAL) if mapped.is_some() => {
                    let path = site.settings.text("path").unwrap_or("/");
                    let what = if at == "/" { format!("path {path}") } else { format!("mount: {at}") };
                    return Err(Error::unsupported(format!("{what}: its file system cannot be id-mapped"))
                        .hint("user=inherit does without"));
                }
                Err(e) => return Err(e).doing_with(|| format!("mount: cannot prepare {at}")),
            }
        }
        Ok(())
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        if devfs::word(old) == devfs::word(site.settings) {
            return Ok(Vec::new());
        }
        let (instance, nodes) = (site.instance(), devfs::nodes(site.settings)?);
        let change = |dev: Option<Rc<OwnedFd>>| match dev {
            Some(dev) => dev::change(&dev, user::nearest_ids(&instance), &nodes),
            None => Err(Error::new(ErrorKind::NotFound, "the mount of /dev is gone")),
        };
        dev::of(&instance).and_then(change).doing(devfs::PARAM)?;
        Ok(Vec::new())
    }

    fn show(&self, of: &Instance<'_>) -> Result<Node> {
        let mut node = Node::map();
        let dev = match dev::of(of) {
            Err(e) if e.kind() == ErrorKind::Unsupported => None,
            dev => dev?,
        };
        if let Some(dev) = dev {
            node.put("devices", dev::show(&dev, user::nearest_ids(of))?);
        }
        Ok(node)
    }

    fn undo(&self, doomed: &[Doomed<'_>]) -> Vec<Result<()>> {
        // The file system of /dev goes with its last mount.
        let undo = |doomed: &Doomed<'_>| {
            if doomed.piece.kind == dev::SYSTEM { Ok(()) } else { identity::undo(doomed) }
        };
        doomed.iter().map(undo).collect()
    }

    fn exists(&self, piece: &Piece, _house: &dyn House) -> Result<bool> {
        Ok(piece.kind != identity::FILE || Path::new(&piece.key).exists())
    }

    fn strays(&self, known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
        Ok(identity::strays(known, house))
    }

    fn cost(&self, piece: &Piece, _house: &dyn House) -> Cost {
        let bytes = std::fs::metadata(&piece.key).map_or(0, |file| file.len());
        Cost::default().bytes(bytes, "files")
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        identity::OBJECTS
    }

    fn enter(&self, of: &Instance<'_>, how: Entry) -> Result<Vec<Act>> {
        if how == Entry::Joining {
            return Ok(Vec::new());
        }
        let own_user = user::has_namespace(of.settings);
        // Whose root has CAP_SYS_ADMIN could take these away, and change what they forbid, unless they were there when
        // the mount namespace was copied into another user namespace: they are locked then.
        let locked = allow::administrator(of);
        let mut steps = match locked {
            Some(ids) => vec![
                Step::Unshare(Namespace::Mnt.flag()),
                // Mount points are looked for and made as the jail's root: a link in a directory of its own may lead
                // anywhere in the tree, which may be the host's.
                Step::Files { uid: ids.base, gid: ids.base },
            ],
            None => Vec::new(),
        };
        steps.push(Step::Propagate(MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM));
        let trees = trees(of);
        let has = |at: &str| trees.iter().any(|(t, _)| t == at);
        let shows = |at: &str| !has(at);
        if !has("/") {
            // Whoever went on would be in the host's tree.
            return Err(Error::new(ErrorKind::NotFound, "path: the jail's root is no longer mounted")
                .hint("it was unmounted on the host; make the jail anew"));
        }
        // Without /proc, no link in the tree leads through what is open here to the host: it comes last.
        let (last, first): (Vec<_>, Vec<_>) = trees.iter().partition(|(at, _)| is_late(at, has("/sys")));
        for (at, tree) in first {
            steps.extend(attach(at, tree)?);
        }
        let outside = if locked.is_some() { std::mem::take(&mut steps) } else { Vec::new() };
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mount = |kind: &str, at: &str, flags| {
            Ok::<_, Error>(Step::Mount { kind: text(kind)?, at: text(at)?, flags, data: c"".into() })
        };
        if shows("/sys") {
            steps.extend([Step::Mkdir(c"/sys".into()), mount("sysfs", "/sys", flags | MountFlags::RDONLY)?]);
        }
        let denied = of.settings.mode("mqueue") == Mode::Disable;
        if of.settings.is_new("mqueue") || (!own_user && !denied) {
            steps.push(mount("mqueue", "/dev/mqueue", flags)?);
        }
        if shows("/proc") {
            steps.extend([Step::Mkdir(c"/proc".into()), mount("proc", "/proc", flags)?]);
        }
        for (at, tree) in last {
            steps.extend(attach(at, tree)?);
        }
        if !of.settings.is_new("user") {
            steps.extend(OF_ROOT.iter().map(|at| Step::ReadOnly((*at).into())));
            // What is in here is the stack's: the kernel shows the rest to processes in the first stack alone.
            if of.settings.is_new("vnet") {
                steps.push(Step::Writable(c"/proc/sys/net".into()));
            }
        }
        let outside = outside.into_iter().map(|step| Act::Step(Stage::Outside, step));
        Ok(outside.chain(steps.into_iter().map(|step| Act::Step(Stage::Mounts, step))).collect())
    }
}

/// Whether a mount comes after those that the jail's own process makes: at or below /proc, or below its own /sys.
fn is_late(at: &str, sys_is_given: bool) -> bool {
    let at = Path::new(at);
    at.starts_with("/proc") || (at.starts_with("/sys") && at != Path::new("/sys") && !sys_is_given)
}

/// Checks that mount points in the host's own tree are there. They are not made: by a jail with ids of its own
/// they cannot be, and another would leave them behind.
fn places(lines: &[fstab::Line]) -> Result<()> {
    let made = |at: &Path| {
        let given = lines.iter().map(|line| Path::new(&line.at)).filter(|given| *given != at);
        tree::OWN.iter().map(Path::new).chain(given).any(|above| at.starts_with(above))
    };
    for at in lines.iter().map(|line| Path::new(&line.at)).filter(|at| !made(at)) {
        std::fs::metadata(at).doing_with(|| format!("mount: {}", at.display()))?;
    }
    Ok(())
}

/// The steps that attach a prepared mount. Mount points are no pieces: to remove one would take away the mounts that
/// other jails of the same tree have there (rmdir(2) detaches what is mounted in other mount namespaces).
fn attach(at: &str, tree: &Rc<OwnedFd>) -> Result<Vec<Step>> {
    if at == "/" {
        return Ok(vec![Step::Root(tree.clone())]);
    }
    let target = text(at)?;
    let mut steps = Vec::new();
    // Those in our own /dev are there already.
    if !at.starts_with("/dev/") {
        steps.extend(parents(at)?.into_iter().map(Step::Mkdir));
        let is_dir = rustix::fs::fstat(tree).is_ok_and(|s| s.st_mode & 0o170_000 == 0o040_000);
        steps.push(if is_dir { Step::Mkdir(target.clone()) } else { Step::Touch(target.clone()) });
    }
    steps.push(Step::Attach(tree.clone(), target));
    Ok(steps)
}

/// The prepared mounts of a jail in an order in which they can be attached.
fn trees(of: &Instance<'_>) -> Vec<(String, Rc<OwnedFd>)> {
    let mut trees: Vec<_> = of
        .fds
        .names()
        .into_iter()
        .filter_map(|name| Some((name.strip_prefix("mount:")?.to_owned(), of.fds.get(&name)?)))
        .collect();
    trees.sort_by(|(a, _), (b, _)| a.cmp(b));
    trees
}

/// Whether a mount's files keep their owners by a mapping. The host's own tree is shared with the rights of
/// others: mapped, it would make the jail's root the host's. What is in /dev has the jail's ids already; of proc and
/// sysfs, ids mean nothing.
fn is_mapped(at: &str, host: bool, given: &[String]) -> bool {
    let never = Path::new(at).starts_with("/dev") || ["/proc", "/sys"].contains(&at);
    given.iter().any(|g| g == at) || (!never && (!host || is_ours(at, host)))
}

/// Whether a mount is an empty one that we made.
fn is_ours(at: &str, host: bool) -> bool {
    at == shown::PLACE || (host && ["/run", "/tmp", "/var/tmp"].contains(&at))
}

/// The directories above a path, from the top.
fn parents(at: &str) -> Result<Vec<CString>> {
    let mut all: Vec<_> = Path::new(at).ancestors().skip(1).filter(|p| *p != Path::new("/")).collect();
    all.reverse();
    all.into_iter().map(|p| text(&p.to_string_lossy())).collect()
}

fn text(s: &str) -> Result<CString> {
    CString::new(s).doing_with(|| format!("mount: {s:?}"))
}
