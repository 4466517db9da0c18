//! Owner, mode, extended attributes and times of what is unpacked, in the order in which the kernel lets them stand.
//!
//! chown clears setuid, setgid and file capabilities; chmod clears nothing; so the order is owner, mode, attributes, times.

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::Policy;
use crate::image::path::show;
use crate::image::tarball::{Entry, Time};

/// Marks a directory whose lower layers are hidden; read with CAP_SYS_ADMIN only, so no container can forge it.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// overlayfs takes these for its own …
const OVERLAY: &[u8] = b"trusted.overlay.";
/// … and shows these, since kernel 6.7, as the former.
const ESCAPED: &[u8] = b"trusted.overlay.overlay.";
/// A default ACL shapes what is created below it, so it is set when nothing more is.
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
/// Longer names are refused by the kernel.
const NAME_MAX_BYTES: usize = 255;

/// Returns under which name an attribute of an archive is stored; nothing if it is not.
fn stored_name(name: &[u8], policy: Policy) -> Option<Cow<'_, [u8]>> {
    if let Some(rest) = name.strip_prefix(OVERLAY) {
        let escaped = [ESCAPED, rest].concat();
        return (escaped.len() <= NAME_MAX_BYTES).then_some(Cow::Owned(escaped));
    }
    let portable = name == b"security.capability" || name.starts_with(b"user.");
    // Labels and ACLs of NFS belong to the host that packed the archive, other trusted attributes to its programs.
    let foreign =
        name == b"security.selinux" || name == b"system.nfs4_acl" || name.starts_with(b"trusted.");
    let keep = match policy {
        Policy::Layer => !foreign,
        Policy::RootFilesystem | Policy::Copy => portable,
    };
    keep.then_some(Cow::Borrowed(name))
}

/// Returns under which name a stored attribute goes into an archive; nothing if it does not.
///
/// What docker writes: file capabilities and users' attributes; and what a nested overlayfs has marked.
pub(crate) fn archive_name(name: &[u8]) -> Option<Cow<'_, [u8]>> {
    if let Some(rest) = name.strip_prefix(ESCAPED) {
        return Some(Cow::Owned([OVERLAY, rest].concat()));
    }
    let portable = name == b"security.capability" || name.starts_with(b"user.");
    portable.then_some(Cow::Borrowed(name))
}

/// Returns the value that goes into an archive for the attribute `name`.
///
/// A file capability that was set in a user namespace names that namespace's root (version 3, kernel 4.14); who unpacks
/// the archive has another one, and gets the same capability without it (version 2).
pub(crate) fn portable_value(name: &[u8], value: Vec<u8>) -> Vec<u8> {
    const VERSION_2: u8 = 2;
    const VERSION_3: u8 = 3;
    let flags = value.first().copied().unwrap_or(0);
    match (name, value.len(), value.get(3)) {
        // The revision is the highest byte of a little-endian word, the effective flag the lowest bit.
        (b"security.capability", 24, Some(&VERSION_3)) => {
            let mut portable = value[..20].to_vec();
            portable[..4].copy_from_slice(&[flags, 0, 0, VERSION_2]);
            portable
        }
        _ => value,
    }
}

/// Returns whether the directory behind `dir` hides what lower layers have in it.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0u8; 8];
    match rustix::fs::fgetxattr(dir, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(value[..length] == *b"y"),
        // A value that does not fit is none that the kernel knows.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whose files this process creates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Creator {
    uid: u32,
    gid: u32,
    /// Whether files take their directory's group, so that the group is never known beforehand.
    inherits: bool,
}

impl Creator {
    /// Finds it out from a directory that this process has just made.
    pub(super) fn of(made: BorrowedFd<'_>) -> Result<Creator> {
        let stat = rustix::fs::fstat(made).context("stat the root of the layer")?;
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Ok(Creator {
            uid,
            gid,
            // A mount with `grpid`, or a setgid bit that came from a directory above.
            inherits: stat.st_gid != gid || stat.st_mode & 0o2000 != 0,
        })
    }

    /// A creator of whose files nothing is known: each gets its owner by a call of its own.
    pub(super) fn unknown() -> Creator {
        Creator {
            uid: 0,
            gid: 0,
            inherits: true,
        }
    }

    fn differs(self, entry: &Entry) -> bool {
        self.inherits || entry.uid != self.uid || entry.gid != self.gid
    }
}

