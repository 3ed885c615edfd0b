//! All subsystems, in order, and all their parameters.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Child, Context as _, Error, Kind, Mode, Param, Refused, Result, Settings, Shared, Subsystem, Support,
    Value, When, nearest, pairs::Edit,
};

/// The subsystems of a program, ordered so that each comes after what it needs.
pub struct Registry<S: 'static> {
    ordered: Vec<&'static dyn Subsystem<S>>,
    params: BTreeMap<&'static str, (&'static Param, &'static str)>,
    refused: &'static [Refused],
}

/// What a user gave for one jail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The values.
    pub settings: Settings,
    /// Lists that are to be added to what is there, not to replace it (`+=`).
    pub appended: BTreeSet<String>,
    /// Limits that are to be lifted (`rctl.memoryuse=`).
    pub lifted: BTreeSet<String>,
    /// What is to be done to texts of pairs (`meta.k=v`), in the order in which it was given.
    pub edits: BTreeMap<String, Vec<Edit>>,
}

/// What a user's word names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'w> {
    /// The parameter.
    pub param: &'static Param,
    /// Whether the word negates it (`nopersist`, `allow.noraw_sockets`).
    pub negated: bool,
    /// The key of a pair (`k` of `meta.k`), where the word names no more of the parameter than that.
    pub key: Option<&'w str>,
}

impl<S> std::fmt::Debug for Registry<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|s| s.name())).finish()
    }
}

impl<S> Registry<S> {
    /// Orders the subsystems by what they come after, and otherwise as given.
    ///
    /// # Errors
    /// Two subsystems or two parameters of one name, a cycle, or a need that nobody meets.
    pub fn new(list: &[&'static dyn Subsystem<S>]) -> Result<Self> {
        let mut ordered: Vec<&'static dyn Subsystem<S>> = Vec::with_capacity(list.len());
        let mut waiting = list.to_vec();
        while !waiting.is_empty() {
            let ready = waiting
                .iter()
                .position(|s| s.after().iter().all(|need| ordered.iter().any(|o| o.name() == *need)));
            let Some(ready) = ready else {
                let names: Vec<_> = waiting.iter().map(|s| s.name()).collect();
                return Err(Error::usage(format!(
                    "subsystems wait for each other, or for one that does not exist: {}",
                    names.join(", ")
                )));
            };
            ordered.push(waiting.remove(ready));
        }
        let mut params = BTreeMap::new();
        for (n, subsystem) in ordered.iter().enumerate() {
            if ordered[..n].iter().any(|o| o.name() == subsystem.name()) {
                return Err(Error::usage(format!("two subsystems are named {}", subsystem.name())));
            }
            for param in subsystem.params() {
                if let Some((_, other)) = params.insert(param.name, (param, subsystem.name())) {
                    return Err(Error::usage(format!(
                        "parameter {} is declared by {other} and {}",
                        param.name,
                        subsystem.name()
                    )));
                }
            }
        }
        Ok(Self { ordered, params, refused: &[] })
    }

    /// The same, which also knows parameters that it refuses.
    #[must_use]
    pub fn refusing(self, refused: &'static [Refused]) -> Self {
        Self { refused, ..self }
    }

    /// The parameters that are refused.
    pub fn refused(&self) -> impl Iterator<Item = &'static Refused> + '_ {
        self.refused.iter().filter(|row| self.param(row.name).is_none())
    }

    /// Why a word is refused that names no parameter of a subsystem's, if it is known.
    #[must_use]
    pub fn refusal(&self, word: &str) -> Option<&'static Refused> {
        Refused::find(self.refused, word).filter(|row| self.param(row.name).is_none())
    }

