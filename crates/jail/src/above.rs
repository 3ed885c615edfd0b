//! What we are told from above where we are in a jail ourselves: what it has, and the jails in it that were made from
//! further up. Nothing of this is trusted with more than what is shown and what is refused: the kernel holds whoever
//! is in a jail to what that may.

use std::fs;

use vimage::{Told, file};

use crate::store::Store;

/// What is said of the jail itself; `None`: we are in none that makes jails.
pub(crate) fn itself(store: &Store) -> Option<Told> {
    read(store, Told::SELF)
}

/// What is said of the jails in it, by their numbers.
#[must_use]
pub fn others(store: &Store) -> Vec<Told> {
    let entries = fs::read_dir(store.root().join(Told::FOLDER)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbered = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let mut others: Vec<_> = numbered.filter_map(|name| read(store, &name)).collect();
    others.sort_by_key(|told| told.jid);
    others
}

fn read(store: &Store, name: &str) -> Option<Told> {
    let text = file::read(&store.root().join(Told::FOLDER).join(name)).ok().flatten()?;
    serde_json::from_slice(&text).ok()
}
