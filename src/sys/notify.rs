//! The other end of a filter of system calls: what an agent does with the listener that a runtime has sent to it
//! (seccomp_unotify(2)).
#![expect(
    unsafe_code,
    reason = "the listener's ioctls have no safe wrapper in nix or rustix"
)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names the call.
    pub id: u64,
    /// Who makes it, in the agent's pid namespace; only valid while [`is_pending`] says so.
    pub pid: u32,
    /// The number of the call.
    pub number: i32,
    /// Its arguments; pointers are the caller's.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel carries it out.
    Continue,
    /// It is done already, and returns 0.
    Done,
    /// It fails with this error number.
    Fails(i32),
}

/// Waits for a call (kernel 5.0). Fails with `ENOENT` if its caller was killed meanwhile.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: the structure is numbers only, for which zero is a value; the kernel insists on it.
    let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
    // SAFETY: the request writes one seccomp_notif, which is what it is given; the listener is open (borrowed).
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut call,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Notification {
        id: call.id,
        pid: call.pid,
        number: call.data.nr,
        arguments: call.data.args,
    })
}

/// Returns whether the call still waits, so that its process is the one that made it.
pub fn is_pending(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the request reads one u64, which lives over the call; the listener is open (borrowed).
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const id,
        )
    };
    result == 0
}

/// Answers a call. Fails with `ENOENT` if nobody waits for it any more.
pub fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let (error, flags) = match answer {
        Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE),
        Answer::Done => (0, 0),
        Answer::Fails(errno) => (-errno, 0),
    };
    let mut response = libc::seccomp_notif_resp {
        id,
        val: 0,
        error,
        flags: u32::try_from(flags).unwrap_or(0),
    };
    // SAFETY: the request reads one seccomp_notif_resp, which lives over the call; the listener is open (borrowed).
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut response,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
