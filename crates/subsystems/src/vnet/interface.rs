//! `vnet.interface`: interfaces of the parent's that are the jail's as long as it lives.

use std::os::fd::{AsFd, OwnedFd};

use netlink::{
    Route, Socket,
    link::{self, Link},
};
use rustix::io::Errno;
use serde_json::json;
use vimage::{Context as _, Error, ErrorKind, House, Piece, Result, Site};

use super::{
    NAME,
    address::NAME_MAX,
    borrowed::{self, Was},
    segment::{Around, HELD, is_ours},
    stack::{self, Batch},
};

/// Checks that an interface can be moved; returns it.
///
/// # Errors
/// `vnet.interface: cannot move "e0b": No such device`.
pub fn check(around: &mut Around<'_>, name: &str) -> Result<Link> {
    let bad = |kind, what: &str| Error::new(kind, format!("vnet.interface: cannot move \"{name}\": {what}"));
    if name.is_empty() || name.len() > NAME_MAX || name.contains(['/', '\0']) {
        return Err(bad(ErrorKind::Usage, "not a name"));
    }
    let found = around.socket()?.link_by_name(name).map_err(stack::refused)?;
    match found {
        None => Err(bad(ErrorKind::NotFound, "No such device").hint("another jail may have it")),
        Some(_) if name == "lo" => Err(bad(ErrorKind::Usage, "every stack has a loopback of its own")),
        Some(link) if link.kind.as_deref() == Some("bridge") => {
            let error = bad(ErrorKind::Usage, "a bridge cannot leave its network stack");
            Err(error.hint(format!("vnet.link=\"eth0 {name}\" connects the jail to it")))
        }
        Some(link) if is_ours(&link) => Err(bad(ErrorKind::Busy, "it connects jails")),
        Some(link) => Ok(link),
    }
}

/// Moves an interface into the jail. It arrives down and without addresses, as on FreeBSD.
///
/// # Errors
/// As [`check`]; the kernel refuses, as it does for one of that name in the jail.
pub fn take(site: &mut Site<'_>, around: &mut Around<'_>, jail: &OwnedFd, name: &str) -> Result<()> {
    let link = check(around, name)?;
    let was = Was {
        name: name.to_owned(),
        home: site.house.anchor("net", around.fd()?.as_fd())?.0,
        jail: site.house.anchor("net", jail.as_fd())?.0,
        index: link.index,
        mac: link.mac,
        mtu: link.mtu,
        kind: link.kind,
        up: link.up,
        master: link.master,
        alias: link.alias,
    };
    keep(site, jail, &was.jail)?;
    let alias = borrowed::alias(site.house, &was)?;
    site.make(was.piece(), || {
        let doing = || format!("vnet.interface: cannot move \"{name}\"");
        let mut batch = Batch::default();
        batch.must(doing(), link::set_alias(link.index, &alias));
        batch.must(doing(), link::set_netns(link.index, jail.as_fd(), Some(name)));
        batch.send(around.socket()?)
    })
}

/// Holds the jail's stack until its interfaces are home again: a virtual one is destroyed together with the
/// stack it is in, and a jail that does not persist may end at any time.
fn keep(site: &mut Site<'_>, jail: &OwnedFd, anchor: &str) -> Result<()> {
    if kept(site).is_some() {
        return Ok(());
    }
    let owner = borrowed::owner(anchor);
    let house = site.house;
    site.make(Piece::new(HELD, &owner).with(json!({ "anchor": anchor })), || {
        house.hold(&owner, "net", jail.as_fd())
    })
}

/// Stops holding the jail's stack, which has no borrowed interface any more.
///
/// # Errors
/// The kernel refused.
pub fn let_go(site: &mut Site<'_>) -> Result<()> {
    let Some(piece) = kept(site) else { return Ok(()) };
    let house = site.house;
    site.unmake(&piece, || house.release(&piece.key))
}

