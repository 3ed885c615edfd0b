//! sendto(2) and its like on a socket that is not connected: as connect(2), for one message.

use rustix::io::Errno;

use super::{
    code::Code,
    context::{ALLOW, MSG_SRC_IP4, MSG_SRC_IP6, USER_IP4, USER_IP6, V4, V6},
    rule::{Net, Rule},
};
use crate::instruction::Register::{self, R6};

/// Through IPv6 sockets, too, if it is an IPv4 address.
pub(super) fn four(code: &mut Code, v4: &Rule) {
    rule(code, v4, V4, USER_IP4, MSG_SRC_IP4);
}

pub(super) fn six(code: &mut Code, v6: &Rule) {
    rule(code, v6, V6, USER_IP6, MSG_SRC_IP6);
}

fn rule(code: &mut Code, rule: &Rule, words: &[Register], to: i16, from: i16) {
    match rule {
        Rule::Free => code.end(ALLOW),
        Rule::Closed => code.refuse(Errno::AFNOSUPPORT),
        Rule::Own(own) => {
            let (choose, sent) = (code.label(), code.label());
            code.load(words, R6, to).destination(words, own, to);
            // It is the socket's, or comes with the message.
            code.load(words, R6, from).if_within(words, &Net::any(words.len()), choose);
            code.if_one_of(words, own.addresses(), sent);
            code.if_within(words, &own.loopback, choose).refuse(Errno::ADDRNOTAVAIL);
            code.place(choose).load(words, R6, to).source(words, own, R6, from);
            code.place(sent).end(ALLOW)
        }
    };
}
