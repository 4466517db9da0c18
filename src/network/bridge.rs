//! The host's side of a network: its bridge, its rules, and forwarding; made when the first container joins.
//!
//! Every step may be repeated and may meet another process that does the same, so nobody has to wait for anybody. The rules
//! come last: where they and the bridge are, everything is.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::netlink::route::{self, Link, Prefixed};
use super::netlink::{Socket, is_refused};
use super::record::Record;
use super::{firewall, foreign};
use crate::error;
use crate::sys::netlink::Protocol;

/// Of an Ethernet whose own cannot be told.
const DEFAULT_MTU: u32 = 1500;

/// What speaks to the host's network namespace, for as long as a monitor lives.
///
/// The socket for rules is not closed before: the kernel makes whoever closes one wait for the rules that anybody has
/// deleted a moment ago.
#[derive(Debug)]
pub struct Host {
    /// Links, addresses, routes.
    pub route: Socket,
    /// Rules and tracked connections.
    pub filter: Socket,
}

impl Host {
    /// Opens both in the network namespace of the calling thread.
    pub fn open() -> Result<Host> {
        let filter = Socket::open(Protocol::Netfilter).map_err(|error| {
            error::with_hint(
                error.context("this kernel has no netfilter for networks of containers"),
                "modprobe nf_tables, or use --network host or --network none",
            )
        })?;
        Ok(Host {
            route: Socket::open(Protocol::Route)?,
            filter,
        })
    }
}

/// Words the refusal of what needs rights or modules that are not there.
fn explain(error: anyhow::Error) -> anyhow::Error {
    if is_refused(&error, &[libc::EPERM, libc::EACCES]) {
        return error::with_hint(
            error.context("networks of containers need the capability CAP_NET_ADMIN"),
            "run it as root outside of a container, or use --network host or --network none",
        );
    }
    if is_refused(
        &error,
        &[
            libc::EOPNOTSUPP,
            libc::EAFNOSUPPORT,
            libc::ENOENT,
            libc::EPROTONOSUPPORT,
        ],
    ) {
        return error::with_hint(
            error.context("this kernel lacks something that networks of containers need"),
            "modprobe bridge veth nf_tables nft_nat nft_masq nft_fib_inet nft_ct, or use --network host or --network none",
        );
    }
    error
}

/// The bridge of a network.
#[derive(Clone, Copy, Debug)]
pub struct Bridge {
    /// Its number.
    pub index: u32,
    /// Bytes of the largest packet.
    pub mtu: u32,
}

/// Returns whether the bridge of a network and its rules are there.
pub fn is_whole(host: &Host, network: &Record) -> Result<bool> {
    let link = route::link(&host.route, &network.bridge)?;
    let is_up = link.is_some_and(|link| link.up);
    Ok(is_up && has_its_rules(host, network, &network.rules()?)?)
}

fn has_its_rules(host: &Host, network: &Record, rules: &firewall::Network) -> Result<bool> {
    Ok(!network.has_rules() || firewall::is_there(&host.filter, rules)?)
}

/// Sees to it that the bridge of a network, its addresses and rules are there.
pub fn ensure(host: &Host, network: &Record) -> Result<Bridge> {
    ensure_all(host, network).map_err(explain)
}

fn ensure_all(host: &Host, network: &Record) -> Result<Bridge> {
    let name = &network.bridge;
    let rules = network.rules()?;
    let there = route::link(&host.route, name)?;
    if let Some(link) = &there {
        if link.kind != "bridge" {
            return Err(error::with_hint(
                error::conflict(format!("interface {name} is there and is no bridge")),
                "give the network another: -o com.docker.network.bridge.name=NAME",
            ));
        }
        if link.up && has_its_rules(host, network, &rules)? {
            if network.has_rules() && !rules.internal {
                // Docker, or a firewall, may have started since.
                foreign::admit_by_rules(&host.filter, name)?;
            }
            return Ok(Bridge {
                index: link.index,
                mtu: link.mtu,
            });
        }
    }
    let uplinks = uplinks(&host.route)?;
    let link = match there {
        Some(link) => link,
        None => make(host, network, &uplinks)?,
    };
    let mut addresses: Vec<Prefixed> = Vec::new();
    for (pool, gateway) in network.pools()? {
        addresses.push((gateway, pool.subnet.length));
    }
    let ipv6 = addresses.iter().any(|(address, _)| address.is_ipv6());
    if !ipv6 {
        // Without it every port that comes and goes makes the bridge talk to all others.
        write_quietly(&sysctl("ipv6", name, "disable_ipv6"), "1");
    }
    route::set_up(&host.route, link.index, true)?;
    route::add_addresses(&host.route, link.index, &addresses)?;
    if !rules.internal && network.forwards() {
        forward(name, &uplinks, ipv6);
    }
    if network.has_rules() {
        if !rules.internal {
            foreign::admit(&host.filter, name)?;
        }
        firewall::ensure(&host.filter, &rules)?;
    }
    Ok(Bridge {
        index: link.index,
        mtu: link.mtu,
    })
}

