//! The containers of `aril-oci`: runc's operations on bundles, with records on disk and no process that stays.
//!
//! A container of ours that belongs to a monitor has nothing to do with this: its record is the engine's.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};

mod checkpoint;
mod create;
mod notify;
mod operate;
mod place;
mod record;

pub use checkpoint::{RestoreInto, checkpoint, restore_from_bundle};
pub use create::{BundleOptions, create_from_bundle, start};
pub use notify::Readiness;
pub use operate::{Joinable, cgroup, delete, joinable, kill, pause, pids, resume, update};
pub use place::Cgroups;
pub use record::{Bundle, Summary, open_bundle};

use crate::error;
use record::load;

/// Returns what there is to know of a container. Fails with `NotFound`.
pub fn state(root: &Path, id: &str) -> Result<Summary> {
    let record = load(root, id)?;
    let status = record.status(root)?;
    Ok(record.summary(status))
}

/// Returns all containers, by id.
pub fn list(root: &Path) -> Result<Vec<Summary>> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("read {}", root.display()))?,
    };
    let mut containers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        // What else is kept there has names that no container has.
        let Some(id) = name.to_str().filter(|id| record::check_id(id).is_ok()) else {
            continue;
        };
        // One that is being created or deleted right now is not there.
        match state(root, id) {
            Err(error) if error::is(&error, error::Kind::NotFound) => {}
            found => containers.push(found?),
        }
    }
    containers.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(containers)
}
