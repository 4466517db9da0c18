//! What each layer of a stack says about a path: for repairing what layers could only imply about one another.
//!
//! overlayfs shows the merged result, but not which layer it came from; that is looked up here, layer by layer, by the
//! same rules: a deletion or a file ends the search at a path and below it, an opaque directory ends it below itself.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};

use super::Meta;
use super::overlay;
use crate::image::apply::{self, is_whiteout};
use crate::image::path::{InnerPath, as_path, show, split};
use crate::sys::rooted::Root;

/// A layer of a stack, opened.
pub(super) struct Layer<'a> {
    pub(super) meta: &'a Meta,
    pub(super) path: PathBuf,
    root: Root,
}

impl<'a> Layer<'a> {
    pub(super) fn open(meta: &'a Meta, path: PathBuf) -> Result<Layer<'a>> {
        let root = Root::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Layer { meta, path, root })
    }

    /// Returns what the layer says about `path`.
    fn says(&self, path: &[u8]) -> Result<Says> {
        let context = || format!("look for {:?} in {}", show(path), self.path.display());
        let (mut known, mut missing): (&[u8], bool) = (path, false);
        // The deepest part of the path that the layer has.
        let found = loop {
            match self
                .root
                .open_direct(as_path(known), OFlags::PATH | OFlags::NOFOLLOW)
            {
                Ok(found) => break found,
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOENT) if !known.is_empty() => {
                        known = split(known).0;
                        missing = true;
                    }
                    // Something above it is a file or a link: a link that is the last name is opened itself.
                    Some(libc::ENOTDIR | libc::ELOOP) => return Ok(Says::Hidden),
                    _ => return Err(error).with_context(context),
                },
            }
        };
        let directory = is_directory(&found).with_context(context)?;
        match (directory, missing) {
            (true, true) if self.is_opaque(known)? => Ok(Says::Hidden),
            (true, true) => Ok(Says::Nothing),
            (true, false) => Ok(Says::Directory {
                last: self.is_opaque(known)?,
            }),
            (false, true) => Ok(Says::Hidden),
            (false, false) => Ok(Says::File),
        }
    }

    /// Returns whether `path` or a directory above it hides what is below.
    fn is_opaque(&self, path: &[u8]) -> Result<bool> {
        let mut path = path;
        loop {
            let dir = self
                .root
                .open_direct(as_path(path), OFlags::RDONLY | OFlags::DIRECTORY)
                .with_context(|| format!("open {:?}", show(path)))?;
            if apply::is_opaque(dir.as_fd()).context("look whether it is opaque")? {
                return Ok(true);
            }
            if path.is_empty() {
                return Ok(false);
            }
            path = split(path).0;
        }
    }
}

fn is_directory(file: &OwnedFd) -> rustix::io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// What a layer says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// Nothing; the layer below is asked.
    Nothing,
    /// That nothing below counts.
    Hidden,
    /// A file, a link, a device or a deletion.
    File,
    /// A directory; `last` if it hides what is below.
    Directory { last: bool },
}

/// Gives the directories that the topmost layer with them only implies the metadata of the nearest layer below that
/// describes them; `root` is the mounted stack. Others would be root's, 0755: a layer that adds a file to /tmp must not
/// take away its sticky bit.
pub(super) fn repair_implied(stack: &[Layer<'_>], root: &Root) -> Result<()> {
    let implied: BTreeSet<&InnerPath> = stack
        .iter()
        .flat_map(|layer| &layer.meta.facts.implied)
        .collect();
    for path in implied {
        if let Some(layer) = describing(stack, path)? {
            let open = |root: &Root| {
                root.open_direct(path.as_path(), OFlags::RDONLY | OFlags::DIRECTORY)
                    .with_context(|| format!("open {:?}", show(&path.0)))
            };
            apply::copy_directory_metadata(open(&layer.root)?.as_fd(), open(root)?.as_fd())
                .with_context(|| format!("describe {:?}", show(&path.0)))?;
        }
    }
    Ok(())
}

/// Returns the layer that describes a directory which layers above it imply; nothing if there is none, or if the topmost
/// layer describes it itself.
fn describing<'s, 'a>(stack: &'s [Layer<'a>], path: &InnerPath) -> Result<Option<&'s Layer<'a>>> {
    let mut implied = false;
    for layer in stack {
        match layer.says(&path.0)? {
            Says::Nothing => {}
            Says::Hidden | Says::File => return Ok(None),
            Says::Directory { last } => {
                if !layer.meta.facts.implied.contains(path) {
                    return Ok(implied.then_some(layer));
                }
                implied = true;
                if last {
                    return Ok(None);
                }
            }
        }
    }
    Ok(None)
}

