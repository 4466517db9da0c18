//! A thread whose umask, working directory, mounts or network are its own.
//!
//! The umask and the working directory belong to the whole process unless a thread leaves that sharing (CLONE_FS), which
//! every thread may do for itself. Code that unpacks layers needs umask 0 and may run beside code that needs another.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;
use rustix::io::Errno;

/// How often it is looked at once, before there are pauses, whether the kernel has forgotten a thread that has ended.
const LOOKS_AT_ONCE: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);

/// Runs `work` on a thread of its own with umask 0, and returns what it returned.
///
/// When this returns the thread is gone from the process's list of threads too, so a caller with one thread may go on
/// with [`crate::sys::clone::clone`]. A panic of `work` goes on in the caller.
pub fn with_own_umask<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(CloneFlags::CLONE_FS, || {
        rustix::process::umask(Mode::empty());
        work()
    })
}

/// Runs `work` on a thread in a new mount namespace, a copy of the caller's, from which no mount event gets out.
///
/// The namespace ends with the thread, however that ends, and with it every mount made in it. Needs CAP_SYS_ADMIN.
pub fn with_own_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS, || {
        use rustix::mount::{MountPropagationFlags, mount_change};
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private)?;
        Ok(work())
    })?
}

/// Runs `work` on a thread in the mount namespace `namespace`, whose root is then the thread's.
///
/// Needs CAP_SYS_ADMIN and CAP_SYS_CHROOT.
pub fn with_mounts_of<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    apart(CloneFlags::CLONE_FS, || {
        nix::sched::setns(namespace, CloneFlags::CLONE_NEWNS)?;
        Ok(work())
    })?
}

/// Runs `work` on a thread in a new network namespace, in which there is nothing but a loopback interface that is down.
///
/// The namespace ends with the thread, unless something made in it lives on. Needs CAP_SYS_ADMIN.
pub fn with_own_network<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    apart(CloneFlags::CLONE_NEWNET, work)
}

fn apart<T: Send>(flags: CloneFlags, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, move || {
            unshare(flags)?;
            Ok((rustix::thread::gettid(), work()))
        })?;
        match thread.join() {
            Ok(Ok((id, value))) => {
                wait_until_gone(id)?;
                Ok(value)
            }
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A joined thread has run its last user code, but stays in /proc/self/task until the kernel has released it. That takes
/// microseconds, unless mounts end with it: the end of an overlay that was written to waits for the disk, however slow.
fn wait_until_gone(id: rustix::thread::Pid) -> io::Result<()> {
    let task = format!("/proc/self/task/{}", id.as_raw_nonzero());
    let mut looks = 0;
    loop {
        match rustix::fs::stat(&task) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
            Ok(_) if looks < LOOKS_AT_ONCE => std::thread::yield_now(),
            Ok(_) => std::thread::sleep(PAUSE),
        }
        looks = looks.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_umask_of_others_stays() {
        // On a thread of its own, since other tests create files meanwhile.
        let strict = Mode::from_raw_mode(0o077);
        with_own_umask(|| {
            rustix::process::umask(strict);
            let inner = with_own_umask(|| rustix::process::umask(Mode::empty())).unwrap();
            assert_eq!(inner, Mode::empty());
            assert_eq!(rustix::process::umask(strict), strict);
        })
        .unwrap();
    }

    #[test]
    fn mounts_stay_inside() {
        let dir = std::env::temp_dir().join(format!("aril-thread-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        with_own_mounts(|| {
            use rustix::mount::{MountFlags, mount};
            mount("none", &dir, "tmpfs", MountFlags::empty(), None).unwrap();
            std::fs::write(dir.join("x"), "").unwrap();
        })
        .unwrap();
        // Not removable if something were mounted on it.
        std::fs::remove_dir(&dir).unwrap();
    }
}
