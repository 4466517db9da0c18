//! Blobs by their digest (image-spec image-layout.md): manifests, configurations, and layers as they were received.
//!
//! A blob is there when it stands under its final name, and then it is complete and had its digest. It is written to
//! `ingest/` first, under the lock of its writer; what a writer that died left there is gone on with by the next one. A
//! document is on the disk when its name is; a layer's blob is not synced, see [`crate::image::layers`].

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::image::{Digest, DigestAlgorithm};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::Images;
use crate::error;
use crate::oci::digest::{self, Hasher};
use crate::oci::image::DOCUMENT_MAX_BYTES;
use crate::store::{Durability, FileLock, unique, write_atomic};
use crate::sys::limited;

/// How much of a blob is read at a time when it is only hashed.
const BUFFER_BYTES: usize = 256 << 10;

/// Returns where the blob of this digest is, or would be.
pub fn path(images: &Images, digest: &Digest) -> Result<PathBuf> {
    let (algorithm, hex) = digest::path_parts(digest)?;
    Ok(images.dirs().blobs(algorithm).join(hex))
}

/// Returns whether the blob is stored.
pub fn contains(images: &Images, digest: &Digest) -> Result<bool> {
    Ok(path(images, digest)?.exists())
}

/// Returns how many bytes the blob has; the error is of kind `NotFound` if it is not stored.
pub fn size(images: &Images, digest: &Digest) -> Result<u64> {
    let blob = open(images, digest)?;
    Ok(blob.metadata().context("stat a blob")?.len())
}

/// Opens a blob; the error is of kind `NotFound` if it is not stored.
pub fn open(images: &Images, digest: &Digest) -> Result<File> {
    match File::open(path(images, digest)?) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(error::not_found(format!("blob {digest} is not stored")))
        }
        other => other.with_context(|| format!("open the blob {digest}")),
    }
}

/// Reads a document and verifies its digest.
///
/// The error is of kind `NotFound` if it is not stored. Documents have at most [`DOCUMENT_MAX_BYTES`].
pub fn read(images: &Images, digest: &Digest) -> Result<Vec<u8>> {
    let file = open(images, digest)?;
    let bytes = limited::read_to_end(file, DOCUMENT_MAX_BYTES)
        .with_context(|| format!("read the blob {digest}"))?
        .with_context(|| format!("the blob {digest} is too large for a document"))?;
    let mut hasher = Hasher::like(digest)?;
    hasher.update(&bytes);
    ensure!(hasher.finish() == *digest, "the blob {digest} is damaged");
    Ok(bytes)
}

/// Stores a document and returns its digest; it survives a power cut once this has returned.
pub fn put(images: &Images, bytes: &[u8]) -> Result<Digest> {
    ensure!(
        bytes.len() as u64 <= DOCUMENT_MAX_BYTES,
        "a document of {} bytes is too large",
        bytes.len()
    );
    let digest = digest::sha256(bytes);
    // One that is there may have been cut by a power failure before its bytes were on the disk.
    if read(images, &digest).is_err() {
        write_atomic(&path(images, &digest)?, bytes, Durability::Synced)?;
    }
    Ok(digest)
}

/// Removes a blob by moving it to the trash; one that is not stored is no error. The caller holds the store's lock.
pub(crate) fn discard(images: &Images, digest: &Digest) -> Result<()> {
    let path = path(images, digest)?;
    match crate::store::discard(&path, &images.dirs().trash()) {
        Err(_) if !path.exists() => Ok(()),
        other => other.map(drop),
    }
}

/// Removes a blob that is damaged, so that it can be fetched again.
pub fn discard_damaged(images: &Images, digest: &Digest) -> Result<()> {
    // The collector is kept out.
    let _store = FileLock::shared(&images.dirs().lock(super::gc::STORE_LOCK))?;
    discard(images, digest)
}

/// Removes what is there of an incomplete blob, unless somebody is writing it.
pub fn forget_part(images: &Images, digest: &Digest) -> Result<()> {
    let path = part_path(images, digest)?;
    let context = || format!("remove {}", path.display());
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.with_context(context)?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(()),
        other => other.with_context(context)?,
    }
    let inode = file.metadata().with_context(context)?.ino();
    if std::fs::metadata(&path).is_ok_and(|named| named.ino() != inode) {
        return Ok(());
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(context),
        _ => Ok(()),
    }
}

/// Returns the digests of all blobs.
pub fn list(images: &Images) -> Result<Vec<Digest>> {
    let mut all = Vec::new();
    for algorithm in ["sha256", "sha512"] {
        for path in super::work::list(&images.dirs().blobs(algorithm))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Temporary files of documents have other names.
            if let Ok(digest) = digest::parse(&format!("{algorithm}:{name}")) {
                all.push(digest);
            }
        }
    }
    all.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
    Ok(all)
}

