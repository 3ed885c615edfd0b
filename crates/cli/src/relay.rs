//! Between the user and a command in a jail: signals, and a terminal of the jail's own.
//!
//! The user's own terminal never enters a jail, since who has it open can put words into the user's mouth
//! (TIOCSTI, ioctl_tty(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::jail::process::Running;
use kernel::signal::{Signals, send};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read, write},
    process::Signal,
    stdio::{stderr, stdin, stdout},
    termios::{
        OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
    },
    time::Timespec,
};
use vimage::{Context as _, Result};

/// Signals that are the command's affair.
const FORWARDED: &[Signal] = &[
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::CONT,
    Signal::WINCH,
];

/// A terminal in raw mode, until this is dropped.
struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Raw<'a> {
    /// `shows`, whether what the command writes goes there, too; else others go on to write there as before.
    fn enter(terminal: BorrowedFd<'a>, shows: bool) -> Result<Self> {
        let before = tcgetattr(terminal).doing("cannot read the terminal's modes")?;
        let mut raw = before.clone();
        raw.make_raw();
        if !shows {
            raw.output_modes = before.output_modes;
        }
        tcsetattr(terminal, OptionalActions::Drain, &raw).doing("cannot set the terminal's modes")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // Where the terminal is gone there is nothing to restore.
        let _gone = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Which of standard input, output and error output are terminals.
pub(crate) fn terminals() -> [bool; 3] {
    [isatty(stdin()), isatty(stdout()), isatty(stderr())]
}

/// Catches the signals that are to be forwarded: from before the command starts, so that none is lost.
///
/// # Errors
/// The kernel refused.
pub(crate) fn catch() -> Result<Signals> {
    Signals::block(FORWARDED).doing("cannot catch signals")
}

/// Gives a jail's terminal the size and modes of the user's.
pub(crate) fn imitate(master: &OwnedFd, ours: [bool; 3]) {
    let raw = ours[0] && ours[1];
    let ours = watched(ours);
    // A terminal without them has its own.
    if let Ok(mut modes) = tcgetattr(ours) {
        if !raw {
            // The output of ours is not made raw, and does to the output what is to be done.
            modes.output_modes.remove(OutputModes::OPOST);
        }
        let _default = tcsetattr(master, OptionalActions::Now, &modes);
    }
    resize(master, ours);
}

/// The terminal from which the command is watched; standard input if none of the three is one.
fn watched(ours: [bool; 3]) -> BorrowedFd<'static> {
    let all = [stdin(), stdout(), stderr()];
    all.into_iter().zip(ours).find(|(_, is)| *is).map_or_else(stdin, |(fd, _)| fd)
}

fn resize(master: &OwnedFd, ours: BorrowedFd<'_>) {
    if let Ok(size) = tcgetwinsize(ours) {
        let _default = tcsetwinsize(master, size);
    }
}

/// Waits for the end of a command, and forwards meanwhile. `master` is the jail's terminal, if it was given
/// one, in place of those of `ours`. Returns the command's wait status.
///
/// # Errors
/// The terminal or the command cannot be watched.
pub(crate) fn relay(
    running: &Running,
    signals: &Signals,
    master: Option<OwnedFd>,
    ours: [bool; 3],
) -> Result<i32> {
    let screen = if ours[1] { stdout() } else { stderr() };
    let (keyboard, watched) = (stdin(), watched(ours));
    let raw = (master.is_some() && ours[0]).then(|| Raw::enter(keyboard, ours[1])).transpose()?;
    let mut master = master;
    // A terminal that nobody has open says so at every look, and may be opened again.
    let mut nobody = false;
    loop {
        let mut fds = vec![
            PollFd::from_borrowed_fd(running.pidfd(), PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        let typing = master.as_ref().filter(|_| ours[0]);
        fds.extend(typing.map(|_| PollFd::from_borrowed_fd(keyboard, PollFlags::IN)));
        fds.extend(master.as_ref().filter(|_| !nobody).map(|end| PollFd::new(end, PollFlags::IN)));
        match poll(&mut fds, Some(&AGAIN).filter(|_| nobody)) {
            Err(Errno::INTR) => continue,
            other => other.doing("cannot wait for the command")?,
        };
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let (ended, signalled) = (ready.next() == Some(true), ready.next() == Some(true));
        let typed = typing.is_some() && ready.next() == Some(true);
        let shown = ready.next() == Some(true);
        drop(fds);
        if signalled {
            while let Some(signal) = signals.next().doing("cannot read a signal")? {
                match &master {
                    Some(master) if signal == Signal::WINCH.as_raw() => resize(master, watched),
                    // One that has ended needs none.
                    _ => drop(send(running.pidfd(), signal)),
                }
            }
        }
        if let Some(end) = &master {
            if ended {
                // What was written before the end is still to be shown; a process that the command left
                // behind may write for ever.
                drain(end, screen);
            }
            nobody = shown && !ended && !pump(end, screen);
            if typed && !pump(keyboard, end.as_fd()) {
                // The user's terminal has hung up, and so does the jail's.
                master = None;
            }
        }
        if ended {
            break;
        }
    }
    drop(raw);
    running.wait()
}

/// How soon a terminal that nobody has open is looked at again.
const AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Copies what is there; false at the end of the file.
fn pump(from: impl AsFd, to: impl AsFd) -> bool {
    let mut buffer = [0; 16 << 10];
    match read(&from, &mut buffer) {
        Ok(0) => false,
        Ok(n) => put(&to, &buffer[..n]),
        Err(e) => matches!(e, Errno::INTR | Errno::AGAIN),
    }
}

fn put(to: impl AsFd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match write(&to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::new(&to, PollFlags::OUT)];
                if poll(&mut fds, None).is_err_and(|e| e != Errno::INTR) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// How much a terminal holds at most: what a command wrote before it ended.
const HELD: usize = 64;

fn drain(from: &OwnedFd, to: BorrowedFd<'_>) {
    for _ in 0..HELD {
        let mut fds = [PollFd::new(from, PollFlags::IN)];
        if !poll(&mut fds, Some(&Timespec::default())).is_ok_and(|n| n > 0) || !pump(from, to) {
            return;
        }
    }
}

/// The exit status that stands for a command's wait status, as shells have it: 128 and the signal's number.
pub(crate) fn exit_code(status: i32) -> u8 {
    let code = match status & 0x7f {
        0 => status >> 8 & 0xff,
        signal => 128 + signal,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(7 << 8), 7);
        assert_eq!(exit_code(255 << 8), 255);
        assert_eq!(exit_code(9), 137);
        assert_eq!(exit_code(0x80 | 11), 139);
    }
}