/// Sets owner, special mode bits, attributes and times of the new file behind `file`, which was created with the
/// permissions of `entry`.
pub(super) fn finish_file(
    file: BorrowedFd<'_>,
    entry: &Entry,
    (creator, policy): (Creator, Policy),
) -> Result<()> {
    if creator.differs(entry) {
        rustix::fs::fchown(file, Some(uid(entry)), Some(gid(entry)))
            .map_err(|errno| explain_owner(errno, entry))?;
    }
    if entry.mode & 0o7000 != 0 {
        rustix::fs::fchmod(file, mode(entry)).context("set the mode")?;
    }
    for (name, value) in &entry.xattrs {
        if let Some(name) = stored_name(name, policy) {
            let set = rustix::fs::fsetxattr(file, &*name, value, XattrFlags::empty());
            tolerate(set, entry, &name)?;
        }
    }
    rustix::fs::futimens(file, &timestamps(entry.mtime)).context("set the times")
}

/// Sets the owner of `name` in `dir`, which is anything but a regular file, and its attributes.
///
/// A directory's mode, times and default ACL wait until the tree is complete: [`finish_directory`].
pub(super) fn set_owner_and_xattrs(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    (creator, policy): (Creator, Policy),
) -> Result<()> {
    if creator.differs(entry) {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(dir, name, Some(uid(entry)), Some(gid(entry)), flags)
            .map_err(|errno| explain_owner(errno, entry))?;
    }
    for (attribute, value) in &entry.xattrs {
        if attribute == DEFAULT_ACL {
            continue;
        }
        if let Some(attribute) = stored_name(attribute, policy) {
            let set = set_xattr(dir, name, &attribute, value);
            tolerate(set, entry, &attribute)?;
        }
    }
    Ok(())
}

/// Sets the mode and the times of `name` in `dir`, which is no symlink's mode.
pub(super) fn set_times(dir: BorrowedFd<'_>, name: &[u8], mtime: Time) -> Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(dir, name, &timestamps(mtime), flags).context("set the times")
}

/// What of a directory's metadata waits until the tree is complete: a setgid bit and a default ACL would be passed on to
/// what is created in it, and creating anything changes its times.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) mode: u32,
    pub(super) mtime: Time,
    pub(super) default_acl: Option<Vec<u8>>,
}

impl Late {
    pub(super) fn of(entry: &Entry, policy: Policy) -> Late {
        let acl = entry.xattrs.iter().find(|(name, _)| name == DEFAULT_ACL);
        let acl = acl.filter(|(name, _)| stored_name(name, policy).is_some());
        Late {
            mode: entry.mode,
            mtime: entry.mtime,
            default_acl: acl.map(|(_, value)| value.clone()),
        }
    }

    /// A directory that only its content speaks of.
    pub(super) fn implied() -> Late {
        Late {
            mode: 0o755,
            mtime: Time::default(),
            default_acl: None,
        }
    }
}

/// Sets what had to wait on the directory `name` in `dir`; an empty `name` is `dir` itself.
pub(super) fn finish_directory(dir: BorrowedFd<'_>, name: &[u8], late: &Late) -> Result<()> {
    let name = if name.is_empty() { b"." } else { name };
    if late.mode & 0o7000 != 0 {
        let mode = Mode::from_raw_mode(late.mode);
        rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).context("set the mode")?;
    }
    if let Some(acl) = &late.default_acl {
        set_xattr(dir, name, DEFAULT_ACL, acl).context("set the default ACL")?;
    }
    set_times(dir, name, late.mtime)
}

/// Sets an attribute of `name` in `dir` without following a link.
///
/// The path goes through /proc because `setxattrat` is only in kernel 6.13, and a descriptor that allows `fsetxattr`
/// cannot be had for a symlink or a device.
pub(super) fn set_xattr(
    dir: BorrowedFd<'_>,
    name: &[u8],
    attribute: &[u8],
    value: &[u8],
) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(link_path(dir, name), attribute, value, XattrFlags::empty())
}

/// Removes every attribute of `name` in `dir` that an archive may have set.
pub(super) fn clear_xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    let path = link_path(dir, name);
    let mut list = vec![0u8; 64 << 10];
    let length = match rustix::fs::llistxattr(&path, &mut list[..]) {
        Err(Errno::NOTSUP) => 0,
        other => other.context("list attributes")?,
    };
    for attribute in list[..length].split(|b| *b == 0).filter(|a| !a.is_empty()) {
        let own = attribute.starts_with(OVERLAY) && !attribute.starts_with(ESCAPED);
        if !own {
            match rustix::fs::lremovexattr(&path, attribute) {
                Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno).context("remove an attribute"),
            }
        }
    }
    Ok(())
}

fn link_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [
        format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(),
        name,
    ]
    .concat()
}

