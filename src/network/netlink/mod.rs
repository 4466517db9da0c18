//! Netlink messages: requests as bytes, and what the kernel says of them.
//!
//! ```text
//! request   = nlmsghdr (16 bytes) header of the family, attributes
//! attribute = u16 length  u16 kind  value, padded to 4 bytes; a value can be attributes again
//! ```
//!
//! Requests are collected and sent at once: the kernel works through them in order and has done so when the call returns.
//! Only the last one asks to be confirmed, since errors are told in any case; so a batch of any length fits into the
//! socket's buffer.
//!
//! Own code, because the start of a container is made of few such messages and the crates cost more than they save:
//! netlink-packet-route knows nothing of nf_tables, and netlink-bindings, which does, is 80,000 generated lines for the five
//! families needed here (23 s of type checks) to replace some 600.

use std::fmt;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use crate::sys::netlink::{self, Protocol};

pub mod conntrack;
pub mod device;
pub mod expression;
pub mod nft;
pub mod route;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// To make what is not there.
pub const NLM_F_CREATE: u16 = 0x400;
/// To fail if it is there.
pub const NLM_F_EXCL: u16 = 0x200;
/// To put a rule after the others.
pub const NLM_F_APPEND: u16 = 0x800;
/// Set in the header of an error whose attributes follow the header of the request.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Says that a value is attributes.
const NLA_F_NESTED: u16 = 0x8000;
const HEADER_BYTES: usize = 16;
/// The kernel's dumps come in parts of at most this size.
const RECEIVE_BYTES: usize = 32 << 10;

/// Requests on their way to the kernel.
#[derive(Debug, Default)]
pub struct Requests {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last request begins.
    last: usize,
    dumps: bool,
}

impl Requests {
    /// Adds a request: `header` is the family's own, `fill` adds the attributes.
    pub fn add(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.last = self.bytes.len();
        self.count += 1;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(header);
        pad(&mut self.bytes);
        fill(&mut Attributes {
            bytes: &mut self.bytes,
        });
        let length = u32::try_from(self.bytes.len() - self.last).unwrap_or(u32::MAX);
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds a request for all objects of a kind; it must be the only one.
    pub fn dump(&mut self, kind: u16, header: &[u8]) {
        self.dumps = true;
        self.add(kind, NLM_F_DUMP, header, |_| {});
    }

    /// Asks for a confirmation of the request that was added last.
    fn confirm_last(&mut self) {
        let at = self.last + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | NLM_F_ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes of a request, or of an attribute.
#[derive(Debug)]
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.open(kind, |bytes| bytes.extend(value));
    }

    /// Adds text with a zero byte at its end.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.open(kind, |bytes| {
            bytes.extend(value.as_bytes());
            bytes.push(0);
        });
    }

    /// Adds a number in the machine's order of bytes.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Adds a number in the network's order of bytes.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Adds attributes as an attribute.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.open(kind | NLA_F_NESTED, |bytes| fill(&mut Attributes { bytes }));
    }

    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self.bytes);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        pad(self.bytes);
    }
}

/// Returns the attributes in `bytes` with their kinds; what is cut off is left out.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NLA_F_NESTED, value))
    })
}

/// Returns the value of the first attribute of `kind`.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// Returns a number in the machine's order of bytes.
pub fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

/// Returns text without the zero byte at its end.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

/// The kernel does not do what was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Number of the error.
    pub errno: i32,
    /// What the kernel says about it; often nothing.
    pub why: String,
    /// Which of the requests it is about, from 1.
    pub request: u32,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        if self.why.is_empty() {
            write!(f, "{error}")
        } else {
            write!(f, "{} ({error})", self.why)
        }
    }
}

impl std::error::Error for Refused {}

/// Returns whether `error` is the kernel's refusal with one of these numbers.
pub fn is_refused(error: &anyhow::Error, errnos: &[i32]) -> bool {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Refused>())
        .is_some_and(|refused| errnos.contains(&refused.errno))
}

/// A message from the kernel: its kind, and what follows the header.
pub type Reply = (u16, Vec<u8>);

/// A socket to one family of one network namespace.
#[derive(Debug)]
pub struct Socket {
    socket: OwnedFd,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> Result<Socket> {
        let socket = netlink::open(protocol).context("open a netlink socket")?;
        Ok(Socket { socket })
    }

