//! Parts of an image from a registry into the store: layers, several at a time and each in one pass from the connection to
//! the directory; and documents.
//!
//! Whoever begins with a blob has its lock ([`blobs::begin`]), so of several pulls that need it one fetches it and the
//! others find it. What is there of one that was interrupted is read first, and the rest is asked for.

use std::collections::VecDeque;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use oci_spec::image::{Descriptor, Digest};

use crate::docker::progress::Progress;
use crate::error;
use crate::image::layers::unpack::{Expected, receive};
use crate::image::{Images, blobs, layers};
use crate::oci::digest;
use crate::oci::image::DOCUMENT_MAX_BYTES;
use crate::registry::failure::Failure;
use crate::registry::source::{Source, Step};

/// How often progress is told at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How often a layer is fetched whose bytes are not those that were promised.
const FETCHES: u32 = 2;

/// A layer of a manifest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer<'a> {
    /// As the manifest has it.
    pub blob: &'a Descriptor,
    /// As the configuration has it.
    pub diff_id: &'a Digest,
}

/// Returns the beginning of a digest, by which people tell layers.
pub(crate) fn short(digest: &Digest) -> &str {
    let hex = digest.digest();
    hex.get(..12).unwrap_or(hex)
}

/// Fetches what is missing of `wanted`, at most `at_once` at a time; the caller has all of it on lease.
///
/// A failure to reach the registry is a [`Failure`] in the chain.
pub(crate) fn layers(
    images: &Images,
    source: &Source,
    wanted: &[Layer<'_>],
    at_once: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let mut jobs: Vec<Layer<'_>> = Vec::new();
    for layer in wanted {
        let id = short(layer.blob.digest());
        if jobs
            .iter()
            .any(|job| job.blob.digest() == layer.blob.digest())
        {
            continue;
        }
        if is_stored(images, layer)? {
            progress(Progress::layer(id, "Already exists"));
        } else {
            progress(Progress::layer(id, "Pulling fs layer"));
            jobs.push(*layer);
        }
    }
    for job in jobs.iter().skip(at_once) {
        progress(Progress::layer(short(job.blob.digest()), "Waiting"));
    }
    let workers = at_once.clamp(1, jobs.len().max(1));
    let queue = Mutex::new(VecDeque::from(jobs));
    std::thread::scope(|scope| {
        let (send, receive) = channel();
        let running: Vec<_> = (0..workers)
            .map(|_| {
                let (send, queue) = (send.clone(), &queue);
                scope.spawn(move || work(images, source, queue, &send))
            })
            .collect();
        drop(send);
        for step in receive {
            progress(step);
        }
        let mut result = Ok(());
        for worker in running {
            let done = worker.join().map_err(|_| anyhow!("a thread panicked"));
            result = result.and(done.and_then(|done| done));
        }
        result
    })
}

/// Returns whether a layer is there, with what it would be sent on from.
fn is_stored(images: &Images, layer: &Layer<'_>) -> Result<bool> {
    match layers::heal::ensure(images, layer.diff_id, None) {
        Ok(meta) => match meta.backing {
            layers::Backing::Tree => Ok(true),
            layers::Backing::Blob { digest, .. } => blobs::contains(images, &digest),
        },
        Err(error) if error::is(&error, error::Kind::NotFound) => Ok(false),
        Err(error) => {
            tracing::warn!("{}; it is fetched again", error::line(&error));
            Ok(false)
        }
    }
}

/// Fetches layers until none is left; after a failure nobody begins another.
fn work(
    images: &Images,
    source: &Source,
    queue: &Mutex<VecDeque<Layer<'_>>>,
    progress: &Sender<Progress>,
) -> Result<()> {
    let take = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    while let Some(layer) = take() {
        if let Err(error) = fetch(images, source, &layer, progress) {
            queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return Err(error);
        }
        tell(progress, &layer, "Pull complete", None);
    }
    Ok(())
}

fn fetch(
    images: &Images,
    source: &Source,
    layer: &Layer<'_>,
    progress: &Sender<Progress>,
) -> Result<()> {
    let (digest, size) = (layer.blob.digest(), layer.blob.size());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let waiting = &mut || tell(progress, layer, "Waiting", None);
        let Some(part) = blobs::begin(images, digest, size, waiting)? else {
            // Somebody else has fetched it; one that is damaged is gone after this.
            match layers::heal::ensure(images, layer.diff_id, Some(layer.blob)) {
                Ok(_) => return Ok(()),
                Err(error) if error::is(&error, error::Kind::NotFound) && attempt <= FETCHES => {
                    continue;
                }
                Err(error) => return Err(error),
            }
        };
        // What is wrong elsewhere may be right in the registry.
        let urls = layer.blob.urls().as_deref();
        let urls = urls.filter(|_| attempt == 1).unwrap_or_default();
        let wanted = (digest, size, urls);
        let reader = source.blob(wanted, part.offset(), steps(layer, progress));
        let failure = reader.failure();
        let expected = Expected {
            diff_id: Some(layer.diff_id),
            media_type: Some(layer.blob.media_type().as_ref()),
        };
        let Err(error) = receive(images, part, reader, expected) else {
            return Ok(());
        };
        let failure = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        let line = error::line(&error);
        if line.contains("no space left on device") {
            return Err(error::with_hint(error, "aril system prune frees space"));
        }
        // What came is not what was promised, so the next one must not go on with it.
        blobs::forget_part(images, digest)?;
        if attempt >= FETCHES {
            return Err(error.context(format!("layer {}", short(digest))));
        }
        tracing::warn!("{line}; the layer {digest} is fetched once more");
    }
}

