//! Memory that was needed for a while only.
#![expect(
    unsafe_code,
    reason = "neither nix nor rustix has malloc_trim, and madvise is unsafe in both"
)]

use std::io;

/// Gives back what this process needs no more of: free blocks of the heap, and pages of its program, which come back from the
/// page cache when they are run again. Of a program that has done most of its work this is nearly everything.
pub fn give_back() -> io::Result<()> {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call works on memory that is free, under the allocator's own lock.
    let _: libc::c_int = unsafe { libc::malloc_trim(0) };
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, bytes) in maps.lines().filter_map(program) {
        // SAFETY: the pages are mapped from a file, and were never writable, so they have what the file has, and will have
        // it when they are touched again; nobody unmaps them.
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

/// Returns the address and the length of what a line of proc_pid_maps(5) tells of, if it is executed from a file, or the
/// constants before that: the beginning of a file, while what was writable for relocations follows later.
fn program(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (mode, offset) = (fields.next()?, fields.next()?);
    let is_unwritten = mode == "r-xp" || mode == "r--p" && offset == "00000000";
    let is_program = is_unwritten && fields.nth(1)? != "0";
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    is_program.then_some((start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_come_back_by_themselves() {
        let program = |rest: &str| program(&format!("1000-3000 {rest}"));
        assert_eq!(
            program("r-xp 00001000 08:01 42 /usr/bin/aril"),
            Some((0x1000, 0x2000))
        );
        assert_eq!(
            program("r--p 00000000 08:01 42 /usr/bin/aril"),
            Some((0x1000, 0x2000))
        );
        assert_eq!(program("r--p 00001000 08:01 42 /usr/bin/aril"), None);
        assert_eq!(program("rwxp 00001000 08:01 42 /usr/bin/aril"), None);
        assert_eq!(program("r-xp 00000000 00:00 0 [vdso]"), None);
        give_back().unwrap();
    }
}
