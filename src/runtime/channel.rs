//! Messages between a parent and the process that becomes the container's, and the error that ends one that did not.
//!
//! ```text
//! parent                                      child
//!   │ ◀── Mounted ──────────────────────────── │  only if the parent has hooks to run before the root is switched
//!   │ ─── GO ────────────────────────────────▶ │  id maps are written; hooks have run, the network is there; start
//!   │ ◀── Warning, Terminal (1 fd) ─────────── │
//!   │ ◀── Ready ────────────────────────────── │  everything is checked; only the start is missing
//!   │ ◀── Listener ─────────────────────────── │  fetch the descriptor of the seccomp listener, then GO
//!   │ ◀── end of file ──────────────────────── │  the program runs: the socket is close-on-exec
//!   │ ◀── Failed ───────────────────────────── │  instead of any of these
//! ```
//!
//! The socket is SOCK_SEQPACKET: one send is one receive. Nothing is sent that nobody waits for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::describe;
use crate::sys::fdpass;

/// The longest text of a message; longer ones are cut.
const TEXT_MAX: usize = 8 << 10;

/// What part of the way to the container's program failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Anything that the caller cannot repair by another command line: namespaces, mounts, devices, limits.
    Setup = 0,
    /// The working directory.
    WorkingDirectory = 1,
    /// The program: it was not found, or cannot be executed.
    Program = 2,
    /// A hook.
    Hook = 3,
}

/// Why a process did not become the container's program.
///
/// Callers find it with `anyhow::Error::downcast_ref`, and tell by step and error number which exit code it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it failed.
    pub step: Step,
    /// The system's error number; 0 if there was none.
    pub errno: i32,
    /// The whole text, in runc's words where it has any.
    pub text: String,
    /// What may help; empty if nothing comes to mind.
    pub hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// Returns a failure of `step` that reads `what: <description of errno>`.
    pub(super) fn new(step: Step, errno: i32, what: &str) -> Failure {
        Failure::worded(step, errno, format!("{what}: {}", describe(errno)))
    }

    /// Returns a failure of `step` that reads `text`.
    pub(super) fn worded(step: Step, errno: i32, text: impl Into<String>) -> Failure {
        Failure {
            step,
            errno,
            text: text.into(),
            hint: String::new(),
        }
    }

    /// Returns a failure of set-up for which there is no error number.
    pub(super) fn plain(text: impl Into<String>) -> Failure {
        Failure::worded(Step::Setup, 0, text)
    }
}

/// Gives a failed call the words for what it was to do.
pub(super) trait OrFail<T> {
    /// Turns an error into a failure of set-up.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Step::Setup, errno_of(&error.into()), &what()))
    }
}

/// Returns the number of an error; one that no system call made is EIO.
pub(super) fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// What a child says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The mounts are there, the root is not yet switched; waits for GO.
    Mounted,
    /// Something that was asked for was left out.
    Warning(String),
    /// The first of the descriptors is the terminal's master side.
    Terminal,
    /// Nothing is left but to start.
    Ready,
    /// Descriptor with this number is the seccomp listener; waits for GO.
    Listener(i32),
    /// The descriptor is a pidfd of the process that a process in between has made.
    Cloned,
    /// It is over.
    Failed(Failure),
}

/// Stands between the text of a failure and its hint.
const HINT: char = '\0';

