//! A new container's way to the disk, which is gone beside its start: the disk may take longer than the start does.
//!
//! ```text
//! record ─ cached, seen by all ─▶ start ──────────────▶ wait ─▶ the user is told
//!                              └▶ fsync, by a thread ────┘
//! ```
//!
//! What the user was told survives a power cut. A cut that comes before may take the container, or leave a record that
//! cannot be read: lists leave it out with a warning, and `system check --repair` puts it aside.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context as _, Result, anyhow};

/// A record that is to go to the disk. Who drops it waits as well, and errors become warnings.
///
/// One path after the other: the first takes a journal's commit along, and leaves nothing to do for those after it. Side by
/// side each would wait for the disk by itself.
#[derive(Debug, Default)]
#[must_use = "the record survives a power cut only once this has been waited for"]
pub struct Settling {
    thread: Option<JoinHandle<Result<()>>>,
    /// Files and directories that no thread has taken on.
    left: Vec<PathBuf>,
}

impl Settling {
    pub(super) fn new(paths: Vec<PathBuf>) -> Settling {
        Settling {
            thread: None,
            left: paths,
        }
    }

    /// Begins, by a thread, while the caller does something else.
    pub fn begin(mut self) -> Settling {
        let paths = self.left.clone();
        // Without a thread it is done by who waits.
        if !paths.is_empty()
            && let Ok(thread) = Builder::new().spawn(move || sync(&paths))
        {
            self.thread = Some(thread);
            self.left.clear();
        }
        self
    }

    /// Waits until a power cut can do no harm.
    pub fn wait(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        sync(&std::mem::take(&mut self.left))?;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let ended = thread.join();
        ended.map_err(|_| anyhow!("a thread has ended before its work"))?
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::warn!("{error:#}");
        }
    }
}

fn sync(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        match File::open(path).and_then(|file| file.sync_all()) {
            // The container has been removed, and nothing is left to outlive anything.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            synced => synced.with_context(|| format!("bring {} to the disk", path.display()))?,
        }
    }
    Ok(())
}
