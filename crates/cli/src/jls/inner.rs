//! The jails that a jail has made itself, as its own jls(8) lists them. What runs in a jail may say anything, or never
//! end: it has a second and so many bytes, and of what it says only names, numbers and values that are such are taken.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::fd::{AsFd as _, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use ::jail::{Jails, above, process, record::Record};
use kernel::{fork::fork, spawn::reap};
use rustix::{
    event::{PollFd, PollFlags, poll},
    pipe::{PipeFlags, pipe_with},
    process::{Signal, pidfd_send_signal},
};
use serde_json::Value as Tree;
use vimage::{Context as _, Error, ErrorKind, Result, Settings, Told};

use super::values::Values;
use crate::inside;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes it may say of each jail that there may be, and besides.
const BYTES: usize = 16 << 10;

/// How many are asked at once before the list begins; others when it is their turn.
const AT_ONCE: usize = 200;

/// Those that were asked, and have not been listened to.
pub(super) struct Inner<'j, 'r> {
    jails: &'j Jails<'r>,
    dying: bool,
    asked: BTreeMap<u32, Asked>,
}

/// One that was asked.
struct Asked {
    /// The copy of ours that has asked it.
    copy: OwnedFd,
    /// What it says.
    says: File,
    /// Since when.
    since: Instant,
    /// As long as this is open, the copy lets it speak.
    leash: OwnedFd,
}

impl<'j, 'r> Inner<'j, 'r> {
    /// Nobody was asked yet.
    pub(super) fn new(jails: &'j Jails<'r>, dying: bool) -> Self {
        Self { jails, dying, asked: BTreeMap::new() }
    }

    /// Asks all that may have made some: those that are told something, for that.
    pub(super) fn ask_all(&mut self) {
        let root = self.jails.premises.store.root().join(subsystems::children::TOLD);
        let entries = fs::read_dir(root).into_iter().flatten().flatten();
        let jids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for jid in jids.take(AT_ONCE) {
            if let Some(asked) =
                self.jails.premises.store.read(jid).ok().flatten().and_then(|of| self.ask(&of))
            {
                self.asked.insert(jid, asked);
            }
        }
    }

