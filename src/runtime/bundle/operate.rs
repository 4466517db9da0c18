//! What is done to a container that has a record: signals, deletion, pause, limits, and processes that join.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::create::run_poststop;
use super::record::{self, Record, directory, filters, load, start_socket};
use crate::cgroup::{self, Cgroup, layout, systemd};
use crate::error;
use crate::oci::runtime::Spec;
use crate::oci::runtime::linux::{Linux, NamespaceKind};
use crate::oci::runtime::resources::Resources;
use crate::oci::state::{State, Status};
use crate::runtime::{ExecOptions, Process, Running, exec, namespaces};
use crate::sys::signal::{send_signal, signal_if_alive};

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a signal to the first process of a container, or with `all` to every process in its cgroup.
pub fn kill(root: &Path, id: &str, signal: i32, all: bool) -> Result<()> {
    let record = load(root, id)?;
    let status = record.status(root)?;
    // Without a pid namespace of its own its processes do not die with the first.
    if all || (signal == libc::SIGKILL && !has_pid_namespace(&record)?) {
        let cgroup = record.cgroup()?;
        if signal == libc::SIGKILL {
            return cgroup.kill_all();
        }
        // That asks whether there is somebody to signal; that nobody is left is no error with `all`.
        if signal == 0 {
            return Ok(());
        }
        let named = Signal::from_named_raw(signal)
            .with_context(|| format!("signal {signal} cannot be sent to a cgroup"))?;
        return cgroup.signal_all(named);
    }
    if !status.can_kill() {
        bail!(error::conflict("container not running"));
    }
    let Some(pidfd) = open(&record)? else {
        bail!(error::conflict("container not running"));
    };
    send_signal(pidfd.as_fd(), signal).context("signal the container's process")?;
    // On v1 the frozen do not die.
    if signal == libc::SIGKILL && status == Status::Paused {
        record.cgroup()?.thaw()?;
    }
    Ok(())
}

fn has_pid_namespace(record: &Record) -> Result<bool> {
    let linux = record.spec()?.linux.unwrap_or_default();
    Ok(namespaces::plan(&linux)?.makes(NamespaceKind::Pid))
}

/// Opens the first process of a container; nothing if it has ended.
pub(super) fn open(record: &Record) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(record.pid) else {
        return Ok(None);
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        pidfd => pidfd.context("open the container's process")?,
    };
    // Looked at after it was opened, it is the one that is open.
    Ok((record::start_time(record.pid) == Some(record.start_time)).then_some(pidfd))
}

/// Deletes a stopped or created container, or with `force` any; runs its poststop hooks.
///
/// With `force` a container that does not exist is fine.
pub fn delete(root: &Path, id: &str, force: bool) -> Result<()> {
    let record = match load(root, id) {
        Err(error) if force && error::is(&error, error::Kind::NotFound) => {
            // What a creation that was killed has left.
            return remove_directory(&directory(root, id)?);
        }
        record => record?,
    };
    match record.status(root)? {
        Status::Stopped => {}
        Status::Created => end(&record)?,
        _ if force => end(&record)?,
        status => bail!(error::conflict(format!(
            "cannot delete container {id} that is not stopped: {}",
            status.name()
        ))),
    }
    cgroup::end(&record.cgroup()?, record.unit.as_ref())?;
    run_poststop(&record.poststop, &record.state(Status::Stopped));
    remove_directory(&directory(root, id)?)
}

/// The record goes first: without it there is no container.
fn remove_directory(directory: &Path) -> Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("remove {}", directory.display())),
    };
    gone(fs::remove_file(directory.join("state.json")))?;
    gone(fs::remove_file(start_socket(directory)))?;
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            gone(fs::remove_dir_all(directory))
        }
        removed => gone(removed),
    }
}

/// Kills the first process and waits until it has ended.
fn end(record: &Record) -> Result<()> {
    let Some(pidfd) = open(record)? else {
        return Ok(());
    };
    signal_if_alive(pidfd.as_fd(), libc::SIGKILL).context("kill the container's process")?;
    record.cgroup()?.thaw()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut waiting = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut waiting, Some(&left)) {
            Ok(0) => bail!("the container's process survives SIGKILL"),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the container's process"),
        }
    }
}

/// Stops all processes of a container until [`resume`].
pub fn pause(root: &Path, id: &str) -> Result<()> {
    let record = load(root, id)?;
    let status = record.status(root)?;
    if !status.can_pause() {
        bail!(error::conflict(format!(
            "container not running or created: {}",
            status.name()
        )));
    }
    record.cgroup()?.freeze()
}

/// Lets the processes of a paused container go on.
pub fn resume(root: &Path, id: &str) -> Result<()> {
    let record = load(root, id)?;
    if record.status(root)? != Status::Paused {
        bail!(error::conflict("container not paused"));
    }
    record.cgroup()?.thaw()
}

/// Changes the limits of a container; what `resources` leaves out stays.
pub fn update(root: &Path, id: &str, resources: &Resources) -> Result<()> {
    let record = load(root, id)?;
    if record.status(root)? == Status::Stopped {
        bail!(error::conflict("container not running"));
    }
    let host = layout::detect()?;
    if let Some(unit) = &record.unit {
        systemd::update(host, unit, resources)?;
    }
    let cgroup = record.cgroup()?;
    if !cgroup.has_directories() {
        bail!(error::unavailable(
            "the container has no cgroup of its own that could be limited"
        ));
    }
    cgroup.update(host, resources)
}

/// Returns the cgroup of a container, as far as it exists.
pub fn cgroup(root: &Path, id: &str) -> Result<Cgroup> {
    load(root, id)?.cgroup()
}

/// Returns the processes of a container as the caller numbers them.
pub fn pids(root: &Path, id: &str) -> Result<Vec<i32>> {
    load(root, id)?.cgroup()?.pids()
}

/// A running container that processes can join.
#[derive(Debug)]
pub struct Joinable {
    /// The configuration that it was created with.
    pub spec: Spec,
    state: State,
    pidfd: OwnedFd,
    cgroup: Cgroup,
    filters: PathBuf,
}

/// Opens a running container for processes that are to join it. Fails with `Conflict` if it has stopped, and if it is
/// paused unless that is to be ignored: then they begin when it goes on.
pub fn joinable(root: &Path, id: &str, ignore_paused: bool) -> Result<Joinable> {
    let record = load(root, id)?;
    let Some(pidfd) = open(&record)? else {
        bail!(error::conflict("cannot exec in a stopped container"));
    };
    let cgroup = record.cgroup()?;
    if record.status_in(root, &cgroup)? == Status::Paused && !ignore_paused {
        bail!(error::with_hint(
            error::conflict("cannot exec in a paused container"),
            "--ignore-paused waits until it goes on",
        ));
    }
    Ok(Joinable {
        spec: record.spec()?,
        state: record.state(Status::Running),
        pidfd,
        cgroup,
        filters: filters(root),
    })
}

impl Joinable {
    /// Starts a process in the container; see [`exec`].
    pub fn exec(&self, options: ExecOptions<'_>) -> Result<Process> {
        let no_linux = Linux::default();
        let container = Running {
            pidfd: self.pidfd.as_fd(),
            state: &self.state,
            linux: self.spec.linux.as_ref().unwrap_or(&no_linux),
            cgroup: Some(&self.cgroup),
            filters: Some(&self.filters),
        };
        exec(container, options)
    }
}
