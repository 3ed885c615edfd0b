//! The commands around a jail's life, jail(8): which there are, and how they are run.

use std::{
    env,
    fmt::Display,
    fs,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use kernel::{
    act::Act,
    signal::Signals,
    spawn::{How, spawn},
    step::Program,
};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2},
    process::Signal,
};
use vimage::{
    Ask, Cause as _, Context as _, Error, ErrorKind, Kind, Param, Result, Settings, Subsystem, When,
};

use crate::{
    Place,
    account::{self, Whose},
    process::{Command, Outcome, Reaper, Running},
    users::{self, User, Who},
};

/// The subsystem of these commands: it makes nothing.
#[derive(Debug)]
pub struct Hooks;

/// Those that run on the host, and when.
pub(crate) const PREPARE: &str = "exec.prepare";
pub(crate) const PRESTART: &str = "exec.prestart";
pub(crate) const CREATED: &str = "exec.created";
pub(crate) const POSTSTART: &str = "exec.poststart";
pub(crate) const PRESTOP: &str = "exec.prestop";
pub(crate) const POSTSTOP: &str = "exec.poststop";
pub(crate) const RELEASE: &str = "exec.release";
/// Those that run in the jail.
pub(crate) const START: &str = "exec.start";
pub(crate) const STOP: &str = "exec.stop";

const ALL: [&str; 9] = [PREPARE, PRESTART, CREATED, START, POSTSTART, PRESTOP, STOP, POSTSTOP, RELEASE];

const fn commands(name: &'static str, help: &'static str, doc: &'static str) -> Param {
    Param { name, kind: Kind::List { commas: false }, help, doc, ..Param::BASE }
}

static PARAMS: &[Param] = &[
    commands(
        PREPARE,
        "commands to run on the host before anything is made",
        "Commands that are run on the host, one after another, before anything of the jail is made: they may make \
         its files. One that contains a character special to the shell is given to /bin/sh -c; any other is split at \
         blanks. JNAME and JPATH are in its environment, and JID as soon as the jail has a number. If one fails, the \
         jail is not made.",
    ),
    commands(
        PRESTART,
        "commands to run on the host before the jail is made",
        "As exec.prepare, and after it: here FreeBSD has mounted the jail's file systems and added its addresses, \
         which is done later here, when the jail is made.",
    ),
    commands(
        CREATED,
        "commands to run on the host when the jail is made",
        "Commands that are run on the host when the jail has been made and before anything runs in it. If one fails, \
         the jail is removed again.",
    ),
    Param {
        when: When::Create,
        ..commands(
            START,
            "commands to run in the new jail",
            "Commands that are run in the new jail, one after another, before command. If one fails, the jail is \
             removed again.",
        )
    },
    commands(
        POSTSTART,
        "commands to run on the host when the jail has started",
        "Commands that are run on the host after those of exec.start and command. If one fails, the jail is removed \
         again.",
    ),
    commands(
        PRESTOP,
        "commands to run on the host before the jail is removed",
        "Commands that are run on the host before the jail is removed. If one fails, the jail is not removed. \
         jail -R runs none.",
    ),
    commands(
        STOP,
        "commands to run in the jail before it is removed",
        "Commands that are run in the jail before it is removed, after those of exec.prestop. If one fails, the jail \
         is not removed.",
    ),
    commands(
        POSTSTOP,
        "commands to run on the host when the jail is removed",
        "Commands that are run on the host after the jail was removed. JID is the number that it had.",
    ),
    commands(RELEASE, "commands to run on the host at the very end", "As exec.poststop, and after it."),
    Param {
        name: "exec.clean",
        kind: Kind::Bool,
        default: Some("false"),
        help: "run commands in the jail in a clean environment",
        doc: "Whether exec.start, command and exec.stop run in an environment of HOME, SHELL, TERM, USER and \
              PATH alone, as at a login. Otherwise they have that of jail(8), and JID, JNAME and JPATH.",
        ..Param::BASE
    },
    Param {
        name: "exec.jail_user",
        kind: Kind::Text { max: 255 },
        help: "the jail's user that runs commands in the jail",
        doc: "The user of the jail's own passwd(5) that exec.start, command and exec.stop run as, at home. By default \
              they run as the jail's root.",
        ..Param::BASE
    },
    Param {
        name: "exec.system_jail_user",
        kind: Kind::Bool,
        default: Some("false"),
        help: "exec.jail_user is a user of the host",
        doc: "Whether exec.jail_user is looked for in the host's passwd(5), and not in the jail's.",
        ..Param::BASE
    },
    Param {
        name: "exec.system_user",
        kind: Kind::Text { max: 255 },
        help: "the host's user that runs commands on the host",
        doc: "The user of the host that exec.prepare, exec.prestart and the like run as. By default it is the one \
              that runs jail(8).",
        ..Param::BASE
    },
    Param {
        name: "exec.timeout",
        kind: Kind::Int { min: 0, max: 1 << 31 },
        help: "how many seconds a command may take",
        doc: "How many seconds each of these commands may take. One that takes longer is killed, and has failed. By \
              default, and with 0, they may take as long as they like.",
        ..Param::BASE
    },
    Param {
        name: "exec.consolelog",
        kind: Kind::Text { max: 4095 },
        help: "a file for what commands in the jail print",
        doc: "A file of the host to which what exec.start, command and exec.stop print is appended. It is made if it \
              is not there. In the tree of a jail no symbolic link is followed.",
        ..Param::BASE
    },
    Param {
        name: "stop.timeout",
        kind: Kind::Int { min: 0, max: 1 << 31 },
        default: Some("10"),
        help: "how many seconds the jail's processes have to end",
        doc: "How many seconds the processes of a jail that is removed have to end after a SIGTERM, before they are \
              killed. With 0 they are killed at once, as always by jail -R.",
        ..Param::BASE
    },
];

