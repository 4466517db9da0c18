//! Limits on v1: resources → writes (runtime-spec config-linux.md, Control groups).
//!
//! Pure. Zero means "not set" wherever Go callers cannot tell it from absence: docker and containerd send it so.

use anyhow::{Result, bail};

use super::plan::{Refusal, Write};
use crate::error;
use crate::oci::runtime::resources::{BlockIo, Cpu, Memory, Network, Pids, Rdma, Resources};

/// The kernel clamps shares to this range without a word.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;

/// Returns the writes for `resources`, devices apart.
///
/// `memory_limit` is the present hard limit in bytes, and decides whether the new limit of memory or that of memory and
/// swap must be written first: the kernel refuses a step after which the former were above the latter.
pub(super) fn plan(resources: &Resources, memory_limit: u64) -> Result<Vec<Write>> {
    let mut writes = Vec::new();
    if let Some(memory) = &resources.memory {
        plan_memory(memory, memory_limit, &mut writes)?;
    }
    if let Some(cpu) = &resources.cpu {
        plan_cpu(cpu, &mut writes)?;
    }
    if let Some(pids) = &resources.pids {
        writes.extend(plan_pids(*pids));
    }
    if let Some(block_io) = &resources.block_io {
        plan_block_io(block_io, &mut writes);
    }
    for hugepage in &resources.hugepage_limits {
        let limit = |suffix: &str, refusal| Write {
            file: format!("hugetlb.{}.{suffix}limit_in_bytes", hugepage.page_size).into(),
            ..Write::new("hugetlb", "", hugepage.limit).or(refusal)
        };
        writes.push(limit("", Refusal::Fails));
        // Reservations are counted apart since 5.7.
        writes.push(limit("rsvd.", Refusal::AbsentIsFine));
    }
    if let Some(network) = &resources.network {
        plan_network(network, &mut writes);
    }
    writes.extend(
        resources
            .rdma
            .iter()
            .map(|(device, limit)| plan_rdma(device, *limit)),
    );
    Ok(writes)
}

fn plan_memory(memory: &Memory, present_limit: u64, writes: &mut Vec<Write>) -> Result<()> {
    let set = |value: Option<i64>| value.filter(|&bytes| bytes != 0);
    let limit = set(memory.limit);
    let mut swap =
        set(memory.swap).map(|bytes| Write::new("memory", "memory.memsw.limit_in_bytes", bytes));
    if limit == Some(-1) && swap.is_none() {
        // Unlimited memory with a limit of memory and swap would not be unlimited.
        let unlimited = Write::new("memory", "memory.memsw.limit_in_bytes", -1);
        swap = Some(unlimited.or(Refusal::AbsentIsFine));
    }
    let swap_first = match set(memory.swap) {
        Some(bytes) => u64::try_from(bytes).is_ok_and(|bytes| present_limit < bytes) || bytes == -1,
        None => true,
    };
    let limit = limit.map(|bytes| Write::new("memory", "memory.limit_in_bytes", bytes));
    if swap_first {
        writes.extend(swap.into_iter().chain(limit));
    } else {
        writes.extend(limit.into_iter().chain(swap));
    }
    if let Some(bytes) = set(memory.reservation) {
        writes.push(Write::new("memory", "memory.soft_limit_in_bytes", bytes));
    }
    if let Some(bytes) = set(memory.kernel_tcp) {
        writes.push(Write::new(
            "memory",
            "memory.kmem.tcp.limit_in_bytes",
            bytes,
        ));
    }
    if set(memory.kernel).is_some() {
        tracing::warn!("the limit of kernel memory is ignored: no kernel since 5.16 has it");
    }
    if memory.disable_oom_killer == Some(true) {
        writes.push(Write::new("memory", "memory.oom_control", 1));
    }
    // Go callers send what is -1 there for "not set" as the largest number.
    if let Some(swappiness) = memory.swappiness.filter(|&value| value != u64::MAX) {
        if swappiness > 100 {
            bail!(error::invalid(format!(
                "invalid memory swappiness value: {swappiness} (valid range is 0-100)"
            )));
        }
        writes.push(Write::new("memory", "memory.swappiness", swappiness));
    }
    Ok(())
}