fn make(host: &Host, network: &Record, uplinks: &[Uplink]) -> Result<Link> {
    let name = &network.bridge;
    let least = uplinks.iter().map(|uplink| uplink.mtu).min();
    let mtu = network.mtu().or(least).unwrap_or(DEFAULT_MTU);
    match route::make_bridge(&host.route, name, network.bridge_mac(), mtu) {
        // Somebody else was faster.
        Err(error) if is_refused(&error, &[libc::EEXIST]) => {}
        done => done?,
    }
    route::link(&host.route, name)?.with_context(|| format!("bridge {name} is gone again"))
}

/// Takes the bridge and the rules of a network away.
pub fn remove(host: &Host, network: &Record) -> Result<()> {
    firewall::remove(&host.filter, &network.rules()?)?;
    foreign::dismiss(&host.filter, &network.bridge)?;
    route::delete_link(&host.route, &network.bridge)
}

/// An interface by which packets leave the host for everywhere.
struct Uplink {
    name: String,
    mtu: u32,
}

fn uplinks(socket: &Socket) -> Result<Vec<Uplink>> {
    let routes = route::routes(socket)?;
    let links = route::links(socket)?;
    let mut uplinks: Vec<Uplink> = Vec::new();
    for route in routes.iter().filter(|route| route.to.is_none()) {
        let Some(link) = links.iter().find(|link| link.index == route.index) else {
            continue;
        };
        if uplinks.iter().all(|uplink| uplink.name != link.name) {
            uplinks.push(Uplink {
                name: link.name.clone(),
                mtu: if route.mtu > 0 { route.mtu } else { link.mtu },
            });
        }
    }
    Ok(uplinks)
}

fn sysctl(family: &str, interface: &str, name: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net")
        .join(family)
        .join("conf")
        .join(interface)
        .join(name)
}

fn is_on(path: &PathBuf) -> bool {
    std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
}

fn write_quietly(path: &PathBuf, value: &str) {
    if let Err(error) = std::fs::write(path, value) {
        tracing::debug!("write {}: {error}", path.display());
    }
}

/// Lets packets pass between the bridge and the ways out of the host, and between no others where that can be had.
fn forward(bridge: &str, uplinks: &[Uplink], ipv6: bool) {
    let interfaces =
        || std::iter::once(bridge).chain(uplinks.iter().map(|uplink| uplink.name.as_str()));
    let turn_on = |path: PathBuf| {
        if !is_on(&path)
            && let Err(error) = std::fs::write(&path, "1")
        {
            tracing::warn!(
                "containers have no way out of the host: write {}: {error}",
                path.display()
            );
        }
    };
    if !is_on(&PathBuf::from("/proc/sys/net/ipv4/ip_forward")) {
        interfaces().for_each(|name| turn_on(sysctl("ipv4", name, "forwarding")));
    }
    if !ipv6 || is_on(&sysctl("ipv6", "all", "forwarding")) {
        return;
    }
    // Kernel 6.17; before it there is one switch for all interfaces, which also stops them from listening to routers.
    if sysctl("ipv6", bridge, "force_forwarding").exists() {
        interfaces().for_each(|name| turn_on(sysctl("ipv6", name, "force_forwarding")));
        return;
    }
    for uplink in uplinks {
        let listens = sysctl("ipv6", &uplink.name, "accept_ra");
        if std::fs::read_to_string(&listens).is_ok_and(|value| value.trim() == "1") {
            write_quietly(&listens, "2");
        }
    }
    turn_on(sysctl("ipv6", "all", "forwarding"));
}

/// Lets the host's loopback be the source and the destination of what passes through a bridge; returns whether that is so.
///
/// The rules of networks and of published ports see to it that it is nothing but answers.
pub fn route_loopback(bridge: &str) -> bool {
    let path = sysctl("ipv4", bridge, "route_localnet");
    if !is_on(&path) {
        // Of a file system of the kernel that may not be written to, as in containers, the proxy is independent.
        write_quietly(&path, "1");
    }
    is_on(&path)
}

/// Returns the addresses that a container reaches the host by: what the administrator says, else those of the host in
/// `network`.
pub fn host_gateways(network: &Record) -> Result<Vec<IpAddr>> {
    let said = network.host_gateways();
    if !said.is_empty() {
        return Ok(said);
    }
    Ok(network
        .pools()?
        .iter()
        .map(|(_, gateway)| *gateway)
        .collect())
}
