//! `ip_hostname`: the addresses that the resolver has for a jail's host name.

use std::net::{IpAddr, ToSocketAddrs as _};

use vimage::{Ask, Error, ErrorKind, Result, Value};

use super::item::Family;

/// The parameter.
pub const PARAM: &str = "ip_hostname";

/// What is said of a name that cannot be looked up, before why.
#[must_use]
pub fn failed(name: &str) -> String {
    format!("host.hostname {name}: ")
}

/// The addresses of a name, getaddrinfo(3).
///
/// # Errors
/// `host.hostname NAME: ...`, in the resolver's words.
fn addresses(name: &str) -> Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs();
    let found = found.map_err(|e| Error::new(ErrorKind::NotFound, failed(name) + &e.to_string()))?;
    let mut addresses = Vec::new();
    for ip in found.map(|address| address.ip()) {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    Ok(addresses)
}

fn name<'a>(ask: &'a Ask<'_>) -> Option<&'a str> {
    let wanted = ask.living.is_none() && ask.settings.bool(PARAM);
    wanted.then(|| ask.settings.text("host.hostname").unwrap_or_default())
}

/// Adds them to the jail's. That there are none is said by [`check`].
pub fn resolve(ask: &mut Ask<'_>) {
    let Some(found) = name(ask).and_then(|name| addresses(name).ok()) else { return };
    for family in Family::ALL {
        let mut items = ask.settings.list(family.list()).to_vec();
        for ip in found.iter().filter(|ip| ip.is_ipv4() == (family == Family::Four)).map(IpAddr::to_string) {
            if !items.contains(&ip) {
                items.push(ip);
            }
        }
        if !items.is_empty() {
            ask.settings.set(family.list(), Value::List(items));
            if ask.settings.get(family.mode()).is_none() {
                ask.settings.set(family.mode(), Value::Text("new".to_owned()));
            }
        }
    }
}

/// Refuses a host name that is not given, or that the resolver does not know.
///
/// # Errors
/// What is wrong.
pub fn check(ask: &Ask<'_>) -> Result<()> {
    match name(ask) {
        None => Ok(()),
        Some("") => Err(Error::usage("ip_hostname needs host.hostname")),
        Some(name) => addresses(name).map(drop),
    }
}
