//! Configuration + layers → an image: the last steps of commit, import, load and pull.
//!
//! The configuration and the manifest are stored first and the table names them last, so that an image that is seen is
//! complete. The same inputs give the same id.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Serialize;
use serde_json::Value;

use super::gc::Lease;
use super::layers::{Backing, Meta};
use super::references::{self, Record};
use super::{Image, Images, blobs, layers, now};
use crate::oci::digest;
use crate::oci::image::{
    Config, DOCKER_LAYER, DOCKER_LAYER_GZIP, History, ImageConfig, RootFs, host_architecture,
};
use crate::oci::reference::Reference;

/// An image that is to be made of another one, or of nothing.
#[derive(Clone, Debug, Default)]
pub struct NewImage<'a> {
    /// What it is made of; nothing starts from an empty root.
    pub base: Option<&'a Image>,
    /// A layer on top; without one the history says so.
    pub layer: Option<&'a Meta>,
    /// Defaults of containers, complete.
    pub config: Config,
    /// When, RFC 3339.
    pub created: String,
    /// By whom; empty if that is not said.
    pub author: String,
    /// What is said about it; empty if nothing.
    pub comment: String,
    /// By which command; empty if that is not said.
    pub created_by: String,
    /// What else docker writes beside the configuration (`container`, `container_config`, `docker_version`).
    pub other: BTreeMap<String, Value>,
    /// Architecture and variant of an image without a base; nothing means this machine's.
    pub platform: Option<(String, Option<String>)>,
    /// Whether the base is noted as its parent, as commit does.
    pub has_parent: bool,
}

/// An image that was made, or was there already.
#[derive(Clone, Debug)]
pub struct Created {
    /// The image, with its names.
    pub image: Image,
    /// The image that had the name before.
    pub replaced: Option<Digest>,
}

/// Makes an image and gives it a name, if one is wanted.
///
/// `lease` holds what the image is made of, and gets what is made.
pub fn create(
    images: &Images,
    lease: &mut Lease,
    new: &NewImage<'_>,
    reference: Option<&Reference>,
) -> Result<Created> {
    let raw_config = serde_json::to_vec(&config(new)).context("encode the configuration")?;
    let id = digest::sha256(&raw_config);
    let mut descriptors = match new.base {
        Some(base) => descriptors(images, base)?,
        None => Vec::new(),
    };
    descriptors.extend(new.layer.map(descriptor));
    let manifest = encode_manifest(&id, raw_config.len() as u64, &descriptors)?;
    lease.add(&[id.clone(), digest::sha256(&manifest)])?;
    blobs::put(images, &raw_config)?;
    let registration = Registration {
        manifest: store_manifest(images, &manifest, MediaType::ImageManifest)?,
        references: reference.into_iter().cloned().collect(),
        parent: new
            .base
            .filter(|_| new.has_parent)
            .map(|base| base.id.clone()),
        ..Registration::new(id.clone())
    };
    let mut replaced = register(images, registration)?;
    Ok(Created {
        image: images.by_id(&id)?,
        replaced: replaced.pop().flatten(),
    })
}

/// An image whose configuration, manifest and layers are stored, on its way into the table.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Digest of the configuration.
    pub id: Digest,
    /// The manifest.
    pub manifest: Descriptor,
    /// Names with a tag that it gets.
    pub references: Vec<Reference>,
    /// Names with a digest that it gets.
    pub digests: Vec<Reference>,
    /// The image it was committed from.
    pub parent: Option<Digest>,
}

impl Registration {
    /// Returns one without names; the manifest is to be set.
    pub fn new(id: Digest) -> Registration {
        Registration {
            manifest: Descriptor::new(MediaType::ImageManifest, 0, id.clone()),
            id,
            references: Vec::new(),
            digests: Vec::new(),
            parent: None,
        }
    }
}

/// Names an image in the table; returns for each of its new tags the image that had it before, if that was another.
///
/// An image that is there already keeps its manifest, unless that is damaged.
pub fn register(images: &Images, new: Registration) -> Result<Vec<Option<Digest>>> {
    let image = images.by_id_alone(&new.id)?;
    let now = now();
    references::update(images, |table| {
        let mut record = Record::new(new.id.clone(), new.manifest.clone());
        record.digests = new.digests;
        record.parent = new.parent;
        record.size = Some(images.size(&image));
        let known = table.add(record);
        if blobs::read(images, known.manifest.digest()).is_err() {
            known.manifest = new.manifest;
        }
        let tags = new.references.iter();
        tags.map(|reference| table.tag(&new.id, reference, &now))
            .collect()
    })
}

/// Stores a manifest and returns its descriptor.
pub fn store_manifest(images: &Images, bytes: &[u8], media_type: MediaType) -> Result<Descriptor> {
    let digest = blobs::put(images, bytes)?;
    Ok(Descriptor::new(media_type, bytes.len() as u64, digest))
}

