//! Limits on v2: resources → writes (runtime-spec config-linux.md; kernel Documentation/admin-guide/cgroup-v2.rst).
//!
//! Pure. What only v1 has (network classes, swappiness, real-time shares) is an error or, where asking for it is common
//! and harmless, left out with a warning.

use std::borrow::Cow;

use anyhow::{Result, bail};

use super::plan::{Refusal, Write};
use super::v1::{plan_pids, plan_rdma};
use crate::error;
use crate::oci::runtime::resources::{BlockIo, Cpu, Memory, Resources};

/// Returns the writes for `resources`, devices apart; the files of `unified` come last and so have the last word.
pub(super) fn plan(resources: &Resources) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if let Some(pids) = &resources.pids {
        writes.extend(plan_pids(*pids));
    }
    if let Some(memory) = &resources.memory {
        plan_memory(memory, &mut writes)?;
    }
    if let Some(block_io) = &resources.block_io {
        plan_block_io(block_io, &mut writes);
    }
    if let Some(cpu) = &resources.cpu {
        plan_cpu(cpu, &mut writes)?;
    }
    for hugepage in &resources.hugepage_limits {
        let limit = |suffix: &str, refusal| Write {
            file: format!("hugetlb.{}.{suffix}max", hugepage.page_size).into(),
            ..Write::new("hugetlb", "", hugepage.limit).or(refusal)
        };
        writes.push(limit("", Refusal::Fails));
        writes.push(limit("rsvd.", Refusal::AbsentIsFine));
    }
    if let Some(network) = &resources.network
        && (network.class_id.unwrap_or(0) != 0 || !network.priorities.is_empty())
    {
        bail!(error::unavailable(
            "network classes and priorities need cgroup v1 (net_cls, net_prio)"
        ));
    }
    writes.extend(
        resources
            .rdma
            .iter()
            .map(|(device, limit)| plan_rdma(device, *limit)),
    );
    for (file, value) in &resources.unified {
        writes.extend(plan_unified(file, value)?);
    }
    Ok(writes)
}

/// A limit as v2 writes it: `-1` is `max`.
fn number(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn plan_memory(memory: &Memory, writes: &mut Vec<Write>) -> Result<()> {
    let limit = memory.limit.unwrap_or(0);
    if let Some(swap) = swap_max(memory.swap.unwrap_or(0), limit)? {
        // A kernel without swap accounting has nothing to switch off.
        let refusal = if swap == "max" || swap == "0" {
            Refusal::AbsentIsFine
        } else {
            Refusal::Fails
        };
        writes.push(Write::new("memory", "memory.swap.max", swap).or(refusal));
    }
    if limit != 0 {
        writes.push(Write::new("memory", "memory.max", number(limit)));
    }
    if let Some(reservation) = memory.reservation.filter(|&bytes| bytes != 0) {
        writes.push(Write::new("memory", "memory.low", number(reservation)));
    }
    if memory.disable_oom_killer == Some(true) {
        tracing::warn!("the out-of-memory killer cannot be switched off on cgroup v2");
    }
    Ok(())
}

/// v1 limits memory and swap together, v2 swap alone.
fn swap_max(memory_and_swap: i64, memory: i64) -> Result<Option<String>> {
    Ok(match (memory_and_swap, memory) {
        (0, -1) | (-1, _) => Some("max".to_owned()),
        (0, _) => None,
        (swap, -1) => Some(number(swap)),
        (_, 0) => bail!(error::invalid(
            "unable to set swap limit without memory limit"
        )),
        (swap, memory) if swap < memory => bail!(error::invalid(
            "memory+swap limit should be >= memory limit"
        )),
        (swap, memory) => Some((swap - memory).to_string()),
    })
}

/// Returns `cpu` with the quota or the period of `present`, the content of `cpu.max`, if only the other one is to change.
pub(super) fn with_present_quota(cpu: &Cpu, present: &str) -> Cpu {
    let mut cpu = cpu.clone();
    let Some((quota, period)) = present.trim().split_once(' ') else {
        return cpu;
    };
    match (cpu.quota.unwrap_or(0), cpu.period.unwrap_or(0)) {
        (0, 1..) => cpu.quota = quota.parse().ok(),
        (1.. | i64::MIN..=-1, 0) => cpu.period = period.parse().ok(),
        _ => {}
    }
    cpu
}

fn plan_cpu(cpu: &Cpu, writes: &mut Vec<Write>) -> Result<()> {
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    // A weight is refused once the group is idle.
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0)
        && cpu.idle != Some(1)
    {
        writes.push(Write::new("cpu", "cpu.weight", weight(shares)));
    }
    let quota = cpu.quota.unwrap_or(0);
    let period = cpu.period.unwrap_or(0);
    if let Some(burst) = cpu.burst {
        // Refused while it exceeds the old quota.
        let refusal = if quota == 0 {
            Refusal::Fails
        } else {
            Refusal::Waits
        };
        writes.push(Write::new("cpu", "cpu.max.burst", burst).or(refusal));
    }
    if quota != 0 || period != 0 {
        // An unset period has the kernel's default.
        let period = if period == 0 { 100_000 } else { period };
        let quota = if quota > 0 {
            quota.to_string()
        } else {
            "max".to_owned()
        };
        writes.push(Write::new("cpu", "cpu.max", format!("{quota} {period}")));
    }
    if cpu.realtime_runtime.unwrap_or(0) != 0 || cpu.realtime_period.unwrap_or(0) != 0 {
        bail!(error::unavailable(
            "real-time cpu shares need cgroup v1 (cpu.rt_runtime_us)"
        ));
    }
    if !cpu.cpus.is_empty() {
        writes.push(Write::new("cpuset", "cpuset.cpus", &cpu.cpus));
    }
    if !cpu.mems.is_empty() {
        writes.push(Write::new("cpuset", "cpuset.mems", &cpu.mems));
    }
    Ok(())
}

