//! Rule sets for devices: which of the host's a jail has in its /dev. FreeBSD's devfs.rules(5).
//!
//! What is wrong with /etc/devfs.rules is an error for jails that use a set of it; those that use the sets that are
//! built in are made and changed all the same, unless the file has a set of that number.

mod host;

use std::{fs::File, io::Read as _, sync::OnceLock};

use conf::devfs::{Class, Id, Rules, Rulesets, Verdict};
use vimage::{Ask, Context as _, Error, ErrorKind, Result, Settings, Value};

use self::host::Device;
use crate::{allow, user};

/// The parameter.
pub(super) const PARAM: &str = "devfs_ruleset";
/// The rule sets that there are without a file.
pub const BUILT_IN: &str = include_str!("devfs/devfs.rules");
/// The file with others.
pub const FILE: &str = "/etc/devfs.rules";
/// What the built-in sets are from, as messages call it.
const BUILT_IN_NAME: &str = "built-in devfs.rules";
/// The rule set that a jail has by default, as in FreeBSD: devfsrules_jail.
pub(super) const DEFAULT: &str = "4";

/// Something in a jail's /dev.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its path below /dev.
    pub(super) path: String,
    /// What it is.
    pub(super) what: What,
    /// The mode of a device.
    pub(super) mode: u32,
    /// The owner, as the jail's own users are numbered.
    pub(super) uid: u32,
    /// The group.
    pub(super) gid: u32,
    /// Whether a rule says mode or owner.
    pub(super) is_said: bool,
}

/// What is in a jail's /dev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A character device, by its major and minor number.
    Device((u32, u32)),
    /// A link.
    Link(&'static str),
}

/// All rule sets, and why the file could not be read.
struct Sets {
    sets: Rulesets,
    unread: Option<Error>,
}

