//! The root filesystem as CRIU wants it: a mount of its own, in a mount namespace of CRIU's own, so that nothing of it is left
//! on the host however a restore ends.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::Result;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::restore::Restore;
use crate::oci::runtime::linux::Linux;
use crate::runtime::attributes;
use crate::runtime::channel::{Failure, OrFail as _};
use crate::runtime::create::{Rootfs, open_root};
use crate::runtime::mounts::{self, MountPlan, Source};
use crate::runtime::options::Change;
use crate::runtime::target::open_target;
use crate::sys::mount::{attach, clone_tree};
use crate::sys::rooted::Root;

/// A root filesystem that is to be attached.
pub(super) struct NewRoot<'a> {
    tree: OwnedFd,
    mount_point: &'a Path,
    mounts: Vec<MountPlan>,
}

impl<'a> NewRoot<'a> {
    /// Opens what it takes from the host.
    pub(super) fn new(container: &Restore<'a>, linux: &Linux) -> Result<NewRoot<'a>> {
        Ok(NewRoot {
            tree: open_root(Rootfs::Path(container.rootfs))?,
            mount_point: container.mount_point,
            mounts: mounts::prepare(&container.spec.mounts, container.bundle, linux)?,
        })
    }

    /// Attaches it in the mount namespace of this process, which must not be the host's, with all mount points that CRIU
    /// expects to find: the bundle may be a new one.
    pub(super) fn attach(&self) -> Result<(), Failure> {
        let what = || {
            format!(
                "attach the root filesystem at {}",
                self.mount_point.display()
            )
        };
        let slave = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
        mount_change("/", slave)
            .or_fail(|| "make the mounts of the new namespace slaves".to_owned())?;
        attach(self.tree.as_fd(), self.open()?.as_fd()).or_fail(what)?;
        if !attributes::work_detached() {
            attributes::change(self.tree.as_fd(), Change::default(), libc::MS_SLAVE, true)
                .or_fail(what)?;
        }
        // On top of it a copy, that is taken away with the mounts in it. Before kernel 6.15 only what is attached can be cloned.
        let copy = clone_tree(self.tree.as_fd(), true).or_fail(what)?;
        attach(copy.as_fd(), self.open()?.as_fd()).or_fail(what)?;
        self.make_mount_points(&Root::from_dir(copy))?;
        unmount(
            self.mount_point,
            UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
        )
        .or_fail(what)
    }

    fn open(&self) -> Result<OwnedFd, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(self.mount_point, flags, Mode::empty())
            .or_fail(|| format!("open {}", self.mount_point.display()))
    }

    fn make_mount_points(&self, root: &Root) -> Result<(), Failure> {
        for (index, mount) in self.mounts.iter().enumerate() {
            let below = below_new(&self.mounts[..index], &mount.destination);
            // What is in a file system of the container's own was saved with it, and cgroups bring their mount points along.
            if below || matches!(mount.source, Source::Cgroups) {
                continue;
            }
            let target = open_target(root, mount)?;
            if let Source::Tree(tree) = &mount.source {
                attach(tree.as_fd(), target.as_fd())
                    .or_fail(|| format!("mount {}", mount.destination.display()))?;
            }
        }
        Ok(())
    }
}

/// Whether the last of `mounts` that has `path` in it is a new file system.
fn below_new(mounts: &[MountPlan], path: &Path) -> bool {
    let covers =
        |mount: &&MountPlan| path != mount.destination && path.starts_with(&mount.destination);
    let last = mounts.iter().rev().find(covers);
    last.is_some_and(|mount| !matches!(mount.source, Source::Tree(_)))
}
