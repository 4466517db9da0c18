//! A blob → a layer: stored, unpacked and verified in one pass, then given its name.

use std::io::{self, BufRead, Read};

use anyhow::{Context as _, Result, bail};
use oci_spec::image::Digest;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::heal::{boot_id, is_sound, note_made};
use super::{Backing, FORMAT, Meta, dir, discard, meta, pack_tree, verify};
use crate::image::Images;
use crate::image::apply::{Facts, Policy, apply};
use crate::image::blobs::{self, Part};
use crate::image::compress::{Compression, ahead, decompress_buffered};
use crate::image::work::WorkDir;
use crate::oci::digest::{Hasher, HashingReader, HashingWriter};
use crate::store::{self, Durability};

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
    // One receives, hashes and stores, the next inflates, the last hashes and unpacks: each costs about as much. What is not
    // compressed has two of them.
    let staged = ahead(replay.chain(tee), |input| {
        Staged::make(images, input, (expected.diff_id, covered))
    })?;
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
    let staged = ahead(input, |input| {
        Staged::make(images, input, (Some(diff_id), covered))
    })?;
    verify(staged.diff_id.as_ref().unwrap_or(blob), diff_id)?;
    let tar_size = staged.tar_size.unwrap_or(size);
    let backing = Backing::Blob {
        digest: blob.clone(),
        size,
        media_type: media_type.unwrap_or_else(|| staged.media_type()),
    };
    staged.install(images, diff_id, (tar_size, backing))
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
    /// Unpacks `input`, compressed or not, which is read ahead, and reads it to its end.
    ///
    /// What comes out is hashed as `diff_id` is, unless it is what went in and the caller's own hash has it `covered`.
    fn make(
        images: &Images,
        input: impl BufRead + Send,
        (diff_id, covered): (Option<&Digest>, bool),
    ) -> Result<Staged> {
        let work = WorkDir::new(images.dirs())?;
        work.make("layer")?;
        let root = work.make("layer/root")?;
        let (compression, stream) = decompress_buffered(input).context("read the layer")?;
        let hasher = match diff_id {
            _ if compression == Compression::None && covered => None,
            Some(diff_id) => Some(Hasher::like(diff_id)?),
            None => Some(Hasher::sha256()),
        };
        let (facts, counted) = match hasher {
            // The caller has read ahead, and nothing else is to be done than to unpack.
            None => (apply(stream, &root, Policy::Layer)?, None),
            Some(hasher) => ahead(stream, |stream| -> Result<_> {
                let mut reader = HashingReader::new(stream, hasher);
                let facts = apply(&mut reader, &root, Policy::Layer)?;
                Ok((facts, Some(reader.finish())))
            })?,
        };
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

    /// Returns the digest of the archive that its directory gives.
    pub(super) fn digest(&self, has_root: bool) -> Result<Digest> {
        let mut hashing = HashingWriter::new(io::sink());
        pack_tree(&self.work.path().join("layer/root"), has_root, &mut hashing)?;
        Ok(hashing.finish().1)
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
            made: Vec::new(),
            created: jiff::Timestamp::now().to_string(),
            boot_id: boot_id()?.to_owned(),
            synced: false,
        };
        let made = self.work.path().join("layer");
        store::write_json(&made.join("meta.json"), &meta, Durability::Cached)?;
        let target = dir(images, diff_id)?;
        loop {
            match renameat_with(CWD, &made, CWD, &target, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    note_made();
                    return Ok(meta);
                }
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(errno) => {
                    return Err(errno)
                        .with_context(|| format!("install the layer {}", target.display()));
                }
            }
            match self::meta(images, diff_id) {
                Ok(theirs) if is_sound(&theirs)? => return Ok(theirs),
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

/// Unpacks a blob into a stage and verifies both digests; returns the size of the archive too.
pub(super) fn stage_blob(
    images: &Images,
    diff_id: &Digest,
    backing: &Backing,
) -> Result<(Staged, u64)> {
    let Backing::Blob { digest, size, .. } = backing else {
        bail!("the layer {diff_id} has no blob");
    };
    let blob = blobs::open(images, digest)?;
    let mut reader = HashingReader::new(blob, Hasher::like(digest)?);
    let covered = digest.algorithm() == diff_id.algorithm();
    let staged = ahead(&mut reader, |input| {
        Staged::make(images, input, (Some(diff_id), covered))
    })?;
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
