//! The table of one container's published ports; belongs to a socket of its monitor, and ends with it.
//!
//! What this machine sends to 127.0.0.0/8 goes to the container by rules as well: nobody copies it on the way.
//! It leaves with the address of the bridge, and its answers come back to 127.0.0.1 by the bridge, which the kernel takes
//! only from interfaces with `route_localnet`. Packets that come *for* 127.0.0.0/8 by a bridge are dropped, in the table of all
//! networks and, in case that somebody flushes it, here: containers do not get at what listens on the host's loopback
//! (CVE-2020-8558 was that).

use std::net::IpAddr;

use super::{DESTINATION, FIRST, KEY, LOCAL, SOURCE, is_family, is_loopback, is_name, rule};
use crate::network::netlink::expression::{Expression, Family, Header, Meta, Verdict};
use crate::network::netlink::nft::{
    ChainKind, DataType, Element, Hook, Set, Table, TableFamily, Transaction, concatenated,
};

/// A port of the host, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP.
    pub protocol: u8,
    /// Address of the host; unspecified means all of its family.
    pub host: IpAddr,
    /// Port of the host.
    pub host_port: u16,
    /// Address of the container, of the same family.
    pub container: IpAddr,
    /// Port of the container.
    pub port: u16,
}

/// What leads to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publication {
    /// Where packets of the container itself and its neighbours come in by: they are left to the proxy.
    pub bridges: Vec<String>,
    /// By which bridge packets for 127.0.0.0/8 leave: one with `route_localnet`. None leaves them to the proxy.
    pub loopback: Option<String>,
    /// The ports.
    pub ports: Vec<Published>,
    /// Whether the table is there, of other ports, and this one takes its place.
    pub replaces: bool,
}

/// Returns the table of a container's ports.
pub fn publication_name(id: &str) -> String {
    format!("aril-{}", &id[..12.min(id.len())])
}

/// The maps of one family: by port alone, and by address and port.
const MAPS: [(Family, bool, &str); 4] = [
    (Family::V4, false, "ports4"),
    (Family::V4, true, "addresses4"),
    (Family::V6, false, "ports6"),
    (Family::V6, true, "addresses6"),
];

/// Returns the transaction that makes the table of a container's ports; nothing if none of them is for rules.
///
/// Ports on ::1 are not: what comes from there cannot leave the machine. They are the proxy's.
pub fn publish(name: &str, publication: &Publication) -> Option<Transaction> {
    let mut transaction = Transaction::default();
    let table = Table {
        family: TableFamily::Inet,
        name,
    };
    if publication.replaces {
        transaction.delete_table(table);
    }
    transaction.make_table(table, true);
    for (chain, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        transaction.make_chain(table, chain, hook, ChainKind::DestinationNat);
    }
    if let Some(bridge) = &publication.loopback {
        send_loopback(&mut transaction, table, bridge);
    }
    for bridge in &publication.bridges {
        let own = rule(&[&is_name(Meta::InputName, bridge, false)], Verdict::Return);
        transaction.add_rule(table, "prerouting", &own);
    }
    // Nothing from elsewhere is for loopback, even where all interfaces have route_localnet, as with kube-proxy.
    let to_loopback = rule(&[&is_loopback(DESTINATION)], Verdict::Return);
    transaction.add_rule(table, "prerouting", &to_loopback);
    if publication.loopback.is_none() {
        transaction.add_rule(table, "output", &to_loopback);
    }
    let mut any = false;
    for (family, by_address, map) in MAPS {
        let ports = publication.ports.iter().filter(|port| {
            port.host.is_ipv4() == (family == Family::V4)
                && port.host.is_unspecified() != by_address
                && (!port.host.is_loopback()
                    || port.host.is_ipv4() && publication.loopback.is_some())
                && port.container.is_ipv4() == port.host.is_ipv4()
        });
        let elements: Vec<Element> = ports.map(|port| element(port, by_address)).collect();
        if elements.is_empty() {
            continue;
        }
        any = true;
        let address = match family {
            Family::V4 => DataType::Ipv4,
            Family::V6 => DataType::Ipv6,
        };
        let key = if by_address {
            &[DataType::Protocol, address, DataType::Port][..]
        } else {
            &[DataType::Protocol, DataType::Port]
        };
        let value = &[address, DataType::Port];
        let name = map;
        transaction.make_set(table, &Set { name, key, value });
        transaction.add_elements(table, map, &elements);
        let rule = redirect(family, by_address, map);
        for chain in ["prerouting", "output"] {
            transaction.add_rule(table, chain, &rule);
        }
    }
    any.then_some(transaction)
}

