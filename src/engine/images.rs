//! What is shown of images and done to them: list, inspect, history, tag, remove, prune.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use jiff::Timestamp;
use oci_spec::image::Digest;
use regex::Regex;

use super::Engine;
use super::filter::Filters;
use crate::docker::image::{HistoryItem, ImageInspect, ImageSummary, Metadata, Removed, RootFs};
use crate::docker::inspect::GraphDriver;
use crate::image::removable::{RemoveOptions, Use};
use crate::image::remove::Removal;
use crate::image::{Image, gc, layers, remove};
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;
use crate::{error, event};

/// Returns the images that are wanted, the newest first; without `all` those that only others are made from are left out.
pub fn list(engine: &Engine, all: bool, filters: &Filters) -> Result<Vec<ImageSummary>> {
    filters.check(&["dangling", "label", "before", "since", "until", "reference"])?;
    let dangling = filters.flag("dangling")?;
    let images = engine.images.list()?;
    let parents: HashSet<&Digest> = images
        .iter()
        .filter_map(|image| image.parent.as_ref())
        .collect();
    let created = |text: &str| {
        engine
            .images
            .resolve(text)
            .map(|found| found.image.created_seconds())
    };
    let before = filters
        .values("before")
        .map(created)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .min();
    let since = filters
        .values("since")
        .map(created)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .max();
    let until = filters
        .values("until")
        .map(until)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .min();
    let patterns: Vec<Regex> = filters
        .values("reference")
        .map(pattern)
        .collect::<Result<_>>()?;
    let mut wanted = Vec::new();
    for image in &images {
        let config = image.config.config.clone().unwrap_or_default();
        let time = image.created_seconds();
        let fits = dangling.is_none_or(|dangling| image.is_dangling() == dangling)
            && (all
                || dangling == Some(true)
                || !image.is_dangling()
                || !parents.contains(&image.id))
            && before.is_none_or(|before| time < before)
            && since.is_none_or(|since| time > since)
            && until.is_none_or(|until| time < until)
            && filters.labels("label", &config.labels.unwrap_or_default());
        let mut summary = summary(image);
        if fits && filters.has("reference") {
            let is_named = |text: &String| patterns.iter().any(|pattern| names(text, pattern));
            summary.repo_tags.retain(is_named);
            summary.repo_digests.retain(is_named);
            if summary.repo_tags.is_empty() && summary.repo_digests.is_empty() {
                continue;
            }
        }
        if fits {
            wanted.push(summary);
        }
    }
    Ok(wanted)
}

/// Fills in how many containers each image has.
pub fn count_containers(engine: &Engine, images: &mut [ImageSummary]) -> Result<()> {
    let uses = uses(engine)?;
    for image in images {
        let of = uses.iter().filter(|it| it.image.as_ref() == image.id);
        image.containers = i64::try_from(of.count()).unwrap_or(i64::MAX);
    }
    Ok(())
}

/// Reads a moment; fronts translate how long ago into one.
pub fn until(text: &str) -> Result<i64> {
    let seconds = text.split('.').next().unwrap_or_default();
    let time = || text.parse::<Timestamp>().map(Timestamp::as_second);
    seconds
        .parse()
        .or_else(|_| time())
        .map_err(|_| error::invalid(format!("invalid filter 'until={text}'")))
}

/// Translates a shell pattern in which `*` stops at `/`.
fn pattern(text: &str) -> Result<Regex> {
    let mut regex = String::from("^");
    for character in text.chars() {
        match character {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' | ']' | '-' => regex.push(character),
            other => regex.push_str(&regex::escape(&other.to_string())),
        }
    }
    regex.push('$');
    Regex::new(&regex).map_err(|_| error::invalid("syntax error in pattern"))
}

/// Returns whether a pattern fits a reference, with or without what follows the name.
fn names(reference: &str, pattern: &Regex) -> bool {
    let bare = reference.split('@').next().unwrap_or_default();
    let name = match bare.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => bare,
    };
    pattern.is_match(reference) || pattern.is_match(name)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn familiar(references: &[Reference]) -> Vec<String> {
    references.iter().map(Reference::familiar).collect()
}

pub(super) fn summary(image: &Image) -> ImageSummary {
    ImageSummary {
        containers: -1,
        created: image.created_seconds(),
        id: image.id.to_string(),
        labels: image
            .config
            .config
            .as_ref()
            .and_then(|config| config.labels.clone()),
        parent_id: image
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        repo_digests: familiar(&image.digests),
        repo_tags: familiar(&image.references),
        shared_size: -1,
        size: signed(image.size),
    }
}

/// Refuses an image that is not for `platform`; `text` is what the user calls it. The error is of kind `NotFound`.
pub fn check_platform(text: &str, image: &Image, platform: &Platform) -> Result<()> {
    if platform.has(&image.config) {
        return Ok(());
    }
    Err(error::not_found(format!(
        "image with reference {text} was found but its platform ({}/{}) does not match the specified platform ({platform})",
        image.config.os, image.config.architecture
    )))
}

/// Finds an image and refuses one that is not for `platform`, if one is given.
///
/// Images here have one platform each, so there is nothing to choose from.
pub fn on_platform(engine: &Engine, text: &str, platform: Option<&Platform>) -> Result<()> {
    let Some(platform) = platform else {
        return Ok(());
    };
    check_platform(text, &engine.images.resolve(text)?.image, platform)
}

