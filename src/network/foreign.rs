//! Other firewalls on the host that drop what is forwarded, and how containers get past them.
//!
//! Accepting in a table of our own does not help where another table drops. So where a chain of iptables drops by default
//! (docker itself, ufw and many scripts do that), two rules for the bridge are put into it, as a person would with
//! `iptables -I FORWARD -i BRIDGE -j ACCEPT`. Rules of nft(8) are their author's: a warning says what is missing there.
//! firewalld is asked, see `firewalld.rs`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::firewalld;
use super::netlink::expression::{Expression, Meta, Verdict};
use super::netlink::nft::{self, Table, TableFamily, Transaction, interface_name};
use super::netlink::{Socket, attribute, attributes};

const FILTERS: [Table<'static>; 2] = [
    Table {
        family: TableFamily::Ip,
        name: "filter",
    },
    Table {
        family: TableFamily::Ip6,
        name: "filter",
    },
];
const CHAIN: &str = "FORWARD";
/// Where a docker on the same host wants rules of others; it comes before its own.
const DOCKER_CHAIN: &str = "DOCKER-USER";

/// Lets packets from and to a bridge pass.
pub fn admit(socket: &Socket, bridge: &str) -> Result<()> {
    admit_by_rules(socket, bridge)?;
    admit_legacy(bridge);
    warn_of_others(socket, bridge)
}

/// The same where the chain is one of nf_tables: three questions if it drops nothing, so every start can ask.
pub fn admit_by_rules(socket: &Socket, bridge: &str) -> Result<()> {
    firewalld::admit(socket, bridge)?;
    for table in FILTERS {
        let Some(chain) = nft::chain(socket, table, CHAIN)? else {
            continue;
        };
        if !chain.drops {
            continue;
        }
        let place = if nft::chain(socket, table, DOCKER_CHAIN)?.is_some() {
            DOCKER_CHAIN
        } else {
            CHAIN
        };
        if !ours(socket, table, place, bridge)?.is_empty() {
            continue;
        }
        let mut transaction = Transaction::default();
        for meta in [Meta::InputName, Meta::OutputName] {
            transaction.insert_rule(table, place, &admitting(meta, bridge));
        }
        transaction.commit(socket)?;
        tracing::info!(
            bridge,
            "admitted to the chain {place} of iptables, which drops by default"
        );
    }
    Ok(())
}

fn admitting(meta: Meta, bridge: &str) -> Vec<Expression> {
    vec![
        Expression::Meta(meta, 1),
        // As iptables writes it: with the zero byte, so that names that begin like this one do not fit.
        Expression::Compare {
            register: 1,
            not: false,
            value: name_with_end(bridge),
        },
        Expression::Counter,
        Expression::Verdict(Verdict::Accept),
    ]
}

fn name_with_end(bridge: &str) -> Vec<u8> {
    let mut name = bridge.as_bytes().to_vec();
    name.push(0);
    name
}

/// Returns the handles of the rules for a bridge in a chain of others.
fn ours(socket: &Socket, table: Table<'_>, chain: &str, bridge: &str) -> Result<Vec<Vec<u8>>> {
    let (short, whole) = (name_with_end(bridge), interface_name(bridge));
    let rules = nft::rules(socket, table, chain)?;
    let is_ours = |expressions: &[u8]| {
        let mut steps =
            attributes(expressions).map(|(_, step)| attribute(step, 2).unwrap_or_default());
        let compared = steps
            .nth(1)
            .and_then(|data| attribute(attribute(data, 3)?, 1));
        // Expressions: what is loaded, what it is compared with, the counter, the verdict.
        attributes(expressions).count() == 4
            && compared.is_some_and(|value| value == short || value == whole)
    };
    Ok(rules
        .into_iter()
        .filter(|(_, expressions)| is_ours(expressions))
        .map(|(handle, _)| handle)
        .collect())
}

/// Takes the rules for a bridge out of the tables of others.
pub fn dismiss(socket: &Socket, bridge: &str) -> Result<()> {
    for table in FILTERS {
        for chain in [CHAIN, DOCKER_CHAIN] {
            if nft::chain(socket, table, chain)?.is_none() {
                continue;
            }
            let handles = ours(socket, table, chain, bridge)?;
            if handles.is_empty() {
                continue;
            }
            let mut transaction = Transaction::default();
            for handle in handles {
                transaction.delete_rule(table, chain, &handle);
            }
            transaction.commit(socket)?;
        }
    }
    legacy(bridge, "-D");
    firewalld::dismiss(socket, bridge)
}

/// The iptables of before nf_tables can be asked by its own program only; once per network.
fn admit_legacy(bridge: &str) {
    if legacy_drops() && !legacy(bridge, "-C") {
        legacy(bridge, "-I");
    }
}

fn legacy_drops() -> bool {
    let tables = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if !tables.lines().any(|table| table == "filter") {
        return false;
    }
    let listed = Command::new("iptables-legacy")
        .args(["-w", "-S", CHAIN])
        .output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains("-P FORWARD DROP"))
}

/// Does something with both rules for a bridge; returns whether that worked for both.
fn legacy(bridge: &str, action: &str) -> bool {
    if !Path::new("/proc/net/ip_tables_names").exists() {
        return false;
    }
    ["-i", "-o"].iter().all(|direction| {
        let done = Command::new("iptables-legacy")
            .args(["-w", action, CHAIN, direction, bridge, "-j", "ACCEPT"])
            .output();
        done.is_ok_and(|done| done.status.success())
    })
}

fn warn_of_others(socket: &Socket, bridge: &str) -> Result<()> {
    for (family, table, chain, found) in nft::forward_chains(socket)? {
        let iptables = FILTERS
            .iter()
            .any(|filter| filter.family as u8 == family && filter.name == table && chain == CHAIN);
        if !found.drops || iptables {
            continue;
        }
        let family = match family {
            1 => "inet",
            2 => "ip",
            10 => "ip6",
            _ => continue,
        };
        tracing::warn!(
            "the firewall's chain {family} {table} {chain} drops what is forwarded; containers need two rules there: \
             nft insert rule {family} {table} {chain} iifname {bridge} accept; \
             nft insert rule {family} {table} {chain} oifname {bridge} accept"
        );
    }
    Ok(())
}
