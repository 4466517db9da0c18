//! Publishes ports without the kernel's address translation: takes connections and datagrams, and passes them on.
//!
//! It serves what translation does not do, or not without loosening the host: the host's loopback addresses, a container's
//! own published port, IPv6 clients of a container without IPv6; and all of a port whose user wants the host's firewall to
//! see it. A client's address is not kept.
//!
//! It never waits: the monitor polls [`Proxy::fd`], sleeps until [`Proxy::timeout`] at most, and calls [`Proxy::run`].
//! Connections to the container are made from the namespace that the caller is in.

mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::{SocketType, sockopt};

use self::tcp::{Side, Streams};
use self::udp::Flows;
use super::events::Events;

/// How often one call looks for more to do before the monitor's other work has its turn.
const ROUNDS: usize = 16;
/// How many connections or datagrams one source may bring before the next source has its turn.
const SOURCE_BATCH: usize = 64;
/// How long no connection is accepted after descriptors ran out, unless one is closed before.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a client that says nothing is asked whether it lives, so that it does not hold a connection for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A port that is published, and where its clients are passed to.
#[derive(Debug)]
pub struct Forward {
    /// A listening TCP socket or a bound UDP socket; made non-blocking by [`Proxy::new`].
    pub socket: OwnedFd,
    /// The container's address and port; of another family than the socket where that is wanted.
    pub target: SocketAddr,
}

/// The published ports of one container, and what goes through them.
#[derive(Debug)]
pub struct Proxy {
    events: Events,
    listeners: BTreeMap<usize, Listener>,
    streams: Streams,
    flows: Flows,
    /// Set while no connection is accepted for want of descriptors.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    target: SocketAddr,
    is_stream: bool,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Listener(usize),
    Stream(u64, Side),
    Flow(u64),
}

impl Source {
    fn key(self) -> u64 {
        match self {
            Source::Listener(index) => (index as u64) << 2,
            Source::Stream(number, Side::Client) => number << 2 | 1,
            Source::Stream(number, Side::Backend) => number << 2 | 2,
            Source::Flow(number) => number << 2 | 3,
        }
    }

    fn of(key: u64) -> Source {
        let number = key >> 2;
        match key & 3 {
            // Keys are made from indices of a list in memory.
            0 => Source::Listener(usize::try_from(number).unwrap_or(usize::MAX)),
            1 => Source::Stream(number, Side::Client),
            2 => Source::Stream(number, Side::Backend),
            _ => Source::Flow(number),
        }
    }
}

impl Proxy {
    /// Starts to serve `forwards`.
    pub fn new(forwards: Vec<Forward>) -> io::Result<Proxy> {
        let mut proxy = Proxy {
            events: Events::new()?,
            listeners: BTreeMap::new(),
            streams: Streams::default(),
            flows: Flows::default(),
            paused_until: None,
        };
        proxy.add(forwards)?;
        Ok(proxy)
    }

    /// Serves `forwards` as well; one for an address that is served already only sends its clients elsewhere.
    pub fn add(&mut self, forwards: Vec<Forward>) -> io::Result<()> {
        for Forward { socket, target } in forwards {
            let is_stream = prepare(&socket)?;
            let address = local_address(&socket);
            let mut known = self.listeners.values_mut();
            if let Some(known) = known.find(|known| known.is_at(address, is_stream)) {
                known.target = target;
                continue;
            }
            let last = self.listeners.last_key_value();
            let index = last.map_or(0, |(index, _)| index + 1);
            let key = Source::Listener(index).key();
            self.events.add(&socket, key, EventFlags::IN)?;
            let listener = Listener {
                socket,
                target,
                is_stream,
            };
            self.listeners.insert(index, listener);
        }
        Ok(())
    }

    /// Serves no other addresses any more than those that `wanted` takes, which gets whether it is one of streams.
    /// Connections that are there stay.
    pub fn retain(&mut self, wanted: impl Fn(SocketAddr, bool) -> bool) {
        let flows = &mut self.flows;
        self.listeners.retain(|index, listener| {
            let address = local_address(&listener.socket);
            let stays = address.is_none_or(|address| wanted(address, listener.is_stream));
            if !stays {
                flows.end(*index);
            }
            stays
        });
    }

    /// Returns the socket that is served at an address.
    pub fn socket_at(&self, address: SocketAddr, is_stream: bool) -> Option<&OwnedFd> {
        let mut listeners = self.listeners.values();
        let found = listeners.find(|listener| listener.is_at(Some(address), is_stream));
        found.map(|listener| &listener.socket)
    }

