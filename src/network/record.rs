//! The networks: what each is, and how one is made, found and removed.
//!
//! `bridge`, `host` and `none` are always there; their records are written when somebody first asks. What a network needs
//! of the kernel is made by the first container that joins it, and again whenever it is missing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::firewall;
use super::ipam::{self, Base, Pool, Subnet};
use super::netlink::Socket;
use super::netlink::route::{self, Mac};
use crate::dirs::Dirs;
use crate::docker::network::{Ipam, IpamConfig, Network};
use crate::error;
use crate::store::{self, Durability, FileLock, Records};
use crate::sys::netlink::Protocol;

const RECORD: &str = "network.json";
/// The name of the network of containers that ask for none.
pub const DEFAULT: &str = "bridge";
const DEFAULT_BRIDGE: &str = "aril";
/// The kernel's limit on names of interfaces.
const INTERFACE_NAME_MAX: usize = 15;
const OPTION_NAME: &str = "com.docker.network.bridge.name";
/// Whether containers may talk to each other.
pub const OPTION_ICC: &str = "com.docker.network.bridge.enable_icc";
/// Whether containers show as the host outside.
pub const OPTION_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const OPTION_DEFAULT: &str = "com.docker.network.bridge.default_bridge";
/// The address of the host that ports are published on if they name none.
pub const OPTION_HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// Bytes of the largest packet.
pub const OPTION_MTU: &str = "com.docker.network.driver.mtu";
const OPTION_PARENT: &str = "parent";
const OPTION_MODE: &str = "macvlan_mode";
/// Leaves published ports to the proxy: no rule sends packets past the firewall of the host.
pub const OPTION_PUBLISH: &str = "aril.publish";

/// What kind of network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// A bridge on this host.
    Bridge,
    /// The host's own namespace.
    Host,
    /// Nothing but loopback.
    Null,
    /// Interfaces of their own on the network of a parent.
    Macvlan,
}

/// A network as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is for its users.
    pub document: Network,
    /// The bridge; empty for networks without.
    pub bridge: String,
    /// Whether the subnet was chosen by its user, who may then choose addresses too.
    pub chosen: bool,
}

impl Record {
    /// Returns what kind of network it is.
    pub fn driver(&self) -> Driver {
        match self.document.driver.as_str() {
            "host" => Driver::Host,
            "null" => Driver::Null,
            "macvlan" => Driver::Macvlan,
            _ => Driver::Bridge,
        }
    }

    /// Returns whether it is the network of containers that ask for none.
    pub fn is_default(&self) -> bool {
        self.document.name == DEFAULT
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.document.options.get(name).map(String::as_str)
    }

    /// Returns an option that says yes or no.
    fn says(&self, name: &str, default: bool) -> bool {
        self.option(name).map_or(default, |value| value == "true")
    }

    /// Returns where addresses come from, with the address of the host in each.
    pub fn pools(&self) -> Result<Vec<(Pool, IpAddr)>> {
        let configs = self.document.ipam.config.iter().flatten();
        configs.map(pool).collect()
    }

    /// Returns the MTU that its user asks for.
    pub fn mtu(&self) -> Option<u32> {
        self.option(OPTION_MTU)?.parse().ok()
    }

    /// Returns the interface that a macvlan network goes out by, and how.
    pub fn parent(&self) -> (&str, u32) {
        let mode = match self.option(OPTION_MODE) {
            Some("private") => 1,
            Some("vepa") => 2,
            Some("passthru") => 8,
            _ => 4,
        };
        (self.option(OPTION_PARENT).unwrap_or_default(), mode)
    }

    /// Returns the address of the host that ports are published on if nobody chose one.
    pub fn host_binding(&self) -> Option<IpAddr> {
        let address = self.option(OPTION_HOST_BINDING)?.parse::<Ipv4Addr>().ok()?;
        (!address.is_unspecified()).then_some(address.into())
    }

    /// Returns whether published ports are left to the proxy.
    pub fn publishes_by_proxy(&self) -> bool {
        self.option(OPTION_PUBLISH) == Some("proxy")
    }

