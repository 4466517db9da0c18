//! What is asked of a new network: completed and checked against what is there already.

use anyhow::{Context as _, Result};

use super::interface;
use super::ipam::{self, Base, Subnet};
use super::netlink::Socket;
use super::netlink::route;
use super::record::{
    OPTION_FORWARD, OPTION_ICC, OPTION_MASQUERADE, OPTION_MTU, OPTION_NAME, OPTION_RULES, Record,
    pool,
};
use crate::docker;
use crate::docker::network::{Ipam, IpamConfig, Network};
use crate::error;
use crate::sys::netlink::Protocol;

const DEFAULT_BRIDGE: &str = "aril";
/// Options of docker's bridges that have no effect here, and the only value that may be given.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("com.docker.network.bridge.gateway_mode_ipv4", "nat"),
    ("com.docker.network.bridge.gateway_mode_ipv6", "nat"),
    ("com.docker.network.bridge.inhibit_ipv4", "false"),
    ("com.docker.network.bridge.trusted_host_interfaces", ""),
];

/// Refuses names that networks cannot have.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(error::invalid("invalid name: name is empty"));
    }
    if name.trim() != name {
        return Err(error::invalid(format!(
            "invalid name: {name:?}: leading or trailing blanks"
        )));
    }
    if name == "default" {
        return Err(error::new(
            error::Kind::Forbidden,
            "operation is not permitted on predefined default network",
        ));
    }
    Ok(())
}

/// There is one driver of addresses.
pub(super) fn complete_ipam_driver(document: &mut Network) -> Result<()> {
    let driver = &mut document.ipam.driver;
    match driver.as_str() {
        "default" => {}
        "" => "default".clone_into(driver),
        other => {
            return Err(error::with_hint(
                error::not_found(format!("plugin \"{other}\" not found")),
                "the only driver of addresses is called default",
            ));
        }
    }
    Ok(())
}

/// Returns the record of a configuration that others take: it has no bridge and no addresses of its own.
///
/// Errors are of kind `Forbidden`.
pub(super) fn configuration(mut document: Network) -> Result<Record> {
    if document.internal || document.attachable || document.ingress {
        return Err(error::new(
            error::Kind::Forbidden,
            "configuration network can only contain network specific fields. Network operator fields like \
             [ ingress | internal | attachable | scope ] are not supported.",
        ));
    }
    if !document.config_from.network.is_empty() {
        return Err(error::new(
            error::Kind::Forbidden,
            "a configuration network cannot depend on another configuration network",
        ));
    }
    // Which driver it is for, is the affair of those that take it.
    "null".clone_into(&mut document.driver);
    document.enable_ipv4.get_or_insert(true);
    let configs = document.ipam.config.take();
    document.ipam.config = configs.filter(|configs| !configs.is_empty());
    Ok(Record {
        document,
        ..Record::default()
    })
}

/// Gives a new network the configuration that it names, if it names one.
///
/// Errors: `NotFound` if there is no such configuration among `others`, `Forbidden` if the request has one of its own.
pub(super) fn take_configuration(document: &mut Network, others: &[Record]) -> Result<()> {
    let name = &document.config_from.network;
    if name.is_empty() {
        return Ok(());
    }
    let forbidden = |what: &str| {
        let why =
            format!("{what} are not supported if the network depends on a configuration network");
        Err(error::new(error::Kind::Forbidden, why))
    };
    let ipam = &document.ipam;
    let own = document.enable_ipv4 == Some(false)
        || document.enable_ipv6
        || !document.labels.is_empty()
        || !matches!(ipam.driver.as_str(), "" | "default")
        || ipam
            .options
            .as_ref()
            .is_some_and(|options| !options.is_empty())
        || ipam
            .config
            .as_ref()
            .is_some_and(|configs| !configs.is_empty());
    if own {
        return forbidden("user specified configurations");
    }
    if !document.options.is_empty() {
        return forbidden("network driver options");
    }
    let mut others = others.iter().map(|other| &other.document);
    let Some(from) = others.find(|other| other.config_only && other.name == *name) else {
        let why = format!("configuration network {name:?} does not exist");
        return Err(error::not_found(why));
    };
    document.enable_ipv4 = from.enable_ipv4;
    document.enable_ipv6 = from.enable_ipv6;
    document.ipam.clone_from(&from.ipam);
    document.labels.clone_from(&from.labels);
    document.options.clone_from(&from.options);
    Ok(())
}

