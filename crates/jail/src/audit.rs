//! The records of all jails against the kernel, and what mends a difference.

use std::time::{Duration, Instant};

use vimage::{Error, Fds, Finding, Instance, Known, Ledger, Piece, Result, Settings};

use crate::{
    Jails,
    record::{Record, State},
    removal::end_processes,
    store::Wait,
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
            if !record.is_settled()
                && let Some(error) = self.unfinished(record.jid)?
            {
                findings.push(Finding::Unfinished { owner: record.name.clone(), error: error.to_string() });
            }
            let looked = match self.with_instance(record, |of| self.driver().missing(of)) {
                Ok(none) if none.is_empty() => Ok(none),
                Ok(_) => self.missing(record.jid),
                Err(e) => Err(e),
            };
            // What cannot be told of one jail hides nothing of the others.
            findings.extend(looked.unwrap_or_else(|error| {
                vec![Finding::Unknown { subsystem: record.name.clone(), error: error.to_string() }]
            }));
        }
        findings.extend(self.driver().shared_findings(&|jid| self.has_record(jid))?);
        findings.extend(self.strays(&pieces)?);
        Ok(findings)
    }

    /// What a jail lacks, looked at while nobody makes, changes or removes it: in between, a record is ahead of
    /// the kernel or behind it. What is not alive is the next sweep's.
    fn missing(&self, jid: u32) -> Result<Vec<Finding>> {
        let Some(mut locked) = self.premises.store.lock(jid, Wait::No)? else { return Ok(Vec::new()) };
        locked.record.pieces = locked.journal()?.pieces().to_vec();
        match self.is_alive(&locked.record) {
            true => self.with_instance(&locked.record, |of| self.driver().missing(of)),
            false => Ok(Vec::new()),
        }
    }

    /// What carries our mark and is in no record. A piece is recorded before it is made: so what the records do
    /// not know that are read after it was seen is nobody's, and not of a jail that was made meanwhile.
    fn strays(&self, pieces: &[Piece]) -> Result<Vec<Finding>> {
        let seen = self.driver().strays(&Known::of(pieces));
        if seen.is_empty() {
            return Ok(seen);
        }
        let (_, pieces, unknown) = self.all_pieces()?;
        if !unknown.is_empty() {
            return Ok(Vec::new());
        }
        let again = self.driver().strays(&Known::of(&pieces));
        Ok(again.into_iter().filter(|finding| seen.contains(finding)).collect())
    }

    /// Whether a jail has a record, be it one that cannot be read.
    fn has_record(&self, jid: u32) -> bool {
        !self.premises.store.read(jid).is_ok_and(|record| record.is_none())
    }

    /// Mends what [`Jails::audit`] finds and can be mended: undoes what is in no record, and what is shared
    /// and has no users left.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn repair(&self) -> Result<Vec<Error>> {
        let mut errors = self.force_held()?;
        errors.extend(self.sweep()?);
        let (_, pieces, unknown) = self.all_pieces()?;
        if !unknown.is_empty() {
            // What looks like nobody's may be of a jail whose record cannot be read.
            errors.extend(unknown);
            return Ok(errors);
        }
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
        let findings = self.strays(&pieces)?.into_iter();
        let strays: Vec<_> = findings
            .filter_map(|finding| match finding {
                Finding::Stray { piece } => Some(piece),
                _ => None,
            })
            .collect();
        // As a removal does: first the processes, then what was made last.
        errors.extend(end_processes(&strays));
        for piece in strays.iter().rev() {
            errors.extend(self.driver().undo_stray(piece, &nobody).err());
        }
        // Behind what only they may lead to: an interface of another in the switch stack.
        errors.extend(self.driver().sweep_shared(&|jid| self.has_record(jid)).err());
        errors.extend(self.premises.store.unname_lost().err());
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
