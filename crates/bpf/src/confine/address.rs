//! The addresses of a jail.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An IPv4 or an IPv6 address.
pub trait Ip: Copy + Octets {}

impl Ip for Ipv4Addr {}
impl Ip for Ipv6Addr {}

/// An address as the bytes that the kernel has. Nobody else can have it, so that there are two kinds of [`Ip`].
pub trait Octets {
    /// The network that is the own machine, without leaving it.
    const LOOPBACK: (&'static [u8], u8);

    /// The bytes, first the first.
    fn bytes(&self) -> Vec<u8>;
}

impl Octets for Ipv4Addr {
    const LOOPBACK: (&'static [u8], u8) = (&[127, 0, 0, 0], 8);

    fn bytes(&self) -> Vec<u8> {
        self.octets().to_vec()
    }
}

impl Octets for Ipv6Addr {
    const LOOPBACK: (&'static [u8], u8) = (&Self::LOCALHOST.octets(), 128);

    fn bytes(&self) -> Vec<u8> {
        self.octets().to_vec()
    }
}

/// From 1 to 255 addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses<A> {
    pub(super) all: Vec<(A, u8)>,
    pub(super) select: bool,
}

impl<A: Ip> Addresses<A> {
    /// These addresses, each with the length of its network's prefix; the first is the primary one. Whether one can be
    /// used is for the caller to know: it is not asked whether the host has it.
    ///
    /// With `select` a connection begins at the first whose network has its destination, and at the primary one where
    /// none has; else always at the primary one.
    ///
    /// `None`: no address or more than 255, or a prefix that is longer than an address.
    #[must_use]
    pub fn new(all: Vec<(A, u8)>, select: bool) -> Option<Self> {
        let fits = |(address, prefix): &(A, u8)| usize::from(*prefix) <= 8 * address.bytes().len();
        ((1..=255).contains(&all.len()) && all.iter().all(fits)).then_some(Self { all, select })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_one_to_255_addresses_with_prefixes_that_fit() {
        let four =
            |count, prefix| Addresses::new(vec![(Ipv4Addr::LOCALHOST, prefix); count], false).is_some();
        assert!(four(1, 0) && four(255, 32));
        assert!(!four(0, 0) && !four(256, 8) && !four(1, 33));
        let six = |prefix| Addresses::new(vec![(Ipv6Addr::LOCALHOST, prefix)], true).is_some();
        assert!(six(0) && six(128) && !six(129));
    }
}
