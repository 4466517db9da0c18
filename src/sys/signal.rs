//! Signals: sent by pidfd, set back for a new program, waited for by an init.
#![expect(
    unsafe_code,
    reason = "signal numbers beyond the named ones, and dispositions, have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::sys::signal::SigSet;
use rustix::process::Pid;

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

/// Sends as [`send_signal`] does; to a process that has ended nothing needs to be said.
pub fn signal_if_alive(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    match send_signal(pidfd, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// Sends signal number `signal` to process `pid`, which must be a child that was not yet waited for.
pub fn send_to_child(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only, which the kernel checks.
    match unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the disposition of every signal back to the default one, as a program expects it at its start; CLONE_CLEAR_SIGHAND
/// leaves ignored ones (Rust ignores SIGPIPE, nohup SIGHUP).
pub fn default_signals() {
    /// Bytes of the kernel's set of signals.
    const SET_SIZE: usize = 8;
    // `struct sigaction` of the kernel, whatever the order of its four words: all zero is SIG_DFL without flags. The one of
    // libc hides the two signals that libc keeps for itself.
    let default = [0_u64; 4];
    let nothing: *mut libc::c_void = std::ptr::null_mut();
    // Those that cannot be changed say EINVAL.
    for signal in 1..=64 {
        // SAFETY: `default` is as large as the kernel's struct and outlives the call, nothing is written back, and the
        // default disposition runs no code of this process.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                nothing,
                SET_SIZE,
            )
        };
    }
}

/// Unblocks every signal.
pub fn unblock_signals() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Blocks every signal that can be blocked.
pub fn block_signals() -> io::Result<()> {
    Ok(SigSet::all().thread_set_mask()?)
}

/// Waits for a blocked signal and returns its number.
pub fn wait_for_signal() -> io::Result<i32> {
    let all = SigSet::all();
    let nothing: *mut libc::siginfo_t = std::ptr::null_mut();
    // SAFETY: the set is a valid one that outlives the call, and no information is asked for.
    match unsafe { libc::sigwaitinfo(all.as_ref(), nothing) } {
        -1 => Err(io::Error::last_os_error()),
        signal => Ok(signal),
    }
}
