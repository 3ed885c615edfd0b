use std::os::fd::AsFd;

use kernel::{
    act::{Act, fold},
    below::Below,
    namespace::{Kind, current, of_process, owner},
    spawn::{How, reap, spawn},
    step::{End, Program, Step},
};
use rustix::{fs::fstat, io::Errno};

fn inode(fd: impl AsFd) -> u64 {
    fstat(fd).unwrap().st_ino
}

const MAPPED: usize = 2;

fn below() -> Step {
    Step::Below(Box::new(Below::new(Kind::Uts)))
}

/// Runs steps in a user namespace of their own to their end; `None` where there may be none.
fn run(steps: Vec<Step>, more: Kind, meanwhile: impl FnOnce(&kernel::spawn::Running)) -> Option<()> {
    let namespaces = u64::from(Kind::User.flag() | more.flag());
    let steps = [Step::Wait(MAPPED)].into_iter().chain(steps).collect();
    let child = match spawn(Program::new(steps, End::Exit), How { namespaces, ..How::default() }) {
        Err(errno @ (Errno::PERM | Errno::NOSPC)) => {
            eprintln!("SKIP below: no user namespace: {errno}");
            return None;
        }
        other => other.unwrap(),
    };
    // Who has no id there cannot make another.
    let pid = child.pid().unwrap();
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{file}", pid.as_raw_nonzero()), "0 0 1").unwrap();
    }
    child.open(MAPPED);
    meanwhile(&child);
    for pidfd in child.finish().unwrap().pidfds {
        assert_eq!(reap(pidfd.as_fd()), Ok(0));
    }
    Some(())
}

#[test]
fn the_namespace_belongs_to_a_user_namespace_below() {
    let host = inode(current(Kind::Uts).unwrap());
    run(vec![below(), Step::Reached(0), Step::Wait(1)], Kind::Ipc, |child| {
        child.reached(0);
        let [user, uts] = [Kind::User, Kind::Uts].map(|kind| of_process(child.pidfd(), kind).unwrap());
        assert_ne!(inode(&uts), host);
        let users = owner(&uts).unwrap();
        assert_ne!(inode(&users), inode(&user));
        // Its owner's own is the process's.
        assert_eq!(inode(owner(&users).unwrap()), inode(&user));
    });
}

#[test]
fn a_limit_of_namespaces_is_reported() {
    // The process may make none below it.
    let none = Step::Write(c"/proc/sys/user/max_user_namespaces".into(), b"0".to_vec());
    let namespaces = u64::from(Kind::User.flag());
    let Ok(child) = spawn(Program::new(vec![none, below()], End::Exit), How { namespaces, ..How::default() })
    else {
        return eprintln!("SKIP a_limit_of_namespaces_is_reported: no user namespace");
    };
    let failed = child.finish().unwrap_err();
    assert_eq!(failed.to_string(), "cannot make a namespace: No space left on device (os error 28)");
}

#[test]
fn it_is_told_apart_from_those_of_the_birth() {
    let folded = fold(vec![Act::Namespace(Kind::Net, None), Act::Below(Kind::Uts)]).unwrap();
    assert_eq!(folded.namespaces, u64::from(Kind::Net.flag()));
    assert_eq!(folded.below, u64::from(Kind::Uts.flag()));
    assert!(matches!(&folded.steps[..], [(_, Step::Below(_))]));
}
