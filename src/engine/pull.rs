//! A registry → the image store.
//!
//! ```text
//! tag ─HEAD─▶ digest ─▶ known, and whole? up to date
//!                    └▶ index? the entry for the platform ─▶ manifest ─▶ configuration ─▶ layers ─▶ table
//! ```
//!
//! Everything that is needed is on lease before it is looked for, so no collection takes it meanwhile. The table names the
//! image last: whatever goes wrong before, nobody sees a part of one, and what has come stays for the next pull.

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest, ImageManifest, MediaType};

use super::Engine;
use super::fetch::{self, Layer};
use super::registries::{self, Access};
use super::settle;
use crate::docker::progress::Progress;
use crate::error;
use crate::image::create::{Registration, register, store_manifest};
use crate::image::gc::{self, Lease};
use crate::image::{Image, blobs, layers, references};
use crate::oci::image::ImageConfig;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;
use crate::registry::client::Fetched;
use crate::registry::manifest::{self, Document, OCI_MANIFEST};
use crate::registry::source::Source;

/// How deep indexes may name indexes.
const INDEX_DEPTH_MAX: usize = 4;
/// The most layers of an image; overlayfs stacks no more than 500, and docker no more than these.
const LAYERS_MAX: usize = 127;

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// Default: this machine's.
    pub platform: Option<Platform>,
    /// All tags of the repository. Default: the one that is named.
    pub all_tags: bool,
}

/// Pulls an image, or all of a repository, and says what was done as docker does.
///
/// Errors: `NotFound` if there is no such image or nobody may see it; `Forbidden` if credentials are wanted.
pub fn pull(
    engine: &Engine,
    reference: &Reference,
    options: &PullOptions,
    access: &Access,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    if reference.familiar_name() == "scratch" {
        return Err(error::invalid("'scratch' is a reserved name"));
    }
    gc::empty_trash(&engine.images)?;
    let source = registries::source(engine, access, reference)?;
    let mut newer = false;
    let mut one = |reference: &Reference| -> Result<()> {
        let pull = Pull {
            engine,
            source: &source,
            reference,
            platform: options.platform.as_ref(),
            at_once: access.settings.downloads.max(1),
        };
        newer |= pull.run(progress).map_err(|error| told(reference, error))?;
        let familiar = reference.familiar();
        super::images::report(engine, "pull", &familiar, &reference.familiar_name());
        Ok(())
    };
    if options.all_tags {
        let tags = source
            .tags()
            .map_err(|failure| registries::explain(reference, &failure))?;
        ensure!(
            !tags.is_empty(),
            "repository {} has no tags",
            reference.familiar_name()
        );
        for tag in tags {
            let mut tagged = reference.clone();
            tagged.tag = Some(tag);
            one(&tagged)?;
        }
    } else {
        one(&reference.clone().or_latest())?;
    }
    let name = if options.all_tags {
        reference.familiar_name()
    } else {
        without_tag(&reference.clone().or_latest()).familiar()
    };
    // A `run` that goes on from here may last for months.
    settle::later(&engine.dirs);
    progress(Progress::note(
        "",
        if newer {
            format!("Status: Downloaded newer image for {name}")
        } else {
            format!("Status: Image is up to date for {name}")
        },
    ));
    Ok(())
}

/// Returns a reference whose digest, if it has one, says alone what is meant.
fn without_tag(reference: &Reference) -> Reference {
    let mut found = reference.clone();
    if found.digest.is_some() {
        found.tag = None;
    }
    found
}

/// Tells what a failure of the registry means; other errors stay what they are.
fn told(reference: &Reference, error: anyhow::Error) -> anyhow::Error {
    match fetch::failure_of(&error) {
        Some(failure) => registries::explain(reference, failure),
        None => error,
    }
}

struct Pull<'a> {
    engine: &'a Engine,
    source: &'a Source,
    /// With a tag or a digest.
    reference: &'a Reference,
    platform: Option<&'a Platform>,
    at_once: usize,
}

