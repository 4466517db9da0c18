//! The members of an image archive, found without unpacking it.
//!
//! A file that can be sought in is read where it is: its headers are looked at once, and layers are read later, several at a
//! time. From a pipe everything comes once and in any order, so layers are kept until it is known what they are; they are
//! kept as blobs are, hashed, and become blobs by a rename.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, Read, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::image::Digest;

use crate::image::compress::{Compression, ahead, decompress, sniff};
use crate::image::path::{clean, join, show, split};
use crate::image::tarball::read::Reader;
use crate::image::tarball::{Entry, Kind};
use crate::image::work::WorkDir;
use crate::oci::digest::Hasher;

/// The largest document in an archive.
const DOCUMENT_MAX_BYTES: u64 = 8 << 20;
/// The most members an archive may have; an image has at most some hundreds.
const MEMBERS_MAX: usize = 1 << 20;
/// How many links one name may lead through.
const LINKS_MAX: usize = 16;

/// Where an archive comes from.
pub enum Input {
    /// A file with an uncompressed archive.
    Seekable(File),
    /// Anything else, compressed or not.
    Stream(Box<dyn Read + Send>),
}

impl Input {
    /// Returns a file as an input: read where it is, if it is a regular file that is not compressed.
    pub fn from_file(mut file: File) -> io::Result<Input> {
        // From a descriptor that somebody has read from, only what is left counts.
        if file.metadata()?.is_file() && file.stream_position()? == 0 {
            let mut start = [0; 6];
            let count = file.read_at(&mut start, 0)?;
            if sniff(&start[..count]) == Compression::None {
                return Ok(Input::Seekable(file));
            }
        }
        Ok(Input::Stream(Box::new(file)))
    }
}

/// The content of one member.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// In the archive.
    Section {
        file: Arc<File>,
        offset: u64,
        size: u64,
    },
    /// In memory.
    Document(Arc<[u8]>),
    /// In a file of its own, already hashed.
    Spooled {
        path: PathBuf,
        digest: Digest,
        size: u64,
    },
}

impl Content {
    /// Returns its bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Content::Section { size, .. } | Content::Spooled { size, .. } => *size,
            Content::Document(bytes) => bytes.len() as u64,
        }
    }

    /// Reads it as a whole.
    pub(super) fn document(&self) -> Result<Vec<u8>> {
        ensure!(
            self.size() <= DOCUMENT_MAX_BYTES,
            "a document of {} bytes is too large",
            self.size()
        );
        let mut bytes = Vec::new();
        self.reader()?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns a reader of it from its start.
    pub(super) fn reader(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match self {
            Content::Section { file, offset, size } => Box::new(Section {
                file: Arc::clone(file),
                offset: *offset,
                left: *size,
            }),
            Content::Document(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            Content::Spooled { path, .. } => {
                Box::new(File::open(path).with_context(|| format!("open {}", path.display()))?)
            }
        })
    }
}

/// Part of a file, read without its position, so that several are at once.
struct Section {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(out.len());
        let count = self.file.read_at(&mut out[..wanted], self.offset)?;
        if count == 0 && wanted > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends inside a member",
            ));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The members of one archive by their paths.
pub(super) struct Members {
    contents: HashMap<Vec<u8>, Content>,
    /// Symbolic and hard links: old archives have one layer under several names.
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// Of all members so far, replaced ones too.
    count: usize,
    /// Holds what was spooled.
    spool: Option<WorkDir>,
}

