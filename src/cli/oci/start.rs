//! Processes: containers from bundles, and what joins them.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;

use super::args::{Cli, Create, Exec, Run};
use super::named;
use crate::cgroup;
use crate::cli::relay::{Signals, accompany, terminal_size};
use crate::error;
use crate::oci::runtime as document;
use crate::runtime::bundle::{self, Bundle, BundleOptions, Cgroups};
use crate::runtime::{ExecOptions, Stdio};
use crate::sys::{fdpass, process as kernel};

fn options<'a>(
    cli: &'a Cli,
    create: &'a Create,
    preserved_fds: u32,
    stdio: Stdio<'a>,
) -> BundleOptions<'a> {
    BundleOptions {
        root: &cli.root,
        cgroups: cgroups(cli),
        id: &create.id,
        stdio,
        init: create.init,
        at_once: false,
        preserved_fds,
        keep_keyring: create.no_new_keyring,
        no_pivot: create.no_pivot,
        notifies: notifies(),
    }
}

/// Returns who makes the cgroups.
pub(super) fn cgroups(cli: &Cli) -> Cgroups {
    if cli.systemd_cgroup {
        Cgroups::Systemd
    } else {
        Cgroups::Files {
            optional: may_lack_cgroups(cli.rootless.as_deref()),
        }
    }
}

/// Reads `--rootless`: whether who calls us may be one who can make no cgroups.
fn may_lack_cgroups(rootless: Option<&str>) -> bool {
    match rootless {
        Some("true") => true,
        Some("false") => false,
        _ => kernel::in_user_namespace() || !rustix::process::geteuid().is_root(),
    }
}

/// Whether a service manager waits for the container to be ready (sd_notify(3)).
pub(super) fn notifies() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// Lets the process have the sockets that a service manager has passed to us (sd_listen_fds(3)), before other descriptors;
/// returns how many.
fn take_sockets(process: &mut document::Process) -> u32 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (Some(count), Some(pid)) = (number("LISTEN_FDS"), number("LISTEN_PID")) else {
        return 0;
    };
    // For another process they are nothing to this one.
    if pid != std::process::id() || count == 0 {
        return 0;
    }
    // The first process of its pid namespace, or one that does not know its id.
    process
        .env
        .extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()]);
    count
}

/// Whether the process gets a terminal, with the checks of runc on what goes with one.
pub(super) fn terminal(
    process: Option<&document::Process>,
    socket: Option<&PathBuf>,
    detach: bool,
) -> Result<bool> {
    let terminal = process.is_some_and(|process| process.terminal);
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

/// Opens the bundle; returns it with the number of descriptors to pass on.
fn open_bundle(create: &Create) -> Result<(Bundle, u32)> {
    let mut bundle = bundle::open_bundle(&create.bundle)?;
    let sockets = bundle.spec.process.as_mut().map_or(0, take_sockets);
    let preserved = create.preserve_fds.saturating_add(sockets);
    check_preserved(preserved)?;
    Ok((bundle, preserved))
}

/// `create`.
pub(super) fn create(cli: &Cli, create: &Create) -> Result<()> {
    let (bundle, preserved) = open_bundle(create)?;
    let process = bundle.spec.process.as_ref();
    let stdio = if terminal(process, create.console_socket.as_ref(), true)? {
        Stdio::Terminal(process.and_then(|process| process.console_size))
    } else {
        Stdio::Inherit
    };
    let created = bundle::create_from_bundle(bundle, options(cli, create, preserved, stdio))
        .context("unable to start container process")?;
    hand_over(
        (created.pid, created.terminal.as_ref()),
        create.console_socket.as_deref(),
        create.pid_file.as_deref(),
    )
}

/// Starts a container whose readiness is waited for; `run` waits for itself only if it has nothing else to wait for.
fn start_and_tell(root: &Path, run: &Run) -> Result<()> {
    let id = &run.create.id;
    let started = bundle::start(root, id);
    if started.is_err() {
        bundle::delete(root, id, true)?;
    }
    let Some(readiness) = started? else {
        return Ok(());
    };
    if run.detach {
        return readiness.tell();
    }
    std::thread::spawn(move || {
        if let Err(error) = readiness.tell() {
            tracing::warn!("{error:#}");
        }
    });
    Ok(())
}

/// `run`; returns the exit code.
pub(super) fn run_container(cli: &Cli, run: &Run) -> Result<u8> {
    let create = &run.create;
    let (bundle, preserved) = open_bundle(create)?;
    let process = bundle.spec.process.as_ref();
    let stdio = if terminal(process, create.console_socket.as_ref(), run.detach)? {
        let size = process.and_then(|process| process.console_size);
        Stdio::Terminal(size.or_else(terminal_size))
    } else {
        Stdio::Inherit
    };
    let signals = if run.detach {
        None
    } else {
        Some(Signals::block()?)
    };
    let options = BundleOptions {
        at_once: !notifies(),
        ..options(cli, create, preserved, stdio)
    };
    let created =
        bundle::create_from_bundle(bundle, options).context("unable to start container process")?;
    hand_over(
        (created.pid, created.terminal.as_ref()),
        create.console_socket.as_deref(),
        create.pid_file.as_deref(),
    )?;
    if notifies() {
        start_and_tell(&cli.root, run)?;
    }
    let Some(signals) = signals else {
        return Ok(0);
    };
    let code = accompany(created.pidfd.as_fd(), created.terminal.as_ref(), &signals);
    if !run.keep {
        bundle::delete(&cli.root, &create.id, true)?;
    }
    code
}

/// Gives away the terminal and writes the pid file.
pub(super) fn hand_over(
    (pid, terminal): (Pid, Option<&OwnedFd>),
    socket: Option<&Path>,
    pid_file: Option<&Path>,
) -> Result<()> {
    if let (Some(socket), Some(terminal)) = (socket, terminal) {
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
            fs::write(&new, pid.as_raw_nonzero().to_string())?;
            fs::rename(&new, file)
        };
        write().with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// `exec`; returns the exit code.
pub(super) fn exec(root: &Path, exec: &Exec) -> Result<u8> {
    check_preserved(exec.preserve_fds)?;
    let container = named(
        bundle::joinable(root, &exec.id, exec.ignore_paused),
        &exec.id,
    )?;
    let sub_cgroups = cgroup::sub::parse(&exec.cgroup)?;
    let process = process_to_join(exec, container.spec.process.clone().unwrap_or_default())?;
    let has_terminal = terminal(Some(&process), exec.console_socket.as_ref(), exec.detach)?;
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
            preserved_fds: exec.preserve_fds,
            keep_keyring: false,
            sub_cgroups: &sub_cgroups,
        })
        .context("exec failed: unable to start container process")?;
    hand_over(
        (joined.pid, joined.terminal.as_ref()),
        exec.console_socket.as_deref(),
        exec.pid_file.as_deref(),
    )?;
    match signals {
        Some(signals) => accompany(joined.pidfd.as_fd(), joined.terminal.as_ref(), &signals),
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
