//! Health checks: when they run, how long they may take, and what their results make of a container's health.
//!
//! A check is an exec session like any other; its output comes here, through a pipe. One runs at a time, and the next one
//! waits its interval from the end of the last. docker's rules: the first check comes after one interval, failures while
//! a container starts do not count before its start period is over, and one success makes it healthy.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

use super::control::{ExecRequest, shown};
use super::execs::Ended;
use super::supervise::{Monitor, Stage};
use crate::container::Phase;
use crate::docker::container::Config;
use crate::docker::duration::go_duration;
use crate::docker::inspect::{Health, HealthResult};
use crate::error;
use crate::oci::runtime::Process;

const STARTING: &str = "starting";
const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// So many results are kept.
const LOG_MAX: usize = 5;
/// So much of the output is kept.
const OUTPUT_MAX_BYTES: usize = 4096;
/// The result of a check that has none.
const NO_RESULT: i32 = -1;

/// What a container's configuration says about checks, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Plan {
    /// Returns nothing if there is nothing to check.
    fn of(config: &Config) -> Option<Plan> {
        let check = config.healthcheck.as_ref()?;
        let command = match check.test.as_deref()? {
            [kind, command @ ..] if kind == "CMD" && !command.is_empty() => command.to_vec(),
            [kind, command @ ..] if kind == "CMD-SHELL" && !command.is_empty() => {
                let shell = config.shell.clone().filter(|shell| !shell.is_empty());
                let shell = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                [shell.as_slice(), command].concat()
            }
            _ => return None,
        };
        let duration = |nanoseconds: i64, default| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => default,
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Plan {
            command,
            interval: duration(check.interval, INTERVAL),
            timeout: duration(check.timeout, TIMEOUT),
            start_period: duration(check.start_period, Duration::ZERO),
            start_interval: duration(check.start_interval, START_INTERVAL),
            retries: u32::try_from(check.retries)
                .ok()
                .filter(|retries| *retries > 0)
                .unwrap_or(RETRIES),
        })
    }

    /// Returns the time from now to the next check of a container that has run for `age`.
    fn delay(&self, age: Duration, status: &str) -> Duration {
        if age < self.start_period && status == STARTING {
            self.start_interval
        } else {
            self.interval
        }
    }

    /// Adds a result of a check that began when the container had run for `age`.
    fn judge(&self, health: &mut Health, result: HealthResult, age: Duration) {
        let failed = result.exit_code != 0;
        health.log.push(result);
        let surplus = health.log.len().saturating_sub(LOG_MAX);
        health.log.drain(..surplus);
        if !failed {
            health.failing_streak = 0;
            HEALTHY.clone_into(&mut health.status);
        } else if health.status != STARTING || age >= self.start_period {
            health.failing_streak += 1;
            if health.failing_streak >= self.retries {
                UNHEALTHY.clone_into(&mut health.status);
            }
        }
    }
}

/// Writes down that nobody checks any more, which for docker is not healthy.
pub fn end(health: &mut Option<Health>) {
    if let Some(health) = health {
        UNHEALTHY.clone_into(&mut health.status);
    }
}

/// The checks of one run of a container.
#[derive(Debug, Default)]
pub(super) struct Checks(Option<Schedule>);

#[derive(Debug)]
struct Schedule {
    plan: Plan,
    began: Instant,
    next: Instant,
    probe: Option<Probe>,
}

/// A check that runs.
#[derive(Debug)]
struct Probe {
    session: String,
    pid: Option<Pid>,
    began: Instant,
    start: Timestamp,
    /// When it takes too long; nothing once it has.
    deadline: Option<Instant>,
    output: Option<File>,
    said: Vec<u8>,
}

impl Checks {
    /// Begins with a run of a container.
    pub(super) fn begin(config: &Config) -> Checks {
        Checks(Plan::of(config).map(|plan| {
            let began = Instant::now();
            Schedule {
                next: began + plan.delay(Duration::ZERO, STARTING),
                plan,
                began,
                probe: None,
            }
        }))
    }

    /// Returns the health of a container that has just been started; nothing if it is not checked.
    pub(super) fn first(&self) -> Option<Health> {
        self.0.as_ref().map(|_| Health {
            status: STARTING.to_owned(),
            ..Health::default()
        })
    }

    /// Returns when something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let schedule = self.0.as_ref()?;
        match &schedule.probe {
            Some(probe) => probe.deadline,
            None => Some(schedule.next),
        }
    }

    /// Returns where the output of a check comes from.
    pub(super) fn output(&self) -> Option<BorrowedFd<'_>> {
        let probe = self.0.as_ref()?.probe.as_ref()?;
        probe.output.as_ref().map(File::as_fd)
    }

    /// Takes what a check has printed.
    pub(super) fn read(&mut self) {
        if let Some(probe) = self.0.as_mut().and_then(|schedule| schedule.probe.as_mut()) {
            probe.read();
        }
    }

    /// Waits an interval before the next check, whatever was due before.
    pub(super) fn postpone(&mut self) {
        if let Some(schedule) = &mut self.0 {
            schedule.next = Instant::now() + schedule.plan.interval;
        }
    }
}

