//! From a container's changes to a new image, and what those changes are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use oci_spec::image::Digest;

use super::{Engine, images, lifecycle};
use crate::container::{Container, Phase, merge};
use crate::docker::system::DOCKER_VERSION;
use crate::image::create::{NewImage, create};
use crate::image::diff::content::{Detail, details};
use crate::image::diff::{self, Change, Changed};
use crate::image::gc::Lease;
use crate::image::{change, snapshot};
use crate::monitor::removal;
use crate::oci::reference::Reference;
use crate::{error, event};

/// How to commit.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// The name of the image, if it gets one.
    pub reference: Option<Reference>,
    /// By whom.
    pub author: String,
    /// What is said about it.
    pub comment: String,
    /// Instructions of a Dockerfile that change the configuration.
    pub changes: Vec<String>,
    /// Whether the container is frozen meanwhile.
    pub pause: bool,
}

/// Makes an image of a container and returns its id.
pub fn commit(engine: &Engine, container: &Container, options: &CommitOptions) -> Result<Digest> {
    if container.status.phase == Phase::Removing {
        let id = &container.record.id;
        return Err(error::conflict(format!(
            "You cannot commit container {id} which is being removed"
        )));
    }
    if let Some(name) = &options.reference {
        images::check_new_name(name)?;
    }
    let record = &container.record;
    // Before anything is done: what cannot be applied is no reason to freeze anybody.
    let mut config = merge::for_commit(&record.config);
    change::apply(&mut config, &options.changes)?;
    let base = engine.images.by_id(&record.image)?;
    let mut lease = Lease::on_image(&engine.images, &base)?;
    let lowers = snapshot::lowers(&engine.images, &base)?;
    let dir = engine.dirs.container(&record.id);
    let excluded = mount_points(container);
    let changed = Changed {
        lowers: &lowers,
        upper: &dir.join("upper"),
        excluded: &excluded,
    };
    let pause = options.pause && container.status.phase == Phase::Running;
    let paused = pause
        .then(|| lifecycle::pause_meanwhile(engine, container))
        .transpose()?;
    let layer = diff::commit::commit(&engine.images, &mut lease, changed);
    if let Some(connection) = paused {
        // It may have ended, or somebody else may have let it go on.
        if let Err(error) = lifecycle::resume(&connection) {
            tracing::warn!("let container {} go on: {error:#}", record.name);
        }
    }
    let layer = layer?;
    let command: Vec<&str> = merge::command_line(&record.config)
        .map(String::as_str)
        .collect();
    let new = NewImage {
        base: Some(&base),
        layer: layer.as_ref(),
        config,
        created: Timestamp::now().to_string(),
        author: options.author.clone(),
        comment: options.comment.clone(),
        created_by: command.join(" "),
        other: BTreeMap::from([
            ("container".to_owned(), record.id.clone().into()),
            ("docker_version".to_owned(), DOCKER_VERSION.into()),
        ]),
        platform: None,
        has_parent: true,
    };
    let made = create(&engine.images, &mut lease, &new, options.reference.as_ref())?;
    let id = made.image.id;
    images::report(engine, "create", id.as_ref(), id.as_ref());
    let mut attributes = removal::attributes(record);
    attributes.insert("comment".to_owned(), options.comment.clone());
    attributes.insert("imageID".to_owned(), id.to_string());
    if let Some(reference) = &options.reference {
        attributes.insert("imageRef".to_owned(), reference.familiar());
        images::report(engine, "tag", id.as_ref(), &reference.familiar());
    }
    event::record(&engine.dirs, "container", "commit", &record.id, attributes);
    Ok(id)
}

/// Returns what a container has changed, sorted by path.
pub fn diff(engine: &Engine, container: &Container) -> Result<Vec<Change>> {
    of_changed(engine, container, diff::changes)
}

/// Calls `each` for everything that a container has changed, sorted by path, with what is different there; with `path` only
/// for what is at or below it. The error is of kind `NotFound` if there is no such path, neither in the container nor in its
/// image.
pub fn diff_content(
    engine: &Engine,
    container: &Container,
    path: Option<&Path>,
    each: &mut dyn FnMut(Detail) -> Result<()>,
) -> Result<()> {
    let known = of_changed(engine, container, |changed| details(changed, path, each))?;
    match path {
        Some(path) if !known => {
            let (path, name) = (path.display(), &container.record.name);
            let why = format!("Could not find the file {path} in container {name}");
            Err(error::not_found(why))
        }
        _ => Ok(()),
    }
}

fn of_changed<T>(
    engine: &Engine,
    container: &Container,
    act: impl FnOnce(Changed<'_>) -> Result<T>,
) -> Result<T> {
    let record = &container.record;
    let image = engine.images.by_id(&record.image)?;
    let lowers = snapshot::lowers(&engine.images, &image)?;
    let upper = engine.dirs.container(&record.id).join("upper");
    act(Changed {
        lowers: &lowers,
        upper: &upper,
        excluded: &[],
    })
}

/// Returns the paths that show something that is not the container's own.
fn mount_points(container: &Container) -> Vec<PathBuf> {
    let record = &container.record;
    let mounts = record
        .mounts
        .iter()
        .map(|mount| PathBuf::from(&mount.destination));
    let tmpfs = record.host_config.tmpfs.keys().map(PathBuf::from);
    mounts.chain(tmpfs).collect()
}
