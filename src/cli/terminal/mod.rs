//! Between the local terminal and a container: raw mode, size, keys that detach, signals, and the bytes themselves.
//!
//! One loop over poll. Input waits in a small buffer while the other side does not take it, so that output goes on
//! meanwhile.

mod frames;
mod keys;
pub mod prompt;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::cli::output;
use crate::monitor::client::Connection;
use crate::monitor::control::{self, Reply, Request, Size};
use crate::monitor::stdio;

use frames::Frames;
use keys::DetachKeys;

/// A program that ignores a request to end must not hold the user; after so many this process ends by itself.
const FORCED_EXIT: u32 = 3;

/// What ends a program; not before the terminal is as it was.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// The other side's descriptors.
#[derive(Debug, Default)]
pub struct Remote {
    /// Takes input.
    pub input: Option<OwnedFd>,
    /// Give output.
    pub outputs: Vec<Output>,
}

/// A descriptor that gives output.
#[derive(Debug)]
pub struct Output {
    /// The descriptor.
    pub from: OwnedFd,
    /// What it carries.
    pub carries: Carries,
}

/// What a descriptor carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Frames of standard output and standard error.
    Frames,
    /// Standard output, or all of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where the other side's terminal is.
#[derive(Clone, Copy, Debug)]
pub enum Far<'a> {
    /// There is none.
    None,
    /// The monitor has it.
    Monitor,
    /// This process has its master side.
    Here(BorrowedFd<'a>),
}

/// What the loop is to do.
#[derive(Debug)]
pub struct Relay<'a> {
    /// Where the end is told and signals are sent.
    pub connection: &'a Connection,
    /// Where the other side's terminal is.
    pub terminal: Far<'a>,
    /// Whether signals that this process gets are sent on.
    pub proxy_signals: bool,
    /// Whether the outputs are the program's own, as those of exec are: then they may stay open after its end, in the
    /// hands of what it has started.
    pub direct: bool,
    /// Keys that detach, only looked for with a terminal; empty for none.
    pub detach_keys: &'a [u8],
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program has ended; as of a shell.
    Exited(i32),
    /// The user detached, and the program goes on.
    Detached,
}

/// Local standard input in raw mode; as it was before when this is dropped.
#[derive(Debug)]
struct RawMode(Termios);

impl RawMode {
    fn enter() -> Result<RawMode> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).context("read the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).context("set the terminal's mode")?;
        Ok(RawMode(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(errno) = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0) {
            tracing::debug!("reset the terminal's mode: {errno}");
        }
    }
}

/// Returns the size of the local terminal; none if standard output is no terminal.
pub fn size() -> Option<Size> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(Size {
        height: size.ws_row,
        width: size.ws_col,
    })
}

/// Moves bytes, signals and sizes until the program has ended and all its output is here, or the user detaches.
pub fn relay(remote: Remote, relay: &Relay<'_>) -> Result<Outcome> {
    let terminal = !matches!(relay.terminal, Far::None);
    let takes_input = remote.input.is_some();
    let raw = terminal && takes_input && std::io::stdin().is_terminal();
    let signals = signals(relay, raw)?;
    let mode = raw.then(RawMode::enter).transpose()?;
    let mut state = State::new(
        remote,
        relay,
        if terminal { relay.detach_keys } else { &[] },
    )?;
    state.raw = raw;
    state.tell_size();
    loop {
        if let Some(outcome) = state.outcome() {
            return Ok(outcome);
        }
        if let Some(signal) = state.killed {
            drop(mode);
            return die_by(signal);
        }
        let stdin = std::io::stdin();
        let mut sources = vec![(Source::Signals, signals.as_fd(), PollFlags::IN)];
        if state.listens {
            sources.push((Source::Control, relay.connection.as_fd(), PollFlags::IN));
        }
        if state.reads_stdin() {
            sources.push((Source::Stdin, stdin.as_fd(), PollFlags::IN));
        }
        if let (Some(input), false) = (&state.input, state.pending.is_empty()) {
            sources.push((Source::Input, input.as_fd(), PollFlags::OUT));
        }
        for (number, output) in state.outputs.iter().enumerate() {
            if let Some(output) = output {
                sources.push((Source::Output(number), output.from.as_fd(), PollFlags::IN));
            }
        }
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).context("wait for the container")?;
        let ready: Vec<Source> = sources
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((source, ..), _)| *source)
            .collect();
        for source in ready {
            match source {
                Source::Control => state.hear()?,
                Source::Signals => state.take_signals(&signals)?,
                Source::Stdin => state.read_stdin()?,
                Source::Input => state.feed(),
                Source::Output(number) => drop(state.pump(number)?),
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Control,
    Signals,
    Stdin,
    Input,
    Output(usize),
}

/// Ends as a program ends that knows nothing of `signal`.
fn die_by(signal: Signal) -> Result<Outcome> {
    let mut set = SigSet::empty();
    set.add(signal);
    set.thread_unblock().context("unblock a signal")?;
    nix::sys::signal::raise(signal).context("end by a signal")?;
    // Whoever has started this process has made it ignore the signal.
    Ok(Outcome::Exited(128 + signal as i32))
}

/// Blocks the signals that are sent on, the change of the terminal's size, and what would end this process while the terminal
/// is `raw`, and returns where they can be read.
fn signals(relay: &Relay<'_>, raw: bool) -> Result<SignalFd> {
    let mut set = SigSet::empty();
    if raw {
        for signal in ENDING {
            set.add(signal);
        }
    }
    if !matches!(relay.terminal, Far::None) {
        set.add(Signal::SIGWINCH);
    }
    if relay.proxy_signals {
        // What ends, stops or tells something to a program; SIGCHLD and SIGPIPE are this process's own.
        let ours = [
            Signal::SIGKILL,
            Signal::SIGSTOP,
            Signal::SIGCHLD,
            Signal::SIGPIPE,
            Signal::SIGURG,
        ];
        let faults = [
            Signal::SIGSEGV,
            Signal::SIGBUS,
            Signal::SIGFPE,
            Signal::SIGILL,
            Signal::SIGTRAP,
            Signal::SIGABRT,
        ];
        for signal in
            Signal::iterator().filter(|signal| !ours.contains(signal) && !faults.contains(signal))
        {
            set.add(signal);
        }
    }
    set.thread_block().context("block signals")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&set, flags).context("receive signals")
}

