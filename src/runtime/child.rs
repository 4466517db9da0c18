//! A process of a container as its parent sees it: accompanied until it is ready, started, and ended if it fails.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use super::channel::{Channel, Failure, Message};
use super::init::{Init, Sync, Userns, adjust_oom_score};
use super::net_devices::{self, NetDevice};
use super::{hooks, idmap, listener};
use crate::oci::runtime::{Hook, Hooks};
use crate::oci::state::{State, Status};
use crate::sys::signal::signal_if_alive;

/// A process of a container, the first one or one that joined.
#[derive(Debug)]
pub struct Process {
    /// Its id in the caller's pid namespace; a child of the caller, valid until it is waited for.
    pub pid: Pid,
    /// Refers to the process whatever becomes of its id.
    pub pidfd: OwnedFd,
    /// The master side of its terminal.
    pub terminal: Option<OwnedFd>,
    pub(super) channel: Channel,
    /// Hooks to run once the program runs, with the state for them.
    pub(super) poststart: Vec<Hook>,
    pub(super) state: State,
    pub(super) bundle: PathBuf,
    /// Who listens to the seccomp filter.
    pub(super) listener: listener::Target,
}

/// A container whose namespaces exist, but whose program does not run yet; for work that goes on beside its mounts.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    /// The first process.
    pub pid: Pid,
    /// The same.
    pub pidfd: BorrowedFd<'a>,
}

/// Work that goes on beside the child's mounts; an error of it ends the creation.
pub type Meanwhile<'a> = Option<&'a mut dyn FnMut(Prepared<'_>) -> Result<()>>;

/// Does for the child what only the parent can, and what the parent has to do anyway, while the child makes its mounts.
pub(super) fn bring_up(
    process: &mut Process,
    init: &Init<'_>,
    net_devices: &[NetDevice],
    meanwhile: Meanwhile<'_>,
) -> Result<()> {
    let pid = process.state.pid;
    if !matches!(init.userns, Userns::Shared) {
        adjust_oom_score(init.last.process, &format!("/proc/{pid}/oom_score_adj"))?;
    }
    if let Userns::New { uids, gids } = init.userns {
        idmap::write_maps(pid, uids, gids)?;
        go(&process.channel)?;
    }
    let prepared = Prepared {
        pid: process.pid,
        pidfd: process.pidfd.as_fd(),
    };
    let done = net_devices::move_in(net_devices, prepared)
        .and_then(|()| meanwhile.map_or(Ok(()), |meanwhile| meanwhile(prepared)));
    if let Err(error) = done {
        // With a child that has ended nothing can be done; why it has is the cause.
        return Err(process
            .channel
            .last_words()
            .map_or(error, anyhow::Error::from));
    }
    if init.sync == Sync::Wait {
        go(&process.channel)?;
    }
    Ok(())
}

/// Lets the child go on. One that has ended meanwhile has left word why, which is read next.
fn go(channel: &Channel) -> Result<()> {
    match channel.go() {
        Err(error) if error.raw_os_error() == Some(libc::EPIPE) => Ok(()),
        done => done.context("let the container's process go on"),
    }
}

/// How far a process is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Ready,
    Running,
}

impl Process {
    /// Follows the creation of a container until it is ready, or runs, and does what is due on the way.
    pub(super) fn follow_creation(&mut self, hooks: &Hooks, starts_at_once: bool) -> Result<()> {
        self.follow(Until::Ready, |process| {
            let state = &process.state;
            hooks::run(&hooks.prestart, "prestart", state, &process.bundle)?;
            hooks::run(
                &hooks.create_runtime,
                "createRuntime",
                state,
                &process.bundle,
            )?;
            Ok(())
        })?;
        if starts_at_once {
            return self.follow_start();
        }
        self.state.status = Status::Created;
        Ok(())
    }

    /// Starts the program; returns when it runs, or with the [`Failure`] that kept it from it.
    ///
    /// For a container that was created to start [`super::Start::Later`]. A failed start leaves a process that has ended
    /// and is to be waited for.
    pub fn start(&mut self) -> Result<()> {
        go(&self.channel)?;
        self.follow_start()
    }

    pub(super) fn follow_start(&mut self) -> Result<()> {
        self.follow(Until::Running, |_| Ok(()))?;
        self.state.status = Status::Running;
        // The program runs; that a hook has failed does not change that (runtime-spec runtime.md, Lifecycle).
        if let Err(failure) = hooks::run(&self.poststart, "poststart", &self.state, &self.bundle) {
            tracing::warn!("{failure}");
        }
        Ok(())
    }

    /// Returns when a process that joined is ready.
    pub(super) fn follow_joining(&mut self) -> Result<()> {
        self.follow(Until::Ready, |_| Ok(()))
    }

    fn follow(
        &mut self,
        until: Until,
        mut mounted: impl FnMut(&Process) -> Result<(), Failure>,
    ) -> Result<()> {
        loop {
            let received = self
                .channel
                .receive()
                .context("listen to the container's process")?;
            let Some((message, mut fds)) = received else {
                return match until {
                    Until::Running => Ok(()),
                    Until::Ready => bail!(self.died()),
                };
            };
            match message {
                Message::Mounted => {
                    mounted(self)?;
                    go(&self.channel)?;
                }
                Message::Warning(text) => tracing::warn!("{text}"),
                Message::Terminal => self.terminal = fds.pop(),
                Message::Ready if until == Until::Ready => {
                    tracing::debug!("init: closing the pipe to signal completion: all is ready");
                    tracing::debug!("setns_init: about to exec");
                    return Ok(());
                }
                Message::Listener(number) => {
                    self.listener
                        .deliver(self.pidfd.as_fd(), number, &self.state)?;
                    go(&self.channel)?;
                }
                Message::Failed(failure) => return Err(failure.into()),
                Message::Ready | Message::Cloned => {}
            }
        }
    }

    /// Tells how a process ended that did not say why.
    fn died(&self) -> Failure {
        let wait = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), wait));
        let how = match ended {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed by signal {signal}"),
                (None, None) => "unknown end".to_owned(),
            },
            _ => "unknown end".to_owned(),
        };
        Failure::plain(format!("init process ended before it was ready: {how}"))
    }

    /// Kills the process if it lives, and takes its exit status.
    pub(super) fn end(self) -> Result<()> {
        signal_if_alive(self.pidfd.as_fd(), libc::SIGKILL)
            .context("kill the container's process")?;
        let wait = || waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        match rustix::io::retry_on_intr(wait) {
            // The caller may reap all its children by itself.
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
            Err(errno) => Err(errno).context("wait for the container's process"),
        }
    }
}

/// Starts a container whose first process waits at the socket `path` ([`super::Start::BySocket`]), from any process.
///
/// `state` has the first process's id in the caller's pid namespace. Returns when the program runs, or with the
/// [`Failure`] that kept it from it.
pub fn start_by_socket(path: &Path, state: &State, spec: &crate::oci::runtime::Spec) -> Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    super::connect(&socket, path).with_context(|| format!("connect to {}", path.display()))?;
    let pid = Pid::from_raw(state.pid).context("container has no process")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("open the container's process")?;
    let seccomp = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let mut process = Process {
        pid,
        pidfd,
        terminal: None,
        channel: Channel::from_socket(socket),
        poststart: spec.hooks.poststart.clone(),
        state: state.clone(),
        bundle: state.bundle.clone(),
        listener: listener::Target::new(seccomp),
    };
    process.start()
}
