//! A container's place in a network: an interface of its own, with addresses and a way out.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::bridge::{self, Host};
use super::interface::{self, Sysctl};
use super::ipam;
use super::lease;
use super::netlink::route::{self, Branch, Mac, Prefixed, Veth};
use super::netlink::{Socket, is_refused};
use super::record::{Driver, Record};
use super::request;
use crate::dirs::Dirs;
use crate::docker::network::EndpointSettings;
use crate::error;
use crate::store;
use crate::sys::netlink::Protocol;
use crate::sys::netns;

/// How long an interface may take until packets pass; it takes microseconds unless the kernel is busy with others.
const CARRIER_WAIT: Duration = Duration::from_millis(50);
const CARRIER_STEP: Duration = Duration::from_micros(100);

/// A place in a network, from its addresses to what the kernel has of it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The network.
    pub network: Record,
    /// 64 hexadecimal digits.
    pub id: String,
    /// What was asked for.
    pub settings: EndpointSettings,
    /// Its interface in the container: `eth0`.
    pub interface: String,
    /// The other end on the host; empty without one.
    pub host_interface: String,
    /// Address of the link layer.
    pub mac: Mac,
    /// Its addresses.
    pub addresses: Vec<Prefixed>,
    /// The ways out, by family; none in an internal network.
    pub gateways: Vec<IpAddr>,
    /// Bytes of the largest packet.
    mtu: u32,
    /// Index of the bridge or parent.
    link: u32,
}

/// A container that gets a place.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its id; the caller holds its monitor's lock.
    pub id: &'a str,
    /// Names of the interfaces that it has.
    pub interfaces: &'a [&'a str],
}

/// Leases the addresses of a place in a network, and sees to it that the network is there.
///
/// Errors are those of [`lease::take`], and `Invalid` for addresses that may not be chosen.
pub fn plan(
    dirs: &Dirs,
    host: &Host,
    network: &Record,
    settings: &EndpointSettings,
    member: Member<'_>,
) -> Result<Endpoint> {
    let name = &network.document.name;
    check(name, Some(network), settings)
        .with_context(|| format!("invalid config for network {name}"))?;
    let (link, mtu) = match network.driver() {
        Driver::Bridge => {
            let bridge =
                bridge::ensure(host, network).with_context(|| format!("set up network {name}"))?;
            (bridge.index, bridge.mtu)
        }
        Driver::Macvlan | Driver::Ipvlan => {
            let parent = network.parent();
            let link = route::link(&host.route, parent)?.ok_or_else(|| {
                error::not_found(format!("network {name}: there is no interface {parent}"))
            })?;
            (link.index, link.mtu)
        }
        Driver::Host | Driver::Null => {
            return Err(error::invalid(format!(
                "container cannot be connected to network {name}"
            )));
        }
    };
    let prefix = network.option(interface::OPTION_PREFIX);
    let mut endpoint = Endpoint {
        id: store::random_id()?,
        settings: settings.clone(),
        interface: interface::name(prefix, settings, member.interfaces)?,
        host_interface: match network.driver() {
            // Not made from the container's id: the last one's lives on for some milliseconds.
            Driver::Bridge => format!("veth{}", &store::random_id()?[..7]),
            _ => String::new(),
        },
        mac: Mac::default(),
        addresses: Vec::new(),
        gateways: Vec::new(),
        mtu,
        link,
        network: network.clone(),
    };
    let leased = take_addresses(dirs, &mut endpoint, member.id);
    if leased.is_err() {
        release(dirs, &endpoint);
    }
    leased.map(|()| endpoint)
}

