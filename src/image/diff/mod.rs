//! What a container has changed: its upper directory, seen from the layers below.
//!
//! The layers below are mounted read-only for the time of the look, so overlayfs itself says what they show at a path. The
//! upper directory is only read; the container may be running, and then what is found is what was there when it was
//! looked at.

pub mod commit;
pub mod content;

use std::collections::HashSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, FileType, OFlags, Stat, statat};
use rustix::io::Errno;

use super::apply;
use super::path::{as_path, clean, join, show};
use super::snapshot::overlay;
use super::tarball::list::names;
use crate::sys::rooted::Root;

/// A container's file system, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// What is below, the topmost first: [`crate::image::snapshot::lowers`].
    pub lowers: &'a [PathBuf],
    /// What the container wrote.
    pub upper: &'a Path,
    /// Paths in the container that are not its own: mount points, and files that are mounted. What is below them does not
    /// count either.
    pub excluded: &'a [PathBuf],
}

impl Changed<'_> {
    fn excluded(&self) -> Result<HashSet<Vec<u8>>> {
        let paths = self.excluded.iter();
        let cleaned = paths.map(|path| clean(path.as_os_str().as_bytes()));
        // The root itself is no path that could be left out.
        cleaned
            .filter(|path| !path.as_ref().is_ok_and(Vec::is_empty))
            .collect()
    }
}

/// How a path has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was there before.
    Modified,
    /// It was not there before.
    Added,
    /// It is not there any more.
    Deleted,
}

/// One line of `diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Where, from the root of the container: `/etc/passwd`; any bytes.
    pub path: PathBuf,
}

/// Returns what has changed, sorted by path.
///
/// A directory counts as modified if something in it has changed, or if it has itself. Of what was deleted the topmost
/// path is named.
pub fn changes(changed: Changed<'_>) -> Result<Vec<Change>> {
    Ok(Look::all(changed)?.changes())
}

struct Look {
    below: Root,
    upper: Root,
    excluded: HashSet<Vec<u8>>,
    found: Vec<(ChangeKind, Vec<u8>)>,
}

impl Look {
    /// Looks at everything.
    fn all(changed: Changed<'_>) -> Result<Look> {
        let mut look = Look {
            below: Root::from_dir(overlay::mount(changed.lowers, None)?),
            upper: Root::open(changed.upper)
                .with_context(|| format!("open {}", changed.upper.display()))?,
            excluded: changed.excluded()?,
            found: Vec::new(),
        };
        look.directory(b"", true)?;
        look.found.sort_unstable_by(|a, b| a.1.cmp(&b.1));
        Ok(look)
    }

    fn changes(&self) -> Vec<Change> {
        let lines = self.found.iter().map(|(kind, path)| Change {
            kind: *kind,
            path: Path::new("/").join(as_path(path)),
        });
        lines.collect()
    }

    /// Looks at a directory of the upper; `was` says whether it was a directory before. Returns whether anything in it has
    /// changed.
    fn directory(&mut self, path: &[u8], was: bool) -> Result<bool> {
        let context = || format!("look at {:?}", show(path));
        let dir = match open(&self.upper, path) {
            // It went away meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
            other => other.with_context(context)?,
        };
        let list = names(dir.as_fd()).with_context(context)?;
        let before = self.found.len();
        if was && apply::is_opaque(dir.as_fd()).with_context(context)? {
            self.hidden(path, &list)?;
        }
        for (name, listed) in list {
            let child = join(path, &name);
            if self.excluded.contains(&child) {
                continue;
            }
            // What is in a new directory is new. Then only what may be a whiteout has to be looked at.
            let is_told = !matches!(listed, FileType::CharacterDevice | FileType::Unknown);
            if !was && is_told {
                self.added(child, listed)?;
            } else if let Some(stat) = stat(dir.as_fd(), &name).with_context(context)? {
                let before = if was { self.before(&child)? } else { None };
                self.file(child, &stat, before)?;
            }
        }
        Ok(self.found.len() > before)
    }

    fn added(&mut self, path: Vec<u8>, kind: FileType) -> Result<()> {
        if kind == FileType::Directory {
            self.directory(&path, false)?;
        }
        self.found.push((ChangeKind::Added, path));
        Ok(())
    }

    fn file(&mut self, path: Vec<u8>, stat: &Stat, before: Option<Stat>) -> Result<()> {
        let was = before.as_ref().map(kind);
        if apply::is_whiteout(stat) {
            if was.is_some() {
                self.found.push((ChangeKind::Deleted, path));
            }
            return Ok(());
        }
        let is_directory = kind(stat) == FileType::Directory;
        let was_directory = was == Some(FileType::Directory);
        let inside = is_directory && self.directory(&path, was_directory)?;
        // A parent that was only copied up to change something that is excluded.
        if is_directory
            && was_directory
            && !inside
            && before.is_some_and(|before| same(&before, stat))
        {
            return Ok(());
        }
        let change = match was {
            Some(_) => ChangeKind::Modified,
            None => ChangeKind::Added,
        };
        self.found.push((change, path));
        Ok(())
    }

    /// Notes what an opaque directory hides, which nobody has deleted by name.
    fn hidden(&mut self, path: &[u8], list: &[(Vec<u8>, FileType)]) -> Result<()> {
        let now: HashSet<&Vec<u8>> = list.iter().map(|(name, _)| name).collect();
        let below = open(&self.below, path).with_context(|| format!("open {:?}", show(path)))?;
        for (name, _) in names(below.as_fd())? {
            let child = join(path, &name);
            if !now.contains(&name) && !self.excluded.contains(&child) {
                self.found.push((ChangeKind::Deleted, child));
            }
        }
        Ok(())
    }

    fn before(&self, path: &[u8]) -> Result<Option<Stat>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match self.below.open_direct(as_path(path), flags) {
            Ok(file) => Ok(Some(rustix::fs::fstat(&file).context("stat")?)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Ok(None),
                _ => Err(error).with_context(|| format!("look for {:?}", show(path))),
            },
        }
    }
}

fn open(root: &Root, path: &[u8]) -> std::io::Result<OwnedFd> {
    root.open_direct(as_path(path), OFlags::RDONLY | OFlags::DIRECTORY)
}

fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).context("stat"),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn same(a: &Stat, b: &Stat) -> bool {
    let key = |stat: &Stat| {
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_mode, stat.st_uid, stat.st_gid, time)
    };
    key(a) == key(b)
}

#[cfg(test)]
mod tests;
