//! socket(2): a family that the jail does not have is one that there is not.

use rustix::io::Errno;

use super::{
    code::Code,
    context::{AF_INET, AF_INET6, ALLOW, FAMILY, V4},
    rule::Rule,
};
use crate::instruction::Register::{R5, R6};

pub(super) fn create(code: &mut Code, v4: &Rule, v6: &Rule) {
    let refuse = code.label();
    code.load(V4, R6, FAMILY);
    for (rule, family) in [(v4, AF_INET), (v6, AF_INET6)] {
        if rule.is_closed() {
            code.jump_if(R5, family, refuse);
        }
    }
    code.end(ALLOW).place(refuse).refuse(Errno::AFNOSUPPORT);
}