/// Shares, 2 to 262144 with 1024 as the middle, as a weight, 1 to 10000 with 100 as the middle.
///
/// The curve through those three points that runc 1.3.2 and crun 1.23 agreed on; the straight line before it gave a
/// container of 1024 shares 39, a third of what a process outside of any container has.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "shares are below 2^18 here")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the curve stays between 1 and 10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

fn plan_block_io(block_io: &BlockIo, writes: &mut Vec<Write>) {
    // BFQ counts as blkio did, 1 to 1000; the iocost controller counts 1 to 10000.
    let line = |weight: u16| 1 + (u64::from(weight).max(10) - 10) * 9999 / 990;
    if let Some(weight) = block_io.weight.filter(|&weight| weight != 0) {
        let write = Write::new("io", "io.bfq.weight", weight);
        writes.push(write.instead("io.weight", line(weight)));
    }
    for device in &block_io.weight_device {
        if let Some(weight) = device.weight.filter(|&weight| weight != 0) {
            let value = format!("{}:{} {weight}", device.major, device.minor);
            writes.push(Write::new("io", "io.bfq.weight", value));
        }
    }
    for (key, devices) in [
        ("rbps", &block_io.throttle_read_bps_device),
        ("wbps", &block_io.throttle_write_bps_device),
        ("riops", &block_io.throttle_read_iops_device),
        ("wiops", &block_io.throttle_write_iops_device),
    ] {
        for device in devices {
            // Zero lifts a limit on v1.
            let rate = if device.rate == 0 {
                "max".to_owned()
            } else {
                device.rate.to_string()
            };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            writes.push(Write::new("io", "io.max", value));
        }
    }
}

