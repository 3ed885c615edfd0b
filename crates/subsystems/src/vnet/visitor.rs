//! An interface of the parent's that is a port of a segment: what it was before, and its way home.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
};

use netlink::{
    Route, Socket,
    link::{self, Link},
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use vimage::{Context as _, House, Known, Piece, Result};

use super::{
    NAME,
    borrowed::{self, Was},
    interface::{free_name, restore},
    stack::{self, Batch},
};

/// The kind of a member's piece. Its key is its name at home and as a port.
pub const KIND: &str = "member";
/// What it is for the kernel.
pub const OBJECT: (&str, &str) = (KIND, "interface of another (borrowed)");

/// What is recorded of a member.
#[derive(Debug, Serialize, Deserialize)]
pub struct Member {
    /// What it was. Its stack is the one that it is in now.
    pub was: Was,
    /// Its name there.
    pub port: String,
    /// The foreign bridge that it was put on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<u32>,
    /// What the kernel forgets of it by a move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conf: Vec<(String, String)>,
}

impl Member {
    /// What a piece says.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn of(piece: &Piece) -> Result<Self> {
        serde_json::from_value(piece.data.clone()).doing("cannot understand the record")
    }

    /// Its piece.
    pub fn piece(&self) -> Piece {
        Piece::new(KIND, format!("{}:{}", self.was.name, self.port)).with(self)
    }

    /// The port, if it is one, with a socket where it is.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn find(&self, house: &dyn House) -> Result<Option<(Socket<Route>, Link)>> {
        let Some(stack) = stack::recorded(house, &self.was.jail)? else { return Ok(None) };
        let mut socket = stack::socket::<Route>(&stack)?;
        let link = socket.link_by_name(&self.port).map_err(stack::refused)?;
        let is_it =
            |link: &Link| link.kind == self.was.kind && (self.bridge.is_none() || link.master == self.bridge);
        Ok(link.filter(is_it).map(|link| (socket, link)))
    }
}

/// What IPv6 knows of an interface as long as it is in its stack, in the order in which it can be said again.
const CONF: [&str; 4] = ["disable_ipv6", "stable_secret", "addr_gen_mode", "accept_ra"];

fn conf_path(name: &str, word: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/{word}")
}

/// What can be read of that.
///
/// # Errors
/// The stack cannot be entered.
pub fn settings(home: &OwnedFd, name: &str) -> Result<Vec<(String, String)>> {
    let _inside = stack::visit(home)?;
    let read = |word: &str| {
        // No secret, or no IPv6.
        let value = fs::read_to_string(conf_path(name, word)).ok()?;
        Some((word.to_owned(), value.trim().to_owned()))
    };
    Ok(CONF.into_iter().filter_map(read).collect())
}

/// Brings a member back: home from the switch, or off a foreign bridge, as it was before.
///
/// Gone is success: a tap goes with its process.
///
/// # Errors
/// The kernel refuses.
pub fn give_back(house: &dyn House, piece: &Piece) -> Result<()> {
    let member = Member::of(piece)?;
    let was = &member.was;
    let Some(home) = stack::recorded(house, &was.home)? else { return Ok(()) };
    let doing = || format!("vnet.member: cannot return \"{}\"", was.name);
    let alias = borrowed::alias(house, was)?;
    let is_marked = |link: &Link| match alias.as_str() {
        "" => (&link.name, link.index) == (&was.name, was.index),
        alias => link.alias.as_deref() == Some(alias),
    };
    let mut at_home = stack::socket::<Route>(&home)?;
    let links = at_home.links().map_err(stack::refused)?;
    if let Some(link) = links.iter().find(|link| is_marked(link)) {
        // It never left, or it came home and whoever brought it was killed.
        return settle(&home, &mut at_home, link, &member).doing(doing());
    }
    let found = if member.bridge.is_some() { None } else { member.find(house)? };
    let Some((mut socket, link)) = found else {
        if was.kind.is_none() {
            house.tell(format!("vnet.member: \"{}\" does not come home: it is gone", was.name));
        }
        return Ok(());
    };
    let name = free_name(&mut at_home, &was.name)?;
    let mut batch = Batch::default();
    // Its process may end at any time.
    batch.may(doing(), &[Errno::NODEV], link::set_netns(link.index, home.as_fd(), Some(&name)));
    let moved = batch.answers(&mut socket)?.contains(&true);
    drop(socket);
    if moved && name != was.name {
        house.tell(format!("vnet.member: \"{}\" came home as {name}: its name was taken", was.name));
    }
    match at_home.link_by_name(&name).map_err(stack::refused)? {
        Some(link) => settle(&home, &mut at_home, &link, &member).doing(doing()),
        None => Ok(()),
    }
}

/// Makes what is at home as it was.
fn settle(home: &OwnedFd, socket: &mut Socket<Route>, link: &Link, member: &Member) -> Result<()> {
    let was = &member.was;
    let mut link = link.clone();
    let mut batch = Batch::default();
    if member.bridge.is_some() && link.master == member.bridge {
        batch.must("cannot take it off its bridge", link::no_master(link.index));
    }
    if !was.up {
        batch.must("cannot take it down", link::set_down(link.index));
    }
    if link.name == member.port && link.name != was.name {
        // The kernel brought it: hardware, whose stack ended.
        link.name = free_name(socket, &was.name)?;
        batch.must("cannot take it down", link::set_down(link.index));
        batch.must("cannot name it", link::set_name(link.index, &link.name));
    }
    if let Some(mac) = was.mac.filter(|_| link.mac != was.mac) {
        // Some kinds have an address that cannot be changed; then it was not changed.
        batch.may("", &[Errno::OPNOTSUPP], link::set_mac(link.index, mac));
    }
    batch.send(socket)?;
    if !member.conf.is_empty() {
        let _inside = stack::visit(home)?;
        for (word, value) in &member.conf {
            let path = conf_path(&link.name, word);
            if fs::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
                continue;
            }
            match fs::write(&path, value) {
                // Its MTU is too small for IPv6.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.doing_with(|| format!("cannot write {path}"))?,
            }
        }
    }
    restore(socket, &link, was)
}

/// Whether a member is a port. A virtual one may go at any time, as a tap does with its process: it is not missed.
///
/// # Errors
/// The kernel could not be asked.
pub fn exists(house: &dyn House, piece: &Piece) -> Result<bool> {
    let member = Member::of(piece)?;
    Ok(member.was.kind.is_some() || member.find(house)?.is_some())
}

/// What it costs that an interface is a member, in words.
pub fn cost(piece: &Piece) -> String {
    let name = Member::of(piece).map(|member| member.was.name).unwrap_or_default();
    format!("{name} is a port of a segment")
}

/// Members in these stacks that no record knows.
///
/// # Errors
/// The kernel could not be asked.
pub fn strays(known: &Known, house: &dyn House, stacks: &[OwnedFd]) -> Result<Vec<Piece>> {
    let mut strays = Vec::new();
    for stack in stacks {
        let anchor = house.anchor("net", stack.as_fd())?;
        for link in stack::socket::<Route>(stack)?.links().map_err(stack::refused)? {
            let Some(was) = borrowed::read(house, &link, &anchor)? else { continue };
            let bridge = link.master.filter(|_| was.home == anchor.0);
            strays.push(Member { was, port: link.name, bridge, conf: Vec::new() }.piece());
        }
    }
    strays.retain(|piece| !known.has(NAME, KIND, &piece.key));
    Ok(strays)
}
