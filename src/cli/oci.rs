//! The command line of the OCI runtime: that of runc, for containerd, podman, CRI-O and dockerd.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr as _;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use nix::fcntl::AtFlags;

use super::relay::{Signals, accompany, terminal_size};
use crate::error;
use crate::oci::runtime as document;
use crate::runtime::bundle::{self, BundleOptions};
use crate::runtime::{ExecOptions, Process, Stdio};
use crate::sys::{fdpass, process as kernel};

/// Where containers are recorded if nothing else is said.
const ROOT: &str = "/run/aril-oci";

/// Runs containers from OCI bundles.
#[derive(Parser)]
#[command(name = "aril-oci", version, disable_help_subcommand = true)]
struct Cli {
    /// Directory of the containers' records
    #[arg(long, value_name = "DIR", default_value = ROOT, global = true)]
    root: PathBuf,
    /// File that errors and warnings are appended to
    #[arg(long, value_name = "FILE", global = true)]
    log: Option<PathBuf>,
    /// Form of the log: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    log_format: String,
    /// Log every decision
    #[arg(long, global = true)]
    debug: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a container; `start` runs its program
    Create(Create),
    /// Run the program of a created container
    Start {
        /// The container
        id: String,
    },
    /// Show the state of a container
    State {
        /// The container
        id: String,
    },
    /// Send a signal to the first process of a container
    Kill {
        /// Send it to all processes of the container
        #[arg(long, short)]
        all: bool,
        /// The container
        id: String,
        /// Name or number
        #[arg(default_value = "SIGTERM")]
        signal: String,
    },
    /// Delete a stopped container
    Delete {
        /// Kill it first if it runs
        #[arg(long, short)]
        force: bool,
        /// The container
        id: String,
    },
    /// Create and start a container, wait for it, and delete it
    Run(Run),
    /// Run a process in a running container
    Exec(Exec),
    /// Stop all processes of a container
    Pause {
        /// The container
        id: String,
    },
    /// Let the processes of a paused container go on
    Resume {
        /// The container
        id: String,
    },
    /// List all containers
    List {
        /// table or json
        #[arg(long, short, default_value = "table")]
        format: String,
        /// Ids only
        #[arg(long, short)]
        quiet: bool,
    },
}

#[derive(Args)]
struct Create {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Give the container an init that reaps for its program
    #[arg(long)]
    init: bool,
    /// Cover the old root instead of taking it away
    #[arg(long)]
    no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    no_new_keyring: bool,
    /// Pass on so many descriptors from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Name of the new container
    id: String,
}

#[derive(Args)]
struct Run {
    /// Do not wait for it
    #[arg(long, short)]
    detach: bool,
    /// Do not delete it when it has ended
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    create: Create,
}

#[derive(Args)]
struct Exec {
    /// File with the process, in the form of `process` in a configuration
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Add an environment variable, NAME=VALUE
    #[arg(long, short, value_name = "ENV")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    tty: bool,
    /// User and group, UID[:GID]
    #[arg(long, short, value_name = "USER")]
    user: Option<String>,
    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Add a capability
    #[arg(long, short, value_name = "CAP")]
    cap: Vec<String>,
    /// Keep it from gaining privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Do not wait for it
    #[arg(long, short)]
    detach: bool,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Pass on so many descriptors from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// The container
    id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the command line `args`, whose first is the program's name.
pub(super) fn main(args: Vec<OsString>) -> ExitCode {
    let makes_processes = |arg: &OsString| arg == "create" || arg == "run" || arg == "exec";
    if args.iter().skip(1).any(makes_processes)
        && let Err(error) = seal()
    {
        complain("aril-oci", &error::line(&error));
        return ExitCode::from(1);
    }
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => {
            let code = u8::from(usage.use_stderr());
            // Nobody can be told that nobody can be told.
            drop(usage.print());
            return ExitCode::from(code);
        }
    };
    let level = if cli.debug {
        tracing::Level::DEBUG
    } else {
        tracing::Level::WARN
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .without_time()
        .with_target(false)
        .init();
    let failed = match &cli.command {
        Command::Exec(_) => 255,
        _ => 1,
    };
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let line = error::line(&error);
            complain("aril-oci", &line);
            if let Some(log) = &cli.log
                && let Err(error) = append_to_log(log, &cli.log_format, &line)
            {
                complain("aril-oci", &format!("write {}: {error}", log.display()));
            }
            ExitCode::from(failed)
        }
    }
}

/// Prints an error.
pub(super) fn complain(program: &str, message: &str) {
    eprintln!("{program}: {message}");
}

/// Callers read the last record to learn what went wrong.
fn append_to_log(path: &Path, format: &str, message: &str) -> io::Result<()> {
    let mut log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    let time = jiff::Timestamp::now();
    if format == "json" {
        let record =
            serde_json::json!({"level": "error", "msg": message, "time": time.to_string()});
        writeln!(log, "{record}")
    } else {
        writeln!(log, "time=\"{time}\" level=error msg={message:?}")
    }
}

