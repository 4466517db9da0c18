//! Signals by pidfd, descriptors over an exec.
#![expect(
    unsafe_code,
    reason = "pidfd_send_signal takes any signal number, and close_range has no safe wrapper"
)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

/// Sends signal number `signal` (0 only asks whether the process exists) to the process behind `pidfd` (kernel 5.1).
///
/// Fails with `ESRCH` once the process has been waited for or is a zombie's reaped id.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor is open (borrowed), a null siginfo is allowed, and any signal number is checked by the kernel.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Marks every descriptor from `first` on close-on-exec (kernel 5.11), so that an exec passes on only lower ones.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let first =
        libc::c_uint::try_from(first).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: setting FD_CLOEXEC closes nothing now; no descriptor of this process changes its owner or its meaning.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
