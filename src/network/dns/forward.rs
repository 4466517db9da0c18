//! Asking other servers: the query goes out as it came in, but for its id, each time from a new socket with a random port.
//!
//! ```text
//!   0 s      first server          a refusal or a failure brings the next server at once
//!   1 s      … and the second      all that were asked may still answer; the first good answer counts
//!   2 s, 3 s the others, or the first ones again
//!   6 s      given up
//! ```

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use domain::base::iana::Rcode;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use super::Client;
use super::message::{self, Reply};
use super::stream::{Frames, Input};
use super::upstream::Servers;

/// How long a server may be silent before the next one is asked as well.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a query may take in all.
pub(super) const GIVE_UP: Duration = Duration::from_secs(6);
/// How many times servers are asked for one query.
const ATTEMPTS_MAX: usize = 4;
/// How many queries may be under way; more get a failure, as in docker.
const QUERIES_MAX: usize = 1024;
/// How many sockets they may use together; the others wait.
const SOCKETS_MAX: usize = 256;
/// The longest datagram.
const DATAGRAM_MAX_BYTES: usize = 64 << 10;

/// An answer, and for whom it is.
pub(super) type Answer = (Client, Vec<u8>);

/// The queries that are under way.
#[derive(Debug, Default)]
pub(super) struct Forwarder {
    queries: HashMap<u64, Query>,
    attempts: HashMap<u64, Attempt>,
    next: u64,
    /// Queries that wait for a socket.
    waiting: VecDeque<u64>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Query {
    client: Client,
    bytes: Vec<u8>,
    servers: Vec<SocketAddr>,
    asked: usize,
    /// Attempts that may still bring an answer.
    open: usize,
    /// The answer that is given if there is no better one.
    failure: Option<Vec<u8>>,
    next_at: Option<Instant>,
    give_up_at: Instant,
}

#[derive(Debug)]
struct Attempt {
    query: u64,
    server: SocketAddr,
    began: Instant,
    socket: OwnedFd,
    /// What was sent, which the reply must match.
    bytes: Vec<u8>,
    /// On a stream: what has come so far and what is still to be sent.
    frames: Option<Frames>,
}

/// Puts a socket into the set of those that are waited for.
pub(super) type Register<'a> = &'a dyn Fn(u64, BorrowedFd<'_>, EventFlags) -> io::Result<()>;

impl Forwarder {
    /// Starts to ask for `client`; what can be answered at once is added to `answers`.
    pub(super) fn begin(
        &mut self,
        servers: &mut Servers,
        (client, bytes): (Client, Vec<u8>),
        register: Register<'_>,
        answers: &mut Vec<Answer>,
    ) {
        let now = Instant::now();
        let query = Query {
            servers: servers.current(now),
            client,
            bytes,
            asked: 0,
            open: 0,
            failure: None,
            next_at: Some(now),
            give_up_at: now + GIVE_UP,
        };
        if self.queries.len() >= QUERIES_MAX || query.servers.is_empty() {
            answers.extend(query.into_failure());
            return;
        }
        let number = self.number();
        self.queries.insert(number, query);
        self.ask(number, servers, register, now);
        self.settle(number, answers);
        self.due = self.next_due();
    }

    /// Returns when [`Forwarder::keep_time`] has something to do.
    pub(super) fn timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Asks further servers where those that were asked are silent, and gives up what takes too long.
    pub(super) fn keep_time(
        &mut self,
        servers: &Servers,
        register: Register<'_>,
        answers: &mut Vec<Answer>,
    ) {
        let now = Instant::now();
        let room = SOCKETS_MAX.saturating_sub(self.attempts.len());
        let mut due: Vec<u64> = (0..room).map_while(|_| self.waiting.pop_front()).collect();
        if self.due.is_some_and(|due| due <= now) {
            let is_due = |query: &Query| {
                query.give_up_at <= now || query.next_at.is_some_and(|at| at <= now)
            };
            let late = self.queries.iter().filter(|(_, query)| is_due(query));
            due.extend(late.map(|(number, _)| *number));
        }
        for number in due {
            let Some(query) = self.queries.get(&number) else {
                continue;
            };
            if query.give_up_at <= now {
                self.end(number, answers);
            } else {
                self.ask(number, servers, register, now);
                self.settle(number, answers);
            }
        }
        self.due = self.next_due();
    }

    /// Reads what attempt `number` has brought.
    pub(super) fn ready(
        &mut self,
        number: u64,
        servers: &mut Servers,
        register: Register<'_>,
        answers: &mut Vec<Answer>,
    ) {
        let now = Instant::now();
        let Some(attempt) = self.attempts.get_mut(&number) else {
            return;
        };
        let query = attempt.query;
        match attempt.receive() {
            Ok(None) => return,
            Ok(Some((Reply::Final, reply))) => {
                let answering = attempt.server;
                self.answer(query, &reply, answers);
                self.queries.remove(&query);
                for attempt in self.close_all(query) {
                    if attempt.server != answering && now - attempt.began >= PATIENCE {
                        servers.mistrust(attempt.server, now);
                    }
                }
            }
            Ok(Some((Reply::Failure, reply))) => {
                self.close(number);
                if let Some(query) = self.queries.get_mut(&query) {
                    query.failure = Some(reply);
                }
                self.failed(query, servers, register, answers);
            }
            Err(error) => {
                tracing::debug!("ask {}: {error}", attempt.server);
                self.close(number);
                self.failed(query, servers, register, answers);
            }
        }
        self.due = self.next_due();
    }

    /// Returns whether queries wait for a socket that is free now.
    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty() && self.attempts.len() < SOCKETS_MAX
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Asks the next server for `query`, if there is one left.
    fn ask(&mut self, number: u64, servers: &Servers, register: Register<'_>, now: Instant) {
        loop {
            let Some(query) = self.queries.get_mut(&number) else {
                return;
            };
            if query.asked >= ATTEMPTS_MAX {
                query.next_at = None;
                return;
            }
            if self.attempts.len() >= SOCKETS_MAX {
                query.next_at = None;
                self.waiting.push_back(number);
                return;
            }
            let server = query.servers[query.asked % query.servers.len()];
            query.asked += 1;
            query.next_at = Some(now + PATIENCE);
            let began = Attempt::begin(number, query, server, servers);
            let attempt_number = self.number();
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
            let began = began.and_then(|attempt| {
                register(
                    attempt_number,
                    std::os::fd::AsFd::as_fd(&attempt.socket),
                    flags,
                )?;
                Ok(attempt)
            });
            match began {
                Ok(attempt) => {
                    self.attempts.insert(attempt_number, attempt);
                    if let Some(query) = self.queries.get_mut(&number) {
                        query.open += 1;
                    }
                    return;
                }
                // No route, or no descriptor: the next server may be another matter.
                Err(error) => tracing::debug!("ask {server}: {error}"),
            }
        }
    }

    /// Goes on after an attempt has failed: with a server that was not asked yet, else with the others' answers.
    fn failed(
        &mut self,
        query: u64,
        servers: &Servers,
        register: Register<'_>,
        answers: &mut Vec<Answer>,
    ) {
        let some_left = self
            .queries
            .get(&query)
            .is_some_and(|query| query.asked < query.servers.len());
        if some_left {
            self.ask(query, servers, register, Instant::now());
        } else if let Some(query) = self.queries.get_mut(&query)
            && query.open == 0
        {
            // All of them have failed in words: asking again brings nothing.
            query.asked = ATTEMPTS_MAX;
            query.next_at = None;
        }
        self.settle(query, answers);
    }

    /// Ends a query for which nobody is left to ask or to wait for.
    fn settle(&mut self, number: u64, answers: &mut Vec<Answer>) {
        let is_over = self.queries.get(&number).is_some_and(|query| {
            query.open == 0
                && query.asked >= ATTEMPTS_MAX.min(query.servers.len())
                && query.next_at.is_none()
        });
        if is_over {
            self.end(number, answers);
        }
    }

    fn answer(&mut self, number: u64, reply: &[u8], answers: &mut Vec<Answer>) {
        if let Some(query) = self.queries.get(&number) {
            let bytes = message::with_id(reply, message::id(&query.bytes));
            answers.push((query.client, bytes));
        }
    }

    fn end(&mut self, number: u64, answers: &mut Vec<Answer>) {
        drop(self.close_all(number));
        if let Some(query) = self.queries.remove(&number) {
            answers.extend(query.into_failure());
        }
    }

    /// Takes all attempts for a query.
    fn close_all(&mut self, query: u64) -> Vec<Attempt> {
        self.attempts
            .extract_if(|_, attempt| attempt.query == query)
            .map(|(_, attempt)| attempt)
            .collect()
    }

    fn close(&mut self, number: u64) {
        if let Some(attempt) = self.attempts.remove(&number)
            && let Some(query) = self.queries.get_mut(&attempt.query)
        {
            query.open -= 1;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.queries
            .values()
            .map(|query| {
                query
                    .next_at
                    .map_or(query.give_up_at, |at| at.min(query.give_up_at))
            })
            .min()
    }
}

impl Query {
    fn into_failure(self) -> Option<Answer> {
        let id = message::id(&self.bytes);
        let answer = match self.failure {
            Some(reply) => Some(message::with_id(&reply, id)),
            None => message::failure(&self.bytes, Rcode::SERVFAIL),
        };
        answer.map(|answer| (self.client, answer))
    }
}

impl Attempt {
    fn begin(
        number: u64,
        query: &Query,
        server: SocketAddr,
        servers: &Servers,
    ) -> io::Result<Attempt> {
        let is_stream = matches!(query.client, Client::Stream(_));
        let kind = if is_stream {
            SocketType::STREAM
        } else {
            SocketType::DGRAM
        };
        let socket = servers.connect(server, kind)?;
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        let bytes = message::with_id(&query.bytes, u16::from_ne_bytes(id));
        let frames = is_stream.then(|| {
            let mut frames = Frames::default();
            frames.push(&bytes);
            frames
        });
        if frames.is_none() {
            rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL)?;
        }
        Ok(Attempt {
            query: number,
            server,
            began: Instant::now(),
            socket,
            bytes,
            frames,
        })
    }

    /// Returns the reply if it has come; what does not belong to the query is passed over.
    fn receive(&mut self) -> io::Result<Option<(Reply, Vec<u8>)>> {
        if let Some(frames) = &mut self.frames {
            frames.send(&self.socket)?;
            loop {
                let input = frames.receive(&self.socket)?;
                while let Some(reply) = frames.next() {
                    if let Some(judged) = message::judge(&self.bytes, &reply) {
                        return Ok(Some((judged, reply)));
                    }
                }
                match input {
                    Input::More => {}
                    Input::Again => return Ok(None),
                    Input::Ended => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        }
        let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
        loop {
            match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((_, bytes)) => {
                    if let Some(judged) = message::judge(&self.bytes, &buffer[..bytes]) {
                        return Ok(Some((judged, buffer[..bytes].to_vec())));
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
