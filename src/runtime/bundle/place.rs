//! The cgroup of a container that is being created.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cgroup::systemd::{self, Holder, Unit};
use crate::cgroup::{self, Cgroup, layout};
use crate::oci::runtime::Spec;
use crate::oci::runtime::resources::{DeviceRule, Resources};

/// Who makes the cgroup of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroups {
    /// We do; where we may not, and nothing is asked of it, the container stays in ours.
    Files {
        /// Whether a container may be without, since who calls us is not root, or only root of a user namespace.
        optional: bool,
    },
    /// systemd does.
    Systemd,
}

/// Where a container's processes live.
pub(super) struct Place {
    /// Below the root of each hierarchy.
    pub(super) path: PathBuf,
    /// Nothing if the container stays in the caller's.
    pub(super) cgroup: Option<Cgroup>,
    pub(super) unit: Option<Unit>,
    /// Keeps the unit alive until the first process is in it.
    holder: Option<Holder>,
}

impl Place {
    pub(super) fn make(spec: &Spec, id: &str, cgroups: Cgroups) -> Result<Place> {
        match cgroups {
            Cgroups::Systemd => Place::by_systemd(spec, id),
            Cgroups::Files { optional } => {
                let path = path_of(spec, id);
                let cgroup = match cgroup::create(layout::detect()?, &path, &resources(spec)) {
                    Err(error) if optional && cgroup::is_refused(&error) && asks_nothing(spec) => {
                        tracing::debug!("stay in our own cgroup: {error:#}");
                        None
                    }
                    made => Some(made?),
                };
                Ok(Place {
                    path,
                    cgroup,
                    unit: None,
                    holder: None,
                })
            }
        }
    }

    fn by_systemd(spec: &Spec, id: &str) -> Result<Place> {
        let host = layout::detect()?;
        let resources = resources(spec);
        let path = spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str());
        let unit = systemd::unit(path.unwrap_or_default(), id)?;
        let (cgroup, holder) = systemd::make(host, &unit, id, &resources)?;
        Ok(Place {
            path: cgroup.path().to_owned(),
            cgroup: Some(cgroup),
            unit: Some(unit),
            holder: Some(holder),
        })
    }

    /// Takes it away again, whatever goes wrong: what is left is told.
    pub(super) fn destroy(self) {
        drop(self.holder);
        if let Some(cgroup) = &self.cgroup
            && let Err(error) = cgroup::end(cgroup, self.unit.as_ref())
        {
            tracing::warn!("{error:#}");
        }
    }
}

/// Whether a configuration neither names a cgroup nor limits anything; who may not make cgroups may make no devices
/// either, so rules for those do not matter.
fn asks_nothing(spec: &Spec) -> bool {
    spec.linux.as_ref().is_none_or(|linux| {
        let resources = linux.resources.as_ref().is_none_or(|resources| {
            let limits = Resources {
                devices: Vec::new(),
                ..resources.clone()
            };
            limits == Resources::default()
        });
        linux.cgroups_path.is_empty() && resources
    })
}

/// The path that the configuration gives, relative to the root of the hierarchies.
///
/// Without one in the configuration it is the id, as runc and crun have it: a common parent would double the directories
/// that a start makes.
fn path_of(spec: &Spec, id: &str) -> PathBuf {
    let path = spec.linux.as_ref().map(|linux| linux.cgroups_path.as_str());
    let path = path.filter(|path| !path.is_empty());
    Path::new("/").join(path.unwrap_or(id))
}

/// The limits of the configuration; the devices that every container has come after its own rules.
fn resources(spec: &Spec) -> Resources {
    let mut resources = spec
        .linux
        .as_ref()
        .and_then(|linux| linux.resources.clone())
        .unwrap_or_default();
    resources.devices.extend(DeviceRule::usual());
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_limits_is_told_apart() {
        let asks = |linux: &str| {
            let spec = format!(r#"{{"ociVersion":"1.0.0","linux":{linux}}}"#);
            !asks_nothing(&serde_json::from_str(&spec).unwrap())
        };
        assert!(!asks("{}"));
        assert!(!asks(r#"{"resources":{"devices":[{"allow":false}]}}"#));
        assert!(asks(r#"{"resources":{"pids":{"limit":5}}}"#));
        assert!(asks(r#"{"cgroupsPath":"/x"}"#));
    }
}
