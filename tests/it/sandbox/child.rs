//! Commands with pipes: run to their end, or watched while they run; none outlives its test.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::PATIENCE;
use super::machine::Machine;

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code, or -N after signal N.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
    /// Standard output as it came.
    pub(crate) bytes: Vec<u8>,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: code(output.status),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| -status.signal().unwrap_or_default())
}

impl Ran {
    /// Checks that it succeeded, and returns its output without the last line end.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.trim_end().to_owned()
    }

    /// Checks its output, and that it succeeded.
    #[track_caller]
    pub(crate) fn says(self, expected: &str) {
        let text = format!("{self:?}");
        assert_eq!(self.ok(), expected, "{text}");
    }

    /// Checks that it failed with `code` and an error that contains `text`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, text: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(text), "{self:?} lacks {text:?}");
    }
}

/// A command that runs; it is killed when this is dropped.
pub(crate) struct Running {
    what: String,
    child: Child,
    pidfd: OwnedFd,
    input: Option<ChildStdin>,
    out: Stream,
    err: Stream,
}

/// An output, and what has come of it.
struct Stream {
    from: Option<OwnedFd>,
    bytes: Vec<u8>,
    /// Up to where [`Running::expect`] has looked.
    seen: usize,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(machine: &Machine, command: &mut Command) -> Running {
        let mut what = format!("{}", command.get_program().display());
        for argument in command.get_args() {
            what.push(' ');
            let argument = argument.to_string_lossy();
            if argument.contains([' ', '\n', '"', '{']) || argument.is_empty() {
                write!(what, "{argument:?}").unwrap();
            } else {
                what.push_str(&argument);
            }
        }
        println!("$ {what}");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = machine.inside(|| command.spawn()).unwrap();
        let stream = |from: OwnedFd| Stream {
            from: Some(from),
            bytes: Vec::new(),
            seen: 0,
        };
        let pid = Pid::from_child(&child);
        Running {
            what,
            pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            input: child.stdin.take(),
            out: stream(child.stdout.take().unwrap().into()),
            err: stream(child.stderr.take().unwrap().into()),
            child,
        }
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        println!("  signal {signal:?} to {}", self.what);
        rustix::process::pidfd_send_signal(&self.pidfd, signal).unwrap();
    }

    /// Writes to its input.
    #[track_caller]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Ends its input.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits until its standard output has `text`, after what earlier calls have found.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = &self.out.bytes[self.out.seen..];
            if let Some(at) = find(new, text.as_bytes()) {
                self.out.seen += at + text.len();
                return;
            }
            let alive = self.out.from.is_some();
            assert!(
                alive && Instant::now() < deadline,
                "{} never said {text:?}: {:?} {:?}",
                self.what,
                String::from_utf8_lossy(&self.out.bytes),
                String::from_utf8_lossy(&self.err.bytes)
            );
            self.read(deadline, false);
        }
    }

    /// Takes what it has written, without waiting for more; returns all of its standard output so far.
    pub(crate) fn look(&mut self) -> String {
        self.out.take();
        self.err.take();
        String::from_utf8_lossy(&self.out.bytes).into_owned()
    }

    /// Ends its input, and waits until it has ended and its outputs too.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        self.close_input();
        self.wait()
    }

    /// Gives it input and waits for its end; what it does not want to read is lost.
    #[track_caller]
    pub(crate) fn feed_and_end(&mut self, bytes: &[u8]) -> Ran {
        let input = self.input.take();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program may end before it has read all.
                if let Err(error) = input.unwrap().write_all(bytes) {
                    println!("  input: {error}");
                }
            });
            self.wait()
        })
    }

    /// Waits until it has ended and its outputs too.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = self.has_ended();
            if ended && self.out.from.is_none() && self.err.from.is_none() {
                break;
            }
            if Instant::now() >= deadline {
                self.child.kill().unwrap();
                let why = if ended {
                    "has ended, but its output is still open"
                } else {
                    "does not end"
                };
                panic!(
                    "{} {why}: {:?} {:?}",
                    self.what,
                    String::from_utf8_lossy(&self.out.bytes),
                    String::from_utf8_lossy(&self.err.bytes)
                );
            }
            self.read(deadline, !ended);
        }
        let ran = Ran::from(Output {
            status: self.child.wait().unwrap(),
            stdout: std::mem::take(&mut self.out.bytes),
            stderr: std::mem::take(&mut self.err.bytes),
        });
        print_output("", &ran.out);
        print_output("! ", &ran.err);
        if ran.code != 0 {
            println!("  = {} of {}", ran.code, self.what);
        }
        ran
    }

    /// Takes what has come; waits for it, or for the end of the process if `for_end`.
    fn read(&mut self, deadline: Instant, for_end: bool) {
        let mut fds = Vec::new();
        for stream in [&self.out, &self.err] {
            if let Some(from) = &stream.from {
                fds.push(PollFd::new(from, PollFlags::IN));
            }
        }
        if for_end {
            fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
        drop(fds);
        for stream in [&mut self.out, &mut self.err] {
            stream.take();
        }
    }
}

impl Stream {
    /// Takes what is there, without waiting.
    fn take(&mut self) {
        let Some(from) = &self.from else { return };
        let mut fds = [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if poll(&mut fds, Some(&now)) != Ok(1) {
            return;
        }
        let mut buffer = vec![0; 1 << 16];
        match rustix::io::retry_on_intr(|| rustix::io::read(from, &mut buffer[..])) {
            Ok(0) => self.from = None,
            Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
            Err(errno) => panic!("read: {errno}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            println!("  killed at the end of the test: {}", self.what);
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// A long output is shortened.
fn print_output(mark: &str, text: &str) {
    const LINES: usize = 60;
    const WIDTH: usize = 400;
    for (number, line) in text.lines().enumerate() {
        if number == LINES {
            println!("  {mark}…");
            return;
        }
        let short: String = line.chars().take(WIDTH).collect();
        println!("  {mark}{short}");
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len().max(1))
        .position(|window| window == wanted)
}
