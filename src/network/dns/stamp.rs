//! When to read a file or a directory again.

use std::path::Path;
use std::time::{Duration, SystemTime};

/// Changes that are closer to each other than this may leave the same time: kernels before 6.13 count it in ticks.
const TICK: Duration = Duration::from_millis(50);

/// What told one state of a file or a directory from another when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: (i64, i64),
    inode: u64,
    device: u64,
    bytes: i64,
}

/// What was read once, with what tells whether it still holds.
#[derive(Debug)]
pub(super) struct Cached<T> {
    value: T,
    stamp: Option<Stamp>,
}

impl<T: Default> Default for Cached<T> {
    fn default() -> Cached<T> {
        Cached {
            value: T::default(),
            stamp: None,
        }
    }
}

impl<T> Cached<T> {
    /// Returns the value of `path`, by `read` unless nothing has changed since it was read last.
    pub(super) fn get(&mut self, path: &Path, read: impl FnOnce(&Path) -> T) -> &T {
        let now = Stamp::of(path);
        if now.is_none() || now != self.stamp {
            // Taken before it is read: a change meanwhile is one that the next look sees.
            self.stamp = now.filter(|stamp| stamp.is_settled());
            self.value = read(path);
        }
        &self.value
    }

    /// Returns the value that was read last.
    pub(super) fn last(&self) -> &T {
        &self.value
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let stat = rustix::fs::stat(path).ok()?;
        Some(Stamp {
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            inode: stat.st_ino,
            device: stat.st_dev,
            bytes: stat.st_size,
        })
    }

    /// Returns whether a change from now on is sure to leave another stamp.
    fn is_settled(self) -> bool {
        let (seconds, nanoseconds) = self.modified;
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds))
        else {
            return false;
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        SystemTime::now()
            .duration_since(modified)
            .is_ok_and(|age| age > TICK)
    }
}
