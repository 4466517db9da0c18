//! Unpacked layers: one directory per diff ID, made without its parent, unchangeable once it has its name.
//!
//! ```text
//! layers/HEX/root/        what overlayfs stacks
//! layers/HEX/meta.json    [`Meta`]
//! ```
//!
//! A layer is made in `tmp/` and renamed, so one that stands there is complete. It is not synced: that would cost a pull
//! more than unpacking does, and a crash is rare. Instead `meta.json` says in which boot the layer was made, and whether
//! [`sync`] has run since, which a front starts in a process of its own after it has answered. A layer of an earlier boot
//! that was never synced is made again from its blob, whose digest is verified, or its directory is compared with its
//! digest, before it is used: what a power cut left of it is never seen.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use oci_spec::image::{Descriptor, Digest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::Images;
use super::apply::{Facts, Policy, apply};
use super::blobs::{self, Part};
use super::compress::{Compression, ahead, decompress};
use super::tarball::tree;
use super::work::{WorkDir, list};
use crate::error;
use crate::oci::digest::{self, Hasher, HashingReader, HashingWriter};
use crate::store::{self, Durability, FileLock};

/// The version of `meta.json` and of what unpacking makes.
const FORMAT: u32 = 1;

/// What is known of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// [`FORMAT`].
    format: u32,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of the uncompressed archive.
    pub tar_size: u64,
    /// What unpacking has shown.
    #[serde(flatten)]
    pub facts: Facts,
    /// What the layer can be made again from.
    pub backing: Backing,
    /// When it was made here, RFC 3339.
    pub created: String,
    /// The boot in which it was made or last verified.
    boot_id: String,
    /// Whether it is known to be on the disk.
    synced: bool,
}

/// What gives back the exact archive of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// The bytes that were received.
    Blob {
        /// Of the bytes as they are stored.
        digest: Digest,
        /// Of the bytes as they are stored.
        size: u64,
        /// As the manifest has it, or as it looks.
        media_type: String,
    },
    /// The directory, by [`crate::image::tarball::tree`].
    Tree,
}

/// Returns the directory that overlayfs is given for a layer.
pub fn root(images: &Images, diff_id: &Digest) -> Result<PathBuf> {
    Ok(dir(images, diff_id)?.join("root"))
}

/// Returns what is known of a layer, without doubting it; the error is of kind `NotFound` if it is not stored.
pub fn meta(images: &Images, diff_id: &Digest) -> Result<Meta> {
    let meta: Meta = store::read_json(&dir(images, diff_id)?.join("meta.json"))?;
    anyhow::ensure!(
        meta.diff_id == *diff_id && meta.format == FORMAT,
        "the layer {diff_id} is damaged"
    );
    Ok(meta)
}

/// Returns a layer that can be relied on, made again if a crash may have harmed it.
///
/// A layer that is not stored is unpacked from `blob`, its descriptor in the manifest, if that is stored. Otherwise the
/// error is of kind `NotFound`.
pub fn ensure(images: &Images, diff_id: &Digest, blob: Option<&Descriptor>) -> Result<Meta> {
    let found = meta(images, diff_id);
    match &found {
        Ok(meta) if meta.synced || meta.boot_id == boot_id()? => return found,
        _ => {}
    }
    // Rare and slow: one process does it, the others find it done.
    let _lock = FileLock::exclusive(&images.dirs().lock("heal.lock"))?;
    let found = meta(images, diff_id);
    let backing = match found {
        Ok(meta) if meta.synced || meta.boot_id == boot_id()? => return Ok(meta),
        Ok(meta) if meta.backing == Backing::Tree => return verify_tree(images, meta),
        Ok(meta) => Some(meta.backing),
        Err(_) => None,
    };
    let from_manifest = || {
        let blob = blob.filter(|blob| blobs::contains(images, blob.digest()).unwrap_or(false))?;
        Some(backing_of(blob))
    };
    match backing.or_else(from_manifest) {
        Some(backing) => remake(images, diff_id, backing),
        None => Err(missing(diff_id, "is not stored")),
    }
}

