//! What is wrong with a JSON document that a person wrote, and where.
//!
//! The parser says where it stopped; people want to know what to type. Most such files were pasted from a page: commas are
//! missing between lines or left over at the end, quotes are typographic, commas and colons are those of Chinese text.
//! [`explain`] looks at what stands where the parser stopped and says it in those words, with the line and a caret:
//!
//! ```text
//! line 3, column 38: a comma is missing after "https://a.example.com"
//!     3 |     "https://a.example.com"
//!       |                            ^
//! ```

use std::fmt;

use serde_json::error::Category;
use unicode_width::UnicodeWidthStr as _;

/// The longest part of a line that is shown.
const SHOWN_CHARS: usize = 120;
/// The longest piece of the document that is repeated in a sentence.
const QUOTED_CHARS: usize = 40;

/// A mistake in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// Characters from the beginning of the line, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// The line itself.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.what
        )?;
        // Of a line that is very long, the part around the place.
        let before = self.column - 1;
        let skipped = before.saturating_sub(SHOWN_CHARS / 2);
        let shown: String = self.text.chars().skip(skipped).take(SHOWN_CHARS).collect();
        let shown = shown.replace('\t', " ");
        let lead: String = shown.chars().take(before - skipped).collect();
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "  {number} | {}", shown.trim_end())?;
        write!(f, "  {gutter} | {}^", " ".repeat(lead.width()))
    }
}

/// Returns what is wrong at the byte `at` of `text`, in the caller's words.
pub fn mistake(
    text: &str,
    at: usize,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> Mistake {
    let at = floor(text, at);
    let start = text[..at].rfind('\n').map_or(0, |index| index + 1);
    let end = text[at..].find('\n').map_or(text.len(), |index| at + index);
    Mistake {
        line: text[..start].matches('\n').count() + 1,
        column: text[start..at].chars().count() + 1,
        what: what.into(),
        remedy: remedy.into(),
        text: text[start..end].trim_end_matches('\r').to_owned(),
    }
}

/// Returns the beginning of the character in which the byte `at` lies.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Returns what the parser's complaint about `text` comes to for its author.
pub fn explain(text: &str, error: &serde_json::Error) -> Mistake {
    let at = offset(text, error.line(), error.column());
    let said = error.to_string();
    let said = said
        .rsplit_once(" at line ")
        .map_or(said.as_str(), |(what, _)| what);
    if error.classify() == Category::Data {
        return mistake(text, at, said, "");
    }
    if error.is_eof() {
        return ends_early(text);
    }
    if said.starts_with("control character") {
        return open_string(text, at);
    }
    let found = text[at..].chars().next().unwrap_or(' ');
    if let Some(mistake) = odd_character(text, at, found) {
        return mistake;
    }
    match said {
        "trailing comma" => {
            let comma = text[..at].rfind(',').unwrap_or(at);
            let what = format!("the comma before {found} is one too many");
            mistake(
                text,
                comma,
                what,
                "take the comma away: it stands between values, not after the last one",
            )
        }
        "expected `,` or `]`" | "expected `,` or `}`" => between_values(text, at, found, said),
        "expected `:`" if found == '=' => mistake(
            text,
            at,
            "a name and its value are separated by = instead of a colon",
            "write : for =",
        ),
        "expected `:`" => {
            let end = text[..at].trim_end().len();
            let what = format!("a colon is missing after {}", last_token(text, end));
            mistake(
                text,
                end,
                what,
                "write a colon between a name and its value",
            )
        }
        "key must be a string" if found == ',' => mistake(
            text,
            at,
            "a comma has nothing before it",
            "take the comma away",
        ),
        "key must be a string" => {
            let what = format!("the name {} has no quotes", word(&text[at..]));
            mistake(text, at, what, "write names in double quotes: \"name\"")
        }
        "trailing characters" => trailing(text, at, found),
        "expected value" | "expected ident" => value(text, at, found),
        "invalid escape" => mistake(
            text,
            at.saturating_sub(1),
            "a backslash begins something that JSON does not know",
            "write \\\\ for a backslash",
        ),
        other => mistake(text, at, other, ""),
    }
}

/// The parser counts bytes, from 1; column 0 is the end of the line before.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    floor(text, (start + column).saturating_sub(1))
}

