//! Queries and answers on the wire (RFC 1035, EDNS of RFC 6891), on top of the `domain` crate.
//!
//! Pure. A message is read in place, and only as far as is needed: its header, its question, and how long an answer may be.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::{
    AdditionalBuilder, AnswerBuilder, PushError, StaticCompressor,
};
use domain::base::name::Name;
use domain::base::{Message, MessageBuilder, ParsedName, Question};
use domain::rdata::{A, Aaaa, Ptr};

/// How long an answer may be that goes to a client which says nothing about it.
pub(super) const DATAGRAM_BYTES: usize = 512;
/// How long a message on a stream may be: its length is a number of two bytes.
pub(super) const STREAM_BYTES: usize = 65_535;
/// What answers say that this server takes in one datagram: what passes through every network in one piece.
const OWN_DATAGRAM_BYTES: u16 = 1232;
/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;
/// How long an answer may be remembered. Containers come and go, and programs that ask once and remember for ever are what
/// breaks when they do; docker says 600.
const TTL_S: u32 = 2;

/// A query that can be answered.
#[derive(Debug)]
pub(super) struct Query<'a> {
    message: Message<&'a [u8]>,
    question: Question<ParsedName<&'a [u8]>>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The addresses of a name, in lower case without the last dot; of IPv4, IPv6, or both.
    Addresses(String, Families),
    /// The name of an address.
    Name(IpAddr),
    /// Something else about a name.
    Other(String),
    /// Something that no container has.
    Foreign,
}

/// Which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Families {
    V4,
    V6,
    Both,
}

impl Families {
    /// Returns whether `address` is asked for.
    pub(super) fn include(self, address: IpAddr) -> bool {
        match self {
            Families::V4 => address.is_ipv4(),
            Families::V6 => address.is_ipv6(),
            Families::Both => true,
        }
    }
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Name(String),
}

/// Reads a query.
///
/// The error is the answer that says what is wrong with it; none for what is not a query at all.
pub(super) fn read(bytes: &[u8]) -> Result<Query<'_>, Option<Vec<u8>>> {
    let message = Message::from_octets(bytes).map_err(|_| None)?;
    if message.header().qr() {
        return Err(None);
    }
    if message.header().opcode() != Opcode::QUERY {
        return Err(failure(bytes, Rcode::NOTIMP));
    }
    match message.sole_question() {
        Ok(question) => Ok(Query { message, question }),
        Err(_) => Err(failure(bytes, Rcode::FORMERR)),
    }
}

