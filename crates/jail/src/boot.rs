//! What a boot ends. A store on a disk outlives it, and with it the records of jails that are gone. In a jail its store
//! outlives the mounts of the jail, and these are what its jails are held in.
//!
//! After a boot the kernel gives the names of its objects again. So while such a store is taken up none of them is looked
//! for: what its records speak of is gone, and what is left are files.

use std::{fs, time::Instant};

use kernel::namespace::{self, Kind};
use vimage::{Context as _, House as _, Result, file};

use crate::{Jails, jails::DRAINED, privilege, store::Wait};

/// The name of this boot, random(4).
const NOW: &str = "/proc/sys/kernel/random/boot_id";

/// The jail's init, where we are in one.
const INIT: &str = "/proc/1/stat";

/// The file that says which boot a store is of, if it is on a disk.
const FILE: &str = "boot";

impl Jails<'_> {
    /// Whether the store speaks of another boot: of jails that are all gone.
    #[must_use]
    pub fn has_outlived_a_boot(&self) -> bool {
        !self.goes_with_its_jails() && self.now().is_ok_and(|now| self.is_of(&now) == Some(false))
    }

    /// Whether the store is gone whenever its jails are.
    fn goes_with_its_jails(&self) -> bool {
        self.premises.store.goes_with_the_boot() && self.premises.above().is_none()
    }

    /// What the jails of the store live as long as: this boot, and, where we are in a jail, its mounts, in which what
    /// they are held by lies. These end with its last process.
    fn now(&self) -> Result<Vec<u8>> {
        let mut now = fs::read(NOW).doing_with(|| format!("cannot read {NOW}"))?;
        if self.premises.above().is_some() {
            let mounts = namespace::current(Kind::Mnt).and_then(rustix::fs::fstat);
            now.extend(mounts.doing("cannot tell our mount namespace")?.st_ino.to_string().into_bytes());
            // That number may be the next one's, too, which has another init: when this one was started, proc_pid_stat(5).
            let stat = fs::read_to_string(INIT).doing_with(|| format!("cannot read {INIT}"))?;
            let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            now.extend(fields.split(' ').nth(19).unwrap_or_default().bytes());
        }
        Ok(now)
    }

    /// Whether the store is of this boot; `None`: it does not say.
    fn is_of(&self, now: &[u8]) -> Option<bool> {
        fs::read(self.premises.store.root().join(FILE)).ok().map(|of| of == now)
    }

    /// Makes sure that the store speaks of no boot but this one: takes down what jails of another have left in files, and
    /// forgets them. To be called before anything in the store is believed.
    ///
    /// # Errors
    /// The store cannot be read or written; there is something to be done, and the caller may not.
    pub fn take_up(&self) -> Result<()> {
        if self.goes_with_its_jails() {
            return Ok(());
        }
        let now = self.now()?;
        if self.is_of(&now) == Some(true) {
            return Ok(());
        }
        privilege::check()?;
        let root = self.premises.store.root();
        let lock = fs::File::open(root).doing_with(|| format!("cannot open {}", root.display()))?;
        lock.lock().doing_with(|| format!("cannot lock {}", root.display()))?;
        // Another may have done it while we waited. A store that does not say has not lived through a boot.
        match self.is_of(&now) {
            Some(true) => return Ok(()),
            Some(false) => self.forget_all()?,
            None => {}
        }
        file::replace(&root.join(FILE), now)
    }

    fn forget_all(&self) -> Result<()> {
        self.premises.forsake(true);
        for jid in self.premises.store.jids()? {
            if let Err(error) = self.forget(jid) {
                // What it had made in files the audit finds.
                self.premises.tell(format!("jail {jid}, of another boot: {error}"));
                self.premises.store.discard(jid)?;
            }
        }
        self.premises.forsake(false);
        Ok(())
    }

    fn forget(&self, jid: u32) -> Result<()> {
        let Some(locked) = self.premises.store.lock(jid, Wait::Yes)? else { return Ok(()) };
        let owner = self.owner(&locked, None)?;
        self.unmake(locked, owner, Instant::now() + DRAINED).into_iter().next().map_or(Ok(()), Err)
    }
}
