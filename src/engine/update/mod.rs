//! `update`: other limits, published ports and another restart policy for a container, at once if it runs; variables and
//! mounts for its next start.
//!
//! What the kernel can refuse is done before anything is written down, so that a refused update has changed nothing. A crash
//! between the two leaves the record as it was, and a monitor that has more or fewer ports until the container ends.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Engine, lifecycle, machine, volumes};
use crate::cgroup::{self, systemd};
use crate::container::{Container, Record, Status, check, merge, spec};
use crate::docker::container::{ContainerUpdate, HostConfig, Resources};
use crate::monitor::control::Request;
use crate::monitor::{place, removal};
use crate::{error, event};

mod mounts;
mod ports;

/// What became of an update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Whether something of it waits for the next start of a container that runs.
    pub waits: bool,
}

/// Changes a container; what `asked` leaves zero or empty stays as it is.
///
/// Errors: `Invalid` for whatever is wrong with the limits, `Conflict` for those that the container's others exclude. Then
/// nothing is changed.
pub fn update(engine: &Engine, container: &Container, asked: &ContainerUpdate) -> Result<Updated> {
    let id = &container.record.id;
    let mut resources = asked.resources.clone();
    let discarded = machine::discard_weights(&mut resources)?;
    check::limits_of_update(&mut resources, &machine::limits())?;
    check::restart_policy(&asked.restart_policy)?;
    let refused = || format!("Cannot update container {id}");
    let prepared = mounts::prepare(engine, container, &asked.mount_add).with_context(refused)?;
    let updated = engine.containers.update(id, |record| {
        let mut next = record.clone();
        next.host_config = merged(&record.host_config, asked, &resources).with_context(refused)?;
        let mut warnings = ports::change(&mut next, asked).with_context(refused)?;
        warnings.extend(change_env(&mut next.config.env, asked));
        warnings.extend(mounts::change(&mut next, asked, &prepared).with_context(refused)?);
        let status = engine.containers.status(id)?;
        if status.phase.has_processes() {
            put_in_force(engine, record, &next, (&status, &resources)).with_context(refused)?;
        }
        warnings.extend(discarded);
        let waits = status.phase.needs_monitor()
            && (next.config.env != record.config.env || next.mounts != record.mounts);
        *record = next;
        Ok((Updated { warnings, waits }, removal::attributes(record)))
    });
    let (updated, attributes) =
        updated.inspect_err(|_| volumes::take_back(engine, &prepared.volumes))?;
    volumes::report_made(engine, &prepared.volumes);
    event::record(&engine.dirs, "container", "update", id, attributes);
    Ok(updated)
}

/// Changes variables; returns what the user should know.
fn change_env(variables: &mut Option<Vec<String>>, asked: &ContainerUpdate) -> Vec<String> {
    if asked.env_add.is_empty() && asked.env_rm.is_empty() {
        return Vec::new();
    }
    let env = variables.get_or_insert_default();
    let mut warnings = Vec::new();
    for name in &asked.env_rm {
        let before = env.len();
        env.retain(|variable| merge::name_of(variable) != name);
        if env.len() == before {
            warnings.push(format!("variable {name} is not set"));
        }
    }
    merge::replace_env(env, &asked.env_add);
    warnings
}

/// Gives a running container its ports and limits; on an error it has those that it had.
fn put_in_force(
    engine: &Engine,
    now: &Record,
    next: &Record,
    (status, resources): (&Status, &Resources),
) -> Result<()> {
    let publish = |record: &Record| {
        let id = &record.id;
        let ports = record.host_config.port_bindings.clone();
        let monitor = lifecycle::monitor(engine, &engine.containers.get(id)?)?;
        monitor.request(&Request::Publish { ports })
    };
    let other_ports = next.host_config.port_bindings != now.host_config.port_bindings;
    if other_ports {
        publish(next)?;
    }
    let limited = apply(now, &status.cgroup, resources);
    if other_ports
        && limited.is_err()
        && let Err(error) = publish(now)
    {
        tracing::warn!("publish the ports again that were there: {error:#}");
    }
    limited
}

