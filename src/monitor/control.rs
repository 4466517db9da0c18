//! What a monitor is asked and what it answers, and how both travel.
//!
//! ```text
//! client ── Request (+ descriptors) ──► monitor        one JSON document per message, SOCK_SEQPACKET
//! client ◄── Reply (+ descriptors) ──── monitor
//! client ◄══ streams of the container ══► monitor      SOCK_STREAM, one end sent along with Start or Attach
//! ```
//!
//! On the stream the client writes standard input as it is and ends it by a half-close. It reads a terminal as it is, and
//! otherwise frames: one byte 1 (stdout) or 2 (stderr), three zero bytes, the length as a big-endian u32, the bytes. That is
//! the Engine API's format, so a hijacked connection can be the stream.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::docker::container::PortBinding;
use crate::docker::network::EndpointSettings;
use crate::error::{self, Kind};
use crate::oci::runtime::Process;
use crate::sys::fdpass;

/// The longest document that travels in a message; a longer one travels in a memory file.
const MESSAGE_MAX_BYTES: usize = 32 << 10;
/// The longest document at all: more than all arguments and variables that execve takes.
const DOCUMENT_MAX_BYTES: u64 = 8 << 20;

/// What a monitor is asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// To start the container; the first request, and only on the socket the monitor was born with. With `attach`, one
    /// descriptor comes along: the stream.
    Start {
        /// The streams of the client that waits for the end.
        attach: Option<Streams>,
        /// Whether its policy starts it again, in the place of a monitor that is dead.
        again: bool,
    },
    /// To send output from now on, and to take input; one descriptor comes along: the stream.
    Attach(Streams),
    /// To tell the terminal its size.
    Resize(Size),
    /// To run another process; three descriptors come along (its streams), or with a terminal none.
    Exec(Box<ExecRequest>),
    /// To send a signal to the first process.
    Signal(i32),
    /// To end the container: `signal`, and SIGKILL after `timeout_s` seconds; below zero never.
    Stop {
        /// Number of the signal.
        signal: i32,
        /// Seconds.
        timeout_s: i64,
        /// Whether an event tells of the stop; a removal is none.
        told: bool,
        /// Whether the container stays, also if it is to go when it ends: it starts again.
        keep: bool,
    },
    /// To freeze all processes.
    Pause,
    /// To freeze them until they are let run again or this connection ends.
    PauseMeanwhile,
    /// To let them run again.
    Unpause,
    /// To say when the present run has ended.
    Wait,
    /// To join a network.
    Connect {
        /// Its name.
        network: String,
        /// What is asked of it.
        settings: Box<EndpointSettings>,
    },
    /// To leave a network.
    Disconnect {
        /// Its name.
        network: String,
    },
    /// To publish these ports, and no others.
    Publish {
        /// `80/tcp` → where on the host.
        ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    },
    /// To read the record again: the container has another name.
    Renamed,
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// To write to.
    pub stdin: bool,
    /// To read.
    pub stdout: bool,
    /// To read.
    pub stderr: bool,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// A process to be run in a running container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The process; its user is still to be looked up if `user` says so.
    pub process: Process,
    /// `user[:group]`, looked up in the container; empty means root.
    pub user: String,
    /// Whether all capabilities are given.
    pub privileged: bool,
    /// The command as events show it.
    pub command: String,
}

/// Returns a command as events show it: docker writes the blank before arguments also if there are none.
pub fn shown(command: &[String]) -> String {
    let (program, arguments) = command
        .split_first()
        .map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    format!("{program} {}", arguments.join(" "))
}

/// What a monitor answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// The program runs.
    Started {
        /// Its first process as the host numbers it.
        pid: i32,
    },
    /// A run has ended; what follows on this connection is only its end, when nothing of the container runs any more.
    Exited {
        /// As of a shell.
        code: i32,
    },
    /// The process runs; with a terminal, one descriptor comes along: its master side.
    ExecStarted {
        /// Names the session.
        id: String,
        /// As the host numbers it.
        pid: i32,
    },
    /// It could not be done.
    Failed(Failure),
}

/// An error on its way to another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The whole chain on one line.
    pub message: String,
    /// What fronts branch on.
    pub kind: Option<Kind>,
    /// What the user can do.
    pub hint: Option<String>,
    /// Of a program that could not be started, as of a shell.
    pub exit_code: Option<i32>,
}

/// A program could not be started; `exit_code` is as of a shell.
#[derive(Debug)]
pub struct StartError {
    /// Why.
    pub message: String,
    /// 125, 126 or 127.
    pub exit_code: i32,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// Returns the exit code of a program that could not be started; nothing if `error` says that something else is wrong.
    pub fn exit_code_of(error: &anyhow::Error) -> Option<i32> {
        error::find::<StartError>(error).map(|start| start.exit_code)
    }
}

