//! Stacked directories as one mount that nobody else sees.
//!
//! The mount is a descriptor (see [`crate::sys::mount`]); whoever starts a container attaches it inside the container's
//! mount namespace, so the host's mount table never has it, and a killed process leaves nothing mounted.
//!
//! overlayfs' features that spread a file over several layers are switched off by name, whatever the kernel was built or
//! booted with: an upper directory must be complete in itself, since commit, diff and cp read it, and what an image has in
//! its attributes must not lead overlayfs to a directory of the image's choice.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, symlinkat};
use rustix::mount::{MountAttrFlags, MountFlags, OpenTreeFlags, mount as mount_old, open_tree};

use crate::sys::attributes;
use crate::sys::kernel::{self, Interface};
use crate::sys::mount::{FsOption, MountAttributes, attach, clone_tree, detached};
use crate::sys::thread::with_own_mounts;

/// The most directories that the kernel stacks (OVL_MAX_STACK).
const LOWERS_MAX: usize = 500;
/// Longer values are cut by fsconfig, shorter ones taken.
const VALUE_MAX_BYTES: usize = 255;

/// Switched off for every mount; `nofollow` is `off` that no module parameter can soften.
const FEATURES: [(&str, &str); 4] = [
    ("redirect_dir", "nofollow"),
    ("metacopy", "off"),
    ("index", "off"),
    ("xino", "off"),
];

/// Where a mount writes.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Gets what is written; empty at first.
    pub upper: &'a Path,
    /// overlayfs' own, on the same file system; of no other mount.
    pub work: &'a Path,
    /// Whether nobody wants it back once the machine has gone down (kernel 5.10). Else the end of the mount waits until all
    /// that anybody has written to the file system below is on disk.
    pub volatile: bool,
}

/// The option of a mount of which nothing is waited for.
const VOLATILE: &str = "volatile";
/// Below the work directory, what keeps a volatile mount from being mounted once more.
const MARK: &str = "work/incompat/volatile";

/// Mounts `lowers`, the topmost first, below `upper`, and returns the mount's root; without `upper` it is read-only.
///
/// The mount is detached, and gone with its descriptor. Each directory may be in the stack once; none may be written to
/// while it is mounted.
pub fn mount(lowers: &[PathBuf], upper: Option<Upper<'_>>) -> Result<OwnedFd> {
    ensure!(
        lowers.len() <= LOWERS_MAX,
        "the image has {} layers, and the kernel stacks {LOWERS_MAX}",
        lowers.len()
    );
    if let ([single], None) = (lowers, upper) {
        return read_only(single);
    }
    if let Some(Upper { work, .. }) = upper {
        remove_mark(work)?;
    }
    if kernel::forced_off(Interface::OverlayPaths) {
        return mount_by_names(lowers, upper);
    }
    match mount_by_paths(lowers, upper) {
        Ok(root) => Ok(root),
        // Kernels before 6.8 do not know `lowerdir+`; those before 6.5 take no overlayfs by fsconfig at all.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => mount_by_names(lowers, upper),
        Err(error) => Err(error).context("mount an overlay"),
    }
}

/// Lets what was mounted volatile be mounted once more. The mark means that the machine may have gone down since: either the
/// mount is volatile each time, for who has no use for what it was then, or it was that only to be read.
fn remove_mark(work: &Path) -> Result<()> {
    let mark = work.join(MARK);
    match std::fs::remove_dir_all(&mark) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", mark.display()))
        }
        _ => Ok(()),
    }
}

/// Returns a directory as a read-only mount, since overlayfs wants two to stack.
fn read_only(dir: &Path) -> Result<OwnedFd> {
    let context = || format!("mount {}", dir.display());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(dir, flags, Mode::empty()).with_context(context)?;
    let tree = clone_tree(opened.as_fd(), false).with_context(context)?;
    let change = MountAttributes {
        set: u64::from(read_only_flags().bits()),
        ..MountAttributes::default()
    };
    if attributes::work_detached() {
        attributes::change(tree.as_fd(), change, false).with_context(context)?;
        return Ok(tree);
    }
    with_own_mounts(|| {
        attach(tree.as_fd(), opened.as_fd())?;
        attributes::change(tree.as_fd(), change, false)?;
        clone_tree(tree.as_fd(), false)
    })
    .flatten()
    .with_context(context)
}

/// What is only looked at needs no programs and no devices.
fn read_only_flags() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
}

