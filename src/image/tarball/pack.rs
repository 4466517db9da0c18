//! A directory → the bytes of its archive.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};

use super::tree::{Options, members};
use super::{Entry, write};
use crate::image::path::show;

/// How much of a file is read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// The size of the archive of a tree, and whether there is anything in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Members.
    pub entries: u64,
    /// Bytes of the archive.
    pub size: u64,
}

/// Writes the archive of a tree to `output`.
pub fn pack(root: BorrowedFd<'_>, options: Options<'_>, output: &mut dyn Write) -> Result<Written> {
    pack_from(&mut |put| members(root, options, put), output)
}

/// Takes one member, with the open file if it has content.
pub type Put<'a> = dyn FnMut(Entry, Option<File>) -> Result<()> + 'a;

/// Writes the archive of the members that `source` puts to `output`.
pub fn pack_from(
    source: &mut dyn FnMut(&mut Put<'_>) -> Result<()>,
    output: &mut dyn Write,
) -> Result<Written> {
    let mut written = Written::default();
    let mut block = Vec::with_capacity(2 * BUFFER_BYTES);
    source(&mut |entry, file| {
        // Headers and small files go out together.
        write::header(&mut block, &entry)?;
        let mut left = entry.size;
        if let Some(file) = file {
            while left > 0 {
                let count = read_onto(&mut block, &file, left)
                    .with_context(|| format!("read {:?}", show(&entry.path)))?;
                if count == 0 {
                    break;
                }
                flush(&mut block, output, &mut written, BUFFER_BYTES)?;
                left -= count;
            }
        }
        if left > 0 {
            tracing::warn!(path = %show(&entry.path), "the file shrank while it was read");
            flush(&mut block, output, &mut written, 0)?;
            write::zeros(output, left)?;
            written.size += left;
        }
        block.resize(block.len() + write::padding(entry.size), 0);
        written.entries += 1;
        flush(&mut block, output, &mut written, BUFFER_BYTES)
    })?;
    block.extend_from_slice(&write::END);
    flush(&mut block, output, &mut written, 0)?;
    Ok(written)
}

/// Reads on in `file`, onto the end of `block`; returns how many bytes, at most `left`.
fn read_onto(block: &mut Vec<u8>, file: &File, left: u64) -> rustix::io::Result<u64> {
    block.reserve(BUFFER_BYTES);
    let start = block.len();
    let read = || rustix::io::read(file, rustix::buffer::spare_capacity(block));
    rustix::io::retry_on_intr(read)?;
    // It may have grown since its size was written.
    let wanted = usize::try_from(left).unwrap_or(usize::MAX);
    block.truncate(start.saturating_add(wanted));
    Ok((block.len() - start) as u64)
}

fn flush(
    block: &mut Vec<u8>,
    output: &mut dyn Write,
    written: &mut Written,
    keep: usize,
) -> Result<()> {
    if block.len() > keep || (keep == 0 && !block.is_empty()) {
        output.write_all(block).context("write the archive")?;
        written.size += block.len() as u64;
        block.clear();
    }
    Ok(())
}
