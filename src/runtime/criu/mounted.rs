//! Whether what is restored has the mounts of its configuration, and no others. CRIU makes those that the images tell of:
//! file systems of the kernel with nothing masked in them, overlays of the host's directories.
//!
//! Asked only of a container that may not mount by itself; of any other, what is missing is a warning.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, FileType, StatVfsMountFlags, fstatfs, fstatvfs, makedev, statat};
use rustix::process::Pid;

use super::external::{External, external, is_bind, place_of};
use super::restore::Restore;
use crate::error;
use crate::oci::runtime::Spec;
use crate::runtime::mounts::destination;
use crate::runtime::options;
use crate::sys::mountinfo::{self, Mount};
use crate::sys::pseudo;
use crate::sys::rooted::Root;

/// A mount that the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    /// Where it is, links resolved.
    place: PathBuf,
    what: What,
    is_read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// A new file system of this type.
    New(String),
    /// The cgroup hierarchies, each below it where they are several.
    Cgroups,
    /// What is on the host, with the mounts below it.
    Host(PathBuf),
    /// What is there already, once more, to be read only.
    Again,
    /// What hides what is there.
    Mask,
}

/// Fails with `Invalid` unless the mounts of process `pid` are those of the container.
pub(super) fn check(container: &Restore<'_>, pid: Pid) -> Result<()> {
    let (root, table) = look(pid)?;
    let ours = pseudo::read_text("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    let all = expected(container, &root)?;
    if let Some(mount) = unexpected(&table, &all, &ours) {
        bail!(error::invalid(format!(
            "what was saved has a mount of type {} on {} that the configuration does not have",
            mount.kind,
            mount.point.display()
        )));
    }
    if let Some(place) = missing(container.spec, &table, &root)? {
        bail!(error::invalid(lacks(&place)));
    }
    check_sources(&all, &table, &root)?;
    check_protection(container.spec, &root)
}

/// Warns of a mount of the configuration that process `pid` does not have, of a container that may have undone it by itself.
pub(super) fn warn_of_missing(container: &Restore<'_>, pid: Pid) -> Result<()> {
    let (root, table) = look(pid)?;
    if let Some(place) = missing(container.spec, &table, &root)? {
        tracing::warn!("{}", lacks(&place));
    }
    Ok(())
}

/// Returns the root of process `pid` and its mount table.
fn look(pid: Pid) -> Result<(Root, String)> {
    let pid = pid.as_raw_nonzero();
    let inside = format!("/proc/{pid}/root");
    let root = Root::open(Path::new(&inside)).with_context(|| format!("open {inside}"))?;
    let file = format!("/proc/{pid}/mountinfo");
    let table = pseudo::read_text(&file).with_context(|| format!("read {file}"))?;
    Ok((root, table))
}

fn lacks(place: &Path) -> String {
    format!(
        "what was saved has no mount on {}, which the configuration asks for: a restore makes no new ones",
        place.display()
    )
}

fn expected(container: &Restore<'_>, root: &Root) -> Result<Vec<Expected>> {
    let spec = container.spec;
    let place = |path: &Path| place_of(root, path).unwrap_or_else(|| path.to_owned());
    let mut all = vec![Expected {
        place: PathBuf::from("/"),
        what: What::Host(container.rootfs.to_owned()),
        is_read_only: false,
    }];
    for mount in &spec.mounts {
        // They are among those of the host.
        if is_bind(mount)? {
            continue;
        }
        let options = options::parse(&mount.options)?;
        let set = options.attributes.set | options.recursive.set;
        let what = match &*mount.kind {
            "cgroup" => What::Cgroups,
            kind => What::New(kind.to_owned()),
        };
        all.push(Expected {
            place: place(&destination(&mount.destination)?),
            what,
            is_read_only: set & libc::MOUNT_ATTR_RDONLY != 0,
        });
    }
    let more = |path: &Path, what| Expected {
        place: place(path),
        what,
        is_read_only: false,
    };
    for External {
        destination,
        source,
    } in external(spec, container.bundle, container.cgroup)?
    {
        let source =
            std::fs::canonicalize(&source).with_context(|| format!("open {}", source.display()))?;
        all.push(more(&destination, What::Host(source)));
    }
    if container.has_terminal {
        let terminals = What::New("devpts".to_owned());
        all.push(more(Path::new("/dev/console"), terminals));
    }
    if let Some(linux) = &spec.linux {
        all.extend(linux.masked_paths.iter().map(|path| more(path, What::Mask)));
        all.extend(
            linux
                .readonly_paths
                .iter()
                .map(|path| more(path, What::Again)),
        );
    }
    Ok(all)
}

/// Returns the first mount of a table that nothing asks for; `ours` is our own table.
fn unexpected<'a>(table: &'a str, expected: &[Expected], ours: &str) -> Option<Mount<'a>> {
    let all: Vec<Mount<'a>> = mountinfo::parse(table).collect();
    let mut left: Vec<&Expected> = expected.iter().collect();
    let mut is_unexpected = |index: usize| {
        let mount = &all[index];
        // What is below it, or has been at its place before.
        let covered = all[..index].iter().chain(&all[index + 1..]);
        let is_again = covered
            .filter(|other| mount.point.starts_with(&other.point))
            .any(|other| other.device == mount.device);
        let found = left.iter().position(|expected| {
            is_asked_for(mount, expected) && (is_again || expected.what != What::Again)
        });
        if let Some(found) = found {
            left.remove(found);
            return false;
        }
        !expected
            .iter()
            .any(|expected| comes_along(mount, expected, ours))
    };
    let index = (0..all.len()).find(|&index| is_unexpected(index))?;
    all.into_iter().nth(index)
}

