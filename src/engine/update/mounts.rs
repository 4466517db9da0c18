//! Mounts that a container gets or loses at its next start.

use anyhow::{Context as _, Result};

use crate::container::mounts::{check_mount, clean, parse_bind};
use crate::container::{Container, Record};
use crate::docker::container::{ContainerUpdate, Mount};
use crate::docker::inspect::MountPoint;
use crate::engine::create::{Content, mount_point};
use crate::engine::{Engine, volumes};
use crate::error;
use crate::image::gc::Lease;

/// Mounts that are ready to be written down, and the volumes that were made for them.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    points: Vec<MountPoint>,
    pub(super) volumes: Vec<String>,
}

/// Checks what is to be mounted, and makes and fills the volumes that are not there yet.
pub(super) fn prepare(engine: &Engine, container: &Container, add: &[Mount]) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    if add.is_empty() {
        return Ok(prepared);
    }
    let record = &container.record;
    let image = engine.images.by_id(&record.image)?;
    let _lease = Lease::on_image(&engine.images, &image)?;
    let mut content = Content::of(engine, &image);
    for mount in add {
        let made = check_mount(mount).and_then(|request| {
            mount_point(
                &mut content,
                &record.host_config,
                &request,
                &mut prepared.volumes,
            )
        });
        match made {
            Ok(point) => prepared.points.push(point),
            Err(error) => {
                volumes::take_back(engine, &prepared.volumes);
                return Err(error);
            }
        }
    }
    Ok(prepared)
}

/// Changes the mounts of a record; returns what the user should know. The error is of kind `Invalid` if two mounts have one
/// place.
pub(super) fn change(
    record: &mut Record,
    asked: &ContainerUpdate,
    prepared: &Prepared,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for target in &asked.mount_rm {
        if !remove(record, &clean(target))? {
            warnings.push(format!("nothing is mounted at {target}"));
        }
    }
    for (mount, point) in asked.mount_add.iter().zip(&prepared.points) {
        let target = &point.destination;
        let mut tmpfs = record.host_config.tmpfs.keys();
        let taken = tmpfs.any(|other| clean(other) == *target)
            || record
                .mounts
                .iter()
                .any(|other| other.destination == *target);
        if taken {
            return Err(error::invalid(format!("Duplicate mount point: {target}")));
        }
        record.host_config.mounts.push(mount.clone());
        record.mounts.push(point.clone());
    }
    // Those below others come after them.
    record
        .mounts
        .sort_by(|a, b| a.destination.cmp(&b.destination));
    Ok(warnings)
}

/// Forgets what is mounted at `target`; returns whether there was anything.
fn remove(record: &mut Record, target: &str) -> Result<bool> {
    let host = &mut record.host_config;
    let before = record.mounts.len() + host.tmpfs.len();
    record.mounts.retain(|point| point.destination != target);
    host.tmpfs.retain(|place, _| clean(place) != target);
    host.mounts.retain(|mount| clean(&mount.target) != target);
    let mut others = Vec::new();
    for bind in host.binds.take().unwrap_or_default() {
        let parsed = parse_bind(&bind).with_context(|| format!("read the mount {bind:?}"))?;
        if parsed.target != target {
            others.push(bind);
        }
    }
    host.binds = Some(others).filter(|binds| !binds.is_empty());
    if let Some(volumes) = &mut record.config.volumes {
        volumes.retain(|place, _| clean(place) != target);
    }
    let host = &record.host_config;
    Ok(record.mounts.len() + host.tmpfs.len() < before)
}