/// What a new network must not get in the way of.
pub(super) struct Surroundings {
    /// Where subnets come from.
    pools: Vec<Base>,
    /// Subnets of our other networks.
    networks: Vec<Subnet>,
    /// Networks that the host is in or knows a way to.
    routes: Vec<Subnet>,
    /// Names of all interfaces.
    interfaces: Vec<String>,
    /// Bridges of our other networks, whether they are there now or not.
    bridges: Vec<String>,
}

impl Surroundings {
    /// Looks around in the network namespace of the calling thread.
    pub(super) fn look(others: &[Record], pools: &[Base]) -> Result<Surroundings> {
        let socket = Socket::open(Protocol::Route)?;
        let mut networks = Vec::new();
        for other in others {
            networks.extend(other.pools()?.iter().map(|(pool, _)| pool.subnet));
        }
        let routes = route::routes(&socket)?.into_iter().filter_map(|route| {
            let (address, length) = route.to?;
            // A way to half of the world, such as that of a VPN to all private networks, is none to what is more special.
            (!route.by_router || length > 16).then(|| Subnet::new(address, length))
        });
        Ok(Surroundings {
            pools: pools.to_vec(),
            networks,
            routes: routes.collect(),
            interfaces: route::links(&socket)?
                .into_iter()
                .map(|link| link.name)
                .collect(),
            bridges: others.iter().map(|other| other.bridge.clone()).collect(),
        })
    }
}

/// Fills in subnets and gateways, and refuses what cannot be.
pub(super) fn complete_addresses(
    document: &mut Network,
    surroundings: &Surroundings,
) -> Result<()> {
    let mut configs = document.ipam.config.take().unwrap_or_default();
    configs.retain(|config| *config != IpamConfig::default());
    if document.enable_ipv4 == Some(false) && !document.enable_ipv6 {
        return Err(error::invalid("IPv4 or IPv6 must be enabled"));
    }
    configs.sort_by_key(is_ipv6);
    // Each family that is wanted has a subnet in the end; those that nobody asked for come last, as with docker, and only
    // they say which gateway they have got.
    for (ipv6, is_wanted) in [
        (false, document.enable_ipv4 != Some(false)),
        (true, document.enable_ipv6),
    ] {
        let of_family = |config: &IpamConfig| !config.subnet.is_empty() && is_ipv6(config) == ipv6;
        if !is_wanted || configs.iter().any(of_family) {
            continue;
        }
        let subnet = free_subnet(document, ipv6, surroundings)?;
        let open = configs
            .iter_mut()
            .find(|config| config.subnet.is_empty() && is_ipv6(config) == ipv6);
        match open {
            Some(config) => config.subnet = subnet.to_string(),
            None => configs.push(IpamConfig {
                subnet: subnet.to_string(),
                gateway: subnet.default_gateway().to_string(),
                ..IpamConfig::default()
            }),
        }
    }
    for config in &configs {
        check_config(config, surroundings)?;
    }
    if document.enable_ipv4 == Some(false) {
        configs.retain(is_ipv6);
    }
    if !document.enable_ipv6 {
        configs.retain(|config| !is_ipv6(config));
    }
    document.ipam = Ipam {
        driver: document.ipam.driver.clone(),
        options: document.ipam.options.take(),
        config: Some(configs),
    };
    Ok(())
}

