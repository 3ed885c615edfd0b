//! Processes: which one it is, what it is to become, how it ended.

use std::{
    collections::BTreeSet,
    ffi::{CString, OsStr, OsString},
    fs,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use kernel::{
    pidfd,
    signal::Signals,
    step::{End, Exec, Step},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid},
};
use vimage::{Context as _, Error, ErrorKind, Result};

use crate::{cgroup, record::ProcessId};

/// A command to run in a jail.
#[derive(Debug, Default)]
pub struct Command {
    /// The program and its arguments; a program without a slash is looked for along PATH.
    pub argv: Vec<OsString>,
    /// The program, where its first argument says something else: a login shell's is `-sh`.
    pub program: Option<OsString>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// The directory to start in; the jail's root by default.
    pub dir: Option<OsString>,
    /// A directory to start in if it is there and can be entered, else in the other.
    pub home: Option<OsString>,
    /// The user, group and supplementary groups; the jail's root by default.
    pub user: Option<(u32, u32, Vec<u32>)>,
    /// Whether nobody waits for it: it gets a session of its own, too.
    pub background: bool,
    /// Whether it gets a session of its own, so that the caller's controlling terminal is out of its reach.
    pub session: bool,
    /// The terminal that becomes its standard input, output, error output, and its controlling terminal.
    pub terminal: Option<Rc<OwnedFd>>,
    /// Which of standard input, output and error output stay the caller's all the same.
    pub keeps: [bool; 3],
    /// What becomes its standard input.
    pub input: Option<Rc<OwnedFd>>,
    /// What becomes its standard output, and, if nothing else does, its error output.
    pub output: Option<Rc<OwnedFd>>,
    /// What becomes its error output.
    pub errors: Option<Rc<OwnedFd>>,
}

/// A command that runs in a jail.
#[derive(Debug)]
pub struct Running {
    pidfd: OwnedFd,
    reaper: Reaper,
    /// The jail's init, if it was started together with the command: it is our child.
    init: Option<OwnedFd>,
}

/// Who collects a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaper {
    /// We do: it is our child.
    Us,
    /// The jail's init does; the kernel keeps the status with the pidfd (Linux 6.15).
    Init,
}

/// What a command that was waited for came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has ended, with this wait status.
    Ended(i32),
    /// It runs on, and its time is over.
    Late,
    /// It runs on, and this signal has come, by its number.
    Signal(i32),
}

impl Command {
    /// A command with the caller's environment.
    #[must_use]
    pub fn new(argv: Vec<OsString>) -> Self {
        Self { argv, env: std::env::vars_os().collect(), ..Self::default() }
    }

    /// A command as a line of jail(8) says it: by the shell if it has a character special to it, else split at blanks;
    /// with an `&` at its end in the background.
    #[must_use]
    pub fn line(line: &str) -> Self {
        let line = line.trim_end();
        let alone = line.strip_suffix('&');
        Self { background: alone.is_some(), ..Self::new(words(alone.unwrap_or(line))) }
    }

    /// Sets a variable of the environment, or takes it out: a program may look at the first of several.
    pub(crate) fn set(&mut self, name: &str, value: Option<OsString>) {
        self.env.retain(|(other, _)| other != name);
        self.env.extend(value.map(|value| (name.into(), value)));
    }

    /// The steps of the process, from where it is the jail's root, and its end.
    ///
    /// # Errors
    /// A null byte in an argument.
    pub(crate) fn program(&self) -> Result<(Vec<Step>, End)> {
        let text = |s: &OsStr| CString::new(s.as_bytes()).doing("a null byte in the command");
        let mut steps = vec![Step::Signals, Step::Private];
        if self.session || self.background || self.terminal.is_some() {
            steps.push(Step::Session);
        }
        if let Some(terminal) = &self.terminal {
            let ours = (0..3).zip(self.keeps).filter(|(_, keep)| !keep).map(|(n, _)| n);
            steps.extend(ours.map(|n| Step::Dup(terminal.clone(), n)));
            if !self.keeps[0] {
                steps.push(Step::Terminal);
            }
        }
        let files =
            [&self.input, &self.output, if self.errors.is_some() { &self.errors } else { &self.output }];
        let files = (0..3).zip(files).filter_map(|(n, file)| Some((n, file.as_ref()?)));
        steps.extend(files.map(|(n, file)| Step::Dup(file.clone(), n)));
        if let Some((uid, gid, groups)) = &self.user {
            steps.push(Step::Ids { uid: *uid, gid: *gid, groups: groups.clone() });
        }
        // From here on the jail's own links are followed.
        steps.push(Step::Close);
        steps.push(Step::Chdir(self.dir.as_deref().map_or_else(|| Ok(c"/".into()), text)?));
        steps.extend(self.home.as_deref().map(text).transpose()?.map(Step::Home));
        let argv = self.argv.iter().map(|a| text(a)).collect::<Result<Vec<_>>>()?;
        let env = self.env.iter().map(|(name, value)| {
            let mut both = name.clone();
            both.push("=");
            both.push(value);
            text(&both)
        });
        let env = env.collect::<Result<Vec<_>>>()?;
        let end = End::Exec(self.candidates()?, Exec::new(argv, env));
        Ok((steps, end))
    }

