//! What an image archive says it holds: its documents, read and checked, as a list of images to store.
//!
//! `manifest.json` counts for the names if there is one, since it has what people call the images; manifests of the OCI
//! layout are taken over with their bytes, so that an image keeps the digest it has in a registry.

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};

use super::members::{Content, Members};
use super::{IMAGE_NAME, ManifestItem, legacy};
use crate::error;
use crate::image::references::REF_NAME;
use crate::oci::digest::{self, Hasher};
use crate::oci::image::{DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, ImageConfig};
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// How deep indexes may be nested.
const DEPTH_MAX: usize = 4;
/// The most images in one archive.
const IMAGES_MAX: usize = 10_000;

/// An image in an archive.
#[derive(Debug)]
pub(super) struct Planned {
    /// The configuration, byte for byte.
    pub(super) raw_config: Vec<u8>,
    pub(super) config: ImageConfig,
    /// The manifest with its type, if the archive has one.
    pub(super) manifest: Option<(Vec<u8>, MediaType)>,
    /// From the lowest.
    pub(super) layers: Vec<PlannedLayer>,
    pub(super) references: Vec<Reference>,
    pub(super) parent: Option<Digest>,
}

/// A layer in an archive.
#[derive(Clone, Debug)]
pub(super) struct PlannedLayer {
    /// Nothing in archives that are older than diff IDs.
    pub(super) diff_id: Option<Digest>,
    /// Of the blob, if there is a manifest.
    pub(super) blob: Option<Descriptor>,
    /// Nothing if the archive lacks it; then the layer must be stored already.
    pub(super) content: Option<Content>,
}

/// Reads the documents of an archive.
///
/// With `platform` only images for it are taken; without it, of an index the one that fits this machine best.
pub(super) fn read(members: &Members, platform: Option<&Platform>) -> Result<Vec<Planned>> {
    let has_layout = members.is_present("index.json")?;
    let mut images = if let Some(list) = members.get("manifest.json")? {
        let list = document::<Option<Vec<ManifestItem>>>(list, "manifest.json")?;
        let list = list.context("invalid manifest, manifest cannot be null (but can be [])")?;
        let layout = if has_layout {
            layout(members, platform).unwrap_or_default()
        } else {
            Vec::new()
        };
        list.iter()
            .map(|item| from_item(members, item, &layout))
            .collect::<Result<Vec<_>>>()?
    } else if has_layout {
        layout(members, platform)?
    } else if members.is_present("repositories")? {
        legacy::read(members)?
    } else {
        bail!("not an archive of images: it has neither manifest.json nor index.json");
    };
    ensure!(
        images.len() <= IMAGES_MAX,
        "the archive has too many images"
    );
    for image in &images {
        ensure!(
            image.config.os.is_empty() || image.config.os == "linux",
            "cannot load {} image on linux",
            image.config.os
        );
    }
    if let Some(platform) = platform {
        images.retain(|image| {
            let own = of_config(&image.config);
            own.is_ok_and(|own| platform.fit(&own).is_some_and(|fit| fit < 100))
        });
        if images.is_empty() {
            let why = format!("the archive has no image for the platform {platform}");
            return Err(error::not_found(why));
        }
    }
    Ok(images)
}

