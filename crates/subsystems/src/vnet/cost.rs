//! What pieces are for the kernel, and what they cost as long as they are there.

use vimage::{Cost, House, Piece};

use super::{borrowed, bridge, cable, claim, pair, port, segment, stack, sysctl, visitor};

/// The kinds of pieces.
pub const OBJECTS: &[(&str, &str)] = &[
    segment::STACK,
    segment::OBJECT,
    bridge::OBJECTS[0],
    bridge::OBJECTS[1],
    port::OBJECT,
    pair::OBJECT,
    cable::OBJECT,
    claim::OBJECT,
    borrowed::OBJECT,
    visitor::OBJECT,
    sysctl::OBJECT,
];

/// What a piece costs; what is not there any more, nothing.
pub fn cost(piece: &Piece, house: &dyn House) -> Cost {
    let none = Cost::default();
    let pair = || Cost::default().count(1, "veth pair", "veth pairs");
    match piece.kind.as_str() {
        claim::KIND => none.words(claim::cost(piece)),
        borrowed::KIND => none.words(borrowed::cost(piece)),
        visitor::KIND => none.words(visitor::cost(piece)),
        bridge::KIND => bridge::ports(house, piece).map_or(none, |ports| {
            Cost::default().count(1, "bridge", "bridges").count(ports, "port in use", "ports in use")
        }),
        bridge::TRUNK | port::KIND => port::find(house, piece).ok().flatten().map_or(none, |_| pair()),
        pair::KIND => pair(),
        // Of a jail's own stack, or the switch. Who holds it costs no more than it does.
        Piece::INSTANCE => links(piece, house).map_or(none, |links| {
            Cost::default().count(1, "network stack", "network stacks").count(links, "link", "links")
        }),
        _ => none,
    }
}

/// How many links a stack has, without its loopback.
fn links(piece: &Piece, house: &dyn House) -> Option<u64> {
    let stack = house.open(piece.anchor.as_ref()?).ok()??;
    let links = stack::socket::<netlink::Route>(&stack).ok()?.links().ok()?;
    Some(links.iter().filter(|link| link.name != "lo").count() as u64)
}
