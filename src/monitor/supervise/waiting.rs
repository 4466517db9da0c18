//! What the loop waits for: descriptors, and the next time at which something is due.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::{Monitor, Stage};
use crate::monitor::stdio::Waiting;

#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Signals,
    Listener,
    Peer(u64),
    Stream(Waiting),
    Check,
    Network,
    /// Of an exec session that nobody watches.
    Terminal(Pid),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) source: Source,
    pub(super) events: PollFlags,
}

impl Monitor {
    /// Waits for something to happen.
    pub(super) fn wait(&self) -> Result<Vec<Ready>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> =
            vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        if let Some(listener) = &self.listener {
            sources.push((Source::Listener, listener.as_fd(), PollFlags::IN));
        }
        if let Some(output) = self.checks.output() {
            sources.push((Source::Check, output, PollFlags::IN));
        }
        let network = self.network.waiting();
        sources.extend(network.map(|fd| (Source::Network, fd, PollFlags::IN)));
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
        let watched = self.peers.watched_sessions();
        sources.extend(
            self.execs
                .unwatched_terminals(&watched)
                .map(|(pid, fd)| (Source::Terminal(pid), fd, PollFlags::IN)),
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
        let due = [
            restart,
            kill,
            self.checks.deadline(),
            self.network.deadline(),
            self.gives_back_at,
        ];
        due.into_iter().flatten().min()
    }
}
