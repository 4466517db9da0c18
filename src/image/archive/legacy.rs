//! Archives of docker before 1.10: images are layers that name their parents.
//!
//! ```text
//! repositories     {"busybox": {"latest": "ID"}}
//! ID/json          the configuration of this layer, with "parent": "ID"
//! ID/layer.tar
//! ```
//!
//! A configuration of today is made of the chain, as docker's own migration did: the newest layer's, with a history entry
//! per layer. Diff IDs are not known before the layers are unpacked.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::members::Members;
use super::plan::{Planned, PlannedLayer};
use crate::oci::image::{Config, History, ImageConfig, RootFs};
use crate::oci::reference::Reference;

/// The most layers in a chain.
const CHAIN_MAX: usize = 500;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Layer {
    parent: Option<String>,
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Config>,
    container_config: Option<Config>,
    throwaway: bool,
}

/// Reads the images that `repositories` names.
pub(super) fn read(members: &Members) -> Result<Vec<Planned>> {
    let bytes = members.need("repositories")?.document()?;
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(&bytes).context("read \"repositories\"")?;
    let mut images: BTreeMap<&str, Planned> = BTreeMap::new();
    for (name, tags) in &repositories {
        for (tag, id) in tags {
            let reference = Reference::parse(&format!("{name}:{tag}"))?;
            if let Some(known) = images.get_mut(id.as_str()) {
                known.references.push(reference);
                continue;
            }
            let mut image = chain(members, id).with_context(|| format!("read the image {id:?}"))?;
            image.references.push(reference);
            images.insert(id, image);
        }
    }
    Ok(images.into_values().collect())
}

fn chain(members: &Members, id: &str) -> Result<Planned> {
    let mut layers = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next.take() {
        ensure!(layers.len() < CHAIN_MAX, "more than {CHAIN_MAX} layers");
        let path = format!("{id}/json");
        let bytes = members.need(&path)?.document()?;
        let layer: Layer =
            serde_json::from_slice(&bytes).with_context(|| format!("read {path:?}"))?;
        let content = members.get(&format!("{id}/layer.tar"))?.cloned();
        next = layer.parent.clone().filter(|parent| !parent.is_empty());
        layers.push((layer, content));
    }
    layers.reverse();
    let history = layers.iter().map(|(layer, content)| {
        let command = layer.container_config.as_ref();
        let command = command.and_then(|config| config.cmd.as_ref());
        History {
            created: layer.created.clone(),
            created_by: command.map(|words| words.join(" ")),
            author: layer.author.clone().filter(|text| !text.is_empty()),
            comment: layer.comment.clone().filter(|text| !text.is_empty()),
            empty_layer: (layer.throwaway || content.is_none()).then_some(true),
        }
    });
    let (newest, _) = layers.last().context("an image without layers")?;
    let config = ImageConfig {
        created: newest.created.clone(),
        author: newest.author.clone().filter(|text| !text.is_empty()),
        architecture: newest
            .architecture
            .clone()
            .unwrap_or_else(|| "amd64".to_owned()),
        os: newest.os.clone().unwrap_or_else(|| "linux".to_owned()),
        config: newest.config.clone(),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        },
        history: history.collect(),
        ..ImageConfig::default()
    };
    let layers = layers.into_iter().filter_map(|(_, content)| {
        Some(PlannedLayer {
            diff_id: None,
            blob: None,
            content: Some(content?),
        })
    });
    Ok(Planned {
        raw_config: Vec::new(),
        manifest: None,
        layers: layers.collect(),
        references: Vec::new(),
        parent: None,
        config,
    })
}