    /// The subsystems in the order of creation.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'static dyn Subsystem<S>> + '_ {
        self.ordered.iter().copied()
    }

    /// The subsystem of a name.
    #[must_use]
    pub fn subsystem(&self, name: &str) -> Option<&'static dyn Subsystem<S>> {
        self.iter().find(|s| s.name() == name)
    }

    /// The kernel object that a kind of a subsystem's pieces is, as that declares it; else the kind.
    #[must_use]
    pub fn object<'k>(&self, subsystem: &str, kind: &'k str) -> &'k str {
        let declared = self.subsystem(subsystem).map(Subsystem::objects).unwrap_or_default();
        let mut all = declared.iter().chain([&Shared::OBJECT]);
        all.find(|(declared, _)| *declared == kind).map_or(kind, |(_, object)| object)
    }

    /// The parameter of a name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.get(name).map(|(param, _)| *param)
    }

    /// All parameters by name, each with its subsystem's name.
    pub fn params(&self) -> impl Iterator<Item = (&'static Param, &'static str)> + '_ {
        self.params.values().copied()
    }

    /// What a user's word names.
    ///
    /// # Errors
    /// The reason for one that is refused; jail(8)'s `unknown parameter: NAME`, with the nearest known name as hint.
    pub fn lookup<'w>(&self, word: &'w str) -> Result<Named<'w>> {
        if let Some(param) = self.param(word) {
            return Ok(Named { param, negated: false, key: None });
        }
        let (stem, last) = word.rsplit_once('.').map_or(("", word), |(stem, last)| (stem, last));
        if let Some(bare) = last.strip_prefix("no") {
            let positive = if stem.is_empty() { bare.to_owned() } else { format!("{stem}.{bare}") };
            if let Some(param) = self.param(&positive).filter(|p| p.kind == Kind::Bool) {
                return Ok(Named { param, negated: true, key: None });
            }
        }
        // A key may have dots, too.
        let mut stems = word.match_indices('.').filter(|(dot, _)| dot + 1 < word.len());
        let pairs = stems.find_map(|(dot, _)| {
            let param = self.param(&word[..dot]).filter(|p| matches!(p.kind, Kind::Pairs { .. }))?;
            Some(Named { param, negated: false, key: Some(&word[dot + 1..]) })
        });
        if let Some(named) = pairs {
            return Ok(named);
        }
        if let Some(refused) = self.refusal(word) {
            return Err(refused.error(word));
        }
        let error = Error::usage(format!("unknown parameter: {word}"));
        Err(match self.nearest(word) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("jdb show params lists all"),
        })
    }

    /// Adds one definition as jail(8) reads it: `name`, `noname`, `name=value`, `name+=value`. Lists grow,
    /// of scalars the last one holds. A limit is lifted by an empty value. Of a text of pairs, `name.key` drops
    /// a pair.
    ///
    /// # Errors
    /// The parameter is unknown or read-only, or the value is not of its type.
    pub fn define(&self, given: &mut Given, definition: &str) -> Result<()> {
        let (word, value) = match definition.split_once('=') {
            Some((word, value)) => (word, Some(value)),
            None => (definition, None),
        };
        let (word, append) = word.strip_suffix('+').map_or((word, false), |w| (w, true));
        let Named { param, negated, key } = self.lookup(word)?;
        if !append && value == Some("") && param.can_be_lifted() {
            given.settings.remove(param.name);
            given.lifted.insert(param.name.to_owned());
            return Ok(());
        }
        given.lifted.remove(param.name);
        if param.when == When::Read {
            return Err(Error::usage(format!("{}: read-only parameter", param.name)));
        }
        if append && !matches!(param.kind, Kind::List { .. }) {
            return Err(Error::usage(format!("{word}: += needs a list")));
        }
        if let Kind::Pairs { .. } = param.kind {
            let edit = match key {
                Some(key) => Edit::pair(key, value).doing(word)?,
                None => Edit::All(value.unwrap_or_default().to_owned()),
            };
            // Each by itself may be as large as all: that is looked at when it is known what they come to.
            param.parse(value.unwrap_or_default())?;
            given.edits.entry(param.name.to_owned()).or_default().push(edit);
            return Ok(());
        }
        let value = match (param.kind, value, negated) {
            (_, Some(_), true) => {
                return Err(Error::usage(format!("{word}: a negated parameter has no value")));
            }
            (_, None, true) => Value::Bool(false),
            (Kind::Bool | Kind::Mode(_), text, false) => param.parse(text.unwrap_or(""))?,
            (_, Some(text), false) => param.parse(text)?,
            (_, None, false) => return Err(Error::usage(format!("{}: value missing", param.name))),
        };
        if append && given.settings.get(param.name).is_none() {
            given.appended.insert(param.name.to_owned());
        }
        let value = match (value, given.settings.remove(param.name)) {
            // An empty list given later empties it.
            (Value::List(new), Some(Value::List(old))) if !new.is_empty() => Value::List([old, new].concat()),
            (value, _) => value,
        };
        given.settings.set(param.name, value);
        Ok(())
    }

    /// All values of a jail: what is given, over what is there (`living`), over what the parent or the
    /// declaration says. Setting a member of a mode (`host.hostname`) makes the mode `new`.
    ///
    /// # Errors
    /// A create-only value differs from the living jail's; a member is set of a mode that is given and is
    /// not `new`; a value is wider than the parent's.
    pub fn complete(
        &self,
        given: &Given,
        living: Option<&Settings>,
        parent: Option<&Settings>,
    ) -> Result<Settings> {
        let mut all = living.cloned().unwrap_or_default();
        for (param, value) in self.values(given, &all)? {
            let name = param.name;
            if living.is_some_and(|l| param.when == When::Create && l.get(name) != Some(&value)) {
                return Err(param.cannot_change());
            }
            param.permit(&value, parent.and_then(|p| p.get(name)))?;
            all.set(name, value);
        }
        for name in &given.lifted {
            // A child has at most what its parent has.
            match parent.and_then(|p| p.get(name)) {
                Some(limit) => all.set(name, limit.clone()),
                None => all.remove(name),
            };
        }
        for (param, _) in self.params() {
            let Kind::Mode(modes) = param.kind else { continue };
            let mut members = given.settings.iter().map(|(name, _)| name);
            let Some(member) = members.find(|name| self.mode_of(name) == Some(param.name)) else { continue };
            match (all.get(param.name).is_some(), all.mode(param.name)) {
                (true, Mode::New) => {}
                (false, _) if modes.contains(&Mode::New) => {
                    let new = Value::Text(Mode::New.word().to_owned());
                    param.permit(&new, parent.and_then(|p| p.get(param.name)))?;
                    all.set(param.name, new);
                }
                (_, mode) => {
                    return Err(Error::usage(format!(
                        "{member} needs {}=new, which is {}",
                        param.name,
                        mode.word()
                    )));
                }
            }
        }
        if living.is_none() {
            for (param, _) in self.params().filter(|(p, _)| p.when != When::Read) {
                if all.get(param.name).is_some() {
                    continue;
                }
                let parents = parent.and_then(|p| p.get(param.name));
                let own = match (param.child, parents) {
                    (Child::Inherit | Child::Parents, Some(value)) => Some(value.clone()),
                    _ => param.default.map(|text| param.parse(text)).transpose()?,
                };
                if let Some(own) = own {
                    let own = param.narrowed(&own, parents).unwrap_or(own);
                    all.set(param.name, own);
                }
            }
        }
        Ok(all)
    }

    /// What was given, over what is there.
    fn values(&self, given: &Given, there: &Settings) -> Result<Vec<(&'static Param, Value)>> {
        let plain = given.settings.iter().filter_map(|(name, value)| {
            let value = match (value, there.get(name)) {
                (Value::List(new), Some(Value::List(old))) if given.appended.contains(name) => {
                    Value::List([old.clone(), new.clone()].concat())
                }
                _ => value.clone(),
            };
            Some(Ok((self.param(name)?, value)))
        });
        let edited = given.edits.iter().filter_map(|(name, edits)| {
            let param = self.param(name)?;
            Some(param.edited(there.text(name).unwrap_or_default(), edits).map(|value| (param, value)))
        });
        plain.chain(edited).collect()
    }

    /// What of a child's values is wider than its parent's now allow, as it must become.
    #[must_use]
    pub fn narrowing(&self, child: &Settings, parent: &Settings) -> Settings {
        self.params()
            .filter_map(|(param, _)| {
                let less = param.narrowed(child.get(param.name)?, parent.get(param.name))?;
                Some((param.name.to_owned(), less))
            })
            .collect()
    }

    /// Why this host cannot make a jail of these values, if something that it lacks is the reason. Asks all probes,
    /// which is for a creation that has failed.
    #[must_use]
    pub fn lack(&self, settings: &Settings) -> Option<Error> {
        let asks = |name: &str| match settings.get(name) {
            _ if self.param(name).is_none() => true,
            Some(Value::Bool(wanted)) => *wanted,
            Some(value) => !self.is_mode(name) || value.text() == Mode::New.word(),
            None => false,
        };
        let lacks = self.iter().flat_map(|subsystem| match subsystem.probe() {
            Support::Full => Vec::new(),
            Support::Lacks(lacks) => lacks,
        });
        lacks.into_iter().find_map(|lack| {
            let param = lack.denies.iter().find(|name| asks(name))?;
            Some(Error::unsupported(format!("{param}: this kernel lacks {}", lack.what)).hint(lack.hint))
        })
    }

    fn is_mode(&self, name: &str) -> bool {
        self.param(name).is_some_and(|p| matches!(p.kind, Kind::Mode(_)))
    }

    /// The mode parameter that owns a name: `host` for `host.hostname`.
    fn mode_of(&self, name: &str) -> Option<&'static str> {
        let mut stem = name;
        while let Some((shorter, _)) = stem.rsplit_once('.') {
            stem = shorter;
            if let Some(param) = self.param(stem).filter(|p| matches!(p.kind, Kind::Mode(_))) {
                return Some(param.name);
            }
        }
        None
    }

    /// The known name nearest to a word, if it is near.
    #[must_use]
    pub fn nearest(&self, word: &str) -> Option<&'static str> {
        nearest::nearest(word, self.params.keys().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(&'static str, &'static [&'static str], &'static [Param]);
    impl Subsystem<()> for Plain {
        fn name(&self) -> &'static str {
            self.0
        }
        fn about(&self) -> &'static str {
            "a test"
        }
        fn params(&self) -> &'static [Param] {
            self.2
        }
        fn after(&self) -> &'static [&'static str] {
            self.1
        }
    }
    static A: Plain = Plain("a", &["b"], &[]);
    static B: Plain = Plain("b", &[], &[]);
    static LOOP: Plain = Plain("b", &["a"], &[]);
    static NET: Plain = Plain(
        "net",
        &[],
        &[
            Param {
                name: "vnet",
                kind: Kind::Mode(&[Mode::New, Mode::Inherit]),
                when: When::Create,
                default: Some("inherit"),
                ..Param::BASE
            },
            Param { name: "vnet.link", kind: Kind::List { commas: false }, ..Param::BASE },
            Param { name: "net.most", kind: Kind::Size, child: Child::AtMost, ..Param::BASE },
            Param { name: "children", kind: Kind::Int { min: 0, max: 9 }, default: Some("0"), ..Param::BASE },
            Param { name: "persist", kind: Kind::Bool, default: Some("false"), ..Param::BASE },
            Param {
                name: "allow.raw_sockets",
                kind: Kind::Bool,
                default: Some("true"),
                child: Child::AndParent,
                ..Param::BASE
            },
            Param { name: "jid", kind: Kind::Int { min: 0, max: 9 }, when: When::Read, ..Param::BASE },
            Param { name: "meta", kind: Kind::Pairs { max: 16 }, default: Some(""), ..Param::BASE },
        ],
    );

    fn given(definitions: &[&str]) -> Result<Given> {
        let registry = Registry::new(&[&NET])?;
        let mut given = Given::default();
        definitions.iter().try_for_each(|d| registry.define(&mut given, d))?;
        Ok(given)
    }

    #[test]
    fn what_is_needed_comes_first() {
        let order: Vec<_> = Registry::new(&[&A, &B]).unwrap().iter().map(|s| s.name()).collect();
        assert_eq!(order, ["b", "a"]);
    }

    #[test]
    fn cycles_and_unknown_needs_are_refused() {
        assert!(Registry::new(&[&A, &LOOP]).is_err());
        assert!(Registry::new(&[&A]).is_err());
        assert!(Registry::new(&[&B, &B]).is_err());
    }

    #[test]
    fn an_unknown_parameter_hints_at_the_nearest() {
        let error = given(&["vnet.lnik=x"]).unwrap_err();
        assert_eq!(error.to_string(), "unknown parameter: vnet.lnik");
        assert_eq!(error.advice(), Some("did you mean vnet.link?"));
        assert!(given(&["jid=3"]).is_err());
    }

    struct Poor(&'static [&'static str]);
    impl Subsystem<()> for Poor {
        fn name(&self) -> &'static str {
            "poor"
        }
        fn about(&self) -> &'static str {
            "a test"
        }
        fn params(&self) -> &'static [Param] {
            &[]
        }
        fn probe(&self) -> Support {
            Support::Lacks(vec![crate::Lack { what: "wings", hint: "CONFIG_WINGS", denies: self.0 }])
        }
    }
    static GROUNDED: Poor = Poor(&["vnet", "allow.raw_sockets", "vnet.link"]);
    static LOST: Poor = Poor(&["poor"]);
    static AT_EASE: Poor = Poor(&[]);

    #[test]
    fn what_a_host_lacks_is_the_reason_only_where_it_is_asked_for() {
        let lack = |poor: &'static Poor, words: &[&str]| {
            let registry = Registry::new(&[&NET, poor as &'static dyn Subsystem<()>]).unwrap();
            let all = registry.complete(&given(words).unwrap(), None, None).unwrap();
            registry.lack(&all).map(|e| (e.to_string(), e.advice().map(str::to_owned)))
        };
        let said = |param: &str| {
            Some((format!("{param}: this kernel lacks wings"), Some("CONFIG_WINGS".to_owned())))
        };
        assert_eq!(lack(&GROUNDED, &["vnet"]), said("vnet"));
        assert_eq!(lack(&GROUNDED, &["vnet=inherit"]), said("allow.raw_sockets"));
        assert_eq!(lack(&GROUNDED, &["vnet=inherit", "allow.noraw_sockets"]), None);
        assert_eq!(lack(&LOST, &[]), said("poor"));
        assert_eq!(lack(&AT_EASE, &["vnet"]), None);
    }

    #[test]
    fn pairs_are_edited_in_the_order_given_over_what_is_there() {
        let registry = Registry::new(&[&NET]).unwrap();
        let edit = |old: Option<&Settings>, words: &[&str]| {
            let all = given(words).and_then(|given| registry.complete(&given, old, None));
            all.map_err(|e| e.to_string())
        };
        let text = |all: &Settings| all.text("meta").unwrap().to_owned();
        let old = edit(None, &["meta.a=1", "meta=ttt", "meta.b=2"]).unwrap();
        assert_eq!(text(&old), "b=2\nttt");
        assert_eq!(text(&edit(None, &[]).unwrap()), "");
        assert_eq!(
            text(&edit(Some(&old), &["meta.x.no=", "meta.noy==", "meta.b"]).unwrap()),
            "noy==\nx.no=\nttt"
        );
        assert_eq!(text(&edit(Some(&old), &["meta"]).unwrap()), "");
        // A child has none of its parent's.
        let child = registry.complete(&Given::default(), None, Some(&old)).unwrap();
        assert_eq!(text(&child), "");
        let full = edit(Some(&old), &["meta.c=123456"]).unwrap();
        assert_eq!(text(&full).len(), 16);
        assert_eq!(edit(Some(&full), &["meta.d="]), Err("meta: File too large: 19 bytes".to_owned()));
        assert_eq!(edit(None, &["meta.a+=1"]), Err("meta.a: += needs a list".to_owned()));
        assert_eq!(edit(None, &["meta.=1"]), Err("unknown parameter: meta.".to_owned()));
        assert_eq!(edit(None, &["meta.a=1\n2"]), Err("meta.a: value with a line break".to_owned()));
        assert_eq!(edit(None, &["meta.a=\0"]), Err("meta: value with a null byte \"\0\"".to_owned()));
    }

    #[test]
    fn booleans_are_negated_on_the_last_component() {
        let given = given(&["nopersist", "allow.noraw_sockets"]).unwrap();
        assert_eq!(given.settings.get("persist"), Some(&Value::Bool(false)));
        assert_eq!(given.settings.get("allow.raw_sockets"), Some(&Value::Bool(false)));
    }

    #[test]
    fn a_member_makes_its_mode_new() {
        let registry = Registry::new(&[&NET]).unwrap();
        let all = registry.complete(&given(&["vnet.link=e lan"]).unwrap(), None, None).unwrap();
        assert!(all.is_new("vnet"));
        let error = registry.complete(&given(&["vnet=inherit", "vnet.link=e lan"]).unwrap(), None, None);
        assert_eq!(error.unwrap_err().to_string(), "vnet.link needs vnet=new, which is inherit");
    }

    #[test]
    fn lists_repeat_and_a_modification_replaces_or_appends() {
        let registry = Registry::new(&[&NET]).unwrap();
        let old = registry.complete(&given(&["vnet.link=a,b", "vnet.link+=c"]).unwrap(), None, None).unwrap();
        assert_eq!(old.list("vnet.link"), ["a,b", "c"]);
        let new = registry.complete(&given(&["vnet.link+=d"]).unwrap(), Some(&old), None).unwrap();
        assert_eq!(new.list("vnet.link"), ["a,b", "c", "d"]);
        let new = registry.complete(&given(&["vnet.link=d"]).unwrap(), Some(&old), None).unwrap();
        assert_eq!(new.list("vnet.link"), ["d"]);
        assert!(registry.complete(&given(&["vnet=inherit"]).unwrap(), Some(&old), None).is_err());
    }

    #[test]
    fn a_limit_is_lifted_by_an_empty_value() {
        let registry = Registry::new(&[&NET]).unwrap();
        let old = registry.complete(&given(&["net.most=64M"]).unwrap(), None, None).unwrap();
        let lifted = given(&["net.most=1", "net.most="]).unwrap();
        assert_eq!(old.int("net.most"), Some(64 << 20));
        assert_eq!(registry.complete(&lifted, Some(&old), None).unwrap().int("net.most"), None);
        // As far as the parent goes.
        let child = registry.complete(&lifted, Some(&Settings::default()), Some(&old)).unwrap();
        assert_eq!(child.int("net.most"), Some(64 << 20));
        let last = given(&["net.most=", "net.most=2"]).unwrap();
        assert_eq!(registry.complete(&last, Some(&old), None).unwrap().int("net.most"), Some(2));
        assert!(given(&["net.most+="]).is_err() && given(&["children="]).is_err());
    }

    #[test]
    fn a_child_starts_with_at_most_what_its_parent_has_and_is_narrowed_with_it() {
        let registry = Registry::new(&[&NET]).unwrap();
        let parent = registry.complete(&given(&["allow.noraw_sockets"]).unwrap(), None, None).unwrap();
        let child = registry.complete(&Given::default(), None, Some(&parent)).unwrap();
        assert!(!child.bool("allow.raw_sockets"));
        assert!(registry.complete(&given(&["allow.raw_sockets"]).unwrap(), None, Some(&parent)).is_err());
        let wide = registry.complete(&Given::default(), None, None).unwrap();
        let less = registry.narrowing(&wide, &parent);
        assert_eq!(less.get("allow.raw_sockets"), Some(&Value::Bool(false)));
    }
}
