//! Memory that was needed for a while only.
#![expect(
    unsafe_code,
    reason = "neither nix nor rustix has malloc_trim, and madvise is unsafe in both"
)]

use std::io;

/// Prepares for a command that makes and gives back many small blocks in this thread, the first of the process.
pub fn expect_small_blocks() {
    #[cfg(target_env = "musl")]
    super::allocator::keep();
}

/// Gives back what this process needs no more of: free blocks of the heap, and pages of its program, which come back from the
/// page cache when they are run again. Of a program that has done most of its work this is nearly everything.
pub fn give_back() -> io::Result<()> {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call works on memory that is free, under the allocator's own lock.
    let _: libc::c_int = unsafe { libc::malloc_trim(0) };
    #[cfg(target_env = "musl")]
    super::allocator::trim();
    for (start, bytes) in unchanged(&std::fs::read_to_string("/proc/self/smaps")?) {
        // SAFETY: the pages are mapped from a file, cannot be written, and none of them was, so they have what the file has,
        // and will have it when they are touched again; nobody unmaps them.
        let result = unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                bytes,
                libc::MADV_DONTNEED,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Returns the address and the length of each mapping in a table, as of proc_pid_smaps(5), that has nothing but what is in its
/// file.
fn unchanged(table: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in table.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            ["Anonymous:", "0", "kB"] => found.extend(mapping.take()),
            [range, mode, _, _, inode, ..] if range.contains('-') => {
                let is_file = *inode != "0" && !mode.contains('w');
                mapping = range_of(range).filter(|_| is_file);
            }
            _ => {}
        }
    }
    found
}

fn range_of(text: &str) -> Option<(usize, usize)> {
    let (start, end) = text.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    Some((start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_stays() {
        let table = "\
00400000-00402000 r-xp 00001000 08:01 42        /usr/bin/aril
Size:                  8 kB
Anonymous:             0 kB
00402000-00403000 r--p 00003000 08:01 42        /usr/bin/aril
Anonymous:             4 kB
00403000-00404000 rw-p 00004000 08:01 42        /usr/bin/aril
Anonymous:             0 kB
00404000-00405000 r--p 00000000 00:00 0
Anonymous:             0 kB
00405000-00406000 r--p 00002000 08:01 42        /usr/bin/with a blank
Anonymous:             0 kB
";
        assert_eq!(unchanged(table), [(0x40_0000, 0x2000), (0x40_5000, 0x1000)]);
        give_back().unwrap();
    }
}
