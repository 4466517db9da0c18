//! Why a container is in the state it is in: what its status, its limits, the journal and its log say, put together.
//!
//! Pure but for reading them.

use anyhow::Result;
use jiff::Timestamp;

use super::{Engine, logs};
use crate::container::logs::options::Driver;
use crate::container::logs::read::Selection;
use crate::container::signal;
use crate::container::{Container, EndedBy, ExitStatus, Phase, Record, Status};

/// Lines of the log that are shown.
const LOG_LINES: usize = 10;
/// Above it is 128 and the number of a signal.
const SIGNAL_BASE: i32 = 128;
const SIGNAL_MAX: i32 = 64;

/// What is known of a container's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// The state, after the container's name: `exited with 137`.
    pub state: String,
    /// What brought it there, the nearest cause first.
    pub causes: Vec<String>,
    /// What may be done.
    pub hints: Vec<String>,
    /// When the state began, if that is known.
    pub since: Option<Timestamp>,
    /// How long the last run took, in nanoseconds, if it has ended.
    pub ran: Option<i128>,
    /// The last lines that the program has written; none if it wrote none, or its log cannot be read here.
    pub log: Vec<String>,
}

/// Tells why `container` is in its state.
pub fn why(engine: &Engine, container: &Container) -> Result<Why> {
    let mut why = judge(&container.record, &container.status);
    why.log = last_lines(engine, container)?;
    Ok(why)
}

fn last_lines(engine: &Engine, container: &Container) -> Result<Vec<String>> {
    let driver = Driver::from_config(&container.record.host_config.log_config)?;
    if driver.files.is_none() {
        return Ok(Vec::new());
    }
    let selection = Selection {
        since: container.status.started_at,
        tail: Some(LOG_LINES),
        ..Selection::default()
    };
    let mut lines = Vec::new();
    logs::logs(engine, container, &selection, false, &mut |entry| {
        lines.push(entry.line.trim_end_matches(['\r', '\n']).to_owned());
        Ok(true)
    })?;
    Ok(lines)
}

fn judge(record: &Record, status: &Status) -> Why {
    let mut why = Why {
        since: status.started_at,
        ..Why::default()
    };
    match status.phase {
        Phase::Created if status.error.is_empty() => {
            why.state = "was created and has not been started".into();
            why.since = Some(record.created);
            why.hints.push(format!("aril start {}", record.name));
        }
        Phase::Created => {
            why.state = "could not be started".into();
            why.since = Some(record.created);
            why.causes.push(status.error.clone());
            why.hints
                .extend(Some(status.hint.clone()).filter(|hint| !hint.is_empty()));
        }
        Phase::Removing => {
            why.state = "is being removed".into();
            why.hints.push(format!(
                "`aril rm -f {}` ends a removal that was cut off",
                record.name
            ));
        }
        Phase::Running => why.state = "runs".into(),
        Phase::Paused => {
            why.state = "is paused: its processes are frozen".into();
            why.hints.push(format!("aril unpause {}", record.name));
        }
        Phase::Restarting | Phase::Exited => ended(&mut why, record, status),
    }
    restarts(&mut why, record, status);
    health(&mut why, status);
    why
}

fn ended(why: &mut Why, record: &Record, status: &Status) {
    why.state = format!("exited with {}", status.exit_code);
    why.since = status.finished_at;
    if let (Some(from), Some(to)) = (status.started_at, status.finished_at) {
        why.ran = Some(to.as_nanosecond() - from.as_nanosecond());
    }
    if !status.error.is_empty() {
        why.state = "could not be started".into();
        why.ran = None;
        why.causes.push(status.error.clone());
        why.hints
            .extend(Some(status.hint.clone()).filter(|hint| !hint.is_empty()));
        return;
    }
    if let Some(by) = &status.ended_by {
        why.causes.push(asked(by));
        if by.ignored {
            why.hints.push(ignored_hint(record, by));
        }
    }
    if status.oom_killed {
        why.causes.push(out_of_memory(record));
        why.hints.push(format!(
            "give it more memory: aril update -m SIZE --memory-swap SIZE {}, and start it again",
            record.name
        ));
    }
    if status.ended_by.is_none() && !status.oom_killed {
        let (cause, hint) = by_itself(status.exit_code);
        why.causes.push(cause);
        why.hints.extend(hint.map(str::to_owned));
    }
}

