use std::fs::{File, create_dir_all, read_to_string, write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kernel::mount::{AT_RECURSIVE, Attr, mount_namespaces, mount_setattr, mounts_of, statmount};
use kernel::namespace::{Kind, current, id, of_process};
use kernel::spawn::{How, reap, spawn};
use kernel::step::{End, Program, Step};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, chownat, fstat, openat, statat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, fsconfig_create, fsmount, fsopen,
    mount_bind,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::UnshareFlags;

use crate::lab::{self, apart};

/// A file system in memory that is mounted nowhere.
fn tmpfs() -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn create(dir: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(dir, name, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
}

#[test]
fn a_mount_is_made_read_only_and_back() {
    let tmpfs = match tmpfs() {
        Ok(tmpfs) => tmpfs,
        Err(errno) => return eprintln!("SKIP a_mount_is_made_read_only: {errno}"),
    };
    let rdonly = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let change = |attr| mount_setattr(&tmpfs, c"", AtFlags::EMPTY_PATH | AT_RECURSIVE, &attr);
    let private = MountPropagationFlags::PRIVATE;
    change(Attr { set: rdonly, propagation: private, ..Attr::default() }).unwrap();
    assert_eq!(create(&tmpfs, "a").map(drop), Err(Errno::ROFS));
    change(Attr { clear: rdonly, ..Attr::default() }).unwrap();
    create(&tmpfs, "a").map(drop).unwrap();
    // Two kinds of propagation at once.
    let both = private | MountPropagationFlags::SHARED;
    assert_eq!(change(Attr { propagation: both, ..Attr::default() }), Err(Errno::INVAL));
    let attr = Attr { set: rdonly, ..Attr::default() };
    assert_eq!(mount_setattr(CWD, c"/nowhere", AtFlags::empty(), &attr), Err(Errno::NOENT));
}

#[test]
fn ids_are_mapped_by_a_user_namespace() {
    let Ok(tmpfs) = tmpfs() else { return eprintln!("SKIP ids_are_mapped: no mounts") };
    drop(create(&tmpfs, "of-1000").unwrap());
    let owner = Some(rustix::fs::Uid::from_raw(1000));
    if let Err(errno) = chownat(&tmpfs, "of-1000", owner, None, AtFlags::empty()) {
        return eprintln!("SKIP ids_are_mapped: {errno}");
    }
    // What is 1000 in the user namespace is 0 here.
    let mut unshare = Command::new("unshare");
    unshare.args(["-U", "--map-user=1000", "--map-group=1000", "sh", "-c", "echo; read x"]);
    let mut child = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let userns = of_process(pidfd, Kind::User).unwrap();
    child.wait().unwrap();

    let map = |userns: &OwnedFd| {
        let attr = Attr { userns: Some(userns.as_fd()), ..Attr::default() };
        mount_setattr(&tmpfs, c"", AtFlags::EMPTY_PATH, &attr)
    };
    assert_eq!(map(&current(Kind::Uts).unwrap()), Err(Errno::INVAL));
    map(&userns).unwrap();
    assert_eq!(statat(&tmpfs, "of-1000", AtFlags::empty()).unwrap().st_uid, 0);
    assert_eq!(map(&userns), Err(Errno::PERM), "a second map");
}

#[test]
fn lists_are_those_of_mountinfo() {
    apart(UnshareFlags::NEWNS, || {
        let mine = |id| statmount(0, id).unwrap();
        let mounts: Vec<_> = mounts_of(0).unwrap().into_iter().map(mine).collect();
        let text = read_to_string("/proc/thread-self/mountinfo").unwrap();
        let listed: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        assert_eq!(mounts.len(), listed.len());
        for line in listed {
            let (root, point) = (PathBuf::from(line[3]), PathBuf::from(line[4]));
            let same = mounts.iter().any(|mount| mount.point == point && mount.root == root);
            assert!(same, "{line:?}");
        }
        let proc = mounts.iter().find(|mount| mount.point == Path::new("/proc")).unwrap();
        assert_eq!(proc.fs_type, "proc");
        assert!(mounts.iter().any(|mount| mount.id == proc.parent));
    });
}

#[test]
fn a_pinned_namespace_is_found_in_a_mount_namespace_without_processes() {
    apart(UnshareFlags::NEWNS | UnshareFlags::NEWUTS, || {
        let directory = lab::scratch().unwrap();
        // Longer than what is asked for at first.
        let deep = directory.join(vec!["a".repeat(200); 6].join("/"));
        create_dir_all(&deep).unwrap();
        let pin = deep.join("uts");
        write(&pin, "").unwrap();
        mount_bind("/proc/thread-self/ns/uts", &pin).unwrap();
        let uts = fstat(current(Kind::Uts).unwrap()).unwrap().st_ino;
        let mntns = current(Kind::Mnt).unwrap();
        let mntns_id = id(&mntns).unwrap();
        apart(UnshareFlags::NEWNS, move || {
            let found = mounts_of(mntns_id).unwrap();
            let found: Vec<_> = found.into_iter().filter_map(|id| statmount(mntns_id, id).ok()).collect();
            let pins: Vec<_> = found.iter().filter(|mount| mount.fs_type == "nsfs").collect();
            let pinned = pins.iter().find(|mount| mount.root == Path::new(&format!("uts:[{uts}]")));
            assert_eq!(pinned.unwrap().point, pin);
            let device = File::open("/proc/self/ns/uts").unwrap().metadata().unwrap().dev();
            assert_eq!(pinned.unwrap().device, (rustix::fs::major(device), rustix::fs::minor(device)));
            drop(mntns);
        });
    });
    assert_eq!(mounts_of(u64::MAX), Err(Errno::NOENT));
    // The first id is above 2^31.
    assert_eq!(statmount(0, 1), Err(Errno::INVAL));
    assert_eq!(statmount(0, u64::MAX >> 1), Err(Errno::NOENT));
}

#[test]
fn all_mount_namespaces_are_walked() {
    apart(UnshareFlags::NEWNS, || {
        let here = current(Kind::Mnt).unwrap();
        apart(UnshareFlags::NEWNS, move || {
            let walk = match mount_namespaces() {
                Ok(walk) => walk,
                Err(errno) => return eprintln!("SKIP all_mount_namespaces: {errno}"),
            };
            let all: Vec<_> = walk.map(Result::unwrap).collect();
            assert!(all.is_sorted_by(|a, b| a.id < b.id));
            for ns in [here, current(Kind::Mnt).unwrap()] {
                let wanted = id(&ns).unwrap();
                let found = all.iter().find(|found| found.id == wanted).unwrap();
                assert_eq!(fstat(&found.ns).unwrap().st_ino, fstat(ns).unwrap().st_ino);
                assert_eq!(found.mounts as usize, mounts_of(wanted).unwrap().len());
            }
        });
    });
}

#[test]
fn a_way_down_is_made_and_follows_no_link() {
    apart(UnshareFlags::NEWNS, || {
        let Ok(top) = lab::scratch() else { return eprintln!("SKIP a_way_down_is_made: no mounts") };
        create_dir_all(top.join("there")).unwrap();
        std::os::unix::fs::symlink("there", top.join("link")).unwrap();
        let take = |steps: Vec<Step>| {
            let steps = [Step::Chdir(c"/tmp".into())].into_iter().chain(steps).collect();
            let done = spawn(Program::new(steps, End::Exit), How::default()).unwrap().finish();
            let pidfds = done.map_err(|failed| failed.to_string())?.pidfds;
            pidfds
                .iter()
                .try_for_each(|process| reap(process.as_fd()).map(|_status| ()))
                .map_err(|e| e.to_string())
        };
        let down = |names: [&std::ffi::CStr; 2]| names.map(|name| Step::Descend(name.into()));
        let touch = || Step::Touch(c"file".into());
        take(down([c"there", c"new"]).into_iter().chain([touch()]).collect()).unwrap();
        assert!(top.join("there/new/file").is_file());
        let refusal = |name| take(down([name, c"astray"]).into()).unwrap_err();
        assert!(refusal(c"link").starts_with("cannot enter \"link\": Not a directory"));
        assert!(!top.join("there/astray").exists());
        // What is mounted there last goes; where nothing is, nothing does.
        let tree = std::rc::Rc::new(tmpfs().unwrap());
        let at = || c"/tmp/there/new/file".to_owned();
        take(vec![Step::Unmount(at()), Step::Unmount(c"/tmp/nowhere/file".into())]).unwrap();
        take(vec![Step::Attach(tree, c"/tmp/there/new".into())]).unwrap();
        assert!(!top.join("there/new/file").exists());
        take(vec![Step::Unmount(c"/tmp/there/new".into())]).unwrap();
        assert!(top.join("there/new/file").exists());
        take(vec![Step::Unmount(at()), Step::Unmount(c"/tmp/link/new/file/x".into())]).unwrap();
    });
}
