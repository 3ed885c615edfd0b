//! Words: bare text, strings, escapes, variables.

use super::{Kind, Lexer, MANY_LINES};
use crate::{
    parser::LONGEST_NAME,
    problem::{Problem, Problems},
    tree::{Part, Word},
};

/// A word being put together.
struct Builder {
    /// Where it begins.
    start: usize,
    parts: Vec<Part>,
    /// Text that was read since the last variable, and where it begins.
    text: Vec<u8>,
    from: usize,
    broken: bool,
}

impl Lexer<'_> {
    /// The word that begins here; `None`: none does.
    pub(super) fn word(&mut self, problems: &mut Problems) -> Option<Kind> {
        let start = self.at;
        let mut builder = Builder { start, parts: Vec::new(), text: Vec::new(), from: start, broken: false };
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(byte), _) if is_bare(byte) => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let length = rest.iter().take_while(|byte| is_bare(**byte)).count();
                    builder.text.extend(&rest[..length]);
                    self.at += length;
                }
                (Some(b'\\'), _) => {
                    // What a backslash makes of a letter, it makes of all its bytes.
                    self.at += 1;
                    let end = self.text.len();
                    let length = self.character();
                    self.at = self.escape(self.at, end, &mut builder.text);
                    while length > 1 && self.byte(0).is_some_and(|byte| byte & 0xc0 == 0x80) {
                        builder.text.extend(self.byte(0));
                        self.at += 1;
                    }
                }
                (Some(b'$'), _) => self.variable(self.text.len(), &mut builder, problems),
                (Some(b'"'), _) => self.string(b'"', &mut builder, problems),
                (Some(b'\''), _) => self.string(b'\'', &mut builder, problems),
                (Some(b'+'), Some(b'=')) | (Some(b'/'), Some(b'/' | b'*')) => break,
                (Some(sign @ (b'*' | b'+' | b'/')), _) => {
                    builder.text.push(sign);
                    self.at += 1;
                }
                _ => break,
            }
        }
        if self.at == start {
            return None;
        }
        self.flush(&mut builder, problems);
        let span = self.span(start);
        Some(if builder.broken { Kind::Broken } else { Kind::Word(Word { parts: builder.parts, span }) })
    }

    /// Makes a part of the text that was read.
    fn flush(&self, builder: &mut Builder, problems: &mut Problems) {
        let bytes = std::mem::take(&mut builder.text);
        let span = self.span(builder.from);
        builder.from = self.at;
        let mut refuse = |message, hint: &str| {
            problems.push(Problem::at_line(span, message).hint(hint));
            builder.broken = true;
        };
        match String::from_utf8(bytes) {
            Ok(text) if text.contains('\0') => {
                refuse("null byte in a string", "nothing could be done with it");
            }
            Ok(text) if text.is_empty() => {}
            Ok(text) => builder.parts.push(Part::Text(text)),
            Err(_) => refuse("string is not UTF-8", "names and values are UTF-8; comments may be anything"),
        }
    }

    /// A string in quotes. It goes over as many lines as its other quote is away.
    fn string(&mut self, quote: u8, builder: &mut Builder, problems: &mut Problems) {
        let start = self.at;
        let known = usize::from(quote == b'\'');
        let Some(end) = (!self.unclosed[known]).then(|| self.closing(quote)).flatten() else {
            self.unclosed[known] = true;
            self.at = self.line_end(start);
            let problem = Problem::at_line(self.span(start), "unterminated string");
            problems.push(match self.has_lines(self.file.span(builder.start, start)) {
                true => problem.hint(MANY_LINES),
                false => problem,
            });
            builder.broken = true;
            return;
        };
        self.at += 1;
        while self.at < end {
            match self.text[self.at] {
                b'\\' => self.at = self.escape(self.at + 1, end, &mut builder.text),
                b'$' if quote == b'"' => self.variable(end, builder, problems),
                first => {
                    builder.text.push(first);
                    let rest = &self.text[self.at + 1..end];
                    let length = rest.iter().take_while(|byte| !matches!(byte, b'\\' | b'$')).count();
                    builder.text.extend(&rest[..length]);
                    self.at += 1 + length;
                }
            }
        }
        self.at = end + 1;
    }

    /// Where the string that begins here ends.
    fn closing(&self, quote: u8) -> Option<usize> {
        let mut at = self.at + 1;
        loop {
            match *self.text.get(at)? {
                b'\\' => at += 2,
                byte if byte == quote => return Some(at),
                _ => at += 1,
            }
        }
    }

    /// A variable, or a dollar sign that is none. `end` is where the text or the string ends that it is in.
    fn variable(&mut self, end: usize, builder: &mut Builder, problems: &mut Problems) {
        let start = self.at;
        let rest = &self.text[start + 1..end];
        let name = match rest.first() {
            Some(b'{') => {
                let length = match braced(&rest[1..]) {
                    Ok(length) => length,
                    Err(length) => {
                        self.at = end.min(start + 2 + length);
                        problems.push(Problem::at_line(self.span(start), "unterminated variable"));
                        builder.broken = true;
                        return;
                    }
                };
                let close = start + 2 + length;
                let (mut name, mut at) = (Vec::with_capacity(length), start + 2);
                while at < close {
                    match self.text[at] {
                        b'\\' => at = self.escape(at + 1, close, &mut name),
                        byte => {
                            name.push(byte);
                            at += 1;
                        }
                    }
                }
                self.flush(builder, problems);
                self.at = close + 1;
                name
            }
            Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' => {
                let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
                let length = rest.iter().take_while(is_part).count();
                self.flush(builder, problems);
                self.at += 1 + length;
                rest[..length].to_vec()
            }
            _ => {
                builder.text.push(b'$');
                self.at += 1;
                return;
            }
        };
        let span = self.span(start);
        builder.from = self.at;
        let message = match String::from_utf8(name) {
            Ok(name) if name.len() > LONGEST_NAME => format!("a name is longer than {LONGEST_NAME} bytes"),
            Ok(name) => return builder.parts.push(Part::Variable { name, span }),
            Err(_) => "name of a variable is not UTF-8".to_owned(),
        };
        problems.push(Problem::at_line(span, message));
        builder.broken = true;
    }

    /// Adds what stands for the escape whose backslash is before `at`, and returns where it ends.
    fn escape(&self, at: usize, end: usize, to: &mut Vec<u8>) -> usize {
        let rest = self.text.get(at..end).unwrap_or_default();
        let Some(first) = rest.first() else { return at };
        let digits = |from: usize, most: usize, base: u32| {
            let digits = rest.iter().skip(from).take(most).map_while(|byte| char::from(*byte).to_digit(base));
            digits.fold((0_u32, 0), |(value, count), digit| (value * base + digit, count + 1))
        };
        let (byte, length) = match first {
            b'0'..=b'7' => {
                // A byte, like FreeBSD's: \777 is \377.
                let (value, count) = digits(0, 3, 8);
                (value.to_le_bytes()[0], count)
            }
            b'x' => {
                let (value, count) = digits(1, 2, 16);
                (value.to_le_bytes()[0], 1 + count)
            }
            b'a' => (0x07, 1),
            b'b' => (0x08, 1),
            b'f' => (0x0c, 1),
            b'n' => (b'\n', 1),
            b'r' => (b'\r', 1),
            b't' => (b'\t', 1),
            b'v' => (0x0b, 1),
            b'\n' => return at + 1,
            other => (*other, 1),
        };
        to.push(byte);
        at + length
    }
}

/// How long the name is that a brace closes, or how much there is that could be its beginning. The text begins behind
/// the opening brace.
fn braced(text: &[u8]) -> Result<usize, usize> {
    let mut at = 0;
    loop {
        match text.get(at) {
            Some(b'\\') => at += 2,
            Some(b'}') => return Ok(at),
            None | Some(b'\n' | b'{') => return Err(at),
            Some(_) => at += 1,
        }
    }
}

/// Whether a byte is text without quotes.
pub(crate) fn is_bare(byte: u8) -> bool {
    matches!(
        byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'!' | b'%' | b'&' | b'(' | b')' | b'-' | b'.' | b':' | b'<' | b'>'
            | b'?' | b'@' | b'[' | b']' | b'^' | b'`' | b'|' | b'~'
    )
}
