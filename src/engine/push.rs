//! The image store → a registry.
//!
//! ```text
//! each layer, several at a time:  there? ─▶ in a repository beside? ─▶ compress, if it is not ─▶ send
//! then the configuration, then the manifest
//! ```
//!
//! An image that came from a registry goes with its own manifest, byte for byte, so its digest stays. One that was made here
//! gets a manifest of the image-spec; the same layers are compressed to the same bytes, so that has the same digest each time.

use std::collections::VecDeque;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use oci_spec::image::{Descriptor, Digest};

use super::Engine;
use super::fetch::short;
use super::registries::{self, Access};
use crate::docker::progress::Progress;
use crate::image::deflate::Format;
use crate::image::gc::{self, Lease};
use crate::image::layers::{self, Meta, outgoing};
use crate::image::{Image, Images, blobs, create, references};
use crate::oci::digest;
use crate::oci::reference::Reference;
use crate::registry::client::Client;
use crate::registry::failure::Failure;
use crate::registry::manifest::OCI_MANIFEST;
use crate::registry::upload::{Outgoing, Sent};
use crate::{error, oci};

/// How often progress is told at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How many repositories beside are asked for a layer, one after the other.
const MOUNTS_MAX: usize = 3;

/// How to push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// All tags of the repository. Default: the one that is named.
    pub all_tags: bool,
    /// How layers are compressed that were made here. Default: gzip.
    pub format: Format,
}

/// Pushes an image, or all of a repository, and says what was done as docker does.
///
/// Errors: `NotFound` if there is no such image here; `Forbidden` if the registry does not let us.
pub fn push(
    engine: &Engine,
    reference: &Reference,
    options: PushOptions,
    access: &Access,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    gc::empty_trash(&engine.images)?;
    let name = reference.name();
    progress(Progress::note(
        "",
        format!("The push refers to repository [{name}]"),
    ));
    let wanted = wanted(engine, reference, options.all_tags)?;
    let source = registries::source(engine, access, reference)?;
    // Mirrors get nothing; the registry comes last.
    let client = source
        .clients
        .iter()
        .rev()
        .find(|client| client.capabilities().push)
        .with_context(|| format!("no endpoint of {} takes images", reference.registry))?;
    for tagged in wanted {
        let push = Push {
            engine,
            client,
            reference: &tagged,
            format: options.format,
            at_once: access.settings.uploads.max(1),
            compressing: Mutex::new(()),
        };
        push.run(progress).map_err(|error| told(&tagged, error))?;
        let familiar = tagged.familiar();
        super::images::report(engine, "push", &familiar, &tagged.familiar_name());
    }
    Ok(())
}

/// Returns the names that are to be pushed.
fn wanted(engine: &Engine, reference: &Reference, all_tags: bool) -> Result<Vec<Reference>> {
    let table = references::read(&engine.images)?;
    let all = table.records.iter().flat_map(|record| &record.references);
    let mut same: Vec<Reference> = all
        .filter(|known| known.name() == reference.name())
        .cloned()
        .collect();
    same.sort_by_cached_key(Reference::to_string);
    let name = reference.familiar_name();
    if same.is_empty() {
        let why = format!("An image does not exist locally with the tag: {name}");
        return Err(error::with_hint(
            error::not_found(why),
            format!("aril tag IMAGE {name} gives an image this name"),
        ));
    }
    if all_tags {
        return Ok(same);
    }
    if reference.digest.is_some() {
        return Err(error::invalid("cannot push a digest reference"));
    }
    let reference = reference.clone().or_latest();
    if !same.contains(&reference) {
        let why = format!("tag does not exist: {}", reference.familiar());
        return Err(error::not_found(why));
    }
    Ok(vec![reference])
}

/// Tells what a failure of the registry means; other errors stay what they are.
fn told(reference: &Reference, error: anyhow::Error) -> anyhow::Error {
    let Some(failure) = super::fetch::failure_of(&error) else {
        return error;
    };
    let login = match reference.registry.as_str() {
        oci::reference::DEFAULT_REGISTRY => "aril login".to_owned(),
        other => format!("aril login {other}"),
    };
    let is_forbidden = match failure {
        Failure::Refused(refusal) => {
            refusal.needs_credentials || matches!(refusal.status, 401 | 403)
        }
        _ => false,
    };
    if !is_forbidden {
        return registries::connection(&reference.registry, failure);
    }
    let text = match failure {
        Failure::Refused(refusal) if refusal.needs_credentials => {
            "no basic auth credentials".to_owned()
        }
        other => other.to_string(),
    };
    error::with_hint(error::new(error::Kind::Forbidden, text), login)
}

