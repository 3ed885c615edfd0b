//! The blocking request socket.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink, sockopt,
    },
};

use crate::{
    BatchError, Family, Refused, Request,
    datagram::{HEADER, Item, Payload, parse},
};

/// The level of [`OPTIONS`], netlink(7).
const SOL_NETLINK: u32 = 270;

/// The options that a request socket has, each set to 1: `NETLINK_CAP_ACK` (Linux 4.3; errors do not repeat the
/// request), `NETLINK_EXT_ACK` (4.12; errors carry the kernel's words) and `NETLINK_GET_STRICT_CHK` (4.20; the
/// kernel filters dumps as asked). On an older kernel [`Refused`] has no words and dumps are filtered here.
const OPTIONS: [u32; 3] = [10, 11, 12];

/// The kernel fills at most 32 KiB of a datagram in a dump, but a single link with very many virtual functions
/// can be larger.
const BUFFER: usize = 64 << 10;

/// Each acknowledgement takes about 1 KiB of the receive buffer until it is read, and none is read before the
/// send returns: this many fit in the 208 KiB that the smallest default gives.
const AT_ONCE: usize = 128;

/// Changes while a dump runs make it start over at most this often.
const RETRIES: usize = 32;

/// What the kernel says to one message.
type Answer = Result<(), Refused>;

/// A netlink socket for requests, one at a time; dropping it closes it.
///
/// It stays in the network namespace in which its descriptor was opened.
#[derive(Debug)]
pub struct Socket<F> {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    family: PhantomData<fn() -> F>,
}

