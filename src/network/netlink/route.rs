//! rtnetlink(7): links, addresses and routes, one function per request.

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, Result};

use super::{
    Attributes, NLM_F_CREATE, NLM_F_EXCL, Requests, Socket, attribute, is_refused, number, text,
};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
pub(super) const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
pub(super) const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const DEL_NEIGHBOUR: u16 = 29;

const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IPVLAN_MODE_L2: u16 = 0;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_FLUSH: u16 = 24;
const IFLA_BRPORT_ISOLATED: u16 = 33;
/// How an interface makes its own IPv6 address; none.
const ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;
/// RFC 2863: packets pass.
const OPERSTATE_UP: u8 = 6;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_ADDRESS: u16 = 1;
const IFA_BROADCAST: u16 = 4;
/// No check whether another machine has the address: nobody can.
const IFA_F_NODAD: u8 = 2;
const NDA_DST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
const MAIN_TABLE: u8 = 254;
const PROTO_BOOT: u8 = 3;
const UNICAST: u8 = 1;

/// An address of a link layer.
pub type Mac = [u8; 6];

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its address; zero if it has none of 6 bytes.
    pub mac: Mac,
    /// Bytes.
    pub mtu: u32,
    /// Whether somebody has turned it on.
    pub up: bool,
    /// Whether packets pass.
    pub operates: bool,
    /// Index of the bridge it is a port of; 0 for none.
    pub master: u32,
    /// `bridge`, `veth` and so on; empty for hardware.
    pub kind: String,
}

/// struct ifinfomsg
pub(super) fn link_header(family: u8, index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![family, 0, 0, 0];
    for word in [index, flags, change] {
        header.extend(word.to_ne_bytes());
    }
    header
}

/// Returns the link called `name`; nothing if there is none.
pub fn link(socket: &Socket, name: &str) -> Result<Option<Link>> {
    let mut requests = Requests::default();
    requests.add(GET_LINK, 0, &link_header(0, 0, 0, 0), |attributes| {
        attributes.text(IFLA_IFNAME, name);
    });
    match socket.request(requests) {
        Ok(replies) => Ok(replies.first().and_then(|(_, body)| parse_link(body))),
        Err(error) if is_refused(&error, &[libc::ENODEV]) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("look for the interface {name}")),
    }
}

/// Returns all links.
pub fn links(socket: &Socket) -> Result<Vec<Link>> {
    let mut requests = Requests::default();
    requests.dump(GET_LINK, &link_header(0, 0, 0, 0));
    let replies = socket.request(requests).context("list the interfaces")?;
    Ok(replies
        .iter()
        .filter_map(|(_, body)| parse_link(body))
        .collect())
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let attributes = body.get(16..)?;
    let word = |kind| {
        attribute(attributes, kind)
            .and_then(number)
            .unwrap_or_default()
    };
    let info =
        attribute(attributes, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
    let mac = attribute(attributes, IFLA_ADDRESS);
    Some(Link {
        index: number(&body[4..])?,
        name: text(attribute(attributes, IFLA_IFNAME)?),
        mac: mac.and_then(|mac| mac.try_into().ok()).unwrap_or_default(),
        mtu: word(IFLA_MTU),
        up: number(&body[8..])? & IFF_UP != 0,
        operates: attribute(attributes, IFLA_OPERSTATE) == Some(&[OPERSTATE_UP]),
        master: word(IFLA_MASTER),
        kind: info.map(text).unwrap_or_default(),
    })
}

/// Keeps an interface from making itself an IPv6 address.
///
/// Ports of a bridge need none, and every one of them would tell all others of it. Where there is no IPv6, nothing is to do.
fn leave_ipv6(socket: &Socket, name: &str) -> Result<()> {
    let mut requests = Requests::default();
    requests.add(SET_LINK, 0, &link_header(0, 0, 0, 0), |attributes| {
        attributes.text(IFLA_IFNAME, name);
        attributes.nest(IFLA_AF_SPEC, |families| {
            families.nest(u16::from(AF_INET6), |inet6| {
                inet6.put(ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]);
            });
        });
    });
    match socket.request(requests) {
        Err(error) if is_refused(&error, &[libc::EAFNOSUPPORT]) => Ok(()),
        done => done
            .map(drop)
            .with_context(|| format!("configure the interface {name}")),
    }
}

/// Makes a bridge, which is off; `EEXIST` if there is a link of this name.
///
/// Its address is given, since else it would change with its ports, and every container would lose its gateway for a while.
pub fn make_bridge(socket: &Socket, name: &str, mac: Mac, mtu: u32) -> Result<()> {
    let mut requests = Requests::default();
    // Not up yet: going up is when it would make itself an IPv6 address.
    let header = link_header(0, 0, 0, 0);
    requests.add(NEW_LINK, NLM_F_CREATE | NLM_F_EXCL, &header, |attributes| {
        attributes.text(IFLA_IFNAME, name);
        attributes.put(IFLA_ADDRESS, &mac);
        attributes.u32(IFLA_MTU, mtu);
        attributes.nest(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "bridge"));
    });
    socket
        .request(requests)
        .map(drop)
        .with_context(|| format!("make the bridge {name}"))
}

