//! The one ipc namespace of a jail: who owns it, who may share it, and the limits that it has.

use std::{ffi::CString, fs};

use kernel::{
    act::Act,
    namespace::{Kind as Ns, Visit},
    probe::release,
    step::{Stage, Step},
};
use vimage::{Ask, Context as _, Error, ErrorKind, Instance, Mode, Result, Settings, Site, Value};

/// The facilities of an ipc namespace, in the order of their subsystems.
pub const FACILITIES: [&str; 4] = ["sysvmsg", "sysvsem", "sysvshm", "mqueue"];

/// A limit of an ipc namespace: a parameter and its file.
#[derive(Debug)]
pub struct Knob {
    /// The parameter.
    pub param: &'static str,
    /// The file below /proc/sys.
    pub file: &'static str,
    /// What it holds in a new namespace, whatever the parent's holds.
    pub default: &'static str,
    /// How the value stands in it.
    pub format: Format,
}

/// How a limit's file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A number alone.
    Number,
    /// The last of four numbers, the others being the default's.
    FourthField,
}

impl Knob {
    /// The file's text for a value; `None`: the kernel's default.
    fn text(&self, value: Option<i64>) -> String {
        match (value, self.format) {
            (None, _) => self.default.to_owned(),
            (Some(n), Format::Number) => n.to_string(),
            (Some(n), Format::FourthField) => {
                let (first, _) = self.default.rsplit_once(' ').unwrap_or_default();
                format!("{first} {n}")
            }
        }
    }

    /// The value in a file's text; what is above the greatest number is that.
    fn value(&self, text: &str) -> Option<i64> {
        let field = match self.format {
            Format::Number => 0,
            Format::FourthField => 3,
        };
        let number: u64 = text.split_whitespace().nth(field)?.parse().ok()?;
        Some(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Refuses a facility that is new beside one that is inherited; of several, one that was `given`.
///
/// # Errors
/// [`ErrorKind::Usage`].
pub fn check_mixture(settings: &Settings, given: &Settings, facility: &str) -> Result<()> {
    let inherited = FACILITIES.iter().find(|f| settings.text(f) == Some(Mode::Inherit.word()));
    let (true, Some(other)) = (settings.is_new(facility), inherited) else { return Ok(()) };
    let is_given = |f: &str| settings.is_new(f) && given.get(f).is_some();
    if !is_given(facility) && FACILITIES.into_iter().any(is_given) {
        return Ok(());
    }
    let error = Error::usage(format!("{facility}: new cannot be mixed with {other}=inherit"));
    Err(error.hint(format!(
        "Linux has one namespace for System V IPC and POSIX message queues together; give {facility}=inherit or \
         {facility}=disable"
    )))
}

/// The facility whose subsystem adopts the namespace: the first that is new; `None`: no namespace is needed.
fn owner(settings: &Settings) -> Option<&'static str> {
    FACILITIES.into_iter().find(|f| settings.is_new(f))
}

/// Gives a jail the limits of its parent that it does not say itself: a namespace starts with the kernel's
/// defaults, and a child has at most what its parent has.
pub fn inherit_limits(ask: &mut Ask<'_>, facility: &str, knobs: &[Knob]) {
    let Some(above) = ask.above.filter(|_| ask.living.is_none() && ask.settings.is_new(facility)) else {
        return;
    };
    for knob in knobs.iter().filter(|k| ask.given.get(k.param).is_none()) {
        if let Some(limit) = above.get(knob.param) {
            ask.settings.set(knob.param, limit.clone());
        }
    }
}

/// What a process does to be born in the namespace, and its limits where it must set them itself.
///
/// # Errors
/// None in practice: a file's name has no null byte.
pub fn birth(settings: &Settings, facility: &str, knobs: &[Knob]) -> Result<Vec<Act>> {
    let mut acts = Vec::new();
    if owner(settings) == Some(facility) {
        acts.push(Act::Namespace(Ns::Ipc, None));
    }
    if settings.is_new(facility) && !host_sets_limits() {
        let given = knobs.iter().filter(|k| settings.int(k.param).is_some());
        acts.extend(given.map(|k| write_inside(k, settings)));
    }
    Ok(acts)
}

/// Adopts the namespace for the facility that owns it, and sets the facility's limits where the host does.
///
/// # Errors
/// The namespace was not born, or a limit cannot be set.
pub fn adopt(site: &mut Site<'_>, facility: &str, knobs: &[Knob]) -> Result<()> {
    if owner(site.settings) == Some(facility) {
        site.adopt("ipc")?;
    }
    if !site.settings.is_new(facility) || !host_sets_limits() {
        return Ok(());
    }
    let given: Vec<_> = knobs.iter().filter(|k| site.settings.int(k.param).is_some()).collect();
    write_from_host(&site.instance(), &given)
}

/// Changes the limits that differ; what a process must do for it inside, if it must be done there.
///
/// # Errors
/// A limit cannot be set.
pub fn update(site: &mut Site<'_>, old: &Settings, facility: &str, knobs: &[Knob]) -> Result<Vec<Act>> {
    if !site.settings.is_new(facility) {
        return Ok(Vec::new());
    }
    let changed: Vec<_> = knobs.iter().filter(|k| site.settings.get(k.param) != old.get(k.param)).collect();
    if host_sets_limits() {
        write_from_host(&site.instance(), &changed)?;
        return Ok(Vec::new());
    }
    Ok(changed.into_iter().map(|k| write_inside(k, site.settings)).collect())
}

/// The live values of the limits that were given and are wanted.
///
/// # Errors
/// The namespace cannot be entered, or a file not be read.
pub fn inspect(
    of: &Instance<'_>,
    wanted: &dyn Fn(&str) -> bool,
    facility: &str,
    knobs: &[Knob],
) -> Result<Settings> {
    let given: Vec<_> =
        knobs.iter().filter(|k| wanted(k.param) && of.settings.get(k.param).is_some()).collect();
    let mut live = Settings::default();
    if given.is_empty() || !of.settings.is_new(facility) {
        return Ok(live);
    }
    let Some(ipc) = of.fd("ipc")? else { return Ok(live) };
    let _inside = Visit::enter(&*ipc, Ns::Ipc).doing("cannot enter the ipc namespace")?;
    for knob in given {
        let text = fs::read_to_string(knob.file).doing_with(|| format!("cannot read {}", knob.file));
        if let Some(value) = knob.value(&text.doing(knob.param)?) {
            live.set(knob.param, Value::Int(value));
        }
    }
    Ok(live)
}

/// Whether the host's root can set the limits of a namespace that a jail's user namespace owns, and the
/// jail's root cannot: so before Linux 6.9, which turned it round (`ipc_permissions`).
fn host_sets_limits() -> bool {
    release() < (6, 9)
}

fn write_from_host(of: &Instance<'_>, knobs: &[&Knob]) -> Result<()> {
    if knobs.is_empty() {
        return Ok(());
    }
    let Some(ipc) = of.fd("ipc")? else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("{}: the ipc namespace is gone", knobs[0].param),
        ));
    };
    let _inside = Visit::enter(&*ipc, Ns::Ipc).doing("cannot enter the ipc namespace")?;
    for knob in knobs {
        let text = knob.text(of.settings.int(knob.param));
        fs::write(knob.file, &text)
            .doing_with(|| format!("{}: cannot write \"{text}\" to {}", knob.param, knob.file))?;
    }
    Ok(())
}

