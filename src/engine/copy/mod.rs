//! `cp`: files between a container and the host, or an archive.
//!
//! What is read becomes the members of an archive and what is written comes from them, so that both directions and both ends
//! have the same rules.

mod paths;
mod view;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{FileType, OFlags};

pub use paths::split_argument;

use super::Engine;
use super::files::Purpose;
use crate::container::Container;
use crate::image::compress;
use crate::image::exchange::{self, Owner, Source};
use crate::monitor::{bring_up, removal};
use crate::sys::rooted::Root;
use crate::{error, event};
use paths::{Plan, There, Written};
use view::{Resolved, check_writable, resolve, with_root};

/// How a copy is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Whether a link that is to be copied is followed.
    pub follow_link: bool,
    /// Into a container: whether the files become its user's instead of keeping their owners' numbers. Out of one: whether
    /// they keep their owners' numbers instead of becoming the caller's.
    pub archive: bool,
}

/// Something is wrong with the host's side of a copy, or with how both sides fit.
#[derive(Debug)]
pub struct LocalError(pub String);

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LocalError {}

fn local<T>(text: impl Into<String>) -> Result<T> {
    Err(LocalError(text.into()).into())
}

/// A file or directory of a container, as the user named it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name or id.
    pub container: &'a str,
    /// Path in it; relative ones begin at its root.
    pub path: &'a str,
}

impl Place<'_> {
    fn written(&self) -> Written {
        Written::new(Path::new(self.path), Path::new("/"))
    }

    fn missing(&self, path: &str) -> anyhow::Error {
        let container = self.container;
        error::not_found(format!(
            "Could not find the file {path} in container {container}"
        ))
    }
}

/// Writes the archive of a file or directory of a container; returns the bytes of the archive.
pub fn read(
    engine: &Engine,
    from: Place<'_>,
    follow_link: bool,
    output: &mut (dyn Write + Send),
) -> Result<u64> {
    let container = engine.container(from.container)?;
    let size = with_root(engine, &container, Purpose::Read, |root| {
        let found = find(root, from, follow_link)?;
        Ok(exchange::pack(found.source(&found.called), output)?.size)
    })?;
    report(engine, &container, "archive-path");
    Ok(size)
}