/// Returns whether a layer is stored and can be relied on.
pub fn contains(images: &Images, diff_id: &Digest) -> bool {
    match ensure(images, diff_id, None) {
        Ok(_) => true,
        Err(error) => {
            if !error::is(&error, error::Kind::NotFound) {
                tracing::warn!(layer = %diff_id, "{}", error::line(&error));
            }
            false
        }
    }
}

/// Returns the backing that a descriptor in a manifest stands for.
pub fn backing_of(blob: &Descriptor) -> Backing {
    Backing::Blob {
        digest: blob.digest().clone(),
        size: blob.size(),
        media_type: blob.media_type().to_string(),
    }
}

/// Stores and unpacks a layer in one pass: `input` is what `part` still lacks.
///
/// The blob and the layer are there when this returns; fails, and leaves neither, if one of both has another digest than
/// `part` and `expected` say. Old archives name no diff ID; then it is what is found.
pub fn receive(
    images: &Images,
    mut part: Part,
    input: impl Read + Send,
    expected: Expected<'_>,
) -> Result<Meta> {
    let covered = expected
        .diff_id
        .is_none_or(|id| part.algorithm() == *id.algorithm());
    let replay = part.reader()?;
    let tee = Tee {
        input,
        part: &mut part,
    };
    let staged = Staged::make(images, replay.chain(tee), (expected.diff_id, covered))?;
    let (blob, digest, size) = part.verify()?;
    let found = staged.diff_id.clone().unwrap_or_else(|| digest.clone());
    if let Some(diff_id) = expected.diff_id {
        verify(&found, diff_id)?;
    }
    let media_type = match expected.media_type {
        Some(media_type) => media_type.to_owned(),
        None => staged.media_type(),
    };
    let tar_size = staged.tar_size.unwrap_or(size);
    blob.install(images, &digest)?;
    let backing = Backing::Blob {
        digest,
        size,
        media_type,
    };
    staged.install(images, &found, (tar_size, backing))
}

/// What is known of a layer before it is received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// As the configuration has it; nothing takes what comes.
    pub diff_id: Option<&'a Digest>,
    /// As the manifest has it; nothing tells it by the bytes.
    pub media_type: Option<&'a str>,
}

/// Unpacks a layer from a stored blob, whose digest is verified on the way.
pub fn unpack(images: &Images, diff_id: &Digest, backing: Backing) -> Result<Meta> {
    let (staged, tar_size) = stage_blob(images, diff_id, &backing)?;
    staged.install(images, diff_id, (tar_size, backing))
}

/// Unpacks a layer from a blob that was just stored and hashed, read through `input`.
pub(crate) fn unpack_from(
    images: &Images,
    diff_id: &Digest,
    (blob, size): (&Digest, u64),
    media_type: Option<String>,
    input: impl Read + Send,
) -> Result<Meta> {
    let covered = blob.algorithm() == diff_id.algorithm();
    let staged = Staged::make(images, input, (Some(diff_id), covered))?;
    verify(staged.diff_id.as_ref().unwrap_or(blob), diff_id)?;
    let tar_size = staged.tar_size.unwrap_or(size);
    let backing = Backing::Blob {
        digest: blob.clone(),
        size,
        media_type: media_type.unwrap_or_else(|| staged.media_type()),
    };
    staged.install(images, diff_id, (tar_size, backing))
}

/// Writes the archive that the directory of a layer gives, which is the layer if that backs it; returns its size.
pub(crate) fn write(images: &Images, meta: &Meta, output: &mut dyn io::Write) -> Result<u64> {
    let root = root(images, &meta.diff_id)?;
    let root = File::open(&root).with_context(|| format!("open {}", root.display()))?;
    let options = tree::Options {
        root: meta.facts.root,
        ..tree::Options::default()
    };
    Ok(tree::write(root.as_fd(), options, output)?.size)
}

