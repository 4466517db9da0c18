//! What clients ask of a running monitor, and how it is done.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Result, bail};

use super::control::{ExecRequest, Reply, Request, Streams};
use super::peers::Waits;
use super::supervise::{Monitor, Stage};
use crate::container::{EndedBy, Phase};
use crate::docker::container::PortBinding;
use crate::docker::network::EndpointSettings;
use crate::error;

/// How long a program may take to end when the machine goes down.
const SHUTDOWN_TIMEOUT_S: i64 = 10;

impl Monitor {
    pub(super) fn answer(&mut self, number: u64, request: Request, descriptors: Vec<OwnedFd>) {
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
                let sent = self.kill(number, signal);
                self.peers.answer_done(number, sent);
            }
            Request::Stop {
                signal,
                timeout_s,
                told,
                keep,
            } => {
                self.keep = keep;
                self.answer_stop(number, signal, timeout_s, told);
            }
            Request::Pause => {
                let paused = self.pause();
                self.peers.answer_done(number, paused);
            }
            Request::PauseMeanwhile => {
                let paused = self.pause();
                self.paused_for = paused.is_ok().then_some(number);
                self.peers.answer_done(number, paused);
            }
            Request::Unpause => {
                let unpaused = self.unpause();
                self.peers.answer_done(number, unpaused);
            }
            Request::Wait => self.peers.set_waits(number, Waits::Exit),
            Request::Connect { network, settings } => {
                let connected = self.connect(&network, &settings);
                self.peers.answer_done(number, connected);
            }
            Request::Disconnect { network } => {
                let disconnected = self.disconnect(&network);
                self.peers.answer_done(number, disconnected);
            }
            Request::Publish { ports } => {
                let published = self.republish(ports);
                self.peers.answer_done(number, published);
            }
            Request::Renamed => {
                let renamed = self.renamed();
                self.peers.answer_done(number, renamed);
            }
        }
    }

    fn connect(&mut self, network: &str, settings: &EndpointSettings) -> Result<()> {
        self.running()?;
        let (dirs, container) = (&self.dirs, (&self.record, self.status.pid));
        self.network.connect(dirs, container, network, settings)?;
        self.network_changed();
        Ok(())
    }

    fn disconnect(&mut self, network: &str) -> Result<()> {
        self.running()?;
        let (dirs, record) = (&self.dirs, &self.record);
        self.network.disconnect(dirs, record, network)?;
        self.network_changed();
        Ok(())
    }

    fn republish(&mut self, ports: BTreeMap<String, Option<Vec<PortBinding>>>) -> Result<()> {
        self.running()?;
        let before = std::mem::replace(&mut self.record.host_config.port_bindings, ports);
        let published = self.network.republish(&self.dirs, &self.record);
        if published.is_err() {
            self.record.host_config.port_bindings = before;
            return published;
        }
        self.network_changed();
        Ok(())
    }

    fn renamed(&mut self) -> Result<()> {
        self.record = *self.containers.get(&self.record.id)?.record;
        if self.running().is_err() {
            return Ok(());
        }
        self.network.rename(&self.dirs, &self.record)?;
        self.network_changed();
        Ok(())
    }

    fn network_changed(&mut self) {
        self.status.network = self.network.status(&self.record);
        self.save();
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

    /// A signal by hand: also how a user stops a container that would start again.
    fn kill(&mut self, number: u64, signal: i32) -> Result<()> {
        let configured = crate::container::signal::parse(&self.record.config.stop_signal).ok();
        let ends =
            signal == libc::SIGKILL || configured.is_none_or(|configured| configured == signal);
        if let Stage::Restarting { .. } = self.stage {
            self.status.stopped_by_user = true;
            self.stop_waiting();
            return Ok(());
        }
        self.signal(signal)?;
        self.status.stopped_by_user = true;
        if ends {
            self.status.ended_by = Some(EndedBy {
                signal,
                ..self.asker(number)
            });
        }
        self.is_last |= ends;
        if ends && self.status.phase == Phase::Paused {
            self.thaw()?;
        }
        self.event("kill", &[("signal", signal.to_string())]);
        self.save();
        Ok(())
    }

    /// Who a client is, for whoever asks later why the container has ended.
    fn asker(&self, number: u64) -> EndedBy {
        let Some(peer) = self.peers.credentials(number) else {
            return EndedBy::default();
        };
        let pid = peer.pid.as_raw_pid();
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = (command.split(|byte| *byte == 0))
            .map(String::from_utf8_lossy)
            .collect();
        EndedBy {
            pid,
            uid: peer.uid.as_raw(),
            command: words.join(" ").trim_end().to_owned(),
            ..EndedBy::default()
        }
    }

    /// The machine goes down, or somebody asks this process to end: the program may end in its own way, and that is not a
    /// stop by its user, so that a policy brings it back after the next boot.
    pub(super) fn shut_down(&mut self) -> Result<()> {
        self.is_last = true;
        match self.stage {
            Stage::Running(_) => {
                let configured = crate::container::signal::parse(&self.record.config.stop_signal);
                let by = EndedBy {
                    signal: configured.unwrap_or(libc::SIGTERM),
                    timeout_s: SHUTDOWN_TIMEOUT_S,
                    ..EndedBy::default()
                };
                self.stop(by, false)
            }
            Stage::Restarting { .. } => {
                self.stop_waiting();
                Ok(())
            }
            Stage::Over => Ok(()),
        }
    }

    /// Ends the wait for the next start: there will be none.
    fn stop_waiting(&mut self) {
        self.status.phase = Phase::Exited;
        self.save();
        self.over();
    }

    fn answer_stop(&mut self, number: u64, signal: i32, timeout_s: i64, told: bool) {
        self.status.stopped_by_user = true;
        if let Stage::Restarting { .. } = self.stage {
            self.stop_waiting();
            if told {
                self.event("stop", &[]);
            }
            return self.peers.answer_done(number, Ok(()));
        }
        self.is_last = true;
        let by = EndedBy {
            signal,
            timeout_s,
            ..self.asker(number)
        };
        self.peers.set_waits(number, Waits::Stop);
        if let Err(error) = self.stop(by, told) {
            self.peers.set_waits(number, Waits::Nothing);
            self.peers.answer_done(number, Err(error));
        }
    }

    fn pause(&mut self) -> Result<()> {
        let id = &self.record.id;
        if self.status.phase == Phase::Paused {
            return Err(error::conflict(format!("Container {id} is already paused")));
        }
        self.running()?.place.cgroup.freeze()?;
        self.status.phase = Phase::Paused;
        self.save();
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

    /// Lets the processes run again if the client for whom they were frozen is gone.
    pub(super) fn end_pause(&mut self) {
        if self
            .paused_for
            .is_some_and(|number| !self.peers.is_connected(number))
            && let Err(error) = self.thaw()
        {
            tracing::warn!("end a pause: {error:#}");
        }
    }

    pub(super) fn thaw(&mut self) -> Result<()> {
        self.paused_for = None;
        self.running()?.place.cgroup.thaw()?;
        self.status.phase = Phase::Running;
        self.save();
        self.event("unpause", &[]);
        Ok(())
    }
}
