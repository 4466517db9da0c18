//! Networks and published ports → rules of nf_tables. Pure, but for the transactions' way to the kernel.
//!
//! ```text
//! table inet aril            one for all, made with the first network; others may flush it, the next start makes it again
//!   chain guard              nothing from a bridge is for the host's loopback
//!   chain forward            who may send to whom
//!   chain nat-BRIDGE         one per network: addresses of its way out
//! table inet aril-ID         one per container that publishes ports; belongs to a socket of its monitor and ends with it,
//!   map … , prerouting, output     however that ends, and no flush of others touches it (kernel 5.12)
//! ```
//!
//! What comes for ::1, from the network of the container itself, or by IPv6 to a container without it, is not sent on here:
//! it reaches the listening socket that the monitor holds, and with it the proxy.

use std::net::IpAddr;

use anyhow::Result;

use super::ipam::Subnet;
use super::netlink::expression::{Connection, Expression, Family, Header, Meta, Register, Verdict};
use super::netlink::nft::{
    ChainKind, DataType, Element, Hook, Set, Table, TableFamily, Transaction, concatenated,
    interface_name,
};
use super::netlink::{Socket, is_refused};

mod publication;

pub use publication::{Publication, Published, publication_name, publish};

/// The table of all networks.
pub const SHARED: Table<'static> = Table {
    family: TableFamily::Inet,
    name: "aril",
};
/// All bridges.
const BRIDGES: &str = "bridges";
/// Bridges whose containers may talk to each other, as pairs.
const PAIRS: &str = "pairs";
/// Bridges that nothing gets out of or into.
const INTERNAL: &str = "internal";
const FORWARD: &str = "forward";
const GUARD: &str = "guard";
/// IPS_DST_NAT, in the machine's order of bytes.
const STATUS_DNAT: u32 = 1 << 5;
/// Established and related, in the machine's order of bytes.
const STATE_KNOWN: u32 = 1 << 1 | 1 << 2;
/// RTN_LOCAL
const LOCAL: u32 = 2;
const FIRST: Register = 8;
const KEY: Register = 16;
/// Where the addresses of an IPv4 packet begin, in bytes.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

/// A network as its rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Name of its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<Subnet>,
    /// Whether its containers may talk to each other.
    pub connects: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether its containers show as the host outside.
    pub masquerade: bool,
}

impl Network {
    fn chain(&self) -> String {
        format!("nat-{}", self.bridge)
    }

    /// The sets that it is in, with what it is there as.
    fn elements(&self) -> Vec<(&'static str, Element)> {
        let name = interface_name(&self.bridge);
        let mut elements = vec![(BRIDGES, (name.clone(), None))];
        if self.connects {
            elements.push((PAIRS, (concatenated(&[&name, &name]), None)));
        }
        if self.internal {
            elements.push((INTERNAL, (name, None)));
        }
        elements
    }
}

fn is_name(meta: Meta, name: &str, not: bool) -> [Expression; 2] {
    [
        Expression::Meta(meta, FIRST),
        Expression::Compare {
            register: FIRST,
            not,
            value: interface_name(name),
        },
    ]
}

fn is_in(meta: Meta, set: &str) -> [Expression; 2] {
    [
        Expression::Meta(meta, FIRST),
        Expression::Lookup {
            set: set.to_owned(),
            key: FIRST,
            value: None,
            not: false,
        },
    ]
}

fn has_bits(key: Connection, bits: u32) -> [Expression; 3] {
    [
        Expression::Connection(key, FIRST),
        Expression::Mask(FIRST, bits.to_ne_bytes().to_vec()),
        Expression::Compare {
            register: FIRST,
            not: true,
            value: vec![0; 4],
        },
    ]
}

fn is_family(family: Family) -> [Expression; 2] {
    [
        Expression::Meta(Meta::Family, FIRST),
        Expression::Compare {
            register: FIRST,
            not: false,
            value: vec![family as u8],
        },
    ]
}

/// Goes on if the address at `offset` is in 127.0.0.0/8.
fn is_loopback(offset: u32) -> [Expression; 4] {
    let [family, is_ipv4] = is_family(Family::V4);
    let first = Expression::Payload {
        header: Header::Network,
        offset,
        length: 1,
        to: FIRST,
    };
    let is_127 = Expression::Compare {
        register: FIRST,
        not: false,
        value: vec![127],
    };
    [family, is_ipv4, first, is_127]
}

fn rule(parts: &[&[Expression]], end: Verdict) -> Vec<Expression> {
    let mut rule = parts.concat();
    rule.push(Expression::Verdict(end));
    rule
}

