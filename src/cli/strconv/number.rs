//! Numbers and truth values as Go reads them from arguments, with its error texts.

use anyhow::Result;

use super::quote;
use crate::{docker, error};

/// Reads a whole number in any of Go's notations (base 0): `10`, `-0x1F`, `0o17`, `017`, `0b11`, `1_000`.
pub fn any_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if !underscores_are_fine(body, radix != 10) {
        return None;
    }
    let body = body.replace('_', "");
    if !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(&body, radix).ok()?;
    Some(if negative { -value } else { value })
}

/// An underscore stands between digits, or between a prefix and a digit.
fn underscores_are_fine(body: &str, prefixed: bool) -> bool {
    let start = prefixed || !body.starts_with('_');
    start && !body.ends_with('_') && !body.contains("__")
}

fn refuse<T>(function: &str, text: &str, why: &str) -> Result<T> {
    let quoted = quote::quote(text);
    Err(error::invalid(format!(
        "strconv.{function}: parsing {quoted}: {why}"
    )))
}

const SYNTAX: &str = "invalid syntax";
const RANGE: &str = "value out of range";

/// Whether `text` looks like a number, though one that is too large for any type here.
fn is_too_large(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Reads a number of Go's type `int64` (`strconv.ParseInt` with base 0); the errors are of kind `Invalid`.
pub fn parse_int(text: &str) -> Result<i64> {
    match any_integer(text) {
        Some(number) => i64::try_from(number).or_else(|_| refuse("ParseInt", text, RANGE)),
        None if is_too_large(text) => refuse("ParseInt", text, RANGE),
        None => refuse("ParseInt", text, SYNTAX),
    }
}

/// Reads a number without a sign that is not above `max` (`strconv.ParseUint` with base 0).
pub fn parse_uint(text: &str, max: u64) -> Result<u64> {
    let unsigned = !text.starts_with(['+', '-']);
    match any_integer(text).filter(|_| unsigned) {
        Some(number) => match u64::try_from(number) {
            Ok(number) if number <= max => Ok(number),
            _ => refuse("ParseUint", text, RANGE),
        },
        None if unsigned && is_too_large(text) => refuse("ParseUint", text, RANGE),
        None => refuse("ParseUint", text, SYNTAX),
    }
}

/// Reads a decimal number of Go's type `int` (`strconv.Atoi`).
pub fn parse_decimal(text: &str) -> Result<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if decimal => Ok(number),
        Err(_) if decimal => refuse("Atoi", text, RANGE),
        _ => refuse("Atoi", text, SYNTAX),
    }
}

/// Reads a truth value (`strconv.ParseBool`): `1 t T true TRUE True`, and the same for false.
pub fn parse_bool(text: &str) -> Result<bool> {
    docker::truth(text).map_or_else(|| refuse("ParseBool", text, SYNTAX), Ok)
}

/// Reads a floating-point number (`strconv.ParseFloat`).
pub fn parse_float(text: &str) -> Result<f64> {
    let Ok(number) = text.parse::<f64>() else {
        return refuse("ParseFloat", text, SYNTAX);
    };
    let named = text.contains(['i', 'I', 'n', 'N']);
    if number.is_infinite() && !named {
        return refuse("ParseFloat", text, RANGE);
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn numbers_in_gos_notations() {
        for (text, want) in [
            ("0", 0),
            ("-1", -1),
            ("+1", 1),
            ("0x10", 16),
            ("010", 8),
            ("0o10", 8),
            ("0b10", 2),
            ("1_000", 1000),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(parse_int(text).unwrap(), want, "{text}");
        }
        assert_eq!(parse_uint("1000", 65535).unwrap(), 1000);
        assert_eq!(parse_decimal("010").unwrap(), 10);
        assert!(parse_bool("T").unwrap() && !parse_bool("False").unwrap());
    }

    #[test]
    fn errors_are_gos() {
        let number = "99999999999999999999";
        let huge = "9".repeat(60);
        assert_eq!(
            error(parse_int("x")),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            error(parse_int("")),
            "strconv.ParseInt: parsing \"\": invalid syntax"
        );
        assert_eq!(
            error(parse_int("1.5")),
            "strconv.ParseInt: parsing \"1.5\": invalid syntax"
        );
        assert_eq!(
            error(parse_int(number)),
            format!("strconv.ParseInt: parsing \"{number}\": value out of range")
        );
        assert_eq!(
            error(parse_int(&huge)),
            format!("strconv.ParseInt: parsing \"{huge}\": value out of range")
        );
        assert_eq!(
            error(parse_uint("70000", 65535)),
            "strconv.ParseUint: parsing \"70000\": value out of range"
        );
        assert_eq!(
            error(parse_uint("-1", 65535)),
            "strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
        assert_eq!(
            error(parse_decimal("0x1")),
            "strconv.Atoi: parsing \"0x1\": invalid syntax"
        );
        assert_eq!(
            error(parse_bool("maybe")),
            "strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(
            error(parse_float("1e999")),
            "strconv.ParseFloat: parsing \"1e999\": value out of range"
        );
    }
}
