//! What is done to networks, and to the places of containers in them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::filter::Filters;
use super::{Engine, lifecycle, network_defaults, repair};
use crate::container::Container;
use crate::docker::container::{HostConfig, NetworkingConfig};
use crate::docker::network::{EndpointSettings, Network, NetworkContainer};
use crate::monitor::control::Request;
use crate::monitor::removal;
use crate::network::bridge::{self, Host};
use crate::network::endpoint;
use crate::network::record::{self, Driver, NONE, Record};
use crate::{error, event};

/// Completes the networks of a request to create a container: that of its mode is among them, each by its name.
///
/// A network that does not exist is left as it is; the start says so. Errors are of kind `Invalid`.
pub fn complete(
    engine: &Engine,
    host: &mut HostConfig,
    networking: &mut NetworkingConfig,
) -> Result<()> {
    // They are made here rather than by the monitor, which does not know what daemon.json wants them to be.
    network_defaults::follow(engine)?;
    let mode = host.network_mode.clone();
    let endpoints = std::mem::take(&mut networking.endpoints_config);
    for (name, settings) in endpoints {
        // Of those that are always there only what is asked of them may be wrong.
        let plain = record::is_predefined(&name) && settings == EndpointSettings::default();
        let network = if plain { None } else { known(engine, &name)? };
        endpoint::check(&name, network.as_ref(), &settings)
            .with_context(|| format!("invalid config for network {name}"))?;
        let name = network.map_or(name, |network| network.document.name);
        networking.endpoints_config.insert(name, settings);
    }
    if mode == "host" || mode.starts_with("container:") {
        return Ok(());
    }
    host.network_mode = if record::is_predefined(&mode) {
        mode
    } else {
        known(engine, &mode)?.map_or(mode, |network| network.document.name)
    };
    networking
        .endpoints_config
        .entry(host.network_mode.clone())
        .or_default();
    Ok(())
}

/// Returns the network that `text` means, which may be an id; nothing if there is none.
fn known(engine: &Engine, text: &str) -> Result<Option<Record>> {
    match engine.networks()?.resolve(text) {
        Err(error) if error::is(&error, error::Kind::NotFound) => Ok(None),
        found => found.map(Some),
    }
}

/// Makes a network.
pub fn create(engine: &Engine, request: Network) -> Result<Record> {
    let network = engine.networks()?.create(request)?;
    report(engine, "create", &network);
    Ok(network)
}

fn report(engine: &Engine, action: &str, network: &Record) {
    let document = &network.document;
    let attributes = [
        ("name".to_owned(), document.name.clone()),
        ("type".to_owned(), document.driver.clone()),
    ];
    event::record(
        &engine.dirs,
        "network",
        action,
        &document.id,
        attributes.into(),
    );
}

