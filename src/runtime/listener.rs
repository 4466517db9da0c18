//! Hands the listener of a seccomp filter to the agent that answers for it (runtime-spec config-linux.md, Seccomp, The
//! container process state).

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use serde::Serialize;

use super::process::ProcessPlan;
use crate::error;
use crate::oci::runtime::linux::{Linux, Profile};
use crate::oci::state::State;
use crate::sys::fdpass;

/// Where a listener goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// Its profile, which is read only if there is a listener.
    profile: Option<Profile>,
}

/// The document that goes with the descriptor.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a State,
}

impl Target {
    /// Returns where the listener of `process` goes, if its filter has one.
    pub(super) fn of(linux: &Linux, process: &ProcessPlan) -> Target {
        Target::new(linux.seccomp.as_ref().filter(|_| process.notifies()))
    }

    /// Returns where the listener of `profile` goes; of a filter that is known not to notify there need be none.
    pub(super) fn new(profile: Option<&Profile>) -> Target {
        Target {
            profile: profile.cloned(),
        }
    }

    /// Fetches descriptor `number` of the process (kernel 5.6) and sends it on.
    pub(super) fn deliver(&self, pidfd: BorrowedFd<'_>, number: i32, state: &State) -> Result<()> {
        let profile = self.profile.as_ref().map(Profile::read).transpose()?;
        let profile = profile.unwrap_or_default();
        let path = Path::new(&profile.listener_path);
        if path.as_os_str().is_empty() {
            bail!(error::invalid(
                "seccomp listenerPath is not set, but the profile has rules with SCMP_ACT_NOTIFY"
            ));
        }
        let listener = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty())
            .context("fetch the seccomp listener")?;
        let document = serde_json::to_vec(&ContainerProcessState {
            oci_version: &state.oci_version,
            fds: ["seccompFd"],
            pid: state.pid,
            metadata: &profile.listener_metadata,
            state,
        })?;
        send(path, &document, listener.as_fd())
            .with_context(|| format!("send the seccomp listener to {}", path.display()))
    }
}

fn send(path: &Path, document: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
    let socket = std::os::unix::net::UnixStream::connect(path)
        .context("failed to connect with seccomp agent")?;
    fdpass::send(socket.as_fd(), document, &[listener])?;
    Ok(())
}
