//! `update`: other limits for a container.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::args::Update;
use super::named;
use crate::cli::human::size::parse_ram_bytes;
use crate::error;
use crate::oci::runtime::resources::{BlockIo, Cpu, Memory, Pids, Resources};
use crate::runtime::bundle;

/// The longest file of limits that is read.
const RESOURCES_MAX: u64 = 1 << 20;

/// Changes the limits of a container to those of the command line.
pub(super) fn update(root: &Path, update: &Update) -> Result<()> {
    let resources = match &update.resources {
        Some(path) => read(path)?,
        None => resources(update)?,
    };
    named(bundle::update(root, &update.id, &resources), &update.id)
}

fn read(path: &Path) -> Result<Resources> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .take(RESOURCES_MAX)
            .read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(RESOURCES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| error::invalid(format!("read {}: {error}", path.display())))
}

fn resources(update: &Update) -> Result<Resources> {
    let bytes = |name: &str, text: &Option<String>| -> Result<Option<i64>> {
        let Some(text) = text else { return Ok(None) };
        if text == "-1" {
            return Ok(Some(-1));
        }
        let bytes = parse_ram_bytes(text).with_context(|| format!("invalid value for {name}"))?;
        Ok(Some(bytes))
    };
    let limit = bytes("memory", &update.memory)?;
    let swap = bytes("memory-swap", &update.memory_swap)?;
    let memory = Memory {
        limit,
        // Without a limit of memory none of both together makes sense.
        swap: swap.or(limit.filter(|&limit| limit == -1)),
        reservation: bytes("memory-reservation", &update.memory_reservation)?,
        kernel_tcp: bytes("kernel-memory-tcp", &update.kernel_memory_tcp)?,
        ..Memory::default()
    };
    if update.kernel_memory.is_some() {
        tracing::warn!("--kernel-memory has no effect: kernels since 5.16 have no such limit");
    }
    let cpu = Cpu {
        shares: update.cpu_share,
        quota: update.cpu_quota,
        burst: update.cpu_burst,
        period: update.cpu_period,
        realtime_runtime: update.cpu_rt_runtime,
        realtime_period: update.cpu_rt_period,
        cpus: update.cpuset_cpus.clone().unwrap_or_default(),
        mems: update.cpuset_mems.clone().unwrap_or_default(),
        idle: update.cpu_idle,
    };
    Ok(Resources {
        memory: Some(memory),
        cpu: Some(cpu),
        pids: update.pids_limit.map(|limit| Pids { limit: Some(limit) }),
        block_io: update.blkio_weight.map(|weight| BlockIo {
            weight: Some(weight),
            ..BlockIo::default()
        }),
        ..Resources::default()
    })
}
