//! How a container ends for good: by `rm`, by `--rm`, or by a repair.

use std::path::Path;

use anyhow::Result;

use super::place;
use crate::container::{Containers, Record, quota};
use crate::dirs::Dirs;
use crate::event;
use crate::volume::{self, Volumes};

/// Removes a container whose monitor's lock the caller holds, and of its volumes the anonymous ones if `volumes` says so.
///
/// What was moved into the trash is deleted here, when nobody can see it any more.
pub fn remove(dirs: &Dirs, record: &Record, volumes: bool) -> Result<()> {
    // Of a start that was cut off; usually there is none.
    if let Err(error) = place::clear(record) {
        tracing::warn!("clean up: {error:#}");
    }
    if !record.host_config.storage_opt.is_empty()
        && let Err(error) = quota::release(&dirs.container(&record.id).join("upper"))
    {
        tracing::warn!("give back the quota of a container: {error:#}");
    }
    let containers = Containers::new(dirs);
    let trash = containers.remove(&record.id)?;
    event::record(dirs, "container", "destroy", &record.id, attributes(record));
    delete(&trash);
    if volumes {
        remove_anonymous(dirs, record);
    }
    Ok(())
}

/// Removes the anonymous volumes of a container that is gone, unless others use them too.
fn remove_anonymous(dirs: &Dirs, record: &Record) {
    let volumes = Volumes::new(dirs);
    for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
        let removed = volumes.get(&mount.name).and_then(|volume| {
            if !volume::is_anonymous(&volume) {
                return Ok(());
            }
            let users = users(dirs, &mount.name)?;
            if !users.is_empty() {
                return Ok(());
            }
            delete(&volumes.remove(&mount.name, &users)?);
            event::record(
                dirs,
                "volume",
                "destroy",
                &mount.name,
                [("driver".into(), "local".into())].into(),
            );
            Ok(())
        });
        if let Err(error) = removed {
            tracing::warn!("volume {}: {error:#}", mount.name);
        }
    }
}

/// Returns the ids of the containers that have volume `name` mounted.
pub fn users(dirs: &Dirs, name: &str) -> Result<Vec<String>> {
    let uses = |record: &Record| {
        record
            .mounts
            .iter()
            .any(|mount| mount.kind == "volume" && mount.name == name)
    };
    let containers = Containers::new(dirs).list()?;
    Ok(containers
        .into_iter()
        .filter(|container| uses(&container.record))
        .map(|c| c.record.id)
        .collect())
}

/// Deletes a directory in the trash; what cannot be deleted now is left to the next sweep of the trash.
pub fn delete(trash: &Path) {
    // Somebody who empties the trash may delete it at the same time.
    let deleted = crate::image::apply::remove_all(trash);
    if let Err(error) = deleted {
        tracing::warn!("delete {}: {error}", trash.display());
    }
}

/// Returns what events say of a container: image, name and labels.
pub fn attributes(record: &Record) -> std::collections::BTreeMap<String, String> {
    let mut attributes = record.config.labels.clone();
    attributes.insert("image".to_owned(), record.config.image.clone());
    attributes.insert("name".to_owned(), record.name.clone());
    attributes
}
