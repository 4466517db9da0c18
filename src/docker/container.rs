//! The request to create a container, which is also what a container's record keeps verbatim.
//!
//! One struct carries a request from its front to the record: command-line flags and API bodies both become a
//! [`ContainerCreate`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_default;
use super::network::EndpointSettings;
use crate::oci::image::{Empty, Healthcheck};
use crate::oci::null_default;

/// The body of `POST /containers/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerCreate {
    /// What does not depend on the host.
    #[serde(flatten)]
    pub config: Config,
    /// What depends on the host.
    pub host_config: HostConfig,
    /// Networks to join.
    pub networking_config: NetworkingConfig,
}

/// What does not depend on the host; most of it can come from the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Host name; empty means the short id.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// `user[:group]`; empty means the image's.
    pub user: String,
    /// Whether the creator attaches its standard input.
    pub attach_stdin: bool,
    /// Whether the creator attaches its standard output.
    pub attach_stdout: bool,
    /// Whether the creator attaches its standard error.
    pub attach_stderr: bool,
    /// `80/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its standard input is open.
    pub open_stdin: bool,
    /// Whether its standard input ends with the first client that was attached to it.
    pub stdin_once: bool,
    /// `NAME=VALUE`; `NAME` alone removes a variable of the image.
    pub env: Option<Vec<String>>,
    /// Command; `None` means the image's.
    pub cmd: Option<Vec<String>>,
    /// How to see whether the program is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows only.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub args_escaped: bool,
    /// The image as the user wrote it.
    pub image: String,
    /// Paths that get an anonymous volume.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Working directory; empty means the image's.
    pub working_dir: String,
    /// Entrypoint; `None` means the image's, `[""]` none at all.
    pub entrypoint: Option<Vec<String>>,
    /// Whether networking is off.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub network_disabled: bool,
    /// Deprecated: the address of the only endpoint.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub mac_address: String,
    /// Steps of a build that starts from an image of this container.
    pub on_build: Option<Vec<String>>,
    /// Metadata.
    #[serde(deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// `SIGQUIT`, `QUIT` or `3`; empty means the image's.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub stop_signal: String,
    /// Seconds between the stop signal and SIGKILL; `None` means 10, -1 never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The shell of the shell form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// What depends on the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `source:target[:options]` of `-v` with a source.
    pub binds: Option<Vec<String>>,
    /// File that gets the id.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Log driver.
    pub log_config: LogConfig,
    /// `bridge`, `host`, `none`, `container:X`, or a network; `default` means the default.
    pub network_mode: String,
    /// `80/tcp` → where on the host.
    #[serde(deserialize_with = "null_default")]
    pub port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// What happens when it ends.
    pub restart_policy: RestartPolicy,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Driver of named volumes.
    pub volume_driver: String,
    /// Containers whose volumes it gets, `name[:ro]`.
    pub volumes_from: Option<Vec<String>>,
    /// Rows and columns of the terminal at its start.
    pub console_size: [u32; 2],
    /// Arbitrary metadata for the runtime.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub annotations: BTreeMap<String, String>,
    /// Added to the default capabilities.
    pub cap_add: Option<Vec<String>>,
    /// Taken from the default capabilities.
    pub cap_drop: Option<Vec<String>>,
    /// `private` or `host`; empty means the default of the host's cgroup version.
    pub cgroupns_mode: String,
    /// Name servers.
    #[serde(deserialize_with = "null_default")]
    pub dns: Vec<String>,
    /// Resolver options.
    #[serde(deserialize_with = "null_default")]
    pub dns_options: Vec<String>,
    /// Search domains.
    #[serde(deserialize_with = "null_default")]
    pub dns_search: Vec<String>,
    /// `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Supplementary groups, names or ids.
    pub group_add: Option<Vec<String>>,
    /// `private`, `shareable`, `host`, `none`, `container:X`.
    pub ipc_mode: String,
    /// Deprecated: the cgroup of another container.
    pub cgroup: String,
    /// `name:alias`.
    pub links: Option<Vec<String>>,
    /// -1000 to 1000.
    pub oom_score_adj: i32,
    /// Empty, `host`, `container:X`.
    pub pid_mode: String,
    /// Whether nearly all isolation is off.
    pub privileged: bool,
    /// Whether every exposed port gets a port of the host.
    pub publish_all_ports: bool,
    /// Whether the root filesystem is read-only.
    pub readonly_rootfs: bool,
    /// `no-new-privileges`, `seccomp=…`, `apparmor=…`, `label=…`, `writable-cgroups=…`.
    pub security_opt: Option<Vec<String>>,
    /// Options of the storage driver.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub storage_opt: BTreeMap<String, String>,
    /// Target → options of tmpfs mounts.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub tmpfs: BTreeMap<String, String>,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// Bytes of /dev/shm; 0 means 64 MiB.
    pub shm_size: i64,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub sysctls: BTreeMap<String, String>,
    /// Name of the OCI runtime.
    pub runtime: String,
    /// Windows only.
    pub isolation: String,
    /// Limits.
    #[serde(flatten)]
    pub resources: Resources,
    /// Mounts in the long form.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub mounts: Vec<Mount>,
    /// Paths that read as empty; `None` means the default ones.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that cannot be written; `None` means the default ones.
    pub readonly_paths: Option<Vec<String>>,
    /// Whether an init runs as process 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// Limits; zero and absent mean none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// Relative weight of CPU time.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// CPUs × 10⁹.
    pub nano_cpus: i64,
    /// Cgroup above the container's own.
    pub cgroup_parent: String,
    /// Relative weight of block io, 10 to 1000.
    pub blkio_weight: u16,
    /// Weights per device.
    #[serde(deserialize_with = "null_default")]
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "null_default")]
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes per second.
    #[serde(deserialize_with = "null_default")]
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "BlkioDeviceReadIOps", deserialize_with = "null_default")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Operations per second.
    #[serde(rename = "BlkioDeviceWriteIOps", deserialize_with = "null_default")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds per period.
    pub cpu_realtime_runtime: i64,
    /// `0-3,7`.
    pub cpuset_cpus: String,
    /// `0-1`.
    pub cpuset_mems: String,
    /// Devices of the host.
    #[serde(deserialize_with = "null_default")]
    pub devices: Vec<DeviceMapping>,
    /// `c 1:3 rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices by driver.
    pub device_requests: Option<Vec<serde_json::Value>>,
    /// Deprecated.
    #[serde(
        rename = "KernelMemoryTCP",
        skip_serializing_if = "is_default",
        deserialize_with = "null_default"
    )]
    pub kernel_memory_tcp: i64,
    /// Bytes; a soft limit.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: i64,
    /// 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Whether a process that exceeds the limit waits instead of being killed.
    pub oom_kill_disable: Option<bool>,
    /// Number of tasks; absent, 0 and -1 are unlimited.
    pub pids_limit: Option<i64>,
    /// Resource limits.
    #[serde(deserialize_with = "null_default")]
    pub ulimits: Vec<Ulimit>,
    /// Windows only.
    pub cpu_count: i64,
    /// Windows only.
    pub cpu_percent: i64,
    /// Windows only.
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    /// Windows only.
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
}

