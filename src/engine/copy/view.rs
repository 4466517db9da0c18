//! The files of a container as its program sees them, volumes and binds included.
//!
//! Of a running container that is the root of its own mount namespace, reached by a descriptor; nothing enters it, and no
//! code of the container runs. Of another one it is put together in a mount namespace of our own, which ends with the
//! thread that made it. Every path is resolved beneath that root (CVE-2018-15664, CVE-2019-14271).

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use crate::container::{Container, Record};
use crate::engine::Engine;
use crate::engine::files::{self, Purpose};
use crate::error;
use crate::monitor::{sources, volumes};
use crate::sys::attributes;
use crate::sys::mount::{MountAttributes, attach, clone_tree};
use crate::sys::rooted::Root;
use crate::sys::thread::with_own_mounts;

/// How many links one path may lead through, as in the kernel.
const LINKS_MAX: usize = 40;
/// What the engine puts over the image's files, by the names that the container's directory has for it.
const NETWORK_FILES: [(&str, &str); 3] = [
    ("resolv.conf", "/etc/resolv.conf"),
    ("hostname", "/etc/hostname"),
    ("hosts", "/etc/hosts"),
];

/// Calls `work` with the root of a container, for a purpose.
///
/// The error is of kind `Conflict` while the container is being started, stopped or removed.
pub(super) fn with_root<T: Send>(
    engine: &Engine,
    container: &Container,
    purpose: Purpose,
    work: impl FnOnce(&Root) -> Result<T> + Send,
) -> Result<T> {
    let id = &container.record.id;
    if container.status.phase.has_processes() {
        let root = running(engine, container)?;
        return work(&root);
    }
    // Nobody may start it meanwhile: its upper directory belongs to one mount at a time.
    let Some(_lock) = engine.containers.try_lock(id)? else {
        return Err(error::conflict(format!(
            "container {id} is being started or stopped by another command"
        )));
    };
    let used = volumes::mount(&engine.dirs, &container.record)?;
    let done = with_own_mounts(|| {
        let root = stopped(engine, container, purpose)?;
        work(&root)
    });
    volumes::release(&engine.dirs, used);
    engine.containers.clear_run(id);
    done.context("make a mount namespace")?
}

fn running(engine: &Engine, container: &Container) -> Result<Root> {
    let (id, pid) = (&container.record.id, container.status.pid);
    let root = Root::open(Path::new(&format!("/proc/{pid}/root")))
        .context("open the root of the container")?;
    // The number may have become another process's between the two.
    let status = engine.containers.status(id)?;
    if status.pid != pid || !engine.containers.is_monitored(id)? {
        return Err(error::conflict(format!("container {id} has just stopped")));
    }
    Ok(root)
}

/// Puts together what a container would see, in the mount namespace of this thread.
fn stopped(engine: &Engine, container: &Container, purpose: Purpose) -> Result<Root> {
    let root = files::root(engine, container, purpose)?;
    // Any directory of ours will do: nobody else sees what is mounted over it.
    let place = Root::open(&engine.dirs.tmp()).context("open the place of the mount")?;
    attach(root.as_fd(), place.as_fd()).context("mount the root of the container")?;
    let root = Root::from_dir(root);
    let record = &container.record;
    let parts = sources::open(&engine.images, record)?;
    for mount in record.mounts.iter().filter(|mount| mount.kind != "tmpfs") {
        let part = parts
            .iter()
            .find(|(target, _)| *target == mount.destination);
        let source = part.map_or_else(
            || PathBuf::from(&mount.source),
            |(_, part)| PathBuf::from(format!("/proc/thread-self/fd/{}", part.as_raw_fd())),
        );
        bind(&root, &source, &mount.destination, mount.rw)
            .with_context(|| format!("mount {} at {}", mount.source, mount.destination))?;
    }
    let dir = engine.dirs.container(&record.id);
    for (name, target) in NETWORK_FILES {
        let source = dir.join(name);
        if source.exists() {
            bind(&root, &source, target, true).with_context(|| format!("mount {target}"))?;
        }
    }
    Ok(root)
}

/// Binds a path of the host over one of the container; a source that is not there yet is left out.
fn bind(root: &Root, source: &Path, target: &str, writable: bool) -> Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let source = match rustix::fs::open(source, flags, Mode::empty()) {
        Ok(source) => source,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let is_dir = kind_of(&source)? == FileType::Directory;
    let mount = match clone_tree(source.as_fd(), true) {
        // A mount that is attached nowhere, such as an image's, is not cloned by kernels before 6.15, and is as good itself.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => source,
        cloned => cloned?,
    };
    let place = mount_point(root, Path::new(target), is_dir)?;
    attach(mount.as_fd(), place.as_fd())?;
    if !writable {
        let read_only = MountAttributes {
            set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()),
            ..MountAttributes::default()
        };
        // Older kernels, as for containers, leave the mounts below as they are.
        attributes::change(mount.as_fd(), read_only, attributes::work_detached())?;
    }
    Ok(())
}

