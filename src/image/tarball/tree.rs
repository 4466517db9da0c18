//! A directory → the members of its archive, always the same ones in the same order.
//!
//! ```text
//! names of a directory, bytewise: deletions first (.wh..wh..opq, then .wh.NAME by NAME), then files, each directory
//! followed by what is in it; paths without a leading ./ or /; a second name of an inode is a hard link to the first
//! ```
//!
//! The tree may change while it is read (a container that was not paused): what vanished is left out, and the size of a
//! file is what it was when it was opened. Sockets are left out, they are of no use to who unpacks them, and so are files
//! whose names an archive would take for deletions.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::list::{names, open_dir};
use super::{Device, Entry, Kind, Time, write};
use crate::image::apply::{self, OPAQUE_MARKER, PREFIX};
use crate::image::path::{clean, join, show};

/// How deep descriptors are held open; deeper directories are opened again when their parents are gone on with.
const HELD_OPEN: usize = 100;
/// How often a name is looked at again whose file was exchanged between two calls.
const RETRIES: usize = 3;

/// What is wanted of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Whether the root directory gets a member, `./`.
    pub root: bool,
    /// Paths that are left out with all below them, as [`clean`] returns them.
    pub excluded: Option<&'a HashSet<Vec<u8>>>,
    /// Whether what is mounted in the tree is left out; the directories and files it is mounted on stay, empty.
    pub one_mount: bool,
    /// Whether names and devices that could mean deletions are what they are, and nothing more.
    pub plain: bool,
    /// The merged layers below, if markers of deletions are wanted only where there is something to delete.
    pub below: Option<BorrowedFd<'a>>,
}

/// Calls `put` for each member, with the open file for a regular file that has content.
pub fn members(
    root: BorrowedFd<'_>,
    options: Options<'_>,
    put: &mut dyn FnMut(Entry, Option<File>) -> Result<()>,
) -> Result<()> {
    let mount = options.one_mount.then(|| mount_id(root)).transpose()?;
    let mut walk = Walk {
        root,
        options,
        put,
        links: HashMap::new(),
        mount,
    };
    let dir = open_dir(root, b".").context("open the directory")?;
    if options.root {
        let entry = directory(dir.as_fd(), b"./".to_vec())?;
        (walk.put)(entry, None)?;
    }
    walk.directory(dir, b"", 0)
}

/// Calls `put` for `name` in the directory `dir`, and for all below it if it is a directory itself; nothing is followed.
///
/// False if there is no such file, or it is a socket, which no archive can hold.
pub fn member(
    dir: BorrowedFd<'_>,
    name: &[u8],
    options: Options<'_>,
    put: &mut dyn FnMut(Entry, Option<File>) -> Result<()>,
) -> Result<bool> {
    let mut found = false;
    let mut put = |entry, content| {
        found = true;
        put(entry, content)
    };
    let mut walk = Walk {
        root: dir,
        options,
        put: &mut put,
        links: HashMap::new(),
        mount: None,
    };
    if let Some((below, path)) = walk.file(dir, b"", (name, FileType::Unknown))? {
        walk.directory(below, &path, 0)?;
    }
    Ok(found)
}

/// Returns the member that a directory would have under `path`.
pub(crate) fn directory(dir: BorrowedFd<'_>, path: Vec<u8>) -> Result<Entry> {
    let stat = rustix::fs::fstat(dir).context("stat the directory")?;
    let mut entry = describe(path, Kind::Directory, &stat);
    entry.xattrs = xattrs(dir)?;
    Ok(entry)
}

struct Walk<'a, 'p> {
    root: BorrowedFd<'a>,
    options: Options<'a>,
    put: &'p mut dyn FnMut(Entry, Option<File>) -> Result<()>,
    /// First paths of inodes with several names, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The mount of the root, if others are left out.
    mount: Option<u64>,
}

