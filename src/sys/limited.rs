//! Files that others may have made larger than any sense: read whole, or not at all.

use std::fs::File;
use std::io::{self, Read as _};

/// Reads a file from where it stands to its end; nothing if that is more than `max_bytes`.
///
/// This takes one call for what is there and one that finds the end: std, which looks into no limited reader, would begin with
/// 32 bytes.
pub fn read_to_end(file: File, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let expected = file.metadata().map_or(0, |metadata| metadata.len());
    let room = usize::try_from(expected.min(max_bytes)).map_or(0, |bytes| bytes + 1);
    let mut bytes = Vec::with_capacity(room);
    file.take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
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
