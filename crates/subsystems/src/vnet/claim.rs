//! Claims: an address on a segment belongs to one owner.
//!
//! A claim is a symbolic link beside the shelf, named for segment and address, that points to its owner's
//! name: made in one step, and only where there is none.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use vimage::{Context as _, Error, ErrorKind, House, Known, Piece, Result, Site};

use super::NAME;

/// The kind of a claim's piece.
pub const KIND: &str = "address";
/// What it is for the kernel: nothing, since what has the address goes with its link.
pub const OBJECT: (&str, &str) = (KIND, "claim of an address (ours)");

/// A jail as an owner. Its number, since a name can be changed.
#[must_use]
pub fn owner(jid: u32) -> String {
    format!("jail {jid}")
}

/// The piece of a claim: `segment` with its scope, `owner` of the claim, `link` that has the address.
#[must_use]
pub fn piece(segment: &str, ip: IpAddr, owner: &str, link: &str) -> Piece {
    Piece::new(KIND, format!("{segment},{ip}")).with(serde_json::json!({ "owner": owner, "link": link }))
}

/// Claims an address.
///
/// # Errors
/// `address 10.9.0.11 is already on segment lan`; the file system refuses.
pub fn make(site: &mut Site<'_>, piece: Piece) -> Result<()> {
    let house = site.house;
    let path = path(house, &piece.key);
    let owner = piece.text("owner").unwrap_or_default().to_owned();
    let key = piece.key.clone();
    site.make(piece, || {
        let made = match symlink(&owner, &path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| symlink(&owner, &path))
            }
            other => other,
        };
        let doing = || format!("cannot make {}", path.display());
        match made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match free(house, &path, &key, &owner)? {
                true => symlink(&owner, &path).doing_with(doing),
                false => Ok(()),
            },
            other => other.doing_with(doing),
        }
    })
}

/// Whether an owner may claim an address, as far as can be told before.
///
/// # Errors
/// Another has it.
pub fn check(house: &dyn House, segment: &str, ip: IpAddr, owner: &str) -> Result<()> {
    let key = format!("{segment},{ip}");
    free(house, &path(house, &key), &key, owner).map(drop)
}

/// Whether an address is free; false: the owner has it already. A jail that is being taken down gives it up.
fn free(house: &dyn House, path: &Path, key: &str, owner: &str) -> Result<bool> {
    let Ok(other) = fs::read_link(path) else { return Ok(true) };
    if other.as_os_str() == owner {
        return Ok(false);
    }
    let jid = other.to_str().and_then(|other| other.strip_prefix("jail ")?.parse().ok());
    if let Some(jid) = jid
        && house.gives_up(jid)?
        && fs::read_link(path).is_err()
    {
        return Ok(true);
    }
    let (segment, ip) = names(key);
    let error = Error::new(ErrorKind::Exists, format!("vnet: address {ip} is already on segment {segment}"));
    Err(error.hint(format!("{} has it", other.display())))
}

/// Gives an address back. One that another has claimed stays: an owner may be here because it was refused.
///
/// # Errors
/// The file system refuses.
pub fn undo(house: &dyn House, piece: &Piece) -> Result<()> {
    if !exists(house, piece) {
        return Ok(());
    }
    let path = path(house, &piece.key);
    fs::remove_file(&path).doing_with(|| format!("cannot remove {}", path.display()))
}

/// Whether the claim is there, and its owner's.
#[must_use]
pub fn exists(house: &dyn House, piece: &Piece) -> bool {
    let owner = fs::read_link(path(house, &piece.key));
    owner.is_ok_and(|owner| Some(owner.as_os_str()) == piece.text("owner").map(std::ffi::OsStr::new))
}

/// Claims that no record knows.
pub fn strays(known: &Known, house: &dyn House) -> Vec<Piece> {
    let entries = fs::read_dir(path(house, "")).into_iter().flatten().flatten();
    let claims = entries.filter_map(|entry| {
        let key = entry.file_name().into_string().ok()?;
        let owner = fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok()?;
        Some(Piece::new(KIND, key).with(serde_json::json!({ "owner": owner })))
    });
    claims.filter(|claim| !known.has(NAME, KIND, &claim.key)).collect()
}

/// What a claim costs, in words.
pub fn cost(piece: &Piece) -> String {
    let (segment, ip) = names(&piece.key);
    format!("no other can have {ip} on segment {segment}")
}

/// The names of the segment, without its scope, and of the address.
fn names(key: &str) -> (&str, &str) {
    let (segment, ip) = key.split_once(',').unwrap_or((key, ""));
    (segment.split_once(':').map_or(segment, |(_, name)| name), ip)
}

fn path(house: &dyn House, key: &str) -> PathBuf {
    let shelf = house.shelf();
    shelf.parent().unwrap_or(shelf).join("addresses").join(key)
}
