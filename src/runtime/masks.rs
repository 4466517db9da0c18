//! The last steps at the root: masked and read-only paths, a read-only root, and the switch to it.
//!
//! A masked file is covered by a clone of the host's /dev/null and a masked directory by an empty read-only one, both from
//! descriptors: what the image has at /dev/null does not matter (CVE-2025-31133).

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::attributes;
use super::channel::{Failure, OrFail as _};
use super::options::Change;
use super::rootfs::{Assembly, RootPlan};
use crate::sys::mount::{FsOption, attach, clone_tree, detached};
use crate::sys::pseudo;
use crate::sys::rooted::Root;

const READ_ONLY: Change = Change {
    set: libc::MOUNT_ATTR_RDONLY,
    clear: 0,
};

/// Opens the host's /dev/null and makes sure that it is.
pub(super) fn open_null() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    let found = statat(&null, "", AtFlags::EMPTY_PATH)?;
    let is_null = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
        && found.st_rdev == rustix::fs::makedev(1, 3);
    if is_null {
        Ok(null)
    } else {
        Err(io::Error::from_raw_os_error(libc::ENODEV))
    }
}

/// Makes paths and mounts read-only, covers what is masked, and makes the assembled root the root of this process.
pub(super) fn finish(plan: &RootPlan, assembly: &Assembly) -> Result<(), Failure> {
    let root = &assembly.root;
    for path in &plan.read_only_paths {
        make_read_only(root, path)
            .or_fail(|| format!("can't make {:?} read-only", path.display().to_string()))?;
    }
    mask(root, plan)?;
    for mount in &assembly.late_read_only {
        attributes::change(mount.as_fd(), READ_ONLY, 0, false)
            .or_fail(|| "make a mount read-only".to_owned())?;
    }
    if plan.read_only {
        attributes::change(root.as_fd(), READ_ONLY, 0, false)
            .or_fail(|| "make the root filesystem read-only".to_owned())?;
    }
    switch(root.as_fd(), plan.no_pivot)?;
    // Of the root alone: the mounts below have had theirs from their own options.
    if let Some(propagation) = plan.propagation {
        let flags =
            MountPropagationFlags::from_bits_retain(u32::try_from(propagation).unwrap_or(0));
        mount_change("/", flags)
            .or_fail(|| "set the propagation of the root filesystem".to_owned())?;
    }
    Ok(())
}

/// A path that is not there needs no protection.
fn existing(found: io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match found {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            Ok(None)
        }
        found => found.map(Some),
    }
}

fn make_read_only(root: &Root, path: &Path) -> io::Result<()> {
    let Some(target) = existing(root.handle(path))? else {
        return Ok(());
    };
    let tree = clone_tree(target.as_fd(), true)?;
    attach(tree.as_fd(), target.as_fd())?;
    // Without mount_setattr only the mount itself can be changed, as runc does.
    attributes::change(tree.as_fd(), READ_ONLY, 0, attributes::work_detached())
}

fn mask(root: &Root, plan: &RootPlan) -> Result<(), Failure> {
    let mut null = None;
    let mut empty: Option<OwnedFd> = None;
    for path in &plan.masked {
        let what = || format!("can't mask path {:?}", path.display().to_string());
        let Some(target) = existing(root.handle(path)).or_fail(what)? else {
            continue;
        };
        let found = statat(&target, "", AtFlags::EMPTY_PATH).or_fail(what)?;
        let cover = if FileType::from_raw_mode(found.st_mode).is_dir() {
            // All share one file system: an instance per directory costs more than everything else here. The first
            // covers a directory itself, for kernels before 6.15 clone only what is attached.
            let Some(empty) = &empty else {
                let first = empty_directory().or_fail(what)?;
                attach(first.as_fd(), target.as_fd()).or_fail(what)?;
                empty = Some(first);
                continue;
            };
            empty
        } else {
            if null.is_none() {
                null = Some(open_null().or_fail(|| "open the host's /dev/null".to_owned())?);
            }
            match &null {
                Some(null) => null,
                None => continue,
            }
        };
        let cover = clone_tree(cover.as_fd(), false).or_fail(what)?;
        attach(cover.as_fd(), target.as_fd()).or_fail(what)?;
    }
    Ok(())
}

fn empty_directory() -> io::Result<OwnedFd> {
    let options = [
        FsOption::Value("source", "tmpfs"),
        FsOption::Value("nr_blocks", "1"),
        FsOption::Value("nr_inodes", "1"),
        FsOption::Value("mode", "555"),
    ];
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    detached("tmpfs", &options, attributes)
}

/// Makes `root`, which is attached on top of the old root, the root and working directory of this process.
fn switch(root: BorrowedFd<'_>, no_pivot: bool) -> Result<(), Failure> {
    rustix::process::fchdir(root).or_fail(|| "enter the root filesystem".to_owned())?;
    if no_pivot {
        // The old root stays reachable for whoever may unmount; at least its /proc and /sys must not be (runc's
        // CVE-less escape by `--no-pivot`): unmounting the root of the container would lay them open.
        unmount_host_views().or_fail(|| "unmount the host's proc and sysfs".to_owned())?;
        rustix::process::chroot(".").or_fail(|| "chroot".to_owned())?;
    } else {
        // Both roots at one place: the new one below, the old one on top of it, from where it is taken away.
        rustix::process::pivot_root(".", ".").or_fail(|| "pivot_root".to_owned())?;
        unmount(".", UnmountFlags::DETACH).or_fail(|| "unmount the old root".to_owned())?;
    }
    rustix::process::chdir("/").or_fail(|| "chdir to /".to_owned())
}

/// Unmounts proc and sysfs wherever the old root shows them. Paths are resolved from the old root here, which is below
/// the new one: none of the container's mounts is meant.
fn unmount_host_views() -> io::Result<()> {
    let mounts = pseudo::read_text("/proc/self/mounts")?;
    for line in mounts.lines().rev() {
        let mut fields = line.split(' ');
        let (Some(path), Some("proc" | "sysfs")) = (fields.nth(1), fields.next()) else {
            continue;
        };
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Of the container's own only the paths are the same.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
