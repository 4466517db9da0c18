//! Another process in a running container.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Engine, lifecycle};
use crate::container::{Container, ExitStatus, Phase};
use crate::docker::container::ExecCreate;
use crate::error;
use crate::monitor::client::Connection;
use crate::monitor::control::{ExecRequest, StartError, shown};
use crate::oci::runtime::{ConsoleSize, Process};

/// A process that was started, with the caller's side of its streams.
#[derive(Debug)]
pub struct Exec {
    /// Tells its end.
    pub connection: Connection,
    /// Names the session.
    pub id: String,
    /// Takes its input.
    pub stdin: Option<OwnedFd>,
    /// Gives its output.
    pub stdout: Option<OwnedFd>,
    /// Gives its errors.
    pub stderr: Option<OwnedFd>,
    /// Its terminal's master side, instead of the streams.
    pub terminal: Option<OwnedFd>,
}

/// Starts a process; streams that the request does not attach are the null device.
///
/// A program that cannot be started is a [`crate::monitor::control::StartError`].
pub fn exec(
    engine: &Engine,
    container: &Container,
    text: &str,
    request: &ExecCreate,
) -> Result<Exec> {
    lifecycle::running(container)?;
    if container.status.phase == Phase::Paused {
        let why = format!("Container {text} is paused, unpause the container before exec");
        return Err(error::conflict(why));
    }
    if request.cmd.is_empty() {
        return Err(error::invalid("No exec command specified"));
    }
    if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
        let refused = StartError {
            message: "OCI runtime exec failed: exec failed: Cwd must be an absolute path"
                .to_owned(),
            exit_code: ExitStatus::REFUSED.code(),
        };
        return Err(refused.into());
    }
    let connection = lifecycle::monitor(engine, container)?;
    let streams = if request.tty {
        None
    } else {
        Some(Streams::new(request)?)
    };
    let far = streams.as_ref().map(|streams| {
        [&streams.far[0], &streams.far[1], &streams.far[2]].map(|stream| stream.as_fd())
    });
    let far = far.as_ref().map_or(&[][..], |far| &far[..]);
    let (id, terminal) = connection.exec(to_request(request), far)?;
    let near = streams.map_or([None, None, None], |streams| streams.near);
    let [stdin, stdout, stderr] = near;
    Ok(Exec {
        connection,
        id,
        stdin,
        stdout,
        stderr,
        terminal,
    })
}

fn to_request(request: &ExecCreate) -> ExecRequest {
    let size = request
        .console_size
        .map(|[height, width]| ConsoleSize { height, width });
    ExecRequest {
        process: Process {
            terminal: request.tty,
            console_size: size.filter(|size| size.height > 0 && size.width > 0),
            args: request.cmd.clone(),
            env: request.env.clone(),
            cwd: PathBuf::from(&request.working_dir),
            ..Process::default()
        },
        user: request.user.clone(),
        privileged: request.privileged,
        command: shown(&request.cmd),
    }
}

/// Both sides of three streams.
struct Streams {
    near: [Option<OwnedFd>; 3],
    far: [OwnedFd; 3],
}

impl Streams {
    fn new(request: &ExecCreate) -> Result<Streams> {
        let (stdin, input) = if request.attach_stdin {
            let (reader, writer) = pipe()?;
            (reader.into(), Some(writer.into()))
        } else {
            (null()?, None)
        };
        let output = |attach: bool| -> Result<(Option<OwnedFd>, OwnedFd)> {
            if !attach {
                return Ok((None, null()?));
            }
            let (reader, writer) = pipe()?;
            Ok((Some(reader.into()), writer.into()))
        };
        let (out, stdout) = output(request.attach_stdout)?;
        let (err, stderr) = output(request.attach_stderr)?;
        Ok(Streams {
            near: [input, out, err],
            far: [stdin, stdout, stderr],
        })
    }
}

fn pipe() -> Result<(PipeReader, PipeWriter)> {
    std::io::pipe().context("make a pipe")
}

fn null() -> Result<OwnedFd> {
    let file = File::options().read(true).write(true).open("/dev/null");
    Ok(file.context("open /dev/null")?.into())
}
