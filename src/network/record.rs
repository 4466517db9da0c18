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
use super::netlink::route::{self, Mac};
use super::request::{self, Surroundings};
use crate::dirs::Dirs;
use crate::docker;
use crate::docker::network::{IpamConfig, Network};
use crate::error;
use crate::store::{self, Durability, FileLock, Records};

const RECORD: &str = "network.json";
/// The name of the network of containers that ask for none.
pub const DEFAULT: &str = "bridge";
/// The network that is none: who is in it is in no other.
pub const NONE: &str = "none";
/// The name of its bridge.
pub const OPTION_NAME: &str = "com.docker.network.bridge.name";
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
const OPTION_MACVLAN_MODE: &str = "macvlan_mode";
const OPTION_IPVLAN_FLAG: &str = "ipvlan_flag";
/// Leaves published ports to the proxy: no rule sends packets past the firewall of the host.
pub const OPTION_PUBLISH: &str = "aril.publish";
/// `proxy`: connections to the host's loopback are left to the proxy, as docker does.
pub const OPTION_LOOPBACK: &str = "aril.loopback";
/// `false`: its bridge has no rules at all; who set it so writes them.
pub const OPTION_RULES: &str = "aril.firewall";
/// `false`: forwarding is as the host has it.
pub const OPTION_FORWARD: &str = "aril.forward";
/// What `host-gateway` stands for, commas between; of the default network.
pub const OPTION_HOST_GATEWAY: &str = "aril.host_gateway";
/// What a reserved address is called that is the way out of containers in place of the host's own.
pub const WAY_OUT_IPV4: &str = "DefaultGatewayIPv4";
/// The same for IPv6.
pub const WAY_OUT_IPV6: &str = "DefaultGatewayIPv6";

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
    /// The same with the parent's own link address.
    Ipvlan,
}

/// A network as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What it is for its users.
    pub document: Network,
    /// The bridge; empty for networks without.
    pub bridge: String,
    /// Whether the subnet was chosen by its user, who may then choose addresses too.
    pub chosen: bool,
    /// What daemon.json asked it to be, as JSON; of the default network, and empty if it asked nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked: String,
}

impl Record {
    /// Returns what kind of network it is.
    pub fn driver(&self) -> Driver {
        match self.document.driver.as_str() {
            "host" => Driver::Host,
            "null" => Driver::Null,
            "macvlan" => Driver::Macvlan,
            "ipvlan" => Driver::Ipvlan,
            _ => Driver::Bridge,
        }
    }

    /// Refuses a container whose own network is by `mode`, if it cannot be in this network as well as in `others`; in docker's
    /// words.
    ///
    /// Errors are of kind `Forbidden`.
    pub fn admit(&self, mode: &str, others: &[&str]) -> Result<()> {
        let why = if self.document.config_only {
            "cannot create endpoint on configuration-only network"
        } else if mode == "host" || mode.starts_with("container:") {
            "container sharing network namespace with another container or host cannot be connected to any other network"
        } else if self.driver() == Driver::Host {
            "cannot connect container to host network - container must be created in host network mode"
        } else if others.contains(&NONE) || (self.driver() == Driver::Null && !others.is_empty()) {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        } else {
            return Ok(());
        };
        Err(error::new(error::Kind::Forbidden, why))
    }

    /// Returns whether it is the network of containers that ask for none.
    pub fn is_default(&self) -> bool {
        self.document.name == DEFAULT
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.document.options.get(name).map(String::as_str)
    }

