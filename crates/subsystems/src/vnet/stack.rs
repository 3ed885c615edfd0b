//! Network stacks: which is whose, sockets inside them, and requests with words for their errors.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
};

use kernel::namespace::{self, Kind, Visit};
use netlink::{Family, Refused, Request, Route, Socket};
use rustix::io::Errno;
use vimage::{Anchor, Cause as _, Context as _, Error, House, Instance, Result};

/// Whose own stack is used by what lies below a parent: the jid of the nearest jail that has one, 0 for the
/// host. Names of segments are told apart by it.
pub fn scope(parent: Option<&Instance<'_>>) -> u32 {
    match parent {
        None => 0,
        Some(parent) if parent.anchor("net").is_some() => parent.jid,
        Some(parent) => scope(parent.parent),
    }
}

/// The stack that a jail below this parent is connected to, with a socket inside.
///
/// # Errors
/// It cannot be opened.
pub fn around(parent: Option<&Instance<'_>>) -> Result<(Rc<OwnedFd>, Socket<Route>)> {
    if let Some(stack) = parent.map(|parent| parent.nearest("net")).transpose()?.flatten() {
        let socket = socket(&stack)?;
        return Ok((stack, socket));
    }
    // Our own need not be entered.
    let socket = Socket::open().doing("cannot open a netlink socket")?;
    Ok((Rc::new(own()?), socket))
}

/// The caller's stack.
///
/// # Errors
/// There is no proc file system.
pub fn own() -> Result<OwnedFd> {
    namespace::current(Kind::Net).map_err(io::Error::from).doing("cannot open our own network stack")
}

/// The stack that was recorded by its anchor; `None`: it is gone.
///
/// # Errors
/// It cannot be told.
pub fn recorded(house: &dyn House, anchor: &str) -> Result<Option<OwnedFd>> {
    // Nobody holds our own stack for us, so where only what is held can be opened it must be known again.
    let own = own()?;
    if house.anchor("net", own.as_fd())?.0 == anchor {
        return Ok(Some(own));
    }
    house.open(&Anchor(anchor.to_owned()))
}

/// A socket inside a stack. To be dropped soon: each delays the stack's death by an RCU grace period.
///
/// # Errors
/// The stack cannot be entered, or lacks the protocol.
pub fn socket<F: Family>(stack: impl AsFd) -> Result<Socket<F>> {
    Socket::open_in(stack).doing("cannot open a netlink socket in the network stack")
}

/// Enters a stack for as long as what is returned lives.
///
/// # Errors
/// The kernel refuses.
pub fn visit(stack: impl AsFd) -> Result<Visit> {
    Visit::enter(stack, Kind::Net).map_err(io::Error::from).doing("cannot enter the network stack")
}

/// As [`socket`], of the stack that is being visited.
///
/// # Errors
/// It lacks the protocol.
pub fn socket_here<F: Family>(_inside: &Visit) -> Result<Socket<F>> {
    Socket::open().doing("cannot open a netlink socket in the network stack")
}

/// What the kernel says, as an error of ours.
pub fn refused(refused: Refused) -> Error {
    let errno = refused.errno();
    let error = io::Error::from(refused).cause();
    match errno {
        Errno::XFULL => error.hint("a bridge of Linux has at most 1023 ports"),
        Errno::NETUNREACH | Errno::HOSTUNREACH => {
            error.hint("is the gateway on a network of one of the jail's links?")
        }
        Errno::PERM => error.hint("this needs CAP_NET_ADMIN over the network stack"),
        _ => error,
    }
}

/// Requests that are sent together, each with what it does and the refusals that are as good as success.
#[derive(Debug, Default)]
pub struct Batch {
    requests: Vec<Request>,
    notes: Vec<(String, &'static [Errno])>,
}

impl Batch {
    /// Adds one that must succeed.
    pub fn must(&mut self, doing: impl Into<String>, request: Request) {
        self.may(doing, &[], request);
    }

    /// Adds one that may be refused with these.
    pub fn may(&mut self, doing: impl Into<String>, fine: &'static [Errno], request: Request) {
        self.requests.push(request);
        self.notes.push((doing.into(), fine));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Sends them. The kernel goes on after one that it refuses.
    ///
    /// # Errors
    /// The first that was refused.
    pub fn send(self, socket: &mut Socket<Route>) -> Result<()> {
        self.answers(socket).map(drop)
    }

    /// As [`Batch::send`]; says of each whether it was done, and not refused as it may be.
    ///
    /// # Errors
    /// As [`Batch::send`].
    pub fn answers(self, socket: &mut Socket<Route>) -> Result<Vec<bool>> {
        if self.requests.is_empty() {
            return Ok(Vec::new());
        }
        let answers = socket.each(&self.requests).map_err(|e| refused(e.refused))?;
        let one =
            |(answer, (doing, fine)): (std::result::Result<(), Refused>, (String, &[Errno]))| match answer {
                Ok(()) => Ok(true),
                Err(e) if fine.contains(&e.errno()) => Ok(false),
                Err(e) => Err(refused(e).doing(doing)),
            };
        answers.into_iter().zip(self.notes).map(one).collect()
    }
}
