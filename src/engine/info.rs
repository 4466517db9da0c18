//! What this engine and machine are like.

use std::collections::BTreeMap;

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::{Engine, list, machine};
use crate::cgroup::layout;
use crate::container::{Phase, check, logs};
use crate::docker::info::{IndexInfo, Info, Plugins, RegistryConfig, Runtime, Swarm};
use crate::docker::system::DOCKER_VERSION;
use crate::oci::reference::DEFAULT_REGISTRY;
use crate::registry::endpoint::HUB_CREDENTIALS;
use crate::settings::Settings;

/// The runtime that is built in.
const OWN_RUNTIME: &str = "aril";

/// Returns an id in the form of a UUID, made of the machine's own and of where the data is: nothing has to be kept for it.
fn id(engine: &Engine) -> String {
    let mut digest = Sha256::new();
    digest.update(std::fs::read("/etc/machine-id").unwrap_or_default());
    digest.update(engine.dirs.data().as_os_str().as_encoded_bytes());
    let mut hex = String::new();
    for byte in digest.finalize().iter().take(16) {
        // Version 8 and the usual variant: of a maker's own rule.
        let byte = match hex.len() {
            12 => byte & 0x0f | 0x80,
            16 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
        hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or_default());
    }
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// Returns the facts that `info` shows.
pub fn info(engine: &Engine) -> Result<Info> {
    let all = list::ListOptions {
        all: true,
        ..list::ListOptions::default()
    };
    let containers = list::list(engine, &all)?;
    let count = |phase: Phase| {
        containers
            .iter()
            .filter(|container| container.status.phase == phase)
            .count()
    };
    let settings = engine.settings()?;
    let uname = rustix::system::uname();
    let host = layout::detect()?;
    let limits = machine::limits();
    let (operating_system, os_version) = machine::operating_system();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Ok(Info {
        id: id(engine),
        containers: containers.len(),
        containers_running: count(Phase::Running),
        containers_paused: count(Phase::Paused),
        containers_stopped: count(Phase::Created) + count(Phase::Exited),
        images: engine.images.list()?.len(),
        driver: super::inspect::STORAGE_DRIVER.to_owned(),
        driver_status: storage(engine),
        plugins: plugins(),
        memory_limit: host.has("memory"),
        swap_limit: host.can_limit_swap(),
        cpu_cfs_period: host.has("cpu"),
        cpu_cfs_quota: host.has("cpu"),
        cpu_shares: host.has("cpu"),
        cpu_set: host.has("cpuset"),
        pids_limit: host.has("pids"),
        oom_kill_disable: host.v1_of("memory").is_some(),
        ipv4_forwarding: machine::forwards(),
        system_time: jiff::Timestamp::now().to_string(),
        docker_root_dir: engine.dirs.data().to_string_lossy().into_owned(),
        logging_driver: match settings.log_driver.as_str() {
            "" => "json-file".to_owned(),
            driver => driver.to_owned(),
        },
        cgroup_driver: settings.cgroup_driver().name().to_owned(),
        cgroup_version: if host.is_v2() { "2" } else { "1" }.to_owned(),
        kernel_version: text(uname.release()),
        operating_system,
        os_version,
        os_type: "linux".to_owned(),
        architecture: text(uname.machine()),
        index_server_address: HUB_CREDENTIALS.to_owned(),
        ncpu: limits.cpus,
        mem_total: machine::memory_bytes(),
        http_proxy: without_password(&settings.proxies.http_proxy),
        https_proxy: without_password(&settings.proxies.https_proxy),
        no_proxy: settings.proxies.no_proxy.clone(),
        name: machine::hostname()?,
        server_version: DOCKER_VERSION.to_owned(),
        runtimes: runtimes(),
        default_runtime: OWN_RUNTIME.to_owned(),
        swarm: Swarm {
            local_node_state: "inactive".to_owned(),
            ..Swarm::default()
        },
        init_binary: "docker-init".to_owned(),
        security_options: security(host, &settings.seccomp_profile),
        labels: settings.labels.clone(),
        registry_config: registry_config(settings),
        live_restore_enabled: true,
        warnings: settings
            .ignored
            .iter()
            .map(|text| format!("WARNING: {text}"))
            .collect(),
        ..Info::default()
    })
}

/// Returns what docker says of its overlay2, as far as it is so here.
fn storage(engine: &Engine) -> Vec<[String; 2]> {
    let below = machine::file_system(engine.dirs.data());
    [
        ("Backing Filesystem", below.as_str()),
        ("Supports d_type", "true"),
        ("Using metacopy", "false"),
        ("Native Overlay Diff", "true"),
        ("userxattr", "false"),
    ]
    .map(|(name, value)| [name.to_owned(), value.to_owned()])
    .into()
}

fn plugins() -> Plugins {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Plugins {
        volume: all(&["local"]),
        network: all(&["bridge", "host", "ipvlan", "macvlan", "null"]),
        authorization: None,
        log: all(&logs::options::DRIVERS),
    }
}

fn runtimes() -> BTreeMap<String, Runtime> {
    let runtime = |name: &&str| {
        let path = OWN_RUNTIME.to_owned();
        ((*name).to_owned(), Runtime { path })
    };
    check::RUNTIMES.iter().map(runtime).collect()
}

fn security(host: &layout::Host, profile: &str) -> Vec<String> {
    let profile = match profile {
        "" | "default" => "builtin",
        profile => profile,
    };
    let mut options = vec![format!("name=seccomp,profile={profile}")];
    if host.is_v2() {
        options.push("name=cgroupns".to_owned());
    }
    options
}

/// Returns a proxy's address with the user's name and password hidden, as docker shows it.
fn without_password(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}xxxxx:xxxxx@{host}"),
        None => address.to_owned(),
    }
}

/// Returns what is configured of registries, in docker's form.
fn registry_config(settings: &Settings) -> RegistryConfig {
    let mut mirrors = settings.registry_mirrors.clone();
    for mirror in &mut mirrors {
        // docker shows all of them so.
        if !mirror.ends_with('/') {
            mirror.push('/');
        }
    }
    let (mut networks, names): (Vec<String>, Vec<String>) = settings
        .insecure_registries
        .iter()
        .cloned()
        .partition(|rule| rule.contains('/') && !rule.contains("://"));
    networks.extend(["::1/128", "127.0.0.0/8"].map(str::to_owned));
    let index = |name: &str, secure: bool| IndexInfo {
        name: name.to_owned(),
        mirrors: Vec::new(),
        secure,
        official: false,
    };
    let mut indexes: BTreeMap<String, IndexInfo> = (names.into_iter())
        .map(|name| (name.clone(), index(&name, false)))
        .collect();
    indexes.insert(
        DEFAULT_REGISTRY.to_owned(),
        IndexInfo {
            mirrors: mirrors.clone(),
            official: true,
            ..index(DEFAULT_REGISTRY, true)
        },
    );
    RegistryConfig {
        insecure_registry_cidrs: networks,
        index_configs: indexes,
        mirrors,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_shown() {
        for (address, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://u:p@proxy:3128", "http://xxxxx:xxxxx@proxy:3128"),
            ("u:p@ss@proxy", "xxxxx:xxxxx@proxy"),
            ("", ""),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }
}
