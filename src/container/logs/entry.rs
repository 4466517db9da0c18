//! Entries of a log file, read back.
//!
//! Most are as our own writer makes them, and are read without a parser of JSON. Others are left to one: those with
//! attributes, and what somebody else has written in another way.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::{Attributes, Stream};

/// One entry as it was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// The line, with its `\n` unless it is a piece of a longer one.
    pub line: &'a str,
    /// Attributes of the container that were wanted.
    pub attributes: &'a Attributes,
}

/// Reads entries one after the other, each into the place of the one before.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    time: Timestamp,
    stream: Stream,
    line: String,
    attributes: Attributes,
    /// The last time that was parsed: all entries of one read of the writer's have the same.
    parsed: Option<(String, Timestamp)>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    log: String,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: Attributes,
    time: Timestamp,
}

impl Decoder {
    /// Reads the entry on a line of the file and returns its time; nothing if it is none.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Option<Timestamp> {
        if self.decode_own(bytes).is_none() {
            self.decode_json(bytes)?;
        }
        Some(self.time)
    }

    /// Returns what was read last.
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            time: self.time,
            stream: self.stream,
            line: &self.line,
            attributes: &self.attributes,
        }
    }

    /// Reads `{"log":"…","stream":"…","time":"…"}`, with no blanks and in this order.
    fn decode_own(&mut self, bytes: &[u8]) -> Option<()> {
        let text = std::str::from_utf8(bytes).ok()?;
        self.line.clear();
        let rest = unescape(text.strip_prefix("{\"log\":\"")?, &mut self.line)?;
        let rest = rest.strip_prefix(",\"stream\":\"")?;
        let (stream, rest) = rest.split_once('"')?;
        let time = rest.strip_prefix(",\"time\":\"")?.strip_suffix("\"}")?;
        self.time = match &self.parsed {
            Some((text, parsed)) if text == time => *parsed,
            _ => {
                let parsed = time.parse().ok()?;
                self.parsed = Some((time.to_owned(), parsed));
                parsed
            }
        };
        self.stream = of_name(stream);
        self.attributes.clear();
        Some(())
    }

    fn decode_json(&mut self, bytes: &[u8]) -> Option<()> {
        let raw: Raw<'_> = serde_json::from_slice(bytes).ok()?;
        self.time = raw.time;
        self.stream = of_name(&raw.stream);
        self.line = raw.log;
        self.attributes = raw.attrs;
        Some(())
    }
}

fn of_name(stream: &str) -> Stream {
    if stream == Stream::Stderr.name() {
        Stream::Stderr
    } else {
        Stream::Stdout
    }
}

/// Appends the text of a JSON string to `out` and returns what follows its closing quote; nothing if it has none, or escapes
/// that the writer does not make.
fn unescape<'a>(mut json: &'a str, out: &mut String) -> Option<&'a str> {
    loop {
        let at = memchr::memchr2(b'"', b'\\', json.as_bytes())?;
        out.push_str(&json[..at]);
        let rest = &json[at + 1..];
        if json.as_bytes()[at] == b'"' {
            return Some(rest);
        }
        let (character, length) = match rest.as_bytes().first()? {
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            byte @ (b'"' | b'\\') => (char::from(*byte), 1),
            // A half of a pair is no character.
            b'u' => (char::from_u32(hexadecimal(rest.get(1..5)?)?)?, 5),
            _ => return None,
        };
        out.push(character);
        json = &rest[length..];
    }
}

fn hexadecimal(digits: &str) -> Option<u32> {
    let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways of reading say the same of what our writer makes, and of what it does not the parser says it.
    fn check(bytes: &str, is_own: bool, line: Option<&str>) {
        let (mut own, mut json) = (Decoder::default(), Decoder::default());
        assert_eq!(
            own.decode_own(bytes.as_bytes()).is_some(),
            is_own,
            "{bytes}"
        );
        assert_eq!(
            json.decode_json(bytes.as_bytes()).is_some(),
            line.is_some(),
            "{bytes}"
        );
        if is_own {
            assert_eq!(own.entry(), json.entry(), "{bytes}");
        }
        let mut either = Decoder::default();
        let time = either.decode(bytes.as_bytes());
        assert_eq!(time.map(|_| either.entry().line), line, "{bytes}");
    }

    #[test]
    fn entries_are_read_as_json_has_them() {
        let entry = |log: &str, stream: &str, more: &str| {
            format!(
                r#"{{"log":"{log}","stream":"{stream}"{more},"time":"2026-01-02T03:04:05.67Z"}}"#
            )
        };
        check(&entry("a\\n", "stdout", ""), true, Some("a\n"));
        check(&entry("", "stderr", ""), true, Some(""));
        check(
            &entry(r#"\"\\\t\r\u003c\u2028\ufffd é\n"#, "stdout", ""),
            true,
            Some("\"\\\t\r<\u{2028}\u{fffd} é\n"),
        );
        check(
            &entry(r"\ud83d\ude00\/\b", "stdout", ""),
            false,
            Some("😀/\u{8}"),
        );
        check(
            &entry("x", "stdout", r#","attrs":{"a":"b"}"#),
            false,
            Some("x"),
        );
        check(
            r#"{"time":"2026-01-02T03:04:05Z","stream":"stdout","log":"x"}"#,
            false,
            Some("x"),
        );
        for wrong in [
            "",
            "{\"log\":\"x",
            "{\"log\":\"\\u+03c\"}",
            "{\"log\":\"x\",\"stream\":\"stdout\",\"time\":\"\"}",
        ] {
            check(wrong, false, None);
        }
    }

    #[test]
    fn an_entry_takes_the_place_of_the_one_before() {
        let mut decoder = Decoder::default();
        let first =
            br#"{"log":"x\n","stream":"stderr","attrs":{"a":"b"},"time":"1970-01-01T00:00:01Z"}"#;
        assert!(decoder.decode(first).is_some());
        assert_eq!(decoder.entry().attributes["a"], "b");
        for second in [2, 2, 3] {
            let own =
                format!(r#"{{"log":"y","stream":"stdout","time":"1970-01-01T00:00:0{second}Z"}}"#);
            let time = Timestamp::from_second(second).unwrap();
            assert_eq!(decoder.decode(own.as_bytes()), Some(time));
            let entry = decoder.entry();
            assert_eq!((entry.line, entry.stream), ("y", Stream::Stdout));
            assert!(entry.attributes.is_empty());
        }
    }
}
