//! The directory of a layer while it is made: one call per member, then the end.
//!
//! What comes twice counts as it came last. What needs the whole archive waits for the end: links whose target comes later,
//! deletions, and whatever of a directory would be changed by filling it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;

use super::content::{Content, count, fill};
use super::metadata::{self, Creator, Late};
use super::parents::{Directory, Parents, Standing, kind_of};
use super::whiteouts::{Marker, Whiteouts, marker};
use super::{Facts, Policy, remove};
use crate::error;
use crate::image::path::{InnerPath, clean, is_within, show, split};
use crate::image::tarball::{Device, Entry, Kind};

/// A layer being made.
pub(crate) struct Tree {
    parents: Parents,
    policy: Policy,
    creator: Creator,
    whiteouts: Whiteouts,
    directories: HashMap<Vec<u8>, Late>,
    /// Links whose target was not there yet, by path.
    waiting: BTreeMap<Vec<u8>, Vec<u8>>,
    facts: Facts,
    /// Whether something that was counted has been replaced.
    recount: bool,
}

impl Tree {
    /// Starts with the empty directory `root`; the calling thread must have umask 0.
    pub(crate) fn open(root: &Path, policy: Policy) -> Result<Tree> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())
            .with_context(|| format!("open {}", root.display()))?;
        let creator = Creator::of(root.as_fd())?;
        Ok(Tree {
            parents: Parents::new(root),
            policy,
            creator,
            whiteouts: Whiteouts::default(),
            directories: HashMap::new(),
            waiting: BTreeMap::new(),
            facts: Facts::default(),
            recount: false,
        })
    }

    /// Starts with a directory that others use, for [`Policy::Copy`]; the calling thread must have umask 0.
    pub(crate) fn in_use(root: OwnedFd) -> Tree {
        Tree {
            parents: Parents::new(root),
            policy: Policy::Copy,
            creator: Creator::unknown(),
            whiteouts: Whiteouts::default(),
            directories: HashMap::new(),
            waiting: BTreeMap::new(),
            facts: Facts::default(),
            recount: false,
        }
    }

    /// Makes one member.
    pub(crate) fn put(&mut self, entry: &Entry, content: Content<'_>) -> Result<()> {
        let path = clean(&entry.path)?;
        self.put_at(&path, entry, content)
            .with_context(|| format!("unpack {:?}", show(&path)))
    }

    fn put_at(&mut self, path: &[u8], entry: &Entry, content: Content<'_>) -> Result<()> {
        let (parent, name) = split(path);
        let marker = match self.policy {
            Policy::Copy => Marker::None,
            _ => marker(path)?,
        };
        match marker {
            Marker::None => {}
            Marker::Ignored => return Ok(()),
            _ if self.policy == Policy::RootFilesystem => return Ok(()),
            Marker::Whiteout(name) => {
                let marked = self.whiteouts.delete(&mut self.parents, parent, name)?;
                self.facts.entries += u64::from(marked);
                return Ok(());
            }
            Marker::Opaque => {
                let marked = self.whiteouts.hide(&mut self.parents, parent)?;
                self.facts.entries += u64::from(marked);
                return Ok(());
            }
        }
        self.facts.entries += 1;
        if path.is_empty() {
            return self.put_root(entry);
        }
        let dir = self.parents.directory(parent)?;
        if entry.kind != Kind::Directory {
            self.keep_kind(&dir, name, false)?;
        }
        self.note_revived();
        if !self.waiting.is_empty() {
            self.waiting.remove(&dir.child(name));
        }
        match &entry.kind {
            Kind::File => self.put_file(&dir, name, entry, content),
            Kind::Directory => self.put_directory(&dir, name, entry),
            Kind::Symlink(target) => {
                self.facts.size += target.len() as u64;
                self.create(&dir, name, || symlinkat(target.as_slice(), &*dir, name))
                    .context("make a symbolic link")?;
                self.describe(&dir, name, entry)
            }
            Kind::HardLink(target) => {
                let target = clean(target).context("target of a hard link")?;
                self.put_link(&dir, name, &target)
            }
            Kind::CharDevice(device) => {
                if (device.major, device.minor) == (0, 0) && self.policy != Policy::Copy {
                    // For overlayfs this is a deletion, however it came here.
                    return self.put_whiteout(&dir, name);
                }
                self.put_node(&dir, name, entry, (FileType::CharacterDevice, *device))
            }
            Kind::BlockDevice(device) => {
                self.put_node(&dir, name, entry, (FileType::BlockDevice, *device))
            }
            Kind::Fifo => {
                let none = Device { major: 0, minor: 0 };
                self.put_node(&dir, name, entry, (FileType::Fifo, none))
            }
        }
    }

    /// Where others use the tree, refuses to put a file in the place of a directory, or the reverse.
    fn keep_kind(&self, dir: &Rc<Directory>, name: &[u8], directory: bool) -> Result<()> {
        if self.policy != Policy::Copy {
            return Ok(());
        }
        let standing = kind_of(dir.as_fd(), name)?;
        let [old, new] = match standing {
            Some(Standing::Directory) if !directory => ["directory", "non-directory"],
            Some(Standing::Symlink | Standing::Other | Standing::Whiteout) if directory => {
                ["non-directory", "directory"]
            }
            _ => return Ok(()),
        };
        let (path, into) = (show(&dir.child(name)), show(&dir.path));
        bail!(error::invalid(format!(
            "cannot overwrite {old} \"/{path}\" with {new} \"/{into}\""
        )))
    }

    /// Sets what had to wait, and returns what the layer is.
    pub(crate) fn finish(mut self) -> Result<Facts> {
        self.resolve_links()?;
        if self.policy == Policy::Copy {
            return self.finish_copy();
        }
        self.note_revived();
        self.whiteouts.finish(&mut self.parents)?;
        let implied: Vec<_> = (self.parents.implied())
            .map(|(path, late)| (path.to_vec(), late))
            .collect();
        self.finish_directories(implied)?;
        if self.recount {
            let root = self.parents.directory(b"")?;
            self.facts.size = count(root.as_fd())?;
        }
        let implied = std::mem::take(&mut self.parents.made.implied);
        self.facts.implied = implied.into_iter().map(InnerPath).collect();
        self.facts.opaque = self.whiteouts.hides_everything();
        Ok(self.facts)
    }

    /// What only a layer has is nobody's affair here: directories that were made on the way stay as they are.
    fn finish_copy(mut self) -> Result<Facts> {
        if let Some((path, target)) = self.facts.links.first() {
            let (path, target) = (show(&path.0), show(&target.0));
            bail!("unpack {path:?}: its hard link to {target:?} leads nowhere");
        }
        self.finish_directories(Vec::new())?;
        Ok(self.facts)
    }

    fn finish_directories(&mut self, implied: Vec<(Vec<u8>, Late)>) -> Result<()> {
        // By path, so that directories are found near the one before.
        let mut directories: Vec<_> = self.directories.drain().chain(implied).collect();
        directories.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (path, late) in &directories {
            let (parent, name) = split(path);
            let dir = self.parents.directory(parent)?;
            metadata::finish_directory(dir.as_fd(), name, late)
                .with_context(|| format!("finish the directory {:?}", show(path)))?;
        }
        Ok(())
    }

    fn put_root(&mut self, entry: &Entry) -> Result<()> {
        // A root that is a link would lead every later path elsewhere (CVE-2021-29136).
        ensure!(
            entry.kind == Kind::Directory,
            "the root of a layer is not a directory"
        );
        let root = self.parents.directory(b"")?;
        if self.facts.root {
            metadata::clear_xattrs(root.as_fd(), b".")?;
        }
        self.facts.root = true;
        self.describe_directory(&root, b".", entry)?;
        self.directories
            .insert(Vec::new(), Late::of(entry, self.policy));
        Ok(())
    }

    fn put_directory(&mut self, dir: &Rc<Directory>, name: &[u8], entry: &Entry) -> Result<()> {
        let path = dir.child(name);
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let made = mkdirat(dir, name, mode);
        if made == Err(Errno::EXIST) {
            if kind_of(dir.as_fd(), name)? == Some(Standing::Directory) {
                if self.policy != Policy::Copy {
                    metadata::clear_xattrs(dir.as_fd(), name)?;
                }
                self.describe_directory(dir, name, entry)?;
                self.parents.made.implied.remove(&path);
                self.directories.insert(path, Late::of(entry, self.policy));
                return Ok(());
            }
            self.keep_kind(dir, name, true)?;
            let deleted = self.clear(dir, name)?;
            mkdirat(dir, name, mode).context("make a directory")?;
            if deleted {
                self.whiteouts.revive(dir, name)?;
            }
        } else {
            made.context("make a directory")?;
        }
        let how = (self.creator, self.policy);
        metadata::set_owner_and_xattrs(dir.as_fd(), name, entry, how)?;
        self.directories.insert(path, Late::of(entry, self.policy));
        Ok(())
    }

    /// Describes a directory that stands already, so that neither owner nor mode can be taken for granted.
    fn describe_directory(&self, dir: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        let owner = Some(rustix::fs::Uid::from_raw(entry.uid));
        let group = Some(rustix::fs::Gid::from_raw(entry.gid));
        rustix::fs::chownat(dir, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
            .context("set the owner")?;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).context("set the mode")?;
        let how = (self.creator, self.policy);
        metadata::set_owner_and_xattrs(dir.as_fd(), name, entry, how)
    }

    fn put_file(
        &mut self,
        dir: &Rc<Directory>,
        name: &[u8],
        entry: &Entry,
        content: Content<'_>,
    ) -> Result<()> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = self
            .create(dir, name, || openat(dir, name, flags, mode))
            .context("create a file")?;
        let file = fill(File::from(file), entry, content)?;
        metadata::finish_file(file.as_fd(), entry, (self.creator, self.policy))?;
        self.facts.size += entry.size;
        Ok(())
    }

    fn put_node(
        &mut self,
        dir: &Rc<Directory>,
        name: &[u8],
        entry: &Entry,
        (kind, device): (FileType, Device),
    ) -> Result<()> {
        let number = rustix::fs::makedev(device.major, device.minor);
        let make = || mknodat(dir, name, kind, metadata::mode(entry), number);
        match self.create(dir, name, make) {
            Ok(()) => self.describe(dir, name, entry),
            // In a user namespace nobody may make devices, and the container gets its own in /dev anyway.
            Err(Errno::PERM) if kind != FileType::Fifo => {
                tracing::debug!(path = %show(&entry.path), "left out a device");
                Ok(())
            }
            Err(errno) => Err(errno).context("make a device"),
        }
    }

    fn put_whiteout(&mut self, dir: &Rc<Directory>, name: &[u8]) -> Result<()> {
        if self.policy == Policy::RootFilesystem {
            return Ok(());
        }
        self.clear(dir, name)?;
        self.whiteouts.delete_in(dir, name)
    }

    fn put_link(&mut self, dir: &Rc<Directory>, name: &[u8], target: &[u8]) -> Result<()> {
        let path = dir.child(name);
        if self.link(dir, name, target)? {
            return Ok(());
        }
        // What stood here is replaced even if the target never comes.
        if kind_of(dir.as_fd(), name)?.is_some() {
            self.clear(dir, name)?;
        }
        self.waiting.insert(path, target.to_vec());
        Ok(())
    }

    /// Links `name` in `dir` to `target`; returns whether the layer has the target.
    fn link(&mut self, dir: &Rc<Directory>, name: &[u8], target: &[u8]) -> Result<bool> {
        let (parent, target_name) = split(target);
        let target_dir = match self.parents.existing(parent) {
            Ok(dir) => dir,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT) => return Ok(false),
                _ => return Err(error).context("find the target of a hard link"),
            },
        };
        match kind_of(target_dir.as_fd(), target_name)? {
            None => return Ok(false),
            Some(Standing::Directory) => bail!("a hard link to the directory {:?}", show(target)),
            Some(Standing::Whiteout) => {
                bail!("a hard link to {:?}, which the layer deletes", show(target))
            }
            Some(_) => {}
        }
        let same = is_same(&target_dir, target_name, dir, name)?;
        if !same {
            let make = || linkat(&target_dir, target_name, dir, name, AtFlags::empty());
            self.create(dir, name, make)
                .with_context(|| format!("link to {:?}", show(target)))?;
        }
        Ok(true)
    }

    /// Makes the links whose targets came after them; what is left has its target in a layer below.
    fn resolve_links(&mut self) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        loop {
            let before = waiting.len();
            let mut left = BTreeMap::new();
            for (path, target) in waiting {
                let (parent, name) = split(&path);
                let dir = self.parents.directory(parent)?;
                let made = self.link(&dir, name, &target);
                if !made.with_context(|| format!("unpack {:?}", show(&path)))? {
                    left.insert(path, target);
                }
            }
            waiting = left;
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        let links = waiting.into_iter();
        self.facts.links = links
            .map(|(path, target)| (InnerPath(path), InnerPath(target)))
            .collect();
        Ok(())
    }

    /// Sets owner, attributes and times of the new `name` in `dir`.
    fn describe(&self, dir: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        let how = (self.creator, self.policy);
        metadata::set_owner_and_xattrs(dir.as_fd(), name, entry, how)?;
        if !matches!(entry.kind, Kind::Symlink(_)) && entry.mode & 0o7000 != 0 {
            let mode = metadata::mode(entry);
            rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).context("set the mode")?;
        }
        metadata::set_times(dir.as_fd(), name, entry.mtime)
    }

    /// Creates `name` in `dir` by `make`, after removing what is there.
    fn create<T>(
        &mut self,
        dir: &Rc<Directory>,
        name: &[u8],
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(dir, name)?;
                make()
            }
            other => other,
        }
    }

    /// Removes `name` from `dir` with everything below it; returns whether it was a whiteout.
    fn clear(&mut self, dir: &Rc<Directory>, name: &[u8]) -> rustix::io::Result<bool> {
        let path = dir.child(name);
        remove::remove_in(dir.as_fd(), name)?;
        self.recount = true;
        self.parents.forget();
        let within = |known: &Vec<u8>| is_within(known, &path);
        self.parents.made.implied.retain(|known| !within(known));
        self.directories.retain(|known, _| !within(known));
        self.waiting.retain(|known, _| !within(known));
        Ok(self.whiteouts.removed(&path))
    }

    /// Takes over the whiteouts that became directories while a parent was looked for.
    fn note_revived(&mut self) {
        for path in std::mem::take(&mut self.parents.made.revived) {
            self.whiteouts.revived(path);
        }
    }
}

fn is_same(a: &OwnedFd, a_name: &[u8], b: &Directory, b_name: &[u8]) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let target = rustix::fs::statat(a, a_name, flags).context("stat the target of a hard link")?;
    match rustix::fs::statat(b, b_name, flags) {
        Ok(stat) => Ok((stat.st_dev, stat.st_ino) == (target.st_dev, target.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).context("stat a hard link"),
    }
}
