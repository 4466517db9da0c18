//! CRIU's log, and what of it says why something failed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// How much is read at most.
const LOG_MAX: u64 = 64 << 20;

/// Removes the log of an earlier time, whose errors are not those of now, or something else that is to be written anew.
pub(super) fn remove_old(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns the first error that the log tells, of which the others come; nothing if there is none, or no log.
pub(super) fn first_error(directory: BorrowedFd<'_>, name: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty()).ok()?);
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let lines = BufReader::new(file.take(LOG_MAX)).split(b'\n');
    let mut lines = lines.take_while(Result::is_ok).flatten();
    is_file
        .then(|| lines.find_map(|line| error_of(&String::from_utf8_lossy(&line))))
        .flatten()
}

/// `(00.012345) Error (criu/files.c:12): text`
fn error_of(line: &str) -> Option<String> {
    let (_, text) = line.split_once("Error (")?;
    let text = text.split_once("): ").map_or(text, |(_, text)| text).trim();
    // After these it goes on: a limit that it may not raise (CAP_SYS_RESOURCE), a probe of what the kernel has.
    let is_harmless = ["rlimit: ", "tun: ", "exited, status="]
        .iter()
        .any(|start| text.starts_with(start));
    (!is_harmless).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_found() {
        use std::os::fd::AsFd as _;
        let dir = std::env::temp_dir().join(format!("aril-criu-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let directory = File::open(&dir).unwrap();
        let found = || first_error(directory.as_fd(), "log");
        assert_eq!(found(), None);
        for (log, expected) in [
            ("", None),
            ("(00.1) Dumping\n(00.2) Warn  (criu/x.c:1): odd\n", None),
            (
                "(00.1) fine\n(00.1) Error (criu/util.c:1): rlimit: Can't\n(00.1) Error (criu/a.c:1): Can't: it\n(00.3) Error (criu/b.c:2): Dumping FAILED.\n",
                Some("Can't: it"),
            ),
            ("(00.1)     12: Error (criu/a.c:1): no end", Some("no end")),
        ] {
            std::fs::write(dir.join("log"), log).unwrap();
            assert_eq!(found().as_deref(), expected, "{log}");
        }
        remove_old(directory.as_fd(), "log").unwrap();
        remove_old(directory.as_fd(), "log").unwrap();
        std::os::unix::fs::symlink("/proc/version", dir.join("log")).unwrap();
        assert_eq!(found(), None);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
