//! The log file of a container: docker's json-file format, written by the monitor, read by anybody.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","time":"2025-01-02T03:04:05.678901234Z"}
//! ```
//!
//! A line longer than [`LINE_MAX_BYTES`] is split; a piece that ends without `\n` is followed by the rest of its line. The
//! file is turned over before it would exceed its limit: `X` becomes `X.1`, `X.1` becomes `X.2`, the oldest goes.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Deserialize;

use crate::docker::container::LogConfig;
use crate::error;

/// The longest piece of a line that becomes one entry.
pub const LINE_MAX_BYTES: usize = 16 << 10;
/// Unlimited logs fill disks; docker's default is no limit.
const DEFAULT_MAX_BYTES: u64 = 10_000_000;
const DEFAULT_MAX_FILES: u32 = 3;
/// The longest entry that is read back: every byte of a piece may have become six.
const ENTRY_MAX_BYTES: usize = 8 * LINE_MAX_BYTES;

/// Where output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What a container's log is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Files of at most so many bytes each, and how many of them.
    JsonFile {
        /// Bytes of one file; `u64::MAX` is unlimited.
        max_bytes: u64,
        /// Number of files, at least 1.
        max_files: u32,
    },
    /// Output goes to attached clients only.
    None,
}

impl Driver {
    /// Reads what was asked for; errors are of kind `Invalid`.
    pub fn from_config(config: &LogConfig) -> Result<Driver> {
        match config.kind.as_str() {
            "" | "json-file" => {}
            "none" => return Ok(Driver::None),
            other => {
                return Err(error::invalid(format!(
                    "error looking up logging plugin {other}: plugin \"{other}\" not found"
                )));
            }
        }
        let (mut max_bytes, mut max_files) = (DEFAULT_MAX_BYTES, DEFAULT_MAX_FILES);
        for (key, value) in &config.config {
            let refuse = |why: &str| {
                error::invalid(format!(
                    "invalid value \"{value}\" for log opt '{key}': {why}"
                ))
            };
            match key.as_str() {
                "max-size" => {
                    max_bytes =
                        parse_size(value).ok_or_else(|| refuse("expected a size such as 10m"))?;
                }
                "max-file" => {
                    max_files = value.parse().map_err(|_| refuse("expected a number"))?;
                    if max_files == 0 {
                        return Err(error::invalid("max-file cannot be less than 1"));
                    }
                }
                _ => {
                    return Err(error::invalid(format!(
                        "unknown log opt '{key}' for json-file log driver"
                    )));
                }
            }
        }
        Ok(Driver::JsonFile {
            max_bytes,
            max_files,
        })
    }
}

/// Sizes of logs are decimal, unlike those of memory; -1 is unlimited.
fn parse_size(text: &str) -> Option<u64> {
    if text == "-1" {
        return Some(u64::MAX);
    }
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[number.len()..] {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        _ => return None,
    };
    number
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|bytes| *bytes > 0)
}

/// Writes a container's log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    max_files: u32,
    /// Starts of lines whose end has not come yet, by stream.
    pending: [Vec<u8>; 2],
    entries: Vec<u8>,
}

impl Writer {
    /// Opens the log at `path`, which an earlier run may have begun.
    pub fn open(path: &Path, max_bytes: u64, max_files: u32) -> Result<Writer> {
        let file = append(path)?;
        let size = file
            .metadata()
            .with_context(|| format!("open {}", path.display()))?
            .len();
        let path = path.to_owned();
        Ok(Writer {
            path,
            file,
            size,
            max_bytes,
            max_files,
            pending: [const { Vec::new() }; 2],
            entries: Vec::new(),
        })
    }

