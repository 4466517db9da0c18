//! Files between trees that others use: one file or directory → an archive → a place in another tree, or without the archive.
//!
//! `cp` is made of these. Names are inner paths on both sides: nothing of an archive, and no link in the tree that it goes
//! to, leads out of that tree's root.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};

use super::apply::{Content, Tree};
use super::copy::copy;
use super::path::{clean, join, show};
use super::tarball::pack::{Put, Written, pack_from};
use super::tarball::read::Reader;
use super::tarball::tree::{Options, member, members};
use super::tarball::{Entry, Kind, write};
use crate::error;
use crate::sys::thread::with_own_umask;

/// What goes into an archive, and under which name.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The directory that it is in.
    pub dir: BorrowedFd<'a>,
    /// Its name there; empty means `dir` itself.
    pub name: &'a [u8],
    /// Its name in the archive; empty leaves only what is in it.
    pub called: &'a [u8],
}

/// Up to this size a file is read and written by one call each.
const SMALL_BYTES: u64 = 64 << 10;

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Whose they are in the archive.
    Kept,
    /// All the same one's.
    Of {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Writes the archive of a file, or of a directory with all below it, to `output`.
///
/// The error is of kind `NotFound` if there is nothing that an archive can hold.
pub fn pack(source: Source<'_>, output: &mut dyn Write) -> Result<Written> {
    pack_from(&mut |put| each(source, put), output)
}

/// Calls `put` for each member that the archive of a source has.
fn each(source: Source<'_>, put: &mut Put<'_>) -> Result<()> {
    let Source { dir, name, called } = source;
    let options = Options {
        root: true,
        plain: true,
        ..Options::default()
    };
    let mut put = |mut entry: Entry, content| {
        rename(&mut entry, name, called);
        put(entry, content)
    };
    if name.is_empty() {
        return members(dir, options, &mut put);
    }
    if member(dir, name, options, &mut put)? {
        return Ok(());
    }
    let name = String::from_utf8_lossy(name).into_owned();
    Err(error::not_found(format!("{name}: nothing to copy")))
}

/// Gives a member, and the one it links to, the name that the whole is to have.
fn rename(entry: &mut Entry, name: &[u8], called: &[u8]) {
    let renamed = |path: &[u8]| {
        let rest = path.strip_prefix(name).unwrap_or(path);
        let rest = rest.strip_prefix(b"./").unwrap_or(rest);
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        match (called.is_empty(), rest.is_empty()) {
            (true, true) => b"./".to_vec(),
            (true, false) => [b"./", rest].concat(),
            (false, true) => called.to_vec(),
            (false, false) => join(called, rest),
        }
    };
    entry.path = renamed(&entry.path);
    if entry.kind == Kind::Directory && !entry.path.ends_with(b"/") {
        entry.path.push(b'/');
    }
    if let Kind::HardLink(target) = &mut entry.kind {
        *target = renamed(target);
    }
}

/// Where files go.
struct Target<'a> {
    tree: Tree,
    dir: &'a [u8],
    owner: Owner,
}

impl Target<'_> {
    fn put(&mut self, mut entry: Entry, content: Content<'_>) -> Result<()> {
        let path = clean(&entry.path)?;
        // The directory itself stays as it is.
        if path.is_empty() {
            return Ok(());
        }
        entry.path = join(self.dir, &path);
        if let Kind::HardLink(target) = &mut entry.kind {
            *target = join(self.dir, &clean(target)?);
        }
        if let Owner::Of { uid, gid } = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        self.tree.put(&entry, content)
    }
}