impl<F: Family> Socket<F> {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENFILE`, `ENOBUFS`; `EPROTONOSUPPORT` if the kernel lacks the protocol.
    pub fn open() -> io::Result<Self> {
        Self::prepared(rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            F::PROTOCOL,
        )?)
    }

    /// Opens a socket of another network namespace, to which it belongs for life. It holds that namespace, and
    /// its end is one of the things the namespace's own end waits for: close it early.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and those of entering the namespace, setns(2).
    pub fn open_in(netns: impl AsFd) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        Self::prepared(kernel::namespace::socket_in(netns, family, kind, F::PROTOCOL)?)
    }

    /// Sets the options that make the kernel say more.
    fn prepared(fd: OwnedFd) -> io::Result<Self> {
        for option in OPTIONS {
            match kernel::socket::setsockopt(&fd, SOL_NETLINK, option, 1) {
                // An older kernel lacks the option; its errors have fewer words.
                Ok(()) | Err(Errno::NOPROTOOPT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Self::from_fd(fd)
    }

    /// Takes over a socket of the same protocol that was opened elsewhere, say in another network namespace.
    /// Its options are the opener's business.
    ///
    /// # Errors
    ///
    /// `EINVAL` or `EAFNOSUPPORT` if it is no netlink socket.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        // A connected netlink socket takes datagrams from the kernel only: who has CAP_NET_ADMIN in the
        // namespace could otherwise forge answers.
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        // Cut to net.core.rmem_max by the kernel, never refused.
        sockopt::set_socket_recv_buffer_size(&fd, 1 << 20)?;
        Ok(Self { fd, sequence: 0, buffer: Vec::with_capacity(BUFFER), family: PhantomData })
    }

    /// Sends one message with `NLM_F_ACK` and waits for the acknowledgement.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, or that of the socket.
    pub fn ack(&mut self, message: F::Message, flags: u16) -> Result<(), Refused> {
        Ok(self.batch(&[(message, flags)])?)
    }

    /// Sends all messages in one `sendmsg`, each with `NLM_F_ACK`, and reads all acknowledgements.
    ///
    /// The kernel carries the messages out in order and goes on after one that it refuses. More messages
    /// than the socket's buffers hold answers for (128, or 64 KiB) take one `sendmsg` for each such part.
    ///
    /// # Errors
    ///
    /// The first message that was refused.
    pub fn batch(&mut self, requests: &[(F::Message, u16)]) -> Result<(), BatchError> {
        let answers = self.each(requests)?;
        let first = answers.into_iter().enumerate().find_map(|(index, answer)| Some((index, answer.err()?)));
        first.map_or(Ok(()), |(index, refused)| Err(BatchError { index, refused }))
    }

    /// As [`batch`](Self::batch), but returns the kernel's answer to each message.
    ///
    /// # Errors
    ///
    /// Only failures of the socket itself.
    pub fn each(&mut self, requests: &[(F::Message, u16)]) -> Result<Vec<Result<(), Refused>>, BatchError> {
        let mut answers = Vec::with_capacity(requests.len());
        while answers.len() < requests.len() {
            let first = self.sequence.wrapping_add(1);
            let mut bytes = Vec::new();
            let mut sent = 0;
            for (message, flags) in requests[answers.len()..].iter().take(AT_ONCE) {
                if sent > 0 && bytes.len() + HEADER + message.buffer_len() > BUFFER {
                    break;
                }
                self.write(&mut bytes, message, flags | NLM_F_ACK);
                sent += 1;
            }
            let (part, end) = self.transact(&bytes, first, sent);
            answers.extend(part.into_iter().map_while(|answer| answer));
            end.map_err(|refused| BatchError { index: answers.len(), refused })?;
        }
        Ok(answers)
    }

    /// Sends `bytes` and collects the answers to the `count` messages numbered from `first`; also those that
    /// came before the socket failed.
    fn transact(&mut self, bytes: &[u8], first: u32, count: usize) -> (Vec<Option<Answer>>, Answer) {
        let mut answers = vec![None; count];
        let mut missing = count;
        let mut step = || {
            self.send(bytes)?;
            while missing > 0 {
                for item in self.receive()? {
                    let Item { sequence, payload, .. } = item?;
                    let slot = usize::try_from(sequence.wrapping_sub(first)).ok();
                    let Some(slot) = slot.and_then(|slot| answers.get_mut(slot)) else { continue };
                    let answer = match payload {
                        Payload::Ack => Ok(()),
                        Payload::Refused(refused) => Err(refused),
                        _ => continue,
                    };
                    missing -= usize::from(slot.is_none());
                    *slot = Some(answer);
                }
            }
            Ok(())
        };
        let end = step();
        (answers, end)
    }

    /// Returns everything that the request, with `NLM_F_DUMP`, makes the kernel list. A list that changed while
    /// it was read (`NLM_F_DUMP_INTR`) is read again.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, that of the socket, `EBADMSG` for a message that the codec cannot decode, `EINTR`
    /// if the list never stood still.
    pub fn dump(&mut self, message: F::Message) -> Result<Vec<F::Message>, Refused>
    where
        F::Message: NetlinkDeserializable,
    {
        self.list(&message, |kind, body| decode::<F>(kind, body).map(Some))
    }

    /// Sends one message without `NLM_F_ACK` and returns the message that answers it.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump).
    pub fn get(&mut self, message: F::Message) -> Result<F::Message, Refused>
    where
        F::Message: NetlinkDeserializable,
    {
        self.answer(&message, decode::<F>)
    }

    /// A dump of which `each` decodes what it wants to keep.
    pub(crate) fn list<T>(
        &mut self,
        message: &F::Message,
        mut each: impl FnMut(u16, &[u8]) -> Result<Option<T>, Refused>,
    ) -> Result<Vec<T>, Refused> {
        for _ in 0..RETRIES {
            let (kept, interrupted) = self.list_once(message, &mut each)?;
            if !interrupted {
                return Ok(kept);
            }
        }
        Err(Refused::new(Errno::INTR, Some(format!("the list changed {RETRIES} times while it was read"))))
    }

    fn list_once<T>(
        &mut self,
        message: &F::Message,
        each: &mut impl FnMut(u16, &[u8]) -> Result<Option<T>, Refused>,
    ) -> Result<(Vec<T>, bool), Refused> {
        let own = self.ask(message, NLM_F_DUMP)?;
        let (mut kept, mut interrupted, mut spoilt) = (Vec::new(), false, None);
        loop {
            for item in self.receive()? {
                let item = item?;
                if item.sequence != own {
                    continue;
                }
                interrupted |= item.interrupted;
                match item.payload {
                    Payload::Message { kind, body } => match each(kind, body) {
                        Ok(Some(one)) => kept.push(one),
                        Ok(None) => {}
                        // The rest has to be read all the same: the kernel refuses a second dump before.
                        Err(refused) => spoilt = spoilt.or(Some(refused)),
                    },
                    Payload::Refused(refused) => return Err(refused),
                    Payload::Done => return spoilt.map_or(Ok((kept, interrupted)), Err),
                    Payload::Ack | Payload::Noop => {}
                }
            }
        }
    }

    /// A request with one answer, which `read` decodes.
    pub(crate) fn answer<T>(
        &mut self,
        message: &F::Message,
        read: impl Fn(u16, &[u8]) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let own = self.ask(message, 0)?;
        loop {
            for item in self.receive()? {
                let item = item?;
                match item.payload {
                    _ if item.sequence != own => {}
                    Payload::Message { kind, body } => return read(kind, body),
                    Payload::Refused(refused) => return Err(refused),
                    Payload::Done | Payload::Ack | Payload::Noop => {}
                }
            }
        }
    }

    /// Sends one message and returns its sequence number.
    fn ask(&mut self, message: &F::Message, flags: u16) -> Result<u32, Refused> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, message, flags);
        self.send(&bytes)?;
        Ok(self.sequence)
    }

    /// Appends a message with the next sequence number.
    fn write(&mut self, bytes: &mut Vec<u8>, message: &F::Message, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        append(bytes, message, flags, self.sequence);
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Refused> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))?;
        Ok(())
    }

    /// The next datagram's messages. `ENOBUFS` is an error here: an answer was lost and would be waited for
    /// for ever.
    fn receive(&mut self) -> Result<impl Iterator<Item = Result<Item<'_>, Refused>>, Refused> {
        let (fd, buffer) = (&self.fd, &mut self.buffer);
        // Into memory that nobody has written to: most answers are short, and what they do not reach is never paid.
        buffer.clear();
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(fd, rustix::buffer::spare_capacity(buffer), RecvFlags::TRUNC)
        })?;
        let datagram = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        Ok(parse(datagram))
    }
}

impl<F> AsFd for Socket<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The bytes of a request with `NLM_F_ACK`, numbered 1, for whoever has a socket and nothing to encode with: a new
/// process that has not called exec.
#[must_use]
pub fn encode(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, &request.0, request.1 | NLM_F_ACK, 1);
    bytes
}

fn append<M: NetlinkSerializable>(bytes: &mut Vec<u8>, message: &M, flags: u16, sequence: u32) {
    let start = bytes.len();
    let end = start + HEADER + message.buffer_len();
    bytes.resize(end.next_multiple_of(4), 0);
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(end - start).expect("a message is shorter than 4 GiB");
    header.message_type = message.message_type();
    header.flags = flags | NLM_F_REQUEST;
    header.sequence_number = sequence;
    header.emit(&mut bytes[start..]);
    message.serialize(&mut bytes[start + HEADER..end]);
}

fn decode<F: Family>(kind: u16, body: &[u8]) -> Result<F::Message, Refused>
where
    F::Message: NetlinkDeserializable,
{
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    F::Message::deserialize(&header, body).map_err(Refused::malformed)
}
