//! Fields of a tar header: numbers in their two notations, and what is made of them.
//!
//! The `tar` crate reads base-256 numbers without their sign and without their high bytes, so that a size reads smaller than
//! it is; here what does not fit is an error.

use anyhow::{Context as _, Result, bail, ensure};
use tar::Header;

use super::{BLOCK_BYTES, Device};

/// Returns both sums of a header: of its bytes, and of them as signed ones, as some old writers had it.
pub(super) fn checksums(header: &[u8; BLOCK_BYTES]) -> [i64; 2] {
    let (mut unsigned, mut signed) = (0, 0);
    for (at, byte) in header.iter().enumerate() {
        let byte = if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    [unsigned, signed]
}

/// Returns the device number of a header.
pub(super) fn device(header: &Header) -> Result<Device> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
        (None, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
        (None, None) => bail!("a device in a header without device numbers"),
    };
    let part = |field: &[u8]| u32::try_from(number(field)?).context("device number out of range");
    Ok(Device {
        major: part(major)?,
        minor: part(minor)?,
    })
}

/// Returns the owner or group that a pax record says, or else a field.
pub(super) fn id(record: Option<i64>, field: &[u8]) -> Result<u32> {
    let value = match record {
        Some(value) => value,
        None => number(field)?,
    };
    // The highest number is chown's "leave as it is", and files of it cannot be told from unowned ones.
    let valid = u32::try_from(value).ok().filter(|id| *id != u32::MAX);
    valid.with_context(|| format!("id {value} is out of range"))
}

/// Reads a number that must not be negative.
pub(super) fn unsigned(field: &[u8]) -> Result<u64> {
    u64::try_from(number(field)?).context("negative number")
}

/// Reads a number: octal digits between blanks and NULs, or GNU's base 256 (first bit set, two's complement below it).
pub(super) fn number(field: &[u8]) -> Result<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            // The marking bit is not part of the number; set or not, it equals the sign then.
            let byte = match (at, negative) {
                (0, false) => byte & 0x7f,
                _ => *byte,
            };
            value = (value << 8) | i128::from(byte);
            ensure!(
                i64::try_from(value).is_ok(),
                "number out of range in a tar header"
            );
        }
        return i64::try_from(value).context("number out of range in a tar header");
    }
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let digits = &field[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    let mut value: i64 = 0;
    for digit in digits {
        ensure!(
            matches!(digit, b'0'..=b'7'),
            "invalid number {:?} in a tar header",
            String::from_utf8_lossy(field)
        );
        // Twelve octal digits, the widest field, are 36 bits.
        value = value * 8 + i64::from(digit - b'0');
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_are_read() {
        let check = |field: &[u8], expected: Option<i64>| {
            assert_eq!(number(field).ok(), expected, "{}", field.escape_ascii());
        };
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"77777777777\0", Some(0o77_777_777_777));
        check(b"777777777777", Some(0o777_777_777_777));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"        ", Some(0));
        check(b"12x4567\0", None);
        check(b"-000001\0", None);
        check(b"\x80\0\0\0\0\0\x01\0", Some(256));
        check(b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2));
        check(
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            Some(i64::MAX),
        );
        check(b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None);
        check(b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None);
        check(&[0xff; 12], Some(-1));
        check(b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None);
    }
}
