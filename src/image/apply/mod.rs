//! Layer archives → a directory that overlayfs stacks (image-spec layer.md, Applying Changesets).
//!
//! The target is a fresh private directory that nobody else writes to. Every path of the archive is resolved beneath it,
//! a member is only ever created (O_EXCL, never opened), and work is done on descriptors of directories, so links in the
//! archive lead nowhere. A layer is unpacked without the layers below it: what depends on them is not decided here but
//! recorded in [`Facts`], for [`crate::image::snapshot`].
//!
//! ```text
//! archive                         directory
//! dir/.wh.name                    dir/name, a character device 0:0 (overlayfs' whiteout)
//! dir/.wh..wh..opq                dir with trusted.overlay.opaque=y
//! xattr trusted.overlay.x         xattr trusted.overlay.overlay.x (an image must not speak for overlayfs)
//! ```

mod content;
mod metadata;
mod parents;
mod remove;
#[cfg(test)]
mod torture;
mod tree;
mod whiteouts;

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::path::InnerPath;
use super::tarball::read::Reader;
use crate::sys::thread::with_own_umask;

pub(crate) use content::Content;
pub(crate) use metadata::{
    archive_name, copy_directory_metadata, copy_xattrs, is_opaque, portable_value, times_of, xattrs,
};
pub(crate) use remove::{remove_all, remove_in};
pub(crate) use tree::Tree;
pub(crate) use whiteouts::{OPAQUE_MARKER, PREFIX, is_whiteout};

/// The most members that an archive may have.
const ENTRIES_MAX: u64 = 50_000_000;

/// What the one who unpacks wants from the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A layer of an image: everything it says.
    Layer,
    /// A root file system for a new image, whose layer is later written from the directory: markers of deletions are
    /// dropped, since there is nothing below; of attributes only those stay that are written again.
    RootFilesystem,
    /// Files for a tree that others use: no name and no device means a deletion, no directory takes the place of a file or
    /// the reverse, and of attributes only portable ones come along.
    Copy,
}

/// What unpacking a layer has shown, for those who stack it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Members that made something or marked a deletion.
    pub entries: u64,
    /// Bytes as docker counts an image: files and targets of symlinks, each inode once.
    pub size: u64,
    /// Directories that no member describes, only members below them; they were made as root's, 0755, of 1970.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub implied: Vec<InnerPath>,
    /// Hard links to what this layer does not have: the path, and the target in a layer below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(InnerPath, InnerPath)>,
    /// Whether a member described the root directory.
    pub root: bool,
    /// Whether the layer hides everything below it.
    pub opaque: bool,
}

impl Facts {
    /// Returns whether the layer changes nothing at all.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// Unpacks the uncompressed archive `input` into the empty directory `root`, and reads it to its end.
///
/// The caller's umask does not matter. What is unsafe or cannot be stored is an error; then the directory is to be thrown
/// away.
pub fn apply(input: impl Read + Send, root: &Path, policy: Policy) -> Result<Facts> {
    with_own_umask(|| {
        let mut tree = Tree::open(root, policy)?;
        let mut reader = Reader::new(input);
        let mut count = 0;
        while let Some(entry) = reader.next_entry().context("read the archive")? {
            count += 1;
            anyhow::ensure!(
                count <= ENTRIES_MAX,
                "the archive has more than {ENTRIES_MAX} members"
            );
            tree.put(&entry, Content::Stream(&mut reader))?;
        }
        reader.drain().context("read the archive")?;
        tree.finish()
    })
    .context("start a thread")?
}
