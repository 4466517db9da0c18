//! The log file of a container: docker's json-file format, written by the monitor.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","attrs":{"k":"v"},"time":"2025-01-02T03:04:05.678901234Z"}
//! ```
//!
//! A piece of a line that ends without `\n` is followed by the rest of its line. The file is turned over before it would
//! exceed its limit: `X` becomes `X.1`, `X.1` becomes `X.2`, the oldest goes. They may be compressed, see `pack.rs`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::options::Files;
use super::pack::{Packer, compressed};
use super::{Attributes, Stream};

/// Writes a container's log.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    max_files: u32,
    compresses: bool,
    /// The file before, while it is being compressed.
    packer: Option<Packer>,
    /// Attributes of the container as every entry has them, if any are wanted.
    attributes: Vec<u8>,
    entries: Vec<u8>,
}

impl Writer {
    /// Opens the log at `path`, which an earlier run may have begun; every entry gets `attributes`.
    pub fn open(path: &Path, files: Files, attributes: &Attributes) -> Result<Writer> {
        let file = append(path)?;
        let size = file
            .metadata()
            .with_context(|| format!("open {}", path.display()))?
            .len();
        let mut writer = Writer {
            path: path.to_owned(),
            file,
            size,
            max_bytes: files.max_bytes,
            max_files: files.max_files,
            compresses: files.compress,
            packer: None,
            attributes: encode_attributes(attributes),
            entries: Vec::new(),
        };
        writer.begin_to_pack();
        Ok(writer)
    }

    /// Returns what entries of a stream have behind their line, if they were read at the same `time`.
    pub fn end(&self, stream: Stream, time: &str) -> End {
        End::new(stream, time, &self.attributes)
    }

    /// Adds an entry: a line with its `\n`, or a piece of one; [`Writer::flush`] writes it.
    pub fn add(&mut self, line: &[u8], end: &End) {
        encode(&mut self.entries, line, end);
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> Result<()> {
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
        self.pack(entries.len() as u64);
        self.entries = entries;
        self.entries.clear();
        Ok(())
    }

    /// Begins to compress the file before this one, if that is wanted and it is not compressed.
    fn begin_to_pack(&mut self) {
        if !self.compresses {
            return;
        }
        match Packer::begin(numbered(&self.path, 1)) {
            Ok(packer) => self.packer = packer,
            // It is read as well as it is.
            Err(error) => tracing::warn!("{error:#}"),
        }
    }

    /// Goes on with it after `written` bytes.
    fn pack(&mut self, written: u64) {
        let Some(packer) = &mut self.packer else {
            return;
        };
        match packer.step(written) {
            Ok(false) => {}
            Ok(true) => self.packer = None,
            Err(error) => {
                tracing::warn!("{error:#}");
                self.packer = None;
            }
        }
    }

    fn turn_over(&mut self) -> Result<()> {
        // What is left of it; nothing, but for files that are smaller than what comes at a time.
        self.pack(u64::MAX);
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
                let (from, to) = (
                    numbered(&self.path, number),
                    numbered(&self.path, number + 1),
                );
                if self.compresses {
                    // Of the one whose place it takes, which is the other kind of file if a monitor was killed meanwhile.
                    for old in [&to, &compressed(&to)] {
                        remove(old)?;
                    }
                    rename(compressed(&from), compressed(&to))?;
                }
                rename(from, to)?;
            }
            let first = numbered(&self.path, 1);
            if self.compresses {
                remove(&compressed(&first))?;
            }
            rename(self.path.clone(), first)?;
            self.file = append(&self.path)?;
            self.begin_to_pack();
        }
        self.size = 0;
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn append(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    options
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// What an entry has behind its line: `\n","stream":"stdout","time":"…"}`, with the end of the line before it.
#[derive(Debug)]
pub struct End(Vec<u8>);

impl End {
    const LINE_END: &'static [u8] = b"\\n";

    fn new(stream: Stream, time: &str, attributes: &[u8]) -> End {
        let parts: [&[u8]; 8] = [
            End::LINE_END,
            b"\",\"stream\":\"",
            stream.name().as_bytes(),
            b"\"",
            attributes,
            b",\"time\":\"",
            time.as_bytes(),
            b"\"}\n",
        ];
        End(parts.concat())
    }

    fn of_line(&self) -> &[u8] {
        &self.0
    }

    fn of_piece(&self) -> &[u8] {
        &self.0[End::LINE_END.len()..]
    }
}

/// Appends one entry; bytes that are not UTF-8 become U+FFFD, as docker's encoder has it.
fn encode(out: &mut Vec<u8>, line: &[u8], end: &End) {
    let (content, end) = match line.strip_suffix(b"\n") {
        Some(content) => (content, end.of_line()),
        None => (line, end.of_piece()),
    };
    out.extend_from_slice(b"{\"log\":\"");
    if is_plain(content) {
        out.extend_from_slice(content);
    } else {
        for chunk in content.utf8_chunks() {
            escape(out, chunk.valid());
            if !chunk.invalid().is_empty() {
                out.extend_from_slice(b"\\ufffd");
            }
        }
    }
    out.extend_from_slice(end);
}

/// Whether nothing of `text` is escaped, which is so for most lines: ASCII without control characters and without
/// `"`, `\`, `<`, `>` and `&`. Looks at eight bytes at a time; may say no of what [`escape`] would leave as it is.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    // Whether some byte is less than `limit`, of bytes that are all ASCII.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let has = |word: u64, byte: u64| below(word ^ (ONES * byte), 1);
    let odd = |word: u64| {
        word & HIGHS
            | below(word, 0x20)
            | has(word, u64::from(b'\\'))
            // One bit apart each: `"` and `&`, `<` and `>`.
            | has(word | (ONES * 0x04), u64::from(b'&'))
            | has(word | (ONES * 0x02), u64::from(b'>'))
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    words.fold(0, |found, word| found | odd(u64::from_le_bytes(*word))) == 0
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

/// `,"attrs":{"k":"v"}`, or nothing.
fn encode_attributes(attributes: &Attributes) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attributes {
        out.extend_from_slice(if out.is_empty() {
            b",\"attrs\":{\""
        } else {
            b",\""
        });
        escape(&mut out, key);
        out.extend_from_slice(b"\":\"");
        escape(&mut out, value);
        out.push(b'"');
    }
    if !out.is_empty() {
        out.push(b'}');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_not_escaped() {
        for length in [1, 7, 8, 9, 20] {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut line = vec![b'x'; length];
                    line[place] = byte;
                    let mut out = Vec::new();
                    if byte.is_ascii() {
                        escape(&mut out, std::str::from_utf8(&line).unwrap());
                    }
                    assert_eq!(is_plain(&line), out == line, "{byte:#x} at {place}");
                }
            }
        }
        assert!(is_plain(b""));
    }
}
