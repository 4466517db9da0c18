//! The servers that are asked what no container is called, and from where.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::stamp::Cached;
use crate::network::files;
use crate::sys::netns;

/// The port of name servers.
const PORT: u16 = 53;
/// How many servers are asked; resolvers of C libraries ask no more either.
const SERVERS_MAX: usize = 3;
/// How long a server that let others answer before it is asked after them.
const MISTRUST: Duration = Duration::from_secs(30);
/// More of a resolv.conf is not read.
const FILE_MAX_BYTES: u64 = 64 << 10;
/// Who is asked where nobody is named, as docker does it.
const PUBLIC: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];

/// Which servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstreams {
    /// Those of a resolv.conf of the host, asked from the host, so loopback addresses are the host's; whenever it changes,
    /// the new ones.
    HostFile(PathBuf),
    /// Those that the user named (`--dns`), asked from inside the container.
    Given(Vec<String>),
}

/// The servers, in the order in which to ask them.
#[derive(Debug)]
pub(super) struct Servers {
    source: Upstreams,
    file: Cached<Vec<SocketAddr>>,
    mistrusted: HashMap<SocketAddr, Instant>,
    container: OwnedFd,
}

impl Servers {
    /// Returns the servers of `source`; `container` is the container's network namespace.
    pub(super) fn new(source: Upstreams, container: OwnedFd) -> Servers {
        Servers {
            source,
            file: Cached::default(),
            mistrusted: HashMap::new(),
            container,
        }
    }

    /// Returns whether they are asked from the host.
    pub(super) fn are_of_host(&self) -> bool {
        matches!(self.source, Upstreams::HostFile(_))
    }

    /// Returns the servers in the order in which to ask them now.
    pub(super) fn current(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut servers = match &self.source {
            Upstreams::Given(servers) => addresses(servers),
            Upstreams::HostFile(path) => self.file.get(path, read_file).clone(),
        };
        self.mistrusted.retain(|_, until| *until > now);
        servers.sort_by_key(|server| self.mistrusted.contains_key(server));
        servers
    }

    /// Notes that another server answered while this one was silent.
    pub(super) fn mistrust(&mut self, server: SocketAddr, now: Instant) {
        self.mistrusted.insert(server, now + MISTRUST);
    }

    /// Makes a socket that is connected to `server`, or is about to be; its port is a random one that the kernel chooses.
    pub(super) fn connect(&self, server: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
        if self.are_of_host() {
            connect(server, kind)
        } else {
            netns::inside(self.container.as_fd(), || connect(server, kind))?
        }
    }
}

fn connect(server: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = if server.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

fn read_file(path: &Path) -> Vec<SocketAddr> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut bytes));
    if let Err(error) = read {
        tracing::warn!("read {}: {error}", path.display());
    }
    let servers = addresses(&files::parse_resolver(&String::from_utf8_lossy(&bytes)).servers);
    if servers.is_empty() {
        return PUBLIC
            .iter()
            .map(|address| SocketAddr::new(*address, PORT))
            .collect();
    }
    servers
}

/// Returns the first addresses that can be read, in their order.
fn addresses(servers: &[String]) -> Vec<SocketAddr> {
    servers
        .iter()
        .filter_map(|server| address(server))
        .take(SERVERS_MAX)
        .collect()
}

/// Reads an address, which may name its interface: `fe80::1%eth0`.
fn address(text: &str) -> Option<SocketAddr> {
    let Some((address, interface)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, PORT));
    };
    let interface = match interface.parse() {
        Ok(number) => number,
        Err(_) => nix::net::if_::if_nametoindex(interface).ok()?,
    };
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, interface).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_name_their_interface() {
        let check = |text: &str, expected: Option<&str>| {
            let read = address(text).map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("127.0.0.53", Some("127.0.0.53:53"));
        check("2001:db8::1", Some("[2001:db8::1]:53"));
        check("fe80::1%1", Some("[fe80::1%1]:53"));
        check("fe80::1%lo", Some("[fe80::1%1]:53"));
        check("fe80::1%absent", None);
        check("example.com", None);
    }

    #[test]
    fn who_was_silent_is_asked_last_for_a_while() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let given = Upstreams::Given(vec!["10.0.0.1".into(), "10.0.0.2".into()]);
        let mut servers = Servers::new(given, null.into());
        let now = Instant::now();
        let first = servers.current(now)[0];
        servers.mistrust(first, now);
        assert_eq!(servers.current(now)[1], first);
        assert_eq!(servers.current(now + MISTRUST)[0], first);
    }
}
