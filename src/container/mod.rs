//! The engine's knowledge of a container: its record, its status, its name.
//!
//! `record.json` is what was asked for and what was decided at creation; the command line changes it under its lock
//! (rename, update). `state.json` is where in its life the container is, from its first start on; while a monitor lives only
//! that monitor writes it, and otherwise whoever repairs or removes the container, under the monitor's lock.
//!
//! A container exists once its directory has its final name; that rename and the link that reserves its name happen under
//! one lock, so a link without its container was left by a crash and counts for nothing.

use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use oci_spec::image::Digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dirs::Dirs;
use crate::docker::container::{Config, HostConfig, NetworkingConfig};
use crate::docker::inspect::MountPoint;
use crate::error;
use crate::settings::CgroupDriver;
use crate::store::{self, Draft, Durability, FileLock, Records};

pub mod check;
pub mod idmap;
pub mod logs;
pub mod merge;
pub mod mounts;
pub mod names;
pub mod quota;
pub mod seccomp;
pub mod security;
mod settling;
pub mod signal;
pub mod spec;
mod status;
pub mod user;

pub use settling::Settling;
pub use status::{EndedBy, ExitStatus, NetworkStatus, Phase, Status};

const RECORD: &str = "record.json";
const STATE: &str = "state.json";

/// What was asked for and decided at creation; `H` is a part of the host configuration where not all of it is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<H = HostConfig> {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the leading `/` that documents show.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Id of the image: the digest of its configuration.
    pub image: Digest,
    /// Diff IDs of the image's layers, from the lowest, so that it starts also after the image has lost its name.
    pub layers: Vec<Digest>,
    /// Operating system of the image.
    pub platform: String,
    /// As it was asked for, merged with the image's.
    pub config: Config,
    /// As it was asked for, with defaults filled in.
    pub host_config: H,
    /// As it was asked for.
    pub networking_config: NetworkingConfig,
    /// Volumes, binds and tmpfs mounts of the long form, with what they resolved to.
    pub mounts: Vec<MountPoint>,
    /// Who makes its cgroup, as daemon.json said.
    #[serde(default)]
    pub cgroup_driver: CgroupDriver,
}

impl Record {
    /// Returns the ids of the images that it needs: its own, and those that it mounts.
    pub fn images(&self) -> Vec<Digest> {
        let mut images = vec![self.image.clone()];
        for mount in self.mounts.iter().filter(|mount| mount.kind == "image") {
            if let Ok(image) = mount.source.parse()
                && !images.contains(&image)
            {
                images.push(image);
            }
        }
        images
    }
}

/// What lists show of a [`HostConfig`], which is the larger half of a record and takes the longest to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Listed {
    /// As in [`HostConfig`].
    pub network_mode: String,
    /// As in [`HostConfig`].
    pub links: Option<Vec<String>>,
}

/// A container as it was read; `H` is as in [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub struct Container<H = HostConfig> {
    /// Its record; boxed, since it is large, and lists of containers are sorted and filtered.
    pub record: Box<Record<H>>,
    /// Its status.
    pub status: Status,
}

impl Container {
    /// Returns the first 12 digits of the id, which is how people see it.
    pub fn short_id(&self) -> &str {
        short(&self.record.id)
    }
}

/// Returns the first 12 digits of an id.
pub fn short(id: &str) -> &str {
    &id[..12.min(id.len())]
}

/// All containers below the data root.
#[derive(Debug)]
pub struct Containers {
    dirs: Dirs,
    records: Records<Record>,
}

impl Containers {
    /// Returns the containers of `dirs`; reads nothing.
    pub fn new(dirs: &Dirs) -> Containers {
        Containers {
            dirs: dirs.clone(),
            records: Records::new(dirs.containers(), RECORD),
        }
    }

    /// Makes the directory that a new container is put together in, outside of everybody's sight.
    pub fn draft(&self) -> Result<Draft> {
        Draft::new(&self.dirs.tmp())
    }