/// Returns whether a configuration is about IPv6, by any address in it.
fn is_ipv6(config: &IpamConfig) -> bool {
    let others = config.auxiliary_addresses.values();
    [&config.subnet, &config.gateway, &config.ip_range]
        .into_iter()
        .chain(others)
        .any(|text| text.contains(':'))
}

/// Chooses a subnet that nobody has; the error is of kind `Forbidden`.
fn free_subnet(document: &Network, ipv6: bool, surroundings: &Surroundings) -> Result<Subnet> {
    let taken = [surroundings.networks.as_slice(), &surroundings.routes].concat();
    let of_family = |pool: &&Base| pool.base.is_ipv6() == ipv6;
    let pools: Vec<Base> = surroundings
        .pools
        .iter()
        .filter(of_family)
        .copied()
        .collect();
    if ipv6 && pools.is_empty() {
        return Ok(ipam::unique_local(&document.id));
    }
    ipam::free_subnet(&pools, &taken).ok_or_else(|| {
        error::with_hint(
            error::new(
                error::Kind::Forbidden,
                "all predefined address pools have been fully subnetted",
            ),
            "choose one with --subnet, or remove networks that nobody uses: aril network prune",
        )
    })
}

fn check_config(config: &IpamConfig, surroundings: &Surroundings) -> Result<()> {
    let invalid = |why: String| Err(error::invalid(format!("invalid network config:\n{why}")));
    let Ok(subnet) = config.subnet.parse::<Subnet>() else {
        return invalid(format!(
            "invalid subnet {}: invalid CIDR block notation",
            config.subnet
        ));
    };
    if subnet.to_string() != config.subnet {
        let prefix = config.subnet.split('/').next().unwrap_or_default();
        if prefix.parse() != Ok(subnet.address) {
            return invalid(format!(
                "invalid subnet {}: it should be {subnet}",
                config.subnet
            ));
        }
    }
    if !config.ip_range.is_empty() {
        let range = config.ip_range.parse::<Subnet>();
        let Ok(range) = range else {
            return invalid(format!(
                "invalid ip-range {}: invalid CIDR block notation",
                config.ip_range
            ));
        };
        if range.length < subnet.length {
            return invalid(format!(
                "invalid ip-range {range}: CIDR block is bigger than its parent subnet {subnet}"
            ));
        }
        if !subnet.contains(range.address) {
            return invalid(format!(
                "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
            ));
        }
    }
    let (pool, gateway) = pool(config)?;
    for address in &pool.reserved {
        if !subnet.contains(*address) {
            let what = if *address == gateway {
                "gateway"
            } else {
                "auxiliary address"
            };
            return invalid(format!(
                "invalid {what} {address}: parent subnet {subnet} doesn't contain {what}"
            ));
        }
    }
    if let Some(other) = surroundings
        .networks
        .iter()
        .find(|other| other.overlaps(subnet))
    {
        return Err(error::with_hint(
            error::new(
                error::Kind::Forbidden,
                "invalid pool request: Pool overlaps with other one on this address space",
            ),
            format!("{subnet} overlaps {other}, the subnet of another network; aril network ls"),
        ));
    }
    if !subnet.has_host(gateway) {
        return Err(error::new(
            error::Kind::Forbidden,
            format!("failed to allocate gateway ({gateway}): Address already in use"),
        ));
    }
    Ok(())
}

