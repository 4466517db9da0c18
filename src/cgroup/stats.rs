//! What a cgroup has used: cpu, memory, tasks, block devices, pressure; and how often the kernel killed for memory.
//!
//! Read from the files of v1 and v2 into one form. A controller that is not there, or a file that this kernel lacks, reads
//! as zero or empty: statistics are shown, never decided on.

use std::collections::BTreeMap;
use std::path::Path;

use super::Cgroup;
use crate::sys::pseudo;

/// The statistics of one cgroup.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block devices.
    pub block_io: BlockIo,
}

/// CPU time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In all.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// By CPU; v1 only.
    pub per_cpu: Vec<u64>,
    /// Periods in which a quota was in force.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// How long its tasks had to wait for a new period.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use, page cache included.
    pub usage: u64,
    /// The most that was in use at once; 0 if the kernel does not tell (v2 before 5.19).
    pub peak: u64,
    /// The limit; 0 if there is none.
    pub limit: u64,
    /// How often the limit was hit.
    pub failures: u64,
    /// Swap in use.
    pub swap: u64,
    /// Everything that `memory.stat` tells, by its names, which differ between v1 and v2.
    pub details: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// The limit; 0 if there is none.
    pub limit: u64,
}

/// Transfers of block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// In bytes.
    pub bytes: Vec<Transfer>,
    /// In operations.
    pub operations: Vec<Transfer>,
}

/// Transfers of one kind of one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Discard` and so on.
    pub operation: String,
    /// How many.
    pub value: u64,
}

impl Cgroup {
    /// Returns what the cgroup has used so far.
    pub fn stats(&self) -> Stats {
        Stats {
            cpu: match (self.v1_directory("cpuacct"), self.unified()) {
                (Some(directory), _) => cpu_v1(directory, self.v1_directory("cpu")),
                (None, Some(directory)) => cpu_v2(&text(directory, "cpu.stat")),
                (None, None) => Cpu::default(),
            },
            memory: match (self.v1_directory("memory"), self.unified()) {
                (Some(directory), _) => memory_v1(directory),
                (None, Some(directory)) => memory_v2(directory),
                (None, None) => Memory::default(),
            },
            pids: self.directory("pids").map_or_else(Pids::default, |d| Pids {
                current: value(d, "pids.current"),
                limit: value(d, "pids.max"),
            }),
            block_io: match (self.v1_directory("blkio"), self.unified()) {
                (Some(directory), _) => BlockIo {
                    bytes: blkio(directory, "io_service_bytes"),
                    operations: blkio(directory, "io_serviced"),
                },
                (None, Some(directory)) => io_stat(&text(directory, "io.stat")),
                (None, None) => BlockIo::default(),
            },
        }
    }

    /// Returns how often the kernel has killed a process of the cgroup, or below it, for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = match (self.v1_directory("memory"), self.unified()) {
            (Some(directory), _) => directory.join("memory.oom_control"),
            (None, Some(directory)) => directory.join("memory.events"),
            (None, None) => return 0,
        };
        pairs(&pseudo::read_text(file).unwrap_or_default())
            .get("oom_kill")
            .copied()
            .unwrap_or(0)
    }
}

fn text(directory: &Path, file: &str) -> String {
    pseudo::read_text(directory.join(file)).unwrap_or_default()
}

/// One number; `max`, as v2 writes "unlimited", is 0.
fn value(directory: &Path, file: &str) -> u64 {
    text(directory, file).trim().parse().unwrap_or(0)
}

