//! Deletions (image-spec layer.md, Whiteouts): markers in archives, and what overlayfs takes for them.
//!
//! Markers speak of the layers below, wherever they stand in the archive, so this keeps a list until the end: a directory
//! that hides everything below needs no whiteouts in it, and overlayfs would list them as files.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, FileType, Mode, Stat, mkdirat, mknodat, unlinkat};
use rustix::io::Errno;

use super::metadata::{OPAQUE, set_xattr};
use super::parents::{Directory, Found, Parents, Standing, kind_of};
use crate::image::path::{is_within, show, split};

/// What the name of a marker begins with.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// Says that its directory hides everything below.
pub(crate) const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
/// What AUFS left in old archives: of no meaning here.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// What a path of an archive says about deletions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// Nothing: it is a file.
    None,
    /// That this name is deleted.
    Whiteout(&'a [u8]),
    /// That its directory is opaque.
    Opaque,
    /// Something that is not for us.
    Ignored,
}

/// Reads a clean path.
pub(super) fn marker(path: &[u8]) -> Result<Marker<'_>> {
    let (parent, name) = split(path);
    if !contains(path, PREFIX) {
        return Ok(Marker::None);
    }
    let above = |prefix| parent.split(|b| *b == b'/').any(|n| n.starts_with(prefix));
    if above(AUFS_PREFIX) {
        return Ok(Marker::Ignored);
    }
    if above(PREFIX) {
        bail!("{:?} lies below a deletion", show(path));
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Marker::None),
        Some(_) if name == OPAQUE_MARKER => Ok(Marker::Opaque),
        Some(_) if name.starts_with(AUFS_PREFIX) => Ok(Marker::Ignored),
        Some(b"" | b"." | b"..") => bail!("{:?} deletes no name", show(path)),
        Some(name) => Ok(Marker::Whiteout(name)),
    }
}

fn contains(path: &[u8], part: &[u8]) -> bool {
    path.windows(part.len()).any(|window| window == part)
}

/// Returns whether a file is what overlayfs takes for a deletion.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes a directory of the whiteout `name` in `dir`: it hides what is below it, as the whiteout did.
pub(super) fn replace_by_directory(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    unlinkat(dir, name, AtFlags::empty())?;
    mkdirat(dir, name, Mode::from_raw_mode(0o755))?;
    set_xattr(dir, name, OPAQUE.as_bytes(), b"y")
}

fn make(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    // Allowed without privileges since kernel 5.8; the mode is never seen.
    mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
}

/// The deletions of one layer.
#[derive(Debug, Default)]
pub(super) struct Whiteouts {
    /// Names that are whiteouts, by their paths without links.
    names: BTreeSet<Vec<u8>>,
    /// Directories that are opaque.
    opaque: BTreeSet<Vec<u8>>,
    /// Those of them that a whiteout of the directory itself made opaque.
    deleted: BTreeSet<Vec<u8>>,
}

impl Whiteouts {
    /// Marks `name` in `parent` as deleted; returns whether anything came of it.
    ///
    /// What the layer itself has at that name stays: a deletion is about the layers below.
    pub(super) fn delete(
        &mut self,
        parents: &mut Parents,
        parent: &[u8],
        name: &[u8],
    ) -> Result<bool> {
        let Found::Directory(dir) = parents.directory_of_marker(parent)? else {
            return Ok(false);
        };
        self.delete_in(&dir, name)?;
        Ok(true)
    }

    /// Marks `name` in `dir` as deleted.
    pub(super) fn delete_in(&mut self, dir: &Directory, name: &[u8]) -> Result<()> {
        let path = dir.child(name);
        match make(dir.as_fd(), name) {
            Ok(()) => {
                self.names.insert(path);
            }
            Err(Errno::EXIST) => {
                if kind_of(dir.as_fd(), name)? == Some(Standing::Directory) {
                    self.set_opaque(dir.as_fd(), name, path.clone())?;
                    self.deleted.insert(path);
                }
            }
            Err(errno) => {
                return Err(errno).with_context(|| format!("make the whiteout {:?}", show(&path)));
            }
        }
        Ok(())
    }

    /// Marks the directory `path` as hiding everything below it; returns whether anything came of it.
    pub(super) fn hide(&mut self, parents: &mut Parents, path: &[u8]) -> Result<bool> {
        let Found::Directory(dir) = parents.directory_of_marker(path)? else {
            return Ok(false);
        };
        self.set_opaque(dir.as_fd(), b".", dir.path.clone())?;
        Ok(true)
    }

