//! The content of files that are unpacked, and how much a layer counts.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufRead;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::image::tarball::list::each;
use crate::image::tarball::{Entry, Extent};

/// From this size on it is looked for room before the first byte is written.
const LARGE_BYTES: u64 = 8 << 20;

/// Where the content of a member is.
pub(crate) enum Content<'a> {
    /// In an archive: the stored bytes of the entry that was read last.
    Stream(&'a mut dyn BufRead),
    /// In memory.
    Bytes(&'a [u8]),
    /// In the file that `copy` makes of the new, empty one.
    Copy(&'a mut dyn FnMut(File) -> Result<File>),
}

/// Writes the content of `entry` into the new file.
pub(super) fn fill(file: File, entry: &Entry, content: Content<'_>) -> Result<File> {
    if entry.size >= LARGE_BYTES && !matches!(content, Content::Copy(_)) {
        ensure_room(&file, entry)?;
    }
    let whole = [Extent {
        offset: 0,
        length: entry.size,
    }];
    let extents = entry.sparse.as_deref().unwrap_or(&whole);
    match content {
        Content::Copy(copy) => return copy(file),
        Content::Bytes(bytes) => {
            debug_assert_eq!(bytes.len() as u64, entry.size);
            file.write_all_at(bytes, 0).context("write a file")?;
        }
        Content::Stream(stream) => {
            for extent in extents {
                write_extent(&file, *extent, stream)?;
            }
        }
    }
    if entry.sparse.is_some() {
        file.set_len(entry.size).context("set the size of a file")?;
    }
    Ok(file)
}

fn write_extent(file: &File, extent: Extent, stream: &mut dyn BufRead) -> Result<()> {
    let (mut offset, mut left) = (extent.offset, extent.length);
    while left > 0 {
        let available = stream.fill_buf().context("read the archive")?;
        ensure!(!available.is_empty(), "the content ends early");
        let count = available
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all_at(&available[..count], offset)
            .context("write a file")?;
        stream.consume(count);
        offset += count as u64;
        left -= count as u64;
    }
    Ok(())
}

/// Asks for the space of a large file, so that one that cannot fit fails before it has filled the disk for everybody.
fn ensure_room(file: &File, entry: &Entry) -> Result<()> {
    let extents = entry.sparse.iter().flatten().map(|extent| extent.length);
    let wanted = match entry.sparse {
        Some(_) => extents.sum(),
        None => entry.size,
    };
    let stat = rustix::fs::fstatvfs(file).context("look for free space")?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if wanted > free {
        return Err(Errno::NOSPC)
            .with_context(|| format!("the file has {wanted} bytes, and {free} are free"));
    }
    Ok(())
}

/// Counts a directory as docker counts a layer: bytes of files and of targets of symlinks, each inode once.
pub(super) fn count(root: BorrowedFd<'_>) -> Result<u64> {
    let mut seen = HashSet::new();
    let mut total = 0;
    each(root, &mut |stat| {
        let counted = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::RegularFile | FileType::Symlink
        );
        if counted && (stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino))) {
            total += u64::try_from(stat.st_size).unwrap_or(0);
        }
    })?;
    Ok(total)
}
