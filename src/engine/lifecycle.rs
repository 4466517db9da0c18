//! From start to removal: what is done to a container as a whole.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::attach::{Session, Target};
use super::{Engine, why};
use crate::container::{Container, EndedBy, Phase, names, signal};
use crate::monitor::client::{self, Connection};
use crate::monitor::control::{Request, Streams};
use crate::monitor::removal;
use crate::store::FileLock;
use crate::{error, event, sys};

/// How long a monitor may take to clean up after its container has ended.
const CLEAN_UP: Duration = Duration::from_secs(30);
const STOP_TIMEOUT_S: i64 = 10;

/// Starts a container; with `attach`, returns the session of the client that waits for its end.
///
/// A running container is left as it is. A program that cannot be started is a [`crate::monitor::control::StartError`].
pub fn start(
    engine: &Engine,
    container: &Container,
    attach: Option<Streams>,
) -> Result<Option<Session>> {
    start_for(engine, container, attach, false)
}

/// Starts a container as its policy would, in the place of a monitor that is dead.
pub(super) fn start_again(engine: &Engine, container: &Container) -> Result<()> {
    start_for(engine, container, None, true).map(drop)
}

fn start_for(
    engine: &Engine,
    container: &Container,
    attach: Option<Streams>,
    again: bool,
) -> Result<Option<Session>> {
    let id = &container.record.id;
    match container.status.phase {
        Phase::Paused => {
            return Err(error::conflict(
                "cannot start a paused container, try unpause instead",
            ));
        }
        Phase::Running | Phase::Restarting => return Ok(None),
        Phase::Removing => return Err(being_removed(id)),
        Phase::Created | Phase::Exited => {}
    }
    let exe = sys::process::sealed_exe().context("protect the program of the monitor")?;
    let connection = client::spawn(&engine.dirs, &exe, id)?;
    let stream = connection.start(attach, again)?;
    Ok(stream.map(|stream| Session {
        connection,
        stream,
        tty: container.record.config.tty,
        target: Target::Container,
    }))
}

/// Sends a signal, given as `KILL`, `SIGKILL` or `9`, to the first process of a running container. After SIGKILL waits until
/// nothing of the container runs, as docker does: who looks at it next sees its end.
pub fn kill(engine: &Engine, text: &str, signal: &str) -> Result<()> {
    let kill = || {
        let number = signal::parse(signal).map_err(|error| match signal.parse::<i32>() {
            Ok(number) if number != 0 => {
                error::invalid(format!("the linux daemon does not support signal {number}"))
            }
            _ => error,
        })?;
        let container = engine.container(text)?;
        // Nothing runs that could get it: as with docker, nothing is started any more either.
        if container.status.phase == Phase::Restarting {
            let options = StopOptions {
                signal: Some(number.to_string()),
                timeout_s: Some(0),
            };
            return stop_for(engine, &container, &options, Purpose::Stop).map(drop);
        }
        running(&container)?;
        let connection = monitor(engine, &container)?;
        connection.request(&Request::Signal(number))?;
        if number != libc::SIGKILL {
            return Ok(());
        }
        connection.wait_gone()
    };
    kill().map_err(|error| {
        if text.is_empty() {
            return error;
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        error.context(format!("cannot kill container: {name}"))
    })
}

/// How a container is to be stopped; what is absent is taken from the container's configuration.
#[derive(Clone, Debug, Default)]
pub struct StopOptions {
    /// `TERM`, `SIGTERM` or `15`.
    pub signal: Option<String>,
    /// Seconds until SIGKILL; below zero never.
    pub timeout_s: Option<i64>,
}

/// Stops a container, and waits until nothing of it runs; returns what the user should know.
pub fn stop(
    engine: &Engine,
    container: &Container,
    options: &StopOptions,
) -> Result<Option<String>> {
    stop_for(engine, container, options, Purpose::Stop)?;
    Ok(ignored(engine, container))
}

/// Returns what is to be said once of a container whose program has let its stop signal pass.
fn ignored(engine: &Engine, container: &Container) -> Option<String> {
    // With --rm it is gone by now.
    let status = engine.containers.status(&container.record.id).ok()?;
    let by = status.ended_by.filter(EndedBy::is_telling)?;
    let ran = container.status.phase.needs_monitor();
    (ran && status.ignored_stops == 1).then(|| {
        let (name, signal) = (&container.record.name, signal::name(by.signal));
        let hint = why::ignored_hint(&container.record, &by);
        format!(
            "{name} did not end at {signal} and was killed after {} seconds: {hint}",
            by.timeout_s
        )
    })
}

/// What a container is stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Stop,
    Restart,
    Removal,
}

