//! The escaping functions of templates: html, js and urlquery.

use std::fmt::Write as _;

use crate::cli::strconv::quote;

/// Returns `text` with the characters that mean something in HTML escaped.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// Returns `text` as the inside of a JavaScript string.
pub(super) fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => {
                out.push('\\');
                out.push(c);
            }
            '<' | '>' | '&' | '=' => code(&mut out, c),
            c if c < ' ' => code(&mut out, c),
            c if !c.is_ascii() && !quote::is_printable(c) => code(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// Returns `text` as a value in the query of a URL.
pub(super) fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => {
                write!(out, "%{byte:02X}").expect("writing to a string does not fail");
            }
        }
    }
    out
}

fn code(out: &mut String, c: char) {
    write!(out, "\\u{:04X}", u32::from(c)).expect("writing to a string does not fail");
}
