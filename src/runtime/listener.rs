//! Hands the listener of a seccomp filter to the agent that answers for it (runtime-spec config-linux.md, Seccomp, The
//! container process state).

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use serde::Serialize;

use crate::error;
use crate::oci::runtime::linux::Seccomp;
use crate::oci::state::State;
use crate::sys::fdpass;

/// Where a listener goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    path: PathBuf,
    metadata: String,
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
    /// Returns where the listener of `profile` goes.
    pub(super) fn new(profile: Option<&Seccomp>) -> Target {
        profile.map_or_else(Target::default, |profile| Target {
            path: PathBuf::from(&profile.listener_path),
            metadata: profile.listener_metadata.clone(),
        })
    }

    /// Fetches descriptor `number` of the process (kernel 5.6) and sends it on.
    pub(super) fn deliver(&self, pidfd: BorrowedFd<'_>, number: i32, state: &State) -> Result<()> {
        if self.path.as_os_str().is_empty() {
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
            metadata: &self.metadata,
            state,
        })?;
        send(&self.path, &document, listener.as_fd())
            .with_context(|| format!("send the seccomp listener to {}", self.path.display()))
    }
}

fn send(path: &Path, document: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
    let socket = std::os::unix::net::UnixStream::connect(path)
        .context("failed to connect with seccomp agent")?;
    fdpass::send(socket.as_fd(), document, &[listener])?;
    Ok(())
}