/// Log driver and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file`, `local`, `none`, `journald`, `syslog`; empty means the default.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Options of the driver.
    #[serde(deserialize_with = "null_default")]
    pub config: BTreeMap<String, String>,
}

/// Where on the host a port is published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Address; empty means all.
    pub host_ip: String,
    /// Port or range; empty means any.
    pub host_port: String,
}

/// What happens when a container ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`; empty means `no`.
    pub name: String,
    /// For `on-failure`; 0 is unlimited.
    pub maximum_retry_count: i64,
}

/// A device of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    /// On the host.
    pub path_on_host: String,
    /// In the container.
    pub path_in_container: String,
    /// Letters of `rwm`.
    pub cgroup_permissions: String,
}

/// A resource limit; -1 is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// `nofile`.
    pub name: String,
    /// The ceiling of the soft limit.
    pub hard: i64,
    /// The value that the kernel enforces.
    pub soft: i64,
}

/// Weight of a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// Path on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// Rate of a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// Path on the host.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// A mount in the long form (`--mount`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, `image`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Path, volume or image; empty makes an anonymous volume.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub source: String,
    /// Path in the container.
    pub target: String,
    /// Whether it is read-only.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub read_only: bool,
    /// Ignored.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub consistency: String,
    /// Of binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// Of volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    /// Of tmpfs mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// `rprivate` and so on; empty means `rprivate`.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub propagation: String,
    /// Whether mounts below the source stay out.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub non_recursive: bool,
    /// Whether a missing source is made.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub create_mountpoint: bool,
    /// Whether read-only leaves out the mounts below.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub read_only_non_recursive: bool,
    /// Whether it fails if the mounts below cannot be read-only too.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub read_only_force_recursive: bool,
    /// Whose files show as whose; empty means that the owner of the source and the container's user change places. docker
    /// has no such thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_map: Option<String>,
}