struct State<'a> {
    input: Option<OwnedFd>,
    /// None in the place of one that has ended, so that each keeps its number.
    outputs: Vec<Option<Output>>,
    relay: &'a Relay<'a>,
    /// Input that the other side has not taken yet.
    pending: VecDeque<u8>,
    stdin_open: bool,
    keys: DetachKeys<'a>,
    frames: Frames,
    exit_code: Option<i32>,
    detached: bool,
    /// Whether the local terminal is in raw mode.
    raw: bool,
    /// What is to end this process.
    killed: Option<Signal>,
    interrupts: u32,
    /// Whether the monitor may still say something.
    listens: bool,
    chunk: Vec<u8>,
}

impl<'a> State<'a> {
    fn new(remote: Remote, relay: &'a Relay<'a>, detach_keys: &'a [u8]) -> Result<State<'a>> {
        if let Some(input) = &remote.input {
            rustix::io::ioctl_fionbio(input, true).context("make a stream non-blocking")?;
        }
        Ok(State {
            stdin_open: remote.input.is_some(),
            input: remote.input,
            outputs: remote.outputs.into_iter().map(Some).collect(),
            relay,
            pending: VecDeque::new(),
            keys: DetachKeys::new(detach_keys),
            frames: Frames::default(),
            exit_code: None,
            detached: false,
            raw: false,
            killed: None,
            interrupts: 0,
            listens: true,
            chunk: Vec::new(),
        })
    }

    fn outcome(&self) -> Option<Outcome> {
        if self.detached && self.pending.is_empty() {
            return Some(Outcome::Detached);
        }
        let code = self
            .exit_code
            .filter(|_| self.outputs.iter().all(Option::is_none))?;
        Some(Outcome::Exited(code))
    }

    fn reads_stdin(&self) -> bool {
        self.stdin_open && !self.detached && self.pending.is_empty()
    }

    fn read_stdin(&mut self) -> Result<()> {
        match rustix::io::read(std::io::stdin(), stdio::emptied(&mut self.chunk)) {
            // Raw mode knows no end of input: the terminal has been closed, and there is nobody to stay for.
            Ok(0) | Err(Errno::IO) if self.raw => {
                self.pending.clear();
                self.detached = true;
            }
            Ok(0) => {
                self.stdin_open = false;
                self.feed();
            }
            Ok(_) => {
                let (bytes, detach) = self.keys.filter(&self.chunk);
                self.pending.extend(bytes);
                self.detached = detach;
                self.feed();
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal that belongs to another foreground group is an end like any other.
            Err(Errno::IO) => self.stdin_open = false,
            Err(errno) => return Err(errno).context("read standard input"),
        }
        Ok(())
    }

    /// Gives the other side what it takes, and ends its input after the last byte.
    fn feed(&mut self) {
        while let (Some(input), false) = (&self.input, self.pending.is_empty()) {
            match rustix::io::write(input, self.pending.as_slices().0) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // The program does not read on; that is its right.
                Err(_) => {
                    self.pending.clear();
                    self.stdin_open = false;
                }
            }
        }
        if !self.stdin_open
            && let Some(input) = self.input.take()
        {
            // A socket has both directions, so only one of them ends; anything else ends by being closed.
            match rustix::net::shutdown(&input, Shutdown::Write) {
                Ok(()) | Err(Errno::NOTSOCK | Errno::NOTCONN) => {}
                Err(errno) => tracing::debug!("end the input of the container: {errno}"),
            }
        }
    }

    /// Moves one chunk of an output; false if there was none.
    fn pump(&mut self, number: usize) -> Result<bool> {
        let Some(output) = &self.outputs[number] else {
            return Ok(false);
        };
        let read = || rustix::io::read(&output.from, stdio::emptied(&mut self.chunk));
        let count = match rustix::io::retry_on_intr(read) {
            Ok(count) => count,
            Err(Errno::AGAIN) => return Ok(false),
            // The other side of a terminal has gone, or a socket was reset.
            Err(Errno::IO | Errno::CONNRESET) => 0,
            Err(errno) => return Err(errno).context("read the output of the container"),
        };
        let carries = output.carries;
        if count == 0 {
            self.outputs[number] = None;
            return Ok(false);
        }
        let bytes = &self.chunk;
        let written = match carries {
            Carries::Stdout => write(false, bytes),
            Carries::Stderr => write(true, bytes),
            Carries::Frames => self.frames.take(bytes, write),
        };
        // Who sends on all signals sends on none that ends itself.
        if let Err(error) = &written
            && !self.relay.proxy_signals
            && output::is_broken_pipe(error)
        {
            output::reader_left();
        }
        written.map(|()| true)
    }

    /// Takes what the program has written before its end; what it has left behind may keep the outputs open for ever.
    fn drain(&mut self) -> Result<()> {
        for number in 0..self.outputs.len() {
            let Some(output) = &self.outputs[number] else {
                continue;
            };
            rustix::io::ioctl_fionbio(&output.from, true).context("make a stream non-blocking")?;
            while self.pump(number)? {}
            self.outputs[number] = None;
        }
        Ok(())
    }

    /// Takes what the monitor has to say.
    fn hear(&mut self) -> Result<()> {
        match control::receive::<Reply>(self.relay.connection.as_fd())? {
            Some((Reply::Exited { code }, _)) => {
                self.exit_code = Some(code);
                if self.relay.direct {
                    self.drain()?;
                }
            }
            Some((Reply::Failed(failure), _)) => tracing::warn!("{}", failure.message),
            Some(_) => {}
            None if self.exit_code.is_none() => {
                anyhow::bail!("the monitor of the container has ended unexpectedly");
            }
            None => self.listens = false,
        }
        Ok(())
    }

    fn take_signals(&mut self, signals: &SignalFd) -> Result<()> {
        while let Some(info) = signals.read_signal().context("read signals")? {
            let number = i32::try_from(info.ssi_signo).unwrap_or_default();
            if number == Signal::SIGWINCH as i32 && !matches!(self.relay.terminal, Far::None) {
                self.tell_size();
                continue;
            }
            if !self.relay.proxy_signals {
                self.killed = Signal::try_from(number).ok();
                continue;
            }
            if [Signal::SIGINT as i32, Signal::SIGTERM as i32].contains(&number) {
                self.interrupts += 1;
                if self.interrupts == FORCED_EXIT {
                    anyhow::bail!("got {FORCED_EXIT} SIGTERM/SIGINTs, forcefully exiting");
                }
            }
            if let Err(error) = self.relay.connection.send(&Request::Signal(number), &[]) {
                tracing::debug!("send signal {number}: {error:#}");
            }
        }
        Ok(())
    }

    fn tell_size(&self) {
        let Some(size) = size() else { return };
        let told = match self.relay.terminal {
            Far::None => Ok(()),
            Far::Monitor => self.relay.connection.send(&Request::Resize(size), &[]),
            Far::Here(terminal) => stdio::set_size(terminal, size),
        };
        if let Err(error) = told {
            tracing::debug!("tell the size of the terminal: {error:#}");
        }
    }
}

/// Writes all of `bytes` past the buffers of the standard library, to standard error if `stderr`.
fn write(stderr: bool, bytes: &[u8]) -> Result<()> {
    // Go's words, for scripts that look for them.
    if stderr {
        write_to(std::io::stderr(), bytes).context("write /dev/stderr")
    } else {
        write_to(std::io::stdout(), bytes).context("write /dev/stdout")
    }
}

fn write_to(to: impl AsFd, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Somebody made the terminal non-blocking.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)];
                rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