/// What somebody asked for.
fn asked(by: &EndedBy) -> String {
    let signal = signal::name(by.signal);
    let who = match (by.pid, by.command.as_str()) {
        (0, _) => "the machine went down, or somebody ended the container's monitor".to_owned(),
        (pid, "") => format!("process {pid} of user {}", by.uid),
        (pid, command) => format!("`{command}` (process {pid} of user {})", by.uid),
    };
    if by.ignored {
        format!(
            "{who} asked it to end with {signal}; it did not, and was killed after {} seconds",
            by.timeout_s
        )
    } else {
        format!("{who} sent it {signal}")
    }
}

pub(super) fn ignored_hint(record: &Record, by: &EndedBy) -> String {
    let signal = signal::name(by.signal);
    if record.host_config.init == Some(true) {
        return format!(
            "let the program end at {signal}, or name the signal at which it ends: --stop-signal"
        );
    }
    format!(
        "the kernel keeps {signal} from a first process that has no handler for it: let the program handle it, name the \
         signal at which it ends (--stop-signal), or run it below an init (--init)"
    )
}

fn out_of_memory(record: &Record) -> String {
    match record.host_config.resources.memory {
        0 => "the kernel killed a process of it because the machine, or a cgroup above, had no memory left".to_owned(),
        limit => format!(
            "the kernel killed a process of it because it needed more memory than its limit of {limit} bytes (-m)"
        ),
    }
}

/// What an exit code says that nobody outside of the container has brought about.
fn by_itself(code: i32) -> (String, Option<&'static str>) {
    let no_program = "look in the log below for the name, and whether the image has it";
    let (cause, hint) = match code {
        0 => ("its program has done its work and ended by itself", None),
        126 => (
            "its program said that a command cannot be run (126, as shells do)",
            Some(no_program),
        ),
        127 => (
            "its program said that there is no such command (127, as shells do)",
            Some(no_program),
        ),
        _ if code == ExitStatus::MACHINE_DIED.code() => (
            "the machine went down while it ran, or its program ended with 255",
            None,
        ),
        _ if code == ExitStatus::MONITOR_DIED.code() => (
            "SIGKILL ended it: from another process of this machine, or because its monitor was killed",
            Some("look for out of memory in the kernel's messages: dmesg"),
        ),
        _ if code > SIGNAL_BASE && code <= SIGNAL_BASE + SIGNAL_MAX => {
            let signal = code - SIGNAL_BASE;
            let cause = format!("{} ended it{}", signal::name(signal), crash(signal));
            return (cause, None);
        }
        _ => (
            "its program ended by itself and said that it failed",
            Some("what it wrote is the best witness"),
        ),
    };
    (cause.to_owned(), hint)
}

fn crash(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV | libc::SIGBUS => {
            ": it used memory that it does not have (a bug, or another C library)"
        }
        libc::SIGILL => ": it used an instruction that this processor does not have",
        libc::SIGABRT => ": it gave up by itself (abort)",
        libc::SIGFPE => ": it divided by zero",
        libc::SIGSYS => ": it made a system call that its seccomp profile forbids",
        libc::SIGXCPU => ": it used more processor time than its limit (--ulimit cpu)",
        libc::SIGXFSZ => ": it wrote a larger file than its limit (--ulimit fsize)",
        libc::SIGPIPE => ": it wrote to something that nobody reads",
        _ => "",
    }
}

fn restarts(why: &mut Why, record: &Record, status: &Status) {
    let policy = &record.host_config.restart_policy;
    if status.phase == Phase::Restarting {
        why.state = format!("waits to be started again: it {}", why.state);
    }
    if status.restart_count > 0 {
        why.causes.push(format!(
            "its policy `{}` has started it again {} times",
            policy.name, status.restart_count
        ));
    }
    let most = policy.maximum_retry_count;
    if status.phase == Phase::Exited
        && policy.name == "on-failure"
        && most > 0
        && i64::from(status.restart_count) >= most
    {
        why.causes
            .push(format!("and the policy allows no more than {most}"));
    }
}

