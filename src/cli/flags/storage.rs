//! Options of storage: volumes, mounts, tmpfs, and where the log goes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::mount;
use super::volume::{self, Volume};
use crate::docker::container::{Config, HostConfig, LogConfig, Mount};
use crate::error;
use crate::oci::image::Empty;

/// Options of storage.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageFlags {
    /// Where the log goes: json-file, local, journald, syslog, none
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub log_driver: String,
    /// Set an option of the log driver (NAME=VALUE)
    #[arg(long, value_name = "list")]
    pub log_opt: Vec<String>,
    /// Mount something: type=bind, volume, tmpfs or image, and source=…, target=…, readonly
    #[arg(long, value_name = "mount", value_parser = mount::parse)]
    pub mount: Vec<Mount>,
    /// Make the root filesystem read-only
    #[arg(long)]
    pub read_only: bool,
    /// Set an option of the storage driver (NAME=VALUE)
    #[arg(long, value_name = "list")]
    pub storage_opt: Vec<String>,
    /// Mount an empty filesystem in memory (PATH[:OPTIONS])
    #[arg(long, value_name = "list")]
    pub tmpfs: Vec<String>,
    /// Mount a volume or a directory of the host ([SOURCE:]TARGET[:OPTIONS])
    #[arg(short, long, value_name = "list")]
    pub volume: Vec<String>,
    /// Driver of volumes; only "local" exists
    #[arg(
        long,
        value_name = "string",
        default_value = "",
        hide_default_value = true
    )]
    pub volume_driver: String,
    /// Mount what another container has (NAME[:ro])
    #[arg(long, value_name = "list")]
    pub volumes_from: Vec<String>,
}

/// Adds what the options ask for; relative sources are below `directory`.
///
/// Errors are of kind `Invalid`.
pub fn apply(
    flags: &StorageFlags,
    directory: &Path,
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<()> {
    let some = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let mut binds: Vec<String> = Vec::new();
    let mut volumes = BTreeMap::new();
    for text in &flags.volume {
        match volume::parse(text, directory)? {
            Volume::Anonymous(path) => {
                volumes.insert(path, Empty {});
            }
            Volume::Bind(bind) if !binds.contains(&bind) => binds.push(bind),
            Volume::Bind(_) => {}
        }
    }
    config.volumes = Some(volumes);
    host.binds = some(binds);
    host.mounts.clone_from(&flags.mount);
    for mount in &mut host.mounts {
        mount::resolve(mount, directory);
    }
    host.tmpfs = pairs(&flags.tmpfs, ':');
    host.volumes_from = some(flags.volumes_from.clone());
    host.volume_driver.clone_from(&flags.volume_driver);
    host.readonly_rootfs = flags.read_only;
    if flags.log_driver == "none" && !flags.log_opt.is_empty() {
        return Err(error::invalid("invalid logging opts for driver none"));
    }
    host.log_config = LogConfig {
        kind: flags.log_driver.clone(),
        config: pairs(&flags.log_opt, '='),
    };
    if flags.storage_opt.iter().any(|option| !option.contains('=')) {
        return Err(error::invalid("invalid storage option"));
    }
    host.storage_opt = pairs(&flags.storage_opt, '=');
    Ok(())
}

fn pairs(list: &[String], separator: char) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once(separator).unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    list.iter().map(pair).collect()
}
