//! What is wrong with a configuration, and how it is shown: the message, the line, and a mark below the place.

use std::{collections::HashSet, error, fmt};

use crate::{
    escape::{self, Escaped},
    source::{Place, Source, Sources, Span},
};

/// As many problems of one configuration are kept; a file that is no configuration at all has millions.
const MOST: usize = 100;
/// As many bytes of a line are shown before and behind the place: a line may have megabytes.
const BEFORE: usize = 60;
const BEHIND: usize = 60;

/// Something that is wrong at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    message: String,
    span: Span,
    hint: Option<String>,
    heading: Heading,
}

/// What stands before the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading {
    /// File and line, as jail(8) has it where a file cannot be read further.
    Line,
    /// The file.
    File,
    /// Nothing: the place follows in a line of its own.
    Nothing,
}

/// Everything that is wrong with a configuration.
pub struct Report {
    problems: Vec<Problem>,
    omitted: usize,
    sources: Sources,
}

/// A [`Problem`] with the texts that it is about. Its first line is jail(8)'s message, to be put behind `jail: ` or
/// `jail: NAME: `; then come the place, its line with a mark, and a hint if there is one. Nothing in it is an order
/// to a terminal.
#[derive(Clone, Copy)]
pub struct Shown<'s> {
    problem: &'s Problem,
    sources: &'s Sources,
}

impl Problem {
    fn new(heading: Heading, span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, hint: None, heading }
    }

    /// One that is shown as `FILE line N: MESSAGE`.
    pub(crate) fn at_line(span: Span, message: impl Into<String>) -> Self {
        Self::new(Heading::Line, span, message)
    }

    /// One that is shown as `FILE: MESSAGE`.
    pub(crate) fn of_file(span: Span, message: impl Into<String>) -> Self {
        Self::new(Heading::File, span, message)
    }

    /// One that is shown as `MESSAGE`, with its place below.
    pub(crate) fn plain(span: Span, message: impl Into<String>) -> Self {
        Self::new(Heading::Nothing, span, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is wrong, in one line, as it is: what it quotes from a file may hold any character.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Advice, in one line.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Problems being found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() < MOST {
            self.list.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn append(&mut self, other: Self) {
        other.list.into_iter().for_each(|problem| self.push(problem));
        self.omitted += other.omitted;
    }

    /// Those that are kept, in the order in which they were found.
    pub(crate) fn into_list(self) -> Vec<Problem> {
        self.list
    }
}

impl Report {
    /// In the order of the texts, and each once, though a file was included many times.
    pub(crate) fn new(problems: Problems, sources: Sources) -> Self {
        let Problems { mut list, omitted } = problems;
        list.sort_by_key(|problem| problem.span);
        let mut seen = HashSet::new();
        list.retain(|p| seen.insert((sources.name(p.span.file).to_owned(), p.span.start, p.message.clone())));
        Self { problems: list, omitted, sources }
    }

    /// The problems, in the order of the texts.
    pub fn iter(&self) -> impl Iterator<Item = Shown<'_>> {
        self.problems.iter().map(|problem| Shown { problem, sources: &self.sources })
    }

    /// How many there are beyond those that are kept.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, shown) in self.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{shown}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl error::Error for Report {}

impl<'s> Shown<'s> {
    pub(crate) fn new(problem: &'s Problem, sources: &'s Sources) -> Self {
        Self { problem, sources }
    }

    /// The problem itself.
    #[must_use]
    pub fn problem(&self) -> &'s Problem {
        self.problem
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place<'s> {
        self.sources.place(self.problem.span)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (problem, place) = (self.problem, self.place());
        let message = Escaped(&problem.message);
        match problem.heading {
            Heading::Line => write!(f, "{place}: {message}")?,
            Heading::File => write!(f, "{}: {message}", Escaped(place.file))?,
            Heading::Nothing => write!(f, "{message}\n  at {place}")?,
        }
        if let Some(source) = self.sources.get(problem.span.file).filter(|source| !source.text.is_empty()) {
            excerpt(f, source, problem.span)?;
        }
        match &problem.hint {
            Some(hint) => write!(f, "\n  hint: {}", Escaped(hint)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Writes the line that a span begins in, and a mark below it.
fn excerpt(f: &mut fmt::Formatter<'_>, source: &Source, span: Span) -> fmt::Result {
    let (number, line) = source.line(span.start as usize);
    let (start, end) = (span.start as usize, (span.end as usize).min(line.end));
    let from = boundary(&source.text, start.saturating_sub(BEFORE).max(line.start), line.start);
    let until = boundary(&source.text, line.end.min(start + BEHIND), from);
    let (mut text, mut mark) = (String::new(), String::new());
    if from > line.start {
        text.push('…');
        mark.push(' ');
    }
    let mut at = from;
    let mut show = |shown: &str, bytes: usize| {
        text.push_str(shown);
        let sign = if at >= start && at < end { '^' } else { ' ' };
        mark.extend(shown.chars().map(|_| sign));
        at += bytes;
    };
    for chunk in source.text.get(from..until).unwrap_or_default().utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut shown = String::new();
            match c {
                '\t' => shown.push_str("    "),
                c => escape::write_char(&mut shown, c)?,
            }
            show(&shown, c.len_utf8());
        }
        for byte in chunk.invalid() {
            show(&format!("\\x{byte:02x}"), 1);
        }
    }
    if until < line.end {
        text.push('…');
    }
    let mark = mark.trim_end();
    // At the end of a line there is nothing to mark.
    let mark =
        if mark.is_empty() { format!("{}^", " ".repeat(text.chars().count())) } else { mark.to_owned() };
    write!(f, "\n{number:>5} | {text}\n      | {mark}")
}

/// The place itself, or where the character that it is in begins.
fn boundary(text: &[u8], mut at: usize, least: usize) -> usize {
    while at > least && text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8], start: usize, end: usize) -> String {
        let mut sources = Sources::default();
        let span = sources.add("f".into(), text.to_vec()).span(start, end);
        Shown { problem: &Problem::at_line(span, "x"), sources: &sources }.to_string()
    }

    #[test]
    fn the_mark_is_below_the_place_whatever_is_before_it() {
        assert_eq!(shown(b"a = \"b\";\n", 4, 7), "f line 1: x\n    1 | a = \"b\";\n      |     ^^^");
        assert_eq!(
            shown("\t\"é\u{1b}\" }".as_bytes(), 7, 8),
            "f line 1: x\n    1 |     \"é\\u{1b}\" }\n      |               ^"
        );
        assert_eq!(shown(b"\xff\xfe}", 2, 3), "f line 1: x\n    1 | \\xff\\xfe}\n      |         ^");
        assert_eq!(shown(b"ab\ncd", 2, 2), "f line 1: x\n    1 | ab\n      |   ^");
    }

    #[test]
    fn of_a_string_over_many_lines_the_first_is_shown() {
        assert_eq!(shown(b"a = 'b\nc\nd'", 4, 11), "f line 1: x\n    1 | a = 'b\n      |     ^^");
    }

    #[test]
    fn of_a_line_of_megabytes_what_is_near_is_shown() {
        let text = shown("é".repeat(1 << 20).as_bytes(), 1 << 20, (1 << 20) + 2);
        let line = text.lines().nth(1).unwrap();
        assert!(line.chars().count() < 100 && line.matches('…').count() == 2, "{line}");
    }
}
