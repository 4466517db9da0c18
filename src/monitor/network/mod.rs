//! A container's networking, from before its process exists to after it is gone.
//!
//! ```text
//! prepare    addresses leased, ports taken, bridges and rules there      before the clone
//! attach     interfaces, routes, rules for ports, proxy, name server     beside the child's mounts
//! tear_down  in reverse; what is in the container's namespace ends with it
//! ```
//!
//! All of it is held by this process: leases by the monitor's lock, ports and rules by sockets. A monitor that is killed
//! leaves nothing that anybody would have to clean up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::container::{NetworkStatus, Record, short};
use crate::dirs::Dirs;
use crate::docker::network::EndpointSettings;
use crate::event;
use crate::network::bridge::{self, Host};
use crate::network::dns::Resolver;
use crate::network::endpoint::{self, Endpoint, Inside, Member};
use crate::network::files::HostsEntry;
use crate::network::firewall::{self, Publication, Published};
use crate::network::lease;
use crate::network::netlink::{conntrack, is_refused, nft, route};
use crate::network::ports::{self, Binding, Protocol};
use crate::network::proxy::{Forward, Proxy};
use crate::network::record::{DEFAULT, Defaults, NONE, Networks};

mod conflict;
mod heal;
pub mod links;
mod live;
mod names;

/// The word in `--add-host` that stands for the host.
const HOST_GATEWAY: &str = "host-gateway";

/// After this the kernel has done what deleted rules leave to be done.
const SETTLING: Duration = Duration::from_millis(100);

/// A container's networking; without endpoints if it has none of its own.
#[derive(Debug, Default)]
pub struct Networking {
    /// Kept from one run to the next, see [`Host`].
    host: Option<Host>,
    endpoints: Vec<Endpoint>,
    bindings: Vec<Binding>,
    inside: Option<Inside>,
    proxy: Option<Proxy>,
    watch: Option<heal::Watch>,
    /// Whether the container asks a name server of its own.
    resolves: bool,
    resolver: Option<Resolver>,
    /// Whether the table of published ports is there.
    published: bool,
    /// What is closed only when nobody waits any more, see [`Networking::settle`].
    closes_late: (Option<heal::Watch>, Option<Inside>),
    /// Whether a table was deleted since.
    deleted: bool,
    /// Names of the container, in all networks.
    names: Vec<String>,
    /// What links bring.
    links: links::Links,
    /// The addresses of the host, if the container asks for them.
    host_gateways: Vec<IpAddr>,
}

/// Takes away what a monitor that was killed has left on disk of its container's places; nothing of it counts any more.
pub fn clean_up(dirs: &Dirs, record: &Record, status: &NetworkStatus) -> Result<()> {
    for endpoint in status.endpoints.values() {
        let texts = [&endpoint.ip_address, &endpoint.global_ipv6_address];
        let addresses = texts.iter().filter_map(|text| text.parse().ok());
        lease::release(dirs, &endpoint.network_id, addresses, Some(&record.id))?;
        names::forget_in(dirs, record, &endpoint.network_id);
    }
    Ok(())
}

/// Returns whether a container has a network namespace of its own, and may have interfaces in it.
fn has_endpoints(record: &Record) -> bool {
    let mode = record.host_config.network_mode.as_str();
    let endpoints = &record.networking_config.endpoints_config;
    mode != "host"
        && !endpoints.contains_key(NONE)
        && !mode.starts_with("container:")
        && !record.config.network_disabled
}

/// Refuses networks that a container cannot be in beside that of its mode.
fn admit(dirs: &Dirs, record: &Record) -> Result<()> {
    let mode = &record.host_config.network_mode;
    // One whose network another container's is gets that one's, whatever else it asks for, as with docker.
    if mode.starts_with("container:") {
        return Ok(());
    }
    let endpoints = &record.networking_config.endpoints_config;
    let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
    for name in names.iter().filter(|name| **name != mode) {
        let network = Networks::new(dirs, Defaults::default()).resolve(name)?;
        let others: Vec<&str> = names
            .iter()
            .copied()
            .filter(|other| other != name)
            .collect();
        network.admit(mode, &others)?;
    }
    Ok(())
}

