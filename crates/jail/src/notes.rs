//! What a store notes besides its jails: numbers of series, the machine's secret, the trace.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use vimage::{Context as _, Event, Result};

use crate::store::Store;

impl Store {
    /// Notes that a jail's commands for its removal are being run, for as long as what is returned lives; `None`: they
    /// are being run already.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn begin_stop(&self, jid: u32) -> Result<Option<File>> {
        let path = self.root.join("jails").join(jid.to_string()).join("stop");
        let doing = || format!("cannot lock {}", path.display());
        let file = File::options().append(true).create(true).mode(0o600).open(&path).doing_with(doing)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e).doing_with(doing),
        }
    }

    /// Adds to the trace: a line an event. A long file makes room for a new one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_trace(&self, events: &[Event]) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let path = self.root.join("trace");
        let doing = || format!("cannot write {}", path.display());
        let mut text = String::new();
        for event in events {
            text += &serde_json::to_string(event).doing_with(doing)?;
            text.push('\n');
        }
        if fs::metadata(&path).is_ok_and(|m| m.len() > 1 << 20) {
            fs::rename(&path, self.root.join("trace.old")).doing_with(doing)?;
        }
        let file = File::options().append(true).create(true).open(&path);
        file.and_then(|mut f| f.write_all(text.as_bytes())).doing_with(doing)
    }

    /// The trace, oldest first.
    #[must_use]
    pub fn trace(&self) -> Vec<Event> {
        let read = |name| fs::read_to_string(self.root.join(name)).unwrap_or_default();
        let text = read("trace.old") + &read("trace");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The next number of a series, from 1.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn number(&self, series: &str) -> Result<u32> {
        let path = self.root.join("numbers").join(series);
        let next = || -> io::Result<u32> {
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            let mut text = [0; 16];
            let length = file.read_at(&mut text, 0)?;
            let last = std::str::from_utf8(&text[..length]).unwrap_or_default();
            let number = last.trim().parse::<u32>().unwrap_or(0).checked_add(1).unwrap_or(1);
            file.write_all_at(format!("{number:<10}\n").as_bytes(), 0)?;
            Ok(number)
        };
        next().doing_with(|| format!("cannot write {}", path.display()))
    }

    /// The machine's secret: of its machine-id(5) where it has one, so that what is derived from it stays
    /// the same; else one that this store makes up. Never shown.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn secret(&self) -> Result<[u8; 16]> {
        if let Some(id) =
            fs::read_to_string("/etc/machine-id").ok().and_then(|t| u128::from_str_radix(t.trim(), 16).ok())
        {
            // Not the id itself: machine-id(5) asks for something derived from it.
            return Ok((id ^ u128::from_be_bytes(*b"vimage machine.1")).to_be_bytes());
        }
        let path = self.root.join("secret");
        loop {
            if let Some(secret) = fs::read(&path).ok().and_then(|b| b.try_into().ok()) {
                return Ok(secret);
            }
            let mut secret = [0; 16];
            rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
                .doing("cannot make a secret")?;
            let new = self.root.join(format!("secret.{}", std::process::id()));
            let doing = || format!("cannot write {}", path.display());
            let made = File::options().write(true).create_new(true).mode(0o600).open(&new);
            made.and_then(|mut f| f.write_all(&secret)).doing_with(doing)?;
            // A link, so that the first of several makers wins.
            let linked = fs::hard_link(&new, &path);
            fs::remove_file(&new).doing_with(doing)?;
            match linked {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e).doing_with(doing),
                _ => {}
            }
        }
    }
}