/// Goes on as a process whose binary no container can write (CVE-2019-5736); comes back if this is one already.
fn seal() -> Result<()> {
    if kernel::runs_sealed().unwrap_or(false) {
        return Ok(());
    }
    let exe = kernel::sealed_exe().context("protect our own binary from containers")?;
    let c_string = |text: OsString| CString::new(text.into_vec()).context("an argument has a NUL");
    let args: Vec<CString> = std::env::args_os().map(c_string).collect::<Result<_>>()?;
    let env: Vec<CString> = std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            c_string(name)
        })
        .collect::<Result<_>>()?;
    let empty = AtFlags::AT_EMPTY_PATH;
    match nix::unistd::execveat(&exe, c"", &args, &env, empty) {
        Ok(never) => match never {},
        Err(errno) => Err(errno).context("execute the protected copy of our binary"),
    }
}

fn run(cli: &Cli) -> Result<u8> {
    let root = cli.root.as_path();
    match &cli.command {
        Command::Create(create) => self::create(root, create)?,
        Command::Start { id } => bundle::start(root, id)?,
        Command::State { id } => {
            let state = named(bundle::state(root, id), id)?;
            println!("{}", serde_json::to_string_pretty(&state)?);
        }
        Command::Kill { all, id, signal } => {
            named(bundle::kill(root, id, parse_signal(signal)?, *all), id)?;
        }
        Command::Delete { force, id } => named(bundle::delete(root, id, *force), id)?,
        Command::Run(run) => return self::run_container(root, run),
        Command::Exec(exec) => return self::exec(root, exec),
        Command::Pause { id } => named(bundle::pause(root, id), id)?,
        Command::Resume { id } => named(bundle::resume(root, id), id)?,
        Command::List { format, quiet } => list(root, format, *quiet)?,
    }
    Ok(0)
}

/// Says which container it was, as runc's callers expect it.
fn named<T>(result: Result<T>, id: &str) -> Result<T> {
    result.map_err(|error| {
        if error::is(&error, error::Kind::NotFound) {
            error::not_found(format!("container {id:?} does not exist"))
        } else {
            error
        }
    })
}

fn parse_signal(text: &str) -> Result<i32> {
    if let Ok(number @ 0..=64) = text.parse::<i32>() {
        return Ok(number);
    }
    let upper = text.to_uppercase();
    let name = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    nix::sys::signal::Signal::from_str(&name)
        .map(|signal| signal as i32)
        .map_err(|_| error::invalid(format!("unknown signal {text:?}")))
}

fn options<'a>(root: &'a Path, create: &'a Create, stdio: Stdio<'a>) -> BundleOptions<'a> {
    BundleOptions {
        root,
        id: &create.id,
        stdio,
        init: create.init,
        at_once: false,
        preserved_fds: create.preserve_fds,
        keep_keyring: create.no_new_keyring,
        no_pivot: create.no_pivot,
    }
}

/// Whether the process gets a terminal, with the checks of runc on what goes with one.
fn terminal(process: &document::Process, socket: Option<&PathBuf>, detach: bool) -> Result<bool> {
    let terminal = process.terminal;
    if terminal && detach && socket.is_none() {
        bail!(error::invalid(
            "cannot allocate tty if runc will detach without setting console socket"
        ));
    }
    if socket.is_some() && (!terminal || !detach) {
        bail!(error::invalid(
            "cannot use console socket if runc will not detach or allocate tty"
        ));
    }
    Ok(terminal)
}

/// Descriptors to pass on must be the caller's: a number that it left free may be one of ours by now.
fn check_preserved(count: u32) -> Result<()> {
    let last = i32::try_from(count)
        .unwrap_or(i32::MAX - 3)
        .saturating_add(3);
    match (3..last).find(|&number| !kernel::is_inherited(number)) {
        Some(number) => Err(error::invalid(format!(
            "descriptor {number} is to be preserved, but is not open"
        ))),
        None => Ok(()),
    }
}

fn create(root: &Path, create: &Create) -> Result<()> {
    check_preserved(create.preserve_fds)?;
    let bundle = bundle::open_bundle(&create.bundle)?;
    let process = bundle.spec.process.clone().unwrap_or_default();
    let stdio = if terminal(&process, create.console_socket.as_ref(), true)? {
        Stdio::Terminal(process.console_size)
    } else {
        Stdio::Inherit
    };
    let created = bundle::create_from_bundle(bundle, options(root, create, stdio))
        .context("unable to start container process")?;
    hand_over(
        &created,
        create.console_socket.as_deref(),
        create.pid_file.as_deref(),
    )
}

