//! Datagrams: each client has a socket of its own towards the container, so that answers find their way back.
//!
//! ```text
//!   client ──► listener ──► flow (client, the address it asked) ──► container
//!          ◄── listener ◄── from the address that it asked ◄──
//! ```
//!
//! A flow ends when it has been silent for a while, or when there are too many and it is the one silent longest. What
//! cannot be sent at once is lost, as datagrams may be.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{Listener, SOURCE_BATCH};
use crate::sys::datagram::{self, Local};

/// How long a flow may be silent; as docker's proxy has it.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// How many flows there may be.
pub(super) const FLOWS_MAX: usize = 1024;
/// The longest datagram there is.
const DATAGRAM_MAX_BYTES: usize = 64 << 10;

/// All flows.
#[derive(Debug, Default)]
pub(super) struct Flows {
    open: HashMap<u64, Flow>,
    numbers: HashMap<Client, u64>,
    next: u64,
    /// When the flow that was silent longest at the last look will have been silent too long.
    expire_at: Option<Instant>,
    /// Room for one datagram, made when the first one comes.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Flow {
    socket: OwnedFd,
    client: Client,
    last: Instant,
}

/// Whose flow it is: a client that asks two addresses of this machine has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    listener: usize,
    address: SocketAddr,
    asked: Option<Local>,
}

impl Flows {
    /// Ends the flows of the clients of one published port.
    pub(super) fn end(&mut self, listener: usize) {
        self.open.retain(|_, flow| flow.client.listener != listener);
        self.numbers.retain(|client, _| client.listener != listener);
    }

    /// Passes on what clients have sent to the published port `index`; `register` puts the socket of a new flow into the set
    /// of those that are waited for.
    pub(super) fn pass_on(
        &mut self,
        index: usize,
        listener: &Listener,
        register: impl Fn(&OwnedFd, u64) -> io::Result<()>,
        now: Instant,
    ) {
        let mut buffer = self.take_buffer();
        for _ in 0..SOURCE_BATCH {
            let received = match datagram::receive(listener.socket.as_fd(), &mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error that the network reported about an earlier datagram.
                Err(_) => continue,
            };
            let client = Client {
                listener: index,
                address: received.from,
                asked: received.to,
            };
            match self.flow(client, listener.target, &register, now) {
                Ok(flow) => {
                    flow.last = now;
                    let bytes = &buffer[..received.bytes];
                    let sent = rustix::net::send(&flow.socket, bytes, SendFlags::NOSIGNAL);
                    if let Err(errno) = sent {
                        tracing::debug!("pass a datagram on: {errno}");
                    }
                }
                Err(error) => tracing::debug!("pass a datagram on: {error}"),
            }
        }
        self.buffer = buffer;
    }

    /// Passes back what the container has sent in one flow.
    pub(super) fn pass_back<'a>(
        &mut self,
        number: u64,
        listener: impl Fn(usize) -> Option<&'a OwnedFd>,
        now: Instant,
    ) {
        let mut buffer = self.take_buffer();
        if let Some(flow) = self.open.get_mut(&number)
            && let Some(socket) = listener(flow.client.listener)
        {
            for _ in 0..SOURCE_BATCH {
                let bytes = match rustix::net::recv(&flow.socket, &mut buffer, RecvFlags::DONTWAIT)
                {
                    Ok((_, bytes)) => bytes,
                    Err(Errno::AGAIN) => break,
                    // The container's port was closed when an earlier datagram came.
                    Err(_) => continue,
                };
                flow.last = now;
                let sent = datagram::send(
                    socket.as_fd(),
                    &buffer[..bytes],
                    flow.client.address,
                    flow.client.asked,
                );
                if let Err(error) = sent {
                    tracing::debug!("pass a datagram back: {error}");
                }
            }
        }
        self.buffer = buffer;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns when [`Flows::expire`] has something to do.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.expire_at
    }

    /// Ends the flows that have been silent too long.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.expire_at.is_none_or(|at| at > now) {
            return;
        }
        self.open.retain(|_, flow| now - flow.last < SILENCE_MAX);
        let open = &self.open;
        self.numbers.retain(|_, number| open.contains_key(number));
        self.expire_at = self.open.values().map(|flow| flow.last + SILENCE_MAX).min();
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(DATAGRAM_MAX_BYTES, 0);
        buffer
    }

    fn flow(
        &mut self,
        client: Client,
        target: SocketAddr,
        register: impl Fn(&OwnedFd, u64) -> io::Result<()>,
        now: Instant,
    ) -> io::Result<&mut Flow> {
        let number = match self.numbers.get(&client) {
            Some(number) => *number,
            None => self.begin(client, target, register, now)?,
        };
        self.open
            .get_mut(&number)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn begin(
        &mut self,
        client: Client,
        target: SocketAddr,
        register: impl Fn(&OwnedFd, u64) -> io::Result<()>,
        now: Instant,
    ) -> io::Result<u64> {
        if self.open.len() >= FLOWS_MAX {
            self.end_oldest();
        }
        let socket = connect(target).or_else(|error| match Errno::from_io_error(&error) {
            Some(Errno::MFILE) => {
                self.end_oldest();
                connect(target)
            }
            _ => Err(error),
        })?;
        let number = self.next;
        self.next += 1;
        register(&socket, number)?;
        let flow = Flow {
            socket,
            client,
            last: now,
        };
        self.open.insert(number, flow);
        self.numbers.insert(client, number);
        self.expire_at.get_or_insert(now + SILENCE_MAX);
        Ok(number)
    }

    fn end_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, flow)| flow.last);
        if let Some((&number, flow)) = oldest {
            self.numbers.remove(&flow.client);
            self.open.remove(&number);
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &target)?;
    Ok(socket)
}
