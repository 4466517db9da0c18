//! Where a mount goes: its target beneath the root, made if it is missing, and what must not be covered.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstatfs, statat};

use super::channel::{Failure, OrFail as _};
use super::mounts::{MountPlan, Source};
use crate::sys::rooted::Root;

/// Paths below /proc that other file systems may cover; lxcfs does so.
const COVERED_IN_PROC: [&str; 12] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Opens the target of a mount, making it if it is missing.
///
/// Links are followed inside the root, but for proc and sysfs: what security relies on must be where it seems to be
/// (CVE-2023-27561, CVE-2025-54867).
pub(super) fn open_target(root: &Root, mount: &MountPlan) -> Result<OwnedFd, Failure> {
    let path = &mount.destination;
    let ordinary = match &mount.source {
        Source::New(fs) if fs.kind == "proc" || fs.kind == "sysfs" => Some(fs.kind.as_str()),
        _ => None,
    };
    let found = if ordinary.is_some() {
        root.handle_nofollow(path)
    } else {
        root.handle(path)
    };
    let what = || {
        let path = path.display().to_string();
        format!("open mount target {path:?} beneath the root")
    };
    let target = match found {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            create_target(root, path, mount.is_directory).or_fail(what)?
        }
        found => found.or_fail(what)?,
    };
    if let Some(kind) = ordinary {
        let found = statat(&target, "", AtFlags::EMPTY_PATH).or_fail(what)?;
        if !FileType::from_raw_mode(found.st_mode).is_dir() {
            return Err(Failure::plain(format!(
                "filesystem {kind:?} must be mounted on ordinary directory"
            )));
        }
    }
    Ok(target)
}

fn create_target(root: &Root, path: &Path, is_directory: bool) -> std::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    if is_directory {
        return root.create_dir_all(path, mode);
    }
    if let Some(parent) = path.parent() {
        drop(root.create_dir_all(parent, mode)?);
    }
    let location = root.locate(path)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(rustix::fs::openat(
        &location.dir,
        &location.name,
        flags,
        mode,
    )?);
    root.handle_nofollow(path)
}

/// Keeps what security relies on in /proc from being covered (CVE-2019-16884): by name, and by where the target is.
pub(super) fn check_proc(
    mount: &MountPlan,
    made: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let refused = |why: &str| {
        let path = mount.destination.display().to_string();
        Err(Failure::plain(format!(
            "{path:?} cannot be mounted because it is {why}"
        )))
    };
    let is_proc =
        |fd: BorrowedFd<'_>| fstatfs(fd).is_ok_and(|found| found.f_type == libc::PROC_SUPER_MAGIC);
    if mount.destination == Path::new("/proc") {
        if is_proc(made) {
            return Ok(());
        }
        return refused("not of type proc");
    }
    let inside = mount.destination.starts_with("/proc") || is_proc(target);
    let is_covered = |path: &&str| mount.destination == Path::new(path);
    if inside && !COVERED_IN_PROC.iter().any(is_covered) {
        return refused("inside /proc");
    }
    Ok(())
}
