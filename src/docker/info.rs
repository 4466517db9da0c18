//! What an engine and its machine are like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The facts of an engine (`GET /info`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// Of the engine: the same as long as machine and data folder are.
    #[serde(rename = "ID")]
    pub id: String,
    /// All containers.
    pub containers: usize,
    /// Those that run.
    pub containers_running: usize,
    /// Those that are frozen.
    pub containers_paused: usize,
    /// Those that do not run.
    pub containers_stopped: usize,
    /// Images.
    pub images: usize,
    /// Of the storage.
    pub driver: String,
    /// Where everything is kept.
    pub docker_root_dir: String,
    /// Of containers that do not ask for another.
    pub logging_driver: String,
    /// Always `cgroupfs`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// `6.1.0-18-amd64`.
    pub kernel_version: String,
    /// Name of the distribution.
    pub operating_system: String,
    /// Always `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// As the kernel names it.
    pub architecture: String,
    /// CPUs.
    #[serde(rename = "NCPU")]
    pub ncpu: u32,
    /// Bytes of memory.
    pub mem_total: i64,
    /// The host's name.
    pub name: String,
    /// The version of docker whose behaviour this engine has.
    pub server_version: String,
    /// Name of the OCI runtime.
    pub default_runtime: String,
    /// What confines containers.
    pub security_options: Vec<String>,
    /// `key=value` labels of the engine.
    pub labels: Vec<String>,
    /// How registries are reached.
    pub registry_config: RegistryConfig,
    /// Whether containers outlive the engine.
    pub live_restore_enabled: bool,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// How registries are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegistryConfig {
    /// Networks whose registries may be spoken to without verified TLS.
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<String>,
    /// Docker Hub, and registries that are listed as insecure, by their names.
    pub index_configs: BTreeMap<String, IndexInfo>,
    /// Mirrors of Docker Hub.
    pub mirrors: Vec<String>,
}

/// How one registry is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexInfo {
    /// Its name.
    pub name: String,
    /// Its mirrors.
    pub mirrors: Vec<String>,
    /// Whether TLS is verified.
    pub secure: bool,
    /// Whether it is Docker Hub.
    pub official: bool,
}
