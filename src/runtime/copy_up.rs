//! `tmpcopyup`: a tmpfs starts with what it covers.
//!
//! Works on descriptors only: neither side is resolved by path, links are copied and never followed.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chmodat, chownat, fgetxattr, flistxattr, fsetxattr, mkdirat, mknodat, openat, readlinkat,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;

/// Directories deeper than this are an attack, not a skeleton: every level holds two descriptors.
const DEPTH_MAX: usize = 128;

/// The longest value of an extended attribute (XATTR_SIZE_MAX).
const VALUE_MAX: usize = 64 << 10;

/// Copies all that directory `from` holds, and its own owner, mode and times, into the empty directory `to`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let from = open_directory(from, c".")?;
    let to = open_directory(to, c".")?;
    copy_directory(&from, &to, 0)
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from, to, name, depth)?;
    }
    let own = statat(from, c"", AtFlags::EMPTY_PATH)?;
    copy_attributes(from.as_fd(), to.as_fd())?;
    finish(to, c".", &own)
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> io::Result<()> {
    let found = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(found.st_mode);
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => {
            mkdirat(to, name, Mode::RWXU)?;
            let inner = open_directory(to.as_fd(), name)?;
            return copy_directory(&open_directory(from.as_fd(), name)?, &inner, depth + 1);
        }
        FileType::RegularFile => {
            // It may have been swapped for a fifo meanwhile.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = File::from(openat(from, name, flags, Mode::empty())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let target = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(&mut &source, &mut &target)?;
            copy_attributes(source.as_fd(), target.as_fd())?;
        }
        FileType::Symlink => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
        }
        kind => mknodat(to, name, kind, mode, found.st_rdev)?,
    }
    finish(to, name, &found)
}

/// Owner, then mode (a new owner clears the set-id bits), then times.
fn finish(directory: &OwnedFd, name: &CStr, of: &Stat) -> io::Result<()> {
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(of.st_uid), Gid::from_raw(of.st_gid));
    chownat(directory, name, Some(uid), Some(gid), nofollow)?;
    if !FileType::from_raw_mode(of.st_mode).is_symlink() {
        let mode = Mode::from_raw_mode(of.st_mode);
        chmodat(directory, name, mode, AtFlags::empty())?;
    }
    let time = |seconds, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(of.st_atime, of.st_atime_nsec),
        last_modification: time(of.st_mtime, of.st_mtime_nsec),
    };
    Ok(utimensat(directory, name, &times, nofollow)?)
}

/// Copies the extended attributes that the target takes: tmpfs knows no `user.` ones before kernel 6.6.
fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut names = vec![0; VALUE_MAX];
    let length = match flistxattr(from, &mut names) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut value = vec![0; if length == 0 { 0 } else { VALUE_MAX }];
    for name in names[..length].split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        // What overlayfs keeps there is about the layer, not about the file.
        if name.to_bytes().starts_with(b"trusted.overlay.") {
            continue;
        }
        let length = fgetxattr(from, name, &mut value)?;
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    #[test]
    fn a_tree_is_copied_as_it_is() {
        let base = std::env::temp_dir().join(format!("aril-copy-up-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        std::fs::create_dir_all(from.join("dir")).unwrap();
        std::fs::create_dir_all(&to).unwrap();
        std::fs::write(from.join("dir/file"), "content").unwrap();
        let mode = std::fs::Permissions::from_mode(0o4711);
        std::fs::set_permissions(from.join("dir/file"), mode).unwrap();
        std::fs::set_permissions(from.join("dir"), std::fs::Permissions::from_mode(0o1777))
            .unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let open = |path| open_directory(rustix::fs::CWD, path).unwrap();
        let name = |path: &std::path::Path| std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        copy(open(&name(&from)).as_fd(), open(&name(&to)).as_fd()).unwrap();
        assert_eq!(std::fs::read(to.join("dir/file")).unwrap(), b"content");
        for path in ["dir", "dir/file"] {
            let metadata = |root: &std::path::Path| std::fs::metadata(root.join(path)).unwrap();
            assert_eq!(metadata(&to).mode(), metadata(&from).mode());
            assert_eq!(metadata(&to).mtime_nsec(), metadata(&from).mtime_nsec());
        }
        assert_eq!(
            std::fs::read_link(to.join("link")).unwrap(),
            std::path::Path::new("/etc/passwd")
        );
        std::fs::remove_dir_all(base).unwrap();
    }
}
