//! Options of limits: CPU, memory, processes and `--ulimit`; `update` has some of them too.

use anyhow::Result;

use crate::cli::values;
use crate::docker::container::{Resources, Ulimit};
use crate::error;

/// Limits that a running container can get too.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFlags {
    /// Share of block device time against other containers, 10 to 1000, 0 for none
    #[arg(long, value_name = "uint16", value_parser = values::uint16, default_value = "0", hide_default_value = true)]
    pub blkio_weight: u16,
    /// Microseconds of the period that --cpu-quota counts in
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_period: i64,
    /// Microseconds of CPU time per period
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_quota: i64,
    /// Microseconds of the real-time period (cgroup v1)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_rt_period: i64,
    /// Microseconds of real-time CPU time per period (cgroup v1)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_rt_runtime: i64,
    /// Share of CPU time against other containers; 1024 is usual
    #[arg(short, long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_shares: i64,
    /// Number of CPUs, which can be a fraction
    #[arg(long, value_name = "decimal", value_parser = values::cpus, default_value = "0", hide_default_value = true)]
    pub cpus: i64,
    /// CPUs that may be used (0-3, 0,1)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub cpuset_cpus: String,
    /// Memory nodes that may be used (0-3, 0,1)
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub cpuset_mems: String,
    /// Most memory of the kernel; no kernel has had it since 5.11
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub kernel_memory: i64,
    /// Most memory; units are b, k, m, g
    #[arg(short, long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub memory: i64,
    /// Memory that is left when memory is scarce
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub memory_reservation: i64,
    /// Most memory and swap together; -1 for any amount of swap
    #[arg(long, value_name = "bytes", value_parser = values::bytes_or_unlimited, default_value = "0", hide_default_value = true)]
    pub memory_swap: i64,
    /// Most processes and threads; -1 for any number
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub pids_limit: i64,
}

/// Limits that only a new container can get.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceFlags {
    /// Limits that `update` has too.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// Put the container's cgroup below this one
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub cgroup_parent: String,
    /// Number of CPUs (Windows)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_count: i64,
    /// Percentage of the CPUs (Windows)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "0", hide_default_value = true)]
    pub cpu_percent: i64,
    /// Most bytes per second of the system drive (Windows)
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub io_maxbandwidth: i64,
    /// Most operations per second of the system drive (Windows)
    #[arg(long, value_name = "uint", value_parser = values::uint64, default_value = "0", hide_default_value = true)]
    pub io_maxiops: u64,
    /// How readily memory is swapped, 0 to 100 (cgroup v1)
    #[arg(long, value_name = "int", value_parser = values::int, default_value = "-1")]
    pub memory_swappiness: i64,
    /// Let processes wait for memory instead of killing one (cgroup v1)
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// How readily processes are killed for memory, -1000 to 1000
    #[arg(long, value_name = "int", value_parser = values::int32, default_value = "0", hide_default_value = true)]
    pub oom_score_adj: i32,
    /// Size of /dev/shm; 64m if not given
    #[arg(long, value_name = "bytes", value_parser = values::bytes, default_value = "0", hide_default_value = true)]
    pub shm_size: i64,
    /// Limit of a resource of each process (NAME=SOFT[:HARD])
    #[arg(long, value_name = "ulimit", value_parser = ulimit)]
    pub ulimit: Vec<Ulimit>,
}

/// Returns the limits as the API has them, without the fields of devices.
///
/// What is not given is zero, as docker's client sends it: -1 for `MemorySwappiness`, false for `OomKillDisable`, 0 for
/// `PidsLimit`. Errors are of kind `Invalid`.
pub fn resources(flags: &ResourceFlags) -> Result<Resources> {
    let swappiness = flags.memory_swappiness;
    if !(-1..=100).contains(&swappiness) {
        return Err(error::invalid(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        )));
    }
    let mut ulimits: Vec<Ulimit> = Vec::new();
    for ulimit in &flags.ulimit {
        // The last one of a name counts.
        ulimits.retain(|other| other.name != ulimit.name);
        ulimits.push(ulimit.clone());
    }
    ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Resources {
        cgroup_parent: flags.cgroup_parent.clone(),
        memory_swappiness: Some(swappiness),
        oom_kill_disable: Some(flags.oom_kill_disable),
        cpu_count: flags.cpu_count,
        cpu_percent: flags.cpu_percent,
        io_maximum_iops: flags.io_maxiops,
        io_maximum_bandwidth: u64::try_from(flags.io_maxbandwidth)?,
        ulimits,
        pids_limit: Some(flags.limits.pids_limit),
        ..limits(&flags.limits)
    })
}

