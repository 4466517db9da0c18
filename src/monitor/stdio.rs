//! The streams of a container: its pipes or terminal on one side, its log and the attached clients on the other.
//!
//! One thread, nothing blocks: whatever a client does not take yet waits in its queue. When a queue is full the container's
//! output is not read on until it has room again, so that a slow reader slows the writer down as a pipe would, and never
//! makes this process grow. A log driver that takes nothing does the same, unless it may lose lines.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::buffer::{SpareCapacity, spare_capacity};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::control::{Size, Streams};
use crate::container::logs::{Log, Stream};

/// How much of the output a client may leave waiting.
const QUEUE_MAX_BYTES: usize = 1 << 20;
/// How much is read at one time.
const CHUNK_BYTES: usize = 64 << 10;

/// The container's side.
#[derive(Debug, Default)]
pub struct Ends {
    /// Its standard input, to write to; also its terminal.
    pub input: Option<OwnedFd>,
    /// Its standard output, to read; also its terminal.
    pub stdout: Option<OwnedFd>,
    /// Its standard error, to read.
    pub stderr: Option<OwnedFd>,
}

/// A client that is attached.
#[derive(Debug)]
struct Client {
    stream: OwnedFd,
    wants: Streams,
    queue: VecDeque<u8>,
    /// Whether it may still send input.
    sends: bool,
    /// Whether it gets nothing new.
    ending: bool,
    gone: bool,
}

/// The streams of one run.
#[derive(Debug)]
pub struct Hub {
    terminal: bool,
    /// Whether input ends with the first client that gave any.
    stdin_once: bool,
    ends: Ends,
    /// Input that the container has not taken yet.
    pending: VecDeque<u8>,
    /// Whether the input is to be closed once `pending` is empty.
    input_ends: bool,
    clients: Vec<Client>,
    log: Option<Log>,
    /// Where what is read lands; empty until there is something, which saves it for containers that say nothing.
    chunk: Vec<u8>,
}

/// A descriptor that the hub waits for; given back with what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The container takes input.
    Input,
    /// The container has output.
    Output(Stream),
    /// A client, by its number.
    Client(usize),
    /// The log driver takes more.
    Log,
}

impl Hub {
    /// Returns a hub without container and clients, which writes to `log`.
    pub fn new(terminal: bool, stdin_once: bool, log: Option<Log>) -> Hub {
        Hub {
            terminal,
            stdin_once,
            ends: Ends::default(),
            pending: VecDeque::new(),
            input_ends: false,
            clients: Vec::new(),
            log,
            chunk: Vec::new(),
        }
    }

    /// Takes the container's side of a new run.
    pub fn connect(&mut self, ends: Ends) -> Result<()> {
        for end in [&ends.input, &ends.stdout, &ends.stderr]
            .into_iter()
            .flatten()
        {
            rustix::io::ioctl_fionbio(end, true).context("make a stream non-blocking")?;
        }
        self.ends = ends;
        self.pending.clear();
        self.input_ends = false;
        Ok(())
    }

    /// Adds a client.
    pub fn attach(&mut self, stream: OwnedFd, wants: Streams) -> Result<()> {
        rustix::io::ioctl_fionbio(&stream, true).context("make a stream non-blocking")?;
        self.clients.push(Client {
            stream,
            wants,
            queue: VecDeque::new(),
            sends: wants.stdin,
            ending: false,
            gone: false,
        });
        Ok(())
    }

    /// Returns whether anybody is attached.
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Tells the terminal its size; without a terminal there is nothing to tell.
    pub fn resize(&self, size: Size) -> Result<()> {
        match (&self.ends.stdout, self.terminal) {
            (Some(terminal), true) => set_size(terminal.as_fd(), size),
            _ => Ok(()),
        }
    }

