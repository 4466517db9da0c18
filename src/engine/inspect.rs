//! What is said of a container: its whole document.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::Engine;
use crate::container::{Container, Phase, Record, Status, merge, security};
use crate::docker::container::{Config, HostConfig};
use crate::docker::inspect::{ContainerInspect, GraphDriver, NetworkSettings, State};
use crate::monitor::network::links;
use crate::network::record::DEFAULT;

/// How Go writes a time that never was.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
/// The name that tools know for what this storage does.
pub const STORAGE_DRIVER: &str = "overlay2";

/// Returns the document of a container.
pub fn inspect(engine: &Engine, container: &Container) -> Result<ContainerInspect> {
    let (record, status) = (&container.record, &container.status);
    let mut command = merge::command_line(&record.config).cloned();
    let dir = engine.dirs.container(&record.id);
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let logs_to_file = record.host_config.log_config.kind == "json-file";
    Ok(ContainerInspect {
        id: record.id.clone(),
        created: record.created.to_string(),
        path: command.next().unwrap_or_default(),
        args: command.collect(),
        state: state(status),
        image: record.image.to_string(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: if logs_to_file {
            log_path(engine, &record.id)
        } else {
            String::new()
        },
        name: format!("/{}", record.name),
        restart_count: status.restart_count,
        driver: STORAGE_DRIVER.to_owned(),
        platform: record.platform.clone(),
        exec_ids: exec_ids(engine, container)?,
        host_config: host_config(engine, record),
        graph_driver: graph_driver(engine, container),
        mounts: record.mounts.clone(),
        config: config(engine, record),
        network_settings: network_settings(container),
        ..ContainerInspect::default()
    })
}

/// Returns the exec sessions that run; nothing if there are none.
fn exec_ids(engine: &Engine, container: &Container) -> Result<Option<Vec<String>>> {
    if !container.status.phase.needs_monitor() {
        return Ok(None);
    }
    let dir = engine.dirs.execs(&container.record.id);
    // It is made with the first one.
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return Ok(None);
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", dir.display()))?;
        ids.extend(entry.file_name().into_string());
    }
    ids.sort();
    Ok(Some(ids).filter(|ids| !ids.is_empty()))
}

/// Returns the container's part of the configuration as it is shown: with the host name of the container whose network it is in.
fn config(engine: &Engine, record: &Record) -> Config {
    let mut config = record.config.clone();
    let other = record.host_config.network_mode.strip_prefix("container:");
    if let Some(other) = other.and_then(|id| engine.containers.get(id).ok()) {
        config.hostname = other.record.config.hostname;
        config.domainname = other.record.config.domainname;
    }
    config
}

/// Returns the host's part of the configuration as it is shown: with the paths that are hidden by default, which a record leaves
/// open, and with links by the name of the other container, `/db:/web/alias`, which a record has by its id.
fn host_config(engine: &Engine, record: &Record) -> HostConfig {
    let mut host = record.host_config.clone();
    for link in host.links.iter_mut().flatten() {
        let (id, alias) = links::parts(link);
        let other = engine.containers.get(id);
        let name = other.map_or_else(|_| id.to_owned(), |other| other.record.name);
        *link = format!("/{name}:/{}/{alias}", record.name);
    }
    if !host.privileged {
        let all = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        host.masked_paths
            .get_or_insert_with(|| all(&security::MASKED_PATHS));
        host.readonly_paths
            .get_or_insert_with(|| all(&security::READONLY_PATHS));
    }
    host
}

/// Returns where the log of a container is.
pub fn log_path(engine: &Engine, id: &str) -> String {
    engine.dirs.container_log(id).to_string_lossy().into_owned()
}

/// Returns a time as documents write it.
pub fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string())
}

/// Returns where in its life a container is.
pub fn state(status: &Status) -> State {
    State {
        status: status.phase.name().to_owned(),
        running: status.phase.needs_monitor(),
        paused: status.phase == Phase::Paused,
        restarting: status.phase == Phase::Restarting,
        oom_killed: status.oom_killed,
        dead: false,
        pid: status.pid,
        exit_code: status.exit_code,
        error: status.error.clone(),
        started_at: time(status.started_at),
        finished_at: time(status.finished_at),
        health: status.health.clone(),
    }
}

fn graph_driver(engine: &Engine, container: &Container) -> GraphDriver {
    let dir = engine.dirs.container(&container.record.id);
    let layers = container.record.layers.iter().rev();
    let lower: Vec<String> = layers
        .map(|layer| {
            engine
                .dirs
                .layer(layer.digest())
                .join("root")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    GraphDriver {
        name: STORAGE_DRIVER.to_owned(),
        data: BTreeMap::from([
            ("LowerDir".to_owned(), lower.join(":")),
            ("UpperDir".to_owned(), path("upper")),
            ("WorkDir".to_owned(), path("work")),
            ("MergedDir".to_owned(), merged(container)),
        ]),
    }
}

/// The root filesystem is mounted in the container's own mount namespace only; from the host it is seen through its process.
fn merged(container: &Container) -> String {
    match container.status.pid {
        0 => String::new(),
        pid => format!("/proc/{pid}/root"),
    }
}

fn network_settings(container: &Container) -> NetworkSettings {
    let (record, network) = (&container.record, &container.status.network);
    let mode = record.host_config.network_mode.as_str();
    let mut networks = record.networking_config.endpoints_config.clone();
    networks.extend(network.endpoints.clone());
    if mode == "host" {
        networks.entry(mode.to_owned()).or_default();
    }
    let running = container.status.pid != 0;
    let main = network.endpoints.get(DEFAULT).cloned().unwrap_or_default();
    NetworkSettings {
        sandbox_id: if running {
            record.id.clone()
        } else {
            String::new()
        },
        sandbox_key: if running {
            format!("/proc/{}/ns/net", container.status.pid)
        } else {
            String::new()
        },
        ports: network.ports.clone(),
        endpoint_id: main.endpoint_id,
        gateway: main.gateway,
        global_ipv6_address: main.global_ipv6_address,
        global_ipv6_prefix_len: main.global_ipv6_prefix_len,
        ip_address: main.ip_address,
        ip_prefix_len: main.ip_prefix_len,
        ipv6_gateway: main.ipv6_gateway,
        mac_address: main.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}
