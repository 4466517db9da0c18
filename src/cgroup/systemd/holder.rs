//! The process that a scope is born with.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use rustix::process::{
    Signal, WaitId, WaitIdOptions, getpid, getppid, set_parent_process_death_signal, waitid,
};

use crate::cgroup::layout::{Host, memberships};
use crate::sys::clone::{Child, CloneOptions, clone};
use crate::sys::{pseudo, signal};

/// A process that does nothing until it is dropped.
#[derive(Debug)]
pub struct Holder(Child);

impl Holder {
    /// Starts the process. The caller must have one thread.
    pub fn new() -> Result<Holder> {
        let parent = getpid();
        let child = clone(&CloneOptions::default(), || {
            let with_parent = set_parent_process_death_signal(Some(Signal::KILL));
            // One whose parent has ended before that would stay for ever.
            while with_parent.is_ok() && getppid() == Some(parent) {
                nix::unistd::pause();
            }
            1
        });
        child.map(Holder).context("clone a process for the scope")
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Returns the cgroup that systemd has put it into, below the roots of the hierarchies.
    pub(super) fn cgroup(&self, host: &Host) -> Result<PathBuf> {
        let file = format!("/proc/{}/cgroup", self.pid());
        let own = pseudo::read_text(&file).with_context(|| format!("read {file}"))?;
        let systemds = if host.is_v2() { "" } else { "name=systemd" };
        let path = memberships(&own)
            .find(|(controllers, _)| *controllers == systemds)
            .map(|(_, path)| PathBuf::from(path));
        path.with_context(|| format!("find systemd's hierarchy in {file}"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let pidfd = self.0.pidfd.as_fd();
        let wait = || waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
        let ended = signal::send_signal(pidfd, libc::SIGKILL)
            .and_then(|()| Ok(rustix::io::retry_on_intr(wait)?));
        if let Err(error) = ended {
            tracing::warn!("end the process of the scope: {error}");
        }
    }
}
