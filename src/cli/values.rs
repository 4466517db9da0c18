//! Values of options that several commands have: how they are read, with docker's error texts.
//!
//! Each function is a value parser for clap; its error is what follows the colon in
//! `invalid argument "x" for "--flag" flag: …`.

use anyhow::Result;

use crate::cli::human::{size, time};
use crate::cli::strconv::number;
use crate::error;

/// A condition of `--filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// In lower case: `label`.
    pub name: String,
    /// `a=b`
    pub value: String,
}

/// Reads a truth value.
pub fn truth(text: &str) -> Result<bool> {
    number::parse_bool(text)
}

/// Reads a whole number.
pub fn int(text: &str) -> Result<i64> {
    number::parse_int(text)
}

/// Reads a whole number that fits into 32 bits.
pub fn int32(text: &str) -> Result<i32> {
    let number = number::parse_int(text)?;
    i32::try_from(number).map_err(|_| {
        let quoted = crate::cli::strconv::quote::quote(text);
        error::invalid(format!(
            "strconv.ParseInt: parsing {quoted}: value out of range"
        ))
    })
}

/// Reads a whole number without a sign, up to 65535.
pub fn uint16(text: &str) -> Result<u16> {
    let number = number::parse_uint(text, u64::from(u16::MAX))?;
    Ok(u16::try_from(number)?)
}

/// Reads a whole number without a sign.
pub fn uint64(text: &str) -> Result<u64> {
    number::parse_uint(text, u64::MAX)
}

/// Reads a size in units of 1024.
pub fn bytes(text: &str) -> Result<i64> {
    size::parse_ram_bytes(text)
}

/// Reads a size in units of 1024, or -1.
pub fn bytes_or_unlimited(text: &str) -> Result<i64> {
    match text {
        "-1" => Ok(-1),
        text => size::parse_ram_bytes(text),
    }
}

/// Reads a duration in Go's notation, in nanoseconds.
pub fn duration(text: &str) -> Result<i64> {
    time::parse_duration(text)
}

/// Reads a number of CPUs as a fraction or decimal, in 10⁻⁹ CPUs: `1.5`, `3/2`, `1e1`.
pub fn cpus(text: &str) -> Result<i64> {
    const NANO: i128 = 1_000_000_000;
    let (numerator, denominator) = rational(text)
        .ok_or_else(|| error::invalid(format!("failed to parse {text} as a rational number")))?;
    let nano = numerator
        .checked_mul(NANO)
        .filter(|nano| nano % denominator == 0);
    match nano.map(|nano| i64::try_from(nano / denominator)) {
        Some(Ok(nano)) => Ok(nano),
        _ => Err(error::invalid("value is too precise")),
    }
}

/// Numerator and denominator of `a/b`, or of a decimal with an exponent.
fn rational(text: &str) -> Option<(i128, i128)> {
    let whole = |text: &str| text.parse::<i64>().ok().map(i128::from);
    if let Some((numerator, denominator)) = text.split_once('/') {
        let digits = denominator.bytes().all(|b| b.is_ascii_digit());
        let denominator = whole(denominator).filter(|number| digits && *number > 0)?;
        return Some((whole(numerator)?, denominator));
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent
        .parse()
        .ok()
        .filter(|exponent| (-18..=18).contains(exponent))?;
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = before.trim_start_matches(['+', '-']);
    let all = [digits, after].concat();
    let sign = before.len() - digits.len();
    let good = sign <= 1 && !all.is_empty() && all.len() <= 18;
    if !good || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: i128 = all.parse().ok()?;
    let value = if before.starts_with('-') {
        -value
    } else {
        value
    };
    let places = i32::try_from(after.len()).ok()? - exponent;
    let power = 10_i128.checked_pow(places.unsigned_abs())?;
    if places >= 0 {
        Some((value, power))
    } else {
        Some((value.checked_mul(power)?, 1))
    }
}

/// Reads a condition of `--filter`; an empty one is no condition.
pub fn filter(text: &str) -> Result<Option<Filter>> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some((name, value)) = text.split_once('=') else {
        return Err(error::invalid("bad format of filter (expected name=value)"));
    };
    Ok(Some(Filter {
        name: name.trim().to_lowercase(),
        value: value.trim().to_owned(),
    }))
}