/// Returns the transaction that makes the table of all networks.
fn shared_table() -> Transaction {
    let mut transaction = Transaction::default();
    transaction.make_table(SHARED, false);
    let pair = [DataType::Interface, DataType::Interface];
    for (name, key) in [
        (BRIDGES, &pair[..1]),
        (PAIRS, &pair),
        (INTERNAL, &pair[..1]),
    ] {
        let value = &[];
        transaction.make_set(SHARED, &Set { name, key, value });
    }
    transaction.make_chain(SHARED, GUARD, Hook::Prerouting, ChainKind::Raw);
    let guard = [
        &is_loopback(DESTINATION)[..],
        &is_in(Meta::InputName, BRIDGES),
    ];
    transaction.add_rule(SHARED, GUARD, &rule(&guard, Verdict::Drop));
    transaction.make_chain(SHARED, FORWARD, Hook::Forward, ChainKind::Filter);
    let both = [
        Expression::Meta(Meta::InputName, FIRST),
        Expression::Meta(Meta::OutputName, FIRST + 4),
        Expression::Lookup {
            set: PAIRS.to_owned(),
            key: FIRST,
            value: None,
            not: false,
        },
    ];
    for rule in [
        // Seen here only where bridged packets pass by the rules for routed ones (bridge-nf-call-iptables).
        rule(&[&both], Verdict::Accept),
        rule(&[&is_in(Meta::InputName, INTERNAL)], Verdict::Drop),
        rule(&[&is_in(Meta::OutputName, INTERNAL)], Verdict::Drop),
        rule(
            &[&has_bits(Connection::State, STATE_KNOWN)],
            Verdict::Accept,
        ),
        rule(
            &[&has_bits(Connection::Status, STATUS_DNAT)],
            Verdict::Accept,
        ),
        // Nobody gets to a port that is not published: not from other networks, and not by a route to the container.
        rule(&[&is_in(Meta::OutputName, BRIDGES)], Verdict::Drop),
    ] {
        transaction.add_rule(SHARED, FORWARD, &rule);
    }
    transaction
}

/// Returns the transaction that adds a network.
fn network(network: &Network) -> Transaction {
    let mut transaction = Transaction::default();
    let chain = network.chain();
    transaction.make_chain(SHARED, &chain, Hook::Postrouting, ChainKind::SourceNat);
    for subnet in &network.subnets {
        if !network.masquerade || network.internal {
            continue;
        }
        let mut rule = is_source_of(*subnet);
        rule.extend(is_name(Meta::OutputName, &network.bridge, true));
        rule.push(Expression::Masquerade);
        transaction.add_rule(SHARED, &chain, &rule);
    }
    for (set, element) in network.elements() {
        transaction.add_elements(SHARED, set, &[element]);
    }
    transaction
}

/// Goes on if the packet comes from `subnet`.
fn is_source_of(subnet: Subnet) -> Vec<Expression> {
    let (family, offset, address) = match subnet.address {
        IpAddr::V4(address) => (Family::V4, SOURCE, address.octets().to_vec()),
        IpAddr::V6(address) => (Family::V6, 8, address.octets().to_vec()),
    };
    let mut rule = is_family(family).to_vec();
    rule.push(Expression::Payload {
        header: Header::Network,
        offset,
        length: u32::try_from(address.len()).unwrap_or_default(),
        to: FIRST,
    });
    let mut mask = vec![0; address.len()];
    for bit in 0..usize::from(subnet.length) {
        mask[bit / 8] |= 0x80 >> (bit % 8);
    }
    rule.push(Expression::Mask(FIRST, mask));
    rule.push(Expression::Compare {
        register: FIRST,
        not: false,
        value: address,
    });
    rule
}

/// Returns whether the rules of a network are there.
pub fn is_there(socket: &Socket, network: &Network) -> Result<bool> {
    Ok(super::netlink::nft::chain(socket, SHARED, &network.chain())?.is_some())
}

/// Sees to it that the rules of a network are there.
pub fn ensure(socket: &Socket, wanted: &Network) -> Result<()> {
    // Who comes second finds it done.
    let unless_there = |done: Result<()>| match done {
        Err(error) if is_refused(&error, &[libc::EEXIST]) => Ok(()),
        done => done,
    };
    if is_there(socket, wanted)? {
        return Ok(());
    }
    unless_there(shared_table().commit(socket))?;
    unless_there(network(wanted).commit(socket))
}

