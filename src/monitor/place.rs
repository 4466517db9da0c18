//! The cgroup of a container: where it lies, who makes it, and how it goes.
//!
//! ```text
//! native.cgroupdriver=cgroupfs    /aril/ID, or below --cgroup-parent
//! native.cgroupdriver=systemd     /system.slice/aril-ID.scope, or in the slice that --cgroup-parent names
//! ```
//!
//! systemd is asked over D-Bus, which takes longer than all else of a start, so only who configures it pays for it.

use std::path::Path;

use anyhow::Result;

use crate::cgroup::layout::{self, Host};
use crate::cgroup::systemd::{self, Holder, Unit};
use crate::cgroup::{self, Cgroup};
use crate::container::Record;
use crate::error;
use crate::oci::runtime::resources::Resources;
use crate::settings::CgroupDriver;
use crate::sys::process;

/// What the units of containers are called: `aril-ID.scope`.
const PREFIX: &str = "aril";

/// Where the processes of a container live.
#[derive(Debug)]
pub struct Place {
    /// What they are in.
    pub cgroup: Cgroup,
    /// The unit that it belongs to, if systemd has made it.
    unit: Option<Unit>,
    /// Keeps the unit until they are in it.
    holder: Option<Holder>,
}

/// Returns the path of a container's cgroup, below the root of each hierarchy.
///
/// Fails with `Invalid` for a parent that is no slice of systemd's where that makes cgroups.
pub fn path(record: &Record) -> Result<String> {
    if let Some(unit) = unit(record)? {
        return Ok(unit.path()?.to_string_lossy().into_owned());
    }
    let parent = match record.host_config.resources.cgroup_parent.as_str() {
        "" => cgroup::PARENT,
        parent => parent,
    };
    Ok(format!("/{}/{}", parent.trim_matches('/'), record.id))
}

/// Returns the unit that a container's cgroup belongs to, where systemd makes cgroups.
pub fn unit(record: &Record) -> Result<Option<Unit>> {
    if record.cgroup_driver != CgroupDriver::Systemd {
        return Ok(None);
    }
    let slice = &record.host_config.resources.cgroup_parent;
    let path = format!("{slice}:{PREFIX}:{}", record.id);
    let unit = systemd::unit(&path, &record.id).map_err(|error| {
        let why = "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
        error::with_hint(error::invalid(why), format!("{error:#}"))
    })?;
    Ok(Some(unit))
}

impl Place {
    /// Makes a container's cgroup with `resources`, after what a start that was cut off has left there.
    pub fn make(record: &Record, resources: &Resources) -> Result<Place> {
        let host = layout::detect()?;
        clear_on(host, record)?;
        let unit = unit(record)?;
        let (cgroup, holder) = if let Some(unit) = &unit {
            let (cgroup, holder) = systemd::make(host, unit, &record.id, resources)?;
            (cgroup, Some(holder))
        } else {
            let path = path(record)?;
            let create = if process::in_user_namespace() {
                cgroup::create_in_user_namespace
            } else {
                cgroup::create
            };
            (create(host, Path::new(&path), resources)?, None)
        };
        Ok(Place {
            cgroup,
            unit,
            holder,
        })
    }

    /// Says that the container's first process is in it.
    pub fn settle(&mut self) {
        self.holder = None;
    }

    /// Ends all processes in it and takes it away; what goes wrong is logged.
    pub fn clear(&mut self) {
        self.settle();
        if let Err(error) = cgroup::end(&self.cgroup, self.unit.as_ref()) {
            tracing::warn!("clean up: {error:#}");
        }
    }
}

/// Ends every process in a container's cgroup and removes it, as far as it exists.
pub fn clear(record: &Record) -> Result<()> {
    clear_on(layout::detect()?, record)
}

fn clear_on(host: &Host, record: &Record) -> Result<()> {
    let cgroup = cgroup::open(host, Path::new(&path(record)?))?;
    // Usually there is none, and systemd need not be asked.
    if cgroup.has_directories() {
        cgroup::end(&cgroup, unit(record)?.as_ref())?;
    }
    Ok(())
}
