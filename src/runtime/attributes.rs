//! Changes of mounts as the options of a mount ask for them.

use std::io;
use std::os::fd::BorrowedFd;

use super::options::Change;
use crate::sys::attributes;
use crate::sys::mount::MountAttributes;

pub(super) use crate::sys::attributes::work_detached;

/// Changes the mount that `mount` is the root of, with `recursive` all mounts below it, too; 0 leaves the propagation. See
/// [`attributes::change`].
pub(super) fn change(
    mount: BorrowedFd<'_>,
    change: Change,
    propagation: u64,
    recursive: bool,
) -> io::Result<()> {
    let change = MountAttributes {
        set: change.set,
        clear: change.clear,
        propagation,
        userns: 0,
    };
    attributes::change(mount, change, recursive)
}