    /// Returns what the hub waits for at present.
    pub fn waiting(&self) -> Vec<(Waiting, BorrowedFd<'_>, PollFlags)> {
        let mut waiting = Vec::new();
        if let Some(input) = self
            .ends
            .input
            .as_ref()
            .filter(|_| !self.pending.is_empty())
        {
            waiting.push((Waiting::Input, input.as_fd(), PollFlags::OUT));
        }
        let log_is_full = self.log.as_ref().is_some_and(Log::is_full);
        let has_room = |client: &Client| client.queue.len() < QUEUE_MAX_BYTES;
        if !log_is_full && self.clients.iter().all(has_room) {
            for (stream, end) in [
                (Stream::Stdout, &self.ends.stdout),
                (Stream::Stderr, &self.ends.stderr),
            ] {
                if let Some(end) = end {
                    waiting.push((Waiting::Output(stream), end.as_fd(), PollFlags::IN));
                }
            }
        }
        if let Some(log) = self.log.as_ref().and_then(Log::waits) {
            waiting.push((Waiting::Log, log, PollFlags::OUT));
        }
        for (number, client) in self.clients.iter().enumerate() {
            // Without flags poll still tells when the client is gone.
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.sends && self.pending.is_empty());
            flags.set(PollFlags::OUT, !client.queue.is_empty());
            waiting.push((Waiting::Client(number), client.stream.as_fd(), flags));
        }
        waiting
    }

    /// Does what became possible; call [`Hub::sweep`] after a round of these.
    pub fn ready(&mut self, which: Waiting, events: PollFlags) -> Result<()> {
        match which {
            Waiting::Input => self.feed(),
            Waiting::Log => {
                if let Some(log) = &mut self.log {
                    log.go_on();
                }
            }
            Waiting::Output(stream) => {
                self.pump(stream)?;
            }
            Waiting::Client(number) => {
                if events.contains(PollFlags::OUT) {
                    self.clients[number].flush();
                }
                if events.contains(PollFlags::IN) {
                    self.take_input(number);
                } else if events.intersects(PollFlags::ERR | PollFlags::HUP) {
                    self.lose(number);
                }
            }
        }
        Ok(())
    }

    /// Forgets the clients that are gone; their numbers change.
    pub fn sweep(&mut self) {
        self.clients.retain(|client| !client.gone);
    }

    /// Moves one chunk of output to the log and the clients; false if there was none.
    fn pump(&mut self, stream: Stream) -> Result<bool> {
        let end = match stream {
            Stream::Stdout => &mut self.ends.stdout,
            Stream::Stderr => &mut self.ends.stderr,
        };
        let Some(source) = end else { return Ok(false) };
        let count = match rustix::io::read(source.as_fd(), emptied(&mut self.chunk)) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            // A terminal whose other side nobody has open any more.
            Err(Errno::IO) => 0,
            Err(errno) => return Err(errno).context("read the output of the container"),
        };
        if count == 0 {
            *end = None;
            return Ok(false);
        }
        let bytes = &self.chunk;
        for client in &mut self.clients {
            client.deliver(stream, bytes, self.terminal);
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(stream, bytes, Timestamp::now())
        {
            // A full disk must not stop the program; what it says is lost, as docker has it.
            tracing::warn!("output is lost: {error:#}");
        }
        Ok(true)
    }

    /// Takes all output that is still there after the program has ended, and ends the log's last lines.
    pub fn drain(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.pump(stream).unwrap_or(false) {}
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.finish(Timestamp::now())
        {
            tracing::warn!("output is lost: {error:#}");
        }
        self.ends = Ends::default();
    }

    /// Ends the stream of every client as soon as it has got all that is for it.
    pub fn disconnect(&mut self) {
        for client in &mut self.clients {
            client.ending = true;
            client.flush();
        }
        self.sweep();
    }

    fn take_input(&mut self, number: usize) {
        let client = &self.clients[number];
        match rustix::io::read(&client.stream, emptied(&mut self.chunk)) {
            Ok(0) => self.end_input(number),
            Ok(_) => {
                // Without an open input it has nowhere to go.
                if self.ends.input.is_some() && !self.input_ends {
                    self.pending.extend(&self.chunk);
                    self.feed();
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.lose(number),
        }
    }

    fn end_input(&mut self, number: usize) {
        self.clients[number].sends = false;
        // Who leaves a terminal does not end it: others may come and type.
        if self.stdin_once && !self.terminal {
            self.input_ends = true;
            self.feed();
        }
    }

    fn lose(&mut self, number: usize) {
        if self.clients[number].sends {
            self.end_input(number);
        }
        self.clients[number].gone = true;
    }

    /// Gives the container what it takes of the waiting input.
    fn feed(&mut self) {
        while let (Some(input), false) = (&self.ends.input, self.pending.is_empty()) {
            match rustix::io::write(input, self.pending.as_slices().0) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // The program has closed its input; what is left has no reader.
                Err(_) => {
                    self.pending.clear();
                    self.input_ends = true;
                }
            }
        }
        if self.input_ends {
            self.ends.input = None;
        }
    }
}

