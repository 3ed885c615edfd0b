use std::fs::{File, create_dir, read_to_string, write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use kernel::namespace::{
    Handle, Kind, Visit, VisitMount, current, for_children, id, kind_of, netns_cookie, of_process, owner,
    setns, socket_in,
};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::mount::mount_bind;
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, PidfdFlags, chroot, getcwd, getpid, pidfd_open};
use rustix::system::{sethostname, uname};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities};

use crate::lab::{self, apart};

fn inode(fd: impl AsFd) -> u64 {
    fstat(fd).unwrap().st_ino
}

/// A descriptor that is no namespace.
fn file() -> File {
    File::open("/proc/version").unwrap()
}

#[test]
fn kinds_have_names_and_flags_of_their_own() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_flag(kind.flag()), Some(kind));
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
        assert_eq!(kind_of(current(kind).unwrap()), Ok(kind));
    }
    assert_eq!((Kind::Net.flag(), Kind::Time.flag()), (0x4000_0000, 0x80));
    assert_eq!((Kind::from_flag(0), Kind::from_name("network")), (None, None));
    assert_eq!(kind_of(file()), Err(Errno::NOTTY));
}

#[test]
fn a_namespace_has_an_owner() {
    let user = current(Kind::User).unwrap();
    apart(UnshareFlags::NEWUTS, || {
        let user = inode(current(Kind::User).unwrap());
        assert_eq!(inode(owner(current(Kind::Uts).unwrap()).unwrap()), user);
    });
    assert_eq!(owner(file()).map(inode), Err(Errno::NOTTY));
    // Of the initial user namespace, or one above the caller's, there is no more to be seen.
    assert_eq!(owner(user).map(inode), Err(Errno::PERM));
}

#[test]
fn ids_are_never_used_again_and_equal_the_sockets_cookie() {
    let (send, receive) = std::sync::mpsc::channel();
    for _ in 0..5 {
        let send = send.clone();
        apart(UnshareFlags::NEWNET, move || {
            let ns = current(Kind::Net).unwrap();
            let id = id(&ns).unwrap();
            let socket = socket_in(&ns, AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            assert_eq!(netns_cookie(socket), Ok(id));
            send.send(id).unwrap();
        });
    }
    drop(send);
    let ids: Vec<u64> = receive.iter().collect();
    let different: std::collections::HashSet<&u64> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
    assert_eq!(id(file()), Err(Errno::NOTTY));
    assert_eq!(netns_cookie(file()), Err(Errno::NOTSOCK));
}

#[test]
fn ids_of_older_kernels_are_the_same() {
    if let Some(status) = lab::again("JAIL_MASK", "nsfs_handles") {
        return assert!(status.success());
    }
    let (net, mnt) = (current(Kind::Net).unwrap(), current(Kind::Mnt).unwrap());
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).unwrap();
    match id(&net) {
        Err(Errno::PERM) => eprintln!("SKIP ids_of_older_kernels: not allowed to enter"),
        id => assert_eq!(id, netns_cookie(socket)),
    }
    assert!(id(mnt).unwrap() > 0);
    assert_eq!(id(current(Kind::Uts).unwrap()), Err(Errno::NOTTY));
    assert_eq!(Handle::of(net), Err(Errno::OPNOTSUPP));
}