impl Probe {
    fn read(&mut self) {
        let mut chunk = [0; OUTPUT_MAX_BYTES];
        while let Some(output) = &mut self.output {
            match output.read(&mut chunk) {
                Ok(0) => self.output = None,
                // One byte more than is kept says that there was more.
                Ok(count) => {
                    let room = (OUTPUT_MAX_BYTES + 1).saturating_sub(self.said.len());
                    self.said.extend_from_slice(&chunk[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!("read the output of a health check: {error}");
                    self.output = None;
                }
            }
        }
    }

    fn text(&self) -> String {
        let kept = &self.said[..self.said.len().min(OUTPUT_MAX_BYTES)];
        let mut text = String::from_utf8_lossy(kept).into_owned();
        if self.said.len() > OUTPUT_MAX_BYTES {
            text.push_str("...");
        }
        text
    }

    fn result(&self, exit_code: i32, timeout: Duration) -> HealthResult {
        let (exit_code, output) = match (self.deadline, self.text()) {
            (Some(_), text) => (exit_code, text),
            (None, text) => {
                let limit = go_duration(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX));
                let why = format!("Health check exceeded timeout ({limit})");
                let more = if text.is_empty() {
                    text
                } else {
                    format!(": {text}")
                };
                (NO_RESULT, why + &more)
            }
        };
        HealthResult {
            start: self.start.to_string(),
            end: Timestamp::now().to_string(),
            exit_code,
            output,
        }
    }
}

impl Monitor {
    /// Starts a check that is due, and ends one that takes too long.
    pub(super) fn keep_checking(&mut self, now: Instant) {
        let paused = self.status.phase == Phase::Paused;
        let Some(schedule) = &mut self.checks.0 else {
            return;
        };
        if let Some(probe) = &mut schedule.probe {
            if probe.deadline.is_some_and(|deadline| deadline <= now) {
                probe.deadline = None;
                if let Some(pid) = probe.pid {
                    // Not waited for yet, so the number is still its own.
                    match kill_process(pid, Signal::KILL) {
                        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                        Err(errno) => tracing::warn!("end a health check: {errno}"),
                    }
                }
            }
            return;
        }
        if schedule.next > now {
            return;
        }
        if paused {
            self.checks.postpone();
            return;
        }
        self.start_check(now);
    }

    fn start_check(&mut self, now: Instant) {
        let Some(plan) = self.checks.0.as_ref().map(|schedule| schedule.plan.clone()) else {
            return;
        };
        let start = Timestamp::now();
        let started = self.spawn_check(&plan);
        let Some(schedule) = &mut self.checks.0 else {
            return;
        };
        let mut probe = Probe {
            session: String::new(),
            pid: None,
            began: now,
            start,
            deadline: Some(Instant::now() + plan.timeout),
            output: None,
            said: Vec::new(),
        };
        match started {
            Ok((session, pid, output)) => {
                probe.session.clone_from(&session);
                probe.pid = Pid::from_raw(pid);
                probe.output = Some(output);
                schedule.probe = Some(probe);
                let command = shown(&plan.command);
                for action in ["exec_create", "exec_start"] {
                    let id = ("execID", session.clone());
                    self.event(&format!("{action}: {command}"), &[id]);
                }
            }
            Err(error) => {
                probe.said = error::line(&error).into_bytes();
                schedule.probe = Some(probe);
                self.finish_check(NO_RESULT);
            }
        }
    }

    fn spawn_check(&mut self, plan: &Plan) -> Result<(String, i32, File)> {
        let Stage::Running(run) = &self.stage else {
            anyhow::bail!("the container does not run");
        };
        let (reader, writer) = io::pipe().context("make a pipe")?;
        rustix::io::ioctl_fionbio(&reader, true).context("make a pipe non-blocking")?;
        let null = File::open("/dev/null").context("open /dev/null")?;
        let also = writer.try_clone().context("share a pipe")?;
        let streams: [OwnedFd; 3] = [null.into(), writer.into(), also.into()];
        let request = ExecRequest {
            process: Process {
                args: plan.command.clone(),
                ..Process::default()
            },
            command: shown(&plan.command),
            ..ExecRequest::default()
        };
        let started = self.execs.start(run, &self.record, request, &streams)?;
        Ok((started.id, started.pid, OwnedFd::from(reader).into()))
    }

    /// Takes the result of a check, if it was one that has ended.
    pub(super) fn check_ended(&mut self, ended: &Ended) {
        let probe = self
            .checks
            .0
            .as_ref()
            .and_then(|schedule| schedule.probe.as_ref());
        if probe.is_some_and(|probe| probe.session == ended.id) {
            self.finish_check(ended.status.code());
        }
    }