fn take_addresses(dirs: &Dirs, endpoint: &mut Endpoint, container: &str) -> Result<()> {
    let ipam = endpoint.settings.ipam_config.clone().unwrap_or_default();
    let network = &endpoint.network;
    for (pool, gateway) in network.pools()? {
        let wanted = if pool.subnet.is_ipv6() {
            &ipam.ipv6_address
        } else {
            &ipam.ipv4_address
        };
        let wanted = parse_address(wanted)?;
        let id = &network.document.id;
        // A second subnet of a family is for those who ask for an address of it.
        let family = |(address, _): &Prefixed| address.is_ipv6() == pool.subnet.is_ipv6();
        let elsewhere = wanted.is_some_and(|wanted| !pool.subnet.contains(wanted));
        if endpoint.addresses.iter().any(family) || elsewhere {
            continue;
        }
        let address = lease::take(dirs, id, &pool, wanted, container)?;
        endpoint.addresses.push((address, pool.subnet.length));
        if !network.document.internal {
            endpoint.gateways.push(network.way_out(&pool, gateway));
        }
    }
    for text in &ipam.link_local_ips {
        if let Some(address) = parse_address(text)? {
            let length = if address.is_ipv4() { 16 } else { 64 };
            endpoint.addresses.push((address, length));
        }
    }
    if network.driver() != Driver::Ipvlan {
        endpoint.mac = choose_mac(&endpoint.settings.mac_address, &endpoint.addresses)?;
    } else if !endpoint.settings.mac_address.is_empty() {
        return Err(error::invalid(
            "interfaces of an ipvlan network have their parent's link address, and none of their own",
        ));
    }
    Ok(())
}

fn parse_address(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.trim().parse();
    parsed
        .map(Some)
        .map_err(|_| error::invalid(format!("invalid IP address: {text}")))
}

/// Refuses what a place in the network called `name` cannot have; there may be no such network yet.
///
/// Errors are of kind `Invalid`.
pub fn check(name: &str, network: Option<&Record>, settings: &EndpointSettings) -> Result<()> {
    let user_defined = !super::record::is_predefined(name) && !name.starts_with("container:");
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let aliases = settings.aliases.as_ref();
    let addresses = [
        (ipam.ipv4_address.as_str(), false),
        (&ipam.ipv6_address, true),
    ];
    let wanted = || addresses.iter().filter(|(address, _)| !address.is_empty());
    let mut faults = Vec::new();
    if !user_defined && wanted().next().is_some() {
        faults.push(
            "user specified IP address is supported on user defined networks only".to_owned(),
        );
    }
    if !user_defined && aliases.is_some_and(|aliases| !aliases.is_empty()) {
        let why = "network-scoped aliases are only supported for user-defined networks";
        faults.push(why.to_owned());
    }
    for (address, ipv6) in wanted() {
        if !is_address(address, *ipv6) {
            let family = if *ipv6 { "IPv6" } else { "IPv4" };
            faults.push(format!("invalid {family} address: {address}"));
        }
    }
    for address in &ipam.link_local_ips {
        if address.parse::<IpAddr>().is_err() {
            faults.push(format!("invalid link-local IP address: {address}"));
        }
    }
    faults.extend(Sysctl::all(settings).err().into_iter().flatten());
    if let Some(network) = network {
        for (address, ipv6) in wanted() {
            faults.extend(unreachable(network, address, *ipv6)?);
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let faults = listed(&faults);
    Err(error::invalid(format!(
        "invalid endpoint settings:\n{faults}"
    )))
}

fn is_address(text: &str, ipv6: bool) -> bool {
    (text.parse::<IpAddr>()).is_ok_and(|address| address.is_ipv6() == ipv6)
}

/// Returns why nobody can have `address` in a network.
fn unreachable(network: &Record, address: &str, ipv6: bool) -> Result<Option<String>> {
    let pools = network.pools()?;
    let mut subnets = pools
        .iter()
        .map(|(pool, _)| pool.subnet)
        .filter(|subnet| network.chosen && subnet.is_ipv6() == ipv6)
        .peekable();
    if subnets.peek().is_none() {
        let why = "user specified IP address is supported only when connecting to networks with user configured subnets";
        return Ok(Some(why.to_owned()));
    }
    let parsed = address.parse::<IpAddr>().ok();
    let reached = parsed.is_some_and(|address| subnets.any(|subnet| subnet.contains(address)));
    Ok((!reached)
        .then(|| format!("no configured subnet or ip-range contain the IP address {address}")))
}

/// Several faults stand below one another.
fn listed(faults: &[String]) -> String {
    match faults {
        [fault] => fault.clone(),
        faults => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("* {fault}")).collect();
            lines.join("\n")
        }
    }
}

