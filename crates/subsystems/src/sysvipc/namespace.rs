//! The one ipc namespace of a jail: who owns it, who may share it, and the limits that it has.

use std::{ffi::CString, fs};

use kernel::{
    act::Act,
    namespace::{Kind as Ns, Visit},
    probe::release,
    step::{Stage, Step},
};
use vimage::{Ask, Context as _, Error, ErrorKind, Instance, Mode, Result, Settings, Site, Value};

use crate::rctl::rule::{is_said, least};

/// The facilities of an ipc namespace, in the order of their subsystems.
pub const FACILITIES: [&str; 4] = ["sysvmsg", "sysvsem", "sysvshm", "mqueue"];

/// A limit of an ipc namespace: its parameters and its file.
#[derive(Debug)]
pub struct Knob {
    /// The parameters: of several that are one to the kernel the strictest counts.
    pub params: &'static [&'static str],
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
    /// Bytes, as a number of pages; what is less than one is none.
    Pages,
    /// One of several numbers, of which some may be other limits, and the others are the default's.
    Field(usize),
}

impl Knob {
    /// What a jail's values come to; `None`: the kernel's default.
    fn limit(&self, settings: &Settings) -> Option<i64> {
        least(settings, self.params)
    }

    /// Puts a value into the numbers of its file.
    fn put(&self, value: i64, numbers: &mut [String]) {
        let (at, number) = match self.format {
            Format::Number => (0, value),
            Format::Pages => (0, value / page()),
            Format::Field(at) => (at, value),
        };
        if let Some(place) = numbers.get_mut(at) {
            *place = number.to_string();
        }
    }

    /// The value in a file's text, of which `limit` was written; what is above the greatest number is that.
    fn value(&self, text: &str, limit: i64) -> Option<i64> {
        let (field, unit) = match self.format {
            Format::Number => (0, 1),
            Format::Pages => (0, page()),
            Format::Field(at) => (at, 1),
        };
        let number: u64 = text.split_whitespace().nth(field)?.parse().ok()?;
        let value = i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(unit);
        Some(if value / unit == limit / unit { limit } else { value })
    }
}

/// The size of a page in bytes.
fn page() -> i64 {
    i64::try_from(rustix::param::page_size()).unwrap_or(4096)
}

/// The files of some limits, each once, with the text that they have for a jail's values.
fn texts<'k>(
    knobs: impl IntoIterator<Item = &'k Knob>,
    all: &[Knob],
    settings: &Settings,
) -> Vec<(&'static str, String)> {
    let mut texts: Vec<(&'static str, String)> = Vec::new();
    for knob in knobs {
        if texts.iter().any(|(file, _)| *file == knob.file) {
            continue;
        }
        let mut numbers: Vec<_> = knob.default.split(' ').map(str::to_owned).collect();
        for other in all.iter().filter(|other| other.file == knob.file) {
            if let Some(value) = other.limit(settings) {
                other.put(value, &mut numbers);
            }
        }
        texts.push((knob.file, numbers.join(" ")));
    }
    texts
}

/// Refuses limits of what a jail shares with its parent: they would be the parent's.
///
/// # Errors
/// [`ErrorKind::Usage`].
pub fn check_limits(settings: &Settings, facility: &str, knobs: &[Knob]) -> Result<()> {
    if settings.mode(facility) != Mode::Inherit {
        return Ok(());
    }
    let params = knobs.iter().flat_map(|knob| knob.params);
    match params.into_iter().find(|param| is_said(settings, param)) {
        Some(param) => Err(Error::usage(format!("{param} needs {facility}=new, which is inherit"))),
        None => Ok(()),
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
    for param in knobs.iter().flat_map(|k| k.params).filter(|param| ask.given.get(param).is_none()) {
        if let Some(limit) = above.get(param) {
            ask.settings.set(param, limit.clone());
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
        acts.extend(given(knobs, settings).into_iter().map(write_inside));
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
    write_from_host(&site.instance(), given(knobs, site.settings))
}

/// Changes the limits that differ; what a process must do for it inside, if it must be done there.
///
/// # Errors
/// A limit cannot be set.
pub fn update(site: &mut Site<'_>, old: &Settings, facility: &str, knobs: &[Knob]) -> Result<Vec<Act>> {
    if !site.settings.is_new(facility) {
        return Ok(Vec::new());
    }
    let changed = knobs.iter().filter(|k| k.limit(site.settings) != k.limit(old));
    let texts = texts(changed, knobs, site.settings);
    if host_sets_limits() {
        write_from_host(&site.instance(), texts)?;
        return Ok(Vec::new());
    }
    Ok(texts.into_iter().map(write_inside).collect())
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
    let is_wanted = |param: &&&str| wanted(param) && is_said(of.settings, param);
    let given: Vec<_> =
        knobs.iter().flat_map(|k| k.params.iter().filter(is_wanted).map(move |param| (k, *param))).collect();
    let mut live = Settings::default();
    if given.is_empty() || !of.settings.is_new(facility) {
        return Ok(live);
    }
    let Some(ipc) = of.fd("ipc")? else { return Ok(live) };
    let _inside = Visit::enter(&*ipc, Ns::Ipc).doing("cannot enter the ipc namespace")?;
    for (knob, param) in given {
        let text = fs::read_to_string(knob.file).doing_with(|| format!("cannot read {}", knob.file));
        let limit = knob.limit(of.settings).unwrap_or_default();
        if let Some(value) = knob.value(&text.doing(param)?, limit) {
            live.set(param, Value::Int(value));
        }
    }
    Ok(live)
}

/// Whether the host's root can set the limits of a namespace that a jail's user namespace owns, and the
/// jail's root cannot: so before Linux 6.9, which turned it round (`ipc_permissions`).
fn host_sets_limits() -> bool {
    release() < (6, 9)
}

/// The files of the limits that a jail has, with their texts.
fn given(knobs: &[Knob], settings: &Settings) -> Vec<(&'static str, String)> {
    texts(knobs.iter().filter(|k| k.limit(settings).is_some()), knobs, settings)
}

fn write_from_host(of: &Instance<'_>, texts: Vec<(&'static str, String)>) -> Result<()> {
    let Some((first, _)) = texts.first() else { return Ok(()) };
    let Some(ipc) = of.fd("ipc")? else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("cannot write {first}: the ipc namespace is gone"),
        ));
    };
    let _inside = Visit::enter(&*ipc, Ns::Ipc).doing("cannot enter the ipc namespace")?;
    for (file, text) in texts {
        fs::write(file, &text).doing_with(|| format!("cannot write \"{text}\" to {file}"))?;
    }
    Ok(())
}

