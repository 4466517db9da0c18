//! The monitor of one container: bring up, watch, tear down, perhaps start again.
//!
//! One thread and one loop over poll. Its lock is held from its first step to its last, so whoever sees the lock free and a
//! status that needs a monitor sees a crash. The steps of going down may be repeated: a repair runs them again.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus, wait};

use super::bring_up::{self, Run};
use super::control::{self, ExecRequest, Failure, Reply, Request, StartError, Streams};
use super::execs::{Ended, Execs};
use super::peers::{Peers, Waits};
use super::restart::{self, Backoff};
use super::stdio::{Hub, Waiting};
use super::{client, removal, scrub};
use crate::container::logs::{Driver, Writer};
use crate::container::{Containers, ExitStatus, Phase, Record, Status};
use crate::dirs::Dirs;
use crate::docker::inspect::Health;
use crate::store::{self, FileLock};
use crate::sys::signal::send_signal;
use crate::{error, event};

/// How long a program may take to end when the machine goes down.
const SHUTDOWN_TIMEOUT_S: i64 = 10;

/// Where the monitor is.
#[derive(Debug)]
enum Stage {
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
}

#[derive(Debug)]
struct Monitor {
    dirs: Dirs,
    containers: Containers,
    record: Record,
    status: Status,
    /// Gone once nothing is left that anybody must not touch.
    lock: Option<FileLock>,
    listener: Option<OwnedFd>,
    signals: SignalFd,
    peers: Peers,
    hub: Hub,
    execs: Execs,
    stage: Stage,
    stopping: Option<Stopping>,
    backoff: Backoff,
    run_began: Instant,
}

/// Runs the monitor of container `id`, until the container has ended for good.
pub fn main(dirs: &Dirs, id: &str) -> Result<()> {
    let socket = scrub::scrub()?;
    let signals = take_signals()?;
    let Some((Request::Start { attach }, descriptors)) = control::receive(socket.as_fd())? else {
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
    if let Err(error) = monitor.first_start(number, attach, descriptors) {
        monitor.over();
        monitor
            .peers
            .answer(number, &Reply::Failed(Failure::of(&error)), &[]);
        return Ok(());
    }
    monitor.serve()
}

/// Signals that this process lives by, read from a descriptor.
fn take_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        set.add(signal);
    }
    set.thread_block().context("block signals")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&set, flags).context("receive signals")
}

