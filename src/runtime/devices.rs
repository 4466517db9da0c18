//! The nodes of /dev: which, and how they come to be.
//!
//! A /dev of our own is a detached tmpfs that nobody else can reach while it is filled, so no link of the image can lead
//! elsewhere (CVE-2026-41579, CVE-2026-47766). In a user namespace nobody may make nodes; there they are clones of nodes
//! that the parent has made in a tmpfs that nobody else sees.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{
    Dev, FileType, Gid, Mode, OFlags, Uid, chownat, makedev, mkdirat, mknodat, openat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::channel::{Failure, OrFail as _};
use super::mounts::destination;
use super::namespaces::host_id;
use crate::error;
use crate::oci::runtime::linux::Linux;
use crate::sys::mount::{FsOption, attach, clone_tree, detached};
use crate::sys::rooted::Root;
use crate::sys::thread::with_own_mounts;

/// What every container has (runtime-spec config-linux.md, Default Devices).
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Names in /dev that lead elsewhere.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// One node to make.
#[derive(Debug)]
pub(super) struct Node {
    /// Where, inside; absolute, without `..`.
    pub(super) path: PathBuf,
    kind: FileType,
    device: Dev,
    mode: Mode,
    uid: u32,
    gid: u32,
    /// In a user namespace: the node, to be attached.
    clone: Option<OwnedFd>,
}

/// Returns the default nodes and those of the configuration, which replace a default one of the same path.
pub(super) fn plan(linux: &Linux) -> Result<Vec<Node>> {
    let mut nodes = Vec::with_capacity(DEFAULT.len() + linux.devices.len());
    for device in &linux.devices {
        let kind = match device.kind.as_str() {
            "c" | "u" => FileType::CharacterDevice,
            "b" => FileType::BlockDevice,
            "p" => FileType::Fifo,
            unknown => bail!(error::invalid(format!(
                "invalid type {unknown:?} of device {}",
                device.path.display()
            ))),
        };
        let number = |number: i64| {
            u32::try_from(number).map_err(|_| {
                error::invalid(format!(
                    "invalid number {number} of device {}",
                    device.path.display()
                ))
            })
        };
        let device_number = if kind == FileType::Fifo {
            0
        } else {
            makedev(number(device.major)?, number(device.minor)?)
        };
        nodes.push(Node {
            path: destination(&device.path)?,
            kind,
            device: device_number,
            mode: Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777),
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
            clone: None,
        });
    }
    for (path, major, minor) in DEFAULT {
        if !nodes.iter().any(|node| node.path == Path::new(path)) {
            nodes.push(Node {
                path: path.into(),
                kind: FileType::CharacterDevice,
                device: makedev(major, minor),
                mode: Mode::from_raw_mode(0o666),
                uid: 0,
                gid: 0,
                clone: None,
            });
        }
    }
    Ok(nodes)
}

/// Makes the nodes for a container in a user namespace, owned as its maps say; the child attaches them.
pub(super) fn make_clones(nodes: &mut [Node], linux: &Linux) -> Result<()> {
    // Before kernel 6.15 only what is attached can be cloned, and among the host's mounts nothing is to show.
    with_own_mounts(|| -> Result<()> {
        let options = [FsOption::Value("mode", "0700")];
        let directory = detached("tmpfs", &options, MountAttrFlags::empty())
            .context("make a tmpfs for device nodes")?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let cover = rustix::fs::open("/dev", flags, Mode::empty()).context("open /dev")?;
        attach(directory.as_fd(), cover.as_fd()).context("attach a tmpfs for device nodes")?;
        for (index, node) in nodes.iter_mut().enumerate() {
            let name = CString::new(index.to_string())?;
            let made = make_clone(directory.as_fd(), &name, node, linux)
                .with_context(|| format!("make device {}", node.path.display()))?;
            node.clone = Some(made);
        }
        Ok(())
    })
    .context("leave the host's mounts")?
}