impl Walk<'_, '_> {
    fn directory(&mut self, dir: OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        let mut list = names(dir.as_fd()).with_context(|| format!("list {:?}", show(path)))?;
        list.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let plain = self.options.plain;
        if !plain
            && apply::is_opaque(dir.as_fd()).context("look whether it is opaque")?
            && self.is_below(path, true)?
        {
            (self.put)(whiteout(join(path, OPAQUE_MARKER)), None)?;
        }
        let mut files = Vec::with_capacity(list.len());
        for (name, kind) in list {
            let child = join(path, &name);
            if self
                .options
                .excluded
                .is_some_and(|set| set.contains(&child))
            {
                continue;
            }
            // Only a device can be a deletion, and there are few of them.
            let device = matches!(kind, FileType::CharacterDevice | FileType::Unknown);
            if !plain && device && is_whiteout(dir.as_fd(), &name)? {
                if self.is_below(&child, false)? {
                    let marker = [PREFIX, &name].concat();
                    (self.put)(whiteout(join(path, &marker)), None)?;
                }
            } else if !plain && name.starts_with(PREFIX) {
                let shown = show(&child);
                tracing::warn!(path = %shown, "left out a file whose name means a deletion");
            } else {
                files.push((name, kind));
            }
        }
        let mut dir = Some(dir);
        for (name, kind) in files {
            let here = match dir.take() {
                Some(here) => here,
                None => self.reopen(path)?,
            };
            let below = self.file(here.as_fd(), path, (&name, kind))?;
            if let Some((below, path)) = below {
                if depth < HELD_OPEN {
                    dir = Some(here);
                } else {
                    drop(here);
                }
                self.directory(below, &path, depth + 1)?;
            } else {
                dir = Some(here);
            }
        }
        Ok(())
    }

    fn reopen(&self, path: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        crate::sys::rooted::Root::from_dir(open_dir(self.root, b".")?)
            .open_direct(crate::image::path::as_path(path), flags)
            .with_context(|| format!("open {:?}", show(path)))
    }

    /// Returns whether the layers below show `path`, or that they are not asked; with `directory`, a directory there.
    fn is_below(&self, path: &[u8], directory: bool) -> Result<bool> {
        let Some(below) = self.options.below else {
            return Ok(true);
        };
        let root = crate::sys::rooted::Root::from_dir(
            rustix::io::fcntl_dupfd_cloexec(below, 0).context("duplicate a descriptor")?,
        );
        let flags = if directory {
            OFlags::PATH | OFlags::DIRECTORY
        } else {
            OFlags::PATH | OFlags::NOFOLLOW
        };
        let found = root.open_direct(crate::image::path::as_path(path), flags);
        Ok(match found {
            Ok(_) => true,
            Err(error) => match error.raw_os_error() {
                // A link on the way is none of the directories that lead here, and a link itself is opened as such.
                Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => false,
                _ => return Err(error).with_context(|| format!("look for {:?}", show(path))),
            },
        })
    }

