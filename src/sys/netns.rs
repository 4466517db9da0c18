//! Work in another network namespace, and back.
//!
//! A socket stays in the namespace in which it was made, so what must be done inside is short: make it there, use it from
//! anywhere. Only the calling thread goes.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;

use nix::sched::{CloneFlags, setns};

/// Runs `work` with the calling thread in the network namespace `netns`, and returns what it returned.
///
/// Needs CAP_SYS_ADMIN in both namespaces. A thread that cannot come back would make all that follows in the wrong
/// namespace, so the process ends then.
pub fn inside<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
    let own = File::open("/proc/thread-self/ns/net")?;
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    // A guard, so that a panic of `work` comes back too.
    let _back = Back(own);
    Ok(work())
}

struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        if setns(&self.0, CloneFlags::CLONE_NEWNET).is_err() {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    fn current() -> u64 {
        rustix::fs::stat("/proc/thread-self/ns/net").unwrap().st_ino
    }

    #[test]
    fn the_thread_goes_and_comes_back() {
        let (netns, other) = std::thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            (File::open("/proc/thread-self/ns/net").unwrap(), current())
        })
        .join()
        .unwrap();
        let own = current();
        assert_ne!(own, other);
        assert_eq!(inside(netns.as_fd(), current).unwrap(), other);
        assert_eq!(current(), own);
    }
}
