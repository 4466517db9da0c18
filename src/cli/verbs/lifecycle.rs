//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `wait`, `rm`, `rename`.

use anyhow::{Context as _, Result};

use super::run::{check_terminal, exit_code};
use super::session::{SessionOptions, chosen_keys, follow};
use super::{each, engine};
use crate::cli::command::{self, Context};
use crate::cli::commands::Names;
use crate::cli::commands::lifecycle::{KillArgs, RenameArgs, RmArgs, StartArgs, StopArgs};
use crate::cli::face::Failed;
use crate::cli::{output, terminal};
use crate::engine::lifecycle::{self, RemoveOptions, StopOptions};
use crate::error;
use crate::monitor::control::Streams;

/// `start`
pub fn start(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: StartArgs = command::arguments(matches)?;
    if !arguments.checkpoint.is_empty() || !arguments.checkpoint_dir.is_empty() {
        let why = format!("\"--checkpoint\" {}", super::foreign::ONLY_EXPERIMENTAL);
        let hint = "aril has no checkpoints: they need CRIU";
        return Err(Failed::from(error::with_hint(
            error::unavailable(why),
            hint,
        )));
    }
    if arguments.attach || arguments.interactive {
        return start_attached(context, &arguments);
    }
    let engine = engine(context)?;
    let mut failed = Vec::new();
    let mut failures = Vec::new();
    for name in &arguments.containers {
        let started = engine
            .container(name)
            .and_then(|container| lifecycle::start(&engine, &container, None));
        match started {
            Ok(_) => output::out(&format!("{name}\n"))?,
            Err(error) => {
                failed.push(name.as_str());
                failures.push(Failed::engine(error));
            }
        }
    }
    if !failed.is_empty() {
        let names = failed.join(", ");
        failures.push(Failed::from(anyhow::anyhow!(
            "Error: failed to start containers: {names}"
        )));
    }
    Failed::all(failures)?;
    Ok(0)
}

fn start_attached(context: &Context, arguments: &StartArgs) -> Result<u8, Failed> {
    let [name] = &arguments.containers[..] else {
        let why = "you cannot start and attach multiple containers at once";
        return Err(Failed::from(error::invalid(why)));
    };
    let engine = engine(context)?;
    let container = engine.container(name).map_err(Failed::engine)?;
    let config = &container.record.config;
    let stdin = arguments.interactive && config.open_stdin;
    check_terminal(stdin && config.tty)?;
    let streams = Streams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let session = lifecycle::start(&engine, &container, Some(streams)).map_err(Failed::engine)?;
    let mut session = match session {
        Some(session) => session,
        // It runs already.
        None => {
            crate::engine::attach::attach(&engine, &container, streams).map_err(Failed::engine)?
        }
    };
    let options = SessionOptions {
        streams,
        proxy_signals: !config.tty,
        detach_keys: chosen_keys(context, &arguments.detach_keys),
    };
    match follow(&mut session, &options)? {
        terminal::Outcome::Detached => Ok(0),
        terminal::Outcome::Exited(code) => {
            if container.record.host_config.auto_remove {
                session.connection.wait_gone()?;
            }
            Ok(exit_code(code))
        }
    }
}

fn stop_options(arguments: &StopArgs) -> Result<StopOptions> {
    if arguments.time.is_some() {
        output::out("Flag --time has been deprecated, use --timeout instead\n")?;
    }
    if arguments.time.is_some() && arguments.timeout.is_some() {
        let why = "conflicting options: cannot specify both --timeout and --time";
        return Err(error::invalid(why));
    }
    Ok(StopOptions {
        signal: Some(arguments.signal.clone()).filter(|signal| !signal.is_empty()),
        timeout_s: arguments.time.or(arguments.timeout),
    })
}

/// `stop`
pub fn stop(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: StopArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let options = stop_options(&arguments)?;
    each(&arguments.containers, |name| {
        let warning = lifecycle::stop(&engine, &engine.container(name)?, &options)?;
        if context.face.hints {
            output::warn(warning.as_slice());
        }
        Ok(name.to_owned())
    })
}

/// `restart`
pub fn restart(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: StopArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let options = stop_options(&arguments)?;
    each(&arguments.containers, |name| {
        let container = engine.container(name)?;
        let warning = lifecycle::restart(&engine, &container, &options)
            .with_context(|| format!("Cannot restart container {name}"))?;
        if context.face.hints {
            output::warn(warning.as_slice());
        }
        Ok(name.to_owned())
    })
}

/// `kill`
pub fn kill(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: KillArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let signal = if arguments.signal.is_empty() {
        "KILL"
    } else {
        &arguments.signal
    };
    each(&arguments.containers, |name| {
        lifecycle::kill(&engine, name, signal)?;
        Ok(name.to_owned())
    })
}

/// `pause`
pub fn pause(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: Names = command::arguments(matches)?;
    let engine = engine(context)?;
    each(&arguments.names, |name| {
        lifecycle::pause(&engine, &engine.container(name)?)?;
        Ok(name.to_owned())
    })
}

/// `unpause`
pub fn unpause(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: Names = command::arguments(matches)?;
    let engine = engine(context)?;
    each(&arguments.names, |name| {
        lifecycle::unpause(&engine, &engine.container(name)?)?;
        Ok(name.to_owned())
    })
}

/// `wait`
pub fn wait(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: Names = command::arguments(matches)?;
    let engine = engine(context)?;
    each(&arguments.names, |name| {
        Ok(lifecycle::wait(&engine, &engine.container(name)?)?.to_string())
    })
}

/// `rm`
pub fn rm(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: RmArgs = command::arguments(matches)?;
    if arguments.link {
        let why = "aril removes a link with the container that has it";
        return Err(Failed::from(error::invalid(why)));
    }
    let engine = engine(context)?;
    let options = RemoveOptions {
        force: arguments.force,
        volumes: arguments.volumes,
    };
    let mut failures = Vec::new();
    for name in &arguments.containers {
        if name.is_empty() {
            let why = error::invalid("container name cannot be empty");
            failures.push(Failed::from(why));
            continue;
        }
        match lifecycle::remove(&engine, name, options) {
            Ok(()) => output::out(&format!("{name}\n"))?,
            Err(error) => {
                // What does not exist is as good as removed by force: it is said, and is no failure.
                if arguments.force && error::is(&error, error::Kind::NotFound) {
                    output::err(&context.face.text(&Failed::engine(error)));
                } else {
                    failures.push(Failed::engine(error));
                }
            }
        }
    }
    Failed::all(failures)?;
    Ok(0)
}

/// `rename`
pub fn rename(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: RenameArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    if arguments.name.trim().is_empty() || arguments.container.trim().is_empty() {
        return Err(Failed::from(anyhow::anyhow!(
            "Error: Neither old nor new names may be empty"
        )));
    }
    let renamed = lifecycle::rename(&engine, &arguments.container, arguments.name.trim());
    let Err(error) = renamed else { return Ok(0) };
    let name = &arguments.container;
    let client = anyhow::anyhow!("Error: failed to rename container named {name}");
    Failed::all(vec![Failed::engine(error), Failed::from(client)])?;
    Ok(1)
}