    /// The jails in one of ours, named and numbered as we see them. None if it makes none, or has no process, or cannot
    /// be entered by us.
    ///
    /// # Errors
    /// It does not answer, or not so.
    pub(super) fn rows(&mut self, of: &Record) -> Result<Vec<Values>> {
        let Some(asked) = self.asked.remove(&of.jid).or_else(|| self.ask(of)) else { return Ok(Vec::new()) };
        let doing = || format!("{}: cannot list the jails that it has made", of.name);
        let most = usize::try_from(of.settings.int("children.max").unwrap_or(0)).unwrap_or(0);
        let text = asked.answer(BYTES * (most + 1)).doing_with(doing)?;
        if text.is_empty() {
            // It has no such tool, and so no jails of its own.
            return Ok(Vec::new());
        }
        let document: Tree = serde_json::from_slice(&text).doing_with(doing)?;
        let rows = document["jail-information"]["jail"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(rows.iter().take(most).filter_map(|row| seen(self.jails, of, row)).collect())
    }

    /// Asks one, in a copy of ours: whatever the jail does to whoever comes in, that can be left to itself.
    fn ask(&self, of: &Record) -> Option<Asked> {
        let runs = || of.init.as_ref().and_then(process::open).is_some();
        if !subsystems::children::hosts(&of.settings) || ::jail::privilege::check().is_err() || !runs() {
            return None;
        }
        let (says, writes) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        let (held, leash) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        // Taken by the copy, they are closed there, and are here as before.
        let ours = Cell::new(Some((says, leash)));
        let copy = fork(|| {
            drop(ours.take());
            u8::from(self.let_speak(of, writes, &held).is_err())
        });
        let (says, leash) = ours.take()?;
        Some(Asked { copy: copy.ok()?, says: says.into(), since: Instant::now(), leash })
    }

    /// Runs its tool until that ends, or nobody listens any more.
    fn let_speak(&self, of: &Record, output: OwnedFd, held: &OwnedFd) -> Result<()> {
        let mut argv = vec!["jls", "--libxo=json"];
        argv.extend(self.dying.then_some("-d"));
        argv.push("all");
        let mut command = inside::tool(argv.into_iter().map(Into::into).collect());
        command.session = true;
        let null = File::options().read(true).write(true).open("/dev/null").doing("cannot open /dev/null")?;
        let null = Rc::new(OwnedFd::from(null));
        command.input = Some(null.clone());
        command.errors = Some(null);
        command.output = Some(Rc::new(output));
        let running = match self.jails.enter(&of.name, &command) {
            // It ends just now, or has no such tool, or none that can be executed.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Denied) => return Ok(()),
            running => running?,
        };
        drop(command);
        let mut fds =
            [PollFd::from_borrowed_fd(running.pidfd(), PollFlags::IN), PollFd::new(held, PollFlags::IN)];
        poll(&mut fds, None).doing("cannot wait")?;
        running.kill();
        Ok(())
    }
}

impl Asked {
    /// Its answer. What does not end is ended.
    fn answer(self, most: usize) -> Result<Vec<u8>> {
        let Self { copy, says, since, leash } = self;
        let text = read(says, most, since + PATIENCE);
        drop(leash);
        let moment = Duration::from_millis(100).try_into().ok();
        let ends = poll(&mut [PollFd::new(&copy, PollFlags::IN)], moment.as_ref());
        if ends.is_ok_and(|ready| ready == 0) {
            // It is kept where it went in.
            let _gone = pidfd_send_signal(&copy, Signal::KILL);
        }
        let status = reap(copy.as_fd()).doing("cannot wait")?;
        match text {
            Ok(text) if text.is_empty() && status != 0 => Err(Error::unsupported("it cannot be entered")),
            text => text,
        }
    }
}

/// The jail of a name or number that is in no record of ours; `None`: if there is one, it is.
///
/// # Errors
/// There is none; the jail that it would be in does not answer.
pub(super) fn find(jails: &Jails<'_>, word: &str, dying: bool) -> Result<Option<Values>> {
    let mut told = above::others(&jails.premises.store).into_iter();
    let is_it = |told: &Told| told.name == word || word.strip_prefix('.') == Some(&told.jid.to_string());
    if let Some(told) = told.find(is_it).filter(|_| jails.read(word).is_err()) {
        return Ok(Some(Values::told(told)));
    }
    let Some((outer, inner)) = inside::split(jails, word) else { return Ok(None) };
    let of = jails.read(&outer)?;
    let (name, number) = (format!("{}.{inner}", of.name), format!("{}.{inner}", of.jid));
    let mut rows = Inner::new(jails, dying).rows(&of)?.into_iter();
    match rows.find(|row| row.record.name == name || row.number() == number) {
        Some(found) => Ok(Some(found)),
        None => Err(Error::new(ErrorKind::NotFound, format!("jail \"{word}\" not found"))),
    }
}

/// Whether a jail has made one of this name, as we see it. One that does not answer is taken at its silence.
pub(crate) fn has_made(jails: &Jails<'_>, of: &Record, name: &str) -> bool {
    let rows = Inner::new(jails, false).rows(of).unwrap_or_default();
    rows.iter().any(|row| row.record.name == name)
}

/// All that comes, in time.
fn read(mut from: File, most: usize, end: Instant) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let within = left.try_into().ok();
        let ready = poll(&mut [PollFd::new(&from, PollFlags::IN)], within.as_ref());
        if left.is_zero() || ready.doing("cannot wait")? == 0 {
            return Err(Error::unsupported(format!("no answer within {} s", PATIENCE.as_secs())));
        }
        let length = from.read(&mut buffer).doing("cannot read")?;
        text.extend_from_slice(&buffer[..length]);
        if text.len() > most {
            return Err(Error::unsupported(format!("an answer of more than {most} bytes")));
        }
        if length == 0 {
            return Ok(text);
        }
    }
}

/// A row as we see it; `None` for what is none.
fn seen(jails: &Jails<'_>, of: &Record, row: &Tree) -> Option<Values> {
    let text = |name: &str| row.get(name).and_then(|value| value.as_str());
    let (inner, number) = (text("name")?, text("jid")?);
    ::jail::core::check_name(inner, inner.parse().ok()).ok()?;
    let is_one = |part: &str| !part.starts_with(['0', '+']) && part.parse::<u32>().is_ok();
    let is_number = |number: &str| number.split('.').all(is_one);
    if number.len() > 64 || !is_number(number) {
        return None;
    }
    let mut settings = Settings::default();
    for (name, value) in row.as_object()? {
        let Some(param) = jails.registry.param(name) else { continue };
        if let Some(value) = value.as_str().and_then(|text| param.parse(text).ok()) {
            settings.set(param.name, value);
        }
    }
    let parent = match text("parent") {
        Some(parent) if is_number(parent) => format!("{}.{parent}", of.jid),
        _ => of.jid.to_string(),
    };
    Some(Values::foreign(format!("{}.{number}", of.jid), format!("{}.{inner}", of.name), parent, settings))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn pipe() -> (File, File) {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (reads.into(), writes.into())
    }

    fn soon() -> Instant {
        Instant::now() + PATIENCE
    }

    #[test]
    fn what_comes_in_time_is_read_to_its_end_and_no_more_than_there_is_room_for() {
        let (from, mut to) = pipe();
        to.write_all(b"{}").unwrap();
        drop(to);
        assert_eq!(read(from, 10, soon()).unwrap(), b"{}");
        let (from, mut to) = pipe();
        to.write_all(&[b' '; 11]).unwrap();
        assert_eq!(read(from, 10, soon()).unwrap_err().to_string(), "an answer of more than 10 bytes");
        let (from, to) = pipe();
        assert_eq!(read(from, 10, soon()).unwrap_err().to_string(), "no answer within 1 s");
        drop(to);
    }
}
