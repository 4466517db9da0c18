//! The name server of one container, at 127.0.0.11: names of containers, and everything else from other servers.
//!
//! It lives in the container's monitor. Its two sockets were made inside the container's network namespace, on ports that
//! the kernel chose; rules of that namespace lead port 53 of 127.0.0.11 to them, so the container's own port 53 stays free.
//! It never waits: the monitor polls [`Resolver::fd`], sleeps until [`Resolver::timeout`] at most, and calls
//! [`Resolver::run`].
//!
//! ```text
//!   query ─► is a container called so? ── yes ─► its addresses in the networks that both are in
//!                   │ no
//!                   └─► may it leave? ── yes ─► the host's servers, or those of --dns ─► their answer, as it is
//! ```
//!
//! What differs from docker, and why: answers may be remembered for 2 s only, since containers come and go; servers are
//! asked side by side after a second, not each after the other's four; the host's resolv.conf is followed when it changes;
//! whatever is asked of a container's name is answered here, so no name of a container leaves the machine.

mod entry;
mod forward;
mod message;
mod names;
mod stamp;
mod stream;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use domain::base::iana::Rcode;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use self::forward::{Answer, Forwarder};
use self::message::{Asked, Data};
use self::names::Table;
use self::stream::Clients;
use self::upstream::Servers;
use super::events::Events;
use crate::dirs::Dirs;
use crate::store::FileLock;

pub use self::entry::Entry;
pub use self::names::{Link, Network, Scope};
pub use self::upstream::Upstreams;

/// Where containers find it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 128;
/// How often one call looks for more to do before the monitor's other work has its turn.
const ROUNDS: usize = 16;
/// How many queries one source may bring before the next source has its turn.
const SOURCE_BATCH: usize = 64;
/// How much memory queries may take that wait to be read.
const BUFFER_BYTES: usize = 1 << 20;
/// The longest query that is read.
const QUERY_MAX_BYTES: usize = 4096;

/// The sockets on which a resolver is asked.
#[derive(Debug)]
pub struct Sockets {
    datagrams: OwnedFd,
    streams: OwnedFd,
    /// The port of 127.0.0.11 to which UDP port 53 is to lead.
    pub udp_port: u16,
    /// The port of 127.0.0.11 to which TCP port 53 is to lead.
    pub tcp_port: u16,
}

impl Sockets {
    /// Makes the sockets, in the network namespace that the calling thread is in.
    pub fn open() -> io::Result<Sockets> {
        let any = SocketAddr::from((ADDRESS, 0));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let open = |kind| -> io::Result<OwnedFd> {
            let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
            rustix::net::bind(&socket, &any)?;
            Ok(socket)
        };
        let datagrams = open(SocketType::DGRAM)?;
        // The usual one holds 270 queries: a burst of more would be lost, and its clients wait five seconds to ask again.
        if let Err(errno) = sockopt::set_socket_recv_buffer_size_force(&datagrams, BUFFER_BYTES) {
            tracing::debug!("enlarge the buffer for queries: {errno}");
        }
        let streams = open(SocketType::STREAM)?;
        rustix::net::listen(&streams, BACKLOG)?;
        Ok(Sockets {
            udp_port: port(&datagrams)?,
            tcp_port: port(&streams)?,
            datagrams,
            streams,
        })
    }
}

fn port(socket: &OwnedFd) -> io::Result<u16> {
    let address: SocketAddr = rustix::net::getsockname(socket)?.try_into()?;
    Ok(address.port())
}

/// What a resolver is made of.
#[derive(Debug)]
pub struct Setup {
    /// Where the locks of the containers' monitors are.
    pub dirs: Dirs,
    /// Where it is asked.
    pub sockets: Sockets,
    /// The container's network namespace, from which the servers that the user named are asked.
    pub netns: OwnedFd,
    /// Whom it asks.
    pub upstreams: Upstreams,
    /// Whether unknown names without a dot get an empty answer instead of being asked elsewhere. Docker does so when the
    /// user sets `ndots` above zero: then the C library goes on with its search list.
    pub keeps_single_labels: bool,
}

