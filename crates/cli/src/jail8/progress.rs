//! A line on the terminal that says how far a command over many jails is, for as long as it takes.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use rustix::{
    stdio::stderr,
    termios::{isatty, tcgetwinsize},
    time::Timespec,
};

use crate::output::harmless;

/// The line. It is there from a second on, and only on a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    /// What is done to the jails.
    doing: &'static str,
    all: usize,
    begun: usize,
    start: Instant,
    wanted: bool,
    shown: bool,
}

/// From when on.
const LONG: Duration = Duration::from_secs(1);
/// How wide a terminal is that does not say so.
const WIDTH: usize = 80;

impl Progress {
    /// Of something that is done to so many jails.
    pub(super) fn new(doing: &'static str, all: usize, quiet: bool) -> Self {
        let wanted = !quiet && isatty(stderr());
        Self { doing, all, begun: 0, start: Instant::now(), wanted, shown: false }
    }

    /// Counts jails whose turn has come.
    pub(super) fn began(&mut self, count: usize) {
        self.begun += count;
    }

    /// How long it is until the line is first shown; `None`: nothing is to be waited for.
    pub(super) fn due(&self) -> Option<Timespec> {
        let left = LONG.checked_sub(self.start.elapsed()).filter(|_| self.wanted)?;
        // Not a moment too early.
        (left + Duration::from_millis(1)).try_into().ok()
    }

    /// Shows the line, with the names of the jails that are under way.
    pub(super) fn show<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        if !self.wanted || self.start.elapsed() < LONG {
            return;
        }
        let width = tcgetwinsize(stderr()).map_or(0, |size| usize::from(size.ws_col));
        let head = format!("{} {} of {}:", self.doing, self.begun, self.all);
        let line = line(head, names, if width == 0 { WIDTH } else { width });
        self.write(&line);
        self.shown = true;
    }

    /// Takes the line away, before anything else is written.
    pub(super) fn hide(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        let _nobody_looks = io::stderr().write_all(text.as_bytes());
    }
}

/// The head and as many names as have room, with a mark if it is not all. The last column is left free: some terminals
/// begin another line there.
fn line<'n>(head: String, names: impl Iterator<Item = &'n str>, width: usize) -> String {
    let mut line = head;
    for name in names {
        let name = harmless(name);
        if line.chars().count() + name.chars().count() + 4 > width {
            line += " …";
            break;
        }
        line = line + " " + &name;
    }
    line.chars().take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_names_are_there_as_have_room() {
        let said = |names: &[&str], width| line("starting 2 of 9:".to_owned(), names.iter().copied(), width);
        assert_eq!(said(&["www", "db"], 80), "starting 2 of 9: www db");
        assert_eq!(said(&["www", "db1", "db2"], 27), "starting 2 of 9: www db1 …");
        assert_eq!(said(&["www", "db1", "db2"], 23), "starting 2 of 9: www …");
        assert_eq!(said(&["www"], 9), "starting");
        assert_eq!(said(&["w\u{1b}[2J"], 80), "starting 2 of 9: w\\u{1b}[2J");
    }
}
