//! A directory that hostile content cannot lead out of.
//!
//! Paths from images, containers, build contexts and the API are inner paths: they are resolved by the kernel beneath a
//! [`Root`] (openat2 with RESOLVE_IN_ROOT, kernel 5.6), so `..`, absolute symlinks and races with a process that swaps
//! directories end inside. What comes back is a descriptor; work on the descriptor, never on a joined path
//! (CVE-2018-15664, CVE-2021-30465, CVE-2024-45310).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use super::limited;

/// How often a resolution is repeated when a rename elsewhere in the tree interrupts it (EAGAIN).
const RETRIES: usize = 128;

/// A directory that paths are resolved in.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
}

/// The directory of a path's last component, and that component; `name` is never empty, `.` or `..`.
#[derive(Debug)]
pub struct Location {
    /// The directory, opened with O_PATH.
    pub dir: OwnedFd,
    /// The name in it, which may be a symlink or missing.
    pub name: OsString,
}

/// Returns where an open file is, as this process sees it; of a detached mount, below its own root.
pub fn path_of(handle: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

impl Root {
    /// Opens a trusted path of our own as a root.
    pub fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root {
            dir: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    /// Makes a directory descriptor a root.
    pub fn from_dir(dir: OwnedFd) -> Root {
        Root { dir }
    }

    /// Returns an O_PATH handle of what `inner` leads to, symlinks followed inside the root.
    pub fn handle(&self, inner: &Path) -> io::Result<OwnedFd> {
        self.open_at(inner, OFlags::PATH, Mode::empty())
    }

    /// Returns an O_PATH handle of `inner` itself, which may be a symlink; links in its parents are followed.
    pub fn handle_nofollow(&self, inner: &Path) -> io::Result<OwnedFd> {
        self.open_at(inner, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens `inner` beneath the root; O_CLOEXEC and O_NOCTTY are added, magic links are refused with `ELOOP`.
    pub fn open_at(&self, inner: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        open_beneath(self.dir.as_fd(), inner, flags, mode)
    }

    /// Opens `inner`, which must be a path without any symlink and without `..`, beneath the root.
    ///
    /// A symlink on the way, the last component included, is `ELOOP`: what succeeds is the canonical path of the file.
    pub fn open_direct(&self, inner: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        open_resolving(self.dir.as_fd(), inner, (flags, Mode::empty()), resolve)
    }

    /// Opens `inner`, of which no link and no `..` may lead out of the root, also not for a step: that is `EXDEV`.
    pub fn open_within(&self, inner: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        open_resolving(self.dir.as_fd(), inner, (flags, Mode::empty()), resolve)
    }

    /// Resolves all of `inner` but its last component, for calls that make or remove a name.
    ///
    /// A path that names the root itself, or ends in `..`, is `EINVAL`.
    pub fn locate(&self, inner: &Path) -> io::Result<Location> {
        let name = match inner.components().next_back() {
            Some(Component::Normal(name)) => name.to_owned(),
            _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
        };
        let parent = inner.parent().unwrap_or_else(|| Path::new(""));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok(Location {
            dir: self.open_at(parent, flags, Mode::empty())?,
            name,
        })
    }

    /// Returns a handle of directory `inner`, making it and the missing ones above it with `mode`.
    ///
    /// Existing symlinks on the way are followed inside the root; a dangling one, or anything else that is no directory,
    /// is an error. `mode` is subject to the umask.
    pub fn create_dir_all(&self, inner: &Path, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_at(inner, flags, Mode::empty()) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            done => return done,
        }
        // `..` may climb over a symlink's target, so every prefix is resolved anew from the root, never from a handle.
        let mut prefix = Path::new("").to_path_buf();
        for component in inner.components() {
            match component {
                Component::Normal(name) => {
                    let parent = self.open_at(&prefix, flags, Mode::empty())?;
                    match mkdirat(&parent, name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                    prefix.push(name);
                }
                Component::ParentDir => prefix.push(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        self.open_at(inner, flags, Mode::empty())
    }

    /// Reads a regular file of at most `max_bytes`, such as etc/passwd.
    ///
    /// Fails with `EINVAL` for anything that is no regular file, without ever waiting for a fifo's writer
    /// (CVE-2024-9676), and with `EFBIG` for a larger file.
    pub fn read_file(&self, inner: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let file =
            File::from(self.open_at(inner, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let bytes = limited::read_to_end(file, max_bytes)?;
        bytes.ok_or_else(|| io::Error::from_raw_os_error(libc::EFBIG))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn open_beneath(
    dir: BorrowedFd<'_>,
    inner: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    open_resolving(dir, inner, (flags, mode), resolve)
}

fn open_resolving(
    dir: BorrowedFd<'_>,
    inner: &Path,
    (flags, mode): (OFlags, Mode),
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    // The empty path is the root itself.
    let path = if inner.as_os_str().is_empty() {
        OsStr::from_bytes(b".")
    } else {
        inner.as_os_str()
    };
    let flags = flags
        | OFlags::CLOEXEC
        | if flags.contains(OFlags::PATH) {
            OFlags::empty()
        } else {
            OFlags::NOCTTY
        };
    for _ in 0..RETRIES {
        match openat2(dir, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("aril-rooted-{name}-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/etc")).unwrap();
        std::fs::write(dir.join("secret"), "outside").unwrap();
        std::fs::write(dir.join("root/etc/passwd"), "inside").unwrap();
        dir
    }

    #[test]
    fn nothing_leads_out() {
        let dir = scratch("out");
        symlink("/etc/passwd", dir.join("root/absolute")).unwrap();
        symlink("../../../secret", dir.join("root/climb")).unwrap();
        let root = Root::open(&dir.join("root")).unwrap();
        assert_eq!(
            root.read_file(Path::new("absolute"), 100).unwrap(),
            b"inside"
        );
        assert_eq!(
            root.read_file(Path::new("/../etc/../etc/passwd"), 100)
                .unwrap(),
            b"inside"
        );
        assert_eq!(
            root.read_file(Path::new("climb"), 100).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn directories_are_made_inside() {
        let dir = scratch("mkdir");
        symlink("/", dir.join("root/slash")).unwrap();
        symlink("missing", dir.join("root/dangling")).unwrap();
        let root = Root::open(&dir.join("root")).unwrap();
        root.create_dir_all(Path::new("/slash/../new/deep"), Mode::from_raw_mode(0o755))
            .unwrap();
        assert!(dir.join("root/new/deep").is_dir());
        assert!(!dir.join("new").exists());
        assert!(
            root.create_dir_all(Path::new("dangling/x"), Mode::from_raw_mode(0o755))
                .is_err()
        );
        assert!(
            root.create_dir_all(Path::new("etc/passwd/x"), Mode::from_raw_mode(0o755))
                .is_err()
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = scratch("read");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            dir.join("root/fifo"),
            Mode::from_raw_mode(0o600),
        )
        .unwrap();
        let root = Root::open(&dir.join("root")).unwrap();
        assert_eq!(
            root.read_file(Path::new("fifo"), 10)
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EINVAL)
        );
        assert_eq!(
            root.read_file(Path::new("etc"), 10)
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EINVAL)
        );
        assert_eq!(
            root.read_file(Path::new("etc/passwd"), 3)
                .unwrap_err()
                .raw_os_error(),
            Some(libc::EFBIG)
        );
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_direct_path_has_no_links() {
        let dir = scratch("direct");
        symlink("etc", dir.join("root/link")).unwrap();
        let root = Root::open(&dir.join("root")).unwrap();
        let open = |inner: &str| root.open_direct(Path::new(inner), OFlags::PATH);
        assert!(open("").is_ok());
        assert!(open("etc/passwd").is_ok());
        for (inner, errno) in [
            ("link/passwd", libc::ELOOP),
            ("../secret", libc::EXDEV),
            ("/etc/passwd", libc::EXDEV),
        ] {
            assert_eq!(
                open(inner).unwrap_err().raw_os_error(),
                Some(errno),
                "{inner}"
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_location_needs_a_name() {
        let dir = scratch("locate");
        let root = Root::open(&dir.join("root")).unwrap();
        assert_eq!(root.locate(Path::new("etc/new")).unwrap().name, "new");
        for bad in ["", "/", "..", "etc/.."] {
            assert_eq!(
                root.locate(Path::new(bad)).unwrap_err().raw_os_error(),
                Some(libc::EINVAL),
                "{bad}"
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
