//! The lock on a folder, and who holds it: flock(2) on a file that nobody else may open.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{major, minor},
    io::Errno,
    process::{Pid, test_kill_process},
};
use vimage::{Context as _, Error, ErrorKind, Result};

/// Whether to wait for a lock.
pub enum Wait<'w> {
    /// As long as it takes.
    Yes,
    /// Not for anybody who lives. A command that was killed leaves a lock to the process that it was making, which
    /// dies with it and takes a moment for that.
    No,
    /// As long as it takes, but whoever waits is called with the holder's process, if it can be seen, after each
    /// such time: it may do something about it, or give up.
    Or(Duration, &'w mut dyn FnMut(Option<i32>) -> Result<()>),
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "Yes",
            Self::No => "No",
            Self::Or(..) => "Or",
        })
    }
}

/// Locks a folder; `None` if it is gone, or locked and we do not wait.
pub(crate) fn lock(dir: &Path, mut wait: Wait<'_>) -> Result<Option<File>> {
    let path = dir.join("lock");
    let doing = || format!("cannot lock {}", dir.display());
    loop {
        let mut options = File::options();
        let mut file =
            match options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                other => other.doing_with(|| format!("cannot open {}", path.display()))?,
            };
        match &mut wait {
            Wait::Yes => file.lock().doing_with(doing)?,
            Wait::No if outlive(&file) => {}
            Wait::No => return Ok(None),
            Wait::Or(every, act) => match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => file = insist(file, *every, act, &doing)?,
                Err(TryLockError::Error(e)) => return Err(e).doing_with(doing),
            },
        }
        // The one before us may have removed the folder, and another made it anew, while we waited.
        let id = |m: fs::Metadata| (m.dev(), m.ino());
        match (file.metadata().map(id), fs::metadata(&path).map(id)) {
            (Ok(ours), Ok(there)) if ours == there => return Ok(Some(file)),
            (_, Err(e)) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
    }
}

/// Locks a file unless somebody who lives has it.
fn outlive(file: &File) -> bool {
    /// Between two looks.
    const PAUSE: Duration = Duration::from_micros(500);
    let start = Instant::now();
    while file.try_lock().is_err() {
        let patience = match holder(file).and_then(Pid::from_raw) {
            Some(pid) if test_kill_process(pid) != Err(Errno::SRCH) => return false,
            Some(_) => DEAD,
            // In a pid namespace of our own the dead are not shown either.
            None => HIDDEN,
        };
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// How long what a killed command was making may take to die; and whoever cannot be seen, perhaps because it is dead.
const DEAD: Duration = Duration::from_millis(250);
const HIDDEN: Duration = Duration::from_millis(20);

/// Waits in another thread, and so in the kernel's queue: who only tried now and then would never have its turn
/// among many.
fn insist(
    file: File,
    every: Duration,
    act: &mut dyn FnMut(Option<i32>) -> Result<()>,
    doing: &dyn Fn() -> String,
) -> Result<File> {
    let watched = file.try_clone().doing_with(doing)?;
    let (send, receive) = mpsc::channel();
    let waiter = thread::Builder::new().spawn(move || {
        let locked = file.lock().map(|()| file);
        // Nobody listens any more: the lock goes with the descriptor.
        let _given_up = send.send(locked);
    });
    let waiter = waiter.doing_with(doing)?;
    loop {
        match receive.recv_timeout(every) {
            Ok(locked) => {
                // Of one thread alone: who has others cannot enter every namespace.
                let _ended = waiter.join();
                return locked.doing_with(doing);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => act(holder(&watched))?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Failed, "who waited has died")).doing_with(doing);
            }
        }
    }
}

/// The process that holds the lock on a file, by proc_locks(5); `None`: it is in another pid namespace.
fn holder(file: &File) -> Option<i32> {
    let meta = file.metadata().ok()?;
    let id = format!("{:02x}:{:02x}:{}", major(meta.dev()), minor(meta.dev()), meta.ino());
    // It is read by and by, and while others come and go one that stays can be left out.
    (0..LOOKS).find_map(|_| listed(&fs::read_to_string("/proc/locks").ok()?, &id))
}

/// How often the list of locks is read for one that is not in it.
const LOOKS: usize = 3;

/// The process that a list of locks has for the lock on a file.
fn listed(locks: &str, id: &str) -> Option<i32> {
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 4711 00:18:29 0 EOF`; who waits has an arrow before the kind.
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, at, ..] = fields[..] else { return None };
        (at == id).then(|| pid.parse().ok()).flatten().filter(|pid| *pid > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_the_holder_and_can_give_up_or_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path(), Wait::Yes).unwrap().unwrap();
        assert!(lock(dir.path(), Wait::No).unwrap().is_none());
        let own = std::process::id().try_into().ok();
        let every = Duration::from_millis(10);
        let mut give_up = |holder| {
            assert_eq!(holder, own);
            Err(Error::usage("enough"))
        };
        assert!(lock(dir.path(), Wait::Or(every, &mut give_up)).is_err());
        let mut held = Some(held);
        let mut free = |_| {
            held.take();
            Ok(())
        };
        assert!(lock(dir.path(), Wait::Or(every, &mut free)).unwrap().is_some());
    }
}