/// Makes a complete file on the same file system, which has this digest, a blob; one that is stored already stays.
pub(crate) fn adopt(images: &Images, from: &Path, digest: &Digest) -> Result<()> {
    let target = path(images, digest)?;
    match renameat_with(CWD, from, CWD, &target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => {
            std::fs::remove_file(from).with_context(|| format!("remove {}", from.display()))
        }
        Err(errno) => Err(errno).with_context(|| format!("store the blob {}", target.display())),
    }
}

/// A blob that is being written.
#[derive(Debug)]
pub struct Part {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    written: u64,
    expected: Option<(Digest, u64)>,
}

/// Begins to write the blob of `digest` and `size`, where a writer before may have stopped: see [`Part::offset`]. Returns
/// nothing if it is stored already.
///
/// While another process writes the same blob this waits for it, after one call of `waiting`.
pub fn begin(
    images: &Images,
    digest: &Digest,
    size: u64,
    waiting: &mut dyn FnMut(),
) -> Result<Option<Part>> {
    let path = part_path(images, digest)?;
    loop {
        if contains(images, digest)? {
            return Ok(None);
        }
        let file = open_part(&path)?;
        let context = || format!("lock {}", path.display());
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                waiting();
                rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            }
            other => other,
        }
        .with_context(context)?;
        // Whoever had it may have completed or removed it.
        let inode = file.metadata().with_context(context)?.ino();
        if std::fs::metadata(&path).is_ok_and(|named| named.ino() == inode) {
            let mut part = Part {
                file,
                path,
                hasher: Hasher::like(digest)?,
                written: 0,
                expected: Some((digest.clone(), size)),
            };
            part.resume()?;
            return Ok(Some(part));
        }
    }
}

fn part_path(images: &Images, digest: &Digest) -> Result<PathBuf> {
    let (algorithm, hex) = digest::path_parts(digest)?;
    let name = match algorithm {
        "sha256" => format!("{hex}.part"),
        other => format!("{other}-{hex}.part"),
    };
    Ok(images.dirs().ingest().join(name))
}

/// Begins to write a blob whose digest will only be known at its end; it is removed if it is not completed.
pub fn begin_unknown(images: &Images) -> Result<Part> {
    loop {
        let path = images
            .dirs()
            .ingest()
            .join(format!("new-{}.part", unique()));
        let file = open_part(&path)?;
        let context = || format!("lock {}", path.display());
        flock(&file, FlockOperation::LockExclusive).with_context(context)?;
        let metadata = file.metadata().with_context(context)?;
        if std::fs::metadata(&path).is_ok_and(|named| named.ino() == metadata.ino()) {
            // ext4 takes the truncation even of an empty file as a sign that it is being replaced: when it is closed all of it
            // goes to the disk, and the next fsync of anything waits for that.
            if metadata.len() > 0 {
                file.set_len(0).with_context(context)?;
            }
            return Ok(Part {
                file,
                path,
                hasher: Hasher::sha256(),
                written: 0,
                expected: None,
            });
        }
    }
}

impl Part {
    /// Returns how many bytes are there already; writing goes on behind them.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// Returns a reader of the bytes that are there.
    pub fn reader(&self) -> Result<impl Read + Send + use<>> {
        let file = File::open(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&self.file)
        ))
        .with_context(|| format!("open {}", self.path.display()))?;
        Ok(file.take(self.written))
    }

    /// Returns how it is hashed.
    pub(crate) fn algorithm(&self) -> DigestAlgorithm {
        match &self.expected {
            Some((digest, _)) => digest.algorithm().clone(),
            None => DigestAlgorithm::Sha256,
        }
    }

    /// Adds `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some((digest, size)) = &self.expected
            && self.written + bytes.len() as u64 > *size
        {
            bail!("the blob {digest} is larger than its {size} bytes");
        }
        let context = || format!("write {}", self.path.display());
        self.file.write_all(bytes).with_context(context)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Makes it a blob, and returns its digest and size.
    ///
    /// Fails if it is not complete, and then it can be gone on with; or if its digest is another, and then it is removed.
    pub fn complete(self, images: &Images) -> Result<(Digest, u64)> {
        let (part, digest, size) = self.verify()?;
        part.install(images, &digest)?;
        Ok((digest, size))
    }

    /// Makes it a blob that survives a power cut once this has returned, as documents must.
    pub fn complete_synced(self, images: &Images) -> Result<(Digest, u64)> {
        let context = || format!("sync {}", self.path.display());
        self.file.sync_data().with_context(context)?;
        let (digest, size) = self.complete(images)?;
        let path = path(images, &digest)?;
        if let Some(folder) = path.parent() {
            let folder = File::open(folder).and_then(|folder| folder.sync_all());
            folder.with_context(|| format!("sync the folder of {}", path.display()))?;
        }
        Ok((digest, size))
    }

    /// Says that nothing more is to come: returns the digest and the size if they are as expected.
    pub(crate) fn verify(mut self) -> Result<(Verified, Digest, u64)> {
        if let Some((digest, size)) = &self.expected
            && self.written != *size
        {
            bail!(
                "the blob {digest} ends after {} of {size} bytes",
                self.written
            );
        }
        let found = std::mem::replace(&mut self.hasher, Hasher::sha256()).finish();
        if let Some((expected, _)) = &self.expected
            && found != *expected
        {
            let expected = expected.clone();
            self.expected = None;
            bail!("filesystem layer verification failed for digest {expected}");
        }
        let size = self.written;
        // From here on it either gets its name or goes.
        self.expected = None;
        Ok((Verified(self), found, size))
    }

    /// Hashes what is there already, so that writing can go on.
    fn resume(&mut self) -> Result<()> {
        let context = || format!("resume {}", self.path.display());
        let length = self.file.metadata().with_context(context)?.len();
        if self
            .expected
            .as_ref()
            .is_some_and(|(_, size)| length > *size)
        {
            self.file.set_len(0).with_context(context)?;
            return Ok(());
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = self
                .file
                .read_at(&mut buffer, self.written)
                .with_context(context)?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
            self.written += count as u64;
        }
        self.file
            .seek(SeekFrom::Start(self.written))
            .with_context(context)?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nobody could go on with a blob that has no name.
        if self.expected.is_none()
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), "leave an incomplete blob: {error}");
        }
    }
}

