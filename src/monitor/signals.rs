//! The signals that a monitor lives by, and what the end of a process says.

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::WaitStatus;

use crate::container::ExitStatus;

/// Signals that this process lives by, read from a descriptor.
pub(super) fn take() -> Result<SignalFd> {
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

/// Returns how a process has ended, if it has.
pub(super) fn exit_status(status: WaitStatus) -> Option<ExitStatus> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(ExitStatus::exited(code)),
        (None, Some(signal)) => Some(ExitStatus::killed(signal)),
        _ => None,
    }
}