/// Returns what tells of a download.
fn steps<'a>(
    layer: &'a Layer<'_>,
    progress: &'a Sender<Progress>,
) -> Box<dyn FnMut(Step) + Send + 'a> {
    let total = layer.blob.size();
    let mut last: Option<Instant> = None;
    Box::new(move |step| match step {
        Step::Received(at) if at == total => {
            tell(progress, layer, "Verifying Checksum", None);
            tell(progress, layer, "Download complete", None);
            tell(progress, layer, "Extracting", Some((total, total)));
        }
        Step::Received(at) => {
            if last.is_none_or(|last| last.elapsed() >= PROGRESS_INTERVAL) {
                last = Some(Instant::now());
                tell(progress, layer, "Downloading", Some((at, total)));
            }
        }
        Step::Waiting(time) => {
            let seconds = time.as_secs().max(1);
            let unit = if seconds == 1 { "second" } else { "seconds" };
            tell(
                progress,
                layer,
                &format!("Retrying in {seconds} {unit}"),
                None,
            );
        }
    })
}

fn tell(progress: &Sender<Progress>, layer: &Layer<'_>, status: &str, at: Option<(u64, u64)>) {
    let line = Progress::layer(short(layer.blob.digest()), status);
    let line = match at {
        Some((current, total)) => line.at(current, total),
        None => line,
    };
    // Nobody listens any more only after a failure elsewhere.
    drop(progress.send(line));
}

/// Returns a document that a manifest names, from the store or the registry; it is stored then.
pub(crate) fn document(images: &Images, source: &Source, blob: &Descriptor) -> Result<Vec<u8>> {
    let (digest, size) = (blob.digest(), blob.size());
    if size > DOCUMENT_MAX_BYTES {
        bail!("the configuration {digest} has {size} bytes, more than {DOCUMENT_MAX_BYTES}");
    }
    for _ in 0..=FETCHES {
        match blobs::read(images, digest) {
            Ok(bytes) => return Ok(bytes),
            Err(error) if error::is(&error, error::Kind::NotFound) => {}
            Err(error) => {
                tracing::warn!("{}; it is fetched again", error::line(&error));
                blobs::discard_damaged(images, digest)?;
            }
        }
        let Some(part) = blobs::begin(images, digest, size, &mut || {})? else {
            continue;
        };
        let reader = source.blob((digest, size, &[]), part.offset(), Box::new(|_| {}));
        let failure = reader.failure();
        if let Err(error) = store(images, part, reader) {
            let failure = failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            return match failure {
                Some(failure) => Err(failure.into()),
                None => Err(error.context(format!("fetch the configuration {digest}"))),
            };
        }
    }
    blobs::read(images, digest)
}

fn store(images: &Images, mut part: blobs::Part, mut reader: impl std::io::Read) -> Result<()> {
    let mut bytes = Vec::new();
    reader
        .read_to_end(&mut bytes)
        .context("read the document")?;
    part.write(&bytes)?;
    part.complete_synced(images).map(drop)
}

/// Returns the failure of a registry that an error tells of.
pub(crate) fn failure_of(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Returns whether a digest is that of these bytes.
pub(crate) fn is_digest_of(expected: &Digest, bytes: &[u8]) -> Result<bool> {
    let mut hasher = digest::Hasher::like(expected)?;
    hasher.update(bytes);
    Ok(hasher.finish() == *expected)
}
