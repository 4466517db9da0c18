//! A container's upper directory → a new layer, in one walk.
//!
//! ```text
//! this thread                                    the other
//! walk · read small files · hash the archive ──► make the tree: members with small contents
//! hash large files from the copy ◄────────────── copy large files (reflink, copy_file_range)
//! ```
//!
//! The archive is never written: it is hashed as it would be, and the tree is made from the same members, so the layer is
//! what unpacking the archive would give. A large file is hashed from its copy, behind the copying; were it read twice from
//! a container that goes on writing, the digest would be of other bytes than the layer.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use anyhow::{Context as _, Result, anyhow};
use rustix::fs::{Mode, OFlags};

use super::Changed;
use crate::image::Images;
use crate::image::apply::{Content, Facts, Policy, Tree};
use crate::image::copy::copy;
use crate::image::gc::Lease;
use crate::image::layers::unpack::Staged;
use crate::image::layers::{Backing, Meta};
use crate::image::path::{as_path, is_within, show};
use crate::image::snapshot::overlay;
use crate::image::tarball::{Entry, Kind, tree, write};
use crate::image::work::WorkDir;
use crate::oci::digest::Hasher;
use crate::sys::rooted::Root;
use crate::sys::thread::with_own_umask;

/// Up to this size a file is read into memory and written from there; above, the kernel copies it.
const SMALL_BYTES: u64 = 64 << 10;
/// How many members may wait for the other thread; with small files that is at most 16 MiB.
const WAITING: usize = 256;
/// How much is hashed at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Makes a layer of what a container has changed; nothing if that is nothing.
///
/// `lease` gets the new layer before it is looked for in the store. The upper directory is only read.
pub fn commit(images: &Images, lease: &mut Lease, changed: Changed<'_>) -> Result<Option<Meta>> {
    let work = WorkDir::new(images.dirs())?;
    work.make("layer")?;
    let target = work.make("layer/root")?;
    let below = overlay::mount(changed.lowers, None)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = rustix::fs::open(changed.upper, flags, Mode::empty())
        .with_context(|| format!("open {}", changed.upper.display()))?;
    let excluded = changed.excluded()?;
    let below = Root::from_dir(below);
    let options = tree::Options {
        root: root_differs(&upper, &below)?,
        excluded: Some(&excluded),
        one_mount: false,
        plain: false,
        below: Some(below.as_fd()),
    };
    let (facts, sum) = std::thread::scope(|scope| -> Result<_> {
        let (send, receive) = sync_channel(WAITING);
        let (reply, replies) = channel();
        let target = &target;
        let maker = scope.spawn(move || make(target, receive, reply));
        let mut hash = Hash::new(&below, send, replies);
        let walked = tree::members(upper.as_fd(), options, &mut |entry, file| {
            hash.member(entry, file)
        });
        let sum = hash.finish();
        let made = maker
            .join()
            .map_err(|_| anyhow!("the other thread panicked"))?;
        // If the maker failed, the walk has only noticed that nobody listens.
        let facts = made?;
        walked?;
        Ok((facts, sum))
    })?;
    if facts.is_empty() {
        return Ok(None);
    }
    let (diff_id, tar_size) = sum;
    lease.add(std::slice::from_ref(&diff_id))?;
    let staged = Staged::made(work, facts);
    let meta = staged.install(images, &diff_id, (tar_size, Backing::Tree))?;
    Ok(Some(meta))
}

/// Returns whether the container has changed `/` itself.
fn root_differs(upper: &impl std::os::fd::AsFd, below: &Root) -> Result<bool> {
    let stat = |file: std::os::fd::BorrowedFd<'_>| rustix::fs::fstat(file).context("stat a root");
    let (now, before) = (stat(upper.as_fd())?, stat(below.as_fd())?);
    let key = |stat: &rustix::fs::Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
    Ok(key(&now) != key(&before))
}

/// A member on its way to the other thread.
enum Job {
    Small(Entry, Vec<u8>),
    Large(Entry, File),
}

/// What the other thread says about a large file.
enum Reply {
    /// The copy.
    Copy(File),
    /// It is final up to here.
    Until(u64),
    /// It is final.
    Done,
}

struct Hash<'a> {
    below: &'a Root,
    /// Gone once the walk is over.
    jobs: SyncSender<Job>,
    replies: Receiver<Reply>,
    hasher: Hasher,
    size: u64,
    /// Headers and small files, hashed together.
    block: Vec<u8>,
    buffer: Vec<u8>,
    /// Directories that have not changed themselves and wait for something in them that has.
    pending: Vec<Entry>,
}