/// Takes the rules of a network away; nothing if they are not there.
pub fn remove(socket: &Socket, network: &Network) -> Result<()> {
    let mut transaction = Transaction::default();
    transaction.delete_chain(SHARED, &network.chain());
    for (set, element) in network.elements() {
        transaction.delete_elements(SHARED, set, &[element]);
    }
    match transaction.commit(socket) {
        Err(error) if is_refused(&error, &[libc::ENOENT]) => Ok(()),
        done => done,
    }
}

/// Returns the transaction that sends what programs of a container ask of the name server 127.0.0.11 to the ports on which
/// it really listens there; made in the container's namespace, and with `owned` for as long as the socket that makes it.
pub fn name_server(udp: u16, tcp: u16, owned: bool) -> Transaction {
    const ADDRESS: [u8; 4] = [127, 0, 0, 11];
    const PORT: u16 = 53;
    let table = Table {
        family: TableFamily::Inet,
        name: "aril-dns",
    };
    let mut transaction = Transaction::default();
    transaction.make_table(table, owned);
    transaction.make_chain(table, "output", Hook::Output, ChainKind::DestinationNat);
    for (protocol, port) in [(libc::IPPROTO_UDP, udp), (libc::IPPROTO_TCP, tcp)] {
        let compare = |value: Vec<u8>| Expression::Compare {
            register: FIRST,
            not: false,
            value,
        };
        let payload = |header, offset, length| Expression::Payload {
            header,
            offset,
            length,
            to: FIRST,
        };
        let mut rule = is_family(Family::V4).to_vec();
        rule.extend([
            payload(Header::Network, 16, 4),
            compare(ADDRESS.to_vec()),
            Expression::Meta(Meta::Protocol, FIRST),
            compare(vec![u8::try_from(protocol).unwrap_or_default()]),
            payload(Header::Transport, 2, 2),
            compare(PORT.to_be_bytes().to_vec()),
            Expression::Immediate(FIRST, ADDRESS.to_vec()),
            Expression::Immediate(FIRST + 1, port.to_be_bytes().to_vec()),
            Expression::Destination {
                family: Family::V4,
                address: FIRST,
                port: Some(FIRST + 1),
            },
        ]);
        transaction.add_rule(table, "output", &rule);
    }
    transaction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Protocol;
    use crate::sys::thread::with_own_network;
    use std::process::Command;

    /// What nft(8) says of a table in this thread's network namespace.
    fn listed(name: &str) -> String {
        let listed = Command::new("nft")
            .args(["list", "table", "inet", name])
            .output()
            .expect("nft, of the package nftables, is installed");
        let errors = String::from_utf8(listed.stderr).unwrap();
        assert_eq!(errors, "", "nft list table inet {name}");
        String::from_utf8(listed.stdout).unwrap()
    }

    pub(super) fn check(name: &str, want: &str) {
        let got = listed(name);
        let lines = |text: &str| -> Vec<String> {
            text.lines()
                // Newer ones say which program owns a table.
                .map(|line| line.split(" # ").next().unwrap_or_default())
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect()
        };
        assert_eq!(lines(&got), lines(want), "{name}: {got}");
    }

    fn some_network() -> Network {
        Network {
            bridge: "br-one".to_owned(),
            subnets: vec![
                "10.1.0.0/20".parse().unwrap(),
                "fd00:1::/64".parse().unwrap(),
            ],
            connects: true,
            internal: false,
            masquerade: true,
        }
    }

    #[test]
    fn the_shared_table_reads_as_meant() {
        with_own_network(|| {
            let socket = Socket::open(Protocol::Netfilter).unwrap();
            assert!(!is_there(&socket, &some_network()).unwrap());
            for _ in 0..2 {
                ensure(&socket, &some_network()).unwrap();
                assert!(is_there(&socket, &some_network()).unwrap());
            }
            let two = Network {
                bridge: "br-two".to_owned(),
                connects: false,
                internal: true,
                ..some_network()
            };
            ensure(&socket, &two).unwrap();
            check("aril", include_str!("../testdata/shared.nft"));
            remove(&socket, &two).unwrap();
            remove(&socket, &two).unwrap();
            let left = listed("aril");
            assert!(
                left.contains("br-one") && !left.contains("br-two"),
                "{left}"
            );
        })
        .unwrap();
    }

    #[test]
    fn the_table_of_the_name_server_reads_as_meant() {
        with_own_network(|| {
            let socket = Socket::open(Protocol::Netfilter).unwrap();
            name_server(30053, 30054, true).commit(&socket).unwrap();
            check("aril-dns", include_str!("../testdata/names.nft"));
        })
        .unwrap();
    }
}
