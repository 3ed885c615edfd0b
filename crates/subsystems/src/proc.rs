//! The pid namespace: a jail sees its own processes alone. pid_namespaces(7).
//!
//! It is made with the jail's first process and ends with its last, so nothing of it is recorded.

use kernel::{act::Act, namespace::Kind as Namespace, probe::Feature};
use vimage::{Ask, Error, ErrorKind, Kind, Mode, Param, Result, Settings, Subsystem, Support, When};

use crate::needs;

/// The subsystem.
#[derive(Debug)]
pub struct Proc;

static PARAMS: &[Param] = &[Param {
    name: "proc",
    kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
    when: When::Create,
    default: Some("new"),
    help: "whether the jail sees its own processes alone",
    doc: "With new, the jail has a pid namespace of its own, whose init is a tiny program that only collects \
          processes. With inherit, pids are the host's, as in FreeBSD, and the host's processes can be seen.",
    ..Param::BASE
}];

impl Subsystem<Act> for Proc {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn about(&self) -> &'static str {
        "pid namespace"
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    fn probe(&self) -> Support {
        needs::namespaces(Feature::PidNamespaces, &["proc"])
    }

    fn after(&self) -> &'static [&'static str] {
        &["user"]
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        if !ask.settings.is_new("proc") && !ask.settings.is_new("user") {
            return Err(Error::usage("proc=inherit cannot be combined with user=inherit").hint(
                "the jail's root could signal every process of the host's root: nothing on Linux forbids it",
            ));
        }
        // It is made with the jail's first process: where that comes later, the birth does not tell.
        if ask.living.is_none() && ask.settings.bool("persist") && ask.settings.is_new("proc") {
            needs::check(ask, self.name(), Subsystem::probe(self))?;
        }
        match ask.parent {
            Some(parent) if !ask.settings.is_new("proc") && parent.settings.is_new("proc") => {
                Err(Error::new(ErrorKind::Denied, "proc=inherit: Operation not permitted")
                    .hint("the parent has pids of its own, which end with its processes"))
            }
            _ => Ok(()),
        }
    }

    fn first(&self, settings: &Settings) -> Vec<Act> {
        if settings.is_new("proc") { vec![Act::Namespace(Namespace::Pid, None)] } else { Vec::new() }
    }
}
