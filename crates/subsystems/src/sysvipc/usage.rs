//! What an ipc namespace holds, as the kernel counts it: `/proc/sysvipc`, proc_sysvipc(5).

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, BorrowedFd},
};

use kernel::namespace::{Kind as Ns, Visit};
use serde::Serialize;
use vimage::{Context as _, Cost, House, Instance, Node, Piece, Result};

/// The System V objects of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Message queues.
    pub queues: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of these.
    pub queued_bytes: u64,
    /// Semaphore sets.
    pub sets: u64,
    /// Semaphores in them.
    pub semaphores: u64,
    /// Shared memory segments.
    pub segments: u64,
    /// The sum of their sizes in bytes.
    pub segment_bytes: u64,
    /// How often they are attached.
    pub attached: u64,
}

impl Usage {
    /// What concerns one of the three facilities.
    #[must_use]
    pub fn node(&self, facility: &str) -> Node {
        let counts: &[(&str, u64)] = match facility {
            "sysvmsg" => &[("queues", self.queues), ("bytes queued", self.queued_bytes)],
            "sysvsem" => &[("sets", self.sets), ("semaphores", self.semaphores)],
            _ => &[("segments", self.segments), ("bytes", self.segment_bytes), ("attached", self.attached)],
        };
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), Node::leaf(*count))).collect();
        let mut node = Node::map();
        node.put("in use", Node::Map(counts));
        node
    }
}

/// Counts the objects of the namespace that the jail uses, its own or its parent's.
///
/// Needs no process inside: an open file of `/proc/sysvipc` stays with the namespace it was opened in.
///
/// # Errors
/// The namespace cannot be entered, or a file not be read.
pub fn usage(of: &Instance<'_>) -> Result<Usage> {
    let ipc = of.nearest("ipc")?;
    count(ipc.as_ref().map(|ipc| ipc.as_fd()))
}

/// What a namespace costs: the objects in it, if it is there still.
#[must_use]
pub fn cost(piece: &Piece, house: &dyn House) -> Cost {
    let open = || house.open(piece.anchor.as_ref()?).ok()?;
    let Some(used) = open().and_then(|ipc| count(Some(ipc.as_fd())).ok()) else { return Cost::default() };
    Cost::default()
        .count(used.queues, "message queue", "message queues")
        .bytes(used.queued_bytes, "messages")
        .count(used.sets, "semaphore set", "semaphore sets")
        .count(used.segments, "shared memory segment", "shared memory segments")
        .bytes(used.segment_bytes, "shared memory")
}

/// Counts the objects of a namespace; `None`: of our own.
fn count(ipc: Option<BorrowedFd<'_>>) -> Result<Usage> {
    let open = || -> io::Result<[File; 3]> {
        let [msg, sem, shm] = ["msg", "sem", "shm"].map(|name| File::open(format!("/proc/sysvipc/{name}")));
        Ok([msg?, sem?, shm?])
    };
    let files = match ipc {
        None => open(),
        Some(ipc) => {
            let _inside = Visit::enter(ipc, Ns::Ipc).doing("cannot enter the ipc namespace")?;
            open()
        }
    };
    let doing = "cannot read /proc/sysvipc";
    let mut texts: [String; 3] = Default::default();
    for (mut file, text) in files.doing(doing)?.into_iter().zip(&mut texts) {
        file.read_to_string(text).doing(doing)?;
    }
    let [msg, sem, shm] = texts;
    Ok(Usage {
        queues: rows(&msg),
        messages: sum(&msg, "qnum"),
        queued_bytes: sum(&msg, "cbytes"),
        sets: rows(&sem),
        semaphores: sum(&sem, "nsems"),
        segments: rows(&shm),
        segment_bytes: sum(&shm, "size"),
        attached: sum(&shm, "nattch"),
    })
}

/// The rows of a table below its head.
fn rows(table: &str) -> u64 {
    table.lines().skip(1).filter(|line| !line.trim().is_empty()).count() as u64
}

/// The sum of the column with this head; 0 without one.
fn sum(table: &str, column: &str) -> u64 {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let Some(at) = head.split_whitespace().position(|name| name == column) else { return 0 };
    lines.filter_map(|line| line.split_whitespace().nth(at)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHM: &str = "\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime
    5432001          0   600                    56   822   822      6   101   101   101   101 1718000000
          0          1  1600               4194304   900   900      2     0     0     0     0 1718000001
";

    #[test]
    fn columns_are_found_by_their_heads() {
        assert_eq!((rows(SHM), sum(SHM, "size"), sum(SHM, "nattch")), (2, 56 + (4 << 20), 8));
        assert_eq!((sum(SHM, "cbytes"), rows(""), sum("", "size")), (0, 0, 0));
    }
}
