//! The end of a network stack, in the order that leaves nothing behind: links down, sockets destroyed.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::OwnedFd,
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
    let mut errors = Vec::new();
    let mut left: Vec<(&Instance<'_>, usize)> = of.iter().map(|jail| (jail, usize::MAX)).collect();
    let mut pause = Duration::from_micros(200);
    loop {
        // One that does not become fewer has an open descriptor somewhere, which is for the holders to tell.
        left.retain_mut(|(jail, before)| match destroy(jail).doing("vnet").doing(jail.name) {
            Ok(now) => now > 0 && now < std::mem::replace(before, now),
            Err(error) => {
                errors.push(error);
                false
            }
        });
        if left.is_empty() || Instant::now() >= deadline {
            return errors;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(4));
    }
}

/// One pass over a jail's sockets; returns how many are left.
fn destroy(jail: &Instance<'_>) -> Result<usize> {
    let Some(stack) = jail.fd("net")? else { return Ok(0) };
    // Most stacks have none at their end, and to look for them one protocol after another takes long.
    if !has_sockets(&stack)? {
        return Ok(0);
    }
    match diag::destroy_all(&mut stack::socket::<Diag>(&*stack)?) {
        // They end by themselves soon: every stack of ours has net.ipv4.tcp_orphan_retries=1.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(0),
        other => other.doing("cannot destroy the sockets that are left"),
    }
}

/// Whether a stack has sockets of the internet protocols, by its counters: /proc/net/protocols. They count what is
/// bound or connected, held by a process or not.
fn has_sockets(stack: &OwnedFd) -> Result<bool> {
    /// A little more than it has: what is read piece by piece is counted anew for each.
    const LENGTH: usize = 16 << 10;
    let mut text = String::with_capacity(LENGTH);
    let read = {
        let _inside = stack::visit(stack)?;
        File::open("/proc/thread-self/net/protocols").and_then(|mut file| file.read_to_string(&mut text))
    };
    // What cannot be read may be anything.
    Ok(read.map_or(true, |_| counts_sockets(&text)))
}

/// Whether a line like `TCPv6 2432 3 0 no ...` has another number than 0 in its third column.
fn counts_sockets(protocols: &str) -> bool {
    let internet = |name: &str| ["TCP", "MPTCP", "UDP", "RAW", "PING"].iter().any(|p| name.starts_with(p));
    protocols.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().is_some_and(internet) && words.nth(1) != Some("0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_counted_by_what_is_in_use() {
        let with = |of: &str, number: &str| {
            let line = |name: &&str| {
                format!(
                    "{name:<9} 1344 {:>6}   0   NI  0  yes  kernel\n",
                    if *name == of { number } else { "0" }
                )
            };
            let names =
                ["PACKET", "MPTCPv6", "PINGv6", "RAWv6", "UDPLITEv6", "UNIX", "UDP-Lite", "TCP", "NETLINK"];
            let lines: String = names.iter().map(line).collect();
            counts_sockets(&format!("protocol  size sockets  memory press maxhdr  slab module\n{lines}"))
        };
        for protocol in ["MPTCPv6", "PINGv6", "RAWv6", "UDPLITEv6", "UDP-Lite", "TCP"] {
            assert!(with(protocol, "1"), "{protocol}");
        }
        for none in ["none", "UNIX", "NETLINK", "PACKET"] {
            assert!(!with(none, "7"), "{none}");
        }
        assert!(counts_sockets("TCP6: something new\n"));
    }
}
