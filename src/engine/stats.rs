//! `stats`: what running containers use of the machine.
//!
//! Read from the files of the cgroups and of the network namespaces; nobody has to be asked for it.

use std::path::Path;

use anyhow::Result;

use super::{Engine, machine};
use crate::cgroup::stats::{BlockIo, Memory};
use crate::cgroup::{self, layout};
use crate::container::Container;

/// What a container has used up to a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds of CPU time.
    pub cpu_ns: u64,
    /// Nanoseconds that all CPUs of the machine have had.
    pub machine_ns: u64,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Bytes in use, without what the page cache could give back at once.
    pub memory: u64,
    /// Bytes; all memory of the machine if there is no limit.
    pub memory_limit: u64,
    /// Bytes that came in by the network.
    pub received: u64,
    /// Bytes that went out by the network.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to block devices.
    pub written: u64,
    /// Tasks.
    pub pids: u64,
}

/// Returns what a container has used so far; nothing if it does not run.
pub fn sample(engine: &Engine, container: &Container) -> Result<Option<Sample>> {
    // Read anew: whoever shows this again and again has an old one.
    let status = match engine.containers.status(&container.record.id) {
        Ok(status) => status,
        Err(error) if crate::error::is(&error, crate::error::Kind::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !status.phase.has_processes() {
        return Ok(None);
    }
    let host = layout::detect()?;
    let used = cgroup::open(host, Path::new(&status.cgroup))?.stats();
    let all = u64::try_from(machine::memory_bytes()).unwrap_or_default();
    let limit = match used.memory.limit {
        0 => all,
        limit => limit.min(all),
    };
    let (received, sent) = match container.record.host_config.network_mode.as_str() {
        "host" => (0, 0),
        _ => network(&read(&format!("/proc/{}/net/dev", status.pid))),
    };
    let (machine_ns, cpus) = processor(&read("/proc/stat"));
    Ok(Some(Sample {
        cpu_ns: used.cpu.total,
        machine_ns,
        cpus,
        memory: in_use(&used.memory),
        memory_limit: limit,
        received,
        sent,
        read: bytes(&used.block_io, "Read"),
        written: bytes(&used.block_io, "Write"),
        pids: used.pids.current,
    }))
}

impl Sample {
    /// Returns the share of one CPU that was used since `before`, in percent: two busy CPUs are 200.
    #[expect(
        clippy::cast_precision_loss,
        reason = "two decimals of a percentage are shown"
    )]
    pub fn cpu_percent(&self, before: &Sample) -> f64 {
        let used = self.cpu_ns.saturating_sub(before.cpu_ns);
        let passed = self.machine_ns.saturating_sub(before.machine_ns);
        if passed == 0 {
            return 0.0;
        }
        used as f64 / passed as f64 * f64::from(self.cpus) * 100.0
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Memory in use, less the inactive part of the page cache, as docker's client reckons.
fn in_use(memory: &Memory) -> u64 {
    let detail = |name: &str| memory.details.get(name).copied();
    let inactive = detail("total_inactive_file").or_else(|| detail("inactive_file"));
    match inactive {
        Some(inactive) if inactive < memory.usage => memory.usage - inactive,
        _ => memory.usage,
    }
}

fn bytes(io: &BlockIo, operation: &str) -> u64 {
    let transfers = io.bytes.iter();
    transfers
        .filter(|transfer| transfer.operation.eq_ignore_ascii_case(operation))
        .map(|transfer| transfer.value)
        .sum()
}

/// Sums what `/proc/PID/net/dev` tells of all interfaces but the loopback.
fn network(text: &str) -> (u64, u64) {
    let mut sums = (0, 0);
    for (name, counters) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let mut counters = counters.split_whitespace().map(str::parse::<u64>);
        let mut counter = |skipped| counters.nth(skipped).and_then(Result::ok).unwrap_or(0);
        // Bytes received come first, bytes sent after seven more.
        sums.0 += counter(0);
        sums.1 += counter(7);
    }
    sums
}

/// Sums the time of all CPUs of `/proc/stat`, in nanoseconds, and counts them.
fn processor(text: &str) -> (u64, u32) {
    const TICK_NS: u64 = 10_000_000;
    // user nice system idle iowait irq softirq; steal and guest are part of others or nobody's.
    const FIELDS: usize = 7;
    let ticks: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .into_iter()
        .flat_map(|line| line.split_whitespace().take(FIELDS))
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let cpu = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let count = text.lines().filter(cpu).count();
    (ticks * TICK_NS, u32::try_from(count).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_does_not_count() {
        let text = "Inter-|   Receive     |  Transmit\n face |bytes packets\n    \
                    lo: 500 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n  \
                    eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (101, 202));
    }

    #[test]
    fn percents_are_of_one_cpu() {
        let stat = "cpu  10 0 10 80 0 0 0 9 9 0\ncpu0 1 2\ncpu1 1 2\nintr 5\n";
        assert_eq!(processor(stat), (1_000_000_000, 2));
        let before = Sample::default();
        let after = Sample {
            cpu_ns: 500_000_000,
            machine_ns: 2_000_000_000,
            cpus: 2,
            ..Sample::default()
        };
        assert!((after.cpu_percent(&before) - 50.0).abs() < 1e-9);
        assert!(before.cpu_percent(&after).abs() < 1e-9);
    }

    #[test]
    fn cache_that_can_go_does_not_count() {
        let memory = |name: &str, usage| Memory {
            usage,
            details: [(name.to_owned(), 30)].into(),
            ..Memory::default()
        };
        assert_eq!(in_use(&memory("total_inactive_file", 100)), 70);
        assert_eq!(in_use(&memory("inactive_file", 100)), 70);
        assert_eq!(in_use(&memory("inactive_file", 20)), 20);
    }
}
