//! Files that others may have made larger than any sense: read whole, or not at all.

use std::fs::File;
use std::io::{self, Read as _};

/// Reads a file from where it stands to its end; nothing if that is more than `max_bytes`.
///
/// Of a file that is as long as it says this takes one call, for which there is room for a byte more than that: no other
/// needs to find the end. std, which looks into no limited reader, would begin with 32 bytes.
pub fn read_to_end(file: File, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let expected = file.metadata().map_or(0, |metadata| metadata.len());
    let room = usize::try_from(expected.min(max_bytes)).map_or(0, |bytes| bytes + 1);
    let mut bytes = Vec::with_capacity(room);
    if (1..=max_bytes).contains(&expected) {
        let read = || rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes));
        if rustix::io::retry_on_intr(read)? as u64 == expected {
            return Ok(Some(bytes));
        }
    }
    let rest = max_bytes.saturating_add(1) - bytes.len() as u64;
    file.take(rest).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("aril-limited-{}", std::process::id()));
        std::fs::write(&path, "12345").unwrap();
        let read = |max_bytes| read_to_end(File::open(&path).unwrap(), max_bytes).unwrap();
        assert_eq!(read(5).as_deref(), Some(&b"12345"[..]));
        assert_eq!(read(u64::MAX).as_deref(), Some(&b"12345"[..]));
        assert_eq!(read(4), None);
        let mut begun = File::open(&path).unwrap();
        begun.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(read_to_end(begun, 5).unwrap().as_deref(), Some(&b"345"[..]));
        std::fs::remove_file(&path).unwrap();
        // It says that it has no length.
        let version = File::open("/proc/version").unwrap();
        assert!(
            read_to_end(version, 4096)
                .unwrap()
                .unwrap()
                .starts_with(b"Linux")
        );
    }
}
