//! Texts, and places in them.

use std::{fmt, sync::OnceLock};

use crate::escape::Escaped;

/// One text of a configuration: the file that was given, or one that it includes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A part of a text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// In which text.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte behind the last.
    pub end: u32,
}

/// A place as people name it. Printed as `jail.conf line 12`, whatever characters the file's name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'s> {
    /// The file's name, as it was opened.
    pub file: &'s str,
    /// The line, from 1.
    pub line: usize,
    /// The byte in the line, from 1.
    pub column: usize,
}

/// All texts of a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub name: String,
    pub text: Vec<u8>,
    /// Where each line begins; counted only when somebody asks for a line.
    lines: OnceLock<Vec<usize>>,
}

impl FileId {
    pub(crate) fn span(self, start: usize, end: usize) -> Span {
        // What is longer than this is refused before it is read.
        let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Span { file: self, start: at(start), end: at(end) }
    }
}

impl Sources {
    /// Adds a text.
    pub(crate) fn add(&mut self, name: String, text: Vec<u8>) -> FileId {
        let id = FileId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(Source { name, text, lines: OnceLock::new() });
        id
    }

    /// Takes the bytes of a text out, to be read while others are added.
    pub(crate) fn take(&mut self, id: FileId) -> Vec<u8> {
        self.0.get_mut(id.0 as usize).map(|source| std::mem::take(&mut source.text)).unwrap_or_default()
    }

    /// Puts them back.
    pub(crate) fn put(&mut self, id: FileId, text: Vec<u8>) {
        if let Some(source) = self.0.get_mut(id.0 as usize) {
            source.text = text;
        }
    }

    pub(crate) fn get(&self, id: FileId) -> Option<&Source> {
        self.0.get(id.0 as usize)
    }

    /// The name of a text.
    pub(crate) fn name(&self, id: FileId) -> &str {
        self.get(id).map_or("", |source| &source.name)
    }

    /// Where a span begins.
    pub(crate) fn place(&self, span: Span) -> Place<'_> {
        let Some(source) = self.get(span.file) else { return Place { file: "", line: 1, column: 1 } };
        let (line, range) = source.line(span.start as usize);
        Place { file: &source.name, line, column: 1 + (span.start as usize).saturating_sub(range.start) }
    }
}

impl Source {
    /// The line that a byte is in: its number from 1, and its bytes without the line feed.
    pub(crate) fn line(&self, at: usize) -> (usize, std::ops::Range<usize>) {
        let starts = self.lines.get_or_init(|| {
            let feeds = self.text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            std::iter::once(0).chain(feeds.map(|(at, _)| at + 1)).collect()
        });
        let number = starts.partition_point(|start| *start <= at).max(1);
        let start = starts[number - 1];
        let end = starts.get(number).map_or(self.text.len(), |next| next - 1);
        (number, start..end)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", Escaped(self.file), self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one_and_in_bytes() {
        let mut sources = Sources::default();
        let id = sources.add("x".into(), "ab\n\né\nlast".into());
        let place = |at| {
            let place = sources.place(id.span(at, at));
            (place.line, place.column)
        };
        assert_eq!(
            [0, 2, 3, 4, 6, 7, 11].map(place),
            [(1, 1), (1, 3), (2, 1), (3, 1), (3, 3), (4, 1), (4, 5)]
        );
        assert_eq!(sources.place(id.span(7, 9)).to_string(), "x line 4");
    }

    #[test]
    fn an_empty_text_has_a_first_line() {
        let mut sources = Sources::default();
        let id = sources.add("\x1b[2J".into(), Vec::new());
        assert_eq!(sources.place(id.span(0, 0)).to_string(), "\\u{1b}[2J line 1");
    }
}
