//! A text to rule sets.

use std::collections::BTreeMap;

use super::{
    Set,
    rule::Rule,
    words::{Lines, Word, is_name},
};
use crate::{
    load::MOST_BYTES,
    problem::{Problem, Problems},
    source::{FileId, Span},
};

/// How far a rule that has no number of its own is from the last one, as in FreeBSD.
const STEP: u16 = 100;

/// What is in one text.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub sets: BTreeMap<u16, Set>,
    pub names: BTreeMap<String, u16>,
}

/// Reads all rule sets of a text. Rule sets that it includes are its own by name, else those `before` it.
pub(super) fn read(
    file: FileId,
    text: &[u8],
    before: &BTreeMap<String, u16>,
    problems: &mut Problems,
) -> Text {
    if text.len() > MOST_BYTES {
        let message = format!("more than {} MB", MOST_BYTES >> 20);
        problems.push(Problem::of_file(file.span(0, 0), message));
        return Text::default();
    }
    let mut lines = Lines::new(file, text);
    let lines = std::iter::from_fn(|| lines.next(problems)).collect();
    let mut reading = Reading { text, read: Text::default(), problems };
    // First all heads: a set may include one behind it.
    for (set, line) in reading.heads(lines) {
        let rule = added(&line, &|word| reading.read.included(word, before), reading.problems);
        if let (Some(set), Some((number, rule))) = (set, rule) {
            reading.insert(set, number, rule);
        }
    }
    reading.read
}

/// A text being read.
struct Reading<'t> {
    text: &'t [u8],
    read: Text,
    problems: &'t mut Problems,
}

impl Reading<'_> {
    /// Takes the heads out of the lines. The others are rules, each with the number of its set if that has one.
    fn heads(&mut self, lines: Vec<Vec<Word>>) -> Vec<(Option<u16>, Vec<Word>)> {
        let (mut set, mut is_outside, mut rules) = (None, true, Vec::new());
        for line in lines {
            let first = &line[0];
            if first.text.starts_with('[') {
                (set, is_outside) = (self.head(&line), false);
                continue;
            }
            if is_outside {
                let error = Problem::at_line(first.span, "a rule outside of a rule set");
                self.problems.push(error.hint("[NAME=NUMBER] begins one"));
                is_outside = false;
            }
            rules.push((set, line));
        }
        rules
    }

    /// Begins a set.
    fn head(&mut self, line: &[Word]) -> Option<u16> {
        let (name, number, span) = head(line).map_err(|problem| self.problems.push(problem)).ok()?;
        let of_number = self.read.sets.get(&number).map(|set| set.span);
        let of_name =
            self.read.names.get(&name).and_then(|number| self.read.sets.get(number)).map(|set| set.span);
        match (of_number, of_name) {
            (Some(other), _) => self.twice(span, &format!("rule set {number}"), other),
            (None, Some(other)) => self.twice(span, &format!("rule set {name}"), other),
            (None, None) => {}
        }
        self.read.sets.entry(number).or_insert(Set { span, rules: BTreeMap::new() });
        self.read.names.insert(name, number);
        Some(number)
    }

    /// Adds a rule to a set.
    fn insert(&mut self, set: u16, number: Option<u16>, rule: Rule) {
        let Some(Set { rules, .. }) = self.read.sets.get_mut(&set) else { return };
        let last = rules.last_key_value().map_or(0, |(number, _)| *number);
        let Some(number) = number.or_else(|| last.checked_add(STEP)) else {
            let error = Problem::at_line(rule.span, format!("no number is left behind rule {last}"));
            return self.problems.push(error.hint("add NUMBER ... gives it one"));
        };
        match rules.get(&number).map(|other| other.span) {
            Some(other) => self.twice(rule.span, &format!("rule {number}"), other),
            None => drop(rules.insert(number, rule)),
        }
    }

    fn twice(&mut self, span: Span, what: &str, other: Span) {
        let before = self.text.get(..other.start as usize).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let error = Problem::at_line(span, format!("{what} is defined twice"));
        self.problems.push(error.hint(format!("the other is at line {line}")));
    }
}

impl Text {
    /// The number of a set that a rule includes.
    fn included(&self, word: &Word, before: &BTreeMap<String, u16>) -> Result<u16, Problem> {
        let named = self.names.get(&word.text).or_else(|| before.get(&word.text)).copied();
        let found =
            if word.is_variable { named } else { word.text.parse().ok().filter(|number| *number > 0) };
        found.ok_or_else(|| {
            let sign = if word.is_variable { "$" } else { "" };
            let error = Problem::at_line(word.span, format!("include: no rule set {sign}{}", word.text));
            error.hint(match named {
                Some(_) => format!("${0} is the number of {0}", word.text),
                None => "a number from 1 to 65535, or $NAME".to_owned(),
            })
        })
    }
}

/// `[NAME=NUMBER]`.
fn head(line: &[Word]) -> Result<(String, u16, Span), Problem> {
    let (first, last) = (line[0].span, line[line.len() - 1].span);
    let span = Span { end: last.end, ..first };
    let wrong = |message: String| Err(Problem::at_line(span, message).hint("[NAME=NUMBER]"));
    let text: Vec<_> = line.iter().map(|word| word.text.as_str()).collect();
    let text = text.join(" ");
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let Some((name, number)) = inside.and_then(|inside| inside.split_once('=')) else {
        return wrong(format!("{text}: not the head of a rule set"));
    };
    if !is_name(name) {
        return wrong(format!("\"{name}\" is no name of a rule set: letters, digits and _"));
    }
    match number.parse() {
        Ok(number @ 1..) => Ok((name.to_owned(), number, span)),
        _ => wrong(format!("\"{number}\" is no number of a rule set: from 1 to 65535")),
    }
}

/// `add [NUMBER] ...`.
fn added(
    line: &[Word],
    set: &dyn Fn(&Word) -> Result<u16, Problem>,
    problems: &mut Problems,
) -> Option<(Option<u16>, Rule)> {
    let [add, rest @ ..] = line else { return None };
    let span = Span { end: line[line.len() - 1].span.end, ..add.span };
    if add.text != "add" || add.is_variable {
        let error = Problem::at_line(add.span, format!("{}: no line of a rule set", add.text));
        problems.push(error.hint("a rule is add ..., a rule set begins with [NAME=NUMBER]"));
        return None;
    }
    let is_number = |word: &&Word| !word.is_variable && word.text.starts_with(|c: char| c.is_ascii_digit());
    let Some(word) = rest.first().filter(is_number) else {
        return Some((None, Rule::parse(rest, span, set, problems)?));
    };
    let rule = Rule::parse(&rest[1..], span, set, problems);
    match word.text.parse() {
        Ok(number @ 1..) => Some((Some(number), rule?)),
        _ => {
            let error = Problem::at_line(word.span, format!("{}: no number of a rule", word.text));
            problems.push(error.hint("from 1 to 65535"));
            None
        }
    }
}
