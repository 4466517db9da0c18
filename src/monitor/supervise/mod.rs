//! The monitor of one container: bring up, watch, tear down, perhaps start again.
//!
//! One thread and one loop over poll. Its lock is held from its first step to its last, so whoever sees the lock free and a
//! status that needs a monitor sees a crash. The steps of going down may be repeated: a repair runs them again.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use rustix::process::{WaitOptions, wait};

use super::bring_up::{self, Run};
use super::control::{self, Failure, Reply, Request, StartError, Streams};
use super::execs::{Ended, Execs};
use super::health::Checks;
use super::network::Networking;
use super::peers::{Peers, Waits};
use super::restart::Backoff;
use super::stdio::Hub;
use super::{client, place, removal, scrub, signals, volumes};
use crate::container::logs::Log;
use crate::container::logs::identity::Identity;
use crate::container::logs::options::Driver;
use crate::container::{Containers, EndedBy, ExitStatus, NetworkStatus, Phase, Record, Status};
use crate::dirs::Dirs;
use crate::store::{self, FileLock};
use crate::sys::memory;
use crate::sys::signal::signal_if_alive;
use crate::volume::mounted::Use;
use crate::{error, event};

mod ending;
mod waiting;

use waiting::{Ready, Source};

/// How long after a start the memory that it needed is kept: most who are short-lived have gone until then.
const START_MEMORY: Duration = Duration::from_secs(1);
/// How long a repair may hold the lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the monitor is.
#[derive(Debug)]
pub(super) enum Stage {
    /// The program runs.
    Running(Box<Run>),
    /// It waits for its next start.
    Restarting { until: Instant },
    /// Nothing of the container runs, and nothing will.
    Over,
}

/// When SIGKILL follows the stop signal; none is never.
#[derive(Debug)]
struct Stopping {
    kill_at: Option<Instant>,
    /// Whether somebody is told that it was stopped.
    told: bool,
}

#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) dirs: Dirs,
    pub(super) containers: Containers,
    pub(super) record: Record,
    pub(super) status: Status,
    /// Gone once nothing is left that anybody must not touch.
    lock: Option<FileLock>,
    listener: Option<OwnedFd>,
    signals: SignalFd,
    pub(super) peers: Peers,
    pub(super) hub: Hub,
    pub(super) execs: Execs,
    pub(super) network: Networking,
    /// File systems of volumes that are mounted for the run.
    volumes: Vec<Use>,
    pub(super) stage: Stage,
    stopping: Option<Stopping>,
    /// The client for whose time the processes are frozen.
    pub(super) paused_for: Option<u64>,
    backoff: Backoff,
    pub(super) checks: Checks,
    /// Whether the next end of the program is the last, whatever the policy says.
    pub(super) is_last: bool,
    /// Whether the container outlives its end also with `--rm`.
    pub(super) keep: bool,
    run_began: Instant,
    /// When the memory that a start needed is given back.
    gives_back_at: Option<Instant>,
}

/// Runs the monitor of container `id`, until the container has ended for good.
pub fn main(dirs: &Dirs, id: &str) -> Result<()> {
    // It was executed by a descriptor, whose number ps(1) would show.
    rustix::thread::set_name(c"aril").context("name the monitor")?;
    let socket = scrub::scrub()?;
    let signals = signals::take()?;
    let Some((Request::Start { attach, again }, descriptors)) = control::receive(socket.as_fd())?
    else {
        bail!("the monitor was not asked to start its container");
    };
    let prepared = Monitor::prepare(dirs, id, signals);
    let mut monitor = match prepared {
        Ok(monitor) => monitor,
        Err(error) => {
            return control::send(socket.as_fd(), &Reply::Failed(Failure::of(&error)), &[]);
        }
    };
    let number = monitor.peers.add(socket)?;
    if let Err(error) = monitor.first_start(number, attach, again, descriptors) {
        monitor.over();
        monitor
            .peers
            .answer(number, &Reply::Failed(Failure::of(&error)), &[]);
        monitor.peers = Peers::default();
        monitor.network.settle();
        return Ok(());
    }
    monitor.serve()?;
    monitor.peers = Peers::default();
    monitor.network.settle();
    Ok(())
}

impl Monitor {
    fn prepare(dirs: &Dirs, id: &str, signals: SignalFd) -> Result<Monitor> {
        let containers = Containers::new(dirs);
        let Some(lock) = take_lock(&containers, id)? else {
            return Err(error::conflict(format!(
                "container {id} is being started or stopped by another command"
            )));
        };
        let container = containers.get(id)?;
        let listener = client::listen(&dirs.control(id))?;
        let log = open_log(dirs, &container.record)?;
        let config = &container.record.config;
        Ok(Monitor {
            hub: Hub::new(config.tty, config.stdin_once, log),
            dirs: dirs.clone(),
            containers,
            record: *container.record,
            status: container.status,
            lock: Some(lock),
            listener: Some(listener),
            signals,
            peers: Peers::default(),
            execs: Execs::new(dirs.execs(id)),
            network: Networking::default(),
            volumes: Vec::new(),
            stage: Stage::Over,
            stopping: None,
            paused_for: None,
            backoff: Backoff::default(),
            checks: Checks::default(),
            is_last: false,
            keep: false,
            run_began: Instant::now(),
            gives_back_at: None,
        })
    }

