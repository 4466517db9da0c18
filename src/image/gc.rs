//! What is needed, and what goes.
//!
//! Needed is what the table of images names, what a container was made from (the caller says so), and what an operation
//! has on lease. Everything else is garbage. A lease is a file with digests, locked while the operation lives; who looks
//! for it when the lock can be taken finds a dead one.
//!
//! ```text
//! load, pull, commit   lease under the shared store.lock → look what is stored → fetch, unpack … → table → end of lease
//! collect              mark and rename to the trash, under the exclusive store.lock → delete, without a lock
//! ```
//!
//! So what was found stored cannot vanish before it is named, and nobody waits for a deletion. A process that is killed
//! leaves a lease without a lock, and garbage that the next collection finds.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use oci_spec::image::Digest;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::references::{self, Table};
use super::work::{list, tidy, tidy_old};
use super::{Image, Images, blobs, layers};
use crate::error;
use crate::oci::digest;
use crate::oci::image::{ImageConfig, chain_ids};
use crate::store::{self, FileLock, unique};

/// How long an incomplete blob waits for somebody who goes on with it.
const PART_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The lock of the store: shared by those who need what they see, exclusive for those who remove.
pub(crate) const STORE_LOCK: &str = "store.lock";

/// Keeps what it names from being collected, until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: File,
    digests: Vec<Digest>,
    lock: PathBuf,
}

impl Lease {
    /// Takes a lease on blobs, layers (by diff ID) and images (by id, with all that belongs to them).
    ///
    /// What is stored when this returns stays stored; so look only afterwards.
    pub fn take(images: &Images, digests: &[Digest]) -> Result<Lease> {
        let lock = images.dirs().lock(STORE_LOCK);
        let _store = FileLock::shared(&lock)?;
        let path = images.dirs().leases().join(unique());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("lock {}", path.display()))?;
        let mut lease = Lease {
            path,
            file,
            digests: digests.to_vec(),
            lock: lock.clone(),
        };
        lease.write()?;
        Ok(lease)
    }

    /// Takes a lease on an image and all that belongs to it.
    pub fn on_image(images: &Images, image: &Image) -> Result<Lease> {
        let mut digests = vec![image.id.clone()];
        if let Some(manifest) = &image.manifest {
            digests.push(manifest.digest().clone());
        }
        Lease::take(images, &digests)
    }

    /// Adds to it.
    pub fn add(&mut self, digests: &[Digest]) -> Result<()> {
        let _store = FileLock::shared(&self.lock)?;
        self.digests.extend_from_slice(digests);
        self.write()
    }

    /// Written in place, because the lock is on this file; nobody reads it while the store's lock is shared.
    fn write(&mut self) -> Result<()> {
        let context = || format!("write {}", self.path.display());
        let bytes = serde_json::to_vec(&self.digests).with_context(context)?;
        self.file.write_all_at(&bytes, 0).with_context(context)?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), "leave a lease: {error}");
        }
    }
}

/// What a collection has moved to the trash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Diff IDs of layers, as hexadecimal digits.
    pub layers: Vec<String>,
    /// Documents and layers as they were received.
    pub blobs: Vec<Digest>,
    /// Bytes of the layers as docker counts them.
    pub size: u64,
}

/// Moves everything that nobody needs to the trash.
///
/// `in_use` returns the ids of the images of all containers; it is called while nobody can make another one from an image
/// without a lease. What is in the trash takes its space until [`empty_trash`] or the next operation that changes the store.
pub fn collect(
    images: &Images,
    in_use: &mut dyn FnMut() -> Result<Vec<Digest>>,
) -> Result<Collected> {
    let _store = FileLock::exclusive(&images.dirs().lock(STORE_LOCK))?;
    let leased = leased(images)?;
    let used = in_use()?;
    sweep(images, &references::read(images)?, &used, &leased)
}

