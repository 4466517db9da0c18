//! What takes how much of the disk.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{Engine, images, list};
use crate::container::{Container, Listed};
use crate::docker::image::ImageSummary;
use crate::docker::system::Volume;
use crate::image::layers;

/// What takes how much of the disk, object by object.
#[derive(Clone, Debug, Default)]
pub struct DiskUsage {
    /// Images, with the bytes they share with others and the number of their containers.
    pub images: Vec<ImageSummary>,
    /// Bytes of all layers, each counted once.
    pub layers_bytes: u64,
    /// Containers, with the bytes of their writable layers.
    pub containers: Vec<(Container<Listed>, u64)>,
    /// Volumes, with the number of containers that have them and the bytes in them.
    pub volumes: Vec<(Volume, u64, u64)>,
}

/// Counts what takes how much of the disk; reads every directory, and takes accordingly long.
pub fn disk_usage(engine: &Engine) -> Result<DiskUsage> {
    let all = list::ListOptions {
        all: true,
        ..list::ListOptions::default()
    };
    let containers = list::list(engine, &all)?;
    let images = engine.images.list()?;
    let mut layer_bytes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for image in &images {
        // A layer that an image has twice is shared with nobody.
        let layers: BTreeSet<&str> = image.layers().iter().map(AsRef::as_ref).collect();
        for (layer, digest) in image.layers().iter().map(|layer| (layer.as_ref(), layer)) {
            layer_bytes.entry(layer).or_insert_with(|| {
                layers::meta(&engine.images, digest).map_or(0, |meta| meta.facts.size)
            });
        }
        for layer in layers {
            *users.entry(layer).or_default() += 1;
        }
    }
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let summaries = images.iter().map(|image| {
        let layers: BTreeSet<&str> = image.layers().iter().map(AsRef::as_ref).collect();
        let shared = layers.iter().filter(|layer| users[**layer] > 1);
        let count = containers
            .iter()
            .filter(|container| container.record.image == image.id);
        ImageSummary {
            shared_size: signed(shared.map(|layer| layer_bytes[layer]).sum()),
            containers: i64::try_from(count.count()).unwrap_or(i64::MAX),
            ..images::summary(image)
        }
    });
    let mut usage = DiskUsage {
        images: summaries.collect(),
        layers_bytes: layer_bytes.values().sum(),
        ..DiskUsage::default()
    };
    for volume in engine.volumes.list()? {
        let mounts = |container: &&Container<Listed>| {
            let mut mounts = container.record.mounts.iter();
            mounts.any(|mount| mount.kind == "volume" && mount.name == volume.name)
        };
        let links = containers.iter().filter(mounts).count() as u64;
        let bytes = super::volumes::bytes(engine, &volume);
        usage.volumes.push((volume, links, bytes));
    }
    for container in containers {
        let upper = engine.dirs.container(&container.record.id).join("upper");
        usage
            .containers
            .push((container, super::usage::of_directory(&upper)));
    }
    Ok(usage)
}
