//! What is in a directory, through descriptors.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, openat, statat};

use crate::image::path::{as_path, join, show};
use crate::sys::rooted::Root;

/// Calls `seen` for every file of a tree, without following links; the order is that of the file system.
pub(crate) fn each(root: BorrowedFd<'_>, seen: &mut dyn FnMut(&Stat)) -> Result<()> {
    let mut todo = vec![Vec::new()];
    let handle = Root::from_dir(open_dir(root, b".")?);
    while let Some(path) = todo.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = handle
            .open_direct(as_path(&path), flags)
            .with_context(|| format!("open {:?}", show(&path)))?;
        for (name, _) in names(dir.as_fd())? {
            let stat = statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW)
                .with_context(|| format!("stat {:?}", show(&join(&path, &name))))?;
            seen(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                todo.push(join(&path, &name));
            }
        }
    }
    Ok(())
}

/// Returns the names in a directory with their kinds, which may be unknown.
pub(crate) fn names(dir: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, FileType)>> {
    let mut list = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.context("read the directory")?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            list.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(list)
}

/// Opens the directory `name` in `dir`; a link there is an error.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}
