//! Files of procfs, sysfs and cgroupfs, which do not say how long they are.

use std::io;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags};
use rustix::io::{read, retry_on_intr};

/// Most of these files fit.
const PAGE_BYTES: usize = 4096;

/// Reads a file of the kernel's that holds text.
///
/// This takes three calls and a close for up to a page: std would ask for the length, which is 0, and begin with 32 bytes.
/// Fails with `InvalidData` for what is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path.as_ref(), flags, Mode::empty())?;
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(PAGE_BYTES);
        if retry_on_intr(|| read(&file, spare_capacity(&mut bytes)))? == 0 {
            break;
        }
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_whole() {
        assert!(read_text("/proc/version").unwrap().starts_with("Linux"));
        let symbols = read_text("/proc/kallsyms").unwrap();
        assert!(symbols.len() > 2 * PAGE_BYTES && symbols.ends_with('\n'));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let error = read_text("/proc/self/nosuch").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
