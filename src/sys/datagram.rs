//! Datagrams with the local address that they came to and go out from.
//!
//! A server on the unspecified address must answer from the address that its client asked (IP_PKTINFO, IPV6_PKTINFO), or
//! the client takes the answer for somebody else's.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike as _, SockaddrStorage, recvmsg,
    sendmsg, setsockopt, sockopt,
};

/// The local end of a datagram: its address, and for IPv6 the interface, which a link-local address is nothing without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address on this machine.
    pub address: IpAddr,
    /// The number of the interface; zero leaves the choice to the routes.
    pub interface: u32,
}

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length, in the buffer that was given.
    pub bytes: usize,
    /// Its sender.
    pub from: SocketAddr,
    /// The address that it was sent to; none if [`tell_local`] was not called before it came.
    pub to: Option<Local>,
}

/// Makes [`receive`] tell the local address of every datagram.
pub fn tell_local(socket: BorrowedFd<'_>, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    Ok(())
}

/// Receives one datagram into `buffer`, without waiting; what does not fit is cut off.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let unknown = || io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
    let from = message
        .address
        .as_ref()
        .and_then(socket_address)
        .ok_or_else(unknown)?;
    let to = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local {
            address: Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into(),
            interface: 0,
        }),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Local {
            address: Ipv6Addr::from(info.ipi6_addr.s6_addr).into(),
            interface: info.ipi6_ifindex,
        }),
        _ => None,
    });
    Ok(Received {
        bytes: message.bytes,
        from,
        to,
    })
}

/// Sends one datagram to `to` from the local address `from`, without waiting.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    to: SocketAddr,
    from: Option<Local>,
) -> io::Result<()> {
    let v4;
    let v6;
    let message = match from.map(|local| (local.address, local.interface)) {
        Some((IpAddr::V4(address), _)) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from(address).to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some((IpAddr::V6(address), interface)) => {
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: address.octets(),
                },
                ipi6_ifindex: interface,
            };
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
        None => None,
    };
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        message.as_slice(),
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        Some(&SockaddrStorage::from(to)),
    )?;
    Ok(())
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    match address.family()? {
        nix::sys::socket::AddressFamily::Inet => {
            address.as_sockaddr_in().map(|address| (*address).into())
        }
        nix::sys::socket::AddressFamily::Inet6 => {
            address.as_sockaddr_in6().map(|address| (*address).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    fn check(wildcard: &str, local: IpAddr) {
        let server = UdpSocket::bind(wildcard).unwrap();
        tell_local(server.as_fd(), local.is_ipv6()).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind((local, 0)).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        client.send_to(b"hello", (local, port)).unwrap();
        let mut buffer = [0; 16];
        server.peek_from(&mut buffer).unwrap();
        let received = receive(server.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..received.bytes], b"hello");
        assert_eq!(received.from, client.local_addr().unwrap());
        assert_eq!(received.to.unwrap().address, local);
        send(server.as_fd(), b"world", received.from, received.to).unwrap();
        let (bytes, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..bytes], b"world");
        assert_eq!(from, SocketAddr::new(local, port));
    }

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        check("0.0.0.0:0", "127.0.0.5".parse().unwrap());
        check("[::]:0", "::1".parse().unwrap());
    }
}