/// Copies a file or directory of a container to the host; returns the bytes of its archive.
///
/// Errors of the host's side are [`LocalError`]s.
pub fn copy_out(engine: &Engine, from: Place<'_>, to: &Path, options: CopyOptions) -> Result<u64> {
    let (to, there) = local_target(to)?;
    let owner = if options.archive {
        Owner::Kept
    } else {
        Owner::Of {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    };
    let container = engine.container(from.container)?;
    let size = with_root(engine, &container, Purpose::Read, |root| {
        let found = find(root, from, options.follow_link)?;
        let what = paths::From {
            name: OsStr::from_bytes(&found.called),
            is_dir: found.is_dir,
        };
        let Plan { dir, called } = paths::plan(what, &to, there).or_else(local)?;
        let target = File::open(&dir).with_context(|| format!("open {}", dir.display()))?;
        exchange::transfer(found.source(&called), target.into(), b"", owner)
    })?;
    report(engine, &container, "archive-path");
    Ok(size)
}

/// Copies a file or directory of the host into a container; returns the bytes of its archive.
///
/// Errors of the host's side, and of how both sides fit, are [`LocalError`]s.
pub fn copy_in(engine: &Engine, from: &Path, to: Place<'_>, options: CopyOptions) -> Result<u64> {
    let found = local_source(from, options.follow_link)?;
    let container = engine.container(to.container)?;
    let size = with_root(engine, &container, Purpose::Write, |root| {
        let (written, there) = target(root, to)?;
        let what = paths::From {
            name: OsStr::from_bytes(&found.called),
            is_dir: found.is_dir,
        };
        let Plan { dir, called } = paths::plan(what, &written, there).or_else(local)?;
        let (dir, owner) = directory(root, &container, to, &dir, options)?;
        let tree = duplicate(root)?;
        exchange::transfer(
            found.source(&called),
            tree,
            dir.as_os_str().as_bytes(),
            owner,
        )
    })?;
    report(engine, &container, "extract-to-dir");
    Ok(size)
}

/// Unpacks an archive, which may be compressed, into a directory of a container.
///
/// That the place is no directory is a [`LocalError`].
pub fn write(
    engine: &Engine,
    input: impl Read + Send,
    to: Place<'_>,
    options: CopyOptions,
) -> Result<()> {
    let Place { container, path } = to;
    let no_directory = format!("destination \"{container}:{path}\" must be a directory");
    let Ok(container) = engine.container(container) else {
        return local(no_directory);
    };
    with_root(engine, &container, Purpose::Write, |root| {
        let (written, there) = target(root, to)?;
        if there != There::Directory {
            return local(no_directory);
        }
        let (dir, owner) = directory(root, &container, to, &written.path, options)?;
        let (_, plain) = compress::decompress(input).context("read the archive")?;
        exchange::unpack(plain, duplicate(root)?, dir.as_os_str().as_bytes(), owner)
    })?;
    report(engine, &container, "extract-to-dir");
    Ok(())
}

fn report(engine: &Engine, container: &Container, action: &str) {
    let record = &container.record;
    let attributes = removal::attributes(record);
    event::record(&engine.dirs, "container", action, &record.id, attributes);
}

fn duplicate(root: &Root) -> Result<OwnedFd> {
    let copy = root.as_fd().try_clone_to_owned();
    copy.context("share the root of the container")
}

/// Something that is to be copied.
struct Found {
    /// The directory that it is in.
    dir: OwnedFd,
    /// Its name there; empty if it is `dir` itself.
    name: Vec<u8>,
    /// How it is called if nobody says otherwise; empty if the content of a directory is meant.
    called: Vec<u8>,
    is_dir: bool,
}

impl Found {
    fn source<'a>(&'a self, called: &'a [u8]) -> Source<'a> {
        Source {
            dir: self.dir.as_fd(),
            name: &self.name,
            called,
        }
    }
}

/// Finds what is to be copied out of a container.
fn find(root: &Root, from: Place<'_>, follow_link: bool) -> Result<Found> {
    let written = from.written();
    let no_directory = || error::invalid(format!("lstat {}: not a directory", from.path));
    let missing = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => from.missing(from.path),
        ErrorKind::NotADirectory => no_directory(),
        _ => anyhow::Error::new(error).context(format!("open {} in the container", from.path)),
    };
    // What must be a directory is one also by way of a link.
    let follow = follow_link || written.directory;
    let Resolved { path, kind } = resolve(root, &written.path, follow).map_err(missing)?;
    let Some(kind) = kind else {
        // With a link that is followed, that is what is not there.
        let missing = Path::new("/").join(&path);
        let missing = if follow_link {
            &missing
        } else {
            Path::new(from.path)
        };
        return Err(from.missing(&missing.display().to_string()));
    };
    let is_dir = kind == FileType::Directory;
    if written.directory && !is_dir {
        return Err(no_directory());
    }
    let called = written.name().as_bytes().to_vec();
    let open = |path: &Path| root.open_direct(path, OFlags::PATH | OFlags::DIRECTORY);
    let (dir, name) = if is_dir {
        (open(&path), Vec::new())
    } else {
        let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
        (open(path.parent().unwrap_or(&path)), name)
    };
    Ok(Found {
        dir: dir.map_err(missing)?,
        name,
        called,
        is_dir,
    })
}

/// Finds out what is where a copy goes to in a container; a link there is followed.
fn target(root: &Root, to: Place<'_>) -> Result<(Written, There)> {
    let mut written = to.written();
    // What cannot be found may still be made, or will fail when it is.
    let Ok(Resolved { path, kind }) = resolve(root, &written.path, true) else {
        return Ok((written, There::Nothing));
    };
    let there = match kind {
        None => There::Nothing,
        Some(FileType::Directory) => There::Directory,
        Some(FileType::RegularFile) if written.directory => There::Nothing,
        Some(FileType::RegularFile) => There::File,
        Some(other) => {
            let what = kind_name(other);
            return local(format!(
                "destination \"{}:{}\" must be a directory or a regular file: got a {what}",
                to.container, to.path
            ));
        }
    };
    written.path = Path::new("/").join(path);
    Ok((written, there))
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        _ => "special file",
    }
}

