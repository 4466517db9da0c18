//! A new container's way to the disk, which is gone beside its start: the disk may take longer than the start does.
//!
//! ```text
//! record ─ cached, seen by all ─▶ start ──────────────▶ wait ─▶ the user is told
//!                              └▶ fsync, by threads ─────┘
//! ```
//!
//! What the user was told survives a power cut. A cut that comes before may take the container, or leave a record that
//! cannot be read: lists leave it out with a warning, and `system check --repair` puts it aside.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context as _, Result, anyhow};

/// A record that is to go to the disk. Who drops it waits as well, and errors become warnings.
#[derive(Debug, Default)]
#[must_use = "the record survives a power cut only once this has been waited for"]
pub struct Settling {
    threads: Vec<JoinHandle<Result<()>>>,
    /// Files and directories that no thread has taken on.
    left: Vec<PathBuf>,
}

impl Settling {
    pub(super) fn new(paths: Vec<PathBuf>) -> Settling {
        Settling {
            threads: Vec::new(),
            left: paths,
        }
    }

    /// Begins, by a thread for each, while the caller does something else: a disk brings several to rest in the time of one.
    pub fn begin(mut self) -> Settling {
        self.spawn(0);
        self
    }

    /// Waits until a power cut can do no harm.
    pub fn wait(mut self) -> Result<()> {
        self.join()
    }

    /// Hands all but `own` paths to threads.
    fn spawn(&mut self, own: usize) {
        let others = self.left.split_off(own.min(self.left.len()));
        for path in others {
            let other = path.clone();
            match Builder::new().spawn(move || sync(&other)) {
                Ok(thread) => self.threads.push(thread),
                // Without a thread it is done by who waits.
                Err(_) => self.left.push(path),
            }
        }
    }

    fn join(&mut self) -> Result<()> {
        self.spawn(1);
        let mut result = self.left.drain(..).try_for_each(|path| sync(&path));
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            let synced = ended.map_err(|_| anyhow!("a thread has ended before its work"));
            result = result.and(synced.and_then(|synced| synced));
        }
        result
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::warn!("{error:#}");
        }
    }
}

fn sync(path: &Path) -> Result<()> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // The container has been removed, and nothing is left to outlive anything.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        synced => synced.with_context(|| format!("bring {} to the disk", path.display())),
    }
}
