//! The names of one container in one network: a small file, written by its monitor and read by those of its neighbours.
//!
//! ```text
//!   DIRECTORY/CONTAINER-ID.json      {"names":["web","api","0123456789ab"],"addresses":["172.18.0.2"]}
//! ```
//!
//! The file counts while the lock of its container's monitor is held, so a crash takes the names with it. Writing and
//! removing change the directory's time, which is all that a reader looks at before it trusts what it has read before.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::store::{self, Durability};

const SUFFIX: &str = ".json";

/// A container's names and addresses in one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name first; then aliases, the first 12 digits of its id, its host name.
    pub names: Vec<String>,
    /// Its addresses in the network.
    pub addresses: Vec<IpAddr>,
}

impl Entry {
    /// Writes the entry of `container`, whose id is in full; every query that comes after this returns sees it.
    pub fn write(&self, directory: &Path, container: &str) -> Result<()> {
        let bytes = serde_json::to_vec(self).context("write a name entry")?;
        store::write_atomic(&path(directory, container), &bytes, Durability::Cached)
    }

    /// Reads the entry of `container`; the error is of kind `NotFound` if there is none.
    pub fn read(directory: &Path, container: &str) -> Result<Entry> {
        store::read_json(&path(directory, container))
    }

    /// Removes the entry of `container`; none is fine.
    pub fn remove(directory: &Path, container: &str) -> Result<()> {
        let path = path(directory, container);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Reads all entries, by the ids of their containers in ascending order; none if the directory is missing.
///
/// An entry that goes away meanwhile, or cannot be read, is left out.
pub(super) fn read_all(directory: &Path) -> Vec<(String, Entry)> {
    let Ok(files) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut entries: Vec<(String, Entry)> = files
        .filter_map(|file| {
            let name = file.ok()?.file_name();
            // Files that are being written end otherwise.
            let container = name.to_str()?.strip_suffix(SUFFIX)?;
            let entry = Entry::read(directory, container).ok()?;
            Some((container.to_owned(), entry))
        })
        .collect();
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    entries
}

fn path(directory: &Path, container: &str) -> PathBuf {
    directory.join(format!("{container}{SUFFIX}"))
}