/// Returns the document of an image.
pub fn inspect(engine: &Engine, text: &str) -> Result<ImageInspect> {
    let image = engine.images.resolve(text)?.image;
    let config = &image.config;
    let last = config.history.last().and_then(|step| step.comment.clone());
    Ok(ImageInspect {
        id: image.id.to_string(),
        repo_tags: familiar(&image.references),
        repo_digests: familiar(&image.digests),
        parent: image
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        comment: config.comment.clone().or(last).unwrap_or_default(),
        created: config.created.clone().unwrap_or_default(),
        docker_version: config.docker_version.clone().unwrap_or_default(),
        author: config.author.clone().unwrap_or_default(),
        config: config.config.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone().unwrap_or_default(),
        os: config.os.clone(),
        size: signed(image.size),
        graph_driver: graph_driver(engine, &image),
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: image.layers().iter().map(ToString::to_string).collect(),
        },
        metadata: Metadata {
            last_tag_time: image
                .tagged
                .clone()
                .unwrap_or_else(|| super::inspect::time(None)),
        },
    })
}

fn graph_driver(engine: &Engine, image: &Image) -> GraphDriver {
    let path = |layer: &Digest| {
        engine
            .dirs
            .layer(layer.digest())
            .join("root")
            .to_string_lossy()
            .into_owned()
    };
    let mut layers = image.layers().iter().rev().map(path);
    let mut data = BTreeMap::new();
    // As docker has it, the highest layer is the one to be written to if this were a container.
    if let Some(upper) = layers.next() {
        data.insert("UpperDir".to_owned(), upper);
    }
    let lower: Vec<String> = layers.collect();
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower.join(":"));
    }
    GraphDriver {
        name: super::inspect::STORAGE_DRIVER.to_owned(),
        data,
    }
}

/// Returns the steps of an image's making, the last one first.
pub fn history(engine: &Engine, text: &str) -> Result<Vec<HistoryItem>> {
    let image = engine.images.resolve(text)?.image;
    let mut layers_left = image.layers().iter();
    let mut items = Vec::with_capacity(image.config.history.len());
    for step in &image.config.history {
        let layer = if step.empty_layer == Some(true) {
            None
        } else {
            layers_left.next()
        };
        let size = match layer {
            Some(layer) => layers::meta(&engine.images, layer)
                .map(|meta| signed(meta.facts.size))
                .unwrap_or_default(),
            None => 0,
        };
        let created = step
            .created
            .as_deref()
            .and_then(|time| time.parse::<Timestamp>().ok());
        items.push(HistoryItem {
            id: "<missing>".to_owned(),
            created: created.map_or(-62_135_596_800, Timestamp::as_second),
            created_by: step.created_by.clone().unwrap_or_default(),
            tags: None,
            size,
            comment: step.comment.clone().unwrap_or_default(),
        });
    }
    items.reverse();
    // The newest step is the image itself; those before it have a name only where their image is still here.
    let mut at = Some(image);
    for item in &mut items {
        let Some(image) = at else { break };
        item.id = image.id.to_string();
        item.tags = Some(familiar(&image.references)).filter(|tags| !tags.is_empty());
        at = image
            .parent
            .as_ref()
            .and_then(|parent| engine.images.by_id(parent).ok());
    }
    Ok(items)
}

/// Gives an image another name.
pub fn tag(engine: &Engine, source: &str, target: &Reference) -> Result<()> {
    check_new_name(target)?;
    let image = engine.images.resolve(source)?.image;
    let target = target.clone().or_latest();
    engine.images.tag(&image.id, &target)?;
    report(engine, "tag", image.id.as_ref(), &target.familiar());
    Ok(())
}

/// Refuses a name that reads like the digest of an image; the error is of kind `Invalid`.
pub(super) fn check_new_name(name: &Reference) -> Result<()> {
    if name.familiar_name() == "sha256" {
        return Err(error::invalid(
            "refusing to create an ambiguous tag using digest algorithm as name",
        ));
    }
    Ok(())
}

/// Appends an event of an image.
pub fn report(engine: &Engine, action: &str, id: &str, name: &str) {
    event::record(
        &engine.dirs,
        "image",
        action,
        id,
        [("name".to_owned(), name.to_owned())].into(),
    );
}

pub(super) fn uses(engine: &Engine) -> Result<Vec<Use>> {
    let containers = super::repair::containers(engine, engine.containers.list()?)?;
    Ok(containers
        .iter()
        .flat_map(|container| {
            container.record.images().into_iter().map(|image| Use {
                running: container.status.phase.needs_monitor(),
                container: container.record.id.clone(),
                image,
            })
        })
        .collect())
}

/// Removes the name or the image that `text` means.
pub fn remove(engine: &Engine, text: &str, options: RemoveOptions) -> Result<Vec<Removed>> {
    let removal = remove::remove(&engine.images, text, options, &mut || uses(engine))?;
    finish(engine, &removal)?;
    Ok(removal.steps)
}

pub(super) fn finish(engine: &Engine, removal: &Removal) -> Result<()> {
    for step in &removal.steps {
        let (action, what) = match step {
            Removed::Untagged(name) => ("untag", name),
            Removed::Deleted(id) => ("delete", id),
        };
        // Of layers nothing is told.
        if let Some(id) = removal.ids.get(what) {
            report(engine, action, id, id);
        }
    }
    gc::empty_trash(&engine.images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_with_and_without_tag() {
        for (text, reference, expected) in [
            ("ab*", "abc:1", true),
            ("abc", "abc:1", true),
            ("abc:*", "abc:1", true),
            ("abc:2", "abc:1", false),
            ("*", "user/abc:1", false),
            ("*/*", "user/abc:1", true),
            ("a?c", "abc:1", true),
            ("a[bx]c", "abc:1", true),
            ("localhost:5000/x", "localhost:5000/x:t", true),
        ] {
            assert_eq!(
                names(reference, &pattern(text).unwrap()),
                expected,
                "{text} {reference}"
            );
        }
        assert!(pattern("[").is_err());
    }
}
