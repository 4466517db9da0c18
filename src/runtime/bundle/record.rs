//! What `aril-oci` keeps of its containers on disk: one directory per container, with its record and the socket at which
//! its first process waits for the start.
//!
//! ```text
//! ROOT (0700)/ID/state.json   the record, written once, by rename: a line of its own, and the configuration
//!             ID/start        the socket; gone once the container was started
//!             @filters/HASH   compiled seccomp profiles of all containers
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::cgroup::systemd::Unit;
use crate::cgroup::{self, Cgroup, layout};
use crate::error;
use crate::oci::runtime::linux::{Namespace, NamespaceKind};
use crate::oci::runtime::{Hook, Spec};
use crate::oci::state::{State, Status};
use crate::sys::{limited, pseudo};

/// The longest configuration that is read.
const CONFIG_MAX: u64 = 16 << 20;

/// The record of a container.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) id: String,
    /// The first process, and when it was started: together they mean it and no other.
    pub(super) pid: i32,
    pub(super) start_time: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    /// When it was created, in RFC 3339.
    pub(super) created: String,
    pub(super) cgroup: PathBuf,
    /// The unit of systemd that the cgroup belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// What its standard streams are, as /proc/PID/fd shows them, if they are the caller's; for checkpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) descriptors: Vec<String>,
    /// Whether it has a time namespace that the configuration does not mention, since it was restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) has_time_namespace: bool,
    /// The programs that are run at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) poststop: Vec<Hook>,
    /// The configuration as it was then, as text that is read by who needs it; the bundle may change.
    #[serde(skip)]
    pub(super) config: String,
}

/// What `state` and `list` show of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Version of the runtime-spec.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Its first process, as the caller numbers it; 0 if there is none.
    pub pid: i32,
    /// Where in its life it is.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root filesystem.
    pub rootfs: PathBuf,
    /// When it was created, in RFC 3339.
    pub created: String,
    /// As in the configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Checks an id, which becomes the name of a directory.
pub(super) fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.chars().all(allowed) {
        bail!(error::invalid(format!(
            "invalid container ID format: {id:?}"
        )));
    }
    Ok(())
}

/// Returns the directory of a container.
pub(super) fn directory(root: &Path, id: &str) -> Result<PathBuf> {
    check_id(id)?;
    Ok(root.join(id))
}

/// Returns where compiled seccomp profiles are kept; its name is no container's.
pub(super) fn filters(root: &Path) -> PathBuf {
    root.join("@filters")
}

/// Returns the socket at which a container waits for its start.
pub(super) fn start_socket(directory: &Path) -> PathBuf {
    directory.join("start")
}

/// Reads the record of a container. Fails with `NotFound`.
pub(super) fn load(root: &Path, id: &str) -> Result<Record> {
    let path = directory(root, id)?.join("state.json");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(error::not_found("container does not exist"));
        }
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    let (own, config) = text.split_once('\n').unwrap_or((&text, ""));
    let mut record: Record =
        serde_json::from_str(own).with_context(|| format!("read {}", path.display()))?;
    config.clone_into(&mut record.config);
    Ok(record)
}

impl Record {
    /// Returns the record of a container that has just been made of `bundle`, and lives in `place`.
    pub(super) fn new(id: &str, bundle: &Bundle, place: &Place, first: Pid) -> Result<Record> {
        let pid = first.as_raw_nonzero().get();
        let spec = &bundle.spec;
        Ok(Record {
            oci_version: spec.oci_version.clone(),
            id: id.to_owned(),
            pid,
            // A program that has ended already has none any more, and never will again.
            start_time: start_time(pid).unwrap_or(0),
            bundle: bundle.path.clone(),
            rootfs: bundle.rootfs()?,
            created: jiff::Timestamp::now().to_string(),
            cgroup: place.path.clone(),
            unit: place.unit.clone(),
            annotations: spec.annotations.clone(),
            descriptors: Vec::new(),
            has_time_namespace: false,
            poststop: spec.hooks.poststop.clone(),
            config: bundle.text.clone(),
        })
    }