/// File systems and namespaces differ in what they can store, and an image may run without it: docker goes on as well.
fn tolerate(set: rustix::io::Result<()>, entry: &Entry, name: &[u8]) -> Result<()> {
    match set {
        Ok(()) => Ok(()),
        Err(Errno::NOTSUP | Errno::PERM) => {
            tracing::warn!(
                path = %show(&entry.path),
                attribute = %show(name),
                "left out an extended attribute that cannot be stored here"
            );
            Ok(())
        }
        Err(errno) => Err(errno).with_context(|| format!("set the attribute {:?}", show(name))),
    }
}

fn explain_owner(errno: Errno, entry: &Entry) -> anyhow::Error {
    let error =
        anyhow::Error::new(errno).context(format!("set the owner to {}:{}", entry.uid, entry.gid));
    if errno == Errno::INVAL || errno == Errno::PERM {
        let hint = "give the user more ids in /etc/subuid and /etc/subgid";
        return crate::error::with_hint(error, hint);
    }
    error
}

fn uid(entry: &Entry) -> Uid {
    Uid::from_raw(entry.uid)
}

fn gid(entry: &Entry) -> Gid {
    Gid::from_raw(entry.gid)
}

pub(super) fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

/// The kernel cuts to what the file system can store; before 1970 is 1970, as docker has it.
fn timestamps(time: Time) -> Timestamps {
    let time = time.max(Time::default());
    let spec = Timespec {
        tv_sec: time.seconds,
        tv_nsec: i64::from(time.nanoseconds),
    };
    Timestamps {
        last_access: spec,
        last_modification: spec,
    }
}

/// Copies owner, mode, times and the attributes that an archive would carry from the directory `from` to `to`.
pub(crate) fn copy_directory_metadata(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).context("stat a directory")?;
    let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(owner), Some(group)).context("set the owner")?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).context("set the mode")?;
    copy_xattrs(from, to)?;
    rustix::fs::futimens(to, &times_of(&stat)).context("set the times")
}

/// Copies the attributes of a file, except those that overlayfs has set: they would speak for another file.
pub(crate) fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    for (name, value) in xattrs(from)? {
        if name.starts_with(OVERLAY) && !name.starts_with(ESCAPED) {
            continue;
        }
        match rustix::fs::fsetxattr(to, &*name, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(errno) => return Err(errno).context("copy an attribute"),
        }
    }
    Ok(())
}

/// Returns the times of a file.
pub(crate) fn times_of(stat: &rustix::fs::Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    }
}

/// The width of the field differs between architectures.
fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(0)
}

/// Returns all extended attributes of the file behind `file`.
pub(crate) fn xattrs(file: impl AsFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let file = file.as_fd();
    let mut small = [0u8; 256];
    let names = match rustix::fs::flistxattr(file, &mut small[..]) {
        // What nearly every file has.
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut large = vec![0u8; 64 << 10];
            let length = rustix::fs::flistxattr(file, &mut large[..]).context("list attributes")?;
            large.truncate(length);
            large
        }
        Err(errno) => return Err(errno).context("list attributes"),
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 64 << 10];
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
            // It went away meanwhile.
            Err(Errno::NODATA) => {}
            Err(errno) => {
                return Err(errno).with_context(|| format!("read the attribute {:?}", show(name)));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_kept_escaped_or_dropped() {
        let check = |name: &str, layer: Option<&str>, root: Option<&str>| {
            for (policy, expected) in [(Policy::Layer, layer), (Policy::RootFilesystem, root)] {
                let stored = stored_name(name.as_bytes(), policy);
                let stored = stored.map(|n| String::from_utf8(n.into_owned()).unwrap());
                assert_eq!(stored.as_deref(), expected, "{name}");
            }
        };
        let same = |name: &'static str| check(name, Some(name), Some(name));
        same("user.x");
        same("security.capability");
        same("user.overlay.opaque");
        check(
            "system.posix_acl_access",
            Some("system.posix_acl_access"),
            None,
        );
        check("security.ima", Some("security.ima"), None);
        check("security.selinux", None, None);
        check("system.nfs4_acl", None, None);
        check("trusted.glusterfs", None, None);
        let escaped = Some("trusted.overlay.overlay.opaque");
        check("trusted.overlay.opaque", escaped, escaped);
        let twice = Some("trusted.overlay.overlay.overlay.x");
        check("trusted.overlay.overlay.x", twice, twice);
        assert_eq!(
            archive_name(b"trusted.overlay.overlay.overlay.x").as_deref(),
            Some(&b"trusted.overlay.overlay.x"[..])
        );
        assert_eq!(archive_name(b"trusted.overlay.origin"), None);
        assert_eq!(archive_name(b"security.selinux"), None);
    }
}
