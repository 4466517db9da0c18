//! What a container is made of: namespaces, mounts, capabilities, limits, network, each beside the default.
//!
//! What would be made is the runtime configuration that a start derives, by the same functions, from a record that is
//! written down nowhere. What is in force is read from /proc and from the cgroup (`live.rs`). The default is what the same
//! image would get without any option.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{Engine, create};
use crate::container::{Container, Record, spec};
use crate::docker::container::{Config, ContainerCreate, HostConfig, NetworkingConfig};
use crate::docker::network::EndpointSettings;
use crate::image::gc::Lease;
use crate::image::{Image, snapshot};
use crate::monitor::bring_up;
use crate::sys::rooted::Root;

mod describe;
mod live;

/// A container, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// Its name, or that of its image if it does not exist.
    pub name: String,
    /// `proposed`: nobody has made it; `stopped`: what its next start makes; `running`: what is in force.
    pub state: String,
    /// By subject.
    pub sections: Vec<Section>,
}

/// What belongs to one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Section {
    /// `namespaces`
    pub title: String,
    /// In a fixed order.
    pub items: Vec<Item>,
}

/// One thing that a container has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Item {
    /// `memory`, `/proc`, `NET_ADMIN`
    pub name: String,
    /// What it is; empty if the container does not have it.
    pub value: String,
    /// What it would be by default; empty if there would be none.
    pub default: String,
    /// Whether the two differ.
    pub differs: bool,
}

/// An entry of a description: section, name and value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    section: &'static str,
    name: String,
    value: String,
    /// What is compared with the default, if the value itself says more than could be known before.
    planned: Option<String>,
}

/// Explains the container that a request would make, and makes nothing.
///
/// Errors are those of [`create::create`]; an image that is not here is not fetched.
pub fn of_request(engine: &Engine, request: &ContainerCreate) -> Result<Explanation> {
    let image = engine.images.resolve(&request.config.image)?.image;
    let _lease = Lease::on_image(&engine.images, &image)?;
    let id = crate::container::new_id()?;
    let record = create::propose(engine, request.clone(), &image, &id)?;
    let root = Root::from_dir(snapshot::mount_image(&engine.images, &image)?);
    let entries = planned(engine, &record, &root)?;
    let default = by_default(engine, &record, &image, &root)?;
    Ok(Explanation {
        name: request.config.image.clone(),
        state: "proposed".to_owned(),
        sections: compare(entries, default),
    })
}

/// Explains a container: what is in force if it runs, else what its next start would make.
pub fn of_container(engine: &Engine, container: &Container) -> Result<Explanation> {
    let record = &container.record;
    let image = engine.images.by_id(&record.image)?;
    let _lease = Lease::on_image(&engine.images, &image)?;
    let runs = container.status.phase.has_processes();
    let root = if runs {
        let path = format!("/proc/{}/root", container.status.pid);
        Root::open(Path::new(&path)).context("open the root of the container")?
    } else {
        Root::from_dir(snapshot::mount_image(&engine.images, &image)?)
    };
    let mut entries = planned(engine, record, &root)?;
    if runs {
        entries = live::read(container, &root, entries)?;
    }
    let default = by_default(engine, record, &image, &root)?;
    Ok(Explanation {
        name: record.name.clone(),
        state: if runs { "running" } else { "stopped" }.to_owned(),
        sections: compare(entries, default),
    })
}

/// Describes what a start would make of a record.
fn planned(engine: &Engine, record: &Record, root: &Root) -> Result<Vec<Entry>> {
    let facts = bring_up::look(&engine.dirs, record, root)?;
    let spec = spec::derive(record, Path::new("/"), &facts)?;
    let mut entries = describe::entries(record, &spec)?;
    let is_home =
        |entry: &Entry| (entry.section, entry.name.as_str()) == (describe::VARIABLES, "HOME");
    if !entries.iter().any(is_home) {
        // The runtime's own, from the user's entry.
        entries.push(describe::entry(
            describe::VARIABLES,
            "HOME",
            facts.user.home,
        ));
    }
    Ok(entries)
}

/// Describes what the same image would get without any option.
fn by_default(engine: &Engine, record: &Record, image: &Image, root: &Root) -> Result<Vec<Entry>> {
    // An image without a command is no container by default, but has all the rest.
    let config = image.config.config.as_ref();
    let has_command = config.is_some_and(|it| it.cmd.is_some() || it.entrypoint.is_some());
    let other = || record.config.cmd.clone().or(Some(vec!["sh".to_owned()]));
    let request = ContainerCreate {
        config: Config {
            image: record.config.image.clone(),
            cmd: if has_command { None } else { other() },
            ..Config::default()
        },
        host_config: HostConfig::default(),
        // As the command line asks for the default network.
        networking_config: NetworkingConfig {
            endpoints_config: [("default".to_owned(), EndpointSettings::default())].into(),
        },
    };
    let default = create::propose(engine, request, image, &record.id)?;
    planned(engine, &default, root)
}

/// Puts what is there beside what would be by default, in the order of what is there.
fn compare(entries: Vec<Entry>, default: Vec<Entry>) -> Vec<Section> {
    let mut defaults: BTreeMap<(&str, String), String> = BTreeMap::new();
    for entry in &default {
        let key = (entry.section, entry.name.clone());
        defaults.insert(key, entry.value.clone());
    }
    let mut sections: Vec<Section> = Vec::new();
    let mut add = |section: &str, item: Item| {
        let at = sections.iter().position(|known| known.title == section);
        let at = at.unwrap_or_else(|| {
            sections.push(Section {
                title: section.to_owned(),
                items: Vec::new(),
            });
            sections.len() - 1
        });
        sections[at].items.push(item);
    };
    for entry in entries {
        let default = defaults.remove(&(entry.section, entry.name.clone()));
        let default = default.unwrap_or_default();
        let item = Item {
            differs: *entry.planned.as_ref().unwrap_or(&entry.value) != default,
            name: entry.name,
            value: entry.value,
            default,
        };
        add(entry.section, item);
    }
    // What only the default has.
    for entry in default {
        let key = (entry.section, entry.name);
        if let Some(default) = defaults.remove(&key) {
            let item = Item {
                name: key.1,
                value: String::new(),
                default,
                differs: true,
            };
            add(key.0, item);
        }
    }
    sections.sort_by_key(|section| describe::ORDER.iter().position(|one| *one == section.title));
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(section: &'static str, name: &str, value: &str) -> Entry {
        Entry {
            section,
            name: name.to_owned(),
            value: value.to_owned(),
            planned: None,
        }
    }

    #[test]
    fn differences_are_marked_also_of_what_is_gone() {
        let now = vec![
            entry(describe::LIMITS, "memory", "64MiB"),
            entry(describe::LIMITS, "pids", "none"),
            entry("capabilities", "NET_ADMIN", "granted"),
            Entry {
                planned: Some("later".to_owned()),
                ..entry(describe::NETWORK, "place", "10.0.0.1")
            },
        ];
        let default = vec![
            entry(describe::NETWORK, "place", "later"),
            entry(describe::LIMITS, "memory", "none"),
            entry(describe::LIMITS, "pids", "none"),
            entry("capabilities", "CHOWN", "granted"),
        ];
        let sections = compare(now, default);
        let lines: Vec<String> = sections
            .iter()
            .flat_map(|section| &section.items)
            .map(|item| {
                format!(
                    "{}={} {} {}",
                    item.name, item.value, item.default, item.differs
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                "NET_ADMIN=granted  true",
                "CHOWN= granted true",
                "memory=64MiB none true",
                "pids=none none false",
                "place=10.0.0.1 later false",
            ]
        );
    }
}
