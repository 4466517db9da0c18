//! The mounts of a container, parent's side: read, checked, and as far as they come from the host, opened.
//!
//! A bind becomes a detached clone of its source (open_tree) with its attributes, id map and propagation set, so that its
//! source is looked up once, in the host's view and with the host's rights, and never by path again. What depends on the
//! container's namespaces (proc, sysfs, mqueue, cgroups, tmpfs in a user namespace) is made by the child.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::attributes;
use super::channel::{Failure, Step, errno_of};
use super::idmap;
use super::options::{self, Bind, Change, MountOptions};
use crate::error;
use crate::oci::runtime::Mount;
use crate::oci::runtime::linux::Linux;
use crate::sys::mount::clone_tree;

/// The kernel takes values of file system options up to this length by fsconfig(2).
const FSCONFIG_VALUE_MAX: usize = 255;

/// One mount, ready for the child.
#[derive(Debug)]
pub(super) struct MountPlan {
    /// Where, inside; absolute, without `..`.
    pub(super) destination: PathBuf,
    pub(super) source: Source,
    pub(super) options: MountOptions,
    /// Whether a target that is missing is made as a directory.
    pub(super) is_directory: bool,
}

/// Where a mount comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A detached clone of something on the host; attributes are set unless the kernel has no `mount_setattr`.
    Tree(OwnedFd),
    /// A file system to be made in the child's namespaces.
    New(NewFileSystem),
    /// The container's view of the cgroup hierarchies.
    Cgroups,
}

/// A file system to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewFileSystem {
    pub(super) kind: String,
    /// What the mount table shows as its source, or its device.
    pub(super) source: String,
    /// Whether it is made by mount(2), since an option is too long for fsconfig(2).
    pub(super) by_old_call: bool,
}

/// Reads `mounts`, and opens what they take from the host. Relative sources are relative to `bundle`.
pub(super) fn prepare(mounts: &[Mount], bundle: &Path, linux: &Linux) -> Result<Vec<MountPlan>> {
    mounts
        .iter()
        .map(|mount| prepare_one(mount, bundle, linux))
        .collect()
}

fn prepare_one(mount: &Mount, bundle: &Path, linux: &Linux) -> Result<MountPlan> {
    let destination = destination(&mount.destination)?;
    let mut options = options::parse(&mount.options)
        .with_context(|| format!("mount {}", destination.display()))?;
    if mount.kind == "bind" && options.bind.is_none() {
        options.bind = Some(Bind::One);
    }
    let wants_id_map = options.id_map.is_some() || !mount.uid_mappings.is_empty();
    if let Some(bind) = options.bind {
        let tree = open_source(&mount.source, bundle, &destination, bind)?;
        let is_directory = is_directory(&tree)?;
        if wants_id_map {
            let recursive = options.id_map == Some(true);
            idmap::apply(tree.as_fd(), mount, linux, recursive).with_context(|| {
                format!("map the ids of the mount on {}", destination.display())
            })?;
        }
        let shared_root = linux.rootfs_propagation.ends_with("shared");
        // Where this cannot be done, the child does what it can once the mount is attached.
        if attributes::work_detached() {
            for (change, propagation, recursive) in changes(&options, bind, shared_root) {
                attributes::change(tree.as_fd(), change, propagation, recursive)
                    .map_err(|error| mounting(&mount.source, &destination, &error))?;
            }
        }
        return Ok(MountPlan {
            destination,
            source: Source::Tree(tree),
            options,
            is_directory,
        });
    }
    if wants_id_map {
        bail!(error::invalid(format!(
            "mount {}: only bind mounts can have their ids mapped",
            destination.display()
        )));
    }
    if mount.kind.is_empty() {
        bail!(error::invalid(format!(
            "mount {} has neither a type nor the option bind",
            destination.display()
        )));
    }
    if !linux.mount_label.is_empty() && is_labelled(&mount.kind) {
        options.data.push(format!("context={}", linux.mount_label));
    }
    let source = if mount.kind == "cgroup" {
        Source::Cgroups
    } else {
        let too_long = |option: &String| {
            option
                .split_once('=')
                .is_some_and(|(_, value)| value.len() > FSCONFIG_VALUE_MAX)
        };
        Source::New(NewFileSystem {
            kind: mount.kind.clone(),
            source: mount.source.clone(),
            by_old_call: options.data.iter().any(too_long),
        })
    };
    Ok(MountPlan {
        destination,
        source,
        options,
        is_directory: true,
    })
}

/// Whether a SELinux context can be given to a file system of this kind.
fn is_labelled(kind: &str) -> bool {
    !matches!(kind, "proc" | "sysfs" | "cgroup" | "cgroup2")
}

/// Checks a destination; a relative one is relative to the root, as runc reads it.
pub(super) fn destination(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            // Lexically, as in Go: what it leads to is resolved beneath the root anyway.
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if clean.parent().is_none() {
        bail!(error::invalid(format!(
            "invalid mount destination {:?}: it is the root filesystem itself",
            path.display().to_string()
        )));
    }
    Ok(clean)
}

fn open_source(source: &str, bundle: &Path, destination: &Path, bind: Bind) -> Result<OwnedFd> {
    let path = bundle.join(source);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let clone = |source: OwnedFd| match clone_tree(source.as_fd(), bind == Bind::Tree) {
        // A caller's detached mount, which kernels before 6.15 do not clone, is itself as good.
        Err(error)
            if error.raw_os_error() == Some(libc::EINVAL) && path.starts_with("/proc/self/fd") =>
        {
            Ok(source)
        }
        cloned => cloned,
    };
    rustix::fs::open(&path, flags, Mode::empty())
        .map_err(Into::into)
        .and_then(clone)
        .map_err(|error: io::Error| mounting(source, destination, &error))
}

