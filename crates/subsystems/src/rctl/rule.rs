//! Rules and filters as rctl(8) writes them, `jail:web:memoryuse:deny=1g`: text to values and back. Does no I/O.

use std::fmt;

use vimage::{Error, ErrorKind, Refused, Result, Settings, Value};

use super::resource::{PREFIX, Per, RESOURCES, Resource};
use crate::refused;

/// The parameter with the rules that a jail is under, each as a text.
pub const RULES: &str = "rctl.rules";

/// A limit of a jail that is said of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The jail's name.
    pub jail: String,
    /// What is limited. It says the action, too, and whose the limit is.
    pub resource: &'static Resource,
    /// The limit.
    pub amount: i64,
}

/// Which rules are meant: those that have all that it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The jail's name.
    pub jail: Option<String>,
    resource: Option<&'static Resource>,
    action: Option<String>,
    amount: Option<i64>,
    per: Option<String>,
}

/// The parts of a text, none of them looked at.
struct Parts<'t> {
    subject: &'t str,
    id: Option<&'t str>,
    resource: &'t str,
    action: &'t str,
    amount: Option<&'t str>,
    per: Option<&'t str>,
}

/// The greatest length of a jail's name.
const LONGEST: usize = 255;

/// Subjects that are no jail, with why there are none here, and what to do.
const SUBJECTS: [(&str, &str, &str); 3] = [
    (
        "user",
        "Linux limits a user's processes one by one, and nothing that they use together",
        "a jail for the user's programs has limits; limits.conf(5) has those of a login",
    ),
    (
        "process",
        "a limit of one process ends with it and is no rule",
        "/process behind an amount limits each process of a jail; prlimit(1) limits one process",
    ),
    ("loginclass", "Linux has no login classes", "limits.conf(5) has limits of a login"),
];

/// Actions that nothing here does, with why, and what to do.
const ACTIONS: [(&str, &str, &str); 2] = [
    (
        "log",
        "Linux logs no limit that is reached, and nothing of ours runs to see it",
        "memory.events and pids.events of the jail's cgroup count how often one was; rctl -u says how far it is",
    ),
    ("devctl", "Linux has no devctl(4)", "rctl -u says how far a jail is from a limit"),
];

/// What a rule looks like.
const LOOKS: &str = "it looks like jail:NAME:RESOURCE:ACTION=AMOUNT";

impl Rule {
    /// The rule of a text.
    ///
    /// # Errors
    /// `malformed rule 'TEXT': …`; `failed to add rule 'TEXT': …` with what Linux has not.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(&Parts::of(text)?).map_err(|error| within(error, text))
    }

    fn read(parts: &Parts<'_>) -> Result<Self> {
        parts.check_subject()?;
        let jail = parts.id.unwrap_or_default();
        if jail.is_empty() {
            return Err(Error::usage("it names no jail").hint(LOOKS));
        }
        let resource = match parts.resource {
            "" => return Err(Error::usage("it names no resource").hint(LOOKS)),
            name => resource(name)?,
        };
        match parts.action {
            "" => return Err(Error::usage("it names no action").hint(suggestion(jail, resource))),
            action if action == resource.action => {}
            action => return Err(cannot(action, jail, resource)),
        }
        let amount = parts.amount.unwrap_or_default();
        if amount.is_empty() {
            return Err(Error::usage("it names no amount").hint(suggestion(jail, resource)));
        }
        let amount = number(amount)?;
        if !(resource.least..=resource.most).contains(&amount) {
            let error = Error::usage(format!("amount out of range \"{amount}\""));
            return Err(error.hint(format!("from {} to {}", resource.least, resource.most)));
        }
        let rule = Self { jail: jail.to_owned(), resource, amount };
        match (resource.per, parts.per) {
            (Per::Jail, None | Some("jail")) | (Per::Process, Some("process")) => Ok(rule),
            (_, Some(per)) if !["jail", "process", "user", "loginclass"].contains(&per) => {
                Err(Error::usage(format!("unknown subject '{per}' behind /")).hint(rule.to_string()))
            }
            (Per::Process, None | Some("jail")) => {
                let what = format!("Linux limits {} of each process, and not of a jail", resource.name());
                Err(Error::unsupported(what).hint(rule.to_string()))
            }
            (_, Some(per)) => {
                let whose = if resource.per == Per::Jail { "a jail" } else { "each process" };
                let what = format!("Linux limits {} of {whose}, and not of each {per}", resource.name());
                Err(Error::unsupported(what).hint(rule.to_string()))
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jail, resource, amount } = self;
        let per = if resource.per == Per::Process { "/process" } else { "" };
        write!(f, "jail:{jail}:{}:{}={amount}{per}", resource.name(), resource.action)
    }
}

