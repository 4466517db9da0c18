//! Containers that are saved, and those that are made of what was saved.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::create::{make_directory, run_poststop};
use super::notify;
use super::operate::{delete, open};
use super::place::{Cgroups, Place};
use super::record::{Bundle, Record, directory, load};
use crate::error;
use crate::oci::state::Status;
use crate::runtime::criu::{
    self, CheckpointOptions, Dump, Found, Restore, RestoreOptions, Restored,
};

/// Saves a running container; unless it is to run on, it is deleted then, as after its end.
pub fn checkpoint(root: &Path, id: &str, options: &CheckpointOptions) -> Result<()> {
    let record = load(root, id)?;
    let status = record.status(root)?;
    if !matches!(status, Status::Running | Status::Paused) {
        bail!(error::conflict(format!(
            "container cannot be checkpointed in {} state",
            status.name()
        )));
    }
    let mut spec = record.spec()?;
    notify::recall(&directory(root, id)?, &mut spec);
    // As long as it is open, the number means no other process.
    let Some(_pidfd) = open(&record)? else {
        bail!(error::conflict("container not running"));
    };
    let container = Dump {
        pid: record.pid,
        spec: &spec,
        bundle: &record.bundle,
        rootfs: &record.rootfs,
        cgroup: &record.cgroup()?,
        descriptors: &record.descriptors,
    };
    criu::dump(&container, options)?;
    if options.pre_dump || options.leave_running {
        return Ok(());
    }
    delete(root, id, true).context("the container is saved, but cannot be deleted")
}

/// Where a restored container belongs.
#[derive(Clone, Copy, Debug)]
pub struct RestoreInto<'a> {
    /// The directory of records.
    pub root: &'a Path,
    /// The container's id.
    pub id: &'a str,
    /// Who makes the cgroup.
    pub cgroups: Cgroups,
    /// Whether the container has a socket by which it says that it is ready.
    pub notifies: bool,
}

/// Makes a container of what was saved and records it: from then on it is as one that was created and started. Fails with
/// `Conflict` if the id is taken; nothing is left of one that cannot be restored.
pub fn restore_from_bundle(
    bundle: Bundle,
    into: RestoreInto<'_>,
    options: &RestoreOptions,
) -> Result<Restored> {
    let directory = directory(into.root, into.id)?;
    make_directory(into.root, &directory)?;
    let restored = restore_recorded(bundle, into, options, &directory);
    if restored.is_err()
        && let Err(left) = fs::remove_dir_all(&directory)
    {
        tracing::warn!("remove {}: {left}", directory.display());
    }
    restored
}

fn restore_recorded(
    mut bundle: Bundle,
    into: RestoreInto<'_>,
    options: &RestoreOptions,
    directory: &Path,
) -> Result<Restored> {
    if into.notifies {
        notify::provide(directory, &mut bundle.spec)?;
    }
    // CRIU compares it with the mount table, which knows no links.
    let mount_point = fs::canonicalize(directory)
        .with_context(|| format!("open {}", directory.display()))?
        .join("criu-root");
    fs::create_dir(&mount_point).with_context(|| format!("make {}", mount_point.display()))?;
    let rootfs = bundle.rootfs()?;
    let Bundle { path, spec, .. } = &bundle;
    let place = Place::make(spec, into.id, into.cgroups)?;
    let has_terminal = spec
        .process
        .as_ref()
        .is_some_and(|process| process.terminal);
    let container = Restore {
        id: into.id,
        spec,
        bundle: path,
        rootfs: &rootfs,
        mount_point: &mount_point,
        cgroup: place.cgroup.as_ref(),
        has_terminal,
    };
    let restored = criu::restore(&container, options, &mut |found: Found| {
        let record = Record {
            descriptors: found.descriptors,
            has_time_namespace: found.has_time_namespace,
            ..Record::new(into.id, &bundle, &place, found.pid)?
        };
        record.save(directory)
    });
    let done = restored.and_then(|restored| {
        fs::remove_dir(&mount_point)
            .with_context(|| format!("remove {}", mount_point.display()))
            .map(|()| restored)
    });
    if done.is_err() {
        place.destroy();
        run_poststop(&spec.hooks.poststop, &bundle.stopped(into.id));
    }
    done
}