impl Sets {
    /// Those of this machine. They are read once: what follows from a check is about the same text.
    fn get() -> &'static Self {
        static SETS: OnceLock<Sets> = OnceLock::new();
        SETS.get_or_init(Self::read)
    }

    fn read() -> Self {
        let mut texts = vec![(BUILT_IN_NAME.to_owned(), BUILT_IN.as_bytes().to_vec())];
        let mut unread = None;
        let mut text = Vec::new();
        // No more than is read of a configuration: it may have no end.
        let file = File::open(FILE).map(|file| file.take(conf::MOST_BYTES as u64 + 1));
        match file.and_then(|mut file| file.read_to_end(&mut text)) {
            Ok(_) => texts.push((FILE.to_owned(), text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => unread = Err::<(), _>(e).doing(FILE).err(),
        }
        Self { sets: Rulesets::read(texts), unread }
    }

    /// The rules of a set.
    fn rules(&self, word: &str) -> Result<Rules<'_>> {
        if word.parse() == Ok(0) {
            let what = "0 is no rule set: the jail would have the host's disks and memory";
            return Err(Error::usage(what).hint(format!("{DEFAULT} is what a jail has by default")));
        }
        if let Some(number) = self.sets.number(word) {
            return self.sets.rules(number).map_err(Error::usage);
        }
        if let Some(error) = &self.unread {
            return Err(error.clone());
        }
        if let Some(report) = self.sets.wrong() {
            return Err(Error::usage(report));
        }
        let names: Vec<_> =
            self.sets.names().into_iter().map(|(name, number)| format!("{number} {name}")).collect();
        Err(Error::new(ErrorKind::NotFound, format!("no rule set \"{word}\"")).hint(names.join(", ")))
    }

    /// What a jail with these rules has in its /dev, and of the host's devices these besides.
    fn nodes(&self, rules: &Rules<'_>, besides: &[&str]) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        for (path, what, class) in super::dev::OWN {
            let verdict = rules.verdict(path, *class);
            if verdict.is_visible {
                let plain = Node {
                    path: (*path).to_owned(),
                    what: *what,
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                    is_said: false,
                };
                nodes.push(self.said(plain, &verdict)?);
            }
        }
        let mut names = rules.names();
        if let Some(names) = &mut names {
            names.extend(besides);
        }
        for device in host::devices(names.as_ref())? {
            let verdict = rules.verdict(&device.path, device.class);
            if verdict.is_visible || besides.contains(&device.path.as_str()) {
                self.permit(&device, &verdict)?;
                let Device { path, number, mode, uid, gid, .. } = device;
                let plain = Node { path, what: What::Device(number), mode, uid, gid, is_said: false };
                nodes.push(self.said(plain, &verdict)?);
            }
        }
        Ok(nodes)
    }

    /// Refuses what no jail is given, whatever the rules say: a jail that could write the host's disks or memory
    /// would be the host.
    fn permit(&self, device: &Device, verdict: &Verdict<'_>) -> Result<()> {
        let (what, kind) = match device.class {
            Some(Class::Disk) => ("a disk of the host", "disk"),
            Some(Class::Mem) => ("memory of the host", "mem"),
            _ => return Ok(()),
        };
        let message = format!("{} is {what}, which no jail is given", device.path);
        Err(match verdict.shown_by {
            Some(span) => {
                let hint = format!("add type {kind} hide, as a later rule, leaves such out");
                Error::usage(self.sets.objection(span, message, hint))
            }
            None => Error::usage(message).hint("a rule set begins with add include $devfsrules_hide_all"),
        })
    }

    /// A node with what the rules say of its mode and owner.
    fn said(&self, node: Node, verdict: &Verdict<'_>) -> Result<Node> {
        let number = |kind, file, said: Option<(&Id, _)>| match said {
            None => Ok(None),
            Some((Id::Number(number), _)) => Ok(Some(*number)),
            Some((Id::Name(name), span)) => {
                let found = host::number(file, name)?;
                let unknown = || {
                    let message = format!("{kind}: {file} has no \"{name}\"");
                    Error::usage(self.sets.objection(span, message, "a number needs no name"))
                };
                found.map(Some).ok_or_else(unknown)
            }
        };
        let user = number("user", "/etc/passwd", verdict.user)?;
        let group = number("group", "/etc/group", verdict.group)?;
        Ok(Node {
            mode: verdict.mode.map_or(node.mode, u32::from),
            uid: user.unwrap_or(node.uid),
            gid: group.unwrap_or(node.gid),
            is_said: verdict.mode.is_some() || user.is_some() || group.is_some(),
            ..node
        })
    }
}

/// Makes a name or number that was given to the number by which a rule set is known.
pub(super) fn resolve(ask: &mut Ask<'_>) {
    let Some(word) = ask.settings.text(PARAM) else { return };
    let number = word.parse().ok().or_else(|| Sets::get().sets.number(word));
    if let Some(number) = number.map(|number: u16| number.to_string()).filter(|number| number != word) {
        ask.settings.set(PARAM, Value::Text(number));
    }
}

/// Checks the rule set of a jail that is to be made, or to be given another one.
///
/// # Errors
/// There is no such set, or something is wrong with it; a jail in a jail has another than that.
pub(super) fn check(ask: &Ask<'_>) -> Result<()> {
    if let Some(parent) = ask.parent {
        let parents = word(parent.settings);
        if word(&ask.settings) != parents {
            let error = Error::new(ErrorKind::Denied, format!("{PARAM}: Operation not permitted"));
            return Err(error.hint(format!("a jail in a jail has its parent's, which is {parents}")));
        }
    }
    if ask.living.is_some_and(|living| word(living.settings) == word(&ask.settings)) {
        return Ok(());
    }
    if ask.living.is_some() && user::is_inside()? {
        let what = format!("{PARAM}: cannot be changed in a living jail from inside a user namespace");
        return Err(Error::unsupported(what).hint("give it when the jail is created"));
    }
    if let Some(living) = ask.living {
        super::dev::of(living).doing(PARAM)?;
    }
    let nodes = nodes(&ask.settings)?;
    if ask.living.is_some() {
        return Ok(());
    }
    let lacks = lacks(&ask.settings, &nodes);
    if !lacks.is_empty() && lacks == allow::devices(&ask.settings) {
        let what = format!("allow.vmm: the host has no /dev/{}", lacks.join(" and no /dev/"));
        return Err(Error::unsupported(what));
    }
    Ok(())
}

