//! bind(2): to an own address, to the own machine, which is the primary one, or to any.

use rustix::io::Errno;

use super::{
    code::Code,
    context::{USER_IP4, USER_IP6, USER_MAPPED, V4, V6},
    rule::{Net, Rule},
};
use crate::instruction::Register::{self, R6};

/// What a program returns for what may be done, with ports that are for the privileged: Linux 5.12.
pub(super) const RESERVED_TOO: i32 = 3;

pub(super) fn four(code: &mut Code, v4: &Rule, allow: i32) {
    code.load(V4, R6, USER_IP4);
    rule(code, v4, V4, USER_IP4, true, allow);
}

pub(super) fn six(code: &mut Code, v4: &Rule, v6: &Rule, allow: i32) {
    let mapped = code.label();
    code.load(V6, R6, USER_IP6).if_within(V6, &Net::mapped(), mapped);
    // Any IPv6 address is any IPv4 address, too, for a socket of both families; which sockets are, no program is told.
    rule(code, v6, V6, USER_IP6, v4.is_closed(), allow);
    code.place(mapped);
    rule(code, v4, V4, USER_MAPPED, true, allow);
}

/// To any becomes to the only address, if there is one, and if it is `narrowed`. If not it stays, and what is sent and
/// received is looked at.
fn rule(code: &mut Code, rule: &Rule, words: &[Register], at: i16, narrowed: bool, allow: i32) {
    match rule {
        Rule::Free => code.end(allow),
        Rule::Closed => code.refuse(Errno::AFNOSUPPORT),
        Rule::Own(own) => {
            let (primary, bound) = (code.label(), code.label());
            code.if_one_of(words, own.addresses(), bound);
            let any = if narrowed && own.is_one() { primary } else { bound };
            code.if_within(words, &Net::any(words.len()), any);
            code.if_within(words, &own.loopback, primary).refuse(Errno::ADDRNOTAVAIL);
            code.place(primary).put(own.primary(), R6, at).place(bound).end(allow)
        }
    };
}