    /// Sends requests and returns what they ask for.
    ///
    /// The error is a [`Refused`], the first if there are several; the requests before it are done, and except in
    /// transactions those after it too.
    pub fn request(&self, mut requests: Requests) -> Result<Vec<Reply>> {
        if !requests.dumps {
            requests.confirm_last();
        }
        self.exchange(&requests.bytes, requests.count)
    }

    /// Sends requests whose confirmation is already asked for; `last` is the number of the one that is confirmed.
    fn exchange(&self, bytes: &[u8], last: u32) -> Result<Vec<Reply>> {
        netlink::send(self.socket.as_fd(), bytes).context("send a netlink request")?;
        let mut buffer = vec![0; RECEIVE_BYTES];
        let mut replies = Vec::new();
        let mut refused: Option<Refused> = None;
        loop {
            let received = netlink::receive(self.socket.as_fd(), &mut buffer, refused.is_none());
            let length = match (received, refused) {
                (Ok(length), before) => {
                    refused = before;
                    length
                }
                // Everything there is to be said has been said.
                (Err(error), Some(refused)) if error.raw_os_error() == Some(libc::EAGAIN) => {
                    return Err(refused.into());
                }
                (Err(error), _) => return Err(error).context("receive from netlink"),
            };
            for message in messages(&buffer[..length]) {
                match message.kind {
                    NLMSG_DONE => return Ok(replies),
                    NLMSG_ERROR => match message.refusal() {
                        Some(refusal) => refused = refused.or(Some(refusal)),
                        None if message.sequence == last => {
                            return refused.map_or(Ok(replies), |refused| Err(refused.into()));
                        }
                        None => {}
                    },
                    kind => replies.push((kind, message.body.to_vec())),
                }
            }
        }
    }
}

struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(number(bytes)?).ok()?;
        let body = bytes.get(HEADER_BYTES..length)?;
        let received = Received {
            kind: u16::from_ne_bytes([bytes[4], bytes[5]]),
            flags: u16::from_ne_bytes([bytes[6], bytes[7]]),
            sequence: number(&bytes[8..])?,
            body,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

impl Received<'_> {
    /// An error message without an error is a confirmation.
    fn refusal(&self) -> Option<Refused> {
        let code = number(self.body).unwrap_or_default().cast_signed();
        if code == 0 {
            return None;
        }
        // The header of the request comes along, without its body (NETLINK_CAP_ACK).
        let more = self.body.get(4 + HEADER_BYTES..);
        let why = more
            .filter(|_| self.flags & NLM_F_ACK_TLVS != 0)
            .and_then(|more| attribute(more, NLMSGERR_ATTR_MSG))
            .map(text);
        Some(Refused {
            errno: code.saturating_neg(),
            why: why.unwrap_or_default(),
            request: self.sequence,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let mut requests = Requests::default();
        requests.add(7, NLM_F_CREATE, &[1, 2], |attributes| {
            attributes.text(3, "ab");
            attributes.nest(4, |inner| inner.be32(5, 6));
        });
        let bytes = &requests.bytes;
        assert_eq!(bytes.len(), 16 + 4 + 8 + 12);
        assert_eq!(number(bytes), Some(40));
        assert_eq!(bytes[16..20], [1, 2, 0, 0]);
        let all: Vec<_> = attributes(&bytes[20..]).collect();
        assert_eq!(all[0], (3, &b"ab\0"[..]));
        assert_eq!(all[1].0, 4);
        assert_eq!(attribute(all[1].1, 5), Some(&[0, 0, 0, 6][..]));
    }

    #[test]
    fn damage_ends_what_is_read() {
        for bytes in [
            &[][..],
            &[9],
            &[9, 0, 1, 0, 5],
            &[3, 0, 1, 0],
            &[0, 0, 1, 0],
        ] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
            assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn an_error_has_its_number_and_reason() {
        let mut body = (-17_i32).to_ne_bytes().to_vec();
        body.extend([0; HEADER_BYTES]);
        Attributes { bytes: &mut body }.text(NLMSGERR_ATTR_MSG, "no");
        let received = Received {
            kind: NLMSG_ERROR,
            flags: NLM_F_ACK_TLVS,
            sequence: 2,
            body: &body,
        };
        let refused = received.refusal().unwrap();
        assert_eq!((refused.errno, refused.request), (17, 2));
        assert_eq!(refused.to_string(), "no (File exists (os error 17))");
    }
}