    /// Writes the record into its container's directory.
    pub(super) fn save(&self, directory: &Path) -> Result<()> {
        let (new, path) = (
            directory.join("state.json.new"),
            directory.join("state.json"),
        );
        // No fsync: after a crash of the machine there is no container that this could be about.
        let write = || -> io::Result<()> {
            // On one line: JSON of serde_json's has no others.
            let own = serde_json::to_string(self)?;
            fs::write(&new, [&own, "\n", &self.config].concat())?;
            fs::rename(&new, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// Reads the configuration that the container was created with.
    pub(super) fn spec(&self) -> Result<Spec> {
        let spec: Spec =
            serde_json::from_str(&self.config).context("read the container's configuration")?;
        Ok(if self.has_time_namespace {
            with_time_namespace(spec)
        } else {
            spec
        })
    }

    /// Returns the container's cgroup as far as it exists.
    pub(super) fn cgroup(&self) -> Result<Cgroup> {
        cgroup::open(layout::detect()?, &self.cgroup)
    }

    /// Looks where in its life the container is.
    pub(super) fn status(&self, root: &Path) -> Result<Status> {
        if start_time(self.pid) != Some(self.start_time) {
            return Ok(Status::Stopped);
        }
        self.status_in(root, &self.cgroup()?)
    }

    /// The same of one whose first process was seen, in its cgroup.
    pub(super) fn status_in(&self, root: &Path, cgroup: &Cgroup) -> Result<Status> {
        if cgroup.is_frozen()? {
            return Ok(Status::Paused);
        }
        let waits = start_socket(&directory(root, &self.id)?).exists();
        Ok(if waits {
            Status::Created
        } else {
            Status::Running
        })
    }

    /// Returns the state as hooks and callers see it.
    pub(super) fn state(&self, status: Status) -> State {
        State {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status,
            pid: if status == Status::Stopped {
                0
            } else {
                self.pid
            },
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
        }
    }

    pub(super) fn summary(self, status: Status) -> Summary {
        let state = self.state(status);
        Summary {
            oci_version: state.oci_version,
            id: state.id,
            pid: state.pid,
            status,
            bundle: state.bundle,
            rootfs: self.rootfs,
            created: self.created,
            annotations: state.annotations,
        }
    }
}

/// Adds a time namespace, if there is none yet.
fn with_time_namespace(mut spec: Spec) -> Spec {
    let linux = spec.linux.get_or_insert_default();
    let kind = NamespaceKind::Time;
    if !linux
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == kind)
    {
        linux.namespaces.push(Namespace { kind, path: None });
    }
    spec
}

/// Returns when process `pid` was started, in ticks since the boot; nothing if there is none, or only a zombie.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = pseudo::read_text(format!("/proc/{pid}/stat")).ok()?;
    // PID (NAME) STATE …: the name may hold anything, so counting starts behind it, with field 3.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}

/// A directory with a configuration.
#[derive(Debug)]
pub struct Bundle {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its configuration.
    pub spec: Spec,
    /// The same as it was written.
    pub(super) text: String,
}

impl Bundle {
    /// Returns the state of a container of it that has not come to be, for its hooks.
    pub(super) fn stopped(&self, id: &str) -> State {
        State {
            oci_version: self.spec.oci_version.clone(),
            id: id.to_owned(),
            status: Status::Stopped,
            pid: 0,
            bundle: self.path.clone(),
            annotations: self.spec.annotations.clone(),
        }
    }

    /// Returns the absolute path of its root filesystem.
    pub(super) fn rootfs(&self) -> Result<PathBuf> {
        match &self.spec.root {
            Some(root) => Ok(self.path.join(&root.path)),
            None => Err(error::invalid("root must be specified")),
        }
    }
}

/// Reads the configuration of the bundle in `directory`.
pub fn open_bundle(directory: &Path) -> Result<Bundle> {
    let path = fs::canonicalize(directory)
        .with_context(|| format!("open bundle {}", directory.display()))?;
    let config = path.join("config.json");
    let file = match fs::File::open(&config) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(error::not_found(
            "JSON specification file config.json not found"
        )),
        file => file.with_context(|| format!("open {}", config.display()))?,
    };
    let bytes = limited::read_to_end(file, CONFIG_MAX)
        .with_context(|| format!("read {}", config.display()))?;
    let invalid =
        |what: &dyn fmt::Display| error::invalid(format!("read {}: {what}", config.display()));
    let bytes = bytes.ok_or_else(|| invalid(&format!("more than {CONFIG_MAX} bytes")))?;
    let text = String::from_utf8(bytes).map_err(|error| invalid(&error))?;
    let spec: Spec = serde_json::from_str(&text).map_err(|error| invalid(&error))?;
    if !spec.oci_version.starts_with("1.") {
        bail!(error::invalid(format!(
            "unsupported ociVersion {:?} in {}: this runtime knows version 1",
            spec.oci_version,
            config.display()
        )));
    }
    Ok(Bundle { path, spec, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names() {
        for id in ["a", "web-1", "x_y+z.0"] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", "a/b", "a b", "ä"] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn this_process_has_a_start_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).is_some_and(|ticks| ticks > 0));
        assert_eq!(start_time(i32::MAX), None);
    }
}