/// Returns what to tell somebody who asks for limits that have no effect.
pub fn warnings(flags: &LimitFlags) -> Vec<String> {
    let why = "Specifying a kernel memory limit has no effect: no kernel has it since 5.11";
    let asked = (flags.kernel_memory > 0).then(|| why.to_owned());
    asked.into_iter().collect()
}

/// Returns the limits of `update`; what is zero is not changed.
pub fn limits(flags: &LimitFlags) -> Resources {
    Resources {
        blkio_weight: flags.blkio_weight,
        cpu_period: flags.cpu_period,
        cpu_quota: flags.cpu_quota,
        cpu_realtime_period: flags.cpu_rt_period,
        cpu_realtime_runtime: flags.cpu_rt_runtime,
        cpu_shares: flags.cpu_shares,
        nano_cpus: flags.cpus,
        cpuset_cpus: flags.cpuset_cpus.clone(),
        cpuset_mems: flags.cpuset_mems.clone(),
        memory: flags.memory,
        memory_reservation: flags.memory_reservation,
        memory_swap: flags.memory_swap,
        pids_limit: Some(flags.pids_limit).filter(|limit| *limit != 0),
        ..Resources::default()
    }
}

/// Reads an argument of `--ulimit`: `nofile=1024`, `nofile=1024:2048`, `core=-1`.
pub fn ulimit(text: &str) -> Result<Ulimit> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let refuse = |why: String| Err(error::invalid(why));
    let Some((name, limits)) = text.split_once('=') else {
        return refuse(format!("invalid ulimit argument: {text}"));
    };
    if !NAMES.contains(&name) {
        return refuse(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let quoted = crate::cli::strconv::quote::quote(text);
        let why = if decimal {
            "value out of range"
        } else {
            "invalid syntax"
        };
        let parsed = text.parse::<i64>().ok().filter(|_| decimal);
        parsed.ok_or_else(|| error::invalid(format!("strconv.ParseInt: parsing {quoted}: {why}")))
    };
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match parts.as_slice() {
        [soft] => {
            let soft = number(soft)?;
            (soft, soft)
        }
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            let most = "can only have up to two, `soft[:hard]`";
            return refuse(format!("too many limit value arguments - {limits}, {most}"));
        }
    };
    let order = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        return refuse(format!("{order}: soft: -1 (unlimited), hard: {hard}"));
    }
    if hard != -1 && soft > hard {
        return refuse(format!("{order}: {soft} > {hard}"));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        hard,
        soft,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        for (text, soft, hard) in [
            ("nofile=512:1024", 512, 1024),
            ("nofile=10", 10, 10),
            ("core=-1", -1, -1),
            ("core=5:-1", 5, -1),
            ("nproc=0", 0, 0),
        ] {
            let got = ulimit(text).unwrap();
            assert_eq!((got.soft, got.hard), (soft, hard), "{text}");
        }
        for (text, want) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("nosuch=1", "invalid ulimit type: nosuch"),
            (
                "nofile=x",
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
            ("nofile=", "strconv.ParseInt: parsing \"\": invalid syntax"),
            (
                "nofile=0x1",
                "strconv.ParseInt: parsing \"0x1\": invalid syntax",
            ),
            (
                "nofile=99999999999999999999",
                "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
            (
                "nofile=10:5",
                "ulimit soft limit must be less than or equal to hard limit: 10 > 5",
            ),
            (
                "nofile=-1:5",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(ulimit(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn zeros_are_sent_as_docker_sends_them() {
        let flags = ResourceFlags {
            memory_swappiness: -1,
            ulimit: ["nproc=1", "nofile=2", "nproc=3"]
                .map(|text| ulimit(text).unwrap())
                .to_vec(),
            ..ResourceFlags::default()
        };
        let got = resources(&flags).unwrap();
        assert_eq!(got.memory_swappiness, Some(-1));
        assert_eq!(got.oom_kill_disable, Some(false));
        assert_eq!(got.pids_limit, Some(0));
        let names: Vec<(&str, i64)> = got
            .ulimits
            .iter()
            .map(|u| (u.name.as_str(), u.soft))
            .collect();
        assert_eq!(names, [("nofile", 2), ("nproc", 3)]);
        assert_eq!(limits(&LimitFlags::default()), Resources::default());
        let wrong = ResourceFlags {
            memory_swappiness: 101,
            ..ResourceFlags::default()
        };
        assert_eq!(
            resources(&wrong).unwrap_err().to_string(),
            "invalid value: 101. Valid memory swappiness range is 0-100"
        );
    }
}
