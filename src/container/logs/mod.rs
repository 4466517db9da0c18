//! What becomes of a container's output: log drivers.
//!
//! ```text
//! output ─▶ Lines ─┬─▶ file      json-file, local; for other drivers a copy, so that `logs` can read it
//!                  └─▶ remote    journald, syslog: datagrams or a stream, without ever blocking
//! ```
//!
//! A line longer than [`LINE_MAX_BYTES`] becomes several pieces. A remote that takes nothing holds the container's output up
//! as a full pipe would, or with `mode=non-blocking` loses what does not fit into its buffer.

pub mod entry;
pub mod file;
pub mod identity;
pub mod journald;
pub mod options;
mod pack;
pub mod read;
pub mod remote;
pub mod syslog;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use file::{End, Writer};
use identity::Identity;
use options::Driver;
use remote::Remote;

/// The longest piece of a line that becomes one entry.
pub const LINE_MAX_BYTES: usize = 16 << 10;

/// Attributes of the container that go with its entries.
pub type Attributes = BTreeMap<String, String>;

/// Where output came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; everything of a terminal.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Returns `stdout` or `stderr`.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// One line, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it came from.
    pub stream: Stream,
    /// Its bytes, with `\n` at the end of a line.
    pub bytes: &'a [u8],
    /// When it was read.
    pub time: Timestamp,
}

impl Piece<'_> {
    /// Returns whether the rest of the line follows.
    pub fn is_partial(&self) -> bool {
        !self.bytes.ends_with(b"\n")
    }

    /// Returns the bytes without the end of the line.
    pub fn content(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes)
    }
}

/// The log of one container, for as long as its monitor lives.
#[derive(Debug)]
pub struct Log {
    lines: Lines,
    file: Option<Writer>,
    remote: Option<Remote>,
}

impl Log {
    /// Opens what `driver` asks for; nothing if nothing is logged. The file is at `path`.
    ///
    /// The error says what of a remote is not there.
    pub fn open(path: &Path, driver: &Driver, identity: &Identity) -> Result<Option<Log>> {
        let attributes = identity.attributes(&driver.wanted)?;
        let file = match driver.files {
            Some(files) => Some(Writer::open(path, files, &attributes)?),
            None => None,
        };
        let remote = Remote::open(driver, identity, &attributes)
            .context("failed to initialize logging driver")?;
        if file.is_none() && remote.is_none() {
            return Ok(None);
        }
        Ok(Some(Log {
            lines: Lines::default(),
            file,
            remote,
        }))
    }

    /// Adds output that was read at one time; unfinished lines wait for their end.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> Result<()> {
        let mut sinks = Sinks::new(&mut self.file, &mut self.remote, stream, now);
        self.lines
            .split(stream, bytes, &mut |bytes| sinks.deliver(bytes));
        self.flush()
    }

    /// Writes the lines that never ended; for when the output has ended.
    pub fn finish(&mut self, now: Timestamp) -> Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let bytes = self.lines.rest(stream);
            if !bytes.is_empty() {
                Sinks::new(&mut self.file, &mut self.remote, stream, now).deliver(&bytes);
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(remote) = &mut self.remote {
            remote.flush();
        }
        match &mut self.file {
            Some(file) => file.flush(),
            None => Ok(()),
        }
    }

    /// Returns what is waited for until it takes more, if something waits.
    pub fn waits(&self) -> Option<BorrowedFd<'_>> {
        self.remote.as_ref().and_then(Remote::waits)
    }

    /// Returns whether no more output may be read before something is taken.
    pub fn is_full(&self) -> bool {
        self.remote.as_ref().is_some_and(Remote::is_full)
    }

    /// Goes on sending what waits.
    pub fn go_on(&mut self) {
        if let Some(remote) = &mut self.remote {
            remote.flush();
        }
    }
}

/// Where lines go that were read from one stream at one time.
struct Sinks<'a> {
    file: Option<(&'a mut Writer, End)>,
    remote: Option<&'a mut Remote>,
    stream: Stream,
    time: Timestamp,
}

