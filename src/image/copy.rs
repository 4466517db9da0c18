//! Copying the content of a file without bringing it through this process where the kernel can avoid it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek, sendfile};
use rustix::io::Errno;

/// How much is copied between two calls of the progress.
const STEP_BYTES: u64 = 4 << 20;
/// How much is read at a time where the kernel does not copy.
const BUFFER_BYTES: usize = 256 << 10;

/// Makes the first `size` bytes of `to`, an empty file, those of `from`; holes stay holes.
///
/// What `from` has lost since its size was taken reads as NULs, what it has gained is left out. `copied` is told up to
/// where `to` is final while more is copied.
pub(super) fn copy(
    from: &File,
    to: &File,
    size: u64,
    copied: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    // Shares the blocks (btrfs, xfs, bcachefs): no byte is moved.
    if ioctl_ficlone(to, from).is_ok() {
        return to.set_len(size).context("set the size of a file");
    }
    let mut offset = 0;
    while offset < size {
        let Some((start, end)) = data(from, offset, size)? else {
            break;
        };
        offset = start;
        while offset < end {
            let step = (end - offset).min(STEP_BYTES);
            let count = range(from, to, offset, step)?;
            if count == 0 {
                break;
            }
            offset += count;
            copied(offset)?;
        }
        if offset < end {
            break;
        }
    }
    to.set_len(size).context("set the size of a file")
}

/// Returns the next run of data at or behind `offset`; nothing if only a hole is left.
fn data(file: &File, offset: u64, size: u64) -> Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((offset, size))),
        Err(errno) => return Err(errno).context("look for data"),
    };
    match seek(file, SeekFrom::Hole(start)) {
        Ok(end) => Ok((start < size).then_some((start, end.min(size)))),
        // It was cut off between the two calls.
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno).context("look for a hole"),
    }
}

/// Copies up to `length` bytes at `offset` and returns how many.
fn range(from: &File, to: &File, offset: u64, length: u64) -> Result<u64> {
    let (mut in_offset, mut out_offset) = (offset, offset);
    let wanted = usize::try_from(length).expect("a step fits");
    let unable = |errno| {
        // Between some file systems, and on some, the kernel does not.
        matches!(
            errno,
            Errno::XDEV | Errno::INVAL | Errno::NOTSUP | Errno::NOSYS | Errno::PERM
        )
    };
    match copy_file_range(
        from,
        Some(&mut in_offset),
        to,
        Some(&mut out_offset),
        wanted,
    ) {
        Ok(count) => return Ok(count as u64),
        Err(errno) if unable(errno) => {}
        Err(errno) => return Err(errno).context("copy a file"),
    }
    // One copy from page cache to page cache, across all file systems that have one.
    seek(to, SeekFrom::Start(offset)).context("seek in a file")?;
    match sendfile(to, from, Some(&mut in_offset), wanted) {
        Ok(count) => return Ok(count as u64),
        Err(errno) if unable(errno) => {}
        Err(errno) => return Err(errno).context("copy a file"),
    }
    let mut buffer = vec![0; BUFFER_BYTES.min(wanted)];
    loop {
        match from.read_at(&mut buffer, offset) {
            Ok(count) => {
                to.write_all_at(&buffer[..count], offset)
                    .context("write a file")?;
                return Ok(count as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read a file"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::image::testing::Scratch;

    #[test]
    fn content_and_holes_are_copied() {
        let scratch = Scratch::new("copy");
        let from = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(scratch.0.join("from"))
            .unwrap();
        from.write_all_at(&vec![7; 9 << 20], 5 << 20).unwrap();
        from.write_all_at(b"end", (40 << 20) - 3).unwrap();
        for (name, size) in [("same", 40u64 << 20), ("less", 6 << 20), ("more", 41 << 20)] {
            let path = scratch.0.join(name);
            let to = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
                .unwrap();
            let mut last = 0;
            copy(&from, &to, size, &mut |offset| {
                assert!(offset > last && offset <= size);
                last = offset;
                Ok(())
            })
            .unwrap();
            assert_eq!(path.metadata().unwrap().len(), size);
            let mut expected = std::fs::read(scratch.0.join("from")).unwrap();
            expected.resize(usize::try_from(size).unwrap(), 0);
            assert!(std::fs::read(&path).unwrap() == expected, "{name}");
            assert!(path.metadata().unwrap().blocks() * 512 < 12 << 20, "{name}");
        }
    }
}
