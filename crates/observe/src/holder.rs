//! Who holds a namespace, in words.

use std::{fmt, fs, path::PathBuf};

use kernel::namespace::Kind;

/// A namespace: its kind, as in `/proc/PID/ns`, and its inode number. All namespaces are of one file system,
/// whose device number is the same for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    /// `net`, `mnt`, …
    pub kind: String,
    /// The inode number.
    pub inode: u64,
}

/// Who holds a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Which.
    pub namespace: Namespace,
    /// The process; `None`: no process does.
    pub pid: Option<i32>,
    /// How.
    pub what: What,
    /// Whether it surely does. Else it holds something that nobody can look into.
    pub sure: bool,
}

/// How something is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The process is in it.
    Process,
    /// The process is not in it, but its next children will be: pid_namespaces(7).
    Children,
    /// The process has ended, and its parent has not collected it: it keeps its user and pid namespaces.
    Zombie,
    /// A thread of the process is in it, and not its first one, which is elsewhere or has ended.
    Thread(i32),
    /// The process has something open, by this number.
    Descriptor(u32, Open),
    /// A thread of the process has something open, by this number among descriptors of its own.
    DescriptorOf(i32, u32, Open),
    /// A thread of the process is in a system call that goes on with what was closed meanwhile: which call, and on what.
    Call(i32, String),
    /// The process's root or working directory is there; which of them.
    Directory(&'static str, PathBuf),
    /// The process has mapped something into its memory: what that is.
    Mapping(String),
    /// It is mounted there, as the process sees it.
    Mount(PathBuf),
    /// It is mounted there in the mount namespace with this inode number, and no process was asked that sees it.
    MountIn(u64, PathBuf),
    /// A connection that nobody holds any more and that the kernel has not ended: its addresses and state.
    Orphan(String),
}

/// What is open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Open {
    /// The namespace itself.
    Namespace,
    /// A socket that was made in it: its protocol and addresses.
    Socket(String),
    /// A network interface that was made in it.
    Tap,
    /// A file that shows it.
    File(PathBuf),
    /// A ring of io_uring(7) that has this among its registered files.
    Ring(String),
    /// A ring of io_uring(7) with requests that wait, of these kinds.
    Waiting(String),
    /// A socket in whose queue so many descriptors wait to be received (`SCM_RIGHTS`, unix(7)).
    InFlight(u32),
    /// A file that a process in it has opened.
    Opened(PathBuf),
    /// A file of a file system that was mounted in it.
    Mounted(PathBuf),
    /// A file of a mount that no process sees.
    Nowhere(PathBuf),
    /// Something else, in words.
    Other(&'static str),
}

impl What {
    /// What a thread of a process has open by this number: the first thread stands for the process.
    pub(crate) fn descriptor(pid: i32, tid: i32, fd: u32, open: Open) -> Self {
        if pid == tid { Self::Descriptor(fd, open) } else { Self::DescriptorOf(tid, fd, open) }
    }

    /// The descriptor that it is, if it is one: by its thread, where that has its own, and its number.
    pub(crate) fn place(&self) -> Option<(Option<i32>, u32)> {
        match self {
            Self::Descriptor(fd, _) => Some((None, *fd)),
            Self::DescriptorOf(tid, fd, _) => Some((Some(*tid), *fd)),
            _ => None,
        }
    }
}

