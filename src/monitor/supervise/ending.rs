//! The end of a run, and what comes next: another one, or nothing.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Monitor, Stage};
use crate::container::{ExitStatus, NetworkStatus, Phase};
use crate::monitor::control::Reply;
use crate::monitor::health::{self, Checks};
use crate::monitor::peers::Waits;
use crate::monitor::{removal, restart, volumes};

impl Monitor {
    /// Tears down a run whose first process has ended, and decides what comes next.
    pub(super) fn ended(&mut self, status: ExitStatus) {
        let Stage::Running(mut run) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return;
        };
        // A check that ends with the container says nothing of it.
        self.checks = Checks::default();
        self.hub.drain();
        let oom_killed = run.place.cgroup.oom_kills() > 0;
        run.place.clear();
        for ended in self.execs.end_all(ExitStatus::killed(libc::SIGKILL)) {
            self.exec_ended(&ended);
        }
        drop(run);
        health::end(&mut self.status.health);
        let ran = self.run_began.elapsed();
        if oom_killed {
            self.event("oom", &[]);
        }
        self.status.oom_killed = oom_killed;
        self.status.pid = 0;
        self.status.exit_code = status.code();
        self.status.finished_at = Some(Timestamp::now());
        let stopping = self.stopping.take();
        self.paused_for = None;
        let duration = ("execDuration", ran.as_secs().to_string());
        self.event("die", &[duration, ("exitCode", status.code().to_string())]);
        self.network.events(&self.dirs, &self.record, "disconnect");
        self.network.tear_down(&self.dirs, &self.record);
        self.status.network = NetworkStatus::default();
        volumes::release(&self.dirs, std::mem::take(&mut self.volumes));
        self.volume_events("unmount");
        if stopping.is_some_and(|stopping| stopping.told) {
            self.event("stop", &[]);
        }
        // The record may have changed since: another policy, another name.
        match self.containers.get(&self.record.id) {
            Ok(container) => self.record = *container.record,
            Err(error) => tracing::warn!("read the record: {error:#}"),
        }
        if self.starts_again() {
            self.status.phase = Phase::Restarting;
            self.save();
            self.stage = Stage::Restarting {
                until: Instant::now() + self.backoff.next(ran),
            };
            self.announce_end(status);
        } else {
            self.status.phase = Phase::Exited;
            self.save();
            self.over();
            self.announce_end(status);
        }
    }

    /// Ends a run that nobody would know of.
    pub(super) fn abandon(&mut self) {
        if let Stage::Running(mut run) = std::mem::replace(&mut self.stage, Stage::Over) {
            run.place.clear();
        }
        volumes::release(&self.dirs, std::mem::take(&mut self.volumes));
    }

    fn starts_again(&self) -> bool {
        let ended = restart::Ended {
            exit_code: self.status.exit_code,
            restarts: self.status.restart_count,
            stopped_by_user: self.status.stopped_by_user,
        };
        !self.is_last && restart::wanted(&self.record.host_config.restart_policy, ended)
    }

    pub(super) fn start_again(&mut self) {
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
    pub(in crate::monitor) fn over(&mut self) {
        self.stage = Stage::Over;
        self.listener = None;
        if self.record.host_config.auto_remove
            && !self.keep
            && let Err(error) = removal::remove(&self.dirs, &self.record, true)
        {
            tracing::warn!("remove: {error:#}");
        }
        self.containers.clear_run(&self.record.id);
        self.lock = None;
    }
}
