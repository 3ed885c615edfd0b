//! Why a program cannot be had.

use std::{error::Error, fmt, io};

use rustix::io::Errno;

use crate::btf::Malformed;

/// The result of what may fail so.
pub type Result<T, E = Unavailable> = std::result::Result<T, E>;

/// Why there is no answer from a program. None of these is a fault of the machine's: not everybody may load programs,
/// and not every kernel lets itself be looked into.
#[derive(Debug)]
pub enum Unavailable {
    /// The kernel's types cannot be read: `NotFound` where it was built without them, or where no /sys is mounted.
    Unreadable(io::Error),
    /// The kernel's types make no sense.
    Malformed(Malformed),
    /// The kernel has no such type or field, or has it in another form.
    Missing(&'static str),
    /// The kernel does not load the program. `EPERM`: the caller's capabilities do not suffice, or a security module
    /// is against it.
    Refused {
        /// The kernel's answer.
        errno: Errno,
        /// What the kernel's verifier says of the program; empty if it never came to look at it.
        log: String,
    },
    /// The program is loaded, and cannot be attached to a cgroup; or it cannot be told what is attached there.
    Unattached(Errno),
    /// The program is loaded, and cannot be run.
    Failed(Errno),
}

impl Unavailable {
    /// The kernel's error number, if it is the kernel that said no.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Unreadable(error) => Errno::from_io_error(error),
            Self::Refused { errno, .. } | Self::Unattached(errno) | Self::Failed(errno) => Some(*errno),
            Self::Malformed(_) | Self::Missing(_) => None,
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot read the kernel's types: {}", text(error)),
            Self::Malformed(why) => write!(f, "the kernel's types make no sense: {why}"),
            Self::Missing(what) => write!(f, "this kernel has no {what} that is known here"),
            Self::Refused { errno, log } => {
                write!(f, "the kernel does not load the program: {}", text(errno))?;
                if log.is_empty() { Ok(()) } else { write!(f, "\n{log}") }
            }
            Self::Unattached(errno) => write!(f, "the program cannot be attached: {}", text(errno)),
            Self::Failed(errno) => write!(f, "the program cannot be run: {}", text(errno)),
        }
    }
}

impl Error for Unavailable {}

/// The text of an error without the number that the standard library appends.
fn text(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl From<Malformed> for Unavailable {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_log_below_it_if_there_is_one() {
        let refused =
            |log: &str| Unavailable::Refused { errno: Errno::PERM, log: log.to_owned() }.to_string();
        let bare = "the kernel does not load the program: Operation not permitted";
        assert_eq!(refused(""), bare);
        assert_eq!(refused("R0 !read_ok"), format!("{bare}\nR0 !read_ok"));
    }
}
