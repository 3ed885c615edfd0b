//! What subsystems need of a kernel that it may be built or set up without.

use std::fs;

use kernel::probe::{Feature, has};
use vimage::{Ask, Error, Lack, Result, Support};

/// Namespaces, without which these parameters are refused.
pub(crate) fn namespaces(feature: Feature, denies: &'static [&'static str]) -> Support {
    let (what, hint) = match feature {
        Feature::UserNamespaces => {
            ("user namespaces", "CONFIG_USER_NS, and user.max_user_namespaces above 0")
        }
        Feature::NetNamespaces => {
            ("network namespaces", "CONFIG_NET_NS, and user.max_net_namespaces above 0")
        }
        Feature::IpcNamespaces => ("ipc namespaces", "CONFIG_IPC_NS, and user.max_ipc_namespaces above 0"),
        Feature::UtsNamespaces => ("uts namespaces", "CONFIG_UTS_NS, and user.max_uts_namespaces above 0"),
        _ => ("pid namespaces", "CONFIG_PID_NS, and user.max_pid_namespaces above 0"),
    };
    support(has(feature), Lack { what, hint, denies })
}

/// A type of file system.
pub(crate) fn file_system(name: &str, lack: Lack) -> Support {
    let known = fs::read_to_string("/proc/filesystems");
    // Where that cannot be read, nothing is known of it.
    let has = |types: String| types.lines().any(|line| line.split_whitespace().last() == Some(name));
    support(known.map_or(true, has), lack)
}

/// Filters of system calls, without which these parameters are refused.
pub(crate) fn filters(denies: &'static [&'static str]) -> Support {
    let lack =
        Lack { what: "seccomp filters", hint: "CONFIG_SECCOMP_FILTER: no jail is made without", denies };
    let has = |status: String| status.lines().any(|line| line.starts_with("Seccomp:"));
    support(fs::read_to_string("/proc/self/status").map_or(true, has), lack)
}

/// All that either lacks.
pub(crate) fn both(one: Support, other: Support) -> Support {
    match (one, other) {
        (Support::Full, other) | (other, Support::Full) => other,
        (Support::Lacks(mut one), Support::Lacks(other)) => {
            one.extend(other);
            Support::Lacks(one)
        }
    }
}

/// Refuses a parameter for what the host lacks.
///
/// # Errors
/// The first lack.
pub(crate) fn check(ask: &Ask<'_>, param: &str, support: Support) -> Result<()> {
    let Support::Lacks(lacks) = support else { return Ok(()) };
    let Some(lack) = lacks.first() else { return Ok(()) };
    let error = Error::unsupported(format!("{param}: this kernel lacks {}", lack.what)).hint(lack.hint);
    let named = ask.given.text("name").is_some_and(|name| !name.is_empty());
    Err(if named { error.doing(ask.name) } else { error })
}

fn support(has: bool, lack: Lack) -> Support {
    if has { Support::Full } else { Support::Lacks(vec![lack]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LACK: Lack = Lack { what: "x", hint: "y", denies: &[] };

    #[test]
    fn what_is_there_is_not_missing() {
        assert_eq!(file_system("proc", LACK), Support::Full);
        assert_eq!(file_system("nosuchfs", LACK), Support::Lacks(vec![LACK]));
        assert_eq!(filters(&[]), Support::Full);
        let two = both(file_system("nosuch", LACK), file_system("nosuchfs", LACK));
        assert_eq!(two, Support::Lacks(vec![LACK, LACK]));
    }
}