/// Returns the networks that a container joins, with what is asked of each: first that of its mode, then by name.
fn wanted(record: &Record) -> Vec<(String, EndpointSettings)> {
    let mode = &record.host_config.network_mode;
    let configured = &record.networking_config.endpoints_config;
    let mut wanted = Vec::new();
    if let Some(settings) = configured.get(mode) {
        wanted.push((mode.clone(), settings.clone()));
    }
    let more = configured.iter().filter(|(name, _)| *name != mode);
    wanted.extend(more.map(|(name, settings)| (name.clone(), settings.clone())));
    if let Some((_, first)) = wanted.first_mut()
        && first.mac_address.is_empty()
    {
        first.mac_address.clone_from(&record.config.mac_address);
    }
    wanted
}

impl Networking {
    /// Leases addresses and takes ports; everything that can be refused is refused here.
    pub fn prepare(&mut self, dirs: &Dirs, record: &Record) -> Result<()> {
        admit(dirs, record).context("failed to set up container networking")?;
        let extra = record.host_config.extra_hosts.iter().flatten();
        let asks_for_host = extra.into_iter().any(|entry| names::asks_for_host(entry));
        if !has_endpoints(record) && !asks_for_host {
            return Ok(());
        }
        // Of the last run; it is long over.
        self.closes_late = (None, None);
        if self.host.is_none() {
            self.host = Some(Host::open()?);
        }
        let prepared = self
            .prepare_all(dirs, record, asks_for_host)
            .map_err(|error| {
                // What was asked for is wrong, and docker would not have tried.
                if crate::error::is(&error, crate::error::Kind::Invalid) {
                    return error;
                }
                error.context("failed to set up container networking")
            });
        if prepared.is_err() {
            self.tear_down(dirs, record);
        }
        prepared
    }

    fn prepare_all(&mut self, dirs: &Dirs, record: &Record, asks_for_host: bool) -> Result<()> {
        let networks = Networks::new(dirs, Defaults::default());
        let host = self
            .host
            .as_ref()
            .context("the host's network is not open")?;
        if asks_for_host {
            let network = networks.resolve(DEFAULT)?;
            bridge::ensure(host, &network)?;
            self.host_gateways = bridge::host_gateways(&network)?;
        }
        if !has_endpoints(record) {
            return Ok(());
        }
        for (name, settings) in &wanted(record) {
            let network = networks.resolve(name)?;
            if network.document.config_only {
                network.admit(name, &[])?;
            }
            let member = Member {
                id: &record.id,
                interfaces: &self.interfaces(),
            };
            let endpoint = endpoint::plan(dirs, host, &network, settings, member)?;
            self.endpoints.push(endpoint);
        }
        if let Some(endpoint) = self
            .endpoints
            .iter()
            .find(|endpoint| endpoint.network.is_default())
            && let Some((address, _)) = endpoint.addresses.first()
        {
            links::tell(dirs, record, &address.to_string());
        }
        self.names = own_names(record);
        self.resolves = names::is_needed(record, &self.endpoints);
        if record.host_config.network_mode == DEFAULT {
            self.links = links::resolve(dirs, record)?;
        }
        let config = &record.config;
        let host_config = &record.host_config;
        let wanted = ports::plan(
            config.exposed_ports.as_ref(),
            &host_config.port_bindings,
            host_config.publish_all_ports,
        )?;
        // Who cannot send anything out is not reached from outside either.
        let Some(main) = self.main() else {
            return Ok(());
        };
        let default = main.network.host_binding();
        self.bindings = ports::bind(&wanted, default)
            .map_err(|error| conflict::explain(dirs, record, main, error))?;
        Ok(())
    }

    /// The endpoint that published ports lead to.
    fn main(&self) -> Option<&Endpoint> {
        let way_out = |ipv6| endpoint::way_out(&self.endpoints, ipv6);
        let (at, _) = way_out(false).or_else(|| way_out(true))?;
        self.endpoints.get(at)
    }