    /// Returns the network as its rules see it.
    pub fn rules(&self) -> Result<firewall::Network> {
        let pools = self.pools()?;
        Ok(firewall::Network {
            bridge: self.bridge.clone(),
            subnets: pools.iter().map(|(pool, _)| pool.subnet).collect(),
            connects: self.says(OPTION_ICC, true),
            internal: self.document.internal,
            masquerade: self.says(OPTION_MASQUERADE, true),
        })
    }

    /// Returns the address of its bridge: always the same, since what knows it by that address must not lose it.
    pub fn bridge_mac(&self) -> Mac {
        let mut mac = [2, 0x42, 0, 0, 0, 0];
        for (at, octet) in mac[2..].iter_mut().enumerate() {
            let digits = self.document.id.get(2 * at..2 * at + 2).unwrap_or("0");
            *octet = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        mac
    }
}

fn pool(config: &IpamConfig) -> Result<(Pool, IpAddr)> {
    let subnet: Subnet = (config.subnet.parse())
        .map_err(|error| error::invalid(format!("invalid network config:\n{error:#}")))?;
    let address = |text: &str| -> Result<IpAddr> {
        text.parse()
            .map_err(|_| error::invalid(format!("invalid IP address: {text}")))
    };
    let gateway = match config.gateway.as_str() {
        "" => subnet.default_gateway(),
        // Some write it with the prefix.
        text => address(text.split('/').next().unwrap_or_default())?,
    };
    let mut reserved = vec![gateway];
    for text in config.auxiliary_addresses.values() {
        reserved.push(address(text)?);
    }
    let range = Some(config.ip_range.as_str()).filter(|range| !range.is_empty());
    let range = range.map(str::parse).transpose()?;
    let pool = Pool {
        subnet,
        range,
        reserved,
    };
    Ok((pool, gateway))
}

/// What new networks get that their users did not choose.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Where subnets come from.
    pub pools: Vec<Base>,
    /// What the network of containers that ask for none is asked to be; its options are completed.
    pub bridge: Network,
    /// Options of new networks, by driver; those that a user gives come first.
    pub options: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            pools: ipam::default_pools(),
            bridge: Network::default(),
            options: BTreeMap::new(),
        }
    }
}

/// All networks below the data root.
#[derive(Debug)]
pub struct Networks {
    dirs: Dirs,
    records: Records<Record>,
    defaults: Defaults,
}

impl Networks {
    /// Returns the networks of `dirs`; reads nothing.
    pub fn new(dirs: &Dirs, defaults: Defaults) -> Networks {
        Networks {
            dirs: dirs.clone(),
            records: Records::new(dirs.networks(), RECORD),
            defaults,
        }
    }

    /// Returns all networks by name.
    pub fn list(&self) -> Result<Vec<Record>> {
        let mut networks = self.read()?;
        let found: Vec<bool> = ["bridge", "host", "none"]
            .iter()
            .map(|name| {
                networks
                    .iter()
                    .any(|network| network.document.name == *name)
            })
            .collect();
        if found.contains(&false) {
            self.make_predefined()?;
            networks = self.read()?;
        }
        networks.sort_by(|a, b| a.document.name.cmp(&b.document.name));
        Ok(networks)
    }

    fn read(&self) -> Result<Vec<Record>> {
        let mut networks = Vec::new();
        if self.dirs.networks().is_dir() {
            networks = self
                .records
                .list()?
                .into_iter()
                .map(|(_, network)| network)
                .collect();
        }
        Ok(networks)
    }