    /// Starts the program for client `number`, which may come with a stream to attach.
    fn first_start(
        &mut self,
        number: u64,
        attach: Option<Streams>,
        again: bool,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        if let (Some(streams), Some(stream)) = (attach, descriptors.into_iter().next()) {
            self.hub.attach(stream, streams)?;
            self.event("attach", &[]);
        }
        self.status.restart_count = if again {
            self.status.restart_count + 1
        } else {
            0
        };
        self.status.stopped_by_user = false;
        self.status.ended_by = None;
        self.bring_up()?;
        if attach.is_some() {
            self.peers.set_waits(number, Waits::Exit);
        }
        let pid = self.status.pid;
        self.peers.answer(number, &Reply::Started { pid }, &[]);
        Ok(())
    }

    /// Starts the program; on an error the status says why, and nothing of the start is left.
    fn bring_up(&mut self) -> Result<()> {
        // A crash from here on leaves a cgroup at most, and its path.
        self.status.cgroup = place::path(&self.record)?;
        self.status.boot_id = store::boot_id();
        let mounted = volumes::mount(&self.dirs, &self.record);
        let started = mounted
            .and_then(|mounted| {
                self.volumes = mounted;
                bring_up::bring_up(&self.dirs, &self.record, &mut self.network)
            })
            .and_then(|(run, ends)| self.hub.connect(ends).map(|()| run));
        match started {
            Ok(run) => {
                self.status.phase = Phase::Running;
                self.status.pid = run.process.pid.as_raw_nonzero().get();
                self.status.started_at = Some(Timestamp::now());
                self.status.exit_code = 0;
                self.status.error.clear();
                self.status.hint.clear();
                self.status.oom_killed = false;
                self.checks = Checks::begin(&self.record.config);
                self.status.health = self.checks.first();
                self.status.network = self.network.status(&self.record);
                self.run_began = Instant::now();
                self.gives_back_at = Some(self.run_began + START_MEMORY);
                self.stage = Stage::Running(Box::new(run));
                if let Err(error) = self.try_save() {
                    self.abandon();
                    return Err(error);
                }
                self.network.events(&self.dirs, &self.record, "connect");
                self.volume_events("mount");
                self.event("start", &[]);
                Ok(())
            }
            Err(error) => {
                self.network.tear_down(&self.dirs, &self.record);
                volumes::release(&self.dirs, std::mem::take(&mut self.volumes));
                self.status.network = NetworkStatus::default();
                let code = StartError::exit_code_of(&error);
                // As with docker, the code of an earlier run stays, but nobody is left with a success.
                self.status.exit_code = match (code, self.status.exit_code) {
                    (Some(code), _) => code,
                    (None, 0) => ExitStatus::REFUSED.code(),
                    (None, earlier) => earlier,
                };
                self.status.error = error::line(&error);
                let hint = error::hint(&error).unwrap_or_default();
                hint.clone_into(&mut self.status.hint);
                self.status.pid = 0;
                // A container that has never run stays one that has never run.
                if self.status.started_at.is_some() {
                    self.status.phase = Phase::Exited;
                }
                self.save();
                Err(error)
            }
        }
    }

    fn try_save(&self) -> Result<()> {
        self.containers.set_status(&self.record.id, &self.status)
    }

    /// A status that cannot be written, on a full disk, is no reason to leave the program alone.
    pub(super) fn save(&self) {
        if let Err(error) = self.try_save() {
            tracing::warn!("write the status: {error:#}");
        }
    }

    pub(super) fn event(&self, action: &str, more: &[(&str, String)]) {
        // Its name may be another by now.
        let current = self.containers.get(&self.record.id).ok();
        let record = current.as_ref().map_or(&self.record, |c| &c.record);
        let mut attributes = removal::attributes(record);
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        event::record(&self.dirs, "container", action, &self.record.id, attributes);
    }

    /// Tells what becomes of the volumes.
    fn volume_events(&self, action: &str) {
        let id = &self.record.id;
        for mount in self.record.mounts.iter().filter(|m| m.kind == "volume") {
            let mut attributes = vec![("container", id.clone()), ("driver", mount.driver.clone())];
            if action == "mount" {
                attributes.push(("destination", mount.destination.clone()));
                attributes.push(("propagation", mount.propagation.clone()));
                attributes.push(("read/write", mount.rw.to_string()));
            }
            let attributes = attributes
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            event::record(
                &self.dirs,
                "volume",
                action,
                &mount.name,
                attributes.collect(),
            );
        }
    }

