//! Jails without a network stack of their own: programs at a jail's cgroup hold its sockets to its addresses.
//!
//! They do what FreeBSD's kernel does for a jail with `ip4.addr` and `ip6.addr` (`prison_local_ip4()`,
//! `prison_remote_ip4()` and their like): a socket is bound to an address of the jail's or to none, what goes to
//! 127.0.0.1 goes to the jail's first address, and a family that the jail does not have cannot be used. What a socket
//! can do without a call that asks one of these programs (listen(2) without bind(2), a source given with a message, a
//! protocol that the kernel asks nobody about) is held by those that see each packet.
//!
//! Attached to a cgroup, they are for all processes in it and below it, and stay until it is removed. Below it there may
//! be others: then both have their say, those of the lower cgroup first. A socket belongs to the cgroup that its maker
//! was in, wherever it is passed to.

mod address;
mod attach;
mod bind;
mod code;
mod connect;
mod context;
mod create;
mod name;
mod packet;
mod point;
mod rule;
mod send;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use self::{
    address::{Addresses, Ip},
    point::{Hook, Point},
};
use self::{
    code::{Code, Refusal},
    rule::Rule,
};

/// What a jail may do in the network stack that it shares. By default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confined {
    /// What it may do with IPv4, also through IPv6 sockets.
    pub v4: Family<Ipv4Addr>,
    /// What it may do with IPv6.
    pub v6: Family<Ipv6Addr>,
    /// The user, as the first user namespace numbers him, who may bind to ports below 1024
    /// (`net.ipv4.ip_unprivileged_port_start`) without a capability. Linux 5.12.
    pub reserved_ports: Option<u32>,
    /// Whether its users are users outside, too, who may share ports with them (`SO_REUSEPORT`).
    pub same_users: bool,
}

/// What a jail may do with one family of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Family<A> {
    /// All that the host may.
    #[default]
    Inherit,
    /// Nothing: it has no such sockets.
    Disable,
    /// It has these addresses.
    New(Addresses<A>),
}

impl Confined {
    /// The programs that do this, each with the place that it is for; none where nothing is restricted. They are as the
    /// kernel takes them from Linux 5.18 on, which lets them say why they refuse.
    #[must_use]
    pub fn programs(&self) -> Vec<Hook> {
        self.programs_with(Refusal::Errno)
    }

    /// The programs, with a way to refuse.
    fn programs_with(&self, refusal: Refusal) -> Vec<Hook> {
        let (v4, v6) = (&Rule::from(&self.v4), &Rule::from(&self.v6));
        let reserved = self.reserved_ports;
        let ports = bind::Ports { reserved, same_users: self.same_users };
        let hook = |point, wanted: bool, write: &dyn Fn(&mut Code)| {
            let code = || {
                let mut code = Code::new(refusal);
                write(&mut code);
                code.finish()
            };
            wanted.then(|| Hook { point, code: code() })
        };
        let (four, six) = (v4.restricts(), v6.restricts());
        let hooks = [
            hook(Point::Create, v4.is_closed() || v6.is_closed(), &|code| create::create(code, v4, v6)),
            hook(Point::Bind4, four || reserved.is_some(), &|code| bind::four(code, v4, ports)),
            hook(Point::Bind6, four || six || reserved.is_some(), &|code| bind::six(code, v4, v6, ports)),
            hook(Point::Connect4, four, &|code| connect::four(code, v4)),
            hook(Point::Connect6, four || six, &|code| connect::six(code, v4, v6)),
            hook(Point::Send4, four, &|code| send::four(code, v4)),
            hook(Point::Send6, six, &|code| send::six(code, v6)),
            hook(Point::Name4, v4.only().is_some(), &|code| name::four(code, v4)),
            hook(Point::Name6, v4.only().is_some() || v6.only().is_some(), &|code| name::six(code, v4, v6)),
            hook(Point::Ingress, four || six, &|code| packet::ingress(code, v4, v6)),
            hook(Point::Egress, four || six, &|code| packet::egress(code, v4, v6)),
        ];
        hooks.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests;