    /// Returns the network that `text` means: a name, an id, or the start of one id.
    ///
    /// The error is of kind `NotFound` if there is none, and `Invalid` if `text` fits several.
    pub fn resolve(&self, text: &str) -> Result<Record> {
        let networks = self.list()?;
        let document = |network: &&Record| network.document.name == text;
        if let Some(network) = networks.iter().find(document) {
            return Ok(network.clone());
        }
        let mut fitting = networks
            .into_iter()
            .filter(|network| !text.is_empty() && network.document.id.starts_with(text));
        match (fitting.next(), fitting.count()) {
            (Some(network), 0) => Ok(network),
            (Some(_), more) => Err(error::invalid(format!(
                "network {text} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
            (None, _) => Err(error::not_found(format!("network {text} not found"))),
        }
    }

    fn lock(&self) -> Result<FileLock> {
        FileLock::exclusive(&self.dirs.lock("networks"))
    }

    fn make_predefined(&self) -> Result<()> {
        let _lock = self.lock()?;
        let there = self.read()?;
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            if there.iter().any(|network| network.document.name == name) {
                continue;
            }
            let mut request = Network {
                name: name.to_owned(),
                driver: driver.to_owned(),
                ..Network::default()
            };
            if driver == "bridge" {
                request.enable_ipv6 = self.defaults.bridge.enable_ipv6;
                request.ipam = self.defaults.bridge.ipam.clone();
                let icc = [OPTION_DEFAULT, OPTION_ICC, OPTION_MASQUERADE];
                request.options = icc
                    .iter()
                    .map(|name| ((*name).to_owned(), "true".to_owned()))
                    .collect();
                let all = "0.0.0.0".to_owned();
                request.options.insert(OPTION_HOST_BINDING.to_owned(), all);
                request.options.extend(self.defaults.bridge.options.clone());
            }
            self.make(request)?;
        }
        Ok(())
    }

    /// Makes a network.
    ///
    /// Errors: `Conflict` if the name is taken, `Forbidden` if its subnet overlaps another's, `Invalid` for whatever is wrong
    /// with the request.
    pub fn create(&self, request: Network) -> Result<Record> {
        check_name(&request.name)?;
        let name = request.name.clone();
        if is_predefined(&name) {
            return Err(error::new(
                error::Kind::Forbidden,
                format!("operation is not permitted on predefined {name} network"),
            ));
        }
        let there = self.list()?;
        let _lock = self.lock()?;
        let taken = |network: &Record| network.document.name == name;
        if there.iter().any(taken) || self.read()?.iter().any(taken) {
            return Err(error::conflict(format!(
                "network with name {name} already exists"
            )));
        }
        self.make(request)
    }

    /// Completes a request and writes its record; the caller holds the lock.
    fn make(&self, mut document: Network) -> Result<Record> {
        let others = self.read()?;
        document.id = store::random_id()?;
        document.created = Timestamp::now().to_string();
        "local".clone_into(&mut document.scope);
        if document.driver.is_empty() {
            "bridge".clone_into(&mut document.driver);
        }
        if document.ipam.driver.is_empty() {
            "default".clone_into(&mut document.ipam.driver);
        }
        document.enable_ipv4.get_or_insert(true);
        let options = self.defaults.options.get(&document.driver);
        for (name, value) in options.into_iter().flatten() {
            let value = || value.clone();
            document.options.entry(name.clone()).or_insert_with(value);
        }
        let addressed = match document.driver.as_str() {
            "bridge" | "macvlan" => true,
            "host" | "null" => {
                let predefined = ["host", "none"].contains(&document.name.as_str());
                if !predefined {
                    let driver = &document.driver;
                    return Err(error::new(
                        error::Kind::Forbidden,
                        format!("only one instance of \"{driver}\" network is allowed"),
                    ));
                }
                false
            }
            driver => {
                return Err(error::with_hint(
                    error::not_found(format!("plugin \"{driver}\" not found")),
                    "the drivers of networks are bridge and macvlan",
                ));
            }
        };
        let mut record = Record {
            bridge: String::new(),
            chosen: document
                .ipam
                .config
                .iter()
                .flatten()
                .any(|config| !config.subnet.is_empty()),
            document,
        };
        if addressed {
            let surroundings = Surroundings::look(&others, &self.defaults.pools)?;
            complete_addresses(&mut record.document, &surroundings)?;
            if record.driver() == Driver::Bridge {
                name_bridge(&mut record, &surroundings)?;
            } else if record.parent().0.is_empty() {
                return Err(error::invalid(
                    "macvlan needs the interface to go out by: -o parent=NAME",
                ));
            }
        }
        let dir = self.dirs.networks().join(&record.document.id);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        self.records
            .insert(&record.document.id, &record, Durability::Synced)?;
        Ok(record)
    }

    /// Removes a network that nobody uses, which the caller has checked; returns where it waits to be deleted.
    ///
    /// The error is of kind `Forbidden` for the networks that are always there.
    pub fn remove(&self, network: &Record) -> Result<PathBuf> {
        let name = &network.document.name;
        if is_predefined(name) {
            return Err(error::new(
                error::Kind::Forbidden,
                format!("{name} is a pre-defined network and cannot be removed"),
            ));
        }
        let _lock = self.lock()?;
        self.records
            .remove(&network.document.id, &self.dirs.trash())
    }
}

/// Returns whether a network is always there.
pub fn is_predefined(name: &str) -> bool {
    ["bridge", "host", "none"].contains(&name)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.trim() != name {
        let quoted = format!("{name:?}");
        return Err(error::invalid(format!(
            "invalid name: {quoted}: leading or trailing blanks, or no name at all"
        )));
    }
    let valid = name.bytes().enumerate().all(|(at, byte)| {
        byte.is_ascii_alphanumeric() || at > 0 && matches!(byte, b'_' | b'.' | b'-')
    });
    if !valid {
        return Err(error::invalid(format!(
            "invalid network name \"{name}\": only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed"
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

/// What a new network must not get in the way of.
struct Surroundings {
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
    fn look(others: &[Record], pools: &[Base]) -> Result<Surroundings> {
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
fn complete_addresses(document: &mut Network, surroundings: &Surroundings) -> Result<()> {
    let mut configs = document.ipam.config.take().unwrap_or_default();
    configs.retain(|config| *config != IpamConfig::default());
    let of_family = |configs: &[IpamConfig], ipv6: bool| {
        configs
            .iter()
            .any(|config| config.subnet.contains(':') == ipv6)
    };
    if document.enable_ipv4 == Some(false) && !document.enable_ipv6 {
        return Err(error::invalid("IPv4 or IPv6 must be enabled"));
    }
    if document.enable_ipv4 != Some(false) && !of_family(&configs, false) {
        let taken = [surroundings.networks.as_slice(), &surroundings.routes].concat();
        let Some(subnet) = ipam::free_subnet(&surroundings.pools, &taken) else {
            return Err(error::with_hint(
                error::new(
                    error::Kind::Forbidden,
                    "all predefined address pools have been fully subnetted",
                ),
                "choose one with --subnet, or remove networks that nobody uses: aril network prune",
            ));
        };
        let chosen = IpamConfig {
            subnet: subnet.to_string(),
            ..IpamConfig::default()
        };
        configs.insert(0, chosen);
    }
    if document.enable_ipv6 && !of_family(&configs, true) {
        configs.push(IpamConfig {
            subnet: ipam::unique_local(&document.id).to_string(),
            ..IpamConfig::default()
        });
    }
    for config in &mut configs {
        check_config(config, surroundings)?;
    }
    if document.enable_ipv4 == Some(false) {
        configs.retain(|config| config.subnet.contains(':'));
    }
    if !document.enable_ipv6 {
        configs.retain(|config| !config.subnet.contains(':'));
    }
    document.ipam = Ipam {
        driver: document.ipam.driver.clone(),
        options: document.ipam.options.take(),
        config: Some(configs),
    };
    Ok(())
}

fn check_config(config: &mut IpamConfig, surroundings: &Surroundings) -> Result<()> {
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
        if !subnet.contains(range.address) || range.length < subnet.length {
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
    config.gateway = gateway.to_string();
    Ok(())
}

/// Names of bridges are those of docker, but for the default network's: a docker on the same host has `docker0`.
fn name_bridge(record: &mut Record, surroundings: &Surroundings) -> Result<()> {
    let free = |name: &String| {
        !surroundings.interfaces.contains(name) && !surroundings.bridges.contains(name)
    };
    record.bridge = match record.option(OPTION_NAME) {
        Some(name) => {
            let name = name.to_owned();
            let valid = name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
            if name.is_empty() || name.len() > INTERFACE_NAME_MAX || !valid {
                let why = format!("{name:?} cannot be the name of an interface");
                return Err(error::invalid(why));
            }
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