/// Calls `fill` with the directory `dir`, a clean path without links, of the tree at `root`.
fn into_tree<T: Send>(
    root: OwnedFd,
    dir: &[u8],
    owner: Owner,
    fill: impl FnOnce(&mut Target<'_>) -> Result<T> + Send,
) -> Result<T> {
    with_own_umask(|| {
        let tree = Tree::in_use(root);
        let mut target = Target { tree, dir, owner };
        let filled = fill(&mut target)?;
        target.tree.finish()?;
        Ok(filled)
    })
    .context("start a thread")?
}

/// Puts what an uncompressed archive holds into the directory `dir`, a clean path without links, of the tree at `root`.
///
/// What is there is replaced, but never a directory by a file or the reverse: that is an error of kind `Invalid`. Ends
/// behind the last member; what came before an error stays.
pub fn unpack(input: impl Read + Send, root: OwnedFd, dir: &[u8], owner: Owner) -> Result<()> {
    into_tree(root, dir, owner, |target| {
        let mut reader = Reader::new(input);
        while let Some(entry) = reader.next_entry().context("read the archive")? {
            target.put(entry, Content::Stream(&mut reader))?;
        }
        reader.drain().map(drop).context("read the archive")
    })
}

/// Does what [`pack`] and [`unpack`] do one after the other, without the archive; returns the size that it would have.
///
/// The content of files is moved by the kernel, and holes stay holes.
pub fn transfer(source: Source<'_>, root: OwnedFd, dir: &[u8], owner: Owner) -> Result<u64> {
    into_tree(root, dir, owner, |target| {
        let mut size = write::END.len() as u64;
        let mut header = Vec::new();
        each(source, &mut |entry, file| {
            header.clear();
            write::header(&mut header, &entry)?;
            size += header.len() as u64 + entry.size + write::padding(entry.size) as u64;
            let bytes = entry.size;
            if bytes <= SMALL_BYTES {
                let content = small(file.as_ref(), bytes)
                    .with_context(|| format!("read {:?}", show(&entry.path)))?;
                return target.put(entry, Content::Bytes(&content));
            }
            let mut copied = |to: File| {
                if let Some(file) = &file {
                    copy(file, &to, bytes, &mut |_| Ok(()))?;
                }
                Ok(to)
            };
            target.put(entry, Content::Copy(&mut copied))
        })?;
        Ok(size)
    })
}

/// Reads a file; what it has lost since its size was taken is NULs.
fn small(file: Option<&File>, size: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    if let Some(file) = file {
        file.take(size).read_to_end(&mut content)?;
    }
    content.resize(usize::try_from(size)?, 0);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::path::Path;

    use super::*;
    use crate::image::testing::{Archive, Scratch};

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut reader = Reader::new(archive);
        while let Some(entry) = reader.next_entry().unwrap() {
            let link = match entry.kind {
                Kind::HardLink(target) => format!(" -> {}", String::from_utf8(target).unwrap()),
                _ => String::new(),
            };
            names.push(String::from_utf8(entry.path).unwrap() + &link);
        }
        names
    }

    #[test]
    fn members_have_the_name_of_the_whole() {
        let scratch = Scratch::new("exchange-pack");
        let dir = scratch.dir("root");
        std::fs::create_dir(dir.join("a")).unwrap();
        std::fs::write(dir.join("a/.wh.x"), "1").unwrap();
        std::fs::hard_link(dir.join("a/.wh.x"), dir.join("a/y")).unwrap();
        let root = open(&dir);
        let inside = open(&dir.join("a"));
        let check = |dir: &OwnedFd, name: &[u8], called: &[u8], want: &[&str]| {
            let mut out = Vec::new();
            let dir = dir.as_fd();
            pack(Source { dir, name, called }, &mut out).unwrap();
            assert_eq!(names(&out), want);
        };
        check(&root, b"a", b"a", &["a/", "a/.wh.x", "a/y -> a/.wh.x"]);
        check(&root, b"a", b"b", &["b/", "b/.wh.x", "b/y -> b/.wh.x"]);
        check(&inside, b"", b"c", &["c/", "c/.wh.x", "c/y -> c/.wh.x"]);
        check(&inside, b"", b"", &["./", "./.wh.x", "./y -> ./.wh.x"]);
        check(&inside, b"y", b"z", &["z"]);
        let dir = root.as_fd();
        let missing = Source {
            dir,
            name: b"no",
            called: b"no",
        };
        let error = pack(missing, &mut Vec::new()).unwrap_err();
        assert!(error::is(&error, error::Kind::NotFound));
    }

    #[test]
    fn links_in_the_tree_stay_in_it() {
        let scratch = Scratch::new("exchange-links");
        let dir = scratch.dir("root");
        std::fs::create_dir(dir.join("in")).unwrap();
        symlink("/", dir.join("in/out")).unwrap();
        symlink("../../../..", dir.join("in/up")).unwrap();
        let archive = Archive::default()
            .file("out/one", "1")
            .file("up/two", "2")
            .file("new/deep/three", "3")
            .end();
        unpack(archive.as_slice(), open(&dir), b"in", Owner::Kept).unwrap();
        for path in ["one", "two", "in/new/deep/three"] {
            assert!(dir.join(path).is_file(), "{path}");
        }
        let climbing = Archive::default().file("../x", "").end();
        assert!(unpack(climbing.as_slice(), open(&dir), b"in", Owner::Kept).is_err());
    }

    #[test]
    fn a_directory_and_a_file_do_not_take_each_others_place() {
        let scratch = Scratch::new("exchange-kinds");
        let dir = scratch.dir("root");
        std::fs::create_dir(dir.join("d")).unwrap();
        std::fs::write(dir.join("f"), "old").unwrap();
        let check = |archive: Vec<u8>, want: &str| {
            let error = unpack(archive.as_slice(), open(&dir), b"", Owner::Kept).unwrap_err();
            assert!(error::line(&error).ends_with(want), "{error:#}");
        };
        check(
            Archive::default().file("d", "").end(),
            "cannot overwrite directory \"/d\" with non-directory \"/\"",
        );
        check(
            Archive::default().dir("f", 0o755).end(),
            "cannot overwrite non-directory \"/f\" with directory \"/\"",
        );
        let archive = Archive::default()
            .file("f", "new")
            .dir("d", 0o755)
            .file("d/x", "")
            .end();
        unpack(
            archive.as_slice(),
            open(&dir),
            b"",
            Owner::Of { uid: 7, gid: 8 },
        )
        .unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("f")).unwrap(), "new");
        let meta = dir.join("d/x").metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (7, 8));
    }
}
