//! The command line of the OCI runtime: that of runc, for containerd, podman, CRI-O and dockerd.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

use std::ffi::{CString, OsString};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _};
use nix::fcntl::AtFlags;

use crate::error;
use crate::runtime::bundle;
use crate::sys::process as kernel;

mod args;
mod checkpoint;
mod documents;
mod log;
mod show;
mod start;
mod update;

use args::{Cli, Command, Delete, Kill, Named};

/// Runs the command line `args`, whose first is the program's name.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let makes_processes = |arg: &OsString| arg == "create" || arg == "run" || arg == "exec";
    if args.iter().skip(1).any(makes_processes)
        && let Err(error) = seal()
    {
        complain("aril-oci", &error::line(&error));
        return ExitCode::from(1);
    }
    let name = name(args);
    let is_given = |verb: &str| args.iter().any(|arg| arg == verb);
    let command = Command::describe(Cli::command().bin_name(&name), is_given);
    let cli = match parse(command, args) {
        Ok(cli) => cli,
        Err(usage) => return misused(&name, args, usage),
    };
    log::begin(&cli);
    let failed = match &cli.command {
        Some(Command::Exec(_)) => 255,
        _ => 1,
    };
    match run(&name, &cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let line = error::line(&error);
            complain(&name, &line);
            if let Some(log) = &cli.log
                && let Err(error) = log::append(log, cli.log_format, "error", &line)
            {
                complain(&name, &format!("write {}: {error}", log.display()));
            }
            ExitCode::from(failed)
        }
    }
}

/// Returns the name that the program was called by.
fn name(args: &[OsString]) -> String {
    let called = args.first().map(Path::new).and_then(Path::file_name);
    called
        .filter(|name| *name != "runtime")
        .map_or("aril-oci".to_owned(), |name| {
            name.to_string_lossy().into_owned()
        })
}

fn parse(command: clap::Command, args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut matches = command.try_get_matches_from(args)?;
    let verb = Command::take(&mut matches)?;
    let mut cli = Cli::from_arg_matches_mut(&mut matches)?;
    cli.command = verb;
    Ok(cli)
}

/// Returns the command line, whose help looks like runc's.
fn command(name: &str) -> clap::Command {
    let help = |name: &str| {
        format!("NAME:\n   {name} - {{about}}\n\nUSAGE:\n   {{usage}}\n\n{{all-args}}\n")
    };
    let mut command = Command::describe(Cli::command().bin_name(name), |_| true);
    let verbs: Vec<String> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    for verb in verbs {
        let template = help(&format!("{name} {verb}"));
        command = command.mut_subcommand(verb, |verb| verb.help_template(template));
    }
    command.help_template(help(name))
}

/// Says what is wrong with the arguments, or the help that was asked for.
fn misused(name: &str, args: &[OsString], usage: clap::Error) -> ExitCode {
    // Once more, of all verbs, and with the looks of help, which cost what only help should.
    let usage = parse(command(name), args).err().unwrap_or(usage);
    if usage.kind() == ErrorKind::InvalidSubcommand
        && let Some(verb) = usage.get(ContextKind::InvalidSubcommand)
    {
        complain(name, &format!("No help topic for '{verb}'"));
        return ExitCode::from(3);
    }
    // Nobody can be told that nobody can be told.
    drop(usage.print());
    ExitCode::from(u8::from(usage.use_stderr()))
}

/// Prints an error.
pub(super) fn complain(program: &str, message: &str) {
    eprintln!("{program}: {message}");
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
    // By its descriptor, which lets it keep its name on kernels from 6.14. Where TOMOYO looks at what is executed, this
    // needs /dev/fd, which a bare /dev has not.
    let by_descriptor = nix::unistd::execveat(&exe, c"", &args, &env, AtFlags::AT_EMPTY_PATH);
    let path = CString::new(format!("/proc/self/fd/{}", exe.as_raw_fd()))?;
    let executed = match by_descriptor {
        Err(nix::errno::Errno::ENOENT) => nix::unistd::execve(&path, &args, &env),
        executed => executed,
    };
    match executed {
        Ok(never) => match never {},
        Err(errno) => Err(errno).context("execute the protected copy of our binary"),
    }
}

fn run(name: &str, cli: &Cli) -> Result<u8> {
    let root = cli.root.as_path();
    if cli.version {
        println!(
            "{name} version {}\ncommit: aril\nspec: {}",
            env!("CARGO_PKG_VERSION"),
            documents::SPEC_VERSION
        );
        return Ok(0);
    }
    let Some(verb) = &cli.command else {
        print!("{}", command(name).render_help());
        return Ok(0);
    };
    match verb {
        Command::Create(create) => start::create(cli, create)?,
        Command::Start(Named { id }) => {
            if let Some(readiness) = bundle::start(root, id)? {
                readiness.tell()?;
            }
        }
        Command::State(Named { id }) => {
            let state = named(bundle::state(root, id), id)?;
            println!("{}", serde_json::to_string_pretty(&state)?);
        }
        Command::Kill(Kill { all, id, signal }) => {
            named(bundle::kill(root, id, parse_signal(signal)?, *all), id)?;
        }
        Command::Delete(Delete { force, id }) => named(bundle::delete(root, id, *force), id)?,
        Command::Run(run) => return start::run_container(cli, run),
        Command::Exec(exec) => return start::exec(root, exec),
        Command::Pause(Named { id }) => named(bundle::pause(root, id), id)?,
        Command::Resume(Named { id }) => named(bundle::resume(root, id), id)?,
        Command::List(list) => show::list(root, &list.format, list.quiet)?,
        Command::Ps(ps) => show::ps(root, &ps.id, &ps.format, &ps.options)?,
        Command::Events(events) => {
            show::events(root, &events.id, &events.interval, events.stats)?;
        }
        Command::Update(update) => update::update(root, update)?,
        Command::Spec(spec) => documents::write_spec(&spec.bundle, spec.rootless)?,
        Command::Features(_) => {
            println!("{}", serde_json::to_string_pretty(&documents::features())?);
        }
        Command::Checkpoint(checkpoint) => checkpoint::checkpoint(root, checkpoint)?,
        Command::Restore(restore) => return checkpoint::restore(cli, restore),
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
