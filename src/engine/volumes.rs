//! What is done to volumes.

use anyhow::Result;

use super::Engine;
use super::filter::Filters;
use crate::docker::system::{Volume, VolumeCreate};
use crate::monitor::removal;
use crate::volume::options::{Source, source};
use crate::{error, event};

/// Makes a volume, or returns the one of this name.
pub fn create(engine: &Engine, request: &VolumeCreate) -> Result<Volume> {
    let (volume, new) = engine.volumes.create(request)?;
    if new {
        report(engine, "create", &volume.name);
    }
    Ok(volume)
}

/// Returns the volumes that are wanted, sorted by name.
pub fn list(engine: &Engine, filters: &Filters) -> Result<Vec<Volume>> {
    filters.check(&["dangling", "driver", "label", "name"])?;
    let dangling = filters.flag("dangling")?;
    let mut wanted = Vec::new();
    for volume in engine.volumes.list()? {
        let labels = volume.labels.clone().unwrap_or_default();
        let fits = filters.equals("driver", &volume.driver)
            && filters.matches("name", &volume.name)
            && filters.labels("label", &labels);
        let unused = || removal::users(&engine.dirs, &volume.name).map(|users| users.is_empty());
        if fits
            && dangling.map_or(Ok(true), |dangling| {
                unused().map(|unused| unused == dangling)
            })?
        {
            wanted.push(volume);
        }
    }
    Ok(wanted)
}

/// Removes a volume that no container uses; with `force` one that does not exist is as good as removed.
pub fn remove(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let users = removal::users(&engine.dirs, name)?;
    match engine.volumes.remove(name, &users) {
        Ok(trash) => removal::delete(&trash),
        Err(error) if force && error::is(&error, error::Kind::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    }
    report(engine, "destroy", name);
    Ok(())
}

/// Returns the bytes of all files in a volume; what a directory of the host or another file system holds is not ours to count.
pub fn bytes(engine: &Engine, volume: &Volume) -> u64 {
    match source(volume.options.as_ref()) {
        Source::Bind(_) | Source::FileSystem(_) => 0,
        Source::Directory => super::usage::of_directory(&engine.volumes.data(&volume.name)),
    }
}

/// Tells of volumes that were made for a container.
pub(super) fn report_made(engine: &Engine, names: &[String]) {
    for name in names {
        report(engine, "create", name);
    }
}

/// Removes volumes that were made for what was refused after all, and of which nobody has heard.
pub(super) fn take_back(engine: &Engine, names: &[String]) {
    for name in names {
        match engine.volumes.remove(name, &[]) {
            Ok(trash) => removal::delete(&trash),
            Err(left) => tracing::warn!("remove volume {name}: {left:#}"),
        }
    }
}

fn report(engine: &Engine, action: &str, name: &str) {
    let driver = [("driver".to_owned(), "local".to_owned())].into();
    event::record(&engine.dirs, "volume", action, name, driver);
}
