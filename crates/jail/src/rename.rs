//! Renaming a jail, and with it all that are in it.
//!
//! The record says the other name from before the first link is made until the last old one is gone, so that
//! whoever sweeps can finish what a killed command began: before the record has the new name there is nothing
//! but links to take away, afterwards there is nothing but records to follow.

use vimage::{Error, Result, Value};

use crate::{Jails, core, record::parent_of, store::Locked};

impl Jails<'_> {
    /// The full name that a jail is to have, from the words of `name=`: what has no dot stays in its parent.
    pub(crate) fn new_name(locked: &Locked, wanted: &str) -> Result<String> {
        let (old, jid) = (&locked.record.name, locked.record.jid);
        let name = match (wanted.contains('.'), parent_of(old)) {
            _ if wanted.is_empty() => jid.to_string(),
            (true, parent) if parent_of(wanted) != parent => {
                return Err(Error::usage("cannot change jail's parent"));
            }
            (false, Some(parent)) => format!("{parent}.{wanted}"),
            _ => wanted.to_owned(),
        };
        core::check_name(&name, Some(i64::from(jid)))?;
        Ok(name)
    }

    /// Makes the names of a jail's family lead to them below another name, too.
    ///
    /// # Errors
    /// `jail "x" already exists`; the file system refuses.
    pub(crate) fn claim(&self, family: &[(String, u32)], new: &str) -> Result<()> {
        family.iter().try_for_each(|(suffix, jid)| {
            let free = &mut |dead| self.give_up(dead);
            self.premises.store.claim(&format!("{new}{suffix}"), *jid, free)
        })
    }

    /// Ends a renaming, whichever way: all that are in the jail get names below its own, and nothing is left
    /// of the other name. The caller has locked the family, or nobody else can.
    pub(crate) fn follow(&self, locked: &mut Locked) -> Result<()> {
        let store = &self.premises.store;
        let Some(other) = locked.record.other_name.clone() else { return Ok(()) };
        let (name, own) = (locked.record.name.clone(), locked.record.jid);
        for (suffix, jid) in self.family(&name, own)? {
            let (right, wrong) = (format!("{name}{suffix}"), format!("{other}{suffix}"));
            if jid != own
                && let Some(record) = store.read(jid)?.filter(|record| record.name != right)
                && record.name == wrong
            {
                store.rename_record(jid, &right)?;
            }
            store.unname(&wrong, jid)?;
        }
        locked.record.other_name = None;
        let mut journal = locked.journal()?;
        locked.save(&mut journal)
    }

    /// The jail of a name and those in it: what of each name comes after the jail's, and its number.
    pub(crate) fn family(&self, name: &str, jid: u32) -> Result<Vec<(String, u32)>> {
        let names = self.premises.store.names()?.into_iter();
        let below = names.filter_map(|(other, jid)| {
            let suffix = other.strip_prefix(name).filter(|suffix| suffix.starts_with('.'))?;
            Some((suffix.to_owned(), jid))
        });
        Ok(std::iter::once((String::new(), jid)).chain(below).collect())
    }
}

/// Sets a record's name, and the value that says the same.
pub(crate) fn set_name(locked: &mut Locked, name: &str) {
    name.clone_into(&mut locked.record.name);
    locked.record.settings.set("name", Value::Text(name.to_owned()));
}
