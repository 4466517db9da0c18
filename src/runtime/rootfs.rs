//! The root filesystem and its mounts, child's side: everything is made detached and then attached beneath the root.
//!
//! Every path inside is resolved by the kernel beneath the root (openat2, RESOLVE_IN_ROOT) and used through the descriptor
//! that comes back; nothing is looked up twice (CVE-2021-30465, CVE-2024-45310, CVE-2025-52881).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, mount, mount_change};

use super::attributes;
use super::cgroupfs::{self, View};
use super::channel::{Failure, OrFail as _, Step, errno_of};
use super::copy_up;
use super::devices::{self, Node};
use super::mounts::{MountPlan, NewFileSystem, Source, changes};
use super::options::{Bind, Change, MountOptions};
use super::target::{check_proc, open_target};
use crate::error::describe;
use crate::sys::mount::{FsOption, attach, clone_tree, detached};
use crate::sys::rooted::Root;

/// What the root of a container is made of; opened and checked by the parent.
#[derive(Debug)]
pub(super) struct RootPlan {
    /// The root filesystem, detached.
    pub(super) tree: OwnedFd,
    pub(super) read_only: bool,
    /// Whether mounts that the container makes are to show on the host.
    pub(super) shared: bool,
    /// MS_SHARED and so on for the root once everything is in place.
    pub(super) propagation: Option<u64>,
    pub(super) mounts: Vec<MountPlan>,
    pub(super) nodes: Vec<Node>,
    pub(super) cgroups: Option<View>,
    pub(super) masked: Vec<PathBuf>,
    pub(super) read_only_paths: Vec<PathBuf>,
    /// Whether the host's /proc and /sys may stand in for new ones, since the namespaces they show are shared.
    pub(super) shares_pids: bool,
    pub(super) shares_network: bool,
    /// Whether the old root stays below the new one, for hosts that run from an initial ramdisk.
    pub(super) no_pivot: bool,
}

/// A root that is being put together.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) root: Root,
    /// The container's own devpts.
    pub(super) pts: Option<OwnedFd>,
    /// Mounts that become read-only once nothing has to be made in them any more.
    pub(super) late_read_only: Vec<OwnedFd>,
}

/// Attaches the root on top of this mount namespace's, and all mounts and devices in it.
pub(super) fn assemble(plan: &RootPlan) -> Result<Assembly, Failure> {
    // Nothing that is mounted from here on may reach the host.
    let slave = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    mount_change("/", slave)
        .or_fail(|| "make the mounts of the new namespace slaves".to_owned())?;
    let open = || -> io::Result<Root> {
        let top = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        attach(plan.tree.as_fd(), top.as_fd())?;
        Ok(Root::from_dir(copy(plan.tree.as_fd())?))
    };
    let mut assembly = Assembly {
        root: open().or_fail(|| "attach the root filesystem".to_owned())?,
        pts: None,
        late_read_only: Vec::new(),
    };
    if !attributes::work_detached() {
        attributes::change(plan.tree.as_fd(), Change::default(), libc::MS_SLAVE, true)
            .or_fail(|| "make the root filesystem a slave".to_owned())?;
    }
    let mut has_dev = false;
    for (index, mount) in plan.mounts.iter().enumerate() {
        has_dev |= mount.destination == Path::new("/dev");
        match &mount.source {
            Source::Tree(tree) => put_tree(&assembly, plan, mount, tree)?,
            Source::New(fs) => put_new(&mut assembly, plan, mount, fs, index + 1)?,
            Source::Cgroups => put_cgroups(&mut assembly, plan, mount)?,
        }
    }
    devices::place_all(&assembly.root, &plan.nodes, !has_dev)?;
    Ok(assembly)
}

fn copy(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 0)?)
}

/// What failed, in runc's words.
fn mounting(mount: &MountPlan) -> String {
    let source = match &mount.source {
        Source::Tree(_) => "bind",
        Source::New(fs) => &fs.kind,
        Source::Cgroups => "cgroup",
    };
    let destination = mount.destination.display().to_string();
    format!("error mounting {source:?} to rootfs at {destination:?}")
}