    /// Serves until nothing is left to do.
    fn serve(&mut self) -> Result<()> {
        while !matches!(self.stage, Stage::Over) || self.hub.has_clients() {
            let ready = self.wait()?;
            for source in ready {
                self.handle(source)?;
            }
            self.hub.sweep();
            self.end_pause();
            self.keep_time()?;
        }
        Ok(())
    }

    /// Does what is due.
    fn keep_time(&mut self) -> Result<()> {
        let now = Instant::now();
        if let Stage::Restarting { until } = self.stage
            && until <= now
        {
            self.start_again();
        }
        if self.network.deadline().is_some_and(|at| at <= now) {
            self.network.run();
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.kill_at.is_some_and(|at| at <= now)
        {
            stopping.kill_at = None;
            if let Some(by) = &mut self.status.ended_by {
                by.ignored = true;
                self.status.ignored_stops += u32::from(by.is_telling());
            }
            self.signal(libc::SIGKILL)?;
            self.event("kill", &[("signal", libc::SIGKILL.to_string())]);
        }
        if self.gives_back_at.is_some_and(|at| at <= now) {
            self.gives_back_at = None;
            if let Err(error) = memory::give_back() {
                tracing::debug!("give memory back: {error}");
            }
        }
        self.keep_checking(now);
        Ok(())
    }

    fn handle(&mut self, ready: Ready) -> Result<()> {
        match ready.source {
            Source::Signals => self.handle_signals()?,
            Source::Listener => {
                if let Some(listener) = &self.listener {
                    self.peers.accept(listener.as_fd());
                }
            }
            Source::Peer(number) => {
                if let Some((request, descriptors)) = self.peers.receive(number) {
                    self.answer(number, request, descriptors);
                }
            }
            Source::Stream(which) => self.hub.ready(which, ready.events)?,
            Source::Check => self.checks.read(),
            Source::Network => self.network.run(),
            Source::Terminal(pid) => self.execs.discard_output(pid),
        }
        Ok(())
    }

    fn handle_signals(&mut self) -> Result<()> {
        while let Some(info) = self.signals.read_signal().context("read signals")? {
            if i32::try_from(info.ssi_signo).is_ok_and(|signal| signal == Signal::SIGCHLD as i32) {
                self.reap()?;
            } else {
                self.shut_down()?;
            }
        }
        Ok(())
    }

    /// Takes the statuses of all processes that have ended.
    fn reap(&mut self) -> Result<()> {
        loop {
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some(ended)) => ended,
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(errno).context("wait for processes"),
            };
            let Some(status) = signals::exit_status(status) else {
                continue;
            };
            if matches!(&self.stage, Stage::Running(run) if run.process.pid == pid) {
                self.ended(status);
            } else if let Some(ended) = self.execs.reaped(pid, status) {
                self.exec_ended(&ended);
            }
        }
    }

    fn exec_ended(&mut self, ended: &Ended) {
        let code = ended.status.code();
        self.event(
            "exec_die",
            &[("execID", ended.id.clone()), ("exitCode", code.to_string())],
        );
        self.peers
            .announce(&Waits::Exec(ended.id.clone()), &Reply::Exited { code });
        self.check_ended(ended);
    }

    pub(super) fn running(&self) -> Result<&Run> {
        match &self.stage {
            Stage::Running(run) => Ok(run),
            _ => Err(error::conflict(format!(
                "container {} is not running",
                self.record.id
            ))),
        }
    }

    pub(super) fn signal(&self, signal: i32) -> Result<()> {
        let run = self.running()?;
        // If it has ended, nobody has noticed yet.
        signal_if_alive(run.process.pidfd.as_fd(), signal)
            .with_context(|| format!("send signal {signal}"))
    }

    /// Asks the program to end, for whoever `by` names and in its way; SIGKILL follows after its `timeout_s`, below zero never.
    /// With `told` the end is told as a stop.
    pub(super) fn stop(&mut self, by: EndedBy, told: bool) -> Result<()> {
        self.signal(by.signal)?;
        self.event("kill", &[("signal", by.signal.to_string())]);
        if self.status.phase == Phase::Paused {
            self.thaw()?;
        }
        let timeout = u64::try_from(by.timeout_s).ok().map(Duration::from_secs);
        self.stopping = Some(Stopping {
            kill_at: timeout
                .filter(|_| by.signal != libc::SIGKILL)
                .map(|timeout| Instant::now() + timeout),
            told,
        });
        self.status.ended_by = Some(by);
        self.save();
        Ok(())
    }
}

/// Takes the monitor's lock; nothing if somebody keeps it. Who only looks for traces of a crash holds it for a moment.
fn take_lock(containers: &Containers, id: &str) -> Result<Option<FileLock>> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let lock = containers.try_lock(id)?;
        if lock.is_some() || Instant::now() > deadline {
            return Ok(lock);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn open_log(dirs: &Dirs, record: &Record) -> Result<Option<Log>> {
    let driver = Driver::from_config(&record.host_config.log_config)
        .context("failed to create task for container: failed to initialize logging driver")?;
    let path = dirs.container_log(&record.id);
    Log::open(&path, &driver, &Identity::of(record))
}