    fn finish_check(&mut self, exit_code: i32) {
        self.checks.read();
        let Some(schedule) = &mut self.checks.0 else {
            return;
        };
        let (Some(probe), Some(health)) = (schedule.probe.take(), &mut self.status.health) else {
            return;
        };
        let before = health.status.clone();
        let plan = &schedule.plan;
        let age = probe.began.duration_since(schedule.began);
        plan.judge(health, probe.result(exit_code, plan.timeout), age);
        schedule.next = Instant::now() + plan.delay(schedule.began.elapsed(), &health.status);
        let changed = (health.status != before).then(|| health.status.clone());
        // Before it can be read, so that who waits for a status finds the event that tells of it.
        if let Some(status) = changed {
            self.event(&format!("health_status: {status}"), &[]);
        }
        self.save();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::image::Healthcheck;

    fn config(test: &[&str]) -> Config {
        Config {
            healthcheck: Some(Healthcheck {
                test: Some(test.iter().map(|word| (*word).to_owned()).collect()),
                ..Healthcheck::default()
            }),
            ..Config::default()
        }
    }

    #[test]
    fn what_is_checked_and_how() {
        let command = |test: &[&str]| Plan::of(&config(test)).map(|plan| plan.command.join("|"));
        assert_eq!(command(&["CMD", "a", "b"]).as_deref(), Some("a|b"));
        assert_eq!(
            command(&["CMD-SHELL", "a b"]).as_deref(),
            Some("/bin/sh|-c|a b")
        );
        for none in [&["NONE"][..], &[], &["CMD"], &["OTHER", "x"]] {
            assert_eq!(command(none), None, "{none:?}");
        }
        let shell = Config {
            shell: Some(vec!["bash".to_owned(), "-ec".to_owned()]),
            ..config(&["CMD-SHELL", "x"])
        };
        assert_eq!(Plan::of(&shell).unwrap().command, ["bash", "-ec", "x"]);
        let plan = Plan::of(&config(&["CMD", "a"])).unwrap();
        let defaults = (
            plan.interval,
            plan.timeout,
            plan.start_interval,
            plan.retries,
        );
        assert_eq!(defaults, (INTERVAL, TIMEOUT, START_INTERVAL, RETRIES));
    }

    fn plan() -> Plan {
        Plan {
            start_period: Duration::from_secs(60),
            interval: Duration::from_secs(7),
            ..Plan::of(&config(&["CMD", "a"])).unwrap()
        }
    }

    #[test]
    fn checks_come_faster_while_it_starts() {
        let plan = plan();
        let early = Duration::from_secs(1);
        assert_eq!(plan.delay(early, STARTING), START_INTERVAL);
        assert_eq!(plan.delay(early, HEALTHY), plan.interval);
        assert_eq!(plan.delay(plan.start_period, STARTING), plan.interval);
    }

    #[test]
    fn results_make_the_health() {
        let plan = plan();
        let mut health = Checks::begin(&config(&["CMD", "a"])).first().unwrap();
        let mut add = |exit_code, seconds| {
            let result = HealthResult {
                exit_code,
                ..HealthResult::default()
            };
            plan.judge(&mut health, result, Duration::from_secs(seconds));
            (
                health.status.clone(),
                health.failing_streak,
                health.log.len(),
            )
        };
        let is = |status: &str, streak, log| (status.to_owned(), streak, log);
        // Failures do not count before the start period is over, a success does.
        assert_eq!(add(1, 10), is(STARTING, 0, 1));
        assert_eq!(add(0, 20), is(HEALTHY, 0, 2));
        assert_eq!(add(1, 30), is(HEALTHY, 1, 3));
        assert_eq!(add(NO_RESULT, 40), is(HEALTHY, 2, 4));
        assert_eq!(add(1, 70), is(UNHEALTHY, 3, 5));
        assert_eq!(add(1, 80), is(UNHEALTHY, 4, 5));
        assert_eq!(add(0, 90), is(HEALTHY, 0, 5));
    }

    #[test]
    fn a_long_output_is_cut_and_a_long_check_says_so() {
        let mut probe = Probe {
            session: String::new(),
            pid: None,
            began: Instant::now(),
            start: Timestamp::now(),
            deadline: Some(Instant::now()),
            output: None,
            said: vec![b'x'; OUTPUT_MAX_BYTES + 1],
        };
        let result = probe.result(3, TIMEOUT);
        assert_eq!(result.exit_code, 3);
        assert_eq!(result.output.len(), OUTPUT_MAX_BYTES + 3);
        probe.deadline = None;
        probe.said = b"so far".to_vec();
        let result = probe.result(137, TIMEOUT);
        assert_eq!(result.exit_code, NO_RESULT);
        assert_eq!(result.output, "Health check exceeded timeout (30s): so far");
    }
}