    /// Adds output that was read at one time; unfinished lines wait for their end.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> Result<()> {
        let time = now.to_string();
        let mut rest = bytes;
        let pending = &mut self.pending[stream as usize];
        while !rest.is_empty() {
            let room = LINE_MAX_BYTES - pending.len();
            let window = &rest[..room.min(rest.len())];
            let end = window
                .iter()
                .position(|b| *b == b'\n')
                .map(|index| index + 1);
            let taken = end.unwrap_or(window.len());
            if end.is_some() || taken == room {
                // Most lines come whole, and are not copied.
                if pending.is_empty() {
                    encode(&mut self.entries, &rest[..taken], stream, &time);
                } else {
                    pending.extend_from_slice(&rest[..taken]);
                    encode(&mut self.entries, pending, stream, &time);
                    pending.clear();
                }
            } else {
                pending.extend_from_slice(window);
            }
            rest = &rest[taken..];
        }
        self.flush()
    }

    /// Writes the lines that never ended; for when the output has ended.
    pub fn finish(&mut self, now: Timestamp) -> Result<()> {
        let time = now.to_string();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                encode(&mut self.entries, &pending, stream, &time);
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let mut rest = &entries[..];
        while !rest.is_empty() {
            // Turn the file over between entries only.
            let room =
                usize::try_from(self.max_bytes.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let last_end = || rest[..room].iter().rposition(|b| *b == b'\n');
            let fits = if rest.len() <= room {
                rest.len()
            } else {
                last_end().map_or(0, |index| index + 1)
            };
            if fits == 0 && self.size > 0 {
                self.turn_over()?;
                continue;
            }
            // An entry larger than the whole limit still goes somewhere.
            let first = || {
                rest.iter()
                    .position(|b| *b == b'\n')
                    .map_or(rest.len(), |index| index + 1)
            };
            let count = if fits == 0 { first() } else { fits };
            self.file
                .write_all(&rest[..count])
                .with_context(|| format!("write {}", self.path.display()))?;
            self.size += count as u64;
            rest = &rest[count..];
        }
        self.entries = entries;
        self.entries.clear();
        Ok(())
    }

    fn turn_over(&mut self) -> Result<()> {
        let rename = |from: PathBuf, to: PathBuf| match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("turn over {}", from.display()))
            }
            _ => Ok(()),
        };
        if self.max_files == 1 {
            self.file
                .set_len(0)
                .with_context(|| format!("truncate {}", self.path.display()))?;
        } else {
            for number in (1..self.max_files - 1).rev() {
                rename(
                    numbered(&self.path, number),
                    numbered(&self.path, number + 1),
                )?;
            }
            rename(self.path.clone(), numbered(&self.path, 1))?;
            self.file = append(&self.path)?;
        }
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    options
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Appends one entry; bytes that are not UTF-8 become U+FFFD, as docker's encoder has it.
fn encode(out: &mut Vec<u8>, line: &[u8], stream: Stream, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in line.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut written = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let plain = matches!(byte, 0x20..=0x21 | 0x23..=0x25 | 0x27..=0x3b | 0x3d | 0x3f..=0x5b | 0x5d..=0xe1 | 0xe3..);
        if plain {
            continue;
        }
        let separator =
            *byte == 0xe2 && matches!(bytes.get(index + 1..index + 3), Some([0x80, 0xa8 | 0xa9]));
        if *byte == 0xe2 && !separator {
            continue;
        }
        out.extend_from_slice(&bytes[written..index]);
        written = index + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            // LINE SEPARATOR and PARAGRAPH SEPARATOR, which JavaScript does not take.
            0xe2 => {
                out.extend_from_slice(if bytes[index + 2] == 0xa8 {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                written = index + 3;
            }
            _ => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.extend_from_slice(&bytes[written..]);
}

/// One entry as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was written.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// The line, with its `\n` unless it is a piece of a longer one.
    pub line: String,
}

#[derive(Deserialize)]
struct Raw {
    log: String,
    stream: String,
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
    })
}