/// Characters that only look like JSON's.
fn odd_character(text: &str, at: usize, found: char) -> Option<Mistake> {
    let plain = match found {
        '“' | '”' | '„' | '‟' | '«' | '»' | '＂' | '″' | '「' | '」' | '‘' | '’' | '＇' => {
            "\""
        }
        '，' | '、' | '；' => ",",
        '：' => ":",
        '［' | '【' => "[",
        '］' | '】' => "]",
        '｛' => "{",
        '｝' => "}",
        '\'' | '`' => {
            let what = format!("{found} is no quote of JSON");
            return Some(mistake(text, at, what, "write double quotes: \""));
        }
        '#' => return Some(comment(text, at)),
        '/' if text[at..].starts_with("//") || text[at..].starts_with("/*") => {
            return Some(comment(text, at));
        }
        other if other.is_whitespace() => {
            let what = format!(
                "a blank that JSON does not know (U+{:04X})",
                u32::from(other)
            );
            return Some(mistake(
                text,
                at,
                what,
                "replace it by a plain blank, or take it away",
            ));
        }
        '\u{feff}' | '\u{200b}'..='\u{200f}' => {
            let what = format!("an invisible character (U+{:04X})", u32::from(found));
            return Some(mistake(text, at, what, "delete the line and type it again"));
        }
        _ => return None,
    };
    let what = format!("{found} only looks like {plain}");
    let remedy =
        format!("write {plain} with the keyboard set to English; the file may have more of them");
    Some(mistake(text, at, what, remedy))
}

fn comment(text: &str, at: usize) -> Mistake {
    mistake(text, at, "JSON has no comments", "take the comment away")
}

/// Between two values something else stands than a comma.
fn between_values(text: &str, at: usize, found: char, said: &str) -> Mistake {
    let wanted = if said.ends_with("`]`") { ']' } else { '}' };
    let end = text[..at].trim_end().len();
    match found {
        ']' | '}' => {
            let what = format!("{found} comes before the {wanted} that must come first");
            mistake(
                text,
                at,
                what,
                format!("write {wanted} before {found}, or take {found} away"),
            )
        }
        ':' => mistake(
            text,
            at,
            "a name and a value stand in a list",
            "write { and } around names with values, [ and ] around lists",
        ),
        _ => {
            let what = format!("a comma is missing after {}", last_token(text, end));
            let line = text[..end].matches('\n').count() + 1;
            mistake(
                text,
                end,
                what,
                format!("write a comma there (line {line})"),
            )
        }
    }
}

fn trailing(text: &str, at: usize, found: char) -> Mistake {
    match found {
        '}' | ']' => mistake(
            text,
            at,
            format!("this {found} closes nothing"),
            "take it away, or look for one that closes too early above",
        ),
        ':' => mistake(
            text,
            at,
            "the document does not begin with {",
            "write { at the beginning of the file and } at its end",
        ),
        '{' => mistake(
            text,
            at,
            "a second document begins after the end of the first",
            "make one of them: a comma in place of } and {",
        ),
        _ => mistake(
            text,
            at,
            "something follows the end of the document",
            "take it away, or look for a } that closes too early above",
        ),
    }
}

/// A value should begin here.
fn value(text: &str, at: usize, found: char) -> Mistake {
    let name = word(&text[at..]);
    let spelled = name.to_ascii_lowercase();
    match found {
        ',' => mistake(
            text,
            at,
            "a comma has nothing before it",
            "take the comma away",
        ),
        '}' | ']' => mistake(
            text,
            at,
            format!("{found} stands where a value must be"),
            "write the value, or take its name away",
        ),
        _ if matches!(spelled.as_str(), "true" | "false" | "null") => mistake(
            text,
            at,
            format!("{name} is written {spelled} in JSON"),
            format!("write {spelled}"),
        ),
        _ => mistake(
            text,
            at,
            format!("{name} is no value"),
            "write texts in double quotes: \"text\"",
        ),
    }
}

