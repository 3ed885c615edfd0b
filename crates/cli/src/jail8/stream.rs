//! What the commands of one jail print while others print, too: by whole lines.

use std::{
    io::{self, Write as _},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Mode, OFlags, fcntl_setfl, openat},
    io::read,
    pipe::{PipeFlags, pipe_with},
};
use vimage::{Context as _, Result};

use crate::output::Output;

/// A pipe to read lines from.
pub(super) struct Stream {
    from: OwnedFd,
    /// Open to be read, too, so that who still writes to it at the end is not killed for it (SIGPIPE).
    to: OwnedFd,
    is_error: bool,
    /// What has come of a line that has no end yet.
    text: Vec<u8>,
}

/// How much is taken at once.
const PIECE: usize = 16 << 10;
/// How often, before others have their turn.
const PIECES: usize = 8;
/// How long a line can be and not be parted by others.
const LINE: usize = 64 << 10;

impl Stream {
    /// Those for standard output and for error output.
    ///
    /// # Errors
    /// A limit of open files.
    pub(super) fn pair() -> Result<[Self; 2]> {
        Ok([Self::new(false)?, Self::new(true)?])
    }

    fn new(is_error: bool) -> Result<Self> {
        let doing = "cannot make a pipe";
        let (from, _) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
        let path = format!("/proc/self/fd/{}", from.as_raw_fd());
        let to = openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        fcntl_setfl(&from, OFlags::NONBLOCK).doing(doing)?;
        Ok(Self { from, to, is_error, text: Vec::new() })
    }

    /// Where it is written to.
    pub(super) fn end_to_write(&self) -> &OwnedFd {
        &self.to
    }

    /// Copies the lines that have come. Returns at once.
    pub(super) fn copy(&mut self, out: &mut Output) {
        let mut piece = [0; PIECE];
        for _ in 0..PIECES {
            match read(&self.from, &mut piece) {
                Ok(n) if n > 0 => self.text.extend_from_slice(&piece[..n]),
                _ => break,
            }
        }
        let whole = self.text.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let whole = if self.text.len() - whole > LINE { self.text.len() } else { whole };
        self.put(whole, out);
    }

    /// Copies what is left. Who writes to it later writes to nobody, and is not kept waiting for a reader.
    pub(super) fn end(mut self, out: &mut Output) {
        self.copy(out);
        if !self.text.is_empty() {
            self.text.push(b'\n');
        }
        self.put(self.text.len(), out);
        let _as_it_was = fcntl_setfl(&self.to, OFlags::NONBLOCK);
    }

    fn put(&mut self, length: usize, out: &mut Output) {
        let text: Vec<u8> = self.text.drain(..length).collect();
        if text.is_empty() {
        } else if self.is_error {
            let _nobody_listens = io::stderr().write_all(&text);
        } else {
            out.bytes(&text);
            out.flush();
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }
}
