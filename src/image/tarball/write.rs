//! Writing members: ustar, with a pax header before what does not fit into it.
//!
//! The bytes follow from the entry alone: owners have no names, times are whole seconds not before 1970, records are
//! sorted, and every spare byte is NUL. The digest of a layer that was committed or imported is that of these bytes, so a
//! change here changes the digest of every tree that is written again: the tests hold them.

use std::io::{self, Write};

use anyhow::{Result, ensure};
use tar::{Header, UstarHeader};

use super::{BLOCK_BYTES, Device, Entry, Kind, PATH_MAX_BYTES, Time, pax};

/// What ends an archive.
pub const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// The name of the members that hold pax records.
const RECORDS_NAME: &[u8] = b"PaxHeaders.0";
/// Seven octal digits: the width of mode, owner and group.
const ID_MAX: u64 = 0o7_777_777;
/// Eleven octal digits: the width of size and time.
const LONG_MAX: u64 = 0o77_777_777_777;

/// Appends the header of `entry`, with a pax header before it if it needs one, to `out`.
///
/// The content, `entry.size` bytes, and [`padding`] are to follow. A sparse file is written as what it reads as; `sparse`
/// is not looked at. A directory's path gets its `/` here.
pub fn header(out: &mut Vec<u8>, entry: &Entry) -> Result<()> {
    let mut path = entry.path.clone();
    if entry.kind == Kind::Directory && !path.ends_with(b"/") {
        path.push(b'/');
    }
    ensure!(
        path.len() <= PATH_MAX_BYTES,
        "path of {} bytes is too long for an archive",
        path.len()
    );
    let records = records(entry, &path);
    if !records.is_empty() {
        let mut header = Header::new_ustar();
        let fields = fields(&mut header);
        fields.name[..RECORDS_NAME.len()].copy_from_slice(RECORDS_NAME);
        fields.typeflag[0] = b'x';
        octal(&mut fields.mode, 0o644);
        for field in [&mut fields.uid, &mut fields.gid] {
            octal(field, 0);
        }
        octal(&mut fields.mtime, 0);
        octal(&mut fields.size, records.len() as u64);
        finish(out, header);
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
    member(out, entry, &path);
    Ok(())
}

/// Returns how many NULs follow `size` bytes of content; less than a block.
pub fn padding(size: u64) -> usize {
    let rest = size % BLOCK_BYTES as u64;
    usize::try_from((BLOCK_BYTES as u64 - rest) % BLOCK_BYTES as u64).expect("less than a block")
}

/// Writes a member whose content is `content`.
pub fn append(output: &mut impl Write, entry: &Entry, content: &[u8]) -> Result<()> {
    let mut bytes = Vec::with_capacity(content.len() + 3 * BLOCK_BYTES);
    let size = content.len() as u64;
    let entry = Entry {
        size,
        ..entry.clone()
    };
    header(&mut bytes, &entry)?;
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len() + padding(size), 0);
    Ok(output.write_all(&bytes)?)
}

/// Writes `size` NULs.
pub(crate) fn zeros(output: &mut (impl Write + ?Sized), mut size: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while size > 0 {
        let count = usize::try_from(size)
            .unwrap_or(ZEROS.len())
            .min(ZEROS.len());
        output.write_all(&ZEROS[..count])?;
        size -= count as u64;
    }
    Ok(())
}

/// Returns the time that is written for `time`.
pub(crate) fn whole_seconds(time: Time) -> Time {
    Time {
        seconds: time.seconds.max(0),
        nanoseconds: 0,
    }
}

fn records(entry: &Entry, path: &[u8]) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, &[u8])> = Vec::new();
    let numbers = [
        (&b"gid"[..], entry.gid.into(), ID_MAX),
        (b"mtime", seconds(entry), LONG_MAX),
        (b"size", entry.size, LONG_MAX),
        (b"uid", entry.uid.into(), ID_MAX),
    ]
    .map(|(key, value, max)| {
        (
            key,
            if value > max {
                value.to_string()
            } else {
                String::new()
            },
        )
    });
    for (key, value) in &numbers {
        if !value.is_empty() {
            records.push((key.to_vec(), value.as_bytes()));
        }
    }
    if let Some(link) = link(&entry.kind)
        && link.len() > 100
    {
        records.push((b"linkpath".to_vec(), link));
    }
    if split(path).is_none() {
        records.push((b"path".to_vec(), path));
    }
    for (name, value) in &entry.xattrs {
        records.push((pax::xattr_key(name), value));
    }
    records.sort_unstable();
    let mut out = Vec::new();
    for (key, value) in records {
        pax::append(&mut out, &key, value);
    }
    out
}

fn seconds(entry: &Entry) -> u64 {
    u64::try_from(entry.mtime.seconds).unwrap_or(0)
}

fn link(kind: &Kind) -> Option<&[u8]> {
    match kind {
        Kind::Symlink(target) | Kind::HardLink(target) => Some(target),
        _ => None,
    }
}

/// Cuts a path into ustar's prefix and name, at the first slash that leaves a name that fits.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // A name of nothing would be what is left of a directory's path.
    let fits = |at: &usize| (1..=155).contains(at) && (1..=100).contains(&(path.len() - at - 1));
    let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    let at = slashes.map(|(at, _)| at).find(fits)?;
    Some((&path[..at], &path[at + 1..]))
}

