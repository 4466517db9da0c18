//! Unpacked layers: one directory per diff ID, made without its parent, unchangeable once it has its name.
//!
//! ```text
//! layers/HEX/root/        what overlayfs stacks
//! layers/HEX/meta.json    [`Meta`]
//! ```
//!
//! A layer is made in `tmp/` and renamed, so one that stands there is complete. It is not synced: that would cost a pull
//! more than unpacking does, and a crash is rare. Instead `meta.json` says in which boot the layer was made, and whether
//! [`heal::sync`] has run since, which a process does that each command leaves behind that has made layers
//! (`engine/settle.rs`). A layer of an earlier boot that was never synced is made again from its blob, whose digest is
//! verified, or its directory is compared with its digest, before it is used: what a power cut left of it is never seen.

pub mod heal;
pub mod outgoing;
pub mod unpack;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oci_spec::image::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use super::Images;
use super::apply::Facts;
use super::tarball::{pack, tree};
use super::work::list;
use crate::error;
use crate::oci::digest::{self, HashingWriter};
use crate::store;

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
    /// What it was compressed to when it was sent, one of each format.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<outgoing::Made>,
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

/// Returns whether a layer is stored and can be relied on.
pub fn contains(images: &Images, diff_id: &Digest) -> bool {
    match heal::ensure(images, diff_id, None) {
        Ok(_) => true,
        Err(error) => {
            if !error::is(&error, error::Kind::NotFound) {
                tracing::warn!(layer = %diff_id, "{}", error::line(&error));
            }
            false
        }
    }
}

/// Returns whether there is a directory for a layer, whatever is in it.
pub(crate) fn is_named(images: &Images, diff_id: &Digest) -> bool {
    dir(images, diff_id).is_ok_and(|dir| dir.exists())
}

/// Returns the backing that a descriptor in a manifest stands for.
pub fn backing_of(blob: &Descriptor) -> Backing {
    Backing::Blob {
        digest: blob.digest().clone(),
        size: blob.size(),
        media_type: blob.media_type().to_string(),
    }
}

/// Writes the archive that the directory of a layer gives, which is the layer if that backs it; returns its size.
pub(crate) fn write(images: &Images, meta: &Meta, output: &mut dyn io::Write) -> Result<u64> {
    pack_tree(&root(images, &meta.diff_id)?, meta.facts.root, output)
}

/// Writes the archive of the directory `root`, in which it itself is a member if `has_root`; returns its size.
fn pack_tree(root: &Path, has_root: bool, output: &mut dyn io::Write) -> Result<u64> {
    let root = File::open(root).with_context(|| format!("open {}", root.display()))?;
    let options = tree::Options {
        root: has_root,
        ..tree::Options::default()
    };
    Ok(pack::pack(root.as_fd(), options, output)?.size)
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

/// Compares a layer with its digest: the blob that backs it, or the directory.
pub fn check(images: &Images, meta: &Meta) -> Result<()> {
    match &meta.backing {
        Backing::Tree => {
            let mut hashing = HashingWriter::new(io::sink());
            write(images, meta, &mut hashing)?;
            verify(&hashing.finish().1, &meta.diff_id)
        }
        backing @ Backing::Blob { .. } => {
            unpack::stage_blob(images, &meta.diff_id, backing).map(drop)
        }
    }
}

/// What a comparison of a layer's directory with what it was made from has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both are as they were.
    Sound,
    /// The directory is not what its archive makes.
    Altered,
    /// The blob has another digest, or cannot be unpacked; says why.
    BlobDamaged(String),
}

/// Compares the directory of a layer, entry by entry, with what its blob makes, or with its digest if it has no blob.
pub fn compare(images: &Images, meta: &Meta) -> Result<Verdict> {
    let mut own = HashingWriter::new(io::sink());
    write(images, meta, &mut own)?;
    let (_, own, _) = own.finish();
    let found = match &meta.backing {
        Backing::Tree => meta.diff_id.clone(),
        backing @ Backing::Blob { .. } => {
            match unpack::stage_blob(images, &meta.diff_id, backing) {
                Ok((staged, _)) => staged.digest(meta.facts.root)?,
                Err(error) => return Ok(Verdict::BlobDamaged(error::line(&error))),
            }
        }
    };
    Ok(if found == own {
        Verdict::Sound
    } else {
        Verdict::Altered
    })
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::heal::{ensure, sync};
    use super::unpack::{Expected, Staged, receive, unpack};
    use super::*;
    use crate::image::apply::{Policy, apply};
    use crate::image::blobs::{self, Part};
    use crate::image::testing::{Archive, describe, store};
    use crate::image::work::WorkDir;
    use crate::store::Durability;

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