fn mount_by_paths(lowers: &[PathBuf], upper: Option<Upper<'_>>) -> io::Result<OwnedFd> {
    // Descriptors that stand for paths which fsconfig does not take; they live until the mount is made.
    let mut opened = Vec::new();
    let mut values = Vec::with_capacity(lowers.len() + 2);
    for lower in lowers {
        values.push(("lowerdir+", value(lower, &mut opened)?));
    }
    if let Some(Upper { upper, work, .. }) = upper {
        values.push(("upperdir", value(upper, &mut opened)?));
        values.push(("workdir", value(work, &mut opened)?));
    }
    let paths = values
        .iter()
        .map(|(key, value)| FsOption::Value(key, value.as_str()));
    let features = FEATURES
        .iter()
        .map(|(key, value)| FsOption::Value(key, value));
    let source = std::iter::once(FsOption::Value("source", "overlay"));
    let volatile = upper.filter(|upper| upper.volatile);
    let volatile = volatile.map(|_| FsOption::Flag(VOLATILE));
    let options: Vec<_> = source
        .chain(paths)
        .chain(features)
        .chain(volatile)
        .collect();
    let attributes = match upper {
        Some(_) => MountAttrFlags::empty(),
        None => read_only_flags(),
    };
    detached("overlay", &options, attributes)
}

