//! What only Linux has: namespaces, devices, seccomp (runtime-spec, config-linux.md).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::is_default;
use super::resources::Resources;
use crate::oci::null_default;

/// What only Linux has (config-linux.md).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// User ids of a user namespace.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a user namespace.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub gid_mappings: Vec<IdMapping>,
    /// Clock offsets of a time namespace, by `monotonic` and `boottime`.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub time_offsets: BTreeMap<String, TimeOffset>,
    /// Kernel parameters, `net.ipv4.ip_forward` → value.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub sysctl: BTreeMap<String, String>,
    /// Limits and device rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Path of the cgroup; its form depends on the driver.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroups_path: String,
    /// Namespaces to make or join; those absent are shared with the caller.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub namespaces: Vec<Namespace>,
    /// Device nodes besides the default ones.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub devices: Vec<Device>,
    /// Network devices of the host to move in, by name.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub net_devices: BTreeMap<String, NetDevice>,
    /// Filter of system calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Profile>,
    /// `shared`, `slave`, `private`, `unbindable`, or their recursive forms; empty means `rslave`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rootfs_propagation: String,
    /// Paths that read as empty.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub masked_paths: Vec<PathBuf>,
    /// Paths that cannot be written.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub readonly_paths: Vec<PathBuf>,
    /// SELinux context of the mounts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
    /// Execution domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub personality: Option<Personality>,
    /// NUMA memory policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_policy: Option<MemoryPolicy>,
    /// Cache and memory bandwidth allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<serde_json::Value>,
}

/// A range of ids: `size` ids from `host_id` on the host are `container_id`… inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IdMapping {
    /// First id inside.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// First id outside.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// Offset of a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeOffset {
    /// Seconds.
    pub secs: i64,
    /// Nanoseconds.
    pub nanosecs: u32,
}

/// A namespace to make, or with a path to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// File of an existing one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// Kinds of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports.
    Network,
    /// Mounts.
    Mount,
    /// System V ipc and message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// User and group ids, capabilities.
    User,
    /// The root of the visible cgroups.
    Cgroup,
    /// Monotonic and boot-time clocks.
    Time,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where, inside the container.
    pub path: PathBuf,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permissions; absent means 0666.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<u32>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
}

/// A network device to move in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetDevice {
    /// Its name inside; empty keeps it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A [`Seccomp`] as text: usually nobody has to read it, since what it compiles to is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Profile(Box<RawValue>);

impl Profile {
    /// Writes `seccomp` as text.
    pub fn new(seccomp: &Seccomp) -> serde_json::Result<Profile> {
        serde_json::value::to_raw_value(seccomp).map(Profile)
    }

    /// Returns the text, which is JSON.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads it. Fails if the text is not that of a profile.
    pub fn read(&self) -> serde_json::Result<Seccomp> {
        serde_json::from_str(self.text())
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Profile) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Profile {}

/// Filter of system calls (config-linux.md, Seccomp).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    /// What happens to a call that no rule matches (`SCMP_ACT_ERRNO`).
    pub default_action: String,
    /// Error number of a default action that returns one; absent means EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Architectures besides the native one (`SCMP_ARCH_X86`).
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_*` names; absent means the runtime's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// Socket to which the descriptor of a notifying filter is sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listener_path: String,
    /// Passed on to that socket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub listener_metadata: String,
    /// Rules.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub syscalls: Vec<SeccompRule>,
}

/// A rule for system calls of certain names and arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompRule {
    /// System calls; those that this architecture lacks are passed over.
    #[serde(deserialize_with = "null_default")]
    pub names: Vec<String>,
    /// What happens to them.
    pub action: String,
    /// Error number of an action that returns one; absent means EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions, all of which must hold.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub args: Vec<SeccompArgument>,
}

/// A condition on one argument of a system call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompArgument {
    /// 0 to 5.
    pub index: u32,
    /// Compared with, or the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// What `SCMP_CMP_MASKED_EQ` compares with.
    #[serde(skip_serializing_if = "is_default")]
    pub value_two: u64,
    /// `SCMP_CMP_EQ` and so on.
    pub op: String,
}

/// Execution domain (personality(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Personality {
    /// `LINUX` or `LINUX32`.
    pub domain: String,
    /// None are defined.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub flags: Vec<String>,
}

/// NUMA memory policy (set_mempolicy(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryPolicy {
    /// `MPOL_BIND` and so on.
    pub mode: String,
    /// List of nodes.
    pub nodes: String,
    /// `MPOL_F_*` names.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub flags: Vec<String>,
}
