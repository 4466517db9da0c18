//! Layers as registries get them: compressed, though they may be stored as plain archives or as directories alone.
//!
//! The blob is made when it is wanted, and is nobody's: the next collection takes it. What it was is noted with the layer, so
//! that the next push only asks whether the registry has it. The same layer gives the same blob each time.

use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::{Deserialize, Serialize};

use super::{Backing, Meta, dir, meta};
use crate::image::compress::{Compression, sniff};
use crate::image::deflate::{self, Format};
use crate::image::gc::Lease;
use crate::image::{Images, blobs};
use crate::oci::digest::HashingWriter;
use crate::store::{self, Durability, FileLock};

/// How much is gathered before it is stored.
const BUFFER_BYTES: usize = 256 << 10;

/// A compressed form of a layer that was made here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Of the compressed bytes.
    pub size: u64,
    /// `application/vnd.oci.image.layer.v1.tar+gzip`.
    pub media_type: String,
}

impl Made {
    fn descriptor(&self) -> Descriptor {
        let media_type = MediaType::from(self.media_type.as_str());
        Descriptor::new(media_type, self.size, self.digest.clone())
    }
}

/// Returns as what a layer is sent, if that is known without compressing it.
pub fn known(images: &Images, meta: &Meta, format: Format) -> Result<Option<Descriptor>> {
    if let Backing::Blob { digest, size, .. } = &meta.backing {
        let compression = match blobs::open(images, digest) {
            Ok(blob) => {
                let mut start = [0; 6];
                let count = std::os::unix::fs::FileExt::read_at(&blob, &mut start, 0)
                    .with_context(|| format!("read the blob {digest}"))?;
                sniff(&start[..count])
            }
            Err(error) => return Err(error),
        };
        if matches!(compression, Compression::Gzip | Compression::Zstd) {
            let format = match compression {
                Compression::Zstd => Format::Zstd,
                _ => Format::Gzip,
            };
            let media_type = MediaType::from(format.media_type());
            return Ok(Some(Descriptor::new(media_type, *size, digest.clone())));
        }
    }
    let mut made = meta.made.iter();
    let wanted = made.find(|made| made.media_type == format.media_type());
    Ok(wanted.map(Made::descriptor))
}

/// Returns the blob of a layer that is not stored compressed, after making it; `lease` keeps it.
///
/// `progress` is told how many bytes of the layer were compressed.
pub fn make(
    images: &Images,
    meta: &Meta,
    format: Format,
    lease: &Mutex<Lease>,
    progress: &mut dyn FnMut(u64),
) -> Result<Descriptor> {
    loop {
        let part = blobs::begin_unknown(images)?;
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, PartWriter(part));
        deflate::compress(format, &mut output, |output| {
            let mut counted = Counted {
                output,
                count: 0,
                progress,
            };
            write(images, meta, &mut counted)
        })
        .with_context(|| format!("compress the layer {}", meta.diff_id))?;
        let part = output.into_inner().context("store the compressed layer")?;
        let (digest, size) = part.0.complete(images)?;
        lease
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(std::slice::from_ref(&digest))?;
        // Between the two a collection may have taken it.
        if !blobs::contains(images, &digest)? {
            continue;
        }
        let made = Made {
            digest,
            size,
            media_type: format.media_type().to_owned(),
        };
        let descriptor = made.descriptor();
        note(images, &meta.diff_id, made)?;
        return Ok(descriptor);
    }
}

/// Writes the archive of a layer, and checks that it is the layer.
fn write(images: &Images, meta: &Meta, output: &mut dyn Write) -> Result<()> {
    let mut hashing = HashingWriter::new(output);
    match &meta.backing {
        Backing::Tree => drop(super::write(images, meta, &mut hashing)?),
        Backing::Blob { digest, .. } => {
            let blob = blobs::open(images, digest)?;
            let (_, mut archive) = crate::image::compress::decompress(blob)?;
            io::copy(&mut archive, &mut hashing)?;
        }
    }
    let (_, found, _) = hashing.finish();
    let is_sha256 = *meta.diff_id.algorithm() == oci_spec::image::DigestAlgorithm::Sha256;
    ensure!(
        !is_sha256 || found == meta.diff_id,
        "filesystem layer verification failed for digest {}",
        meta.diff_id
    );
    Ok(())
}

/// Notes with a layer what was made of it.
fn note(images: &Images, diff_id: &Digest, made: Made) -> Result<()> {
    let _lock = FileLock::exclusive(&images.dirs().lock("heal.lock"))?;
    let mut meta = meta(images, diff_id)?;
    meta.made
        .retain(|known| known.media_type != made.media_type);
    meta.made.push(made);
    let path = dir(images, diff_id)?.join("meta.json");
    store::write_json(&path, &meta, Durability::Cached)
}

struct PartWriter(blobs::Part);

impl Write for PartWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        written.map_err(|error| io::Error::other(format!("{error:#}")))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for PartWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartWriter")
    }
}

struct Counted<'a> {
    output: &'a mut dyn Write,
    count: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.count += count as u64;
        (self.progress)(self.count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
