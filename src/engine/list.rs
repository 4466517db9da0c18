//! Which containers `ps` shows.

use std::collections::BTreeSet;

use anyhow::Result;
use oci_spec::image::Digest;

use super::filter::Filters;
use super::{Engine, repair};
use crate::container::{Container, Phase};
use crate::error;

const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATUSES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// Which containers are wanted.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only so many of the newest; implies `all`.
    pub last: Option<usize>,
    /// Conditions; a status implies `all`.
    pub filters: Filters,
}

/// Returns the containers that are wanted, the newest first.
pub fn list(engine: &Engine, options: &ListOptions) -> Result<Vec<Container>> {
    let filters = &options.filters;
    filters.check(&KEYS)?;
    let wanted = Wanted::new(engine, filters)?;
    let containers = repair::containers(engine, engine.containers.list()?)?;
    let all =
        options.all || options.last.is_some() || filters.has("status") || filters.has("exited");
    let position = |text: &str| -> Result<usize> {
        let id = engine.containers.resolve(text)?;
        Ok(containers
            .iter()
            .position(|container| container.record.id == id)
            .unwrap_or(containers.len()))
    };
    // The newest come first: what was made before another comes after it.
    let first = filters
        .values("before")
        .map(position)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .max()
        .map(|at| at + 1);
    let end = filters
        .values("since")
        .map(position)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .min();
    let range = first.unwrap_or(0)..end.unwrap_or(containers.len());
    let shown = containers
        .into_iter()
        .enumerate()
        .filter(|(at, _)| range.contains(at))
        .map(|(_, container)| container);
    let shown = shown
        .filter(|container| all || runs(container))
        .filter(|container| wanted.fits(container));
    Ok(shown.take(options.last.unwrap_or(usize::MAX)).collect())
}

/// Returns whether `ps` shows a container without being asked for all.
fn runs(container: &Container) -> bool {
    matches!(
        container.status.phase,
        Phase::Running | Phase::Paused | Phase::Restarting
    )
}

/// The conditions, as far as they need preparation.
struct Wanted<'a> {
    filters: &'a Filters,
    exit_codes: Vec<i32>,
    /// Images that were asked for, and all that were made from them; none if none was asked for.
    images: Option<BTreeSet<String>>,
}

impl<'a> Wanted<'a> {
    fn new(engine: &Engine, filters: &'a Filters) -> Result<Wanted<'a>> {
        if let Some(status) = filters.values("status").find(|v| !STATUSES.contains(v)) {
            return Err(error::invalid(format!("invalid filter 'status={status}'")));
        }
        if let Some(health) = filters.values("health").find(|v| !HEALTHS.contains(v)) {
            let why = format!("Unrecognised filter value for health: {health}");
            return Err(error::invalid(why));
        }
        filters.flag("is-task")?;
        let code = |text: &str| {
            text.parse().map_err(|_| {
                error::invalid(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            })
        };
        Ok(Wanted {
            filters,
            exit_codes: filters.values("exited").map(code).collect::<Result<_>>()?,
            images: if filters.has("ancestor") {
                Some(descendants(engine, filters)?)
            } else {
                None
            },
        })
    }

    fn fits(&self, container: &Container) -> bool {
        let (record, status, filters) = (&container.record, &container.status, self.filters);
        let health = status
            .health
            .as_ref()
            .map_or("none", |health| health.status.as_str());
        filters.matches("id", &record.id)
            // With its slash and without, as docker's users write it.
            && (filters.matches("name", &record.name)
                || filters.matches("name", &format!("/{}", record.name)))
            && filters.labels("label", &record.config.labels)
            && filters.equals("status", status.phase.name())
            && filters.equals("health", health)
            && (self.exit_codes.is_empty()
                || status.phase == Phase::Exited && self.exit_codes.contains(&status.exit_code))
            && self
                .images
                .as_ref()
                .is_none_or(|images| images.contains(record.image.as_ref()))
            && filters.any("volume", |wanted| {
                record.mounts.iter().any(|mount| {
                    mount.name == wanted || mount.destination == wanted || mount.source == wanted
                })
            })
            && filters.any("network", |wanted| {
                let endpoints = container.status.network.endpoints.values();
                let mut ids = endpoints.map(|endpoint| endpoint.network_id.as_str());
                networks(container).any(|network| network == wanted)
                    || wanted.len() >= 12 && ids.any(|id| id.starts_with(wanted))
            })
            && filters.any("publish", |wanted| {
                record
                    .host_config
                    .port_bindings
                    .keys()
                    .any(|port| port_fits(wanted, port))
                    || container
                        .status
                        .network
                        .ports
                        .values()
                        .flatten()
                        .flatten()
                        .any(|binding| port_fits(wanted, &binding.host_port))
            })
            && filters.any("expose", |wanted| {
                record
                    .config
                    .exposed_ports
                    .iter()
                    .flatten()
                    .any(|(port, _)| port_fits(wanted, port))
            })
            && filters.flag("is-task").unwrap_or_default() != Some(true)
            && filters.any("isolation", |wanted| matches!(wanted, "" | "default"))
    }
}

/// Returns the names of a container's networks.
pub fn networks(container: &Container) -> impl Iterator<Item = &str> {
    let record = &container.record;
    let mode = record.host_config.network_mode.as_str();
    let first = Some(mode).filter(|mode| !mode.starts_with("container:"));
    let more = record
        .networking_config
        .endpoints_config
        .keys()
        .map(String::as_str);
    first
        .into_iter()
        .chain(more.filter(move |name| Some(*name) != first))
}

/// Returns whether `80`, `80/udp`, `80-90` or `80-90/tcp` means `port`, written as `80/tcp` or `80`.
fn port_fits(wanted: &str, port: &str) -> bool {
    let split = |text: &str| {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        Some((
            first.parse::<u16>().ok()?,
            last.parse::<u16>().ok()?,
            protocol.to_owned(),
        ))
    };
    match (split(wanted), split(port)) {
        (Some((first, last, wanted)), Some((port, _, protocol))) => {
            (first..=last).contains(&port) && wanted == protocol
        }
        _ => false,
    }
}

/// Returns the ids of the images that `ancestor` names and of all that were made from them.
fn descendants(engine: &Engine, filters: &Filters) -> Result<BTreeSet<String>> {
    let images = engine.images.list()?;
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for text in filters.values("ancestor") {
        match engine.images.resolve(text) {
            Ok(found) => drop(ids.insert(found.image.id.to_string())),
            Err(error) if error::is(&error, error::Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    loop {
        let is_known = |id: Option<&Digest>| id.is_some_and(|id| ids.contains(id.as_ref()));
        let children: Vec<String> = images
            .iter()
            .filter(|image| is_known(image.parent.as_ref()))
            .map(|image| image.id.to_string())
            .collect();
        let before = ids.len();
        ids.extend(children);
        if ids.len() == before {
            return Ok(ids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_fit_with_their_protocol() {
        for (wanted, port, expected) in [
            ("80", "80/tcp", true),
            ("80/udp", "80/tcp", false),
            ("80-90", "85/tcp", true),
            ("80-90/udp", "85/udp", true),
            ("80", "8080/tcp", false),
            ("x", "80/tcp", false),
        ] {
            assert_eq!(port_fits(wanted, port), expected, "{wanted} {port}");
        }
    }
}