/// Returns what is mounted over, making it if it is missing.
fn mount_point(root: &Root, target: &Path, is_dir: bool) -> io::Result<OwnedFd> {
    match root.handle(target) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let mode = Mode::from_raw_mode(0o755);
    if is_dir {
        return root.create_dir_all(target, mode);
    }
    root.create_dir_all(target.parent().unwrap_or(target), mode)?;
    let flags = OFlags::WRONLY | OFlags::CREATE;
    root.open_at(target, flags, Mode::from_raw_mode(0o644))
}

/// A path of a container without links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// From the root, without a leading `/`.
    pub path: PathBuf,
    /// What it is; nothing if its last name is missing.
    pub kind: Option<FileType>,
}

/// Finds out what the absolute, clean `path` leads to; with `follow` also if it is a link itself.
///
/// The error is `NotFound` if a directory on the way is missing.
pub(super) fn resolve(root: &Root, path: &Path, follow: bool) -> io::Result<Resolved> {
    let mut todo: VecDeque<OsString> = names(path).collect();
    let (mut here, mut links) = (PathBuf::new(), 0);
    let mut kind = Some(FileType::Directory);
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let handle = match root.open_direct(&next, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(handle) => handle,
            Err(error) if error.kind() == ErrorKind::NotFound && todo.is_empty() => {
                return Ok(Resolved {
                    path: next,
                    kind: None,
                });
            }
            Err(error) => return Err(error),
        };
        let found = kind_of(&handle)?;
        if found == FileType::Symlink && (follow || !todo.is_empty()) {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = rustix::fs::readlinkat(&handle, "", Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                here = PathBuf::new();
            }
            let target: Vec<OsString> = names(&target).collect();
            for name in target.into_iter().rev() {
                todo.push_front(name);
            }
            kind = Some(FileType::Directory);
            continue;
        }
        here = next;
        kind = Some(found);
    }
    Ok(Resolved { path: here, kind })
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    })
}

fn kind_of(file: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

/// Refuses to write into a directory that the container itself may not write to.
///
/// The texts are docker's; what is in a tmpfs mount is the container's own.
pub(super) fn check_writable(record: &Record, dir: &Path) -> Result<()> {
    let dir = Path::new("/").join(dir);
    let volumes = record
        .mounts
        .iter()
        .map(|mount| (&mount.destination, mount.rw));
    let scratch = record.host_config.tmpfs.keys().map(|target| (target, true));
    let around = volumes
        .chain(scratch)
        .filter(|(target, _)| dir.starts_with(target));
    let mount = around.max_by_key(|(target, _)| target.len());
    if let Some((_, false)) = mount {
        return Err(error::invalid("mounted volume is marked read-only"));
    }
    if mount.is_none() && record.host_config.readonly_rootfs {
        let why = "container rootfs is marked read-only";
        return Err(error::new(error::Kind::Forbidden, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_to_where_the_container_would_see_them() {
        let dir = std::env::temp_dir().join(format!("aril-view-{}", crate::store::unique()));
        std::fs::create_dir_all(dir.join("d/e")).unwrap();
        std::fs::write(dir.join("f"), "").unwrap();
        symlink("/d", dir.join("abs")).unwrap();
        symlink("../../../d/e", dir.join("d/up")).unwrap();
        symlink("nowhere", dir.join("dangling")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        let root = Root::open(&dir).unwrap();
        let check = |path: &str, follow, want: Option<(&str, Option<FileType>)>| {
            let got = resolve(&root, Path::new(path), follow);
            let want = want.map(|(path, kind)| Resolved {
                path: path.into(),
                kind,
            });
            assert_eq!(got.ok(), want, "{path}");
        };
        let directory = Some(FileType::Directory);
        check("/", true, Some(("", directory)));
        check("/abs/e", true, Some(("d/e", directory)));
        check("/abs", false, Some(("abs", Some(FileType::Symlink))));
        check("/abs/up", true, Some(("d/e", directory)));
        check("/dangling", true, Some(("nowhere", None)));
        check("/f", true, Some(("f", Some(FileType::RegularFile))));
        check("/new", true, Some(("new", None)));
        check("/no/new", true, None);
        check("/f/x", true, None);
        check("/loop", true, None);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