fn put_tree(
    assembly: &Assembly,
    plan: &RootPlan,
    mount: &MountPlan,
    tree: &OwnedFd,
) -> Result<(), Failure> {
    let target = open_target(&assembly.root, mount)?;
    check_proc(mount, tree.as_fd(), target.as_fd())?;
    attach_at(mount, tree.as_fd(), target.as_fd())?;
    if !attributes::work_detached() {
        let bind = mount.options.bind.unwrap_or(Bind::One);
        for (change, propagation, recursive) in changes(&mount.options, bind, plan.shared) {
            attributes::change(tree.as_fd(), change, propagation, recursive)
                .or_fail(|| mounting(mount))?;
        }
    }
    Ok(())
}

/// Makes and attaches a new file system; `later` is the index of the first mount after it.
fn put_new(
    assembly: &mut Assembly,
    plan: &RootPlan,
    mount: &MountPlan,
    fs: &NewFileSystem,
    later: usize,
) -> Result<(), Failure> {
    let options = &mount.options;
    if fs.by_old_call {
        let target = open_target(&assembly.root, mount)?;
        return mount_by_old_call(fs, options, target.as_fd()).or_fail(|| mounting(mount));
    }
    let made = make(fs, options, plan).or_fail(|| mounting(mount))?;
    let is_dev = fs.kind == "tmpfs" && mount.destination == Path::new("/dev");
    if is_dev {
        let later = plan.mounts[later..].iter();
        let later = later.map(|mount| (mount.destination.as_path(), mount.is_directory));
        devices::fill(made.as_fd(), &plan.nodes, &devices::directories_for(later))?;
    }
    let target = open_target(&assembly.root, mount)?;
    check_proc(mount, made.as_fd(), target.as_fd())?;
    if options.copy_up {
        copy_up::copy(target.as_fd(), made.as_fd())
            .or_fail(|| format!("{}: copy what it covers", mounting(mount)))?;
    }
    attach_at(mount, made.as_fd(), target.as_fd())?;
    if is_dev {
        devices::attach_clones(made.as_fd(), &plan.nodes)?;
    }
    change_made(mount, made.as_fd())?;
    if mount.destination == Path::new("/dev/pts") {
        assembly.pts = Some(copy(made.as_fd()).or_fail(|| mounting(mount))?);
    }
    if fs.kind == "tmpfs" && is_read_only(options) {
        assembly.late_read_only.push(made);
    }
    Ok(())
}

fn put_cgroups(assembly: &mut Assembly, plan: &RootPlan, mount: &MountPlan) -> Result<(), Failure> {
    let view = plan
        .cgroups
        .as_ref()
        .expect("the parent prepares it for every such mount");
    let (made, inside) = cgroupfs::make(view, attribute_flags(mount.options.attributes))?;
    let target = open_target(&assembly.root, mount)?;
    check_proc(mount, made.as_fd(), target.as_fd())?;
    attach_at(mount, made.as_fd(), target.as_fd())?;
    cgroupfs::attach_inside(&made, inside, mount.options.attributes)?;
    change_made(mount, made.as_fd())?;
    if is_read_only(&mount.options) {
        assembly.late_read_only.push(made);
    }
    Ok(())
}

/// Carries out what the options say of a mount besides its attributes, which it was made with.
fn change_made(mount: &MountPlan, made: BorrowedFd<'_>) -> Result<(), Failure> {
    let options = &mount.options;
    if !options.recursive.is_empty() {
        attributes::change(made, options.recursive, 0, true).or_fail(|| mounting(mount))?;
    }
    // Private is what a new mount is anyway.
    match options.propagation {
        None | Some((libc::MS_PRIVATE, _)) => Ok(()),
        Some((propagation, recursive)) => {
            attributes::change(made, Change::default(), propagation, recursive)
                .or_fail(|| mounting(mount))
        }
    }
}

fn is_read_only(options: &MountOptions) -> bool {
    options.attributes.set & libc::MOUNT_ATTR_RDONLY != 0
}

