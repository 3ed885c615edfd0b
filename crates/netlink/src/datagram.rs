//! Taking a received datagram apart: several messages, each an acknowledgement, a refusal, the end of a dump
//! or something for the caller to decode. Nothing here trusts a length.

use std::ops::ControlFlow;

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
};
use rustix::io::Errno;

use crate::{
    Refused,
    attributes::{as_i32, as_string, attributes},
};

/// `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`: the kernel's words.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One message of a datagram.
#[derive(Debug, PartialEq)]
pub(crate) struct Item<'a> {
    /// The sequence number of the request this answers; 0 for an event.
    pub(crate) sequence: u32,
    /// The dump it belongs to saw a change half-way (`NLM_F_DUMP_INTR`).
    pub(crate) interrupted: bool,
    pub(crate) payload: Payload<'a>,
}

/// What a message is about.
#[derive(Debug, PartialEq)]
pub(crate) enum Payload<'a> {
    /// `NLMSG_ERROR` with error 0.
    Ack,
    /// `NLMSG_ERROR` or `NLMSG_DONE` with an error.
    Refused(Refused),
    /// `NLMSG_DONE`.
    Done,
    /// `NLMSG_NOOP`.
    Noop,
    /// Anything else: its type and what follows the header.
    Message { kind: u16, body: &'a [u8] },
}

/// The messages of one datagram. Ends with an error at the first that does not fit.
pub(crate) fn parse(mut datagram: &[u8]) -> impl Iterator<Item = Result<Item<'_>, Refused>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        Some(match take(&mut datagram) {
            ControlFlow::Continue(item) => item,
            ControlFlow::Break(refused) => {
                datagram = &[];
                Err(refused)
            }
        })
    })
}

/// Cuts one message off; breaks when there is no telling where the next one starts.
fn take<'a>(datagram: &mut &'a [u8]) -> ControlFlow<Refused, Result<Item<'a>, Refused>> {
    let Some(&[l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..]) = datagram.first_chunk::<HEADER>() else {
        return ControlFlow::Break(Refused::malformed(format_args!("a message of {} bytes", datagram.len())));
    };
    let length = u32::from_ne_bytes([l0, l1, l2, l3]);
    let whole = usize::try_from(length)
        .ok()
        .filter(|length| *length >= HEADER)
        .and_then(|length| datagram.get(..length));
    let Some(whole) = whole else {
        return ControlFlow::Break(Refused::malformed(format_args!(
            "length {length} of {} bytes",
            datagram.len()
        )));
    };
    *datagram = datagram.get(whole.len().next_multiple_of(4)..).unwrap_or_default();
    let flags = u16::from_ne_bytes([f0, f1]);
    ControlFlow::Continue(payload(u16::from_ne_bytes([k0, k1]), flags, &whole[HEADER..]).map(|payload| {
        Item {
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            interrupted: flags & NLM_F_DUMP_INTR != 0,
            payload,
        }
    }))
}

fn payload(kind: u16, flags: u16, body: &[u8]) -> Result<Payload<'_>, Refused> {
    Ok(match kind {
        NLMSG_NOOP => Payload::Noop,
        NLMSG_OVERRUN => Payload::Refused(Errno::NOBUFS.into()),
        // A DONE without a code comes from old kernels and from other families.
        NLMSG_DONE if body.is_empty() => Payload::Done,
        NLMSG_DONE | NLMSG_ERROR => {
            let (code, rest) = body.split_at_checked(4).ok_or_else(|| Refused::malformed("no error code"))?;
            let code = as_i32(code)?;
            if code != 0 {
                let list = if kind == NLMSG_ERROR { after_request(flags, rest) } else { rest };
                let says = (flags & NLM_F_ACK_TLVS != 0).then(|| words(list)).flatten();
                let errno = code.checked_neg().unwrap_or(i32::MAX);
                // Codes outside 1..4096 are no errnos and rustix would panic on them. DONE may carry a count.
                if !(1..4096).contains(&errno) {
                    if kind == NLMSG_DONE {
                        return Ok(Payload::Done);
                    }
                    return Err(Refused::malformed(format_args!("error code {code}")));
                }
                Payload::Refused(Refused::new(Errno::from_raw_os_error(errno), says))
            } else if kind == NLMSG_DONE {
                Payload::Done
            } else {
                Payload::Ack
            }
        }
        kind => Payload::Message { kind, body },
    })
}

