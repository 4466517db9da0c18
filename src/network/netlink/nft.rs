//! nf_tables: tables, chains, sets and rules as data, and the transaction that makes or unmakes them.
//!
//! A transaction is done as a whole or not at all. Everything is in tables of family `inet`, which see IPv4 and IPv6, but
//! for rules that are put into the table of another program.

use anyhow::Result;

use super::expression::Expression;
use super::{
    Attributes, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, Requests, Socket, attribute, is_refused,
    text,
};

/// Subsystem of nfnetlink.
const NFTABLES: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = NFTABLES;
const GET_TABLE: u16 = NFTABLES | 1;
const DEL_TABLE: u16 = NFTABLES | 2;
const NEW_CHAIN: u16 = NFTABLES | 3;
const GET_CHAIN: u16 = NFTABLES | 4;
const DEL_CHAIN: u16 = NFTABLES | 5;
const NEW_RULE: u16 = NFTABLES | 6;
const GET_RULE: u16 = NFTABLES | 7;
const DEL_RULE: u16 = NFTABLES | 8;
const NEW_SET: u16 = NFTABLES | 9;
const NEW_ELEMENTS: u16 = NFTABLES | 0xc;
const DEL_ELEMENTS: u16 = NFTABLES | 0xe;

/// The table dies with the socket that made it (kernel 5.12), and nobody else can change it.
const TABLE_OWNER: u32 = 2;
const SET_IS_MAP: u32 = 8;
/// Elements in one message: an attribute holds at most 64 KiB.
const ELEMENTS_MAX: usize = 500;

/// The family of a table: NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet = 1,
    /// IPv4.
    Ip = 2,
    /// IPv6.
    Ip6 = 10,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    /// Its family.
    pub family: TableFamily,
    /// Its name.
    pub name: &'a str,
}

/// Where the packets of a base chain come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// As they come in.
    Prerouting = 0,
    /// From one interface to another.
    Forward = 2,
    /// From this machine.
    Output = 3,
    /// As they go out.
    Postrouting = 4,
}

/// What a base chain is for: its type and its place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// To drop before connections are known; priority -300.
    Raw,
    /// To drop and to accept; priority 0.
    Filter,
    /// To change destinations; priority -100.
    DestinationNat,
    /// To change sources; priority 100.
    SourceNat,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// Its name.
    pub name: &'a str,
    /// Types of the parts of its keys.
    pub key: &'a [DataType],
    /// Types of the parts of a map's values; none for a set.
    pub value: &'a [DataType],
}

/// The types of nft(8): number and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// `ipv4_addr`
    Ipv4,
    /// `ipv6_addr`
    Ipv6,
    /// `inet_proto`
    Protocol,
    /// `inet_service`
    Port,
    /// `ifname`
    Interface,
}

impl DataType {
    fn number(self) -> u32 {
        match self {
            DataType::Ipv4 => 7,
            DataType::Ipv6 => 8,
            DataType::Protocol => 12,
            DataType::Port => 13,
            DataType::Interface => 41,
        }
    }

    fn bytes(self) -> u32 {
        match self {
            DataType::Protocol => 1,
            DataType::Port => 2,
            DataType::Ipv4 => 4,
            DataType::Ipv6 | DataType::Interface => 16,
        }
    }
}

/// Returns the number and length of the concatenation of types; each part of several takes whole registers.
fn concatenation(parts: &[DataType]) -> (u32, u32) {
    match parts {
        [one] => (one.number(), one.bytes()),
        parts => parts.iter().fold((0, 0), |(number, bytes), part| {
            let padded = part.bytes().next_multiple_of(4);
            (number << 6 | part.number(), bytes + padded)
        }),
    }
}

