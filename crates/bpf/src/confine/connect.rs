//! connect(2): the own machine is the primary address, and the socket begins at an own one.

use rustix::io::Errno;

use super::{
    code::Code,
    context::{
        AF_INET, AF_INET6, ALLOW, BIND, SK, SRC_IP4, SRC_IP6, USER_IP4, USER_IP6, USER_MAPPED, V4, V6,
    },
    rule::{Net, Own, Rule},
};
use crate::{
    instruction::{
        Instruction,
        Register::{R1, R2, R3, R6, R10},
        Size,
    },
    task_file::load_double,
};

/// How an address of a family is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    V4,
    V6,
    /// IPv4 through an IPv6 socket.
    Mapped,
}

pub(super) fn four(code: &mut Code, v4: &Rule) {
    code.load(V4, R6, USER_IP4);
    rule(code, v4, Way::V4);
}

pub(super) fn six(code: &mut Code, v4: &Rule, v6: &Rule) {
    let (mapped, native, back) = (code.label(), code.label(), code.label());
    code.load(V6, R6, USER_IP6).if_within(V6, &Net::mapped(), mapped);
    // To the kernel, any address is 127.0.0.1 if the socket is bound to an IPv4 address.
    code.unless_within(V6, &Net::any(4), native);
    socket(code, Way::V6).if_within(V6, &Net::mapped(), back);
    code.load(V6, R6, USER_IP6).place(native);
    rule(code, v6, Way::V6);
    code.place(back);
    if let Rule::Own(own) = v4 {
        code.put(&Net::mapped().address[..3], R6, USER_IP6).put(own.primary(), R6, USER_MAPPED).end(ALLOW);
    } else {
        rule(code, v4, Way::Mapped);
    }
    code.place(mapped);
    rule(code, v4, Way::Mapped);
}

fn rule(code: &mut Code, rule: &Rule, way: Way) {
    match rule {
        Rule::Free => code.end(ALLOW),
        Rule::Closed => code.refuse(Errno::AFNOSUPPORT),
        Rule::Own(own) => {
            let (words, at) = match way {
                Way::V4 => (V4, USER_IP4),
                Way::V6 => (V6, USER_IP6),
                Way::Mapped => (V4, USER_MAPPED),
            };
            let bound = code.label();
            code.destination(words, own, at);
            let has = if way == Way::V4 { V4 } else { V6 };
            socket(code, way).unless_within(has, &Net::any(has.len()), bound);
            // What the verifier knew of the destination it forgets, and does not look at the rest once for each.
            code.load(words, R6, at);
            bind(code, own, way);
            code.place(bound).end(ALLOW)
        }
    };
}

/// Loads the address that the socket has.
fn socket(code: &mut Code, way: Way) -> &mut Code {
    code.push(load_double(R1, R6, SK));
    if way == Way::V4 { code.load(V4, R1, SRC_IP4) } else { code.load(V6, R1, SRC_IP6) }
}

/// Binds the socket to an own address. If that fails, as it does for one that has a port already, it begins where the
/// host would begin, and what is sent is looked at.
fn bind(code: &mut Code, own: &Own, way: Way) {
    // `struct sockaddr_in` or `struct sockaddr_in6`, with 0 for all else.
    let (begin, family, length) = if way == Way::V4 { (-16, AF_INET, 16) } else { (-32, AF_INET6, 28) };
    for at in (begin..0).step_by(8) {
        code.push(Instruction::store_value(Size::Double, R10, at, 0));
    }
    code.push(Instruction::store_value(Size::Half, R10, begin, family));
    match way {
        Way::V4 => code.source(V4, own, R10, begin + 4),
        Way::V6 => code.source(V6, own, R10, begin + 8),
        Way::Mapped => {
            code.put(&Net::mapped().address[..3], R10, begin + 8);
            code.source(V4, own, R10, begin + 20)
        }
    };
    code.push(Instruction::copy(R1, R6)).push(Instruction::copy(R2, R10));
    code.push(Instruction::add(R2, begin.into())).push(Instruction::set(R3, length));
    code.push(Instruction::call(BIND));
}