/// Returns where the first bind mount of a configuration belongs that a table does not have: CRIU passes over what is not in
/// the images.
fn missing(spec: &Spec, table: &str, root: &Root) -> Result<Option<PathBuf>> {
    for mount in &spec.mounts {
        let path = destination(&mount.destination)?;
        let place = place_of(root, &path).unwrap_or(path);
        if is_bind(mount)? && mountinfo::parse(table).all(|other| other.point != place) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn is_asked_for(mount: &Mount<'_>, expected: &Expected) -> bool {
    let kind_fits = match &expected.what {
        What::New(kind) => mount.kind == kind,
        What::Cgroups => matches!(mount.kind, "cgroup" | "cgroup2" | "tmpfs"),
        // These are looked at for themselves.
        What::Host(_) | What::Again | What::Mask => true,
    };
    mount.point == expected.place && kind_fits && (!expected.is_read_only || is_read_only(mount))
}

/// Whether it is there since another is.
fn comes_along(mount: &Mount<'_>, expected: &Expected, ours: &str) -> bool {
    let Ok(below) = mount.point.strip_prefix(&expected.place) else {
        return false;
    };
    match &expected.what {
        What::Cgroups => mount.kind == "cgroup" && (!expected.is_read_only || is_read_only(mount)),
        What::Host(source) => mountinfo::parse(ours)
            .any(|own| own.device == mount.device && own.point == source.join(below)),
        What::New(_) | What::Again | What::Mask => false,
    }
}

fn is_read_only(mount: &Mount<'_>) -> bool {
    [mount.options, mount.super_options]
        .iter()
        .any(|options| options.split(',').any(|option| option == "ro"))
}

/// Checks that what is at the places of mounts of the host is what the configuration names.
fn check_sources(expected: &[Expected], table: &str, root: &Root) -> Result<()> {
    for Expected { place, what, .. } in expected {
        let What::Host(source) = what else {
            continue;
        };
        let is_alone = expected
            .iter()
            .filter(|other| other.place == *place)
            .count()
            == 1;
        let is_mounted = mountinfo::parse(table).any(|mount| mount.point == *place);
        if !is_alone || !is_mounted || place.parent().is_none() {
            continue;
        }
        let what = || format!("look at {}", place.display());
        let handle = root.handle(place).with_context(what)?;
        let found = statat(&handle, "", AtFlags::EMPTY_PATH).with_context(what)?;
        let named =
            rustix::fs::stat(source).with_context(|| format!("look at {}", source.display()))?;
        if (found.st_dev, found.st_ino) != (named.st_dev, named.st_ino) {
            bail!(error::invalid(format!(
                "what was saved has something else than {} on {}",
                source.display(),
                place.display()
            )));
        }
    }
    Ok(())
}

/// Checks that masked paths are masked, and that what is to be read only is.
fn check_protection(spec: &Spec, root: &Root) -> Result<()> {
    let is_root_read_only = spec.root.as_ref().is_some_and(|root| root.readonly);
    let own = is_root_read_only.then_some(Path::new("/"));
    let linux = spec.linux.iter();
    let read_only = linux.clone().flat_map(|linux| &linux.readonly_paths);
    for path in own.into_iter().chain(read_only.map(PathBuf::as_path)) {
        if let Some(handle) = existing(root, path)? {
            let flags = fstatvfs(&handle).map(|found| found.f_flag);
            let flags = flags.with_context(|| format!("look at {}", path.display()))?;
            if !flags.contains(StatVfsMountFlags::RDONLY) {
                bail!(unprotected(path, "read only"));
            }
        }
    }
    for path in linux.flat_map(|linux| &linux.masked_paths) {
        if let Some(handle) = existing(root, path)?
            && !is_mask(&handle).with_context(|| format!("look at {}", path.display()))?
        {
            bail!(unprotected(path, "masked"));
        }
    }
    Ok(())
}

fn unprotected(path: &Path, how: &str) -> anyhow::Error {
    error::invalid(format!(
        "what was saved has {} not {how}, as the configuration wants it",
        path.display()
    ))
}

/// What is not there needs no protection.
fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.handle(path) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            Ok(None)
        }
        found => found
            .map(Some)
            .with_context(|| format!("open {}", path.display())),
    }
}