fn run_container(root: &Path, run: &Run) -> Result<u8> {
    let create = &run.create;
    check_preserved(create.preserve_fds)?;
    let bundle = bundle::open_bundle(&create.bundle)?;
    let process = bundle.spec.process.clone().unwrap_or_default();
    let has_terminal = terminal(&process, create.console_socket.as_ref(), run.detach)?;
    let stdio = if has_terminal {
        Stdio::Terminal(process.console_size.or_else(terminal_size))
    } else {
        Stdio::Inherit
    };
    let signals = if run.detach {
        None
    } else {
        Some(Signals::block()?)
    };
    let options = BundleOptions {
        at_once: true,
        ..options(root, create, stdio)
    };
    let created =
        bundle::create_from_bundle(bundle, options).context("unable to start container process")?;
    hand_over(
        &created,
        create.console_socket.as_deref(),
        create.pid_file.as_deref(),
    )?;
    let Some(signals) = signals else {
        return Ok(0);
    };
    let code = accompany(&created, &signals);
    if !run.keep {
        bundle::delete(root, &create.id, true)?;
    }
    code
}

/// Gives away the terminal and writes the pid file.
fn hand_over(process: &Process, socket: Option<&Path>, pid_file: Option<&Path>) -> Result<()> {
    if let (Some(socket), Some(terminal)) = (socket, &process.terminal) {
        let send = || -> io::Result<()> {
            let stream = UnixStream::connect(socket)?;
            fdpass::send(stream.as_fd(), b"/dev/ptmx", &[terminal.as_fd()])
        };
        send().with_context(|| format!("send the terminal to {}", socket.display()))?;
    }
    if let Some(file) = pid_file {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let new = file.with_file_name(format!(".{name}"));
        let write = || -> io::Result<()> {
            fs::write(&new, process.pid.as_raw_nonzero().to_string())?;
            fs::rename(&new, file)
        };
        write().with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn exec(root: &Path, exec: &Exec) -> Result<u8> {
    check_preserved(exec.preserve_fds)?;
    let container = named(bundle::joinable(root, &exec.id), &exec.id)?;
    let process = process_to_join(exec, container.spec.process.clone().unwrap_or_default())?;
    let has_terminal = terminal(&process, exec.console_socket.as_ref(), exec.detach)?;
    let signals = if exec.detach {
        None
    } else {
        Some(Signals::block()?)
    };
    let joined = container
        .exec(ExecOptions {
            process: &process,
            stdio: if has_terminal {
                Stdio::Terminal(process.console_size.or_else(terminal_size))
            } else {
                Stdio::Inherit
            },
            wait: false,
            confined: true,
            preserved_fds: exec.preserve_fds,
            keep_keyring: false,
        })
        .context("exec failed: unable to start container process")?;
    hand_over(
        &joined,
        exec.console_socket.as_deref(),
        exec.pid_file.as_deref(),
    )?;
    match signals {
        Some(signals) => accompany(&joined, &signals),
        None => Ok(0),
    }
}

/// The process of a file, or that of the container with what the flags change.
fn process_to_join(exec: &Exec, own: document::Process) -> Result<document::Process> {
    if let Some(path) = &exec.process {
        let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let mut process: document::Process = serde_json::from_slice(&text)
            .map_err(|error| error::invalid(format!("read {}: {error}", path.display())))?;
        process.terminal |= exec.tty;
        return Ok(process);
    }
    if exec.args.is_empty() {
        bail!(error::invalid("process args cannot be empty"));
    }
    let mut process = own;
    process.args.clone_from(&exec.args);
    process.terminal = exec.tty;
    process.console_size = None;
    if let Some(cwd) = &exec.cwd {
        process.cwd.clone_from(cwd);
    }
    process.env.extend(exec.env.iter().cloned());
    process.no_new_privileges |= exec.no_new_privs;
    if let Some(user) = &exec.user {
        // Strictly numbers: what is none must not become user 0 (CVE-2026-30892).
        let id = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = digits.then(|| text.parse().ok()).flatten();
            number.ok_or_else(|| error::invalid(format!("invalid user or group id {text:?}")))
        };
        match user.split_once(':') {
            Some((uid, gid)) => {
                process.user.uid = id(uid)?;
                process.user.gid = id(gid)?;
            }
            None => process.user.uid = id(user)?,
        }
    }
    process.user.additional_gids.extend(&exec.additional_gids);
    if !exec.cap.is_empty() {
        let sets = process.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.extend(exec.cap.iter().cloned());
        }
    }
    Ok(process)
}

fn list(root: &Path, format: &str, quiet: bool) -> Result<()> {
    let containers = bundle::list(root)?;
    if quiet {
        for container in containers {
            println!("{}", container.id);
        }
        return Ok(());
    }
    match format {
        "json" => println!("{}", serde_json::to_string(&containers)?),
        "table" => {
            let width = containers
                .iter()
                .map(|c| c.id.len())
                .max()
                .unwrap_or(0)
                .max(2);
            println!(
                "{:width$}  {:<10}  {:<8}  {:<30}  BUNDLE",
                "ID", "PID", "STATUS", "CREATED"
            );
            for container in containers {
                println!(
                    "{:width$}  {:<10}  {:<8}  {:<30}  {}",
                    container.id,
                    container.pid,
                    container.status.name(),
                    container.created,
                    container.bundle.display()
                );
            }
        }
        unknown => bail!(error::invalid(format!("invalid format option {unknown:?}"))),
    }
    Ok(())
}
