//! `--link` in the default network: a line in /etc/hosts and variables that tell of the other container.
//!
//! The other one may come back under another address. Who knows it by a link is noted in its run directory, and it changes
//! their hosts files when it starts.

use anyhow::{Context as _, Result};

use crate::container::{Container, Containers, Record};
use crate::dirs::Dirs;
use crate::error;
use crate::network::files::{self, HostsEntry};
use crate::network::ports::{self, Protocol};
use crate::network::record::DEFAULT;

/// What the links of a container bring it.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// Lines of /etc/hosts.
    pub hosts: Vec<HostsEntry>,
    /// Variables.
    pub env: Vec<String>,
    /// Ids of the others.
    targets: Vec<String>,
}

/// Returns the id and the alias of a link as records keep it: `id:alias`.
pub fn parts(link: &str) -> (&str, &str) {
    link.split_once(':').unwrap_or((link, link))
}

/// Looks up the containers that a container is linked to, which must run.
pub(super) fn resolve(dirs: &Dirs, record: &Record) -> Result<Links> {
    let mut links = Links::default();
    let containers = Containers::new(dirs);
    for link in record.host_config.links.iter().flatten() {
        let (id, alias) = parts(link);
        let target = containers.get(id)?;
        let endpoint = target.status.network.endpoints.get(DEFAULT);
        let running = target.status.phase.has_processes() && containers.is_monitored(id)?;
        let Some(endpoint) = endpoint.filter(|_| running) else {
            return Err(error::invalid(format!(
                "Cannot link to a non running container: /{} AS /{}/{alias}",
                target.record.name, record.name
            )));
        };
        let address = endpoint.ip_address.clone();
        links
            .env
            .extend(env(&target, &address, &record.name, alias));
        links.hosts.push(entry(&target.record, address, alias));
        links.targets.push(id.to_owned());
        note(dirs, id, &record.id)?;
    }
    Ok(links)
}

impl Links {
    /// Takes the notes of a container's links away.
    pub(super) fn forget(&self, dirs: &Dirs, record: &Record) {
        for target in &self.targets {
            // The directory stays while others are in it.
            let _gone = std::fs::remove_file(dirs.links(target).join(&record.id));
            let _empty = std::fs::remove_dir(dirs.links(target));
        }
    }
}

fn entry(target: &Record, address: String, alias: &str) -> HostsEntry {
    let hostname = &target.config.hostname;
    let mut names = vec![alias.to_owned()];
    for name in [hostname, &target.name] {
        if !name.is_empty() && !names.contains(name) {
            names.push(name.clone());
        }
    }
    HostsEntry { address, names }
}

fn note(dirs: &Dirs, target: &str, source: &str) -> Result<()> {
    let dir = dirs.links(target);
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let path = dir.join(source);
    std::fs::write(&path, "").with_context(|| format!("write {}", path.display()))
}

/// Tells those who know this container by a link its new address.
pub(super) fn tell(dirs: &Dirs, record: &Record, address: &str) {
    let Ok(sources) = std::fs::read_dir(dirs.links(&record.id)) else {
        return;
    };
    let containers = Containers::new(dirs);
    for source in sources.flatten() {
        let id = source.file_name().to_string_lossy().into_owned();
        let Ok(container) = containers.get(&id) else {
            continue;
        };
        let links = container.record.host_config.links.unwrap_or_default();
        let mut links = links.iter().map(|link| parts(link));
        let Some((_, alias)) = links.find(|(target, _)| *target == record.id) else {
            continue;
        };
        let path = dirs.container(&id).join("hosts");
        let entry = entry(record, address.to_owned(), alias);
        // Into the same file: the container sees that very file.
        let changed = std::fs::read_to_string(&path)
            .and_then(|text| std::fs::write(&path, files::replace_hosts(&text, &entry)));
        if let Err(error) = changed {
            tracing::warn!("tell {id} its link's new address: {error}");
        }
    }
}

/// Returns the variables that tell of another container, in docker's words and order.
fn env(target: &Container, address: &str, own: &str, alias: &str) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let config = &target.record.config;
    let exposed = config.exposed_ports.iter().flatten();
    let mut exposed: Vec<(u16, Protocol)> =
        exposed.filter_map(|(port, _)| ports::parse(port)).collect();
    exposed.sort_unstable();
    let mut env = Vec::new();
    if let Some((port, protocol)) = exposed.first() {
        let name = protocol.name();
        env.push(format!("{prefix}_PORT={name}://{address}:{port}"));
    }
    for run in runs(&exposed) {
        let [(first, protocol), .., (last, _)] = run else {
            continue;
        };
        let name = protocol.name();
        let variable = format!("{prefix}_PORT_{first}_{}", name.to_uppercase());
        env.extend([
            format!("{variable}_START={name}://{address}:{first}"),
            format!("{variable}_ADDR={address}"),
            format!("{variable}_PROTO={name}"),
            format!("{variable}_PORT_START={first}"),
            format!("{variable}_END={name}://{address}:{last}"),
            format!("{variable}_PORT_END={last}"),
        ]);
    }
    for (port, protocol) in &exposed {
        let name = protocol.name();
        let variable = format!("{prefix}_PORT_{port}_{}", name.to_uppercase());
        env.extend([
            format!("{variable}={name}://{address}:{port}"),
            format!("{variable}_ADDR={address}"),
            format!("{variable}_PORT={port}"),
            format!("{variable}_PROTO={name}"),
        ]);
    }
    env.push(format!("{prefix}_NAME=/{own}/{alias}"));
    for variable in config.env.iter().flatten() {
        if let Some((name, value)) = variable.split_once('=')
            && !matches!(name, "HOME" | "PATH")
        {
            env.push(format!("{prefix}_ENV_{name}={value}"));
        }
    }
    env
}

/// Returns the runs of three or more ports that follow each other in one protocol.
fn runs(ports: &[(u16, Protocol)]) -> impl Iterator<Item = &[(u16, Protocol)]> {
    let follows =
        |a: &(u16, Protocol), b: &(u16, Protocol)| a.0.checked_add(1) == Some(b.0) && a.1 == b.1;
    ports.chunk_by(follows).filter(|run| run.len() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_ports_have_three() {
        let ports = [
            (80, Protocol::Tcp),
            (81, Protocol::Tcp),
            (90, Protocol::Tcp),
            (91, Protocol::Tcp),
            (92, Protocol::Tcp),
        ];
        let runs: Vec<_> = runs(&ports).collect();
        assert_eq!(runs, [&ports[2..]]);
    }

    #[test]
    fn links_are_an_id_and_an_alias() {
        assert_eq!(parts("abc:db"), ("abc", "db"));
        assert_eq!(parts("abc"), ("abc", "abc"));
    }
}
