//! A message with descriptors over a unix socket.
//!
//! Works on SOCK_SEQPACKET sockets, where one send is one receive; descriptors arrive close-on-exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};

/// The most descriptors that one message carries.
pub const DESCRIPTORS_MAX: usize = 16;

/// Sends `message`, which must not be empty, with copies of `descriptors`, at most [`DESCRIPTORS_MAX`].
///
/// A peer that is gone is `EPIPE`, never a signal.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(
            socket,
            &[IoSlice::new(message)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )
    })?;
    if sent == message.len() {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
    }
}

/// Receives one message of at most `max_bytes` with its descriptors; nothing when the peer has closed.
///
/// A longer message, or one with more descriptors than fit, is `EMSGSIZE`.
pub fn receive(
    socket: BorrowedFd<'_>,
    max_bytes: usize,
) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    // Room for what there is, not for what there may be: zeros take time. A stream does not say how much there is.
    let (_, length) = rustix::io::retry_on_intr(|| {
        recv(socket, &mut [0; 0], RecvFlags::PEEK | RecvFlags::TRUNC)
    })?;
    let room = if length == 0 {
        max_bytes
    } else {
        length.min(max_bytes)
    };
    let mut bytes = vec![0; room];
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    #[test]
    fn a_message_brings_its_descriptors_and_its_end() {
        let (left, right) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        send(left.as_fd(), b"hello", &[writer.as_fd()]).unwrap();
        drop(writer);
        let (message, mut descriptors) = receive(right.as_fd(), 64).unwrap().unwrap();
        assert_eq!(message, b"hello");
        assert_eq!(descriptors.len(), 1);
        let mut file = std::fs::File::from(descriptors.remove(0));
        file.write_all(b"x").unwrap();
        drop(file);
        let mut text = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        drop(left);
        assert!(receive(right.as_fd(), 64).unwrap().is_none());
    }

    #[test]
    fn a_message_that_is_too_long_is_an_error() {
        let (left, right) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        send(left.as_fd(), &[7; 100], &[]).unwrap();
        assert_eq!(
            receive(right.as_fd(), 64).unwrap_err().raw_os_error(),
            Some(libc::EMSGSIZE)
        );
    }
}