/// Returns the bytes of a concatenation.
pub fn concatenated(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(*part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

/// Returns the name of an interface as sets and comparisons have it.
pub fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Key and, in a map, value of an element.
pub type Element = (Vec<u8>, Option<Vec<u8>>);

/// What is to be done, all or nothing.
#[derive(Debug)]
pub struct Transaction {
    requests: Requests,
}

impl Default for Transaction {
    fn default() -> Transaction {
        let mut requests = Requests::default();
        requests.add(BATCH_BEGIN, 0, &batch_header(), |_| {});
        Transaction { requests }
    }
}

/// struct nfgenmsg with the subsystem in the network's order.
fn batch_header() -> [u8; 4] {
    [0, 0, 0, 10]
}

fn header(family: TableFamily) -> [u8; 4] {
    [family as u8, 0, 0, 0]
}

impl Transaction {
    /// Makes a table that must not be there yet; with `owned` it ends with the socket.
    pub fn make_table(&mut self, table: Table<'_>, owned: bool) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.add(NEW_TABLE, flags, table, |attributes| {
            attributes.text(1, table.name);
            attributes.be32(2, if owned { TABLE_OWNER } else { 0 });
        });
    }

    /// Deletes a table with all that is in it.
    pub fn delete_table(&mut self, table: Table<'_>) {
        self.add(DEL_TABLE, 0, table, |attributes| {
            attributes.text(1, table.name);
        });
    }

    /// Makes a base chain that must not be there yet; packets that no rule decides on are accepted.
    pub fn make_chain(&mut self, table: Table<'_>, name: &str, hook: Hook, kind: ChainKind) {
        let (kind, priority): (_, i32) = match kind {
            ChainKind::Raw => ("filter", -300),
            ChainKind::Filter => ("filter", 0),
            ChainKind::DestinationNat => ("nat", -100),
            ChainKind::SourceNat => ("nat", 100),
        };
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.add(NEW_CHAIN, flags, table, |attributes| {
            attributes.text(1, table.name);
            attributes.text(3, name);
            attributes.nest(4, |nested| {
                nested.be32(1, hook as u32);
                nested.be32(2, priority.cast_unsigned());
            });
            // NF_ACCEPT
            attributes.be32(5, 1);
            attributes.text(7, kind);
        });
    }

    /// Deletes a chain with its rules.
    pub fn delete_chain(&mut self, table: Table<'_>, name: &str) {
        self.add(DEL_RULE, 0, table, |attributes| {
            attributes.text(1, table.name);
            attributes.text(2, name);
        });
        self.add(DEL_CHAIN, 0, table, |attributes| {
            attributes.text(1, table.name);
            attributes.text(3, name);
        });
    }

    /// Makes a set or map.
    pub fn make_set(&mut self, table: Table<'_>, set: &Set<'_>) {
        let (key_type, key_bytes) = concatenation(set.key);
        let (value_type, value_bytes) = concatenation(set.value);
        // Names the set within the transaction.
        let id = u32::try_from(self.requests.bytes.len()).unwrap_or_default();
        self.add(NEW_SET, NLM_F_CREATE, table, |attributes| {
            attributes.text(1, table.name);
            attributes.text(2, set.name);
            attributes.be32(3, if set.value.is_empty() { 0 } else { SET_IS_MAP });
            attributes.be32(4, key_type);
            attributes.be32(5, key_bytes);
            if !set.value.is_empty() {
                attributes.be32(6, value_type);
                attributes.be32(7, value_bytes);
            }
            attributes.be32(10, id);
            if set.key == [DataType::Interface] {
                // Names are in the machine's order of bytes; nft(8) prints nothing without it.
                attributes.put(13, &[0, 4, 1, 0, 0, 0]);
            }
        });
    }

    /// Puts elements into a set or map.
    pub fn add_elements(&mut self, table: Table<'_>, set: &str, elements: &[Element]) {
        self.elements((NEW_ELEMENTS, NLM_F_CREATE), table, set, elements);
    }

    /// Takes elements out of a set, in which they must be.
    pub fn delete_elements(&mut self, table: Table<'_>, set: &str, elements: &[Element]) {
        self.elements((DEL_ELEMENTS, 0), table, set, elements);
    }

    fn elements(
        &mut self,
        (kind, flags): (u16, u16),
        table: Table<'_>,
        set: &str,
        elements: &[Element],
    ) {
        for some in elements.chunks(ELEMENTS_MAX) {
            self.add(kind, flags, table, |attributes| {
                attributes.text(1, table.name);
                attributes.text(2, set);
                attributes.nest(3, |list| {
                    for (key, value) in some {
                        list.nest(1, |element| {
                            element.nest(1, |nested| nested.put(1, key));
                            if let Some(value) = value {
                                element.nest(2, |nested| nested.put(1, value));
                            }
                        });
                    }
                });
            });
        }
    }

    /// Puts a rule at the end of a chain.
    pub fn add_rule(&mut self, table: Table<'_>, chain: &str, rule: &[Expression]) {
        self.rule(NLM_F_CREATE | NLM_F_APPEND, table, chain, rule);
    }

    /// Puts a rule before all others of a chain.
    pub fn insert_rule(&mut self, table: Table<'_>, chain: &str, rule: &[Expression]) {
        self.rule(NLM_F_CREATE, table, chain, rule);
    }

    fn rule(&mut self, flags: u16, table: Table<'_>, chain: &str, rule: &[Expression]) {
        self.add(NEW_RULE, flags, table, |attributes| {
            attributes.text(1, table.name);
            attributes.text(2, chain);
            attributes.nest(4, |list| rule.iter().for_each(|step| step.put(list)));
        });
    }

    /// Deletes one rule.
    pub fn delete_rule(&mut self, table: Table<'_>, chain: &str, handle: &[u8]) {
        self.add(DEL_RULE, 0, table, |attributes| {
            attributes.text(1, table.name);
            attributes.text(2, chain);
            attributes.put(3, handle);
        });
    }

    fn add(
        &mut self,
        kind: u16,
        flags: u16,
        table: Table<'_>,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.requests.add(kind, flags, &header(table.family), fill);
    }

    /// Does it.
    pub fn commit(mut self, socket: &Socket) -> Result<()> {
        self.requests.confirm_last();
        let last = self.requests.count;
        self.requests.add(BATCH_END, 0, &batch_header(), |_| {});
        socket.exchange(&self.requests.bytes, last).map(drop)
    }
}

