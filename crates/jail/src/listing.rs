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

#[cfg(test)]
mod tests {
    use std::fs;

    use kernel::act::Act;
    use vimage::{Registry, Value};

    use super::*;

    /// Jails that persist, in an order in which most parents come first, as it is with numbers that were not asked for.
    fn jails<'r>(registry: &'r Registry<Act>, names: &[(&str, i64)]) -> (tempfile::TempDir, Jails<'r>) {
        let dir = tempfile::tempdir().unwrap();
        let jails = Jails::open(dir.path(), registry).unwrap();
        for (name, children) in names {
            let mut locked = jails.premises.store.allocate(Some(name), None, &mut |_| Ok(false)).unwrap();
            locked.record.state = State::Alive;
            locked.record.settings.set("persist", Value::Bool(true));
            locked.record.settings.set("children.max", Value::Int(*children));
            let mut journal = locked.journal().unwrap();
            locked.save(&mut journal).unwrap();
        }
        (dir, jails)
    }

    /// The names of the jails that one is in, as its subsystems see them.
    fn above(listing: &Listing<'_, '_>, record: &Record) -> Result<String> {
        listing.with_instance(record, |of| {
            let names = std::iter::successors(of.parent, |parent| parent.parent).map(|parent| parent.name);
            Ok(names.collect::<Vec<_>>().join(" "))
        })
    }

    #[test]
    fn a_record_is_read_once_however_many_jails_are_in_that_one() {
        let registry = Registry::new(&[]).unwrap();
        let (dir, jails) =
            jails(&registry, &[("a.x.y", 0), ("b", 0), ("a", 9), ("a.x", 1), ("a.z", 0), ("b.c", 0)]);
        let listing = Listing::new(&jails);
        let mut seen = Vec::new();
        for record in listing.records(false).unwrap() {
            seen.push(format!("{}: {}", record.name, above(&listing, &record).unwrap()));
            // Whoever reads it again finds none.
            for read in listing.parents.borrow().keys() {
                let _removed_before = fs::remove_file(dir.path().join(format!("jails/{read}/record")));
            }
        }
        assert_eq!(seen, ["a.x.y: a.x a", "b: ", "a: ", "a.x: a", "a.z: a", "b.c: b"]);
        // Of those that nobody can be in, only what somebody is in nevertheless is kept.
        assert_eq!(listing.parents.borrow().keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
        let gone = Listing::new(&jails).ancestors("a.z").unwrap_err();
        assert_eq!(gone.to_string(), "jail \"a\" not found");
    }

    #[test]
    fn what_is_kept_of_a_parent_is_what_its_file_says() {
        let registry = Registry::new(&[]).unwrap();
        let (_dir, jails) = jails(&registry, &[("a", 1), ("a.b", 0)]);
        // Its removal has begun, and nobody has written it down.
        jails.premises.store.unname("a", 1).unwrap();
        let listing = Listing::new(&jails);
        let states = |dying| listing.records(dying).unwrap().map(|r| (r.jid, r.state)).collect::<Vec<_>>();
        assert_eq!(states(false), [(2, State::Alive)]);
        assert_eq!(states(true), [(1, State::Dying), (2, State::Alive)]);
        assert_eq!(listing.parents.borrow()[&1].state, State::Alive);
    }
}
