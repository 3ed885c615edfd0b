//! Addresses that an interface of the host's has while a jail that asks for them is there.
//!
//! One that several jails ask for goes with the last. One that the interface had before is not ours, and stays.

use std::net::IpAddr;

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

/// The key of what is shared.
#[must_use]
pub fn key(interface: &str, item: &Item) -> String {
    format!("{interface},{},{}", item.ip, item.prefix())
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
    site.share(&key(interface, item), |site| {
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
        site.make(piece, || {
            let (message, flags) = address::add_marked(link.index, made.ip, made.len, MARK);
            socket.ack(message, flags).map_err(refused).doing_with(doing)
        })?;
        Ok(json!(null))
    })
    .map(drop)
}

/// Our mark on an address: `IFA_PROTO` of linux/if_addr.h, Linux 5.18. Earlier kernels know none.
const MARK: u8 = 0x6a;

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
    match socket.ack(message, flags) {
        Err(e) if e.errno() == Errno::ADDRNOTAVAIL => Ok(()),
        done => done.map_err(refused).doing_with(doing),
    }
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
pub fn strays(known: &Known, _house: &dyn House) -> Result<Vec<Piece>> {
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