/// A chain that somebody made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Number of the hook; none if it is not a base chain.
    pub hook: Option<u32>,
    /// Whether packets that no rule decides on are dropped.
    pub drops: bool,
}

/// Returns a chain; nothing if it, or its table, is not there.
pub fn chain(socket: &Socket, table: Table<'_>, name: &str) -> Result<Option<Chain>> {
    let mut requests = Requests::default();
    requests.add(GET_CHAIN, 0, &header(table.family), |attributes| {
        attributes.text(1, table.name);
        attributes.text(3, name);
    });
    match socket.request(requests) {
        Ok(replies) => Ok(replies.first().map(|(_, body)| parse_chain(body))),
        Err(error) if is_refused(&error, &[libc::ENOENT]) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_chain(body: &[u8]) -> Chain {
    let attributes = body.get(4..).unwrap_or_default();
    let big = |value: &[u8]| value.try_into().ok().map(u32::from_be_bytes);
    let hook = attribute(attributes, 4).and_then(|hook| attribute(hook, 1));
    Chain {
        hook: hook.and_then(big),
        drops: attribute(attributes, 5).and_then(big) == Some(0),
    }
}

/// Returns all base chains that see forwarded packets, with their families and tables.
pub fn forward_chains(socket: &Socket) -> Result<Vec<(u8, String, String, Chain)>> {
    let mut requests = Requests::default();
    requests.dump(GET_CHAIN, &[0, 0, 0, 0]);
    let replies = socket.request(requests)?;
    let chains = replies.iter().filter_map(|(_, body)| {
        let attributes = body.get(4..)?;
        let name = |kind| attribute(attributes, kind).map(text);
        let chain = parse_chain(body);
        (chain.hook == Some(Hook::Forward as u32)).then_some((
            *body.first()?,
            name(1)?,
            name(3)?,
            chain,
        ))
    });
    Ok(chains.collect())
}

/// Returns the handles of the rules of a chain with the bytes of their expressions.
pub fn rules(socket: &Socket, table: Table<'_>, chain: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut requests = Requests::default();
    requests.dump(GET_RULE, &header(table.family));
    let replies = socket.request(requests)?;
    let rules = replies.iter().filter_map(|(_, body)| {
        let attributes = body.get(4..)?;
        let is = |kind, name: &str| attribute(attributes, kind).map(text).as_deref() == Some(name);
        let value = |kind| attribute(attributes, kind).map(<[u8]>::to_vec);
        (is(1, table.name) && is(2, chain)).then(|| Some((value(3)?, value(4)?)))?
    });
    Ok(rules.collect())
}

/// Returns whether a table is there.
pub fn has_table(socket: &Socket, table: Table<'_>) -> Result<bool> {
    let mut requests = Requests::default();
    requests.add(GET_TABLE, 0, &header(table.family), |attributes| {
        attributes.text(1, table.name);
    });
    match socket.request(requests) {
        Ok(_) => Ok(true),
        Err(error) if is_refused(&error, &[libc::ENOENT]) => Ok(false),
        Err(error) => Err(error),
    }
}
