//! One process `criu swrk`, and the talk with it.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use anyhow::{Context as _, Result, anyhow, bail};
use prost::Message as _;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::rpc::{Features, Kind, Request, Response};
use crate::error;
use crate::runtime::channel::{Channel, Failure, Message, OrFail as _};
use crate::runtime::last::report;
use crate::runtime::program;
use crate::sys::clone::{Child, CloneOptions, clone};
use crate::sys::process::{abandon, pass_on};
use crate::sys::{fdpass, signal};

/// The oldest version that has all that is asked of it here; one digit of the minor version is not enough.
const OLDEST: (i32, i32) = (3, 16);
/// The longest answer that is read.
const ANSWER_MAX: usize = 64 << 10;

/// What comes to pass on the way: its name, the first process if it is told, and descriptors that come along. An error
/// keeps CRIU from going on.
pub(super) type Notified<'a, R = Result<()>> = dyn FnMut(&str, Option<Pid>, Vec<OwnedFd>) -> R + 'a;

/// Why CRIU has not done what it was asked for, as far as it says so itself.
#[derive(Debug)]
pub(super) struct Failed(pub(super) String);

impl From<Failed> for anyhow::Error {
    fn from(failed: Failed) -> anyhow::Error {
        anyhow!("criu: {}", failed.0)
    }
}

/// A running `criu swrk`.
pub(super) struct Session {
    socket: OwnedFd,
    child: Child,
}

impl Session {
    /// Starts the program that [`find`] has found, and makes sure that it is new enough. `passed` are descriptors that it gets
    /// under the numbers that they have here; `before` runs in the new process, which becomes the program then.
    pub(super) fn start(
        program: &CStr,
        options: &CloneOptions<'_>,
        passed: &[BorrowedFd<'_>],
        before: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Session> {
        let (ours, its) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let (report_to_us, childs) = Channel::pair().context("make a channel to a child")?;
        let args = [
            c"criu",
            c"swrk",
            &*CString::new(its.as_raw_fd().to_string())?,
        ]
        .map(CString::from);
        let become_criu = || -> Result<Infallible, Failure> {
            signal::default_signals();
            signal::unblock_signals().or_fail(|| "unblock signals".to_owned())?;
            before()?;
            for fd in passed.iter().chain([&its.as_fd()]) {
                pass_on(fd.as_raw_fd()).or_fail(|| "pass a descriptor to criu".to_owned())?;
            }
            let environment =
                environment().or_fail(|| "pass the environment to criu".to_owned())?;
            nix::unistd::execve(program, &args, &environment)
                .map_err(io::Error::from)
                .or_fail(|| format!("execute {}", program.to_string_lossy()))
        };
        let child = clone(options, || {
            abandon(ours.as_fd());
            abandon(report_to_us.as_fd());
            match become_criu() {
                Ok(never) => match never {},
                Err(failure) => {
                    report(&childs, &failure);
                    1
                }
            }
        })
        .context("clone a process for criu")?;
        drop((its, childs));
        let session = Session {
            socket: ours,
            child,
        };
        match report_to_us.receive().context("wait for criu")? {
            None => {}
            Some((Message::Failed(failure), _)) => {
                session.wait()?;
                return Err(failure.into());
            }
            Some(_) => bail!("the process that was to become criu has said something else"),
        }
        session.check_version()?;
        Ok(session)
    }

    /// Returns the process, which is our child.
    pub(super) fn pid(&self) -> Pid {
        self.child.pid
    }

    fn check_version(&self) -> Result<()> {
        let request = Request {
            keep_open: Some(true),
            ..Request::new(Kind::Version)
        };
        let answer = self.ask(&request, &mut |_, _, _| Ok(()))??;
        let version = answer.version.unwrap_or_default();
        tracing::debug!("criu is {}.{}", version.major, version.minor);
        if (version.major, version.minor) < OLDEST {
            bail!(error::unavailable(format!(
                "criu {}.{} is too old: {}.{} is needed",
                version.major, version.minor, OLDEST.0, OLDEST.1
            )));
        }
        Ok(())
    }

    /// Fails with `Unavailable` where the kernel does not tell which pages of memory have changed.
    pub(super) fn check_memory_tracking(&self) -> Result<()> {
        let request = Request {
            keep_open: Some(true),
            features: Some(Features {
                mem_track: Some(true),
            }),
            ..Request::new(Kind::FeatureCheck)
        };
        let answer = self.ask(&request, &mut |_, _, _| Ok(()))??;
        if answer.features.is_some_and(|features| features.mem_track()) {
            return Ok(());
        }
        Err(error::unavailable(
            "changes of memory cannot be saved: this kernel does not track them (CONFIG_MEM_SOFT_DIRTY)",
        ))
    }

    /// Asks for something, and waits until it is done. The outer error is one of ours, first of all of `notified`; the inner
    /// one is CRIU's.
    pub(super) fn ask(
        &self,
        request: &Request,
        notified: &mut Notified<'_>,
    ) -> Result<Result<Response, Failed>> {
        let mut refused = None;
        let answer = self.talk(request, &mut |script, pid, fds| {
            let done = notified(script, pid, fds);
            let may_go_on = done.is_ok();
            refused = refused.take().or(done.err());
            may_go_on
        });
        // Whatever has become of it then.
        refused.map_or(answer, Err)
    }

    /// `notified` returns whether it may go on.
    fn talk(
        &self,
        request: &Request,
        notified: &mut Notified<'_, bool>,
    ) -> Result<Result<Response, Failed>> {
        self.send(request)?;
        loop {
            let received = fdpass::receive(self.socket.as_fd(), ANSWER_MAX);
            let Some((bytes, fds)) = received.context("listen to criu")? else {
                return Ok(Err(Failed("it has ended without an answer".to_owned())));
            };
            let answer = Response::decode(&*bytes).context("read what criu says")?;
            if answer.kind() == Kind::Notify {
                let notification = answer.notify.unwrap_or_default();
                tracing::debug!("criu: {}", notification.script());
                let pid = notification.pid.and_then(Pid::from_raw);
                self.send(&Request {
                    notify_success: Some(notified(notification.script(), pid, fds)),
                    ..Request::new(Kind::Notify)
                })?;
            } else if answer.success && answer.kind == request.kind {
                return Ok(Ok(answer));
            } else {
                return Ok(Err(Failed(reason(&answer))));
            }
        }
    }

    fn send(&self, request: &Request) -> Result<()> {
        fdpass::send(self.socket.as_fd(), &request.encode_to_vec(), &[]).context("talk to criu")
    }

    /// Kills it.
    pub(super) fn kill(&self) -> io::Result<()> {
        signal::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL)
    }

    /// Lets it end; returns whether it ended well.
    pub(super) fn end(self) -> Result<bool> {
        rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write)?;
        self.wait()
    }

