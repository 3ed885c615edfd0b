//! What a subsystem contributes to a process of a jail, and how the contributions of all become one program.

use std::{os::fd::OwnedFd, rc::Rc};

use crate::{
    below::Below,
    capability::CapSet,
    namespace::Kind,
    seccomp::{self, BadRule, Rule},
    step::{Stage, Step},
};

/// One contribution.
#[derive(Debug)]
pub enum Act {
    /// A namespace to be born in, or, with its descriptor, one to enter.
    Namespace(Kind, Option<Rc<OwnedFd>>),
    /// A namespace to be in from when the process is the jail's root, which a user namespace below the jail's
    /// owns: so the jail's root rules it, whatever capabilities it loses.
    Below(Kind),
    /// A step, and when it is taken.
    Step(Stage, Step),
    /// A system call to deny.
    Deny(Rule<'static>),
    /// Capabilities to lose.
    Drop(CapSet),
    /// That the first process is made by one outside, which prepares its mounts ([`Stage::Outside`]): it cannot be born with
    /// the jail.
    Apart,
    /// A process that stays when a persistent jail has no other, so that the namespaces stay that go with its last.
    Keep,
}

/// All contributions, folded.
#[derive(Debug, Default)]
pub struct Folded {
    /// CLONE_NEW* of the namespaces to be born in.
    pub namespaces: u64,
    /// CLONE_NEW* of those that are joined when the process is the jail's root.
    pub below: u64,
    /// Whether a process is to stay.
    pub keeps: bool,
    /// The steps in order, the joint filter and the joint capabilities among them.
    pub steps: Vec<(Stage, Step)>,
}

/// Folds contributions into one list of steps: all denied calls become one filter, all dropped capabilities
/// one mask; steps of one stage keep their order.
///
/// # Errors
/// A rule names a system call that is not known.
pub fn fold(acts: Vec<Act>) -> Result<Folded, BadRule> {
    let (mut namespaces, mut below, mut keeps) = (0, 0, false);
    let mut staged: Vec<(Stage, Step)> = Vec::new();
    let mut rules = Vec::new();
    let mut dropped = CapSet::EMPTY;
    for act in acts {
        match act {
            Act::Namespace(kind, None) => namespaces |= u64::from(kind.flag()),
            Act::Namespace(kind, Some(ns)) => {
                // The user namespace first: it gives the right to enter those that it owns.
                let stage = if kind == Kind::User { Stage::User } else { Stage::Others };
                staged.push((stage, Step::Join(ns, kind.flag())));
            }
            Act::Below(kind) => {
                below |= u64::from(kind.flag());
                staged.push((Stage::Ids, Step::Below(Box::new(Below::new(kind)))));
            }
            Act::Step(stage, step) => staged.push((stage, step)),
            Act::Deny(rule) => rules.push(rule),
            Act::Drop(caps) => dropped.0 |= caps.0,
            Act::Apart => {}
            Act::Keep => keeps = true,
        }
    }
    if !rules.is_empty() {
        let filter = seccomp::deny(seccomp::Abi::NATIVE, &rules)?;
        staged.push((Stage::Seccomp, Step::Seccomp(filter)));
    }
    if dropped != CapSet::EMPTY {
        staged.push((Stage::Capabilities, Step::Bound(dropped.0)));
    }
    staged.sort_by_key(|(stage, _)| *stage);
    Ok(Folded { namespaces, below, keeps, steps: staged })
}