    /// Notes that the directory `path` was made in place of a whiteout, and hides what is below it.
    pub(super) fn revived(&mut self, path: Vec<u8>) {
        self.names.remove(&path);
        self.deleted.insert(path.clone());
        self.opaque.insert(path);
    }

    /// Makes the new directory `name` in `dir`, where a whiteout was, hide what is below it.
    pub(super) fn revive(&mut self, dir: &Directory, name: &[u8]) -> Result<()> {
        let path = dir.child(name);
        self.set_opaque(dir.as_fd(), name, path)
    }

    /// Forgets what is at `path` and below: it was removed. Returns whether a whiteout was there.
    pub(super) fn removed(&mut self, path: &[u8]) -> bool {
        let was = self.names.contains(path);
        for set in [&mut self.names, &mut self.opaque, &mut self.deleted] {
            set.retain(|known| !is_within(known, path));
        }
        was
    }

    /// Returns whether the whole layer hides what is below it.
    pub(super) fn hides_everything(&self) -> bool {
        self.opaque.contains(&b""[..])
    }

    /// Removes the whiteouts that have nothing to delete because a directory above them is opaque, and the directories
    /// that were only made for them.
    pub(super) fn finish(&mut self, parents: &mut Parents) -> Result<()> {
        let hidden = |path: &Vec<u8>| {
            self.opaque
                .iter()
                .any(|above| above != path && is_within(path, above))
        };
        let idle: Vec<_> = self.names.iter().filter(|p| hidden(p)).cloned().collect();
        let made: Vec<_> = parents.made.implied.iter().cloned().collect();
        for path in idle {
            unlink(parents, &path, AtFlags::empty())?;
            self.names.remove(&path);
        }
        if self.opaque.is_empty() {
            return Ok(());
        }
        // Deepest first, so that what a directory was made for is gone before it.
        for path in made.into_iter().rev() {
            let deleted = self.deleted.contains(&path);
            let hidden = self
                .opaque
                .iter()
                .any(|above| *above != path && is_within(&path, above));
            if !(deleted || hidden) || !unlink(parents, &path, AtFlags::REMOVEDIR)? {
                continue;
            }
            parents.made.implied.remove(&path);
            self.opaque.remove(&path);
            self.deleted.remove(&path);
            if !hidden {
                let (parent, name) = split(&path);
                let dir = parents.existing(parent).context("open a directory")?;
                make(dir.as_fd(), name)
                    .with_context(|| format!("make the whiteout {:?}", show(&path)))?;
            }
        }
        parents.forget();
        Ok(())
    }

    fn set_opaque(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<()> {
        set_xattr(dir, name, OPAQUE.as_bytes(), b"y")
            .with_context(|| format!("mark the directory {:?} as opaque", show(&path)))?;
        self.opaque.insert(path);
        Ok(())
    }
}

/// Removes a name; returns whether it was removed, which a directory is only when it is empty.
fn unlink(parents: &Parents, path: &[u8], flags: AtFlags) -> Result<bool> {
    let (parent, name) = split(path);
    let dir = parents.existing(parent).context("open a directory")?;
    match unlinkat(&dir, name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno).with_context(|| format!("remove {:?}", show(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_told_from_files() {
        let check = |path: &str, expected: Marker<'_>| {
            assert_eq!(marker(path.as_bytes()).unwrap(), expected, "{path}");
        };
        check("a/b", Marker::None);
        check("a/x.wh.b", Marker::None);
        check("a/.wh.b", Marker::Whiteout(b"b"));
        check(".wh....", Marker::Whiteout(b"..."));
        check(".wh.b.wh.", Marker::Whiteout(b"b.wh."));
        check("a/.wh..wh..opq", Marker::Opaque);
        check(".wh..wh..opq", Marker::Opaque);
        check(".wh..wh.plnk", Marker::Ignored);
        check(".wh..wh.plnk/1.2", Marker::Ignored);
        check(".wh..wh.orph/.wh.x", Marker::Ignored);
        for bad in [
            ".wh.",
            "a/.wh..",
            "a/.wh...",
            ".wh.a/b",
            ".wh.a/.wh.b",
            ".wh.a/.wh..wh..opq",
        ] {
            assert!(marker(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
