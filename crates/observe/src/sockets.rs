//! The sockets of all processes, and which network stack each is of: asked of the kernel in one go where a program may
//! be loaded into it, else by a copy of each.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    path::Path,
};

use bpf::SocketFile;
use kernel::probe::{Feature, has};

use crate::{
    descriptor::{self, Stacks, Task},
    holder::{Holder, Namespace, What},
    process,
};

/// What is known of sockets.
#[derive(Default)]
pub(crate) struct Sockets {
    stacks: Stacks,
    /// All that were open at one moment, without the caller's.
    files: Vec<SocketFile>,
    known: HashSet<(u32, u32)>,
    /// Stacks of sockets that were looked at one by one. One that several processes have is looked at once.
    seen: HashMap<u64, Option<u64>>,
}

impl Sockets {
    /// Looks at all at once. Where that is not possible each is looked at when it is met.
    pub(crate) fn look(&mut self) {
        if !has(Feature::BpfIterators) {
            return;
        }
        let us = std::process::id();
        let files = bpf::sockets().unwrap_or_default();
        self.files = files.into_iter().filter(|file| file.pid != us).collect();
        self.known = self.files.iter().map(|file| (file.tid, file.fd)).collect();
    }

    /// Whether a descriptor is known to be a socket, by its thread and number.
    pub(crate) fn knows(&self, tid: i32, fd: u32) -> bool {
        self.known.contains(&(tid.unsigned_abs(), fd))
    }

    /// Those of the known that were made in one of some network stacks.
    pub(crate) fn holders(&mut self, wanted: &[Namespace]) -> Vec<Holder> {
        let mut holders = Vec::new();
        for file in &self.files {
            let (Ok(pid), Ok(tid)) = (i32::try_from(file.pid), i32::try_from(file.tid)) else { continue };
            let copy = || Task::new(pid, tid).copy(file.fd);
            let stack = self.stacks.of_cookie(file.netns, copy);
            let Some(found) = wanted.iter().find(|ns| ns.kind == "net" && Some(ns.inode) == stack) else {
                continue;
            };
            // It may be closed by now.
            let Some(socket) = copy() else { continue };
            holders.push(Holder {
                namespace: found.clone(),
                pid: Some(pid),
                what: What::descriptor(pid, tid, file.fd, descriptor::describe(socket)),
                sure: true,
            });
        }
        holders
    }

    /// The stack of a socket or of an interface, by its link in proc; `None` of anything else.
    pub(crate) fn stack_of(&mut self, link: &Path, copy: impl FnOnce() -> Option<OwnedFd>) -> Option<u64> {
        if let Some(inode) = process::socket(link) {
            let stacks = &mut self.stacks;
            return *self.seen.entry(inode).or_insert_with(|| stacks.of_socket(copy()?));
        }
        if link.ends_with("net/tun") { descriptor::of_tap(copy()?) } else { None }
    }
}