fn stop_for(
    engine: &Engine,
    container: &Container,
    options: &StopOptions,
    purpose: Purpose,
) -> Result<bool> {
    let config = &container.record.config;
    let configured = Some(config.stop_signal.as_str()).filter(|signal| !signal.is_empty());
    let timeout_s = options
        .timeout_s
        .or(config.stop_timeout)
        .unwrap_or(STOP_TIMEOUT_S);
    if !container.status.phase.needs_monitor() {
        return Ok(false);
    }
    // As with docker, nobody's signal is looked at before there is something to stop.
    let signal = signal::parse(options.signal.as_deref().or(configured).unwrap_or("TERM"))?;
    let connection = match monitor(engine, container) {
        // It has ended by itself meanwhile.
        Err(error) if error::is(&error, error::Kind::Conflict) => return Ok(false),
        connection => connection?,
    };
    let stopped = connection.request(&Request::Stop {
        signal,
        timeout_s,
        told: purpose != Purpose::Removal,
        keep: purpose == Purpose::Restart,
    });
    match stopped {
        // Its end came before the request, and with it the monitor's, or soon.
        Err(error) if error.is::<client::Gone>() || error::is(&error, error::Kind::Conflict) => {}
        stopped => stopped?,
    }
    connection.wait_gone()?;
    Ok(true)
}

/// Stops a container if it runs, and starts it; returns what the user should know.
pub fn restart(
    engine: &Engine,
    container: &Container,
    options: &StopOptions,
) -> Result<Option<String>> {
    let id = &container.record.id;
    stop_for(engine, container, options, Purpose::Restart)?;
    let warning = ignored(engine, container);
    start(engine, &engine.containers.get(id)?, None)?;
    event::record(
        &engine.dirs,
        "container",
        "restart",
        id,
        removal::attributes(&container.record),
    );
    Ok(warning)
}

/// Freezes all processes of a running container.
pub fn pause(engine: &Engine, container: &Container) -> Result<()> {
    let id = &container.record.id;
    match container.status.phase {
        Phase::Running => monitor(engine, container)?.request(&Request::Pause),
        Phase::Paused => Err(error::conflict(format!("Container {id} is already paused"))),
        _ => Err(not_running(id)),
    }
}

/// Freezes the processes of a running container until what is returned is given to [`resume`], or dropped: by the end of
/// this process too.
pub fn pause_meanwhile(engine: &Engine, container: &Container) -> Result<Connection> {
    let connection = monitor(engine, container)?;
    connection.request(&Request::PauseMeanwhile)?;
    Ok(connection)
}

/// Lets the processes run again that were frozen for a while.
pub fn resume(connection: &Connection) -> Result<()> {
    connection.request(&Request::Unpause)
}

/// Lets the processes of a paused container run again.
pub fn unpause(engine: &Engine, container: &Container) -> Result<()> {
    match container.status.phase {
        Phase::Paused => monitor(engine, container)?.request(&Request::Unpause),
        _ => Err(error::conflict(format!(
            "Container {} is not paused",
            container.record.id
        ))),
    }
}