impl Pull<'_> {
    /// Returns whether there is something new.
    fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<bool> {
        let reference = self.reference;
        let title = match &reference.digest {
            Some(_) => without_tag(reference).to_string(),
            None => reference.tag.clone().unwrap_or_default(),
        };
        let title = Progress::note(title, format!("Pulling from {}", reference.repository));
        let digest = match &reference.digest {
            Some(digest) => Some(digest.clone()),
            None => self.resolve()?,
        };
        if let Some(digest) = &digest
            && let Some(newer) = self.known(digest)?
        {
            progress(title);
            progress(Progress::note("", format!("Digest: {digest}")));
            return Ok(newer);
        }
        let top = match &digest {
            Some(digest) => self.source.by_digest(digest)?,
            None => self.source.by_tag(self.tag())?,
        };
        progress(title);
        let digest = top.digest.clone();
        let (fetched, document) = self.descend(top)?;
        let newer = self.image(&digest, &fetched, &document, progress)?;
        progress(Progress::note("", format!("Digest: {digest}")));
        Ok(newer)
    }

    fn tag(&self) -> &str {
        self.reference.tag.as_deref().unwrap_or_default()
    }

    fn resolve(&self) -> Result<Option<Digest>> {
        let resolved = self.source.resolve(self.tag())?;
        Ok(resolved.map(|resolved| resolved.digest))
    }

    /// Gives the tag to an image that was pulled by this digest before and is whole; returns whether it had another one.
    fn known(&self, digest: &Digest) -> Result<Option<bool>> {
        let images = &self.engine.images;
        let mut digested = self.reference.clone();
        (digested.tag, digested.digest) = (None, Some(digest.clone()));
        let table = references::read(images)?;
        let records = table.records.iter();
        for record in records.filter(|record| record.digests.contains(&digested)) {
            let lease = Lease::take(
                images,
                &[record.id.clone(), record.manifest.digest().clone()],
            )?;
            let image = match images.by_id(&record.id) {
                Ok(image) => image,
                Err(error) => {
                    tracing::warn!("{}; it is pulled again", error::line(&error));
                    continue;
                }
            };
            let host = Platform::host();
            let platform = self.platform.unwrap_or(&host);
            if !platform.has(&image.config) || !self.is_whole(&image)? {
                continue;
            }
            let newer = self.name(&image.id, digest, record.manifest.clone())?;
            drop(lease);
            return Ok(Some(newer));
        }
        Ok(None)
    }

    /// Returns whether everything of an image is stored.
    fn is_whole(&self, image: &Image) -> Result<bool> {
        let images = &self.engine.images;
        let manifest = image.manifest.as_ref().map(Descriptor::digest);
        if manifest.is_none_or(|digest| blobs::read(images, digest).is_err()) {
            return Ok(false);
        }
        for diff_id in image.layers() {
            let whole = match layers::heal::ensure(images, diff_id, None) {
                Ok(meta) => match &meta.backing {
                    layers::Backing::Tree => true,
                    layers::Backing::Blob { digest, .. } => blobs::contains(images, digest)?,
                },
                Err(_) => false,
            };
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Follows indexes to the manifest for the platform.
    fn descend(&self, top: Fetched) -> Result<(Fetched, ImageManifest)> {
        let host = Platform::host();
        let platform = self.platform.unwrap_or(&host);
        let mut at = top;
        for _ in 0..=INDEX_DEPTH_MAX {
            match manifest::parse(&at.bytes, &at.media_type)? {
                Document::Image(document) => return Ok((at, *document)),
                Document::Index(index) => {
                    let entry = manifest::choose(&index, platform)?;
                    at = self.source.by_digest(entry.digest())?;
                }
            }
        }
        bail!("indexes are nested more than {INDEX_DEPTH_MAX} deep")
    }

    /// Fetches what is missing of an image and names it; returns whether the tag is new or had another image.
    fn image(
        &self,
        digest: &Digest,
        fetched: &Fetched,
        document: &ImageManifest,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<bool> {
        let images = &self.engine.images;
        let id = document.config().digest();
        let mut needed = vec![fetched.digest.clone(), id.clone()];
        needed.extend(document.layers().iter().map(|layer| layer.digest().clone()));
        let mut lease = Lease::take(images, &needed)?;
        let raw_config = fetch::document(images, self.source, document.config())?;
        let config: ImageConfig = serde_json::from_slice(&raw_config)
            .with_context(|| format!("read the configuration {id}"))?;
        let diff_ids = &config.rootfs.diff_ids;
        check_config(&config, document.layers().len())?;
        lease.add(diff_ids)?;
        let wanted: Vec<Layer<'_>> = document
            .layers()
            .iter()
            .zip(diff_ids)
            .map(|(blob, diff_id)| Layer { blob, diff_id })
            .collect();
        fetch::layers(images, self.source, &wanted, self.at_once, progress)?;
        ensure!(
            fetch::is_digest_of(&fetched.digest, &fetched.bytes)?,
            "manifest verification failed for digest {}",
            fetched.digest
        );
        let media_type = media_type(document, &fetched.media_type);
        let descriptor = store_manifest(images, &fetched.bytes, media_type)?;
        self.name(id, digest, descriptor)
    }

    /// Enters the image into the table; returns whether the tag is new or had another image.
    fn name(&self, id: &Digest, digest: &Digest, descriptor: Descriptor) -> Result<bool> {
        let images = &self.engine.images;
        let mut digested = self.reference.clone();
        (digested.tag, digested.digest) = (None, Some(digest.clone()));
        let tags: Vec<Reference> = match self.reference.digest {
            // Then the tag is for people.
            Some(_) => Vec::new(),
            None => vec![self.reference.clone()],
        };
        let key = tags.first().unwrap_or(&digested);
        let before = references::read(images)?;
        let newer = before
            .by_reference(key)
            .is_none_or(|record| record.id != *id);
        register(
            images,
            Registration {
                manifest: descriptor,
                references: tags,
                digests: vec![digested],
                ..Registration::new(id.clone())
            },
        )?;
        Ok(newer)
    }
}

/// Refuses configurations that cannot be those of the manifest, or of an image for Linux.
fn check_config(config: &ImageConfig, layers: usize) -> Result<()> {
    if !config.os.is_empty() && config.os != "linux" {
        return Err(error::invalid(format!(
            "image operating system {:?} cannot be used on this platform",
            config.os
        )));
    }
    let count = config.rootfs.diff_ids.len();
    ensure!(
        count == layers,
        "the image's configuration has {count} layers, and its manifest {layers}"
    );
    ensure!(
        count <= LAYERS_MAX,
        "the image has {count} layers; at most {LAYERS_MAX} can be stacked"
    );
    Ok(())
}

/// Returns what a manifest is, by itself or else by the registry.
fn media_type(document: &ImageManifest, said: &str) -> MediaType {
    match document.media_type() {
        Some(own) => own.clone(),
        None if said.is_empty() || said.starts_with("text/") => MediaType::from(OCI_MANIFEST),
        None => MediaType::from(said),
    }
}