/// Deletes what is in the trash, and what dead processes left in progress. Takes no lock.
pub fn empty_trash(images: &Images) -> Result<()> {
    tidy(images.dirs())?;
    remove_dead_leases(images)
}

/// What nobody needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Diff IDs of layers, as hexadecimal digits.
    pub layers: Vec<String>,
    /// Directories of top layers.
    pub tops: Vec<PathBuf>,
    /// Documents and layers as they were received.
    pub blobs: Vec<Digest>,
}

/// Returns what [`collect`] would move to the trash, without moving it; `used` are the images of all containers.
pub fn garbage(images: &Images, used: &[Digest]) -> Result<Garbage> {
    let _store = FileLock::exclusive(&images.dirs().lock(STORE_LOCK))?;
    let leased = leased(images)?;
    unneeded(images, &references::read(images)?, used, &leased)
}

/// As [`empty_trash`], but leaves what somebody may be deleting just now; cheap if there is nothing to do.
pub fn remove_relics(images: &Images) -> Result<()> {
    tidy_old(images.dirs())?;
    remove_dead_leases(images)
}

fn remove_dead_leases(images: &Images) -> Result<()> {
    let dead = |path: &PathBuf| {
        let lock = FlockOperation::NonBlockingLockExclusive;
        File::open(path).is_ok_and(|file| flock(&file, lock).is_ok())
    };
    if list(&images.dirs().leases())?.iter().any(dead) {
        // It may also be one that is just being taken: under this lock there is none of these.
        let _store = FileLock::exclusive(&images.dirs().lock(STORE_LOCK))?;
        leased(images)?;
    }
    Ok(())
}

/// Moves to the trash what neither the table nor a container nor a lease needs.
///
/// The leases are to be read first, then the images of containers, then the table: an operation ends its lease only after
/// it has made a container or an entry of the table, so what it keeps is seen in one place or the other.
pub(crate) fn sweep(
    images: &Images,
    table: &Table,
    used: &[Digest],
    leased: &[Digest],
) -> Result<Collected> {
    let garbage = unneeded(images, table, used, leased)?;
    let trash = images.dirs().trash();
    let mut collected = Collected::default();
    for name in garbage.layers {
        collected.size += layer_bytes(images, &name);
        store::discard(&images.dirs().layer(&name), &trash)?;
        collected.layers.push(name);
    }
    for path in garbage.tops {
        store::discard(&path, &trash)?;
    }
    for digest in garbage.blobs {
        blobs::discard(images, &digest)?;
        collected.blobs.push(digest);
    }
    sweep_parts(images, &trash)?;
    Ok(collected)
}

/// Returns the bytes of a layer, given by the digits of its diff ID, as docker counts them; one that cannot be read has none.
pub(crate) fn layer_bytes(images: &Images, name: &str) -> u64 {
    let path = images.dirs().layer(name).join("meta.json");
    store::read_json::<layers::Meta>(&path).map_or(0, |meta| meta.facts.size)
}

