//! Networks that a container joins and leaves while it runs.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Networking, conflict, names, own_hosts, report};
use crate::container::{Record, short};
use crate::dirs::Dirs;
use crate::docker::network::EndpointSettings;
use crate::error;
use crate::monitor::etc;
use crate::network::endpoint::{self, Endpoint, Member};
use crate::network::files::{self, Servers};
use crate::network::netlink::route;
use crate::network::ports::{self, Binding, Protocol};
use crate::network::record::{Defaults, Networks};

impl Networking {
    /// Joins a network; `pid` is the container's first process.
    pub fn connect(
        &mut self,
        dirs: &Dirs,
        (record, pid): (&Record, i32),
        network: &str,
        settings: &EndpointSettings,
    ) -> Result<()> {
        let network = Networks::new(dirs, Defaults::default()).resolve(network)?;
        let name = network.document.name.clone();
        if self.position(&name).is_some() {
            let why = format!(
                "endpoint with name {} already exists in network {name}",
                record.name
            );
            return Err(error::new(error::Kind::Forbidden, why));
        }
        if self.inside.is_none() {
            // It was in no network so far.
            self.open(dirs, record, pid)?;
            self.names = super::own_names(record);
        }
        let (Some(host), Some(inside)) = (&self.host, &self.inside) else {
            return Err(error::conflict("the container has no network of its own"));
        };
        let member = Member {
            id: &record.id,
            interfaces: &self.interfaces(),
        };
        let endpoint = endpoint::plan(dirs, host, &network, settings, member)?;
        let attached = endpoint::attach(host, inside, &endpoint)
            .and_then(|_| endpoint::wait_for_carrier(host, inside, &endpoint));
        if let Err(error) = attached {
            remove_interface(self, &endpoint);
            endpoint::release(dirs, &endpoint);
            return Err(error);
        }
        let main = self.main_id();
        self.endpoints.push(endpoint);
        let endpoint = self.endpoints.last().context("it was added a moment ago")?;
        change_hosts(dirs, record, endpoint, true)?;
        report(dirs, record, endpoint, "connect");
        self.set_ways_out()?;
        self.begin_to_resolve(dirs, record);
        self.tell_names(dirs, record)?;
        self.move_ports(record, main.as_deref())
    }

    /// Gives the container a name server of its own when it joins its first network with names.
    ///
    /// It keeps it until it ends, as with docker: programs have read resolv.conf, and go on to ask.
    fn begin_to_resolve(&mut self, dirs: &Dirs, record: &Record) {
        if self.resolves || !names::is_needed(record, &self.endpoints) {
            return;
        }
        self.resolves = true;
        let begun = self
            .start_resolver(dirs, record)
            .and_then(|()| etc::write_resolver(dirs, record, Servers::Own));
        if let Err(error) = begun {
            // Its place in the network is good for all but names.
            tracing::warn!("the container finds nobody by name: {error:#}");
            self.resolves = self.resolver.is_some();
        }
    }

    /// Leaves a network.
    pub fn disconnect(&mut self, dirs: &Dirs, record: &Record, network: &str) -> Result<()> {
        let Some(at) = self.position(network) else {
            let why = format!(
                "container {} is not connected to network {network}",
                record.id
            );
            return Err(error::new(error::Kind::Forbidden, why));
        };
        let main = self.main_id();
        let endpoint = self.endpoints.remove(at);
        remove_interface(self, &endpoint);
        change_hosts(dirs, record, &endpoint, false)?;
        report(dirs, record, &endpoint, "disconnect");
        names::forget(dirs, record, &endpoint);
        endpoint::release(dirs, &endpoint);
        self.set_ways_out()?;
        self.tell_names(dirs, record)?;
        self.move_ports(record, main.as_deref())
    }

    /// Takes the container's new name.
    pub fn rename(&mut self, dirs: &Dirs, record: &Record) -> Result<()> {
        self.names = super::own_names(record);
        self.tell_names(dirs, record)
    }

    /// Publishes the ports of the record from now on, and no others; on an error, those that it has published.
    ///
    /// Connections that are there stay.
    pub fn republish(&mut self, dirs: &Dirs, record: &Record) -> Result<()> {
        let changed = self.republish_all(dirs, record);
        changed.context("failed to set up container networking")
    }

