//! The way to a journal or a syslog daemon: a socket that never blocks, and what waits for it.
//!
//! A daemon that goes away is looked for again, at most once per `RETRY`; what is said meanwhile waits like everything
//! that is not taken. Only at the start of the container a daemon must be there.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SendFlags;

use super::identity::Identity;
use super::options::{Driver, Sink};
use super::syslog::{Address, Header};
use super::{Attributes, Piece, journald};
use crate::error;

/// How long a daemon may take to answer at the start of a container.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take later, when a container's output waits for it.
const RECONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a daemon that is gone is not looked for.
const RETRY: Duration = Duration::from_secs(2);
/// How long the last lines of a container may take to be sent.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What may wait before the container's output is held up.
const QUEUE_MAX_BYTES: u64 = 1 << 20;

/// Sends entries.
#[derive(Debug)]
pub struct Remote {
    encoder: Encoder,
    place: Place,
    socket: Option<Socket>,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: u64,
    /// Bytes of the first in the queue that are sent already.
    sent: usize,
    limit_bytes: u64,
    /// Whether what is more than the limit is lost; else the container is held up.
    loses: bool,
    lost: u64,
    looked: Instant,
}

#[derive(Debug)]
enum Encoder {
    Journald(journald::Fields),
    Syslog(Header, TimeZone),
}

#[derive(Clone, Debug)]
enum Place {
    Journal,
    Syslog(Address),
}

#[derive(Debug)]
struct Socket {
    fd: OwnedFd,
    is_stream: bool,
}

impl Remote {
    /// Connects to what `driver` names, if it names something.
    pub fn open(
        driver: &Driver,
        identity: &Identity,
        attributes: &Attributes,
    ) -> Result<Option<Remote>> {
        let tag = identity.tag(&driver.wanted.tag)?;
        let (encoder, place) = match &driver.sink {
            Sink::None => return Ok(None),
            Sink::Journald => (
                Encoder::Journald(journald::Fields::new(identity, &tag, attributes)),
                Place::Journal,
            ),
            Sink::Syslog(target) => {
                let header = Header {
                    facility: target.facility,
                    format: target.format,
                    host: rustix::system::uname()
                        .nodename()
                        .to_string_lossy()
                        .into_owned(),
                    tag,
                    pid: std::process::id(),
                };
                (
                    Encoder::Syslog(header, TimeZone::system()),
                    Place::Syslog(target.address.clone()),
                )
            }
        };
        let socket = connect(&place, CONNECT_TIMEOUT).map_err(|error| missing(&place, error))?;
        Ok(Some(Remote {
            encoder,
            place,
            socket: Some(socket),
            queue: VecDeque::new(),
            queued_bytes: 0,
            sent: 0,
            limit_bytes: driver.buffer_bytes.unwrap_or(QUEUE_MAX_BYTES),
            loses: driver.buffer_bytes.is_some(),
            lost: 0,
            looked: Instant::now(),
        }))
    }

    /// Adds an entry; [`Remote::flush`] sends it.
    pub fn add(&mut self, piece: Piece<'_>) {
        let is_stream = self.socket.as_ref().is_some_and(|socket| socket.is_stream);
        let message = match &self.encoder {
            Encoder::Journald(fields) => fields.datagram(&piece),
            Encoder::Syslog(header, zone) => header.message(&piece, zone, is_stream),
        };
        let length = message.len() as u64;
        // While there is no daemon nobody can be waited for, and this process must not grow.
        let may_lose = self.loses || self.socket.is_none();
        if may_lose && !self.queue.is_empty() && self.queued_bytes + length > self.limit_bytes {
            if self.lost == 0 {
                tracing::warn!("output is lost: the log driver does not take it fast enough");
            }
            self.lost += 1;
            return;
        }
        self.queued_bytes += length;
        self.queue.push_back(message);
    }

    /// Sends what can be sent at once.
    pub fn flush(&mut self) {
        while let Some(message) = self.queue.front() {
            let Some(socket) = &self.socket else {
                if !self.look_again() {
                    return;
                }
                continue;
            };
            match rustix::net::send(
                &socket.fd,
                &message[self.sent..],
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(count) if socket.is_stream && self.sent + count < message.len() => {
                    self.sent += count;
                }
                Ok(_) => self.forget_first(),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => return,
                Err(rustix::io::Errno::INTR) => {}
                // Too long for a datagram: nothing can make it fit.
                Err(rustix::io::Errno::MSGSIZE) => {
                    tracing::warn!(
                        "output is lost: an entry of {} bytes is too long for the log driver",
                        message.len()
                    );
                    self.forget_first();
                }
                Err(errno) => {
                    tracing::warn!("the log driver is gone: {errno}");
                    self.socket = None;
                    self.looked = Instant::now();
                    // Of an entry that was sent in part the receiver has the beginning.
                    if self.sent > 0 {
                        self.forget_first();
                    }
                    return;
                }
            }
        }
    }

    fn forget_first(&mut self) {
        if let Some(message) = self.queue.pop_front() {
            self.queued_bytes -= message.len() as u64;
        }
        self.sent = 0;
    }

    fn look_again(&mut self) -> bool {
        if self.looked.elapsed() < RETRY {
            return false;
        }
        self.looked = Instant::now();
        match connect(&self.place, RECONNECT_TIMEOUT) {
            Ok(socket) => {
                self.socket = Some(socket);
                true
            }
            Err(error) => {
                tracing::debug!("{error:#}");
                false
            }
        }
    }