/// Takes the nodes of the host for a container whose runtime is in a user namespace itself, where nobody makes nodes.
pub(super) fn clone_hosts(nodes: &mut [Node]) -> Result<()> {
    for node in nodes {
        let path = Path::new("/").join(&node.path);
        let open = || -> std::io::Result<OwnedFd> {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = rustix::fs::open(&path, flags, Mode::empty())?;
            let stat = rustix::fs::statat(&found, "", rustix::fs::AtFlags::EMPTY_PATH)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if (kind, stat.st_rdev) != (node.kind, node.device) {
                return Err(std::io::Error::from_raw_os_error(libc::ENODEV));
            }
            clone_tree(found.as_fd(), false)
        };
        let cloned = open().with_context(|| {
            let path = path.display();
            format!("take device {path} from the host, since a user namespace can make none")
        });
        node.clone = Some(cloned?);
    }
    Ok(())
}

/// Makes `node` as `name` in `directory`, and returns a mount of it alone.
fn make_clone(
    directory: BorrowedFd<'_>,
    name: &CStr,
    node: &Node,
    linux: &Linux,
) -> std::io::Result<OwnedFd> {
    mknodat(directory, name, node.kind, Mode::empty(), node.device)?;
    let id = |maps, id| host_id(maps, id).unwrap_or(id);
    let uid = Uid::from_raw(id(&linux.uid_mappings, node.uid));
    let gid = Gid::from_raw(id(&linux.gid_mappings, node.gid));
    let none = rustix::fs::AtFlags::empty();
    chownat(directory, name, Some(uid), Some(gid), none)?;
    rustix::fs::chmodat(directory, name, node.mode, none)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(directory, name, flags, Mode::empty())?;
    clone_tree(made.as_fd(), false)
}

/// Fills `dev`, /dev or a tmpfs that is to become it, with nodes, links and the directories `directories`.
///
/// In a user namespace, [`attach_clones`] completes it once it is attached.
pub(super) fn fill(
    dev: BorrowedFd<'_>,
    nodes: &[Node],
    directories: &[&OsStr],
) -> Result<(), Failure> {
    for directory in directories {
        mkdirat(dev, *directory, Mode::from_raw_mode(0o755))
            .or_fail(|| format!("make /dev/{}", directory.display()))?;
    }
    for node in nodes {
        in_dev(dev, node, make_node)?;
    }
    make_links(dev)
}

/// Attaches the clones among the nodes of `dev`, a /dev that is attached itself: before kernel 6.15 nothing can be attached
/// to what is not.
pub(super) fn attach_clones(dev: BorrowedFd<'_>, nodes: &[Node]) -> Result<(), Failure> {
    for node in nodes.iter().filter(|node| node.clone.is_some()) {
        in_dev(dev, node, attach_clone)?;
    }
    Ok(())
}

/// What is done with a node: a directory, the name in it, and the node.
type Act = fn(BorrowedFd<'_>, &OsStr, &Node) -> Result<(), Failure>;

/// Does `act` if the node lies in /dev.
fn in_dev(dev: BorrowedFd<'_>, node: &Node, act: Act) -> Result<(), Failure> {
    let Ok(inner) = node.path.strip_prefix("/dev") else {
        return Ok(());
    };
    // Nearly every node lies in /dev itself; for the others it is the root that they cannot leave.
    let mut components = inner.components();
    if let (Some(name), None) = (components.next(), components.next()) {
        act(dev, name.as_os_str(), node)
    } else {
        let dev = rustix::io::fcntl_dupfd_cloexec(dev, 0).or_fail(|| "open /dev".to_owned())?;
        place(&Root::from_dir(dev), inner, node, act)
    }
}

/// Makes the nodes that lie elsewhere than in a /dev of our own; `in_dev` says whether those in /dev are among them.
pub(super) fn place_all(root: &Root, nodes: &[Node], in_dev: bool) -> Result<(), Failure> {
    if in_dev {
        let dev = open_dev(root)?;
        fill(dev.as_fd(), nodes, &[])?;
        attach_clones(dev.as_fd(), nodes)?;
    }
    for node in nodes.iter().filter(|node| !node.path.starts_with("/dev")) {
        place(root, &node.path, node, make_node)?;
        place(root, &node.path, node, attach_clone)?;
    }
    Ok(())
}

/// Opens /dev of a root filesystem, making it if it is missing; a link is refused.
pub(super) fn open_dev(root: &Root) -> Result<OwnedFd, Failure> {
    let path = Path::new("dev");
    let open = || -> std::io::Result<OwnedFd> {
        if let Err(error) = root.handle_nofollow(path)
            && error.raw_os_error() == Some(libc::ENOENT)
        {
            root.create_dir_all(path, Mode::from_raw_mode(0o755))?;
        }
        root.open_at(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        )
    };
    open().or_fail(|| "open /dev, which must be a directory".to_owned())
}

fn place(root: &Root, path: &Path, node: &Node, act: Act) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let locate = || {
        root.create_dir_all(parent, Mode::from_raw_mode(0o755))?;
        root.locate(path)
    };
    let location = locate().or_fail(|| format!("make device {}", node.path.display()))?;
    act(location.dir.as_fd(), &location.name, node)
}

