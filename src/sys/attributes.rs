//! Changes of mount attributes and propagation, with a fallback for kernels before 5.12.
//!
//! `mount_setattr` works on detached mounts, sets and clears bit by bit, and reaches all mounts of a tree. Without it
//! mount(2) changes one attached mount as a whole, named through /proc/self/fd; what it cannot do is refused.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::OnceLock;

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change, mount_remount};

use super::kernel::{self, Interface};
use super::mount::{MountAttributes, set_attributes};

/// Whether `mount_setattr` can be used; without, changes must wait until a mount is attached.
pub fn work_detached() -> bool {
    static WORK: OnceLock<bool> = OnceLock::new();
    *WORK.get_or_init(|| {
        if kernel::forced_off(Interface::MountSetattr) {
            return false;
        }
        // Nothing is changed, on any mount; a kernel without the call says so before it looks.
        let here = rustix::fs::CWD;
        let nothing = set_attributes(here, MountAttributes::default(), false);
        !nothing.is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS))
    })
}

/// Changes the mount that `mount` is the root of, with `recursive` all mounts below it, too.
///
/// Where [`work_detached`] says no, the mount must be attached in this mount namespace, and /proc the host's; ids cannot be
/// mapped, and of all mounts below only the propagation can be changed.
pub fn change(mount: BorrowedFd<'_>, change: MountAttributes, recursive: bool) -> io::Result<()> {
    if work_detached() {
        return set_attributes(mount, change, recursive);
    }
    let path = format!("/proc/thread-self/fd/{}", mount.as_raw_fd());
    if change.propagation != 0 {
        let mut flags = MountPropagationFlags::from_bits_retain(bits(change.propagation));
        if recursive {
            flags |= MountPropagationFlags::REC;
        }
        mount_change(&path, flags)?;
    }
    if change.set | change.clear == 0 {
        return Ok(());
    }
    if recursive || change.set & libc::MOUNT_ATTR_IDMAP != 0 {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "recursive mount attributes and maps of ids need kernel 5.12",
        ));
    }
    let flags = old_flags(fstatvfs(mount)?.f_flag, change);
    Ok(mount_remount(&path, flags | MountFlags::BIND, c"")?)
}

fn bits(flags: u64) -> u32 {
    u32::try_from(flags).unwrap_or(0)
}

/// The flags of mount(2) for a mount that has `present` ones and is changed by `change`.
fn old_flags(present: StatVfsMountFlags, change: MountAttributes) -> MountFlags {
    let mut flags = MountFlags::empty();
    for (old, new, shown) in [
        (
            MountFlags::RDONLY,
            libc::MOUNT_ATTR_RDONLY,
            StatVfsMountFlags::RDONLY,
        ),
        (
            MountFlags::NOSUID,
            libc::MOUNT_ATTR_NOSUID,
            StatVfsMountFlags::NOSUID,
        ),
        (
            MountFlags::NODEV,
            libc::MOUNT_ATTR_NODEV,
            StatVfsMountFlags::NODEV,
        ),
        (
            MountFlags::NOEXEC,
            libc::MOUNT_ATTR_NOEXEC,
            StatVfsMountFlags::NOEXEC,
        ),
        (
            MountFlags::NODIRATIME,
            libc::MOUNT_ATTR_NODIRATIME,
            StatVfsMountFlags::NODIRATIME,
        ),
    ] {
        let kept = present.contains(shown) && change.clear & new == 0;
        if kept || change.set & new != 0 {
            flags |= old;
        }
    }
    let times = if change.clear & libc::MOUNT_ATTR__ATIME != 0 {
        match change.set & libc::MOUNT_ATTR__ATIME {
            libc::MOUNT_ATTR_NOATIME => MountFlags::NOATIME,
            libc::MOUNT_ATTR_STRICTATIME => MountFlags::STRICTATIME,
            _ => MountFlags::RELATIME,
        }
    } else if present.contains(StatVfsMountFlags::NOATIME) {
        MountFlags::NOATIME
    } else if present.contains(StatVfsMountFlags::RELATIME) {
        MountFlags::RELATIME
    } else {
        MountFlags::STRICTATIME
    };
    flags | times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays() {
        let present = StatVfsMountFlags::NOSUID | StatVfsMountFlags::RELATIME;
        let flags = |set, clear| {
            let change = MountAttributes {
                set,
                clear,
                ..MountAttributes::default()
            };
            old_flags(present, change)
        };
        assert_eq!(
            flags(libc::MOUNT_ATTR_RDONLY, 0),
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::RELATIME
        );
        assert_eq!(flags(0, libc::MOUNT_ATTR_NOSUID), MountFlags::RELATIME);
        assert_eq!(
            flags(libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME),
            MountFlags::NOSUID | MountFlags::NOATIME
        );
    }
}