    /// Returns whether there is anything to attach.
    pub fn is_private(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Gives the container, whose first process is `pid`, its interfaces, and opens its ports.
    pub fn attach(&mut self, dirs: &Dirs, record: &Record, pid: i32) -> Result<()> {
        self.attach_all(dirs, record, pid)
            .context("failed to set up container networking")
    }

    fn attach_all(&mut self, dirs: &Dirs, record: &Record, pid: i32) -> Result<()> {
        self.open(dirs, record, pid)?;
        let (Some(host), Some(inside)) = (&self.host, &self.inside) else {
            return Ok(());
        };
        for endpoint in &self.endpoints {
            endpoint::attach(host, inside, endpoint)?;
        }
        self.set_ways_out()?;
        self.publish(record)?;
        self.start_resolver(dirs, record)?;
        self.tell_names(dirs, record)?;
        let (Some(host), Some(inside)) = (&self.host, &self.inside) else {
            return Ok(());
        };
        for endpoint in &self.endpoints {
            endpoint::wait_for_carrier(host, inside, endpoint)?;
        }
        Ok(())
    }

    /// Opens the networks of the host and of the container, whose first process is `pid`, and watches the host's.
    fn open(&mut self, dirs: &Dirs, record: &Record, pid: i32) -> Result<()> {
        if self.host.is_none() {
            self.host = Some(Host::open()?);
        }
        let mut asked = record.host_config.sysctls.keys();
        let asks_for_ipv6 = asked.any(|name| name.starts_with("net.ipv6.conf"));
        self.inside = Some(Inside::open(pid, !self.has_ipv6() && !asks_for_ipv6)?);
        match heal::Watch::new(dirs) {
            Ok(watch) => self.watch = Some(watch),
            // All else works without.
            Err(error) => tracing::warn!("{error:#}"),
        }
        Ok(())
    }

    fn has_ipv6(&self) -> bool {
        let mut addresses = self
            .endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.addresses);
        addresses.any(|(address, _)| address.is_ipv6())
    }

