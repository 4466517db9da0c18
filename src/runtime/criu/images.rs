//! The directory of images, which may be anybody's: CRIU opens what is in it by name, with all rights of root, so that a link
//! would lead it to any file of the host, and a FIFO would keep it for ever.
//!
//! What is there is looked at before CRIU is asked. Whoever changes it in the meantime gets nothing by it at a restore, which
//! has a mount namespace of its own: there links lead nowhere ([`Unfollowed`]).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, statat};

use crate::error;
use crate::runtime::attributes;
use crate::runtime::channel::{Failure, OrFail as _};
use crate::runtime::options::Change;
use crate::sys::mount::{attach, clone_tree};
use crate::sys::rooted::{Root, path_of};

/// The link to the images of which these are the changes.
const PARENT: &str = "parent";
/// How many images may be changes of others; the kernel follows as many links.
const PARENTS_MAX: usize = 40;

/// Fails with `Invalid` if there is anything but files and directories in a directory of images, or in one that these images
/// are changes of; `shown` is its path. Returns whether they are changes of others.
pub(super) fn check(images: BorrowedFd<'_>, shown: &Path) -> Result<bool> {
    let mut to_parent = PathBuf::new();
    let mut has_parent = check_one(images, shown)?;
    let is_change = has_parent;
    while has_parent {
        to_parent.push(PARENT);
        let parent = open_beside(images, &to_parent)
            .with_context(|| format!("open {}", shown.join(&to_parent).display()))?;
        if to_parent.iter().count() > PARENTS_MAX {
            bail!(error::invalid(format!(
                "{} is a change of more than {PARENTS_MAX} others",
                shown.display()
            )));
        }
        has_parent = check_one(parent.as_fd(), &shown.join(&to_parent))?;
    }
    Ok(is_change)
}

/// Returns whether there is a parent.
fn check_one(directory: BorrowedFd<'_>, shown: &Path) -> Result<bool> {
    let what = || format!("read {}", shown.display());
    let mut has_parent = false;
    for entry in Dir::read_from(directory).with_context(what)? {
        let entry = entry.with_context(what)?;
        let name = entry.file_name();
        let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).with_context(what)?;
        let is_parent = name.to_bytes() == PARENT.as_bytes();
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile | FileType::Directory => None,
            FileType::Symlink => (!is_parent).then_some("a symbolic link"),
            FileType::Fifo => Some("a FIFO"),
            FileType::Socket => Some("a socket"),
            _ => Some("a device"),
        };
        if let Some(kind) = kind {
            let path = shown.join(OsStr::from_bytes(name.to_bytes()));
            bail!(error::invalid(format!(
                "{} is {kind}: images are plain files\nhint: give --image-path a directory of their own",
                path.display()
            )));
        }
        has_parent |= is_parent;
    }
    Ok(has_parent)
}

/// Opens the directory at `path`, seen from the directory of images: it must be relative and may lead to their neighbours, but
/// to no other place, which fails with `EXDEV`.
pub(super) fn open_beside(images: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let own = path_of(images)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let neighbours = rustix::fs::openat(images, "..", flags, Mode::empty())?;
    let path = Path::new(own.file_name().unwrap_or(OsStr::new("."))).join(path);
    Root::from_dir(neighbours).open_within(&path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Directories that are laid over themselves in another mount namespace, where no link in them is followed and no device opened.
pub(super) struct Unfollowed(Vec<(OwnedFd, PathBuf)>);

impl Unfollowed {
    /// Prepares it for these directories. Before kernel 5.14 they are left as they are.
    pub(super) fn new(directories: &[BorrowedFd<'_>]) -> Result<Unfollowed> {
        let mut all = Vec::new();
        for directory in directories {
            let path = path_of(*directory).context("find the directory of the images")?;
            let what = || format!("clone the mount at {}", path.display());
            if let Some(tree) = unfollowed(*directory).with_context(what)? {
                all.push((tree, path));
            }
        }
        Ok(Unfollowed(all))
    }

    /// Lays them over themselves in the mount namespace of this process, which must not be the host's.
    pub(super) fn attach(&self) -> Result<(), Failure> {
        for (tree, path) in &self.0 {
            let what = || format!("mount {} over itself", path.display());
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let place = rustix::fs::open(path, flags, Mode::empty()).or_fail(what)?;
            attach(tree.as_fd(), place.as_fd()).or_fail(what)?;
        }
        Ok(())
    }
}

fn unfollowed(directory: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    if !attributes::work_detached() {
        return Ok(None);
    }
    let no_links = Change {
        set: libc::MOUNT_ATTR_NOSYMFOLLOW | libc::MOUNT_ATTR_NODEV,
        clear: 0,
    };
    let tree = clone_tree(directory, true)?;
    // Slaves, since CRIU makes mounts in its working directory, which must not get to the host.
    match attributes::change(tree.as_fd(), no_links, libc::MS_SLAVE, true) {
        // Of a kernel that has the call, but not the attribute.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        changed => changed.map(|()| Some(tree)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    #[test]
    fn parents_are_neighbours() {
        let dir = std::env::temp_dir().join(format!("aril-criu-images-{}", std::process::id()));
        let images = dir.join("all/images");
        for made in ["all/images", "all/deeper/first", "other"] {
            fs::create_dir_all(dir.join(made)).unwrap();
        }
        fs::write(images.join("core-1.img"), "").unwrap();
        let opened = File::open(&images).unwrap();
        let found = |parent: &str| {
            let link = images.join(PARENT);
            drop(fs::remove_file(&link));
            symlink(parent, &link).unwrap();
            check(opened.as_fd(), &images)
        };
        assert!(!check(opened.as_fd(), &images).unwrap());
        assert!(found("../deeper/first").unwrap());
        for outside in ["../../other", "/", "../deeper/../../other", "core-1.img"] {
            assert!(found(outside).is_err(), "{outside}");
        }
        // One that is its own parent.
        for round in [".", "../images"] {
            assert!(found(round).is_err(), "{round}");
        }
        // And what stands there is looked at as well.
        symlink("/proc/version", dir.join("all/deeper/first/pages-1.img")).unwrap();
        let error = found("../deeper/first").unwrap_err().to_string();
        let expected = images.join("parent/pages-1.img is a symbolic link: images are plain files");
        assert!(error.starts_with(expected.to_str().unwrap()), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}