fn plan_cpu(cpu: &Cpu, writes: &mut Vec<Write>) -> Result<()> {
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        if shares > SHARES_MAX {
            bail!(error::invalid(format!(
                "the maximum allowed cpu-shares is {SHARES_MAX}"
            )));
        }
        if shares < SHARES_MIN {
            bail!(error::invalid(format!(
                "the minimum allowed cpu-shares is {SHARES_MIN}"
            )));
        }
        writes.push(Write::new("cpu", "cpu.shares", shares));
    }
    let quota = cpu.quota.filter(|&quota| quota != 0);
    // With the old quota a new period or burst may exceed what the parent has; with the new quota it does not.
    let refusal = if quota.is_some() {
        Refusal::Waits
    } else {
        Refusal::Fails
    };
    if let Some(period) = cpu.period.filter(|&period| period != 0) {
        writes.push(Write::new("cpu", "cpu.cfs_period_us", period).or(refusal));
    }
    if let Some(burst) = cpu.burst {
        writes.push(Write::new("cpu", "cpu.cfs_burst_us", burst).or(refusal));
    }
    if let Some(quota) = quota {
        writes.push(Write::new("cpu", "cpu.cfs_quota_us", quota));
    }
    if let Some(idle) = cpu.idle {
        writes.push(Write::new("cpu", "cpu.idle", idle));
    }
    let runtime = cpu.realtime_runtime.filter(|&runtime| runtime != 0);
    if let Some(period) = cpu.realtime_period.filter(|&period| period != 0) {
        let refusal = if runtime.is_some() {
            Refusal::Waits
        } else {
            Refusal::Fails
        };
        writes.push(Write::new("cpu", "cpu.rt_period_us", period).or(refusal));
    }
    if let Some(runtime) = runtime {
        writes.push(Write::new("cpu", "cpu.rt_runtime_us", runtime));
    }
    if !cpu.cpus.is_empty() {
        writes.push(Write::new("cpuset", "cpuset.cpus", &cpu.cpus).instead("cpus", &cpu.cpus));
    }
    if !cpu.mems.is_empty() {
        writes.push(Write::new("cpuset", "cpuset.mems", &cpu.mems).instead("mems", &cpu.mems));
    }
    Ok(())
}

/// v1 and v2 have the same file.
pub(super) fn plan_pids(pids: Pids) -> Option<Write> {
    let value = match pids.limit? {
        // Zero is a limit since runtime-spec 1.3; one task is the least that can start.
        0 => "1".to_owned(),
        limit if limit < 0 => "max".to_owned(),
        limit => limit.to_string(),
    };
    Some(Write::new("pids", "pids.max", value))
}

/// v1 and v2 have the same file.
pub(super) fn plan_rdma(device: &str, limit: Rdma) -> Write {
    let part = |key, number: Option<u32>| {
        number.map_or_else(String::new, |number| format!(" {key}={number}"))
    };
    let handles = part("hca_handle", limit.hca_handles);
    let objects = part("hca_object", limit.hca_objects);
    Write::new("rdma", "rdma.max", format!("{device}{handles}{objects}"))
}

fn plan_block_io(block_io: &BlockIo, writes: &mut Vec<Write>) {
    // BFQ took the place of CFQ in 5.0 and has its own file.
    if let Some(weight) = block_io.weight.filter(|&weight| weight != 0) {
        let write = Write::new("blkio", "blkio.weight", weight);
        writes.push(write.instead("blkio.bfq.weight", weight));
    }
    if let Some(weight) = block_io.leaf_weight.filter(|&weight| weight != 0) {
        writes.push(Write::new("blkio", "blkio.leaf_weight", weight));
    }
    for device in &block_io.weight_device {
        let value = |weight| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = device.weight.filter(|&weight| weight != 0) {
            let write = Write::new("blkio", "blkio.weight_device", value(weight));
            writes.push(write.instead("blkio.bfq.weight_device", value(weight)));
        }
        if let Some(weight) = device.leaf_weight.filter(|&weight| weight != 0) {
            let file = "blkio.leaf_weight_device";
            writes.push(Write::new("blkio", file, value(weight)));
        }
    }
    for (file, devices) in [
        (
            "blkio.throttle.read_bps_device",
            &block_io.throttle_read_bps_device,
        ),
        (
            "blkio.throttle.write_bps_device",
            &block_io.throttle_write_bps_device,
        ),
        (
            "blkio.throttle.read_iops_device",
            &block_io.throttle_read_iops_device,
        ),
        (
            "blkio.throttle.write_iops_device",
            &block_io.throttle_write_iops_device,
        ),
    ] {
        for device in devices {
            let value = format!("{}:{} {}", device.major, device.minor, device.rate);
            writes.push(Write::new("blkio", file, value));
        }
    }
}