/// After the process has become the jail's root, who alone may write the file, and before the jail's own
/// root directory hides the host's /proc.
fn write_inside((file, text): (&'static str, String)) -> Act {
    Act::Step(Stage::Ids, Step::Write(CString::new(file).unwrap_or_default(), text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::ask;

    const SEM: Knob = sem(&["sysvsem.sets"], 3);
    const ALL: Knob = sem(&["rctl.nsem"], 1);
    const MAX: Knob = Knob { params: &["sysvshm.max"], file: "/x", default: "7", format: Format::Number };
    const PAGES: Knob = Knob { params: &["rctl.shmsize"], file: "/y", default: "7", format: Format::Pages };

    const fn sem(params: &'static [&'static str], field: usize) -> Knob {
        let (file, default) = ("/proc/sys/kernel/sem", "32000 1024000000 500 32000");
        Knob { params, file, default, format: Format::Field(field) }
    }

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
    fn a_limits_file_has_its_values_in_place() {
        let text = |knob: Knob, list: &[(&str, i64)]| {
            let settings = list.iter().map(|(name, n)| ((*name).to_owned(), Value::Int(*n))).collect();
            let all = [SEM, ALL, knob];
            texts(&all[2..], &all, &settings).remove(0).1
        };
        assert_eq!(text(SEM, &[("sysvsem.sets", 5)]), "32000 1024000000 500 5");
        assert_eq!(text(SEM, &[("sysvsem.sets", 5), ("rctl.nsem", 9)]), "32000 9 500 5");
        assert_eq!(text(SEM, &[]), SEM.default);
        assert_eq!(text(MAX, &[("sysvshm.max", 1 << 30)]), "1073741824");
        assert_eq!(text(PAGES, &[("rctl.shmsize", 3 * page() + 1)]), "3");
        assert_eq!(SEM.value("32000\t1024000000\t500\t9\n", 0), Some(9));
        assert_eq!(MAX.value("18446744073692774399\n", 0), Some(i64::MAX));
        assert_eq!(PAGES.value("3\n", 3 * page() + 1), Some(3 * page() + 1));
        assert_eq!(PAGES.value("4\n", 3 * page() + 1), Some(4 * page()));
        assert_eq!(MAX.value("", 0), None);
    }

    #[test]
    fn what_is_shared_is_not_limited() {
        let mut settings = modes(["inherit"; 4]);
        assert!(check_limits(&settings, "sysvsem", &[SEM, ALL]).is_ok());
        settings.set("rctl.nsem", Value::Int(1));
        let error = check_limits(&settings, "sysvsem", &[SEM, ALL]).unwrap_err();
        assert_eq!(error.to_string(), "rctl.nsem needs sysvsem=new, which is inherit");
        settings.set("sysvsem", Value::Text("disable".into()));
        assert!(check_limits(&settings, "sysvsem", &[SEM, ALL]).is_ok());
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