fn kept(site: &Site<'_>) -> Option<Piece> {
    site.instance().pieces_of(NAME, HELD).next().cloned()
}

/// Brings an interface home from a jail, as it was before.
///
/// Gone with the jail's stack is success: a virtual one was destroyed, and what is hardware the kernel put
/// into the initial stack, where it is looked after if that is its home.
///
/// # Errors
/// It is hardware, and neither in the jail's stack, which lives, nor at home; the kernel refuses.
pub fn give_back(house: &dyn House, from: &str, piece: &Piece) -> Result<()> {
    let was: Was = serde_json::from_value(piece.data.clone()).doing("cannot understand the record")?;
    let Some(home) = stack::recorded(house, &was.home)? else { return Ok(()) };
    let doing = || format!("vnet.interface: cannot return \"{}\"", was.name);
    let mut at_home = stack::socket::<Route>(&home)?;
    let kin = kin_at_home(&mut at_home, &was)?;
    // First of all here: one that was never moved has no business with what is in the jail.
    if let Some(link) = kin.iter().find(|link| link.index == was.index) {
        return restore(&mut at_home, link, &was).doing(doing());
    }
    let jail = house.open(&vimage::Anchor(was.jail.clone()))?;
    let mut inside = jail.as_ref().map(stack::socket::<Route>).transpose()?;
    let found = inside.as_mut().map(|socket| find(socket, &was)).transpose()?.flatten();
    let (Some(mut socket), Some(link)) = (inside, found) else {
        // The jail does not have it, so that what is like it at home is no other that took its name: it came home,
        // and whoever brought it was killed.
        return match kin.iter().find(|link| renamed(&was.name).any(|name| name == link.name)) {
            Some(link) => restore(&mut at_home, link, &was).doing(doing()),
            None => lost(house, from, &was, jail.is_some()),
        };
    };
    let mut batch = Batch::default();
    batch.must(doing(), link::set_down(link.index));
    if let Some(mac) = was.mac.filter(|_| link.mac != was.mac) {
        // Some kinds have an address that cannot be changed; then it was not changed.
        batch.may("", &[Errno::OPNOTSUPP], link::set_mac(link.index, mac));
    }
    if link.mtu != was.mtu {
        batch.must(doing(), link::set_mtu(link.index, was.mtu));
    }
    batch.send(&mut socket)?;
    let name = free_name(&mut at_home, &was.name)?;
    let mut batch = Batch::default();
    batch.must(doing(), link::set_netns(link.index, home.as_fd(), Some(&name)));
    batch.send(&mut socket)?;
    drop(socket);
    if name != was.name {
        house.tell(format!(
            "{from}: vnet.interface: \"{}\" came home as {name}: its name was taken",
            was.name
        ));
    }
    match at_home.link_by_name(&name).map_err(stack::refused)? {
        Some(link) => restore(&mut at_home, &link, &was).doing(doing()),
        None => Ok(()),
    }
}

/// The interfaces at home that are as this one was, whatever their names.
fn kin_at_home(home: &mut Socket<Route>, was: &Was) -> Result<Vec<Link>> {
    let links = home.links().map_err(stack::refused)?;
    Ok(links.into_iter().filter(|link| (link.mac, &link.kind) == (was.mac, &was.kind)).collect())
}

/// One that is neither at home nor in the jail. To look for it again would not bring back a virtual one.
fn lost(house: &dyn House, from: &str, was: &Was, jail_lives: bool) -> Result<()> {
    let name = &was.name;
    match (&was.kind, jail_lives) {
        (_, false) => Ok(()),
        (Some(_), true) => {
            let what = "does not come home: a process of the jail has deleted it or moved it on";
            house.tell(format!("{from}: vnet.interface: \"{name}\" {what}"));
            Ok(())
        }
        (None, true) => Err(Error::new(ErrorKind::NotFound, "it is not in the jail's network stack")
            .hint("a process of the jail may have moved it on")
            .doing(format!("vnet.interface: cannot return \"{name}\""))),
    }
}