impl Members {
    /// Finds the members of an archive; `spool` is where those of a stream are kept.
    pub(super) fn find(input: Input, spool: WorkDir) -> Result<Members> {
        let mut members = Members {
            contents: HashMap::new(),
            links: HashMap::new(),
            count: 0,
            spool: None,
        };
        match input {
            Input::Seekable(file) => {
                let file = Arc::new(file);
                let mut reader = Reader::seekable(file.as_ref());
                while let Some(entry) = reader.next_entry().context("read the archive")? {
                    let content = Content::Section {
                        file: Arc::clone(&file),
                        offset: reader.position(),
                        size: reader.remaining(),
                    };
                    members.add(&entry, |_| Ok(content))?;
                }
            }
            Input::Stream(stream) => {
                let (_, stream) = decompress(stream).context("read the archive")?;
                ahead(stream, |stream| -> Result<()> {
                    let mut reader = Reader::new(stream);
                    while let Some(entry) = reader.next_entry().context("read the archive")? {
                        members.add(&entry, |n| spooled(&mut reader, &spool, n))?;
                    }
                    reader.drain().context("read the archive")?;
                    Ok(())
                })?;
                members.spool = Some(spool);
            }
        }
        Ok(members)
    }

    /// Returns the member at `path`, through links inside the archive.
    pub(super) fn get(&self, path: &str) -> Result<Option<&Content>> {
        let mut path = clean(path.as_bytes())?;
        for _ in 0..LINKS_MAX {
            if let Some(content) = self.contents.get(&path) {
                return Ok(Some(content));
            }
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => return Ok(None),
            }
        }
        bail!(
            "too many links on the way to {:?} in the archive",
            show(&path)
        )
    }

    /// Returns the member at `path`, which must be there.
    pub(super) fn need(&self, path: &str) -> Result<&Content> {
        self.get(path)?
            .with_context(|| format!("the archive has no {path:?}"))
    }

    /// Returns whether there is a member at `path`.
    pub(super) fn is_present(&self, path: &str) -> Result<bool> {
        Ok(self.get(path)?.is_some())
    }

    fn add(&mut self, entry: &Entry, content: impl FnOnce(usize) -> Result<Content>) -> Result<()> {
        let path = clean(&entry.path)?;
        self.count += 1;
        ensure!(
            self.count <= MEMBERS_MAX,
            "the archive has more than {MEMBERS_MAX} members"
        );
        match &entry.kind {
            Kind::File => {
                ensure!(
                    entry.sparse.is_none(),
                    "{:?} is stored with holes",
                    show(&path)
                );
                let content = content(self.count)?;
                self.links.remove(&path);
                self.contents.insert(path, content);
            }
            Kind::HardLink(target) => {
                self.contents.remove(&path);
                self.links.insert(path, clean(target)?);
            }
            Kind::Symlink(target) => {
                self.contents.remove(&path);
                let target = resolve(split(&path).0, target);
                self.links.insert(path, target);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns where a symlink in `dir` leads, seen from the root of the archive, which nothing leads out of.
fn resolve(dir: &[u8], target: &[u8]) -> Vec<u8> {
    let mut here = if target.starts_with(b"/") {
        Vec::new()
    } else {
        dir.to_vec()
    };
    for name in target.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => here = split(&here).0.to_vec(),
            name => here = join(&here, name),
        }
    }
    here
}

/// Keeps the current member of a stream: a document in memory, anything else in a file.
fn spooled(reader: &mut Reader<impl Read>, spool: &WorkDir, n: usize) -> Result<Content> {
    let size = reader.remaining();
    let start = reader.fill_buf().context("read the archive")?;
    let first = start.iter().find(|b| !b.is_ascii_whitespace());
    if size <= DOCUMENT_MAX_BYTES && matches!(first, None | Some(b'{' | b'[')) {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).context("read the archive")?;
        return Ok(Content::Document(bytes.into()));
    }
    let path = spool.path().join(n.to_string());
    let context = || format!("write {}", path.display());
    let mut file = File::create_new(&path).with_context(context)?;
    let mut hasher = Hasher::sha256();
    loop {
        let chunk = reader.fill_buf().context("read the archive")?;
        if chunk.is_empty() {
            break;
        }
        hasher.update(chunk);
        file.write_all(chunk).with_context(context)?;
        let count = chunk.len();
        reader.consume(count);
    }
    Ok(Content::Spooled {
        digest: hasher.finish(),
        path,
        size,
    })
}
