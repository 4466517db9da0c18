//! Connections: bytes go from socket to socket through a pipe (splice), so they are never copied into this process.
//!
//! ```text
//!   client ── up ──► pipe ──► backend        each direction: read only into an empty pipe, write until it is empty
//!   client ◄── pipe ◄── down ── backend      an end of one side is passed on; two ends close the connection
//! ```
//!
//! A side that does not read fills one pipe and stops that direction; nothing else waits for it. Pipes are taken when there
//! is something to move and go back to a small store. A side that breaks off, or a backend that refuses, gives the other
//! side a reset, never an orderly end.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// What one direction of a connection may move before the next connection has its turn.
const TURN_BYTES: usize = 256 << 10;
/// How much is asked for at once; a pipe holds 64 KiB unless it was made larger.
const CHUNK_BYTES: usize = 64 << 10;
/// How many empty pipes are kept.
const PIPES_MAX: usize = 8;
/// How long a connection that needs a pipe waits for a free descriptor.
const STARVED_PAUSE: Duration = Duration::from_millis(20);

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who connected to the published port.
    Client,
    /// The container.
    Backend,
}

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: HashMap<u64, Stream>,
    next: u64,
    /// Those that may have something to move; each at most once.
    work: VecDeque<u64>,
    /// When there was a turn for them last.
    worked_at: Option<Instant>,
    /// Those that found no descriptor for a pipe, and when they look again.
    starved: Vec<u64>,
    starved_until: Option<Instant>,
    pipes: Vec<Pipe>,
}

#[derive(Debug)]
struct Stream {
    client: End,
    backend: End,
    up: Direction,
    down: Direction,
    is_connected: bool,
    is_queued: bool,
    has_error: bool,
}

/// A socket, and what the last events said of it.
#[derive(Debug)]
struct End {
    socket: OwnedFd,
    is_readable: bool,
    is_writable: bool,
}

#[derive(Debug, Default)]
struct Direction {
    pipe: Option<Pipe>,
    /// The source has sent all it will.
    has_ended: bool,
    /// The target was told.
    is_shut: bool,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    bytes: usize,
}

/// How a turn of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// It waits for an event.
    Waits,
    /// It has more to move.
    HasMore,
    /// It needs a descriptor that is not to be had now.
    Starved,
}

impl Streams {
    /// Starts a connection of `client`; `register` puts a socket into the set of those that are waited for.
    ///
    /// On an error the client has been reset.
    pub(super) fn open(
        &mut self,
        client: OwnedFd,
        target: SocketAddr,
        register: impl Fn(u64, Side, BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let opened = connect(target).and_then(|backend| {
            register(number, Side::Client, client.as_fd())?;
            register(number, Side::Backend, backend.as_fd())?;
            Ok(backend)
        });
        match opened {
            Ok(backend) => {
                self.open.insert(
                    number,
                    Stream {
                        client: End::new(client),
                        backend: End::new(backend),
                        up: Direction::default(),
                        down: Direction::default(),
                        is_connected: false,
                        is_queued: false,
                        has_error: false,
                    },
                );
                Ok(())
            }
            Err(error) => {
                reset(&client);
                Err(error)
            }
        }
    }

    /// Notes what an event says of a socket.
    pub(super) fn ready(&mut self, number: u64, side: Side, flags: EventFlags) {
        let Some(stream) = self.open.get_mut(&number) else {
            return;
        };
        let end = match side {
            Side::Client => &mut stream.client,
            Side::Backend => &mut stream.backend,
        };
        let broken = EventFlags::ERR | EventFlags::HUP;
        end.is_readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | broken);
        end.is_writable |= flags.intersects(EventFlags::OUT | broken);
        stream.has_error |= flags.contains(EventFlags::ERR);
        if !stream.is_queued {
            stream.is_queued = true;
            self.work.push_back(number);
        }
    }

    /// Returns whether [`Streams::work`] has something to do without a further event.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        !self.work.is_empty() || self.starved_until.is_some_and(|until| until <= now)
    }

    /// Returns when [`Streams::work`] must be called without a further event.
    pub(super) fn timeout(&self) -> Option<Instant> {
        if self.work.is_empty() {
            self.starved_until
        } else {
            // A time that has passed, and not the present one: who compares it with a clock that was read before must see
            // that it is due.
            self.worked_at.or(self.starved_until)
        }
    }

    /// Gives each connection that has something to move one turn; returns whether one has ended.
    pub(super) fn work(&mut self, now: Instant) -> bool {
        if self.starved_until.is_some_and(|until| until <= now) {
            self.starved_until = None;
            self.work.extend(self.starved.drain(..));
        }
        self.worked_at = Some(now);
        let mut one_ended = false;
        for _ in 0..self.work.len() {
            let Some(number) = self.work.pop_front() else {
                break;
            };
            let Some(stream) = self.open.get_mut(&number) else {
                continue;
            };
            stream.is_queued = false;
            match stream.turn(&mut self.pipes) {
                Ok(_) if stream.up.is_shut && stream.down.is_shut => {
                    self.end(number);
                    one_ended = true;
                }
                Ok(Turn::Waits) => {}
                Ok(Turn::HasMore) => {
                    stream.is_queued = true;
                    self.work.push_back(number);
                }
                Ok(Turn::Starved) => {
                    stream.is_queued = true;
                    self.starved.push(number);
                    self.starved_until = Some(now + STARVED_PAUSE);
                }
                Err(error) => {
                    tracing::debug!("a published connection broke off: {error}");
                    reset(&stream.client.socket);
                    reset(&stream.backend.socket);
                    self.end(number);
                    one_ended = true;
                }
            }
        }
        one_ended
    }

    fn end(&mut self, number: u64) {
        // Pipes that still hold something are of no further use.
        drop(self.open.remove(&number));
    }
}

