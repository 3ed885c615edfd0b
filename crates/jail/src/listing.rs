//! Jails that are looked at one after another. Each record is read once, however many jails are in that one.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use vimage::{Instance, Result};

use crate::{
    Jails,
    jails::not_found,
    record::{Record, State, parent_of},
};

/// Jails, and what was read of those that others are in.
pub struct Listing<'j, 'r> {
    jails: &'j Jails<'r>,
    /// By number. Others are dropped when they were looked at: a thousand at once would take megabytes.
    parents: RefCell<BTreeMap<u32, Rc<Record>>>,
}

impl fmt::Debug for Listing<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("parents", &self.parents.borrow().keys()).finish_non_exhaustive()
    }
}

impl<'j, 'r> Listing<'j, 'r> {
    /// Nothing was read yet.
    #[must_use]
    pub fn new(jails: &'j Jails<'r>) -> Self {
        Self { jails, parents: RefCell::default() }
    }

    /// The jails that it is of.
    #[must_use]
    pub fn jails(&self) -> &'j Jails<'r> {
        self.jails
    }

    /// All jails that can be entered, in the order of their numbers, each read when it is its turn; with `dying`, also
    /// those that are on their way out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn records(&self, dying: bool) -> Result<impl Iterator<Item = Rc<Record>>> {
        let jids = self.jails.premises.store.jids()?.into_iter();
        Ok(jids.filter_map(move |jid| {
            // One that is damaged does not hide the others; whoever names it is told.
            let mut record = self.read(jid).ok()??;
            let state = self.jails.state(&record);
            if state != record.state {
                Rc::make_mut(&mut record).state = state;
            }
            (state == State::Alive || (dying && state == State::Dying)).then_some(record)
        }))
    }

    /// Runs `act` with a jail as its subsystems see it.
    ///
    /// # Errors
    /// Those of `act`, and of reading its ancestors.
    pub fn with_instance<T>(
        &self,
        record: &Record,
        act: impl FnOnce(&Instance<'_>) -> Result<T>,
    ) -> Result<T> {
        let ancestors = self.ancestors(&record.name)?;
        self.jails.with_lineage(&ancestors, |parent| act(&self.jails.instance(record, parent)))
    }

    /// The records of the jails that one of this name is in, the nearest first.
    pub(crate) fn ancestors(&self, mut name: &str) -> Result<Vec<Rc<Record>>> {
        let mut ancestors = Vec::new();
        while let Some(parent) = parent_of(name) {
            let jid = self.jails.premises.store.jid(parent);
            let record = jid.map(|jid| self.read(jid)).transpose()?.flatten();
            let record = record.ok_or_else(|| not_found(parent))?;
            self.parents.borrow_mut().entry(record.jid).or_insert_with(|| record.clone());
            ancestors.push(record);
            name = parent;
        }
        Ok(ancestors)
    }

    fn read(&self, jid: u32) -> Result<Option<Rc<Record>>> {
        if let Some(known) = self.parents.borrow().get(&jid) {
            return Ok(Some(known.clone()));
        }
        let record = self.jails.premises.store.read(jid)?.map(Rc::new);
        if let Some(parent) = record.as_ref().filter(|r| r.settings.int("children.max") > Some(0)) {
            self.parents.borrow_mut().insert(jid, parent.clone());
        }
        Ok(record)
    }
}