impl Filter {
    /// The filter of a text: a rule of which any part may be empty, or missing behind the last that is said.
    ///
    /// # Errors
    /// `malformed rule 'TEXT': …`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(&Parts::of(text)?).map_err(|error| within(error, text))
    }

    fn read(parts: &Parts<'_>) -> Result<Self> {
        if !parts.subject.is_empty() {
            parts.check_subject()?;
        }
        let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(Self {
            jail: parts.id.and_then(said),
            resource: said(parts.resource).map(|name| resource(&name)).transpose()?,
            action: said(parts.action),
            amount: parts.amount.filter(|text| !text.is_empty()).map(number).transpose()?,
            per: parts.per.and_then(said),
        })
    }

    /// Whether a resource of this name is meant, of all that is said of it.
    #[must_use]
    pub fn concerns(&self, name: &str) -> bool {
        self.resource.is_none_or(|resource| resource.name() == name)
    }

    /// Whether a rule is meant.
    #[must_use]
    pub fn means(&self, rule: &Rule) -> bool {
        let per = if rule.resource.per == Per::Process { "process" } else { "jail" };
        self.jail.as_ref().is_none_or(|jail| *jail == rule.jail)
            && self.resource.is_none_or(|resource| resource == rule.resource)
            && self.action.as_ref().is_none_or(|action| action == rule.resource.action)
            && self.amount.is_none_or(|amount| amount == rule.amount)
            && self.per.as_ref().is_none_or(|said| said == per)
    }
}

impl<'t> Parts<'t> {
    /// # Errors
    /// There are more than a rule has, or what cannot be printed.
    fn of(text: &'t str) -> Result<Self> {
        let wrong = |what: &str| Err(within(Error::usage(what).hint(LOOKS), text));
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == ',') {
            return wrong("it has a blank, a comma or a control character in it");
        }
        let mut parts = text.splitn(4, ':');
        let subject = parts.next().unwrap_or_default();
        let id = parts.next();
        let resource = parts.next().unwrap_or_default();
        let last = parts.next().unwrap_or_default();
        let (rest, per) = last.split_once('/').map_or((last, None), |(rest, per)| (rest, Some(per)));
        if last.contains(':') {
            return wrong("a rule has four parts");
        }
        let (action, amount) = match rest.split_once('=') {
            Some((action, amount)) => (action, Some(amount)),
            None => (rest, None),
        };
        if id.is_some_and(|id| id.len() > LONGEST || id.contains(['/', '*'])) {
            return wrong("no jail has such a name");
        }
        Ok(Self { subject, id, resource, action, amount, per })
    }

    /// # Errors
    /// It is no jail.
    fn check_subject(&self) -> Result<()> {
        let subject = match self.subject.to_ascii_lowercase().as_str() {
            "jail" | "j" => return Ok(()),
            "u" => "user",
            "p" => "process",
            "l" | "c" | "class" => "loginclass",
            _ => self.subject,
        };
        Err(match SUBJECTS.iter().find(|(name, ..)| *name == subject) {
            Some((_, reason, hint)) => Error::unsupported(format!("subject {subject}: {reason}")).hint(*hint),
            None => Error::usage(format!("unknown subject '{subject}'")).hint(LOOKS),
        })
    }
}

