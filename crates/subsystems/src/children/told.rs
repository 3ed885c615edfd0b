//! What a jail that makes jails knows from above: what it has itself, which no jail of its own has more of, and the
//! jails in it that were made from further up. A folder of the store, which it can read.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use vimage::{Context as _, House, Piece, Result, Site, Told, file};

use super::{NAME, hosts};
use crate::{rctl::rule, shown::folder};

/// The piece of a jail's folder.
pub(super) const FOLDER: &str = "folder";
/// The piece of the file about a jail in the folder of one that it is in.
pub(super) const FILE: &str = "file";

/// Parameters that are about the host, or whoever looks after the jail: by their names, or how these begin.
const OTHERS: [&str; 10] = [
    "children.cur",
    "command",
    "depend",
    "devfs_ruleset",
    "exec.",
    "meta",
    "mount",
    "path",
    "stop.",
    "vnet.",
];

/// The folder of the store with those of all jails. Where a jail sees its own it is called otherwise.
pub(super) const ALL: &str = "told";

/// The folder for a jail.
pub(super) fn path(house: &dyn House, jid: u32) -> PathBuf {
    folder(house, ALL).join(jid.to_string())
}

/// Makes the folder of a jail.
pub(super) fn begin(site: &mut Site<'_>) -> Result<()> {
    let path = path(site.house, site.jid);
    let text = text(site)?;
    site.make(Piece::new(FOLDER, path.to_string_lossy()), || {
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .doing_with(|| format!("cannot make {}", path.display()))?;
        file::publish(&path.join(Told::SELF), &text)
    })
}

/// Tells those that a jail is in.
pub(super) fn tell(site: &mut Site<'_>) -> Result<()> {
    let mut above = site.parent;
    while let Some(of) = above {
        above = of.parent;
        if hosts(of.settings) {
            let path = path(of.house, of.jid).join(site.jid.to_string());
            let text = text(site)?;
            site.make(Piece::new(FILE, path.to_string_lossy()), || file::publish(&path, &text))?;
        }
    }
    Ok(())
}

/// Tells what has changed.
pub(super) fn again(site: &mut Site<'_>) -> Result<()> {
    let instance = site.instance();
    let itself = instance.pieces_of(NAME, FOLDER).map(|piece| Path::new(&piece.key).join(Told::SELF));
    let others = instance.pieces_of(NAME, FILE).map(|piece| PathBuf::from(&piece.key));
    let files: Vec<_> = itself.chain(others).collect();
    if files.is_empty() {
        return Ok(());
    }
    let text = text(site)?;
    files.iter().try_for_each(|path| file::publish(path, &text))
}

/// What is said of a jail. What those above it are called is nobody's business below.
fn text(site: &Site<'_>) -> Result<Vec<u8>> {
    let mut settings = site.settings.clone();
    let names: Vec<_> = settings.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names.iter().filter(|name| OTHERS.iter().any(|other| name.starts_with(other))) {
        settings.remove(name);
    }
    let name = site.name.rsplit('.').next().unwrap_or_default().to_owned();
    if settings.get(rule::RULES).is_some() {
        settings.set(rule::RULES, rule::told(site.settings, &name));
    }
    let parent = site.parent.map_or(0, |parent| parent.jid);
    serde_json::to_vec(&Told { jid: site.jid, name, parent, settings }).doing("children.max")
}