/// Refuses what would not be as it is asked for: who wants a network that nobody reaches must not get one that all reach.
pub(super) fn check_bridge(record: &Record) -> Result<()> {
    for (option, known) in WITHOUT_EFFECT {
        if let Some(value) = record.option(option)
            && !value.is_empty()
            && value != known
        {
            let why = format!("{option} cannot be {value:?}: it is not supported");
            return Err(error::invalid(why));
        }
    }
    let unread = |option, value, what: &str| {
        let why = format!("({what}: parsing {value:?}: invalid syntax)");
        let why = format!("failed to parse {option} value: {value} {why}");
        Err(error::invalid(why))
    };
    for option in [OPTION_ICC, OPTION_MASQUERADE, OPTION_RULES, OPTION_FORWARD] {
        if let Some(value) = record.option(option)
            && docker::truth(value).is_none()
        {
            return unread(option, value, "strconv.ParseBool");
        }
    }
    match record.option(OPTION_MTU) {
        Some(value) if value.parse::<i64>().is_err() => unread(OPTION_MTU, value, "strconv.Atoi"),
        Some(value) if value.parse::<u32>().is_err() => {
            Err(error::invalid(format!("invalid MTU number: {value}")))
        }
        _ => Ok(()),
    }
}

/// Names of bridges are those of docker, but for the default network's: a docker on the same host has `docker0`.
pub(super) fn name_bridge(record: &mut Record, surroundings: &Surroundings) -> Result<()> {
    let free = |name: &String| {
        !surroundings.interfaces.contains(name) && !surroundings.bridges.contains(name)
    };
    record.bridge = match record.option(OPTION_NAME) {
        Some(name) => {
            let name = name.to_owned();
            interface::check(&name)?;
            if surroundings.bridges.contains(&name) {
                let why = format!("cannot create network: networks have same bridge name {name}");
                return Err(error::conflict(why));
            }
            name
        }
        None if record.is_default() => (0..1000)
            .map(|number| format!("{DEFAULT_BRIDGE}{number}"))
            .find(free)
            .context("there is no free name for a bridge")?,
        None => format!("br-{}", &record.document.id[..12]),
    };
    if record.is_default() {
        let name = record.bridge.clone();
        record.document.options.insert(OPTION_NAME.to_owned(), name);
    }
    Ok(())
}

/// Checks what a network without a bridge is asked to be.
pub(super) fn check_child(record: &Record, others: &[Record]) -> Result<()> {
    let (driver, parent) = (&record.document.driver, record.parent());
    if parent.is_empty() {
        return Err(error::with_hint(
            error::invalid(format!(
                "{driver} needs the interface to go out by: -o parent=NAME"
            )),
            "ip -brief link lists the interfaces of this host",
        ));
    }
    for (option, known) in [
        (
            "macvlan_mode",
            &["bridge", "private", "vepa", "passthru"][..],
        ),
        // In the others the kernel routes, and the world outside needs routes to the containers.
        ("ipvlan_mode", &["l2"]),
        ("ipvlan_flag", &["bridge", "private", "vepa"]),
    ] {
        if let Some(value) = record.option(option)
            && !known.contains(&value)
        {
            let known = known.join(" or ");
            return Err(error::invalid(format!(
                "{option} cannot be {value:?}: it is {known}"
            )));
        }
    }
    let same_parent = |other: &&Record| other.parent() == parent;
    if let Some(other) = others.iter().find(same_parent)
        && other.document.driver != *driver
    {
        // The kernel refuses that, but only when a container starts.
        let name = &other.document.name;
        return Err(error::conflict(format!(
            "the network {name} of driver {} goes out by {parent} already",
            other.document.driver
        )));
    }
    let socket = Socket::open(Protocol::Route)?;
    if !route::has_kind(&socket, record.child())? {
        return Err(no_kind(driver));
    }
    let link = route::link(&socket, parent).context("look for the parent")?;
    link.map(drop).ok_or_else(|| {
        error::with_hint(
            error::not_found(format!("there is no interface {parent} to go out by")),
            "ip -brief link lists the interfaces of this host",
        )
    })
}

/// The error of a kernel without a kind of interface, of kind `Unavailable`.
pub(super) fn no_kind(kind: &str) -> anyhow::Error {
    error::with_hint(
        error::unavailable(format!("this kernel has no {kind}")),
        format!("modprobe {kind}, or use a network of the driver bridge"),
    )
}