    /// Makes a draft a container: its name is reserved and it can be seen. On an error the draft is left to the caller.
    ///
    /// The error is of kind `Conflict` if the name is taken.
    pub fn insert(&self, draft: &Path, record: &Record) -> Result<Settling> {
        store::write_json(&draft.join(RECORD), record, Durability::Cached)?;
        let dir = self.dirs.container(&record.id);
        let lock = FileLock::exclusive(&self.dirs.lock("names"))?;
        self.link(&record.name, &record.id)?;
        std::fs::rename(draft, &dir)
            .inspect_err(|_| self.unlink(&record.name))
            .with_context(|| format!("create {}", dir.display()))?;
        drop(lock);
        // A container that goes when it ends does not outlive a power cut either.
        if record.host_config.auto_remove {
            return Ok(Settling::default());
        }
        Ok(Settling::new(vec![
            dir.join(RECORD),
            dir,
            self.dirs.containers(),
        ]))
    }

    /// Reserves a name; the caller holds the lock of names.
    fn link(&self, name: &str, id: &str) -> Result<()> {
        let link = self.dirs.names().join(name);
        let target = Path::new("../containers").join(id);
        loop {
            match std::os::unix::fs::symlink(&target, &link) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => match self.owner(name)? {
                    Some(owner) => return Err(name_taken(name, &owner)),
                    None => self.unlink(name),
                },
                Err(error) => {
                    return Err(error).with_context(|| format!("create {}", link.display()));
                }
            }
        }
    }

    fn unlink(&self, name: &str) {
        let link = self.dirs.names().join(name);
        if let Err(error) = std::fs::remove_file(&link)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!("remove {}: {error}", link.display());
        }
    }

    /// Returns the id of the container that has exactly this name.
    pub fn owner(&self, name: &str) -> Result<Option<String>> {
        if !names::is_valid(name) {
            return Ok(None);
        }
        let link = self.dirs.names().join(name);
        let target = match std::fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", link.display())),
        };
        let id = target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match self.records.read(&id) {
            Ok(record) if record.name == name => Ok(Some(id)),
            Ok(_) => Ok(None),
            Err(error) if error::is(&error, error::Kind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the id that `text` means: a full id, a name (also with a leading `/`), or the start of one id.
    ///
    /// The error is of kind `NotFound` if there is none, and `Invalid` if `text` is empty or fits several.
    pub fn resolve(&self, text: &str) -> Result<String> {
        if text.is_empty() {
            return Err(error::empty_name("container"));
        }
        let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && text.len() == 64 && self.records.contains(text) {
            return Ok(text.to_owned());
        }
        let text = text.strip_prefix('/').unwrap_or(text);
        if let Some(id) = self.owner(text)? {
            return Ok(id);
        }
        if is_hex && text.len() < 64 {
            let mut matches = self
                .records
                .keys()?
                .into_iter()
                .filter(|id| id.starts_with(text));
            match (matches.next(), matches.next()) {
                (Some(id), None) => return Ok(id),
                (Some(_), Some(_)) => {
                    return Err(error::invalid(format!(
                        "multiple IDs found with provided prefix: {text}"
                    )));
                }
                _ => {}
            }
        }
        Err(error::not_found(format!("No such container: {text}")))
    }

    /// Reads a container by its full id; the error is of kind `NotFound` if there is none.
    pub fn get(&self, id: &str) -> Result<Container> {
        self.get_as(id)
    }

    /// Reads as [`Containers::get`] does what `H` has of the host configuration.
    pub fn get_as<H: DeserializeOwned>(&self, id: &str) -> Result<Container<H>> {
        let record = self
            .records
            .read_as(id)
            .map_err(|error| match error::kind(&error) {
                Some(error::Kind::NotFound) => error::not_found(format!("No such container: {id}")),
                _ => error,
            })?;
        Ok(Container {
            status: self.status(id)?,
            record: Box::new(record),
        })
    }

    /// Reads the status of a container.
    ///
    /// A status that a power cut has damaged reads as that of a container that was killed with the machine; what was never
    /// started has none.
    pub fn status(&self, id: &str) -> Result<Status> {
        let dir = self.dirs.container(id);
        match store::read_json(&dir.join(STATE)) {
            Ok(status) => Ok(status),
            Err(error) if error::is(&error, error::Kind::NotFound) => {
                if dir.join(RECORD).exists() {
                    Ok(Status::default())
                } else {
                    Err(error::not_found(format!("No such container: {id}")))
                }
            }
            Err(error) => {
                tracing::warn!("{error:#}");
                let exit_code = ExitStatus::MACHINE_DIED.code();
                Ok(Status {
                    phase: Phase::Exited,
                    exit_code,
                    ..Status::default()
                })
            }
        }
    }

    /// Replaces the status of a container; only for the one who holds the monitor's lock.
    pub fn set_status(&self, id: &str, status: &Status) -> Result<()> {
        store::write_json(
            &self.dirs.container(id).join(STATE),
            status,
            Durability::Cached,
        )
    }

    /// Returns all containers, the newest first; those that cannot be read are left out with a warning.
    pub fn list(&self) -> Result<Vec<Container>> {
        self.list_as()
    }

    /// Reads as [`Containers::list`] does what `H` has of the host configurations.
    pub fn list_as<H: DeserializeOwned>(&self) -> Result<Vec<Container<H>>> {
        let mut containers = Vec::new();
        for (id, record) in self.records.list_as()? {
            match self.status(&id) {
                Ok(status) => {
                    let record: Box<Record<H>> = Box::new(record);
                    containers.push(Container { record, status });
                }
                Err(error) if error::is(&error, error::Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        containers.sort_by(|a, b| {
            b.record
                .created
                .cmp(&a.record.created)
                .then_with(|| a.record.id.cmp(&b.record.id))
        });
        Ok(containers)
    }

    /// Changes a record under its lock.
    pub fn update<R>(&self, id: &str, change: impl FnOnce(&mut Record) -> Result<R>) -> Result<R> {
        self.records.update(id, Durability::Synced, change)
    }

    /// Gives a container another name; the error is of kind `Conflict` if it is taken.
    pub fn rename(&self, id: &str, name: &str) -> Result<String> {
        names::validate(name)?;
        let _lock = FileLock::exclusive(&self.dirs.lock("names"))?;
        let old = self.records.read(id)?.name;
        self.link(name, id)?;
        let renamed = self.update(id, |record| {
            name.clone_into(&mut record.name);
            Ok(())
        });
        self.unlink(if renamed.is_ok() { &old } else { name });
        renamed.map(|()| old)
    }

    /// Lets a name lead to its container again; the error is of kind `Conflict` if it leads to another one.
    pub fn restore_name(&self, name: &str, id: &str) -> Result<()> {
        let _lock = FileLock::exclusive(&self.dirs.lock("names"))?;
        self.link(name, id)
    }

    /// Frees a name that leads to no container that could be read; one that leads to one stays.
    pub fn free_name(&self, name: &str) -> Result<()> {
        let _lock = FileLock::exclusive(&self.dirs.lock("names"))?;
        if !matches!(self.owner(name), Ok(Some(_))) {
            self.unlink(name);
        }
        Ok(())
    }

    /// Ends a container: frees its name and moves its directory into the trash, from where the caller deletes it.
    pub fn remove(&self, id: &str) -> Result<PathBuf> {
        let _lock = FileLock::exclusive(&self.dirs.lock("names"))?;
        let name = self.records.read(id).map(|record| record.name);
        let trash = self.records.remove(id, &self.dirs.trash())?;
        if let Ok(name) = name {
            self.unlink(&name);
        }
        Ok(trash)
    }

    /// Takes the lock of a container's monitor, making its run directory; nothing if somebody has it.
    pub fn try_lock(&self, id: &str) -> Result<Option<FileLock>> {
        let dir = self.dirs.container_run(id);
        let is = |error: &anyhow::Error, kind| {
            error
                .root_cause()
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == kind)
        };
        loop {
            match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("create {}", dir.display()));
                }
                _ => {}
            }
            match FileLock::try_exclusive(&self.dirs.monitor_lock(id)) {
                // A monitor that ended took the directory with it.
                Err(error) if is(&error, ErrorKind::NotFound) => {}
                taken => return taken,
            }
        }
    }

    /// Deletes the run directory of a container, and the lock with it, which the caller holds.
    pub fn clear_run(&self, id: &str) {
        let dir = self.dirs.container_run(id);
        // Who has come into it meanwhile clears it too.
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            )
        {
            tracing::warn!("delete {}: {error}", dir.display());
        }
    }

    /// Returns whether the monitor of a container lives.
    pub fn is_monitored(&self, id: &str) -> Result<bool> {
        FileLock::is_held(&self.dirs.monitor_lock(id))
    }
}