/// A pair of interfaces: one on the host, the other in a container.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// Name on the host.
    pub name: &'a str,
    /// Index of the bridge on the host.
    pub bridge: u32,
    /// Whether it talks to the bridge's host only, and not to other such ports.
    pub isolated: bool,
    /// Network namespace of the other end.
    pub namespace: BorrowedFd<'a>,
    /// Name in the container.
    pub peer: &'a str,
    /// Address in the container.
    pub mac: Mac,
    /// Bytes.
    pub mtu: u32,
}

/// Makes a pair whose other end is born in its namespace: moving it there would cost a grace period of RCU, 10 to 26 ms.
pub fn make_veth(socket: &Socket, veth: &Veth<'_>) -> Result<()> {
    let mut requests = Requests::default();
    let header = link_header(0, 0, IFF_UP, IFF_UP);
    // One queue each way: with one per CPU it takes a quarter longer.
    let queues = |attributes: &mut Attributes<'_>| {
        attributes.u32(IFLA_NUM_TX_QUEUES, 1);
        attributes.u32(IFLA_NUM_RX_QUEUES, 1);
        attributes.u32(IFLA_MTU, veth.mtu);
    };
    requests.add(NEW_LINK, NLM_F_CREATE | NLM_F_EXCL, &header, |attributes| {
        attributes.text(IFLA_IFNAME, veth.name);
        attributes.u32(IFLA_MASTER, veth.bridge);
        queues(attributes);
        attributes.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.open(VETH_INFO_PEER | super::NLA_F_NESTED, |bytes| {
                    bytes.extend(link_header(0, 0, 0, 0));
                    let mut peer = Attributes { bytes };
                    peer.text(IFLA_IFNAME, veth.peer);
                    peer.put(IFLA_ADDRESS, &veth.mac);
                    queues(&mut peer);
                    put_namespace(&mut peer, veth.namespace);
                });
            });
        });
    });
    socket
        .request(requests)
        .with_context(|| format!("make the interface {} of the container", veth.peer))?;
    leave_ipv6(socket, veth.name)?;
    if veth.isolated {
        set_port(socket, veth.name, |port| {
            port.put(IFLA_BRPORT_ISOLATED, &[1]);
        })?;
    }
    Ok(())
}

fn put_namespace(attributes: &mut Attributes<'_>, namespace: BorrowedFd<'_>) {
    let number = u32::try_from(namespace.as_raw_fd()).unwrap_or(u32::MAX);
    attributes.u32(IFLA_NET_NS_FD, number);
}

/// What kind of interface a container gets on the network of a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// With a link address of its own.
    Macvlan {
        /// MACVLAN_MODE_*.
        mode: u32,
    },
    /// With the parent's link address.
    Ipvlan {
        /// IPVLAN_F_*.
        flags: u16,
    },
}

impl Child {
    /// Returns what the kernel calls it.
    pub fn kind(self) -> &'static str {
        match self {
            Child::Macvlan { .. } => "macvlan",
            Child::Ipvlan { .. } => "ipvlan",
        }
    }

    fn put(self, data: &mut Attributes<'_>) {
        match self {
            Child::Macvlan { mode } => data.u32(IFLA_MACVLAN_MODE, mode),
            Child::Ipvlan { flags } => {
                data.put(IFLA_IPVLAN_MODE, &IPVLAN_MODE_L2.to_ne_bytes());
                data.put(IFLA_IPVLAN_FLAGS, &flags.to_ne_bytes());
            }
        }
    }
}

/// An interface of a container on the network of a parent.
#[derive(Clone, Copy, Debug)]
pub struct Branch<'a> {
    /// Index of the parent.
    pub parent: u32,
    /// Its kind.
    pub child: Child,
    /// Its network namespace.
    pub namespace: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a str,
    /// Its link address, if the kind has one of its own.
    pub mac: Mac,
}

/// Makes an interface of a container on the network of a parent.
pub fn make_branch(socket: &Socket, branch: &Branch<'_>) -> Result<()> {
    let mut requests = Requests::default();
    let header = link_header(0, 0, 0, 0);
    let kind = branch.child.kind();
    requests.add(NEW_LINK, NLM_F_CREATE | NLM_F_EXCL, &header, |attributes| {
        attributes.text(IFLA_IFNAME, branch.name);
        attributes.u32(IFLA_LINK, branch.parent);
        if matches!(branch.child, Child::Macvlan { .. }) {
            attributes.put(IFLA_ADDRESS, &branch.mac);
        }
        attributes.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, kind);
            info.nest(IFLA_INFO_DATA, |data| branch.child.put(data));
        });
        put_namespace(attributes, branch.namespace);
    });
    socket
        .request(requests)
        .map(drop)
        .with_context(|| format!("make the {kind} interface {}", branch.name))
}

