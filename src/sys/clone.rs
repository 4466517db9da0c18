//! `clone3` into namespaces and a cgroup, with a pidfd.
//!
//! The child is a plain copy-on-write copy of the caller, like after `fork`; that is sound in Rust only if the caller has
//! one thread, which is checked. Kernel 5.5 (CLONE_CLEAR_SIGHAND); CLONE_INTO_CGROUP 5.7.
#![expect(unsafe_code, reason = "clone3 has no safe wrapper in nix or rustix")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::process::Pid;

/// What the new process starts with.
#[derive(Debug, Default)]
pub struct CloneOptions<'a> {
    /// CLONE_NEW* bits of `libc`; CLONE_NEWCGROUP is better left to the child, after it has joined its cgroup.
    pub namespaces: i32,
    /// A directory of the cgroup2 hierarchy to start in (kernel 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether the caller's parent becomes the parent of the new process too, and is the one to wait for it.
    pub sibling: bool,
}

/// A child process that was not yet waited for.
#[derive(Debug)]
pub struct Child {
    /// Its id in the caller's pid namespace; valid until it is waited for.
    pub pid: Pid,
    /// Refers to the process whatever becomes of its id.
    pub pidfd: OwnedFd,
}

/// `struct clone_args`, version 2 (kernel 5.7, include/uapi/linux/sched.h).
#[repr(C, align(8))]
#[derive(Default)]
struct Arguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Starts a process that runs `child` and, if that comes back instead of ending in `execve`, exits with what it returned.
///
/// The child has the default disposition for every signal, and the caller's signal mask. Fails with `EDEADLK`, before
/// anything was done, if the caller has more than one thread.
pub fn clone(options: &CloneOptions<'_>, child: impl FnOnce() -> i32) -> io::Result<Child> {
    if thread_count()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK));
    }
    let mut pidfd: libc::c_int = -1;
    let mut arguments = Arguments {
        flags: u64::from(options.namespaces.cast_unsigned()) | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Arguments::default()
    };
    if options.sibling {
        // The exit signal is the caller's own; stating one is EINVAL.
        arguments.flags |= CLONE_PARENT;
        arguments.exit_signal = 0;
    }
    if let Some(cgroup) = options.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `arguments` is a valid clone_args of the size that is passed, and lives over the call; the kernel writes the
    // pidfd through the one pointer in it, which is to a live c_int. No stack and no CLONE_VM are given, so the child has
    // its own copy of this stack and goes on here, as after fork. The caller has one thread (checked above), so no lock of
    // the allocator or of libc can be held by a thread that does not exist in the child.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<Arguments>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(child()),
        pid => {
            // SAFETY: the kernel has just made this descriptor (CLONE_PIDFD) and nothing else knows its number.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
            Ok(Child { pid, pidfd })
        }
    }
}

/// Starts a process as [`clone`] does, with nothing but what every filter of system calls allows: no pidfd, no check.
///
/// Only for a process that is itself the single-threaded child of [`clone`]; it may have no /proc any more.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the caller has one thread (it is the child of `clone`), so the copy finds no lock held by another.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(child()),
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Returns how many threads this process has.
pub fn thread_count() -> io::Result<usize> {
    // Every thread is a link of the directory, besides `.` and `..`.
    Ok(
        usize::try_from(rustix::fs::stat("/proc/self/task")?.st_nlink)
            .unwrap_or(usize::MAX)
            .saturating_sub(2),
    )
}

/// Ends this process at once, without running destructors or exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any value, does not return, and runs no code of this process.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_refused() {
        // The test runner itself has threads, so this always shows the check.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().is_ok());
        assert!(thread_count().unwrap() >= 2);
        let error = clone(&CloneOptions::default(), || 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
        drop(release);
        thread.join().unwrap();
    }
}