/// A string that does not end on its line; the cause may be a quote that is none.
fn open_string(text: &str, at: usize) -> Mistake {
    let start = text[..at].rfind('\n').map_or(0, |index| index + 1);
    let line = &text[start..floor(text, at)];
    let quote = start + last_open_quote(line).unwrap_or(0);
    let string = &text[quote..start + line.len()];
    let odd = string
        .char_indices()
        .find(|(_, c)| matches!(c, '“' | '”' | '„' | '‟' | '＂' | '″'));
    if let Some((index, found)) = odd
        && let Some(mistake) = odd_character(text, quote + index, found)
    {
        return mistake;
    }
    mistake(
        text,
        quote,
        "a text begins here and does not end on this line",
        "write the double quote at its end",
    )
}

/// Returns where the string begins that a line leaves open.
fn last_open_quote(line: &str) -> Option<usize> {
    let mut open = None;
    let mut escaped = false;
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if open.is_some() => escaped = true,
            b'"' => open = open.map_or(Some(index), |_: usize| None),
            _ => {}
        }
    }
    open
}

/// The document ends while something is open.
fn ends_early(text: &str) -> Mistake {
    let mut open = Vec::new();
    let mut string: Option<usize> = None;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string.is_some() => escaped = true,
            b'"' => string = string.map_or(Some(index), |_| None),
            _ if string.is_some() => {}
            b'{' | b'[' => open.push((index, byte)),
            b'}' | b']' => drop(open.pop()),
            _ => {}
        }
    }
    if let Some(at) = string {
        return mistake(
            text,
            at,
            "a text begins here and does not end",
            "write the double quote at its end",
        );
    }
    match open.last() {
        Some((at, byte)) => {
            let (from, to) = if *byte == b'{' {
                ('{', '}')
            } else {
                ('[', ']')
            };
            let what = format!("the {from} that stands here is not closed");
            mistake(
                text,
                *at,
                what,
                format!("write {to} at the end of what belongs to it"),
            )
        }
        None => mistake(
            text,
            text.trim_end().len(),
            "the file ends where a value must be",
            "write the value",
        ),
    }
}

/// Returns the value before the byte `end`, for a sentence.
fn last_token(text: &str, end: usize) -> String {
    let before = &text[..end];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let token = if before.ends_with('"') {
        let inner = &line[..line.len() - 1];
        inner.rfind('"').map_or(line, |index| &line[index..])
    } else {
        line.rsplit([',', ':', ' ', '\t'])
            .next()
            .unwrap_or_default()
    };
    let token = token.trim();
    let mut chars = token.chars();
    let short: String = chars.by_ref().take(QUOTED_CHARS).collect();
    if chars.next().is_some() {
        format!("{short}…")
    } else {
        short
    }
}

