//! What this engine and machine are.

use anyhow::Result;

use super::{Engine, list, machine};
use crate::cgroup::layout;
use crate::container::Phase;
use crate::docker::system::{DOCKER_VERSION, Info};

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
        containers: containers.len(),
        containers_running: count(Phase::Running),
        containers_paused: count(Phase::Paused),
        containers_stopped: count(Phase::Created) + count(Phase::Exited),
        images: engine.images.list()?.len(),
        driver: super::inspect::STORAGE_DRIVER.to_owned(),
        docker_root_dir: engine.dirs.data().to_string_lossy().into_owned(),
        logging_driver: "json-file".to_owned(),
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
        live_restore_enabled: true,
        warnings: Vec::new(),
    })
}
