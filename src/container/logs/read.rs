//! A container's log, read from its oldest file on, and followed where the writer goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

use super::file::numbered;
use super::{Attributes, LINE_MAX_BYTES, Stream};

/// The longest entry that is read back: every byte of a piece may have become six, and attributes have room too.
const ENTRY_MAX_BYTES: usize = 16 * LINE_MAX_BYTES;

/// One entry as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// The line, with its `\n` unless it is a piece of a longer one.
    pub line: String,
    /// Attributes of the container that were wanted.
    pub attributes: Attributes,
}

#[derive(Deserialize)]
struct Raw {
    log: String,
    stream: String,
    #[serde(default)]
    attrs: Attributes,
    time: Timestamp,
}

/// Which entries are wanted.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only so many of the last ones.
    pub tail: Option<usize>,
}

/// Reads a log from its oldest file on, and goes on where the writer goes on.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    buffer: Vec<u8>,
    consumed: usize,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Entries of `tail`, read ahead.
    ready: VecDeque<Entry>,
}

impl Reader {
    /// Starts to read the log at `path`; a log that does not exist yet is empty.
    pub fn open(path: &Path, selection: &Selection) -> Result<Reader> {
        let mut reader = Reader {
            path: path.to_owned(),
            file: None,
            inode: 0,
            buffer: Vec::new(),
            consumed: 0,
            since: selection.since,
            until: selection.until,
            ready: VecDeque::new(),
        };
        reader.open_file(&reader.oldest())?;
        if let Some(tail) = selection.tail {
            let mut last = VecDeque::new();
            while let Some(entry) = reader.next()? {
                last.push_back(entry);
                if last.len() > tail {
                    last.pop_front();
                }
            }
            reader.ready = last;
        }
        Ok(reader)
    }

    fn oldest(&self) -> PathBuf {
        let older = (1..u32::MAX).map(|number| numbered(&self.path, number));
        older
            .take_while(|path| path.exists())
            .last()
            .unwrap_or_else(|| self.path.clone())
    }

    fn open_file(&mut self, path: &Path) -> Result<()> {
        match File::open(path) {
            Ok(file) => {
                self.inode = file
                    .metadata()
                    .with_context(|| format!("open {}", path.display()))?
                    .ino();
                self.file = Some(file);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
        }
    }

    /// Returns the next entry, or nothing at the present end of the log; a later call sees what was added since.
    ///
    /// What cannot be read as an entry is passed over.
    #[expect(
        clippy::should_implement_trait,
        reason = "the end is not final, and reading can fail"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        if let Some(entry) = self.ready.pop_front() {
            return Ok(Some(entry));
        }
        loop {
            let rest = &self.buffer[self.consumed..];
            if let Some(length) = rest.iter().position(|b| *b == b'\n') {
                let entry = parse(&rest[..length]);
                self.consumed += length + 1;
                let Some(entry) = entry else { continue };
                if self.until.is_some_and(|until| entry.time > until) {
                    return Ok(None);
                }
                if self.since.is_none_or(|since| entry.time >= since) {
                    return Ok(Some(entry));
                }
            } else if !self.fill()? {
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
                self.open_file(&self.oldest())?;
                if self.file.is_none() {
                    return Ok(false);
                }
                continue;
            };
            let start = self.buffer.len();
            self.buffer.resize(start + (64 << 10), 0);
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
        let inode = |path: &Path| std::fs::metadata(path).map(|meta| meta.ino()).ok();
        if inode(&self.path) == Some(self.inode) {
            // The writer starts the only file of a log anew instead of turning it over.
            let file = self.file.as_mut().expect("a file that has ended is open");
            let position = std::io::Seek::stream_position(file).unwrap_or_default();
            let shrunk = file.metadata().is_ok_and(|meta| meta.len() < position);
            return Ok(shrunk && std::io::Seek::rewind(file).is_ok());
        }
        let numbers = (1..u32::MAX).map(|number| (number, inode(&numbered(&self.path, number))));
        let mut older = numbers.take_while(|(_, inode)| inode.is_some());
        let place = older.find(|(_, inode)| *inode == Some(self.inode));
        let next = match place {
            Some((number, _)) if number > 1 => numbered(&self.path, number - 1),
            _ => self.path.clone(),
        };
        let before = self.inode;
        self.open_file(&next)?;
        Ok(self.inode != before)
    }
}

fn parse(line: &[u8]) -> Option<Entry> {
    let raw: Raw = serde_json::from_slice(line).ok()?;
    let stream = if raw.stream == "stderr" {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    Some(Entry {
        time: raw.time,
        stream,
        line: raw.log,
        attributes: raw.attrs,
    })
}