/// Lets packets from loopback leave by a bridge as its own, and drops what comes by it for loopback.
fn send_loopback(transaction: &mut Transaction, table: Table<'_>, bridge: &str) {
    let comes = is_name(Meta::InputName, bridge, false);
    let guard = rule(&[&is_loopback(DESTINATION), &comes], Verdict::Drop);
    transaction.add_rule(table, "prerouting", &guard);
    let (hook, kind) = (Hook::Postrouting, ChainKind::SourceNat);
    transaction.make_chain(table, "postrouting", hook, kind);
    let mut leave = is_loopback(SOURCE).to_vec();
    leave.extend(is_name(Meta::OutputName, bridge, false));
    leave.push(Expression::Masquerade);
    transaction.add_rule(table, "postrouting", &leave);
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn element(port: &Published, by_address: bool) -> Element {
    let host_port = port.host_port.to_be_bytes();
    let host = octets(port.host);
    let protocol = [port.protocol];
    let key = if by_address {
        concatenated(&[&protocol, &host, &host_port])
    } else {
        concatenated(&[&protocol, &host_port])
    };
    let value = concatenated(&[&octets(port.container), &port.port.to_be_bytes()]);
    (key, Some(value))
}

/// What is for an address of this machine goes where the map says.
fn redirect(family: Family, by_address: bool, map: &str) -> Vec<Expression> {
    let (offset, length) = match family {
        Family::V4 => (16, 4),
        Family::V6 => (24, 16),
    };
    let mut rule = is_family(family).to_vec();
    rule.push(Expression::DestinationType(FIRST));
    rule.push(Expression::Compare {
        register: FIRST,
        not: false,
        value: LOCAL.to_ne_bytes().to_vec(),
    });
    rule.push(Expression::Meta(Meta::Protocol, KEY));
    let mut next = KEY + 1;
    if by_address {
        rule.push(Expression::Payload {
            header: Header::Network,
            offset,
            length,
            to: next,
        });
        next += length / 4;
    }
    rule.push(Expression::Payload {
        header: Header::Transport,
        offset: 2,
        length: 2,
        to: next,
    });
    rule.push(Expression::Lookup {
        set: map.to_owned(),
        key: KEY,
        value: Some(FIRST),
        not: false,
    });
    rule.push(Expression::Destination {
        family,
        address: FIRST,
        port: Some(FIRST + length / 4),
    });
    rule
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use crate::network::netlink::Socket;
    use crate::sys::netlink::Protocol;
    use crate::sys::thread::with_own_network;
    use std::process::Command;

    fn publication(loopback: Option<&str>, ports: &[(u8, &str, u16, &str)]) -> Publication {
        let port = |(protocol, host, host_port, container): &(u8, &str, u16, &str)| Published {
            protocol: *protocol,
            host: host.parse().unwrap(),
            host_port: *host_port,
            container: container.parse().unwrap(),
            port: 80,
        };
        Publication {
            replaces: false,
            bridges: vec!["br-one".to_owned()],
            loopback: loopback.map(str::to_owned),
            ports: ports.iter().map(port).collect(),
        }
    }

    const PORTS: [(u8, &str, u16, &str); 6] = [
        (6, "0.0.0.0", 8080, "10.1.0.2"),
        (17, "0.0.0.0", 8080, "10.1.0.2"),
        (6, "127.0.0.1", 8082, "10.1.0.2"),
        (6, "::", 8080, "fd00:1::2"),
        (6, "2001:db8::1", 8083, "fd00:1::2"),
        (6, "::", 8084, "10.1.0.2"),
    ];

    #[test]
    fn the_table_of_published_ports_reads_as_meant_and_ends_with_its_socket() {
        // Which of two elements nft(8) names first is chance.
        for (loopback, more, want) in [
            (None, "192.0.2.1", include_str!("../testdata/published.nft")),
            (
                Some("br-one"),
                "::1",
                include_str!("../testdata/loopback.nft"),
            ),
        ] {
            let mut ports = PORTS.to_vec();
            ports.push((6, more, 8081, "10.1.0.2"));
            with_own_network(|| {
                let socket = Socket::open(Protocol::Netfilter).unwrap();
                let transaction = publish("aril-x", &publication(loopback, &ports));
                transaction.unwrap().commit(&socket).unwrap();
                check("aril-x", want);
                let flushed = Command::new("nft").args(["flush", "ruleset"]).status();
                assert!(flushed.unwrap().success());
                check("aril-x", want);
                drop(socket);
                let gone = Command::new("nft")
                    .args(["list", "ruleset"])
                    .output()
                    .unwrap();
                assert_eq!(gone.stdout, b"");
            })
            .unwrap();
        }
    }

    #[test]
    fn ports_on_loopback_are_the_proxys_unless_rules_can_send_them() {
        let ipv4 = [(6, "127.0.0.1", 80, "10.1.0.2")];
        assert!(publish("aril-x", &publication(None, &ipv4)).is_none());
        assert!(publish("aril-x", &publication(Some("br-one"), &ipv4)).is_some());
        let ipv6 = [(6, "::1", 80, "fd00:1::2")];
        assert!(publish("aril-x", &publication(Some("br-one"), &ipv6)).is_none());
    }
}
