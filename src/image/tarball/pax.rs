//! Records of pax extended headers: `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
//!
//! Records are cut by their length and never by a newline, since values are binary: a file capability has a newline byte
//! as often as any other, and a reader that splits there loses every record after it, the `size` among them.

use anyhow::{Context as _, Result, bail};

use super::Time;

/// The largest extended header that is read.
pub(super) const RECORDS_MAX_BYTES: u64 = 1 << 20;

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";

/// What an extended header says about the member after it; a later record replaces an earlier one of its key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Sparse,
}

/// What GNU tar says about a sparse file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    /// 0.0 and 0.1 have no version record.
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// Bytes of the expanded file.
    pub(super) size: Option<u64>,
    /// Offsets and lengths in turn: all of `map` (0.1), or each `offset` and `numbytes` (0.0).
    pub(super) numbers: Option<Vec<u64>>,
}

/// Reads all records of one extended header.
pub(super) fn parse(mut data: &[u8]) -> Result<Records> {
    let mut records = Records::default();
    while !data.is_empty() {
        let (key, value, rest) = split_record(data).context("malformed pax record")?;
        data = rest;
        let what = || format!("pax record {:?}", String::from_utf8_lossy(key));
        store(&mut records, key, value).with_context(what)?;
    }
    Ok(records)
}

fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = data.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&data[..blank])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let (b'\n', record) = record.get(blank + 1..)?.split_last()? else {
        return None;
    };
    let equals = record.iter().position(|b| *b == b'=')?;
    // A key of an extended attribute may hold `=`, its value any byte: only GNU tar's escaping would tell them apart, and
    // no writer of images uses it, so the first `=` ends the key, as it does for every other reader of layers.
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], rest))
}

fn store(records: &mut Records, key: &[u8], value: &[u8]) -> Result<()> {
    if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
        if name.is_empty() || name.contains(&0) {
            bail!("the name is empty or holds a NUL");
        }
        records.xattrs.retain(|(known, _)| known != name);
        records.xattrs.push((name.to_vec(), value.to_vec()));
        return Ok(());
    }
    if let Some(name) = key.strip_prefix(SPARSE_PREFIX) {
        return store_sparse(&mut records.sparse, name, value);
    }
    // An empty value takes back an earlier one (POSIX pax, Extended Header).
    let given = !value.is_empty();
    match key {
        b"path" => records.path = given.then(|| text(value)).transpose()?,
        b"linkpath" => records.link = given.then(|| text(value)).transpose()?,
        b"size" => records.size = given.then(|| number(value)).transpose()?,
        b"uid" => records.uid = given.then(|| signed(value)).transpose()?,
        b"gid" => records.gid = given.then(|| signed(value)).transpose()?,
        b"mtime" => records.mtime = given.then(|| time(value)).transpose()?,
        _ => {}
    }
    Ok(())
}

fn store_sparse(sparse: &mut Sparse, name: &[u8], value: &[u8]) -> Result<()> {
    match name {
        b"major" => sparse.major = Some(number(value)?),
        b"minor" => sparse.minor = Some(number(value)?),
        b"name" => sparse.name = Some(text(value)?),
        b"size" | b"realsize" => sparse.size = Some(number(value)?),
        b"offset" | b"numbytes" => {
            let numbers = sparse.numbers.get_or_insert_default();
            // The records come in pairs; a length without its offset would shift all that follow.
            if numbers.len().is_multiple_of(2) != (name == b"offset") {
                bail!("offsets and lengths do not alternate");
            }
            numbers.push(number(value)?);
        }
        b"map" => {
            let fields = value.split(|b| *b == b',').filter(|f| !f.is_empty());
            sparse.numbers = Some(fields.map(number).collect::<Result<_>>()?);
        }
        _ => {}
    }
    Ok(())
}

fn text(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        bail!("the value holds a NUL");
    }
    Ok(value.to_vec())
}

/// Returns the number that `digits` are; nothing for a sign, a blank, or no digit at all.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

fn number(value: &[u8]) -> Result<u64> {
    let parsed = decimal(value).filter(|n| i64::try_from(*n).is_ok());
    parsed.with_context(|| format!("invalid number {:?}", String::from_utf8_lossy(value)))
}

fn signed(value: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .with_context(|| format!("invalid number {:?}", String::from_utf8_lossy(value)))
}

/// `[-]SECONDS[.FRACTION]`; digits below a nanosecond are cut off.
fn time(value: &[u8]) -> Result<Time> {
    let parse = || -> Option<Time> {
        let text = std::str::from_utf8(value).ok()?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let mut seconds: i64 = whole.parse().ok()?;
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let mut nanoseconds = digits.fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
        if whole.starts_with('-') && nanoseconds > 0 {
            seconds = seconds.checked_sub(1)?;
            nanoseconds = 1_000_000_000 - nanoseconds;
        }
        Some(Time {
            seconds,
            nanoseconds,
        })
    };
    parse().with_context(|| format!("invalid time {:?}", String::from_utf8_lossy(value)))
}

/// Appends the record of `key` and `value` to `out`.
pub(super) fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits: blank, equals sign and newline are the other three bytes.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Returns the key of an extended attribute's record.
pub(super) fn xattr_key(name: &[u8]) -> Vec<u8> {
    [XATTR_PREFIX, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append(&mut out, key, value);
        out
    }

    #[test]
    fn lengths_count_themselves() {
        for size in [0, 1, 90, 93, 94, 95, 980, 990, 991, 992, 9985] {
            let record = one(b"k", &vec![b'v'; size]);
            let (key, value, rest) = split_record(&record).unwrap();
            assert_eq!((key, value.len(), rest.len()), (&b"k"[..], size, 0));
        }
    }

    #[test]
    fn values_are_binary_and_the_last_wins() {
        let data = [
            one(b"SCHILY.xattr.user.a", b"x\n=\0y"),
            one(b"SCHILY.xattr.user.a", b"\n\n"),
            one(b"size", b"1"),
            one(b"size", b"42"),
            one(b"path", b"\xff/name"),
            one(b"uid", b"7"),
            one(b"uid", b""),
        ]
        .concat();
        let records = parse(&data).unwrap();
        assert_eq!(records.xattrs, [(b"user.a".to_vec(), b"\n\n".to_vec())]);
        assert_eq!((records.size, records.uid), (Some(42), None));
        assert_eq!(records.path.as_deref(), Some(&b"\xff/name"[..]));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=b ",
            b"99 a=b\n",
            b"-6 a=b\n",
            b"5 =b\n",
            b"6 abc\n",
            b"6 a=b\n\0",
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
        for (key, value) in [
            (&b"size"[..], &b"-1"[..]),
            (b"size", b"0x10"),
            (b"size", b"9223372036854775808"),
            (b"path", b"a\0b"),
            (b"mtime", b"1.x"),
            (b"mtime", b""),
            (b"GNU.sparse.numbytes", b"5"),
            (b"SCHILY.xattr.", b"v"),
        ] {
            let refused = parse(&one(key, value)).is_err();
            assert_eq!(refused, key != b"mtime" || !value.is_empty());
        }
    }

    #[test]
    fn times_have_fractions_before_1970_too() {
        let check = |text: &str, seconds: i64, nanoseconds: u32| {
            let expected = Time {
                seconds,
                nanoseconds,
            };
            assert_eq!(time(text.as_bytes()).unwrap(), expected, "{text}");
        };
        check("1", 1, 0);
        check("1.5", 1, 500_000_000);
        check("1.0000000019", 1, 1);
        check("-1", -1, 0);
        check("-0.25", -1, 750_000_000);
        check("-1.25", -2, 750_000_000);
    }
}
