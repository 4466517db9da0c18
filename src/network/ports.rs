//! Published ports: from what was asked for to sockets that hold the ports of the host.
//!
//! A port is held by a socket that listens, so that no other program can take it; the kernel frees it with the monitor.
//! Without an address of the host, a port is published on all addresses of both families, under the same number.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::holder::written;
use crate::docker::container::PortBinding;
use crate::error;
use crate::oci::image::Empty;

/// Connections that wait to be accepted; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How often another free port is looked for when one is free in one family only.
const ATTEMPTS: u32 = 64;

/// How a port is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Stream.
    Tcp,
    /// Datagrams.
    Udp,
    /// Messages; only by rules, since the proxy does not speak it.
    Sctp,
}

impl Protocol {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// Returns its number in IP.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

/// A port of a container, and where it is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// In the container.
    pub port: u16,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// On the host.
    pub bindings: Vec<PortBinding>,
}

/// A port of the host that leads to a container.
#[derive(Debug)]
pub struct Binding {
    /// In the container.
    pub port: u16,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Address of the host; unspecified means all of its family.
    pub host: IpAddr,
    /// Port of the host.
    pub host_port: u16,
    /// What holds it; nothing for a protocol that this kernel has no sockets of, and once the proxy has it.
    pub socket: Option<OwnedFd>,
    /// What was asked for.
    pub asked: PortBinding,
}

/// Somebody else has the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Address of the host.
    pub host: IpAddr,
    /// Port of the host.
    pub port: u16,
    /// Port of the container.
    pub container_port: u16,
    /// How it is spoken to.
    pub protocol: Protocol,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = written(self.host, self.port);
        let protocol = self.protocol.name();
        write!(
            f,
            "failed to bind host port {host}/{protocol}: address already in use"
        )
    }
}

impl std::error::Error for Taken {}

/// Reads `80/tcp` or `80`; nothing if it is neither.
pub fn parse(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((port.parse().ok()?, protocol))
}

/// Returns the ports that are to be published, in their order.
///
/// The error is of kind `Invalid`.
pub fn plan(
    exposed: Option<&BTreeMap<String, Empty>>,
    bindings: &BTreeMap<String, Option<Vec<PortBinding>>>,
    publish_all: bool,
) -> Result<Vec<Wanted>> {
    let mut wanted: BTreeMap<(u16, Protocol), Vec<PortBinding>> = BTreeMap::new();
    let key = |text: &str| {
        parse(text).ok_or_else(|| error::invalid(format!("invalid port specification: {text:?}")))
    };
    for (port, hosts) in bindings {
        let hosts = hosts.iter().flatten().cloned();
        wanted.entry(key(port)?).or_default().extend(hosts);
    }
    if publish_all {
        for port in exposed.into_iter().flat_map(BTreeMap::keys) {
            let hosts = wanted.entry(key(port)?).or_default();
            if hosts.is_empty() {
                hosts.push(PortBinding::default());
            }
        }
    }
    let wanted = wanted.into_iter().filter(|(_, hosts)| !hosts.is_empty());
    Ok(wanted
        .map(|((port, protocol), bindings)| Wanted {
            port,
            protocol,
            bindings,
        })
        .collect())
}

/// Takes the ports of the host; `default` is the address for those that name none.
///
/// The error is a [`Taken`] if somebody else has one.
pub fn bind(wanted: &[Wanted], default: Option<IpAddr>) -> Result<Vec<Binding>> {
    Ok(rebind(&[], wanted, default, &|_| None)?.new)
}

/// From some ports to others.
#[derive(Debug)]
pub struct Rebound {
    /// Which of those that were taken are still wanted.
    pub kept: Vec<bool>,
    /// What is taken besides.
    pub new: Vec<Binding>,
}

/// Takes the ports of the host that are wanted and not in `bound`, and says which of `bound` are still wanted.
///
/// A port that is not wanted any more may be wanted for another port of the container: then its socket goes over, of which
/// `socket_of` returns a copy. The error is a [`Taken`] if somebody else has one.
pub fn rebind(
    bound: &[Binding],
    wanted: &[Wanted],
    default: Option<IpAddr>,
    socket_of: &dyn Fn(&Binding) -> Option<OwnedFd>,
) -> Result<Rebound> {
    let is = |binding: &Binding, wanted: &Wanted, asked: &PortBinding| {
        (binding.port, binding.protocol, &binding.asked) == (wanted.port, wanted.protocol, asked)
    };
    let all = wanted
        .iter()
        .flat_map(|wanted| wanted.bindings.iter().map(move |asked| (wanted, asked)));
    let is_wanted = |binding: &Binding| {
        let mut all = all.clone();
        all.any(|(wanted, asked)| is(binding, wanted, asked))
    };
    let kept: Vec<bool> = bound.iter().map(is_wanted).collect();
    let spare = |protocol: Protocol, address: SocketAddr| {
        let mut spare = bound.iter().zip(&kept).filter(|(_, kept)| !**kept);
        let fits = |binding: &Binding| {
            let own = SocketAddr::new(binding.host, binding.host_port);
            (binding.protocol, own) == (protocol, address)
        };
        let found = spare.find(|(binding, _)| fits(binding));
        found.and_then(|(binding, _)| socket_of(binding))
    };
    let mut new = Vec::new();
    for (wanted, asked) in all.clone() {
        if !bound.iter().any(|binding| is(binding, wanted, asked)) {
            new.extend(bind_one(wanted, asked, default, &spare)?);
        }
    }
    Ok(Rebound { kept, new })
}

