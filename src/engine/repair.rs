//! What a crash has left behind, and how it is set right.
//!
//! A container whose status needs a monitor and whose monitor's lock is free has lost its monitor: `kill -9`, a bug, the end
//! of the machine. Whoever looks first takes the lock, ends what may still run, and writes down how it ended. Every step may
//! be repeated, so a repair that is itself killed is repaired by the next one.
//!
//! If only the monitor died, a restart policy is kept as if the program had been killed: whoever repairs starts the
//! container again. After the end of the machine that is for [`super::boot`].

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{Engine, lifecycle};
use crate::container::{Container, ExitStatus, NetworkStatus, Phase, Status};
use crate::monitor::{health, network, place, removal, restart};
use crate::{error, event, store};

/// Returns `container` as it is after a repair, if it needed one.
///
/// The error is of kind `NotFound` if the repair was to remove it.
pub fn container(engine: &Engine, container: Container) -> Result<Container> {
    let has_run_directory = engine.dirs.container_run(&container.record.id).exists();
    repaired(engine, container, has_run_directory)
}

fn repaired<H: DeserializeOwned>(
    engine: &Engine,
    container: Container<H>,
    has_run_directory: bool,
) -> Result<Container<H>> {
    let id = &container.record.id;
    if !container.status.phase.needs_monitor() {
        // Without a monitor there is no run directory, unless one has died before it could say anything.
        if has_run_directory {
            clear_start(engine, id)?;
        }
        return Ok(container);
    }
    if engine.containers.is_monitored(id)? {
        return Ok(container);
    }
    let done = repair(engine, id)
        .with_context(|| format!("repair container {}", container.record.name))?;
    if let Some(status) = done.unsaved {
        let repaired = engine.containers.get_as(id)?;
        return Ok(Container { status, ..repaired });
    }
    if done.again {
        let repaired = engine.containers.get(id)?;
        if let Err(error) = lifecycle::start_again(engine, &repaired) {
            let name = &repaired.record.name;
            tracing::warn!("start container {name} again: {}", error::line(&error));
        }
    }
    engine.containers.get_as(id)
}

/// Returns those of `containers` that are left after all that need it are repaired.
pub fn containers<H: DeserializeOwned>(
    engine: &Engine,
    containers: Vec<Container<H>>,
) -> Result<Vec<Container<H>>> {
    let with_run_directory: BTreeSet<String> = with_run_directory(engine)?.into_iter().collect();
    let mut left = Vec::with_capacity(containers.len());
    for candidate in containers {
        let has_run_directory = with_run_directory.contains(&candidate.record.id);
        match repaired(engine, candidate, has_run_directory) {
            Ok(container) => left.push(container),
            Err(error) if error::is(&error, error::Kind::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

/// Removes what a start has left that was cut off.
fn clear_start(engine: &Engine, id: &str) -> Result<()> {
    if engine.containers.is_monitored(id)? {
        return Ok(());
    }
    let Some(_lock) = engine.containers.try_lock(id)? else {
        return Ok(());
    };
    let container = engine.containers.get(id)?;
    if !container.status.phase.needs_monitor() {
        place::clear(&container.record)?;
        engine.containers.clear_run(id);
    }
    Ok(())
}

/// Removes the run directories of containers that were removed by processes that did not get so far.
pub fn run_directories(engine: &Engine) -> Result<()> {
    for id in with_run_directory(engine)? {
        // The container comes before its run directory, and who removes it holds its lock until that has gone too.
        if !engine.dirs.container(&id).exists()
            && let Some(_lock) = engine.containers.try_lock(&id)?
        {
            engine.containers.clear_run(&id);
        }
    }
    Ok(())
}

/// Returns the ids of containers that have a run directory.
fn with_run_directory(engine: &Engine) -> Result<Vec<String>> {
    let run = engine.dirs.run();
    let context = || format!("list {}", run.display());
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(run).with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        // What is not named like a container is not one's.
        ids.extend(name.into_string().ok().filter(|name| is_id(name)));
    }
    Ok(ids)
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a repair came to.
#[derive(Debug, Default)]
struct Repaired {
    /// Whether the container is to start again.
    again: bool,
    /// Its status, if the disk is full; a later repair will write it.
    unsaved: Option<Status>,
}

fn repair(engine: &Engine, id: &str) -> Result<Repaired> {
    let Some(_lock) = engine.containers.try_lock(id)? else {
        return Ok(Repaired::default());
    };
    let container = engine.containers.get(id)?;
    if !container.status.phase.needs_monitor() {
        return Ok(Repaired::default());
    }
    let (record, mut status) = (container.record, container.status);
    place::clear(&record)?;
    let same_boot = status.boot_id == store::boot_id();
    let died = if same_boot {
        ExitStatus::MONITOR_DIED
    } else {
        ExitStatus::MACHINE_DIED
    };
    network::clean_up(&engine.dirs, &record, &status.network)?;
    status.network = NetworkStatus::default();
    status.phase = Phase::Exited;
    status.pid = 0;
    status.exit_code = died.code();
    status.finished_at = Some(Timestamp::now());
    health::end(&mut status.health);
    match engine.containers.set_status(id, &status) {
        // Who wants to remove containers, to have room again, must not be stopped by that.
        Err(error) if is_full(&error) => {
            tracing::warn!("repair container {}: {}", record.name, error::line(&error));
            return Ok(Repaired {
                again: false,
                unsaved: Some(status),
            });
        }
        written => written?,
    }
    let mut attributes = removal::attributes(&record);
    attributes.insert("exitCode".to_owned(), died.code().to_string());
    event::record(&engine.dirs, "container", "die", id, attributes);
    if record.host_config.auto_remove {
        removal::remove(&engine.dirs, &record, true)?;
    }
    engine.containers.clear_run(id);
    let why = if same_boot {
        "its monitor was killed"
    } else {
        "the machine went down"
    };
    let ended = restart::Ended {
        exit_code: status.exit_code,
        restarts: status.restart_count,
        stopped_by_user: status.stopped_by_user,
    };
    // A monitor that died while it stopped its container must not bring it back.
    let again = same_boot
        && !status.stopped_by_user
        && restart::wanted(&record.host_config.restart_policy, ended);
    let done = match (record.host_config.auto_remove, again) {
        (true, _) => "removed",
        (false, true) => "started again by its policy",
        (false, false) => "marked as ended",
    };
    tracing::warn!(
        "repaired container {}: {why} while it ran; it is {done}",
        record.name
    );
    Ok(Repaired {
        again,
        unsaved: None,
    })
}

/// Returns whether an error says that a disk, or somebody's share of it, is full.
fn is_full(error: &anyhow::Error) -> bool {
    let full = [libc::ENOSPC, libc::EDQUOT].map(Some);
    error.chain().any(|cause| {
        let of_std = cause.downcast_ref::<std::io::Error>();
        let of_rustix = cause.downcast_ref::<rustix::io::Errno>();
        full.contains(&of_std.and_then(std::io::Error::raw_os_error))
            || full.contains(&of_rustix.map(|errno| errno.raw_os_error()))
    })
}
