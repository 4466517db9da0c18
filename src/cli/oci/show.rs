//! What there is: lists, processes, statistics and events.

#![expect(clippy::print_stdout, reason = "a command line prints")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::named;
use crate::cgroup::stats::{Stats, Transfer};
use crate::error;
use crate::oci::state::Status;
use crate::runtime::bundle;

/// How soon it is noticed that a container ran out of memory, or has ended.
const LOOK: Duration = Duration::from_millis(100);

/// `list`.
pub(super) fn list(root: &Path, format: &str, quiet: bool) -> Result<()> {
    let containers = bundle::list(root)?;
    if quiet {
        for container in containers {
            println!("{}", container.id);
        }
        return Ok(());
    }
    match format {
        "json" => println!("{}", serde_json::to_string(&containers)?),
        "table" => {
            let width = containers
                .iter()
                .map(|c| c.id.len())
                .max()
                .unwrap_or(0)
                .max(2);
            let bundle = containers
                .iter()
                .map(|c| c.bundle.as_os_str().len())
                .max()
                .unwrap_or(0)
                .max(6);
            println!(
                "{:width$}  {:<10}  {:<8}  {:bundle$}  CREATED",
                "ID", "PID", "STATUS", "BUNDLE"
            );
            for container in containers {
                println!(
                    "{:width$}  {:<10}  {:<8}  {:bundle$}  {}",
                    container.id,
                    container.pid,
                    container.status.name(),
                    container.bundle.display().to_string(),
                    container.created
                );
            }
        }
        unknown => bail!(error::invalid(format!("invalid format option {unknown:?}"))),
    }
    Ok(())
}

/// `ps`: the lines of ps(1) for the processes of a container.
pub(super) fn ps(root: &Path, id: &str, format: &str, options: &[String]) -> Result<()> {
    let pids = named(bundle::pids(root, id), id)?;
    match format {
        "json" => {
            println!("{}", serde_json::to_string(&pids)?);
            return Ok(());
        }
        "table" => {}
        unknown => bail!(error::invalid(format!("invalid format option {unknown:?}"))),
    }
    let default = [String::from("-ef")];
    let options = if options.is_empty() {
        &default[..]
    } else {
        options
    };
    let output = Command::new("ps")
        .args(options)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            error::with_hint(
                error::unavailable(format!("run ps: {error}")),
                "install procps, or use --format json",
            )
        })?;
    if !output.status.success() {
        bail!(error::invalid(format!(
            "ps {} ended with {}",
            options.join(" "),
            output.status
        )));
    }
    for line in lines_of(&String::from_utf8_lossy(&output.stdout), &pids)? {
        println!("{line}");
    }
    Ok(())
}

/// Returns the head of ps(1)'s output and the lines of `pids`.
fn lines_of<'a>(output: &'a str, pids: &[i32]) -> Result<Vec<&'a str>> {
    let mut lines = output.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| error::invalid("the output of ps has no column PID"))?;
    let pid = |line: &str| line.split_whitespace().nth(column)?.parse::<i32>().ok();
    let own = lines.filter(|line| pid(line).is_some_and(|pid| pids.contains(&pid)));
    Ok(std::iter::once(head).chain(own).collect())
}

/// `events`: statistics, once or in intervals until the container ends, and each time that it ran out of memory.
pub(super) fn events(root: &Path, id: &str, interval: &str, once: bool) -> Result<()> {
    let interval = duration(interval)
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| error::invalid("duration interval must be greater than 0"))?;
    if named(bundle::state(root, id), id)?.status == Status::Stopped {
        bail!(error::conflict(format!(
            "container with id {id} is not running"
        )));
    }
    let cgroup = named(bundle::cgroup(root, id), id)?;
    if once {
        println!("{}", report(id, &cgroup.stats()));
        return Ok(());
    }
    let mut kills = cgroup.oom_kills();
    let mut next = Instant::now() + interval;
    loop {
        match bundle::state(root, id) {
            Ok(state) if state.status != Status::Stopped => {}
            Ok(_) => return Ok(()),
            Err(error) if error::is(&error, error::Kind::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        }
        let now = cgroup.oom_kills();
        if now > kills {
            println!("{}", json!({"type": "oom", "id": id}));
        }
        kills = now;
        if Instant::now() >= next {
            println!("{}", report(id, &cgroup.stats()));
            next += interval;
        }
        std::thread::sleep(LOOK.min(interval));
    }
}

/// Reads a time as Go writes it, with one unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// Statistics as runc reports them (its types/events.go).
fn report(id: &str, stats: &Stats) -> Value {
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let transfers = |transfers: &[Transfer]| -> Vec<Value> {
        let one = |it: &Transfer| json!({"major": it.major, "minor": it.minor, "op": it.operation, "value": it.value});
        transfers.iter().map(one).collect()
    };
    let limit = |limit: u64| if limit == 0 { u64::MAX } else { limit };
    json!({"type": "stats", "id": id, "data": {
        "cpu": {
            "usage": {"total": cpu.total, "percpu": cpu.per_cpu, "kernel": cpu.system, "user": cpu.user},
            "throttling": {
                "periods": cpu.periods, "throttledPeriods": cpu.throttled_periods, "throttledTime": cpu.throttled
            }
        },
        "memory": {
            "usage": {
                "limit": limit(memory.limit), "usage": memory.usage, "max": memory.peak, "failcnt": memory.failures
            },
            "swap": {"limit": 0, "usage": memory.swap, "failcnt": 0},
            "raw": memory.details
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit},
        "blkio": {
            "ioServiceBytesRecursive": transfers(&stats.block_io.bytes),
            "ioServicedRecursive": transfers(&stats.block_io.operations)
        },
        "hugetlb": {},
        "network_interfaces": null
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_the_container_are_shown() {
        let output =
            "  PID TTY      CMD\n    1 ?        init 12\n   12 ?        sh\n  123 ?        sh 12\n";
        assert_eq!(
            lines_of(output, &[12, 7]).unwrap(),
            ["  PID TTY      CMD", "   12 ?        sh"]
        );
        assert!(lines_of("COMMAND\nsh\n", &[1]).is_err());
    }

    #[test]
    fn durations_have_a_unit() {
        let check = |text: &str, ms: Option<u64>| {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        };
        check("5s", Some(5000));
        check("100ms", Some(100));
        check("1.5m", Some(90_000));
        check("5", None);
        check("-1s", None);
        check("xs", None);
    }
}
