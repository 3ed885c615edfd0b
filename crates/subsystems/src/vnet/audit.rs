//! Records against the kernel.

use std::{os::fd::OwnedFd, time::Duration};

use netlink::Route;
use serde_json::json;
use vimage::{Anchor, Context as _, House, Known, Piece, Result, Shared};

use super::{
    NAME, borrowed, bridge, cable, claim, host, interface,
    pair::{self, Pair},
    port, segment, stack, sysctl, visitor,
};

/// Whether a piece exists.
///
/// # Errors
/// The kernel could not be asked.
pub fn exists(piece: &Piece, house: &dyn House) -> Result<bool> {
    match piece.kind.as_str() {
        claim::KIND => Ok(claim::exists(house, piece)),
        // It is what the stack has, and goes with it.
        sysctl::KIND => Ok(true),
        cable::END => cable::exists(house, piece),
        pair::KIND => pair::exists(house, piece),
        borrowed::KIND => interface::exists(house, piece),
        visitor::KIND => visitor::exists(house, piece),
        segment::HELD => match piece.text("anchor") {
            Some(anchor) => Ok(house.open(&Anchor(anchor.to_owned()))?.is_some()),
            None => Ok(true),
        },
        _ => Ok(port::find(house, piece)?.is_some()),
    }
}

/// How often, and how long apart, to look again: the kernel takes a dead stack down in its own time, some
/// tens of ms or, on a machine that has much to do, some hundreds, and the ports of its links with it.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Links with this store's mark, in the caller's stack and in the switch, interfaces that it borrowed, and
/// addresses that were claimed in it, that no record knows.
///
/// # Errors
/// The kernel could not be asked.
pub fn strays(known: &Known, house: &dyn House) -> Result<Vec<Piece>> {
    let mark = segment::mark(house);
    let mut stacks = vec![stack::own()?];
    stacks.extend(switch(house)?);
    let mut interfaces = borrowed::strays(known, house)?;
    interfaces.extend(visitor::strays(known, house, &stacks)?);
    let mut strays = Vec::new();
    for look in 1..=LOOKS {
        strays.clear();
        for stack in &stacks {
            strays.extend(
                marked(stack, &mark, house)?.into_iter().filter(|p| !known.has(NAME, &p.kind, &p.key)),
            );
        }
        if strays.is_empty() || look == LOOKS {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    strays.extend(interfaces);
    strays.extend(claim::strays(known, house));
    Ok(strays)
}

/// The switch stack, if there is one.
fn switch(house: &dyn House) -> Result<Option<OwnedFd>> {
    let (_, pieces) = Shared::peek(house.shelf(), &Shared::name(NAME, segment::SWITCH))?;
    let anchor = pieces.into_iter().find_map(|piece| piece.anchor);
    match anchor {
        Some(anchor) => house.open(&anchor),
        // Its record is lost.
        None => house
            .kept(segment::SWITCH)?
            .get("net")
            .map(|stack| stack.try_clone())
            .transpose()
            .doing(segment::SWITCH),
    }
}

/// The links of a stack that carry the mark, as pieces.
fn marked(stack: &OwnedFd, mark: &str, house: &dyn House) -> Result<Vec<Piece>> {
    use std::os::fd::AsFd as _;
    let anchor = house.anchor("net", stack.as_fd())?;
    let links = stack::socket::<Route>(stack)?.links().map_err(stack::refused)?;
    let marked = links.into_iter().filter(segment::is_ours).filter_map(|link| {
        let alias = link.alias.as_ref().filter(|alias| alias.ends_with(mark))?;
        let kind = match alias.split(' ').nth(1) {
            // The parent's end of its interface on a segment goes with the port, which is in the switch; a trunk's
            // other end with the first.
            Some(host::END | bridge::FAR) => return None,
            Some("segment") => bridge::KIND,
            Some("trunk") => bridge::TRUNK,
            Some("cable") => return Some(Pair::stray(&anchor, &link)),
            _ => port::KIND,
        };
        Some(Piece::new(kind, link.name).with(json!({ "stack": anchor, "index": link.index })))
    });
    Ok(marked.collect())
}
