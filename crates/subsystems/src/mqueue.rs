//! `mqueue`: POSIX message queues, mq_overview(7), which live in the ipc namespace with System V IPC.

use kernel::{act::Act, probe::Feature};
use vimage::{
    Ask, Child, Cost, Entry, House, Instance, Kind, Lack, Mode, Param, Piece, Result, Settings, Site,
    Subsystem, Support, Value, When,
};

use crate::{
    needs,
    sysvipc::{
        self,
        namespace::{self, FACILITIES, Format, Knob},
    },
};

/// The subsystem.
#[derive(Clone, Copy, Debug)]
pub struct Mqueue;

/// Its instance for registries.
pub static MQUEUE: Mqueue = Mqueue;

const CALLS: &[&str] =
    &["mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"];

static KNOBS: [Knob; 1] = [Knob {
    params: &["mqueue.queues"],
    file: "/proc/sys/fs/mqueue/queues_max",
    default: "256",
    format: Format::Number,
}];

static PARAMS: [Param; 2] = [
    Param {
        name: "mqueue",
        kind: Kind::Mode(&[Mode::New, Mode::Inherit, Mode::Disable]),
        when: When::Create,
        child: Child::AtMost,
        help: "whether the jail has POSIX message queues of its own",
        doc: "With new the jail's queues have names of their own and end with it. With inherit it shares its \
              parent's. With disable the system calls fail with ENOSYS. The default is inherit if any of \
              sysvmsg, sysvsem and sysvshm is, because Linux has one namespace for all of them, and else new.",
        ..Param::BASE
    },
    Param {
        name: "mqueue.queues",
        kind: Kind::Int { min: 0, max: i32::MAX as i64 },
        child: Child::AtMost,
        help: "how many POSIX message queues may exist",
        doc: "The greatest number of POSIX message queues in the jail: fs.mqueue.queues_max, 256 by default. At \
              the limit mq_open(3) fails with ENOSPC.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Mqueue {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn about(&self) -> &'static str {
        "POSIX message queues"
    }

    fn params(&self) -> &'static [Param] {
        &PARAMS
    }

    fn probe(&self) -> Support {
        let lack = Lack {
            what: "POSIX message queues",
            hint: "CONFIG_POSIX_MQUEUE; mqueue=disable does without",
            denies: &["mqueue"],
        };
        needs::both(
            needs::namespaces(Feature::IpcNamespaces, &["mqueue"]),
            needs::file_system("mqueue", lack),
        )
    }

    fn after(&self) -> &'static [&'static str] {
        &["sysvshm"]
    }

    fn resolve(&self, ask: &mut Ask<'_>) {
        if ask.settings.get("mqueue").is_none() {
            let inherits = |f: &&str| ask.settings.text(f) == Some(Mode::Inherit.word());
            let mode = if FACILITIES.iter().any(inherits) { Mode::Inherit } else { Mode::New };
            let own = Value::Text(mode.word().to_owned());
            let parents = ask.above.and_then(|above| above.get("mqueue"));
            ask.settings.set("mqueue", PARAMS[0].narrowed(&own, parents).unwrap_or(own));
        }
        namespace::inherit_limits(ask, "mqueue", &KNOBS);
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        namespace::check_mixture(&ask.settings, ask.given, "mqueue")
    }

    fn prepare(&self, site: &mut Site<'_>) -> Result<Vec<Act>> {
        namespace::birth(site.settings, "mqueue", &KNOBS)
    }

    fn create(&self, site: &mut Site<'_>) -> Result<()> {
        namespace::adopt(site, "mqueue", &KNOBS)?;
        sysvipc::mark_denied(site, "mqueue")
    }

    fn enter(&self, of: &Instance<'_>, _how: Entry) -> Result<Vec<Act>> {
        Ok(sysvipc::deny(of.settings, "mqueue", CALLS))
    }

    fn update(&self, site: &mut Site<'_>, old: &Settings) -> Result<Vec<Act>> {
        namespace::update(site, old, "mqueue", &KNOBS)
    }

    fn inspect(&self, of: &Instance<'_>, wanted: &dyn Fn(&str) -> bool) -> Result<Settings> {
        namespace::inspect(of, wanted, "mqueue", &KNOBS)
    }

    fn cost(&self, piece: &Piece, house: &dyn House) -> Cost {
        sysvipc::usage::cost(piece, house)
    }

    fn objects(&self) -> &'static [(&'static str, &'static str)] {
        sysvipc::OBJECTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::ask;

    fn resolved(shm: &str, parents: Option<&str>) -> String {
        let one = |name: &str, word: &str| -> Settings {
            [(name.to_owned(), Value::Text(word.to_owned()))].into_iter().collect()
        };
        let given = one("sysvshm", shm);
        let settings = one("mqueue", parents.unwrap_or("new"));
        let mut ask = ask("a.b", &given);
        ask.above = parents.map(|_| &settings);
        MQUEUE.resolve(&mut ask);
        ask.settings.text("mqueue").unwrap().to_owned()
    }

    #[test]
    fn the_default_follows_system_v() {
        assert_eq!(resolved("inherit", None), "inherit");
        assert_eq!(resolved("new", None), "new");
        assert_eq!(resolved("disable", None), "new");
        assert_eq!(resolved("new", Some("new")), "new");
        assert_eq!(resolved("new", Some("disable")), "disable");
    }

    #[test]
    fn the_calls_are_known_to_the_filter() {
        assert!(CALLS.iter().all(|call| kernel::seccomp::is_known(call)));
    }
}
