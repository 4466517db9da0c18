//! Directories for work in progress, and who deletes what others left behind.
//!
//! A working directory is locked by whoever works in it. The lock ends with the process, so a directory whose lock can be
//! taken is a dead one: the next operation that changes the store removes it, and empties the trash as well. So a process
//! may be killed at any line and leaves nothing that stays.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::apply::remove_all;
use crate::dirs::Dirs;
use crate::store::{DRAFT_PREFIX, try_lock_directory, unique};
use anyhow::{Context as _, Result};

/// What the names of our directories in `tmp/` begin with; others have their own.
const PREFIX: &str = "image-";
/// What has been in the trash for so long is not being deleted by anybody.
const TRASH_MAX_AGE: Duration = Duration::from_secs(60);

/// A private directory, empty at first and removed when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    _lock: File,
}

impl WorkDir {
    /// Makes a new one.
    pub(crate) fn new(dirs: &Dirs) -> Result<WorkDir> {
        loop {
            let path = dirs.tmp().join(format!("{PREFIX}{}", unique()));
            let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
            match made {
                // Left by a process that had our process's id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.with_context(|| format!("make {}", path.display()))?,
            }
            // Between the two calls somebody may have taken it for a dead one.
            if let Some(lock) = try_lock_directory(&path)? {
                return Ok(WorkDir { path, _lock: lock });
            }
        }
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it that everybody may enter, whatever the umask.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir(&path)
            .and_then(|()| {
                let mode = rustix::fs::Mode::from_raw_mode(0o755);
                Ok(rustix::fs::chmod(&path, mode)?)
            })
            .with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.path) {
            tracing::warn!(path = %self.path.display(), "leave a working directory: {error}");
        }
    }
}

/// Removes what dead processes left in progress, and what waits in the trash.
///
/// Needs no lock of the store: what it removes belongs to nobody.
pub(crate) fn tidy(dirs: &Dirs) -> Result<()> {
    remove_dead(dirs)?;
    for path in list(&dirs.trash())? {
        remove_all(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// As [`tidy`], but leaves what somebody may be deleting just now: two readings of a directory, if there is nothing to do.
pub(crate) fn tidy_old(dirs: &Dirs) -> Result<()> {
    remove_dead(dirs)?;
    for path in list(&dirs.trash())? {
        // Moving it there has changed its inode.
        let moved = std::fs::symlink_metadata(&path)
            .map(|meta| UNIX_EPOCH + Duration::from_secs(meta.ctime().try_into().unwrap_or(0)));
        let age = moved.map(|moved| moved.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age > TRASH_MAX_AGE) {
            remove_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn remove_dead(dirs: &Dirs) -> Result<()> {
    for path in list(&dirs.tmp())? {
        let ours = path.file_name().is_some_and(|name| {
            let bytes = name.as_encoded_bytes();
            [PREFIX, DRAFT_PREFIX]
                .iter()
                .any(|prefix| bytes.starts_with(prefix.as_bytes()))
        });
        if ours && let Some(_lock) = try_lock_directory(&path)? {
            remove_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Returns the paths of what is in a directory; nothing if there is no such directory.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.with_context(|| format!("list {}", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::Scratch;

    #[test]
    fn the_living_are_left_alone() {
        let scratch = Scratch::new("work");
        let dirs = Dirs::new(scratch.0.join("data"), scratch.0.join("run"));
        dirs.create().unwrap();
        let alive = WorkDir::new(&dirs).unwrap();
        std::fs::create_dir(alive.make("x").unwrap().join("y")).unwrap();
        let dead = dirs.tmp().join("image-dead");
        std::fs::create_dir_all(dead.join("deep")).unwrap();
        let foreign = dirs.tmp().join("other");
        std::fs::create_dir(&foreign).unwrap();
        std::fs::write(dirs.trash().join("1"), "").unwrap();
        tidy(&dirs).unwrap();
        assert!(alive.path().join("x/y").exists() && foreign.exists());
        assert!(!dead.exists() && list(&dirs.trash()).unwrap().is_empty());
        let path = alive.path().to_path_buf();
        drop(alive);
        assert!(!path.exists());
    }
}
