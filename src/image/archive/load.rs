//! `load`: an archive of images → the store.
//!
//! Layers that are stored already are not read; the others are unpacked several at a time, the largest first, each blob
//! and its layer in one pass. The table names an image when all of it is stored, so whatever goes wrong leaves no part of
//! an image to be seen.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context as _, Result, anyhow};
use oci_spec::image::{Descriptor, Digest, MediaType};

pub use super::members::Input;
use super::members::{Content, Members};
use super::plan::{self, Planned, PlannedLayer};
use crate::error;
use crate::image::create::{self, Registration, register};
use crate::image::gc::Lease;
use crate::image::layers::unpack::Expected;
use crate::image::layers::{self, Meta};
use crate::image::work::{WorkDir, tidy};
use crate::image::{Images, blobs};
use crate::oci::digest;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// How to load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Only images for this platform. Default: all; and of an index the one that fits this machine best.
    pub platform: Option<Platform>,
}

/// One line of what load has done: a name of an image, or an image without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The image's id.
    pub id: Digest,
    /// A name that it got.
    pub reference: Option<Reference>,
    /// The image that had the name before, and is "renamed to empty string" for people.
    pub replaced: Option<Digest>,
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its diff ID; nothing in archives that are older than those.
    pub layer: Option<Digest>,
    /// Bytes of the archive that were read for it.
    pub current: u64,
    /// Bytes it has in the archive.
    pub total: u64,
}

/// Stores the images of an archive and returns their names in the order of the archive.
///
/// Reads archives of docker of any age, and OCI layouts. `progress` is called for every quarter of a megabyte or more.
pub fn load(
    images: &Images,
    input: Input,
    options: &LoadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    tidy(images.dirs())?;
    let members = Members::find(input, WorkDir::new(images.dirs())?)?;
    let mut planned = plan::read(&members, options.platform.as_ref())?;
    let mut lease = Lease::take(images, &needed(&planned))?;
    let found = unpack(images, &planned, progress)?;
    for image in &mut planned {
        complete(images, image, &found, &mut lease)?;
    }
    let mut loaded = Vec::new();
    for image in &planned {
        loaded.extend(store(images, &mut lease, image, &planned)?);
    }
    Ok(loaded)
}

/// Everything that the images are made of, as far as the archive says it.
fn needed(planned: &[Planned]) -> Vec<Digest> {
    let mut digests = Vec::new();
    for image in planned {
        digests.push(digest::sha256(&image.raw_config));
        digests.extend(
            image
                .manifest
                .iter()
                .map(|(bytes, _)| digest::sha256(bytes)),
        );
        digests.extend(image.parent.clone());
        for layer in &image.layers {
            digests.extend(layer.diff_id.clone());
            digests.extend(layer.blob.as_ref().map(|blob| blob.digest().clone()));
        }
    }
    digests
}

/// What tells a layer from others: its diff ID, or for old archives where it is.
fn key(layer: &PlannedLayer) -> String {
    match (&layer.diff_id, &layer.content) {
        (Some(diff_id), _) => diff_id.to_string(),
        (None, Some(Content::Section { offset, .. })) => offset.to_string(),
        (None, Some(Content::Spooled { path, .. })) => path.display().to_string(),
        (None, Some(Content::Document(bytes))) => digest::sha256(bytes).to_string(),
        (None, None) => String::new(),
    }
}