impl Subsystem<Act> for Hooks {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn about(&self) -> &'static str {
        "commands around a jail's life"
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    fn after(&self) -> &'static [&'static str] {
        &[crate::core::NAME]
    }

    fn check(&self, ask: &Ask<'_>) -> Result<()> {
        for name in ALL {
            if ask.settings.list(name).iter().any(|line| Command::line(line).argv.is_empty()) {
                return Err(Error::usage(format!("{name}: an empty command")));
            }
        }
        host_user(&ask.settings).map(drop)?;
        let log = ask.settings.text("exec.consolelog").filter(|log| !log.is_empty() && !log.starts_with('/'));
        log.map_or(Ok(()), |log| {
            Err(Error::usage(format!("exec.consolelog: {log}: not an absolute pathname")))
        })
    }
}

/// The host's user for commands on the host.
fn host_user(settings: &Settings) -> Result<Option<User>> {
    let Some(name) = settings.text("exec.system_user").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let user = users::look_up(&users::host()?, Who::Named(name)).doing("exec.system_user")?;
    let missing = || account::no_such_user(name).doing("exec.system_user");
    user.ok_or_else(missing).map(Some)
}

/// The tree of a jail, of those whose roots have no link in their names, into which a path leads, and its part below;
/// `None`: into none of them. Links on the way are the host's, and are followed up to where they lead into a tree.
fn below<'r>(path: &Path, roots: &'r [PathBuf]) -> Option<(&'r Path, PathBuf)> {
    /// How many links the kernel follows, path_resolution(7).
    const LINKS: usize = 40;
    let (mut at, mut rest, mut links) = (PathBuf::new(), path.to_owned(), 0);
    loop {
        if let Some(root) = roots.iter().find(|root| at.starts_with(root)) {
            return Some((root, at.strip_prefix(root).ok()?.join(rest)));
        }
        let mut parts = rest.components();
        let part = parts.next()?;
        let left = parts.as_path().to_owned();
        let next = at.join(part);
        rest = match (part, fs::read_link(&next)) {
            (Component::ParentDir, _) => {
                at.pop();
                left
            }
            (Component::Normal(_), Ok(target)) if links < LINKS => {
                links += 1;
                // One that is absolute begins anew.
                target.join(left)
            }
            _ => {
                at = next;
                left
            }
        };
        if rest.is_absolute() {
            at.clear();
        }
    }
}

