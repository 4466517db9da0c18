//! Netlink sockets (netlink(7)): open one with the options that make its errors readable, send, receive.
//!
//! A socket speaks to the network namespace in which it was opened, wherever its user goes.
#![expect(
    unsafe_code,
    reason = "the options of netlink sockets have no safe wrapper in nix or rustix"
)]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

/// Whom a socket speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// rtnetlink(7): links, addresses, routes.
    Route,
    /// nfnetlink: nf_tables and connection tracking.
    Netfilter,
}

/// Opens a socket in the network namespace of the calling thread.
pub fn open(protocol: Protocol) -> io::Result<OwnedFd> {
    let protocol = match protocol {
        Protocol::Route => None,
        Protocol::Netfilter => Some(netlink::NETFILTER),
    };
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )?;
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let on: libc::c_int = 1;
        // SAFETY: the socket is open, and the kernel reads one int, which lives over the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default(),
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(socket)
}

/// Opens a socket that is told of what is removed from the rules of the calling thread's network namespace, by whomever.
///
/// One notice stands for one or several things that were removed together; it is [`receive`]d like an answer. What is only
/// added wakes nobody: each start of a container adds rules, and each monitor has such a socket.
pub fn open_removals() -> io::Result<OwnedFd> {
    /// The multicast group of nf_tables (NFNLGRP_NFTABLES, the seventh) as a bit.
    const GROUP: u32 = 1 << 6;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )?;
    drop_additions(socket.as_fd())?;
    rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUP))?;
    Ok(socket)
}

/// Makes a socket drop notices that do not begin with a removal.
fn drop_additions(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// Where the kind of the message is within its header, and of that the half without the subsystem.
    const KIND: u32 = if cfg!(target_endian = "little") { 4 } else { 5 };
    /// Removals of tables, chains, rules, sets, elements, objects, flow tables (NFT_MSG_DEL…).
    const REMOVALS: [u32; 7] = [2, 5, 8, 11, 14, 20, 24];
    let instruction = |code: u32, k: u32, jt: usize| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: u8::try_from(jt).unwrap_or_default(),
        jf: 0,
        k,
    };
    let count = REMOVALS.len();
    let mut program = vec![instruction(
        libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
        KIND,
        0,
    )];
    let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    // From each to the last instruction, over those that follow and the one that drops.
    program.extend(
        REMOVALS
            .iter()
            .enumerate()
            .map(|(at, kind)| instruction(jump, *kind, count - at)),
    );
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, u32::MAX, 0));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or_default(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the socket is open; the kernel reads one sock_fprog and copies the `len` instructions that it points to, all
    // of which live over the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            libc::socklen_t::try_from(size_of_val(&filter)).unwrap_or_default(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends requests, which the kernel has carried out when this returns; what it says of them waits to be received.
pub fn send(socket: BorrowedFd<'_>, requests: &[u8]) -> io::Result<()> {
    let sent =
        rustix::io::retry_on_intr(|| rustix::net::send(socket, requests, SendFlags::empty()))?;
    if sent == requests.len() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
    }
}

/// Receives one datagram into `buffer` and returns its length; without `wait`, none is `EAGAIN`.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
    let flags = if wait {
        RecvFlags::TRUNC
    } else {
        RecvFlags::TRUNC | RecvFlags::DONTWAIT
    };
    let (_, length) = rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut *buffer, flags))?;
    if length > buffer.len() {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered() {
        let socket = open(Protocol::Route).unwrap();
        // RTM_GETLINK of the link with index 1, which every namespace has: header, then struct ifinfomsg.
        let mut request = Vec::new();
        request.extend(32_u32.to_ne_bytes());
        request.extend(18_u16.to_ne_bytes());
        request.extend(1_u16.to_ne_bytes());
        request.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        request.extend([0, 0, 0, 0]);
        request.extend(1_i32.to_ne_bytes());
        request.extend([0; 8]);
        send(socket.as_fd(), &request).unwrap();
        let mut buffer = vec![0; 32 << 10];
        let length = receive(socket.as_fd(), &mut buffer, true).unwrap();
        assert!(length > 32);
        assert_eq!(buffer[4..6], 16_u16.to_ne_bytes());
        let none = receive(socket.as_fd(), &mut buffer, false).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::EAGAIN));
    }
}
