//! Reading of attribute lists. What the kernel sends grows with each release, so the typed dumps pick the few
//! attributes they want and look at no other: an attribute unknown to the codec cannot spoil a dump.

use std::net::IpAddr;

use netlink_packet_core::NlasIterator;

use crate::Refused;

/// The `(type, value)` pairs of a list, type without its flag bits.
///
/// Ends with an error at the first attribute whose length does not fit.
pub(crate) fn attributes(list: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Refused>> {
    // `NlaBuffer::value` borrows from the buffer it wraps, so the slice is cut out of the list's own bytes.
    NlasIterator::new(list).map(|nla| {
        let nla = nla.map_err(Refused::malformed)?;
        let (kind, length) = (nla.kind(), usize::from(nla.length()));
        Ok((kind, &nla.into_inner()[4..length]))
    })
}

/// The header of fixed length before the attributes, and the attributes.
pub(crate) fn split<const N: usize>(body: &[u8]) -> Result<(&[u8; N], &[u8]), Refused> {
    body.split_first_chunk().ok_or_else(|| Refused::malformed(format_args!("{} bytes of {N}", body.len())))
}

pub(crate) fn as_u32(value: &[u8]) -> Result<u32, Refused> {
    value.try_into().map(u32::from_ne_bytes).map_err(Refused::malformed)
}

pub(crate) fn as_i32(value: &[u8]) -> Result<i32, Refused> {
    as_u32(value).map(u32::cast_signed)
}

/// A C string, up to its NUL.
pub(crate) fn as_string(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// An address by its length.
pub(crate) fn as_ip(value: &[u8]) -> Result<IpAddr, Refused> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        return Ok(v4.into());
    }
    <[u8; 16]>::try_from(value).map(IpAddr::from).map_err(Refused::malformed)
}
