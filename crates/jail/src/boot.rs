//! What a boot ends. A store on a disk outlives it, and with it the records of jails that are gone.
//!
//! After a boot the kernel gives the names of its objects again. So while such a store is taken up none of them is looked
//! for: what its records speak of is gone, and what is left are files.

use std::{fs, io::Write as _, path::Path, time::Instant};

use vimage::{Context as _, House as _, Result};

use crate::{Jails, jails::DRAINED, privilege, store::Wait};

/// The name of this boot, random(4).
const NOW: &str = "/proc/sys/kernel/random/boot_id";

/// The file that says which boot a store is of, if it is on a disk.
const FILE: &str = "boot";

impl Jails<'_> {
    /// Whether the store speaks of another boot: of jails that are all gone.
    #[must_use]
    pub fn has_outlived_a_boot(&self) -> bool {
        let of = || fs::read(self.premises.store.root().join(FILE)).ok();
        !self.premises.store.goes_with_the_boot()
            && of().is_some_and(|of| fs::read(NOW).is_ok_and(|now| now != of))
    }

    /// Makes sure that the store speaks of no boot but this one: takes down what jails of another have left in files, and
    /// forgets them. To be called before anything in the store is believed. Returns how many jails there were.
    ///
    /// # Errors
    /// The store cannot be read or written; there is something to be done, and the caller may not.
    pub fn take_up(&self) -> Result<usize> {
        let root = self.premises.store.root();
        if self.premises.store.goes_with_the_boot() {
            return Ok(0);
        }
        let now = fs::read(NOW).doing_with(|| format!("cannot read {NOW}"))?;
        let path = root.join(FILE);
        let is_of = |boot: &[u8]| fs::read(&path).is_ok_and(|of| of == boot);
        if is_of(&now) {
            return Ok(0);
        }
        privilege::check()?;
        let lock = fs::File::open(root).doing_with(|| format!("cannot open {}", root.display()))?;
        lock.lock().doing_with(|| format!("cannot lock {}", root.display()))?;
        // Another may have done it while we waited. A store that does not say has not lived through a boot.
        let known = path.exists();
        if is_of(&now) {
            return Ok(0);
        }
        let jids = if known { self.premises.store.jids()? } else { Vec::new() };
        self.premises.forsake(true);
        for jid in &jids {
            if let Err(error) = self.forget(*jid) {
                // What it had made in files the audit finds.
                self.premises.tell(format!("jail {jid}, of another boot: {error}"));
                self.premises.store.discard(*jid)?;
            }
        }
        self.premises.forsake(false);
        write(&path, &now).doing_with(|| format!("cannot write {}", path.display()))?;
        Ok(jids.len())
    }

    fn forget(&self, jid: u32) -> Result<()> {
        let Some(locked) = self.premises.store.lock(jid, Wait::Yes)? else { return Ok(()) };
        let owner = self.owner(&locked, None)?;
        self.unmake(locked, owner, Instant::now() + DRAINED).into_iter().next().map_or(Ok(()), Err)
    }
}

/// Written whole or not at all.
fn write(path: &Path, boot: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    fs::File::create(&new)?.write_all(boot)?;
    fs::rename(&new, path)
}