/// A blob that has its digest and waits for its name; it is removed if it does not get it.
#[derive(Debug)]
pub(crate) struct Verified(Part);

impl Verified {
    /// Gives it the name of its digest; that another process was faster is no error.
    pub(crate) fn install(self, images: &Images, digest: &Digest) -> Result<()> {
        adopt(images, &self.0.path, digest)
    }
}

fn open_part(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::store;

    #[test]
    fn documents_are_verified_when_they_are_read() {
        let (_scratch, images) = store("blobs");
        let digest = put(&images, b"{}").unwrap();
        assert_eq!(read(&images, &digest).unwrap(), b"{}");
        assert_eq!(list(&images).unwrap(), std::slice::from_ref(&digest));
        std::fs::write(path(&images, &digest).unwrap(), "").unwrap();
        assert!(
            read(&images, &digest)
                .unwrap_err()
                .to_string()
                .contains("damaged")
        );
        put(&images, b"{}").unwrap();
        assert_eq!(read(&images, &digest).unwrap(), b"{}");
        discard(&images, &digest).unwrap();
        discard(&images, &digest).unwrap();
        let error = read(&images, &digest).unwrap_err();
        assert!(error::is(&error, error::Kind::NotFound));
    }

    #[test]
    fn an_interrupted_blob_is_gone_on_with() {
        let (_scratch, images) = store("resume");
        let digest = digest::sha256(b"hello world");
        let start = || begin(&images, &digest, 11, &mut || {}).unwrap().unwrap();
        let mut part = start();
        part.write(b"hello").unwrap();
        assert!(
            part.complete(&images)
                .unwrap_err()
                .to_string()
                .contains("5 of 11")
        );
        let mut part = start();
        assert_eq!(part.offset(), 5);
        let mut there = String::new();
        part.reader().unwrap().read_to_string(&mut there).unwrap();
        assert_eq!(there, "hello");
        assert!(part.write(b" world and more").is_err());
        part.write(b" world").unwrap();
        assert_eq!(part.complete(&images).unwrap(), (digest.clone(), 11));
        assert!(begin(&images, &digest, 11, &mut || {}).unwrap().is_none());
        assert!(
            super::super::work::list(&images.dirs().ingest())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_wrong_blob_is_thrown_away() {
        let (_scratch, images) = store("wrong");
        let digest = digest::sha256(b"right");
        let mut part = begin(&images, &digest, 5, &mut || {}).unwrap().unwrap();
        part.write(b"wrong").unwrap();
        let error = part.complete(&images).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("filesystem layer verification failed for digest {digest}")
        );
        let mut part = begin_unknown(&images).unwrap();
        part.write(b"x").unwrap();
        drop(part);
        assert!(
            super::super::work::list(&images.dirs().ingest())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn of_two_writers_one_waits() {
        let (_scratch, images) = store("writers");
        let digest = digest::sha256(b"x");
        let mut part = begin(&images, &digest, 1, &mut || {}).unwrap().unwrap();
        let (told, tell) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let other =
                scope.spawn(|| begin(&images, &digest, 1, &mut || told.send(()).unwrap()).unwrap());
            tell.recv().unwrap();
            part.write(b"x").unwrap();
            part.complete(&images).unwrap();
            assert!(other.join().unwrap().is_none());
        });
    }
}
