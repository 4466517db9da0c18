//! What `inspect` says of a container, and the summaries that `ps` shows.

use std::collections::BTreeMap;

use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};

use super::container::{Config, HostConfig, PortBinding};
use super::network::EndpointSettings;

/// A container (`GET /containers/{id}/json`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerInspect {
    /// 64 hexadecimal digits.
    pub id: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where in its life it is.
    pub state: State,
    /// The image's id, `sha256:…`.
    pub image: String,
    /// On the host.
    pub resolv_conf_path: String,
    /// On the host.
    pub hostname_path: String,
    /// On the host.
    pub hosts_path: String,
    /// On the host; empty if the log driver has no file.
    pub log_path: String,
    /// With a leading `/`.
    pub name: String,
    /// How often its policy has restarted it.
    pub restart_count: u32,
    /// Of the storage.
    pub driver: String,
    /// Operating system.
    pub platform: String,
    /// SELinux.
    pub mount_label: String,
    /// SELinux.
    pub process_label: String,
    /// AppArmor.
    pub app_armor_profile: String,
    /// Exec sessions that run.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    /// As it was asked for, defaults filled in.
    pub host_config: HostConfig,
    /// Where its layers are.
    pub graph_driver: GraphDriver,
    /// Bytes of the writable layer; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes of all layers; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Volumes, binds and tmpfs mounts of `--mount`.
    pub mounts: Vec<MountPoint>,
    /// As it was asked for, merged with the image's.
    pub config: Config,
    /// Addresses and ports.
    pub network_settings: NetworkSettings,
    /// The image's manifest where images are kept by containerd: never here, but templates can ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<Descriptor>,
}

/// Where in its life a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// Also while it is paused.
    pub running: bool,
    /// Whether it is frozen.
    pub paused: bool,
    /// Whether its policy waits to restart it.
    pub restarting: bool,
    /// Whether the kernel killed one of its processes for memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Whether its removal failed.
    pub dead: bool,
    /// Its first process, as the host numbers it; 0 if there is none.
    pub pid: i32,
    /// Of its last run.
    pub exit_code: i32,
    /// Why its last start failed.
    pub error: String,
    /// RFC 3339 with nanoseconds; `0001-01-01T00:00:00Z` if never.
    pub started_at: String,
    /// RFC 3339 with nanoseconds; `0001-01-01T00:00:00Z` if never.
    pub finished_at: String,
    /// Only with a health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// How a program's health was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    /// `none`, `starting`, `healthy`, `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last checks, the newest last.
    pub log: Vec<HealthResult>,
}

/// One check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthResult {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// Of the check; -1 if it took too long.
    pub exit_code: i32,
    /// The start of what it printed.
    pub output: String,
}

/// Where the layers of a container or image are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GraphDriver {
    /// `LowerDir`, `UpperDir`, `WorkDir`, `MergedDir`.
    pub data: BTreeMap<String, String>,
    /// `overlay2`.
    pub name: String,
}

/// A mount of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs`, `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Of a volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// On the host.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// Of a volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// As it was written: `ro`, `z`.
    pub mode: String,
    /// Whether it can be written.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// Of a bind.
    pub propagation: String,
}

/// Addresses and ports of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkSettings {
    /// Always empty.
    pub bridge: String,
    /// Of the network namespace.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// File of the network namespace.
    pub sandbox_key: String,
    /// `80/tcp` → where on the host; `null` for ports that are only exposed.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Always false.
    pub hairpin_mode: bool,
    /// Always empty.
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    /// Always 0.
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u8,
    /// Always null.
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<String>>,
    /// Always null.
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<String>>,
    /// In the default network.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// In the default network.
    pub gateway: String,
    /// In the default network.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// In the default network.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// In the default network.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// In the default network.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// In the default network.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// In the default network.
    pub mac_address: String,
    /// One endpoint per network.
    pub networks: BTreeMap<String, EndpointSettings>,
}