/// The resource of a name.
fn resource(name: &str) -> Result<&'static Resource> {
    if let Some(resource) = Resource::of(name) {
        return Ok(resource);
    }
    if let Some(Refused { reason, hint, .. }) = Refused::find(refused::ROWS, &format!("{PREFIX}{name}")) {
        return Err(Error::unsupported(format!("resource {name}: {reason}")).hint(*hint));
    }
    let all: Vec<_> = RESOURCES.iter().map(Resource::name).collect();
    Err(Error::usage(format!("unknown resource '{name}'")).hint(all.join(", ")))
}

/// That a resource's limit does not do this.
fn cannot(action: &str, jail: &str, resource: &Resource) -> Error {
    let known = ACTIONS.iter().find(|(name, ..)| *name == action);
    if let Some((_, reason, hint)) = known {
        return Error::unsupported(format!("action {action}: {reason}")).hint(*hint);
    }
    let name = resource.name();
    let what = match action {
        _ if action.starts_with("sig") && resource.action == "sigkill" => {
            format!("action {action}: a process can put off every signal of {name} but SIGKILL")
        }
        _ if action.starts_with("sig") => {
            format!(
                "action {action}: Linux sends no signal at a limit of {name}, and nothing of ours runs to do it"
            )
        }
        "deny" | "throttle" => {
            let does = match resource.action {
                "throttle" => "waits",
                "sigkill" => "is killed",
                _ => "is denied",
            };
            format!("action {action}: what is above a limit of {name} {does}")
        }
        _ => return Error::usage(format!("unknown action '{action}'")).hint(suggestion(jail, resource)),
    };
    Error::unsupported(what).hint(suggestion(jail, resource))
}

/// A rule of a resource, to be filled in.
fn suggestion(jail: &str, resource: &Resource) -> String {
    let per = if resource.per == Per::Process { "/process" } else { "" };
    format!("jail:{jail}:{}:{}=AMOUNT{per}", resource.name(), resource.action)
}

/// An amount: a whole number, with `k`, `m`, `g`, `t`, `p` or `e` for powers of 1024, as expand_number(3) has it.
fn number(text: &str) -> Result<i64> {
    let bad = || Error::usage(format!("invalid numeric value '{text}'"));
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match bare.char_indices().last() {
        Some((at, letter)) if letter.is_ascii_alphabetic() => {
            let power = "kmgtpe".find(letter).ok_or_else(bad)?;
            (&bare[..at], 10 * (power + 1))
        }
        _ => (bare, 0),
    };
    let number: i64 =
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten().ok_or_else(bad)?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

/// An error in a rule's text, as rctl(8) begins it: what is wrong in itself is malformed.
fn within(error: Error, text: &str) -> Error {
    let text: String = text.chars().flat_map(char::escape_debug).collect();
    match error.kind() {
        ErrorKind::Unsupported => error.doing(format!("failed to add rule '{text}'")),
        _ => error.doing(format!("malformed rule '{text}'")),
    }
}

/// The limit of what goes by these names: the strictest of the parameters and of the rules that a jail is under.
#[must_use]
pub fn least(settings: &Settings, names: &[&str]) -> Option<i64> {
    let given = names.iter().filter_map(|name| settings.int(name));
    given.chain(rules(settings).filter(|r| names.contains(&r.resource.param)).map(|r| r.amount)).min()
}

/// Whether a parameter, or a rule of its resource, is said of a jail.
#[must_use]
pub fn is_said(settings: &Settings, param: &str) -> bool {
    settings.get(param).is_some() || rules(settings).any(|rule| rule.resource.param == param)
}

/// The rules that a jail is under. One of another version that is not understood is none.
pub fn rules(settings: &Settings) -> impl Iterator<Item = Rule> + '_ {
    settings.list(RULES).iter().filter_map(|text| Rule::parse(text).ok())
}