/// Deletes a log with all its files.
pub fn remove(path: &Path) {
    for path in
        std::iter::once(path.to_owned()).chain((1..u32::MAX).map(|number| numbered(path, number)))
    {
        if std::fs::remove_file(&path).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            let dir = std::env::temp_dir().join(format!("aril-logs-{}", crate::store::unique()));
            std::fs::create_dir_all(&dir).unwrap();
            Scratch(dir)
        }

        fn log(&self) -> PathBuf {
            self.0.join("x.log")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lines(path: &Path, selection: &Selection) -> Vec<String> {
        let mut reader = Reader::open(path, selection).unwrap();
        std::iter::from_fn(|| reader.next().unwrap())
            .map(|entry| entry.line)
            .collect()
    }

    #[test]
    fn entries_look_like_dockers() {
        let scratch = Scratch::new();
        let mut writer = Writer::open(&scratch.log(), u64::MAX, 1).unwrap();
        writer
            .write(
                Stream::Stdout,
                b"a <b> & \"c\"\\\t\x01\xff\xe2\x80\xa8\xe4\xbd\xa0\n",
                at(0),
            )
            .unwrap();
        writer.write(Stream::Stderr, b"unfinished", at(1)).unwrap();
        writer.finish(at(1)).unwrap();
        let text = std::fs::read_to_string(scratch.log()).unwrap();
        let expected = concat!(
            r#"{"log":"a \u003cb\u003e \u0026 \"c\"\\\t\u0001\ufffd\u2028"#,
            "你",
            r#"\n","stream":"stdout","time":"1970-01-01T00:00:00Z"}"#,
            "\n",
            r#"{"log":"unfinished","stream":"stderr","time":"1970-01-01T00:00:01Z"}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn long_lines_are_split_and_broken_ones_joined() {
        let scratch = Scratch::new();
        let mut writer = Writer::open(&scratch.log(), u64::MAX, 1).unwrap();
        let long = "x".repeat(LINE_MAX_BYTES + 10);
        writer.write(Stream::Stdout, b"ab", at(0)).unwrap();
        writer.write(Stream::Stdout, b"c\n\n", at(0)).unwrap();
        writer
            .write(Stream::Stdout, format!("{long}\nend\n").as_bytes(), at(0))
            .unwrap();
        let lines = lines(&scratch.log(), &Selection::default());
        assert_eq!(lines[..2], ["abc\n", "\n"]);
        assert_eq!((lines[2].len(), lines[3].len()), (LINE_MAX_BYTES, 11));
        assert_eq!(lines[4], "end\n");
    }

    #[test]
    fn files_are_turned_over_and_read_in_order() {
        let scratch = Scratch::new();
        let mut writer = Writer::open(&scratch.log(), 400, 3).unwrap();
        for number in 0..20 {
            writer
                .write(
                    Stream::Stdout,
                    format!("line {number}\n").as_bytes(),
                    at(number),
                )
                .unwrap();
        }
        for path in [
            scratch.log(),
            numbered(&scratch.log(), 1),
            numbered(&scratch.log(), 2),
        ] {
            assert!(std::fs::metadata(path).unwrap().len() <= 400);
        }
        assert!(!numbered(&scratch.log(), 3).exists());
        let kept = lines(&scratch.log(), &Selection::default());
        assert_eq!(kept.last().unwrap(), "line 19\n");
        assert!(kept.len() > 10 && kept.windows(2).all(|pair| pair[0] != pair[1]));
        let tail = Selection {
            tail: Some(2),
            ..Selection::default()
        };
        assert_eq!(lines(&scratch.log(), &tail), ["line 18\n", "line 19\n"]);
        let range = Selection {
            since: Some(at(17)),
            until: Some(at(18)),
            tail: None,
        };
        assert_eq!(lines(&scratch.log(), &range), ["line 17\n", "line 18\n"]);
    }

    #[test]
    fn a_reader_follows_over_turned_files() {
        let scratch = Scratch::new();
        let mut reader = Reader::open(&scratch.log(), &Selection::default()).unwrap();
        assert_eq!(reader.next().unwrap(), None);
        let mut writer = Writer::open(&scratch.log(), 160, 5).unwrap();
        for number in 0..12 {
            writer
                .write(Stream::Stdout, format!("{number}\n").as_bytes(), at(number))
                .unwrap();
            if number % 3 == 2 {
                for expected in number - 2..=number {
                    assert_eq!(
                        reader.next().unwrap().unwrap().line,
                        format!("{expected}\n")
                    );
                }
                assert_eq!(reader.next().unwrap(), None);
            }
        }
    }

    #[test]
    fn options_are_read() {
        let driver = |kind: &str, options: &[(&str, &str)]| {
            let config: BTreeMap<String, String> = options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            Driver::from_config(&LogConfig {
                kind: kind.into(),
                config,
            })
        };
        assert_eq!(
            driver("", &[]).unwrap(),
            Driver::JsonFile {
                max_bytes: 10_000_000,
                max_files: 3
            }
        );
        let asked = driver("json-file", &[("max-size", "2k"), ("max-file", "1")]).unwrap();
        assert_eq!(
            asked,
            Driver::JsonFile {
                max_bytes: 2000,
                max_files: 1
            }
        );
        assert_eq!(driver("none", &[]).unwrap(), Driver::None);
        for (kind, options) in [
            ("wat", &[][..]),
            ("json-file", &[("max-size", "x")]),
            ("", &[("wat", "1")]),
        ] {
            assert_eq!(
                error::kind(&driver(kind, options).unwrap_err()),
                Some(error::Kind::Invalid)
            );
        }
    }
}
