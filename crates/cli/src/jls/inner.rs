//! The jails that a jail has made itself, as its own jls(8) lists them. What runs in a jail may say anything, or never
//! end: it has a second and so many bytes, and of what it says only names, numbers and values that are such are taken.

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

use ::jail::{
    Jails,
    process::{self, Command},
    record::Record,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    pipe::{PipeFlags, pipe_with},
};
use serde_json::Value as Tree;
use vimage::{Context as _, Error, Result, Settings};

use super::values::Values;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many bytes it may say of each jail that there may be, and besides.
const BYTES: usize = 16 << 10;

/// The jails in one of ours, named and numbered as we see them. None if it makes none, or has no process, or cannot be
/// entered by us.
///
/// # Errors
/// It does not answer, or not so.
pub(super) fn rows(jails: &Jails<'_>, of: &Record, dying: bool) -> Result<Vec<Values>> {
    let runs = || of.init.as_ref().and_then(process::open).is_some();
    if !subsystems::children::hosts(&of.settings) || ::jail::privilege::check().is_err() || !runs() {
        return Ok(Vec::new());
    }
    let doing = || format!("{}: cannot list the jails that it has made", of.name);
    let text = ask(jails, of, dying).doing_with(doing)?;
    if text.is_empty() {
        // It has no such tool, and so no jails of its own.
        return Ok(Vec::new());
    }
    let document: Tree = serde_json::from_slice(&text).doing_with(doing)?;
    let rows = document["jail-information"]["jail"].as_array().map(Vec::as_slice).unwrap_or_default();
    let most = usize::try_from(of.settings.int("children.max").unwrap_or(0)).unwrap_or(0);
    Ok(rows.iter().take(most).filter_map(|row| seen(jails, of, row)).collect())
}

/// What it says.
fn ask(jails: &Jails<'_>, of: &Record, dying: bool) -> Result<Vec<u8>> {
    let mut argv = vec!["jls", "--libxo=json"];
    argv.extend(dying.then_some("-d"));
    argv.push("all");
    let mut command = Command::new(argv.into_iter().map(Into::into).collect());
    command.env.retain(|(name, _)| name != "JAIL_ROOT");
    command.session = true;
    let null = File::options().read(true).write(true).open("/dev/null").doing("cannot open /dev/null")?;
    let null = Rc::new(OwnedFd::from(null));
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC).doing("cannot make a pipe")?;
    command.input = Some(null.clone());
    command.errors = Some(null);
    command.output = Some(Rc::new(writes));
    let running = match jails.enter(&of.name, &command) {
        Ok(running) => running,
        // It ends just now, or has no such tool.
        Err(e) if e.kind() == vimage::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    drop(command);
    let room = usize::try_from(of.settings.int("children.max").unwrap_or(0)).unwrap_or(0);
    let text = read(reads.into(), BYTES * (room + 1));
    if text.is_err() {
        running.kill();
    } else {
        running.wait()?;
    }
    text
}

/// All that comes, in time.
fn read(mut from: File, most: usize) -> Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
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
    let is_number = |number: &str| number.split('.').all(|part| matches!(part.parse::<u32>(), Ok(1..)));
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

    #[test]
    fn what_comes_in_time_is_read_to_its_end_and_no_more_than_there_is_room_for() {
        let (from, mut to) = pipe();
        to.write_all(b"{}").unwrap();
        drop(to);
        assert_eq!(read(from, 10).unwrap(), b"{}");
        let (from, mut to) = pipe();
        to.write_all(&[b' '; 11]).unwrap();
        assert_eq!(read(from, 10).unwrap_err().to_string(), "an answer of more than 10 bytes");
        let (from, to) = pipe();
        assert_eq!(read(from, 10).unwrap_err().to_string(), "no answer within 1 s");
        drop(to);
    }
}
