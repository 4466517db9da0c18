//! Deleting a tree of any depth.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;

/// How deep this goes before it moves a directory up: every level holds a descriptor, and a container's tree may be
/// deeper than any limit of descriptors.
const DEPTH_MAX: usize = 64;

/// Removes `path`, whatever it is, with everything below it; a missing one is no error.
///
/// Links are removed, not followed, and other mounts are not entered but fail with `EBUSY`. Several may remove the same.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    Ok(remove_in(parent.as_fd(), name.as_bytes())?)
}

/// Removes `name` in `dir` with everything below it; a missing one is no error.
pub(crate) fn remove_in(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let mut hoisted = 0;
    loop {
        let top = match open(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let reader = match open(top.as_fd(), b".") {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        empty(top.as_fd(), &reader, 0, &mut hoisted)?;
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Something was moved up into it.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

/// Removes what is in `dir`, except what it moves to `top`.
fn empty(
    top: BorrowedFd<'_>,
    dir: &OwnedFd,
    depth: usize,
    hoisted: &mut u64,
) -> rustix::io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(dir.as_fd(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            // Two processes empty the same trash, and the other one was faster.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if entry.file_type() != FileType::Directory {
            match unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if depth >= DEPTH_MAX {
            match hoist(dir.as_fd(), name, top, hoisted) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            }
        }
        loop {
            let below = match open(dir.as_fd(), name) {
                Err(Errno::NOENT) => break,
                other => other?,
            };
            empty(top, &below, depth + 1, hoisted)?;
            match unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => break,
                // Reading a directory while names leave it may pass some over.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

fn hoist(
    dir: BorrowedFd<'_>,
    name: &[u8],
    top: BorrowedFd<'_>,
    hoisted: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        let free = format!(".hoisted-{hoisted}");
        *hoisted += 1;
        match renameat_with(dir, name, top, &*free, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::unique;

    #[test]
    fn of_several_who_remove_a_tree_nobody_fails() {
        let base = std::env::temp_dir().join(format!("aril-remove-{}", unique()));
        for n in 0..1000 {
            std::fs::create_dir_all(base.join(format!("{}/{n}", n % 20))).unwrap();
        }
        std::thread::scope(|scope| {
            let removing: Vec<_> = (0..4).map(|_| scope.spawn(|| remove_all(&base))).collect();
            for one in removing {
                one.join().unwrap().unwrap();
            }
        });
        assert!(!base.exists());
    }

    #[test]
    fn deep_and_wide_trees_go() {
        let base = std::env::temp_dir().join(format!("aril-remove-{}", unique()));
        std::fs::create_dir_all(base.join("top/wide")).unwrap();
        for n in 0..500 {
            std::fs::write(base.join(format!("top/wide/{n}")), "").unwrap();
        }
        std::os::unix::fs::symlink("/etc", base.join("top/link")).unwrap();
        // Deeper than paths and descriptors allow.
        let mut here = open(
            rustix::fs::CWD,
            base.join("top").as_os_str().as_encoded_bytes(),
        )
        .unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, "deep", Mode::from_raw_mode(0o700)).unwrap();
            here = open(here.as_fd(), b"deep").unwrap();
        }
        remove_all(&base.join("top")).unwrap();
        assert!(!base.join("top").exists());
        remove_all(&base.join("top")).unwrap();
        assert!(Path::new("/etc/passwd").exists());
        std::fs::remove_dir(&base).unwrap();
    }
}
