//! bind(2): to an own address, to the own machine, which is the primary one, or to any.

use rustix::io::Errno;

use super::{
    code::Code,
    context::{
        ALLOW, GET_CURRENT_UID_GID, GETSOCKOPT, SO_REUSEADDR, SO_REUSEPORT, SOCK_STREAM, SOL_SOCKET, TYPE,
        USER_IP4, USER_IP6, USER_MAPPED, V4, V6,
    },
    rule::{Net, Rule},
};
use crate::{
    Label,
    instruction::{
        Instruction,
        Register::{self, R0, R1, R2, R3, R4, R5, R6, R10},
        Size,
    },
};

/// What a program returns for what may be done, with ports that are for the privileged: Linux 5.12.
const RESERVED_TOO: i32 = 3;

/// What is the same for all addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Who may bind to those for the privileged.
    pub(super) reserved: Option<u32>,
    /// Whether those of the jail can be somebody else's, too, who has the same user.
    pub(super) same_users: bool,
}

pub(super) fn four(code: &mut Code, v4: &Rule, ports: Ports) {
    code.load(V4, R6, USER_IP4);
    rule(code, v4, V4, USER_IP4, true, ports);
}

pub(super) fn six(code: &mut Code, v4: &Rule, v6: &Rule, ports: Ports) {
    let mapped = code.label();
    code.load(V6, R6, USER_IP6).if_within(V6, &Net::mapped(), mapped);
    // Any IPv6 address is any IPv4 address, too, for a socket of both families; which sockets are, no program is told.
    rule(code, v6, V6, USER_IP6, v4.is_closed(), ports);
    code.place(mapped);
    rule(code, v4, V4, USER_MAPPED, true, ports);
}

/// To any becomes to the only address, if there is one, and if it is `narrowed`. If not it stays, and what is sent and
/// received is looked at; unless others may have the same port: they would lose to this socket what goes to it at
/// addresses that are not the jail's.
fn rule(code: &mut Code, rule: &Rule, words: &[Register], at: i16, narrowed: bool, ports: Ports) {
    match rule {
        Rule::Free => end(code, ports.reserved),
        Rule::Closed => code.refuse(Errno::AFNOSUPPORT),
        Rule::Own(own) => {
            let (primary, bound, any) = (code.label(), code.label(), code.label());
            code.if_one_of(words, own.addresses(), bound);
            let all = if narrowed && own.is_one() { primary } else { any };
            code.if_within(words, &Net::any(words.len()), all);
            code.if_within(words, &own.loopback, primary).refuse(Errno::ADDRNOTAVAIL);
            if all == any {
                code.place(any);
                if_shared(code, ports, primary);
                code.jump(bound);
            }
            code.place(primary).put(own.primary(), R6, at).place(bound);
            end(code, ports.reserved)
        }
    };
}

/// Goes to a label if the socket says that its port may be another's, too, and that other can be outside of the jail: for
/// SO_REUSEPORT it must have the same user, socket(7). Before Linux 6.1 no program is told of either.
fn if_shared(code: &mut Code, ports: Ports, yes: Label) {
    let stream = code.label();
    code.load(&[R5], R6, TYPE).jump_if(R5, SOCK_STREAM, stream);
    if_option(code, SO_REUSEADDR, yes);
    code.place(stream);
    if ports.same_users {
        if_option(code, SO_REUSEPORT, yes);
    }
}

/// Goes to a label if a socket has an option.
fn if_option(code: &mut Code, option: i32, yes: Label) {
    code.push(Instruction::store_value(Size::Word, R10, -4, 0)).push(Instruction::copy(R1, R6));
    code.push(Instruction::set(R2, SOL_SOCKET)).push(Instruction::set(R3, option));
    code.push(Instruction::copy(R4, R10)).push(Instruction::add(R4, -4)).push(Instruction::set(R5, 4));
    code.push(Instruction::call(GETSOCKOPT)).load(&[R5], R10, -4).jump_unless(R5, 0, yes);
}

/// It may be done; by one user at ports that are for the privileged, too.
fn end(code: &mut Code, reserved: Option<u32>) -> &mut Code {
    let Some(user) = reserved else { return code.end(ALLOW) };
    let his = code.label();
    code.push(Instruction::call(GET_CURRENT_UID_GID)).jump_if(R0, user.cast_signed(), his);
    code.end(ALLOW).place(his).end(RESERVED_TOO)
}
