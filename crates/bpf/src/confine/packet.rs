//! Each packet of the jail's sockets: what is sent comes from an own address, and what is received goes to one. So it does
//! not matter in which way a socket came to send it.

use super::{
    code::Code,
    context::{ALLOW, DATA, DATA_END, PROTOCOL, V4, V6},
    rule::{Own, Rule},
};
use crate::instruction::{
    Instruction,
    Register::{self, R0, R1, R5, R6, R7},
    Size,
};

/// What a program returns for a packet that is dropped.
const DROP: i32 = 0;

// Families in the head of a frame, of linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Where the addresses of a family are in its header: the source, and behind it the destination.
struct Header {
    words: &'static [Register],
    source: i16,
    length: i16,
}

const HEADERS: [(Header, u16); 2] = [
    (Header { words: V4, source: 12, length: 4 }, ETH_P_IP),
    (Header { words: V6, source: 8, length: 16 }, ETH_P_IPV6),
];

pub(super) fn ingress(code: &mut Code, v4: &Rule, v6: &Rule) {
    each(code, [v4, v6], |code, own, header, drop| {
        let ours = code.label();
        head(code, header, drop);
        code.load(header.words, R7, header.source + header.length);
        code.if_one_of(header.words, own.addresses(), ours);
        code.jump(drop).place(ours).end(ALLOW);
    });
}

/// Nothing goes to the host's own machine either: calls of which no program is told do not have it replaced.
pub(super) fn egress(code: &mut Code, v4: &Rule, v6: &Rule) {
    each(code, [v4, v6], |code, own, header, drop| {
        let (ours, sent) = (code.label(), code.label());
        let Header { words, source, length } = *header;
        head(code, header, drop);
        code.load(words, R7, source).if_one_of(words, own.addresses(), ours).jump(drop);
        code.place(ours).load(words, R7, source + length).unless_within(words, &own.loopback, sent);
        code.if_one_of(words, own.loopbacks(), sent).jump(drop);
        code.place(sent).end(ALLOW);
    });
}

/// Goes by the family of the packet.
fn each(code: &mut Code, rules: [&Rule; 2], write: impl Fn(&mut Code, &Own, &Header, crate::Label)) {
    let drop = code.label();
    code.load(&[R5], R6, PROTOCOL);
    let parts = rules.map(|rule| (rule, code.label()));
    for ((rule, part), (_, protocol)) in parts.iter().zip(&HEADERS) {
        if rule.restricts() {
            let to = if rule.is_closed() { drop } else { *part };
            code.jump_if(R5, protocol.to_be().into(), to);
        }
    }
    code.end(ALLOW);
    for ((rule, part), (header, _)) in parts.iter().zip(&HEADERS) {
        if let Rule::Own(own) = rule {
            code.place(*part);
            write(code, own, header, drop);
        }
    }
    code.place(drop).end(DROP);
}

/// Leaves in `R7` where the network header is. Whoever has received a packet, or sends it, has its header in one piece.
fn head(code: &mut Code, header: &Header, drop: crate::Label) {
    let end = i32::from(header.source + 2 * header.length);
    code.push(Instruction::load(Size::Word, R7, R6, DATA)).push(Instruction::load(
        Size::Word,
        R0,
        R6,
        DATA_END,
    ));
    code.push(Instruction::copy(R1, R7)).push(Instruction::add(R1, end)).jump_if_greater(R1, R0, drop);
}
