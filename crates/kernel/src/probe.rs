//! What this kernel has, found out by trying it once, when first asked.
//!
//! The environment variable `JAIL_MASK`, a comma list of names, makes features absent, so that every
//! fallback can be tested on a kernel that does not need it.

mod try_it;

use std::sync::OnceLock;

use crate::{
    namespace::Kind,
    spawn::How,
    step::{Program, Step},
};

/// Something that only newer kernels have, or that the caller may not be allowed to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// [`namespace::Handle`](crate::namespace::Handle) and the id of any namespace: Linux 6.18.
    NsfsHandles,
    /// Namespaces by ioctl on a pidfd: Linux 6.11.
    PidfdNsIoctls,
    /// [`pidfd::exit_status`](crate::pidfd::exit_status): Linux 6.15.
    PidfdExitInfo,
    /// `MOUNT_ATTR_IDMAP` of mount_setattr(2): Linux 5.12. Needs `CAP_SYS_ADMIN`; a file system may
    /// still refuse.
    IdmappedMounts,
    /// `cgroup.kill` in a mounted cgroup2 file system: Linux 5.14.
    CgroupKill,
    /// Bridges of 1,023 ports, which every kernel has. Where this is masked a segment takes a bridge of its own
    /// for full after a handful, so that a test fills one with a few jails.
    WideBridges,
    /// Iterators of BPF programs, which not every kernel has and few callers may use. Whoever loads one has another way to
    /// go; where this is masked it is gone at once.
    BpfIterators,
    /// User namespaces, which may be switched off: user_namespaces(7).
    UserNamespaces,
    /// Network namespaces.
    NetNamespaces,
    /// Namespaces of System V IPC and POSIX message queues.
    IpcNamespaces,
    /// Namespaces of the host name.
    UtsNamespaces,
    /// Namespaces of process ids.
    PidNamespaces,
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 12] = [
        Self::NsfsHandles,
        Self::PidfdNsIoctls,
        Self::PidfdExitInfo,
        Self::IdmappedMounts,
        Self::CgroupKill,
        Self::WideBridges,
        Self::BpfIterators,
        Self::UserNamespaces,
        Self::NetNamespaces,
        Self::IpcNamespaces,
        Self::UtsNamespaces,
        Self::PidNamespaces,
    ];

    /// Returns its name in `JAIL_MASK`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NsfsHandles => "nsfs_handles",
            Self::PidfdNsIoctls => "pidfd_ns_ioctls",
            Self::PidfdExitInfo => "pidfd_exit_info",
            Self::IdmappedMounts => "idmapped_mounts",
            Self::CgroupKill => "cgroup_kill",
            Self::WideBridges => "wide_bridges",
            Self::BpfIterators => "bpf_iterators",
            Self::UserNamespaces => "user_namespaces",
            Self::NetNamespaces => "net_namespaces",
            Self::IpcNamespaces => "ipc_namespaces",
            Self::UtsNamespaces => "uts_namespaces",
            Self::PidNamespaces => "pid_namespaces",
        }
    }

    fn try_it(self) -> bool {
        match self {
            Self::NsfsHandles => try_it::nsfs_handles(),
            Self::PidfdNsIoctls => try_it::pidfd_ns_ioctls(),
            Self::PidfdExitInfo => try_it::pidfd_exit_info(),
            Self::IdmappedMounts => try_it::idmapped_mounts(),
            Self::CgroupKill => try_it::cgroup_kill(),
            Self::WideBridges | Self::BpfIterators => true,
            _ => self.namespaces().is_some_and(try_it::namespaces),
        }
    }

    /// The kind of namespace that it stands for.
    const fn namespaces(self) -> Option<Kind> {
        match self {
            Self::UserNamespaces => Some(Kind::User),
            Self::NetNamespaces => Some(Kind::Net),
            Self::IpcNamespaces => Some(Kind::Ipc),
            Self::UtsNamespaces => Some(Kind::Uts),
            Self::PidNamespaces => Some(Kind::Pid),
            _ => None,
        }
    }
}

/// Returns the version and the major revision of this kernel, uname(2): for what only the release tells.
pub fn release() -> (u32, u32) {
    static RELEASE: OnceLock<(u32, u32)> = OnceLock::new();
    *RELEASE.get_or_init(|| parse(&rustix::system::uname().release().to_string_lossy()))
}

fn parse(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Returns whether the caller can use `feature`. The first answer for each is kept, so ask before giving
/// up privileges; the environment is looked at once.
pub fn has(feature: Feature) -> bool {
    static ANSWERS: [OnceLock<bool>; Feature::ALL.len()] = [const { OnceLock::new() }; _];
    *ANSWERS[feature as usize].get_or_init(|| !is_masked(feature) && feature.try_it())
}

/// Returns whether `feature` is to be taken for absent. Where nobody asks for a feature before it is used, because the
/// kernel's own refusal tells as much and costs nothing, the use is refused in the kernel's stead.
pub fn is_masked(feature: Feature) -> bool {
    masks(mask(), feature)
}

/// Whether a process asks for namespaces that are to be taken for absent.
pub(crate) fn masks_namespaces(program: &Program, how: How) -> bool {
    if mask().is_empty() {
        return false;
    }
    let wanted = namespaces(program, how);
    let masked = Feature::ALL.into_iter().filter(|f| is_masked(*f)).filter_map(Feature::namespaces);
    masked.into_iter().any(|kind| wanted & u64::from(kind.flag()) != 0)
}

/// CLONE_NEW* of all namespaces that a process and those it starts are to be born in.
fn namespaces(program: &Program, how: How) -> u64 {
    program.steps().iter().fold(how.namespaces, |all, step| match step {
        Step::Below(below) => all | u64::from(below.kind().flag()),
        Step::Spawn(program, how) => all | namespaces(program, *how),
        _ => all,
    })
}

fn mask() -> &'static str {
    static MASK: OnceLock<String> = OnceLock::new();
    MASK.get_or_init(|| std::env::var("JAIL_MASK").unwrap_or_default())
}

fn masks(list: &str, feature: Feature) -> bool {
    list.split(',').any(|name| name.trim() == feature.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_order_of_the_numbers() {
        for (number, feature) in Feature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, number);
        }
    }

    #[test]
    fn a_mask_is_a_comma_list_of_whole_names() {
        assert!(masks("cgroup_kill, nsfs_handles", Feature::NsfsHandles));
        assert!(!masks("nsfs_handle", Feature::NsfsHandles));
        assert!(!masks("", Feature::NsfsHandles));
    }

    #[test]
    fn a_release_is_two_numbers_and_what_a_distribution_adds() {
        for (text, numbers) in [
            ("5.15.0-91-generic", (5, 15)),
            ("6.1.0-18-amd64", (6, 1)),
            ("6.9.0-rc1", (6, 9)),
            ("6.18.44-fc", (6, 18)),
            ("7.0", (7, 0)),
        ] {
            assert_eq!(parse(text), numbers);
        }
    }
}
