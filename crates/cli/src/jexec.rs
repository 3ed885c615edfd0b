//! jexec(8): run a command in a jail.

use std::{ffi::OsString, os::fd::OwnedFd, rc::Rc};

use ::jail::{
    Place,
    account::{self, Whose},
    process::Command,
};
use rustix::{
    fs::{Gid, Mode, OFlags, Uid, fchown, open},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
};
use vimage::{Context as _, Error, Result};

use crate::{
    ExitCode, close,
    flags::{Call, Flag, Tool, Word},
    inside, misused, open as open_store, relay, sealed,
};

/// The tool.
pub(crate) static TOOL: Tool = Tool {
    name: "jexec",
    about: "run a command in a jail",
    synopsis: &["[-l] [-d DIR] [-u USER | -U USER] JAIL [COMMAND ...]"],
    doc: &[
        "Runs a command in the jail of a name or number, with the rights that the jail has, and waits for its \
         end. Without a command, the shell of the user is run.",
        "If the jail has no process, this is its first one, and the jail's mounts and pid namespace are made \
         with it; they end with its last process.",
        "No open file of the caller but standard input, output and error output comes in, and of these no \
         terminal: in place of one the command has a terminal of the jail's own, whose characters and size \
         are passed on both ways.",
        "In that terminal ^C, ^Z and the like are characters for what runs inside: ^Z stops a job of a shell there, \
         and neither jexec nor a command that has no shell above it. To stop jexec itself, send it SIGSTOP.",
        "SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT and SIGWINCH are forwarded to the command.",
    ],
    flags: &[
        Flag {
            short: "l",
            help: "a clean environment, and a login shell",
            doc: "Runs the command in a clean environment of HOME, SHELL, TERM, USER and PATH, as at a login, in \
                  the user's home directory. Without a command, the shell is a login shell.",
            ..Flag::BASE
        },
        Flag {
            short: "d",
            value: Some("DIR"),
            help: "the directory to start in",
            doc: "Starts the command in this directory of the jail. By default it is the jail's root, or with -l, \
                  -u or -U the user's home directory, if that is there.",
            ..Flag::BASE
        },
        Flag {
            short: "u",
            value: Some("USER"),
            takes: Word::User,
            help: "a user of the host",
            doc: "Runs the command as this user of the host's passwd(5), with the same number in the jail.",
            ..Flag::BASE
        },
        Flag {
            short: "U",
            value: Some("USER"),
            help: "a user of the jail",
            doc: "Runs the command as this user of the jail's own passwd(5).",
            ..Flag::BASE
        },
    ],
    words: &[Word::Jail],
    mixed: false,
    exit: "That of the command; 128 and the number of the signal, if one ended it; 1 if the command could not \
           be run.",
    diagnostics: &[],
    examples: &[
        ("jexec web", "A shell in the jail web."),
        ("jexec -l -U www web", "A login shell of the jail's user www."),
    ],
    run,
};

fn run(call: &mut Call<'_>) -> Result<ExitCode> {
    let words = std::mem::take(&mut call.words);
    let Some((jail, argv)) = words.split_first() else { return Ok(misused(call.tool)) };
    let jail = crate::flags::text(jail.clone())?;
    let whose = match (call.value("u"), call.value("U")) {
        (Some(_), Some(_)) => {
            return Err(Error::usage("-u and -U exclude each other")
                .hint("-u is a user of the host, -U a user of the jail"));
        }
        (Some(user), None) => Whose::Host(user),
        (None, Some(user)) => Whose::Jail(user),
        (None, None) => Whose::Root,
    };
    let clean = call.has("l");
    enter(call, &jail, |place| {
        let user = account::find(place, whose)?;
        let mut command = account::command(argv, user.as_ref(), clean, whose != Whose::Root);
        command.dir = call.value("d").map(OsString::from);
        if command.dir.is_some() {
            command.home = None;
        }
        Ok(command)
    })
}

/// Runs a tool of ours that a jail has, for what is asked of the jails that it has made.
///
/// # Errors
/// It cannot be entered, or has no such tool.
pub(crate) fn run_in(call: &Call<'_>, jail: &str, argv: Vec<OsString>) -> Result<ExitCode> {
    enter(call, jail, |_| Ok(inside::tool(argv)))
        .hint("what a jail has made itself is asked for by its own tools")
}

/// Runs a command in a jail to its end, in a terminal of the jail's own where ours is one.
fn enter(
    call: &Call<'_>,
    jail: &str,
    command: impl FnOnce(&Place<'_>) -> Result<Command>,
) -> Result<ExitCode> {
    let ours = relay::terminals();
    let jails = open_store(call)?;
    if let Ok(record) = jails.read(jail) {
        sealed::seal(&record.settings)?;
    }
    let signals = relay::catch()?;
    let mut master = None;
    let started = jails.enter_with(jail, |place| {
        let mut command = command(place)?;
        let uid = command.user.as_ref().map_or(0, |(uid, _, _)| *uid);
        if ours.contains(&true) {
            let (end, slave) = terminal(place, uid)?;
            relay::imitate(&end, ours);
            master = Some(end);
            command.terminal = Some(Rc::new(slave));
            command.keeps = ours.map(|is| !is);
        }
        // /dev/tty would be our terminal even where no descriptor of it came in.
        command.session = has_terminal();
        Ok(command)
    });
    close(call.tool, &jails, started.is_ok());
    let running = started?;
    let status = relay::relay(&running, &signals, master, ours)?;
    Ok(ExitCode(relay::exit_code(status)))
}

/// A new terminal of the jail, of a user's: its two ends.
fn terminal(place: &Place<'_>, uid: u32) -> Result<(OwnedFd, OwnedFd)> {
    let terminals = place.terminals()?.ok_or_else(|| {
        Error::unsupported("the jail has no terminals of its own, and ours does not go in")
            .hint(format!("jexec {} COMMAND </dev/null 2>&1 | cat does without", place.of.name))
    })?;
    let master = subsystems::root::open_terminal(&terminals)?;
    let doing = "cannot open a terminal of the jail";
    unlockpt(&master).doing(doing)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .doing(doing)?;
    let owner = subsystems::user::nearest_ids(place.of).map_or(uid, |ids| ids.base.saturating_add(uid));
    // Its group is that of terminals: the file system says so.
    fchown(&slave, Some(Uid::from_raw(owner)), None::<Gid>).doing("cannot give the terminal to the user")?;
    Ok((master, slave))
}

/// Whether we have a controlling terminal.
fn has_terminal() -> bool {
    open("/dev/tty", OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}