    /// The paths at which the program may be, as execvp(3) looks for it.
    fn candidates(&self) -> Result<Vec<CString>> {
        let name =
            self.program.as_ref().or_else(|| self.argv.first()).map(|a| a.as_bytes()).unwrap_or_default();
        let text = |bytes: Vec<u8>| CString::new(bytes).doing("a null byte in the command");
        if name.contains(&b'/') {
            return Ok(vec![text(name.to_vec())?]);
        }
        let path = self.env.iter().find(|(n, _)| n == "PATH").map(|(_, v)| v.as_bytes());
        let path = path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        path.split(|b| *b == b':')
            .map(|dir| text([if dir.is_empty() { b"." } else { dir }, b"/", name].concat()))
            .collect()
    }
}

impl Running {
    pub(crate) fn new(pidfd: OwnedFd, reaper: Reaper) -> Self {
        Self { pidfd, reaper, init: None }
    }

    pub(crate) fn with_init(self, init: Option<OwnedFd>) -> Self {
        Self { init, ..self }
    }

    /// Whether it is our child, whose status is lost when it is collected unasked.
    pub(crate) fn is_ours(&self) -> bool {
        self.reaper == Reaper::Us
    }

    /// The command's pidfd: it turns readable when the command ends.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the end of the command. Returns its wait status, as waitpid(2).
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn wait(&self) -> Result<i32> {
        let outcome = self.outcome(None, None)?;
        self.collect_init();
        match outcome {
            Outcome::Ended(status) => Ok(status),
            _ => Err(Error::new(ErrorKind::Failed, "the command was not waited for")),
        }
    }

    /// As [`Running::wait`], until a deadline or a signal, and without a look at the init.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(crate) fn outcome(&self, deadline: Option<Instant>, signals: Option<&Signals>) -> Result<Outcome> {
        // The status is there when the jail's init has collected it: what is asked for then is not the end of the
        // process (POLLIN) but this (POLLHUP, Linux 6.9).
        let ours = self.reaper == Reaper::Us;
        let event = if ours { PollFlags::IN } else { PollFlags::empty() };
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // A time that the kernel cannot count is no limit.
            let within: Option<rustix::time::Timespec> = left.and_then(|left| left.try_into().ok());
            let mut fds = vec![PollFd::new(&self.pidfd, event)];
            fds.extend(signals.map(|signals| PollFd::new(signals, PollFlags::IN)));
            match poll(&mut fds, within.as_ref()) {
                Ok(0) => return Ok(Outcome::Late),
                Err(e) if e != rustix::io::Errno::INTR => return Err(e).doing("cannot wait for the command"),
                _ => {}
            }
            let ready = |n: usize| fds.get(n).is_some_and(|fd| !fd.revents().is_empty());
            if ours && ready(0) {
                let status = kernel::spawn::reap(self.pidfd.as_fd()).doing("cannot wait for the command")?;
                return Ok(Outcome::Ended(status));
            }
            if let Some(signals) = signals.filter(|_| !ready(0))
                && let Some(signal) = signals.next().doing("cannot read a signal")?
            {
                return Ok(Outcome::Signal(signal));
            }
            let status = if ours {
                None
            } else {
                pidfd::exit_status(&self.pidfd).doing("cannot read the command's status")?
            };
            if let Some(status) = status {
                return Ok(Outcome::Ended(status));
            }
            // A kernel that wakes us too early does so again.
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Kills the command and all that it has started and not left to others, and collects it if that is ours to do.
    pub fn kill(&self) {
        // What is stopped starts nothing more. Any of them may have ended by itself.
        let _gone = pidfd_send_signal(&self.pidfd, Signal::STOP);
        let mut family = Vec::new();
        let mut parents: Vec<i32> =
            pidfd::pid(&self.pidfd).map(|pid| pid.as_raw_nonzero().get()).into_iter().collect();
        while let Some(parent) = parents.pop() {
            for (pid, process) in open_listed(|| children(parent)) {
                let _gone = pidfd_send_signal(&process, Signal::STOP);
                parents.push(pid);
                family.push(process);
            }
        }
        for process in family.iter().chain([&self.pidfd]) {
            let _gone = pidfd_send_signal(process, Signal::KILL);
        }
        if self.reaper == Reaper::Us {
            let _status = kernel::spawn::reap(self.pidfd.as_fd());
        }
    }