/// A layer that is unpacked, and neither verified nor visible.
pub(crate) struct Staged {
    work: WorkDir,
    facts: Facts,
    compression: Compression,
    /// Digest and size of the uncompressed archive; nothing if it was not compressed and the caller hashes it anyway.
    diff_id: Option<Digest>,
    tar_size: Option<u64>,
}

impl Staged {
    /// Unpacks `input`, compressed or not, and reads it to its end.
    ///
    /// What comes out is hashed as `diff_id` is, unless it is what went in and the caller's own hash has it `covered`.
    fn make(
        images: &Images,
        input: impl Read + Send,
        (diff_id, covered): (Option<&Digest>, bool),
    ) -> Result<Staged> {
        let work = WorkDir::new(images.dirs())?;
        work.make("layer")?;
        let root = work.make("layer/root")?;
        let (compression, stream) = decompress(input).context("read the layer")?;
        let hasher = match diff_id {
            _ if compression == Compression::None && covered => None,
            Some(diff_id) => Some(Hasher::like(diff_id)?),
            None => Some(Hasher::sha256()),
        };
        let (facts, counted) = ahead(stream, |stream| -> Result<_> {
            let Some(hasher) = hasher else {
                return Ok((apply(stream, &root, Policy::Layer)?, None));
            };
            let mut reader = HashingReader::new(stream, hasher);
            let facts = apply(&mut reader, &root, Policy::Layer)?;
            Ok((facts, Some(reader.finish())))
        })?;
        let (diff_id, tar_size) = counted.unzip();
        Ok(Staged {
            work,
            facts,
            compression,
            diff_id,
            tar_size,
        })
    }

    /// Takes over a layer that was made in `work`, in `layer/root`.
    pub(crate) fn made(work: WorkDir, facts: Facts) -> Staged {
        Staged {
            work,
            facts,
            compression: Compression::None,
            diff_id: None,
            tar_size: None,
        }
    }

    /// Gives the layer its name; that another process was faster is no error.
    pub(crate) fn install(
        self,
        images: &Images,
        diff_id: &Digest,
        (tar_size, backing): (u64, Backing),
    ) -> Result<Meta> {
        let meta = Meta {
            format: FORMAT,
            diff_id: diff_id.clone(),
            tar_size,
            facts: self.facts,
            backing,
            created: jiff::Timestamp::now().to_string(),
            boot_id: boot_id()?.to_owned(),
            synced: false,
        };
        let made = self.work.path().join("layer");
        store::write_json(&made.join("meta.json"), &meta, Durability::Cached)?;
        let target = dir(images, diff_id)?;
        loop {
            match renameat_with(CWD, &made, CWD, &target, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(meta),
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(errno) => {
                    return Err(errno)
                        .with_context(|| format!("install the layer {}", target.display()));
                }
            }
            match self::meta(images, diff_id) {
                Ok(theirs) if theirs.synced || theirs.boot_id == meta.boot_id => return Ok(theirs),
                // Ours is sound, theirs may not be.
                _ => discard(images, diff_id)?,
            }
        }
    }

    fn media_type(&self) -> String {
        let suffix = match self.compression {
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
            // The image-spec has no types for the others.
            Compression::None | Compression::Xz | Compression::Bzip2 => "",
        };
        format!("application/vnd.oci.image.layer.v1.tar{suffix}")
    }
}

/// Moves a layer to the trash; one that is not stored is no error. The caller keeps the collector out.
pub(crate) fn discard(images: &Images, diff_id: &Digest) -> Result<()> {
    let dir = dir(images, diff_id)?;
    match store::discard(&dir, &images.dirs().trash()) {
        Err(_) if !dir.exists() => Ok(()),
        other => other.map(drop),
    }
}