/// What follows the copy of the request in an error message: the header only if the message is capped, the
/// whole request otherwise.
fn after_request(flags: u16, rest: &[u8]) -> &[u8] {
    let copied = if flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        let length = rest.get(..4).and_then(|bytes| as_i32(bytes).ok());
        length
            .and_then(|length| usize::try_from(length).ok())
            .map_or(HEADER, |length| length.next_multiple_of(4))
    };
    rest.get(copied..).unwrap_or_default()
}

fn words(list: &[u8]) -> Option<String> {
    attributes(list)
        .map_while(Result::ok)
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, value)| as_string(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn refusal(code: i32, flags: u16, copied: &[u8], says: &[u8]) -> Vec<u8> {
        let mut body = code.to_ne_bytes().to_vec();
        body.extend(copied);
        body.extend(u16::try_from(4 + says.len()).unwrap().to_ne_bytes());
        body.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        body.extend(says);
        message(NLMSG_ERROR, flags, 7, &body)
    }

    #[test]
    fn several_messages_in_one_datagram() {
        let mut bytes = message(NLMSG_ERROR, NLM_F_CAPPED, 1, &[0; 20]);
        bytes.extend(message(16, NLM_F_DUMP_INTR, 2, b"abc"));
        bytes.extend(message(NLMSG_DONE, 0, 3, &[0; 4]));
        let items: Vec<_> = parse(&bytes).map(Result::unwrap).collect();
        assert_eq!(items.len(), 3);
        assert_eq!(items[0], Item { sequence: 1, interrupted: false, payload: Payload::Ack });
        assert_eq!(
            items[1],
            Item { sequence: 2, interrupted: true, payload: Payload::Message { kind: 16, body: b"abc" } }
        );
        assert_eq!(items[2].payload, Payload::Done);
    }

    #[test]
    fn words_follow_a_capped_or_a_whole_request() {
        let request = message(16, 0, 7, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let expected = Payload::Refused(Refused::new(Errno::EXIST, Some("taken".into())));
        for (flags, copied) in [(NLM_F_CAPPED, &request[..HEADER]), (0, &request[..])] {
            let bytes = refusal(-17, flags | NLM_F_ACK_TLVS, copied, b"taken\0");
            assert_eq!(parse(&bytes).next().unwrap().unwrap().payload, expected);
        }
    }

    #[test]
    fn nonsense_ends_the_datagram() {
        for length in [0u32, 15, 17, u32::MAX] {
            let mut bytes = message(16, 0, 1, &[]);
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            let items: Vec<_> = parse(&bytes).collect();
            assert_eq!(items.len(), 1);
            assert_eq!(items[0].as_ref().unwrap_err().errno(), Errno::BADMSG);
        }
        assert!(parse(&message(NLMSG_ERROR, 0, 1, &i32::MIN.to_ne_bytes())).next().unwrap().is_err());
    }

    /// Everything that ever looks at received bytes.
    fn decode(body: &[u8]) {
        drop(crate::link::Link::parse(body));
        drop(crate::address::Address::parse(body));
        drop(crate::route::Route::parse(body));
        drop(crate::nsid::parse(body));
        drop(crate::diag::SocketInfo::parse(6, body));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            parse(&bytes).for_each(drop);
            decode(&bytes);
        }

        #[test]
        fn never_panics_inside_a_frame(
            kind in 0u16..120, flags: u16, body in proptest::collection::vec(any::<u8>(), 0..256),
        ) {
            for item in parse(&message(kind, flags, 1, &body)).flatten() {
                if let Payload::Message { body, .. } = item.payload {
                    decode(body);
                }
            }
        }

        /// Bytes that look like headers and attributes get much further than noise does.
        #[test]
        fn never_panics_on_attributes(
            header in prop_oneof![Just(4usize), Just(8), Just(12), Just(16), Just(72)],
            first in prop_oneof![Just(2u8), Just(10), any::<u8>()],
            list in proptest::collection::vec((0u16..64, proptest::collection::vec(any::<u8>(), 0..24)), 0..16),
        ) {
            let mut body = vec![first; header];
            for (kind, value) in list {
                body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
                body.extend(kind.to_ne_bytes());
                body.extend(&value);
                body.resize(body.len().next_multiple_of(4), 0);
            }
            decode(&body);
        }
    }
}
