//! Where programs are attached.

use std::ffi::CStr;

/// A program and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The place.
    pub point: Point,
    /// Its instructions, eight bytes each.
    pub code: Vec<[u8; 8]>,
}

/// What the kernel asks a program about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// socket(2).
    Create,
    /// bind(2) to an IPv4 address.
    Bind4,
    /// bind(2) to an IPv6 address.
    Bind6,
    /// connect(2) to an IPv4 address.
    Connect4,
    /// connect(2) to an IPv6 address.
    Connect6,
    /// A datagram to an IPv4 address, from a socket that is not connected.
    Send4,
    /// A datagram to an IPv6 address, from a socket that is not connected.
    Send6,
    /// getsockname(2) of an IPv4 socket: Linux 5.8.
    Name4,
    /// getsockname(2) of an IPv6 socket: Linux 5.8.
    Name6,
    /// A packet that is received.
    Ingress,
    /// A packet that is sent.
    Egress,
}

impl Point {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Bind4,
        Self::Bind6,
        Self::Connect4,
        Self::Connect6,
        Self::Send4,
        Self::Send6,
        Self::Name4,
        Self::Name6,
        Self::Ingress,
        Self::Egress,
    ];

    /// `enum bpf_attach_type` of linux/bpf.h.
    #[must_use]
    pub const fn attach_type(self) -> u32 {
        match self {
            Self::Ingress => 0,
            Self::Egress => 1,
            Self::Create => 2,
            Self::Bind4 => 8,
            Self::Bind6 => 9,
            Self::Connect4 => 10,
            Self::Connect6 => 11,
            Self::Send4 => 14,
            Self::Send6 => 15,
            Self::Name4 => 31,
            Self::Name6 => 32,
        }
    }

    /// `enum bpf_prog_type` of linux/bpf.h.
    #[must_use]
    pub const fn program_type(self) -> u32 {
        match self {
            Self::Ingress | Self::Egress => 8,
            Self::Create => 9,
            _ => 18,
        }
    }

    /// The name of the program, by which it is found where it is attached. The kernel keeps 15 bytes.
    #[must_use]
    pub const fn name(self) -> &'static CStr {
        match self {
            Self::Create => c"jail_create",
            Self::Bind4 => c"jail_bind4",
            Self::Bind6 => c"jail_bind6",
            Self::Connect4 => c"jail_connect4",
            Self::Connect6 => c"jail_connect6",
            Self::Send4 => c"jail_send4",
            Self::Send6 => c"jail_send6",
            Self::Name4 => c"jail_name4",
            Self::Name6 => c"jail_name6",
            Self::Ingress => c"jail_ingress",
            Self::Egress => c"jail_egress",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_point_has_a_type_and_a_name_that_the_kernel_keeps() {
        let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name().to_bytes()).collect();
        assert!(names.iter().all(|name| name.len() <= 15 && name.starts_with(b"jail_")));
        let types: BTreeSet<_> = Point::ALL.iter().map(|point| point.attach_type()).collect();
        assert_eq!((names.len(), types.len()), (Point::ALL.len(), Point::ALL.len()));
    }
}