impl<'a> Sinks<'a> {
    fn new(
        file: &'a mut Option<Writer>,
        remote: &'a mut Option<Remote>,
        stream: Stream,
        time: Timestamp,
    ) -> Sinks<'a> {
        let with_end = |file: &'a mut Writer| {
            let end = file.end(stream, &time.to_string());
            (file, end)
        };
        Sinks {
            file: file.as_mut().map(with_end),
            remote: remote.as_mut(),
            stream,
            time,
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        if let Some((file, end)) = &mut self.file {
            file.add(bytes, end);
        }
        if let Some(remote) = &mut self.remote {
            remote.add(Piece {
                stream: self.stream,
                bytes,
                time: self.time,
            });
        }
    }
}

/// Puts lines together from what is read at a time.
#[derive(Debug, Default)]
struct Lines {
    /// Starts of lines whose end has not come yet, by stream.
    pending: [Vec<u8>; 2],
}

impl Lines {
    fn split(&mut self, stream: Stream, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        // Without a look at what the processor can, which takes longer than the search where that traps.
        let line_end = memchr::arch::all::memchr::One::new(b'\n');
        let pending = &mut self.pending[stream as usize];
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = LINE_MAX_BYTES - pending.len();
            let window = &rest[..room.min(rest.len())];
            let end = line_end.find(window).map(|index| index + 1);
            let taken = end.unwrap_or(window.len());
            if end.is_some() || taken == room {
                // Most lines come whole, and are not copied.
                if pending.is_empty() {
                    each(&rest[..taken]);
                } else {
                    pending.extend_from_slice(&rest[..taken]);
                    each(pending);
                    pending.clear();
                }
            } else {
                pending.extend_from_slice(window);
            }
            rest = &rest[taken..];
        }
    }

    fn rest(&mut self, stream: Stream) -> Vec<u8> {
        std::mem::take(&mut self.pending[stream as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::file::numbered;
    use super::options::{Files, Sink, Wanted};
    use super::read::{Reader, Selection};
    use super::*;
    use std::path::PathBuf;

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

    fn open(path: &Path, max_bytes: u64, max_files: u32) -> Log {
        open_files(
            path,
            Files {
                max_bytes,
                max_files,
                compress: false,
            },
        )
    }

    fn open_files(path: &Path, files: Files) -> Log {
        let driver = Driver {
            files: Some(files),
            sink: Sink::None,
            wanted: Wanted::default(),
            buffer_bytes: None,
        };
        Log::open(path, &driver, &Identity::default())
            .unwrap()
            .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Writes a line with its number, as many seconds after the epoch.
    fn write_line(log: &mut Log, number: i64) {
        let line = format!("line {number}\n");
        log.write(Stream::Stdout, line.as_bytes(), at(number))
            .unwrap();
    }

    fn lines(path: &Path, selection: &Selection) -> Vec<String> {
        let mut reader = Reader::open(path, selection).unwrap();
        std::iter::from_fn(|| reader.next().unwrap().map(|entry| entry.line.to_owned())).collect()
    }

    #[test]
    fn entries_look_like_dockers() {
        let scratch = Scratch::new();
        let mut writer = open(&scratch.log(), u64::MAX, 1);
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
        let mut writer = open(&scratch.log(), u64::MAX, 1);
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
        let mut writer = open(&scratch.log(), 400, 3);
        for number in 0..20 {
            write_line(&mut writer, number);
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
        let mut writer = open(&scratch.log(), 160, 5);
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
    fn compressed_files_are_read_like_others() {
        let scratch = Scratch::new();
        let files = Files {
            max_bytes: 4000,
            max_files: 4,
            compress: true,
        };
        let mut follower = Reader::open(&scratch.log(), &Selection::default()).unwrap();
        let mut followed = Vec::new();
        for round in 0..3 {
            // A monitor that ends leaves what it has not compressed to the next one.
            let mut writer = open_files(&scratch.log(), files);
            for number in 100 * round..100 * round + 100 {
                write_line(&mut writer, number);
                while let Some(entry) = follower.next().unwrap() {
                    followed.push(entry.line.to_owned());
                }
            }
        }
        let all: Vec<String> = (0..300).map(|number| format!("line {number}\n")).collect();
        assert_eq!(followed, all);
        let oldest = numbered(&scratch.log(), 3);
        assert!(!oldest.exists() && super::pack::compressed(&oldest).exists());
        let beyond = numbered(&scratch.log(), 4);
        assert!(!beyond.exists() && !super::pack::compressed(&beyond).exists());
        let kept = lines(&scratch.log(), &Selection::default());
        assert!(kept.len() > 100 && all.ends_with(&kept), "{}", kept.len());
        let some = Selection {
            since: Some(at(220)),
            until: Some(at(290)),
            tail: Some(60),
        };
        assert_eq!(lines(&scratch.log(), &some), all[240..=290]);
    }

    #[test]
    fn a_slow_reader_goes_on_with_what_has_been_compressed_meanwhile() {
        let scratch = Scratch::new();
        let files = Files {
            max_bytes: 4000,
            max_files: 5,
            compress: true,
        };
        let mut writer = open_files(&scratch.log(), files);
        let mut write = |numbers: std::ops::Range<i64>| {
            for number in numbers {
                write_line(&mut writer, number);
            }
        };
        write(0..10);
        let mut reader = Reader::open(&scratch.log(), &Selection::default()).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().line, "line 0\n");
        write(10..180);
        assert!(super::pack::compressed(&numbered(&scratch.log(), 2)).exists());
        for number in 1..180 {
            let line = reader.next().unwrap().unwrap().line;
            assert_eq!(line, format!("line {number}\n"));
        }
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn attributes_are_in_every_entry() {
        let scratch = Scratch::new();
        let driver = Driver {
            wanted: Wanted {
                labels: vec!["a".to_owned()],
                tag: "{{.Name}}".to_owned(),
                ..Wanted::default()
            },
            ..Driver::from_config(&crate::docker::container::LogConfig::default()).unwrap()
        };
        let identity = Identity {
            name: "web".to_owned(),
            labels: [("a".to_owned(), "1 \"2\"".to_owned())].into(),
            ..Identity::default()
        };
        let mut log = Log::open(&scratch.log(), &driver, &identity)
            .unwrap()
            .unwrap();
        log.write(Stream::Stdout, b"x\n", at(0)).unwrap();
        let text = std::fs::read_to_string(scratch.log()).unwrap();
        let expected = r#"{"log":"x\n","stream":"stdout","attrs":{"a":"1 \"2\"","tag":"web"},"time":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(text.trim_end(), expected);
        let mut reader = Reader::open(&scratch.log(), &Selection::default()).unwrap();
        let entry = reader.next().unwrap().unwrap();
        assert_eq!(entry.attributes["a"], "1 \"2\"");
    }

    proptest::proptest! {
        /// Whatever pieces output comes in, its lines are the same, and none is longer than it may be.
        #[test]
        fn lines_do_not_depend_on_how_they_come(
            text in proptest::collection::vec(proptest::prop_oneof![proptest::strategy::Just(b'\n'), proptest::num::u8::ANY], 0..400),
            cuts in proptest::collection::vec(1usize..50, 1..40),
        ) {
            let collect = |chunks: Vec<&[u8]>| {
                let mut lines = Lines::default();
                let mut found: Vec<Vec<u8>> = Vec::new();
                for chunk in chunks {
                    lines.split(Stream::Stdout, chunk, &mut |line| found.push(line.to_vec()));
                }
                found.push(lines.rest(Stream::Stdout));
                found
            };
            let mut chunks = Vec::new();
            let mut rest = &text[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let whole = collect(vec![&text]);
            proptest::prop_assert_eq!(&collect(chunks), &whole);
            proptest::prop_assert_eq!(whole.concat(), text);
        }
    }
}