    fn republish_all(&mut self, dirs: &Dirs, record: &Record) -> Result<()> {
        let host = &record.host_config;
        let exposed = record.config.exposed_ports.as_ref();
        let wanted = ports::plan(exposed, &host.port_bindings, host.publish_all_ports)?;
        // Without a way out there is none in.
        let Some(main) = self.main() else {
            return Ok(());
        };
        let default = main.network.host_binding();
        let socket = |binding: &Binding| self.socket_of(binding)?.try_clone().ok();
        let changed = ports::rebind(&self.bindings, &wanted, default, &socket)
            .map_err(|error| conflict::explain(dirs, record, main, error))?;
        let mut kept = changed.kept.into_iter();
        let all = std::mem::take(&mut self.bindings).into_iter();
        let (stay, gone): (Vec<Binding>, Vec<Binding>) =
            all.partition(|_| kept.next().unwrap_or_default());
        let staying = stay.len();
        self.bindings = stay;
        self.bindings.extend(changed.new);
        if let Err(error) = self.publish(record) {
            self.bindings.truncate(staying);
            self.bindings.extend(gone);
            return Err(error);
        }
        let bindings = &self.bindings;
        if let Some(proxy) = &mut self.proxy {
            proxy.retain(|address, is_stream| {
                let protocol = if is_stream {
                    Protocol::Tcp
                } else {
                    Protocol::Udp
                };
                bindings.iter().any(|binding| {
                    let own = SocketAddr::new(binding.host, binding.host_port);
                    (binding.protocol, own) == (protocol, address)
                })
            });
        }
        self.forget_flows(&gone);
        Ok(())
    }

    /// Returns the socket that holds a port, wherever it is.
    fn socket_of<'a>(&'a self, binding: &'a Binding) -> Option<&'a OwnedFd> {
        let address = SocketAddr::new(binding.host, binding.host_port);
        let is_stream = binding.protocol == Protocol::Tcp;
        let proxy = || self.proxy.as_ref()?.socket_at(address, is_stream);
        binding.socket.as_ref().or_else(proxy)
    }

    fn position(&self, network: &str) -> Option<usize> {
        let mut endpoints = self.endpoints.iter();
        endpoints.position(|endpoint| endpoint.network.document.name == network)
    }

    /// Names of the container's interfaces.
    pub(super) fn interfaces(&self) -> Vec<&str> {
        let endpoints = self.endpoints.iter();
        endpoints
            .map(|endpoint| endpoint.interface.as_str())
            .collect()
    }

    fn main_id(&self) -> Option<String> {
        self.main().map(|endpoint| endpoint.id.clone())
    }

    /// Lets published ports lead to another place if that which they led to, `before`, is not the main one any more.
    fn move_ports(&mut self, record: &Record, before: Option<&str>) -> Result<()> {
        if self.main_id().as_deref() == before || self.bindings.is_empty() {
            return Ok(());
        }
        self.take_back_rules(record);
        let targets = self
            .main()
            .map(|main| main.addresses.clone())
            .unwrap_or_default();
        if let Some(proxy) = &mut self.proxy {
            proxy.retarget(|old| {
                let same = targets
                    .iter()
                    .find(|(address, _)| address.is_ipv6() == old.is_ipv6());
                let target = same.or(targets.first());
                target.map_or(old, |(address, _)| SocketAddr::new(*address, old.port()))
            });
        }
        self.publish(record)
    }
}

fn remove_interface(networking: &Networking, endpoint: &Endpoint) {
    let removed = match (&networking.host, &networking.inside) {
        (Some(host), _) if !endpoint.host_interface.is_empty() => {
            route::delete_link(&host.route, &endpoint.host_interface)
        }
        (_, Some(inside)) => route::delete_link(&inside.route, &endpoint.interface),
        _ => Ok(()),
    };
    if let Err(error) = removed {
        tracing::warn!("{error:#}");
    }
}

/// Adds the container's own lines for a place to its hosts file, or takes them away; what its user wrote there stays.
fn change_hosts(dirs: &Dirs, record: &Record, endpoint: &Endpoint, there: bool) -> Result<()> {
    let path: PathBuf = dirs.container(&record.id).join("hosts");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let hostname = match record.config.hostname.as_str() {
        "" => short(&record.id),
        hostname => hostname,
    };
    let entries = own_hosts(endpoint, hostname, &record.config.domainname);
    let mut changed = text.clone();
    if there {
        files::append_hosts(&mut changed, &entries);
    } else {
        changed = files::remove_hosts(&text, &entries);
    }
    etc::write(&path, &changed)
}
