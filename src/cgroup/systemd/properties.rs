//! Limits as properties of a systemd unit (systemd.resource-control(5), org.freedesktop.systemd1(5)). Pure.
//!
//! systemd writes the files of a unit's cgroup whenever it reloads. Told the same limits that we write, it changes
//! nothing; what it has no property for stays as we wrote it.

use crate::cgroup::plan::Write;

/// Times per second of a CPU quota, as systemd counts it.
const USEC_PER_SEC: u64 = 1_000_000;
/// systemd rounds quotas to this, so a smaller step would be lost.
const QUOTA_STEP: u64 = 10_000;

/// A property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cgroup) enum Value {
    Bool(bool),
    Number(u64),
    Text(String),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
    Pids(Vec<u32>),
    /// Device and accesses.
    Devices(Vec<(String, String)>),
}

/// A property of a unit.
pub(in crate::cgroup) type Property = (&'static str, Value);

/// Returns the properties that say the same as `writes`, which are for v1 or for v2.
pub(in crate::cgroup) fn of_writes(writes: &[Write]) -> Vec<Property> {
    let mut properties = Vec::new();
    for write in writes {
        let name = match &*write.file {
            "memory.max" => "MemoryMax",
            "memory.high" => "MemoryHigh",
            "memory.low" => "MemoryLow",
            "memory.min" => "MemoryMin",
            "memory.swap.max" => "MemorySwapMax",
            "memory.limit_in_bytes" => "MemoryLimit",
            "cpu.weight" => "CPUWeight",
            "cpu.shares" => "CPUShares",
            "pids.max" => "TasksMax",
            "blkio.weight" => "BlockIOWeight",
            "cpuset.cpus" | "cpuset.mems" => {
                let name = if write.file.ends_with("cpus") {
                    "AllowedCPUs"
                } else {
                    "AllowedMemoryNodes"
                };
                properties.extend(bits(&write.value).map(|bits| (name, Value::Bytes(bits))));
                continue;
            }
            "cpu.max" => {
                let (quota, period) = write.value.split_once(' ').unwrap_or((&write.value, ""));
                properties.extend(quota_of(quota, period));
                continue;
            }
            "cpu.cfs_quota_us" => {
                let period = writes.iter().find(|w| w.file == "cpu.cfs_period_us");
                let period = period.map_or("", |write| &write.value);
                properties.extend(quota_of(&write.value, period));
                continue;
            }
            _ => continue,
        };
        properties.extend(number(&write.value).map(|number| (name, Value::Number(number))));
    }
    properties
}

/// Unlimited is the largest number.
fn number(text: &str) -> Option<u64> {
    match text {
        "max" | "-1" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

fn quota_of(quota: &str, period: &str) -> Vec<Property> {
    let period: u64 = period.parse().unwrap_or(100_000);
    let per_second = match number(quota) {
        Some(quota) if quota != u64::MAX && period != 0 => {
            (quota.saturating_mul(USEC_PER_SEC) / period).next_multiple_of(QUOTA_STEP)
        }
        _ => u64::MAX,
    };
    vec![
        ("CPUQuotaPeriodUSec", Value::Number(period)),
        ("CPUQuotaPerSecUSec", Value::Number(per_second)),
    ]
}

/// Returns a list such as `0-2,7` as a map of bits, the first CPU the lowest of the first byte.
fn bits(list: &str) -> Option<Vec<u8>> {
    const MAX: usize = 8191;
    let mut map = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last > MAX {
            return None;
        }
        if map.len() <= last / 8 {
            map.resize(last / 8 + 1, 0);
        }
        for bit in first..=last {
            map[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{v1, v2};
    use crate::oci::runtime::resources::Resources;

    #[test]
    fn limits_become_properties() {
        let resources = |json: &str| -> Resources { serde_json::from_str(json).unwrap() };
        let all = resources(
            r#"{"memory":{"limit":100,"swap":300,"reservation":50},"pids":{"limit":-1},
                "cpu":{"shares":1024,"quota":25000,"period":50000,"cpus":"0-2,9"},"unified":{"memory.high":"90"}}"#,
        );
        let number = |name, value| (name, Value::Number(value));
        let mut found = of_writes(&v2::plan(&all).unwrap());
        found.sort_by_key(|(name, _)| *name);
        assert_eq!(
            found,
            [
                ("AllowedCPUs", Value::Bytes(vec![0b111, 0b10])),
                number("CPUQuotaPerSecUSec", 500_000),
                number("CPUQuotaPeriodUSec", 50_000),
                number("CPUWeight", 100),
                number("MemoryHigh", 90),
                number("MemoryLow", 50),
                number("MemoryMax", 100),
                number("MemorySwapMax", 200),
                number("TasksMax", u64::MAX),
            ]
        );
        let old = resources(r#"{"memory":{"limit":-1},"cpu":{"shares":512,"quota":1001}}"#);
        assert_eq!(
            of_writes(&v1::plan(&old, 1).unwrap()),
            [
                number("MemoryLimit", u64::MAX),
                number("CPUShares", 512),
                number("CPUQuotaPeriodUSec", 100_000),
                number("CPUQuotaPerSecUSec", 20_000),
            ]
        );
    }

    #[test]
    fn lists_become_bits() {
        for (list, expected) in [
            ("0", Some(vec![1])),
            ("7-8", Some(vec![0x80, 1])),
            ("", None),
            ("3-1", None),
            ("0-99999", None),
        ] {
            assert_eq!(bits(list), expected, "{list}");
        }
    }
}
