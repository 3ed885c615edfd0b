//! `jdb ledger`: how many kernel objects of each kind were made for jails, and freed.

use ::jail::Jails;
use vimage::{Node, Result};

/// A row for each kind of piece, with the kernel object that it is.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn table(jails: &Jails<'_>, json: bool) -> Result<Node> {
    let mut columns = vec!["object", "kind", "made", "freed", "outstanding"];
    // By its first name, for the programs that know it.
    columns.extend(json.then_some("alive"));
    let mut table = Node::table(&columns);
    for (name, count) in jails.ledger()?.iter() {
        let (subsystem, kind) = name.split_once('/').unwrap_or((name, name));
        let object = jails.driver().registry.object(subsystem, kind);
        let numbers = [count.made, count.freed, count.outstanding()];
        let numbers = numbers.into_iter().chain(json.then_some(count.outstanding()));
        table.row([object.into(), name.into()].into_iter().chain(numbers.map(Into::into)).collect());
    }
    Ok(table)
}

/// What is to be said of a ledger that does not end with the boot: since when it counts.
pub(crate) fn since(jails: &Jails<'_>) -> Option<String> {
    let store = &jails.premises.store;
    let root = store.root().display();
    (!store.goes_with_the_boot())
        .then(|| format!("{root} is not on a tmpfs: counted since it was made, not since boot"))
}
