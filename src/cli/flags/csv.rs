//! One record of CSV (RFC 4180), as Go's encoding/csv reads it: the form of `--mount`, `--network` and `--gpus`.

use anyhow::Result;

use crate::error;

/// Reads the fields of one record.
///
/// Errors are of kind `Invalid` with Go's texts; an empty text is `EOF`.
pub fn record(text: &str) -> Result<Vec<String>> {
    let line = text.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(error::invalid("EOF"));
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let column = line.len() - rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, column + 1)?,
            None => plain_field(rest, column)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A field, and what is after the comma that ends it.
type Field<'a> = (String, Option<&'a str>);

fn refuse(column: usize, why: &str) -> anyhow::Error {
    let column = column + 1;
    error::invalid(format!("parse error on line 1, column {column}: {why}"))
}

fn plain_field(rest: &str, column: usize) -> Result<Field<'_>> {
    let (field, after) = match rest.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (rest, None),
    };
    if let Some(quote) = field.find('"') {
        let why = "bare \" in non-quoted-field";
        return Err(refuse(column + quote, why));
    }
    Ok((field.to_owned(), after))
}

/// A field whose first quote was read.
fn quoted_field(quoted: &str, column: usize) -> Result<Field<'_>> {
    let mut field = String::new();
    let mut rest = quoted;
    while let Some(quote) = rest.find('"') {
        field.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.as_bytes().first() {
            None => return Ok((field, None)),
            Some(b',') => return Ok((field, Some(&rest[1..]))),
            Some(b'"') => {
                field.push('"');
                rest = &rest[1..];
            }
            Some(_) => {
                let at = column + quoted.len() - rest.len() - 1;
                return Err(refuse(at, "extraneous or missing \" in quoted-field"));
            }
        }
    }
    let at = column + quoted.len();
    Err(refuse(at, "extraneous or missing \" in quoted-field"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_can_be_quoted() {
        for (text, want) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("a,", vec!["a", ""]),
            (",", vec!["", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"a\"\"b\"", vec!["a\"b"]),
            ("\"\"", vec![""]),
            ("a b,c=d", vec!["a b", "c=d"]),
        ] {
            assert_eq!(record(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn bad_quotes_are_refused_with_gos_texts() {
        let bare = "bare \" in non-quoted-field";
        let missing = "extraneous or missing \" in quoted-field";
        for (text, column, why) in [
            ("a\"b", 2, bare),
            ("x,a\"b", 4, bare),
            ("\"a", 3, missing),
            ("\"a\"b", 3, missing),
        ] {
            let want = format!("parse error on line 1, column {column}: {why}");
            assert_eq!(record(text).unwrap_err().to_string(), want, "{text}");
        }
        assert_eq!(record("").unwrap_err().to_string(), "EOF");
    }
}