#[test]
fn a_handle_names_a_namespace_and_holds_nothing() {
    for kind in Kind::ALL {
        let ns = current(kind).unwrap();
        let handle = match Handle::of(&ns) {
            Ok(handle) => handle,
            Err(errno) => return eprintln!("SKIP a_handle: {errno}"),
        };
        assert_eq!((handle.kind, handle.id), (kind, id(&ns).unwrap()));
        assert_eq!(handle.to_string(), format!("{}:{}:{}", kind.name(), handle.id, inode(&ns)));
        let read: Handle = handle.to_string().parse().unwrap();
        assert_eq!(read, handle);
        assert_eq!(inode(read.open().unwrap()), inode(&ns));
        assert_eq!(Handle { inum: 1, ..handle }.open().map(inode), Err(Errno::STALE));
    }
    apart(UnshareFlags::NEWNET, || {
        let (send, receive) = std::sync::mpsc::channel();
        apart(UnshareFlags::NEWNET, move || {
            let ns = current(Kind::Net).unwrap();
            let handle = Handle::of(&ns).unwrap();
            assert_eq!(inode(handle.open().unwrap()), inode(ns));
            send.send(handle).unwrap();
        });
        let handle = receive.recv().unwrap();
        let gone = || handle.open().map(inode) == Err(Errno::STALE);
        assert!((0..100).any(|_| gone() || {
            sleep(Duration::from_millis(10));
            false
        }));
    });
}

#[test]
fn handles_of_other_things_are_refused() {
    assert_eq!(Handle::of(file()), Err(Errno::OPNOTSUPP));
    assert_eq!(Handle::of(File::open("/").unwrap()), Err(Errno::OPNOTSUPP));
    for text in ["", "net", "net:1", "net:1:2:3", "net:x:2", "net:-1:2", "nets:1:2", "net:1:4294967296"] {
        assert!(text.parse::<Handle>().is_err(), "{text}");
    }
}

#[test]
fn a_process_has_namespaces() {
    let me = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    for kind in Kind::ALL {
        let path = format!("/proc/self/ns/{}", kind.name());
        assert_eq!(inode(of_process(&me, kind).unwrap()), inode(File::open(path).unwrap()));
    }
    for kind in [Kind::Pid, Kind::Time] {
        assert_eq!(inode(for_children(&me, kind).unwrap()), inode(of_process(&me, kind).unwrap()));
    }
    assert_eq!(for_children(&me, Kind::Net).map(inode), Err(Errno::INVAL));
    // One that has exited but is not reaped.
    let mut child = Command::new("true").spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    sleep(Duration::from_millis(100));
    let zombie = of_process(&pidfd, Kind::Net).map(inode);
    child.wait().unwrap();
    assert_eq!(zombie, Err(Errno::SRCH));
    assert_eq!(of_process(&pidfd, Kind::Net).map(inode), Err(Errno::SRCH));
}

#[test]
fn a_process_has_namespaces_on_older_kernels() {
    if let Some(status) = lab::again("JAIL_MASK", "pidfd_ns_ioctls") {
        return assert!(status.success());
    }
    a_process_has_namespaces();
}

#[test]
fn setns_takes_the_right_kind_only() {
    let uts = current(Kind::Uts).unwrap();
    assert_eq!(setns(&uts, Kind::Net), Err(Errno::INVAL));
    assert_eq!(setns(file(), Kind::Net), Err(Errno::INVAL));
    apart(UnshareFlags::NEWUTS, || {
        let uts = current(Kind::Uts).unwrap();
        apart(UnshareFlags::NEWUTS, move || {
            assert_ne!(inode(current(Kind::Uts).unwrap()), inode(&uts));
            setns(&uts, Kind::Uts).unwrap();
            assert_eq!(inode(current(Kind::Uts).unwrap()), inode(uts));
        });
    });
}