/// What a jail is granted of the host's devices and the host lacks.
pub(super) fn lacks(settings: &Settings, nodes: &[Node]) -> Vec<&'static str> {
    let is_there = |path: &&&str| nodes.iter().any(|node| node.path == **path);
    allow::devices(settings).iter().filter(|path| !is_there(path)).copied().collect()
}

/// What a jail is to have in its /dev.
///
/// # Errors
/// As [`check`].
pub(super) fn nodes(settings: &Settings) -> Result<Vec<Node>> {
    let sets = Sets::get();
    let nodes = sets.rules(word(settings)).and_then(|rules| sets.nodes(&rules, allow::devices(settings)));
    nodes.doing(PARAM)
}

/// The rule set of a jail.
pub(super) fn word(settings: &Settings) -> &str {
    settings.text(PARAM).unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes_of(text: &str) -> Result<Vec<String>> {
        nodes_with(text, &[])
    }

    fn nodes_with(text: &str, besides: &[&str]) -> Result<Vec<String>> {
        let texts = [("devfs.rules", BUILT_IN), ("f", text)];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into();
        let sets = Sets { sets: Rulesets::read(texts), unread: None };
        let nodes = sets.rules("x").and_then(|rules| sets.nodes(&rules, besides))?;
        Ok(nodes.iter().map(|n| format!("{} {:o} {} {}", n.path, n.mode, n.uid, n.gid)).collect())
    }

    #[test]
    fn the_built_in_sets_are_whole_and_need_no_look_at_the_host() {
        let sets = Rulesets::read(vec![(BUILT_IN_NAME.to_owned(), BUILT_IN.as_bytes().to_vec())]);
        assert!(sets.wrong().is_none());
        for number in 1..=5 {
            let rules = sets.rules(number).unwrap();
            let names = rules.names();
            let own = |path: &str| super::super::dev::OWN.iter().any(|(own, ..)| *own == path);
            assert!(!matches!(number, 1 | 4 | 5) || names.unwrap().into_iter().all(own), "{number}");
        }
        let jail = nodes_of("[x=9]\nadd include 4\n").unwrap();
        let paths: Vec<_> = jail.iter().map(|node| node.split(' ').next().unwrap()).collect();
        let wanted = "null zero full random urandom tty ptmx fd stdin stdout stderr";
        assert_eq!(paths.join(" "), wanted);
        assert_eq!(sets.number(DEFAULT), sets.number("devfsrules_jail"));
    }

    #[test]
    fn rules_say_mode_and_owner() {
        let text = "[x=9]\nadd include 1\nadd path null unhide mode 640 user root group 7\n";
        assert_eq!(nodes_of(text).unwrap(), ["null 640 0 7"]);
        let error = nodes_of("[x=9]\nadd include 1\nadd path null unhide user no:one\n").unwrap_err();
        assert!(error.to_string().starts_with("f line 3: user: /etc/passwd has no \"no:one\"\n"), "{error}");
    }

    #[test]
    fn without_a_rule_that_hides_there_would_be_disks_or_memory() {
        let error = nodes_of("[x=9]\nadd path null mode 600\n").unwrap_err();
        assert!(error.to_string().ends_with(" of the host, which no jail is given"), "{error}");
        assert_eq!(error.advice(), Some("a rule set begins with add include $devfsrules_hide_all"));
    }
}