fn choose_mac(wanted: &str, addresses: &[Prefixed]) -> Result<Mac> {
    if wanted.is_empty() {
        let ipv4 = addresses.iter().find_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let ipv6 = addresses.iter().find_map(|(address, _)| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => address.octets().last_chunk::<4>().copied(),
        });
        return Ok(ipam::mac(
            ipv4.or(ipv6.map(Ipv4Addr::from))
                .unwrap_or(Ipv4Addr::UNSPECIFIED),
        ));
    }
    parse_mac(wanted).ok_or_else(|| error::invalid(format!("{wanted} is not a valid mac address")))
}

fn parse_mac(text: &str) -> Option<Mac> {
    let digits: String = text
        .trim()
        .chars()
        .filter(|c| !matches!(c, ':' | '-' | '.'))
        .collect();
    let octets = (0..6).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok());
    let octets: Option<Vec<u8>> = octets.collect();
    octets.filter(|_| digits.len() == 12)?.try_into().ok()
}

/// Returns an address of the link layer as people write it.
pub fn written_mac(mac: Mac) -> String {
    let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

/// What speaks to a container's network namespace; as long as it is there, the namespace is too.
#[derive(Debug)]
pub struct Inside {
    /// The namespace.
    pub namespace: OwnedFd,
    /// Its links, addresses, routes.
    pub route: Socket,
    /// What owns its rules, if it has some.
    pub filter: Option<Socket>,
    /// Whether interfaces come without IPv6.
    without_ipv6: bool,
}

impl Inside {
    /// Opens the namespace of process `pid`; with `without_ipv6`, interfaces that come are without it.
    pub fn open(pid: i32, without_ipv6: bool) -> Result<Inside> {
        let path = format!("/proc/{pid}/ns/net");
        let namespace = OwnedFd::from(File::open(&path).with_context(|| format!("open {path}"))?);
        let route = netns::inside(namespace.as_fd(), || {
            if without_ipv6
                && let Err(error) =
                    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
            {
                tracing::debug!("turn IPv6 off in the container: {error}");
            }
            Socket::open(Protocol::Route)
        })
        .context("enter the network namespace of the container")??;
        Ok(Inside {
            namespace,
            route,
            filter: None,
            without_ipv6,
        })
    }

    /// Lets an interface have IPv6: that of the first network with it which the container joins while it runs.
    fn turn_ipv6_on(&self, interface: &str) -> Result<()> {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
        netns::inside(self.namespace.as_fd(), || std::fs::write(&path, "0"))
            .context("enter the network namespace of the container")?
            .with_context(|| format!("write {path}"))
    }
}

/// Makes the interface of a place in the container's namespace, with its addresses; returns its number there.
pub fn attach(host: &Host, inside: &Inside, endpoint: &Endpoint) -> Result<u32> {
    match endpoint.network.driver() {
        Driver::Macvlan | Driver::Ipvlan => {
            let child = endpoint.network.child();
            let branch = Branch {
                parent: endpoint.link,
                child,
                namespace: inside.namespace.as_fd(),
                name: &endpoint.interface,
                mac: endpoint.mac,
            };
            route::make_branch(&host.route, &branch).map_err(|error| {
                if is_refused(&error, &[libc::EOPNOTSUPP]) {
                    request::no_kind(child.kind())
                } else {
                    error
                }
            })?;
        }
        _ => route::make_veth(
            &host.route,
            &Veth {
                name: &endpoint.host_interface,
                bridge: endpoint.link,
                isolated: !endpoint.network.rules()?.connects,
                namespace: inside.namespace.as_fd(),
                peer: &endpoint.interface,
                mac: endpoint.mac,
                mtu: endpoint.mtu,
            },
        )?,
    }
    if !endpoint.settings.mac_address.is_empty() {
        // The host may remember another interface by this address.
        for (address, _) in &endpoint.addresses {
            route::forget_neighbour(&host.route, endpoint.link, *address)?;
        }
    }
    let link = route::link(&inside.route, &endpoint.interface)?
        .with_context(|| format!("interface {} is gone", endpoint.interface))?;
    let mut addresses = endpoint.addresses.iter();
    if inside.without_ipv6 && addresses.any(|(address, _)| address.is_ipv6()) {
        inside.turn_ipv6_on(&endpoint.interface)?;
    }
    set_sysctls(inside, endpoint)?;
    route::configure(&inside.route, link.index, &endpoint.addresses)?;
    Ok(link.index)
}

/// Sets what the endpoint asks of its interface, before it has addresses.
fn set_sysctls(inside: &Inside, endpoint: &Endpoint) -> Result<()> {
    let sysctls =
        Sysctl::all(&endpoint.settings).map_err(|faults| error::invalid(listed(&faults)))?;
    if sysctls.is_empty() {
        return Ok(());
    }
    let set = || {
        sysctls
            .iter()
            .try_for_each(|sysctl| sysctl.set(&endpoint.interface))
    };
    let name = match endpoint.host_interface.as_str() {
        "" => &endpoint.interface,
        name => name,
    };
    netns::inside(inside.namespace.as_fd(), set)
        .context("enter the network namespace of the container")?
        .with_context(|| format!("failed to add interface {name} to sandbox"))
}

/// Waits until packets pass: a bridge drops what comes before, and the one who asked would ask again after a second.
pub fn wait_for_carrier(host: &Host, inside: &Inside, endpoint: &Endpoint) -> Result<()> {
    if endpoint.host_interface.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + CARRIER_WAIT;
    loop {
        // To ask is what makes the kernel (6.8) catch up with the state of the link.
        let ends = [
            route::link(&host.route, &endpoint.host_interface)?,
            route::link(&inside.route, &endpoint.interface)?,
        ];
        if ends.iter().flatten().filter(|link| link.operates).count() == ends.len() {
            return Ok(());
        }
        if Instant::now() > deadline {
            tracing::debug!("interface {} takes long to work", endpoint.host_interface);
            return Ok(());
        }
        std::thread::sleep(CARRIER_STEP);
    }
}

/// Returns the place that gives a family's way out: the one with the highest priority, then the first by name.
pub fn way_out(endpoints: &[Endpoint], ipv6: bool) -> Option<(usize, IpAddr)> {
    let gateway = |endpoint: &Endpoint| {
        endpoint
            .gateways
            .iter()
            .copied()
            .find(|gateway| gateway.is_ipv6() == ipv6)
    };
    let with_gateway = endpoints
        .iter()
        .enumerate()
        .filter_map(|(at, endpoint)| gateway(endpoint).map(|gateway| (at, endpoint, gateway)));
    with_gateway
        .min_by_key(|(_, endpoint, _)| {
            (
                std::cmp::Reverse(endpoint.settings.gw_priority),
                endpoint.network.document.name.clone(),
            )
        })
        .map(|(at, _, gateway)| (at, gateway))
}

/// Makes a place unreachable at once; what is left of it ends with the container's namespace.
pub fn close(host: &Host, endpoint: &Endpoint) {
    if endpoint.host_interface.is_empty() {
        return;
    }
    let there = route::link(&host.route, &endpoint.host_interface);
    let closed = there.and_then(|there| match there {
        Some(_) => route::close_port(&host.route, &endpoint.host_interface),
        None => Ok(()),
    });
    if let Err(error) = closed {
        tracing::warn!("close {}: {error:#}", endpoint.host_interface);
    }
}

/// Gives the addresses of a place back.
pub fn release(dirs: &Dirs, endpoint: &Endpoint) {
    let addresses = endpoint.addresses.iter().map(|(address, _)| *address);
    if let Err(error) = lease::release(dirs, &endpoint.network.document.id, addresses, None) {
        tracing::warn!(
            "give back the addresses of {}: {error:#}",
            endpoint.interface
        );
    }
}

/// Returns what `inspect` shows of a place.
pub fn shown(endpoint: &Endpoint, dns_names: Vec<String>) -> EndpointSettings {
    let address = |ipv6: bool| {
        endpoint
            .addresses
            .iter()
            .find(|(address, _)| address.is_ipv6() == ipv6)
    };
    let gateway = |ipv6: bool| {
        let mut gateways = endpoint.gateways.iter();
        gateways
            .find(|gateway| gateway.is_ipv6() == ipv6)
            .map(ToString::to_string)
    };
    let text = |ipv6| {
        address(ipv6)
            .map(|(address, _)| address.to_string())
            .unwrap_or_default()
    };
    let length = |ipv6| address(ipv6).map(|(_, length)| *length).unwrap_or_default();
    EndpointSettings {
        mac_address: if endpoint.mac == Mac::default() {
            String::new()
        } else {
            written_mac(endpoint.mac)
        },
        network_id: endpoint.network.document.id.clone(),
        endpoint_id: endpoint.id.clone(),
        gateway: gateway(false).unwrap_or_default(),
        ip_address: text(false),
        ip_prefix_len: length(false),
        ipv6_gateway: gateway(true).unwrap_or_default(),
        global_ipv6_address: text(true),
        global_ipv6_prefix_len: length(true),
        dns_names: Some(dns_names).filter(|names| !names.is_empty()),
        ..endpoint.settings.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::network::{EndpointIpam, IpamConfig};

    #[test]
    fn link_addresses_are_read_in_all_forms() {
        for text in ["02:42:ac:11:00:99", "02-42-AC-11-00-99", "0242.ac11.0099"] {
            assert_eq!(
                parse_mac(text).map(written_mac).as_deref(),
                Some("02:42:ac:11:00:99")
            );
        }
        for text in ["", "02:42", "02:42:ac:11:00:9g", "02:42:ac:11:00:99:aa:bb"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
        let ipv6: IpAddr = "fd00::102:304".parse().unwrap();
        assert_eq!(
            written_mac(choose_mac("", &[(ipv6, 64)]).unwrap()),
            "02:42:01:02:03:04"
        );
    }

    #[test]
    fn what_cannot_be_asked_of_a_network() {
        let check = |name: &str, network: Option<&Record>, ipv4: &str, alias: &str, want: &str| {
            let ipam = EndpointIpam {
                ipv4_address: ipv4.to_owned(),
                ..EndpointIpam::default()
            };
            let settings = EndpointSettings {
                ipam_config: Some(ipam),
                aliases: (!alias.is_empty()).then(|| vec![alias.to_owned()]),
                ..EndpointSettings::default()
            };
            let got = super::check(name, network, &settings);
            let got = got.map_err(|error| error.to_string().replace('\n', " "));
            assert_eq!(got.err().unwrap_or_default(), want);
        };
        let network = |subnet: &str, chosen| {
            let config = IpamConfig {
                subnet: subnet.to_owned(),
                ..IpamConfig::default()
            };
            let mut record = Record {
                chosen,
                ..Record::default()
            };
            record.document.ipam.config = Some(vec![config]);
            record
        };
        let chosen = network("10.0.0.0/24", true);
        let given = network("10.0.0.0/24", false);
        check("bridge", None, "", "", "");
        check("mine", None, "10.0.0.9", "web", "");
        check("mine", Some(&chosen), "10.0.0.9", "web", "");
        check(
            "mine",
            Some(&chosen),
            "10.0.1.9",
            "",
            "invalid endpoint settings: no configured subnet or ip-range contain the IP address 10.0.1.9",
        );
        check(
            "mine",
            Some(&chosen),
            "fd00::1",
            "",
            "invalid endpoint settings: * invalid IPv4 address: fd00::1 \
             * no configured subnet or ip-range contain the IP address fd00::1",
        );
        check(
            "mine",
            Some(&given),
            "10.0.0.9",
            "",
            "invalid endpoint settings: user specified IP address is supported only when connecting to networks \
             with user configured subnets",
        );
        check(
            "bridge",
            None,
            "10.0.0.9",
            "web",
            "invalid endpoint settings: * user specified IP address is supported on user defined networks only \
             * network-scoped aliases are only supported for user-defined networks",
        );
    }
}
