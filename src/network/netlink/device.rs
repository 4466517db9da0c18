//! Devices that move from one network namespace to another (rtnetlink(7)).

use std::os::fd::{AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, Result};

use super::route::{
    GET_ADDRESS, IFA_ADDRESS, IFA_LOCAL, IFLA_IFNAME, IFLA_NET_NS_FD, Prefixed, SET_LINK, address,
    link_header,
};
use super::{Requests, Socket, attribute, number};

const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const SCOPE_UNIVERSE: u8 = 0;

/// Returns the addresses of an interface that do not end by themselves and are valid everywhere.
///
/// Those that are valid on the link only, the kernel makes anew.
pub fn lasting_addresses(socket: &Socket, index: u32) -> Result<Vec<Prefixed>> {
    let mut requests = Requests::default();
    requests.dump(GET_ADDRESS, &[0; 8]);
    let replies = socket.request(requests).context("list the addresses")?;
    let lasting = |(_, body): &(u16, Vec<u8>)| {
        // struct ifaddrmsg
        let (&[_, length, flags, scope], attributes) = (body.first_chunk()?, body.get(8..)?);
        let flags = attribute(attributes, IFA_FLAGS)
            .and_then(number)
            .unwrap_or(flags.into());
        let is_lasting = flags & IFA_F_PERMANENT != 0 && scope == SCOPE_UNIVERSE;
        if number(&body[4..])? != index || !is_lasting {
            return None;
        }
        let local = attribute(attributes, IFA_LOCAL);
        let local = local.or_else(|| attribute(attributes, IFA_ADDRESS))?;
        Some((address(local)?, length))
    };
    Ok(replies.iter().filter_map(lasting).collect())
}

/// Moves the interface `index` into `namespace`, where it is called `name` and is off, without addresses.
///
/// `%d` in the name becomes the first number that is free there. The move comes first: if the name is taken, the
/// interface keeps its old one in the new namespace.
pub fn move_link(socket: &Socket, index: u32, namespace: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut requests = Requests::default();
    requests.add(SET_LINK, 0, &link_header(0, index, 0, 0), |attributes| {
        let namespace = namespace.as_raw_fd().cast_unsigned();
        attributes.u32(IFLA_NET_NS_FD, namespace);
        attributes.text(IFLA_IFNAME, name);
    });
    socket.request(requests).map(drop)
}