impl Namespace {
    /// Of the text of a link in `/proc/PID/ns`: `net:[4026531840]`.
    #[must_use]
    pub fn parse(link: &str) -> Option<Self> {
        let (kind, rest) = link.split_once(":[")?;
        let inode = rest.strip_suffix(']')?.parse().ok()?;
        // Sockets and pipes are written so, too.
        Kind::from_name(kind)?;
        Some(Self { kind: kind.to_owned(), inode })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:[{}]", self.kind, self.inode)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("process"),
            Self::Children => f.write_str("process, for its children"),
            Self::Zombie => f.write_str("zombie"),
            Self::Thread(tid) => write!(f, "thread {tid}"),
            Self::Descriptor(fd, open) => write!(f, "fd {fd}{open}"),
            Self::DescriptorOf(tid, fd, open) => write!(f, "fd {fd} of thread {tid}{open}"),
            Self::Call(tid, call) => write!(f, "thread {tid} in {call}"),
            Self::Directory(which, path) => {
                write!(f, "{which} {}, of a mount that is nowhere", path.display())
            }
            Self::Mapping(of) => write!(f, "mapping of {of}"),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::MountIn(inode, path) => write!(f, "mount {} in mnt:[{inode}]", path.display()),
            Self::Orphan(connection) => write!(f, "orphan {connection}"),
        }
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => Ok(()),
            Self::Socket(socket) => write!(f, ", {socket}"),
            Self::Tap => f.write_str(", tun or tap interface"),
            Self::File(path) => write!(f, ", {}", path.display()),
            Self::Ring(file) => write!(f, ", io_uring with {file}"),
            Self::Waiting(requests) => write!(f, ", io_uring with requests that wait: {requests}"),
            Self::Opened(path) => write!(f, ", {}, opened inside", path.display()),
            Self::Mounted(path) => write!(f, ", {}, of a file system mounted inside", path.display()),
            Self::Nowhere(path) => write!(f, ", {}, of a mount that is nowhere", path.display()),
            Self::Other(what) => write!(f, ", {what}"),
            Self::InFlight(1) => f.write_str(", unix socket with a descriptor in flight"),
            Self::InFlight(count) => write!(f, ", unix socket with {count} descriptors in flight"),
        }
    }
}

impl Holder {
    /// What makes it let go, as a command where there is one.
    #[must_use]
    pub fn release(&self) -> String {
        let pid = self.pid.unwrap_or_default();
        match &self.what {
            What::Process | What::Children | What::Thread(_) => format!("kill -9 {pid}"),
            What::Zombie => match parent(pid) {
                Some(parent) => format!("its parent, {parent}, has to collect it"),
                None => "its parent has to collect it".to_owned(),
            },
            What::Call(..) => format!("kill -9 {pid}, or let that call return"),
            What::Directory(..) => format!("kill -9 {pid}, or let it go elsewhere"),
            What::Descriptor(fd, _) | What::DescriptorOf(_, fd, _) => {
                format!("kill -9 {pid}, or let it close fd {fd}")
            }
            What::Mapping(_) => format!("kill -9 {pid}, or let it unmap that"),
            What::Mount(at) => format!("nsenter -t {pid} -m umount {}", quoted(&at.to_string_lossy())),
            What::MountIn(..) => "umount it there, or let go of that mount namespace".to_owned(),
            What::Orphan(_) => "jdb repair".to_owned(),
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The parent of a process: proc_pid_stat(5).
fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may have anything in it, parentheses included.
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_namespace_and_other_links_do_not() {
        let net = Namespace { kind: "net".into(), inode: 4_026_531_840 };
        assert_eq!(Namespace::parse("net:[4026531840]"), Some(net.clone()));
        assert_eq!(net.to_string(), "net:[4026531840]");
        for other in ["/dev/null", "socket:[12]", "net:[12", "pipe", "anon_inode:[eventfd]"] {
            assert_eq!(Namespace::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_holder_says_how_it_lets_go() {
        let namespace = Namespace::parse("net:[1]").unwrap();
        let by = |what| Holder { namespace: namespace.clone(), pid: Some(7), what, sure: true };
        let socket = by(What::Descriptor(3, Open::Socket("tcp socket".into())));
        assert_eq!(
            (socket.what.to_string().as_str(), socket.release().as_str()),
            ("fd 3, tcp socket", "kill -9 7, or let it close fd 3")
        );
        assert_eq!(by(What::Mount("/x".into())).release(), "nsenter -t 7 -m umount /x");
        assert_eq!(by(What::Mount("/a 'b;c".into())).release(), r"nsenter -t 7 -m umount '/a '\''b;c'");
        assert_eq!(by(What::Descriptor(3, Open::Namespace)).what.to_string(), "fd 3");
    }
}
