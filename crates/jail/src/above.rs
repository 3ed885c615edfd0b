//! What we are told from above where we are in a jail ourselves: what it has, and the jails in it that were made from
//! further up. Nothing of this is trusted with more than what is shown and what is refused: the kernel holds whoever
//! is in a jail to what that may.

use std::{collections::BTreeMap, fs, iter};

use vimage::{Told, file};

use crate::store::Store;

/// What is said of the jail itself; `None`: we are in none that makes jails.
pub(crate) fn itself(store: &Store) -> Option<Told> {
    read(store, Told::SELF)
}

/// What is said of the jails in it, by their numbers: with their names as they are seen in it.
#[must_use]
pub fn others(store: &Store) -> Vec<Told> {
    let entries = fs::read_dir(store.root().join(Told::FOLDER)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbered = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let told: BTreeMap<_, _> =
        numbered.filter_map(|name| read(store, &name)).map(|one| (one.jid, one)).collect();
    let full = |one: &Told| {
        // However they may go in a circle.
        let above = |one: &&Told| told.get(&one.parent);
        let mut parts: Vec<_> =
            iter::successors(Some(one), above).take(told.len()).map(|one| one.name.as_str()).collect();
        parts.reverse();
        parts.join(".")
    };
    told.values().map(|one| Told { name: full(one), ..one.clone() }).collect()
}

fn read(store: &Store, name: &str) -> Option<Told> {
    let text = file::read(&store.root().join(Told::FOLDER).join(name)).ok().flatten()?;
    serde_json::from_slice(&text).ok()
}