impl Client {
    fn deliver(&mut self, stream: Stream, bytes: &[u8], terminal: bool) {
        let wanted = match stream {
            Stream::Stdout => self.wants.stdout,
            Stream::Stderr => self.wants.stderr,
        };
        if !wanted || self.ending || self.gone {
            return;
        }
        if !terminal {
            let kind = if stream == Stream::Stderr { 2 } else { 1 };
            let length = u32::try_from(bytes.len())
                .expect("a chunk is small")
                .to_be_bytes();
            self.queue.extend([kind, 0, 0, 0]);
            self.queue.extend(length);
        }
        self.queue.extend(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.queue.is_empty() {
            match rustix::net::send(&self.stream, self.queue.as_slices().0, SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => {
                    self.queue.clear();
                    self.gone = true;
                }
            }
        }
        self.gone |= self.ending;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Also for copies of the descriptor in processes that are about to exec.
        if let Err(errno) = rustix::net::shutdown(&self.stream, Shutdown::Both) {
            tracing::debug!("shut down a stream: {errno}");
        }
    }
}

/// Tells a terminal its size.
pub fn set_size(terminal: BorrowedFd<'_>, size: Size) -> Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size)
        .map_err(io::Error::from)
        .context("set the size of a terminal")
}

/// Room for what is read next; of memory that nothing was written to yet, the system needs to provide none.
pub fn emptied(chunk: &mut Vec<u8>) -> SpareCapacity<'_, u8> {
    chunk.clear();
    chunk.reserve(CHUNK_BYTES);
    spare_capacity(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, Timespec, poll};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    const ALL: Streams = Streams {
        stdin: true,
        stdout: true,
        stderr: true,
    };

    fn stream() -> (OwnedFd, UnixStream) {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        (ours, UnixStream::from(theirs))
    }

    /// Lets the hub work until it has nothing more to do at once.
    fn settle(hub: &mut Hub) {
        loop {
            let waiting = hub.waiting();
            let mut fds: Vec<PollFd<'_>> = waiting
                .iter()
                .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
                .collect();
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            if poll(&mut fds, Some(&now)).unwrap() == 0 {
                return;
            }
            let events: Vec<(Waiting, PollFlags)> = waiting
                .iter()
                .zip(&fds)
                .map(|((which, ..), fd)| (*which, fd.revents()))
                .collect();
            for (which, events) in events.into_iter().filter(|(_, events)| !events.is_empty()) {
                hub.ready(which, events).unwrap();
            }
            hub.sweep();
        }
    }

    fn hub(
        stdin_once: bool,
    ) -> (
        Hub,
        std::io::PipeReader,
        std::io::PipeWriter,
        std::io::PipeWriter,
    ) {
        let (stdin, input) = std::io::pipe().unwrap();
        let (stdout, out) = std::io::pipe().unwrap();
        let (stderr, err) = std::io::pipe().unwrap();
        let mut hub = Hub::new(false, stdin_once, None);
        hub.connect(Ends {
            input: Some(input.into()),
            stdout: Some(stdout.into()),
            stderr: Some(stderr.into()),
        })
        .unwrap();
        (hub, stdin, out, err)
    }

    #[test]
    fn output_is_framed_for_every_client() {
        let (mut hub, _stdin, mut out, mut err) = hub(false);
        let clients: Vec<UnixStream> = (0..2)
            .map(|_| {
                let (ours, theirs) = stream();
                hub.attach(ours, ALL).unwrap();
                theirs
            })
            .collect();
        out.write_all(b"one").unwrap();
        settle(&mut hub);
        err.write_all(b"two!").unwrap();
        settle(&mut hub);
        hub.disconnect();
        for mut client in clients {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"\x01\0\0\0\0\0\0\x03one\x02\0\0\0\0\0\0\x04two!");
        }
    }

    #[test]
    fn input_ends_with_its_first_client_if_that_was_asked() {
        for once in [true, false] {
            let (mut hub, mut stdin, _out, _err) = hub(once);
            let (ours, mut client) = stream();
            hub.attach(ours, ALL).unwrap();
            client.write_all(b"data").unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            settle(&mut hub);
            let mut bytes = [0; 4];
            stdin.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"data");
            assert_eq!(hub.ends.input.is_none(), once);
        }
    }

    #[test]
    fn a_client_that_does_not_read_stops_the_output_and_not_the_memory() {
        let (mut hub, _stdin, out, _err) = hub(false);
        rustix::io::ioctl_fionbio(&out, true).unwrap();
        let (ours, client) = stream();
        hub.attach(ours, ALL).unwrap();
        let block = vec![b'x'; CHUNK_BYTES];
        let mut written = 0;
        loop {
            match (&out).write(&block) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    settle(&mut hub);
                    let full = hub.clients[0].queue.len() >= QUEUE_MAX_BYTES;
                    if full {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(
            written < 4 << 20 && hub.clients[0].queue.len() < QUEUE_MAX_BYTES + 2 * CHUNK_BYTES
        );
        drop(client);
        settle(&mut hub);
        assert!(!hub.has_clients());
        assert!(
            hub.waiting()
                .iter()
                .any(|(which, ..)| *which == Waiting::Output(Stream::Stdout))
        );
    }
}