/// After the process has become the jail's root, who alone may write the file, and before the jail's own
/// root directory hides the host's /proc.
fn write_inside(knob: &Knob, settings: &Settings) -> Act {
    let file = CString::new(knob.file).unwrap_or_default();
    Act::Step(Stage::Ids, Step::Write(file, knob.text(settings.int(knob.param)).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::ask;

    const SEM: Knob = Knob {
        param: "sysvsem.sets",
        file: "/proc/sys/kernel/sem",
        default: "32000 1024000000 500 32000",
        format: Format::FourthField,
    };
    const MAX: Knob = Knob { param: "sysvshm.max", file: "/x", default: "7", format: Format::Number };

    fn modes(words: [&str; 4]) -> Settings {
        FACILITIES.iter().zip(words).map(|(f, w)| ((*f).to_owned(), Value::Text(w.to_owned()))).collect()
    }

    /// All 81 combinations.
    fn all() -> impl Iterator<Item = [&'static str; 4]> {
        let words = ["new", "inherit", "disable"];
        (0..81).map(move |n| [n, n / 3, n / 9, n / 27].map(|i: usize| words[i % 3]))
    }

    #[test]
    fn new_and_inherit_do_not_mix_and_disable_mixes_with_both() {
        for words in all() {
            let settings = modes(words);
            let refused = FACILITIES.iter().any(|f| check_mixture(&settings, &settings, f).is_err());
            let nothing = Settings::default();
            assert_eq!(refused, FACILITIES.iter().any(|f| check_mixture(&settings, &nothing, f).is_err()));
            assert_eq!(refused, words.contains(&"new") && words.contains(&"inherit"), "{words:?}");
        }
        let mixed = modes(["new", "disable", "inherit", "new"]);
        let error = check_mixture(&mixed, &mixed, "sysvmsg").unwrap_err();
        assert_eq!(error.to_string(), "sysvmsg: new cannot be mixed with sysvshm=inherit");
        // What the user said is named, not what follows from it.
        let given = [("mqueue".to_owned(), Value::Text("new".into()))].into_iter().collect();
        assert!(check_mixture(&mixed, &given, "sysvmsg").is_ok());
        assert!(check_mixture(&mixed, &given, "mqueue").is_err());
    }

    #[test]
    fn exactly_one_is_born_with_the_namespace_if_any_is_new() {
        for words in all() {
            let settings = modes(words);
            let born = |f: &&&str| {
                let acts = birth(&settings, f, &[]).unwrap();
                acts.iter().any(|a| matches!(a, Act::Namespace(Ns::Ipc, None)))
            };
            assert_eq!(
                FACILITIES.iter().filter(born).count(),
                usize::from(words.contains(&"new")),
                "{words:?}"
            );
        }
    }

    #[test]
    fn a_limits_file_has_its_value_in_place() {
        assert_eq!(SEM.text(Some(5)), "32000 1024000000 500 5");
        assert_eq!(SEM.text(None), SEM.default);
        assert_eq!(SEM.value("32000\t1024000000\t500\t9\n"), Some(9));
        assert_eq!(MAX.text(Some(1 << 30)), "1073741824");
        assert_eq!(MAX.value("18446744073692774399\n"), Some(i64::MAX));
        assert_eq!(MAX.value(""), None);
    }

    #[test]
    fn a_child_has_its_parents_limits_unless_it_says_less() {
        let parents: Settings = [("sysvsem.sets".to_owned(), Value::Int(8))].into_iter().collect();
        let mut given = modes(["new"; 4]);
        let resolve = |given: &Settings| {
            let mut ask = ask("a.b", given);
            ask.above = Some(&parents);
            inherit_limits(&mut ask, "sysvsem", &[SEM]);
            ask.settings.int("sysvsem.sets")
        };
        assert_eq!(resolve(&given), Some(8));
        given.set("sysvsem.sets", Value::Int(3));
        assert_eq!(resolve(&given), Some(3));
        assert_eq!(resolve(&modes(["disable"; 4])), None);
    }
}
