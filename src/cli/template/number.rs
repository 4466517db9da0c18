//! Number literals (text/template/parse, NumberNode): every type a literal can stand for.
//!
//! Imaginary numbers are refused: nothing that a template can say of a container has a use for them.

use crate::cli::strconv::number::any_integer;
use crate::cli::strconv::quote;

/// A literal, and its value as each type that can hold it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Number {
    /// As it was written.
    pub(super) text: String,
    pub(super) integer: Option<i64>,
    pub(super) unsigned: Option<u64>,
    pub(super) float: Option<f64>,
}

impl Number {
    /// Whether the literal alone, where no type is asked for, is a floating-point number.
    pub(super) fn is_float(&self) -> bool {
        let text = &self.text;
        let hex = text.starts_with("0x") || text.starts_with("0X");
        let hex_integer = hex && !text.contains(['p', 'P']);
        self.float.is_some()
            && !hex_integer
            && !text.starts_with('\'')
            && text.contains(['.', 'e', 'E', 'p', 'P'])
    }
}

/// Reads a character literal with its quotes.
pub(super) fn character(text: &str) -> Result<Number, String> {
    let inner = text
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''));
    let Some(c) = inner.and_then(quote::unquote_char) else {
        let one = inner.is_some_and(|inner| !inner.is_empty() && !inner.starts_with('\\'));
        return Err(if one {
            format!("malformed character constant: {text}")
        } else {
            "invalid syntax".to_owned()
        });
    };
    let code = u32::from(c);
    Ok(Number {
        text: text.to_owned(),
        integer: Some(i64::from(code)),
        unsigned: Some(u64::from(code)),
        float: Some(f64::from(code)),
    })
}

/// Reads a number that is not imaginary.
pub(super) fn number(text: &str) -> Result<Number, String> {
    if text.ends_with('i') {
        let quoted = quote::quote(text);
        return Err(format!("imaginary numbers are not supported: {quoted}"));
    }
    let mut number = Number {
        text: text.to_owned(),
        integer: any_integer(text).and_then(|value| i64::try_from(value).ok()),
        ..Number::default()
    };
    // A sign makes the unsigned reading fail in Go; -0 is the exception.
    if !text.starts_with(['+', '-']) || number.integer == Some(0) {
        number.unsigned = any_integer(text).and_then(|value| u64::try_from(value).ok());
    }
    if let Some(value) = number.integer {
        number.float = Some(to_float(i128::from(value)));
    } else if let Some(value) = number.unsigned {
        number.float = Some(to_float(i128::from(value)));
    } else if let Some(value) = float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote::quote(text)));
        }
        number.float = Some(value);
        let whole = whole(value);
        number.integer = whole.and_then(|value| i64::try_from(value).ok());
        number.unsigned = whole.and_then(|value| u64::try_from(value).ok());
    }
    if number.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote::quote(text)));
    }
    Ok(number)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Go's conversion of an integer literal to float64 rounds too"
)]
fn to_float(value: i128) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the value is whole and below 2^64"
)]
fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() < 18_446_744_073_709_551_616.0).then_some(value as i128)
}

/// Go's ParseFloat, with hexadecimal mantissas (`0x1.8p3`).
fn float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    let Some(hex) = unsigned.strip_prefix("0x") else {
        // Underscores need a prefix in Go's floats, and words such as "inf" are no literals.
        let plain = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        return (plain && !text.contains('_'))
            .then(|| text.parse().ok())
            .flatten()
            .filter(|value: &f64| value.is_finite());
    };
    let (mantissa, exponent) = hex.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}").replace('_', "");
    // 13 hexadecimal digits are what a float64 holds exactly; longer mantissas are not worth rounding rules.
    let value = u64::from_str_radix(&digits, 16)
        .ok()
        .filter(|value| *value < (1 << 53))?;
    let shift = exponent
        .parse::<i32>()
        .ok()
        .filter(|shift| shift.abs() < 1000)?
        .checked_sub(4 * i32::try_from(fraction.replace('_', "").len()).ok()?)?;
    let value = to_float(i128::from(value)) * 2_f64.powi(shift);
    Some(if lower.starts_with('-') {
        -value
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, integer: Option<i64>, unsigned: Option<u64>, float: f64) {
        let got = number(text).unwrap();
        assert_eq!((got.integer, got.unsigned), (integer, unsigned), "{text}");
        assert!(
            (got.float.unwrap() - float).abs() < 1e-9,
            "{text}: {:?}",
            got.float
        );
    }

    fn refused(text: &str, why: &str) {
        assert_eq!(number(text).unwrap_err(), why, "{text}");
    }

    #[test]
    fn literals_have_every_type_that_holds_them() {
        check("0", Some(0), Some(0), 0.0);
        check("-0", Some(0), Some(0), 0.0);
        check("7", Some(7), Some(7), 7.0);
        check("-7", Some(-7), None, -7.0);
        check("+7", Some(7), None, 7.0);
        check("0x1F", Some(31), Some(31), 31.0);
        check("0o17", Some(15), Some(15), 15.0);
        check("017", Some(15), Some(15), 15.0);
        check("0b101", Some(5), Some(5), 5.0);
        check("1_000", Some(1000), Some(1000), 1000.0);
        check("0x_1F", Some(31), Some(31), 31.0);
        check("1.5", None, None, 1.5);
        check("2.0", Some(2), Some(2), 2.0);
        check("1e3", Some(1000), Some(1000), 1000.0);
        check("-1e3", Some(-1000), None, -1000.0);
        check("0x1p4", Some(16), Some(16), 16.0);
        check("0x1.8p1", Some(3), Some(3), 3.0);
        check(
            "18446744073709551615",
            None,
            Some(u64::MAX),
            18_446_744_073_709_551_615.0,
        );
        assert!(!number("0x1E").unwrap().is_float());
        assert!(number("1e3").unwrap().is_float());
        assert!(!character("'e'").unwrap().is_float());
        assert_eq!(character("'e'").unwrap().integer, Some(101));
        assert_eq!(character(r"'\n'").unwrap().integer, Some(10));
    }

    #[test]
    fn bad_literals_are_refused() {
        refused("1i", "imaginary numbers are not supported: \"1i\"");
        refused(
            "18446744073709551616",
            "integer overflow: \"18446744073709551616\"",
        );
        refused("089", "integer overflow: \"089\"");
        for bad in ["0x", "1__0", "1_", "0b12", "0x1.8", "1e", "."] {
            refused(bad, &format!("illegal number syntax: \"{bad}\""));
        }
        assert_eq!(
            character("'ab'").unwrap_err(),
            "malformed character constant: 'ab'"
        );
        assert_eq!(character("''").unwrap_err(), "invalid syntax");
    }
}
