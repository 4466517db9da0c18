//! A container's process in the foreground: signals and terminal of the caller passed on, its end waited for.
//!
//! One loop over descriptors, no threads: the process that runs it has cloned, and may do so again.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::oci::runtime::ConsoleSize;
use crate::sys::signal::signal_if_alive;

/// Signals of the caller, received instead of obeyed.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

impl Signals {
    /// Blocks all signals: what comes from now on is for the container.
    pub(super) fn block() -> Result<Signals> {
        let all = SigSet::all();
        all.thread_set_mask().context("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals(
            SignalFd::with_flags(&all, flags).context("receive signals")?,
        ))
    }
}

/// Returns the size of the caller's terminal, if standard input is one.
pub(super) fn terminal_size() -> Option<ConsoleSize> {
    let size = tcgetwinsize(rustix::stdio::stdin()).ok()?;
    Some(ConsoleSize {
        height: size.ws_row.into(),
        width: size.ws_col.into(),
    })
}

/// Waits until a process of ours has ended, passing on signals, and input and output if it has a terminal, whose master side
/// is given; returns its exit status: its code, or 128 and the number of the signal that killed it.
pub(super) fn accompany(
    pidfd: BorrowedFd<'_>,
    terminal: Option<&OwnedFd>,
    signals: &Signals,
) -> Result<u8> {
    let mut relay = terminal.map(Relay::new).transpose()?;
    loop {
        let mut waiting = vec![
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.0.as_fd(), PollFlags::IN),
        ];
        if let Some(relay) = &relay {
            relay.add_to(&mut waiting);
        }
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("wait for the container"),
        }
        let ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(waiting);
        if ready[1] {
            pass_on(pidfd, signals, relay.as_ref())?;
        }
        if let Some(relay) = &mut relay {
            relay.carry(&ready[2..])?;
        }
        if ready[0] {
            if let Some(relay) = &mut relay {
                relay.drain()?;
            }
            return status(pidfd);
        }
    }
}

fn pass_on(pidfd: BorrowedFd<'_>, signals: &Signals, relay: Option<&Relay<'_>>) -> Result<()> {
    while let Some(received) = signals.0.read_signal().context("receive a signal")? {
        let signal = i32::try_from(received.ssi_signo).unwrap_or(0);
        match (signal, relay) {
            (libc::SIGCHLD, _) => {}
            (libc::SIGWINCH, Some(relay)) => relay.resize(),
            _ => signal_if_alive(pidfd, signal)
                .with_context(|| format!("pass on signal {signal}"))?,
        }
    }
    Ok(())
}

fn status(pidfd: BorrowedFd<'_>) -> Result<u8> {
    let wait = || waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED);
    let status = rustix::io::retry_on_intr(wait)
        .context("wait for the container")?
        .context("the container's process has no status")?;
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(0);
    Ok(u8::try_from(code & 0xff).unwrap_or(0))
}

/// The caller's terminal or pipes on one side, the container's terminal on the other.
struct Relay<'a> {
    master: BorrowedFd<'a>,
    /// How the caller's terminal was.
    before: Option<Termios>,
    input_open: bool,
    output_open: bool,
}

impl<'a> Relay<'a> {
    fn new(master: &'a OwnedFd) -> Result<Relay<'a>> {
        let stdin = rustix::stdio::stdin();
        let before = if isatty(stdin) {
            let before = tcgetattr(stdin).context("read the mode of the terminal")?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin, OptionalActions::Flush, &raw).context("set the terminal to raw")?;
            Some(before)
        } else {
            None
        };
        Ok(Relay {
            master: master.as_fd(),
            before,
            input_open: true,
            output_open: true,
        })
    }

    fn add_to<'b>(&'b self, waiting: &mut Vec<PollFd<'b>>) {
        if self.output_open {
            waiting.push(PollFd::from_borrowed_fd(self.master, PollFlags::IN));
        }
        if self.input_open {
            waiting.push(PollFd::from_borrowed_fd(
                rustix::stdio::stdin(),
                PollFlags::IN,
            ));
        }
    }

    fn carry(&mut self, ready: &[bool]) -> Result<()> {
        let mut ready = ready.iter().copied();
        if self.output_open && ready.next() == Some(true) {
            self.output_open = copy(self.master, rustix::stdio::stdout())?;
        }
        if self.input_open && ready.next() == Some(true) {
            self.input_open = copy(rustix::stdio::stdin(), self.master)?;
            if !self.input_open {
                // What a terminal has for the end of a file.
                write_all(self.master, &[4])?;
            }
        }
        Ok(())
    }

    /// Copies what is still to be read once the program has ended.
    fn drain(&mut self) -> Result<()> {
        while self.output_open {
            let mut waiting = [PollFd::from_borrowed_fd(self.master, PollFlags::IN)];
            let now = rustix::event::Timespec::default();
            match poll(&mut waiting, Some(&now)) {
                Ok(0) => return Ok(()),
                Ok(_) => self.output_open = copy(self.master, rustix::stdio::stdout())?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("read the container's output"),
            }
        }
        Ok(())
    }

    fn resize(&self) {
        let resized =
            tcgetwinsize(rustix::stdio::stdin()).and_then(|size| tcsetwinsize(self.master, size));
        if let Err(errno) = resized {
            tracing::debug!("resize the container's terminal: {errno}");
        }
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(errno) = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, before)
        {
            tracing::warn!("restore the terminal: {errno}");
        }
    }
}

/// Copies what is there; returns whether more may come.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool> {
    let mut buffer = [0; 8192];
    match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut buffer)) {
        // A terminal whose other side is closed everywhere is EIO.
        Ok(0) | Err(Errno::IO) => Ok(false),
        Ok(length) => write_all(to, &buffer[..length]).map(|()| true),
        Err(Errno::AGAIN) => Ok(true),
        Err(errno) => Err(errno).context("read from a terminal"),
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(to, bytes)) {
            Ok(written) => bytes = &bytes[written..],
            // The other side has gone: nobody is there to read.
            Err(Errno::IO | Errno::PIPE) => return Ok(()),
            Err(errno) => return Err(errno).context("write to a terminal"),
        }
    }
    Ok(())
}