impl Query<'_> {
    /// Returns what is asked.
    pub(super) fn asked(&self) -> Asked {
        if self.question.qclass() != Class::IN {
            return Asked::Foreign;
        }
        let Some(name) = text(self.question.qname()) else {
            return Asked::Foreign;
        };
        match self.question.qtype() {
            Rtype::A => Asked::Addresses(name, Families::V4),
            Rtype::AAAA => Asked::Addresses(name, Families::V6),
            Rtype::ANY => Asked::Addresses(name, Families::Both),
            Rtype::PTR => reverse(&name).map_or(Asked::Other(name), Asked::Name),
            _ => Asked::Other(name),
        }
    }

    /// Returns how long an answer in a datagram may be.
    pub(super) fn datagram_bytes(&self) -> usize {
        self.message.opt().map_or(DATAGRAM_BYTES, |opt| {
            usize::from(opt.udp_payload_size()).max(DATAGRAM_BYTES)
        })
    }

    /// Returns the answer with `records`, as many as fit; a client that misses some asks again on a stream.
    pub(super) fn answer(&self, records: &[Data], max_bytes: usize) -> Option<Vec<u8>> {
        let room = if self.message.opt().is_some() {
            OPT_BYTES
        } else {
            0
        };
        self.begin(Rcode::NOERROR, max_bytes.saturating_sub(room))
            .and_then(|mut answer| {
                for record in records {
                    if self.push(&mut answer, record).is_err() {
                        answer.header_mut().set_tc(true);
                        break;
                    }
                }
                self.finish(answer, max_bytes)
            })
            .ok()
    }

    /// Returns an answer that says only that there is none.
    pub(super) fn failure(&self, rcode: Rcode) -> Option<Vec<u8>> {
        self.begin(rcode, STREAM_BYTES)
            .and_then(|answer| self.finish(answer, STREAM_BYTES))
            .ok()
    }

    fn begin(&self, rcode: Rcode, max_bytes: usize) -> Result<Answer, PushError> {
        let target = StaticCompressor::new(Vec::with_capacity(DATAGRAM_BYTES));
        let mut builder = MessageBuilder::from_target(target).map_err(|_| PushError::ShortBuf)?;
        builder.set_push_limit(max_bytes);
        let mut answer = builder.start_answer(&self.message, rcode)?;
        answer.header_mut().set_ra(true);
        Ok(answer)
    }

    fn push(&self, answer: &mut Answer, record: &Data) -> Result<(), PushError> {
        let owner = self.question.qname();
        match record {
            Data::Address(IpAddr::V4(address)) => answer.push((owner, TTL_S, A::new(*address))),
            Data::Address(IpAddr::V6(address)) => answer.push((owner, TTL_S, Aaaa::new(*address))),
            Data::Name(name) => {
                // Names come from files of ours, but a host name may be longer than a label.
                let Ok(name) = Name::<Vec<u8>>::vec_from_str(name) else {
                    return Ok(());
                };
                answer.push((owner, TTL_S, Ptr::new(name)))
            }
        }
    }

    fn finish(&self, answer: Answer, max_bytes: usize) -> Result<Vec<u8>, PushError> {
        let mut additional: AdditionalBuilder<_> = answer.additional();
        if self.message.opt().is_some() {
            additional.set_push_limit(max_bytes);
            additional.opt(|opt| {
                opt.set_udp_payload_size(OWN_DATAGRAM_BYTES);
                Ok(())
            })?;
        }
        Ok(additional.finish().into_target())
    }
}

type Answer = AnswerBuilder<StaticCompressor<Vec<u8>>>;

/// Returns the answer to `query` that says only why there is none; nothing if it is no message.
pub(super) fn failure(query: &[u8], rcode: Rcode) -> Option<Vec<u8>> {
    let message = Message::from_octets(query).ok()?;
    let mut answer = MessageBuilder::new_vec().start_error(&message, rcode);
    answer.header_mut().set_ra(true);
    Some(answer.finish())
}

/// Returns the message with another id, which must have one.
pub(super) fn with_id(message: &[u8], id: u16) -> Vec<u8> {
    let mut message = message.to_vec();
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
    message
}

/// Returns the id of a message; zero if it has none.
pub(super) fn id(message: &[u8]) -> u16 {
    match message {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// What another server replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// An answer, perhaps that there is nothing.
    Final,
    /// That it cannot answer; another one may.
    Failure,
}

/// Judges `reply` to `query`; nothing if it does not belong to it.
pub(super) fn judge(query: &[u8], reply: &[u8]) -> Option<Reply> {
    let query = Message::from_octets(query).ok()?;
    let reply = Message::from_octets(reply).ok()?;
    let rcode = reply.header().rcode();
    // A server that could not read the question cannot repeat it.
    let repeats_nothing = reply.header().qr()
        && reply.header().id() == query.header().id()
        && reply.header_counts().qdcount() == 0
        && rcode != Rcode::NOERROR;
    if !repeats_nothing && !reply.is_answer(&query) {
        return None;
    }
    Some(match rcode {
        Rcode::NOERROR | Rcode::NXDOMAIN => Reply::Final,
        _ => Reply::Failure,
    })
}

/// Returns a name in lower case; nothing if it has a label that no container's name can have.
fn text(name: &ParsedName<&[u8]>) -> Option<String> {
    let mut text = String::new();
    for label in name.iter().filter(|label| !label.is_root()) {
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label.as_slice() {
            if *byte == b'.' || !byte.is_ascii_graphic() {
                return None;
            }
            text.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    Some(text)
}

/// Returns the address in a name of the reverse zones.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut parts: Vec<&str> = digits.split('.').collect();
        parts.reverse();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut text = String::new();
    for (count, digit) in digits.rsplit('.').enumerate() {
        if digit.len() != 1 {
            return None;
        }
        if count > 0 && count % 4 == 0 {
            text.push(':');
        }
        text.write_str(digit).ok()?;
    }
    text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}
