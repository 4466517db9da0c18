//! Go's quoted strings (strconv.Quote, strconv.Unquote): the COMMAND column, error texts, templates.
//!
//! Rust's `{:?}` differs for control characters and does not escape U+FEFF and its kind as Go does. Strings are UTF-8 here;
//! an escape that makes other bytes (`"\x80"`) becomes U+FFFD.

use std::fmt::Write as _;

/// Returns `text` as a Go string literal in double quotes.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        escape(&mut out, c, '"', false);
    }
    out.push('"');
    out
}

/// Returns `text` as a Go string literal in double quotes that has ASCII characters only (`%+q`).
pub fn quote_ascii(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        escape(&mut out, c, '"', true);
    }
    out.push('"');
    out
}

/// Returns `c` as a Go character literal; `ascii` escapes all other characters.
pub fn quote_char(c: char, ascii: bool) -> String {
    let mut out = String::from("'");
    escape(&mut out, c, '\'', ascii);
    out.push('\'');
    out
}

/// Returns whether Go prints `c` as it is: letters, marks, numbers, punctuation, symbols, and the ASCII space.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // A combining mark is escaped at the start of a string only, hence the letter before it.
    let pair: String = ['a', c].iter().collect();
    pair.escape_debug().nth(1) != Some('\\')
}

fn escape(out: &mut String, c: char, delimiter: char, ascii: bool) {
    let named = match c {
        '\u{7}' => Some('a'),
        '\u{8}' => Some('b'),
        '\u{c}' => Some('f'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        '\u{b}' => Some('v'),
        '\\' => Some('\\'),
        c if c == delimiter => Some(c),
        _ => None,
    };
    let code = u32::from(c);
    let written = match named {
        Some(letter) => {
            out.push('\\');
            out.push(letter);
            Ok(())
        }
        None if is_printable(c) && (c.is_ascii() || !ascii) => {
            out.push(c);
            Ok(())
        }
        None if code < 0x80 => write!(out, "\\x{code:02x}"),
        None if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
        None => write!(out, "\\U{code:08x}"),
    };
    written.expect("writing to a string does not fail");
}

/// Returns the text that a Go literal stands for: `"…"`, `` `…` `` or `'c'`; `None` if it is malformed.
pub fn unquote(literal: &str) -> Option<String> {
    let delimiter = literal.chars().next()?;
    let inner = literal.strip_prefix(delimiter)?.strip_suffix(delimiter)?;
    match delimiter {
        '`' if !inner.contains('`') => Some(inner.replace('\r', "")),
        '"' => {
            let bytes = unescape(inner, '"')?;
            Some(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            })
        }
        '\'' => unquote_char(inner).map(String::from),
        _ => None,
    }
}

/// Returns the character that the inside of a Go character literal stands for, if it is exactly one.
pub fn unquote_char(inner: &str) -> Option<char> {
    let mut chars = inner.chars();
    let c = match chars.next()? {
        '\'' | '\n' => return None,
        '\\' => match unescape_one(&mut chars, '\'')? {
            Unescaped::Byte(byte) => char::from(byte),
            Unescaped::Char(c) => c,
        },
        c => c,
    };
    chars.next().is_none().then_some(c)
}

enum Unescaped {
    Byte(u8),
    Char(char),
}

fn unescape(inner: &str, delimiter: char) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    let mut buffer = [0; 4];
    while let Some(c) = chars.next() {
        let c = match c {
            '\n' => return None,
            c if c == delimiter => return None,
            '\\' => match unescape_one(&mut chars, delimiter)? {
                Unescaped::Byte(byte) => {
                    out.push(byte);
                    continue;
                }
                Unescaped::Char(c) => c,
            },
            c => c,
        };
        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
    Some(out)
}

/// Reads what follows a backslash.
fn unescape_one(chars: &mut std::str::Chars<'_>, delimiter: char) -> Option<Unescaped> {
    let c = chars.next()?;
    let digits = match c {
        'a' => return Some(Unescaped::Char('\u{7}')),
        'b' => return Some(Unescaped::Char('\u{8}')),
        'f' => return Some(Unescaped::Char('\u{c}')),
        'n' => return Some(Unescaped::Char('\n')),
        'r' => return Some(Unescaped::Char('\r')),
        't' => return Some(Unescaped::Char('\t')),
        'v' => return Some(Unescaped::Char('\u{b}')),
        '\\' => return Some(Unescaped::Char('\\')),
        '0'..='7' => {
            let text: String = [c, chars.next()?, chars.next()?].iter().collect();
            let byte = u8::from_str_radix(&text, 8).ok()?;
            return Some(Unescaped::Byte(byte));
        }
        'x' => 2,
        'u' => 4,
        'U' => 8,
        c if c == delimiter => return Some(Unescaped::Char(c)),
        _ => return None,
    };
    let mut code = 0_u32;
    for _ in 0..digits {
        code = code
            .checked_mul(16)?
            .checked_add(chars.next()?.to_digit(16)?)?;
    }
    match u8::try_from(code) {
        Ok(byte) if digits == 2 => Some(Unescaped::Byte(byte)),
        _ => char::from_u32(code).map(Unescaped::Char),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_gos() {
        for (text, want) in [
            ("", r#""""#),
            ("sleep 100", r#""sleep 100""#),
            (r#"sh -c 'echo "a b"'"#, r#""sh -c 'echo \"a b\"'""#),
            ("a\tb\nc\\", r#""a\tb\nc\\""#),
            ("\u{7}\u{b}\u{1}\u{7f}", r#""\a\v\x01\x7f""#),
            ("é世🐳…", r#""é世🐳…""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{301}", "\"\u{301}\""),
            ("\u{feff}\u{200b}\u{a0}", r#""\ufeff\u200b\u00a0""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quote(text), want, "{text:?}");
            assert_eq!(unquote(want).as_deref(), Some(text), "{want}");
        }
        assert_eq!(quote_ascii("é\u{1f40b}"), r#""\u00e9\U0001f40b""#);
        assert_eq!(quote_char('\'', false), r"'\''");
        assert_eq!(quote_char('"', false), r#"'"'"#);
    }

    #[test]
    fn unquoting_refuses_what_go_refuses() {
        for (literal, want) in [
            (r#""\x41\101\u00e9""#, Some("AAé")),
            ("`a\\n\r`", Some("a\\n")),
            ("'a'", Some("a")),
            (r"'\''", Some("'")),
            (r"'\xff'", Some("ÿ")),
            (r#""\'""#, None),
            (r#"'\"'"#, None),
            (r#""\q""#, None),
            (r#""\x4""#, None),
            (r#""\400""#, None),
            (r#""\ud800""#, None),
            ("\"a\nb\"", None),
            ("'ab'", None),
            ("''", None),
            ("\"", None),
            ("", None),
            ("abc", None),
        ] {
            assert_eq!(unquote(literal).as_deref(), want, "{literal}");
        }
    }
}