fn health(why: &mut Why, status: &Status) {
    let Some(health) = status
        .health
        .as_ref()
        .filter(|health| health.status == "unhealthy")
    else {
        return;
    };
    let last = health.log.last().map_or_else(String::new, |last| {
        let said = last.output.trim();
        let colon = if said.is_empty() { "" } else { ": " };
        format!(", the last time with {}{colon}{said}", last.exit_code)
    });
    why.causes.push(format!(
        "it is unhealthy: its check has failed {} times in a row{last}",
        health.failing_streak
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::container::{Config, HostConfig, NetworkingConfig};
    use crate::docker::inspect::{Health, HealthResult};
    use crate::settings::CgroupDriver;

    fn record() -> Record {
        Record {
            id: "ab".repeat(32),
            name: "box".to_owned(),
            created: Timestamp::now(),
            image: crate::oci::digest::sha256(b""),
            layers: Vec::new(),
            platform: "linux".to_owned(),
            config: Config::default(),
            host_config: HostConfig::default(),
            networking_config: NetworkingConfig::default(),
            mounts: Vec::new(),
            cgroup_driver: CgroupDriver::default(),
        }
    }

    fn exited(exit_code: i32) -> Status {
        Status {
            phase: Phase::Exited,
            exit_code,
            ..Status::default()
        }
    }

    #[test]
    fn exit_codes_have_causes() {
        for (code, words) in [
            (0, "done its work"),
            (1, "said that it failed"),
            (126, "cannot be run"),
            (127, "no such command"),
            (132, "SIGILL ended it: it used an instruction"),
            (134, "SIGABRT ended it: it gave up"),
            (137, "SIGKILL ended it: from another process"),
            (139, "SIGSEGV ended it: it used memory"),
            (143, "SIGTERM ended it"),
            (200, "said that it failed"),
            (255, "machine went down"),
        ] {
            let why = judge(&record(), &exited(code));
            assert_eq!(why.state, format!("exited with {code}"));
            assert!(why.causes[0].contains(words), "{code}: {:?}", why.causes);
            assert_eq!(why.causes.len(), 1, "{code}: {:?}", why.causes);
        }
    }

    #[test]
    fn who_stopped_it_comes_before_what_the_code_says() {
        let status = Status {
            ended_by: Some(EndedBy {
                signal: 15,
                pid: 12,
                uid: 0,
                command: "aril stop box".to_owned(),
                ignored: true,
                timeout_s: 10,
            }),
            ..exited(137)
        };
        let why = judge(&record(), &status);
        assert_eq!(
            why.causes,
            [
                "`aril stop box` (process 12 of user 0) asked it to end with SIGTERM; it did not, and was killed after 10 seconds"
            ]
        );
        assert!(why.hints[0].contains("--init"), "{:?}", why.hints);
    }

    #[test]
    fn too_little_memory_names_the_limit() {
        let mut record = record();
        record.host_config.resources.memory = 4096;
        let status = Status {
            oom_killed: true,
            ..exited(137)
        };
        let why = judge(&record, &status);
        assert!(why.causes[0].contains("limit of 4096 bytes"));
        assert!(why.hints[0].starts_with("give it more memory"));
    }

    #[test]
    fn a_start_that_failed_says_so_itself() {
        let status = Status {
            error: "exec: \"/no\": no such file or directory".to_owned(),
            ..exited(127)
        };
        let why = judge(&record(), &status);
        assert_eq!(why.state, "could not be started");
        assert_eq!(why.causes, [status.error]);
    }

    #[test]
    fn restarts_and_health_are_told() {
        let mut record = record();
        record.host_config.restart_policy.name = "on-failure".to_owned();
        record.host_config.restart_policy.maximum_retry_count = 3;
        let status = Status {
            restart_count: 3,
            health: Some(Health {
                status: "unhealthy".to_owned(),
                failing_streak: 4,
                log: vec![HealthResult {
                    exit_code: 1,
                    output: "no answer\n".to_owned(),
                    ..HealthResult::default()
                }],
            }),
            ..exited(1)
        };
        let why = judge(&record, &status);
        assert_eq!(
            why.causes[1..],
            [
                "its policy `on-failure` has started it again 3 times",
                "and the policy allows no more than 3",
                "it is unhealthy: its check has failed 4 times in a row, the last time with 1: no answer"
            ]
        );
    }
}
