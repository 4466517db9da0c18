//! What this machine has to offer.

use anyhow::{Context as _, Result};

use crate::container::check::{self, Machine};

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

/// Returns the host's name.
pub fn hostname() -> Result<String> {
    let path = "/proc/sys/kernel/hostname";
    let name = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    Ok(name.trim().to_owned())
}

/// Returns the name of the distribution.
pub fn operating_system() -> String {
    let text = read("/etc/os-release");
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(
        || "Linux".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
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