/// A file that the caller names; its controller is what stands before the first dot.
fn plan_unified(file: &str, value: &str) -> Result<Vec<Write>> {
    if file.contains('/') {
        bail!(error::invalid(format!(
            "unified resource {file:?} must be a file name (no slashes)"
        )));
    }
    let Some((controller, _)) = file.split_once('.') else {
        bail!(error::invalid(format!(
            "unified resource {file:?} must be in the form CONTROLLER.PARAMETER"
        )));
    };
    // Files of several lines, such as io.max, take one line per write.
    let write = |line: &str| Write {
        controller: Cow::Owned(controller.to_owned()),
        file: Cow::Owned(file.to_owned()),
        ..Write::new("", "", line)
    };
    Ok(value.lines().map(write).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &[(&str, &str)]) {
        let resources: Resources = serde_json::from_str(json).unwrap();
        let writes = plan(&resources).unwrap();
        let found: Vec<(&str, &str)> = writes
            .iter()
            .map(|w| (w.file.as_ref(), w.value.as_str()))
            .collect();
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn shares_become_weights() {
        for (shares, expected) in [
            (2, 1),
            (3, 2),
            (100, 17),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
            (999_999, 10_000),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }

    #[test]
    fn memory_and_swap_are_taken_apart() {
        check(
            r#"{"memory":{"limit":100,"swap":300,"reservation":50}}"#,
            &[
                ("memory.swap.max", "200"),
                ("memory.max", "100"),
                ("memory.low", "50"),
            ],
        );
        check(
            r#"{"memory":{"limit":100,"swap":100}}"#,
            &[("memory.swap.max", "0"), ("memory.max", "100")],
        );
        check(
            r#"{"memory":{"limit":-1}}"#,
            &[("memory.swap.max", "max"), ("memory.max", "max")],
        );
        check(r#"{"memory":{"limit":100}}"#, &[("memory.max", "100")]);
    }

    #[test]
    fn each_resource_has_its_files() {
        check(
            r#"{"cpu":{"shares":1024,"quota":50000,"burst":10,"cpus":"0","mems":"0"},"pids":{"limit":7}}"#,
            &[
                ("pids.max", "7"),
                ("cpu.weight", "100"),
                ("cpu.max.burst", "10"),
                ("cpu.max", "50000 100000"),
                ("cpuset.cpus", "0"),
                ("cpuset.mems", "0"),
            ],
        );
        check(
            r#"{"cpu":{"quota":-1,"period":50000}}"#,
            &[("cpu.max", "max 50000")],
        );
        check(
            r#"{"blockIO":{"weight":500,"throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}}"#,
            &[("io.bfq.weight", "500"), ("io.max", "8:1 wiops=max")],
        );
        check(
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":7}],"unified":{"memory.high":"9","io.max":"8:0 rbps=1\n8:1 rbps=2"}}"#,
            &[
                ("hugetlb.2MB.max", "7"),
                ("hugetlb.2MB.rsvd.max", "7"),
                ("io.max", "8:0 rbps=1"),
                ("io.max", "8:1 rbps=2"),
                ("memory.high", "9"),
            ],
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (json, text) in [
            (
                r#"{"memory":{"swap":5}}"#,
                "unable to set swap limit without memory limit",
            ),
            (
                r#"{"memory":{"swap":5,"limit":9}}"#,
                "memory+swap limit should be >= memory limit",
            ),
            (
                r#"{"unified":{"a/b":"1"}}"#,
                "unified resource \"a/b\" must be a file name (no slashes)",
            ),
            (
                r#"{"unified":{"memory":"1"}}"#,
                "unified resource \"memory\" must be in the form CONTROLLER.PARAMETER",
            ),
            (
                r#"{"network":{"classID":1}}"#,
                "network classes and priorities need cgroup v1 (net_cls, net_prio)",
            ),
        ] {
            let resources: Resources = serde_json::from_str(json).unwrap();
            assert_eq!(plan(&resources).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn what_an_update_leaves_out_of_the_quota_stays() {
        let check = |quota: Option<i64>,
                     period: Option<u64>,
                     present: &str,
                     expected: (Option<i64>, Option<u64>)| {
            let cpu = Cpu {
                quota,
                period,
                ..Cpu::default()
            };
            let merged = with_present_quota(&cpu, present);
            assert_eq!((merged.quota, merged.period), expected, "{present:?}");
        };
        check(
            None,
            Some(50_000),
            "20000 100000\n",
            (Some(20_000), Some(50_000)),
        );
        check(Some(-1), None, "20000 90000\n", (Some(-1), Some(90_000)));
        check(None, Some(50_000), "max 100000\n", (None, Some(50_000)));
        check(Some(1), Some(2), "20000 90000\n", (Some(1), Some(2)));
        check(None, None, "20000 90000\n", (None, None));
        check(Some(5), None, "", (Some(5), None));
    }
}
