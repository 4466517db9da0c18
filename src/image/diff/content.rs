//! What exactly has changed at each path: lines of text files, modes, owners, targets of links.
//!
//! Both sides are read beneath their own root, without following any link: the layers below as overlayfs shows them, and
//! the upper directory. Lines are compared for text of a moderate size; of everything else only the sizes are told.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fs::{FileType, OFlags, Stat, fstat, readlinkat};
use similar::TextDiff;

use super::{Change, ChangeKind, Changed, Look, kind, open};
use crate::image::path::{as_path, clean, join, show};
use crate::image::tarball::list::names;
use crate::sys::rooted::{Root, path_of};

/// A file with more bytes is not compared line by line.
const TEXT_MAX_BYTES: u64 = 4 << 20;
/// A NUL among so many bytes at its beginning makes a file binary, as for git.
const LOOKED_AT_BYTES: usize = 8000;
/// How long the shortest difference of two files is looked for; then a longer one will do.
const PATIENCE: Duration = Duration::from_secs(2);

/// A path that has changed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Where, and in which way.
    pub change: Change,
    /// What was there.
    pub before: Option<Facts>,
    /// What is there.
    pub after: Option<Facts>,
    /// What of its content differs.
    pub content: Content,
}

/// What is known of a file besides its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: FileType,
    /// Its permissions.
    pub mode: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Bytes of a regular file.
    pub size: u64,
    /// Where a symlink leads to.
    pub target: PathBuf,
}

/// How two contents differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Not at all, or there is none.
    Same,
    /// In these lines, as a unified difference.
    Text(Vec<u8>),
    /// One of them is no text.
    Binary,
    /// One of them is too large to be compared.
    Large,
}

/// Calls `each` for every change at or below `path`, sorted by path; of a directory that was deleted, or that something else
/// has taken the place of, everything that was in it is a change of its own.
///
/// Returns whether there is, or was, anything at `path`.
pub fn details(
    changed: Changed<'_>,
    path: Option<&Path>,
    each: &mut dyn FnMut(Detail) -> Result<()>,
) -> Result<bool> {
    let look = Look::all(changed)?;
    let wanted = path.map(|path| canonical(&look.below, path)).transpose()?;
    let mut known = wanted.is_none();
    for change in look.changes() {
        let inner = clean(change.path.as_os_str().as_bytes())?;
        let before = match change.kind {
            ChangeKind::Added => None,
            _ => facts(&look.below, &inner)?,
        };
        let after = match change.kind {
            ChangeKind::Deleted => None,
            _ => facts(&look.upper, &inner)?,
        };
        // Whatever is wanted below a directory that is gone, is below it.
        if is_wanted(wanted.as_deref(), &change.path) {
            known = true;
            let content = compare(&look, &inner, before.as_ref(), after.as_ref())?;
            let (before, after) = (before.clone(), after.clone());
            each(Detail {
                change,
                before,
                after,
                content,
            })?;
        }
        let was_directory = is(before.as_ref(), FileType::Directory);
        if was_directory && !is(after.as_ref(), FileType::Directory) {
            known |= gone(&look, &inner, wanted.as_deref(), each)?;
        }
    }
    Ok(known || exists(&look, wanted.as_deref()))
}

/// Tells of everything below a directory that is not there any more.
fn gone(
    look: &Look,
    dir: &[u8],
    wanted: Option<&Path>,
    each: &mut dyn FnMut(Detail) -> Result<()>,
) -> Result<bool> {
    let mut any = false;
    let handle = open(&look.below, dir).with_context(|| format!("open {:?}", show(dir)))?;
    let mut list = names(handle.as_fd())?;
    list.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (name, _) in list {
        let inner = join(dir, &name);
        let path = Path::new("/").join(as_path(&inner));
        let before = facts(&look.below, &inner)?;
        let is_directory = is(before.as_ref(), FileType::Directory);
        if is_wanted(wanted, &path) {
            any = true;
            each(Detail {
                content: compare(look, &inner, before.as_ref(), None)?,
                change: Change {
                    kind: ChangeKind::Deleted,
                    path,
                },
                before,
                after: None,
            })?;
        }
        if is_directory {
            any |= gone(look, &inner, wanted, each)?;
        }
    }
    Ok(any)
}

fn is_wanted(wanted: Option<&Path>, path: &Path) -> bool {
    wanted.is_none_or(|wanted| path.starts_with(wanted))
}

fn is(facts: Option<&Facts>, kind: FileType) -> bool {
    facts.is_some_and(|facts| facts.kind == kind)
}

fn exists(look: &Look, path: Option<&Path>) -> bool {
    let Some(path) = path else { return true };
    let inner = path.strip_prefix("/").unwrap_or(path);
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    [&look.below, &look.upper]
        .iter()
        .any(|root| root.open_direct(inner, flags).is_ok())
}

/// Returns a path as changes name it: without the links that lead to it in the image.
fn canonical(image: &Root, path: &Path) -> Result<PathBuf> {
    let cleaned = clean(path.as_os_str().as_bytes())?;
    let mut known = as_path(&cleaned);
    let mut rest = PathBuf::new();
    // The end of it is meant itself, if it is a link; and it may be new, with the directories above it.
    while let (Some(parent), Some(name)) = (known.parent(), known.file_name()) {
        let below = std::mem::take(&mut rest);
        rest = Path::new(name)
            .components()
            .chain(below.components())
            .collect();
        known = parent;
        if let Ok(handle) = image.handle(known) {
            // The mount stands in no tree, so its own root is where its paths begin.
            let known = path_of(handle.as_fd());
            let known = known.with_context(|| format!("find {}", path.display()))?;
            return Ok(known.join(rest));
        }
    }
    Ok(Path::new("/").join(rest))
}