/// Returns the socket that holds a port, if it is this process's and free for another use.
type Spare<'a> = &'a dyn Fn(Protocol, SocketAddr) -> Option<OwnedFd>;

fn bind_one(
    wanted: &Wanted,
    binding: &PortBinding,
    default: Option<IpAddr>,
    spare: Spare<'_>,
) -> Result<Vec<Binding>> {
    let hosts = match (binding.host_ip.as_str(), default) {
        ("", Some(default)) => vec![default],
        ("", None) => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        (text, _) => vec![
            text.parse()
                .map_err(|_| error::invalid(format!("invalid IP address: {text}")))?,
        ],
    };
    let bind_all = |port| bind_all((wanted, binding), &hosts, port, spare);
    let (first, last) = host_ports(&binding.host_port)?;
    if first == 0 {
        // The kernel knows which are free in one family; the other may disagree.
        for _ in 0..ATTEMPTS {
            match bind_all(0) {
                Err(error) if error.downcast_ref::<Taken>().is_some() => {}
                done => return done,
            }
        }
    }
    let mut refused = None;
    for port in first..=last {
        match bind_all(port) {
            Err(error) if error.downcast_ref::<Taken>().is_some() => {
                refused.get_or_insert(error);
            }
            done => return done,
        }
    }
    Err(refused.unwrap_or_else(|| anyhow::anyhow!("there is no free port")))
}

/// Returns the first and the last port that will do; zero for any.
fn host_ports(text: &str) -> Result<(u16, u16)> {
    let port = |text: &str| {
        text.parse::<u16>()
            .map_err(|_| error::invalid(format!("invalid port specification: {text:?}")))
    };
    match text.split_once('-') {
        _ if text.is_empty() => Ok((0, 0)),
        Some((first, last)) => Ok((port(first)?, port(last)?)),
        None => Ok((port(text)?, port(text)?)),
    }
}

/// Takes one port on all of `hosts`; zero takes any.
fn bind_all(
    (wanted, asked): (&Wanted, &PortBinding),
    hosts: &[IpAddr],
    port: u16,
    spare: Spare<'_>,
) -> Result<Vec<Binding>> {
    let mut bound: Vec<Binding> = Vec::new();
    for host in hosts {
        let number = bound.first().map_or(port, |first| first.host_port);
        let address = SocketAddr::new(*host, number);
        let opened = match spare(wanted.protocol, address) {
            Some(socket) => Ok((socket, number)),
            None => open(wanted.protocol, address),
        };
        let (socket, host_port) = match opened {
            Ok((socket, host_port)) => (Some(socket), host_port),
            Err(Errno::ADDRINUSE) => {
                return Err(Taken {
                    host: *host,
                    port: number,
                    container_port: wanted.port,
                    protocol: wanted.protocol,
                }
                .into());
            }
            // A host without IPv6 has no addresses to publish on; who names one is told.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
                if host.is_unspecified() && hosts.len() > 1 =>
            {
                continue;
            }
            Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT)
                if wanted.protocol == Protocol::Sctp =>
            {
                (None, number)
            }
            Err(errno) => {
                let place = written(*host, number);
                let what = format!(
                    "failed to bind host port {place}/{}",
                    wanted.protocol.name()
                );
                return Err(errno).context(what);
            }
        };
        bound.push(Binding {
            port: wanted.port,
            protocol: wanted.protocol,
            host: *host,
            host_port,
            socket,
            asked: asked.clone(),
        });
    }
    Ok(bound)
}

/// Opens a socket that holds a port, and returns it with the port's number.
fn open(protocol: Protocol, address: SocketAddr) -> rustix::io::Result<(OwnedFd, u16)> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol != Protocol::Udp {
        // Connections of the last container that linger do not keep the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if protocol != Protocol::Udp {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    let name = rustix::net::getsockname(&socket)?;
    let port = SocketAddr::try_from(name).map_or(address.port(), |name| name.port());
    Ok((socket, port))
}