fn of_config(config: &ImageConfig) -> Result<Platform> {
    let parts = [
        config.os.as_str(),
        &config.architecture,
        config.variant.as_deref().unwrap_or_default(),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Platform::parse(&parts.join("/"))
}

/// An image of `manifest.json`, with its manifest if `layout` has it.
fn from_item(members: &Members, item: &ManifestItem, layout: &[Planned]) -> Result<Planned> {
    let (raw_config, config) = configuration(members.need(&item.config)?, &item.config)?;
    let diff_ids = &config.rootfs.diff_ids;
    ensure!(
        item.layers.len() == diff_ids.len(),
        "invalid manifest, layers length mismatch: expected {}, got {}",
        item.layers.len(),
        diff_ids.len()
    );
    let mut references = Vec::new();
    for text in item.repo_tags.iter().flatten() {
        let reference = Reference::parse(text)?;
        ensure!(
            reference.tag.is_some() && reference.digest.is_none(),
            "invalid tag {text:?}"
        );
        references.push(reference);
    }
    let parent = item.parent.as_deref().filter(|parent| !parent.is_empty());
    let same = layout.iter().find(|other| other.raw_config == raw_config);
    let manifest = same.and_then(|other| other.manifest.clone());
    let mut layers = Vec::new();
    for (at, (path, diff_id)) in item.layers.iter().zip(diff_ids).enumerate() {
        let blob = same.and_then(|other| other.layers.get(at)?.blob.clone());
        let content = members.get(path)?.cloned();
        // Archives of docker name the same layers in both documents; of others the manifest's descriptors are not theirs.
        let fits = blob.as_ref().is_some_and(|blob| {
            content
                .as_ref()
                .is_some_and(|content| content.size() == blob.size())
        });
        layers.push(PlannedLayer {
            diff_id: Some(diff_id.clone()),
            blob: blob.filter(|_| fits),
            content,
        });
    }
    let complete = layers.iter().all(|layer| layer.blob.is_some());
    Ok(Planned {
        manifest: manifest.filter(|_| complete),
        parent: parent.map(digest::parse).transpose()?,
        raw_config,
        config,
        layers,
        references,
    })
}

/// The images of an OCI layout.
fn layout(members: &Members, platform: Option<&Platform>) -> Result<Vec<Planned>> {
    let index: ImageIndex = document(members.need("index.json")?, "index.json")?;
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let mut images: Vec<Planned> = Vec::new();
    for group in by_name(index.manifests()) {
        let Some(image) = pick(members, &group, wanted, 0)? else {
            // An index of other platforms, or of things that are no images.
            continue;
        };
        let mut image = from_manifest(members, &image)?;
        image.references.extend(group.first().and_then(name));
        match images
            .iter_mut()
            .find(|known| known.raw_config == image.raw_config)
        {
            Some(known) => known.references.extend(image.references),
            None => images.push(image),
        }
    }
    if images.is_empty() && !index.manifests().is_empty() {
        let why = format!("no matching manifest for {wanted} in the manifest list entries");
        return Err(error::not_found(why));
    }
    Ok(images)
}

/// Puts the entries of one name together: they are the same image for several platforms. Entries without a name are one
/// such image too if they have platforms, and images of their own if not.
fn by_name(entries: &[Descriptor]) -> Vec<Vec<Descriptor>> {
    let mut groups: Vec<Vec<Descriptor>> = Vec::new();
    for entry in entries {
        let note = |d: &Descriptor| {
            let notes = d.annotations().clone().unwrap_or_default();
            let name = notes.get(IMAGE_NAME).or_else(|| notes.get(REF_NAME));
            (name.cloned(), d.platform().is_some())
        };
        let (name, has_platform) = note(entry);
        let same = groups.iter_mut().find(|group| {
            let (known, _) = note(&group[0]);
            has_platform && known == name
        });
        match same {
            Some(group) => group.push(entry.clone()),
            None => groups.push(vec![entry.clone()]),
        }
    }
    groups
}

/// The name of an image: docker's and containerd's annotation, or the image-spec's if it is more than a tag.
fn name(descriptor: &Descriptor) -> Option<Reference> {
    let notes = descriptor.annotations().as_ref()?;
    let text = notes
        .get(IMAGE_NAME)
        .or_else(|| notes.get(REF_NAME).filter(|name| name.contains(['/', ':'])))?;
    let reference = Reference::parse(text).ok()?.or_latest();
    reference.digest.is_none().then_some(reference)
}

/// Returns the manifest among `entries` that fits `platform` best, through nested indexes.
fn pick(
    members: &Members,
    entries: &[Descriptor],
    platform: &Platform,
    depth: usize,
) -> Result<Option<Descriptor>> {
    ensure!(
        depth < DEPTH_MAX,
        "the indexes of the archive are nested too deep"
    );
    let mut left = entries.to_vec();
    while let Some(best) = platform.best(&left).cloned() {
        match best.media_type() {
            MediaType::ImageManifest => return Ok(Some(best)),
            MediaType::Other(other) if other == DOCKER_MANIFEST => return Ok(Some(best)),
            media_type => {
                let list = matches!(media_type, MediaType::Other(o) if o == DOCKER_MANIFEST_LIST);
                if list || *media_type == MediaType::ImageIndex {
                    let index: ImageIndex = serde_json::from_slice(&verified(members, &best)?)
                        .context("read an index")?;
                    if let Some(found) = pick(members, index.manifests(), platform, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        left.retain(|entry| *entry != best);
    }
    Ok(None)
}

fn from_manifest(members: &Members, descriptor: &Descriptor) -> Result<Planned> {
    let bytes = verified(members, descriptor)?;
    let manifest = ImageManifest::from_reader(&bytes[..])
        .with_context(|| format!("read the manifest {}", descriptor.digest()))?;
    let raw_config = verified(members, manifest.config())?;
    let config: ImageConfig = serde_json::from_slice(&raw_config)
        .with_context(|| format!("read the configuration {}", manifest.config().digest()))?;
    let diff_ids = &config.rootfs.diff_ids;
    ensure!(
        manifest.layers().len() == diff_ids.len(),
        "invalid manifest, layers length mismatch: expected {}, got {}",
        manifest.layers().len(),
        diff_ids.len()
    );
    let layers = manifest
        .layers()
        .iter()
        .zip(diff_ids)
        .map(|(blob, diff_id)| {
            let content = members.get(&blob_path(blob.digest())?)?.cloned();
            Ok(PlannedLayer {
                diff_id: Some(diff_id.clone()),
                blob: Some(blob.clone()),
                content,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Planned {
        manifest: Some((bytes, descriptor.media_type().clone())),
        raw_config,
        config,
        layers,
        references: Vec::new(),
        parent: None,
    })
}

fn blob_path(digest: &Digest) -> Result<String> {
    let (algorithm, hex) = digest::path_parts(digest)?;
    Ok(format!("blobs/{algorithm}/{hex}"))
}

/// Reads a document of the layout and verifies its digest.
fn verified(members: &Members, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let bytes = members.need(&blob_path(descriptor.digest())?)?.document()?;
    let mut hasher = Hasher::like(descriptor.digest())?;
    hasher.update(&bytes);
    ensure!(
        hasher.finish() == *descriptor.digest(),
        "the blob {} of the archive is damaged",
        descriptor.digest()
    );
    Ok(bytes)
}

fn configuration(content: &Content, path: &str) -> Result<(Vec<u8>, ImageConfig)> {
    let bytes = content
        .document()
        .with_context(|| format!("read {path:?}"))?;
    let config = serde_json::from_slice(&bytes).with_context(|| format!("read {path:?}"))?;
    Ok((bytes, config))
}

fn document<T: serde::de::DeserializeOwned>(content: &Content, path: &str) -> Result<T> {
    let bytes = content
        .document()
        .with_context(|| format!("read {path:?}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("read {path:?}"))
}
