//! What this engine and machine are like.

use std::collections::BTreeMap;

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::{Engine, list, machine};
use crate::cgroup::layout;
use crate::container::Phase;
use crate::docker::info::{IndexInfo, Info, RegistryConfig};
use crate::docker::system::DOCKER_VERSION;
use crate::oci::reference::DEFAULT_REGISTRY;
use crate::settings::Settings;

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
    let uname = rustix::system::uname();
    let host = layout::detect()?;
    let limits = machine::limits();
    let mut security = vec!["name=seccomp,profile=builtin".to_owned()];
    if host.is_v2() {
        security.push("name=cgroupns".to_owned());
    }
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Ok(Info {
        id: id(engine),
        containers: containers.len(),
        containers_running: count(Phase::Running),
        containers_paused: count(Phase::Paused),
        containers_stopped: count(Phase::Created) + count(Phase::Exited),
        images: engine.images.list()?.len(),
        driver: super::inspect::STORAGE_DRIVER.to_owned(),
        docker_root_dir: engine.dirs.data().to_string_lossy().into_owned(),
        logging_driver: match engine.settings()?.log_driver.as_str() {
            "" => "json-file".to_owned(),
            driver => driver.to_owned(),
        },
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: if host.is_v2() { "2" } else { "1" }.to_owned(),
        kernel_version: text(uname.release()),
        operating_system: machine::operating_system(),
        os_type: "linux".to_owned(),
        architecture: text(uname.machine()),
        ncpu: limits.cpus,
        mem_total: machine::memory_bytes(),
        name: machine::hostname()?,
        server_version: DOCKER_VERSION.to_owned(),
        default_runtime: "aril".to_owned(),
        security_options: security,
        labels: engine.settings()?.labels.clone(),
        registry_config: registry_config(engine.settings()?),
        live_restore_enabled: true,
        warnings: engine
            .settings()?
            .ignored
            .iter()
            .map(|text| format!("WARNING: {text}"))
            .collect(),
    })
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