/// The rules that a jail is under, as those in it are told of them: what those above it are called is nobody's business
/// below.
#[must_use]
pub(crate) fn told(settings: &Settings, name: &str) -> Value {
    let rules = rules(settings).map(|rule| Rule { jail: name.to_owned(), ..rule }.to_string());
    Value::List(rules.collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(rules: &[&str]) -> Settings {
        let rules = rules.iter().map(|rule| (*rule).to_owned()).collect();
        [(RULES.to_owned(), Value::List(rules))].into_iter().collect()
    }

    #[test]
    fn a_rule_is_written_in_one_way() {
        for (text, written) in [
            ("jail:web:memoryuse:deny=1g", "jail:web:memoryuse:deny=1073741824"),
            ("j:a.b:nthr:deny=2K", "jail:a.b:nthr:deny=2048"),
            ("JAIL:web:pcpu:deny=50/jail", "jail:web:pcpu:deny=50"),
            ("jail:1:openfiles:deny=64/process", "jail:1:openfiles:deny=64/process"),
            ("jail:web:readbps:throttle=4MB", "jail:web:readbps:throttle=4194304"),
        ] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_wrong_is_malformed_and_what_linux_lacks_is_not_added() {
        let error = |text: &str| Rule::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("jail:a:nthr:deny=x"),
            "malformed rule 'jail:a:nthr:deny=x': invalid numeric value 'x'"
        );
        assert!(
            error("jail:a:nthr:log=1").starts_with("failed to add rule 'jail:a:nthr:log=1': action log: ")
        );
        assert!(error("jail:\u{1b}:nthr:deny=1").starts_with("malformed rule 'jail:\\u{1b}:nthr:deny=1': "));
        for resource in ["wallclock", "msgqsize", "msgqqueued"] {
            assert!(error(&format!("jail:a:{resource}:deny=1")).contains(&format!("resource {resource}: ")));
        }
    }

    #[test]
    fn the_rules_of_a_jail_are_told_below_by_its_own_name() {
        let settings = settings(&["jail:a.b:nshm:deny=3"]);
        assert_eq!(told(&settings, "b"), Value::List(vec!["jail:b:nshm:deny=3".into()]));
        assert!(is_said(&settings, "rctl.nshm") && !is_said(&settings, "rctl.nsem"));
        assert_eq!((least(&settings, &["x", "rctl.nshm"]), least(&settings, &["x"])), (Some(3), None));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_written_alike(text in "\\PC{0,40}|(jail|j|user|):[a.]{0,3}:(nthr|nshm|openfiles|x):[a-z]{0,5}=?[0-9kmge]{0,9}(/process|/)?") {
            if let Ok(rule) = Rule::parse(&text) {
                prop_assert_eq!(Rule::parse(&rule.to_string()), Ok(rule.clone()));
                prop_assert!(Filter::parse(&rule.to_string()).unwrap().means(&rule));
            }
            let _no_panic = Filter::parse(&text);
        }

        #[test]
        fn a_filter_that_says_less_means_more(
            n in 0..RESOURCES.len(), amount in 0_i64..9, parts in 0_usize..4, other in 0..RESOURCES.len(),
        ) {
            let (resource, other) = (&RESOURCES[n], &RESOURCES[other]);
            let rule = Rule { jail: "a".into(), resource, amount: resource.least + amount };
            let text = rule.to_string();
            let less: Vec<_> = text.splitn(4, ':').enumerate().map(|(n, part)| if n == parts { "" } else { part }).collect();
            prop_assert!(Filter::parse(&less.join(":")).unwrap().means(&rule), "{}", text);
            let filter = Filter::parse(&format!("::{}", other.name())).unwrap();
            prop_assert_eq!(filter.means(&rule), resource == other);
        }
    }
}
