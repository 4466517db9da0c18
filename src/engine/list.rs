//! Which containers `ps` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::num::IntErrorKind;
use std::ops::RangeInclusive;

use anyhow::Result;
use oci_spec::image::Digest;

use super::filter::Filters;
use super::{Engine, repair};
use crate::container::{Container, Listed, Phase};
use crate::error;
use crate::monitor::network::links;

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
/// The protocol of a port that names none.
const TCP: &str = "tcp";
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
pub fn list(engine: &Engine, options: &ListOptions) -> Result<Vec<Container<Listed>>> {
    let filters = &options.filters;
    filters.check(&KEYS)?;
    let wanted = Wanted::new(engine, filters)?;
    let containers = repair::containers(engine, engine.containers.list_as()?)?;
    let all = options.all || options.last.is_some() || filters.has("status");
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

/// Returns the names that containers have by the links of others, `web/db`, by id.
pub fn link_names(engine: &Engine) -> Result<BTreeMap<String, Vec<String>>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for container in engine.containers.list_as::<Listed>()? {
        let record = &container.record;
        for link in record.host_config.links.iter().flatten() {
            let (id, alias) = links::parts(link);
            if alias.is_empty() {
                continue;
            }
            let name = format!("{}/{alias}", record.name);
            names.entry(id.to_owned()).or_default().push(name);
        }
    }
    Ok(names)
}

/// Returns whether `ps` shows a container without being asked for all.
fn runs(container: &Container<Listed>) -> bool {
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
    publish: Vec<Ports>,
    expose: Vec<Ports>,
}

impl<'a> Wanted<'a> {
    fn new(engine: &Engine, filters: &'a Filters) -> Result<Wanted<'a>> {
        if let Some(status) = filters.values("status").find(|v| !STATUSES.contains(v)) {
            return Err(unknown("status", "state", status, &STATUSES));
        }
        if let Some(health) = filters.values("health").find(|v| !HEALTHS.contains(v)) {
            return Err(unknown("health", "health", health, &HEALTHS));
        }
        filters.flag("is-task")?;
        let code = |text: &str| {
            text.parse().map_err(|_| {
                error::invalid(format!(
                    "invalid filter 'exited={text}': strconv.Atoi: parsing {text:?}: invalid syntax"
                ))
            })
        };
        let ports = |key| -> Result<Vec<Ports>> {
            let values = filters.values(key);
            values.map(|text| Ports::parse(key, text)).collect()
        };
        Ok(Wanted {
            filters,
            publish: ports("publish")?,
            expose: ports("expose")?,
            exit_codes: filters.values("exited").map(code).collect::<Result<_>>()?,
            images: if filters.has("ancestor") {
                Some(descendants(engine, filters)?)
            } else {
                None
            },
        })
    }

    fn fits(&self, container: &Container<Listed>) -> bool {
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
            && self.fits_ports(container)
            && filters.flag("is-task").unwrap_or_default() != Some(true)
            && filters.any("isolation", |wanted| matches!(wanted, "" | "default"))
    }

    /// Of the ports in force, as docker has it: one that is published or one that is exposed is enough.
    fn fits_ports(&self, container: &Container<Listed>) -> bool {
        if self.publish.is_empty() && self.expose.is_empty() {
            return true;
        }
        let fits = |ranges: &[Ports], port: &str, protocol: &str| {
            let port = port.parse().ok();
            port.is_some_and(|port| ranges.iter().any(|range| range.has(port, protocol)))
        };
        let mut ports = container.status.network.ports.iter();
        ports.any(|(port, bindings)| {
            let (private, protocol) = port.split_once('/').unwrap_or((port, TCP));
            fits(&self.expose, private, protocol)
                || (bindings.iter().flatten())
                    .any(|binding| fits(&self.publish, &binding.host_port, protocol))
        })
    }
}

/// Returns the names of a container's networks.
pub fn networks(container: &Container<Listed>) -> impl Iterator<Item = &str> {
    let record = &container.record;
    let endpoints = &record.networking_config.endpoints_config;
    let mode = record.host_config.network_mode.as_str();
    let first = Some(mode).filter(|mode| *mode == "host" || endpoints.contains_key(*mode));
    let more = endpoints.keys().map(String::as_str);
    first
        .into_iter()
        .chain(more.filter(move |name| Some(*name) != first))
}

fn unknown(key: &str, what: &str, value: &str, known: &[&str]) -> anyhow::Error {
    let known = known.join(", ");
    error::invalid(format!(
        "invalid filter '{key}={value}': invalid value for {what} ({value}): must be one of {known}"
    ))
}

/// The ports that a condition means.
#[derive(Debug, PartialEq, Eq)]
struct Ports {
    numbers: RangeInclusive<u16>,
    protocol: String,
}

impl Ports {
    /// Reads `80`, `80/udp`, `80-90` or `80-90/tcp`, the value of condition `key`.
    fn parse(key: &str, text: &str) -> Result<Ports> {
        if text.contains(':') {
            return Err(error::invalid(format!(
                "filter for '{key}' should not contain ':': {text}"
            )));
        }
        let refuse =
            |why: String| error::invalid(format!("error while looking up for {key} {text}: {why}"));
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, TCP));
        if numbers.is_empty() {
            return Err(refuse("empty string specified for ports".to_owned()));
        }
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let number = |text: &str| {
            text.parse::<u16>().map_err(|error| {
                let why = match error.kind() {
                    IntErrorKind::PosOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                refuse(format!("strconv.ParseUint: parsing {text:?}: {why}"))
            })
        };
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(refuse(format!(
                "invalid range specified for port: {numbers}"
            )));
        }
        Ok(Ports {
            numbers: first..=last,
            protocol: protocol.to_owned(),
        })
    }

    fn has(&self, port: u16, protocol: &str) -> bool {
        self.numbers.contains(&port) && self.protocol == protocol
    }
}

/// Returns the ids of the images that `ancestor` names and of all that were made from them.
fn descendants(engine: &Engine, filters: &Filters) -> Result<BTreeSet<String>> {
    let images = engine.images.list()?;
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for text in filters.values("ancestor") {
        match engine.images.resolve(text) {
            Ok(found) => drop(ids.insert(found.image.id.to_string())),
            // What cannot be an image's name is that of none.
            Err(error)
                if matches!(
                    error::kind(&error),
                    Some(error::Kind::NotFound | error::Kind::Invalid)
                ) => {}
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
        for (wanted, port, protocol, expected) in [
            ("80", 80, "tcp", true),
            ("80/udp", 80, "tcp", false),
            ("80-90", 85, "tcp", true),
            ("80-90/udp", 85, "udp", true),
            ("80", 8080, "tcp", false),
        ] {
            let ports = Ports::parse("publish", wanted).unwrap();
            assert_eq!(ports.has(port, protocol), expected, "{wanted} {port}");
        }
    }

    #[test]
    fn what_is_no_port_is_named() {
        for (text, why) in [
            ("x", "strconv.ParseUint: parsing \"x\": invalid syntax"),
            (
                "70000",
                "strconv.ParseUint: parsing \"70000\": value out of range",
            ),
            ("90-80", "invalid range specified for port: 90-80"),
            ("/udp", "empty string specified for ports"),
        ] {
            assert_eq!(
                Ports::parse("expose", text).unwrap_err().to_string(),
                format!("error while looking up for expose {text}: {why}")
            );
        }
        assert_eq!(
            Ports::parse("publish", "80:80").unwrap_err().to_string(),
            "filter for 'publish' should not contain ':': 80:80"
        );
    }
}