/// Makes a node, or the file that its clone is attached to.
fn make_node(directory: BorrowedFd<'_>, name: &OsStr, node: &Node) -> Result<(), Failure> {
    let make = || -> std::io::Result<()> {
        if node.clone.is_some() {
            let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
            // What is there already may be anything: it is covered, never opened for real.
            return match openat(directory, name, flags | OFlags::EXCL, Mode::RUSR) {
                Ok(_) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(errno.into()),
            };
        }
        match mknodat(directory, name, node.kind, node.mode, node.device) {
            Ok(()) => {}
            // What an image has there stays, as with runc; nothing of ours relies on it.
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        if node.uid != 0 || node.gid != 0 {
            let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            chownat(directory, name, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    };
    make().or_fail(|| format!("make device {}", node.path.display()))
}

/// Attaches the clone of a node, if it has one, to the file that [`make_node`] has made.
fn attach_clone(directory: BorrowedFd<'_>, name: &OsStr, node: &Node) -> Result<(), Failure> {
    let Some(clone) = &node.clone else {
        return Ok(());
    };
    let put = || -> std::io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(directory, name, flags, Mode::empty())?;
        attach(clone.as_fd(), target.as_fd())
    };
    put().or_fail(|| format!("attach device {}", node.path.display()))
}

fn make_links(dev: BorrowedFd<'_>) -> Result<(), Failure> {
    for (name, target) in LINKS {
        // A kernel may be without it, and a link to nothing only puzzles.
        if name == "core" && !Path::new(target).exists() {
            continue;
        }
        match symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).or_fail(|| format!("link /dev/{name} to {target}")),
        }
    }
    Ok(())
}

/// Returns the names of directories that later mounts need directly in /dev.
pub(super) fn directories_for<'a>(
    destinations: impl Iterator<Item = (&'a Path, bool)>,
) -> Vec<&'a OsStr> {
    let mut names: Vec<&OsStr> = destinations
        .filter(|(_, is_directory)| *is_directory)
        .filter_map(|(path, _)| path.strip_prefix("/dev").ok())
        .filter_map(|inner| inner.components().next())
        .map(std::path::Component::as_os_str)
        .filter(|name| !name.as_bytes().is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_of_the_configuration_replaces_the_default_one() {
        let linux: Linux = serde_json::from_str(
            r#"{"devices":[{"type":"c","path":"/dev/null","major":7,"minor":8,"fileMode":384},
                           {"type":"p","path":"/run/fifo"}]}"#,
        )
        .unwrap();
        let nodes = plan(&linux).unwrap();
        assert_eq!(nodes.len(), 7);
        assert_eq!(nodes[0].device, makedev(7, 8));
        assert_eq!(nodes[0].mode, Mode::from_raw_mode(0o600));
        assert_eq!(nodes[1].kind, FileType::Fifo);
        for (json, text) in [
            (
                r#"{"devices":[{"type":"x","path":"/dev/x"}]}"#,
                "invalid type \"x\" of device /dev/x",
            ),
            (
                r#"{"devices":[{"type":"c","path":"/dev/x","major":-2}]}"#,
                "invalid number -2 of device /dev/x",
            ),
        ] {
            let error = plan(&serde_json::from_str(json).unwrap()).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn directories_of_later_mounts() {
        let mounts = [
            ("/dev/pts", true),
            ("/dev/shm", true),
            ("/dev", true),
            ("/dev/shm/x", true),
            ("/dev/file", false),
            ("/proc", true),
        ];
        let names = directories_for(mounts.iter().map(|(path, dir)| (Path::new(*path), *dir)));
        assert_eq!(names, ["pts", "shm"]);
    }
}