/// Returns the networks that are wanted, by name.
pub fn list(engine: &Engine, filters: &Filters) -> Result<Vec<Network>> {
    filters.check(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let dangling = filters.flag("dangling").map_err(|error| {
        if filters.values("dangling").count() > 1 {
            return error;
        }
        let must = "must be \"true\" (or \"1\"), or \"false\" (or \"0\")";
        error::invalid(format!("invalid value for filter 'dangling', {must}"))
    })?;
    for kind in filters.values("type") {
        if !matches!(kind, "custom" | "builtin") {
            return Err(error::invalid(format!("invalid filter: 'type'='{kind}'")));
        }
    }
    network_defaults::follow(engine)?;
    let members = members(engine)?;
    let mut wanted = Vec::new();
    for network in engine.networks()?.list()? {
        let document = with_containers(&network, &members);
        let custom = !record::is_predefined(&document.name);
        let fits = filters.equals("driver", &document.driver)
            && filters.matches("id", &document.id)
            && filters.matches("name", &document.name)
            && filters.equals("scope", &document.scope)
            && filters.any("type", |kind| (kind == "custom") == custom)
            && filters.labels("label", &document.labels)
            && dangling
                .is_none_or(|dangling| dangling == (custom && document.containers.is_empty()));
        if fits {
            wanted.push(document);
        }
    }
    Ok(wanted)
}

/// Returns everything about a network.
pub fn inspect(engine: &Engine, text: &str) -> Result<Network> {
    network_defaults::follow(engine)?;
    let network = engine.networks()?.resolve(text)?;
    Ok(with_containers(&network, &members(engine)?))
}

/// The containers that run, with their places.
pub(super) fn members(engine: &Engine) -> Result<Vec<Container>> {
    let containers = repair::containers(engine, engine.containers.list()?)?;
    let runs = |container: &Container| container.status.phase.has_processes();
    Ok(containers.into_iter().filter(runs).collect())
}

fn with_containers(network: &Record, members: &[Container]) -> Network {
    let mut document = network.document.clone();
    document.containers = containers_of(network, members);
    document
}

pub(super) fn containers_of(
    network: &Record,
    members: &[Container],
) -> BTreeMap<String, NetworkContainer> {
    let id = &network.document.id;
    let places = members.iter().filter_map(|container| {
        let mut endpoints = container.status.network.endpoints.values();
        let endpoint = endpoints.find(|endpoint| endpoint.network_id == *id)?;
        let prefixed = |address: &str, length: u8| {
            if address.is_empty() {
                String::new()
            } else {
                format!("{address}/{length}")
            }
        };
        let shown = NetworkContainer {
            name: container.record.name.clone(),
            endpoint_id: endpoint.endpoint_id.clone(),
            mac_address: endpoint.mac_address.clone(),
            ipv4_address: prefixed(&endpoint.ip_address, endpoint.ip_prefix_len),
            ipv6_address: prefixed(
                &endpoint.global_ipv6_address,
                endpoint.global_ipv6_prefix_len,
            ),
        };
        Some((container.record.id.clone(), shown))
    });
    places.collect()
}

/// Removes a network that no running container is in; returns whether there was one, as there need be with `force`.
pub fn remove(engine: &Engine, text: &str, force: bool) -> Result<bool> {
    let network = match engine.networks()?.resolve(text) {
        Err(error) if force && error::is(&error, error::Kind::NotFound) => return Ok(false),
        found => found?,
    };
    let name = &network.document.name;
    if !record::is_predefined(name) {
        let users: Vec<String> = containers_of(&network, &members(engine)?)
            .into_values()
            .map(|user| {
                format!(
                    "name:{:?} id:{:?}",
                    user.name,
                    &user.endpoint_id[..12.min(user.endpoint_id.len())]
                )
            })
            .collect();
        if !users.is_empty() {
            let why = format!("network {name} has active endpoints ({})", users.join(", "));
            let error = error::new(
                error::Kind::Forbidden,
                format!("error while removing network: {why}"),
            );
            return Err(error::with_hint(
                error,
                "stop those containers, or disconnect them: aril network disconnect",
            ));
        }
    }
    let trash = engine.networks()?.remove(&network)?;
    removal::delete(&trash);
    if network.driver() == Driver::Bridge {
        bridge::remove(&Host::open()?, &network)
            .with_context(|| format!("take down network {name}"))?;
    }
    let run = engine.dirs.network_run(&network.document.id);
    if run.exists() {
        std::fs::remove_dir_all(&run).with_context(|| format!("remove {}", run.display()))?;
    }
    report(engine, "destroy", &network);
    Ok(true)
}

/// Connects a container to a network: at once if it runs, else when it starts.
pub fn connect(
    engine: &Engine,
    network: &str,
    container: &str,
    settings: EndpointSettings,
) -> Result<()> {
    let container = engine.container(container)?;
    let network = engine.networks()?.resolve(network)?;
    let name = network.document.name.clone();
    let record = &container.record;
    let endpoints = &record.networking_config.endpoints_config;
    let others: Vec<&str> = endpoints.keys().map(String::as_str).collect();
    network.admit(&record.host_config.network_mode, &others)?;
    endpoint::check(&name, Some(&network), &settings)?;
    if endpoints.contains_key(&name) {
        let why = format!(
            "endpoint with name {} already exists in network {name}",
            record.name
        );
        return Err(error::new(error::Kind::Forbidden, why));
    }
    if container.status.phase.has_processes() && name != NONE {
        let settings = Box::new(settings.clone());
        let network = name.clone();
        lifecycle::monitor(engine, &container)?.request(&Request::Connect { network, settings })?;
    }
    engine.containers.update(&record.id, |record| {
        record
            .networking_config
            .endpoints_config
            .insert(name, settings);
        Ok(())
    })
}

/// Disconnects a container from a network; with `force` also one that is not in it any more.
pub fn disconnect(engine: &Engine, network: &str, container: &str, force: bool) -> Result<()> {
    let container = engine.container(container).map_err(|error| {
        if force && error::is(&error, error::Kind::NotFound) {
            error::not_found(format!("endpoint {container} not found"))
        } else {
            error
        }
    })?;
    let record = &container.record;
    let name = match engine.networks()?.resolve(network) {
        Ok(network) => network.document.name,
        Err(error) if force && error::is(&error, error::Kind::NotFound) => network.to_owned(),
        Err(error) => return Err(error),
    };
    if name == "host" && record.host_config.network_mode == name {
        let why = "cannot disconnect container from host network - container was created in host network mode";
        return Err(error::new(error::Kind::Forbidden, why));
    }
    if !record
        .networking_config
        .endpoints_config
        .contains_key(&name)
    {
        let running = container.status.phase.has_processes();
        let the = if running { "" } else { "the " };
        let why = format!(
            "container {} is not connected to {the}network {name}",
            record.id
        );
        return Err(error::new(error::Kind::Forbidden, why));
    }
    if container.status.phase.has_processes() && name != NONE {
        let network = name.clone();
        lifecycle::monitor(engine, &container)?.request(&Request::Disconnect { network })?;
    }
    engine.containers.update(&record.id, |record| {
        record.networking_config.endpoints_config.remove(&name);
        Ok(())
    })
}
