//! getsockname(2): a socket that is bound to any address, in a jail that has one, is bound to that.

use super::{
    code::Code,
    context::{ALLOW, USER_IP4, USER_IP6, USER_MAPPED, USER_PORT, V4, V6},
    rule::{Net, Rule},
};
use crate::instruction::Register::{R5, R6};

pub(super) fn four(code: &mut Code, v4: &Rule) {
    let shown = code.label();
    // Without a port it is not bound.
    code.load(&[R5], R6, USER_PORT).jump_if(R5, 0, shown);
    if let Some(own) = v4.only() {
        code.load(V4, R6, USER_IP4).unless_within(V4, &Net::any(1), shown).put(own.primary(), R6, USER_IP4);
    }
    code.place(shown).end(ALLOW);
}

pub(super) fn six(code: &mut Code, v4: &Rule, v6: &Rule) {
    let shown = code.label();
    code.load(&[R5], R6, USER_PORT).jump_if(R5, 0, shown).load(V6, R6, USER_IP6);
    if let Some(own) = v6.only() {
        let other = code.label();
        code.unless_within(V6, &Net::any(4), other).put(own.primary(), R6, USER_IP6).jump(shown).place(other);
    }
    if let Some(own) = v4.only() {
        let any = Net { mask: vec![-1; 4], ..Net::mapped() };
        code.unless_within(V6, &any, shown).put(own.primary(), R6, USER_MAPPED);
    }
    code.place(shown).end(ALLOW);
}