/// Makes the hard links whose targets are in layers below their own, as copies; `root` is the mounted stack.
pub(super) fn make_links(stack: &[Layer<'_>], root: &Root) -> Result<()> {
    for (at, layer) in stack.iter().enumerate() {
        for (path, target) in &layer.meta.facts.links {
            let mut above = stack[..at].iter();
            let overridden = above.try_fold(false, |found, layer| -> Result<bool> {
                Ok(found || layer.says(&path.0)? != Says::Nothing)
            })?;
            if !overridden {
                let context = || {
                    let (path, target) = (show(&path.0), show(&target.0));
                    format!("link {path:?} to {target:?} of a layer below")
                };
                copy_from_below(&stack[at + 1..], target, root, path).with_context(context)?;
            }
        }
    }
    Ok(())
}

fn copy_from_below(
    below: &[Layer<'_>],
    target: &InnerPath,
    root: &Root,
    path: &InnerPath,
) -> Result<()> {
    if below.is_empty() {
        bail!("no such file");
    }
    let lowers: Vec<PathBuf> = below.iter().map(|layer| layer.path.clone()).collect();
    let merged = Root::from_dir(overlay::mount(&lowers, None)?);
    let source = merged.locate(target.as_path())?;
    let name = source.name.as_os_str();
    let stat = rustix::fs::statat(&source.dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let place = root.locate(path.as_path())?;
    apply::remove_in(place.dir.as_fd(), place.name.as_encoded_bytes())?;
    copy_file(&source, &place, &stat)
}

fn copy_file(
    source: &crate::sys::rooted::Location,
    place: &crate::sys::rooted::Location,
    stat: &Stat,
) -> Result<()> {
    use rustix::fs::{Gid, Mode, Uid, chmodat, chownat, mknodat, openat, readlinkat, symlinkat};
    let (name, new) = (source.name.as_os_str(), place.name.as_os_str());
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let mut copied = None;
    match kind {
        FileType::Directory => bail!("a hard link to a directory"),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let from = openat(&source.dir, name, flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = openat(&place.dir, new, flags, Mode::from_raw_mode(0o600))?;
            let (mut from, mut to) = (std::fs::File::from(from), std::fs::File::from(to));
            std::io::copy(&mut from, &mut to).context("copy the content")?;
            copied = Some((from, to));
        }
        FileType::Symlink => {
            let target = readlinkat(&source.dir, name, Vec::new())?;
            symlinkat(target, &place.dir, new)?;
        }
        _ if is_whiteout(stat) => bail!("no such file"),
        kind => mknodat(&place.dir, new, kind, mode, stat.st_rdev)?,
    }
    let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    chownat(&place.dir, new, Some(owner), Some(group), nofollow).context("set the owner")?;
    if kind != FileType::Symlink {
        chmodat(&place.dir, new, mode, AtFlags::empty()).context("set the mode")?;
    }
    if let Some((from, to)) = &copied {
        apply::copy_xattrs(from.as_fd(), to.as_fd())?;
    }
    let times = apply::times_of(stat);
    rustix::fs::utimensat(&place.dir, new, &times, nofollow).context("set the times")
}
