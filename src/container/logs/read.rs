//! A container's log, read from its oldest file on, and followed where the writer goes on.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::LINE_MAX_BYTES;
use super::entry::{Decoder, Entry};
use super::file::numbered;
use super::pack::{self, Origin, Unpacked, compressed};

/// The longest entry that is read back: every byte of a piece may have become six, and attributes have room too.
const ENTRY_MAX_BYTES: usize = 16 * LINE_MAX_BYTES;
/// How much is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only so many of the last ones; what the times exclude counts, as it does for docker.
    pub tail: Option<usize>,
}

/// A file of a log.
#[derive(Debug)]
enum Part {
    /// As it was written.
    Plain(File),
    /// Compressed, and which one it was.
    Packed(Box<Unpacked>, Origin),
}

impl Part {
    /// Opens the file with the name `path`, which may have been compressed; nothing if it is not there.
    fn open(path: &Path) -> Result<Option<Part>> {
        let plain = File::open(path).map(Part::Plain);
        let opened = plain.or_else(|error| match error.kind() {
            ErrorKind::NotFound => pack::open(&compressed(path))
                .map(|(unpacked, origin)| Part::Packed(Box::new(unpacked), origin)),
            _ => Err(error),
        });
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened
                .map(Some)
                .with_context(|| format!("open {}", path.display())),
        }
    }

    /// Returns which file it is; of one that is written to, that changes.
    fn origin(&self) -> Option<Origin> {
        match self {
            Part::Plain(file) => file.metadata().ok().map(|metadata| Origin::of(&metadata)),
            Part::Packed(_, origin) => Some(*origin),
        }
    }

    /// Goes to where the last `wanted` entries begin, or to the beginning if there are not so many; returns how many there
    /// are, and how many to pass over before them.
    fn seek_tail(&mut self, path: &Path, wanted: usize) -> Result<(usize, usize)> {
        let context = || format!("read {}", path.display());
        match self {
            Part::Plain(file) => {
                let (offset, found) = last_lines(file, wanted).with_context(context)?;
                file.seek(SeekFrom::Start(offset)).with_context(context)?;
                Ok((found, 0))
            }
            Part::Packed(..) => {
                let mut lines = 0;
                let mut buffer = vec![0; BLOCK_BYTES];
                loop {
                    match self.read(&mut buffer).with_context(context)? {
                        0 => break,
                        count => lines += memchr::memchr_iter(b'\n', &buffer[..count]).count(),
                    }
                }
                // It may be gone by now; then nothing of it is wanted any more.
                if let Some(part) = Part::open(path)? {
                    *self = part;
                }
                Ok((lines.min(wanted), lines.saturating_sub(wanted)))
            }
        }
    }
}

/// Returns where the last `wanted` lines begin, and how many there are, up to that; a line that has no end yet is none.
fn last_lines(file: &File, wanted: usize) -> io::Result<(u64, usize)> {
    let mut buffer = vec![0; BLOCK_BYTES];
    let mut found = 0;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES as u64);
        let length = usize::try_from(end - start).unwrap_or(BLOCK_BYTES);
        let block = &mut buffer[..length];
        file.read_exact_at(block, start)?;
        for at in memchr::memrchr_iter(b'\n', block) {
            // The end of the line before them.
            if found == wanted {
                return Ok((start + at as u64 + 1, found));
            }
            found += 1;
        }
        end = start;
    }
    Ok((0, found))
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Part::Plain(file) => file.read(buffer),
            // One that is cut short, after a power cut, ends there.
            Part::Packed(unpacked, _) => {
                unpacked.read(buffer).or_else(|error| match error.kind() {
                    ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => {
                        Ok(0)
                    }
                    _ => Err(error),
                })
            }
        }
    }
}

