//! Lines to words, as the shell that reads FreeBSD's devfs.rules does it.

use crate::{
    problem::{Problem, Problems},
    source::{FileId, Span},
};

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    /// Whether it is `$NAME`: the text is the name, and the number of the rule set of that name is meant.
    pub is_variable: bool,
    pub span: Span,
}

/// A text being divided into lines, and these into words.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t [u8],
    at: usize,
    file: FileId,
}

impl<'t> Lines<'t> {
    pub(super) fn new(file: FileId, text: &'t [u8]) -> Self {
        Self { text, at: 0, file }
    }

    /// The words of the next line that has any, a line that ends with a backslash together with the one behind it;
    /// `None` at the end. A line of which a word is wrong is reported, and left out.
    pub(super) fn next(&mut self, problems: &mut Problems) -> Option<Vec<Word>> {
        loop {
            let (mut words, mut is_broken) = (Vec::new(), false);
            loop {
                self.skip_blanks();
                match self.byte(0) {
                    None | Some(b'\n') => break,
                    Some(b'#') => self.at = self.line_end(),
                    Some(_) => match self.word() {
                        Ok(word) => words.push(word),
                        Err(problem) => {
                            problems.push(problem);
                            is_broken = true;
                        }
                    },
                }
            }
            let is_end = self.byte(0).is_none();
            self.at += usize::from(!is_end);
            match (is_broken, words.is_empty()) {
                (false, false) => return Some(words),
                _ if is_end => return None,
                _ => {}
            }
        }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn line_end(&self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |length| self.at + length)
    }

    /// How many bytes a line that goes on has at its end here.
    fn continuation(&self) -> usize {
        match (self.byte(0), self.byte(1), self.byte(2)) {
            (Some(b'\\'), Some(b'\n'), _) => 2,
            (Some(b'\\'), Some(b'\r'), Some(b'\n')) => 3,
            _ => 0,
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            match (self.byte(0), self.continuation()) {
                (Some(b' ' | b'\t' | b'\r'), _) => self.at += 1,
                (_, length @ 1..) => self.at += length,
                _ => return,
            }
        }
    }

    /// The word here: all that is written without a blank between.
    fn word(&mut self) -> Result<Word, Problem> {
        let start = self.at;
        let (mut bytes, mut variable, mut quote) = (Vec::new(), None, None::<u8>);
        while let Some(byte) = self.byte(0) {
            match (byte, quote) {
                // A string that is not closed is over with its line, so that one quote is one error.
                (b'\n', Some(_)) => break,
                (b' ' | b'\t' | b'\r' | b'\n', None) => break,
                (b'\\', None | Some(b'"')) => match self.continuation() {
                    0 => {
                        self.at += 1;
                        bytes.extend(self.byte(0).filter(|next| *next != b'\n'));
                        self.at += usize::from(self.byte(0).is_some_and(|next| next != b'\n'));
                        continue;
                    }
                    length => self.at += length - 1,
                },
                (b'\'' | b'"', None) => quote = Some(byte),
                (byte, Some(open)) if byte == open => quote = None,
                (b'$', None | Some(b'"')) => {
                    variable.get_or_insert(bytes.len());
                }
                _ => bytes.push(byte),
            }
            self.at += 1;
        }
        let span = self.file.span(start, self.at);
        if quote.is_some() {
            return Err(Problem::at_line(span, "unterminated string"));
        }
        if bytes.contains(&0) {
            return Err(Problem::at_line(span, "null byte in a word"));
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(Problem::at_line(span, "word is not UTF-8"));
        };
        let Some(place) = variable else { return Ok(Word { text, is_variable: false, span }) };
        let name = text.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(&text);
        if place != 0 || !is_name(name) {
            return Err(Problem::at_line(span, "a variable stands by itself")
                .hint("$NAME is the number of the rule set NAME"));
        }
        Ok(Word { text: name.to_owned(), is_variable: true, span })
    }
}

/// Whether a rule set can be named so: the shell has a variable of that name.
pub(super) fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}