/// Returns the OCI manifest of these layers.
pub(crate) fn encode_manifest(id: &Digest, size: u64, layers: &[Descriptor]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest<'a> {
        schema_version: u32,
        media_type: MediaType,
        config: Descriptor,
        layers: &'a [Descriptor],
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: MediaType::ImageManifest,
        config: Descriptor::new(MediaType::ImageConfig, size, id.clone()),
        layers,
    };
    serde_json::to_vec(&manifest).context("encode the manifest")
}

/// Returns the descriptor of a layer as it is stored: of its blob, or of the archive that its directory gives.
pub(crate) fn descriptor(layer: &Meta) -> Descriptor {
    match &layer.backing {
        Backing::Blob {
            digest,
            size,
            media_type,
        } => Descriptor::new(oci_type(media_type), *size, digest.clone()),
        Backing::Tree => {
            Descriptor::new(MediaType::ImageLayer, layer.tar_size, layer.diff_id.clone())
        }
    }
}

/// Returns the descriptors of an image's layers for a manifest of ours: those of its own manifest, so that they are known
/// where it came from, or of what is stored.
pub(crate) fn descriptors(images: &Images, image: &Image) -> Result<Vec<Descriptor>> {
    if let Some(manifest) = &image.manifest
        && let Ok(manifest) = references::manifest(images, manifest.digest())
        && manifest.layers().len() == image.layers().len()
    {
        let layers = manifest.layers().iter();
        let own = layers.map(|layer| {
            let media_type = oci_type(layer.media_type().as_ref());
            Descriptor::new(media_type, layer.size(), layer.digest().clone())
        });
        return Ok(own.collect());
    }
    let layers = image.layers().iter();
    layers
        .map(|diff_id| Ok(descriptor(&layers::heal::ensure(images, diff_id, None)?)))
        .collect()
}

/// A manifest of the image-spec has layers of the image-spec; docker's are the same bytes under other names.
fn oci_type(media_type: &str) -> MediaType {
    match media_type {
        DOCKER_LAYER_GZIP => MediaType::ImageLayerGzip,
        DOCKER_LAYER => MediaType::ImageLayer,
        other => MediaType::from(other),
    }
}

fn config(new: &NewImage<'_>) -> ImageConfig {
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut config = if let Some(base) = new.base {
        ImageConfig {
            other: BTreeMap::new(),
            ..base.config.clone()
        }
    } else {
        let (architecture, variant) = new.platform.clone().unwrap_or_else(|| {
            let (architecture, variant) = host_architecture();
            (architecture.to_owned(), variant.map(str::to_owned))
        });
        ImageConfig {
            architecture,
            variant,
            os: "linux".to_owned(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: Vec::new(),
            },
            ..ImageConfig::default()
        }
    };
    config.created = given(&new.created);
    config.author = given(&new.author);
    config.comment = given(&new.comment);
    config.docker_version = None;
    config.config = Some(new.config.clone());
    config.other.clone_from(&new.other);
    let diff_ids = &mut config.rootfs.diff_ids;
    diff_ids.extend(new.layer.map(|layer| layer.diff_id.clone()));
    config.history.push(History {
        created: given(&new.created),
        created_by: given(&new.created_by),
        author: given(&new.author),
        comment: given(&new.comment),
        empty_layer: new.layer.is_none().then_some(true),
    });
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::testing::{Archive, image_of, store};

    #[test]
    fn an_image_grows_by_a_layer_or_by_history_alone() {
        let (_scratch, images) = store("create");
        let mut archive = Archive::default();
        let lower = archive.file("a", "1234").end();
        let upper = Archive::default().file("b", "12").end();
        let base = image_of(&images, &[lower]);
        let other = image_of(&images, &[upper]);
        let layer = layers::meta(&images, &other.layers()[0]).unwrap();
        let mut lease = Lease::take(&images, &[]).unwrap();
        let mut new = NewImage {
            base: Some(&base),
            layer: Some(&layer),
            created: "2026-01-02T03:04:05Z".to_owned(),
            comment: "message".to_owned(),
            created_by: "sh".to_owned(),
            has_parent: true,
            ..NewImage::default()
        };
        let name = Reference::parse("made:1").unwrap();
        let made = create(&images, &mut lease, &new, Some(&name)).unwrap();
        assert_eq!(made.image.layers().len(), 2);
        assert_eq!(
            (made.image.size, made.image.parent.as_ref()),
            (6, Some(&base.id))
        );
        assert_eq!(made.image.config.history[0].empty_layer, None);
        assert_eq!(made.image.references, std::slice::from_ref(&name));
        let again = create(&images, &mut lease, &new, Some(&name)).unwrap();
        assert_eq!(
            (again.image.id.clone(), again.replaced),
            (made.image.id.clone(), None)
        );
        assert_eq!(images.list().unwrap().len(), 1);
        new.layer = None;
        new.base = Some(&made.image);
        let plain = create(&images, &mut lease, &new, Some(&name)).unwrap();
        assert_eq!(plain.image.layers(), made.image.layers());
        assert_eq!(plain.image.config.history.len(), 2);
        assert_eq!(plain.image.config.history[1].empty_layer, Some(true));
        assert_eq!(plain.replaced, Some(made.image.id.clone()));
        assert!(images.by_id(&made.image.id).unwrap().is_dangling());
    }
}
