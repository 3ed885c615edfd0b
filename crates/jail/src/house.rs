//! What the store and the vault offer to subsystems.

use std::{
    cell::{Cell, OnceCell, RefCell},
    fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use kernel::{
    namespace::{self, Handle, Kind},
    probe::{Feature, has},
};
use rustix::io::Errno;
use siphasher::sip::SipHasher24;
use vimage::{Anchor, Context as _, Error, ErrorKind, Fds, House, Instance, Piece, Result, Settings, Told};

use crate::{
    cgroup, core,
    record::{Record, State},
    store::{Store, Wait},
    vault::Vault,
};

/// How long a jail that is being taken down is waited for where it has what is wanted.
const MOMENT: Duration = Duration::from_secs(2);

/// The store and its vault.
#[derive(Debug)]
pub struct Premises {
    /// The records.
    pub store: Store,
    /// What is held without a process.
    pub vault: Vault,
    shelf: PathBuf,
    mark: String,
    told: RefCell<Vec<String>>,
    /// Whether the records are of another boot: the kernel has nothing of what they name.
    forsaken: Cell<bool>,
    /// What the jail that we are in is told of itself, once it was read.
    above: OnceCell<Option<Told>>,
    /// The machine's, once it was read.
    secret: OnceCell<[u8; 16]>,
}

impl Premises {
    /// Of the store at a folder.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Store::open(root)?;
        let place = fs::canonicalize(root).doing_with(|| format!("cannot find {}", root.display()))?;
        let mark = match place.to_str() {
            Some("/run/jail") => "jail".to_owned(),
            // Another store has jails of the same numbers.
            _ => {
                let mut hash = SipHasher24::new_with_keys(0, 0);
                std::hash::Hasher::write(&mut hash, place.as_os_str().as_encoded_bytes());
                format!("jail-{:08x}", std::hash::Hasher::finish(&hash) >> 32)
            }
        };
        Ok(Self {
            vault: Vault::of(root),
            shelf: root.join("shared"),
            store,
            mark,
            told: RefCell::default(),
            forsaken: Cell::default(),
            above: OnceCell::new(),
            secret: OnceCell::new(),
        })
    }

    /// Says whether the records are of another boot.
    pub(crate) fn forsake(&self, forsaken: bool) {
        self.forsaken.set(forsaken);
    }

    /// Takes what whoever gave the command should know, though nothing failed.
    #[must_use]
    pub fn take_told(&self) -> Vec<String> {
        self.told.take()
    }

    /// The namespace of a number among the processes of our jails and what the vault holds: for kernels on
    /// which a namespace has no handle.
    fn search(&self, kind: Kind, inum: u32) -> Result<Option<OwnedFd>> {
        let is_it = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|s| s.st_ino == u64::from(inum));
        for owner in self.vault.owners()? {
            if let Some(fd) = self.vault.open(&owner, kind.name())?.filter(is_it) {
                return Ok(Some(fd));
            }
        }
        for jid in self.store.jids()? {
            let Ok(Some(record)) = self.store.read(jid) else { continue };
            let dirs =
                record.pieces.iter().filter_map(|p| p.anchor.as_ref()).filter(|a| a.kind() == "cgroup");
            for dir in dirs.filter(|a| a.object().starts_with('/')) {
                for pid in cgroup::all_pids(Path::new(dir.object())) {
                    let path = format!("/proc/{pid}/ns/{}", kind.name());
                    if let Some(fd) = fs::File::open(path).ok().map(OwnedFd::from).filter(is_it) {
                        return Ok(Some(fd));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl House for Premises {
    fn above(&self) -> Option<&Settings> {
        let read = || crate::above::itself(&self.store);
        self.above.get_or_init(read).as_ref().map(|told| &told.settings)
    }

    fn open(&self, anchor: &Anchor) -> Result<Option<OwnedFd>> {
        if self.forsaken.get() {
            return Ok(None);
        }
        let doing = || format!("cannot open {anchor}");
        if anchor.object().starts_with('/') {
            return match fs::File::open(anchor.object()) {
                Ok(file) => Ok(Some(file.into())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e).doing_with(doing),
            };
        }
        let handle: Handle = anchor.0.parse().doing_with(doing)?;
        if handle.id == 0 || !has(Feature::NsfsHandles) {
            return self.search(handle.kind, handle.inum);
        }
        match handle.open() {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::STALE) => Ok(None),
            Err(e) => Err(e).doing_with(doing),
        }
    }

    fn reopen(&self, of: &Instance<'_>, name: &str) -> Result<Option<OwnedFd>> {
        core::reopen_mount(of, self, name)
    }

    fn anchor(&self, kind: &str, object: BorrowedFd<'_>) -> Result<Anchor> {
        let doing = || format!("cannot name the {kind} namespace");
        match Handle::of(object) {
            Ok(handle) => Ok(Anchor(handle.to_string())),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                let inode = rustix::fs::fstat(object).doing_with(doing)?.st_ino;
                let inum = u32::try_from(inode).doing_with(doing)?;
                let kind = Kind::from_name(kind)
                    .ok_or_else(|| Error::new(ErrorKind::Failed, format!("{kind} is no namespace")))?;
                Ok(Anchor(Handle { id: 0, kind, inum }.to_string()))
            }
            Err(e) => Err(e).doing_with(doing),
        }
    }

    fn hold(&self, owner: &str, name: &str, object: BorrowedFd<'_>) -> Result<()> {
        self.vault.hold(owner, name, object)
    }

    fn release(&self, owner: &str) -> Result<()> {
        self.release_all(&[owner]).into_iter().collect()
    }

    fn release_all(&self, owners: &[&str]) -> Vec<Result<()>> {
        self.vault.release(owners)
    }

    fn held(&self) -> Result<Vec<String>> {
        self.vault.owners()
    }

    fn holds(&self, owner: &str) -> Result<bool> {
        self.vault.has(owner)
    }

    fn kept(&self, owner: &str) -> Result<Fds> {
        let kept = Fds::default();
        for name in self.vault.names(owner)? {
            if let Some(fd) = self.vault.open(owner, &name)? {
                kept.put(name, fd);
            }
        }
        Ok(kept)
    }

    fn gives_up(&self, jid: u32) -> Result<bool> {
        // One that was never finished keeps its name until whoever clears it up takes that away.
        let lives = |record: Record| record.state == State::Alive && self.store.is_named(&record);
        if self.store.read(jid)?.is_some_and(lives) {
            return Ok(false);
        }
        // Not for ever: it may wait for what our caller has locked.
        let deadline = Instant::now() + MOMENT;
        while Instant::now() < deadline && self.store.is_there(jid) {
            if self.store.lock(jid, Wait::No)?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(true)
    }

    fn living(&self, jail: &str, kind: &str) -> Result<Option<Anchor>> {
        let Some(jid) = self.store.jid(jail) else { return Ok(None) };
        // One whose processes ended has given up its instances with them: they cannot be opened.
        let record = self.store.read(jid)?.filter(|r| r.state != State::Dying);
        let instances = record.into_iter().flat_map(|r| r.pieces).filter(|p| p.kind == Piece::INSTANCE);
        Ok(instances.filter_map(|p| p.anchor).find(|a| a.kind() == kind))
    }

    fn number(&self, series: &str) -> Result<u32> {
        self.store.number(series)
    }

    fn stable(&self, words: &str) -> Result<u64> {
        let secret = match self.secret.get() {
            Some(secret) => secret,
            None => {
                let secret = self.store.secret()?;
                self.secret.get_or_init(|| secret)
            }
        };
        let mut hash = SipHasher24::new_with_key(secret);
        std::hash::Hasher::write(&mut hash, words.as_bytes());
        Ok(std::hash::Hasher::finish(&hash))
    }

    fn tell(&self, what: String) {
        self.told.borrow_mut().push(what);
    }

    fn mark(&self) -> &str {
        &self.mark
    }

    fn shelf(&self) -> &Path {
        &self.shelf
    }
}

/// The namespaces of a process that were just born, by name.
///
/// # Errors
/// The process is gone.
pub(crate) fn namespaces_of(pidfd: BorrowedFd<'_>, flags: u64) -> Result<Vec<(&'static str, OwnedFd)>> {
    let kinds = Kind::ALL.into_iter().filter(|k| flags & u64::from(k.flag()) != 0);
    kinds
        .map(|kind| {
            let fd = namespace::of_process(pidfd.as_fd(), kind);
            Ok((kind.name(), fd.doing_with(|| format!("cannot open the new {} namespace", kind.name()))?))
        })
        .collect()
}
