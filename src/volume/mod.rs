//! Named and anonymous volumes: a directory `NAME/_data` and a record beside it.
//!
//! Only the `local` driver exists: a volume is its directory, one of the host, or a file system (`options`, `mounted`). Who
//! uses a volume is the containers' business, so removal takes that as an argument.

pub mod mounted;
pub mod options;

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::CWD;
use serde::{Deserialize, Serialize};

use crate::dirs::Dirs;
use crate::docker::system::{Volume, VolumeCreate};
use crate::error;
use crate::store::{self, Draft, Durability, FileLock, Records};
use options::Source;

/// The label that tells volumes without a name of their own.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
const RECORD: &str = "volume.json";
const DATA: &str = "_data";

/// What is known of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// When it was created.
    pub created: Timestamp,
    /// Metadata; none and empty print differently.
    pub labels: Option<BTreeMap<String, String>>,
    /// Options of the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// All volumes below the data root.
#[derive(Debug)]
pub struct Volumes {
    dirs: Dirs,
    records: Records<VolumeRecord>,
}

impl Volumes {
    /// Returns the volumes of `dirs`; reads nothing.
    pub fn new(dirs: &Dirs) -> Volumes {
        Volumes {
            dirs: dirs.clone(),
            records: Records::new(dirs.volumes(), RECORD),
        }
    }

    /// Creates a volume, or returns the one that has this name already; an empty name makes one up.
    ///
    /// Returns whether it is new. Errors are of kind `Invalid`.
    pub fn create(&self, request: &VolumeCreate) -> Result<(Volume, bool)> {
        check_driver(&request.driver).with_context(|| format!("create {}", request.name))?;
        let mut labels = request.labels.clone();
        let name = if request.name.is_empty() {
            labels
                .get_or_insert_default()
                .insert(ANONYMOUS_LABEL.to_owned(), String::new());
            store::random_id()?
        } else {
            validate_name(&request.name)?;
            request.name.clone()
        };
        if let Ok(existing) = self.get(&name) {
            return Ok((existing, false));
        }
        let options = request
            .driver_opts
            .clone()
            .filter(|options| !options.is_empty());
        if let Some(options) = &options {
            options::check(options).with_context(|| format!("create {name}"))?;
        }
        let draft = Draft::new(&self.dirs.tmp())?;
        let data = draft.path().join(DATA);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&data)
            .with_context(|| format!("create {}", data.display()))?;
        let record = VolumeRecord {
            created: Timestamp::now(),
            labels,
            options,
        };
        store::write_json(&draft.path().join(RECORD), &record, Durability::Synced)?;
        let place = self.records.dir(&name);
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(CWD, draft.path(), CWD, &place, flags) {
            Ok(()) => Ok((self.describe(&name, record), true)),
            // Somebody was faster; theirs is as good.
            Err(rustix::io::Errno::EXIST) => Ok((self.get(&name)?, false)),
            Err(errno) => Err(errno).with_context(|| format!("create volume {name}")),
        }
    }

    /// Returns a volume by its name; the error is of kind `NotFound` if there is none.
    pub fn get(&self, name: &str) -> Result<Volume> {
        if name.is_empty() {
            return Err(error::empty_name("volume"));
        }
        let missing = || error::not_found(format!("get {name}: no such volume"));
        if validate_name(name).is_err() {
            return Err(missing());
        }
        match self.records.read(name) {
            Ok(record) => Ok(self.describe(name, record)),
            Err(error) if error::is(&error, error::Kind::NotFound) => Err(missing()),
            Err(error) => Err(error),
        }
    }

    /// Returns all volumes, sorted by name; those that cannot be read are left out with a warning.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let records = self.records.list()?;
        Ok(records
            .map(|(name, record)| self.describe(&name, record))
            .collect())
    }

    fn describe(&self, name: &str, record: VolumeRecord) -> Volume {
        Volume {
            created_at: record.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            driver: "local".to_owned(),
            labels: record.labels,
            mountpoint: self.data(name).to_string_lossy().into_owned(),
            name: name.to_owned(),
            options: record.options,
            scope: "local".to_owned(),
            ..Volume::default()
        }
    }

    /// Returns where the data of a volume is on the host.
    pub fn data(&self, name: &str) -> PathBuf {
        self.records.dir(name).join(DATA)
    }

    /// Returns the lock that is held while a volume is filled for the first time, or removed.
    pub fn lock(&self, name: &str) -> Result<FileLock> {
        self.records.lock(name)
    }

    /// Removes a volume that `users`, ids of containers, do not use, and returns what of it the caller is to delete.
    ///
    /// Errors are of kind `NotFound` and `Conflict`.
    pub fn remove(&self, name: &str, users: &[String]) -> Result<PathBuf> {
        self.get(name)?;
        if !users.is_empty() {
            let users = users.join(", ");
            return Err(error::conflict(format!(
                "remove {name}: volume is in use - [{users}]"
            )));
        }
        let _lock = self.lock(name)?;
        // What is left of a user that was killed; the files of others are not ours to delete.
        mounted::unmount(&self.data(name))?;
        self.records.remove(name, &self.dirs.trash())
    }
}

