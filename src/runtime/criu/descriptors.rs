//! `descriptors.json`: what the standard streams of a saved container were. Pipes among them come from outside, and at a
//! restore the caller's take their places.
//!
//! The form is runc's: a list of what /proc/PID/fd shows of 0, 1 and 2.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};

use crate::error;
use crate::sys::limited;

const NAME: &str = "descriptors.json";
/// A list of three needs a fraction of this.
const BYTES_MAX: u64 = 64 << 10;

/// Returns what our own standard streams are, for a container that inherits them.
pub(in crate::runtime) fn own() -> Vec<String> {
    let link = |number: usize| std::fs::read_link(format!("/proc/self/fd/{number}"));
    let shown =
        |number| link(number).map_or_else(|_| String::new(), |link| link.display().to_string());
    (0..3).map(shown).collect()
}

/// Writes the list into the directory of the images, in the place of whatever has the name there.
pub(super) fn write(images: BorrowedFd<'_>, descriptors: &[String]) -> Result<()> {
    const NEW: &str = ".descriptors.json.new";
    let write = || -> io::Result<()> {
        match unlinkat(images, NEW, AtFlags::empty()) {
            Err(errno) if errno != rustix::io::Errno::NOENT => return Err(errno.into()),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(openat(images, NEW, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&serde_json::to_vec(descriptors)?)?;
        Ok(renameat(images, NEW, images, NAME)?)
    };
    write().with_context(|| format!("write {NAME}"))
}

/// Reads which of the standard streams were pipes: their numbers, and the names that CRIU has for them.
pub(super) fn read_pipes(images: BorrowedFd<'_>, shown: &Path) -> Result<Vec<(i32, String)>> {
    let path = shown.join(NAME);
    let read = || -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(images, NAME, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        limited::read_to_end(file, BYTES_MAX)
    };
    let bytes = read().with_context(|| format!("read {}", path.display()))?;
    let bytes = bytes.ok_or_else(|| {
        error::invalid(format!(
            "{} is longer than {BYTES_MAX} bytes",
            path.display()
        ))
    })?;
    let all: Vec<String> = serde_json::from_slice(&bytes)
        .map_err(|error| error::invalid(format!("read {}: {error}", path.display())))?;
    Ok(pipes(all))
}

fn pipes(all: Vec<String>) -> Vec<(i32, String)> {
    (0..3).zip(all).filter(|(_, name)| is_pipe(name)).collect()
}

/// `pipe:[NUMBER]`, and nothing else: CRIU takes other names for other things.
fn is_pipe(name: &str) -> bool {
    let number = name
        .strip_prefix("pipe:[")
        .and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn scratch(name: &str) -> (PathBuf, File) {
        let dir = std::env::temp_dir().join(format!("aril-criu-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let opened = File::open(&dir).unwrap();
        (dir, opened)
    }

    #[test]
    fn what_was_written_is_read() {
        let (dir, images) = scratch("descriptors");
        let list = ["/dev/null", "pipe:[12]", "pipe:[13]"].map(str::to_owned);
        write(images.as_fd(), &list).unwrap();
        let read = read_pipes(images.as_fd(), &dir).unwrap();
        assert_eq!(
            read,
            [(1, "pipe:[12]".to_owned()), (2, "pipe:[13]".to_owned())]
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_pipes_of_the_standard_streams_are_taken() {
        let list = [
            "extRootNetNS",
            "pipe:[x]",
            "pipe:[]",
            "pipe:[1]",
            "pipe:[2]",
        ];
        assert!(pipes(list.map(str::to_owned).to_vec()).is_empty());
    }

    #[test]
    fn links_and_long_files_are_refused_and_nothing_is_written_through_links() {
        let (dir, images) = scratch("hostile");
        let secret = dir.join("secret");
        std::fs::write(&secret, "[\"pipe:[1]\"]").unwrap();
        symlink(&secret, dir.join(NAME)).unwrap();
        let error = read_pipes(images.as_fd(), &dir).unwrap_err();
        let cause = error.root_cause().downcast_ref::<std::io::Error>();
        let errno = cause.and_then(std::io::Error::raw_os_error);
        assert_eq!(errno, Some(libc::ELOOP), "{error:#}");
        symlink(&secret, dir.join(".descriptors.json.new")).unwrap();
        write(images.as_fd(), &[]).unwrap();
        assert_eq!(std::fs::read(&secret).unwrap(), b"[\"pipe:[1]\"]");
        assert_eq!(std::fs::read(dir.join(NAME)).unwrap(), b"[]");
        std::fs::write(dir.join(NAME), vec![b' '; 70_000]).unwrap();
        let error = read_pipes(images.as_fd(), &dir).unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
