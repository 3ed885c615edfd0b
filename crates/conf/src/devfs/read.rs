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
    let mut read = Text::default();
    if text.len() > MOST_BYTES {
        let message = format!("more than {} MB", MOST_BYTES >> 20);
        problems.push(Problem::of_file(file.span(0, 0), message));
        return read;
    }
    let (mut lines, mut all) = (Lines::new(file, text), Vec::new());
    while let Some(line) = lines.next(problems) {
        all.push(line);
    }
    let twice = |span: Span, what: String, other: Span| {
        let line =
            text.get(..other.start as usize).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
        let hint = format!("the other is at line {}", line + 1);
        Problem::at_line(span, format!("{what} is defined twice")).hint(hint)
    };
    // First all heads, so that a set may include one behind it.
    let mut rules: Vec<(Option<u16>, Vec<Word>)> = Vec::new();
    let mut current = None;
    let mut names: BTreeMap<String, Span> = BTreeMap::new();
    let mut is_outside = true;
    for line in all {
        if !line[0].text.starts_with('[') {
            if is_outside {
                let error = Problem::at_line(line[0].span, "a rule outside of a rule set");
                problems.push(error.hint("[NAME=NUMBER] begins one"));
                is_outside = false;
            }
            rules.push((current, line));
            continue;
        }
        (current, is_outside) = (None, false);
        match head(&line) {
            Err(problem) => problems.push(problem),
            Ok((name, number, span)) => {
                if let Some(other) = read.sets.get(&number).map(|set| set.span) {
                    problems.push(twice(span, format!("rule set {number}"), other));
                } else if let Some(other) = names.insert(name.clone(), span) {
                    problems.push(twice(span, format!("rule set {name}"), other));
                }
                read.sets.entry(number).or_insert(Set { span, rules: BTreeMap::new() });
                read.names.insert(name, number);
                current = Some(number);
            }
        }
    }
    let number = |word: &Word| {
        let known = || read.names.get(&word.text).or_else(|| before.get(&word.text)).copied();
        let found = if word.is_variable { known() } else { word.text.parse().ok().filter(|n| *n > 0) };
        found.ok_or_else(|| {
            let sign = if word.is_variable { "$" } else { "" };
            let error = Problem::at_line(word.span, format!("include: no rule set {sign}{}", word.text));
            match known() {
                Some(_) => error.hint(format!("${0} is the number of {0}", word.text)),
                None => error.hint("a number from 1 to 65535, or $NAME"),
            }
        })
    };
    let mut made = Vec::new();
    for (set, line) in rules {
        if let Some((own, rule)) = added(&line, &number, problems) {
            made.extend(set.map(|set| (set, own, rule)));
        }
    }
    for (set, own, rule) in made {
        let Some(set) = read.sets.get_mut(&set) else { continue };
        let last = set.rules.last_key_value().map_or(0, |(number, _)| *number);
        let number = match own {
            Some(number) => Some(number),
            None => last.checked_add(STEP),
        };
        match number.map(|number| (number, set.rules.get(&number).map(|other| other.span))) {
            None => {
                let error = Problem::at_line(rule.span, format!("no number is left behind rule {last}"));
                problems.push(error.hint("add NUMBER ... gives it one"));
            }
            Some((number, Some(other))) => problems.push(twice(rule.span, format!("rule {number}"), other)),
            Some((number, None)) => drop(set.rules.insert(number, rule)),
        }
    }
    read
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
