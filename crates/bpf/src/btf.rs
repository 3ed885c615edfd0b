//! The kernel's description of its own types, Documentation/bpf/btf.rst: which id a type has, and where in it a
//! field is.
//!
//! The description has more than a hundred thousand types, of which a program needs a dozen. So nothing is kept but
//! where each begins, and names are looked for in one pass. The parser is total: whatever the bytes, it gives an
//! answer or an error.

mod field;
mod raw;

use std::{error, fmt, fs, io};

pub use field::Field;

use raw::{Raw, u32_at};

/// The id of a type; 0 is `void`.
pub type Id = u32;

/// A kind of type that is looked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `struct`.
    Struct,
    /// A function.
    Function,
}

/// Why bytes are not a description of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

/// Types, in the bytes that describe them.
#[derive(Clone, Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` each begins, from that with the id 1.
    starts: Vec<u32>,
}

/// The bytes that describe the types of the running kernel: several megabytes.
///
/// # Errors
///
/// `NotFound`: it was built without `CONFIG_DEBUG_INFO_BTF`, or no /sys is mounted.
pub fn of_kernel() -> io::Result<Vec<u8>> {
    fs::read("/sys/kernel/btf/vmlinux")
}

impl<'a> Btf<'a> {
    /// Reads a description made on a machine of the same byte order.
    ///
    /// # Errors
    ///
    /// It is none, is cut off, or has kinds of types that are not known: what follows one cannot be found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        const MAGIC: u16 = 0xeb9f;
        let [m0, m1, version, ..] = *bytes else { return Err(Malformed("too short")) };
        if u16::from_ne_bytes([m0, m1]) != MAGIC || version != 1 {
            return Err(Malformed("another format"));
        }
        let types = section(bytes, 8).ok_or(Malformed("the types are cut off"))?;
        let strings = section(bytes, 16).ok_or(Malformed("the names are cut off"))?;
        // Four or five words are the mean.
        let mut starts = Vec::with_capacity(types.len() / 24);
        let mut rest = types;
        let mut start = 0;
        while !rest.is_empty() {
            let size = Raw::read(rest).ok_or(Malformed("a type is cut off, or of an unknown kind"))?.bytes();
            starts.push(start);
            // It was read from there, so that it is not longer; and the section's size is 32 bits.
            rest = rest.get(size as usize..).unwrap_or_default();
            start += size;
        }
        Ok(Self { types, strings, starts })
    }

    /// The ids of types by their names, the first where several have one; all in one pass.
    #[must_use]
    pub fn find<const N: usize>(&self, wanted: [(Kind, &str); N]) -> [Option<Id>; N] {
        let mut found = [None; N];
        for (id, start) in (1..).zip(&self.starts) {
            let head = self.types.get(*start as usize..).and_then(raw::head);
            let (name_at, kind) = match head {
                Some((name, raw::STRUCT)) => (name, Kind::Struct),
                Some((name, raw::FUNCTION)) => (name, Kind::Function),
                _ => continue,
            };
            for (found, (of, name)) in found.iter_mut().zip(wanted) {
                if found.is_none() && of == kind && self.is_named(name_at, name) {
                    *found = Some(id);
                }
            }
        }
        found
    }

    fn get(&self, id: Id) -> Option<Raw<'a>> {
        let start = *self.starts.get(id.checked_sub(1)? as usize)?;
        Raw::read(self.types.get(start as usize..)?)
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        let rest = self.strings.get(at as usize..).and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// The part of a description whose place, counted from the end of the header, and length are in the header.
fn section(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let header = u32_at(bytes, 4)? as usize;
    let (offset, length) = (u32_at(bytes, at)? as usize, u32_at(bytes, at + 4)? as usize);
    bytes.get(header..)?.get(offset..)?.get(..length)
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl error::Error for Malformed {}
