//! Layers after a crash: which can be relied on, how the others are made again, and how they come to be on the disk.

use std::fs::File;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use oci_spec::image::{Descriptor, Digest};

use super::unpack::stage_blob;
use super::{Backing, Meta, backing_of, check, dir, discard, meta, names};
use crate::error;
use crate::image::{Images, blobs};
use crate::store::{self, Durability, FileLock};

/// Returns a layer that can be relied on, made again if a crash may have harmed it.
///
/// A layer that is not stored is unpacked from `blob`, its descriptor in the manifest, if that is stored. Otherwise the
/// error is of kind `NotFound`.
pub fn ensure(images: &Images, diff_id: &Digest, blob: Option<&Descriptor>) -> Result<Meta> {
    let found = meta(images, diff_id);
    match &found {
        Ok(meta) if is_sound(meta)? => return found,
        _ => {}
    }
    // Rare and slow: one process does it, the others find it done.
    let _lock = FileLock::exclusive(&images.dirs().lock("heal.lock"))?;
    let found = meta(images, diff_id);
    let backing = match found {
        Ok(meta) if is_sound(&meta)? => return Ok(meta),
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

/// Whether this process has made layers since it was asked last.
static MADE: AtomicBool = AtomicBool::new(false);

/// Notes that this process has made a layer, which is not on the disk yet.
pub(super) fn note_made() {
    MADE.store(true, Ordering::Relaxed);
}

/// Returns whether this process has made layers since it was asked last, so that [`sync`] has something to do.
pub fn take_made() -> bool {
    MADE.swap(false, Ordering::Relaxed)
}

/// Writes to the disk what unpacking left in memory, and notes it; returns how many layers that were.
///
/// Takes as long as the disk takes, so it is for a process that nobody waits for. One at a time does it, and the next one
/// does what has come since.
pub fn sync(images: &Images) -> Result<usize> {
    let _lock = FileLock::exclusive(&images.dirs().lock("sync.lock"))?;
    let mut pending = Vec::new();
    for name in names(images)? {
        let path = images.dirs().layer(&name).join("meta.json");
        if let Ok(meta) = store::read_json::<Meta>(&path)
            && !meta.synced
            && is_sound(&meta)?
        {
            pending.push(meta);
        }
    }
    if pending.is_empty() {
        return Ok(0);
    }
    let data = File::open(images.dirs().data()).context("open the data root")?;
    rustix::fs::syncfs(&data).context("sync the data root")?;
    let mut count = 0;
    for written in &pending {
        count += usize::from(note_synced(images, written)?);
    }
    Ok(count)
}

/// Notes that the layer that was `written` is on the disk, if it is still that one; returns whether it is.
fn note_synced(images: &Images, written: &Meta) -> Result<bool> {
    // Whoever notes something else of a layer holds it too.
    let _lock = FileLock::exclusive(&images.dirs().lock("heal.lock"))?;
    let Ok(mut now) = meta(images, &written.diff_id) else {
        return Ok(false);
    };
    if (&now.created, &now.boot_id) != (&written.created, &written.boot_id) {
        return Ok(false);
    }
    now.synced = true;
    let path = dir(images, &now.diff_id)?.join("meta.json");
    match store::write_json(&path, &now, Durability::Synced) {
        // It was removed meanwhile.
        Err(_) if !path.exists() => Ok(false),
        other => other.map(|()| true),
    }
}

/// Returns whether a layer is known to be whole: synced, or made in this boot, in which nothing could be lost.
pub(super) fn is_sound(meta: &Meta) -> Result<bool> {
    Ok(meta.synced || meta.boot_id == boot_id()?)
}

fn missing(diff_id: &Digest, why: &str) -> anyhow::Error {
    error::with_hint(
        error::not_found(format!("layer {diff_id} {why}")),
        "pull or load the image again",
    )
}

/// Makes a layer again; if its blob is damaged too, both go, so that the next pull finds neither and fetches them.
pub(crate) fn remake(images: &Images, diff_id: &Digest, backing: Backing) -> Result<Meta> {
    tracing::info!(layer = %diff_id, "making a layer again that may have been harmed");
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