fn member(out: &mut Vec<u8>, entry: &Entry, path: &[u8]) {
    let mut header = Header::new_ustar();
    let fields = fields(&mut header);
    // What is in a pax record stands here cut to size, for readers that know no pax.
    let (prefix, name) = split(path).unwrap_or_else(|| (b"", &path[..100]));
    fields.name[..name.len()].copy_from_slice(name);
    fields.prefix[..prefix.len()].copy_from_slice(prefix);
    let mut device = None;
    fields.typeflag[0] = match &entry.kind {
        Kind::File => b'0',
        Kind::HardLink(_) => b'1',
        Kind::Symlink(_) => b'2',
        Kind::CharDevice(numbers) => {
            device = Some(*numbers);
            b'3'
        }
        Kind::BlockDevice(numbers) => {
            device = Some(*numbers);
            b'4'
        }
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    if let Some(link) = link(&entry.kind) {
        let length = link.len().min(100);
        fields.linkname[..length].copy_from_slice(&link[..length]);
    }
    let fit = |value: u64, max: u64| if value > max { 0 } else { value };
    octal(&mut fields.mode, u64::from(entry.mode & 0o7777));
    octal(&mut fields.uid, fit(entry.uid.into(), ID_MAX));
    octal(&mut fields.gid, fit(entry.gid.into(), ID_MAX));
    octal(&mut fields.size, fit(entry.size, LONG_MAX));
    octal(&mut fields.mtime, fit(seconds(entry), LONG_MAX));
    // Linux has 12 bits of major and 20 of minor numbers.
    let Device { major, minor } = device.unwrap_or(Device { major: 0, minor: 0 });
    octal(&mut fields.dev_major, fit(major.into(), ID_MAX));
    octal(&mut fields.dev_minor, fit(minor.into(), ID_MAX));
    finish(out, header);
}

fn fields(header: &mut Header) -> &mut UstarHeader {
    header.as_ustar_mut().expect("a header made as ustar")
}

/// Zero-padded octal digits and a NUL.
fn octal(field: &mut [u8], mut value: u64) {
    let (last, digits) = field.split_last_mut().expect("fields have bytes");
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value & 7).expect("three bits");
        value >>= 3;
    }
}

fn finish(out: &mut Vec<u8>, mut header: Header) {
    let bytes = header.as_mut_bytes();
    bytes[148..156].fill(b' ');
    let sum = bytes.iter().map(|b| u64::from(*b)).sum();
    // Six digits, a NUL and a blank, as ever.
    octal(&mut bytes[148..155], sum);
    out.extend_from_slice(header.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::read::Reader;
    use super::*;

    fn round(entry: &Entry) -> usize {
        let mut bytes = Vec::new();
        header(&mut bytes, entry).unwrap();
        let length = bytes.len();
        zeros(&mut bytes, entry.size.next_multiple_of(512)).unwrap();
        bytes.extend_from_slice(&END);
        let mut reader = Reader::new(&bytes[..]);
        let mut expected = entry.clone();
        if expected.kind == Kind::Directory {
            expected.path.push(b'/');
        }
        assert_eq!(reader.next_entry().unwrap(), Some(expected));
        assert_eq!(reader.next_entry().unwrap(), None);
        length
    }

    #[test]
    fn what_is_written_is_read_and_needs_pax_only_where_it_must() {
        let mut entry = Entry::new("dir/file", Kind::File, 0o4755);
        entry.size = 3;
        assert_eq!(round(&entry), 512);
        entry.uid = 0o7_777_777;
        entry.mtime.seconds = 0o77_777_777_777;
        assert_eq!(round(&entry), 512);
        entry.uid += 1;
        assert_eq!(round(&entry), 1536);
        entry.xattrs = vec![(b"user.\xff".to_vec(), b"\n=\0".to_vec())];
        round(&entry);

        for (path, length) in [
            ("n".repeat(100), 512),
            ("n".repeat(101), 1536),
            (format!("{}/{}", "p".repeat(155), "n".repeat(100)), 512),
            (format!("{}/{}", "p".repeat(156), "n".repeat(99)), 1536),
            (format!("{}/{}", "p".repeat(60), "n/".repeat(60)), 512),
            (format!("/{}", "n".repeat(100)), 1536),
        ] {
            let entry = Entry::new(path.clone(), Kind::Fifo, 0o600);
            assert_eq!(round(&entry), length, "{path}");
        }
        let long = vec![b'\xfe'; 200];
        for kind in [
            Kind::Directory,
            Kind::Symlink(b"/x".to_vec()),
            Kind::Symlink(long.clone()),
            Kind::HardLink(long),
            Kind::BlockDevice(Device {
                major: 4095,
                minor: 1_048_575,
            }),
            Kind::CharDevice(Device { major: 1, minor: 3 }),
        ] {
            round(&Entry::new("a/b", kind, 0o1777));
        }
        let deep = Entry::new("d".repeat(99), Kind::Directory, 0o755);
        assert_eq!(round(&deep), 512);
        let deep = Entry::new("d".repeat(100), Kind::Directory, 0o755);
        assert_eq!(round(&deep), 1536);
    }

    #[test]
    fn the_bytes_never_change() {
        let mut bytes = Vec::new();
        let mut file = Entry::new("some/file", Kind::File, 0o644);
        file.mtime.seconds = 1_600_000_000;
        append(&mut bytes, &file, b"hello").unwrap();
        file.path = b"x".repeat(120);
        file.uid = 3_000_000;
        file.xattrs = vec![(b"user.k".to_vec(), b"v".to_vec())];
        append(&mut bytes, &file, b"").unwrap();
        bytes.extend_from_slice(&END);
        assert_eq!(
            crate::oci::digest::sha256(&bytes).as_ref(),
            "sha256:251b7358328472b0ec23f341c22be1312fbf8c8f67d72c213855a909824ee839"
        );
    }
}