/// Reads a log from its oldest file on, and goes on where the writer goes on.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<Part>,
    buffer: Vec<u8>,
    consumed: usize,
    decoder: Decoder,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Reader {
    /// Starts to read the log at `path`; a log that does not exist yet is empty.
    pub fn open(path: &Path, selection: &Selection) -> Result<Reader> {
        let mut reader = Reader {
            path: path.to_owned(),
            file: None,
            buffer: Vec::new(),
            consumed: 0,
            decoder: Decoder::default(),
            since: selection.since,
            until: selection.until,
        };
        match selection.tail {
            None => reader.file = Part::open(&reader.oldest())?,
            Some(tail) => reader.open_tail(tail)?,
        }
        Ok(reader)
    }

    /// Opens the file in which the last `wanted` entries begin, from the newest back, and goes there.
    fn open_tail(&mut self, mut wanted: usize) -> Result<()> {
        for number in 0..u32::MAX {
            let path = match number {
                0 => self.path.clone(),
                number => numbered(&self.path, number),
            };
            let Some(mut part) = Part::open(&path)? else {
                // Between two files there may be none that is written to.
                if number == 0 {
                    continue;
                }
                break;
            };
            let (found, before) = part.seek_tail(&path, wanted)?;
            self.file = Some(part);
            wanted -= found;
            if wanted == 0 {
                for _ in 0..before {
                    self.line()?;
                }
                break;
            }
        }
        Ok(())
    }

    fn oldest(&self) -> PathBuf {
        let older = (1..u32::MAX).map(|number| numbered(&self.path, number));
        older
            .take_while(|path| path.exists() || compressed(path).exists())
            .last()
            .unwrap_or_else(|| self.path.clone())
    }

    /// Returns the next entry, or nothing at the present end of the log; a later call sees what was added since.
    ///
    /// What cannot be read as an entry is passed over.
    #[expect(
        clippy::should_implement_trait,
        reason = "the end is not final, and reading can fail"
    )]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>> {
        while let Some(line) = self.line()? {
            let Some(time) = self.decoder.decode(&self.buffer[line]) else {
                continue;
            };
            if self.until.is_some_and(|until| time > until) {
                return Ok(None);
            }
            if self.since.is_none_or(|since| time >= since) {
                return Ok(Some(self.decoder.entry()));
            }
        }
        Ok(None)
    }

    /// Returns where in the buffer the next line is, without its end; nothing at the present end of the log.
    fn line(&mut self) -> Result<Option<Range<usize>>> {
        loop {
            let start = self.consumed;
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[start..]) {
                self.consumed += length + 1;
                return Ok(Some(start..start + length));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads more into the buffer; false at the present end.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        if self.buffer.len() > ENTRY_MAX_BYTES {
            self.buffer.clear();
        }
        loop {
            let Some(file) = &mut self.file else {
                // Nothing was there before, so nothing was read before.
                self.file = Part::open(&self.oldest())?;
                if self.file.is_none() {
                    return Ok(false);
                }
                continue;
            };
            let start = self.buffer.len();
            self.buffer.resize(start + BLOCK_BYTES, 0);
            let count = file
                .read(&mut self.buffer[start..])
                .with_context(|| format!("read {}", self.path.display()))?;
            self.buffer.truncate(start + count);
            if count > 0 {
                return Ok(true);
            }
            if !self.advance()? {
                return Ok(false);
            }
        }
    }

    /// Goes on to the file that follows the one that has ended; false if that is the one being written.
    fn advance(&mut self) -> Result<bool> {
        if let Some(Part::Plain(file)) = &mut self.file {
            let context = || format!("read {}", self.path.display());
            let inode = file.metadata().with_context(context)?.ino();
            let now = std::fs::metadata(&self.path);
            let turned = !now.is_ok_and(|metadata| metadata.ino() == inode);
            let length = file.metadata().with_context(context)?.len();
            let position = file.stream_position().with_context(context)?;
            match (turned, length) {
                // Something was written to it after it was read, and before it was turned over.
                (true, length) if length > position => return Ok(true),
                (true, _) => {}
                // The writer starts the only file of a log anew instead of turning it over.
                (false, length) => return Ok(length < position && file.rewind().is_ok()),
            }
        }
        let next = match self.place()? {
            Some(1) => self.path.clone(),
            Some(number) => numbered(&self.path, number - 1),
            // It is gone, and all that are there came after it.
            None => self.oldest(),
        };
        match Part::open(&next)? {
            Some(part) => {
                self.file = Some(part);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Returns the number of the turned over file that is being read; nothing if it is not there any more.
    fn place(&self) -> Result<Option<u32>> {
        let own = self.file.as_ref().and_then(Part::origin);
        for number in 1..u32::MAX {
            let Some(part) = Part::open(&numbered(&self.path, number))? else {
                break;
            };
            if own.is_some() && part.origin() == own {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}