    /// Puts one file; returns it opened, with its path, if it is a directory to go on with.
    fn file(
        &mut self,
        dir: BorrowedFd<'_>,
        parent: &[u8],
        (name, kind): (&[u8], FileType),
    ) -> Result<Option<(OwnedFd, Vec<u8>)>> {
        let path = join(parent, name);
        let mut kind = kind;
        for _ in 0..RETRIES {
            if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => return Ok(None),
                    other => other.with_context(|| format!("stat {:?}", show(&path)))?,
                };
                kind = FileType::from_raw_mode(stat.st_mode);
                if !matches!(kind, FileType::RegularFile | FileType::Directory) {
                    self.special(dir, name, path, &stat)?;
                    return Ok(None);
                }
            }
            let opened = if kind == FileType::Directory {
                open_dir(dir, name)
            } else {
                open_file(dir, name)
            };
            let file = match opened {
                Ok(file) => file,
                Err(Errno::NOENT) => return Ok(None),
                // It is something else by now.
                Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO | Errno::NODEV | Errno::ISDIR) => {
                    kind = FileType::Unknown;
                    continue;
                }
                Err(errno) => return Err(errno).with_context(|| format!("open {:?}", show(&path))),
            };
            let stat =
                rustix::fs::fstat(&file).with_context(|| format!("stat {:?}", show(&path)))?;
            if FileType::from_raw_mode(stat.st_mode) != kind {
                kind = FileType::Unknown;
                continue;
            }
            return self.opened(file, path, &stat);
        }
        anyhow::bail!("{:?} keeps changing; pause the container", show(&path))
    }

    fn opened(
        &mut self,
        file: OwnedFd,
        path: Vec<u8>,
        stat: &Stat,
    ) -> Result<Option<(OwnedFd, Vec<u8>)>> {
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            // Nothing that could not be unpacked again is written, and every reader's depth has an end.
            clean(&path)?;
            let mut entry = describe(path.clone(), Kind::Directory, stat);
            entry.xattrs = xattrs(file.as_fd())?;
            (self.put)(entry, None)?;
            let below = !self.is_mounted(file.as_fd())?;
            return Ok(below.then_some((file, path)));
        }
        if self.is_link(&path, stat)? {
            return Ok(None);
        }
        let mut entry = describe(path, Kind::File, stat);
        if !self.is_mounted(file.as_fd())? {
            entry.size = u64::try_from(stat.st_size).unwrap_or(0);
        }
        entry.xattrs = xattrs(file.as_fd())?;
        let content = (entry.size > 0).then(|| File::from(file));
        (self.put)(entry, content)?;
        Ok(None)
    }

    /// Returns whether a file is of another mount, and such are left out.
    fn is_mounted(&self, file: BorrowedFd<'_>) -> Result<bool> {
        match self.mount {
            Some(mount) => Ok(mount_id(file)? != mount),
            None => Ok(false),
        }
    }

    fn special(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
        stat: &Stat,
    ) -> Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket || self.is_link(&path, stat)? {
            return Ok(());
        }
        let device = Device {
            major: rustix::fs::major(stat.st_rdev),
            minor: rustix::fs::minor(stat.st_rdev),
        };
        let kind = match kind {
            FileType::Symlink => match readlinkat(dir, name, Vec::new()) {
                Ok(target) => Kind::Symlink(target.into_bytes()),
                // Gone, or something else by now.
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                Err(errno) => {
                    return Err(errno).with_context(|| format!("read the link {:?}", show(&path)));
                }
            },
            FileType::CharacterDevice => Kind::CharDevice(device),
            FileType::BlockDevice => Kind::BlockDevice(device),
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        (self.put)(describe(path, kind, stat), None)
    }

    /// Puts a hard link if the inode had another name before.
    fn is_link(&mut self, path: &[u8], stat: &Stat) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        ensure!(!path.is_empty(), "the root has several names");
        let inode = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&inode) else {
            self.links.insert(inode, path.to_vec());
            return Ok(false);
        };
        let kind = Kind::HardLink(first.clone());
        (self.put)(describe(path.to_vec(), kind, stat), None)?;
        Ok(true)
    }
}

fn describe(path: Vec<u8>, kind: Kind, stat: &Stat) -> Entry {
    let mtime = Time {
        seconds: stat.st_mtime,
        nanoseconds: 0,
    };
    // A symlink's mode means nothing, and file systems differ in what they say.
    let mode = match kind {
        Kind::Symlink(_) => 0o777,
        _ => stat.st_mode & 0o7777,
    };
    Entry {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: write::whole_seconds(mtime),
        ..Entry::new(path, kind, mode)
    }
}

/// Mode 0 and 1970, as containerd writes it: nothing of the marker's own inode belongs into an archive.
fn whiteout(path: Vec<u8>) -> Entry {
    Entry::new(path, Kind::File, 0)
}

fn xattrs(file: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let all = apply::xattrs(file)?;
    let kept = all.into_iter().filter_map(|(name, value)| {
        let name = apply::archive_name(&name)?.into_owned();
        let value = apply::portable_value(&name, value);
        Some((name, value))
    });
    let mut kept: Vec<_> = kept.collect();
    kept.sort_unstable();
    Ok(kept)
}