    /// Returns the socket, if something waits for it.
    pub fn waits(&self) -> Option<BorrowedFd<'_>> {
        let socket = self.socket.as_ref().filter(|_| !self.queue.is_empty());
        socket.map(|socket| socket.fd.as_fd())
    }

    /// Returns whether the container must not say more for now.
    pub fn is_full(&self) -> bool {
        // Nobody would wake the container again while there is nobody to wait for.
        !self.loses && self.socket.is_some() && self.queued_bytes > self.limit_bytes
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_WORDS;
        self.flush();
        while let Some(socket) = self.waits() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else {
                break;
            };
            let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(1..) => self.flush(),
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        let left = self.lost + self.queue.len() as u64;
        if left > 0 {
            tracing::warn!("{left} lines did not reach the log driver");
        }
    }
}

fn missing(place: &Place, error: anyhow::Error) -> anyhow::Error {
    match place {
        Place::Journal => error::unavailable("journald is not enabled on this host"),
        Place::Syslog(_) => error,
    }
}

fn connect(place: &Place, timeout: Duration) -> Result<Socket> {
    let datagrams = |fd: OwnedFd| Socket {
        fd,
        is_stream: false,
    };
    let stream = |fd: OwnedFd| Socket {
        fd,
        is_stream: true,
    };
    match place {
        Place::Journal => Ok(datagrams(
            unix(std::path::Path::new(journald::SOCKET))?.into(),
        )),
        Place::Syslog(Address::Unix(path)) => match unix(path) {
            Ok(socket) => Ok(datagrams(socket.into())),
            // A few take streams only.
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                let socket = UnixStream::connect(path)
                    .with_context(|| format!("connect to {}", path.display()))?;
                Ok(stream(socket.into()))
            }
            Err(error) => Err(error).with_context(|| format!("connect to {}", path.display())),
        },
        Place::Syslog(Address::Udp(address)) => {
            let context = || format!("dial udp {address}");
            let target = resolve(address).with_context(context)?;
            let any = if target.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(any).with_context(context)?;
            socket.connect(target).with_context(context)?;
            Ok(datagrams(socket.into()))
        }
        Place::Syslog(Address::Tcp(address)) => {
            let context = || format!("dial tcp {address}");
            let target = resolve(address).with_context(context)?;
            let mut socket = TcpStream::connect_timeout(&target, timeout).with_context(context)?;
            socket.flush().with_context(context)?;
            Ok(stream(socket.into()))
        }
    }
}

fn unix(path: &std::path::Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn resolve(address: &str) -> io::Result<std::net::SocketAddr> {
    let none = || io::Error::new(ErrorKind::NotFound, "no such host");
    address.to_socket_addrs()?.next().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::super::options::Driver;
    use super::*;
    use crate::docker::container::LogConfig;
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::path::PathBuf;

    fn remote(address: &str, more: &[(&str, &str)]) -> Result<Option<Remote>> {
        let mut config =
            std::collections::BTreeMap::from([("syslog-address".to_owned(), address.to_owned())]);
        config.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        let driver = Driver::from_config(&LogConfig {
            kind: "syslog".to_owned(),
            config,
        })?;
        let identity = Identity {
            id: "ab".repeat(32),
            ..Identity::default()
        };
        Remote::open(&driver, &identity, &Attributes::new())
    }

    fn piece(bytes: &[u8]) -> Piece<'_> {
        Piece {
            stream: Stream::Stdout,
            bytes,
            time: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("aril-syslog-{}", crate::store::unique()))
    }

    #[test]
    fn datagrams_arrive_one_by_one() {
        let path = scratch();
        let receiver = UnixDatagram::bind(&path).unwrap();
        let address = format!("unix://{}", path.display());
        let mut remote = remote(&address, &[("syslog-format", "rfc3164"), ("tag", "t")])
            .unwrap()
            .unwrap();
        remote.add(piece(b"one\n"));
        remote.add(piece(b"two\n"));
        remote.flush();
        let mut buffer = [0; 200];
        for want in ["]: one", "]: two"] {
            let count = receiver.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            assert!(text.starts_with("<30>") && text.ends_with(want), "{text}");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_daemon_that_does_not_read_holds_up_or_loses() {
        for loses in [false, true] {
            let path = scratch();
            let _receiver = UnixDatagram::bind(&path).unwrap();
            let address = format!("unix://{}", path.display());
            let options: &[(&str, &str)] = if loses {
                &[("mode", "non-blocking"), ("max-buffer-size", "64k")]
            } else {
                &[]
            };
            let mut remote = remote(&address, options).unwrap().unwrap();
            let line = [b'x'; 8000];
            for _ in 0..2000 {
                remote.add(piece(&line));
                remote.flush();
                if remote.is_full() {
                    break;
                }
            }
            assert_eq!(remote.is_full(), !loses);
            assert_eq!(remote.lost > 0, loses);
            assert!(remote.waits().is_some() && remote.queued_bytes < 2 * QUEUE_MAX_BYTES);
            remote.queue.clear();
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_stream_has_lines() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let mut remote = remote(&address, &[("tag", "t")]).unwrap().unwrap();
        remote.add(piece(b"one\n"));
        remote.add(piece(b"two\n"));
        remote.flush();
        drop(remote);
        let mut text = String::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text.matches('\n').count(), 2, "{text}");
        let gone = listener.local_addr().unwrap();
        drop(listener);
        let error = self::remote(&format!("tcp://{gone}"), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("dial tcp"), "{error:#}");
    }
}
