//! What of an image goes to others, and under which digests: for archives and registries.
//!
//! An image goes as it came, with its manifest byte for byte, as long as the blobs that it names are here. If a layer came
//! from elsewhere under another digest, a manifest of what is here takes its place; the id of the image stays the same.

use anyhow::Result;
use oci_spec::image::{Descriptor, MediaType};

use super::layers::{self, Meta};
use super::{Image, Images, blobs, create, references};
use crate::oci::digest;

/// An image in the form in which it goes to others.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// The manifest.
    pub manifest: Descriptor,
    /// The manifest, byte for byte.
    pub raw_manifest: Vec<u8>,
    /// From the lowest.
    pub layers: Vec<Layer>,
}

/// A layer, and as what it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What is known of it here.
    pub meta: Meta,
    /// As the manifest has it.
    pub blob: Descriptor,
}

/// Returns the form in which `image` goes to others; its layers are made again if a crash may have harmed them.
pub fn of_image(images: &Images, image: &Image) -> Result<Transfer> {
    let own = match &image.manifest {
        Some(descriptor) => {
            let raw = blobs::read(images, descriptor.digest())?;
            let manifest = references::manifest(images, descriptor.digest())?;
            Some((descriptor.clone(), raw, manifest.layers().clone()))
        }
        None => None,
    };
    let blobs_of_own = own.as_ref().map(|(_, _, layers)| layers.as_slice());
    let metas = image
        .layers()
        .iter()
        .enumerate()
        .map(|(at, diff_id)| {
            let blob = blobs_of_own.and_then(|blobs| blobs.get(at));
            layers::heal::ensure(images, diff_id, blob)
        })
        .collect::<Result<Vec<Meta>>>()?;
    let same = |own: &[Descriptor]| {
        own.len() == metas.len()
            && own
                .iter()
                .zip(&metas)
                .all(|(own, meta)| own.digest() == create::descriptor(meta).digest())
    };
    let pair = |(meta, blob)| Layer { meta, blob };
    if let Some((manifest, raw_manifest, own)) = own
        && same(&own)
    {
        return Ok(Transfer {
            manifest,
            raw_manifest,
            layers: metas.into_iter().zip(own).map(pair).collect(),
        });
    }
    let descriptors: Vec<Descriptor> = metas.iter().map(create::descriptor).collect();
    let size = image.raw_config.len() as u64;
    let raw_manifest = create::encode_manifest(&image.id, size, &descriptors)?;
    let digest = digest::sha256(&raw_manifest);
    Ok(Transfer {
        manifest: Descriptor::new(MediaType::ImageManifest, raw_manifest.len() as u64, digest),
        raw_manifest,
        layers: metas.into_iter().zip(descriptors).map(pair).collect(),
    })
}
