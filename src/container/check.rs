//! What a request to create a container may not ask for, and what it gets where it leaves things open.
//!
//! Pure. The texts are docker's, since scripts match them. All errors are of kind `Invalid`.

use anyhow::Result;

use super::{logs, merge, mounts, security, signal, spec};
use crate::docker::container::{Config, HostConfig, Resources, RestartPolicy};
use crate::error;

const MEMORY_MIN_BYTES: i64 = 6 << 20;
const SHM_DEFAULT_BYTES: i64 = 64 << 20;
const SHARES_MIN: i64 = 2;
const SHARES_MAX: i64 = 262_144;
/// Names under which this engine's own runtime may be asked for.
pub const RUNTIMES: [&str; 3] = ["aril", "io.containerd.runc.v2", "runc"];

/// What limits can be asked for on this machine.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Number of CPUs.
    pub cpus: u32,
    /// CPUs that can be given, `0-3`.
    pub cpuset_cpus: String,
    /// Memory nodes that can be given, `0`.
    pub cpuset_mems: String,
}

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(error::invalid(text))
}

/// Checks a request whose configuration is already merged with the image's, and fills in what it leaves open.
pub fn complete(config: &mut Config, host: &mut HostConfig, machine: &Machine) -> Result<()> {
    check_config(config)?;
    check_modes(config, host)?;
    check_restart(host)?;
    for target in host.tmpfs.keys() {
        mounts::check_target(target)?;
    }
    if host.annotations.contains_key("") {
        return refuse(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        );
    }
    limits(&mut host.resources, machine)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let range = "range for oom score adj is [-1000, 1000]";
        return refuse(format!("Invalid value {}, {range}", host.oom_score_adj));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    for (option, list) in [
        ("CapAdd", &mut host.cap_add),
        ("CapDrop", &mut host.cap_drop),
    ] {
        for name in list.iter_mut().flatten() {
            *name = security::normalize_capability(option, name)?;
        }
    }
    check_unsupported(host)?;
    security::parse_options(host)?;
    logs::options::Driver::check(&host.log_config)?;
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        spec::resources::parse_device_rule(rule)?;
    }
    // What is empty is as good as not given.
    config.volumes = config.volumes.take().filter(|volumes| !volumes.is_empty());
    fill(host);
    Ok(())
}

/// Refuses what this engine has not, with docker's texts for engines that have it not either.
fn check_unsupported(host: &HostConfig) -> Result<()> {
    if let Some(request) = host.resources.device_requests.iter().flatten().next() {
        let driver = request["Driver"].as_str().unwrap_or_default();
        let sets = request["Capabilities"].as_array().into_iter().flatten();
        let sets = sets.map(|set| {
            let words = set.as_array().into_iter().flatten();
            let words: Vec<&str> = words.filter_map(serde_json::Value::as_str).collect();
            format!("[{}]", words.join(" "))
        });
        let capabilities = sets.collect::<Vec<_>>().join(" ");
        let why = format!(
            "could not select device driver \"{driver}\" with capabilities: [{capabilities}]"
        );
        let hint = "give the devices themselves: --device /dev/dri, --device /dev/nvidia0";
        return Err(error::with_hint(error::invalid(why), hint));
    }
    if let Some(unknown) = host.storage_opt.keys().find(|key| *key != "size") {
        return refuse(format!("Unknown option {unknown}"));
    }
    if !host.runtime.is_empty() && !RUNTIMES.contains(&host.runtime.as_str()) {
        let runtime = &host.runtime;
        return refuse(format!("unknown or invalid runtime name: {runtime}"));
    }
    if !matches!(host.isolation.to_lowercase().as_str(), "" | "default") {
        let isolation = &host.isolation;
        return refuse(format!(
            "invalid isolation ({isolation}): linux only supports 'default'"
        ));
    }
    Ok(())
}

