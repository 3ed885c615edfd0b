//! One type as it is written.

/// `BTF_KIND_*`, of those that are looked at.
pub(super) const INTEGER: u8 = 1;
pub(super) const POINTER: u8 = 2;
pub(super) const STRUCT: u8 = 4;
pub(super) const UNION: u8 = 5;
pub(super) const TYPEDEF: u8 = 8;
pub(super) const VOLATILE: u8 = 9;
pub(super) const CONST: u8 = 10;
pub(super) const RESTRICT: u8 = 11;
pub(super) const FUNCTION: u8 = 12;
pub(super) const TYPE_TAG: u8 = 18;

/// `struct btf_type`, and what follows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    pub kind: u8,
    /// Whether the members of a structure have their sizes in bits beside their places.
    flag: bool,
    /// Its size in bytes, or the id of the type that it makes another of.
    pub size_or_type: u32,
    rest: &'a [u8],
}

/// A member of a structure or union.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Where its name begins among the names; 0: it has none.
    pub name: u32,
    pub id: u32,
    /// Its place, in bits.
    pub bit: u32,
    /// Its size in bits, if it is not a whole type.
    pub bits: u32,
}

impl<'a> Raw<'a> {
    /// Reads the type at the beginning; `None`: it is cut off, or of an unknown kind.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<12>()?;
        let [info, size_or_type] = [4, 8].map(|at| word(head, at));
        let (kind, flag) = (kind(info), info >> 31 != 0);
        let count = (info & 0xffff) as usize;
        let more = match kind {
            POINTER | 7 | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNCTION | 16 | TYPE_TAG => 0,
            // Integer, variable, tag of a declaration.
            INTEGER | 14 | 17 => 4,
            // Array.
            3 => 12,
            // Enumeration, and the parameters of a function.
            6 | 13 => 8 * count,
            // Also the variables of a section, and an enumeration of 64 bits.
            STRUCT | UNION | 15 | 19 => 12 * count,
            _ => return None,
        };
        Some(Self { kind, flag, size_or_type, rest: rest.get(..more)? })
    }

    /// How many bytes it takes.
    #[allow(clippy::cast_possible_truncation)] // At most 65,535 members of 12 bytes.
    pub(super) fn bytes(&self) -> u32 {
        12 + self.rest.len() as u32
    }

    /// The members of a structure or union; of other types, none.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> + use<'a> {
        let bytes = if matches!(self.kind, STRUCT | UNION) { self.rest } else { &[] };
        let flag = self.flag;
        bytes.as_chunks::<12>().0.iter().map(move |member| {
            let [name, id, place] = [0, 4, 8].map(|at| word(member, at));
            let (bit, bits) = if flag { (place & 0x00ff_ffff, place >> 24) } else { (place, 0) };
            Member { name, id, bit, bits }
        })
    }
}

/// The name and the kind of the type at the beginning, without a look at the rest of it.
pub(super) fn head(bytes: &[u8]) -> Option<(u32, u8)> {
    let head = bytes.first_chunk::<12>()?;
    Some((word(head, 0), kind(word(head, 4))))
}

/// The kind in the second word of a type.
const fn kind(info: u32) -> u8 {
    info.to_le_bytes()[3] & 0x1f
}

/// The word at that place.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8; 12], at: usize) -> u32 {
    u32_at(bytes, at).unwrap_or(0)
}