fn facts(root: &Root, path: &[u8]) -> Result<Option<Facts>> {
    let context = || format!("look at {:?}", show(path));
    let file = match root.open_direct(as_path(path), OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(file) => file,
        Err(error) => match error.raw_os_error() {
            // It went away meanwhile.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => return Ok(None),
            _ => return Err(error).with_context(context),
        },
    };
    let stat: Stat = fstat(&file).with_context(context)?;
    let kind = kind(&stat);
    let target = if kind == FileType::Symlink {
        let target = readlinkat(&file, "", Vec::new()).with_context(context)?;
        as_path(target.as_bytes()).to_owned()
    } else {
        PathBuf::new()
    };
    let is_file = kind == FileType::RegularFile;
    Ok(Some(Facts {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if is_file {
            stat.st_size.unsigned_abs()
        } else {
            0
        },
        target,
    }))
}

fn compare(
    look: &Look,
    path: &[u8],
    before: Option<&Facts>,
    after: Option<&Facts>,
) -> Result<Content> {
    let file = |facts: Option<&Facts>| is(facts, FileType::RegularFile);
    if !file(before) && !file(after) {
        return Ok(Content::Same);
    }
    let large =
        |facts: Option<&Facts>| file(facts) && facts.is_some_and(|it| it.size > TEXT_MAX_BYTES);
    if large(before) || large(after) {
        return Ok(Content::Large);
    }
    let content = |root: &Root, facts| {
        let bytes = file(facts).then(|| read(root, path));
        bytes.transpose()
    };
    let (old, new) = (content(&look.below, before)?, content(&look.upper, after)?);
    Ok(difference(path, old.as_deref(), new.as_deref()))
}

/// Reads a file; one that has grown meanwhile only as far as the limit.
fn read(root: &Root, path: &[u8]) -> Result<Vec<u8>> {
    let context = || format!("read {:?}", show(path));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = root
        .open_direct(as_path(path), flags)
        .with_context(context)?;
    let mut bytes = Vec::new();
    let mut limited = File::from(file).take(TEXT_MAX_BYTES);
    limited.read_to_end(&mut bytes).with_context(context)?;
    Ok(bytes)
}

/// Compares two contents; one that is absent is nothing, and patch(1) makes or removes the file.
fn difference(path: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) -> Content {
    if old == new {
        return Content::Same;
    }
    let sides = [(b"a/", old), (b"b/", new)];
    let is_binary = |bytes: &[u8]| bytes.iter().take(LOOKED_AT_BYTES).any(|byte| *byte == 0);
    if sides.iter().any(|(_, bytes)| bytes.is_some_and(is_binary)) {
        return Content::Binary;
    }
    let mut text = Vec::new();
    for (sign, (prefix, bytes)) in ["--- ", "+++ "].iter().zip(sides) {
        let name = match bytes {
            Some(_) => [prefix.as_slice(), path].concat(),
            None => b"/dev/null".to_vec(),
        };
        text.extend([sign.as_bytes(), &name, b"\n"].concat());
    }
    let mut config = TextDiff::configure();
    config.timeout(PATIENCE);
    let diff = config.diff_lines(old.unwrap_or_default(), new.unwrap_or_default());
    for hunk in diff.unified_diff().iter_hunks() {
        // Writing to memory does not fail.
        let written = hunk.to_writer(&mut text);
        if written.is_err() {
            return Content::Binary;
        }
    }
    Content::Text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: Option<&str>, new: Option<&str>, expected: &str) {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let found = difference(b"etc/x", bytes(old).as_deref(), bytes(new).as_deref());
        assert_eq!(found, Content::Text(expected.as_bytes().to_vec()));
    }

    #[test]
    fn differences_are_unified() {
        check(
            Some("a\nb\nc\n"),
            Some("a\nB\nc\n"),
            "--- a/etc/x\n+++ b/etc/x\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n",
        );
        check(
            None,
            Some("a\n"),
            "--- /dev/null\n+++ b/etc/x\n@@ -0,0 +1 @@\n+a\n",
        );
        check(
            Some("a"),
            None,
            "--- a/etc/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\\ No newline at end of file\n",
        );
        // An empty file is new as well, and has no lines.
        check(None, Some(""), "--- /dev/null\n+++ b/etc/x\n");
    }

    #[test]
    fn what_is_no_text_is_told() {
        let of = |old: &[u8], new: &[u8]| difference(b"x", Some(old), Some(new));
        assert_eq!(of(b"\x7fELF\0", b"\x7fELF\0\0"), Content::Binary);
        assert_eq!(of(b"same\0", b"same\0"), Content::Same);
        // Of a single byte each, as older files are.
        assert!(matches!(of(b"\xe4\n", b"\xf6\n"), Content::Text(_)));
    }

    #[test]
    fn what_is_wanted_is_below_a_path() {
        assert!(is_wanted(None, Path::new("/a")));
        assert!(is_wanted(Some(Path::new("/a")), Path::new("/a/b")));
        assert!(!is_wanted(Some(Path::new("/a")), Path::new("/ab")));
    }
}