/// Returns the host's part of the configuration with what is asked for.
fn merged(now: &HostConfig, asked: &ContainerUpdate, new: &Resources) -> Result<HostConfig> {
    let old = &now.resources;
    let conflict = |why: &str| Err(error::conflict(format!("Conflicting options: {why}")));
    for (set, cpus, name) in [
        (new.cpu_period > 0, old.nano_cpus > 0, "CPU Period"),
        (new.cpu_quota > 0, old.nano_cpus > 0, "CPU Quota"),
    ] {
        if set && cpus {
            return conflict(&format!(
                "{name} cannot be updated as NanoCPUs has already been set"
            ));
        }
    }
    for (other, name) in [(old.cpu_period, "CPU Period"), (old.cpu_quota, "CPU Quota")] {
        if new.nano_cpus > 0 && other > 0 {
            return conflict(&format!(
                "Nano CPUs cannot be updated as {name} has already been set"
            ));
        }
    }
    // Numbers alone, as with docker: neither no limit nor one without bounds is larger than any memory.
    if new.memory > 0 && new.memory_swap == 0 && new.memory > old.memory_swap {
        let why = "Memory limit should be smaller than already set memoryswap limit, \
                   update the memoryswap at the same time";
        return Err(error::invalid(why));
    }
    let policy = &asked.restart_policy;
    if now.auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        let why =
            "Restart policy cannot be updated because AutoRemove is enabled for the container";
        return Err(error::invalid(why));
    }
    let mut host = now.clone();
    if !policy.name.is_empty() {
        host.restart_policy = policy.clone();
    }
    let to = &mut host.resources;
    for (value, new) in [
        (&mut to.cpu_shares, new.cpu_shares),
        (&mut to.memory, new.memory),
        (&mut to.memory_swap, new.memory_swap),
        (&mut to.memory_reservation, new.memory_reservation),
        (&mut to.nano_cpus, new.nano_cpus),
        (&mut to.cpu_period, new.cpu_period),
        (&mut to.cpu_quota, new.cpu_quota),
        (&mut to.cpu_realtime_period, new.cpu_realtime_period),
        (&mut to.cpu_realtime_runtime, new.cpu_realtime_runtime),
    ] {
        if new != 0 {
            *value = new;
        }
    }
    for (value, new) in [
        (&mut to.cpuset_cpus, &new.cpuset_cpus),
        (&mut to.cpuset_mems, &new.cpuset_mems),
    ] {
        if !new.is_empty() {
            new.clone_into(value);
        }
    }
    if new.blkio_weight != 0 {
        to.blkio_weight = new.blkio_weight;
    }
    if new.pids_limit.is_some() {
        // No limit is written as none, as docker does.
        to.pids_limit = new.pids_limit.map(|limit| limit.max(0));
    }
    Ok(host)
}

/// Changes the limits of the cgroup of a container that runs. What its record has is looked at for a limit that the kernel takes
/// only together with another.
fn apply(now: &Record, path: &str, new: &Resources) -> Result<()> {
    let old = &now.host_config.resources;
    let mut wanted = spec::resources::limits(new, &spec::resources::Numbers::new());
    // v1 writes memory and swap in an order that depends on both, and v2 takes the swap without the memory.
    if let Some(memory) = &mut wanted.memory {
        let some = |value: i64| Some(value).filter(|value| *value != 0);
        if memory.swap.is_some() {
            memory.limit = memory.limit.or(some(old.memory));
        } else if memory.limit.is_some() {
            memory.swap = some(old.memory_swap);
        }
    }
    let host = cgroup::layout::detect()?;
    if let Some(unit) = place::unit(now)? {
        systemd::update(host, &unit, &wanted)?;
    }
    cgroup::open(host, Path::new(path))?.update(host, &wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::container::RestartPolicy;

    #[test]
    fn variables_are_replaced_added_and_removed() {
        let mut env = Some(vec!["A=1".into(), "B=2".into(), "PATH=/bin".into()]);
        let asked = ContainerUpdate {
            env_add: vec!["A=3".into(), "C=4".into()],
            env_rm: vec!["B".into(), "X".into()],
            ..ContainerUpdate::default()
        };
        let warnings = change_env(&mut env, &asked);
        assert_eq!(env.unwrap(), ["A=3", "PATH=/bin", "C=4"]);
        assert_eq!(warnings, ["variable X is not set"]);
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let now = HostConfig {
            resources: Resources {
                memory: 64 << 20,
                memory_swap: 128 << 20,
                cpuset_cpus: "0".into(),
                ..Resources::default()
            },
            ..HostConfig::default()
        };
        let new = Resources {
            memory: 100 << 20,
            pids_limit: Some(-1),
            ..Resources::default()
        };
        let host = merged(&now, &ContainerUpdate::default(), &new).unwrap();
        assert_eq!(host.resources.memory, 100 << 20);
        assert_eq!(host.resources.memory_swap, 128 << 20);
        assert_eq!(host.resources.cpuset_cpus, "0");
        assert_eq!(host.resources.pids_limit, Some(0));
        assert_eq!(host.restart_policy, now.restart_policy);
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        let check = |now: &HostConfig, asked: &ContainerUpdate, want: &str| {
            let refused = merged(now, asked, &asked.resources).unwrap_err();
            assert_eq!(refused.to_string(), want);
        };
        let with = |resources: Resources| ContainerUpdate {
            resources,
            ..ContainerUpdate::default()
        };
        let now = HostConfig {
            auto_remove: true,
            resources: Resources {
                nano_cpus: 1,
                memory: 1,
                memory_swap: 2,
                ..Resources::default()
            },
            ..HostConfig::default()
        };
        check(
            &now,
            &with(Resources {
                cpu_quota: 5000,
                ..Resources::default()
            }),
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        );
        check(
            &now,
            &with(Resources {
                memory: 3,
                ..Resources::default()
            }),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
        for memory_swap in [0, -1] {
            let mut unbounded = now.clone();
            unbounded.resources.memory_swap = memory_swap;
            let more = |memory_swap| {
                with(Resources {
                    memory: 3,
                    memory_swap,
                    ..Resources::default()
                })
            };
            check(
                &unbounded,
                &more(0),
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            );
            for swap in [4, -1] {
                let asked = more(swap);
                let host = merged(&unbounded, &asked, &asked.resources).unwrap();
                assert_eq!(host.resources.memory_swap, swap);
            }
        }
        let policy = ContainerUpdate {
            restart_policy: RestartPolicy {
                name: "always".into(),
                maximum_retry_count: 0,
            },
            ..ContainerUpdate::default()
        };
        check(
            &now,
            &policy,
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        );
    }
}
