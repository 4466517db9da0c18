//! The clients that talk to a monitor: who is connected, and what each of them waits for.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::Result;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::control::{self, Failure, Reply, Request};

/// More connections than this are turned away.
const PEERS_MAX: usize = 512;

/// What a client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing.
    Nothing,
    /// The end of the present run.
    Exit,
    /// That nothing of the present run is left.
    Stop,
    /// The end of this exec session.
    Exec(String),
}

#[derive(Debug)]
struct Peer {
    /// Names it for the time of one connection.
    number: u64,
    socket: OwnedFd,
    waits: Waits,
}

/// All clients of a monitor.
#[derive(Debug, Default)]
pub struct Peers {
    peers: Vec<Peer>,
    next: u64,
}

impl Peers {
    /// Adds a client and returns its number.
    pub fn add(&mut self, socket: OwnedFd) -> Result<u64> {
        // A client that does not take its answers must not stop the monitor.
        rustix::io::ioctl_fionbio(&socket, true)?;
        self.next += 1;
        self.peers.push(Peer {
            number: self.next,
            socket,
            waits: Waits::Nothing,
        });
        Ok(self.next)
    }

    /// Takes the clients that wait on the listener.
    pub fn accept(&mut self, listener: BorrowedFd<'_>) {
        loop {
            match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) if self.peers.len() < PEERS_MAX => {
                    if let Err(error) = self.add(socket) {
                        tracing::warn!("accept a client: {error:#}");
                    }
                }
                Err(Errno::AGAIN) => return,
                // One too many is told by the end of its connection.
                Ok(_) | Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return tracing::warn!("accept a client: {errno}"),
            }
        }
    }

    /// Returns who connected as this client.
    pub fn credentials(&self, number: u64) -> Option<rustix::net::UCred> {
        let peer = self.peers.iter().find(|peer| peer.number == number)?;
        rustix::net::sockopt::socket_peercred(&peer.socket).ok()
    }

    /// Returns what the clients are waited for with: their numbers and sockets.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.peers
            .iter()
            .map(|peer| (peer.number, peer.socket.as_fd(), PollFlags::IN))
    }

    /// Receives a request; nothing if there is none after all. A client that is gone or talks nonsense is forgotten.
    pub fn receive(&mut self, number: u64) -> Option<(Request, Vec<OwnedFd>)> {
        let peer = self.peers.iter().find(|peer| peer.number == number)?;
        match control::receive(peer.socket.as_fd()) {
            Ok(Some(request)) => return Some(request),
            Ok(None) => {}
            Err(error) => tracing::warn!("a client's request: {error:#}"),
        }
        self.forget(number);
        None
    }

    /// Returns whether a client is still connected.
    pub fn is_connected(&self, number: u64) -> bool {
        self.peers.iter().any(|peer| peer.number == number)
    }

    /// Ends a client's connection.
    pub fn forget(&mut self, number: u64) {
        self.peers.retain(|peer| peer.number != number);
    }

    /// Writes down what a client waits for.
    pub fn set_waits(&mut self, number: u64, waits: Waits) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.number == number) {
            peer.waits = waits;
        }
    }

    /// Answers a client.
    pub fn answer(&mut self, number: u64, reply: &Reply, descriptors: &[BorrowedFd<'_>]) {
        let Some(peer) = self.peers.iter().find(|peer| peer.number == number) else {
            return;
        };
        if let Err(error) = control::send(peer.socket.as_fd(), reply, descriptors) {
            tracing::debug!("answer a client: {error:#}");
            self.forget(number);
        }
    }

    /// Answers a client whether something is done.
    pub fn answer_done(&mut self, number: u64, done: Result<()>) {
        let reply = match done {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed(Failure::of(&error)),
        };
        self.answer(number, &reply, &[]);
    }

    /// Answers all clients that wait for something; they wait for nothing then.
    pub fn announce(&mut self, what: &Waits, reply: &Reply) {
        let waiting = |peer: &&mut Peer| peer.waits == *what;
        let mut told = Vec::new();
        for peer in self.peers.iter_mut().filter(waiting) {
            peer.waits = Waits::Nothing;
            told.push(peer.number);
        }
        for number in told {
            self.answer(number, reply, &[]);
        }
    }

    /// Returns the exec sessions that somebody waits for.
    pub fn watched_sessions(&self) -> Vec<String> {
        let session = |peer: &Peer| match &peer.waits {
            Waits::Exec(id) => Some(id.clone()),
            _ => None,
        };
        self.peers.iter().filter_map(session).collect()
    }
}
