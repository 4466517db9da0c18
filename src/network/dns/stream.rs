//! Messages on a stream, each behind its length (RFC 1035, 4.2.2), and the clients that ask so.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// How much one read takes.
const READ_BYTES: usize = 16 << 10;
/// How long a client may hold a connection without a question.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many clients there may be; the one that was idle longest makes room.
const CLIENTS_MAX: usize = 64;
/// How many questions of one client may be unanswered.
const UNANSWERED_MAX: usize = 128;
/// How many bytes of answers may wait for a client that does not read.
const OUTPUT_MAX_BYTES: usize = 256 << 10;

/// What goes in and out of a stream that does not wait.
#[derive(Debug, Default)]
pub(super) struct Frames {
    input: VecDeque<u8>,
    output: VecDeque<u8>,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// There may be more.
    More,
    /// There is nothing more now.
    Again,
    /// There will be nothing more.
    Ended,
}

impl Frames {
    /// Adds a message to what is sent; one that is too long for its length is left out.
    pub(super) fn push(&mut self, message: &[u8]) {
        if let Ok(bytes) = u16::try_from(message.len()) {
            self.output.extend(bytes.to_be_bytes());
            self.output.extend(message);
        }
    }

    /// Sends what can be sent.
    pub(super) fn send(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while !self.output.is_empty() {
            let (part, _) = self.output.as_slices();
            match rustix::net::send(socket, part, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(bytes) => drop(self.output.drain(..bytes)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Reads once.
    pub(super) fn receive(&mut self, socket: &OwnedFd) -> io::Result<Input> {
        let mut buffer = [0; READ_BYTES];
        match rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => Ok(Input::Ended),
            Ok((_, bytes)) => {
                self.input.extend(&buffer[..bytes]);
                Ok(Input::More)
            }
            Err(Errno::AGAIN) => Ok(Input::Again),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the next message that has come in full.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let (high, low) = (*self.input.front()?, *self.input.get(1)?);
        let bytes = usize::from(u16::from_be_bytes([high, low]));
        (self.input.len() >= 2 + bytes).then(|| self.input.drain(..2 + bytes).skip(2).collect())
    }
}

/// The clients that ask on streams.
#[derive(Debug, Default)]
pub(super) struct Clients {
    open: HashMap<u64, Connection>,
    next: u64,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    frames: Frames,
    unanswered: usize,
    has_ended: bool,
    last: Instant,
}

impl Clients {
    /// Takes a new client; `register` puts its socket into the set of those that are waited for.
    pub(super) fn add(
        &mut self,
        socket: OwnedFd,
        register: impl Fn(u64, &OwnedFd) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.open.len() >= CLIENTS_MAX {
            let oldest = self.open.iter().min_by_key(|(_, client)| client.last);
            if let Some(number) = oldest.map(|(number, _)| *number) {
                self.open.remove(&number);
            }
        }
        let number = self.next;
        self.next += 1;
        register(number, &socket)?;
        self.open.insert(
            number,
            Connection {
                socket,
                frames: Frames::default(),
                unanswered: 0,
                has_ended: false,
                last: Instant::now(),
            },
        );
        Ok(())
    }

    /// Returns the questions that client `number` has sent; each must be answered by [`Clients::answer`].
    pub(super) fn ready(&mut self, number: u64) -> Vec<Vec<u8>> {
        let Some(client) = self.open.get_mut(&number) else {
            return Vec::new();
        };
        let mut questions = Vec::new();
        if client.receive(&mut questions).is_err() || client.is_over() {
            self.open.remove(&number);
        }
        questions
    }

    /// Sends an answer to client `number`, if it is still there.
    pub(super) fn answer(&mut self, number: u64, message: &[u8]) {
        let Some(client) = self.open.get_mut(&number) else {
            return;
        };
        client.unanswered = client.unanswered.saturating_sub(1);
        client.last = Instant::now();
        client.frames.push(message);
        if client.frames.send(&client.socket).is_err() || client.is_over() {
            self.open.remove(&number);
        }
    }

    /// Returns when [`Clients::expire`] has something to do.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.open
            .values()
            .map(|client| client.last + IDLE_MAX)
            .min()
    }

    /// Ends the connections of clients that have asked nothing for long.
    pub(super) fn expire(&mut self, now: Instant) {
        self.open.retain(|_, client| client.last + IDLE_MAX > now);
    }
}

impl Connection {
    fn receive(&mut self, questions: &mut Vec<Vec<u8>>) -> io::Result<()> {
        self.frames.send(&self.socket)?;
        while !self.has_ended {
            let input = self.frames.receive(&self.socket)?;
            while let Some(question) = self.frames.next() {
                self.unanswered += 1;
                if self.unanswered > UNANSWERED_MAX {
                    return Err(Errno::NOBUFS.into());
                }
                self.last = Instant::now();
                questions.push(question);
            }
            match input {
                Input::More => {}
                Input::Again => break,
                Input::Ended => self.has_ended = true,
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let is_done = self.has_ended && self.unanswered == 0 && self.frames.output.is_empty();
        is_done || self.frames.output.len() > OUTPUT_MAX_BYTES
    }
}