impl Stream {
    /// Moves what can be moved, in both directions.
    fn turn(&mut self, pipes: &mut Vec<Pipe>) -> io::Result<Turn> {
        if !self.is_connected {
            // Whether it was accepted or refused is the same event.
            sockopt::socket_error(&self.backend.socket)??;
            if !self.backend.is_writable {
                return self.check().map(|()| Turn::Waits);
            }
            self.is_connected = true;
        }
        let up = self.up.turn(&mut self.client, &mut self.backend, pipes)?;
        let down = self.down.turn(&mut self.backend, &mut self.client, pipes)?;
        let turn = up.max(down);
        // Whoever neither reads nor writes any more does not meet an error by itself.
        if turn == Turn::Waits {
            self.check()?;
        }
        Ok(turn)
    }

    fn check(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.has_error) {
            sockopt::socket_error(&self.client.socket)??;
            sockopt::socket_error(&self.backend.socket)??;
        }
        Ok(())
    }
}

impl End {
    fn new(socket: OwnedFd) -> End {
        End {
            socket,
            is_readable: false,
            is_writable: false,
        }
    }
}

impl Direction {
    fn turn(&mut self, from: &mut End, to: &mut End, pipes: &mut Vec<Pipe>) -> io::Result<Turn> {
        let mut moved_bytes = 0;
        loop {
            if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.bytes > 0) {
                if !to.is_writable {
                    return Ok(Turn::Waits);
                }
                match pipe.write_to(&to.socket) {
                    Ok(()) => {}
                    Err(Errno::AGAIN) => to.is_writable = false,
                    Err(errno) => return Err(errno.into()),
                }
                continue;
            }
            if self.has_ended || !from.is_readable || moved_bytes >= TURN_BYTES {
                self.give_back(pipes);
                if self.has_ended && !self.is_shut {
                    self.is_shut = true;
                    // Not connected any more: then nobody is there to be told.
                    match rustix::net::shutdown(&to.socket, Shutdown::Write) {
                        Ok(()) | Err(Errno::NOTCONN) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                let has_more = !self.has_ended && from.is_readable;
                return Ok(if has_more { Turn::HasMore } else { Turn::Waits });
            }
            let pipe = match self.pipe.take().or_else(|| pipes.pop()) {
                Some(pipe) => self.pipe.insert(pipe),
                None => match Pipe::new() {
                    Ok(pipe) => self.pipe.insert(pipe),
                    Err(Errno::MFILE | Errno::NFILE) => return Ok(Turn::Starved),
                    Err(errno) => return Err(errno.into()),
                },
            };
            match pipe.read_from(&from.socket) {
                Ok(0) => self.has_ended = true,
                Ok(bytes) => moved_bytes += bytes,
                Err(Errno::AGAIN) => from.is_readable = false,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn give_back(&mut self, pipes: &mut Vec<Pipe>) {
        if let Some(pipe) = self.pipe.take()
            && pipes.len() < PIPES_MAX
        {
            pipes.push(pipe);
        }
    }
}

impl Pipe {
    fn new() -> rustix::io::Result<Pipe> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Pipe {
            reader,
            writer,
            bytes: 0,
        })
    }

    /// Takes what `socket` has. The pipe must be empty: then "again" speaks of the socket, and not of the pipe.
    fn read_from(&mut self, socket: &OwnedFd) -> rustix::io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        self.bytes = splice(socket, None, &self.writer, None, CHUNK_BYTES, flags)?;
        Ok(self.bytes)
    }

    fn write_to(&mut self, socket: &OwnedFd) -> rustix::io::Result<()> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        self.bytes -= splice(&self.reader, None, socket, None, self.bytes, flags)?;
        Ok(())
    }
}

fn connect(target: SocketAddr) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the close of `socket` a reset.
fn reset(socket: &OwnedFd) {
    if let Err(error) = sockopt::set_socket_linger(socket, Some(Duration::ZERO)) {
        tracing::debug!("reset a connection: {error}");
    }
}