    fn wait(&self) -> Result<bool> {
        let wait = || {
            waitid(
                WaitId::PidFd(self.child.pidfd.as_fd()),
                WaitIdOptions::EXITED,
            )
        };
        let status = rustix::io::retry_on_intr(wait).context("wait for criu")?;
        Ok(status.is_some_and(|status| status.exit_status() == Some(0)))
    }
}

/// What an answer says itself of a failure.
fn reason(answer: &Response) -> String {
    let message = answer.message().trim();
    match answer.errno() {
        _ if !message.is_empty() => message.to_owned(),
        0 => "it does not say why".to_owned(),
        errno => error::describe(errno),
    }
}

/// Looks for criu on our PATH. Fails with `Unavailable` if it is not there.
pub(super) fn find() -> Result<CString> {
    let path = std::env::var("PATH").ok();
    program::find("criu", path.as_deref()).map_err(|failure| {
        if failure.errno == libc::ENOENT {
            error::unavailable(
                "criu is not installed: checkpoint and restore need the package criu of your distribution",
            )
        } else {
            failure.into()
        }
    })
}

/// Returns whether there is a program of this name on our PATH, which is CRIU's, too.
pub(super) fn is_on_path(name: &str) -> bool {
    program::find(name, std::env::var("PATH").ok().as_deref()).is_ok()
}

fn environment() -> io::Result<Vec<CString>> {
    std::env::vars_os()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec()).map_err(io::Error::from)
        })
        .collect()
}