struct Push<'a> {
    engine: &'a Engine,
    client: &'a Client,
    reference: &'a Reference,
    format: Format,
    at_once: usize,
    /// Whose turn it is to take all processors.
    compressing: Mutex<()>,
}

/// The manifest that an image came with.
struct Original {
    media_type: String,
    bytes: Vec<u8>,
    layers: Vec<Descriptor>,
}

/// A layer on its way.
struct Job {
    diff_id: Digest,
    /// As what it is sent; nothing if that is known only when it is compressed.
    blob: Option<Descriptor>,
    meta: Meta,
    /// Repositories beside that have it.
    beside: Vec<String>,
}

impl Push<'_> {
    fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let images = &self.engine.images;
        let image = images
            .by_reference(self.reference)?
            .with_context(|| format!("tag does not exist: {}", self.reference.familiar()))?;
        let lease = Mutex::new(Lease::on_image(images, &image)?);
        let original = self.original(&image)?;
        let own = original.as_ref().map(|original| original.layers.as_slice());
        let jobs = self.jobs(&image, own)?;
        let sent = self.layers(&jobs, &lease, progress)?;
        self.config(&image)?;
        let (media_type, bytes) = match original {
            Some(original) => (original.media_type, original.bytes),
            None => (OCI_MANIFEST.to_owned(), manifest(&image, &sent)?),
        };
        let tag = self.reference.tag.as_deref().unwrap_or_default();
        let repository = &self.reference.repository;
        self.client
            .put_manifest(repository, tag, (&media_type, &bytes))?;
        let digest = digest::sha256(&bytes);
        let size = bytes.len();
        progress(Progress::note(
            "",
            format!("{tag}: digest: {digest} size: {size}"),
        ));
        self.remember(&image, digest)
    }

    /// Returns the image's own manifest with its type and layers, if all that it names is here.
    fn original(&self, image: &Image) -> Result<Option<Original>> {
        let images = &self.engine.images;
        let Some(descriptor) = &image.manifest else {
            return Ok(None);
        };
        let Ok(bytes) = blobs::read(images, descriptor.digest()) else {
            return Ok(None);
        };
        let manifest = references::manifest(images, descriptor.digest())?;
        let from_registry = image
            .digests
            .iter()
            .any(|known| known.digest.as_ref() == Some(descriptor.digest()));
        for blob in manifest.layers() {
            let media_type = blob.media_type().to_string();
            let is_plain = !["gzip", "zstd"]
                .iter()
                .any(|format| media_type.ends_with(format));
            if (is_plain && !from_registry) || !blobs::contains(images, blob.digest())? {
                return Ok(None);
            }
        }
        Ok(Some(Original {
            media_type: descriptor.media_type().to_string(),
            bytes,
            layers: manifest.layers().clone(),
        }))
    }

    /// Returns the layers from the highest, each once.
    fn jobs(&self, image: &Image, original: Option<&[Descriptor]>) -> Result<Vec<Job>> {
        let images = &self.engine.images;
        let mut jobs: Vec<Job> = Vec::new();
        for (at, diff_id) in image.layers().iter().enumerate().rev() {
            if jobs.iter().any(|job| job.diff_id == *diff_id) {
                continue;
            }
            let own = original.and_then(|blobs| blobs.get(at)).cloned();
            let meta = layers::heal::ensure(images, diff_id, own.as_ref())?;
            let blob = match own {
                Some(own) => Some(own),
                None => outgoing::known(images, &meta, self.format)?,
            };
            let beside = match &blob {
                Some(_) => self.beside(diff_id)?,
                None => Vec::new(),
            };
            jobs.push(Job {
                diff_id: diff_id.clone(),
                blob,
                meta,
                beside,
            });
        }
        Ok(jobs)
    }

    /// Returns other repositories of this registry that may have a layer: those of images that have it.
    fn beside(&self, diff_id: &Digest) -> Result<Vec<String>> {
        let images = &self.engine.images;
        let mut found: Vec<String> = Vec::new();
        for record in references::read(images)?.records {
            let is_here = |known: &&Reference| known.registry == self.reference.registry;
            if !record.digests.iter().any(|known| is_here(&known)) {
                continue;
            }
            let Ok(image) = images.by_id(&record.id) else {
                continue;
            };
            if !image.layers().contains(diff_id) {
                continue;
            }
            for known in record.digests.iter().filter(is_here) {
                let other = known.repository != self.reference.repository;
                if other && !found.contains(&known.repository) {
                    found.push(known.repository.clone());
                }
            }
        }
        found.truncate(MOUNTS_MAX);
        Ok(found)
    }

    /// Sends what the registry lacks; returns each layer's blob.
    fn layers(
        &self,
        jobs: &[Job],
        lease: &Mutex<Lease>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<(Digest, Descriptor)>> {
        for job in jobs {
            progress(Progress::layer(short(&job.diff_id), "Preparing"));
        }
        for job in jobs.iter().skip(self.at_once) {
            progress(Progress::layer(short(&job.diff_id), "Waiting"));
        }
        let queue = Mutex::new(jobs.iter().collect::<VecDeque<_>>());
        std::thread::scope(|scope| {
            let (send, receive) = channel();
            let running: Vec<_> = (0..self.at_once.min(jobs.len()))
                .map(|_| {
                    let (send, queue) = (send.clone(), &queue);
                    scope.spawn(move || self.work(queue, lease, &send))
                })
                .collect();
            drop(send);
            for line in receive {
                progress(line);
            }
            let mut all = Ok(Vec::new());
            for worker in running {
                let done = worker.join().map_err(|_| anyhow!("a thread panicked"));
                match (done.and_then(|done| done), &mut all) {
                    (Ok(done), Ok(all)) => all.extend(done),
                    (Err(error), Ok(_)) => all = Err(error),
                    (_, Err(_)) => {}
                }
            }
            all
        })
    }

    fn work(
        &self,
        queue: &Mutex<VecDeque<&Job>>,
        lease: &Mutex<Lease>,
        progress: &Sender<Progress>,
    ) -> Result<Vec<(Digest, Descriptor)>> {
        let take = || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.pop_front()
        };
        let mut done = Vec::new();
        while let Some(job) = take() {
            let id = short(&job.diff_id);
            match self.layer(job, lease, progress) {
                Ok((blob, sent)) => {
                    let status = match sent {
                        Sent::Exists => "Layer already exists".to_owned(),
                        Sent::Mounted(from) => format!("Mounted from {from}"),
                        Sent::Uploaded => "Pushed".to_owned(),
                        Sent::Foreign => "Skipped foreign layer".to_owned(),
                    };
                    tell(progress, Progress::layer(id, status));
                    done.push((job.diff_id.clone(), blob));
                }
                Err(error) => {
                    queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    fn layer(
        &self,
        job: &Job,
        lease: &Mutex<Lease>,
        progress: &Sender<Progress>,
    ) -> Result<(Descriptor, Sent)> {
        let images = &self.engine.images;
        let repository = &self.reference.repository;
        if let Some(blob) = &job.blob {
            if is_foreign(blob) {
                return Ok((blob.clone(), Sent::Foreign));
            }
            if self.client.has_blob(repository, blob.digest())? {
                return Ok((blob.clone(), Sent::Exists));
            }
            for from in &job.beside {
                if self.client.mount(repository, blob.digest(), from)? {
                    return Ok((blob.clone(), Sent::Mounted(from.clone())));
                }
            }
        }
        let stored = match &job.blob {
            Some(blob) => {
                let mut lease = lease.lock().unwrap_or_else(PoisonError::into_inner);
                lease.add(std::slice::from_ref(blob.digest()))?;
                Some(blob.clone())
                    .filter(|blob| blobs::contains(images, blob.digest()).unwrap_or(false))
            }
            None => None,
        };
        let blob = match stored {
            Some(blob) => blob,
            None => self.compress(job, lease, progress)?,
        };
        // Which blob it is may only be known now.
        if job.blob.as_ref() != Some(&blob) && self.client.has_blob(repository, blob.digest())? {
            return Ok((blob, Sent::Exists));
        }
        let id = short(&job.diff_id);
        send(images, (self.client, repository), &blob, &mut |line| {
            tell(
                progress,
                Progress {
                    id: id.to_owned(),
                    ..line
                },
            );
        })?;
        Ok((blob, Sent::Uploaded))
    }

    fn compress(
        &self,
        job: &Job,
        lease: &Mutex<Lease>,
        progress: &Sender<Progress>,
    ) -> Result<Descriptor> {
        let images = &self.engine.images;
        let mut last = Instant::now();
        let mut report = |count: u64| {
            if last.elapsed() >= PROGRESS_INTERVAL {
                last = Instant::now();
                let line = Progress::layer(short(&job.diff_id), "Compressing");
                tell(progress, line.at(count, job.meta.tar_size));
            }
        };
        let _turn = self
            .compressing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        outgoing::make(images, &job.meta, self.format, lease, &mut report)
    }

    fn config(&self, image: &Image) -> Result<()> {
        let repository = &self.reference.repository;
        if self.client.has_blob(repository, &image.id)? {
            return Ok(());
        }
        let open = |offset: u64| -> io::Result<Box<dyn Read + Send>> {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            Ok(Box::new(io::Cursor::new(
                image.raw_config[offset..].to_vec(),
            )))
        };
        let blob = Outgoing {
            digest: &image.id,
            size: image.raw_config.len() as u64,
            open: &open,
        };
        Ok(self.client.upload(repository, blob, &mut |_| {})?)
    }

    /// Notes under which digest the registry has the image.
    fn remember(&self, image: &Image, digest: Digest) -> Result<()> {
        let mut digested = self.reference.clone();
        (digested.tag, digested.digest) = (None, Some(digest));
        references::update(&self.engine.images, |table| {
            let known = table
                .records
                .iter_mut()
                .find(|record| record.id == image.id);
            if let Some(record) = known {
                references::add(&mut record.digests, digested);
            }
            Ok(())
        })
    }
}

/// Returns whether a layer is to be had elsewhere, and may not be given to others (image-spec layer.md, Non-Distributable).
fn is_foreign(blob: &Descriptor) -> bool {
    let media_type = blob.media_type().to_string();
    let says_so = media_type.contains(".foreign.") || media_type.contains(".nondistributable.");
    says_so && blob.urls().as_ref().is_some_and(|urls| !urls.is_empty())
}

/// Returns the manifest of what was sent.
fn manifest(image: &Image, sent: &[(Digest, Descriptor)]) -> Result<Vec<u8>> {
    let of = |diff_id: &Digest| {
        let found = sent.iter().find(|(known, _)| known == diff_id);
        let blob = found.map(|(_, blob)| blob.clone());
        blob.context("a layer was not sent")
    };
    let descriptors: Vec<Descriptor> = image.layers().iter().map(of).collect::<Result<_>>()?;
    create::encode_manifest(&image.id, image.raw_config.len() as u64, &descriptors)
}

/// Sends a stored blob.
fn send(
    images: &Images,
    (client, repository): (&Client, &str),
    blob: &Descriptor,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<()> {
    let size = blob.size();
    let progress = Mutex::new(progress);
    let (counts, counted) = channel::<u64>();
    let open = move |offset: u64| -> io::Result<Box<dyn Read + Send>> {
        let mut file = blobs::open(images, blob.digest())
            .map_err(|error| io::Error::other(format!("{error:#}")))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(Counted {
            input: file,
            at: offset,
            last: None,
            counts: counts.clone(),
        }))
    };
    let tell = |line: Progress| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress(line);
    };
    std::thread::scope(|scope| {
        let tell = &tell;
        scope.spawn(move || {
            for at in counted {
                tell(Progress::layer("", "Pushing").at(at, size));
            }
        });
        let outgoing = Outgoing {
            digest: blob.digest(),
            size,
            open: &open,
        };
        let sent = client.upload(repository, outgoing, &mut |time| {
            let seconds = time.as_secs().max(1);
            tell(Progress::layer(
                "",
                format!("Retrying in {seconds} seconds"),
            ));
        });
        // Ends the thread that listens.
        drop(open);
        Ok(sent?)
    })
}

fn tell(progress: &Sender<Progress>, line: Progress) {
    // Nobody listens any more only after a failure elsewhere.
    drop(progress.send(line));
}

/// Reports what is read through it.
struct Counted {
    input: std::fs::File,
    at: u64,
    last: Option<Instant>,
    counts: Sender<u64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        self.at += count as u64;
        if self
            .last
            .is_none_or(|last| last.elapsed() >= PROGRESS_INTERVAL)
        {
            self.last = Some(Instant::now());
            self.counts.send(self.at).ok();
        }
        Ok(count)
    }
}