/// Returns a path as fsconfig takes it: itself, or if it is too long or has what overlayfs would read otherwise, the name
/// of a descriptor.
fn value(path: &Path, opened: &mut Vec<OwnedFd>) -> io::Result<String> {
    if let Some(text) = path.to_str()
        && text.len() <= VALUE_MAX_BYTES
        && !text.contains(['\\', ':', ','])
    {
        return Ok(text.to_owned());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let text = format!("/proc/self/fd/{}", file.as_raw_fd());
    opened.push(file);
    Ok(text)
}

/// The way of kernels from 5.10: one call with all options in one page of text, in a mount namespace that ends with the
/// thread. So that 128 and more layers fit, their paths are short names of links on a tmpfs.
fn mount_by_names(lowers: &[PathBuf], upper: Option<Upper<'_>>) -> Result<OwnedFd> {
    with_own_mounts(|| {
        // All are opened before the tmpfs covers one of them: where it is mounted does not matter to anybody.
        let open = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .with_context(|| format!("open {}", path.display()))
        };
        let mut options = String::from("lowerdir=");
        let mut links = Vec::new();
        for (n, lower) in lowers.iter().enumerate() {
            links.push((n.to_string(), open(lower)?));
            let colon = if n == 0 { "" } else { ":" };
            write!(options, "{colon}{n}").expect("a string takes all");
        }
        if let Some(Upper {
            upper,
            work,
            volatile,
        }) = upper
        {
            links.push(("u".to_owned(), open(upper)?));
            links.push(("w".to_owned(), open(work)?));
            options.push_str(",upperdir=u,workdir=w");
            if volatile {
                write!(options, ",{VOLATILE}").expect("a string takes all");
            }
        }
        for (key, value) in FEATURES {
            write!(options, ",{key}={value}").expect("a string takes all");
        }
        let cover = upper.map_or(lowers[0].as_path(), |upper| upper.work);
        let tmpfs = detached("tmpfs", &[], MountAttrFlags::empty())?;
        attach(tmpfs.as_fd(), open(cover)?.as_fd()).context("attach a tmpfs")?;
        rustix::process::fchdir(&tmpfs).context("enter a tmpfs")?;
        for (name, dir) in &links {
            let target = format!("/proc/self/fd/{}", dir.as_raw_fd());
            symlinkat(target, CWD, name.as_str()).context("make a link")?;
        }
        mkdirat(CWD, "m", Mode::from_raw_mode(0o700)).context("make a mount point")?;
        let flags = match upper {
            Some(_) => MountFlags::empty(),
            None => {
                MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC
            }
        };
        let options = std::ffi::CString::new(options).context("options of the overlay")?;
        mount_old("overlay", "m", "overlay", flags, Some(options.as_c_str()))
            .context("mount an overlay")?;
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, "m", clone).context("detach the overlay")
    })
    .context("leave the mount namespace")?
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;
    use crate::image::testing::Scratch;
    use crate::sys::rooted::Root;

    type Mount = fn(&[PathBuf], Option<Upper<'_>>) -> Result<OwnedFd>;

    const WAYS: [(&str, Mount); 2] = [
        ("paths", |lowers, upper| Ok(mount_by_paths(lowers, upper)?)),
        ("names", mount_by_names),
    ];

    fn read(root: BorrowedFd<'_>, path: &str) -> String {
        let root = Root::from_dir(rustix::io::fcntl_dupfd_cloexec(root, 0).unwrap());
        String::from_utf8(root.read_file(Path::new(path), 100).unwrap()).unwrap()
    }

    fn mounts() -> String {
        std::fs::read_to_string("/proc/self/mountinfo").unwrap()
    }

    #[test]
    fn both_ways_show_the_same_and_leave_nothing() {
        for (name, mount) in WAYS {
            let scratch = Scratch::new(&format!("overlay-{name}"));
            // Names that options would be cut at, and a path that is too long.
            let odd = scratch.dir("a:b,c\\d");
            let long = scratch.dir(&format!("{}/{}", "l".repeat(200), "m".repeat(100)));
            std::fs::write(odd.join("top"), "odd").unwrap();
            std::fs::write(long.join("top"), "long").unwrap();
            std::fs::write(long.join("below"), "long").unwrap();
            let (upper, work) = (scratch.dir("u:u"), scratch.dir("work"));
            let lowers = [odd, long];
            let before = mounts();
            let root = mount(&lowers, None).unwrap();
            assert_eq!(read(root.as_fd(), "top"), "odd");
            assert_eq!(read(root.as_fd(), "below"), "long");
            let writing = OFlags::CREATE | OFlags::WRONLY;
            let refused = rustix::fs::openat(&root, "new", writing, Mode::empty());
            assert_eq!(refused.unwrap_err(), rustix::io::Errno::ROFS);
            drop(root);
            let where_to = Upper {
                upper: &upper,
                work: &work,
                volatile: false,
            };
            let root = mount(&lowers, Some(where_to)).unwrap();
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::openat(&root, "new", writing, mode).unwrap();
            rustix::fs::unlinkat(&root, "below", rustix::fs::AtFlags::empty()).unwrap();
            assert_eq!(mounts(), before);
            drop(root);
            assert!(upper.join("new").exists() && upper.join("below").symlink_metadata().is_ok());
        }
    }

    #[test]
    fn many_layers_fit() {
        let scratch = Scratch::new("overlay-many");
        let lowers: Vec<_> = (0..128)
            .map(|n| {
                let dir = scratch.dir(&format!("{}/{n}", "x".repeat(64)));
                std::fs::write(dir.join(n.to_string()), n.to_string()).unwrap();
                dir
            })
            .collect();
        for (_, mount) in WAYS {
            let root = mount(&lowers, None).unwrap();
            assert_eq!(read(root.as_fd(), "0"), "0");
            assert_eq!(read(root.as_fd(), "127"), "127");
        }
        let too_many = vec![PathBuf::new(); LOWERS_MAX + 1];
        assert!(super::mount(&too_many, None).is_err());
    }

    #[test]
    fn a_volatile_mount_is_mounted_again() {
        for forced in [false, true] {
            let scratch = Scratch::new(&format!("overlay-volatile-{forced}"));
            let lowers = [scratch.dir("lower")];
            let (upper, work) = (scratch.dir("upper"), scratch.dir("work"));
            let place = Upper {
                upper: &upper,
                work: &work,
                volatile: true,
            };
            for name in ["one", "two"] {
                let root = if forced {
                    remove_mark(&work).unwrap();
                    mount_by_names(&lowers, Some(place)).unwrap()
                } else {
                    mount(&lowers, Some(place)).unwrap()
                };
                let mode = Mode::from_raw_mode(0o600);
                let writing = OFlags::CREATE | OFlags::WRONLY;
                rustix::fs::openat(&root, name, writing, mode).unwrap();
            }
            assert!(upper.join("one").exists() && upper.join("two").exists());
            assert!(work.join(MARK).exists(), "the kernel made it volatile");
            let lasting = Upper {
                volatile: false,
                ..place
            };
            let root = mount(&lowers, Some(lasting)).unwrap();
            assert_eq!(read(root.as_fd(), "one"), "");
            assert!(!work.join(MARK).exists());
        }
    }

    #[test]
    fn one_directory_is_read_only_too() {
        let scratch = Scratch::new("overlay-one");
        let dir = scratch.dir("one");
        std::fs::write(dir.join("f"), "x").unwrap();
        let root = mount(std::slice::from_ref(&dir), None).unwrap();
        assert_eq!(read(root.as_fd(), "f"), "x");
        let refused = rustix::fs::unlinkat(&root, "f", rustix::fs::AtFlags::empty());
        assert_eq!(refused.unwrap_err(), rustix::io::Errno::ROFS);
    }

    #[test]
    fn one_directory_twice_is_refused() {
        let scratch = Scratch::new("overlay-twice");
        let dir = scratch.dir("one");
        assert!(mount(&[dir.clone(), dir], None).is_err());
    }
}