/// Returns the directory that gets a copy, without links, and who is to own what comes.
fn directory(
    root: &Root,
    container: &Container,
    to: Place<'_>,
    dir: &Path,
    options: CopyOptions,
) -> Result<(PathBuf, Owner)> {
    let shown = dir.display().to_string();
    let Resolved { path, kind } = match resolve(root, dir, true) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(to.missing(&shown)),
        found => found.with_context(|| format!("open {shown} in the container"))?,
    };
    match kind {
        Some(FileType::Directory) => {}
        Some(_) => return Err(error::invalid("extraction point is not a directory")),
        None => return Err(to.missing(&shown)),
    }
    let record = &container.record;
    check_writable(record, &path)?;
    let user = record.config.user.as_str();
    if !options.archive || user.is_empty() {
        return Ok((path, Owner::Kept));
    }
    let user = bring_up::find_user(root, user, &[])?;
    let owner = Owner::Of {
        uid: user.uid,
        gid: user.gid,
    };
    Ok((path, owner))
}

/// Finds what is to be copied from the host.
fn local_source(from: &Path, follow_link: bool) -> Result<Found> {
    let cwd = std::env::current_dir().context("find the working directory")?;
    let written = Written::new(from, &cwd);
    let missing = |error: &io::Error| {
        // With a link that is followed, that is what is not there.
        let link = std::fs::read_link(&written.path)
            .ok()
            .filter(|_| follow_link);
        let parent = written.path.parent().unwrap_or(&written.path);
        let shown = link.map_or_else(|| written.path.clone(), |link| parent.join(link));
        LocalError(format!("lstat {}: {}", shown.display(), error::text(error)))
    };
    let follow = follow_link || written.directory;
    let path = if follow {
        written.path.canonicalize().map_err(|e| missing(&e))?
    } else {
        written.path.clone()
    };
    let meta = path.symlink_metadata().map_err(|e| missing(&e))?;
    if written.directory && !meta.is_dir() {
        return local("not a directory");
    }
    if meta.file_type().is_socket() {
        let shown = written.path.display();
        return local(format!("{shown}: a socket cannot be copied"));
    }
    let (dir, name) = if meta.is_dir() {
        (path.as_path(), Vec::new())
    } else {
        let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
        (path.parent().unwrap_or(&path), name)
    };
    let dir = File::open(dir).map_err(|error| missing(&error))?.into();
    Ok(Found {
        dir,
        name,
        called: written.name().as_bytes().to_vec(),
        is_dir: meta.is_dir(),
    })
}

/// Finds out what is where a copy goes to on the host; a link there is followed.
fn local_target(to: &Path) -> Result<(Written, There)> {
    let cwd = std::env::current_dir().context("find the working directory")?;
    let mut written = Written::new(to, &cwd);
    let parent = written.path.parent().unwrap_or(&written.path);
    if !parent.exists() {
        return local(format!(
            "invalid output path: directory {:?} does not exist",
            parent.display().to_string()
        ));
    }
    match written.path.metadata() {
        Ok(meta) if meta.is_dir() => Ok((written, There::Directory)),
        Ok(meta) if meta.file_type().is_char_device() || meta.file_type().is_block_device() => {
            local(format!(
                "invalid output path: {:?} must be a directory or a regular file: got a device",
                written.path.display().to_string()
            ))
        }
        Ok(_) => {
            // A link keeps its place; what it leads to is replaced.
            written.path = written.path.canonicalize().context("follow a link")?;
            Ok((written, There::File))
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            local(format!("stat {}: not a directory", written.path.display()))
        }
        Err(_) => Ok((written, There::Nothing)),
    }
}