/// Returns the names of all layers: hexadecimal digits of their diff IDs.
pub(crate) fn names(images: &Images) -> Result<Vec<String>> {
    let paths = list(&images.dirs().layers())?;
    let names = paths.iter().filter_map(|path| path.file_name());
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

/// Writes to the disk what unpacking left in memory, and notes it; returns how many layers that were.
///
/// Takes as long as the disk takes, so it is for a process that nobody waits for. One at a time does it.
pub fn sync(images: &Images) -> Result<usize> {
    let Some(_lock) = FileLock::try_exclusive(&images.dirs().lock("sync.lock"))? else {
        return Ok(0);
    };
    let mut pending = Vec::new();
    for name in names(images)? {
        let path = images.dirs().layer(&name).join("meta.json");
        if let Ok(meta) = store::read_json::<Meta>(&path)
            && !meta.synced
            && meta.boot_id == boot_id()?
        {
            pending.push((path, meta));
        }
    }
    if pending.is_empty() {
        return Ok(0);
    }
    let data = File::open(images.dirs().data()).context("open the data root")?;
    rustix::fs::syncfs(&data).context("sync the data root")?;
    let count = pending.len();
    for (path, mut meta) in pending {
        meta.synced = true;
        let written = store::write_json(&path, &meta, Durability::Synced);
        // It may have been removed meanwhile.
        if path.exists() {
            written?;
        }
    }
    Ok(count)
}

/// Compares a layer with its digest: the blob that backs it, or the directory.
pub fn check(images: &Images, meta: &Meta) -> Result<()> {
    match &meta.backing {
        Backing::Tree => {
            let mut hashing = HashingWriter::new(io::sink());
            write(images, meta, &mut hashing)?;
            verify(&hashing.finish().1, &meta.diff_id)
        }
        backing @ Backing::Blob { .. } => stage_blob(images, &meta.diff_id, backing).map(drop),
    }
}

fn dir(images: &Images, diff_id: &Digest) -> Result<PathBuf> {
    let (_, hex) = digest::path_parts(diff_id)?;
    Ok(images.dirs().layer(hex))
}

fn verify(found: &Digest, expected: &Digest) -> Result<()> {
    if found != expected {
        bail!("filesystem layer verification failed for digest {expected}");
    }
    Ok(())
}

fn missing(diff_id: &Digest, why: &str) -> anyhow::Error {
    error::with_hint(
        error::not_found(format!("layer {diff_id} {why}")),
        "pull or load the image again",
    )
}

/// Unpacks a blob into a stage and verifies both digests; returns the size of the archive too.
fn stage_blob(images: &Images, diff_id: &Digest, backing: &Backing) -> Result<(Staged, u64)> {
    let Backing::Blob { digest, size, .. } = backing else {
        bail!("the layer {diff_id} has no blob");
    };
    let blob = blobs::open(images, digest)?;
    let mut reader = HashingReader::new(blob, Hasher::like(digest)?);
    let covered = digest.algorithm() == diff_id.algorithm();
    let staged = Staged::make(images, &mut reader, (Some(diff_id), covered))?;
    let (found, read) = reader.finish();
    verify(&found, digest)?;
    verify(staged.diff_id.as_ref().unwrap_or(&found), diff_id)?;
    anyhow::ensure!(
        read == *size,
        "the blob {digest} has {read} of {size} bytes"
    );
    let tar_size = staged.tar_size.unwrap_or(read);
    Ok((staged, tar_size))
}

/// Makes a layer again; if its blob is damaged too, both go, so that the next pull finds neither and fetches them.
fn remake(images: &Images, diff_id: &Digest, backing: Backing) -> Result<Meta> {
    tracing::info!(layer = %diff_id, "making a layer again that a crash may have harmed");
    let made = stage_blob(images, diff_id, &backing);
    // The collector is kept out while one layer takes the place of the other.
    let _store = FileLock::shared(&images.dirs().lock("store.lock"))?;
    discard(images, diff_id)?;
    match made {
        Ok((staged, tar_size)) => staged.install(images, diff_id, (tar_size, backing)),
        Err(error) => {
            if let Backing::Blob { digest, .. } = &backing {
                blobs::discard(images, digest)?;
            }
            tracing::warn!(layer = %diff_id, "{}", error::line(&error));
            Err(missing(diff_id, "was damaged"))
        }
    }
}

fn verify_tree(images: &Images, mut meta: Meta) -> Result<Meta> {
    if let Err(error) = check(images, &meta) {
        let _store = FileLock::shared(&images.dirs().lock("store.lock"))?;
        discard(images, &meta.diff_id)?;
        tracing::warn!(layer = %meta.diff_id, "{}", error::line(&error));
        return Err(missing(&meta.diff_id, "was damaged"));
    }
    boot_id()?.clone_into(&mut meta.boot_id);
    let path = dir(images, &meta.diff_id)?.join("meta.json");
    store::write_json(&path, &meta, Durability::Cached)?;
    Ok(meta)
}

/// Returns what tells this boot from every other.
pub(crate) fn boot_id() -> Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .context("read the id of this boot")?;
    Ok(ID.get_or_init(|| id.trim().to_owned()))
}