/// Waits until a container does not run, and returns the exit code of its last run.
pub fn wait(engine: &Engine, container: &Container) -> Result<i32> {
    let id = &container.record.id;
    if container.status.phase.needs_monitor()
        && let Ok(connection) = monitor(engine, container)
    {
        // It may end between two of these, and has written down by then what is asked for.
        let asked = connection.send(&Request::Wait, &[]);
        match asked.and_then(|()| connection.wait()) {
            Ok(code) => return Ok(code),
            Err(error) => tracing::debug!("wait for {id}: {error:#}"),
        }
    }
    Ok(engine.container(id)?.status.exit_code)
}

/// Gives a container another name.
pub fn rename(engine: &Engine, text: &str, name: &str) -> Result<()> {
    const NEW_NAME: &str = "Error when allocating new name";
    let container = engine.container(text)?;
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() {
        return Err(error::invalid("Neither old nor new names may be empty"));
    }
    if name == container.record.name {
        let why = "Renaming a container with the same name as its current name";
        return Err(error::invalid(why));
    }
    if !names::is_valid(name) {
        let allowed = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed";
        let why = format!("{NEW_NAME}: Invalid container name (/{name}), {allowed}");
        return Err(error::invalid(why));
    }
    let renamed = engine.containers.rename(&container.record.id, name);
    let old = renamed.context(NEW_NAME)?;
    // Others in its networks find it by its new name from now on.
    if container.status.phase.needs_monitor()
        && let Ok(monitor) = monitor(engine, &container)
    {
        monitor.request(&Request::Renamed)?;
    }
    let mut attributes = removal::attributes(&container.record);
    name.clone_into(attributes.entry("name".to_owned()).or_default());
    attributes.insert("oldName".to_owned(), format!("/{old}"));
    event::record(
        &engine.dirs,
        "container",
        "rename",
        &container.record.id,
        attributes,
    );
    Ok(())
}

/// What goes with a container that is removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Whether a running container is killed first.
    pub force: bool,
    /// Whether its anonymous volumes go too.
    pub volumes: bool,
}

/// Removes a container; `text` is how the user named it.
pub fn remove(engine: &Engine, text: &str, options: RemoveOptions) -> Result<()> {
    let container = engine.container(text)?;
    let id = &container.record.id;
    if container.status.phase.needs_monitor() {
        if !options.force {
            let state = container.status.phase.name();
            let remedy = if container.status.phase == Phase::Paused {
                " and must be unpaused first"
            } else {
                ": stop the container before removing or force remove"
            };
            return Err(error::conflict(format!(
                "cannot remove container \"{text}\": container is {state}{remedy}"
            )));
        }
        let kill = StopOptions {
            signal: Some("KILL".to_owned()),
            timeout_s: Some(0),
        };
        stop_for(engine, &container, &kill, Purpose::Removal)?;
    }
    // With --rm its monitor has removed it by now.
    let Some(_lock) = wait_for_lock(engine, id)? else {
        return Err(being_removed(id));
    };
    match engine.containers.get(id) {
        Ok(container) => removal::remove(&engine.dirs, &container.record, options.volumes)?,
        Err(error) if error::is(&error, error::Kind::NotFound) && options.force => {}
        Err(error) => return Err(error),
    }
    engine.containers.clear_run(id);
    Ok(())
}

/// Takes the lock of a monitor that is about to end; nothing if it takes too long.
fn wait_for_lock(engine: &Engine, id: &str) -> Result<Option<FileLock>> {
    let deadline = Instant::now() + CLEAN_UP;
    loop {
        if let Some(lock) = engine.containers.try_lock(id)? {
            return Ok(Some(lock));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Connects to the monitor of a container.
pub fn monitor(engine: &Engine, container: &Container) -> Result<Connection> {
    client::connect(&engine.dirs, &container.record.id)
}

/// Refuses a container that has no processes.
pub fn running(container: &Container) -> Result<()> {
    if container.status.phase.has_processes() {
        Ok(())
    } else {
        Err(not_running(&container.record.id))
    }
}

fn not_running(id: &str) -> anyhow::Error {
    error::conflict(format!("container {id} is not running"))
}

fn being_removed(id: &str) -> anyhow::Error {
    error::conflict(format!("removal of container {id} is already in progress"))
}
