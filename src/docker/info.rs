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
    /// What there is to say of the storage: names and values.
    pub driver_status: Vec<[String; 2]>,
    /// What networks, volumes and logs can be made by.
    pub plugins: Plugins,
    /// Whether the cgroups of this machine can limit memory.
    pub memory_limit: bool,
    /// Memory and swap together.
    pub swap_limit: bool,
    /// Time of CPUs, by its period.
    pub cpu_cfs_period: bool,
    /// Time of CPUs, by its quota.
    pub cpu_cfs_quota: bool,
    /// Shares of CPUs.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    /// Which CPUs.
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    /// Numbers of processes.
    pub pids_limit: bool,
    /// Whether processes can be made to wait for memory.
    pub oom_kill_disable: bool,
    /// Whether the machine forwards packets of IPv4 between all its networks.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Whether the engine logs what it does.
    pub debug: bool,
    /// RFC 3339, with nanoseconds.
    pub system_time: String,
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
    /// Its version; empty if it has none.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// Always `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// As the kernel names it.
    pub architecture: String,
    /// Where credentials for Docker Hub belong.
    pub index_server_address: String,
    /// How registries are reached.
    pub registry_config: RegistryConfig,
    /// CPUs.
    #[serde(rename = "NCPU")]
    pub ncpu: u32,
    /// Bytes of memory.
    pub mem_total: i64,
    /// Where everything is kept.
    pub docker_root_dir: String,
    /// Proxy for plain HTTP that daemon.json names, without its password.
    pub http_proxy: String,
    /// The same for HTTPS.
    pub https_proxy: String,
    /// Hosts that are reached without a proxy.
    pub no_proxy: String,
    /// The host's name.
    pub name: String,
    /// `key=value` labels of the engine.
    pub labels: Vec<String>,
    /// Always false.
    pub experimental_build: bool,
    /// The version of docker whose behaviour this engine has.
    pub server_version: String,
    /// What `--runtime` may be.
    pub runtimes: BTreeMap<String, Runtime>,
    /// Name of the OCI runtime.
    pub default_runtime: String,
    /// That there is no swarm.
    pub swarm: Swarm,
    /// Whether containers outlive the engine.
    pub live_restore_enabled: bool,
    /// Always empty: there is one way to isolate on Linux.
    pub isolation: String,
    /// Name of the init that `--init` starts.
    pub init_binary: String,
    /// What confines containers.
    pub security_options: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The half that docker's client says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_info: Option<ClientInfo>,
}

/// What networks, volumes and logs can be made by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugins {
    /// Drivers of volumes.
    pub volume: Vec<String>,
    /// Drivers of networks.
    pub network: Vec<String>,
    /// Always `None`: nobody is asked for permission.
    pub authorization: Option<Vec<String>>,
    /// Drivers of logs that can be read.
    pub log: Vec<String>,
}

/// An OCI runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// The program.
    pub path: String,
}

/// What there is to say of a swarm that there is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Swarm {
    /// Always empty.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Always empty.
    pub node_addr: String,
    /// Always `inactive`.
    pub local_node_state: String,
    /// Always false.
    pub control_available: bool,
    /// Always empty.
    pub error: String,
    /// Always `None`.
    pub remote_managers: Option<Vec<String>>,
}

/// What docker's client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ClientInfo {
    /// Whether it logs what it does.
    pub debug: bool,
    /// Of docker.
    pub version: String,
    /// What it was built from.
    pub git_commit: String,
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub arch: String,
    /// Always `default`.
    pub context: String,
    /// The newest version of the API.
    #[serde(rename = "DefaultAPIVersion")]
    pub default_api_version: String,
    /// Always empty.
    pub plugins: Vec<String>,
    /// Always `None`.
    pub warnings: Option<Vec<String>>,
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