/// Checks a label; blanks before its key are kept, as docker keeps them.
pub fn label(text: &str) -> Result<String> {
    let key = text.split('=').next().unwrap_or_default();
    let key = key.trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(error::invalid(format!(
            "invalid label '{text}': empty name"
        )));
    }
    if key.contains([' ', '\t']) {
        return Err(error::invalid(format!(
            "label '{key}' contains whitespaces"
        )));
    }
    Ok(text.to_owned())
}

/// Reads a path, which may be empty as if it had not been given.
pub fn path(text: &str) -> Result<std::path::PathBuf> {
    Ok(std::path::PathBuf::from(text))
}

/// Reads `key=value`; without a sign the value is empty.
pub fn pair(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.to_owned(), value.to_owned()))
}

/// Values that came with commas between them, in one use of an option.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(pub Vec<String>);

impl List {
    /// Returns the values of all uses.
    pub fn all(lists: &[List]) -> Vec<String> {
        lists
            .iter()
            .flat_map(|list| list.0.iter().cloned())
            .collect()
    }
}

/// Reads values with commas between them, which can be quoted as in CSV.
pub fn strings(text: &str) -> Result<List> {
    if text.is_empty() {
        return Ok(List::default());
    }
    crate::cli::flags::csv::record(text).map(List)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_fractions() {
        for (text, want) in [
            ("1.5", 1_500_000_000),
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("2.", 2_000_000_000),
            ("3/2", 1_500_000_000),
            ("1e1", 10_000_000_000),
            ("1.5e-1", 150_000_000),
            ("0.000000001", 1),
            ("-1", -1_000_000_000),
            ("+1", 1_000_000_000),
        ] {
            assert_eq!(cpus(text).unwrap(), want, "{text}");
        }
        for text in ["x", "", "1/0", "1/-2", "1/", "1.5.5", "--1", "1e99", "."] {
            let want = format!("failed to parse {text} as a rational number");
            assert_eq!(cpus(text).unwrap_err().to_string(), want, "{text}");
        }
        for text in ["0.0000000001", "1/3"] {
            assert_eq!(cpus(text).unwrap_err().to_string(), "value is too precise");
        }
    }

    #[test]
    fn filters_have_a_name() {
        let label = Filter {
            name: "label".to_owned(),
            value: "a=B".to_owned(),
        };
        assert_eq!(filter(" Label = a=B ").unwrap(), Some(label));
        assert_eq!(filter("").unwrap(), None);
        assert_eq!(
            filter("x").unwrap_err().to_string(),
            "bad format of filter (expected name=value)"
        );
    }

    #[test]
    fn labels_have_a_key() {
        for (text, want) in [
            ("", "invalid label '': empty name"),
            ("=x", "invalid label '=x': empty name"),
            ("a b=c", "label 'a b' contains whitespaces"),
        ] {
            assert_eq!(label(text).unwrap_err().to_string(), want);
        }
        for text in ["a", "a=", "a=b=c", " a=b c"] {
            assert_eq!(label(text).unwrap(), text);
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_out_of_range() {
        assert_eq!(int32("-5").unwrap(), -5);
        assert_eq!(
            int32("3000000000").unwrap_err().to_string(),
            "strconv.ParseInt: parsing \"3000000000\": value out of range"
        );
        assert_eq!(bytes_or_unlimited("-1").unwrap(), -1);
        assert_eq!(
            bytes_or_unlimited("-2").unwrap_err().to_string(),
            "invalid size: '-2'"
        );
        assert_eq!(strings("a,\"b,c\"").unwrap().0, ["a", "b,c"]);
    }
}