    /// Sets the default routes; those that are there are replaced.
    fn set_ways_out(&self) -> Result<()> {
        let Some(inside) = &self.inside else {
            return Ok(());
        };
        for ipv6 in [false, true] {
            let Some((at, gateway)) = endpoint::way_out(&self.endpoints, ipv6) else {
                continue;
            };
            let interface = &self.endpoints[at].interface;
            let link = route::link(&inside.route, interface)?
                .with_context(|| format!("interface {interface} is gone"))?;
            route::clear_default_routes(&inside.route, ipv6, link.index)?;
            match route::add_default_route(&inside.route, gateway, link.index) {
                Err(error) if is_refused(&error, &[libc::EEXIST]) => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Lets packets for the published ports come to the container.
    fn publish(&mut self, record: &Record) -> Result<()> {
        let Some(main) = self.main() else {
            return Ok(());
        };
        let address = |ipv6: bool| {
            let mut addresses = main.addresses.iter().map(|(address, _)| *address);
            addresses.find(|address| address.is_ipv6() == ipv6)
        };
        let (ipv4, ipv6) = (address(false), address(true));
        let of_family = |host: IpAddr| if host.is_ipv6() { ipv6 } else { ipv4 };
        if !main.network.publishes_by_proxy() {
            let ports = self.bindings.iter().filter_map(|binding| {
                Some(Published {
                    protocol: binding.protocol.number(),
                    host: binding.host,
                    host_port: binding.host_port,
                    container: of_family(binding.host)?,
                    port: binding.port,
                })
            });
            let ports: Vec<Published> = ports.collect();
            let asks = |port: &Published| port.host.is_unspecified() || port.host.is_loopback();
            let by_rules = main.network.sends_loopback()
                && ports.iter().any(|port| port.host.is_ipv4() && asks(port));
            let bridge = &main.network.bridge;
            let publication = Publication {
                loopback: (by_rules && bridge::route_loopback(bridge)).then(|| bridge.clone()),
                bridges: self
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.network.bridge.clone())
                    .collect(),
                ports,
                replaces: self.published,
            };
            // On an error the old ones are still there: a transaction is done as a whole or not at all.
            let published = self.add_rules(record, &publication)?;
            if !published {
                self.take_back_rules(record);
            }
            self.published = published;
        }
        let mut forwards = Vec::new();
        for binding in &mut self.bindings {
            let target = of_family(binding.host).or(ipv4).or(ipv6);
            if let (Some(target), true) = (target, binding.protocol != Protocol::Sctp)
                && let Some(socket) = binding.socket.take()
            {
                let target = SocketAddr::new(target, binding.port);
                forwards.push(Forward { socket, target });
            }
        }
        let served = match &mut self.proxy {
            Some(proxy) => proxy.add(forwards),
            None if forwards.is_empty() => Ok(()),
            None => Proxy::new(forwards).map(|proxy| self.proxy = Some(proxy)),
        };
        served.context("start the proxy of published ports")?;
        self.forget_flows(&self.bindings);
        Ok(())
    }

    fn add_rules(&self, record: &Record, publication: &Publication) -> Result<bool> {
        let Some(host) = &self.host else {
            return Ok(false);
        };
        let name = firewall::publication_name(&record.id);
        let Some(transaction) = firewall::publish(&name, publication) else {
            return Ok(false);
        };
        match transaction.commit(&host.filter) {
            Ok(()) => Ok(true),
            // Before kernel 5.12 a table has no owner, and would stay when this process is killed.
            Err(error) if is_refused(&error, &[libc::EOPNOTSUPP, libc::EINVAL]) => {
                tracing::info!("published ports are left to the proxy: {error:#}");
                Ok(false)
            }
            Err(error) => Err(error).context("publish ports"),
        }
    }

    /// Makes the kernel forget where packets of UDP clients went before.
    fn forget_flows(&self, bindings: &[Binding]) {
        let Some(host) = &self.host else {
            return;
        };
        let ports = bindings
            .iter()
            .filter(|binding| binding.protocol == Protocol::Udp);
        let ports: Vec<u16> = ports.map(|binding| binding.host_port).collect();
        if !ports.is_empty()
            && let Err(error) =
                conntrack::forget_ports(&host.filter, Protocol::Udp.number(), &ports)
        {
            tracing::debug!("forget flows of UDP: {error:#}");
        }
    }

    fn take_back_rules(&mut self, record: &Record) {
        let (Some(host), true) = (&self.host, self.published) else {
            return;
        };
        let name = firewall::publication_name(&record.id);
        let mut transaction = nft::Transaction::default();
        transaction.delete_table(nft::Table {
            family: nft::TableFamily::Inet,
            name: &name,
        });
        if let Err(error) = transaction.commit(&host.filter) {
            tracing::warn!("take back published ports: {error:#}");
        }
        self.published = false;
        self.deleted = true;
    }

    /// Waits before this process ends, when nobody waits for it any more.
    ///
    /// To close any socket of netfilter soon after rules were deleted takes the kernel 6 to 15 ms, in which nobody else can
    /// change any; some time later it takes microseconds.
    pub fn settle(&self) {
        if self.deleted {
            std::thread::sleep(SETTLING);
        }
    }

    /// Takes everything back; may be called at any stage, and again.
    pub fn tear_down(&mut self, dirs: &Dirs, record: &Record) {
        self.take_back_rules(record);
        if let Some(host) = &self.host {
            for endpoint in &self.endpoints {
                endpoint::close(host, endpoint);
            }
        }
        self.proxy = None;
        self.resolver = None;
        self.resolves = false;
        self.forget_flows(&self.bindings);
        self.bindings.clear();
        for endpoint in self.endpoints.drain(..) {
            names::forget(dirs, record, &endpoint);
            endpoint::release(dirs, &endpoint);
        }
        let inside = self.inside.take();
        // Closing the one that owns the rules of the name server deletes them.
        self.deleted |= inside
            .as_ref()
            .is_some_and(|inside| inside.filter.is_some());
        if self.watch.is_some() || inside.is_some() {
            self.closes_late = (self.watch.take(), inside);
        }
        self.host_gateways.clear();
        self.links.forget(dirs, record);
        self.links = links::Links::default();
    }

    /// Returns what `inspect` shows of it.
    pub fn status(&self, record: &Record) -> NetworkStatus {
        let exposed = record.config.exposed_ports.as_ref();
        let shown = |endpoint: &Endpoint| {
            let name = endpoint.network.document.name.clone();
            (name, endpoint::shown(endpoint, self.names_in(endpoint)))
        };
        NetworkStatus {
            endpoints: self.endpoints.iter().map(shown).collect(),
            ports: if has_endpoints(record) {
                ports::shown(exposed, &self.bindings)
            } else {
                BTreeMap::new()
            },
        }
    }

    /// Returns the names of the container in a network: none in the default one.
    fn names_in(&self, endpoint: &Endpoint) -> Vec<String> {
        if endpoint.network.is_default() {
            return Vec::new();
        }
        let aliases = endpoint.settings.aliases.iter().flatten().cloned();
        let all = self
            .names
            .iter()
            .take(1)
            .cloned()
            .chain(aliases)
            .chain(self.names.iter().skip(1).cloned());
        let mut seen = BTreeSet::new();
        all.filter(|name| seen.insert(name.clone())).collect()
    }

    /// Returns the lines that /etc/hosts gets for `--add-host`.
    pub fn extra_hosts(&self, record: &Record) -> Vec<HostsEntry> {
        let mut entries = Vec::new();
        for entry in record.host_config.extra_hosts.iter().flatten() {
            let Some((name, address)) = entry.split_once(':') else {
                continue;
            };
            let addresses = if address == HOST_GATEWAY {
                self.host_gateways.iter().map(ToString::to_string).collect()
            } else {
                vec![address.to_owned()]
            };
            entries.extend(addresses.into_iter().map(|address| HostsEntry {
                address,
                names: vec![name.to_owned()],
            }));
        }
        entries
    }

    /// Returns the lines that /etc/hosts gets for links, and for the container itself.
    pub fn hosts(&self, hostname: &str, domain: &str) -> Vec<HostsEntry> {
        let mut entries = self.links.hosts.clone();
        for endpoint in &self.endpoints {
            entries.extend(own_hosts(endpoint, hostname, domain));
        }
        entries
    }

    /// Returns the variables that links bring.
    pub fn link_env(&self) -> Vec<String> {
        self.links.env.clone()
    }

    /// Writes down that the container has joined its networks, or left them.
    pub fn events(&self, dirs: &Dirs, record: &Record, action: &str) {
        for endpoint in &self.endpoints {
            report(dirs, record, endpoint, action);
        }
    }

    /// Returns whether the container asks a name server of its own.
    pub fn has_resolver(&self) -> bool {
        self.resolves
    }

    /// Returns what is to be polled for input.
    pub fn waiting(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let proxy = self.proxy.as_ref().map(Proxy::fd);
        proxy
            .into_iter()
            .chain(self.resolver.as_ref().map(Resolver::fd))
            .chain(self.watch.as_ref().map(heal::Watch::fd))
    }

    /// Returns when something is due.
    pub fn deadline(&self) -> Option<Instant> {
        let proxy = self.proxy.as_ref().and_then(Proxy::timeout);
        let resolver = self.resolver.as_ref().and_then(Resolver::timeout);
        proxy.into_iter().chain(resolver).min()
    }

    /// Does what can be done now.
    pub fn run(&mut self) {
        self.heal();
        let proxy = self.proxy.as_mut().map_or(Ok(()), Proxy::run);
        let resolver = self.resolver.as_mut().map_or(Ok(()), Resolver::run);
        for (what, done) in [
            ("proxy of published ports", proxy),
            ("name server", resolver),
        ] {
            if let Err(error) = done {
                tracing::warn!("the {what}: {error}");
            }
        }
    }
}

/// The container's own lines of /etc/hosts: all its names that do not need a network.
fn own_hosts(endpoint: &Endpoint, hostname: &str, domain: &str) -> Vec<HostsEntry> {
    let mut names = Vec::new();
    if !domain.is_empty() {
        names.push(format!("{hostname}.{domain}"));
    }
    names.push(hostname.to_owned());
    if let Some((short, _)) = hostname.split_once('.') {
        names.push(short.to_owned());
    }
    let addresses = endpoint.addresses.iter().map(|(address, _)| HostsEntry {
        address: address.to_string(),
        names: names.clone(),
    });
    addresses.collect()
}

/// Returns the names by which others find a container: its own, its short id, and its host name if it has one of its own.
fn own_names(record: &Record) -> Vec<String> {
    let mut names = vec![record.name.clone(), short(&record.id).to_owned()];
    let hostname = &record.config.hostname;
    if !hostname.is_empty() && *hostname != names[1] {
        names.push(hostname.clone());
    }
    names
}

fn report(dirs: &Dirs, record: &Record, endpoint: &Endpoint, action: &str) {
    let document = &endpoint.network.document;
    let attributes = [
        ("container".to_owned(), record.id.clone()),
        ("name".to_owned(), document.name.clone()),
        ("type".to_owned(), document.driver.clone()),
    ];
    event::record(dirs, "network", action, &document.id, attributes.into());
}
