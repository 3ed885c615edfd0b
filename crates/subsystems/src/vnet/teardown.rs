//! The end of a network stack, in the order that leaves nothing behind: links down, sockets destroyed.

use std::{
    io,
    time::{Duration, Instant},
};

use netlink::{Diag, Route, diag, link};
use rustix::io::Errno;
use vimage::{Context as _, Error, Instance, Result};

use super::stack::{self, Batch};

/// Takes down all links of the jails' own stacks. That throws away what waits in their queues and for their
/// neighbours' addresses: a datagram in a slow queue holds its socket, and this the stack, for as long.
pub fn quiesce(of: &[Instance<'_>]) -> Vec<Error> {
    of.iter().filter_map(|jail| links_down(jail).doing("vnet").doing(jail.name).err()).collect()
}

fn links_down(jail: &Instance<'_>) -> Result<()> {
    let Some(stack) = jail.fd("net")? else { return Ok(()) };
    let mut socket = stack::socket::<Route>(&*stack)?;
    let mut batch = Batch::default();
    for link in socket.links().map_err(stack::refused)? {
        if link.up && link.index != 1 {
            let doing = format!("cannot take down {}", link.name);
            batch.may(doing, &[Errno::NODEV], link::set_down(link.index));
        }
    }
    batch.send(&mut socket)
}

/// Destroys the sockets that are left in the jails' own stacks: a TCP connection that nobody holds any more
/// goes on trying to send its last bytes, and keeps the stack meanwhile.
pub fn drain(of: &[Instance<'_>], deadline: Instant) -> Vec<Error> {
    of.iter().filter_map(|jail| destroy(jail, deadline).doing("vnet").doing(jail.name).err()).collect()
}

fn destroy(jail: &Instance<'_>, deadline: Instant) -> Result<()> {
    let Some(stack) = jail.fd("net")? else { return Ok(()) };
    let mut socket = stack::socket::<Diag>(&*stack)?;
    let mut pause = Duration::from_micros(200);
    loop {
        let left = match diag::destroy_all(&mut socket) {
            // They end by themselves soon: every stack of ours has net.ipv4.tcp_orphan_retries=1.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
            other => other.doing("cannot destroy the sockets that are left")?,
        };
        if left == 0 || Instant::now() >= deadline {
            // What is left then has an open descriptor somewhere, which is for the holders to tell.
            return Ok(());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(4));
    }
}