    /// Returns an option that says yes or no.
    fn says(&self, name: &str, default: bool) -> bool {
        self.option(name).and_then(docker::truth).unwrap_or(default)
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

    /// Returns the interface that a network without a bridge goes out by; empty if its user named none.
    pub fn parent(&self) -> &str {
        self.option(OPTION_PARENT).unwrap_or_default()
    }

    /// Returns what kind of interface the containers of a network without a bridge get.
    pub fn child(&self) -> route::Child {
        if self.driver() == Driver::Ipvlan {
            return route::Child::Ipvlan {
                flags: match self.option(OPTION_IPVLAN_FLAG) {
                    Some("private") => 1,
                    Some("vepa") => 2,
                    _ => 0,
                },
            };
        }
        route::Child::Macvlan {
            mode: match self.option(OPTION_MACVLAN_MODE) {
                Some("private") => 1,
                Some("vepa") => 2,
                Some("passthru") => 8,
                _ => 4,
            },
        }
    }

    /// Returns whether its bridge has rules.
    pub fn has_rules(&self) -> bool {
        self.says(OPTION_RULES, true)
    }

    /// Returns whether packets are to be forwarded for it.
    pub fn forwards(&self) -> bool {
        self.says(OPTION_FORWARD, true)
    }

    /// Returns the address that is the way out for containers with an address of `pool`: the host's own, `gateway`, or
    /// another one that its user has named.
    pub fn way_out(&self, pool: &Pool, gateway: IpAddr) -> IpAddr {
        let name = if pool.subnet.is_ipv6() {
            WAY_OUT_IPV6
        } else {
            WAY_OUT_IPV4
        };
        let configs = self.document.ipam.config.iter().flatten();
        let mut named =
            configs.filter_map(|config| config.auxiliary_addresses.get(name)?.parse().ok());
        named
            .find(|address| pool.subnet.contains(*address))
            .unwrap_or(gateway)
    }

    /// Returns what `host-gateway` stands for if the administrator has said so.
    pub fn host_gateways(&self) -> Vec<IpAddr> {
        let texts = self.option(OPTION_HOST_GATEWAY).unwrap_or_default();
        texts
            .split(',')
            .filter_map(|text| text.parse().ok())
            .collect()
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

    /// Returns whether rules, where they can, send connections to the host's loopback on to containers.
    pub fn sends_loopback(&self) -> bool {
        self.driver() == Driver::Bridge
            && self.has_rules()
            && self.option(OPTION_LOOPBACK) != Some("proxy")
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

/// Returns the pool of a configuration, and the address of the host in it.
pub(super) fn pool(config: &IpamConfig) -> Result<(Pool, IpAddr)> {
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
            networks = self.records.list()?.map(|(_, network)| network).collect();
        }
        Ok(networks)
    }

    /// Returns the network that `text` means: a name, an id, or the start of one id.
    ///
    /// The error is of kind `NotFound` if there is none, and `Invalid` if `text` fits several.
    pub fn resolve(&self, text: &str) -> Result<Record> {
        if text.is_empty() {
            return Err(error::empty_name("network"));
        }
        let networks = self.list()?;
        let document = |network: &&Record| network.document.name == text;
        if let Some(network) = networks.iter().find(document) {
            return Ok(network.clone());
        }
        let mut fitting = networks
            .into_iter()
            .filter(|network| network.document.id.starts_with(text));
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
            let request = self.predefined(name, driver);
            self.make(request)?;
        }
        Ok(())
    }

    /// What a network that is always there is asked to be.
    fn predefined(&self, name: &str, driver: &str) -> Network {
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
        request
    }

    /// What daemon.json asks the default network to be; empty if nothing.
    fn asked(&self) -> String {
        let asked = &self.defaults.bridge;
        let options = self.defaults.options.get("bridge");
        let options = options.filter(|options| !options.is_empty());
        if *asked == Network::default() && options.is_none() {
            return String::new();
        }
        serde_json::json!([asked, options]).to_string()
    }

    /// Returns the default network if daemon.json asks it to be something else than when it was made.
    ///
    /// Makes the networks that are always there if they are not.
    pub fn outdated_default(&self) -> Result<Option<Record>> {
        let mut networks = self.list()?.into_iter();
        let asked = self.asked();
        Ok(networks.find(|network| network.is_default() && network.asked != asked))
    }

    /// Makes the default network again, as daemon.json now asks it to be; its bridge is not there, which is the caller's work.
    pub fn remake_default(&self, old: &Record) -> Result<()> {
        let _lock = self.lock()?;
        let mut request = self.predefined(DEFAULT, "bridge");
        let name = old.bridge.clone();
        request.options.insert(OPTION_NAME.to_owned(), name);
        let mut others = self.read()?;
        others.retain(|other| other.document.id != old.document.id);
        let mut new = self.plan(request, others)?;
        new.document.id.clone_from(&old.document.id);
        new.document.created.clone_from(&old.document.created);
        self.records.update(
            &old.document.id,
            Durability::Synced,
            |record: &mut Record| {
                *record = new;
                Ok(())
            },
        )
    }

    /// Makes a network.
    ///
    /// Errors: `Conflict` if the name is taken, `Forbidden` if its subnet overlaps another's, `Invalid` for whatever is wrong
    /// with the request.
    pub fn create(&self, request: Network) -> Result<Record> {
        request::check_name(&request.name)?;
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
    fn make(&self, request: Network) -> Result<Record> {
        let record = self.plan(request, self.read()?)?;
        let dir = self.dirs.networks().join(&record.document.id);
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        self.records
            .insert(&record.document.id, &record, Durability::Synced)?;
        Ok(record)
    }

    /// Completes a request for a network beside `others`.
    fn plan(&self, mut document: Network, mut others: Vec<Record>) -> Result<Record> {
        document.id = store::random_id()?;
        document.created = Timestamp::now().to_string();
        "local".clone_into(&mut document.scope);
        if document.config_only {
            return request::configuration(document);
        }
        request::take_configuration(&mut document, &others)?;
        // Nobody is in a configuration: it is in nobody's way.
        others.retain(|other| !other.document.config_only);
        if document.driver.is_empty() {
            "bridge".clone_into(&mut document.driver);
        }
        request::complete_ipam_driver(&mut document)?;
        document.enable_ipv4.get_or_insert(true);
        let options = self.defaults.options.get(&document.driver);
        for (name, value) in options.into_iter().flatten() {
            let value = || value.clone();
            document.options.entry(name.clone()).or_insert_with(value);
        }
        let addressed = match document.driver.as_str() {
            "bridge" | "macvlan" | "ipvlan" => true,
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
            "overlay" => return Err(error::no_swarm()),
            driver => {
                return Err(error::with_hint(
                    error::not_found(format!("plugin \"{driver}\" not found")),
                    "the drivers of networks are bridge, macvlan and ipvlan",
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
            asked: if document.name == DEFAULT {
                self.asked()
            } else {
                String::new()
            },
            document,
        };
        if addressed {
            let surroundings = Surroundings::look(&others, &self.defaults.pools)?;
            request::complete_addresses(&mut record.document, &surroundings)?;
            if record.driver() == Driver::Bridge {
                request::check_bridge(&record)?;
                request::name_bridge(&mut record, &surroundings)?;
            } else {
                request::check_child(&record, &others)?;
            }
        }
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
        let takes = |other: &Record| other.document.config_from.network == *name;
        if network.document.config_only && self.read()?.iter().any(takes) {
            let why = format!("configuration network {name:?} is in use");
            return Err(error::new(
                error::Kind::Forbidden,
                format!("error while removing network: {why}"),
            ));
        }
        self.records
            .remove(&network.document.id, &self.dirs.trash())
    }
}

/// Returns whether a network is always there.
pub fn is_predefined(name: &str) -> bool {
    ["bridge", "host", "none"].contains(&name)
}
