//! `exec` and `attach`.

use std::os::fd::AsFd as _;

use anyhow::Result;

use super::engine;
use super::run::{check_terminal, exit_code};
use super::session::{SessionOptions, chosen_keys, detach_keys, follow};
use crate::cli::command::{self, Context};
use crate::cli::commands::processes::{AttachArgs, ExecArgs};
use crate::cli::face::Failed;
use crate::cli::flags::env;
use crate::cli::output;
use crate::cli::terminal::{self, Carries, Far, Outcome, Output, Relay, Remote, relay};
use crate::container::Phase;
use crate::docker::container::ExecCreate;
use crate::engine::{attach as engine_attach, exec as engine_exec};
use crate::error;
use crate::monitor::control::{StartError, Streams};

/// `exec`
pub fn exec(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: ExecArgs = command::arguments(matches)?;
    let attached = !arguments.detach;
    let look_up = |name: &str| std::env::var(name).ok();
    let given = chosen_keys(context, &arguments.detach_keys);
    let request = ExecCreate {
        user: arguments.user.clone(),
        privileged: arguments.privileged,
        tty: arguments.tty,
        console_size: terminal::size().map(|size| [u32::from(size.height), u32::from(size.width)]),
        attach_stdin: attached && arguments.interactive,
        attach_stderr: attached,
        attach_stdout: attached,
        detach_keys: given.clone(),
        env: env::environment(&arguments.env_file, &arguments.env, &look_up)?,
        working_dir: arguments.workdir.clone(),
        cmd: arguments.command.clone(),
    };
    let keys = detach_keys(&given).map_err(|_| {
        Failed::engine(error::invalid(format!(
            "Invalid escape keys ({given}) provided"
        )))
    })?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    check_terminal(request.attach_stdin && request.tty)?;
    let started = engine_exec::exec(&engine, &container, &arguments.container, &request);
    let started = match (started, attached) {
        // To a client that is attached docker writes it into the stream, where the program's output would be.
        (Err(error), true) if let Some(code) = StartError::exit_code_of(&error) => {
            print_into_stream(context, &error)?;
            return Ok(exit_code(code));
        }
        (started, _) => started.map_err(Failed::engine)?,
    };
    if arguments.detach {
        return Ok(0);
    }
    let far = started
        .terminal
        .as_ref()
        .map_or(Ok(None), |master| master.try_clone().map(Some));
    let far = far.map_err(anyhow::Error::from)?;
    let mut remote = Remote {
        input: started.stdin,
        outputs: Vec::new(),
    };
    for (from, carries) in [
        (started.stdout, Carries::Stdout),
        (started.stderr, Carries::Stderr),
    ] {
        remote
            .outputs
            .extend(from.map(|from| Output { from, carries }));
    }
    if let Some(master) = started.terminal {
        if request.attach_stdin {
            remote.input = Some(master.try_clone().map_err(anyhow::Error::from)?);
        }
        remote.outputs.push(Output {
            from: master,
            carries: Carries::Stdout,
        });
    }
    let how = Relay {
        connection: &started.connection,
        terminal: far
            .as_ref()
            .map_or(Far::None, |master| Far::Here(master.as_fd())),
        proxy_signals: false,
        direct: true,
        detach_keys: &keys,
    };
    match relay(remote, &how)? {
        Outcome::Exited(code) => Ok(exit_code(code)),
        Outcome::Detached => Err(left()),
    }
}

fn print_into_stream(context: &Context, error: &anyhow::Error) -> anyhow::Result<()> {
    output::out(&format!("{}\r\n", error::line(error)))?;
    // That is not what docker writes there.
    if let Some(hint) = error::hint(error).filter(|_| context.face.hints) {
        output::err(&format!("hint: {hint}\n"));
    }
    Ok(())
}

/// Who has detached is told so, as by docker.
fn left() -> Failed {
    Failed::from(anyhow::anyhow!("read escape sequence"))
}

/// `attach`
pub fn attach(context: &Context, matches: &clap::ArgMatches) -> Result<u8, Failed> {
    let arguments: AttachArgs = command::arguments(matches)?;
    let engine = engine(context)?;
    let container = engine
        .container(&arguments.container)
        .map_err(Failed::engine)?;
    let config = &container.record.config;
    if !matches!(container.status.phase, Phase::Running) {
        let what = match container.status.phase {
            Phase::Paused => "paused container, unpause it first",
            Phase::Restarting => "restarting container, wait until it is running",
            _ => "stopped container, start it first",
        };
        return Err(Failed::from(error::conflict(format!(
            "You cannot attach to a {what}"
        ))));
    }
    let keys = chosen_keys(context, &arguments.detach_keys);
    detach_keys(&keys)?;
    let stdin = !arguments.no_stdin && config.open_stdin;
    check_terminal(stdin && config.tty)?;
    let streams = Streams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let mut session =
        engine_attach::attach(&engine, &container, streams).map_err(Failed::engine)?;
    let options = SessionOptions {
        streams,
        proxy_signals: arguments.sig_proxy && !config.tty,
        detach_keys: keys,
    };
    match follow(&mut session, &options)? {
        Outcome::Exited(code) => Ok(exit_code(code)),
        Outcome::Detached => Err(left()),
    }
}
