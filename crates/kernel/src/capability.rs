//! Names of capabilities and sets of them, capabilities(7).
//!
//! capget(2), capset(2) and the bounding and ambient sets are in [`rustix::thread`].

use std::fmt;
use std::fs::read_to_string;

macro_rules! numbers {
    ($($number:literal $name:ident)*) => { $(
        #[doc = concat!("Number ", $number, ", capabilities(7).")]
        pub const $name: u8 = $number;
    )*
    /// The names by number; Linux 5.9 was the last to add one.
    const NAMES: [&str; 41] = [$(stringify!($name)),*]; };
}

numbers! {
    0 CHOWN 1 DAC_OVERRIDE 2 DAC_READ_SEARCH 3 FOWNER 4 FSETID 5 KILL 6 SETGID 7 SETUID 8 SETPCAP
    9 LINUX_IMMUTABLE 10 NET_BIND_SERVICE 11 NET_BROADCAST 12 NET_ADMIN 13 NET_RAW 14 IPC_LOCK 15 IPC_OWNER
    16 SYS_MODULE 17 SYS_RAWIO 18 SYS_CHROOT 19 SYS_PTRACE 20 SYS_PACCT 21 SYS_ADMIN 22 SYS_BOOT 23 SYS_NICE
    24 SYS_RESOURCE 25 SYS_TIME 26 SYS_TTY_CONFIG 27 MKNOD 28 LEASE 29 AUDIT_WRITE 30 AUDIT_CONTROL
    31 SETFCAP 32 MAC_OVERRIDE 33 MAC_ADMIN 34 SYSLOG 35 WAKE_ALARM 36 BLOCK_SUSPEND 37 AUDIT_READ
    38 PERFMON 39 BPF 40 CHECKPOINT_RESTORE
}

/// Returns the name of capability `number`, such as `CAP_NET_ADMIN` without the `CAP_`.
pub fn name(number: u8) -> Option<&'static str> {
    NAMES.get(usize::from(number)).copied()
}

/// Returns the number of the capability `name`, in any case and with or without `CAP_`.
pub fn number(name: &str) -> Option<u8> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    (0..).zip(NAMES).find(|(_, known)| *known == name).map(|(number, _)| number)
}

/// Returns the highest capability that the kernel has: `/proc/sys/kernel/cap_last_cap`, or the highest
/// that is known here when that cannot be read.
pub fn last_cap() -> u8 {
    let file = read_to_string("/proc/sys/kernel/cap_last_cap");
    file.ok().and_then(|number| number.trim().parse().ok()).unwrap_or(CHECKPOINT_RESTORE)
}

/// A set of capabilities, the bit of each being its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapSet(pub u64);

impl CapSet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability that is known here.
    pub const FULL: Self = Self((1 << NAMES.len()) - 1);

    /// Returns the set of these capabilities.
    ///
    /// # Panics
    ///
    /// When a number is above 63.
    pub const fn of(numbers: &[u8]) -> Self {
        Self::EMPTY.with(numbers)
    }

    /// Returns the set and these capabilities; panics when a number is above 63.
    #[must_use]
    pub const fn with(self, numbers: &[u8]) -> Self {
        match numbers {
            [first, rest @ ..] => {
                assert!(*first < 64, "a capability's number");
                Self(self.0 | 1 << *first).with(rest)
            }
            [] => self,
        }
    }

    /// Returns the set but for these capabilities; panics when a number is above 63.
    #[must_use]
    pub const fn without(self, numbers: &[u8]) -> Self {
        Self(self.0 & !Self::of(numbers).0)
    }

    /// Returns whether capability `number` is in the set.
    pub const fn contains(self, number: u8) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }

    /// Returns the numbers in the set.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.contains(*number))
    }
}

/// Writes the names as capsh(1) does, `cap_kill,cap_bpf`; a number where no name is known.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match name(number) {
                Some(name) => write!(f, "{comma}cap_{}", name.to_ascii_lowercase())?,
                None => write!(f, "{comma}{number}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (number, name) in (0..).zip(NAMES) {
            assert_eq!(super::number(name), Some(number));
            assert_eq!(super::number(&format!("cap_{}", name.to_lowercase())), Some(number));
            assert_eq!(super::name(number), Some(name));
        }
        assert_eq!((NAMES[SYS_ADMIN as usize], NAMES[SETFCAP as usize]), ("SYS_ADMIN", "SETFCAP"));
        assert_eq!(name(41), None);
        assert_eq!(number("cap_"), None);
    }

    #[test]
    fn numbers_are_those_of_rustix() {
        for (name, bit) in rustix::thread::CapabilitySet::all().iter_names() {
            assert_eq!(number(name).map(|number| 1 << number), Some(bit.bits()), "{name}");
        }
    }

    #[test]
    fn sets() {
        const JAIL: CapSet = CapSet::FULL.without(&[SYS_ADMIN, BPF]);
        assert_eq!(CapSet::FULL.0, 0x1ff_ffff_ffff);
        assert!(!JAIL.contains(SYS_ADMIN) && JAIL.contains(CHOWN) && !JAIL.contains(200));
        assert_eq!(JAIL.with(&[SYS_ADMIN, BPF]), CapSet::FULL);
        assert_eq!(CapSet::of(&[BPF, KILL]).to_string(), "cap_kill,cap_bpf");
        assert_eq!(CapSet(1 << 50).to_string(), "50");
        assert_eq!(CapSet::EMPTY.to_string(), "");
        assert_eq!(CapSet::of(&[BPF, KILL]).iter().collect::<Vec<_>>(), [KILL, BPF]);
    }

    #[test]
    fn this_kernel_knows_them_all() {
        assert!(last_cap() >= CHECKPOINT_RESTORE);
    }
}