#[test]
fn a_visit_ends_where_it_began() {
    apart(UnshareFlags::NEWUTS | UnshareFlags::NEWIPC, || {
        let outer = current(Kind::Uts).unwrap();
        sethostname(b"outer").unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        apart(UnshareFlags::NEWUTS | UnshareFlags::NEWIPC, move || {
            sethostname(b"inner").unwrap();
            send.send((current(Kind::Uts).unwrap(), current(Kind::Ipc).unwrap())).unwrap();
        });
        let (uts, ipc) = receive.recv().unwrap();
        let before = inode(current(Kind::Ipc).unwrap());
        {
            let _uts = Visit::enter(&uts, Kind::Uts).unwrap();
            let _ipc = Visit::enter(&ipc, Kind::Ipc).unwrap();
            assert_eq!(uname().nodename(), c"inner");
            assert_eq!(inode(current(Kind::Ipc).unwrap()), inode(&ipc));
            let _back = Visit::enter(&outer, Kind::Uts).unwrap();
            assert_eq!(uname().nodename(), c"outer");
        }
        assert_eq!(uname().nodename(), c"outer");
        assert_eq!(inode(current(Kind::Ipc).unwrap()), before);
        assert_eq!(Visit::enter(&uts, Kind::Ipc).err(), Some(Errno::INVAL));
    });
    for kind in [Kind::User, Kind::Mnt, Kind::Pid, Kind::Cgroup, Kind::Time] {
        assert_eq!(Visit::enter(current(kind).unwrap(), kind).err(), Some(Errno::INVAL));
    }
}

#[test]
fn a_visit_that_cannot_end_ends_the_process() {
    if let Some(status) = lab::again("RUST_BACKTRACE", "0") {
        let skipped = status.success();
        return assert!(skipped || status.signal() == Some(6), "{status}");
    }
    apart(UnshareFlags::NEWUTS, || {
        let visit = Visit::enter(current(Kind::Uts).unwrap(), Kind::Uts).unwrap();
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        drop(visit);
    });
}

#[test]
fn a_visit_to_mounts_keeps_root_and_current_directory() {
    apart(UnshareFlags::NEWNS, || {
        let there = lab::scratch().unwrap();
        write(there.join("file"), "there").unwrap();
        let ns = current(Kind::Mnt).unwrap();
        let file = there.join("file");
        apart(UnshareFlags::NEWNS, move || {
            let here = lab::scratch().unwrap();
            create_dir(here.join("proc")).unwrap();
            create_dir(here.join("work")).unwrap();
            mount_bind("/proc", here.join("proc")).unwrap();
            let mine = inode(current(Kind::Mnt).unwrap());
            chroot(here).unwrap();
            rustix::process::chdir("/work").unwrap();
            {
                let _visit = VisitMount::enter(&ns).unwrap();
                assert_eq!(getcwd(Vec::new()).unwrap().as_c_str(), c"/");
                assert_eq!(read_to_string(&file).unwrap(), "there");
            }
            assert_eq!(getcwd(Vec::new()).unwrap().as_c_str(), c"/work");
            assert!(!file.exists());
            assert_eq!(inode(current(Kind::Mnt).unwrap()), mine);
            let not_mnt = current(Kind::Uts).unwrap();
            assert_eq!(VisitMount::enter(not_mnt).err(), Some(Errno::INVAL));
        });
    });
    // The threads of the test share their root directory; without privilege it comes to less.
    let ns = current(Kind::Mnt).unwrap();
    assert!(matches!(VisitMount::enter(ns).err(), Some(Errno::INVAL | Errno::PERM)));
}

#[test]
fn a_socket_stays_in_its_namespace() {
    apart(UnshareFlags::NEWNET, || {
        let inside = current(Kind::Net).unwrap();
        apart(UnshareFlags::NEWNET, move || {
            let socket = socket_in(&inside, AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
            assert_eq!(netns_cookie(&socket), id(&inside));
            assert_ne!(id(current(Kind::Net).unwrap()), id(&inside));
            let here = inode(current(Kind::Net).unwrap());
            let wrong = socket_in(&inside, AddressFamily::from_raw(999), SocketType::RAW, None);
            assert_eq!(wrong.map(inode), Err(Errno::AFNOSUPPORT));
            assert_eq!(inode(current(Kind::Net).unwrap()), here);
        });
    });
    let uts = current(Kind::Uts).unwrap();
    assert_eq!(socket_in(uts, AddressFamily::UNIX, SocketType::STREAM, None).map(inode), Err(Errno::INVAL));
}