/// Returns whether a volume has no name of its own.
pub fn is_anonymous(volume: &Volume) -> bool {
    volume
        .labels
        .as_ref()
        .is_some_and(|labels| labels.contains_key(ANONYMOUS_LABEL))
}

/// Returns the directory of the host that a volume with options stands for; none for others.
pub fn device(options: Option<&options::Options>) -> Option<&Path> {
    match options::source(options) {
        Source::Bind(path) => Some(path),
        Source::Directory | Source::FileSystem(_) => None,
    }
}

/// Refuses a name that is not `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, with docker's text; the error is of kind `Invalid`.
pub fn validate_name(name: &str) -> Result<()> {
    let word = |b: u8| b.is_ascii_alphanumeric();
    let valid = name.bytes().next().is_some_and(word)
        && name
            .bytes()
            .all(|b| word(b) || matches!(b, b'_' | b'.' | b'-'));
    if valid && name.len() == 1 {
        let why = "names should be at least two alphanumeric characters";
        return Err(error::invalid(format!(
            "create {name}: volume name is too short, {why}"
        )));
    }
    if !valid {
        return Err(error::invalid(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    Ok(())
}

fn check_driver(driver: &str) -> Result<()> {
    if matches!(driver, "" | "local") {
        return Ok(());
    }
    let why = format!("error looking up volume plugin {driver}: plugin \"{driver}\" not found");
    Err(error::not_found(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf, Volumes);

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn scratch() -> Scratch {
        let root = std::env::temp_dir().join(format!("aril-volumes-{}", store::unique()));
        let dirs = Dirs::new(root.join("data"), root.join("run"));
        dirs.create().unwrap();
        Scratch(root, Volumes::new(&dirs))
    }

    fn named(name: &str) -> VolumeCreate {
        VolumeCreate {
            name: name.into(),
            ..VolumeCreate::default()
        }
    }

    #[test]
    fn a_volume_is_made_once_and_removed_when_unused() {
        let Scratch(_, volumes) = &scratch();
        let (volume, new) = volumes.create(&named("data")).unwrap();
        assert!(new && Path::new(&volume.mountpoint).is_dir());
        std::fs::write(volumes.data("data").join("f"), "kept").unwrap();
        assert!(!volumes.create(&named("data")).unwrap().1);
        assert!(volumes.data("data").join("f").exists());
        let error = volumes
            .remove("data", &["c1".into(), "c2".into()])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "remove data: volume is in use - [c1, c2]"
        );
        volumes.remove("data", &[]).unwrap();
        assert_eq!(
            volumes.remove("data", &[]).unwrap_err().to_string(),
            "get data: no such volume"
        );
    }

    #[test]
    fn anonymous_volumes_are_told_by_their_label() {
        let Scratch(_, volumes) = &scratch();
        let (volume, _) = volumes.create(&named("")).unwrap();
        assert!(is_anonymous(&volume) && volume.name.len() == 64);
        assert!(!is_anonymous(&volumes.create(&named("named")).unwrap().0));
        assert_eq!(volumes.list().unwrap().len(), 2);
    }

    #[test]
    fn bad_names_drivers_and_options_are_refused() {
        let Scratch(_, volumes) = &scratch();
        for bad in ["a b", "../x", "a/b", ".x", "x"] {
            assert!(volumes.create(&named(bad)).is_err(), "{bad}");
        }
        let driver = VolumeCreate {
            driver: "nfs".into(),
            ..named("vv")
        };
        let refused = volumes.create(&driver).unwrap_err();
        assert!(error::line(&refused).ends_with("plugin \"nfs\" not found"));
        let options = |list: &[(&str, &str)]| VolumeCreate {
            driver_opts: Some(
                list.iter()
                    .map(|(k, v)| ((*k).into(), (*v).into()))
                    .collect(),
            ),
            ..named("vv")
        };
        assert!(volumes.create(&options(&[("wat", "1")])).is_err());
        let bind = [("type", "none"), ("o", "bind"), ("device", "/srv")];
        let (volume, _) = volumes.create(&options(&bind)).unwrap();
        assert_eq!(device(volume.options.as_ref()), Some(Path::new("/srv")));
    }
}
