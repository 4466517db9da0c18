//! Values → JSON as Go's encoding/json writes it: one line, maps sorted, structs in the order of their fields.

use std::fmt::Write as _;

use super::value::{Header, Row, Value};

/// Returns `value` as JSON on one line.
///
/// `escape_html` writes `<`, `>` and `&` as escapes, which Go does unless it is told not to: docker's `json` function
/// tells it not to, but the lines of lists are encoded before it can.
pub(super) fn encode(value: &Value, escape_html: bool) -> String {
    let mut out = String::new();
    write(&mut out, value, escape_html);
    out
}

/// Returns a number as Go's JSON has it.
pub(super) fn float(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    // Rust writes 1e21 where Go writes 1e+21.
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            format!("{mantissa}e+{exponent}")
        }
        _ => text,
    }
}

fn write(out: &mut String, value: &Value, escape_html: bool) {
    match value {
        Value::Missing | Value::Null | Value::NilPointer(_) => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Integer(number, _) => plain(out, number),
        Value::Duration(number) => plain(out, number),
        Value::Float(number) => out.push_str(&float(*number)),
        Value::Number(digits) => out.push_str(digits),
        Value::String(text) | Value::Time(text) => string(out, text, escape_html),
        Value::List(list) if list.nil => out.push_str("null"),
        Value::Map(map) if map.nil => out.push_str("null"),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item, escape_html);
            }
            out.push(']');
        }
        Value::Map(map) => {
            let entries = map.entries.iter().map(|(key, value)| (&**key, value));
            object(out, entries, escape_html);
        }
        Value::Struct(value) => {
            let kept = value.fields.iter().filter(|field| !field.omitted);
            let entries = kept.map(|field| (&*field.json, &field.value));
            object(out, entries, escape_html);
        }
        Value::Row(row) => self::row(out, row),
        Value::Header(header) => self::header(out, header, escape_html),
    }
}

fn plain(out: &mut String, number: impl std::fmt::Display) {
    write!(out, "{number}").expect("writing to a string does not fail");
}

fn object<'a>(
    out: &mut String,
    entries: impl Iterator<Item = (&'a str, &'a Value)>,
    escape_html: bool,
) {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        string(out, key, escape_html);
        out.push(':');
        write(out, value, escape_html);
    }
    out.push('}');
}

/// A row encodes itself in Go, so its HTML is always escaped, and its columns are a map's, so they are sorted.
fn row(out: &mut String, row: &Row) {
    let columns = row.columns.iter().map(|column| column.name);
    let value = |(name, value)| {
        let mut others = row.in_json.iter();
        let other = others.find(|(other, _)| *other == name);
        (name, other.map_or(value, |(_, value)| value))
    };
    let mut entries: Vec<(&str, &Value)> = columns.zip(&row.values).map(value).collect();
    entries.sort_by_key(|(name, _)| *name);
    object(out, entries.into_iter(), true);
}

fn header(out: &mut String, header: &Header, escape_html: bool) {
    let values: Vec<(&str, Value)> = {
        let columns = header.columns.iter();
        let mut entries: Vec<_> = columns
            .map(|column| (column.name, Value::string(column.header)))
            .collect();
        entries.sort_by_key(|(name, _)| *name);
        entries
    };
    let entries = values.iter().map(|(name, value)| (*name, value));
    object(out, entries, escape_html);
}

/// Writes a JSON string; U+2028 and U+2029 are escaped too, since JavaScript takes them for line ends.
pub(super) fn string(out: &mut String, text: &str, escape_html: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' if escape_html => code(out, c),
            '\u{2028}' | '\u{2029}' => code(out, c),
            c if c < ' ' => code(out, c),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn code(out: &mut String, c: char) {
    write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::template::serialize::to_value;

    fn check(document: &impl serde::Serialize, want: &str) {
        assert_eq!(encode(&to_value(document).unwrap(), false), want);
    }

    #[test]
    fn documents_print_on_one_line() {
        check(
            &"a<b>&\"\\\n\u{1}\u{2028}é",
            r#""a<b>&\"\\\n\u0001\u2028é""#,
        );
        check(&vec![1, 2], "[1,2]");
        check(
            &serde_json::json!({"a": null, "b": [true, 1.5]}),
            r#"{"a":null,"b":[true,1.5]}"#,
        );
        check(&None::<String>, "null");
        let html = encode(&Value::string("<&>"), true);
        assert_eq!(html, r#""\u003c\u0026\u003e""#);
    }

    #[test]
    fn numbers_print_as_gos() {
        for (number, want) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(float(number), want);
        }
    }
}