/// Options of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// Whether an empty volume stays empty.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub no_copy: bool,
    /// Labels of a volume that is made.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// A path in the volume.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub subpath: String,
    /// Driver of a volume that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<VolumeDriver>,
}

/// Driver of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeDriver {
    /// Only `local` exists.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub name: String,
    /// `type`, `o`, `device`.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub options: BTreeMap<String, String>,
}

/// Options of an image mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageOptions {
    /// A path in the image.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub subpath: String,
}

/// Options of a tmpfs mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 is the kernel's default.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub size_bytes: i64,
    /// Permissions; 0 means 01777.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub mode: u32,
}

/// Networks to join, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// One endpoint per network.
    #[serde(deserialize_with = "null_default")]
    pub endpoints_config: BTreeMap<String, EndpointSettings>,
}

/// The body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecCreate {
    /// `user[:group]`; empty means the container's.
    pub user: String,
    /// Whether it gets all capabilities.
    pub privileged: bool,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Rows and columns of the terminal at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<[u32; 2]>,
    /// Whether the caller attaches standard input.
    pub attach_stdin: bool,
    /// Whether the caller attaches standard error.
    pub attach_stderr: bool,
    /// Whether the caller attaches standard output.
    pub attach_stdout: bool,
    /// Keys that detach.
    pub detach_keys: String,
    /// Added to the container's environment.
    #[serde(deserialize_with = "null_default")]
    pub env: Vec<String>,
    /// Working directory; empty means the container's.
    pub working_dir: String,
    /// Program and arguments.
    #[serde(deserialize_with = "null_default")]
    pub cmd: Vec<String>,
}

/// The body of `POST /containers/{id}/update`: what is absent or zero is left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerUpdate {
    /// Limits.
    #[serde(flatten)]
    pub resources: Resources,
    /// An empty name leaves the policy.
    pub restart_policy: RestartPolicy,
    /// Ports that are published besides; docker has none of this and what follows.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub publish_add: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Ports that are published no more, at these places or at any; taken back before others are added.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub publish_rm: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Variables that are set: `NAME=VALUE`; `NAME` alone removes.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub env_add: Vec<String>,
    /// Names of variables that are removed.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub env_rm: Vec<String>,
    /// Mounts that are added.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub mount_add: Vec<Mount>,
    /// Places in the container at which nothing is mounted any more.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "null_default")]
    pub mount_rm: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_record() {
        let text = r#"{"Image":"busybox","Cmd":["sh"],"Labels":null,"HostConfig":{"Memory":64,"Binds":null,"Dns":null,
            "PortBindings":{"80/tcp":[{"HostPort":"8080"}],"81/tcp":null}}}"#;
        let create: ContainerCreate = serde_json::from_str(text).unwrap();
        assert_eq!(create.host_config.resources.memory, 64);
        assert_eq!(create.host_config.port_bindings["81/tcp"], None);
        let again = serde_json::from_str(&serde_json::to_string(&create).unwrap()).unwrap();
        assert_eq!(create, again);
    }

    #[test]
    fn null_and_empty_print_as_docker_prints_them() {
        let value = serde_json::to_value(HostConfig::default()).unwrap();
        for null in [
            "Binds",
            "CapAdd",
            "ExtraHosts",
            "PidsLimit",
            "MemorySwappiness",
            "VolumesFrom",
        ] {
            assert!(value[null].is_null(), "{null}");
        }
        for list in ["Dns", "Ulimits", "Devices"] {
            assert_eq!(value[list], serde_json::json!([]), "{list}");
        }
        for omitted in ["Tmpfs", "Sysctls", "Init", "Mounts"] {
            assert!(value.get(omitted).is_none(), "{omitted}");
        }
    }
}
