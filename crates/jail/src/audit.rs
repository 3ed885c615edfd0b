//! The records of all jails against the kernel, and what mends a difference.

use std::time::{Duration, Instant};

use vimage::{Error, Fds, Finding, Instance, Known, Ledger, Piece, Result, Settings};

use crate::{
    Jails,
    record::{Record, State},
};

impl Jails<'_> {
    /// What is wrong: pieces that are recorded and do not exist, and what carries our mark and is in no
    /// record. Sweeps first, and gives what is dying two seconds to go: the kernel takes its time, and a host's
    /// init may take more to collect a jail's.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn audit(&self) -> Result<Vec<Finding>> {
        let patience = Instant::now() + Duration::from_secs(2);
        self.sweep()?;
        while Instant::now() < patience && self.list(true)?.iter().any(|r| r.state == State::Dying) {
            std::thread::sleep(Duration::from_millis(20));
            self.sweep()?;
        }
        let mut findings = Vec::new();
        let (records, pieces, unknown) = self.all_pieces()?;
        findings.extend(unknown.into_iter().map(|error| Finding::Unknown {
            subsystem: crate::core::NAME.to_owned(),
            error: error.to_string(),
        }));
        for record in &records {
            findings.extend(self.with_instance(record, |of| self.driver().missing(of))?);
        }
        let jids: Vec<_> = records.iter().map(|r| r.jid).collect();
        findings.extend(self.driver().shared_findings(&|jid| jids.contains(&jid))?);
        findings.extend(self.driver().strays(&Known::of(&pieces)));
        Ok(findings)
    }

    /// Mends what [`Jails::audit`] finds and can be mended: undoes what is in no record, and what is shared
    /// and has no users left.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn repair(&self) -> Result<Vec<Error>> {
        let mut errors = self.sweep()?;
        let (records, pieces, unknown) = self.all_pieces()?;
        if !unknown.is_empty() {
            // What looks like nobody's may be of a jail whose record cannot be read.
            errors.extend(unknown);
            return Ok(errors);
        }
        let jids: Vec<_> = records.iter().map(|r| r.jid).collect();
        errors.extend(self.driver().sweep_shared(&|jid| jids.contains(&jid)).err());
        let settings = Settings::default();
        let nobody = Instance {
            name: "stray",
            jid: 0,
            settings: &settings,
            parent: None,
            pieces: &[],
            fds: Fds::default(),
            house: &self.premises,
        };
        for finding in self.driver().strays(&Known::of(&pieces)) {
            if let Finding::Stray { piece } = finding {
                errors.extend(self.driver().undo_stray(&piece, &nobody).err());
            }
        }
        Ok(errors)
    }

    /// How many pieces of each kind were made and freed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn ledger(&self) -> Result<Ledger> {
        let (_, pieces, _) = self.all_pieces()?;
        Ledger::read(&self.premises.store.root().join("ledger"), &pieces)
    }

    /// Writes down what this command did: its trace, and what it freed.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn close(&self) -> Result<()> {
        Ledger::add(&self.premises.store.root().join("ledger"), &self.recorder.take_freed())?;
        self.premises.store.add_trace(&self.recorder.take())
    }

    /// All records, all pieces of jails and of what they share, and why others cannot be read.
    fn all_pieces(&self) -> Result<(Vec<Record>, Vec<Piece>, Vec<Error>)> {
        use vimage::{House as _, Shared};
        let (mut records, mut unknown) = (Vec::new(), Vec::new());
        for jid in self.premises.store.jids()? {
            match self.premises.store.read(jid) {
                Ok(record) => records.extend(record),
                Err(e) => unknown.push(e),
            }
        }
        let mut pieces: Vec<_> = records.iter().flat_map(|r| r.pieces.clone()).collect();
        for name in Shared::names(self.premises.shelf())? {
            match Shared::peek(self.premises.shelf(), &name) {
                Ok((_, shared)) => pieces.extend(shared),
                Err(e) => unknown.push(e),
            }
        }
        Ok((records, pieces, unknown))
    }
}