/// Returns what neither the table nor a container nor a lease needs; moves nothing.
pub(crate) fn unneeded(
    images: &Images,
    table: &Table,
    used: &[Digest],
    leased: &[Digest],
) -> Result<Garbage> {
    let mut needed = Needed::default();
    for record in &table.records {
        needed.image(images, &record.id);
        needed.manifest(images, record.manifest.digest());
    }
    for id in used.iter().chain(leased) {
        needed.digest(images, id);
    }
    let is_needed = |path: &PathBuf| file_name(path).is_some_and(|name| needed.tops.contains(name));
    Ok(Garbage {
        layers: (layers::names(images)?.into_iter())
            .filter(|name| !needed.layers.contains(name))
            .collect(),
        tops: (list(&images.dirs().tops())?.into_iter())
            .filter(|path| !is_needed(path))
            .collect(),
        blobs: (blobs::list(images)?.into_iter())
            .filter(|digest| !needed.blobs.contains(digest))
            .collect(),
    })
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

/// Everything that something needed is made of.
#[derive(Default)]
struct Needed {
    blobs: HashSet<Digest>,
    layers: HashSet<String>,
    tops: HashSet<String>,
}

impl Needed {
    /// Marks a digest of which nothing is known: a blob of any sort, or a layer.
    fn digest(&mut self, images: &Images, digest: &Digest) {
        self.blobs.insert(digest.clone());
        self.layer(images, digest);
        self.image(images, digest);
        self.manifest(images, digest);
    }

    /// Marks the configuration of an image, its layers, and what they are backed by.
    fn image(&mut self, images: &Images, id: &Digest) {
        self.blobs.insert(id.clone());
        let Some(config) = document::<ImageConfig>(images, id) else {
            return;
        };
        for diff_id in &config.rootfs.diff_ids {
            self.layer(images, diff_id);
        }
        let chain = chain_ids(&config.rootfs.diff_ids).pop();
        let name = super::snapshot::top_name(chain.as_ref());
        self.tops.insert(name.to_owned());
    }

    /// Marks a manifest and what it names.
    fn manifest(&mut self, images: &Images, digest: &Digest) {
        self.blobs.insert(digest.clone());
        let Some(manifest) = document::<oci_spec::image::ImageManifest>(images, digest) else {
            return;
        };
        self.blobs.insert(manifest.config().digest().clone());
        let layers = manifest.layers().iter();
        self.blobs
            .extend(layers.map(|layer| layer.digest().clone()));
    }

    fn layer(&mut self, images: &Images, diff_id: &Digest) {
        let Ok((_, hex)) = digest::path_parts(diff_id) else {
            return;
        };
        if self.layers.insert(hex.to_owned())
            && let Ok(meta) = layers::meta(images, diff_id)
            && let layers::Backing::Blob { digest, .. } = meta.backing
        {
            self.blobs.insert(digest);
        }
    }
}

/// Reads a stored document; nothing if it is not one, is damaged or not there.
fn document<T: serde::de::DeserializeOwned>(images: &Images, digest: &Digest) -> Option<T> {
    // Layers have any size, and reading them here would keep everybody waiting.
    let small = blobs::size(images, digest).ok()? <= crate::oci::image::DOCUMENT_MAX_BYTES;
    let bytes = small.then(|| blobs::read(images, digest).ok()).flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// Returns what living operations need, and removes the leases of dead ones.
pub(crate) fn leased(images: &Images) -> Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for path in list(&images.dirs().leases())? {
        let context = || format!("read {}", path.display());
        let file = match File::open(&path) {
            // It has just ended.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.with_context(context)?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => std::fs::remove_file(&path).or_else(|error| {
                let gone = error.kind() == std::io::ErrorKind::NotFound;
                gone.then_some(()).ok_or(error)
            }),
            Err(Errno::WOULDBLOCK) => match store::read_json::<Vec<Digest>>(&path) {
                Ok(names) => {
                    digests.extend(names);
                    Ok(())
                }
                // It has ended since it was opened.
                Err(error) if error::is(&error, error::Kind::NotFound) => Ok(()),
                Err(error) => return Err(error),
            },
            Err(errno) => Err(errno.into()),
        }
        .with_context(context)?;
    }
    Ok(digests)
}

/// Moves incomplete blobs to the trash that nobody has written for a day.
fn sweep_parts(images: &Images, trash: &Path) -> Result<()> {
    for path in list(&images.dirs().ingest())? {
        let Ok(file) = File::open(&path) else {
            continue;
        };
        let age = file.metadata().and_then(|meta| meta.modified());
        let age = age.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        let old = age.is_ok_and(|age| age > PART_KEPT);
        // Those without a digest nobody can go on with, once their writer is dead.
        let nameless = file_name(&path).is_some_and(|name| name.starts_with("new-"));
        if (old || nameless) && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            store::discard(&path, trash)?;
        }
    }
    Ok(())
}
