//! What this machine has to offer.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cgroup::layout;
use crate::container::check::{self, Machine};
use crate::docker::container::Resources;

/// Of OpenZFS, which the kernel's headers do not know.
const ZFS_SUPER_MAGIC: libc::c_long = 0x2fc1_2fc1;

/// Returns what limits can be asked for.
pub fn limits() -> Machine {
    let online = read("/sys/devices/system/cpu/online");
    let ranges = check::parse_list(&online).unwrap_or_default();
    let nodes = read("/sys/devices/system/node/online");
    Machine {
        cpus: ranges.iter().map(|(first, last)| last - first + 1).sum(),
        cpuset_cpus: online,
        // A kernel without NUMA has one node and no file that says so.
        cpuset_mems: if nodes.is_empty() {
            "0".to_owned()
        } else {
            nodes
        },
    }
}

/// Takes weights of block devices away that this kernel does not know, and says so in docker's words.
pub fn discard_weights(asked: &mut Resources) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if asked.blkio_weight == 0 && asked.blkio_weight_device.is_empty() {
        return Ok(warnings);
    }
    let weights = layout::detect()?.block_weights();
    let mut warn = |what: &str, gone: &str| {
        warnings.push(format!(
            "Your kernel does not support Block I/O {what} or the cgroup is not mounted. {gone} discarded."
        ));
    };
    if !weights.all && asked.blkio_weight != 0 {
        asked.blkio_weight = 0;
        warn("weight", "Weight");
    }
    if !weights.each && !asked.blkio_weight_device.is_empty() {
        asked.blkio_weight_device.clear();
        warn("weight_device", "Weight-device");
    }
    Ok(warnings)
}

/// Returns the host's name.
pub fn hostname() -> Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    Ok(name.trim().to_owned())
}

/// Returns the name of the distribution, and its version, which may be empty.
pub fn operating_system() -> (String, String) {
    let text = read("/etc/os-release");
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    (
        value("PRETTY_NAME=").unwrap_or_else(|| "Linux".to_owned()),
        value("VERSION_ID=").unwrap_or_default(),
    )
}

/// Returns docker's name of the file system that `path` is on.
pub fn file_system(path: &Path) -> String {
    let Ok(found) = rustix::fs::statfs(path) else {
        return "<unknown>".to_owned();
    };
    match found.f_type {
        libc::BTRFS_SUPER_MAGIC => "btrfs",
        libc::EXT4_SUPER_MAGIC => "extfs",
        libc::OVERLAYFS_SUPER_MAGIC => "overlayfs",
        libc::TMPFS_MAGIC => "tmpfs",
        libc::XFS_SUPER_MAGIC => "xfs",
        ZFS_SUPER_MAGIC => "zfs",
        _ => "<unknown>",
    }
    .to_owned()
}

/// Returns whether packets of IPv4 are forwarded between all networks.
pub fn forwards() -> bool {
    read("/proc/sys/net/ipv4/ip_forward") == "1"
}

/// Returns the bytes of memory; 0 if they cannot be told.
pub fn memory_bytes() -> i64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}