impl Hash<'_> {
    fn new(below: &Root, jobs: SyncSender<Job>, replies: Receiver<Reply>) -> Hash<'_> {
        Hash {
            below,
            jobs,
            replies,
            hasher: Hasher::sha256(),
            size: 0,
            block: Vec::with_capacity(2 * BUFFER_BYTES),
            buffer: vec![0; BUFFER_BYTES],
            pending: Vec::new(),
        }
    }

    fn member(&mut self, entry: Entry, file: Option<File>) -> Result<()> {
        self.pending.retain(|dir| is_within(&entry.path, &dir.path));
        if self.is_as_before(&entry)? {
            self.pending.push(entry);
            return Ok(());
        }
        for dir in std::mem::take(&mut self.pending) {
            self.put(dir, None)?;
        }
        self.put(entry, file)
    }

    /// Returns whether the layers below have the same directory: it was only copied up for something in it.
    fn is_as_before(&self, entry: &Entry) -> Result<bool> {
        if entry.kind != Kind::Directory || entry.path == b"./" {
            return Ok(false);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let before = match self.below.open_direct(as_path(&entry.path), flags) {
            Ok(before) => before,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Ok(false),
                    _ => Err(error).with_context(|| format!("look for {:?}", show(&entry.path))),
                };
            }
        };
        Ok(tree::directory(before.as_fd(), entry.path.clone())? == *entry)
    }

    fn put(&mut self, entry: Entry, file: Option<File>) -> Result<()> {
        write::header(&mut self.block, &entry)?;
        let size = entry.size;
        match file {
            Some(file) if size > SMALL_BYTES => {
                self.flush(0);
                let path = entry.path.clone();
                self.send(Job::Large(entry, file))?;
                self.large(size)
                    .with_context(|| format!("copy {:?}", show(&path)))?;
            }
            Some(file) => {
                let content = small(&file, &entry)?;
                self.block.extend_from_slice(&content);
                self.send(Job::Small(entry, content))?;
            }
            None => self.send(Job::Small(entry, Vec::new()))?,
        }
        self.block
            .resize(self.block.len() + write::padding(size), 0);
        self.flush(BUFFER_BYTES);
        Ok(())
    }

    /// Hashes a large file from its copy.
    fn large(&mut self, size: u64) -> Result<()> {
        let Ok(Reply::Copy(copy)) = self.replies.recv() else {
            return Err(nobody());
        };
        let mut offset = 0;
        loop {
            let (end, done) = match self.replies.recv() {
                Ok(Reply::Until(end)) => (end, false),
                Ok(Reply::Done) => (size, true),
                Ok(Reply::Copy(_)) | Err(_) => return Err(nobody()),
            };
            while offset < end {
                let wanted = usize::try_from(end - offset).unwrap_or(BUFFER_BYTES);
                let wanted = wanted.min(self.buffer.len());
                let buffer = &mut self.buffer[..wanted];
                let count = copy.read_at(buffer, offset).context("read the copy")?;
                anyhow::ensure!(count > 0, "the copy is too short");
                self.hasher.update(&buffer[..count]);
                offset += count as u64;
            }
            if done {
                break;
            }
        }
        self.size += size;
        Ok(())
    }

    fn send(&self, job: Job) -> Result<()> {
        self.jobs.send(job).map_err(|_| nobody())
    }

    fn flush(&mut self, keep: usize) {
        if self.block.len() > keep {
            self.hasher.update(&self.block);
            self.size += self.block.len() as u64;
            self.block.clear();
        }
    }

    /// Returns the digest and the size of the archive, and lets the other thread come to its end.
    fn finish(mut self) -> (oci_spec::image::Digest, u64) {
        self.block.extend_from_slice(&write::END);
        self.flush(0);
        (self.hasher.finish(), self.size)
    }
}

/// Reads a small file; what it has lost since it was opened reads as NULs.
fn small(file: &File, entry: &Entry) -> Result<Vec<u8>> {
    let size = usize::try_from(entry.size).expect("it is small");
    let mut content = Vec::with_capacity(size);
    file.take(entry.size)
        .read_to_end(&mut content)
        .with_context(|| format!("read {:?}", show(&entry.path)))?;
    if content.len() < size {
        tracing::warn!(path = %show(&entry.path), "the file shrank while it was read");
        content.resize(size, 0);
    }
    Ok(content)
}

/// The other thread has stopped, and says why itself.
fn nobody() -> anyhow::Error {
    anyhow!("the other thread has stopped")
}

/// Makes the tree of the members that come.
fn make(target: &Path, jobs: Receiver<Job>, reply: Sender<Reply>) -> Result<Facts> {
    with_own_umask(move || {
        let mut tree = Tree::open(target, Policy::Layer)?;
        for job in jobs {
            match job {
                Job::Small(entry, content) => tree.put(&entry, Content::Bytes(&content))?,
                Job::Large(entry, from) => {
                    let size = entry.size;
                    let mut copy = |to: File| copy_large(&from, to, size, &reply);
                    tree.put(&entry, Content::Copy(&mut copy))?;
                }
            }
        }
        tree.finish()
    })
    .context("start a thread")?
}

fn copy_large(from: &File, to: File, size: u64, reply: &Sender<Reply>) -> Result<File> {
    let tell = |what: Reply| reply.send(what).map_err(|_| nobody());
    let hashed = to.try_clone().context("duplicate a descriptor")?;
    tell(Reply::Copy(hashed))?;
    copy(from, &to, size, &mut |end| tell(Reply::Until(end)))?;
    tell(Reply::Done)?;
    Ok(to)
}
