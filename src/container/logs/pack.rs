//! Turned over files of a log, compressed: `X.1` becomes `X.1.gz`, a little with everything that is written.
//!
//! The writer's process has one thread, which must not stand still for a large file: each write takes the compression of the
//! file before it a step further, and is done long before the next turn. A file that a monitor has left half done stays as it
//! is, and the next one begins again with it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

const CHUNK_BYTES: usize = 64 << 10;
/// How much more is read of the file that is compressed than is written to the one after it.
const AHEAD: u64 = 2;

/// Which file it was when it was written to: whoever reads it finds it again when it is compressed. An inode's number may be
/// used again, but not with the same time of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    inode: u64,
    changed: (i64, i64),
}

impl Origin {
    pub(super) fn of(metadata: &Metadata) -> Origin {
        Origin {
            inode: metadata.ino(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// As the comment in the header of a compressed file.
    fn written(self) -> String {
        format!("{} {} {}", self.inode, self.changed.0, self.changed.1)
    }

    fn read(comment: &[u8]) -> Option<Origin> {
        let mut numbers = std::str::from_utf8(comment).ok()?.split(' ');
        let inode = numbers.next()?.parse().ok()?;
        let mut number = || numbers.next()?.parse().ok();
        Some(Origin {
            inode,
            changed: (number()?, number()?),
        })
    }
}

/// Returns the name that a turned over file has once it is compressed.
pub(super) fn compressed(path: &Path) -> PathBuf {
    with_suffix(path, ".gz")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A compressed file as it is read.
pub(super) type Unpacked = GzDecoder<BufReader<File>>;

/// Opens a compressed file; also returns which one it was.
pub(super) fn open(path: &Path) -> io::Result<(Unpacked, Origin)> {
    let file = File::open(path)?;
    let own = Origin::of(&file.metadata()?);
    let unpacked = GzDecoder::new(BufReader::new(file));
    let comment = unpacked.header().and_then(|header| header.comment());
    let origin = comment.and_then(Origin::read).unwrap_or(own);
    Ok((unpacked, origin))
}

/// A file that is being compressed.
#[derive(Debug)]
pub(super) struct Packer {
    path: PathBuf,
    source: File,
    encoder: GzEncoder<File>,
}

impl Packer {
    /// Begins with the file at `path`, to which nobody writes any more; nothing if there is none.
    pub(super) fn begin(path: PathBuf) -> Result<Option<Packer>> {
        let source = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            source => source.with_context(|| format!("open {}", path.display()))?,
        };
        let read = source.metadata();
        let metadata = read.with_context(|| format!("open {}", path.display()))?;
        let part = part(&path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o640);
        let target = options.open(&part);
        let target = target.with_context(|| format!("create {}", part.display()))?;
        let header = GzBuilder::new().comment(Origin::of(&metadata).written());
        Ok(Some(Packer {
            path,
            source,
            encoder: header.write(target, Compression::fast()),
        }))
    }

    /// Goes on after `written` bytes of the next file; returns whether it is done.
    pub(super) fn step(&mut self, written: u64) -> Result<bool> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = written.saturating_mul(AHEAD).max(1);
        while left > 0 {
            let read = self.source.read(&mut chunk);
            let count = read.with_context(|| format!("read {}", self.path.display()))?;
            if count == 0 {
                return self.end().map(|()| true);
            }
            let packed = self.encoder.write_all(&chunk[..count]);
            packed.with_context(|| format!("compress {}", self.path.display()))?;
            left = left.saturating_sub(count as u64);
        }
        Ok(false)
    }

    /// Gives the compressed file its name, and takes the other one away.
    fn end(&mut self) -> Result<()> {
        let (part, target) = (part(&self.path), compressed(&self.path));
        let ended = (self.encoder.try_finish())
            .and_then(|()| std::fs::rename(&part, &target))
            .and_then(|()| std::fs::remove_file(&self.path));
        ended.with_context(|| format!("compress {}", self.path.display()))
    }
}

fn part(path: &Path) -> PathBuf {
    with_suffix(path, ".gz.part")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_origin() {
        for origin in [
            Origin {
                inode: 12,
                changed: (1_700_000_000, 5),
            },
            Origin {
                inode: u64::MAX,
                changed: (-1, 999_999_999),
            },
        ] {
            assert_eq!(Origin::read(origin.written().as_bytes()), Some(origin));
        }
        for comment in ["", "1", "1 2", "1 2 x", "\u{e9}"] {
            assert_eq!(Origin::read(comment.as_bytes()), None, "{comment}");
        }
    }
}
