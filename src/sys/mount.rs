//! `mount_setattr`, and detached mounts made in one step.
//!
//! A detached mount is a descriptor: it appears in no mount table and is gone when the descriptor is closed, so a crash
//! leaves nothing to clean up. fsopen, fsmount, open_tree and move_mount are kernel 5.2, mount_setattr is 5.12.
#![expect(
    unsafe_code,
    reason = "mount_setattr has no safe wrapper in nix or rustix"
)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

/// `struct mount_attr` (kernel 5.12, include/uapi/linux/mount.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct MountAttributes {
    /// MOUNT_ATTR_* bits to set.
    pub set: u64,
    /// MOUNT_ATTR_* bits to clear.
    pub clear: u64,
    /// MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 to leave the propagation.
    pub propagation: u64,
    /// A user namespace whose maps translate ids, with MOUNT_ATTR_IDMAP in `set`.
    pub userns: u64,
}

/// Changes the attributes of the mount that `mount` is the root of; with `recursive`, of all mounts below it too.
pub fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
    recursive: bool,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let empty: &CStr = c"";
    // SAFETY: the descriptor is open (borrowed), the path is a valid C string, and `attributes` has the layout and the
    // size that are passed; the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            empty.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// One option of a file system: a flag, or a key with its value.
#[derive(Clone, Copy, Debug)]
pub enum FsOption<'a> {
    /// `fsconfig(FSCONFIG_SET_FLAG)`.
    Flag(&'a str),
    /// `fsconfig(FSCONFIG_SET_STRING)`; the kernel takes at most 255 bytes of value.
    Value(&'a str, &'a str),
}

/// Makes a new instance of file system `kind` as a detached mount.
pub fn detached(
    kind: &str,
    options: &[FsOption<'_>],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for option in options {
        match *option {
            FsOption::Flag(key) => fsconfig_set_flag(context.as_fd(), key)?,
            FsOption::Value(key, value) => fsconfig_set_string(context.as_fd(), key, value)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// Returns a detached clone of the mount at `source`, a descriptor of a file or directory; with `recursive`, with all
/// mounts below it.
pub fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(source, "", flags)?)
}

/// Attaches the detached mount `mount` at `target`, a descriptor of the mount point.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    use rustix::mount::{MoveMountFlags, move_mount};
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}