    /// Returns the descriptor that is readable while there is something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.events.fd()
    }

    /// Returns when [`Proxy::run`] must be called even if the descriptor is silent; a time that has passed is at once.
    pub fn timeout(&self) -> Option<Instant> {
        [
            self.streams.timeout(),
            self.flows.timeout(),
            self.paused_until,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sends new connections and new senders of datagrams elsewhere from now on; old ones stay where they are.
    pub fn retarget(&mut self, new: impl Fn(SocketAddr) -> SocketAddr) {
        for listener in self.listeners.values_mut() {
            listener.target = new(listener.target);
        }
    }

    /// Does what can be done now.
    ///
    /// An error concerns the proxy as a whole; what goes wrong with one connection ends that one.
    pub fn run(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.flows.expire(now);
        if self.paused_until.is_some_and(|until| until <= now) {
            self.accept_again()?;
        }
        for _ in 0..ROUNDS {
            let ready = self.events.ready()?;
            if ready.is_empty() && !self.streams.has_work(now) {
                break;
            }
            for (key, flags) in ready {
                self.handle(Source::of(key), flags, now)?;
            }
            let ended = self.streams.work(now);
            if ended && self.paused_until.is_some() {
                self.accept_again()?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, source: Source, flags: EventFlags, now: Instant) -> io::Result<()> {
        match source {
            Source::Listener(index) => match self.listeners.get(&index) {
                Some(listener) if listener.is_stream => self.accept(index),
                Some(listener) => {
                    let register = |flow: &OwnedFd, number| {
                        self.events
                            .add(flow, Source::Flow(number).key(), EventFlags::IN)
                    };
                    self.flows.pass_on(index, listener, register, now);
                    Ok(())
                }
                None => Ok(()),
            },
            Source::Stream(number, side) => {
                self.streams.ready(number, side, flags);
                Ok(())
            }
            Source::Flow(number) => {
                let listeners = &self.listeners;
                self.flows.pass_back(
                    number,
                    |index| listeners.get(&index).map(|listener| &listener.socket),
                    now,
                );
                Ok(())
            }
        }
    }

    fn accept(&mut self, index: usize) -> io::Result<()> {
        use rustix::net::{SocketFlags, accept_with};
        let Some(listener) = self.listeners.get(&index) else {
            return Ok(());
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..SOURCE_BATCH {
            use rustix::io::Errno;
            let client = match accept_with(&listener.socket, flags) {
                Ok(client) => client,
                Err(Errno::AGAIN) => break,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    return self.pause();
                }
                // A client that has left again, or an error of the network that is not ours (accept(2)).
                Err(_) => continue,
            };
            let events = &self.events;
            let opened = self
                .streams
                .open(client, listener.target, |number, side, socket| {
                    let flags =
                        EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                    events.add(socket, Source::Stream(number, side).key(), flags)
                });
            if let Err(error) = opened {
                tracing::debug!("connect to {}: {error}", listener.target);
            }
        }
        Ok(())
    }

    /// Stops accepting until a connection is closed or some time has passed: the listening sockets would stay ready.
    fn pause(&mut self) -> io::Result<()> {
        if self.paused_until.is_none() {
            tracing::warn!("published ports wait: this process is out of descriptors or memory");
            self.set_listening(EventFlags::empty())?;
        }
        self.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
        Ok(())
    }

    fn accept_again(&mut self) -> io::Result<()> {
        self.paused_until = None;
        self.set_listening(EventFlags::IN)
    }

    fn set_listening(&self, flags: EventFlags) -> io::Result<()> {
        for (index, listener) in &self.listeners {
            if listener.is_stream {
                let key = Source::Listener(*index).key();
                self.events.change(&listener.socket, key, flags)?;
            }
        }
        Ok(())
    }
}

impl Listener {
    fn is_at(&self, address: Option<SocketAddr>, is_stream: bool) -> bool {
        self.is_stream == is_stream && local_address(&self.socket) == address
    }
}

fn local_address(socket: &OwnedFd) -> Option<SocketAddr> {
    let name = rustix::net::getsockname(socket).ok()?;
    SocketAddr::try_from(name).ok()
}

/// Sets the options of a published socket, which connections inherit, and returns whether it is one of streams.
fn prepare(socket: &OwnedFd) -> io::Result<bool> {
    rustix::io::ioctl_fionbio(socket, true)?;
    let is_stream = sockopt::socket_type(socket)? == SocketType::STREAM;
    if is_stream {
        sockopt::set_tcp_nodelay(socket, true)?;
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    } else {
        let is_ipv6 = sockopt::socket_domain(socket)? == rustix::net::AddressFamily::INET6;
        crate::sys::datagram::tell_local(std::os::fd::AsFd::as_fd(socket), is_ipv6)?;
    }
    Ok(is_stream)
}

#[cfg(test)]
mod tests;