/// The name server of one container.
#[derive(Debug)]
pub struct Resolver {
    events: Events,
    dirs: Dirs,
    sockets: Sockets,
    keeps_single_labels: bool,
    tables: Vec<Table>,
    scope: Scope,
    servers: Servers,
    clients: Clients,
    forwarder: Forwarder,
    ran_at: Instant,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Datagram(SocketAddr),
    Stream(u64),
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Datagrams,
    Streams,
    Client(u64),
    Attempt(u64),
}

impl Source {
    fn key(self) -> u64 {
        match self {
            Source::Datagrams => 0,
            Source::Streams => 1,
            Source::Client(number) => number << 2 | 2,
            Source::Attempt(number) => number << 2 | 3,
        }
    }

    fn of(key: u64) -> Source {
        match key & 3 {
            0 => Source::Datagrams,
            1 => Source::Streams,
            2 => Source::Client(key >> 2),
            _ => Source::Attempt(key >> 2),
        }
    }
}

/// What becomes of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// It has this answer; an empty one says that there is nothing of the kind.
    Answer(Vec<Data>),
    /// Nobody may be asked.
    Fail,
    /// Somebody else is asked.
    Forward,
}

impl Resolver {
    /// Starts to answer for a container that sees `scope`.
    pub fn new(setup: Setup, scope: Scope) -> io::Result<Resolver> {
        let events = Events::new()?;
        let sockets = setup.sockets;
        events.add(&sockets.datagrams, Source::Datagrams.key(), EventFlags::IN)?;
        events.add(&sockets.streams, Source::Streams.key(), EventFlags::IN)?;
        let mut resolver = Resolver {
            events,
            dirs: setup.dirs,
            sockets,
            keeps_single_labels: setup.keeps_single_labels,
            tables: Vec::new(),
            scope: Scope::default(),
            servers: Servers::new(setup.upstreams, setup.netns),
            clients: Clients::default(),
            forwarder: Forwarder::default(),
            ran_at: Instant::now(),
        };
        resolver.set_scope(scope);
        Ok(resolver)
    }