/// The interface in the jail's stack, whatever the jail has done to it: its name, its address or its number.
fn find(socket: &mut Socket<Route>, was: &Was) -> Result<Option<Link>> {
    let links = socket.links().map_err(stack::refused)?;
    let kin: Vec<_> = links.into_iter().filter(|l| l.index != 1 && l.kind == was.kind).collect();
    let by_mac = |l: &&Link| was.mac.is_some() && l.mac == was.mac;
    let best = kin.iter().find(|l| by_mac(l) && l.name == was.name);
    let found = best
        .or_else(|| kin.iter().find(by_mac))
        .or_else(|| kin.iter().find(|l| l.name == was.name))
        .or_else(|| kin.iter().find(|l| l.index == was.index));
    Ok(found.cloned())
}

/// The interface's own name, or, where somebody took it meanwhile, the first that is free of `NAME.1`, ….
///
/// # Errors
/// There is none.
pub fn free_name(home: &mut Socket<Route>, name: &str) -> Result<String> {
    let taken: Vec<_> = home.links().map_err(stack::refused)?.into_iter().map(|link| link.name).collect();
    let free = renamed(name).find(|name| !taken.contains(name));
    free.ok_or_else(|| Error::new(ErrorKind::Exists, "no free name at home"))
}

/// A name, and what it can become.
fn renamed(name: &str) -> impl Iterator<Item = String> {
    let others = (1..1000).map(move |number| {
        let tail = format!(".{number}");
        // Cut on a character's boundary, should the name be more than ASCII.
        let mut end = name.len().min(NAME_MAX - tail.len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}{tail}", &name[..end])
    });
    [name.to_owned()].into_iter().chain(others)
}

/// Puts back what a move takes away. The bridge it was a port of may be gone, and so is not missed.
///
/// # Errors
/// The kernel refuses.
pub fn restore(home: &mut Socket<Route>, link: &Link, was: &Was) -> Result<()> {
    let mut batch = Batch::default();
    let alias = match link.name == was.name {
        true => was.alias.clone().unwrap_or_default(),
        false => format!("was {}", was.name),
    };
    if link.alias.as_deref().unwrap_or_default() != alias {
        batch.must("cannot say what it was", link::set_alias(link.index, &alias));
    }
    if link.mtu != was.mtu {
        batch.must("cannot set its MTU", link::set_mtu(link.index, was.mtu));
    }
    if let Some(master) = was.master {
        batch.may(
            "",
            &[Errno::NODEV, Errno::INVAL, Errno::OPNOTSUPP, Errno::BUSY],
            link::set_master(link.index, master),
        );
    }
    if was.up {
        batch.must("cannot bring it up", link::set_up(link.index));
    }
    batch.send(home)
}

/// Whether the interface is in the jail.
///
/// # Errors
/// The kernel could not be asked.
pub fn exists(house: &dyn House, piece: &Piece) -> Result<bool> {
    let was: Was = serde_json::from_value(piece.data.clone()).doing("cannot understand the record")?;
    let Some(jail) = house.open(&vimage::Anchor(was.jail.clone()))? else { return Ok(false) };
    Ok(find(&mut stack::socket(&jail)?, &was)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_is_as_long_as_it_may_be() {
        let names = |name| renamed(name).take(3).collect::<Vec<_>>();
        assert_eq!(names("e0b"), ["e0b", "e0b.1", "e0b.2"]);
        assert_eq!(names("fifteen-bytes-x"), ["fifteen-bytes-x", "fifteen-bytes.1", "fifteen-bytes.2"]);
        assert_eq!(names("sevenseven-éé"), ["sevenseven-éé", "sevenseven-é.1", "sevenseven-é.2"]);
        assert!(renamed("fifteen-bytes-x").all(|name| name.len() <= NAME_MAX));
    }
}