impl Failure {
    /// Takes what the other side needs of an error.
    pub fn of(error: &anyhow::Error) -> Failure {
        Failure {
            message: error::line(error),
            kind: error::kind(error),
            hint: error::hint(error).map(str::to_owned),
            exit_code: StartError::exit_code_of(error),
        }
    }

    /// Makes it an error again.
    pub fn into_error(self) -> anyhow::Error {
        let error = match (self.exit_code, self.kind) {
            (Some(exit_code), _) => anyhow::Error::new(StartError {
                message: self.message,
                exit_code,
            }),
            (None, Some(kind)) => error::new(kind, self.message),
            (None, None) => anyhow::Error::msg(self.message),
        };
        match self.hint {
            Some(hint) => error::with_hint(error, hint),
            None => error,
        }
    }
}

/// Sends a document with descriptors.
pub fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    document: &T,
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    let bytes = serde_json::to_vec(document).context("encode a message")?;
    if bytes.len() <= MESSAGE_MAX_BYTES {
        return fdpass::send(socket, &bytes, descriptors).context("send a message");
    }
    let file = memory_file(&bytes).context("write a long message")?;
    let mut all = vec![file.as_fd()];
    all.extend(descriptors);
    // A lone space is no JSON document: it says that the first descriptor holds it.
    fdpass::send(socket, b" ", &all).context("send a long message")
}

/// Receives a document with its descriptors; nothing when the other side has closed.
pub fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let is_reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
    let received = match fdpass::receive(socket, MESSAGE_MAX_BYTES) {
        // Whoever closes with unread messages resets the connection, which is told once and before what was sent last.
        Err(error) if is_reset(&error) => fdpass::receive(socket, MESSAGE_MAX_BYTES),
        received => received,
    };
    let received = match received {
        Err(error) if is_reset(&error) => None,
        received => received.context("receive a message")?,
    };
    let Some((mut bytes, mut descriptors)) = received else {
        return Ok(None);
    };
    if bytes == b" " {
        if descriptors.is_empty() {
            bail!("receive a message: it has no content");
        }
        let mut file = std::fs::File::from(descriptors.remove(0));
        file.rewind().context("read a long message")?;
        bytes.clear();
        file.take(DOCUMENT_MAX_BYTES)
            .read_to_end(&mut bytes)
            .context("read a long message")?;
    }
    let document = serde_json::from_slice(&bytes).context("decode a message")?;
    Ok(Some((document, descriptors)))
}

fn memory_file(bytes: &[u8]) -> io::Result<std::fs::File> {
    let file = rustix::fs::memfd_create("aril-message", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    #[test]
    fn long_documents_travel_with_their_descriptors() {
        let (left, right) = pair();
        for length in [10, MESSAGE_MAX_BYTES, 300_000] {
            let process = Process {
                env: vec!["x".repeat(length)],
                ..Process::default()
            };
            let request = Request::Exec(Box::new(ExecRequest {
                process,
                ..ExecRequest::default()
            }));
            send(left.as_fd(), &request, &[left.as_fd()]).unwrap();
            let (received, descriptors) = receive::<Request>(right.as_fd()).unwrap().unwrap();
            let Request::Exec(received) = received else {
                panic!("another request")
            };
            assert_eq!(
                (received.process.env[0].len(), descriptors.len()),
                (length, 1)
            );
        }
        drop(left);
        assert!(receive::<Request>(right.as_fd()).unwrap().is_none());
    }

    #[test]
    fn what_was_said_before_the_end_is_heard() {
        let (left, right) = pair();
        // Unread, as a change of size that comes when the program has ended.
        send(left.as_fd(), &Request::Signal(1), &[]).unwrap();
        send(right.as_fd(), &Reply::Exited { code: 7 }, &[]).unwrap();
        drop(right);
        let (said, _) = receive::<Reply>(left.as_fd()).unwrap().unwrap();
        assert!(matches!(said, Reply::Exited { code: 7 }), "{said:?}");
        assert!(receive::<Reply>(left.as_fd()).unwrap().is_none());
    }

    #[test]
    fn errors_keep_what_fronts_need() {
        let error = error::with_hint(error::conflict("taken"), "try another");
        let again = Failure::of(&error.context("create x")).into_error();
        assert_eq!(error::line(&again), "create x: taken");
        assert_eq!(
            (error::kind(&again), error::hint(&again)),
            (Some(Kind::Conflict), Some("try another"))
        );
        let start = anyhow::Error::new(StartError {
            message: "no".into(),
            exit_code: 127,
        });
        let again = Failure::of(&start).into_error();
        assert_eq!(again.downcast_ref::<StartError>().unwrap().exit_code, 127);
    }
}
