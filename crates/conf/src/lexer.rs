//! Bytes to tokens, as usr.sbin/jail/jaillex.l of FreeBSD does it.
//!
//! A token is a word or one of `, ; = += { }`. A word is all that is written without a blank between: bare text,
//! strings, variables. Where FreeBSD takes bytes as they are, a value must be UTF-8 here, since it becomes text;
//! what is in comments need not be.

mod word;

pub(crate) use word::is_bare;

use crate::{
    problem::{Problem, Problems},
    source::{FileId, Span},
    tree::Word,
};

/// What often is the reason for an error behind a string: its own quote is missing, and another one's ends it.
pub(crate) const MANY_LINES: &str = "a string before it goes over several lines";

/// A token and its place.
#[derive(Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word(Word),
    /// A word of which something is wrong that was reported.
    Broken,
    Comma,
    Semicolon,
    Equals,
    Append,
    Open,
    Close,
    /// A character that begins nothing.
    Stray,
    End,
}

/// A text being read.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    file: FileId,
    /// The quotes, `"` and `'`, of which it is known that no other follows: it is looked for once.
    unclosed: [bool; 2],
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(file: FileId, text: &'t [u8]) -> Self {
        Self { text, at: 0, file, unclosed: [false; 2] }
    }

    /// The text of a span, as a message quotes it.
    pub(crate) fn quote(&self, span: Span) -> String {
        /// A value may have megabytes.
        const MOST: usize = 40;
        let text = self.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(..4 * MOST).unwrap_or(text));
        match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.into_owned(),
        }
    }

    /// Whether a span goes over several lines.
    pub(crate) fn has_lines(&self, span: Span) -> bool {
        self.text.get(span.start as usize..span.end as usize).is_some_and(|text| text.contains(&b'\n'))
    }

    /// The next token; at the end [`Kind::End`], again and again.
    pub(crate) fn next(&mut self, problems: &mut Problems) -> Token {
        self.skip_blanks(problems);
        let start = self.at;
        let kind = match (self.byte(0), self.byte(1)) {
            (None, _) => Kind::End,
            (Some(b'+'), Some(b'=')) => self.sign(2, Kind::Append),
            (Some(b','), _) => self.sign(1, Kind::Comma),
            (Some(b';'), _) => self.sign(1, Kind::Semicolon),
            (Some(b'='), _) => self.sign(1, Kind::Equals),
            (Some(b'{'), _) => self.sign(1, Kind::Open),
            (Some(b'}'), _) => self.sign(1, Kind::Close),
            _ => match self.word(problems) {
                Some(word) => word,
                None => self.sign(self.character(), Kind::Stray),
            },
        };
        Token { kind, span: self.span(start) }
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn sign(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    fn span(&self, start: usize) -> Span {
        self.file.span(start, self.at)
    }

    /// How many bytes the character here has.
    fn character(&self) -> usize {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let more = rest.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        if self.byte(0).is_some_and(|first| first >= 0xc0) { 1 + more } else { 1 }
    }

    fn skip_blanks(&mut self, problems: &mut Problems) {
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b' ' | b'\t' | b'\r' | b'\n'), _) => self.at += 1,
                (Some(b'#'), _) | (Some(b'/'), Some(b'/')) => self.at = self.line_end(self.at),
                (Some(b'/'), Some(b'*')) => {
                    let inside = self.at + 2;
                    let rest = self.text.get(inside..).unwrap_or_default();
                    if let Some(length) = rest.windows(2).position(|two| two == b"*/") {
                        self.at = inside + length + 2;
                    } else {
                        let span = self.file.span(self.at, inside);
                        problems.push(Problem::at_line(span, "unterminated comment"));
                        self.at = self.text.len();
                    }
                }
                _ => return,
            }
        }
    }

    /// Where the line of a place ends: its line feed, or the end.
    fn line_end(&self, from: usize) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |length| from + length)
    }
}
