//! Standard output and error output.

use std::{
    fmt,
    io::{self, Write as _},
};

use vimage::{Context as _, Error, Result};

/// Standard output, buffered. A reader that has gone away is no error: what it did not want is not written.
/// The tool goes on, since what it is doing may be half done.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buffer: Vec<u8>,
    closed: bool,
    error: Option<io::Error>,
}

/// When the buffer is written.
const FULL: usize = 32 << 10;

impl Output {
    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        self.text(format_args!("{line}\n"));
    }

    /// Adds text as it is.
    pub(crate) fn text(&mut self, text: impl fmt::Display) {
        // Writing to memory does not fail.
        let _cannot_fail = write!(self.buffer, "{text}");
        self.flush_if_full();
    }

    /// Adds what somebody else has printed.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full();
    }

    fn flush_if_full(&mut self) {
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    /// Writes what is buffered: before anybody else writes to the same place.
    pub(crate) fn flush(&mut self) {
        let mut out = io::stdout().lock();
        if !self.closed && self.error.is_none() {
            match out.write_all(&self.buffer).and_then(|()| out.flush()) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
                other => self.error = other.err(),
            }
        }
        self.buffer.clear();
    }

    /// Takes what is not written yet.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// It could not be written, or something before it.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.flush();
        self.error.take().map_or(Ok(()), |e| Err(e).doing("cannot write to standard output"))
    }
}

/// Takes all, as [`Output::bytes`] does. What cannot be written is said at the end.
impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self);
        Ok(())
    }
}

/// Prints an error as every tool does: one line, and the hint on a line of its own.
pub(crate) fn complain(tool: &str, error: &Error) {
    warn(format_args!("{tool}: {error}"));
    if let Some(hint) = error.advice() {
        warn(format_args!("hint: {hint}"));
    }
}

/// Writes a line to error output. Where that is closed nobody can be told. What others have named, a jail or a file, is
/// no order to a terminal.
pub(crate) fn warn(line: impl fmt::Display) {
    let _nobody_listens = writeln!(io::stderr(), "{}", harmless(&line.to_string()));
}

/// Text without control characters but those that part lines and columns.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_orders_a_terminal_nothing() {
        assert_eq!(harmless("jail: \u{1b}[2Jé\u{7f}\u{9b}\n\tx"), "jail: \\u{1b}[2Jé\\u{7f}\\u{9b}\n\tx");
    }
}
