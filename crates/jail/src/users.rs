//! Users and groups: passwd(5) and group(5), of the host or of a jail.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, open, openat2},
    io::Errno,
};
use vimage::{Context as _, Error, ErrorKind, Result};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The first group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

/// The shell of a user who has none.
pub const SHELL: &str = "/bin/sh";
/// More than this is no file of users.
const LONGEST: u64 = 16 << 20;

/// Which user is meant.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// The one of a name, or of a number's text.
    Named(&'a str),
    /// The first of a number.
    Number(u32),
}

/// The host's root directory.
///
/// # Errors
/// It cannot be opened.
pub fn host() -> Result<OwnedFd> {
    open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).doing("cannot open /")
}

/// Looks a user up in the files below a root directory; `None`: there is no such user.
///
/// # Errors
/// A file cannot be read.
pub fn look_up(root: &OwnedFd, who: Who<'_>) -> Result<Option<User>> {
    let Some(mut user) = find(&read(root, "etc/passwd")?, who) else { return Ok(None) };
    user.groups = groups(&read(root, "etc/group")?, &user.name, user.gid);
    Ok(Some(user))
}

/// PROC_SUPER_MAGIC and SYSFS_MAGIC of linux/magic.h.
const KERNELS: [i64; 2] = [0x9fa0, 0x6265_6572];

/// The text of a file below a root that may belong to a jail: whatever links lie on the way, nothing outside
/// is opened, and nothing that could block or has no end is read. A file that is not there is empty.
fn read(root: &OwnedFd, path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(root.as_fd(), path, flags, Mode::empty(), within) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        other => other.doing_with(|| format!("cannot open /{path}"))?,
    };
    let found = fstat(&file).doing_with(|| format!("cannot read /{path}"))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(Error::new(ErrorKind::Failed, format!("/{path} is not a file")));
    }
    // The kernel's own look like files: one whose root mounts may have put the kernel's log there, which is read once.
    let system = fstatfs(&file).doing_with(|| format!("cannot read /{path}"))?;
    #[allow(clippy::unnecessary_cast, reason = "its type differs between machines")]
    if KERNELS.contains(&(system.f_type as i64)) {
        return Err(Error::new(ErrorKind::Failed, format!("/{path} is a file of the kernel's")));
    }
    let mut bytes = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut bytes).doing_with(|| format!("cannot read /{path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn find(passwd: &str, who: Who<'_>) -> Option<User> {
    let users = || {
        passwd.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, uid, gid, _, home, shell, ..] = fields[..] else { return None };
            Some(User {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                groups: Vec::new(),
                home: if home.is_empty() { "/" } else { home }.to_owned(),
                shell: if shell.is_empty() { SHELL } else { shell }.to_owned(),
            })
        })
    };
    match who {
        Who::Number(uid) => users().find(|u| u.uid == uid),
        Who::Named(name) => users()
            .find(|u| u.name == name)
            .or_else(|| name.parse().ok().and_then(|uid: u32| users().find(|u| u.uid == uid))),
    }
}

/// The groups that a user is in: the first, and those that list the name.
fn groups(text: &str, user: &str, first: u32) -> Vec<u32> {
    let mut all = vec![first];
    for line in text.lines() {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, gid, members, ..] = fields[..] else { continue };
        let Ok(gid) = gid.parse() else { continue };
        if members.split(',').any(|m| m == user) && !all.contains(&gid) {
            all.push(gid);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\n# a:b\nann:x:1000:100::/home/ann:\n\
                          4:x:7:7:::/bin/false\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let ann = find(PASSWD, Who::Named("ann")).unwrap();
        assert_eq!((ann.uid, ann.gid, ann.shell.as_str()), (1000, 100, SHELL));
        assert_eq!(find(PASSWD, Who::Named("1000")).unwrap().name, "ann");
        // A name goes before a number.
        assert_eq!(find(PASSWD, Who::Named("4")).unwrap().uid, 7);
        assert_eq!(find(PASSWD, Who::Number(7)).unwrap().home, "/");
        assert_eq!(find(PASSWD, Who::Named("broken")), None);
    }

    #[test]
    fn groups_are_the_first_and_those_that_list_the_user() {
        let text = "wheel:x:10:root,ann\nusers:x:100:ann\naudio:x:20:anne\nbad:x:y:ann\n";
        assert_eq!(groups(text, "ann", 100), [100, 10]);
    }

    #[test]
    fn links_of_a_jail_do_not_lead_out_and_a_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        std::fs::write(dir.path().join("inner"), PASSWD).unwrap();
        symlink("/../../inner", etc.join("passwd")).unwrap();
        let root = open(dir.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(look_up(&root, Who::Number(0)).unwrap().unwrap().groups, [0]);
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("group"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let error = look_up(&root, Who::Number(0)).unwrap_err();
        assert_eq!(error.to_string(), "/etc/group is not a file");
    }
}
