//! The limits of a container in its runtime configuration, and the devices that it may use.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Facts;
use crate::container::Record;
use crate::docker::container::DeviceMapping;
use crate::error;
use crate::oci::runtime::resources::{
    BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, ThrottleDevice, WeightDevice,
};

const CPU_PERIOD_US: i64 = 100_000;

/// Major and minor numbers of devices by their paths.
pub type Numbers = BTreeMap<String, (i64, i64)>;

/// Returns the limits of a container, and which devices it may use.
pub(super) fn resources(record: &Record, facts: &Facts) -> Result<Resources> {
    let host = &record.host_config;
    Ok(Resources {
        devices: device_rules(record, facts)?,
        ..limits(&host.resources, &facts.block_devices)
    })
}

/// Translates limits; what is zero or absent stays absent. `block_devices` has the numbers of the devices that they name.
pub fn limits(asked: &crate::docker::container::Resources, block_devices: &Numbers) -> Resources {
    let some = |value: i64| (value != 0).then_some(value);
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let memory = Memory {
        limit: some(asked.memory),
        reservation: some(asked.memory_reservation),
        swap: some(asked.memory_swap),
        swappiness: asked
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: asked.oom_kill_disable.filter(|disable| *disable),
        ..Memory::default()
    };
    // CPUs are a quota of a period that nobody asked for.
    let (quota, period) = match asked.nano_cpus {
        0 => (some(asked.cpu_quota), positive(asked.cpu_period)),
        nano => (
            Some(nano.saturating_mul(CPU_PERIOD_US) / 1_000_000_000),
            positive(CPU_PERIOD_US),
        ),
    };
    let cpu = Cpu {
        shares: positive(asked.cpu_shares),
        quota,
        period,
        realtime_runtime: some(asked.cpu_realtime_runtime),
        realtime_period: positive(asked.cpu_realtime_period),
        cpus: asked.cpuset_cpus.clone(),
        mems: asked.cpuset_mems.clone(),
        ..Cpu::default()
    };
    Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        pids: asked
            .pids_limit
            .filter(|limit| *limit != 0)
            .map(|limit| Pids {
                limit: Some(limit.max(-1)),
            }),
        block_io: block_io(asked, block_devices),
        ..Resources::default()
    }
}

fn block_io(
    asked: &crate::docker::container::Resources,
    block_devices: &Numbers,
) -> Option<BlockIo> {
    let number = |path: &String| block_devices.get(path).copied();
    let throttle = |devices: &[crate::docker::container::ThrottleDevice]| -> Vec<ThrottleDevice> {
        let device = |device: &crate::docker::container::ThrottleDevice| {
            number(&device.path).map(|(major, minor)| ThrottleDevice {
                major,
                minor,
                rate: device.rate,
            })
        };
        devices.iter().filter_map(device).collect()
    };
    let block_io = BlockIo {
        weight: (asked.blkio_weight > 0).then_some(asked.blkio_weight),
        weight_device: asked
            .blkio_weight_device
            .iter()
            .filter_map(|device| {
                let (major, minor) = number(&device.path)?;
                Some(WeightDevice {
                    major,
                    minor,
                    weight: Some(device.weight),
                    leaf_weight: None,
                })
            })
            .collect(),
        throttle_read_bps_device: throttle(&asked.blkio_device_read_bps),
        throttle_write_bps_device: throttle(&asked.blkio_device_write_bps),
        throttle_read_iops_device: throttle(&asked.blkio_device_read_iops),
        throttle_write_iops_device: throttle(&asked.blkio_device_write_iops),
        ..BlockIo::default()
    };
    (block_io != BlockIo::default()).then_some(block_io)
}

fn device_rules(record: &Record, facts: &Facts) -> Result<Vec<DeviceRule>> {
    let all = |allow| DeviceRule {
        allow,
        access: "rwm".to_owned(),
        ..DeviceRule::default()
    };
    if record.host_config.privileged {
        return Ok(vec![all(true)]);
    }
    let mut rules = vec![all(false)];
    rules.extend(DeviceRule::usual());
    for device in &facts.devices {
        rules.push(DeviceRule::allow(
            &device.node.kind,
            Some(device.node.major),
            Some(device.node.minor),
            &device.access,
        ));
    }
    for text in record
        .host_config
        .resources
        .device_cgroup_rules
        .iter()
        .flatten()
    {
        rules.push(parse_device_rule(text)?);
    }
    Ok(rules)
}

/// Reads `c 1:3 rwm`, with `*` for any number; the error is of kind `Invalid`.
pub fn parse_device_rule(text: &str) -> Result<DeviceRule> {
    let refuse = || error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = parts[..] else {
        return Err(refuse());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(refuse)?;
    let number = |text: &str| -> Result<Option<i64>> {
        if text == "*" {
            Ok(None)
        } else {
            text.parse::<u32>()
                .map(|n| Some(i64::from(n)))
                .map_err(|_| refuse())
        }
    };
    if access.is_empty() || !access.bytes().all(|b| b"rwm".contains(&b)) {
        return Err(refuse());
    }
    Ok(DeviceRule::allow(
        kind,
        number(major)?,
        number(minor)?,
        access,
    ))
}

/// Completes a `--device` text's fields, which documents show filled in.
pub fn complete_device(device: &mut DeviceMapping) {
    if device.path_in_container.is_empty() {
        device.path_in_container.clone_from(&device.path_on_host);
    }
    if device.cgroup_permissions.is_empty() {
        "rwm".clone_into(&mut device.cgroup_permissions);
    }
}