fn is_whiteout(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(apply::is_whiteout(&stat)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).with_context(|| format!("stat {:?}", show(name))),
    }
}

/// Opens a file that may have become a pipe, without waiting for its writer, and without a trace in its access time.
fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only an owner may ask for that.
        Err(Errno::PERM) => openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}

fn mount_id(dir: BorrowedFd<'_>) -> Result<u64> {
    use rustix::fs::{StatxFlags, statx};
    let stat = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).context("find the mount")?;
    Ok(stat.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

    use super::*;
    use crate::image::testing::{Archive, Scratch, at, describe, pack, unpack};

    /// Names that meet: few of them, so that members replace, hide and link to one another; and some of odd bytes.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            20 => prop::sample::select(vec![&b"a"[..], b"b", b"c"]).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(prop::sample::select(b"\xff \n\\x=".to_vec()), 1..150),
        ]
    }

    fn path() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(name(), 1..4).prop_map(|names| names.join(&b'/'))
    }

    fn marked_path() -> impl Strategy<Value = Vec<u8>> {
        let marker = prop::sample::select(vec![&b".wh.a"[..], b".wh.b", b".wh..wh..opq"]);
        let marked = (path(), marker).prop_map(|(dir, name)| join(&dir, name));
        prop_oneof![5 => path(), 1 => marked]
    }

    fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
        let kind = prop_oneof![
            4 => Just(Kind::File),
            8 => Just(Kind::Directory),
            2 => path().prop_map(Kind::Symlink),
            1 => path().prop_map(Kind::HardLink),
            1 => Just(Kind::Fifo),
            1 => (0u32..2, 0u32..300).prop_map(|(major, minor)| Kind::CharDevice(Device { major, minor })),
        ];
        let xattrs = prop::collection::btree_map(
            prop::sample::select(vec!["user.a", "user.b", "trusted.overlay.opaque"]),
            prop::collection::vec(any::<u8>(), 0..20),
            0..3,
        );
        let content = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            (500usize..1100).prop_map(|size| vec![b'x'; size]),
        ];
        let ids = prop_oneof![Just(0), Just(1000), 0..u32::MAX];
        (
            marked_path(),
            kind,
            0u32..0o10000,
            (ids.clone(), ids),
            -5i64..(1 << 34),
            xattrs,
            content,
        )
            .prop_map(|(path, kind, mode, (uid, gid), seconds, xattrs, content)| {
                let content = if kind == Kind::File {
                    content
                } else {
                    Vec::new()
                };
                let mut entry = Entry::new(path, kind, mode);
                (entry.uid, entry.gid, entry.mtime) = (uid, gid, at(seconds));
                if matches!(entry.kind, Kind::File | Kind::Directory) {
                    let named = xattrs.into_iter().map(|(k, v)| (k.as_bytes().to_vec(), v));
                    entry.xattrs = named.collect();
                }
                (entry, content)
            })
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever tree comes out of an archive, its own archive gives the same tree, and that one the same archive.
        #[test]
        fn archive_and_tree_give_each_other_back(list in prop::collection::vec(entry(), 0..12), root: bool) {
            let scratch = Scratch::new("roundtrip");
            let mut archive = Archive::default();
            for (entry, content) in &list {
                archive.put(entry, content);
            }
            // A tree that would be refused says nothing here.
            if unpack(&scratch, "first", &archive.end()).is_ok() {
                let packed = pack(&scratch.0.join("first"), root);
                unpack(&scratch, "second", &packed).unwrap();
                let (first, second) = (scratch.0.join("first"), scratch.0.join("second"));
                proptest::prop_assert_eq!(describe(&first), describe(&second));
                proptest::prop_assert_eq!(packed.escape_ascii().to_string(), pack(&second, root).escape_ascii().to_string());
            }
        }
    }
}
