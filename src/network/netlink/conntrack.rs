//! Connections that the kernel tracks (ctnetlink): forget those of an address, or of a port that changes hands.
//!
//! A UDP client with a fixed port keeps its entry alive by sending, so without this its packets would go on to whom the
//! port belonged to before.

use std::net::IpAddr;

use anyhow::Result;

use super::{Attributes, Requests, Socket, attribute, is_refused};

const CONNTRACK: u16 = 1 << 8;
const GET: u16 = CONNTRACK | 1;
const DELETE: u16 = CONNTRACK | 2;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_DST_PORT: u16 = 3;
const CTA_FILTER: u16 = 25;
const FILTER_ORIG_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// CTA_FILTER_F_CTA_IP_SRC
const BY_SOURCE: u32 = 1;

/// Forgets the connections that an address answers, and those that it began.
pub fn forget_address(socket: &Socket, address: IpAddr) -> Result<()> {
    for (tuple, flags) in [
        (TUPLE_REPLY, FILTER_REPLY_FLAGS),
        (TUPLE_ORIG, FILTER_ORIG_FLAGS),
    ] {
        let mut requests = Requests::default();
        requests.add(DELETE, 0, &header(address), |attributes| {
            put_source(attributes, tuple, address);
            attributes.nest(CTA_FILTER, |filter| filter.u32(flags, BY_SOURCE));
        });
        match socket.request(requests) {
            Err(error) if is_refused(&error, &[libc::ENOENT]) => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// struct nfgenmsg, whose version 1 makes the kernel filter what it deletes (kernel 5.8).
fn header(address: IpAddr) -> [u8; 4] {
    let family = match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    };
    [family, 1, 0, 0]
}

fn put_source(attributes: &mut Attributes<'_>, tuple: u16, address: IpAddr) {
    attributes.nest(tuple, |tuple| {
        tuple.nest(TUPLE_IP, |ip| match address {
            IpAddr::V4(address) => ip.put(1, &address.octets()),
            IpAddr::V6(address) => ip.put(3, &address.octets()),
        });
    });
}

/// Forgets the connections by `protocol` to one of `ports` of whatever address.
pub fn forget_ports(socket: &Socket, protocol: u8, ports: &[u16]) -> Result<()> {
    for family in [2, 10] {
        let mut requests = Requests::default();
        requests.dump(GET, &[family, 0, 0, 0]);
        for (_, body) in socket.request(requests)? {
            let attributes = body.get(4..).unwrap_or_default();
            let Some(original) = attribute(attributes, TUPLE_ORIG) else {
                continue;
            };
            if destination(original)
                .is_none_or(|(found, port)| found != protocol || !ports.contains(&port))
            {
                continue;
            }
            let mut requests = Requests::default();
            requests.add(DELETE, 0, &[family, 0, 0, 0], |attributes| {
                attributes.put(TUPLE_ORIG | super::NLA_F_NESTED, original);
            });
            match socket.request(requests) {
                Err(error) if is_refused(&error, &[libc::ENOENT]) => {}
                done => drop(done?),
            }
        }
    }
    Ok(())
}

fn destination(tuple: &[u8]) -> Option<(u8, u16)> {
    let protocol = attribute(tuple, TUPLE_PROTO)?;
    let port = attribute(protocol, PROTO_DST_PORT)?;
    let number = attribute(protocol, PROTO_NUM)?.first()?;
    Some((*number, u16::from_be_bytes(port.try_into().ok()?)))
}