fn check_config(config: &mut Config) -> Result<()> {
    if !config.stop_signal.is_empty() {
        signal::parse(&config.stop_signal)?;
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let why = "is invalid, it needs to be an absolute path";
        return refuse(format!(
            "the working directory '{}' {why}",
            config.working_dir
        ));
    }
    for variable in config.env.iter().flatten() {
        if merge::name_of(variable).is_empty() {
            return refuse(format!("invalid environment variable: {variable}"));
        }
    }
    if config.working_dir.starts_with('/') {
        config.working_dir = mounts::clean(&config.working_dir);
    }
    if let Some(check) = &config.healthcheck {
        for (name, value) in [
            ("Interval", check.interval),
            ("Timeout", check.timeout),
            ("StartPeriod", check.start_period),
            ("StartInterval", check.start_interval),
        ] {
            if value != 0 && value < 1_000_000 {
                return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
            }
        }
        if check.retries < 0 {
            return refuse("Retries in Healthcheck cannot be negative");
        }
    }
    Ok(())
}

fn check_modes(config: &Config, host: &HostConfig) -> Result<()> {
    let conflict = |what: &str| refuse(format!("conflicting options: {what}"));
    let network = host.network_mode.as_str();
    let joins = network.starts_with("container:");
    if joins && !config.hostname.is_empty() {
        return conflict("hostname and the network mode");
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return conflict("hostname and the UTS mode");
    }
    let has_links = host.links.as_ref().is_some_and(|links| !links.is_empty());
    if network == "host" && has_links {
        return conflict(
            "host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    if joins {
        for (present, what) in [
            (
                has_links,
                "container type network can't be used with links. This would result in undefined behavior",
            ),
            (!host.dns.is_empty(), "dns and the network mode"),
            (
                host.extra_hosts
                    .as_ref()
                    .is_some_and(|hosts| !hosts.is_empty()),
                "custom host-to-IP mapping and the network mode",
            ),
            (
                host.publish_all_ports || !host.port_bindings.is_empty(),
                "port publishing and the container type network mode",
            ),
            (
                config
                    .exposed_ports
                    .as_ref()
                    .is_some_and(|ports| !ports.is_empty()),
                "port exposing and the container type network mode",
            ),
        ] {
            if present {
                return conflict(what);
            }
        }
    }
    for (name, mode, known) in [
        ("PID", &host.pid_mode, &["", "host"][..]),
        (
            "IPC",
            &host.ipc_mode,
            &["", "host", "none", "private", "shareable"],
        ),
        ("UTS", &host.uts_mode, &["", "host"]),
        ("USER", &host.userns_mode, &["", "host"]),
        ("CGROUP", &host.cgroupns_mode, &["", "host", "private"]),
    ] {
        let shares =
            matches!(name, "PID" | "IPC") && mode.starts_with("container:") && mode.len() > 10;
        if !shares && !known.contains(&mode.as_str()) {
            return refuse(format!("invalid {name} mode: {mode}"));
        }
    }
    Ok(())
}

fn check_restart(host: &HostConfig) -> Result<()> {
    restart_policy(&host.restart_policy)?;
    if host.auto_remove && !["", "no"].contains(&host.restart_policy.name.as_str()) {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    Ok(())
}

/// Checks what is to happen when a container ends; an empty name is as good as `no`.
pub fn restart_policy(policy: &RestartPolicy) -> Result<()> {
    let name = policy.name.as_str();
    if !["", "no", "always", "unless-stopped", "on-failure"].contains(&name) {
        return refuse(format!(
            "invalid restart policy: unknown policy '{name}'; \
             use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ));
    }
    if policy.maximum_retry_count > 0 && name != "on-failure" {
        return refuse(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        );
    }
    if policy.maximum_retry_count < 0 {
        return refuse("invalid restart policy: maximum retry count cannot be negative");
    }
    Ok(())
}

/// Checks limits, and fills in those that follow from others.
pub fn limits(asked: &mut Resources, machine: &Machine) -> Result<()> {
    if asked.memory == 0 && asked.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    limits_of_update(asked, machine)?;
    if asked.memory > 0 && asked.memory_swap == 0 {
        asked.memory_swap = asked.memory.saturating_mul(2);
    }
    Ok(())
}

/// Checks limits for a container that has others already: what is zero is left to those.
pub fn limits_of_update(asked: &mut Resources, machine: &Machine) -> Result<()> {
    memory_limits(asked)?;
    cpu_limits(asked, machine)?;
    if asked.blkio_weight > 0 && !(10..=1000).contains(&asked.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    for device in &mut asked.devices {
        spec::resources::complete_device(device);
    }
    Ok(())
}

fn memory_limits(asked: &mut Resources) -> Result<()> {
    let (memory, swap, reservation) = (asked.memory, asked.memory_swap, asked.memory_reservation);
    if memory > 0 && memory < MEMORY_MIN_BYTES {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if let Some(swappiness) = asked.memory_swappiness {
        if !(-1..=100).contains(&swappiness) {
            let range = "valid memory swappiness range is 0-100";
            return refuse(format!("Invalid value: {swappiness}, {range}"));
        }
        asked.memory_swappiness = Some(swappiness).filter(|value| *value >= 0);
    }
    if reservation > 0 && reservation < MEMORY_MIN_BYTES {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        let why = "Minimum memory limit can not be less than memory reservation limit, see usage";
        return refuse(why);
    }
    Ok(())
}

fn cpu_limits(asked: &mut Resources, machine: &Machine) -> Result<()> {
    if asked.nano_cpus > 0 {
        for (value, name) in [
            (asked.cpu_period, "CPU Period"),
            (asked.cpu_quota, "CPU Quota"),
        ] {
            if value > 0 {
                return refuse(format!(
                    "Conflicting options: Nano CPUs and {name} cannot both be set"
                ));
            }
        }
    }
    if asked.nano_cpus < 0 || asked.nano_cpus > i64::from(machine.cpus) * 1_000_000_000 {
        let cpus = machine.cpus;
        let why = format!("as there are only {cpus} CPUs available");
        return refuse(format!("range of CPUs is from 0.01 to {cpus}.00, {why}"));
    }
    if asked.cpu_period != 0 && !(1_000..=1_000_000).contains(&asked.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if asked.cpu_quota > 0 && asked.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if asked.cpu_shares < 0 {
        let shares = asked.cpu_shares;
        return refuse(format!(
            "invalid CPU shares ({shares}): value must be a positive integer"
        ));
    }
    if asked.cpu_shares != 0 {
        asked.cpu_shares = asked.cpu_shares.clamp(SHARES_MIN, SHARES_MAX);
    }
    for (name, what, wanted, available) in [
        ("CPUs", "cpus", &asked.cpuset_cpus, &machine.cpuset_cpus),
        (
            "memory nodes",
            "mems",
            &asked.cpuset_mems,
            &machine.cpuset_mems,
        ),
    ] {
        let Some(list) = parse_list(wanted) else {
            return refuse(format!(
                "Invalid value {wanted} for cpuset {what}: invalid format: {wanted}"
            ));
        };
        let there = parse_list(available).unwrap_or_default();
        let contains = |number: u32| {
            there
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&number))
        };
        if list
            .iter()
            .any(|(first, last)| !contains(*first) || !contains(*last))
        {
            return refuse(format!(
                "Requested {name} are not available - requested {wanted}, available: {available}"
            ));
        }
    }
    Ok(())
}

/// Reads `0-3,7` as ranges; nothing if it is malformed.
pub fn parse_list(text: &str) -> Option<Vec<(u32, u32)>> {
    let parts = text.split(',').filter(|_| !text.is_empty());
    parts
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (range.0 <= range.1).then_some(range)
        })
        .collect()
}

/// Fills in what documents always show.
fn fill(host: &mut HostConfig) {
    let or = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    or(&mut host.ipc_mode, "private");
    or(&mut host.cgroupns_mode, "private");
    or(&mut host.log_config.kind, "json-file");
    or(&mut host.restart_policy.name, "no");
    or(&mut host.runtime, "aril");
    if host.shm_size == 0 {
        host.shm_size = SHM_DEFAULT_BYTES;
    }
    // A privileged container is not confined by labels.
    if host.privileged {
        let options = host.security_opt.get_or_insert_default();
        if !options.iter().any(|option| option.starts_with("label")) {
            options.push("label=disable".to_owned());
        }
    }
    host.resources.oom_kill_disable.get_or_insert(false);
    // Zero and below mean no limit, which is what there is without one.
    host.resources.pids_limit = host.resources.pids_limit.filter(|limit| *limit > 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            cpus: 2,
            cpuset_cpus: "0-1".into(),
            cpuset_mems: "0".into(),
        }
    }

    fn check(change: impl FnOnce(&mut Config, &mut HostConfig), expected: Option<&str>) {
        let (mut config, mut host) = (Config::default(), HostConfig::default());
        change(&mut config, &mut host);
        let result = complete(&mut config, &mut host, &machine());
        assert_eq!(
            result
                .as_ref()
                .map_err(ToString::to_string)
                .err()
                .as_deref(),
            expected
        );
    }

    #[test]
    fn limits_have_dockers_bounds() {
        check(
            |_, host| host.resources.memory = 4 << 20,
            Some("Minimum memory limit allowed is 6MB"),
        );
        check(|_, host| host.resources.memory = 6 << 20, None);
        check(
            |_, host| host.resources.cpuset_cpus = "99".into(),
            Some("Requested CPUs are not available - requested 99, available: 0-1"),
        );
        check(|_, host| host.resources.cpuset_cpus = "0,1".into(), None);
        check(
            |_, host| host.resources.cpuset_cpus = "1-0".into(),
            Some("Invalid value 1-0 for cpuset cpus: invalid format: 1-0"),
        );
        check(
            |_, host| host.resources.nano_cpus = 3_000_000_000,
            Some("range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        );
        check(
            |_, host| host.resources.memory_swap = 1 << 30,
            Some("You should always set the Memory limit when using Memoryswap limit, see usage"),
        );
        check(
            |_, host| host.resources.cpu_period = 10,
            Some(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ),
        );
    }

    #[test]
    fn combinations_that_make_no_sense_are_refused() {
        check(
            |config, _| config.working_dir = "rel".into(),
            Some("the working directory 'rel' is invalid, it needs to be an absolute path"),
        );
        check(
            |config, _| config.env = Some(vec!["=x".into()]),
            Some("invalid environment variable: =x"),
        );
        check(
            |config, host| {
                host.network_mode = "container:x".into();
                config.hostname = "h".into();
            },
            Some("conflicting options: hostname and the network mode"),
        );
        check(
            |_, host| {
                host.auto_remove = true;
                host.restart_policy = RestartPolicy {
                    name: "always".into(),
                    maximum_retry_count: 0,
                };
            },
            Some("can't create 'AutoRemove' container with restart policy"),
        );
        check(
            |_, host| host.pid_mode = "wat".into(),
            Some("invalid PID mode: wat"),
        );
        check(|_, host| host.pid_mode = "container:x".into(), None);
    }

    #[test]
    fn what_is_left_open_is_filled_in() {
        let (mut config, mut host) = (Config::default(), HostConfig::default());
        host.resources.memory = 64 << 20;
        host.cap_add = Some(vec!["net_admin".into()]);
        host.privileged = true;
        host.security_opt = Some(vec!["no-new-privileges".into()]);
        complete(&mut config, &mut host, &machine()).unwrap();
        assert_eq!(host.resources.memory_swap, 128 << 20);
        assert_eq!(host.cap_add.unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(
            host.security_opt.unwrap(),
            ["no-new-privileges", "label=disable"]
        );
        assert_eq!(
            (host.shm_size, host.ipc_mode.as_str()),
            (64 << 20, "private")
        );
    }
}