/// Unpacks every layer that is not stored; returns the layers by their keys.
fn unpack(
    images: &Images,
    planned: &[Planned],
    progress: &mut dyn FnMut(Progress),
) -> Result<HashMap<String, Meta>> {
    let mut found = HashMap::new();
    let mut jobs: Vec<(String, &PlannedLayer)> = Vec::new();
    for layer in planned.iter().flat_map(|image| &image.layers) {
        let key = key(layer);
        if found.contains_key(&key) || jobs.iter().any(|(known, _)| *known == key) {
            continue;
        }
        match stored(images, layer)? {
            Some(meta) => drop(found.insert(key, meta)),
            None => jobs.push((key, layer)),
        }
    }
    // The longest first, so that no processor is left alone with it at the end.
    let size = |layer: &PlannedLayer| layer.content.as_ref().map_or(0, Content::size);
    jobs.sort_by_key(|(_, layer)| std::cmp::Reverse(size(layer)));
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = processors.min(jobs.len());
    let queue = Mutex::new(VecDeque::from(jobs));
    std::thread::scope(|scope| -> Result<()> {
        let (send, receive) = channel();
        let running: Vec<_> = (0..workers)
            .map(|_| {
                let send = send.clone();
                let queue = &queue;
                scope.spawn(move || work(images, queue, &send))
            })
            .collect();
        drop(send);
        for step in receive {
            progress(step);
        }
        for worker in running {
            let done = worker.join().map_err(|_| anyhow!("a thread panicked"))?;
            found.extend(done?);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Returns a layer that is stored already; one that the archive lacks must be.
fn stored(images: &Images, layer: &PlannedLayer) -> Result<Option<Meta>> {
    let Some(diff_id) = &layer.diff_id else {
        return Ok(None);
    };
    match layers::heal::ensure(images, diff_id, layer.blob.as_ref()) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error::is(&error, error::Kind::NotFound) && layer.content.is_some() => {
            Ok(None)
        }
        Err(error) => Err(error).context("the archive lacks a layer"),
    }
}

/// Unpacks layers until none is left; after a failure nobody begins another.
fn work(
    images: &Images,
    queue: &Mutex<VecDeque<(String, &PlannedLayer)>>,
    progress: &Sender<Progress>,
) -> Result<Vec<(String, Meta)>> {
    let mut done = Vec::new();
    loop {
        let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let Some((key, layer)) = next else {
            return Ok(done);
        };
        match receive(images, layer, progress) {
            Ok(meta) => done.push((key, meta)),
            Err(error) => {
                if let Ok(mut queue) = queue.lock() {
                    queue.clear();
                }
                return Err(error);
            }
        }
    }
}

fn receive(images: &Images, layer: &PlannedLayer, progress: &Sender<Progress>) -> Result<Meta> {
    let content = layer
        .content
        .as_ref()
        .context("the archive lacks a layer")?;
    let size = content.size();
    let counted = Counted {
        input: content.reader()?,
        progress,
        at: Progress {
            layer: layer.diff_id.clone(),
            current: 0,
            total: size,
        },
    };
    let expected = Expected {
        diff_id: layer.diff_id.as_ref(),
        media_type: layer.blob.as_ref().map(|blob| blob.media_type().as_ref()),
    };
    if let (Content::Spooled { path, digest, .. }, Some(diff_id)) = (content, expected.diff_id) {
        // It has its digest, and only needs its name.
        if layer
            .blob
            .as_ref()
            .is_none_or(|blob| blob.digest() == digest)
        {
            blobs::adopt(images, path, digest)?;
            let media_type = expected.media_type.map(str::to_owned);
            return layers::unpack::unpack_from(
                images,
                diff_id,
                (digest, size),
                media_type,
                counted,
            );
        }
    }
    let begun = match &layer.blob {
        Some(blob) => blobs::begin(images, blob.digest(), blob.size(), &mut || {})?,
        None => Some(blobs::begin_unknown(images)?),
    };
    let Some(part) = begun else {
        // The blob is stored, the layer is not.
        let blob = layer.blob.as_ref().context("a blob without a digest")?;
        let diff_id = expected.diff_id.context("a blob without a layer")?;
        return layers::unpack::unpack(images, diff_id, layers::backing_of(blob));
    };
    let mut counted = counted;
    // What a process before has stored of it is not read again.
    io::copy(&mut (&mut counted).take(part.offset()), &mut io::sink())
        .context("read the archive")?;
    let received = layers::unpack::receive(images, part, counted, expected);
    if received.is_err()
        && let Some(blob) = &layer.blob
        && let Err(error) = blobs::forget_part(images, blob.digest())
    {
        // What has come so far is in the archive all the same, and the disk may be full.
        tracing::warn!("{}", crate::error::line(&error));
    }
    received
}

/// Reports what is read through it.
struct Counted<'a> {
    input: Box<dyn Read + Send>,
    progress: &'a Sender<Progress>,
    at: Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        const STEP_BYTES: u64 = 256 << 10;
        let count = self.input.read(out)?;
        let before = self.at.current / STEP_BYTES;
        self.at.current += count as u64;
        if self.at.current / STEP_BYTES > before || self.at.current == self.at.total {
            // Nobody listens any more only after a failure elsewhere.
            drop(self.progress.send(self.at.clone()));
        }
        Ok(count)
    }
}

/// Fills in what an old archive could not say before its layers were unpacked.
fn complete(
    images: &Images,
    image: &mut Planned,
    found: &HashMap<String, Meta>,
    lease: &mut Lease,
) -> Result<()> {
    for layer in &mut image.layers {
        let meta = found.get(&key(layer)).context("a layer was not unpacked")?;
        if layer.diff_id.is_none() {
            image.config.rootfs.diff_ids.push(meta.diff_id.clone());
            layer.diff_id = Some(meta.diff_id.clone());
            lease.add(std::slice::from_ref(&meta.diff_id))?;
            // Before the lease a collection may have taken it.
            layers::meta(images, &meta.diff_id).context("a layer was removed; load again")?;
        }
    }
    if image.raw_config.is_empty() {
        image.raw_config = serde_json::to_vec(&image.config).context("encode the configuration")?;
    }
    Ok(())
}

/// Stores the documents of an image and names it.
fn store(
    images: &Images,
    lease: &mut Lease,
    image: &Planned,
    all: &[Planned],
) -> Result<Vec<Loaded>> {
    let id = digest::sha256(&image.raw_config);
    let manifest = manifest(images, image, &id)?;
    lease.add(&[id.clone(), digest::sha256(&manifest.0)])?;
    blobs::put(images, &image.raw_config)?;
    // As docker does: a parent counts if it came along.
    let parent = image.parent.clone().filter(|parent| {
        all.iter()
            .any(|other| digest::sha256(&other.raw_config) == *parent)
    });
    let replaced = register(
        images,
        Registration {
            manifest: create::store_manifest(images, &manifest.0, manifest.1)?,
            references: image.references.clone(),
            parent,
            ..Registration::new(id.clone())
        },
    )?;
    if image.references.is_empty() {
        return Ok(vec![Loaded {
            id,
            reference: None,
            replaced: None,
        }]);
    }
    let named = image.references.iter().zip(replaced);
    Ok(named
        .map(|(reference, replaced)| Loaded {
            id: id.clone(),
            reference: Some(reference.clone()),
            replaced,
        })
        .collect())
}

/// Returns the archive's own manifest if all of its blobs are stored, or one of what is stored.
fn manifest(images: &Images, image: &Planned, id: &Digest) -> Result<(Vec<u8>, MediaType)> {
    let stored = |layer: &PlannedLayer| {
        let blob = layer.blob.as_ref();
        blob.is_some_and(|blob| blobs::contains(images, blob.digest()).unwrap_or(false))
    };
    if let Some((bytes, media_type)) = &image.manifest
        && image.layers.iter().all(stored)
    {
        return Ok((bytes.clone(), media_type.clone()));
    }
    let descriptors: Vec<Descriptor> = image
        .layers
        .iter()
        .filter_map(|layer| layer.diff_id.as_ref())
        .map(|diff_id| Ok(create::descriptor(&layers::meta(images, diff_id)?)))
        .collect::<Result<_>>()?;
    let bytes = create::encode_manifest(id, image.raw_config.len() as u64, &descriptors)?;
    Ok((bytes, MediaType::ImageManifest))
}

/// Loads the archive in `file`.
pub fn load_file(
    images: &Images,
    file: File,
    options: &LoadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    let input = Input::from_file(file).context("read the archive")?;
    load(images, input, options, progress)
}