fn attach_at(
    mount: &MountPlan,
    made: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<(), Failure> {
    attach(made, target).map_err(|error| {
        let mut errno = errno_of(&error);
        // What mount(2) called ENOTDIR is EINVAL for move_mount, as so much else.
        if errno == libc::EINVAL && is_directory(made) != is_directory(target) {
            errno = libc::ENOTDIR;
        }
        let mut text = format!("{}: {}", mounting(mount), describe(errno));
        if errno == libc::ENOTDIR {
            text.push_str(
                ": Are you trying to mount a directory onto a file (or vice-versa)? \
                 Check if the specified host path exists and is the expected type",
            );
        }
        Failure::worded(Step::Setup, errno, text)
    })
}

fn is_directory(fd: BorrowedFd<'_>) -> Option<bool> {
    let found = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH).ok()?;
    Some(FileType::from_raw_mode(found.st_mode).is_dir())
}

fn attribute_flags(change: Change) -> MountAttrFlags {
    MountAttrFlags::from_bits_retain(u32::try_from(change.set).unwrap_or(0))
}

/// Makes a new file system, detached. A tmpfs is writable until the end: mount points are made in it.
fn make(fs: &NewFileSystem, options: &MountOptions, plan: &RootPlan) -> io::Result<OwnedFd> {
    let mut settings = Vec::with_capacity(options.data.len() + 2);
    if !fs.source.is_empty() {
        settings.push(FsOption::Value("source", &fs.source));
    }
    settings.extend(options.superblock.iter().map(|flag| FsOption::Flag(flag)));
    // Of a disk the file system itself must not be written, or it would replay its journal; the others may have one
    // instance for many mounts, where only the mount can be read-only.
    if is_read_only(options) && !is_virtual(&fs.kind) {
        settings.push(FsOption::Flag("ro"));
    }
    for option in &options.data {
        settings.push(match option.split_once('=') {
            Some((key, value)) => FsOption::Value(key, value),
            None => FsOption::Flag(option),
        });
    }
    let mut attributes = attribute_flags(options.attributes);
    if fs.kind == "tmpfs" {
        attributes -= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    match detached(&fs.kind, &settings, attributes) {
        // In a user namespace the kernel refuses new ones for namespaces that are not of it.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let host = match fs.kind.as_str() {
                "proc" if plan.shares_pids => "/proc",
                "sysfs" if plan.shares_network => "/sys",
                _ => return Err(error),
            };
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let host = rustix::fs::open(host, flags, Mode::empty())?;
            let tree = clone_tree(host.as_fd(), true)?;
            attributes::change(tree.as_fd(), options.attributes, libc::MS_SLAVE, true)?;
            Ok(tree)
        }
        made => made,
    }
}

/// Whether a file system has no device that it must not write to.
fn is_virtual(kind: &str) -> bool {
    const VIRTUAL: [&str; 18] = [
        "binfmt_misc",
        "bpf",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "proc",
        "pstore",
        "ramfs",
        "securityfs",
        "sysfs",
        "tmpfs",
        "tracefs",
    ];
    VIRTUAL.contains(&kind)
}

/// Mounts on a target by mount(2), for options that are too long for fsconfig(2).
fn mount_by_old_call(
    fs: &NewFileSystem,
    options: &MountOptions,
    target: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut flags = MountFlags::empty();
    for (attribute, flag) in [
        (libc::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (libc::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (libc::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (libc::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (libc::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
        (libc::MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
        (libc::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
    ] {
        if options.attributes.set & attribute != 0 {
            flags |= flag;
        }
    }
    for (name, flag) in [
        ("sync", MountFlags::SYNCHRONOUS),
        ("dirsync", MountFlags::DIRSYNC),
        ("lazytime", MountFlags::LAZYTIME),
    ] {
        if options.superblock.contains(&name) {
            flags |= flag;
        }
    }
    let data = CString::new(options.data.join(","))?;
    let target = format!("/proc/self/fd/{}", target.as_raw_fd());
    Ok(mount(&*fs.source, &*target, &*fs.kind, flags, &*data)?)
}
