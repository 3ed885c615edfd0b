//! Whose account a command in a jail runs with, and what it finds in its environment then.

use std::ffi::OsString;

use vimage::{Error, ErrorKind, Result};

use crate::{
    Place,
    process::Command,
    users::{self, User, Who},
};

/// Whose account is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// The host's.
    Host(&'a str),
    /// The jail's.
    Jail(&'a str),
    /// The jail's root.
    Root,
}

/// No file of users has one of this name: jail(8)'s words.
#[must_use]
pub fn no_such_user(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{name}: no such user"))
}

/// The account that a command runs with; `None`: the jail's root, of whom no file tells.
///
/// # Errors
/// `NAME: no such user`; a file of users cannot be read.
pub fn find(place: &Place<'_>, whose: Whose<'_>) -> Result<Option<User>> {
    let (root, who) = match whose {
        Whose::Host(name) => (users::host()?, Who::Named(name)),
        Whose::Jail(name) => (place.root()?, Who::Named(name)),
        Whose::Root => (place.root()?, Who::Number(0)),
    };
    match (users::look_up(&root, who), who) {
        (Ok(None), Who::Named(name)) => {
            let error = no_such_user(name);
            Err(match whose {
                Whose::Host(_) => error.hint("it was looked for in the host's /etc/passwd"),
                _ => error.hint("it was looked for in the jail's own /etc/passwd"),
            })
        }
        // A jail without files of users has a root all the same.
        (Err(_), Who::Number(_)) => Ok(None),
        (found, _) => found,
    }
}

/// Where commands are looked for, as login(1) has it: `ENV_PATH` and, for root, `ENV_SUPATH` of login.defs(5).
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const ROOTS_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command of a user's, of whom `named` says whether he was asked for; without words, his shell. `clean`: in an
/// environment of HOME, SHELL, TERM, USER and PATH alone, and at home.
#[must_use]
pub fn command(argv: &[OsString], user: Option<&User>, clean: bool, named: bool) -> Command {
    let shell = user.map_or(users::SHELL, |u| u.shell.as_str());
    let home = user.map_or("/", |u| u.home.as_str());
    let mut command = Command::new(argv.to_vec());
    if command.argv.is_empty() {
        let name = shell.rsplit('/').next().unwrap_or(shell);
        command.argv = vec![if clean { format!("-{name}") } else { shell.to_owned() }.into()];
        command.program = Some(shell.into());
    }
    if clean {
        let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
        let name = user.map_or("root", |u| u.name.as_str());
        let path = if user.is_none_or(|u| u.uid == 0) { ROOTS_PATH } else { PATH };
        let values: [(&str, OsString); 5] = [
            ("HOME", home.into()),
            ("SHELL", shell.into()),
            ("TERM", term),
            ("USER", name.into()),
            ("PATH", path.into()),
        ];
        command.env = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
    }
    if named || clean {
        command.home = Some(home.into());
    }
    if let Some(user) = user.filter(|_| named) {
        command.user = Some((user.uid, user.gid, user.groups.clone()));
        if !clean {
            for (name, value) in [("HOME", home), ("SHELL", shell)] {
                command.env.retain(|(n, _)| n != name);
                command.env.push((name.into(), value.into()));
            }
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User {
            name: "ann".into(),
            uid: 1000,
            gid: 100,
            groups: vec![100, 10],
            home: "/home/ann".into(),
            shell: "/bin/zsh".into(),
        }
    }

    fn env(command: &Command, name: &str) -> Option<OsString> {
        command.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    }

    #[test]
    fn without_a_command_the_users_shell_is_run() {
        let plain = command(&[], Some(&ann()), false, true);
        assert_eq!((plain.argv[0].to_str(), plain.program), (Some("/bin/zsh"), Some("/bin/zsh".into())));
        let login = command(&[], Some(&ann()), true, true);
        assert_eq!((login.argv[0].to_str(), login.program), (Some("-zsh"), Some("/bin/zsh".into())));
        assert_eq!(command(&[], None, true, false).argv, ["-sh"]);
    }

    #[test]
    fn a_clean_environment_has_five_variables() {
        let command = command(&["id".into()], Some(&ann()), true, true);
        let names: Vec<_> = command.env.iter().filter_map(|(n, _)| n.to_str()).collect();
        assert_eq!(names, ["HOME", "SHELL", "TERM", "USER", "PATH"]);
        assert_eq!(env(&command, "HOME"), Some("/home/ann".into()));
        assert_eq!(env(&command, "PATH"), Some("/usr/local/bin:/usr/bin:/bin".into()));
        let root = super::command(&["id".into()], None, true, false);
        assert_eq!(
            env(&root, "PATH"),
            Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into())
        );
        assert_eq!(command.home, Some("/home/ann".into()));
    }

    #[test]
    fn a_user_has_all_groups_and_a_home() {
        let command = command(&["id".into()], Some(&ann()), false, true);
        assert_eq!(command.user, Some((1000, 100, vec![100, 10])));
        assert_eq!(env(&command, "SHELL"), Some("/bin/zsh".into()));
        let root = super::command(&["id".into()], None, false, false);
        assert_eq!((root.user, root.home), (None, None));
    }
}
