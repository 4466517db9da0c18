//! The names of a container in its networks, and the name server that answers it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{HOST_GATEWAY, Networking, links};
use crate::container::Record;
use crate::dirs::Dirs;
use crate::network::dns::{self, Entry, Resolver, Scope, Setup, Sockets, Upstreams};
use crate::network::endpoint::Endpoint;
use crate::network::files;
use crate::network::firewall;
use crate::network::netlink::{Socket, is_refused, route};
use crate::sys::netlink::Protocol;
use crate::sys::netns;

/// The name by which programs that know docker of other systems look for the host.
const HOST_NAME: &str = "host.docker.internal";
/// Index of the loopback interface in every network namespace.
const LOOPBACK: u32 = 1;

/// Returns whether a container asks a name server of its own.
///
/// Names are those of networks of users. In the default one it is needed where all servers are on the host's loopback, which
/// only this process reaches.
pub(super) fn is_needed(record: &Record, endpoints: &[Endpoint]) -> bool {
    let with_names = endpoints
        .iter()
        .any(|endpoint| !endpoint.network.is_default());
    let host = || {
        let text = std::fs::read_to_string(files::HOST_FILE).unwrap_or_default();
        files::parse_resolver(&text)
    };
    let stranded = || record.host_config.dns.is_empty() && files::are_all_loopback(&host());
    with_names || !endpoints.is_empty() && stranded()
}

fn directory(dirs: &Dirs, network: &str) -> PathBuf {
    dirs.network_run(network).join("names")
}

/// Takes the names of a container in a network away.
pub(super) fn forget(dirs: &Dirs, record: &Record, endpoint: &Endpoint) {
    forget_in(dirs, record, &endpoint.network.document.id);
}

/// The same, by the id of the network.
pub(super) fn forget_in(dirs: &Dirs, record: &Record, network: &str) {
    if let Err(error) = Entry::remove(&directory(dirs, network), &record.id) {
        tracing::warn!("{error:#}");
    }
}

impl Networking {
    /// Starts to answer the container's questions for names.
    pub(super) fn start_resolver(&mut self, dirs: &Dirs, record: &Record) -> Result<()> {
        use std::os::fd::AsFd as _;
        let (Some(inside), true) = (&mut self.inside, self.resolves) else {
            return Ok(());
        };
        // The container's process does so too, but perhaps later.
        route::set_up(&inside.route, LOOPBACK, true)?;
        let (sockets, filter) = netns::inside(inside.namespace.as_fd(), || {
            let sockets = Sockets::open().context("open the sockets of the name server")?;
            anyhow::Ok((sockets, Socket::open(Protocol::Netfilter)?))
        })
        .context("enter the network namespace of the container")??;
        let rules = firewall::name_server(sockets.udp_port, sockets.tcp_port, true).commit(&filter);
        match rules {
            // Before kernel 5.12 a table has no owner; this one ends with the namespace all the same.
            Err(error) if is_refused(&error, &[libc::EOPNOTSUPP, libc::EINVAL]) => {
                firewall::name_server(sockets.udp_port, sockets.tcp_port, false).commit(&filter)
            }
            done => done,
        }
        .context("lead questions for names to the name server")?;
        inside.filter = Some(filter);
        let namespace = inside
            .namespace
            .try_clone()
            .context("share the network namespace")?;
        let host = &record.host_config;
        let setup = Setup {
            dirs: dirs.clone(),
            sockets,
            netns: namespace,
            upstreams: if host.dns.is_empty() {
                Upstreams::HostFile(PathBuf::from(files::HOST_FILE))
            } else {
                Upstreams::Given(host.dns.clone())
            },
            keeps_single_labels: host.dns_options.iter().any(|option| {
                let ndots = option.strip_prefix("ndots:");
                ndots
                    .and_then(|ndots| ndots.parse().ok())
                    .is_some_and(|ndots: u32| ndots > 0)
            }),
        };
        let scope = self.scope(dirs);
        self.resolver = Some(Resolver::new(setup, scope).context("start the name server")?);
        Ok(())
    }

    /// Writes down what others call the container, and tells its name server which networks it is in.
    pub(super) fn tell_names(&mut self, dirs: &Dirs, record: &Record) -> Result<()> {
        for endpoint in &self.endpoints {
            let names = self.names_in(endpoint);
            if names.is_empty() {
                continue;
            }
            let directory = directory(dirs, &endpoint.network.document.id);
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("create {}", directory.display()))?;
            let entry = Entry {
                names,
                addresses: endpoint
                    .addresses
                    .iter()
                    .map(|(address, _)| *address)
                    .collect(),
            };
            entry.write(&directory, &record.id)?;
        }
        let scope = self.scope(dirs);
        if let Some(resolver) = &mut self.resolver {
            resolver.set_scope(scope);
        }
        Ok(())
    }

    fn scope(&self, dirs: &Dirs) -> Scope {
        let main = self.main();
        let is_main = |endpoint: &&Endpoint| main.is_some_and(|main| main.id == endpoint.id);
        let mut endpoints: Vec<&Endpoint> = self
            .endpoints
            .iter()
            .filter(|endpoint| !endpoint.network.is_default())
            .collect();
        endpoints.sort_by_key(|endpoint| !is_main(endpoint));
        let networks = endpoints.into_iter().map(|endpoint| dns::Network {
            name: endpoint.network.document.name.clone(),
            directory: directory(dirs, &endpoint.network.document.id),
            links: endpoint
                .settings
                .links
                .iter()
                .flatten()
                .map(|link| private_name(link))
                .collect(),
        });
        Scope {
            networks: networks.collect(),
            forwards: main.is_some(),
            extra: main
                .map(|main| vec![(HOST_NAME.to_owned(), main.gateways.clone())])
                .unwrap_or_default(),
        }
    }
}

fn private_name(link: &str) -> dns::Link {
    let (target, alias) = links::parts(link);
    dns::Link {
        alias: alias.to_owned(),
        target: target.to_owned(),
    }
}

/// Returns whether an entry of `--add-host` asks for the addresses of the host.
pub(super) fn asks_for_host(entry: &str) -> bool {
    entry
        .split_once(':')
        .is_some_and(|(_, address)| address == HOST_GATEWAY)
}
