//! What is restricted, in the words that programs compare: four bytes each, as they are in memory.

use super::{
    Family,
    address::{Ip, Octets},
};

/// What may be done with a family.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// All.
    Free,
    /// Nothing.
    Closed,
    /// What an owner of these addresses may.
    Own(Own),
}

/// Addresses.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Each with its network; never empty.
    all: Vec<Net>,
    /// The network that is the own machine.
    pub(super) loopback: Net,
    select: bool,
}

/// An address and the bits of it that are those of its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) address: Vec<i32>,
    pub(super) mask: Vec<i32>,
}

impl Net {
    /// A network by the bytes of an address and the length of its prefix.
    pub(super) fn new(address: &[u8], prefix: u8) -> Self {
        let bits = |at: usize| 8.min(usize::from(prefix).saturating_sub(8 * at));
        let mask: Vec<u8> = (0..address.len()).map(|at| !(0xff_u16 >> bits(at)).to_le_bytes()[0]).collect();
        Self { address: words(address), mask: words(&mask) }
    }

    /// The IPv6 addresses that are IPv4 ones: ::ffff:0:0/96.
    pub(super) fn mapped() -> Self {
        Self::new(&std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets(), 96)
    }

    /// The address that says nothing, of as many words.
    pub(super) fn any(words: usize) -> Self {
        Self { address: vec![0; words], mask: vec![-1; words] }
    }

    /// Whether it has an address.
    fn has(&self, address: &[i32]) -> bool {
        let differs = |at: usize| (self.address[at] ^ address[at]) & self.mask[at] != 0;
        !(0..self.mask.len()).any(differs)
    }
}

impl Own {
    /// All addresses.
    pub(super) fn addresses(&self) -> Vec<&[i32]> {
        self.all.iter().map(|net| &net.address[..]).collect()
    }

    /// Those that are in the own machine's network.
    pub(super) fn loopbacks(&self) -> Vec<&[i32]> {
        self.addresses().into_iter().filter(|address| self.loopback.has(address)).collect()
    }

    /// The primary address.
    pub(super) fn primary(&self) -> &[i32] {
        &self.all[0].address
    }

    /// Whether there is no other.
    pub(super) fn is_one(&self) -> bool {
        self.all.len() == 1
    }

    /// The addresses that are chosen by their networks, first the first. Whose network an address before it has, too,
    /// is never chosen.
    pub(super) fn choice(&self) -> Vec<&Net> {
        let mut nets: Vec<&Net> = Vec::new();
        for net in self.all.iter().filter(|_| self.select) {
            if !nets.iter().any(|before| before.mask == net.mask && before.has(&net.address)) {
                nets.push(net);
            }
        }
        nets
    }
}

impl Rule {
    /// Whether there is anything that may not be done.
    pub(super) const fn restricts(&self) -> bool {
        !matches!(self, Self::Free)
    }

    /// Whether nothing may be done.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// The addresses, if there is just one.
    pub(super) fn only(&self) -> Option<&Own> {
        match self {
            Self::Own(own) if own.is_one() => Some(own),
            _ => None,
        }
    }
}

impl<A: Ip> From<&Family<A>> for Rule {
    fn from(family: &Family<A>) -> Self {
        match family {
            Family::Inherit => Self::Free,
            Family::Disable => Self::Closed,
            Family::New(addresses) => {
                let net = |(address, prefix): &(A, u8)| Net::new(&address.bytes(), *prefix);
                let (loopback, prefix) = <A as Octets>::LOOPBACK;
                Self::Own(Own {
                    all: addresses.all.iter().map(net).collect(),
                    loopback: Net::new(loopback, prefix),
                    select: addresses.select,
                })
            }
        }
    }
}

/// Bytes as words.
fn words(bytes: &[u8]) -> Vec<i32> {
    bytes.chunks_exact(4).map(|word| i32::from_ne_bytes([word[0], word[1], word[2], word[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::Addresses;

    #[test]
    fn a_prefix_is_so_many_bits_of_the_first_words() {
        let mask = |prefix| Net::new(&[0; 16], prefix).mask;
        let word = |bytes| i32::from_ne_bytes(bytes);
        assert_eq!(mask(0), [0; 4]);
        assert_eq!(mask(64), [-1, -1, 0, 0]);
        assert_eq!(mask(35), [-1, word([0b1110_0000, 0, 0, 0]), 0, 0]);
        assert_eq!(mask(128), [-1; 4]);
        assert_eq!(Net::new(&[10, 1, 1, 1], 24).mask, [word([255, 255, 255, 0])]);
        assert_eq!(Net::new(&[10, 1, 1, 1], 31).mask, [word([255, 255, 255, 254])]);
        assert_eq!(Net::mapped().address, [0, 0, word([0, 0, 255, 255]), 0]);
        assert_eq!(Net::mapped().mask, [-1, -1, -1, 0]);
    }

    fn own(addresses: &[([u8; 4], u8)], select: bool) -> Own {
        let all = addresses.iter().map(|(address, prefix)| ((*address).into(), *prefix)).collect();
        let family: Family<std::net::Ipv4Addr> = Family::New(Addresses::new(all, select).unwrap());
        match Rule::from(&family) {
            Rule::Own(own) => own,
            rule => panic!("{rule:?}"),
        }
    }

    #[test]
    fn of_those_in_one_network_the_first_is_chosen() {
        let all = [
            ([10, 1, 1, 1], 24),
            ([10, 1, 1, 2], 24),
            ([10, 1, 1, 3], 16),
            ([10, 1, 2, 1], 24),
            ([127, 9, 9, 9], 32),
        ];
        let chosen = own(&all, true);
        let last: Vec<u8> = chosen.choice().iter().map(|net| net.address[0].to_ne_bytes()[3]).collect();
        assert_eq!(last, [1, 3, 1, 9]);
        assert!(own(&all, false).choice().is_empty());
        assert_eq!(chosen.loopbacks(), [&[i32::from_ne_bytes([127, 9, 9, 9])]]);
    }
}
