//! The rules of a set with those that it includes, and what they say of a device.

use std::collections::BTreeSet;

use super::{
    Rulesets,
    rule::{Class, Id, Rule},
};
use crate::{
    glob,
    problem::{Problem, Problems, Report},
    source::{FileId, Span},
};

/// As many rules are in a set with all that it includes: sets of two includes each would have any number.
const MOST_RULES: usize = 10_000;
/// How deep sets include sets.
const DEEPEST: usize = 32;

/// Rules in the order in which they apply: of two that are about the same, the later one holds.
#[derive(Debug)]
pub struct Rules<'s>(Vec<Applied<'s>>);

/// A rule where it applies.
#[derive(Clone, Debug)]
struct Applied<'s> {
    rule: &'s Rule,
    /// The rules that include it, which have conditions of their own.
    through: Vec<&'s Rule>,
}

/// What rules say of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<'s> {
    /// Whether it is there. Without a rule about it, it is.
    pub is_visible: bool,
    /// The rule that unhides it; `None` where none hides it.
    pub shown_by: Option<Span>,
    /// Its mode, if a rule says it.
    pub mode: Option<u16>,
    /// Its owner, with the place of the name.
    pub user: Option<(&'s Id, Span)>,
    /// Its group.
    pub group: Option<(&'s Id, Span)>,
}

impl<'s> Rules<'s> {
    /// What they say of a device, by its path below /dev and its class.
    #[must_use]
    pub fn verdict(&self, path: &str, class: Option<Class>) -> Verdict<'s> {
        let mut verdict = Verdict { is_visible: true, shown_by: None, mode: None, user: None, group: None };
        for Applied { rule, .. } in self.0.iter().filter(|applied| applied.meets(path, class)) {
            if let Some(shows) = rule.shows {
                (verdict.is_visible, verdict.shown_by) = (shows, shows.then_some(rule.span));
            }
            verdict.mode = rule.mode.or(verdict.mode);
            verdict.user = rule.user.as_ref().map(|(id, span)| (id, *span)).or(verdict.user);
            verdict.group = rule.group.as_ref().map(|(id, span)| (id, *span)).or(verdict.group);
        }
        verdict
    }

    /// The only paths that can be visible, whatever devices there are, if the rules name them all: everything is
    /// hidden first, and what is unhidden is so by paths without a pattern. `None`: each device has to be asked about.
    #[must_use]
    pub fn names(&self) -> Option<BTreeSet<&'s str>> {
        let (first, rest) = self.0.split_first()?;
        let hides_all = first.rule.shows == Some(false)
            && first.all().all(|rule| rule.pattern.is_none() && rule.class.is_none());
        let unhiding = rest.iter().filter(|applied| applied.rule.shows == Some(true));
        let name = |applied: &Applied<'s>| {
            let mut patterns = applied.all().filter_map(|rule| rule.pattern.as_deref());
            patterns.find(|pattern| is_name(pattern))
        };
        hides_all.then(|| unhiding.map(name).collect()).flatten()
    }
}

impl<'s> Applied<'s> {
    fn all(&self) -> impl Iterator<Item = &'s Rule> {
        std::iter::once(self.rule).chain(self.through.iter().copied())
    }

    fn meets(&self, path: &str, class: Option<Class>) -> bool {
        self.all().all(|rule| {
            rule.class.is_none_or(|wanted| class == Some(wanted))
                && rule.pattern.as_deref().is_none_or(|pattern| matches(pattern, path))
        })
    }
}

/// Whether a pattern stands for itself alone.
fn is_name(pattern: &str) -> bool {
    !glob::is_pattern(pattern) && !pattern.contains('\\')
}

/// Whether a pattern stands for a path: no sign of it but a slash stands for one.
fn matches(pattern: &str, path: &str) -> bool {
    // Most do.
    if is_name(pattern) {
        return pattern == path;
    }
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if glob::matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// The rules of a set, see [`Rulesets::rules`].
pub(super) fn flatten(sets: &Rulesets, number: u16) -> Result<Rules<'_>, Report> {
    let mut walk = Walk { sets, rules: Vec::new(), walked: 0, files: BTreeSet::new() };
    let done = walk.set(number, &mut Vec::new(), &mut Vec::new());
    let mut wrong = Problems::default();
    for (_, problems) in sets.problems.iter().filter(|(file, _)| walk.files.contains(file)) {
        wrong.append(problems.clone());
    }
    match done {
        Ok(()) if wrong.is_empty() => return Ok(Rules(walk.rules)),
        Err(problem) if wrong.is_empty() => wrong.push(problem),
        // What else there is may follow from these.
        _ => {}
    }
    Err(sets.report(wrong))
}

struct Walk<'s> {
    sets: &'s Rulesets,
    rules: Vec<Applied<'s>>,
    /// How many rules there were on the way, those that include, too.
    walked: usize,
    /// The texts that the sets are from.
    files: BTreeSet<FileId>,
}

impl<'s> Walk<'s> {
    fn set(&mut self, number: u16, through: &mut Vec<&'s Rule>, above: &mut Vec<u16>) -> Result<(), Problem> {
        let Some(set) = self.sets.sets.get(&number) else {
            let span =
                through.last().and_then(|rule| rule.include).map_or_else(Span::default, |(_, span)| span);
            return Err(Problem::at_line(span, format!("include: no rule set {number}")));
        };
        self.files.insert(set.span.file);
        above.push(number);
        for rule in set.rules.values() {
            self.walked += 1;
            if self.walked > MOST_RULES {
                let what = format!("more than {MOST_RULES} rules with those that are included");
                return Err(Problem::at_line(rule.span, what));
            }
            if rule.shows.is_some() || rule.mode.is_some() || rule.user.is_some() || rule.group.is_some() {
                self.rules.push(Applied { rule, through: through.clone() });
            }
            let Some((included, span)) = rule.include else { continue };
            if above.contains(&included) {
                let first = above.iter().position(|one| *one == included).unwrap_or(0);
                let circle: Vec<_> = above[first..].iter().chain([&included]).map(u16::to_string).collect();
                let error = Problem::at_line(span, format!("include: rule set {included} includes itself"));
                return Err(error.hint(circle.join(" includes ")));
            }
            if above.len() == DEEPEST {
                return Err(Problem::at_line(span, format!("include: more than {DEEPEST} deep")));
            }
            through.push(rule);
            self.set(included, through, above)?;
            through.pop();
        }
        above.pop();
        Ok(())
    }
}