/// Returns whether the kernel has interfaces of a kind, which makes it load its module.
pub fn has_kind(socket: &Socket, child: Child) -> Result<bool> {
    let mut requests = Requests::default();
    let header = link_header(0, 0, 0, 0);
    // Without a parent it is refused by the kind itself, if there is such a kind.
    requests.add(NEW_LINK, NLM_F_CREATE | NLM_F_EXCL, &header, |attributes| {
        attributes.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, child.kind());
        });
    });
    match socket.request(requests) {
        Err(error) if is_refused(&error, &[libc::EOPNOTSUPP]) => Ok(false),
        Err(error) if is_refused(&error, &[libc::EINVAL, libc::ENODEV]) => Ok(true),
        done => done
            .map(|_| true)
            .with_context(|| format!("ask for interfaces of kind {}", child.kind())),
    }
}

fn set_port(socket: &Socket, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> Result<()> {
    let mut requests = Requests::default();
    let found = link(socket, name)?.with_context(|| format!("interface {name} is gone"))?;
    let header = link_header(AF_BRIDGE, found.index, 0, 0);
    requests.add(SET_LINK, 0, &header, |attributes| {
        attributes.nest(IFLA_PROTINFO, fill);
    });
    socket
        .request(requests)
        .map(drop)
        .with_context(|| format!("set the port {name} of its bridge"))
}

/// Makes a port of a bridge pass nothing any more, and the bridge forget what was behind it; at once, unlike its deletion.
pub fn close_port(socket: &Socket, name: &str) -> Result<()> {
    set_port(socket, name, |port| {
        port.put(IFLA_BRPORT_STATE, &[0]);
        port.put(IFLA_BRPORT_FLUSH, &[]);
    })
}

/// Turns an interface on or off.
pub fn set_up(socket: &Socket, index: u32, up: bool) -> Result<()> {
    let mut requests = Requests::default();
    add_set_up(&mut requests, index, up);
    socket
        .request(requests)
        .map(drop)
        .context("turn the interface on")
}

fn add_set_up(requests: &mut Requests, index: u32, up: bool) {
    let header = link_header(0, index, if up { IFF_UP } else { 0 }, IFF_UP);
    requests.add(SET_LINK, 0, &header, |_| {});
}

/// Deletes an interface; nothing if there is none.
pub fn delete_link(socket: &Socket, name: &str) -> Result<()> {
    let mut requests = Requests::default();
    requests.add(DEL_LINK, 0, &link_header(0, 0, 0, 0), |attributes| {
        attributes.text(IFLA_IFNAME, name);
    });
    match socket.request(requests) {
        Err(error) if is_refused(&error, &[libc::ENODEV]) => Ok(()),
        done => done
            .map(drop)
            .with_context(|| format!("delete the interface {name}")),
    }
}

/// An address and the length of its network's prefix.
pub type Prefixed = (IpAddr, u8);

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn add_address(requests: &mut Requests, index: u32, (address, length): Prefixed) {
    // struct ifaddrmsg
    let mut header = vec![family(address), length, 0, 0];
    if address.is_ipv6() {
        header[2] = IFA_F_NODAD;
    }
    header.extend(index.to_ne_bytes());
    requests.add(
        NEW_ADDRESS,
        NLM_F_CREATE | NLM_F_EXCL,
        &header,
        |attributes| {
            attributes.put(IFA_LOCAL, &octets(address));
            attributes.put(IFA_ADDRESS, &octets(address));
            if let (IpAddr::V4(address), 0..=30) = (address, length) {
                let hosts = u32::MAX.checked_shr(u32::from(length)).unwrap_or_default();
                let broadcast = u32::from(address) | hosts;
                attributes.put(IFA_BROADCAST, &broadcast.to_be_bytes());
            }
        },
    );
}

/// Gives an interface addresses that it does not have yet.
pub fn add_addresses(socket: &Socket, index: u32, addresses: &[Prefixed]) -> Result<()> {
    for address in addresses {
        let mut requests = Requests::default();
        add_address(&mut requests, index, *address);
        match socket.request(requests) {
            Err(error) if is_refused(&error, &[libc::EEXIST]) => {}
            done => drop(done.with_context(|| format!("set the address {}", address.0))?),
        }
    }
    Ok(())
}

/// Turns an interface on and gives it its addresses, at once.
pub fn configure(socket: &Socket, index: u32, addresses: &[Prefixed]) -> Result<()> {
    let mut requests = Requests::default();
    add_set_up(&mut requests, index, true);
    for address in addresses {
        add_address(&mut requests, index, *address);
    }
    socket
        .request(requests)
        .map(drop)
        .context("give the container's interface its address")
}

/// Forgets which interface has an address, so that it is asked for again; nothing if that is not known.
pub fn forget_neighbour(socket: &Socket, index: u32, address: IpAddr) -> Result<()> {
    // struct ndmsg
    let mut header = vec![family(address), 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend([0; 4]);
    let mut requests = Requests::default();
    requests.add(DEL_NEIGHBOUR, 0, &header, |attributes| {
        attributes.put(NDA_DST, &octets(address));
    });
    match socket.request(requests) {
        Err(error) if is_refused(&error, &[libc::ENOENT, libc::EINVAL]) => Ok(()),
        done => done
            .map(drop)
            .with_context(|| format!("forget who has {address}")),
    }
}

/// struct rtmsg for a route to `length` bits.
fn route_header(family: u8, length: u8) -> Vec<u8> {
    let mut header = vec![family, length, 0, 0, MAIN_TABLE, PROTO_BOOT, 0, UNICAST];
    header.extend([0; 4]);
    header
}

/// Sets the way to everywhere.
pub fn add_default_route(socket: &Socket, gateway: IpAddr, index: u32) -> Result<()> {
    default_route(socket, NEW_ROUTE, NLM_F_CREATE | NLM_F_EXCL, gateway, index)
        .with_context(|| format!("set the default route by {gateway}"))
}

/// Takes the ways to everywhere of a family away, but for that by the interface `index`.
pub fn clear_default_routes(socket: &Socket, ipv6: bool, index: u32) -> Result<()> {
    let family = if ipv6 { AF_INET6 } else { AF_INET };
    let mut requests = Requests::default();
    requests.dump(GET_ROUTE, &route_header(family, 0));
    for (_, body) in socket.request(requests).context("list the routes")? {
        let Some(route) =
            parse_route(&body).filter(|route| route.to.is_none() && route.index != index)
        else {
            continue;
        };
        let attributes = body.get(12..).unwrap_or_default();
        if let Some(gateway) = attribute(attributes, RTA_GATEWAY).and_then(address) {
            match default_route(socket, DEL_ROUTE, 0, gateway, route.index) {
                Err(error) if is_refused(&error, &[libc::ESRCH]) => {}
                done => done.with_context(|| format!("delete the default route by {gateway}"))?,
            }
        }
    }
    Ok(())
}

fn default_route(
    socket: &Socket,
    kind: u16,
    flags: u16,
    gateway: IpAddr,
    index: u32,
) -> Result<()> {
    let mut requests = Requests::default();
    requests.add(
        kind,
        flags,
        &route_header(family(gateway), 0),
        |attributes| {
            attributes.put(RTA_GATEWAY, &octets(gateway));
            attributes.u32(RTA_OIF, index);
        },
    );
    socket.request(requests).map(drop)
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; nothing is everywhere.
    pub to: Option<Prefixed>,
    /// Index of the interface.
    pub index: u32,
    /// Whether there is a router on the way.
    pub by_router: bool,
    /// Bytes; 0 if it has none of its own.
    pub mtu: u32,
}

/// Returns the routes of the main table.
pub fn routes(socket: &Socket) -> Result<Vec<Route>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut requests = Requests::default();
        requests.dump(GET_ROUTE, &route_header(family, 0));
        let replies = socket.request(requests).context("list the routes")?;
        found.extend(replies.iter().filter_map(|(_, body)| parse_route(body)));
    }
    Ok(found)
}

fn parse_route(body: &[u8]) -> Option<Route> {
    let attributes = body.get(12..)?;
    if body[4] != MAIN_TABLE || body[7] != UNICAST {
        return None;
    }
    let to = attribute(attributes, RTA_DST).and_then(address);
    let metrics = attribute(attributes, RTA_METRICS);
    Some(Route {
        to: to.map(|to| (to, body[1])),
        index: attribute(attributes, RTA_OIF).and_then(number)?,
        by_router: attribute(attributes, RTA_GATEWAY).is_some(),
        mtu: metrics
            .and_then(|metrics| attribute(metrics, RTAX_MTU))
            .and_then(number)
            .unwrap_or_default(),
    })
}

/// Returns the addresses of all interfaces, with the indexes of those.
pub fn addresses(socket: &Socket) -> Result<Vec<(u32, Prefixed)>> {
    let mut requests = Requests::default();
    requests.dump(GET_ADDRESS, &[0; 8]);
    let replies = socket.request(requests).context("list the addresses")?;
    let found = replies.iter().filter_map(|(_, body)| {
        let attributes = body.get(8..)?;
        let local =
            attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
        Some((number(&body[4..])?, (address(local)?, body[1])))
    });
    Ok(found.collect())
}

pub(super) fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}
