//! Sizes in bytes (go-units, size.go).

use anyhow::Result;

use crate::cli::strconv::{float, number};
use crate::error;

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Returns a size in powers of 1000 with three significant digits, as tables show it: `133MB`, `1.98MB`, `0B`.
pub fn bytes_short(bytes: i64) -> String {
    format(bytes, 1000.0, DECIMAL, 3)
}

/// Returns a size in powers of 1000 with four significant digits: `Total reclaimed space: 1.234GB`.
pub fn bytes_decimal(bytes: i64) -> String {
    format(bytes, 1000.0, DECIMAL, 4)
}

/// Returns a size in powers of 1024 with four significant digits: memory in `stats` and `info`, `64MiB`.
pub fn bytes_binary(bytes: i64) -> String {
    format(bytes, 1024.0, BINARY, 4)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "four digits of a size are printed"
)]
fn format(bytes: i64, base: f64, units: [&str; 7], digits: usize) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    // A size that rounds up to the base is one of the next unit: Go prints 1e+03kB there.
    let rounded = |size: f64| {
        format!("{size:.*e}", digits - 1)
            .parse::<f64>()
            .unwrap_or(size)
    };
    let limit = if digits == 3 { base } else { f64::INFINITY };
    while unit + 1 < units.len() && (size >= base || rounded(size) >= limit) {
        size /= base;
        unit += 1;
    }
    format!("{}{}", float::general(size, Some(digits)), units[unit])
}

/// Reads a size with units of 1024: `512m`, `0.5g`, `10485760`, `1 KiB`; a fraction of a byte is cut off.
///
/// Errors are of kind `Invalid` and quote the text: `invalid size: 'lots'`.
pub fn parse_ram_bytes(text: &str) -> Result<i64> {
    parse(text, 1024.0)
}

/// Reads a size with units of 1000: the size of log files.
pub fn parse_decimal_bytes(text: &str) -> Result<i64> {
    parse(text, 1000.0)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the fraction of a byte is cut off, and too large a size is the largest"
)]
fn parse(text: &str, base: f64) -> Result<i64> {
    let invalid = || error::invalid(format!("invalid size: '{text}'"));
    let last = text
        .rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))
        .ok_or_else(invalid)?;
    let (digits, suffix) = text.split_at(last + 1);
    let digits = digits.strip_suffix(' ').unwrap_or(digits);
    let size = number::parse_float(digits)?;
    if size < 0.0 || size.is_nan() {
        return Err(invalid());
    }
    let suffix = if suffix.len() > 3 {
        suffix.to_owned()
    } else {
        suffix.to_lowercase()
    };
    let power = match suffix.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(error::invalid(format!("invalid suffix: '{suffix}'"))),
    };
    Ok((size * base.powi(power)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_or_four_digits() {
        for (bytes, short, decimal, binary) in [
            (0, "0B", "0B", "0B"),
            (2, "2B", "2B", "2B"),
            (999, "999B", "999B", "999B"),
            (1000, "1kB", "1kB", "1000B"),
            (1024, "1.02kB", "1.024kB", "1KiB"),
            (1536, "1.54kB", "1.536kB", "1.5KiB"),
            (999_499, "999kB", "999.5kB", "976.1KiB"),
            (999_999, "1MB", "1000kB", "976.6KiB"),
            (1_980_000, "1.98MB", "1.98MB", "1.888MiB"),
            (72_800_000, "72.8MB", "72.8MB", "69.43MiB"),
            (133_000_000, "133MB", "133MB", "126.8MiB"),
            (1_239_999_999, "1.24GB", "1.24GB", "1.155GiB"),
            (67_108_864, "67.1MB", "67.11MB", "64MiB"),
            (1_048_576_000, "1.05GB", "1.049GB", "1000MiB"),
            (i64::MAX, "9.22EB", "9.223EB", "8EiB"),
            (-1, "-1B", "-1B", "-1B"),
        ] {
            let got = (
                bytes_short(bytes),
                bytes_decimal(bytes),
                bytes_binary(bytes),
            );
            let want = (short.to_owned(), decimal.to_owned(), binary.to_owned());
            assert_eq!(got, want, "{bytes}");
        }
    }

    #[test]
    fn sizes_are_read_with_fractions_and_units() {
        for (text, want) in [
            ("0", 0),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("0.5g", 512 << 20),
            ("1g", 1 << 30),
            ("10485760", 10_485_760),
            ("10b", 10),
            ("1 kb", 1024),
            ("1KiB", 1024),
            ("1.5k", 1536),
            (".5k", 512),
            ("5.", 5),
            ("1e3", 1000),
            ("3.7", 3),
            ("2t", 2 << 40),
            ("1p", 1 << 50),
            ("9000p", i64::MAX),
        ] {
            assert_eq!(parse_ram_bytes(text).unwrap(), want, "{text}");
        }
        assert_eq!(parse_decimal_bytes("10m").unwrap(), 10_000_000);
    }

    #[test]
    fn bad_sizes_are_refused_with_docker_texts() {
        for (text, want) in [
            ("lots", "invalid size: 'lots'"),
            ("", "invalid size: ''"),
            ("-1", "invalid size: '-1'"),
            ("-5m", "invalid size: '-5m'"),
            ("1x", "invalid suffix: 'x'"),
            ("1mx", "invalid suffix: 'mx'"),
            ("1bb", "invalid suffix: 'bb'"),
            ("1KiBs", "invalid suffix: 'KiBs'"),
            ("1é", "invalid suffix: 'é'"),
            (".", "strconv.ParseFloat: parsing \".\": invalid syntax"),
            ("a1", "strconv.ParseFloat: parsing \"a1\": invalid syntax"),
            (
                "1 2m",
                "strconv.ParseFloat: parsing \"1 2\": invalid syntax",
            ),
            (
                "1e999",
                "strconv.ParseFloat: parsing \"1e999\": value out of range",
            ),
            (" 1", "strconv.ParseFloat: parsing \" 1\": invalid syntax"),
        ] {
            assert_eq!(
                parse_ram_bytes(text).unwrap_err().to_string(),
                want,
                "{text}"
            );
        }
    }
}