/// Whose commands they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub name: &'a str,
    /// It may have none yet.
    pub jid: Option<u32>,
    pub settings: &'a Settings,
    /// What ends the run of its commands early.
    pub signals: Option<&'a Signals>,
}

/// What is said of a command that failed: jail(8)'s words.
pub const FAILED: &str = "failed";
/// Of one that took too long.
pub const TIMED_OUT: &str = "timed out";

/// Of one that a signal ended.
#[must_use]
pub fn exited_on(signal: impl Display) -> String {
    format!("exited on signal {signal}")
}

/// Catches what asks us to end, so that what was begun is undone first.
///
/// # Errors
/// The kernel refused.
pub fn catch() -> Result<Signals> {
    Signals::block(&[Signal::INT, Signal::TERM, Signal::HUP]).doing("cannot catch signals")
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Failed, "interrupted")
}

impl Of<'_> {
    /// Whether any of these are to be run.
    pub(crate) fn has(&self, hooks: &[&str]) -> bool {
        hooks.iter().any(|hook| !self.settings.list(hook).is_empty())
    }

    /// Whether commands in the jail run as its root, with what the caller has.
    pub(crate) fn is_plain(&self) -> bool {
        let text = |name| self.settings.text(name).is_some_and(|text| !text.is_empty());
        !(self.settings.bool("exec.clean") || text("exec.jail_user") || text("exec.consolelog"))
            && self.timeout().is_none()
    }

    /// Runs the commands of one kind on the host, one after another.
    ///
    /// # Errors
    /// The first that fails.
    pub(crate) fn run(&self, hook: &str) -> Result<()> {
        self.settings.list(hook).iter().try_for_each(|line| {
            self.go_on()?;
            let mut command = Command::line(line);
            self.tell(&mut command);
            command.dir = env::current_dir().ok().map(Into::into);
            if let Some(user) = host_user(self.settings)? {
                command.set("HOME", Some(user.home.into()));
                command.set("SHELL", Some(user.shell.into()));
                command.user = Some((user.uid, user.gid, user.groups));
            }
            let (steps, end) = command.program()?;
            let child = spawn(Program::new(steps, end), How::default()).doing_with(|| line.clone())?;
            let mut pidfds = child.finish().map_err(|error| error.cause())?.pidfds;
            let gone = || Error::new(ErrorKind::Failed, format!("{line}: it was not started"));
            let running = Running::new(pidfds.pop().ok_or_else(gone)?, Reaper::Us);
            self.succeed(&running, &command)
        })
    }

    /// Whether nobody has asked us to end since the last command.
    ///
    /// # Errors
    /// `interrupted`.
    pub(crate) fn go_on(&self) -> Result<()> {
        match self.signals.map(Signals::next).transpose().doing("cannot read a signal")?.flatten() {
            Some(_) => Err(interrupted()),
            None => Ok(()),
        }
    }

    /// Puts the jail into a command's environment. The caller's may tell of another: it may be such a command itself.
    pub(crate) fn tell(&self, command: &mut Command) {
        command.set("JID", self.jid.map(|jid| jid.to_string().into()));
        command.set("JNAME", Some(self.name.into()));
        command.set("JPATH", Some(self.settings.text("path").unwrap_or("/").into()));
    }

    /// A command in the jail as its settings want it to run.
    ///
    /// # Errors
    /// `NAME: no such user`; the console's file cannot be opened.
    pub(crate) fn inside(&self, place: &Place<'_>, wanted: &Command) -> Result<Command> {
        let clean = self.settings.bool("exec.clean");
        let named = self.settings.text("exec.jail_user").filter(|name| !name.is_empty());
        let whose = match named {
            Some(name) if self.settings.bool("exec.system_jail_user") => Whose::Host(name),
            Some(name) => Whose::Jail(name),
            None => Whose::Root,
        };
        let user = if clean || named.is_some() { account::find(place, whose)? } else { None };
        let mut command = account::command(&wanted.argv, user.as_ref(), clean, named.is_some());
        command.background = wanted.background;
        if !clean {
            self.tell(&mut command);
        }
        command.output = self.console(place)?;
        Ok(command)
    }

    /// The file for what commands in the jail print.
    fn console(&self, place: &Place<'_>) -> Result<Option<Rc<OwnedFd>>> {
        let Some(log) = self.settings.text("exec.consolelog").filter(|log| !log.is_empty()) else {
            return Ok(None);
        };
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = Mode::RUSR | Mode::WUSR;
        let doing = || format!("exec.consolelog: {log}");
        let is_file = |file: &OwnedFd| {
            fstat(file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
        };
        // A pipe that nobody reads would keep us waiting, and the jail locked.
        let now = flags | OFlags::NONBLOCK;
        // A file without a link on the way is what it looks like, whosever it is. Else all jails have to be known.
        let plain = openat2(CWD, log, now, mode, ResolveFlags::NO_SYMLINKS);
        if let Ok(file) = plain
            && is_file(&file)
        {
            return Ok(Some(Rc::new(file)));
        }
        // What is a jail's own may be a link that leads anywhere. The host's root is no jail's.
        let roots = place.roots()?.into_iter().filter_map(|path| fs::canonicalize(path).ok());
        let roots: Vec<_> = roots.filter(|root| root != Path::new("/")).collect();
        let Some((root, below)) = below(Path::new(log), &roots) else {
            return Ok(Some(Rc::new(open(log, flags, mode).doing_with(doing)?)));
        };
        let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat2(CWD, root, dir, Mode::empty(), ResolveFlags::empty()).doing_with(doing)?;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = openat2(root, below, now, mode, within).doing_with(doing)?;
        if !is_file(&file) {
            return Err(Error::new(ErrorKind::Failed, "not a file").doing(doing()));
        }
        Ok(Some(Rc::new(file)))
    }

    fn timeout(&self) -> Option<Duration> {
        let seconds = self.settings.int("exec.timeout").and_then(|n| u64::try_from(n).ok());
        seconds.filter(|n| *n > 0).map(Duration::from_secs)
    }

    /// How long the jail's processes have to end.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(
            self.settings.int("stop.timeout").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        )
    }

    /// Waits for a command, unless it is in the background; one that fails is an error in jail(8)'s words.
    ///
    /// # Errors
    /// `COMMAND: failed`, `COMMAND: exited on signal N`, `COMMAND: timed out`, `interrupted`.
    pub(crate) fn succeed(&self, running: &Running, command: &Command) -> Result<()> {
        let name = command.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let failed = |how: &str| Err(Error::new(ErrorKind::Failed, format!("{name}: {how}")));
        let deadline = self.timeout().map(|timeout| Instant::now() + timeout);
        if command.background {
            return Ok(());
        }
        let status = loop {
            match running.outcome(deadline, self.signals)? {
                Outcome::Ended(status) => break status,
                // The terminal tells the command, too: what comes of it is the command's affair, as shells have it.
                Outcome::Signal(signal) if signal == Signal::INT.as_raw() => {}
                outcome => {
                    running.kill();
                    return if outcome == Outcome::Late { failed(TIMED_OUT) } else { Err(interrupted()) };
                }
            }
        };
        match (status & 0x7f, status >> 8) {
            (0, 0) => Ok(()),
            (0, _) => failed(FAILED),
            (signal, _) => failed(&exited_on(signal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_of_the_host_lead_into_a_jail_and_not_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let root = dir.join("tree");
        fs::create_dir_all(root.join("log")).unwrap();
        // The jail's own.
        symlink("/etc", root.join("out")).unwrap();
        symlink("tree", dir.join("link")).unwrap();
        symlink(root.join("out"), dir.join("deep")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let roots = [dir.join("other"), root.clone()];
        let found = |path: &str| {
            let (of, path) = below(&dir.join(path), &roots)?;
            assert_eq!(of, root);
            Some(path)
        };
        for path in ["tree/log/c", "link/log/c", "log/../link/./log/c", "./tree//log/c"] {
            assert_eq!(found(path), Some("log/c".into()), "{path}");
        }
        for path in ["deep/c", "tree/out/c"] {
            assert_eq!(found(path), Some("out/c".into()), "{path}");
        }
        for path in ["treelog", "log/c", "loop/c", "../c"] {
            assert_eq!(found(path), None, "{path}");
        }
    }
}