fn plan_network(network: &Network, writes: &mut Vec<Write>) {
    if let Some(class) = network.class_id.filter(|&class| class != 0) {
        writes.push(Write::new("net_cls", "net_cls.classid", class));
    }
    for priority in &network.priorities {
        let value = format!("{} {}", priority.name, priority.priority);
        writes.push(Write::new("net_prio", "net_prio.ifpriomap", value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory limit of a new cgroup.
    const UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

    fn check(json: &str, memory_limit: u64, expected: &[(&str, &str)]) {
        let resources: Resources = serde_json::from_str(json).unwrap();
        let writes = plan(&resources, memory_limit).unwrap();
        let found: Vec<(&str, &str)> = writes
            .iter()
            .map(|w| (w.file.as_ref(), w.value.as_str()))
            .collect();
        assert_eq!(found, expected, "{json}");
    }

    #[test]
    fn memory_and_swap_are_written_in_an_order_that_the_kernel_takes() {
        let limit = ("memory.limit_in_bytes", "100");
        let swap = ("memory.memsw.limit_in_bytes", "200");
        let both = r#"{"memory":{"limit":100,"swap":200}}"#;
        check(both, UNLIMITED, &[limit, swap]);
        check(both, 150, &[swap, limit]);
        check(both, 300, &[limit, swap]);
        check(
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            UNLIMITED,
            &[("memory.memsw.limit_in_bytes", "-1"), limit],
        );
        check(
            r#"{"memory":{"limit":-1}}"#,
            100,
            &[
                ("memory.memsw.limit_in_bytes", "-1"),
                ("memory.limit_in_bytes", "-1"),
            ],
        );
        check(r#"{"memory":{"limit":0,"swap":0}}"#, UNLIMITED, &[]);
    }

    #[test]
    fn each_resource_has_its_files() {
        check(
            r#"{"cpu":{"shares":512,"quota":50000,"period":100000,"burst":0,"cpus":"0-1","mems":"0","idle":1}}"#,
            UNLIMITED,
            &[
                ("cpu.shares", "512"),
                ("cpu.cfs_period_us", "100000"),
                ("cpu.cfs_burst_us", "0"),
                ("cpu.cfs_quota_us", "50000"),
                ("cpu.idle", "1"),
                ("cpuset.cpus", "0-1"),
                ("cpuset.mems", "0"),
            ],
        );
        check(r#"{"pids":{"limit":0}}"#, UNLIMITED, &[("pids.max", "1")]);
        check(
            r#"{"pids":{"limit":-1}}"#,
            UNLIMITED,
            &[("pids.max", "max")],
        );
        check(
            r#"{"blockIO":{"weight":500,"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1000}]}}"#,
            UNLIMITED,
            &[
                ("blkio.weight", "500"),
                ("blkio.throttle.read_bps_device", "8:0 1000"),
            ],
        );
        check(
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":7}],"rdma":{"mlx5_0":{"hcaHandles":3}},
                "network":{"classID":1048577,"priorities":[{"name":"lo","priority":5}]}}"#,
            UNLIMITED,
            &[
                ("hugetlb.2MB.limit_in_bytes", "7"),
                ("hugetlb.2MB.rsvd.limit_in_bytes", "7"),
                ("net_cls.classid", "1048577"),
                ("net_prio.ifpriomap", "lo 5"),
                ("rdma.max", "mlx5_0 hca_handle=3"),
            ],
        );
    }

    #[test]
    fn a_period_waits_for_its_quota() {
        let resources: Resources =
            serde_json::from_str(r#"{"cpu":{"quota":50000,"period":100000}}"#).unwrap();
        let writes = plan(&resources, UNLIMITED).unwrap();
        assert_eq!(writes[0].refusal, Refusal::Waits);
        assert_eq!(writes[1].refusal, Refusal::Fails);
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (json, text) in [
            (
                r#"{"memory":{"swappiness":101}}"#,
                "invalid memory swappiness value: 101 (valid range is 0-100)",
            ),
            (
                r#"{"cpu":{"shares":1}}"#,
                "the minimum allowed cpu-shares is 2",
            ),
            (
                r#"{"cpu":{"shares":300000}}"#,
                "the maximum allowed cpu-shares is 262144",
            ),
        ] {
            let resources: Resources = serde_json::from_str(json).unwrap();
            let error = plan(&resources, UNLIMITED).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }
}
