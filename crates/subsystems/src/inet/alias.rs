//! Addresses that an interface of the host's has while a jail that asks for them is there.
//!
//! One that several jails ask for goes with the last. One that the interface had before is not ours, and stays.

use std::{fs, net::IpAddr};

use netlink::{Route, Socket, address};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vimage::{Context as _, Error, ErrorKind, House, Known, Piece, Result, Site};

use super::item::{Family, Item};
use crate::vnet::stack::{self, refused};

/// The piece of an address of ours.
pub const KIND: &str = "alias";

/// What the piece says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Made {
    interface: String,
    ip: IpAddr,
    len: u8,
}

/// The key of what is shared: an interface has an address once, whatever the length of its prefix.
#[must_use]
pub fn key(interface: &str, item: &Item) -> String {
    format!("{interface},{}", item.ip)
}

/// Checks that the interface is there.
///
/// # Errors
/// It is not.
pub fn check(family: Family, item: &Item, interface: &str) -> Result<()> {
    let mut socket: Socket<Route> = stack::socket(stack::own()?)?;
    match socket.link_by_name(interface).map_err(refused)? {
        Some(_) => Ok(()),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!("{}: \"{item}\": no interface {interface}", family.list()),
        )),
    }
}

/// Gives an interface the address, unless it has it.
///
/// # Errors
/// The kernel refuses.
pub fn share(site: &mut Site<'_>, interface: &str, family: Family, item: &Item) -> Result<()> {
    let there = site.share(&key(interface, item), |site| {
        let made = Made { interface: interface.to_owned(), ip: item.ip, len: item.prefix() };
        let doing = || format!("{}: \"{item}\": cannot give it to {interface}", family.list());
        let mut socket: Socket<Route> = stack::socket(stack::own()?)?;
        let link = socket.link_by_name(interface).map_err(refused).doing_with(doing)?;
        let Some(link) = link else {
            return Err(Error::new(ErrorKind::NotFound, "no such interface").doing(doing()));
        };
        let there = socket.addresses().map_err(refused).doing_with(doing)?;
        if there.iter().any(|address| address.index == link.index && address.ip == made.ip) {
            return Ok(json!(null));
        }
        let piece = Piece::new(KIND, format!("{interface},{}", made.ip)).with(&made);
        let mark = mark(site.house);
        site.make(piece, || {
            let (message, flags) = address::add_marked(link.index, made.ip, made.len, mark);
            socket.ack(message, flags).map_err(refused).doing_with(doing)
        })?;
        Ok(json!(made.len))
    })?;
    // One that the interface had before is as it was.
    match there.as_u64() {
        Some(len) if len != u64::from(item.prefix()) => {
            let what = format!("{}: \"{item}\": {interface} has it as {}/{len}", family.list(), item.ip);
            Err(Error::new(ErrorKind::Exists, what)
                .hint("a jail has asked for it so; it is another's when that gives it up"))
        }
        _ => Ok(()),
    }
}

/// Our mark on an address: `IFA_PROTO` of linux/if_addr.h, Linux 5.18; earlier kernels know none. It is a byte, too little
/// to tell stores apart: so only the one that machines have by default marks, and looks for what is marked.
const MARK: u8 = 0x6a;

fn mark(house: &dyn House) -> u8 {
    if house.mark() == "jail" { MARK } else { 0 }
}

/// Takes an address back; one that is gone is success.
///
/// # Errors
/// The kernel refuses.
pub fn undo(piece: &Piece) -> Result<()> {
    let Ok(made) = serde_json::from_value::<Made>(piece.data.clone()) else { return Ok(()) };
    let doing = || format!("cannot take {} from {}", made.ip, made.interface);
    let mut socket: Socket<Route> = stack::socket(stack::own()?)?;
    let Some(link) = socket.link_by_name(&made.interface).map_err(refused).doing_with(doing)? else {
        return Ok(());
    };
    let (message, flags) = address::delete(link.index, made.ip, made.len);
    match keeping_others(&made, || socket.ack(message, flags)) {
        Err(e) if e.errno() == Errno::ADDRNOTAVAIL => Ok(()),
        done => done.map_err(refused).doing_with(doing),
    }
}

/// Does something to an address that others of its network must not go with: the kernel takes them along with the first
/// of them, unless it is told to promote the next (`promote_secondaries` of the kernel's ip-sysctl).
fn keeping_others<T>(made: &Made, act: impl FnOnce() -> T) -> T {
    let file = format!("/proc/sys/net/ipv4/conf/{}/promote_secondaries", made.interface);
    let before = fs::read(&file).ok().filter(|_| made.ip.is_ipv4());
    if before.is_some() {
        let _as_it_was = fs::write(&file, "1");
    }
    let done = act();
    if let Some(before) = before {
        let _promotes = fs::write(&file, before);
    }
    done
}

/// Whether the interface has the address.
///
/// # Errors
/// The kernel does not say.
pub fn exists(piece: &Piece) -> Result<bool> {
    let Ok(made) = serde_json::from_value::<Made>(piece.data.clone()) else { return Ok(true) };
    let mut socket: Socket<Route> = stack::socket(stack::own()?)?;
    let Some(link) = socket.link_by_name(&made.interface).map_err(refused)? else { return Ok(false) };
    let there = socket.addresses().map_err(refused)?;
    Ok(there.iter().any(|address| address.index == link.index && address.ip == made.ip))
}

/// Addresses with our mark that no record knows.
///
/// # Errors
/// The kernel does not say.
pub fn strays(known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
    if mark(house) == 0 {
        return Ok(Vec::new());
    }
    let mut socket: Socket<Route> = stack::socket(stack::own()?)?;
    let there = socket.addresses().map_err(refused)?;
    let mut strays = Vec::new();
    for address in there.iter().filter(|address| address.mark == MARK) {
        let Some(link) = socket.link_by_index(address.index).map_err(refused)? else { continue };
        let made = Made { interface: link.name.clone(), ip: address.ip, len: address.prefix_len };
        let key = format!("{},{}", link.name, address.ip);
        if !known.has_key(KIND, &key) {
            strays.push(Piece::new(KIND, key).with(&made));
        }
    }
    Ok(strays)
}
