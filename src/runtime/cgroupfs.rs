//! The mount of type `cgroup`: what a container sees of the cgroup hierarchies (runtime-spec config-linux.md).
//!
//! With a cgroup namespace of its own it sees hierarchies whose root is its own cgroup. Without, on v1 it sees the
//! directory of its cgroup, as clones of the host's mounts, and on v2 the host's tree. On v1 and hybrid hosts the mount is
//! a small tmpfs with one directory per hierarchy, and links for controllers that are mounted together.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::attributes;
use super::channel::{Failure, OrFail as _};
use super::options::Change;
use crate::cgroup::Cgroup;
use crate::sys::mount::{FsOption, attach, clone_tree, detached};

/// What the child needs to mount the hierarchies; made by the parent, who sees the host's.
#[derive(Debug)]
pub(super) enum View {
    /// One v2 tree; the host's mount of it for where a new one is refused.
    V2 { host: Option<OwnedFd> },
    /// A directory per v1 hierarchy.
    V1(Vec<Hierarchy>),
}

/// One hierarchy in the container's view.
#[derive(Debug)]
pub(super) struct Hierarchy {
    /// `cpu,cpuacct`, `systemd`
    name: String,
    /// Options that mount it anew: its controllers, or `name=systemd`.
    controllers: Arc<[String]>,
    /// The container's own directory in it; without one it is mounted anew.
    tree: Option<OwnedFd>,
}

/// Prepares the view of a container in `cgroup`; `has_namespace` says whether it gets a cgroup namespace.
pub(super) fn prepare(cgroup: Option<&Cgroup>, has_namespace: bool) -> Result<View> {
    let open = |path: &Path| -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|directory| clone_tree(directory.as_fd(), false))
            .with_context(|| format!("clone the mount of {}", path.display()))
    };
    let mut hierarchies = Vec::new();
    for (controllers, path) in cgroup.iter().flat_map(|cgroup| cgroup.v1_directories()) {
        hierarchies.push(Hierarchy {
            name: hierarchy_name(controllers),
            tree: (!has_namespace).then(|| open(path)).transpose()?,
            controllers: Arc::clone(controllers),
        });
    }
    if hierarchies.is_empty() {
        return Ok(View::V2 {
            host: open(Path::new("/sys/fs/cgroup")).ok(),
        });
    }
    Ok(View::V1(hierarchies))
}

/// Returns what a v1 hierarchy is called in the view: `cpu,cpuacct`, `systemd`.
pub(super) fn hierarchy_name(controllers: &[String]) -> String {
    let name = |controller: &String| controller.trim_start_matches("name=").to_owned();
    let names: Vec<String> = controllers.iter().map(name).collect();
    names.join(",")
}

/// Makes the mount, and the mounts that [`attach_inside`] attaches below it once it is attached itself: attaching to what
/// is detached is kernel 6.15.
pub(super) fn make(
    view: &View,
    attributes: MountAttrFlags,
) -> Result<(OwnedFd, Vec<(String, OwnedFd)>), Failure> {
    match view {
        View::V2 { host } => {
            let mount = match (
                detached(
                    "cgroup2",
                    &[FsOption::Value("source", "cgroup2")],
                    attributes,
                ),
                host,
            ) {
                // A clone that is attached nowhere cannot be cloned again before kernel 6.15.
                (Err(error), Some(host)) if refused(&error) => {
                    rustix::io::fcntl_dupfd_cloexec(host, 0)
                        .or_fail(|| "clone /sys/fs/cgroup".to_owned())?
                }
                (mount, _) => mount.or_fail(|| "mount cgroup2".to_owned())?,
            };
            Ok((mount, Vec::new()))
        }
        View::V1(hierarchies) => {
            let options = [
                FsOption::Value("source", "tmpfs"),
                FsOption::Value("mode", "755"),
            ];
            let writable = attributes - MountAttrFlags::MOUNT_ATTR_RDONLY;
            let mount = detached("tmpfs", &options, writable)
                .or_fail(|| "mount a tmpfs for cgroups".to_owned())?;
            let mut inside = Vec::with_capacity(hierarchies.len());
            for hierarchy in hierarchies {
                inside.push((hierarchy.name.clone(), make_v1(hierarchy, attributes)?));
                prepare_names(&mount, hierarchy)?;
            }
            Ok((mount, inside))
        }
    }
}

fn refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EBUSY))
}

fn make_v1(hierarchy: &Hierarchy, attributes: MountAttrFlags) -> Result<OwnedFd, Failure> {
    let what = || format!("mount cgroup hierarchy {}", hierarchy.name);
    if let Some(tree) = &hierarchy.tree {
        return rustix::io::fcntl_dupfd_cloexec(tree, 0).or_fail(what);
    }
    let mut options = vec![FsOption::Value("source", "cgroup")];
    for controller in &*hierarchy.controllers {
        match controller.split_once('=') {
            Some((key, value)) => {
                options.extend([FsOption::Flag("none"), FsOption::Value(key, value)]);
            }
            None => options.push(FsOption::Flag(controller)),
        }
    }
    detached("cgroup", &options, attributes).or_fail(what)
}

/// Makes the directory of a hierarchy, and a link per controller if it has several.
fn prepare_names(mount: &OwnedFd, hierarchy: &Hierarchy) -> Result<(), Failure> {
    let what = || format!("make cgroup directory {}", hierarchy.name);
    mkdirat(mount, &hierarchy.name, Mode::from_raw_mode(0o755)).or_fail(what)?;
    if hierarchy.controllers.len() > 1 {
        for controller in &*hierarchy.controllers {
            match symlinkat(&hierarchy.name, mount, controller) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).or_fail(what),
            }
        }
    }
    Ok(())
}

/// Attaches the hierarchies below their attached mount, with `change` of their attributes.
pub(super) fn attach_inside(
    mount: &OwnedFd,
    inside: Vec<(String, OwnedFd)>,
    change: Change,
) -> Result<(), Failure> {
    for (name, hierarchy) in inside {
        let attach = || -> io::Result<()> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let target = openat(mount, &*name, flags, Mode::empty())?;
            attach(hierarchy.as_fd(), target.as_fd())?;
            // Clones of the host's mounts have neither the attributes nor a propagation of their own yet.
            attributes::change(hierarchy.as_fd(), change, libc::MS_PRIVATE, false)
        };
        attach().or_fail(|| format!("attach cgroup hierarchy {name}"))?;
    }
    Ok(())
}
