//! One rule: what it is about, and what it does.

use super::words::Word;
use crate::{
    problem::{Problem, Problems},
    source::Span,
};

/// What devfs(8) calls the type of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A disk.
    Disk,
    /// Memory.
    Mem,
    /// A tape.
    Tape,
    /// A terminal.
    Tty,
}

impl Class {
    /// All of them, each with its word.
    pub const ALL: [(&'static str, Self); 4] =
        [("disk", Self::Disk), ("mem", Self::Mem), ("tape", Self::Tape), ("tty", Self::Tty)];
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// By number.
    Number(u32),
    /// By name, of which only the caller knows the number.
    Name(String),
}

/// A rule as it is written.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub pattern: Option<String>,
    pub class: Option<Class>,
    /// Whether it unhides (`true`) or hides.
    pub shows: Option<bool>,
    pub mode: Option<u16>,
    pub user: Option<(Id, Span)>,
    pub group: Option<(Id, Span)>,
    pub include: Option<(u16, Span)>,
    pub span: Span,
}

/// What may follow `add`.
const WORDS: &str =
    "path PATTERN, type TYPE, hide, unhide, mode MODE, user USER, group GROUP, include RULESET";

impl Rule {
    /// Reads what is behind `add` and its number; `set` knows the numbers of rule sets. What is wrong is reported.
    pub(super) fn parse(
        words: &[Word],
        span: Span,
        set: &dyn Fn(&Word) -> Result<u16, Problem>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut rule = Self { span, ..Self::default() };
        let (mut words, mut seen) = (words.iter(), Vec::new());
        while let Some(word) = words.next() {
            // What is behind it may be the value of a word that nobody knows.
            if let Err(problem) = rule.word(word, &mut words, &mut seen, set) {
                problems.push(problem);
                return None;
            }
        }
        if !rule.acts() {
            problems.push(Problem::at_line(span, "a rule that does nothing").hint(WORDS));
            return None;
        }
        Some(rule)
    }

    fn acts(&self) -> bool {
        let changes = self.mode.is_some() || self.user.is_some() || self.group.is_some();
        changes || self.shows.is_some() || self.include.is_some()
    }

    fn word<'w>(
        &mut self,
        word: &'w Word,
        rest: &mut std::slice::Iter<'w, Word>,
        seen: &mut Vec<&'w str>,
        set: &dyn Fn(&Word) -> Result<u16, Problem>,
    ) -> Result<(), Problem> {
        let wrong = |span, message: String| Problem::at_line(span, message);
        let name = word.text.as_str();
        let known = ["path", "type", "hide", "unhide", "mode", "user", "group", "include"].contains(&name);
        if word.is_variable || !known {
            let sign = if word.is_variable { "$" } else { "" };
            return Err(wrong(word.span, format!("{sign}{name}: no part of a rule")).hint(WORDS));
        }
        let takes = !["hide", "unhide"].contains(&name);
        let value = if takes {
            Some(rest.next().ok_or_else(|| wrong(word.span, format!("{name}: value missing")).hint(WORDS))?)
        } else {
            None
        };
        let kind = if takes { name } else { "hide" };
        if seen.contains(&kind) {
            let what = if takes { format!("{name}: given twice") } else { "hide or unhide, not both".into() };
            return Err(wrong(word.span, what));
        }
        seen.push(kind);
        let Some(value) = value else {
            self.shows = Some(name == "unhide");
            return Ok(());
        };
        if value.is_variable && name != "include" {
            return Err(wrong(value.span, format!("{name}: ${} is no such value", value.text)));
        }
        match name {
            "path" => self.pattern = Some(pattern(value)?),
            "type" => {
                let class = Class::ALL.iter().find(|(word, _)| *word == value.text);
                let unknown =
                    || wrong(value.span, format!("type: unknown type of devices \"{}\"", value.text));
                self.class =
                    Some(class.ok_or_else(|| unknown().hint(Class::ALL.map(|(word, _)| word).join(", ")))?.1);
            }
            "mode" => {
                let mode = octal(&value.text).ok_or_else(|| {
                    wrong(value.span, format!("mode: not a mode \"{}\"", value.text))
                        .hint("octal, from 0 to 777")
                })?;
                self.mode = Some(mode);
            }
            "include" => self.include = Some((set(value)?, value.span)),
            _ => {
                let id = match value.text.parse() {
                    _ if value.text.is_empty() => {
                        return Err(wrong(value.span, format!("{name}: value missing")));
                    }
                    Ok(number) => Id::Number(number),
                    Err(_) => Id::Name(value.text.clone()),
                };
                if name == "user" { &mut self.user } else { &mut self.group }.replace((id, value.span));
            }
        }
        Ok(())
    }
}

fn octal(text: &str) -> Option<u16> {
    let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u16::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777)
}

/// A pattern of paths below /dev.
fn pattern(value: &Word) -> Result<String, Problem> {
    let wrong = |message: String| Problem::at_line(value.span, message);
    let bare = value.text.trim_start_matches('/');
    if bare.len() < value.text.len() {
        let error = wrong(format!("path: \"{}\" is not relative to /dev", value.text));
        return Err(error.hint(bare.strip_prefix("dev/").unwrap_or(bare)));
    }
    if value.text.is_empty() {
        return Err(wrong("path: value missing".to_owned()));
    }
    Ok(value.text.clone())
}