    /// Collects the jail's init if it ends now, being alone. Left to the host's init it would hold the jail until that
    /// gets round to collecting it.
    pub(crate) fn collect_init(&self) {
        if let Some(init) = &self.init {
            let moment = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            if poll(&mut [PollFd::new(init, PollFlags::IN)], Some(&moment)).is_ok_and(|ready| ready > 0) {
                let _status = kernel::spawn::reap(init.as_fd());
            }
        }
    }
}

/// Opens the processes of a list, which is read twice: a pid that was used again since is no longer in it.
pub(crate) fn open_listed(list: impl Fn() -> Vec<i32>) -> Vec<(i32, OwnedFd)> {
    let open = |pid| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?));
    let mut open: Vec<_> = list().into_iter().filter_map(open).collect();
    let there: BTreeSet<_> = list().into_iter().collect();
    open.retain(|(pid, _)| there.contains(pid));
    open
}

/// The children of a process, proc_pid_task(5).
fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists: Vec<_> =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// The identity of an open process.
///
/// # Errors
/// It is gone.
pub(crate) fn identify(process: BorrowedFd<'_>) -> Result<ProcessId> {
    let pid = pidfd::pid(process).doing("the process is gone")?.as_raw_nonzero().get();
    Ok(ProcessId { pid, inode: pidfd::inode(process).unwrap_or(0) })
}

/// The identity of this process; `None` if the kernel does not say.
pub(crate) fn myself() -> Option<ProcessId> {
    let own = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).ok()?;
    identify(own.as_fd()).ok()
}

/// Opens a process; `None` if it has ended.
#[must_use]
pub fn open(id: &ProcessId) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(id.pid)?, PidfdFlags::empty()).ok()?;
    (pidfd::inode(&process).unwrap_or(0) == id.inode && is_alive(process.as_fd())).then_some(process)
}

/// Kills a process, unless it has ended.
pub(crate) fn kill(id: &ProcessId) {
    if let Some(process) = open(id) {
        let _gone = pidfd_send_signal(&process, Signal::KILL);
    }
}

/// Keeps this process's memory from being looked at by a jail, in which new processes use it until they call
/// exec; one that has is its own again. PR_SET_DUMPABLE(2const).
///
/// # Errors
/// None that is known.
pub(crate) fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .doing("cannot hide from the jail")
}

/// Whether an open process has not ended.
pub(crate) fn is_alive(process: BorrowedFd<'_>) -> bool {
    !ends(process, Duration::ZERO)
}

/// Whether an open process ends within a time.
pub(crate) fn ends(process: BorrowedFd<'_>, within: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    // One that cannot be asked is no longer there.
    let within = within.try_into().unwrap_or_default();
    poll(&mut fds, Some(&within)).map_or(true, |ready| ready > 0)
}

/// Any living process of a cgroup, opened; `None` if it has none.
#[must_use]
pub fn any(dir: &Path) -> Option<(i32, OwnedFd)> {
    cgroup::pids(dir).into_iter().find_map(|pid| {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // A pid that was used again since it was read is no longer in the cgroup.
        (is_alive(process.as_fd()) && cgroup::pids(dir).contains(&pid)).then_some((pid, process))
    })
}

/// Collects all children of ours that have ended, so that none of them holds a jail.
pub fn collect() {
    while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
}

/// The words of a command line: for the shell if it has a character special to it, else split at blanks.
fn words(line: &str) -> Vec<OsString> {
    const SPECIAL: &str = "\"'$&()*;<>?[]\\`{}|~!\n";
    if line.contains(|c| SPECIAL.contains(c)) {
        return vec!["/bin/sh".into(), "-c".into(), line.into()];
    }
    line.split_whitespace().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_the_shell_or_not_and_may_be_left_alone() {
        let read = |line: &str| {
            let command = Command::line(line);
            let words: Vec<_> = command.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            (words.join("|"), command.background)
        };
        assert_eq!(read("sleep 10"), ("sleep|10".into(), false));
        assert_eq!(read("sleep 10 & "), ("sleep|10".into(), true));
        assert_eq!(read("a && b&"), ("/bin/sh|-c|a && b".into(), true));
        assert_eq!(read("a & b"), ("/bin/sh|-c|a & b".into(), false));
        assert_eq!(read(" & "), (String::new(), true));
    }
}