    /// Returns the descriptor that is readable while there is something to do.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.events.fd()
    }

    /// Returns when [`Resolver::run`] must be called even if the descriptor is silent; a time that has passed is at once.
    pub fn timeout(&self) -> Option<Instant> {
        if self.forwarder.has_work() {
            return Some(self.ran_at);
        }
        let deadlines = [self.forwarder.timeout(), self.clients.timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// Changes what the container sees: it has joined or left a network.
    pub fn set_scope(&mut self, scope: Scope) {
        self.tables = scope.networks.iter().cloned().map(Table::new).collect();
        self.scope = scope;
    }

    /// Does what can be done now.
    ///
    /// An error concerns the resolver as a whole; what goes wrong with one query fails that one.
    pub fn run(&mut self) -> io::Result<()> {
        self.ran_at = Instant::now();
        let mut answers = Vec::new();
        for _ in 0..ROUNDS {
            let ready = self.events.ready()?;
            if ready.is_empty() {
                break;
            }
            for (key, _) in ready {
                self.handle(Source::of(key), &mut answers);
                self.deliver(&mut answers);
            }
        }
        let events = &self.events;
        let register = |number, socket: BorrowedFd<'_>, flags| {
            events.add(socket, Source::Attempt(number).key(), flags)
        };
        self.forwarder
            .keep_time(&self.servers, &register, &mut answers);
        self.deliver(&mut answers);
        self.clients.expire(Instant::now());
        Ok(())
    }

    fn handle(&mut self, source: Source, answers: &mut Vec<Answer>) {
        match source {
            Source::Datagrams => self.receive(answers),
            Source::Streams => self.accept(),
            Source::Client(number) => {
                for query in self.clients.ready(number) {
                    self.query(&query, Client::Stream(number), answers);
                }
            }
            Source::Attempt(number) => {
                let events = &self.events;
                let register = |number, socket: BorrowedFd<'_>, flags| {
                    events.add(socket, Source::Attempt(number).key(), flags)
                };
                self.forwarder
                    .ready(number, &mut self.servers, &register, answers);
            }
        }
    }

    fn receive(&mut self, answers: &mut Vec<Answer>) {
        use rustix::net::{RecvFlags, recvfrom};
        let mut buffer = [0; QUERY_MAX_BYTES];
        for _ in 0..SOURCE_BATCH {
            let received = recvfrom(&self.sockets.datagrams, &mut buffer, RecvFlags::DONTWAIT);
            match received {
                Ok((_, bytes, Some(from))) => {
                    if let Ok(from) = SocketAddr::try_from(from) {
                        self.query(&buffer[..bytes], Client::Datagram(from), answers);
                    }
                }
                Err(Errno::AGAIN) => break,
                // A client that did not wait for its answer.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn accept(&mut self) {
        use rustix::net::accept_with;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..SOURCE_BATCH {
            let Ok(client) = accept_with(&self.sockets.streams, flags) else {
                break;
            };
            let events = &self.events;
            let added = self.clients.add(client, |number, socket| {
                let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
                events.add(socket, Source::Client(number).key(), flags)
            });
            if let Err(error) = added {
                tracing::debug!("accept a client: {error}");
            }
        }
    }

    fn query(&mut self, bytes: &[u8], client: Client, answers: &mut Vec<Answer>) {
        let query = match message::read(bytes) {
            Ok(query) => query,
            Err(answer) => {
                answers.extend(answer.map(|answer| (client, answer)));
                return;
            }
        };
        for table in &mut self.tables {
            table.refresh();
        }
        let answer = match self.decide(&query.asked()) {
            Decision::Answer(mut records) => {
                shuffle(&mut records);
                let max_bytes = match client {
                    Client::Datagram(_) => query.datagram_bytes(),
                    Client::Stream(_) => message::STREAM_BYTES,
                };
                query.answer(&records, max_bytes)
            }
            Decision::Fail => query.failure(Rcode::SERVFAIL),
            Decision::Forward => {
                let events = &self.events;
                let register = |number, socket: BorrowedFd<'_>, flags| {
                    events.add(socket, Source::Attempt(number).key(), flags)
                };
                let query = (client, bytes.to_vec());
                self.forwarder
                    .begin(&mut self.servers, query, &register, answers);
                return;
            }
        };
        answers.extend(answer.map(|answer| (client, answer)));
    }

    fn decide(&self, asked: &Asked) -> Decision {
        let is_alive =
            |id: &str| FileLock::is_held(&self.dirs.monitor_lock(id)).unwrap_or_default();
        let find = |name: &str| {
            names::addresses(&self.tables, name, &is_alive).or_else(|| {
                let mut extra = self.scope.extra.iter();
                extra
                    .find(|(own, _)| own.eq_ignore_ascii_case(name))
                    .map(|(_, addresses)| addresses.clone())
            })
        };
        let known = match asked {
            Asked::Addresses(name, families) => find(name).map(|addresses| {
                let asked = addresses
                    .into_iter()
                    .filter(|address| families.include(*address));
                asked.map(Data::Address).collect()
            }),
            Asked::Name(address) => {
                names::name_of(&self.tables, *address, &is_alive).map(|name| vec![Data::Name(name)])
            }
            Asked::Other(name) => find(name).map(|_| Vec::new()),
            Asked::Foreign => None,
        };
        let is_single_label =
            matches!(asked, Asked::Addresses(name, _) if !name.is_empty() && !name.contains('.'));
        match known {
            Some(records) => Decision::Answer(records),
            None if self.keeps_single_labels && is_single_label => Decision::Answer(Vec::new()),
            // An internal network has no way out through the host's servers either.
            None if self.servers.are_of_host() && !self.scope.forwards => Decision::Fail,
            None => Decision::Forward,
        }
    }

    fn deliver(&mut self, answers: &mut Vec<Answer>) {
        for (client, answer) in answers.drain(..) {
            match client {
                Client::Stream(number) => self.clients.answer(number, &answer),
                Client::Datagram(address) => {
                    use rustix::net::{SendFlags, sendto};
                    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                    let sent = sendto(&self.sockets.datagrams, &answer, flags, &address);
                    if let Err(errno) = sent {
                        tracing::debug!("answer a query: {errno}");
                    }
                }
            }
        }
    }
}

/// Brings records into a random order, so that clients which take the first one spread over all.
fn shuffle(records: &mut [Data]) {
    let mut random = [0; 4];
    for last in (1..records.len()).rev() {
        if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).is_err() {
            return;
        }
        let number = u32::from_ne_bytes(random) as usize;
        records.swap(last, number % (last + 1));
    }
}

#[cfg(test)]
mod tests;
