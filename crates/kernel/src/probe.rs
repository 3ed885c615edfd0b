//! What this kernel has, found out by trying it once, when first asked.
//!
//! The environment variable `JAIL_MASK`, a comma list of names, makes features absent, so that every
//! fallback can be tested on a kernel that does not need it.

mod try_it;

use std::sync::OnceLock;

/// Something that only newer kernels have, or that the caller may not be allowed to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// [`namespace::Handle`](crate::namespace::Handle) and the id of any namespace: Linux 6.18.
    NsfsHandles,
    /// Namespaces by ioctl on a pidfd: Linux 6.11.
    PidfdNsIoctls,
    /// [`pidfd::exit_status`](crate::pidfd::exit_status): Linux 6.15.
    PidfdExitInfo,
    /// A proc file system of another pid namespace, made without entering it (`pidns` of fsconfig(2)):
    /// Linux 6.17. Needs `CAP_SYS_ADMIN`.
    ProcByPidns,
    /// `MOUNT_ATTR_IDMAP` of mount_setattr(2): Linux 5.12. Needs `CAP_SYS_ADMIN`; a file system may
    /// still refuse.
    IdmappedMounts,
    /// `MOVE_MOUNT_BENEATH` of move_mount(2): Linux 6.5. Needs `CAP_SYS_ADMIN`.
    MoveMountBeneath,
    /// `cgroup.kill` in a mounted cgroup2 file system: Linux 5.14.
    CgroupKill,
    /// `CLONE_INTO_CGROUP` of clone3(2): Linux 5.7.
    CloneIntoCgroup,
    /// Bridges of 1,023 ports, which every kernel has. Where this is masked a segment takes a bridge of its own
    /// for full after a handful, so that a test fills one with a few jails.
    WideBridges,
}

impl Feature {
    /// All features.
    pub const ALL: [Self; 9] = [
        Self::NsfsHandles,
        Self::PidfdNsIoctls,
        Self::PidfdExitInfo,
        Self::ProcByPidns,
        Self::IdmappedMounts,
        Self::MoveMountBeneath,
        Self::CgroupKill,
        Self::CloneIntoCgroup,
        Self::WideBridges,
    ];

    /// Returns its name in `JAIL_MASK`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NsfsHandles => "nsfs_handles",
            Self::PidfdNsIoctls => "pidfd_ns_ioctls",
            Self::PidfdExitInfo => "pidfd_exit_info",
            Self::ProcByPidns => "proc_by_pidns",
            Self::IdmappedMounts => "idmapped_mounts",
            Self::MoveMountBeneath => "move_mount_beneath",
            Self::CgroupKill => "cgroup_kill",
            Self::CloneIntoCgroup => "clone_into_cgroup",
            Self::WideBridges => "wide_bridges",
        }
    }

    fn try_it(self) -> bool {
        match self {
            Self::NsfsHandles => try_it::nsfs_handles(),
            Self::PidfdNsIoctls => try_it::pidfd_ns_ioctls(),
            Self::PidfdExitInfo => try_it::pidfd_exit_info(),
            Self::ProcByPidns => try_it::proc_by_pidns(),
            Self::IdmappedMounts => try_it::idmapped_mounts(),
            Self::MoveMountBeneath => try_it::move_mount_beneath(),
            Self::CgroupKill => try_it::cgroup_kill(),
            Self::CloneIntoCgroup => try_it::clone_into_cgroup(),
            Self::WideBridges => true,
        }
    }
}

/// Returns the version and the major revision of this kernel, uname(2): for what only the release tells.
pub fn release() -> (u32, u32) {
    parse(&rustix::system::uname().release().to_string_lossy())
}

fn parse(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Returns whether the caller can use `feature`. The first answer for each is kept, so ask before giving
/// up privileges; the environment is looked at once.
pub fn has(feature: Feature) -> bool {
    static ANSWERS: [OnceLock<bool>; Feature::ALL.len()] = [const { OnceLock::new() }; _];
    static MASK: OnceLock<String> = OnceLock::new();
    *ANSWERS[feature as usize].get_or_init(|| {
        let mask = MASK.get_or_init(|| std::env::var("JAIL_MASK").unwrap_or_default());
        !masks(mask, feature) && feature.try_it()
    })
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
