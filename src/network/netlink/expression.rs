//! The expressions that rules of nf_tables are made of (include/uapi/linux/netfilter/nf_tables.h), as data.
//!
//! An expression loads something into a register, compares one, or decides. Registers 8 to 23 hold 4 bytes each; a longer
//! value takes the ones after it too.

use super::Attributes;

const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
/// Register 0 is the verdict.
const VERDICT: u32 = 0;

/// A register of 4 bytes, 8 to 23.
pub type Register = u32;

/// What is known of a packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Meta {
    /// Name of the interface it came in by, 16 bytes.
    InputName = 6,
    /// Name of the interface it goes out by, 16 bytes.
    OutputName = 7,
    /// NFPROTO_IPV4 or NFPROTO_IPV6, one byte.
    Family = 15,
    /// IPPROTO_TCP and so on, one byte.
    Protocol = 16,
}

/// Which header an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Header {
    /// Of IP.
    Network = 1,
    /// Of TCP, UDP, SCTP.
    Transport = 2,
}

/// What is known of a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Connection {
    /// A bit per state, the machine's order of bytes.
    State = 0,
    /// Bits of IPS_*, the machine's order of bytes.
    Status = 2,
}

/// How a rule ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Verdict {
    /// The packet is no more.
    Drop = 0,
    /// The packet has passed this chain.
    Accept = 1,
    /// The chain says nothing of the packet.
    Return = -5,
}

/// Of IPv4 or IPv6, as NFPROTO_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// NFPROTO_IPV4
    V4 = 2,
    /// NFPROTO_IPV6
    V6 = 10,
}

/// A step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads what is known of the packet.
    Meta(Meta, Register),
    /// Loads `length` bytes of the packet.
    Payload {
        /// Where the offset counts from.
        header: Header,
        /// Bytes.
        offset: u32,
        /// Bytes.
        length: u32,
        /// Where to.
        to: Register,
    },
    /// Goes on if the register begins with these bytes; with `not`, if it does not.
    Compare {
        /// What is compared.
        register: Register,
        /// Whether it must differ.
        not: bool,
        /// With what.
        value: Vec<u8>,
    },
    /// Keeps the bits of the mask; in place.
    Mask(Register, Vec<u8>),
    /// Loads the type of the destination address, RTN_*, the machine's order of bytes.
    DestinationType(Register),
    /// Loads what is known of the connection.
    Connection(Connection, Register),
    /// Goes on if the set has what begins in the register; a map gives its value.
    Lookup {
        /// Name of the set or map, in the same table.
        set: String,
        /// Where the key begins.
        key: Register,
        /// Where the value of a map goes.
        value: Option<Register>,
        /// Goes on if the set does not have it.
        not: bool,
    },
    /// Sends the connection to the address and port in these registers.
    Destination {
        /// Of the address.
        family: Family,
        /// Where the address begins.
        address: Register,
        /// Where the port is; none leaves the port.
        port: Option<Register>,
    },
    /// Gives the connection the address of the interface it leaves by.
    Masquerade,
    /// Puts bytes into a register.
    Immediate(Register, Vec<u8>),
    /// Counts packets.
    Counter,
    /// Ends the rule.
    Verdict(Verdict),
}

impl Expression {
    /// Adds the expression to the list of a rule.
    pub fn put(&self, list: &mut Attributes<'_>) {
        list.nest(LIST_ELEM, |element| {
            element.text(EXPR_NAME, self.name());
            element.nest(EXPR_DATA, |data| self.put_data(data));
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Expression::Meta(..) => "meta",
            Expression::Payload { .. } => "payload",
            Expression::Compare { .. } => "cmp",
            Expression::Mask(..) => "bitwise",
            Expression::DestinationType(_) => "fib",
            Expression::Connection(..) => "ct",
            Expression::Lookup { .. } => "lookup",
            Expression::Destination { .. } => "nat",
            Expression::Masquerade => "masq",
            Expression::Counter => "counter",
            Expression::Immediate(..) | Expression::Verdict(_) => "immediate",
        }
    }

    /// The kinds of the attributes are those of NFTA_META_*, NFTA_PAYLOAD_* and so on, in the order of their definition.
    fn put_data(&self, data: &mut Attributes<'_>) {
        match self {
            Expression::Meta(key, to) => numbers(data, &[(1, *to), (2, *key as u32)]),
            Expression::Payload {
                header,
                offset,
                length,
                to,
            } => {
                numbers(
                    data,
                    &[(1, *to), (2, *header as u32), (3, *offset), (4, *length)],
                );
            }
            Expression::Compare {
                register,
                not,
                value,
            } => {
                data.be32(1, *register);
                data.be32(2, u32::from(*not));
                data.nest(3, |nested| nested.put(DATA_VALUE, value));
            }
            Expression::Mask(register, mask) => {
                data.be32(1, *register);
                data.be32(2, *register);
                data.be32(3, u32::try_from(mask.len()).unwrap_or_default());
                data.nest(4, |nested| nested.put(DATA_VALUE, mask));
                data.nest(5, |nested| nested.put(DATA_VALUE, &vec![0; mask.len()]));
            }
            // NFT_FIB_RESULT_ADDRTYPE of NFTA_FIB_F_DADDR.
            Expression::DestinationType(to) => numbers(data, &[(1, *to), (2, 3), (3, 2)]),
            Expression::Connection(key, to) => numbers(data, &[(1, *to), (2, *key as u32)]),
            Expression::Lookup {
                set,
                key,
                value,
                not,
            } => {
                data.text(1, set);
                data.be32(2, *key);
                if let Some(value) = value {
                    data.be32(3, *value);
                }
                if *not {
                    data.be32(5, 1);
                }
            }
            Expression::Destination {
                family,
                address,
                port,
            } => {
                data.be32(1, 1);
                data.be32(2, u32::from(*family as u8));
                data.be32(3, *address);
                if let Some(port) = port {
                    data.be32(5, *port);
                }
            }
            Expression::Masquerade | Expression::Counter => {}
            Expression::Immediate(register, value) => {
                data.be32(1, *register);
                data.nest(2, |nested| nested.put(DATA_VALUE, value));
            }
            Expression::Verdict(verdict) => {
                data.be32(1, VERDICT);
                data.nest(2, |nested| {
                    nested.nest(DATA_VERDICT, |code| {
                        code.be32(VERDICT_CODE, (*verdict as i32).cast_unsigned());
                    });
                });
            }
        }
    }
}

fn numbers(data: &mut Attributes<'_>, numbers: &[(u16, u32)]) {
    for (kind, value) in numbers {
        data.be32(*kind, *value);
    }
}