/// Stores what is read through it.
struct Tee<'a, R> {
    input: R,
    part: &'a mut Part,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.part
            .write(&out[..count])
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::image::testing::{Archive, describe, store};

    fn layer() -> Vec<u8> {
        let mut archive = Archive::default();
        archive
            .dir("d", 0o755)
            .file("d/f", "content")
            .file(".wh.x", "");
        archive.end()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn part(images: &Images, blob: &[u8]) -> Part {
        let digest = digest::sha256(blob);
        blobs::begin(images, &digest, blob.len() as u64, &mut || {})
            .unwrap()
            .unwrap()
    }

    fn receive_bytes(images: &Images, blob: &[u8], diff_id: &Digest) -> Result<Meta> {
        let expected = Expected {
            diff_id: Some(diff_id),
            media_type: None,
        };
        receive(images, part(images, blob), blob, expected)
    }

    /// Makes a layer look as if it had been made before a crash.
    fn crash(images: &Images, diff_id: &Digest) {
        let path = dir(images, diff_id).unwrap().join("meta.json");
        let mut meta: Meta = store::read_json(&path).unwrap();
        meta.boot_id = "another".to_owned();
        meta.synced = false;
        store::write_json(&path, &meta, Durability::Cached).unwrap();
    }

    #[test]
    fn blob_and_layer_are_made_in_one_pass() {
        for compress in [gzip, <[u8]>::to_vec] {
            let (_scratch, images) = store("receive");
            let blob = compress(&layer());
            let diff_id = digest::sha256(&layer());
            let meta = receive_bytes(&images, &blob, &diff_id).unwrap();
            assert_eq!(meta.tar_size, layer().len() as u64);
            assert_eq!((meta.facts.entries, meta.facts.size), (3, 7));
            assert!(blobs::contains(&images, &digest::sha256(&blob)).unwrap());
            assert!(contains(&images, &diff_id));
            check(&images, &meta).unwrap();
            // Once more from the blob alone.
            discard(&images, &diff_id).unwrap();
            assert!(!contains(&images, &diff_id));
            assert_eq!(
                unpack(&images, &diff_id, meta.backing).unwrap().facts,
                meta.facts
            );
        }
    }

    #[test]
    fn nothing_is_left_of_a_layer_with_another_digest() {
        let (_scratch, images) = store("mismatch");
        let wanted = digest::sha256(b"something else");
        for blob in [gzip(&layer()), layer()] {
            let error = receive_bytes(&images, &blob, &wanted)
                .unwrap_err()
                .to_string();
            assert_eq!(
                error,
                format!("filesystem layer verification failed for digest {wanted}")
            );
        }
        let mut broken = gzip(&layer());
        let length = broken.len();
        broken[length / 2] ^= 0xff;
        assert!(receive_bytes(&images, &broken, &digest::sha256(&layer())).is_err());
        assert!(names(&images).unwrap().is_empty());
        assert!(blobs::list(&images).unwrap().is_empty());
        assert!(list(&images.dirs().tmp()).unwrap().is_empty());
    }

    #[test]
    fn an_interrupted_layer_is_gone_on_with() {
        let (_scratch, images) = store("resume");
        let blob = gzip(&layer());
        let diff_id = digest::sha256(&layer());
        part(&images, &blob).write(&blob[..40]).unwrap();
        let rest = part(&images, &blob);
        assert_eq!(rest.offset(), 40);
        let expected = Expected {
            diff_id: Some(&diff_id),
            media_type: Some("application/x"),
        };
        let meta = receive(&images, rest, &blob[40..], expected).unwrap();
        assert!(
            matches!(meta.backing, Backing::Blob { media_type, .. } if media_type == "application/x")
        );
    }

    #[test]
    fn of_many_who_unpack_one_layer_all_get_it() {
        let (_scratch, images) = store("race");
        let blob = gzip(&layer());
        let diff_id = digest::sha256(&layer());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let part = blobs::begin_unknown(&images).unwrap();
                    let meta = receive(&images, part, &blob[..], Expected::default()).unwrap();
                    assert_eq!(meta.diff_id, diff_id);
                });
            }
        });
        assert_eq!(names(&images).unwrap().len(), 1);
        assert!(list(&images.dirs().tmp()).unwrap().is_empty());
        assert!(list(&images.dirs().ingest()).unwrap().is_empty());
    }

    #[test]
    fn after_a_crash_a_layer_is_made_again_or_given_up() {
        let (_scratch, images) = store("crash");
        let blob = gzip(&layer());
        let diff_id = digest::sha256(&layer());
        receive_bytes(&images, &blob, &diff_id).unwrap();
        let file = root(&images, &diff_id).unwrap().join("d/f");
        let tree = describe(&root(&images, &diff_id).unwrap());
        // In this boot nothing is doubted.
        std::fs::write(&file, "").unwrap();
        ensure(&images, &diff_id, None).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"");
        crash(&images, &diff_id);
        ensure(&images, &diff_id, None).unwrap();
        assert_eq!(describe(&root(&images, &diff_id).unwrap()), tree);
        // What was synced is not doubted either.
        assert_eq!(sync(&images).unwrap(), 1);
        assert_eq!(sync(&images).unwrap(), 0);
        assert!(meta(&images, &diff_id).unwrap().synced);
        // A damaged blob goes with its layer, so that the next pull fetches both.
        crash(&images, &diff_id);
        let digest = digest::sha256(&blob);
        std::fs::write(blobs::path(&images, &digest).unwrap(), "").unwrap();
        let error = ensure(&images, &diff_id, None).unwrap_err();
        assert!(error::is(&error, error::Kind::NotFound) && error::hint(&error).is_some());
        assert!(!blobs::contains(&images, &digest).unwrap());
        assert!(names(&images).unwrap().is_empty());
    }

    #[test]
    fn a_layer_of_a_directory_is_compared_with_its_digest() {
        let (_scratch, images) = store("tree");
        let diff_id = digest::sha256(&layer());
        let work = WorkDir::new(images.dirs()).unwrap();
        work.make("layer").unwrap();
        let root = work.make("layer/root").unwrap();
        let facts = apply(&layer()[..], &root, Policy::Layer).unwrap();
        let archive = crate::image::testing::pack(&root, false);
        let diff_id_of_tree = digest::sha256(&archive);
        assert_ne!(diff_id, diff_id_of_tree, "whiteouts go first in ours");
        let size = archive.len() as u64;
        Staged::made(work, facts)
            .install(&images, &diff_id_of_tree, (size, Backing::Tree))
            .unwrap();
        crash(&images, &diff_id_of_tree);
        ensure(&images, &diff_id_of_tree, None).unwrap();
        crash(&images, &diff_id_of_tree);
        let file = self::root(&images, &diff_id_of_tree).unwrap().join("d/f");
        std::fs::write(file, "other").unwrap();
        assert!(ensure(&images, &diff_id_of_tree, None).is_err());
        assert!(names(&images).unwrap().is_empty());
    }
}