/// The words that docker's users know for a bind that cannot be made.
fn mounting(source: &str, destination: &Path, error: &io::Error) -> anyhow::Error {
    let what = format!(
        "error mounting {source:?} to rootfs at {:?}",
        destination.display().to_string()
    );
    anyhow::Error::new(Failure::new(Step::Setup, errno_of(error), &what))
}

fn is_directory(tree: &OwnedFd) -> Result<bool> {
    let found = rustix::fs::statat(tree, "", AtFlags::EMPTY_PATH).context("look at a mount")?;
    Ok(FileType::from_raw_mode(found.st_mode).is_dir())
}

/// Which `mount_setattr` calls a bind needs: attributes, propagation, whether recursive. Pure.
///
/// A clone starts as a peer of its source, and so would carry the container's mounts to the host. It becomes a slave, as
/// it would be if it were made inside runc's root, unless the options say otherwise; `shared` makes it the master of a
/// group of its own, or with a shared root leaves it the peer that it is.
pub(super) fn changes(
    options: &MountOptions,
    bind: Bind,
    shared_root: bool,
) -> Vec<(Change, u64, bool)> {
    let mut calls: Vec<(Change, u64, bool)> = Vec::new();
    let mut add = |change: Change, propagation: u64, recursive: bool| {
        // Without mounts below, everything is about the one mount.
        let recursive = recursive && bind == Bind::Tree;
        if change.is_empty() && propagation == 0 {
            return;
        }
        match calls.last_mut() {
            Some((known, known_propagation, known_recursive))
                if *known_recursive == recursive
                    && known.is_empty() | change.is_empty()
                    && (*known_propagation == 0 || propagation == 0) =>
            {
                if known.is_empty() {
                    *known = change;
                }
                *known_propagation |= propagation;
            }
            _ => calls.push((change, propagation, recursive)),
        }
    };
    let (propagation, recursive) = options.propagation.unwrap_or((0, true));
    match propagation {
        0 if shared_root => {}
        0 => add(Change::default(), libc::MS_SLAVE, true),
        libc::MS_SHARED if shared_root => add(Change::default(), propagation, recursive),
        libc::MS_SHARED => {
            add(Change::default(), libc::MS_SLAVE, true);
            add(Change::default(), propagation, recursive);
        }
        // What is not made private or a slave by the option must not stay a peer either.
        _ => {
            if !recursive && bind == Bind::Tree && !shared_root {
                add(Change::default(), libc::MS_SLAVE, true);
            }
            add(Change::default(), propagation, recursive);
        }
    }
    add(options.recursive, 0, true);
    add(options.attributes, 0, false);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{MOUNT_ATTR_RDONLY as RDONLY, MS_PRIVATE, MS_SHARED, MS_SLAVE};

    fn check(options: &str, shared_root: bool, expected: &[(u64, u64, bool)]) {
        let options: Vec<String> = options.split(',').map(str::to_owned).collect();
        let parsed = options::parse(&options).unwrap();
        let found: Vec<(u64, u64, bool)> = changes(&parsed, parsed.bind.unwrap(), shared_root)
            .into_iter()
            .map(|(change, propagation, recursive)| (change.set, propagation, recursive))
            .collect();
        assert_eq!(found, expected, "{options:?}");
    }

    #[test]
    fn a_bind_is_changed_in_few_calls() {
        check("rbind,rprivate", false, &[(0, MS_PRIVATE, true)]);
        check(
            "rbind,rprivate,ro",
            false,
            &[(0, MS_PRIVATE, true), (RDONLY, 0, false)],
        );
        check("rbind,rprivate,rro", false, &[(RDONLY, MS_PRIVATE, true)]);
        check("bind,rprivate,ro", false, &[(RDONLY, MS_PRIVATE, false)]);
        check("rbind", false, &[(0, MS_SLAVE, true)]);
        check("bind,ro", true, &[(RDONLY, 0, false)]);
    }

    #[test]
    fn no_bind_stays_a_peer_of_the_host_unless_asked_to() {
        check(
            "rbind,rshared",
            false,
            &[(0, MS_SLAVE, true), (0, MS_SHARED, true)],
        );
        check("rbind,rshared", true, &[(0, MS_SHARED, true)]);
        check(
            "rbind,private",
            false,
            &[(0, MS_SLAVE, true), (0, MS_PRIVATE, false)],
        );
        check("rbind,rslave", false, &[(0, MS_SLAVE, true)]);
        check("rbind", true, &[]);
    }

    #[test]
    fn destinations_are_cleaned() {
        for (path, expected) in [
            ("/a/b", Some("/a/b")),
            ("a", Some("/a")),
            ("/../a/./b/../c/", Some("/a/c")),
            ("/", None),
            ("/a/..", None),
        ] {
            assert_eq!(
                destination(Path::new(path)).ok(),
                expected.map(PathBuf::from),
                "{path}"
            );
        }
    }

    #[test]
    fn a_missing_source_is_named() {
        let mount = Mount {
            destination: "/x".into(),
            source: "/nope".into(),
            options: vec!["rbind".into()],
            ..Mount::default()
        };
        let error = prepare(&[mount], Path::new("/"), &Linux::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "error mounting \"/nope\" to rootfs at \"/x\": no such file or directory"
        );
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.errno, libc::ENOENT);
    }
}
