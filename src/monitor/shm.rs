//! The /dev/shm of another container, for `--ipc container:X`.
//!
//! It is mounted in that container's mount namespace alone, and a mount can be cloned only by who is in its namespace. So
//! this process, which has one thread, goes there and comes back; what it brings is a detached mount.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use rustix::fs::{Mode, OFlags};
use rustix::process::{chroot, fchdir};

use crate::sys::mount::clone_tree;

/// Returns a detached clone of what is mounted on /dev/shm in the container whose first process is `pid`.
pub(super) fn of_container(pid: i32) -> Result<OwnedFd> {
    let own = File::open("/proc/self/ns/mnt").context("open the own mount namespace")?;
    let root = File::open("/").context("open /")?;
    let theirs = format!("/proc/{pid}/ns/mnt");
    let theirs = File::open(&theirs).with_context(|| format!("open {theirs}"))?;
    setns(theirs, CloneFlags::CLONE_NEWNS).context("join the mount namespace of the container")?;
    let tree = clone_shm();
    setns(own, CloneFlags::CLONE_NEWNS).context("come back to the own mount namespace")?;
    // Joining a namespace leads to its root; the own one may have been another directory, and / is this process's own.
    fchdir(&root).context("come back to /")?;
    chroot(".").context("come back to /")?;
    tree.context("take /dev/shm of the container")
}

fn clone_shm() -> std::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let shm = rustix::fs::open("/dev/shm", flags, Mode::empty())?;
    clone_tree(shm.as_fd(), false)
}