impl Monitor {
    fn prepare(dirs: &Dirs, id: &str, signals: SignalFd) -> Result<Monitor> {
        let containers = Containers::new(dirs);
        let Some(lock) = containers.try_lock(id)? else {
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
            record: container.record,
            status: container.status,
            lock: Some(lock),
            listener: Some(listener),
            signals,
            peers: Peers::default(),
            execs: Execs::default(),
            stage: Stage::Over,
            stopping: None,
            backoff: Backoff::default(),
            run_began: Instant::now(),
        })
    }

    /// Starts the program for client `number`, which may come with a stream to attach.
    fn first_start(
        &mut self,
        number: u64,
        attach: Option<Streams>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        if let (Some(streams), Some(stream)) = (attach, descriptors.into_iter().next()) {
            self.hub.attach(stream, streams)?;
            self.event("attach", &[]);
        }
        self.status.restart_count = 0;
        self.status.stopped_by_user = false;
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
        self.status.cgroup = bring_up::cgroup_path(&self.record);
        self.status.boot_id = store::boot_id();
        let started = bring_up::bring_up(&self.dirs, &self.record)
            .and_then(|(run, ends)| self.hub.connect(ends).map(|()| run));
        match started {
            Ok(run) => {
                self.status.phase = Phase::Running;
                self.status.pid = run.process.pid.as_raw_nonzero().get();
                self.status.started_at = Some(Timestamp::now());
                self.status.exit_code = 0;
                self.status.error.clear();
                self.status.oom_killed = false;
                self.status.health = first_health(&self.record);
                self.run_began = Instant::now();
                self.stage = Stage::Running(Box::new(run));
                self.save()?;
                self.event("start", &[]);
                Ok(())
            }
            Err(error) => {
                let code = error
                    .downcast_ref::<StartError>()
                    .map(|error| error.exit_code);
                self.status.exit_code = code.unwrap_or(ExitStatus::ENGINE_FAILED.code());
                self.status.error = error::line(&error);
                self.status.pid = 0;
                // A container that has never run stays one that has never run.
                if self.status.started_at.is_some() {
                    self.status.phase = Phase::Exited;
                }
                self.save()?;
                Err(error)
            }
        }
    }

    fn save(&self) -> Result<()> {
        self.containers.set_status(&self.record.id, &self.status)
    }

    fn event(&self, action: &str, more: &[(&str, String)]) {
        let mut attributes = removal::attributes(&self.record);
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        event::record(&self.dirs, "container", action, &self.record.id, attributes);
    }

    /// Serves until nothing is left to do.
    fn serve(&mut self) -> Result<()> {
        while !matches!(self.stage, Stage::Over) || self.hub.has_clients() {
            let ready = self.wait()?;
            for source in ready {
                self.handle(source)?;
            }
            self.hub.sweep();
            self.keep_time()?;
        }
        Ok(())
    }

    /// Waits for something to happen.
    fn wait(&self) -> Result<Vec<Ready>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> =
            vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(listener) = &self.listener {
            sources.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        sources.extend(
            self.peers
                .waiting()
                .map(|(number, fd, flags)| (Source::Peer(number), fd, flags)),
        );
        sources.extend(
            self.hub
                .waiting()
                .into_iter()
                .map(|(which, fd, flags)| (Source::Stream(which), fd, flags)),
        );
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let timeout = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the deadline has passed on return.
            Timespec::try_from(left + Duration::from_micros(1)).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            })
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the container"),
        }
        let ready = sources
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready
            .map(|((source, ..), fd)| Ready {
                source: *source,
                events: fd.revents(),
            })
            .collect())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let restart = match self.stage {
            Stage::Restarting { until } => Some(until),
            _ => None,
        };
        let kill = self.stopping.as_ref().and_then(|stopping| stopping.kill_at);
        [restart, kill].into_iter().flatten().min()
    }

    /// Does what is due.
    fn keep_time(&mut self) -> Result<()> {
        let now = Instant::now();
        if let Stage::Restarting { until } = self.stage
            && until <= now
        {
            self.start_again();
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.kill_at.is_some_and(|at| at <= now)
        {
            stopping.kill_at = None;
            self.signal(libc::SIGKILL)?;
        }
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
        }
        Ok(())
    }

    fn handle_signals(&mut self) -> Result<()> {
        while let Some(info) = self.signals.read_signal().context("read signals")? {
            if i32::try_from(info.ssi_signo).is_ok_and(|signal| signal == Signal::SIGCHLD as i32) {
                self.reap()?;
            } else {
                // The machine goes down, or somebody asks this process to end: the program may end in its own way, and
                // that is not a stop by its user.
                let configured = self.record.config.stop_signal.clone();
                let signal = crate::container::signal::parse(&configured).unwrap_or(libc::SIGTERM);
                self.stop(signal, SHUTDOWN_TIMEOUT_S)?;
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
            let Some(status) = exit_status(status) else {
                continue;
            };
            if matches!(&self.stage, Stage::Running(run) if run.process.pid == pid) {
                self.ended(status)?;
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
    }

    /// Tears down a run whose first process has ended, and decides what comes next.
    fn ended(&mut self, status: ExitStatus) -> Result<()> {
        let Stage::Running(run) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Ok(());
        };
        self.hub.drain();
        let oom_killed = run.cgroup.oom_kills() > 0;
        for step in [run.cgroup.kill_all(), run.cgroup.remove()] {
            if let Err(error) = step {
                tracing::warn!("clean up: {error:#}");
            }
        }
        for ended in self.execs.end_all(ExitStatus::killed(libc::SIGKILL)) {
            self.exec_ended(&ended);
        }
        drop(run);
        let ran = self.run_began.elapsed();
        if oom_killed {
            self.event("oom", &[]);
        }
        self.status.oom_killed = oom_killed;
        self.status.pid = 0;
        self.status.exit_code = status.code();
        self.status.finished_at = Some(Timestamp::now());
        self.stopping = None;
        let duration = ("execDuration", ran.as_secs().to_string());
        self.event("die", &[duration, ("exitCode", status.code().to_string())]);
        // The record may have changed since: another policy, another name.
        self.record = self.containers.get(&self.record.id)?.record;
        if self.starts_again() {
            self.status.phase = Phase::Restarting;
            self.save()?;
            self.stage = Stage::Restarting {
                until: Instant::now() + self.backoff.next(ran),
            };
            self.announce_end(status);
        } else {
            self.status.phase = Phase::Exited;
            self.save()?;
            self.over();
            self.announce_end(status);
        }
        Ok(())
    }

    fn starts_again(&self) -> bool {
        let ended = restart::Ended {
            exit_code: self.status.exit_code,
            restarts: self.status.restart_count,
            stopped_by_user: self.status.stopped_by_user,
        };
        restart::wanted(&self.record.host_config.restart_policy, ended)
    }

    fn start_again(&mut self) {
        self.status.restart_count += 1;
        if let Err(error) = self.bring_up() {
            tracing::warn!("restart: {error:#}");
            if self.starts_again() {
                self.status.phase = Phase::Restarting;
                let until = Instant::now() + self.backoff.next(Duration::ZERO);
                self.stage = Stage::Restarting { until };
            } else {
                self.over();
            }
        }
    }

    /// Tells everybody that the run has ended.
    fn announce_end(&mut self, status: ExitStatus) {
        self.hub.disconnect();
        self.peers.announce(
            &Waits::Exit,
            &Reply::Exited {
                code: status.code(),
            },
        );
        self.peers.announce(&Waits::Stop, &Reply::Done);
    }

    /// Leaves nothing of the container behind but its record; with `--rm` not even that.
    fn over(&mut self) {
        self.stage = Stage::Over;
        self.listener = None;
        if self.record.host_config.auto_remove
            && let Err(error) = removal::remove(&self.dirs, &self.record, true)
        {
            tracing::warn!("remove: {error:#}");
        }
        self.containers.clear_run(&self.record.id);
        self.lock = None;
    }

    fn answer(&mut self, number: u64, request: Request, descriptors: Vec<OwnedFd>) {
        match request {
            Request::Start { .. } => {
                let error =
                    error::conflict(format!("container {} is already running", self.record.id));
                self.peers.answer_done(number, Err(error));
            }
            Request::Attach(streams) => {
                let attached = self.attach(streams, descriptors);
                self.peers.answer_done(number, attached);
                self.peers.set_waits(number, Waits::Exit);
            }
            Request::Resize(size) => {
                let resized = self.hub.resize(size);
                self.peers.answer_done(number, resized);
                let (height, width) = (size.height.to_string(), size.width.to_string());
                self.event("resize", &[("height", height), ("width", width)]);
            }
            Request::Exec(request) => self.exec(number, *request, &descriptors),
            Request::Signal(signal) => {
                let sent = self.kill(signal);
                self.peers.answer_done(number, sent);
            }
            Request::Stop {
                signal,
                timeout_s,
                restart,
            } => self.answer_stop(number, signal, timeout_s, restart),
            Request::Pause => {
                let paused = self.pause();
                self.peers.answer_done(number, paused);
            }
            Request::Unpause => {
                let unpaused = self.unpause();
                self.peers.answer_done(number, unpaused);
            }
            Request::Wait => self.peers.set_waits(number, Waits::Exit),
        }
    }

    fn attach(&mut self, streams: Streams, descriptors: Vec<OwnedFd>) -> Result<()> {
        self.running()?;
        let Some(stream) = descriptors.into_iter().next() else {
            return Err(error::invalid("attach needs a stream"));
        };
        self.hub.attach(stream, streams)?;
        self.event("attach", &[]);
        Ok(())
    }

    fn exec(&mut self, number: u64, request: ExecRequest, descriptors: &[OwnedFd]) {
        let command = request.command.clone();
        let started = self.running().map(drop).and_then(|()| {
            if self.status.phase == Phase::Paused {
                let name = &self.record.name;
                let why = format!("Container {name} is paused, unpause the container before exec");
                return Err(error::conflict(why));
            }
            let Stage::Running(run) = &self.stage else {
                bail!("the container does not run")
            };
            self.execs.start(run, &self.record, request, descriptors)
        });
        match started {
            Ok(started) => {
                let id = || ("execID", started.id.clone());
                self.event(&format!("exec_create: {command}"), &[id()]);
                self.event(&format!("exec_start: {command}"), &[id()]);
                self.peers
                    .set_waits(number, Waits::Exec(started.id.clone()));
                let terminal = started.terminal.as_ref().map(OwnedFd::as_fd);
                let reply = Reply::ExecStarted {
                    id: started.id.clone(),
                    pid: started.pid,
                };
                self.peers.answer(number, &reply, terminal.as_slice());
            }
            Err(error) => self.peers.answer_done(number, Err(error)),
        }
    }

    fn running(&self) -> Result<&Run> {
        match &self.stage {
            Stage::Running(run) => Ok(run),
            _ => Err(error::conflict(format!(
                "container {} is not running",
                self.record.id
            ))),
        }
    }

    fn signal(&self, signal: i32) -> Result<()> {
        let run = self.running()?;
        match send_signal(run.process.pidfd.as_fd(), signal) {
            // It has ended, and nobody has noticed yet.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            sent => sent.with_context(|| format!("send signal {signal}")),
        }
    }

    /// A signal by hand: also how a user stops a container that would start again.
    fn kill(&mut self, signal: i32) -> Result<()> {
        self.running()?;
        let configured = crate::container::signal::parse(&self.record.config.stop_signal).ok();
        let ends =
            signal == libc::SIGKILL || configured.is_none_or(|configured| configured == signal);
        self.status.stopped_by_user = true;
        self.signal(signal)?;
        if ends && self.status.phase == Phase::Paused {
            self.thaw()?;
        }
        self.event("kill", &[("signal", signal.to_string())]);
        self.save()
    }

    fn answer_stop(&mut self, number: u64, signal: i32, timeout_s: i64, restart: bool) {
        self.status.stopped_by_user = true;
        if let Stage::Restarting { .. } = self.stage {
            self.status.phase = Phase::Exited;
            let saved = self.save();
            self.event("stop", &[]);
            self.over();
            return self.peers.answer_done(number, saved);
        }
        self.peers.set_waits(number, Waits::Stop);
        match self.stop(signal, timeout_s) {
            Ok(()) if restart => {}
            Ok(()) => self.event("stop", &[]),
            Err(error) => {
                self.peers.set_waits(number, Waits::Nothing);
                self.peers.answer_done(number, Err(error));
            }
        }
    }

    /// Asks the program to end; SIGKILL follows after `timeout_s`, below zero never.
    fn stop(&mut self, signal: i32, timeout_s: i64) -> Result<()> {
        let signal = if timeout_s == 0 {
            libc::SIGKILL
        } else {
            signal
        };
        self.signal(signal)?;
        self.event("kill", &[("signal", signal.to_string())]);
        if self.status.phase == Phase::Paused {
            self.thaw()?;
        }
        let timeout = u64::try_from(timeout_s).ok().map(Duration::from_secs);
        self.stopping = Some(Stopping {
            kill_at: timeout.map(|timeout| Instant::now() + timeout),
        });
        self.save()
    }

    fn pause(&mut self) -> Result<()> {
        let id = &self.record.id;
        if self.status.phase == Phase::Paused {
            return Err(error::conflict(format!("Container {id} is already paused")));
        }
        self.running()?.cgroup.freeze()?;
        self.status.phase = Phase::Paused;
        self.save()?;
        self.event("pause", &[]);
        Ok(())
    }

    fn unpause(&mut self) -> Result<()> {
        if self.status.phase != Phase::Paused {
            return Err(error::conflict(format!(
                "Container {} is not paused",
                self.record.id
            )));
        }
        self.thaw()
    }

    fn thaw(&mut self) -> Result<()> {
        self.running()?.cgroup.thaw()?;
        self.status.phase = Phase::Running;
        self.save()?;
        self.event("unpause", &[]);
        Ok(())
    }
}

fn open_log(dirs: &Dirs, record: &Record) -> Result<Option<Writer>> {
    match Driver::from_config(&record.host_config.log_config)? {
        Driver::JsonFile {
            max_bytes,
            max_files,
        } => Writer::open(&dirs.container_log(&record.id), max_bytes, max_files).map(Some),
        Driver::None => Ok(None),
    }
}

fn first_health(record: &Record) -> Option<Health> {
    let test = record.config.healthcheck.as_ref()?.test.as_ref()?;
    let checked = test.first().is_some_and(|kind| kind != "NONE");
    checked.then(|| Health {
        status: "starting".to_owned(),
        ..Health::default()
    })
}

fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(ExitStatus::exited(code)),
        (None, Some(signal)) => Some(ExitStatus::killed(signal)),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Listener,
    Peer(u64),
    Stream(Waiting),
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    source: Source,
    events: PollFlags,
}