/// Returns what `inspect` shows of ports: those that are published, and those that are only exposed.
pub fn shown(
    exposed: Option<&BTreeMap<String, Empty>>,
    bound: &[Binding],
) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut ports: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    for port in exposed.into_iter().flat_map(BTreeMap::keys) {
        ports.insert(port.clone(), None);
    }
    for binding in bound {
        let port = format!("{}/{}", binding.port, binding.protocol.name());
        ports
            .entry(port)
            .or_default()
            .get_or_insert_default()
            .push(PortBinding {
                host_ip: binding.host.to_string(),
                host_port: binding.host_port.to_string(),
            });
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(host_ip: &str, host_port: &str) -> PortBinding {
        PortBinding {
            host_ip: host_ip.to_owned(),
            host_port: host_port.to_owned(),
        }
    }

    fn wanted(host_ip: &str, host_port: &str) -> Wanted {
        Wanted {
            port: 80,
            protocol: Protocol::Tcp,
            bindings: vec![binding(host_ip, host_port)],
        }
    }

    #[test]
    fn exposed_ports_are_published_if_all_are() {
        let exposed = ["81/tcp", "80/udp", "80/tcp"]
            .map(|port| (port.to_owned(), Empty {}))
            .into();
        let bindings = [("80/tcp".to_owned(), Some(vec![binding("", "8080")]))].into();
        let ports = |all| -> Vec<String> {
            plan(Some(&exposed), &bindings, all)
                .unwrap()
                .iter()
                .map(|port| {
                    format!(
                        "{}/{} {}",
                        port.port,
                        port.protocol.name(),
                        port.bindings[0].host_port
                    )
                })
                .collect()
        };
        assert_eq!(ports(false), ["80/tcp 8080"]);
        assert_eq!(ports(true), ["80/tcp 8080", "80/udp ", "81/tcp "]);
        let bad = [("x/tcp".to_owned(), None)].into();
        let error = plan(None, &bad, false).unwrap_err();
        assert_eq!(error.to_string(), "invalid port specification: \"x/tcp\"");
    }

    #[test]
    fn both_families_get_the_same_port_and_a_taken_one_is_told() {
        let bound = bind(&[wanted("", "")], None).unwrap();
        let port = bound[0].host_port;
        assert!(bound.iter().all(|binding| binding.host_port == port));
        let taken = bind(&[wanted("127.0.0.1", &port.to_string())], None).unwrap_err();
        assert_eq!(
            taken.to_string(),
            format!("failed to bind host port 127.0.0.1:{port}/tcp: address already in use")
        );
        drop(bound);
        bind(&[wanted("127.0.0.1", &port.to_string())], None).unwrap();
    }

    #[test]
    fn a_range_gives_its_first_free_port() {
        let first = bind(&[wanted("127.0.0.1", "")], None).unwrap();
        let port = first[0].host_port;
        let range = format!("{port}-{}", port.saturating_add(50));
        let second = bind(&[wanted("127.0.0.1", &range)], None).unwrap();
        assert!(second[0].host_port > port);
        let error = bind(&[wanted("1.2.3", "")], None).unwrap_err();
        assert_eq!(error.to_string(), "invalid IP address: 1.2.3");
    }

    #[test]
    fn ports_go_over_to_others_and_a_refusal_takes_none() {
        let first = bind(&[wanted("127.0.0.1", "")], None).unwrap();
        let port = first[0].host_port.to_string();
        // The same number for another port of the container.
        let copy = |binding: &Binding| binding.socket.as_ref()?.try_clone().ok();
        let other = Wanted {
            port: 81,
            ..wanted("127.0.0.1", &port)
        };
        let changed = rebind(&first, &[other], None, &copy).unwrap();
        assert_eq!(changed.kept, [false]);
        assert_eq!((changed.new[0].port, changed.new.len()), (81, 1));
        assert_eq!(changed.new[0].host_port, first[0].host_port);
        // What is still wanted keeps its port, and has it against another.
        let again = [wanted("127.0.0.1", ""), wanted("127.0.0.1", &port)];
        let refused = rebind(&first, &again, None, &copy).unwrap_err();
        assert!(refused.downcast_ref::<Taken>().is_some());
        let same = rebind(&first, &again[..1], None, &copy).unwrap();
        assert_eq!((same.kept, same.new.len()), (vec![true], 0));
    }

    #[test]
    fn ports_are_shown_with_where_they_lead_from() {
        let exposed = [("443/tcp".to_owned(), Empty {})].into();
        let bound = [Binding {
            port: 80,
            protocol: Protocol::Tcp,
            host: Ipv4Addr::UNSPECIFIED.into(),
            host_port: 8080,
            socket: None,
            asked: PortBinding::default(),
        }];
        let shown = serde_json::to_string(&shown(Some(&exposed), &bound)).unwrap();
        let want = r#"{"443/tcp":null,"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}"#;
        assert_eq!(shown, want);
    }
}