impl Message {
    fn encode(&self) -> Vec<u8> {
        let mut both = String::new();
        let (kind, number, step, text) = match self {
            Message::Mounted => (b'm', 0, 0, ""),
            Message::Warning(text) => (b'w', 0, 0, text.as_str()),
            Message::Terminal => (b't', 0, 0, ""),
            Message::Ready => (b'r', 0, 0, ""),
            Message::Listener(fd) => (b'l', *fd, 0, ""),
            Message::Cloned => (b'c', 0, 0, ""),
            Message::Failed(failure) => {
                both.push_str(&failure.text);
                if !failure.hint.is_empty() {
                    both.push(HINT);
                    both.push_str(&failure.hint);
                }
                (b'f', failure.errno, failure.step as u8, both.as_str())
            }
        };
        let mut bytes = vec![kind, step];
        bytes.extend(number.to_le_bytes());
        bytes.extend(&text.as_bytes()[..text.len().min(TEXT_MAX)]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Message> {
        let (&[kind, step], rest) = bytes.split_first_chunk()?;
        let (&number, text) = rest.split_first_chunk()?;
        let number = i32::from_le_bytes(number);
        let text = String::from_utf8_lossy(text).into_owned();
        Some(match kind {
            b'm' => Message::Mounted,
            b'w' => Message::Warning(text),
            b't' => Message::Terminal,
            b'r' => Message::Ready,
            b'l' => Message::Listener(number),
            b'c' => Message::Cloned,
            b'f' => Message::Failed(Failure {
                step: match step {
                    1 => Step::WorkingDirectory,
                    2 => Step::Program,
                    3 => Step::Hook,
                    _ => Step::Setup,
                },
                errno: number,
                hint: match text.split_once(HINT) {
                    Some((_, hint)) => hint.to_owned(),
                    None => String::new(),
                },
                text: match text.split_once(HINT) {
                    Some((text, _)) => text.to_owned(),
                    None => text,
                },
            }),
            _ => return None,
        })
    }
}

/// One end of the channel.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Makes the parent's end and the child's.
    pub(super) fn pair() -> io::Result<(Channel, Channel)> {
        let (parent, child) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Channel { socket: parent }, Channel { socket: child }))
    }

    /// Takes over a connected socket of the same kind.
    pub(super) fn from_socket(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    pub(super) fn send(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        fdpass::send(self.socket.as_fd(), &message.encode(), fds)
    }

    /// Sends a message without descriptors by write(2), which every filter of system calls must allow.
    pub(super) fn write(&self, message: &Message) -> io::Result<()> {
        rustix::io::write(&self.socket, &message.encode())?;
        Ok(())
    }

    /// Waits for the other side's next message; nothing once it has closed, be it by an exec or by its end.
    pub(super) fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let receive = || fdpass::receive(self.socket.as_fd(), TEXT_MAX + 64);
        let is_reset = |error: &io::Error| error.raw_os_error() == Some(libc::ECONNRESET);
        // A child that ended with something of ours unread. The kernel says so once, before it hands out what the child has
        // sent.
        let received = match receive() {
            Err(error) if is_reset(&error) => receive(),
            received => received,
        };
        let received = match received {
            Err(error) if is_reset(&error) => None,
            received => received?,
        };
        let Some((bytes, fds)) = received else {
            return Ok(None);
        };
        let message =
            Message::decode(&bytes).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))?;
        Ok(Some((message, fds)))
    }

    /// Returns what the other side has said of its failure, if it has; does not wait for it.
    pub(super) fn last_words(&self) -> Option<Failure> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        while poll(&mut fds, Some(&now)) == Ok(1) {
            if let Message::Failed(failure) = self.receive().ok()??.0 {
                return Some(failure);
            }
        }
        None
    }

    /// Lets the child go on.
    pub(super) fn go(&self) -> io::Result<()> {
        fdpass::send(self.socket.as_fd(), b"g", &[])
    }

    /// Waits until the parent lets this process go on. A parent that is gone is `EPIPE`.
    pub(super) fn wait(&self) -> io::Result<()> {
        let mut byte = [0];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut byte))? {
            0 => Err(io::Error::from_raw_os_error(libc::EPIPE)),
            _ => Ok(()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let failure = Failure::new(Step::Program, libc::EACCES, "exec: \"/x\"");
        assert_eq!(failure.text, "exec: \"/x\": permission denied");
        let hinted = Failure {
            hint: "chmod +x".into(),
            ..failure.clone()
        };
        let (parent, child) = Channel::pair().unwrap();
        for message in [
            Message::Failed(hinted),
            Message::Mounted,
            Message::Warning("w".into()),
            Message::Terminal,
            Message::Ready,
            Message::Listener(7),
            Message::Cloned,
            Message::Failed(failure),
        ] {
            child.send(&message, &[]).unwrap();
            let (received, fds) = parent.receive().unwrap().unwrap();
            assert_eq!(received, message);
            assert!(fds.is_empty());
        }
        parent.go().unwrap();
        child.wait().unwrap();
        drop(child);
        assert!(parent.receive().unwrap().is_none());
    }

    #[test]
    fn a_child_whose_parent_is_gone_does_not_go_on() {
        let (parent, child) = Channel::pair().unwrap();
        drop(parent);
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(libc::EPIPE));
    }

    #[test]
    fn long_texts_are_cut() {
        let (parent, child) = Channel::pair().unwrap();
        let long = Message::Warning("x".repeat(TEXT_MAX * 2));
        child.send(&long, &[]).unwrap();
        let (received, _) = parent.receive().unwrap().unwrap();
        assert_eq!(received, Message::Warning("x".repeat(TEXT_MAX)));
    }
}
