//! Mounts whose ids are mapped (kernel 5.12): user namespaces as nothing but maps.
//!
//! An id map is given to the kernel as a user namespace. One with the wanted maps is made by a process that lives just
//! long enough for its namespace to be opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, Result, bail};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::namespaces::id_map;
use crate::error;
use crate::oci::runtime::Mount;
use crate::oci::runtime::linux::{IdMapping, Linux};
use crate::sys::clone::{Child, CloneOptions, clone};
use crate::sys::mount::{MountAttributes, set_attributes};
use crate::sys::signal::send_signal;

/// Maps the ids of the detached `tree` as `mount` says; a mount without maps of its own gets those of the container.
pub(super) fn apply(
    tree: BorrowedFd<'_>,
    mount: &Mount,
    linux: &Linux,
    recursive: bool,
) -> Result<()> {
    let (uids, gids) = if mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty() {
        (&linux.uid_mappings, &linux.gid_mappings)
    } else {
        (&mount.uid_mappings, &mount.gid_mappings)
    };
    if uids.is_empty() || gids.is_empty() {
        bail!(error::invalid(
            "an id-mapped mount needs uidMappings and gidMappings, its own or the container's"
        ));
    }
    let namespace = user_namespace(uids, gids)?;
    let attributes = MountAttributes {
        set: libc::MOUNT_ATTR_IDMAP,
        userns: u64::from(namespace.as_raw_fd().cast_unsigned()),
        ..MountAttributes::default()
    };
    let done = set_attributes(tree, attributes, recursive);
    if done
        .as_ref()
        .is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
    {
        let kind = rustix::fs::fstatfs(tree).map_or(0, |found| found.f_type);
        let kind = file_system(kind).unwrap_or("this file system");
        let error = error::unavailable(format!("{kind} cannot map ids on this kernel"));
        let hint = "use a directory on ext4, xfs, btrfs or tmpfs, or leave the map out";
        bail!(error::with_hint(error, hint));
    }
    done.context("mount_setattr with an id map (kernel 5.12)")
}

/// Returns the name of a file system by its number in statfs(2), of those that people have and that may not map ids.
fn file_system(kind: i64) -> Option<&'static str> {
    Some(match kind {
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        0x2fc1_2fc1 => "zfs",
        0x9fa0 => "proc",
        0x6265_6572 => "sysfs",
        0x1cd1 => "devpts",
        0x6367_7270 => "cgroup2",
        0x6a65_6a63 => "virtiofs",
        _ => return None,
    })
}

/// Returns a user namespace with these maps.
fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<File> {
    let (alive, wait) = io::pipe().context("make a pipe")?;
    let options = CloneOptions {
        namespaces: libc::CLONE_NEWUSER,
        ..CloneOptions::default()
    };
    let child = clone(&options, || {
        // Its life ends by the parent's hand, or with the parent.
        drop(wait);
        let mut byte = [0];
        i32::from(rustix::io::read(&alive, &mut byte).is_err())
    })
    .context("make a user namespace for an id map")?;
    let namespace = write_maps(child.pid.as_raw_nonzero().get(), uids, gids).and_then(|()| {
        let path = format!("/proc/{}/ns/user", child.pid.as_raw_nonzero());
        File::open(&path).with_context(|| format!("open {path}"))
    });
    end(&child)?;
    namespace
}

/// Writes the id maps of the user namespace of process `pid`.
pub(super) fn write_maps(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    for (file, map) in [("gid_map", gids), ("uid_map", uids)] {
        let path = format!("/proc/{pid}/{file}");
        // The kernel takes a map in one write only.
        std::fs::write(&path, id_map(map)).with_context(|| {
            format!(
                "write the id map {:?} to {file}",
                id_map(map).trim().replace('\n', ", ")
            )
        })?;
    }
    Ok(())
}

/// Kills a child of ours and takes its exit status.
pub(super) fn end(child: &Child) -> io::Result<()> {
    use std::os::fd::AsFd as _;
    send_signal(child.pidfd.as_fd(), libc::SIGKILL)?;
    rustix::io::retry_on_intr(|| {
        waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
    })?;
    Ok(())
}