/// Returns the word at the beginning of `text`, or its first character.
fn word(text: &str) -> &str {
    let end = text
        .char_indices()
        .find(|(_, c)| c.is_whitespace() || matches!(c, ':' | ',' | '"' | ']' | '}' | '[' | '{'))
        .map_or(text.len(), |(index, _)| index);
    let first = text.chars().next().map_or(0, char::len_utf8);
    let end = end.max(first);
    let limit = text
        .char_indices()
        .nth(QUOTED_CHARS)
        .map_or(end, |(index, _)| index.min(end));
    &text[..limit]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn complaint(text: &str) -> Option<Mistake> {
        let error = serde_json::from_str::<serde_json::Value>(text).err()?;
        Some(explain(text, &error))
    }

    /// `line:column what` of a document that is broken.
    fn check(text: &str, want: &str) {
        let got = complaint(text).unwrap();
        assert_eq!(
            format!("{}:{} {}", got.line, got.column, got.what),
            want,
            "{text}"
        );
    }

    #[test]
    fn mistakes_are_named_where_they_are() {
        check(
            "{\n \"a\": [\n  \"x\"\n  \"y\"\n ]\n}",
            "3:6 a comma is missing after \"x\"",
        );
        check(
            "{\n \"a\": 12\n \"b\": 2\n}",
            "2:9 a comma is missing after 12",
        );
        check(
            "{\n \"a\": [1]\n \"b\": 2\n}",
            "2:10 a comma is missing after [1]",
        );
        check(
            "{\"a\": [\"x\",]}",
            "1:11 the comma before ] is one too many",
        );
        check("{\n \"a\": 1,\n}", "2:8 the comma before } is one too many");
        check("{\n “a”: 1\n}", "2:2 “ only looks like \"");
        check("{\n \"a”: 1\n}", "2:4 ” only looks like \"");
        check("{\n \"a\": “x”\n}", "2:7 “ only looks like \"");
        check("{\"a\"： 1}", "1:5 ： only looks like :");
        check("{\"a\": 1， \"b\":2}", "1:8 ， only looks like ,");
        check("{\"镜像\" 1}", "1:6 a colon is missing after \"镜像\"");
        check("{'a': 1}", "1:2 ' is no quote of JSON");
        check("{a: 1}", "1:2 the name a has no quotes");
        check(
            "{\"a\" = 1}",
            "1:6 a name and its value are separated by = instead of a colon",
        );
        check("{\"a\": [1\n", "1:7 the [ that stands here is not closed");
        check(
            "{\"a\": \"x\n}",
            "1:7 a text begins here and does not end on this line",
        );
        check("{\"a\": \"x}", "1:7 a text begins here and does not end");
        check("{\n // c\n \"a\": 1\n}", "2:2 JSON has no comments");
        check("{\"a\": 1} # c", "1:10 JSON has no comments");
        check("{\"a\": 1}}", "1:9 this } closes nothing");
        check(
            "{\"a\": 1}\n{\"b\": 1}",
            "2:1 a second document begins after the end of the first",
        );
        check("{\"a\": True}", "1:7 True is written true in JSON");
        check("{\"a\": yes}", "1:7 yes is no value");
        check(
            "{\"a\": [1}",
            "1:9 } comes before the ] that must come first",
        );
        check(
            "{\"a\": [\"b\": 1]}",
            "1:11 a name and a value stand in a list",
        );
        check("\"a\": 1", "1:4 the document does not begin with {");
        check(
            "{\"a\": \"c:\\x\"}",
            "1:10 a backslash begins something that JSON does not know",
        );
        check("{\"a\": }", "1:7 } stands where a value must be");
        check("{\"a\":1,,\"b\":2}", "1:8 a comma has nothing before it");
        check("{", "1:1 the { that stands here is not closed");
        check(
            "{\"a\":\u{a0}1}",
            "1:6 a blank that JSON does not know (U+00A0)",
        );
    }

    #[test]
    fn the_caret_stands_under_the_mistake() {
        let text = "{\n\t\"名\": [\"a\"\n\t\"b\"]\n}";
        let shown = complaint(text).unwrap().to_string();
        assert_eq!(
            shown,
            "line 2, column 11: a comma is missing after \"a\"\n  2 |  \"名\": [\"a\"\n    |            ^"
        );
        let long = format!("{{\"a\": \"{}\" x}}", "y".repeat(500));
        let shown = complaint(&long).unwrap().to_string();
        assert!(
            shown.lines().all(|line| line.chars().count() < 140),
            "{shown}"
        );
    }

    proptest! {
        /// Whatever is wrong with a document, there is something to say, and its place is in the text.
        #[test]
        fn every_broken_document_is_explained(
            pieces in proptest::collection::vec(
                prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"a\"", "\"", "“", "'", "1", "tru", "\n", " ", "，", "#", "\\", "\u{0}"]),
                0..24,
            )
        ) {
            let text: String = pieces.concat();
            if let Some(mistake) = complaint(&text) {
                let line = text.split('\n').nth(mistake.line - 1).unwrap();
                prop_assert!(mistake.column >= 1 && mistake.column <= line.chars().count() + 1);
                prop_assert!(!mistake.what.is_empty());
                prop_assert_eq!(mistake.to_string().lines().count(), 3);
            }
        }
    }
}
