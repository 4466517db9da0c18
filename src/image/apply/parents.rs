//! The directory that a member is made in: found beneath the root, made where the archive only implies it.
//!
//! Layers do rely on links inside themselves (`lib -> usr/lib`, then `lib/x`), so links in a parent path are followed,
//! with the root of the layer as `/`. A path without links, nearly every one, is one `openat2`; found directories are kept
//! open, since members of a directory stand together.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FileType, Mode, OFlags, mkdirat, readlinkat};
use rustix::io::Errno;

use super::metadata::Late;
use super::whiteouts;
use crate::image::path::{as_path, join, show, split};
use crate::sys::rooted::Root;

/// How many directories are kept open; far below any limit of descriptors, far above what one stretch of members uses.
const KEPT_OPEN: usize = 256;
/// How many links one path may lead through, as in the kernel.
const LINKS_MAX: usize = 40;

/// An open directory of the layer.
#[derive(Debug)]
pub(super) struct Directory {
    handle: OwnedFd,
    /// Its path without links.
    pub(super) path: Vec<u8>,
}

impl Directory {
    /// Returns the path without links of `name` in it.
    pub(super) fn child(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// What a path led to.
#[derive(Debug)]
pub(super) enum Found {
    /// The directory.
    Directory(Rc<Directory>),
    /// A directory above it was deleted by this very layer.
    Deleted,
}

/// What finding directories changed, for the end of the unpacking.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Directories that no member has described yet.
    pub(super) implied: BTreeSet<Vec<u8>>,
    /// Whiteouts that had to become directories, which hide what is below them.
    pub(super) revived: Vec<Vec<u8>>,
}

/// The directories of one layer.
#[derive(Debug)]
pub(super) struct Parents {
    root: Root,
    open: HashMap<Vec<u8>, Rc<Directory>>,
    pub(super) made: Made,
}

impl Parents {
    pub(super) fn new(root: OwnedFd) -> Parents {
        Parents {
            root: Root::from_dir(root),
            open: HashMap::new(),
            made: Made::default(),
        }
    }

    /// Returns the directory at `path`, a clean path, making what is missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Rc<Directory>> {
        match self.find(path, true)? {
            Found::Directory(directory) => Ok(directory),
            Found::Deleted => bail!("{:?} was deleted by its own layer", show(path)),
        }
    }

    /// Returns the directory at `path` for a marker of a deletion in it, which does not bring back a deleted directory.
    pub(super) fn directory_of_marker(&mut self, path: &[u8]) -> Result<Found> {
        self.find(path, false)
    }

    /// Returns the directory at `path` if the layer has it, without making anything.
    pub(super) fn existing(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.root.open_at(
            as_path(path),
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )
    }

    /// Closes all directories, because a name on the way to them may now mean something else.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    fn find(&mut self, path: &[u8], revive: bool) -> Result<Found> {
        if let Some(known) = self.open.get(path) {
            return Ok(Found::Directory(Rc::clone(known)));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let found = match self.root.open_direct(as_path(path), flags) {
            Ok(handle) => Directory {
                handle,
                path: path.to_vec(),
            },
            Err(error) => match error.raw_os_error() {
                // A link, something missing, or something in the way.
                Some(libc::ELOOP | libc::ENOENT | libc::ENOTDIR) => {
                    let Some(path) = self.walk(path, revive)? else {
                        return Ok(Found::Deleted);
                    };
                    let handle = self.root.open_direct(as_path(&path), flags);
                    Directory {
                        handle: handle.with_context(|| format!("open {:?}", show(&path)))?,
                        path,
                    }
                }
                _ => return Err(error).with_context(|| format!("open {:?}", show(path))),
            },
        };
        if self.open.len() >= KEPT_OPEN {
            self.open.clear();
        }
        let found = Rc::new(found);
        self.open.insert(path.to_vec(), Rc::clone(&found));
        Ok(Found::Directory(found))
    }

    /// Goes to `path` name by name, following links inside the layer and making what is missing; returns the path without
    /// links, or nothing if it is deleted and not to be revived.
    fn walk(&mut self, path: &[u8], revive: bool) -> Result<Option<Vec<u8>>> {
        let mut todo: VecDeque<Vec<u8>> = names(path);
        let mut links = 0;
        let mut here = Vec::new();
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                here = split(&here).0.to_vec();
                continue;
            }
            let dir = self
                .root
                .open_direct(as_path(&here), OFlags::PATH | OFlags::DIRECTORY)
                .with_context(|| format!("open {:?}", show(&here)))?;
            let next = join(&here, &name);
            match kind_of(dir.as_fd(), &name).with_context(|| format!("stat {:?}", show(&next)))? {
                Some(Standing::Directory) => here = next,
                Some(Standing::Symlink) => {
                    links += 1;
                    if links > LINKS_MAX {
                        bail!("too many symbolic links on the way to {:?}", show(path));
                    }
                    let target = readlinkat(&dir, &*name, Vec::new())
                        .with_context(|| format!("read the link {:?}", show(&next)))?;
                    if target.as_bytes().starts_with(b"/") {
                        here.clear();
                    }
                    for name in names(target.as_bytes()).into_iter().rev() {
                        todo.push_front(name);
                    }
                }
                Some(Standing::Whiteout) if !revive => return Ok(None),
                Some(Standing::Whiteout) => {
                    whiteouts::replace_by_directory(dir.as_fd(), &name)
                        .with_context(|| format!("make the directory {:?}", show(&next)))?;
                    self.made.revived.push(next.clone());
                    self.made.implied.insert(next.clone());
                    here = next;
                }
                Some(Standing::Other) => {
                    bail!("{:?} is not a directory", show(&next));
                }
                None => {
                    mkdirat(&dir, &*name, Mode::from_raw_mode(0o755))
                        .with_context(|| format!("make the directory {:?}", show(&next)))?;
                    self.made.implied.insert(next.clone());
                    here = next;
                }
            }
        }
        Ok(Some(here))
    }

    /// What the end of the unpacking sets on an implied directory.
    pub(super) fn implied(&self) -> impl Iterator<Item = (&[u8], Late)> {
        let made = self.made.implied.iter();
        made.map(|path| (path.as_slice(), Late::implied()))
    }
}

fn names(path: &[u8]) -> VecDeque<Vec<u8>> {
    let names = path.split(|b| *b == b'/');
    let real = names.filter(|name| !name.is_empty() && *name != b".");
    real.map(<[u8]>::to_vec).collect()
}

/// What stands at a name, as far as it matters for what may come in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Directory,
    Symlink,
    Whiteout,
    Other,
}

/// Returns what `name` in `dir` is; nothing if it is missing.
pub(super) fn kind_of(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Option<Standing>> {
    let stat = match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Standing::Directory,
        FileType::Symlink => Standing::Symlink,
        _ if whiteouts::is_whiteout(&stat) => Standing::Whiteout,
        _ => Standing::Other,
    }))
}