/// Lines of `NAME NUMBER`.
fn pairs(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

fn of(pairs: &BTreeMap<String, u64>, name: &str) -> u64 {
    pairs.get(name).copied().unwrap_or(0)
}

fn cpu_v1(cpuacct: &Path, cpu: Option<&Path>) -> Cpu {
    // cpuacct.stat counts in ticks of 10 ms (USER_HZ is 100 on every architecture of ours).
    const TICK: u64 = 10_000_000;
    let ticks = pairs(&text(cpuacct, "cpuacct.stat"));
    let throttling = cpu.map_or_else(BTreeMap::new, |cpu| pairs(&text(cpu, "cpu.stat")));
    Cpu {
        total: value(cpuacct, "cpuacct.usage"),
        user: of(&ticks, "user") * TICK,
        system: of(&ticks, "system") * TICK,
        per_cpu: text(cpuacct, "cpuacct.usage_percpu")
            .split_whitespace()
            .filter_map(|time| time.parse().ok())
            .collect(),
        periods: of(&throttling, "nr_periods"),
        throttled_periods: of(&throttling, "nr_throttled"),
        throttled: of(&throttling, "throttled_time"),
    }
}

/// v2 counts in microseconds.
fn cpu_v2(stat: &str) -> Cpu {
    let stat = pairs(stat);
    Cpu {
        total: of(&stat, "usage_usec") * 1000,
        user: of(&stat, "user_usec") * 1000,
        system: of(&stat, "system_usec") * 1000,
        per_cpu: Vec::new(),
        periods: of(&stat, "nr_periods"),
        throttled_periods: of(&stat, "nr_throttled"),
        throttled: of(&stat, "throttled_usec") * 1000,
    }
}

fn memory_v1(directory: &Path) -> Memory {
    let limit = value(directory, "memory.limit_in_bytes");
    let usage = value(directory, "memory.usage_in_bytes");
    Memory {
        usage,
        peak: value(directory, "memory.max_usage_in_bytes"),
        // "Unlimited" is the largest number of pages.
        limit: if limit >= super::V1_UNLIMITED {
            0
        } else {
            limit
        },
        failures: value(directory, "memory.failcnt"),
        swap: value(directory, "memory.memsw.usage_in_bytes").saturating_sub(usage),
        details: pairs(&text(directory, "memory.stat")),
    }
}

fn memory_v2(directory: &Path) -> Memory {
    Memory {
        usage: value(directory, "memory.current"),
        peak: value(directory, "memory.peak"),
        limit: value(directory, "memory.max"),
        failures: of(&pairs(&text(directory, "memory.events")), "max"),
        swap: value(directory, "memory.swap.current"),
        details: pairs(&text(directory, "memory.stat")),
    }
}

/// BFQ keeps its own counts; without it those of the throttling layer are complete.
fn blkio(directory: &Path, what: &str) -> Vec<Transfer> {
    for file in [
        format!("blkio.bfq.{what}_recursive"),
        format!("blkio.throttle.{what}_recursive"),
        format!("blkio.throttle.{what}"),
    ] {
        let transfers = blkio_lines(&text(directory, &file));
        if !transfers.is_empty() {
            return transfers;
        }
    }
    Vec::new()
}

/// Lines of `MAJOR:MINOR OPERATION NUMBER`, and one of a grand total.
fn blkio_lines(text: &str) -> Vec<Transfer> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (major, minor) = fields.next()?.split_once(':')?;
            Some(Transfer {
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                operation: fields.next()?.to_owned(),
                value: fields.next()?.parse().ok()?,
            })
        })
        .collect()
}

/// Lines of `MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N dbytes=N dios=N`.
fn io_stat(text: &str) -> BlockIo {
    let mut block_io = BlockIo::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
            continue;
        };
        for (name, value) in fields.filter_map(|field| field.split_once('=')) {
            let (list, operation) = match name {
                "rbytes" => (&mut block_io.bytes, "Read"),
                "wbytes" => (&mut block_io.bytes, "Write"),
                "dbytes" => (&mut block_io.bytes, "Discard"),
                "rios" => (&mut block_io.operations, "Read"),
                "wios" => (&mut block_io.operations, "Write"),
                "dios" => (&mut block_io.operations, "Discard"),
                _ => continue,
            };
            list.push(Transfer {
                major,
                minor,
                operation: operation.to_owned(),
                value: value.parse().unwrap_or(0),
            });
        }
    }
    block_io
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_times_are_nanoseconds() {
        let cpu =
            cpu_v2("usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nthrottled_usec 1\n");
        assert_eq!((cpu.total, cpu.user, cpu.system), (5000, 3000, 2000));
        assert_eq!((cpu.periods, cpu.throttled), (7, 1000));
    }

    #[test]
    fn transfers_are_told_by_device_and_operation() {
        let lines = blkio_lines("8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n");
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[1].major, lines[1].value), (8, 20));
        let stat = io_stat("254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16\n");
        let values = |list: &[Transfer]| list.iter().map(|t| t.value).collect::<Vec<_>>();
        assert_eq!(values(&stat.bytes), [1, 2, 0]);
        assert_eq!(values(&stat.operations), [3, 4, 0]);
    }
}
