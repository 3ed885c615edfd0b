//! bind(2): to an own address, to the own machine, which is the primary one, or to any.

use rustix::io::Errno;

use super::{
    code::Code,
    context::{ALLOW, GET_CURRENT_UID_GID, USER_IP4, USER_IP6, USER_MAPPED, V4, V6},
    rule::{Net, Rule},
};
use crate::instruction::{
    Instruction,
    Register::{self, R0, R6},
};

/// What a program returns for what may be done, with ports that are for the privileged: Linux 5.12.
const RESERVED_TOO: i32 = 3;

pub(super) fn four(code: &mut Code, v4: &Rule, reserved: Option<u32>) {
    code.load(V4, R6, USER_IP4);
    rule(code, v4, V4, USER_IP4, true, reserved);
}

pub(super) fn six(code: &mut Code, v4: &Rule, v6: &Rule, reserved: Option<u32>) {
    let mapped = code.label();
    code.load(V6, R6, USER_IP6).if_within(V6, &Net::mapped(), mapped);
    // Any IPv6 address is any IPv4 address, too, for a socket of both families; which sockets are, no program is told.
    rule(code, v6, V6, USER_IP6, v4.is_closed(), reserved);
    code.place(mapped);
    rule(code, v4, V4, USER_MAPPED, true, reserved);
}

/// To any becomes to the only address, if there is one, and if it is `narrowed`. If not it stays, and what is sent and
/// received is looked at.
fn rule(code: &mut Code, rule: &Rule, words: &[Register], at: i16, narrowed: bool, reserved: Option<u32>) {
    match rule {
        Rule::Free => end(code, reserved),
        Rule::Closed => code.refuse(Errno::AFNOSUPPORT),
        Rule::Own(own) => {
            let (primary, bound) = (code.label(), code.label());
            code.if_one_of(words, own.addresses(), bound);
            let any = if narrowed && own.is_one() { primary } else { bound };
            code.if_within(words, &Net::any(words.len()), any);
            code.if_within(words, &own.loopback, primary).refuse(Errno::ADDRNOTAVAIL);
            code.place(primary).put(own.primary(), R6, at).place(bound);
            end(code, reserved)
        }
    };
}

/// It may be done; by one user at ports that are for the privileged, too.
fn end(code: &mut Code, reserved: Option<u32>) -> &mut Code {
    let Some(user) = reserved else { return code.end(ALLOW) };
    let his = code.label();
    code.push(Instruction::call(GET_CURRENT_UID_GID)).jump_if(R0, user.cast_signed(), his);
    code.end(ALLOW).place(his).end(RESERVED_TOO)
}