fn name_taken(name: &str, owner: &str) -> anyhow::Error {
    error::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    ))
}

/// Returns an id that no container has: 64 hexadecimal digits, the first 12 not all decimal, since they become a host name.
pub fn new_id() -> Result<String> {
    loop {
        let id = store::random_id()?;
        if id.as_bytes()[..12].iter().any(|b| !b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf, Containers);

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn scratch() -> Scratch {
        let root = std::env::temp_dir().join(format!("aril-containers-{}", store::unique()));
        let dirs = Dirs::new(root.join("data"), root.join("run"));
        dirs.create().unwrap();
        Scratch(root, Containers::new(&dirs))
    }

    fn record(id: &str, name: &str) -> Record {
        Record {
            id: id.to_owned(),
            name: name.to_owned(),
            created: Timestamp::now(),
            image: crate::oci::digest::sha256(b""),
            layers: Vec::new(),
            platform: "linux".into(),
            config: Config::default(),
            host_config: HostConfig::default(),
            networking_config: NetworkingConfig::default(),
            mounts: Vec::new(),
            cgroup_driver: CgroupDriver::default(),
        }
    }

    fn insert(containers: &Containers, id: &str, name: &str) -> Result<()> {
        let draft = containers.draft().unwrap();
        containers.insert(draft.path(), &record(id, name))?.wait()
    }

    #[test]
    fn names_and_prefixes_resolve() {
        let Scratch(_, containers) = &scratch();
        let (one, two) = ("ab".repeat(32), format!("abcd{}", "0".repeat(60)));
        insert(containers, &one, "web").unwrap();
        insert(containers, &two, "abc").unwrap();
        for (text, id) in [
            ("web", &one),
            ("/web", &one),
            (&one[..], &one),
            ("aba", &one),
            ("abc", &two),
        ] {
            assert_eq!(&containers.resolve(text).unwrap(), id, "{text}");
        }
        for (text, kind) in [
            ("ab", error::Kind::Invalid),
            ("", error::Kind::Invalid),
            ("x", error::Kind::NotFound),
        ] {
            assert_eq!(
                error::kind(&containers.resolve(text).unwrap_err()),
                Some(kind),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_belongs_to_one_container() {
        let Scratch(_, containers) = &scratch();
        let (one, two) = ("1a".repeat(32), "2b".repeat(32));
        insert(containers, &one, "web").unwrap();
        let error = insert(containers, &two, "web").unwrap_err();
        assert_eq!(error::kind(&error), Some(error::Kind::Conflict));
        insert(containers, &two, "db").unwrap();
        assert!(containers.rename(&two, "web").is_err());
        assert_eq!(containers.rename(&two, "sql").unwrap(), "db");
        assert_eq!(containers.resolve("sql").unwrap(), two);
        assert!(containers.resolve("db").is_err());
        containers.remove(&one).unwrap();
        insert(containers, &"3c".repeat(32), "web").unwrap();
    }

    #[test]
    fn what_a_crash_left_of_a_name_does_not_hold_it() {
        let Scratch(_, containers) = &scratch();
        std::os::unix::fs::symlink("../containers/gone", containers.dirs.names().join("web"))
            .unwrap();
        assert!(containers.resolve("web").is_err());
        insert(containers, &"1a".repeat(32), "web").unwrap();
    }
}