/// Whether it is /dev/null, or a directory that nobody can write to, of a file system in memory.
fn is_mask(handle: &OwnedFd) -> rustix::io::Result<bool> {
    let found = statat(handle, "", AtFlags::EMPTY_PATH)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::CharacterDevice => Ok(found.st_rdev == makedev(1, 3)),
        FileType::Directory => {
            let is_in_memory = fstatfs(handle)?.f_type == libc::TMPFS_MAGIC;
            Ok(is_in_memory && fstatvfs(handle)?.f_flag.contains(StatVfsMountFlags::RDONLY))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(place: &str, what: What, is_read_only: bool) -> Expected {
        Expected {
            place: PathBuf::from(place),
            what,
            is_read_only,
        }
    }

    #[test]
    fn only_mounts_of_the_configuration_are_there() {
        let expected = [
            expect("/", What::Host(PathBuf::from("/rootfs")), false),
            expect("/proc", What::New("proc".to_owned()), false),
            expect("/sys", What::New("sysfs".to_owned()), true),
            expect("/sys/fs/cgroup", What::Cgroups, true),
            expect("/vol", What::Host(PathBuf::from("/host/vol")), false),
            expect("/proc/kcore", What::Mask, false),
            expect("/proc/sys", What::Again, false),
        ];
        let ours = "1 1 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / /host/vol/sub rw - ext4 /dev/b rw\n";
        let started = [
            "10 1 8:1 /rootfs / rw - ext4 /dev/a rw",
            "11 10 0:40 / /proc rw - proc proc rw",
            "12 10 0:41 / /sys ro - sysfs sysfs ro",
            "13 12 0:42 / /sys/fs/cgroup ro - tmpfs tmpfs rw",
            "14 13 0:43 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw",
            "15 10 8:1 /host/vol /vol rw - ext4 /dev/a rw",
            "16 15 8:2 / /vol/sub rw - ext4 /dev/b rw",
            "17 11 0:5 /null /proc/kcore rw - devtmpfs dev rw",
            "18 11 0:40 /sys /proc/sys ro - proc proc rw",
        ];
        let found = |more: &str| {
            let table = format!("{}\n{more}\n", started.join("\n"));
            unexpected(&table, &expected, ours).map(|mount| mount.point.into_owned())
        };
        assert_eq!(found(""), None);
        for (point, more) in [
            ("/", "20 10 0:50 / / rw - overlay overlay lowerdir=/etc"),
            ("/proc", "20 11 0:44 / /proc rw - tmpfs tmpfs rw"),
            ("/mnt", "20 10 0:44 / /mnt rw - debugfs debugfs rw"),
            ("/proc/bus", "20 11 0:44 / /proc/bus rw - proc proc rw"),
            (
                "/sys/fs/cgroup/pids",
                "20 13 0:44 / /sys/fs/cgroup/pids rw - cgroup cgroup rw",
            ),
            ("/vol/other", "20 15 8:2 / /vol/other rw - ext4 /dev/b rw"),
            ("/vol/sub", "20 16 0:44 / /vol/sub rw - proc proc rw"),
            ("/proc/sys", "20 18 0:40 /sys /proc/sys ro - proc proc rw"),
        ] {
            assert_eq!(found(more).as_deref(), Some(Path::new(point)), "{more}");
        }
        // What is only read again is no other file system, and what is read only no other mount.
        let of = |lines: &[&str]| {
            let table = lines.join("\n");
            unexpected(&table, &expected, ours).map(|mount| mount.point.into_owned())
        };
        let other = "18 11 8:9 / /proc/sys ro - ext4 /dev/z ro";
        assert_eq!(
            of(&[started[0], started[1], other]).as_deref(),
            Some(Path::new("/proc/sys"))
        );
        let writable = "12 10 0:41 / /sys rw - sysfs sysfs rw";
        assert_eq!(
            of(&[started[0], writable]).as_deref(),
            Some(Path::new("/sys"))
        );
    }
}
