//! `shm`: POSIX shared memory and named semaphores, which are files of a tmpfs on /dev/shm (shm_overview(7)).

use std::os::fd::OwnedFd;

use kernel::act::Act;
use rustix::{
    fs::{CWD, fstatvfs},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_reconfigure, fsconfig_set_string, fsmount, fsopen, fspick, open_tree,
    },
};
use vimage::{
    Ask, Child, Context as _, Error, ErrorKind, Instance, Kind, Mode, Param, Result, Settings, Site,
    Subsystem, Value, When,
};

use crate::allow;

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Shm;

/// Its instance for registries.
pub static SHM: Shm = Shm;

/// What the mount is prepared and found under.
const PREPARED: &str = "mount:/dev/shm";

/// The size of a tmpfs without the option: half of the memory, tmpfs(5).
const DEFAULT_SIZE: &str = "50%";

static PARAMS: [Param; 2] = [
    Param {
        name: "shm",
        kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
        when: When::Create,
        default: Some("new"),
        help: "whether the jail has POSIX shared memory of its own",
        doc: "With new the jail has a /dev/shm of its own, which holds POSIX shared memory and named semaphores \
              and lives as long as the jail. With inherit it has its parent's.",
        ..Param::BASE
    },
    Param {
        name: "shm.size",
        kind: Kind::Size,
        child: Child::AtMost,
        help: "the size of the jail's POSIX shared memory",
        doc: "How much /dev/shm can hold in bytes; by default half of the machine's memory, tmpfs(5). It cannot \
              be less than what is used.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Shm {
    fn name(&self) -> &'static str {
        "shm"
    }

    fn about(&self) -> &'static str {
        "POSIX shared memory and named semaphores"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        let parents = ask.above.and_then(|above| above.get("shm.size")).cloned();
        let unsaid = ask.living.is_none() && ask.settings.get("shm.size").is_none();
        if let Some(size) = parents.filter(|_| unsaid && ask.settings.is_new("shm")) {
            ask.settings.set("shm.size", size);
        }
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        if ask.settings.int("shm.size") == Some(0) {
            // Which a tmpfs would take as no limit.
            return Err(Error::usage("shm.size: value out of range \"0\"").hint("at least 1"));
        }
        Ok(())
    }

    fn provide(&self, site: &mut Site<'_>) -> Result<()> {
        let mount = if site.settings.is_new("shm") {
            own(site.settings.int("shm.size")).doing("shm: cannot make a tmpfs")?
        } else {
            parents(site.parent)?
        };
        site.fds.put(PREPARED, mount);
        Ok(())
    }

    fn update(&self, site: &mut Site<'_>, _old: &Settings) -> Result<Vec<Act>> {
        if !site.settings.is_new("shm") {
            return Ok(Vec::new());
        }
        let Some(mount) = allow::prepared(&site.instance(), PREPARED)? else {
            return Err(Error::new(ErrorKind::NotFound, "shm.size: the mount of /dev/shm is gone"));
        };
        let size = size_text(site.settings.int("shm.size"));
        let change = || {
            let pick = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
            let context = fspick(&*mount, "", pick)?;
            fsconfig_set_string(&context, "size", &*size)?;
            fsconfig_reconfigure(&context)
        };
        match change() {
            Err(Errno::INVAL) => {
                Err(Error::new(ErrorKind::Busy, format!("shm.size: cannot change to {size}"))
                    .hint("/dev/shm holds more than that"))
            }
            other => other.doing_with(|| format!("shm.size: cannot change to {size}")).map(|()| Vec::new()),
        }
    }

    fn inspect(&self, of: &Instance<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        let mut live = Settings::default();
        if !wanted("shm.size") || !of.settings.is_new("shm") || of.settings.get("shm.size").is_none() {
            return Ok(live);
        }
        let mount = match allow::prepared(of, PREPARED) {
            Ok(Some(mount)) => mount,
            Ok(None) => return Ok(live),
            // Of a jail whose root mounts, what was recorded is what is known.
            Err(e) if e.kind() == ErrorKind::Unsupported => return Ok(live),
            Err(e) => return Err(e),
        };
        let stat = fstatvfs(&*mount).doing("shm.size: cannot read the size of /dev/shm")?;
        let bytes = i64::try_from(stat.f_blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
        // The kernel counts whole pages.
        let recorded = of.settings.int("shm.size").unwrap_or(0);
        let same = (0..stat.f_frsize).contains(&bytes.saturating_sub(recorded).cast_unsigned());
        live.set("shm.size", Value::Int(if same { recorded } else { bytes }));
        Ok(live)
    }
}

/// A detached tmpfs that everybody may make files in, as shm_overview(7) wants it. It belongs to the caller's
/// user namespace, so nobody in the jail can remount it.
fn own(size: Option<i64>) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "mode", "1777")?;
    fsconfig_set_string(&context, "size", &*size_text(size))?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A clone of the parent's mount.
fn parents(parent: Option<&Instance<'_>>) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let doing = "shm: cannot clone the parent's /dev/shm";
    let Some(parent) = parent else {
        return open_tree(CWD, "/dev/shm", flags).doing(doing);
    };
    let Some(mount) = allow::prepared(parent, PREPARED)? else {
        return Err(Error::new(ErrorKind::NotFound, "no such mount").doing(doing));
    };
    // It is a clone already, made for us, and before Linux 6.15 a detached mount could not be cloned.
    mount.try_clone().doing(doing)
}

fn size_text(size: Option<i64>) -> String {
    size.map_or_else(|| DEFAULT_SIZE.to_owned(), |bytes| bytes.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::ask;

    #[test]
    fn a_size_of_nothing_is_not_taken_for_no_limit() {
        let check = |bytes| {
            let given = [("shm.size".to_owned(), Value::Int(bytes))].into_iter().collect();
            SHM.check(&ask("web", &given))
        };
        assert_eq!(check(0).unwrap_err().to_string(), "shm.size: value out of range \"0\"");
        assert!(check(1).is_ok());
        assert_eq!((size_text(None), size_text(Some(4096))), ("50%".to_owned(), "4096".to_owned()));
    }

    #[test]
    fn the_size_is_that_of_the_mount_and_can_change() {
        let mount = match own(Some(1 << 20)) {
            Err(Errno::PERM) => return eprintln!("SKIP the_size_is_that_of_the_mount: not root"),
            other => other.unwrap(),
        };
        let settings: Settings = [("shm", Value::Text("new".into())), ("shm.size", Value::Int(1 << 20))]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
        let fds = vimage::Fds::default();
        fds.put(PREPARED, mount);
        let of = Instance {
            name: "web",
            jid: 1,
            settings: &settings,
            parent: None,
            pieces: &[],
            fds,
            house: &crate::host::tests::Toy,
        };
        assert_eq!(SHM.inspect(&of, &|_| true).unwrap().int("shm.size"), Some(1 << 20));
    }
}
